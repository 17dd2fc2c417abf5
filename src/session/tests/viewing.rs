//! What those see who look on.

use super::rig::{Rig, ran};
use crate::ids::{AppId, LoopIndex};
use crate::limits::{SESSION_EVENT_BYTES, TAIL_BYTES};
use crate::session::claim::{Attempt, Right};
use crate::session::prune::Old;
use crate::session::socket::Asks;
use crate::session::table::{Place, RunningTurn};
use crate::session::turn::Output;
use crate::session::viewer::{Next, Opening};
use crate::session::*;
use crate::time::{Instant, UnixMillis};
use std::time::Duration;

const NDJSON: &str = "application/x-ndjson";
const STREAM: &str = "{\"type\":\"delta\",\"text\":\"Hel\"}\n{\"type\":\"record\",\"record\":{\"a\":[1]}}\n\
                      {\"type\":\"outcome\",\"status\":\"finished\",\"output\":{\"b\":2}}\n";

fn read(cursor: Cursor) -> Reading {
    Reading { access: Access::default(), cursor, turn: None, wait: Duration::ZERO, limit: 1000 }
}

fn open(rig: &mut Rig, id: SessionId, form: Form, read: &Reading) -> Result<Opening, Refusal> {
    let resume = rig.resume(id);
    let view = rig.look(id, None, Some(&resume), read.turn)?;
    Viewer::open(read, form, &view, Instant::default())
}

#[track_caller]
fn viewer(opening: Result<Opening, Refusal>) -> Viewer {
    match opening {
        Ok(Opening::Viewer(viewer)) => viewer,
        other => panic!("{other:?}"),
    }
}

/// Reads until nothing more comes by itself, in pages of `count`.
fn pull(rig: &Rig, viewer: &mut Viewer, count: u32) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Next::Page { after, count: wanted } = viewer.next() {
        let page = rig.page(viewer.session(), after, count.min(wanted));
        seen.extend(viewer.take(page).events);
    }
    seen
}

fn names(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.id.seq).collect()
}

#[test]
fn a_stream_is_framed_exactly() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, STREAM);
    let token = rig.token(id);
    let mut viewer = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Turn)));
    assert_eq!(viewer.after().to_string(), "0003-000000000001");
    let mut out = encode::STREAM_START.as_bytes().to_vec();
    for event in pull(&rig, &mut viewer, 2) {
        encode::event_block(&event, id, &rig.key, &mut out);
    }
    out.extend_from_slice(encode::HEARTBEAT.as_bytes());
    let expected = format!(
        "retry: 1000\n\n\
         id: 0003-000000000002\n\
         data: {{\"type\":\"delta\",\"turn\":2,\"seq\":2,\"text\":\"Hel\"}}\n\n\
         id: 0003-000000000003\n\
         data: {{\"type\":\"record\",\"turn\":2,\"seq\":3,\"record\":{{\"a\":[1]}}}}\n\n\
         id: 0003-000000000004\n\
         data: {{\"type\":\"outcome\",\"turn\":2,\"seq\":4,\"sessionId\":\"{id}\",\"status\":\"finished\",\
         \"output\":{{\"b\":2}},\"continuationToken\":\"{token}\"}}\n\n\
         : hb\n\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn every_form_lists_the_same_events() {
    let mut rig = Rig::new();
    let id = rig.session();
    let outputs = rig.go_on(id, NDJSON, STREAM);
    let told = outputs.into_iter().filter_map(|output| match output {
        Output::Events(events) => Some(events),
        _ => None,
    });
    let key = rig.key.clone();
    let live: Vec<String> = told.flatten().map(|event| event.text(id, &key).into_owned()).collect();
    let earliest = read(Cursor::Earliest);
    let mut sse = viewer(open(&mut rig, id, Form::Sse, &earliest));
    let mut blocks = Vec::new();
    for event in pull(&rig, &mut sse, 100) {
        encode::event_block(&event, id, &key, &mut blocks);
    }
    let blocks = String::from_utf8(blocks).unwrap();
    let blocks: Vec<&str> = blocks.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let mut json = viewer(open(&mut rig, id, Form::Json, &earliest));
    let events = pull(&rig, &mut json, 100);
    let body = encode::events_body(
        &events,
        id,
        json.after(),
        json.is_up_to_date(),
        json.is_closed(),
        &key,
    );
    let expected = format!(
        "{{\"events\":[{}],\"next\":\"0003-000000000004\",\"upToDate\":true,\"closed\":true}}",
        blocks.join(",")
    );
    assert_eq!(body, expected);
    assert_eq!(blocks[1..], live);
    let mut socket = viewer(open(&mut rig, id, Form::Socket, &earliest));
    let messages: Vec<String> = pull(&rig, &mut socket, 100)
        .iter()
        .map(|event| {
            let message = encode::event_message(event, id, &key);
            let (id, rest) = message.split_at(26);
            assert_eq!(id, format!("{{\"id\":\"{}\",", event.id));
            format!("{{{rest}")
        })
        .collect();
    assert_eq!(messages, blocks);
}

