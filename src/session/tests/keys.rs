//! Lost answers: what an idempotency key brings back.

use super::rig::{Rig, asked, ran, refused};
use crate::session::claim::Claim;
use crate::session::prune;
use crate::session::*;

const FINISHED: &str = "{\"status\":\"finished\",\"output\":{\"n\":1}}";
const JSON: &str = "application/json";

#[track_caller]
fn replayed(rig: &Rig, claim: Claim) -> String {
    match claim {
        Claim::Replay { session, ending, token, .. } => {
            let body = encode::ending_body(&ending, session, Some(token), &rig.key);
            let event = encode::replay_event(&ending, session, token, &rig.key);
            assert!(event.starts_with("{\"type\":\"outcome\",\"turn\":"), "{event}");
            assert!(event.ends_with(&body[1..]), "{event}");
            body
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_committed_start_is_replayed_with_the_current_token() {
    let mut rig = Rig::new();
    let run = ran(rig.start(asked(1, "{}")));
    let id = run.attempt.session;
    let in_flight = refused(rig.start(asked(1, "{}")));
    assert_eq!(in_flight, Refusal::InFlight { session: id, own_turn: Some(1) });
    rig.answer(run, Form::Json, JSON, FINISHED);
    for _ in 0..2 {
        let claim = rig.start(asked(1, "{}"));
        let token = rig.token(id);
        let body = format!(
            "{{\"sessionId\":\"{id}\",\"status\":\"finished\",\"output\":{{\"n\":1}},\
             \"continuationToken\":\"{token}\"}}"
        );
        assert_eq!(replayed(&rig, claim), body);
        rig.go_on(id, JSON, "{\"status\":\"finished\",\"output\":2}");
    }
    assert_eq!(refused(rig.start(asked(1, "{\"other\":1}"))), Refusal::KeyReused);
    assert_eq!(rig.sessions.len(), 1);
}

#[test]
fn a_failed_start_runs_again_on_its_session() {
    let mut rig = Rig::new();
    let run = ran(rig.start(asked(1, "{}")));
    let id = run.attempt.session;
    rig.answer(run, Form::Json, JSON, "nonsense");
    let run = ran(rig.start(asked(1, "{}")));
    assert_eq!((run.attempt.session, run.attempt.number), (id, 2));
    rig.answer(run, Form::Json, JSON, "{\"status\":\"contended\",\"current\":1}");
    let run = ran(rig.start(asked(1, "{}")));
    assert_eq!((run.attempt.session, run.attempt.number), (id, 3));
    rig.answer(run, Form::Json, JSON, FINISHED);
    let claim = rig.start(asked(1, "{}"));
    replayed(&rig, claim);
    assert_eq!(rig.sessions.len(), 1);
}

#[test]
fn a_start_whose_turn_another_request_took_is_stale() {
    let mut rig = Rig::new();
    let run = ran(rig.start(asked(1, "{}")));
    let id = run.attempt.session;
    rig.answer(run, Form::Json, JSON, "nonsense");
    rig.go_on(id, JSON, FINISHED);
    assert_eq!(refused(rig.start(asked(1, "{}"))), Refusal::StaleToken(id));
    assert_eq!(rig.sessions.len(), 1);
}

#[test]
fn a_refused_start_leaves_nothing() {
    let mut rig = Rig::new();
    let run = ran(rig.start(asked(1, "{}")));
    let mut turn = rig.turn(run, Form::Json);
    turn.answer_head(401, Some(b"application/json"));
    let outputs = rig.serve(&mut turn);
    assert!(matches!(outputs[..], [turn::Output::PassThrough]), "{outputs:?}");
    assert!(rig.sessions.is_empty() && rig.keys.is_empty() && rig.events.is_empty());
    ran(rig.start(asked(1, "{}")));
}

#[test]
fn a_used_up_token_is_honoured_for_its_own_request_only() {
    let mut rig = Rig::new();
    let id = rig.session();
    let name = id.to_string();
    let token = rig.token(id);
    let run = ran(rig.message(&name, Some(&token), asked(1, "{}")));
    let own = Refusal::InFlight { session: id, own_turn: Some(2) };
    assert_eq!(refused(rig.message(&name, Some(&token), asked(1, "{}"))), own);
    let other = Refusal::InFlight { session: id, own_turn: None };
    assert_eq!(refused(rig.message(&name, Some(&token), asked(2, "{}"))), other);
    rig.answer(run, Form::Json, JSON, FINISHED);
    let claim = rig.message(&name, Some(&token), asked(1, "{}"));
    let current = rig.token(id);
    assert!(replayed(&rig, claim).contains(&current));
    // With the current token too.
    let claim = rig.message(&name, Some(&current), asked(1, "{}"));
    replayed(&rig, claim);
    // Not without one, not with a made-up one, not without the key.
    assert_eq!(refused(rig.message(&name, None, asked(1, "{}"))), Refusal::MissingToken(id));
    assert_eq!(refused(rig.message(&name, Some("ct_x"), asked(1, "{}"))), Refusal::StaleToken(id));
    assert_eq!(refused(rig.message(&name, Some(&token), None)), Refusal::StaleToken(id));
    assert_eq!(refused(rig.message(&name, Some(&token), asked(2, "{}"))), Refusal::StaleToken(id));
    assert_eq!(
        refused(rig.message(&name, Some(&token), asked(1, "{\"x\":1}"))),
        Refusal::KeyReused
    );
}

#[test]
fn a_key_that_failed_is_not_what_another_attempt_committed() {
    let mut rig = Rig::new();
    let id = rig.session();
    let name = id.to_string();
    let token = rig.token(id);
    let run = ran(rig.message(&name, Some(&token), asked(1, "{}")));
    rig.answer(run, Form::Json, JSON, "nonsense");
    // Somebody else runs the same turn with the same token.
    let run = ran(rig.message(&name, Some(&token), asked(2, "{\"x\":1}")));
    let in_flight = Refusal::InFlight { session: id, own_turn: None };
    assert_eq!(refused(rig.message(&name, Some(&token), asked(1, "{}"))), in_flight);
    rig.answer(run, Form::Json, JSON, FINISHED);
    assert_eq!(refused(rig.message(&name, Some(&token), asked(1, "{}"))), Refusal::StaleToken(id));
    let claim = rig.message(&name, Some(&token), asked(2, "{\"x\":1}"));
    replayed(&rig, claim);
}

#[test]
fn a_message_that_ran_the_first_turn_is_replayed_to_its_token() {
    let mut rig = Rig::new();
    let run = ran(rig.start(None));
    let id = run.attempt.session;
    rig.answer(run, Form::Json, JSON, "nonsense");
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), asked(1, "{}")));
    rig.answer(run, Form::Json, JSON, FINISHED);
    let claim = rig.message(&id.to_string(), Some(&token), asked(1, "{}"));
    replayed(&rig, claim);
}

