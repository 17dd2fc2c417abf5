//! The threads: everything is answered, and trouble is told.

use super::rig::{Rig, append, deltas, finish, message, name, nonce, start};
use crate::agents::store::StoreAgent;
use crate::agents::store::fault::{Fault, Faults};
use crate::agents::store::place::Place;
use crate::agents::store::reader;
use crate::agents::store::trouble::Kind as Wrong;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::{Receiver, Sender, mailbox};
use crate::shared::mail::{ControlMessage, EdgeMessage};
use crate::shared::store::{
    StoreAnswer, StoreJob, StoreMail, StoreOrder, StoreQueue, WAITING_COUNT,
};
use crate::shared::store_state::{CountAsk, StoreState};
use crate::sys::test_dir::TestDir;
use rip::contract::event::Event;
use rip::session::claim::{Claim, Run};
use rip::session::end::{End, Ended};
use rip::session::look::Cancel;
use rip::session::{Epoch, EventId, Kind, Outcome, Refusal, Seed, State};
use rip::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct Post<M> {
    poll: mio::Poll,
    sender: Sender<M>,
    receiver: Receiver<M>,
    read: VecDeque<M>,
}

impl<M> Post<M> {
    fn new() -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, receiver) = mailbox(Arc::new(waker));
        Self { poll, sender, receiver, read: VecDeque::new() }
    }

    #[track_caller]
    fn next(&mut self) -> M {
        let until = Instant::now() + Duration::from_secs(20);
        let mut events = mio::Events::with_capacity(4);
        let mut mail = Vec::new();
        loop {
            self.receiver.drain(&mut mail);
            self.read.extend(mail.drain(..));
            if let Some(message) = self.read.pop_front() {
                return message;
            }
            assert!(Instant::now() < until, "no mail");
            self.poll.poll(&mut events, Some(Duration::from_millis(200))).unwrap();
        }
    }
}

struct Desk {
    agent: StoreAgent,
    queue: StoreQueue,
    edge: Post<EdgeMessage>,
    control: Post<ControlMessage>,
}

impl Desk {
    fn at(path: &Path) -> Self {
        Self::with(path, Faults::default())
    }

    fn with(path: &Path, faults: Faults) -> Self {
        let control = Post::new();
        let (place, queue) = (Place::of(path), StoreQueue::new());
        let agent =
            StoreAgent::start(place, faults, queue.clone(), control.sender.clone()).unwrap();
        Self { queue, agent, edge: Post::new(), control }
    }

    fn submit(&self, key: u64, order: StoreOrder) {
        submit(&self.queue, &self.edge, key, order);
    }

    #[track_caller]
    fn mail(&mut self) -> StoreMail {
        match self.edge.next() {
            EdgeMessage::Store(mail) => *mail,
            _ => panic!("another message"),
        }
    }