#[test]
fn after_every_event_the_rest_is_the_rest() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, STREAM);
    rig.go_on(id, NDJSON, STREAM);
    let mut whole = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Earliest)));
    let whole = pull(&rig, &mut whole, 100);
    assert_eq!(names(&whole), [1, 2, 3, 4, 5, 6, 7]);
    for (at, event) in whole.iter().enumerate() {
        for count in [1, 2, 100] {
            let rest = open(&mut rig, id, Form::Sse, &read(Cursor::After(event.id)));
            let seen = match rest.unwrap() {
                Opening::Nothing => Vec::new(),
                Opening::Viewer(mut viewer) => {
                    assert_eq!((viewer.after(), viewer.reset()), (event.id, None));
                    pull(&rig, &mut viewer, count)
                }
            };
            let text = |events: &[Event]| -> Vec<String> {
                events.iter().map(|event| event.text(id, &rig.key).into_owned()).collect()
            };
            assert_eq!(text(&seen), text(&whole[at + 1..]));
        }
    }
}

#[test]
fn cursors_that_lead_nowhere_are_told() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, STREAM);
    let lost = read(Cursor::After(EventId::new(Epoch(2), 3)));
    let start = EventId::new(Epoch(3), 1);
    let sse = viewer(open(&mut rig, id, Form::Sse, &lost));
    assert_eq!((sse.reset(), sse.after()), (Some(Reset::Epoch), start));
    let mut out = Vec::new();
    encode::reset_block(Reset::Epoch, start, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "id: 0003-000000000001\n\
         data: {\"type\":\"reset\",\"reason\":\"epoch\",\"from\":\"0003-000000000001\"}\n\n"
    );
    let refusal = open(&mut rig, id, Form::Json, &lost).unwrap_err();
    assert_eq!(refusal, Refusal::Gone { session: id, reset: Reset::Epoch });
    // The end of the life before is not a place in this one.
    let end = read(Cursor::After(EventId::new(Epoch(4), 4)));
    assert_eq!(viewer(open(&mut rig, id, Form::Sse, &end)).reset(), Some(Reset::Epoch));
}

#[test]
fn without_a_cursor_the_last_attempt_is_read() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, "{\"type\":\"delta\",\"text\":\"lost\"}\n");
    let mut failed = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Turn)));
    assert_eq!(names(&pull(&rig, &mut failed, 9)), [2, 3]);
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let mut running = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Turn)));
    assert!(pull(&rig, &mut running, 9).is_empty());
    assert_eq!(running.next(), Next::Wait { until: None });
    rig.answer(run, Form::Json, NDJSON, STREAM);
    running.stir();
    assert_eq!(names(&pull(&rig, &mut running, 2)), [4, 5, 6]);
    assert_eq!(running.next(), Next::Done);
}

#[test]
fn with_nothing_left_a_stream_is_not_begun() {
    let mut rig = Rig::new();
    let id = rig.session();
    let last = rig.sessions[&id].ledger.last();
    for cursor in [Cursor::Now, Cursor::After(last)] {
        assert!(matches!(open(&mut rig, id, Form::Sse, &read(cursor)), Ok(Opening::Nothing)));
        let mut json = viewer(open(&mut rig, id, Form::Json, &read(cursor)));
        assert!(pull(&rig, &mut json, 9).is_empty());
        assert!(json.is_up_to_date() && json.is_closed() && json.next() == Next::Done);
    }
    let token = rig.token(id);
    ran(rig.message(&id.to_string(), Some(&token), None));
    let now = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Now)));
    assert_eq!(now.after(), last);
}

