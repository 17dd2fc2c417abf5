//! A turn's machine: what is stored, told and let go of, in which order.

use super::rig::{Rig, ran};
use crate::limits::TURN_UNSTORED_BYTES;
use crate::session::end::{Appended, Ended};
use crate::session::event::Closes;
use crate::session::turn::Output;
use crate::session::*;
use crate::time::Instant;

const SSE: &[u8] = b"text/event-stream";
const DELTA: &[u8] = b"data: {\"type\":\"delta\",\"text\":\"a\"}\n\n";
const OUTCOME: &[u8] = b"data: {\"type\":\"outcome\",\"status\":\"finished\",\"output\":1}\n\n";

/// What each output is, in one word; what the store is asked for is said by the rig itself.
fn words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Append(order) => format!("append {}", order.events.len()),
        Output::End(_) => "end".into(),
        Output::Accept => "accept".into(),
        Output::Begin => "begin".into(),
        Output::Events(events) => {
            let last = events.last().is_some_and(|event| event.closes != Closes::Nothing);
            format!("events {}{}", events.len(), if last { "." } else { "" })
        }
        Output::Answer(ending) => format!("answer {}", ending.status),
        Output::PassThrough => "pass".into(),
        Output::Trouble(failure) => format!("trouble {}", failure.code()),
        Output::Finish => "finish".into(),
        Output::LetGo => "let go".into(),
        Output::Recycle => "recycle".into(),
    };
    outputs.iter().map(word).collect()
}

fn drain(turn: &mut Turn) -> Vec<Output> {
    std::iter::from_fn(|| turn.poll_output()).collect()
}

fn begun(rig: &mut Rig, form: Form) -> Turn {
    let id = rig.session();
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    rig.turn(run, form)
}

#[test]
fn every_form_of_client_is_told_in_its_way() {
    for (form, status, content_type, body, expected) in [
        (Form::Json, 200, "application/json", "{}", "events 1., answer 200"),
        (Form::Sse, 200, "application/json", "{}", "begin, events 1., finish"),
        (Form::Socket, 200, "application/json", "{}", "events 1., finish"),
        (Form::Json, 200, "application/json", "x", "let go, events 1., answer 502"),
        (Form::Sse, 200, "application/json", "x", "let go, events 1., answer 502"),
        (Form::Socket, 200, "application/json", "x", "let go, events 1., finish"),
        (Form::Json, 200, "text/html", "x", "let go, events 1., answer 502"),
        (Form::Sse, 500, "application/json", "{}", "let go, events 1., answer 502"),
        (Form::Json, 403, "application/json", "{}", "events 1., pass"),
        (Form::Sse, 429, "application/json", "{}", "events 1., pass"),
        (Form::Socket, 422, "application/json", "{}", "events 1., finish"),
        (Form::Sse, 200, "text/event-stream", "", "begin, let go, events 1., finish"),
        (Form::Json, 200, "text/event-stream", "", "let go, events 1., answer 502"),
        (
            Form::Sse,
            200,
            "application/json",
            "{\"status\":\"contended\",\"current\":1}",
            "begin, events 1., finish",
        ),
    ] {
        let mut rig = Rig::new();
        let mut turn = begun(&mut rig, form);
        turn.answer_head(status, Some(content_type.as_bytes()));
        turn.answer_bytes(body.as_bytes(), rig.now);
        turn.answer_end(true, rig.now);
        let outputs = rig.serve(&mut turn);
        assert_eq!(words(&outputs).join(", "), expected, "{form:?} {status} {content_type} {body}");
        assert!(turn.is_over() && turn.next_deadline().is_none());
    }
}

#[test]
fn an_event_is_stored_before_it_is_told_and_one_order_is_out_at_a_time() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Sse);
    let now = Instant::default();
    turn.answer_head(200, Some(SSE));
    assert_eq!(words(&drain(&mut turn)), ["begin"]);
    turn.answer_bytes(DELTA, rig.now);
    assert_eq!(words(&drain(&mut turn)), ["append 1"]);
    turn.answer_bytes(DELTA, rig.now);
    turn.answer_bytes(DELTA, rig.now);
    assert!(drain(&mut turn).is_empty());
    turn.appended(Ok(Appended::Stored { is_cancelling: false }), now);
    assert_eq!(words(&drain(&mut turn)), ["events 1", "append 2"]);
    turn.answer_bytes(DELTA, rig.now);
    turn.answer_bytes(OUTCOME, rig.now);
    assert!(!turn.wants_bytes());
    turn.appended(Ok(Appended::Stored { is_cancelling: false }), now);
    // What is left goes with the end.
    let outputs = drain(&mut turn);
    assert_eq!(words(&outputs), ["events 2", "end"]);
    match &outputs[1] {
        Output::End(order) => assert_eq!(order.events.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_app_that_is_faster_than_the_store_waits() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Json);
    turn.answer_head(200, Some(SSE));
    let text = "x".repeat(500_000);
    let delta = format!("data: {{\"type\":\"delta\",\"text\":\"{text}\"}}\n\n");
    let mut count = 0;
    while turn.wants_bytes() {
        turn.answer_bytes(delta.as_bytes(), rig.now);
        count += 1;
    }
    assert_eq!(count, TURN_UNSTORED_BYTES / 500_000 + 1);
    let outputs = drain(&mut turn);
    assert_eq!(words(&outputs), ["append 1"]);
    turn.appended(Ok(Appended::Stored { is_cancelling: false }), Instant::default());
    assert!(turn.wants_bytes());
}