    #[track_caller]
    fn answer(&mut self) -> (u64, StoreAnswer) {
        match self.mail() {
            StoreMail::Done { key, answer } => (key, answer),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn ask(&mut self, order: StoreOrder) -> StoreAnswer {
        self.submit(4711, order);
        let (key, answer) = self.answer();
        assert_eq!(key, 4711);
        answer
    }

    #[track_caller]
    fn ran(&mut self, order: StoreOrder) -> Run {
        run_of(&self.ask(order))
    }

    #[track_caller]
    fn event(&mut self) -> Event {
        match self.control.next() {
            ControlMessage::Tell(event) => *event,
            _ => panic!("another message"),
        }
    }
}

fn submit(queue: &StoreQueue, edge: &Post<EdgeMessage>, key: u64, order: StoreOrder) {
    let reply = edge.sender.clone();
    queue.submit(StoreJob { order, reply, key, since: Clock::read() });
}

#[track_caller]
fn run_of(answer: &StoreAnswer) -> Run {
    match answer {
        StoreAnswer::Claim { claim, .. } => match &**claim {
            Claim::Run(run) => run.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn token(queue: &StoreQueue, number: u8, turn: u64) -> rip::session::Token {
    let seed = Seed { kind: Kind::Continuation, turn, nonce: nonce(turn) };
    queue.key().unwrap().token(name(number), &seed)
}

#[test]
fn turns_from_a_loop_are_carried_out_and_can_be_read() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut desk = Desk::at(&path);
    (1..=100).for_each(|number| desk.submit(u64::from(number), start(number)));
    let mut runs = BTreeMap::new();
    for _ in 1..=100 {
        let (key, answer) = desk.answer();
        runs.insert(key, run_of(&answer));
    }
    for (key, run) in &runs {
        desk.submit(*key, append(run, 0, 3));
        desk.submit(*key, finish(run, 1));
    }
    for _ in 1..=200 {
        let answer = desk.answer().1;
        let is_stored = matches!(
            answer,
            StoreAnswer::Appended(Ok(_)) | StoreAnswer::Ended(Ok(Ended::Stored { .. }))
        );
        assert!(is_stored, "{answer:?}");
    }
    for number in 1..=100 {
        let order = StoreOrder::Page { session: name(number), after: EventId::default(), count: 3 };
        let StoreAnswer::Page(Ok(Some(page))) = desk.ask(order) else { panic!("{number}") };
        assert_eq!((page.events.len(), page.last.seq, page.running), (3, 4, None));
    }
    let Desk { agent, .. } = desk;
    agent.stop();
    let mut rig = Rig::at(&path);
    assert_eq!(rig.look(name(100), 2).unwrap().turn, 1);
    rig.check();
}

#[test]
fn what_waits_is_done_before_the_agent_ends_and_nothing_after() {
    let dir = TestDir::make();
    let desk = Desk::at(&dir.path().join("sessions.db"));
    (1..=100).for_each(|number| desk.submit(u64::from(number), start(number)));
    let Desk { agent, queue, edge, control } = desk;
    agent.stop();
    submit(&queue, &edge, 0, start(200));
    let (faults, other) = (Faults::default(), StoreQueue::new());
    let agent = StoreAgent::start(Place::Memory, faults, other, control.sender.clone());
    let mut desk = Desk { agent: agent.unwrap(), queue, edge, control };
    for _ in 1..=100 {
        run_of(&desk.answer().1);
    }
    let StoreAnswer::Claim { claim, .. } = desk.answer().1 else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("closed"))));
}

#[test]
fn a_store_that_cannot_be_opened_refuses_and_is_tried_again() {
    let dir = TestDir::make();
    let place = dir.path().join("state");
    std::fs::write(&place, b"in the way").unwrap();
    let mut desk = Desk::at(&place.join("sessions.db"));
    let event = desk.event();
    assert!(matches!(event, Event::SessionsFailed { .. }), "{event:?}");
    assert!(event.is_trouble());
    let StoreAnswer::Claim { claim, .. } = desk.ask(start(1)) else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("unreachable"))), "{claim:?}");
    let page = StoreOrder::Page { session: name(1), after: EventId::default(), count: 3 };
    assert!(matches!(desk.ask(page), StoreAnswer::Page(Err("unreachable"))));
    std::fs::remove_file(&place).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let StoreAnswer::Claim { claim, .. } = desk.ask(start(1)) else { panic!("no claim") };
        if matches!(*claim, Claim::Run(_)) {
            break;
        }
        assert!(Instant::now() < until, "{claim:?}");
    }
}

#[test]
fn a_store_that_is_taken_away_or_broken_is_replaced_while_the_agent_runs() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    std::fs::write(&path, vec![7; 9000]).unwrap();
    let mut desk = Desk::at(&path);
    let event = desk.event();
    assert!(matches!(event, Event::SessionsBroken { .. }), "{event:?}");
    let run = desk.ran(start(1));
    // Somebody renames it: the next look at it finds out.
    std::fs::rename(&path, dir.path().join("elsewhere.db")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < until, "nobody noticed");
        std::thread::yield_now();
    }
    let answer = desk.ask(finish(&run, 1));
    let StoreAnswer::Ended(Ok(Ended::Lost(_))) = answer else { panic!("{answer:?}") };
    desk.ran(start(1));
}

#[test]
fn a_claim_that_nobody_runs_is_interrupted() {
    let dir = TestDir::make();
    let mut desk = Desk::at(&dir.path().join("sessions.db"));
    let run = desk.ran(start(1));
    desk.queue.abandon(run.attempt);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let order = StoreOrder::Page { session: name(1), after: EventId::default(), count: 3 };
        let StoreAnswer::Page(Ok(Some(page))) = desk.ask(order) else { panic!("no page") };
        if let Some(event) = page.events.first() {
            assert!(event.data.contains("interrupted") && page.running.is_none());
            let session_id = name(1).to_string();
            let told = Event::SessionInterrupted { session_id, turn: 1, untold: 0 };
            return assert_eq!(desk.event(), told);
        }
        assert!(Instant::now() < until, "it runs for ever");
    }
}