#[test]
fn one_turn_is_read_to_its_own_end() {
    let mut rig = Rig::new();
    let id = rig.session();
    let turn = |number| Reading { turn: Some(number), ..read(Cursor::Turn) };
    rig.go_on(id, NDJSON, "{\"type\":\"delta\",\"text\":\"lost\"}\n");
    // The attempt that failed is the turn's end as things stand.
    let mut failed = viewer(open(&mut rig, id, Form::Sse, &turn(2)));
    assert_eq!(names(&pull(&rig, &mut failed, 9)), [2, 3]);
    rig.go_on(id, NDJSON, STREAM);
    rig.go_on(id, NDJSON, STREAM);
    for (number, expected) in [(1, vec![1]), (2, vec![4, 5, 6]), (3, vec![7, 8, 9])] {
        for form in [Form::Sse, Form::Json] {
            let mut viewer = viewer(open(&mut rig, id, form, &turn(number)));
            assert_eq!(
                names(&pull(&rig, &mut viewer, 2)),
                if form == Form::Json {
                    expected[..expected.len().min(2)].to_vec()
                } else {
                    expected.clone()
                }
            );
        }
    }
    // From the start of everything, through the failed attempt, to the end of the turn.
    let all = Reading { turn: Some(2), ..read(Cursor::Earliest) };
    let mut viewer_2 = viewer(open(&mut rig, id, Form::Sse, &all));
    assert_eq!(names(&pull(&rig, &mut viewer_2, 1)), [1, 2, 3, 4, 5, 6]);
    // Its end may be gone: what comes behind it is not its own.
    let mut late = viewer(open(&mut rig, id, Form::Sse, &all));
    let Next::Page { after, .. } = late.next() else { panic!("it wants nothing") };
    let mut page = rig.page(id, after, 100).unwrap();
    page.events.retain(|event| event.turn != 2);
    assert_eq!(names(&late.take(Some(page)).events), [1]);
    assert_eq!((late.next(), late.is_closed()), (Next::Done, true));
    let behind = Reading { turn: Some(2), ..read(Cursor::After(EventId::new(Epoch(3), 6))) };
    assert!(matches!(open(&mut rig, id, Form::Sse, &behind), Ok(Opening::Nothing)));
    let mut json = viewer(open(&mut rig, id, Form::Json, &behind));
    assert!(pull(&rig, &mut json, 9).is_empty() && json.is_closed());
}

#[test]
fn a_long_poll_waits_for_the_first_event() {
    let mut rig = Rig::new();
    let id = rig.session();
    let poll = Reading { wait: Duration::from_secs(25), limit: 2, ..read(Cursor::Now) };
    let mut late = viewer(open(&mut rig, id, Form::Json, &poll));
    assert!(pull(&rig, &mut late, 9).is_empty());
    let until = Some(Instant::from_millis(25_000));
    assert_eq!(late.next(), Next::Wait { until });
    late.handle_timeout(Instant::from_millis(24_999));
    late.stir();
    assert!(pull(&rig, &mut late, 9).is_empty());
    late.handle_timeout(Instant::from_millis(25_000));
    assert_eq!(late.next(), Next::Done);

    let mut fed = viewer(open(&mut rig, id, Form::Json, &poll));
    assert!(pull(&rig, &mut fed, 9).is_empty());
    rig.go_on(id, NDJSON, STREAM);
    fed.stir();
    assert_eq!(names(&pull(&rig, &mut fed, 9)), [2, 3]);
    assert_eq!((fed.next(), fed.is_up_to_date(), fed.is_closed()), (Next::Done, false, false));

    // A page from memory, where the turn that has just been committed still counts as running.
    let rest = Reading { limit: 9, ..poll };
    let mut told = viewer(open(&mut rig, id, Form::Json, &rest));
    rig.go_on(id, NDJSON, STREAM);
    let Next::Page { after, count } = told.next() else { panic!("it wants nothing") };
    let mut page = rig.page(id, after, count).unwrap();
    page.running = page.events.last().map(|outcome| outcome.turn);
    told.take(Some(page));
    assert_eq!((told.next(), told.is_closed()), (Next::Done, true));
}

