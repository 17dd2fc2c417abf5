//! Two masters on one database, as while a new binary takes over.

use super::rig::{NOW, Rig, finish, name, start};
use crate::agents::store::database::Database;
use crate::agents::store::fault::Faults;
use crate::agents::store::place::Place;
use crate::shared::store::StoreAnswer;
use rip::session::claim::Claim;
use rip::session::end::Ended;
use rip::session::event::Closes;
use rip::session::look::Cancel;
use rip::session::{Epoch, Refusal};

/// A second master on the store of `rig`.
fn second(rig: &Rig) -> Rig {
    Rig::at(&rig.path)
}

#[test]
fn the_turn_of_a_living_master_is_in_flight_for_everyone() {
    let mut old = Rig::new();
    let id = old.session(1, 1);
    let run = old.ran(old.message(id, 2));
    let mut new = second(&old);
    assert_eq!((old.database.epoch(), new.database.epoch()), (Epoch(1), Epoch(2)));
    assert!(new.database.sweep(NOW).unwrap().is_empty());
    let in_flight = Refusal::InFlight { session: id, own_turn: None };
    assert_eq!(new.refused(new.message(id, 2)), in_flight);
    assert_eq!(new.look(id, 2).unwrap().running, Some(Epoch(1)));
    // A cancellation finds its way.
    assert!(matches!(new.cancel(id, 2), Cancel::Cancelling { owner: Epoch(1), .. }));
    assert_eq!(old.database.cancelled().unwrap(), [run.attempt]);
    assert!(new.database.cancelled().unwrap().is_empty());
    assert!(matches!(old.end(finish(&run, 2)), Ended::Stored { .. }));
    // The next turn may be anybody's.
    let run = new.ran(new.message(id, 2));
    assert!(old.database.sweep(NOW).unwrap().is_empty());
    new.end(finish(&run, 2));
    let run = old.ran(old.message(id, 3));
    old.end(finish(&run, 3));
    old.check();
    new.check();
}

#[test]
fn the_turn_of_a_dead_master_is_interrupted_by_the_one_that_lives() {
    let mut old = Rig::new();
    let id = old.session(1, 1);
    old.ran(old.message(id, 2));
    old.ran(start(2));
    let mut new = second(&old);
    let (dir, path) = (old.dir.take(), old.path.clone());
    drop(old);
    let swept = new.database.sweep(NOW).unwrap();
    assert_eq!(swept.len(), 2);
    for (_, event) in &swept {
        assert_eq!((event.id.epoch, event.closes), (Epoch(2), Closes::Attempt));
        assert!(event.data.contains("\"code\":\"interrupted\",\"retryable\":true"));
    }
    new.ran(new.message(id, 2));
    assert!(new.database.sweep(NOW).unwrap().is_empty());
    new.check();
    let marks = std::fs::read_dir(path.parent().unwrap()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("sessions.db.e")
    });
    assert_eq!(marks.count(), 1);
    drop(dir);
}

#[test]
fn a_turn_that_was_given_up_is_interrupted_and_others_of_ours_are_not() {
    let mut rig = Rig::new();
    let (given_up, kept) = (rig.ran(start(1)), rig.ran(start(2)));
    assert!(rig.database.sweep(NOW).unwrap().is_empty());
    rig.database.abandon(&given_up.attempt);
    let swept = rig.database.sweep(NOW).unwrap();
    assert_eq!(swept.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [name(1)]);
    assert!(matches!(rig.end(finish(&given_up, 1)), Ended::Lost(_)));
    assert!(matches!(rig.end(finish(&kept, 1)), Ended::Stored { .. }));
    rig.check();
}

#[test]
fn of_many_claims_from_two_masters_one_runs() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (1..=20).map(|number| rig.session(number, 1)).collect();
    let path = rig.path.clone();
    let orders: Vec<_> = ids.iter().map(|id| rig.message(*id, 2)).collect();
    let masters: Vec<_> = (0..2)
        .map(|_| {
            let (path, orders) = (path.clone(), orders.clone());
            std::thread::spawn(move || {
                let place = Place::of(&path);
                let (mut database, _) =
                    Database::open(&place, None, Faults::default(), NOW).unwrap();
                let mut ran = Vec::new();
                for _ in 0..5 {
                    for order in &orders {
                        let (answers, trouble) =
                            database.carry_out(std::slice::from_ref(order), NOW);
                        assert_eq!(trouble, None);
                        ran.extend(answers.iter().filter_map(|answer| match answer {
                            StoreAnswer::Claim { claim, .. } => match &**claim {
                                Claim::Run(run) => Some(run.attempt.session),
                                _ => None,
                            },
                            _ => None,
                        }));
                    }
                }
                (ran, database)
            })
        })
        .collect();
    let ended: Vec<_> = masters.into_iter().map(|master| master.join().unwrap()).collect();
    let mut ran: Vec<_> = ended.iter().flat_map(|(ran, _)| ran.clone()).collect();
    ran.sort();
    assert_eq!(ran, ids, "each runs once");
    rig.check();
}
