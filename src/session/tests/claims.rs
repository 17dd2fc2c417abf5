//! Who may do what, and in which order it is refused.

use super::rig::{Rig, SCOPE, ran, refused};
use crate::session::claim::{self, Claim};
use crate::session::end::{Ended, Lost, interrupt};
use crate::session::look::{Cancel, Delete};
use crate::session::store::{Level, Write};
use crate::session::*;
use crate::time::UnixMillis;

const FINISHED: &str = "{\"status\":\"finished\",\"output\":2,\"state\":2}";
const JSON: &str = "application/json";

#[test]
fn refusals_come_in_their_order() {
    let mut rig = Rig::new();
    let id = rig.session();
    let other = rig.session();
    let name = id.to_string();
    let token = rig.token(id);
    let run = ran(rig.message(&name, Some(&token), None));
    // Everything is wrong at once; each step puts one thing right.
    let unknown = refused(rig.message("s_nope", None, None));
    assert_eq!(unknown, Refusal::UnknownSession("s_nope".into()));
    let upper = name.to_uppercase();
    assert_eq!(refused(rig.message(&upper, None, None)), Refusal::UnknownSession(upper));
    assert_eq!(refused(rig.message(&name, None, None)), Refusal::MissingToken(id));
    let foreign = rig.token(other);
    let resume = rig.resume(id);
    for stale in ["ct_forged", "", foreign.as_str(), resume.as_str(), &token[..token.len() - 1]] {
        assert_eq!(refused(rig.message(&name, Some(stale), None)), Refusal::StaleToken(id));
    }
    let in_flight = Refusal::InFlight { session: id, own_turn: None };
    assert_eq!(refused(rig.message(&name, Some(&token), None)), in_flight);
    let levels = rig.levels.len();
    rig.answer(run, Form::Json, JSON, FINISHED);
    assert_eq!(refused(rig.message(&name, Some(&token), None)), Refusal::StaleToken(id));
    assert!(rig.levels[levels..].contains(&Level::Power), "a commit may be lost");
}

#[test]
fn a_session_of_another_scope_is_unknown() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.sessions.get_mut(&id).unwrap().scope = format!("{SCOPE}2");
    let token = rig.token(id);
    let unknown = Refusal::UnknownSession(id.to_string());
    assert_eq!(refused(rig.message(&id.to_string(), Some(&token), None)), unknown);
    assert_eq!(rig.look(id, Some(&token), None, None).unwrap_err(), unknown);
    assert!(matches!(rig.delete(id, &token), Delete::Refused(refusal) if refusal == unknown));
    assert!(matches!(rig.cancel(id, &token), Cancel::Refused(refusal) if refusal == unknown));
    assert_eq!(refused(rig.wake(id, Some("{}"))), unknown);
}