#[test]
fn a_viewer_who_is_too_slow_is_told_what_it_missed() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, STREAM);
    let mut slow = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Earliest)));
    let Next::Page { after, .. } = slow.next() else { panic!("it wants nothing") };
    assert_eq!(names(&slow.take(rig.page(id, after, 1)).events), [1]);
    let session = rig.sessions[&id].clone();
    let oldest: Vec<Old> = (1..=3).map(|seq| Old { seq, bytes: 1, at: UnixMillis(0) }).collect();
    let now = UnixMillis(25 * 3_600_000);
    let writes = prune::events(session, &oldest, now);
    rig.write(Step { level: Level::Process, writes, reply: () });
    let Next::Page { after, .. } = slow.next() else { panic!("it wants nothing") };
    let batch = slow.take(rig.page(id, after, 9));
    assert_eq!(batch.reset, Some((Reset::Truncated, EventId::new(Epoch(3), 3))));
    assert_eq!(names(&batch.events), [4]);
    assert_eq!(slow.next(), Next::Done);
    // And the place it is sent to is one.
    let again = read(Cursor::After(EventId::new(Epoch(3), 3)));
    assert_eq!(viewer(open(&mut rig, id, Form::Sse, &again)).reset(), None);
    let old = read(Cursor::After(EventId::new(Epoch(3), 2)));
    assert_eq!(viewer(open(&mut rig, id, Form::Sse, &old)).reset(), Some(Reset::Truncated));
}

#[test]
fn who_wants_the_oldest_events_is_not_told_that_older_ones_have_just_gone() {
    for (cursor, reset) in [
        (Cursor::Earliest, None),
        (Cursor::After(EventId::new(Epoch(3), 1)), Some((Reset::Truncated, 3))),
    ] {
        let mut rig = Rig::new();
        let id = rig.session();
        rig.go_on(id, NDJSON, STREAM);
        let mut json = viewer(open(&mut rig, id, Form::Json, &read(cursor)));
        let session = rig.sessions[&id].clone();
        let old = |seq| Old { seq, bytes: 1, at: UnixMillis(0) };
        let oldest: Vec<Old> = (1..=3).map(old).collect();
        let writes = prune::events(session, &oldest, UnixMillis(25 * 3_600_000));
        rig.write(Step { level: Level::Process, writes, reply: () });
        let Next::Page { after, count } = json.next() else { panic!("it wants nothing") };
        let batch = json.take(rig.page(id, after, count));
        assert_eq!(batch.reset.map(|(reset, from)| (reset, from.seq)), reset);
        assert_eq!(names(&batch.events), [4]);
    }
}

#[test]
fn a_deleted_session_ends_the_stream() {
    let mut rig = Rig::new();
    let id = rig.session();
    let mut gone = viewer(open(&mut rig, id, Form::Sse, &read(Cursor::Earliest)));
    assert!(gone.take(None).events.is_empty());
    assert_eq!(gone.next(), Next::Done);
}

#[test]
fn events_are_pruned_by_age_and_size_but_for_the_last() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, STREAM);
    let mut session = rig.sessions[&id].clone();
    let old = |seq, at| Old { seq, bytes: 10, at: UnixMillis(at) };
    let day = 24 * 3_600_000;
    let below = |writes: Vec<Write>| match writes.first() {
        Some(Write::DropEvents(_, below)) => Some(*below),
        _ => None,
    };
    let rows = [old(1, 0), old(2, 1), old(3, 2), old(4, 2)];
    assert_eq!(below(prune::events(session.clone(), &rows, UnixMillis(day - 1))), None);
    assert_eq!(below(prune::events(session.clone(), &rows, UnixMillis(day + 1))), Some(3));
    assert_eq!(below(prune::events(session.clone(), &rows, UnixMillis(9 * day))), Some(4));
    session.event_bytes = SESSION_EVENT_BYTES + 15;
    assert_eq!(below(prune::events(session.clone(), &rows, UnixMillis(0))), Some(3));
    session.event_bytes = SESSION_EVENT_BYTES;
    assert_eq!(below(prune::events(session, &rows, UnixMillis(0))), None);
}