#[test]
fn timers_and_cancellations_find_their_loops() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut desk = Desk::at(&path);
    desk.queue.attach(desk.edge.sender.clone());
    let run = desk.ran(start(1));
    let wait = "{\"id\":\"w\",\"until\":\"2026-03-14T12:01:00Z\"}".to_owned();
    let parked = Outcome::Parked { wait, until: Some(UnixMillis(1)) };
    desk.ask(super::rig::end(run.attempt, End::Outcome(parked, State::Same)));
    let due = desk.mail();
    assert!(matches!(due, StoreMail::Due { session, .. } if session == name(1)), "{due:?}");
    let run = desk.ran(super::rig::timer(name(1)));
    // Another master is asked to cancel it.
    let mut other = Rig::at(&path);
    other.now = UnixMillis(u64::MAX >> 1);
    assert!(matches!(other.cancel(name(1), 2), Cancel::Cancelling { .. }));
    match desk.mail() {
        StoreMail::Cancelled { key, attempt } => assert_eq!((key, attempt), (4711, run.attempt)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_that_is_not_served_refuses_beyond_its_bound_but_not_a_turn_that_runs() {
    let queue = StoreQueue::new();
    let mut edge = Post::new();
    let attempt = Run {
        attempt: rip::session::claim::Attempt {
            session: name(1),
            turn: 1,
            number: 1,
            owner: Epoch(1),
        },
        cause: rip::session::Cause::Start,
        is_first: true,
        last: EventId::default(),
        token: Seed { kind: Kind::Continuation, turn: 1, nonce: nonce(1) },
        resume: Seed { kind: Kind::Resume, turn: 0, nonce: nonce(0) },
        wake: None,
    };
    for key in 0..=WAITING_COUNT as u64 {
        submit(&queue, &edge, key, message(name(1), None, None));
    }
    submit(&queue, &edge, 9999, append(&attempt, 0, 1));
    assert_eq!(deltas(&attempt, 0, 1).len(), 1);
    let EdgeMessage::Store(mail) = edge.next() else { panic!("another message") };
    let StoreMail::Done { key, answer: StoreAnswer::Claim { claim, .. } } = *mail else {
        panic!("no claim")
    };
    assert_eq!(key, WAITING_COUNT as u64);
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("busy"))));
    let taken = queue.take_writes(usize::MAX, Duration::ZERO).unwrap();
    assert_eq!(taken.jobs.len(), WAITING_COUNT + 1);
    assert_eq!(taken.jobs.last().map(|job| job.key), Some(9999));
    assert!(token_needs_a_key(&queue));
}

fn token_needs_a_key(queue: &StoreQueue) -> bool {
    queue.key().is_none()
}

#[test]
fn a_second_agent_on_the_store_goes_on_with_its_sessions() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut first = Desk::at(&path);
    let run = first.ran(start(1));
    first.ask(finish(&run, 1));
    let mut second = Desk::at(&path);
    // The key is there when the first answer is.
    second.ran(start(2));
    let next = message(name(1), Some(token(&second.queue, 1, 2)), None);
    let run = second.ran(next.clone());
    let StoreAnswer::Claim { claim, .. } = first.ask(next) else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::InFlight { .. })), "{claim:?}");
    assert_eq!(run.attempt.owner, Epoch(2));
}