#[test]
fn of_a_hundred_requests_with_one_token_one_runs() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let mut runs = 0;
    for _ in 0..100 {
        match rig.message(&id.to_string(), Some(&token), None) {
            Claim::Run(_) => runs += 1,
            Claim::Refused(refusal) => assert_eq!(refusal.code(), "in-flight"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(runs, 1);
}

#[test]
fn only_a_commit_rotates_the_token() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    for (body, commits) in [
        ("{\"status\":\"contended\",\"current\":4}", false),
        ("nonsense", false),
        ("{\"status\":\"parked\",\"wait\":{\"id\":\"w\"}}", true),
        ("{\"status\":\"finished\"}", true),
    ] {
        let before = rig.token(id);
        rig.go_on(id, JSON, body);
        assert_eq!(rig.token(id) != before, commits, "{body}");
        // State that is not named stays.
        assert_eq!(rig.states[&id], "1");
    }
    assert_ne!(rig.token(id), token);
    assert_eq!(rig.sessions[&id].committed, 3);
    rig.go_on(id, JSON, "{\"status\":\"finished\",\"state\":null}");
    assert_eq!(rig.states[&id], "null");
}

#[test]
fn attempts_are_counted_within_their_turn() {
    let mut rig = Rig::new();
    let run = ran(rig.start(None));
    let id = run.attempt.session;
    assert_eq!((run.attempt.turn, run.attempt.number, run.cause), (1, 1, Cause::Start));
    rig.answer(run, Form::Json, JSON, "nonsense");
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    // It is still the start.
    assert_eq!((run.attempt.turn, run.attempt.number, run.cause), (1, 2, Cause::Start));
    assert!(run.is_first);
    rig.answer(run, Form::Json, JSON, FINISHED);
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    assert_eq!((run.attempt.turn, run.attempt.number, run.cause), (2, 1, Cause::Message));
    assert!(!run.is_first);
}

#[test]
fn the_previous_token_reads_for_a_while_or_until_the_current_one_is_used() {
    let mut rig = Rig::new();
    let id = rig.session();
    let name = id.to_string();
    let old = rig.token(id);
    rig.go_on(id, JSON, FINISHED);
    let current = rig.token(id);
    let resume = rig.resume(id);
    let may_write = |look: Result<look::View, Refusal>| look.map(|view| view.may_write);
    assert_eq!(may_write(rig.look(id, Some(&old), None, None)), Ok(false));
    assert_eq!(may_write(rig.look(id, None, Some(&resume), None)), Ok(false));
    assert_eq!(may_write(rig.look(id, Some("ct_x"), Some(&resume), None)), Ok(false));
    // Neither stands for the other.
    assert_eq!(may_write(rig.look(id, Some(&resume), None, None)), Err(Refusal::StaleToken(id)));
    assert_eq!(may_write(rig.look(id, None, Some(&current), None)), Err(Refusal::StaleToken(id)));
    assert_eq!(may_write(rig.look(id, None, None, None)), Err(Refusal::MissingToken(id)));
    // It reads and nothing else.
    assert_eq!(refused(rig.message(&name, Some(&old), None)), Refusal::StaleToken(id));
    assert!(matches!(rig.cancel(id, &old), Cancel::Refused(Refusal::StaleToken(_))));
    assert!(matches!(rig.delete(id, &old), Delete::Refused(Refusal::StaleToken(_))));
    rig.pass(600_000 - 1);
    assert_eq!(may_write(rig.look(id, Some(&old), None, None)), Ok(false));
    rig.pass(1);
    assert_eq!(may_write(rig.look(id, Some(&old), None, None)), Err(Refusal::StaleToken(id)));

    rig.go_on(id, JSON, FINISHED);
    assert_eq!(may_write(rig.look(id, Some(&current), None, None)), Ok(false));
    let newest = rig.token(id);
    assert_eq!(may_write(rig.look(id, Some(&newest), None, None)), Ok(true));
    assert_eq!(may_write(rig.look(id, Some(&current), None, None)), Err(Refusal::StaleToken(id)));
    // The resume token lasts as long as the session.
    assert_eq!(may_write(rig.look(id, None, Some(&resume), None)), Ok(false));
}

#[test]
fn a_turn_begun_with_the_current_token_ends_the_reading_of_the_one_before() {
    let mut rig = Rig::new();
    let id = rig.session();
    let old = rig.token(id);
    rig.go_on(id, JSON, FINISHED);
    let current = rig.token(id);
    assert!(rig.look(id, Some(&old), None, None).is_ok());
    ran(rig.message(&id.to_string(), Some(&current), None));
    assert!(rig.look(id, Some(&old), None, None).is_err());
    assert!(rig.look(id, Some(&current), None, None).is_ok());
}

#[test]
fn what_was_promised_to_be_cancelled_does_not_commit() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    match rig.cancel(id, &token) {
        Cancel::Cancelling { session, turn, owner } => {
            assert_eq!((session, turn, owner), (id, 2, super::rig::OWNER));
        }
        other => panic!("{other:?}"),
    }
    // Asked again it is no other answer, and nothing is written.
    assert!(matches!(rig.cancel(id, &token), Cancel::Cancelling { .. }));
    assert_eq!(rig.levels.last(), Some(&Level::Unchanged));
    rig.answer(run, Form::Json, JSON, FINISHED);
    assert_eq!((rig.sessions[&id].committed, rig.token(id)), (1, token.clone()));
    assert_eq!(rig.states[&id], "1");
    match rig.cancel(id, &token) {
        Cancel::Ended { ending: Some(ending), token: seed, .. } => {
            let body = encode::ending_body(&ending, id, Some(seed), &rig.key);
            let expected = format!(
                "{{\"sessionId\":\"{id}\",\"status\":\"cancelled\",\"continuationToken\":\"{token}\"}}"
            );
            assert_eq!(body, expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deleted_session_is_unknown_and_its_turn_is_lost() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    assert!(matches!(rig.delete(id, &token), Delete::Gone { owner: Some(_), .. }));
    assert_eq!(rig.levels.last(), Some(&Level::Power));
    let outputs = rig.answer(run, Form::Json, JSON, FINISHED);
    assert!(matches!(outputs[..], [turn::Output::Trouble(Failure::Interrupted)]), "{outputs:?}");
    assert!(rig.sessions.is_empty() && rig.events.is_empty());
    let unknown = Refusal::UnknownSession(id.to_string());
    assert_eq!(refused(rig.message(&id.to_string(), Some(&token), None)), unknown);
}

#[test]
fn a_turn_that_nobody_runs_is_interrupted_once() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let (session, by, now) = (rig.sessions[&id].clone(), Epoch(9), rig.now);
    assert!(interrupt(session.clone(), |_| false, by, &rig.key, now).is_none());
    let step = interrupt(session, |attempt| *attempt == run.attempt, by, &rig.key, now).unwrap();
    let event = rig.write(step);
    assert_eq!(event.id.epoch, by);
    let text = event.text(id, &rig.key);
    assert!(text.contains("\"code\":\"interrupted\",\"retryable\":true"), "{text}");
    // The dead master's last words, should they come, change nothing.
    let order = end::EndOrder {
        attempt: run.attempt,
        events: Vec::new(),
        end: end::End::Outcome(Outcome::Finished { output: "1".into() }, State::Same),
        next: Nonce([9; 16]),
    };
    match rig.end(order) {
        Ended::Lost(Lost::Ended(ending)) => assert!(!ending.is_committed),
        other => panic!("{other:?}"),
    }
    let session = rig.sessions[&id].clone();
    assert!(interrupt(session, |_| true, by, &rig.key, now).is_none());
    let again = ran(rig.message(&id.to_string(), Some(&token), None));
    assert_eq!((again.attempt.turn, again.attempt.number), (2, 2));
}

#[test]
fn timers_wake_what_is_parked_until_it_commits() {
    let mut rig = Rig::new();
    let id = rig.session();
    let until = UnixMillis(rig.now.0 + 5000);
    let wait = format!("{{\"id\":\"w1\",\"until\":\"{}\"}}", moment::print(until));
    rig.go_on(id, JSON, &format!("{{\"status\":\"parked\",\"wait\":{wait}}}"));
    assert_eq!(prune::next_timer(rig.sessions.values()), Some(until));
    assert_eq!(refused(rig.wake(id, None)), Refusal::NotParked(id));
    rig.pass(5000);
    let run = ran(rig.wake(id, None));
    assert_eq!((run.cause, run.wake.as_deref()), (Cause::Timer, Some(wait.as_str())));
    assert_eq!(prune::next_timer(rig.sessions.values()), None);
    assert_eq!(refused(rig.wake(id, None)).code(), "in-flight");
    rig.answer(run, Form::Json, JSON, "nonsense");
    // It came to nothing: again after a second, then two.
    for pause in [1000, 2000] {
        let next = prune::next_timer(rig.sessions.values()).unwrap();
        assert_eq!(next.0 - rig.now.0, pause);
        rig.pass(pause);
        let run = ran(rig.wake(id, None));
        rig.answer(run, Form::Json, JSON, "nonsense");
    }
    let token = rig.token(id);
    rig.pass(4000);
    let run = ran(rig.wake(id, None));
    rig.answer(run, Form::Json, JSON, FINISHED);
    assert_ne!(rig.token(id), token);
    assert_eq!(prune::next_timer(rig.sessions.values()), None);
    // The client learns the token from the events, by the one it has.
    assert!(rig.look(id, Some(&token), None, None).is_ok());
    assert_eq!(refused(rig.wake(id, Some("{}"))), Refusal::NotParked(id));
}

#[test]
fn a_refused_timer_is_not_tried_again_and_a_message_leaves_it_alone() {
    let mut rig = Rig::new();
    let id = rig.session();
    let until = moment::print(UnixMillis(rig.now.0 + 1000));
    let parked =
        format!("{{\"status\":\"parked\",\"wait\":{{\"id\":\"w\",\"until\":\"{until}\"}}}}");
    rig.go_on(id, JSON, &parked);
    let due = prune::next_timer(rig.sessions.values());
    rig.go_on(id, JSON, "nonsense");
    assert_eq!(prune::next_timer(rig.sessions.values()), due);
    rig.pass(1000);
    let run = ran(rig.wake(id, None));
    let mut turn = rig.turn(run, Form::Json);
    turn.answer_head(422, None);
    rig.serve(&mut turn);
    assert_eq!(prune::next_timer(rig.sessions.values()), None);
    assert_eq!(rig.sessions[&id].status(rig.now), "parked");
    let run = ran(rig.wake(id, Some("{\"x\":1}")));
    assert_eq!((run.cause, run.wake.as_deref()), (Cause::Wake, Some("{\"x\":1}")));
}

#[test]
fn sessions_end_after_a_week_unless_they_run() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let week = 7 * 24 * 3_600_000;
    rig.pass(week - 1);
    assert!(prune::session(&rig.sessions[&id], rig.now).is_none());
    assert_eq!(rig.look(id, Some(&token), None, None).unwrap().status, "idle");
    rig.pass(1);
    assert_eq!(rig.look(id, Some(&token), None, None).unwrap().status, "closed");
    let unknown = Refusal::UnknownSession(id.to_string());
    assert_eq!(refused(rig.message(&id.to_string(), Some(&token), None)), unknown);
    assert!(
        matches!(prune::session(&rig.sessions[&id], rig.now), Some(Write::Forget(gone)) if gone == id)
    );
    let other = ran(rig.start(None)).attempt.session;
    rig.pass(week);
    assert!(prune::session(&rig.sessions[&other], rig.now).is_none(), "a running turn was deleted");
    assert_eq!(
        claim::known(
            &store::Found { session: rig.sessions.get(&other).cloned(), ..Default::default() },
            &other.to_string(),
            SCOPE,
            rig.now
        )
        .map(|session| session.id),
        Ok(other)
    );
}

#[test]
fn a_record_that_contradicts_itself_is_seen() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    ran(rig.message(&id.to_string(), Some(&token), None));
    let sound = rig.sessions[&id].clone();
    assert_eq!(sound.contradiction(), None);
    let timer = Timer { at: UnixMillis(0), failures: 0, wake: "{}".into() };
    type Spoiler<'a> = (&'a str, &'a dyn Fn(&mut Session));
    let spoilers: [Spoiler<'_>; 5] = [
        ("the token is of another turn", &|session| session.committed += 1),
        ("another attempt runs", &|session| session.attempts += 1),
        ("a session that waits for nothing has a timer", &|session| {
            session.timer = Some(timer.clone())
        }),
        ("the turn starts nowhere", &|session| session.turn_start += 1),
        ("the turn starts nowhere", &|session| session.turn_start = 0),
    ];
    for (what, spoil) in spoilers {
        let mut session = sound.clone();
        spoil(&mut session);
        assert_eq!(session.contradiction(), Some(what));
    }
}