#[test]
fn answers_have_their_fields() {
    let mut rig = Rig::new();
    let id = rig.session();
    let resume = rig.resume(id);
    let view = rig.look(id, None, Some(&resume), None).unwrap();
    let expected = format!(
        "{{\"status\":\"idle\",\"turn\":1,\"lastEventId\":\"0003-000000000001\",\"expiresAt\":\"{}\"}}",
        moment::print(UnixMillis(rig.now.0 + 7 * 24 * 3_600_000))
    );
    assert_eq!(encode::status_body(&view), expected);
    let fields = encode::turn_fields(id, 4, &view.resume, &rig.key);
    let expected = [
        ("Rip-Session-Id", id.to_string()),
        ("Rip-Turn", "4".into()),
        ("Rip-Resume-Token", resume),
        ("Cache-Control", "no-store".into()),
        ("X-Accel-Buffering", "no".into()),
    ];
    assert_eq!(fields, expected);
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let location = format!("/v1/session/{id}/events?turn=2");
    let accepted = encode::accepted_fields("/v1", &run);
    assert_eq!(accepted, [("Location", location), ("Preference-Applied", "respond-async".into())]);
    let sent = request::fields(&run, "00-x");
    assert!(sent.contains(&("Idempotency-Key", format!("{id}:2"))));
    assert!(sent.contains(&("Rip-Turn-Attempt", "1".into())));
    assert!(sent.contains(&("Rip-Edge", "turn".into())));
}

fn running(session: SessionId, turn: u64) -> RunningTurn {
    let attempt = Attempt { session, turn, number: 1, owner: Epoch(3) };
    RunningTurn { attempt, app: AppId::new("api"), since: Instant::from_millis(turn) }
}

#[test]
fn the_newest_turns_are_told_of_until_they_end() {
    let place = |key| Place { loop_index: LoopIndex(0), key };
    let turn = |byte: u8, turn| running(SessionId::new([byte; 16]), turn);
    let mut table = Table::new();
    for (byte, number) in [(1, 3), (2, 1), (3, 2)] {
        table.began(turn(byte, number), place(byte.into()));
    }
    assert_eq!(table.newest_turns(2), [turn(1, 3), turn(3, 2)]);
    // The next one of the same session, in another place.
    table.began(turn(1, 4), place(4));
    table.ended(SessionId::new([1; 16]), place(1));
    assert_eq!(table.newest_turns(9), [turn(1, 4), turn(3, 2), turn(2, 1)]);
    for (byte, key) in [(1, 4), (2, 2), (3, 3)] {
        table.ended(SessionId::new([byte; 16]), place(key));
    }
    assert_eq!(table.newest_turns(9), []);
}

#[test]
fn the_table_finds_who_runs_and_who_looks_on() {
    let mut rig = Rig::new();
    let id = rig.session();
    let place = |key| Place { loop_index: LoopIndex(0), key };
    let mut table = Table::new();
    table.watch(id, place(1));
    table.watch(id, place(1));
    assert_eq!(table.foreign().map(|(session, _)| session).collect::<Vec<_>>(), [id]);
    assert_eq!(table.began(running(id, 2), place(7)), [place(1)]);
    assert_eq!(table.foreign().count(), 0);
    assert_eq!(table.place(id), Some((2, place(7))));
    assert_eq!(table.newest(id), None, "it has not said anything");
    let text = format!("\"{}\"", "x".repeat(TAIL_BYTES / 4));
    for seq in 2..12 {
        let event = Event::delta(EventId::new(Epoch(3), seq), 2, rig.now, &text);
        assert_eq!(table.stored(id, &[event]), [place(1)]);
        assert_eq!(table.newest(id), Some(EventId::new(Epoch(3), seq)));
        table.check_invariants();
    }
    let after = |seq| EventId::new(Epoch(3), seq);
    assert!(table.page(id, after(1), 9).is_none(), "it is long gone from memory");
    let page = table.page(id, after(10), 9).unwrap();
    assert_eq!((names(&page.events), page.running), (vec![11], Some(2)));
    assert!(table.page(id, after(11), 9).unwrap().events.is_empty());
    assert!(table.page(id, after(12), 9).is_none());
    // Not the turn that runs now.
    table.ended(id, place(8));
    assert_eq!((table.running_count(), table.viewer_count()), (1, 1));
    assert_eq!(table.ended(id, place(7)), [place(1)]);
    assert_eq!(table.stored(id, &[]), [place(1)]);
    assert_eq!(table.newest(id), Some(after(11)), "who looks on may not have it yet");
    table.leave(id, place(1));
    assert_eq!((table.running_count(), table.viewer_count()), (0, 0));
    table.check_invariants();
    assert!(
        table.newest(id).is_none()
            && table.place(id).is_none()
            && table.page(id, after(10), 9).is_none()
    );
}