#[test]
fn trouble_with_one_batch_is_answered_and_the_agent_goes_on() {
    for (wrong, reason, lives) in [
        (Wrong::Broken, "broken", 2),
        (Wrong::Unreachable, "unreachable", 1),
        (Wrong::Full, "full", 1),
    ] {
        let dir = TestDir::make();
        let path = dir.path().join("sessions.db");
        let mut rig = Rig::at(&path);
        rig.now = Clock::new().wall();
        let run = rig.ran(start(1));
        rig.end(finish(&run, 1));
        drop(rig);
        // The chores of a start pass a dozen steps; the write of the first order fails.
        let mut desk = Desk::with(&path, Faults::at(Fault::Fail(wrong), 15));
        let mut refused = 0;
        for number in 2..40 {
            let StoreAnswer::Claim { claim, .. } = desk.ask(start(number)) else {
                panic!("no claim")
            };
            match *claim {
                Claim::Run(_) => {}
                Claim::Refused(Refusal::Store(why)) => {
                    assert_eq!(why, reason);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, 1, "{reason}");
        // What was there before is there.
        let run = desk.ran(message(name(1), Some(token(&desk.queue, 1, 2)), None));
        assert_eq!(run.attempt.owner, Epoch(lives + 1));
        let answer = desk.ask(finish(&run, 2));
        assert!(matches!(answer, StoreAnswer::Ended(Ok(Ended::Stored { .. }))), "{answer:?}");
        let Desk { agent, .. } = desk;
        agent.stop();
        Rig::at(&path).check();
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = files.filter(|name| name.to_string_lossy().contains("broken"));
        assert_eq!(aside.count(), 0, "a mishap is no reason to lose everything");
    }
}

#[test]
fn a_store_that_failed_is_tried_although_nobody_asks() {
    let dir = TestDir::make();
    // The chores of a start pass a dozen steps.
    let faults = Faults::at(Fault::Fail(Wrong::Full), 15);
    let mut desk = Desk::with(&dir.path().join("sessions.db"), faults);
    let is_refused = |answer: &StoreAnswer| matches!(answer, StoreAnswer::Claim { claim, .. } if matches!(**claim, Claim::Refused(_)));
    assert!((1..40).any(|number| is_refused(&desk.ask(start(number)))));
    let failed = desk.event();
    assert!(matches!(failed, Event::SessionsFailed { .. }), "{failed:?}");
    let recovered = desk.event();
    assert!(matches!(recovered, Event::SessionsRecovered { .. }), "{recovered:?}");
    assert_eq!(desk.queue.state(), StoreState::Open);
}

#[test]
fn sessions_are_counted_by_who_can_look() {
    let dir = TestDir::make();
    for place in [Place::File(dir.path().join("s.db")), Place::Memory] {
        let (mut control, queue) = (Post::new(), StoreQueue::new());
        assert_eq!(queue.state(), StoreState::Shut("closed"));
        let (faults, mine) = (Faults::default(), queue.clone());
        let sender: Sender<ControlMessage> = control.sender.clone();
        let agent = StoreAgent::start(place, faults, mine, sender.clone()).unwrap();
        let mut desk =
            Desk { agent, queue: queue.clone(), edge: Post::new(), control: Post::new() };
        let mut count = |ticket| {
            queue.count(CountAsk { control: sender.clone(), ticket });
            match control.next() {
                ControlMessage::SessionsCounted { ticket: told, sessions } if told == ticket => {
                    sessions
                }
                _ => panic!("another message"),
            }
        };
        for number in 1..=3 {
            run_of(&desk.ask(start(number)));
        }
        assert_eq!((count(7), queue.state()), (Some(3), StoreState::Open));
        desk.agent.stop();
        assert_eq!(count(8), None);
    }
}
/// What lies beside the store because it made no sense.
fn aside(dir: &TestDir) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.contains("broken") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    files.filter(is_aside).collect()
}

/// How many of these starts were refused because of a broken store.
#[track_caller]
fn refusals(desk: &mut Desk, numbers: std::ops::Range<u8>) -> usize {
    let mut refused = 0;
    for number in numbers {
        let StoreAnswer::Claim { claim, .. } = desk.ask(start(number)) else { panic!("no claim") };
        match *claim {
            Claim::Run(_) => {}
            Claim::Refused(Refusal::Store("broken")) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    refused
}

#[test]
fn a_bad_row_has_the_store_looked_through_and_a_good_store_keeps_it() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut rig = Rig::at(&path);
    rig.now = Clock::new().wall();
    (1..4).for_each(|number| _ = rig.session(number, 1));
    let spoil = "UPDATE events SET data = CAST(x'a5a5' AS TEXT) WHERE session = ?1";
    rig.database.conn.execute(spoil, [name(1).as_bytes()]).unwrap();
    // It is nobody's but its session's, and doubted once.
    let page = || StoreOrder::Page { session: name(1), after: EventId::default(), count: 9 };
    let (answers, trouble) = rig.run(&[page()]);
    assert!(matches!(answers.as_slice(), [StoreAnswer::Page(Err("broken"))]), "{answers:?}");
    assert_eq!((trouble, rig.database.look_through()), (None, Ok(true)));
    let until = Instant::now() + Duration::from_secs(20);
    while rig.database.is_looked_through() {
        assert!(Instant::now() < until, "it takes for ever");
        assert_eq!(rig.database.checked(), Ok(()));
    }
    assert_eq!(rig.database.look_through(), Ok(false));
    assert!(rig.page(name(2), 0).is_some());
    // Where a whole part of the file makes no sense, so says the look.
    drop(rig);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut rig = Rig::at(&path);
    rig.run(&[page()]);
    let pages = file.metadata().unwrap().len() / 4096;
    (4..pages).for_each(|page| file.write_all_at(&[0xa5; 4096], page * 4096).unwrap());
    assert_eq!(rig.database.look_through(), Ok(true));
    let mut found = Ok(());
    while found.is_ok() {
        assert!(Instant::now() < until, "nothing is found");
        found = rig.database.checked();
    }
    assert_eq!(found.unwrap_err().kind, Wrong::Broken);
}

#[test]
fn a_store_that_makes_no_sense_twice_within_a_minute_is_moved_aside() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut rig = Rig::at(&path);
    rig.now = Clock::new().wall();
    rig.session(1, 1);
    drop(rig);
    let faults = Faults::at(Fault::Fail(Wrong::Broken), 15);
    let mut desk = Desk::with(&path, faults.clone());
    // The first time it is a mishap: nothing is lost.
    assert_eq!(refusals(&mut desk, 2..20), 1);
    assert!(aside(&dir).is_empty());
    faults.again();
    refusals(&mut desk, 20..40);
    let event = desk.event();
    let Event::SessionsBroken { moved_to, reason, .. } = event else { panic!("{event:?}") };
    assert_eq!(reason, "it was to fail here");
    assert_eq!(aside(&dir), [std::path::PathBuf::from(&moved_to)]);
    // What was there is in what was moved; here it is unknown, and the agent goes on.
    let next = message(name(1), Some(token(&desk.queue, 1, 2)), None);
    let StoreAnswer::Claim { claim, .. } = desk.ask(next) else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::UnknownSession(_))), "{claim:?}");
    let run = desk.ran(start(250));
    desk.ask(finish(&run, 1));
    let Desk { agent, .. } = desk;
    agent.stop();
    Rig::at(&path).check();
    let mut moved = Rig::at(Path::new(&moved_to));
    moved.check();
    assert_eq!(moved.look(name(1), 2).unwrap().turn, 1);
}