#[test]
fn keys_are_kept_a_day_and_their_outcome_with_them() {
    let mut rig = Rig::new();
    let id = rig.session();
    let name = id.to_string();
    let token = rig.token(id);
    let run = ran(rig.message(&name, Some(&token), asked(1, "{}")));
    let day = 24 * 3_600_000;
    rig.pass(day);
    // While it runs it is kept.
    let own = Refusal::InFlight { session: id, own_turn: Some(2) };
    assert_eq!(refused(rig.message(&name, Some(&token), asked(1, "{}"))), own);
    assert!(prune::key(&rig.keys[0], rig.sessions.get(&id), rig.now).is_none());
    rig.answer(run, Form::Json, JSON, FINISHED);
    assert_eq!(refused(rig.message(&name, Some(&token), asked(1, "{}"))), Refusal::StaleToken(id));
    assert!(prune::key(&rig.keys[0], rig.sessions.get(&id), rig.now).is_some());

    let token = rig.token(id);
    let run = ran(rig.message(&name, Some(&token), asked(2, "{}")));
    rig.pass(1000);
    rig.answer(run, Form::Json, JSON, FINISHED);
    rig.go_on(id, JSON, FINISHED);
    rig.pass(day - 1001);
    let session = &rig.sessions[&id];
    let due = |turn| prune::ending(session, &rig.endings[&(id, turn)], rig.now).is_some();
    assert_eq!((due(1), due(2), due(3), due(4)), (true, false, false, false));
    let claim = rig.message(&name, Some(&token), asked(2, "{}"));
    replayed(&rig, claim);
    rig.pass(day);
    let session = &rig.sessions[&id];
    let due = |turn| prune::ending(session, &rig.endings[&(id, turn)], rig.now).is_some();
    assert_eq!((due(3), due(4)), (true, false), "the last ending must stay");
}