#[test]
fn a_turn_that_is_told_late_of_its_end_does_not_disturb_the_next() {
    let mut rig = Rig::new();
    let id = rig.session();
    let place = |loop_index| Place { loop_index: LoopIndex(loop_index), key: 7 };
    let event = |seq, turn| Event::delta(EventId::new(Epoch(3), seq), turn, rig.now, "\"x\"");
    let after = |seq| EventId::new(Epoch(3), seq);
    for late in [2, 3] {
        let mut table = Table::new();
        table.began(running(id, 2), place(0));
        table.stored(id, &[event(2, 2), event(3, 2)]);
        // The end, 4, is stored, but the first loop does not know it yet.
        table.began(running(id, 3), place(1));
        table.stored(id, &(5..=3 + late).map(|seq| event(seq, 3)).collect::<Vec<_>>());
        table.stored(id, &[event(4, 2)]);
        table.check_invariants();
        table.ended(id, place(0));
        assert_eq!(table.place(id), Some((3, place(1))));
        table.stored(id, &[event(4 + late, 3), event(5 + late, 3)]);
        table.check_invariants();
        assert!(table.page(id, after(3), 9).is_none(), "that is the store's to tell");
        let page = table.page(id, after(4), 9).unwrap();
        assert_eq!(names(&page.events), (5..=5 + late).collect::<Vec<_>>());
    }
    let mut table = Table::new();
    table.began(running(id, 2), place(0));
    table.began(running(id, 3), place(1));
    table.stored(id, &[event(4, 2)]);
    table.stored(id, &[event(5, 3)]);
    table.check_invariants();
    assert_eq!(names(&table.page(id, after(3), 9).unwrap().events), [4, 5]);
}

#[test]
fn a_socket_starts_goes_on_and_resumes() {
    let id = SessionId::new([1; 16]);
    let mut socket = Socket::new();
    let code = |asks: Asks| match asks {
        Asks::Refused(refusal) => refusal.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(socket.receive(b"{\"continuationToken\":\"ct_x\"}")), "token-on-start");
    assert_eq!(code(socket.receive(b"nonsense")), "bad-json");
    assert_eq!(code(socket.receive(b"{\"type\":\"cancel\"}")), "unknown-session");
    assert!(matches!(socket.receive(b"{\"type\":\"ping\"}"), Asks::Pong));
    assert!(matches!(socket.receive(b"{\"a\": 1}"), Asks::Start { input } if input == "{\"a\":1}"));
    assert_eq!(code(socket.receive(b"{}")), "in-flight");
    // The app refused it: no session came to exist, and the connection starts another.
    socket.claimed(Some(id), true);
    socket.ended(false);
    assert!(socket.session().is_none());
    assert!(matches!(socket.receive(b"{}"), Asks::Start { .. }));
    socket.claimed(Some(id), true);
    assert_eq!(code(socket.receive(b"{}")), "in-flight");
    assert!(
        matches!(socket.receive(b"{\"type\":\"cancel\"}"), Asks::Cancel(session) if session == id)
    );
    socket.ended(true);
    match socket.receive(b"{}") {
        Asks::Message { session, right: Right::Bound, .. } => assert_eq!(session, id),
        other => panic!("{other:?}"),
    }
    match socket.receive(b"{\"continuationToken\":\"ct_y\"}") {
        Asks::Message { right: Right::Token(Some(token)), .. } => {
            assert_eq!(token.expose(), "ct_y")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        code(socket.receive(b"{\"type\":\"resume\",\"sessionId\":\"s_1\"}")),
        "already-bound"
    );

    let mut reader = Socket::new();
    let resume = b"{\"type\":\"resume\",\"sessionId\":\"s_1\",\"resumeToken\":\"rt_x\"}";
    assert!(matches!(reader.receive(resume), Asks::Resume { session, .. } if session == "s_1"));
    reader.resumed(None);
    assert!(matches!(reader.receive(resume), Asks::Resume { .. }));
    reader.resumed(Some((id, false)));
    // It reads; to write it needs the token, as everywhere.
    assert!(matches!(reader.receive(b"{}"), Asks::Message { right: Right::Token(None), .. }));
    assert_eq!(code(reader.receive(b"{\"type\":\"cancel\"}")), "missing-token");
    // What is refused binds nobody, and unbinds nobody.
    reader.claimed(None, false);
    assert_eq!(reader.session(), Some(id));
    assert_eq!(code(reader.receive(b"{\"type\":\"cancel\"}")), "missing-token");
    // Whose turn runs has shown the right token: it may cancel it, and write from here on.
    reader.claimed(Some(id), true);
    assert!(matches!(reader.receive(b"{\"type\":\"cancel\"}"), Asks::Cancel(_)));
    reader.ended(true);
    assert!(matches!(reader.receive(b"{}"), Asks::Message { right: Right::Bound, .. }));
    reader.sent(EventId::new(Epoch(1), 5));
    reader.sent(EventId::new(Epoch(1), 4));
    let pong = encode::message(reader.last(), "{\"type\":\"pong\"}");
    assert_eq!(pong, "{\"id\":\"0001-000000000005\",\"type\":\"pong\"}");
    assert_eq!(encode::message(None, "{}"), "{}");
    assert_eq!(
        encode::refusal_message(&Refusal::TokenOnStart, None),
        "{\"type\":\"error\",\"message\":\"present no continuationToken to start a session\",\
         \"code\":\"token-on-start\"}"
    );
}

#[test]
fn a_turn_that_runs_again_is_not_over_where_its_last_attempt_ended() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, "nonsense\n");
    let ended = rig.sessions[&id].ledger.last();
    let behind = Reading { turn: Some(2), ..read(Cursor::After(ended)) };
    assert!(matches!(open(&mut rig, id, Form::Sse, &behind), Ok(Opening::Nothing)));
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let whole = Reading { turn: Some(2), ..read(Cursor::Earliest) };
    let mut from_start = viewer(open(&mut rig, id, Form::Sse, &whole));
    assert_eq!(names(&pull(&rig, &mut from_start, 9)), [1, 2]);
    assert_eq!(from_start.next(), Next::Wait { until: None });
    let mut again = viewer(open(&mut rig, id, Form::Sse, &behind));
    assert!(pull(&rig, &mut again, 9).is_empty());
    assert_eq!(again.next(), Next::Wait { until: None });
    rig.answer(run, Form::Json, NDJSON, STREAM);
    again.stir();
    assert_eq!(names(&pull(&rig, &mut again, 9)), [3, 4, 5]);
    assert_eq!(again.next(), Next::Done);
}