/// Makes pages in the middle of the database senseless; its head and its tables stay as they are.
fn spoil(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let pages = bytes.len() / 4096;
    bytes[pages / 2 * 4096..(pages - 4) * 4096].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_wrong_with_a_large_database_is_found_while_it_serves() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut rig = Rig::at(&path);
    (1..60).for_each(|number| _ = rig.session(number, 5));
    drop(rig);
    spoil(&path);
    let spoilt = std::fs::read(&path).unwrap();
    let mut desk = Desk::with(&path, Faults::at(Fault::LateCheck, 0));
    let event = desk.event();
    let Event::SessionsBroken { moved_to, .. } = event else { panic!("{event:?}") };
    // Nothing was repaired or left out: only who lived in it was written down.
    let moved = std::fs::read(moved_to).unwrap();
    assert_eq!(moved.len(), spoilt.len());
    let run = desk.ran(start(1));
    desk.ask(finish(&run, 1));
    let Desk { agent, .. } = desk;
    agent.stop();
    Rig::at(&path).check();
}

#[test]
fn a_large_database_that_is_whole_serves_before_it_was_looked_through() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut rig = Rig::at(&path);
    rig.now = Clock::new().wall();
    (1..60).for_each(|number| _ = rig.session(number, 5));
    drop(rig);
    let mut desk = Desk::with(&path, Faults::at(Fault::LateCheck, 0));
    for number in 1..60 {
        let token = desk_token(&desk, number, 6);
        let run = desk.ran(message(name(number), Some(token), None));
        desk.ask(finish(&run, 6));
    }
    let Desk { agent, .. } = desk;
    agent.stop();
    assert!(aside(&dir).is_empty());
    Rig::at(&path).check();
}

/// The token, once tokens can be made.
fn desk_token(desk: &Desk, number: u8, turn: u64) -> rip::session::Token {
    while desk.queue.key().is_none() {
        std::thread::yield_now();
    }
    token(&desk.queue, number, turn)
}