#[test]
fn a_cancellation_lets_go_and_recycles_a_worker_that_does_not() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Sse);
    turn.answer_head(200, Some(SSE));
    turn.answer_bytes(DELTA, rig.now);
    let mut outputs = rig.serve(&mut turn);
    turn.cancel(Instant::from_millis(1000));
    turn.cancel(Instant::from_millis(2000));
    outputs.extend(rig.serve(&mut turn));
    assert_eq!(words(&outputs), ["begin", "events 1", "let go", "events 1.", "finish"]);
    turn.answer_bytes(OUTCOME, rig.now);
    turn.answer_end(true, rig.now);
    assert!(drain(&mut turn).is_empty() && !turn.is_over());
    assert_eq!(turn.next_deadline(), Some(Instant::from_millis(6000)));
    turn.handle_timeout(Instant::from_millis(5999));
    assert!(drain(&mut turn).is_empty());
    turn.handle_timeout(Instant::from_millis(6000));
    assert_eq!(words(&drain(&mut turn)), ["recycle"]);
    assert!(turn.is_over());

    let mut turn = begun(&mut rig, Form::Sse);
    turn.cancel(Instant::from_millis(1000));
    // Nothing was sent yet: the answer is a stream with the outcome alone.
    assert_eq!(words(&rig.serve(&mut turn)), ["let go", "begin", "events 1.", "finish"]);
    turn.worker_done();
    assert!(turn.is_over());
}

#[test]
fn a_cancellation_that_comes_by_the_store_counts_as_well() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Json);
    turn.answer_head(200, Some(SSE));
    turn.answer_bytes(DELTA, rig.now);
    let id = turn.run().attempt.session;
    let token = rig.token(id);
    rig.cancel(id, &token);
    assert_eq!(words(&rig.serve(&mut turn)), ["events 1", "let go", "events 1.", "answer 200"]);
    assert_eq!(rig.sessions[&id].committed, 1);
}

#[test]
fn leaving_is_not_cancelling_unless_it_was_asked_for() {
    for (cancels_by_leaving, expected) in [(false, 2), (true, 1)] {
        let mut rig = Rig::new();
        let id = rig.session();
        let token = rig.token(id);
        let run = ran(rig.message(&id.to_string(), Some(&token), None));
        let client = Client { form: Form::Sse, cancels_by_leaving, ..Client::default() };
        let mut turn = Turn::new(run, client, Nonce([77; 16]));
        turn.answer_head(200, Some(SSE));
        turn.client_left(Instant::default());
        turn.answer_bytes(OUTCOME, rig.now);
        turn.answer_end(true, rig.now);
        let outputs = words(&rig.serve(&mut turn));
        // Those who look on are told all the same; the client is told nothing.
        assert!(outputs.contains(&"events 1.".into()) && !outputs.contains(&"finish".into()));
        assert_eq!(rig.sessions[&id].committed, expected);
    }
}

#[test]
fn an_async_client_is_answered_at_once_and_leaving_means_nothing() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let body = encode::accepted_body(&run, &rig.key);
    assert_eq!(
        body,
        format!(
            "{{\"sessionId\":\"{id}\",\"status\":\"running\",\"turn\":2,\"continuationToken\":\"{token}\"}}"
        )
    );
    let client = Client { is_async: true, cancels_by_leaving: true, ..Client::default() };
    let mut turn = Turn::new(run, client, Nonce([77; 16]));
    turn.client_left(Instant::default());
    turn.answer_head(200, None);
    turn.answer_bytes(b"{}", rig.now);
    turn.answer_end(true, rig.now);
    assert_eq!(words(&rig.serve(&mut turn)), ["accept", "events 1."]);
    assert_eq!(rig.sessions[&id].committed, 2);
}