#[test]
fn who_began_an_attempt_reads_that_attempt_and_no_other() {
    let mut rig = Rig::new();
    let id = rig.session();
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let (mut prompt, mut late) = (Viewer::of_run(&run, Form::Sse), Viewer::of_run(&run, Form::Sse));
    assert_eq!(prompt.next(), Next::Wait { until: None }, "nothing can be stored yet");
    rig.answer(run, Form::Sse, NDJSON, "{\"type\":\"delta\",\"text\":\"a\"}\nnonsense\n");
    prompt.stir();
    assert_eq!(names(&pull(&rig, &mut prompt, 1)), [2, 3]);
    assert_eq!(prompt.next(), Next::Done);
    // The same turn, tried again: nothing of that is for who began the first attempt.
    let again = ran(rig.message(&id.to_string(), Some(&token), None));
    let mut second = Viewer::of_run(&again, Form::Sse);
    for count in [1, 9] {
        late.stir();
        assert_eq!(
            names(&pull(&rig, &mut late, count)),
            if count == 1 { [2, 3].as_slice() } else { &[] }
        );
        assert_eq!(late.next(), Next::Done);
    }
    rig.answer(again, Form::Sse, NDJSON, STREAM);
    second.stir();
    assert_eq!(names(&pull(&rig, &mut second, 2)), [4, 5, 6]);
    assert_eq!(second.next(), Next::Done);
}

#[test]
fn who_reads_on_behind_an_event_reads_until_nothing_runs() {
    let mut rig = Rig::new();
    let id = rig.session();
    rig.go_on(id, NDJSON, STREAM);
    let third = rig.events[2].1.id;
    let mut reader = Viewer::behind(id, third, Form::Socket);
    assert_eq!(names(&pull(&rig, &mut reader, 9)), [4]);
    assert_eq!(reader.next(), Next::Done);
    let token = rig.token(id);
    let run = ran(rig.message(&id.to_string(), Some(&token), None));
    let mut reader = Viewer::behind(id, third, Form::Socket);
    assert_eq!(names(&pull(&rig, &mut reader, 9)), [4]);
    assert_eq!(reader.next(), Next::Wait { until: None });
    rig.answer(run, Form::Json, NDJSON, STREAM);
    reader.stir();
    assert_eq!(names(&pull(&rig, &mut reader, 9)), [5, 6, 7]);
    assert_eq!(reader.next(), Next::Done);
}