#[test]
fn a_key_that_went_with_its_store_is_not_used_on() {
    let dir = TestDir::make();
    let mut desk = Desk::at(&dir.path().join("sessions.db"));
    desk.ran(start(1));
    let before = token(&desk.queue, 1, 1);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let until = Clock::read() + Duration::from_secs(20);
    while token(&desk.queue, 1, 1).expose() == before.expose() {
        assert!(Clock::read() < until, "tokens are made that no store knows");
        std::thread::sleep(Duration::from_millis(10));
    }
    let run = desk.ran(start(1));
    desk.ask(finish(&run, 1));
    // What a client is told is what the store wants.
    let told = token(&desk.queue, 1, 2);
    desk.ran(message(name(1), Some(told), None));
}

#[test]
fn an_order_that_waited_too_long_is_refused_but_not_one_of_a_turn_that_runs() {
    let dir = TestDir::make();
    let mut desk = Desk::at(&dir.path().join("sessions.db"));
    let run = desk.ran(start(1));
    // The clock of this process starts at zero.
    let past = rip::time::Instant::default();
    while Clock::read().since(past) < Duration::from_millis(5100) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut late = |order| {
        let reply = desk.edge.sender.clone();
        desk.queue.submit(StoreJob { order, reply, key: 1, since: past });
        desk.answer().1
    };
    let StoreAnswer::Claim { claim, .. } = late(start(2)) else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("slow"))), "{claim:?}");
    let answer = late(append(&run, 0, 1));
    assert!(matches!(answer, StoreAnswer::Appended(Ok(_))), "{answer:?}");
    let answer = late(finish(&run, 1));
    assert!(matches!(answer, StoreAnswer::Ended(Ok(Ended::Stored { .. }))), "{answer:?}");
}

#[test]
fn a_reader_in_trouble_leaves_it_to_the_writer() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut rig = Rig::at(&path);
    let id = rig.session(1, 1);
    // No writer serves this queue: what is passed on stays in it.
    let mut lane = Reads { queue: StoreQueue::new(), edge: Post::new(), session: id };
    let lives = Arc::new(AtomicU64::new(0));
    let (place, queue, known) = (Place::of(&path), lane.queue.clone(), Arc::clone(&lives));
    let thread = std::thread::spawn(move || reader::run(&place, &queue, &known));

    lane.is_passed_on("while the store is shut");
    lives.store(1, Ordering::Release);
    lane.is_read();
    rig.database.conn.execute("UPDATE sessions SET ledger = 'none'", []).unwrap();
    lane.is_passed_on("a row makes no sense");
    rig.database.conn.execute("DELETE FROM sessions", []).unwrap();
    drop(rig);
    for suffix in ["-wal", "-shm", ""] {
        std::fs::remove_file(crate::agents::store::place::beside(&path, suffix)).unwrap();
    }
    lives.store(2, Ordering::Release);
    lane.is_passed_on("there is no database");
    std::fs::write(&path, vec![0x5a; 9000]).unwrap();
    lane.is_passed_on("it is none");
    std::fs::remove_file(&path).unwrap();
    Rig::at(&path).session(1, 1);
    lives.store(3, Ordering::Release);
    lane.is_read();
    lane.queue.close();
    thread.join().unwrap();
}

/// A lane of reads, and what comes of them.
struct Reads {
    queue: StoreQueue,
    edge: Post<EdgeMessage>,
    session: rip::session::SessionId,
}

impl Reads {
    fn ask(&self) {
        let after = EventId::default();
        let page = StoreOrder::Page { session: self.session, after, count: 9 };
        submit(&self.queue, &self.edge, 1, page);
    }

    #[track_caller]
    fn is_read(&mut self) {
        self.ask();
        let EdgeMessage::Store(mail) = self.edge.next() else { panic!("another message") };
        match *mail {
            StoreMail::Done { answer: StoreAnswer::Page(Ok(Some(page))), .. } => {
                assert_eq!(page.events.len(), 3);
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn is_passed_on(&self, why: &str) {
        self.ask();
        let taken = self.queue.take_writes(9, Duration::from_secs(20)).unwrap();
        assert_eq!(taken.jobs.len(), 1, "{why}");
    }
}

#[test]
fn those_who_look_on_hear_of_a_turn_that_nobody_ran() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut dead = Rig::at(&path);
    dead.ran(start(1));
    let mut desk = Desk::at(&path);
    desk.queue.attach(desk.edge.sender.clone());
    desk.ran(start(2));
    drop(dead);
    let mail = desk.mail();
    let StoreMail::Swept { sessions } = mail else { panic!("{mail:?}") };
    assert_eq!(sessions, [name(1)]);
}