#[test]
fn a_store_that_takes_nothing_fails_the_turn_and_is_asked_again() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Sse);
    let id = turn.run().attempt.session;
    let last = rig.sessions[&id].ledger.last();
    turn.answer_head(200, Some(SSE));
    turn.answer_bytes(DELTA, rig.now);
    assert_eq!(words(&drain(&mut turn)), ["begin", "append 1"]);
    turn.appended(Err("disk full"), Instant::from_millis(0));
    assert_eq!(words(&drain(&mut turn)), ["let go", "end"]);
    turn.ended(Err("disk full"), Instant::from_millis(0));
    assert_eq!(words(&drain(&mut turn)), ["trouble store", "finish"]);
    assert_eq!(turn.next_deadline(), Some(Instant::from_millis(100)));
    turn.handle_timeout(Instant::from_millis(100));
    assert_eq!(words(&drain(&mut turn)), ["end"]);
    turn.ended(Err("disk full"), Instant::from_millis(100));
    assert!(drain(&mut turn).is_empty());
    assert_eq!(turn.next_deadline(), Some(Instant::from_millis(300)));
    turn.handle_timeout(Instant::from_millis(300));
    // The store is well again: the turn's numbers begin where they would have.
    let outputs = rig.serve(&mut turn);
    match &outputs[..] {
        [Output::Events(events)] => assert_eq!(events[0].id.seq, last.seq + 1),
        other => panic!("{other:?}"),
    }
    assert!(turn.is_over());
    assert!(rig.sessions[&id].running.is_none());
}

#[test]
fn a_commit_of_which_the_store_is_not_sure_is_not_told_as_one() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Json);
    let id = turn.run().attempt.session;
    turn.answer_head(200, None);
    turn.answer_bytes(b"{}", rig.now);
    turn.answer_end(true, rig.now);
    let Some(Output::End(order)) = drain(&mut turn).pop() else { panic!("no end") };
    assert!(matches!(rig.end(order), Ended::Stored { .. }));
    turn.ended(Err("no answer"), Instant::default());
    assert_eq!(words(&drain(&mut turn)), ["trouble store"]);
    turn.handle_timeout(Instant::from_millis(100));
    // Asked again, the store knows how it ended. The client was answered.
    assert!(rig.serve(&mut turn).is_empty());
    assert!(turn.is_over());
    assert_eq!(rig.sessions[&id].committed, 2);
}

#[test]
fn events_behind_a_lost_append_do_not_commit() {
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Json);
    let id = turn.run().attempt.session;
    turn.answer_head(200, Some(SSE));
    turn.answer_bytes(DELTA, rig.now);
    assert_eq!(words(&drain(&mut turn)), ["append 1"]);
    turn.answer_bytes(OUTCOME, rig.now);
    turn.appended(Err("disk full"), Instant::default());
    assert_eq!(words(&rig.serve(&mut turn)), ["events 1.", "answer 503"]);
    assert_eq!(rig.sessions[&id].committed, 1, "it committed without what it had said");
}

#[test]
fn the_first_turn_tells_name_and_token_also_when_it_fails() {
    let mut rig = Rig::new();
    let run = ran(rig.start(None));
    let id = run.attempt.session;
    let outputs = rig.answer(run, Form::Json, "application/json", "nonsense");
    let token = rig.token(id);
    match &outputs[..] {
        [Output::LetGo, Output::Events(events), Output::Answer(ending)] => {
            let body = encode::ending_body(ending, id, None, &rig.key);
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let event = events[0].text(id, &rig.key);
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            for told in [body, event] {
                assert_eq!(told["sessionId"], id.to_string());
                assert_eq!(told["continuationToken"], token);
                assert_eq!(told["code"], "bad-answer");
            }
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.levels.last(), Some(&Level::Power), "the client heard of what may be lost");
}

#[test]
fn a_refused_start_over_a_socket_leaves_a_fresh_connection() {
    let mut rig = Rig::new();
    let run = ran(rig.start(None));
    let mut turn = rig.turn(run, Form::Socket);
    turn.answer_head(403, None);
    assert_eq!(words(&rig.serve(&mut turn)), ["trouble refused"]);
    assert!(rig.sessions.is_empty() && turn.is_over());
}

#[test]
fn what_comes_before_the_answer_fails_it() {
    for (failure, status) in
        [(Failure::Timeout, 504), (Failure::Unavailable { status: 503, code: "queue-full" }, 503)]
    {
        let mut rig = Rig::new();
        let mut turn = begun(&mut rig, Form::Json);
        turn.fail(failure);
        turn.answer_head(200, None);
        let expected = ["let go", "events 1.", &format!("answer {status}")];
        assert_eq!(words(&rig.serve(&mut turn)), expected);
    }
    let mut rig = Rig::new();
    let mut turn = begun(&mut rig, Form::Json);
    turn.answer_end(false, rig.now);
    assert_eq!(words(&rig.serve(&mut turn)), ["let go", "events 1.", "answer 502"]);
    let mut turn = begun(&mut rig, Form::Json);
    turn.answer_head(200, None);
    turn.answer_bytes(b"{}", rig.now);
    turn.answer_end(false, rig.now);
    assert_eq!(words(&rig.serve(&mut turn)), ["let go", "events 1.", "answer 502"]);
}
