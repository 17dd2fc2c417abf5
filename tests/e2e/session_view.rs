//! Reading events of sessions: the same bytes for everyone, from wherever they read on.

use crate::harness::processes::resident_bytes;
use crate::harness::session::{Ask, Event, Session, Stream, field};
use crate::harness::wait::{SOON, eventually, until};
use crate::harness::{Client, Response, Server};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A turn of many kinds of events, which waits twice.
fn story() -> Value {
    json!({"steps": [
        "Once ", {"type": "record", "record": {"tool": "look", "at": [1, 2]}}, "upon \u{1f40c} ",
        {"gate": "first"}, "a ", {"many": 5, "size": 700}, "line\nbreak \"quoted\" \\ ",
        {"gate": "second"}, {"type": "record", "record": null}, "end",
    ]})
}

/// How many events it has, with its outcome.
const STORY: usize = 13;

fn blocks(events: &[Event]) -> String {
    events.iter().map(|event| event.block.as_str()).collect()
}

/// `GET …/events` from behind this event.
fn behind(server: &Server, session: &Session, id: &str) -> Stream {
    Ask::events(session, "").field("Last-Event-ID", id).stream(server)
}

fn take(stream: &mut Stream, count: usize) -> Vec<Event> {
    (0..count).map(|_| stream.event()).collect()
}

/// As JSON, by the resume token.
fn json_of(server: &Server, session: &Session, query: &str) -> Response {
    Ask::events(session, query).field("Accept", "application/json").answer(server)
}

fn seqs(body: &Value) -> Vec<u64> {
    let events = body["events"].as_array().expect("events");
    events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
}

/// A session whose first turn is over, and what the answer to that turn was.
fn started(server: &Server) -> Session {
    Session::start(server, &json!({})).0
}

#[test]
fn resuming_after_every_event_adds_up_to_the_uninterrupted_run() {
    let mut server = Server::of_turns();
    let session = started(&server);
    let mut whole = Ask::message(&session, &story()).sse().stream(&server);
    assert_eq!(whole.field("Rip-Turn"), "2");
    let mut told = take(&mut whole, 3);
    // While the turn waits at its first gate everyone comes who may: in the middle of the turn.
    let mut early: Vec<_> =
        told.iter().map(|event| behind(&server, &session, event.name())).collect();
    early.push(Ask::events(&session, "").stream(&server));
    server.open_gate("first");
    told.extend(take(&mut whole, 7));
    let late: Vec<_> = told.iter().map(|event| behind(&server, &session, event.name())).collect();
    server.open_gate("second");
    told.extend(whole.rest());
    let all = blocks(&told);
    assert_eq!(told.len(), STORY, "{all}");
    assert_eq!(told.last().expect("an outcome").kind(), "outcome");
    let whole = early.pop().map(|mut stream| blocks(&stream.rest()));
    assert_eq!(whole.as_ref(), Some(&all), "who names no event reads the turn");
    for (what, streams) in [("early", early), ("late", late)] {
        for (at, mut stream) in streams.into_iter().enumerate() {
            let id = told[at].name().to_owned();
            assert_eq!(stream.field("Rip-Last-Event-ID"), id);
            let text = blocks(&told[..=at]) + &blocks(&stream.rest());
            assert!(text == all, "{what}, after {id}: {text}");
        }
    }
    let check = |server: &Server, when: &str| {
        for (at, event) in told.iter().enumerate() {
            let rest = blocks(&told[at + 1..]);
            if rest.is_empty() {
                let response = Ask::events(&session, "").field("Last-Event-ID", event.name());
                assert_eq!(response.answer(server).status, 204, "{when}");
                continue;
            }
            let query = format!("?last_event_id={}", event.name());
            let by_query = Ask::events(&session, &query).stream(server).rest();
            assert_eq!(blocks(&by_query), rest, "{when}, after {}", event.name());
        }
        // One event a connection.
        let mut text = told[0].block.clone();
        let mut last = told[0].name().to_owned();
        for _ in 1..told.len() {
            let event = behind(server, &session, &last).event();
            text += &event.block;
            event.name().clone_into(&mut last);
        }
        assert!(text == all, "{when}, one by one: {text}");
        let query = format!("?last_event_id={}", told[0].name());
        let body = json_of(server, &session, &query).json();
        let expected: Vec<_> = told[1..].iter().map(|event| &event.data).collect();
        let found: Vec<_> = body["events"].as_array().expect("events").iter().collect();
        assert_eq!(found, expected, "{when}");
    };
    check(&server, "ended");
    server.kill();
    server.start_again();
    server.wait_for_workers(2);
    check(&server, "after the master was killed");
}

#[test]
fn cursors_say_from_where_and_those_that_lead_nowhere_are_told() {
    let mut server = Server::of_turns();
    let mut session = started(&server);
    session.message(&server, &json!({"steps": ["a", "b"]}));
    session.message(&server, &json!({"steps": ["c", "d"]}));
    let read = |server: &Server, query: &str| Ask::events(&session, query).stream(server).rest();
    let of = |events: &[Event]| events.iter().map(Event::seq).collect::<Vec<_>>();
    assert_eq!(of(&read(&server, "?last_event_id=earliest")), (1..=7).collect::<Vec<_>>());
    assert_eq!(of(&read(&server, "")), [5, 6, 7], "the last turn");
    assert_eq!(of(&read(&server, "?last_event_id=")), [5, 6, 7], "an empty one is none");
    assert_eq!(Ask::events(&session, "?last_event_id=now").answer(&server).status, 204);
    let names: Vec<_> =
        read(&server, "?last_event_id=earliest").into_iter().filter_map(|e| e.id).collect();
    // A field wins over the query.
    let query = format!("?last_event_id={}", names[5]);
    let mut both = Ask::events(&session, &query).field("Last-Event-ID", &names[3]).stream(&server);
    assert_eq!(of(&both.rest()), [5, 6, 7]);
    for bad in ["x", "7", "latest", "0001-00000000000", "0001-00000000000G", "1-1", "Earliest"] {
        for accept in ["text/event-stream", "application/json"] {
            let ask = Ask::events(&session, "").field("Last-Event-ID", bad);
            let response = ask.field("Accept", accept).answer(&server);
            assert_eq!(response.status, 400, "{bad}: {response:?}");
            assert_eq!(response.json()["code"], "bad-cursor", "{bad}");
        }
    }
    for bad in ["?turn=x", "?limit=0", "?wait=soon"] {
        assert_eq!(Ask::events(&session, bad).answer(&server).status, 400, "{bad}");
    }
    // Events that never were: of this life of the store, of one to come, and of the last one when it
    // is over.
    let reset = |server: &Server, id: &str, from: u64| {
        let query = format!("?last_event_id={id}");
        let mut stream = Ask::events(&session, &query).stream(server);
        let first = stream.event();
        assert_eq!((first.kind(), &first.data["reason"]), ("reset", &json!("epoch")), "{first:?}");
        assert_eq!(first.data["from"], *first.name(), "{first:?}");
        assert_eq!(stream.field("Rip-Last-Event-ID"), first.name());
        assert_eq!(first.name(), names[from as usize - 1], "{first:?}");
        assert_eq!(of(&stream.rest()), (from + 1..=7).collect::<Vec<_>>(), "{id}");
        let response = json_of(server, &session, &query);
        assert_eq!(response.status, 410, "{response:?}");
        let body = response.json();
        assert_eq!((&body["code"], &body["reason"]), (&json!("gone"), &json!("epoch")), "{body}");
        assert_eq!(body["sessionId"], session.id, "{body}");
    };
    let epoch = names[0].split_once('-').expect("an epoch").0;
    let lost = format!("{epoch}-000000000009");
    reset(&server, &lost, 4);
    reset(&server, "ffff-000000000003", 4);
    server.kill();
    server.start_again();
    server.wait_for_workers(2);
    reset(&server, &lost, 4);
    let (session, server) = (session.clone(), &server);
    let old = Ask::events(&session, &format!("?last_event_id={}", names[6]));
    assert_eq!(old.answer(server).status, 204, "an event of an earlier life is a cursor still");
    let mut again = session;
    let mut next = Ask::message(&again, &json!({"steps": ["e"]})).sse().stream(server);
    let told = next.rest();
    again = Session::of_stream(&next.head, told.last().expect("an outcome"));
    assert!(told[0].name() > names[6].as_str() && !told[0].name().starts_with(epoch), "{told:?}");
    let mut behind = Ask::events(&again, "").field("Last-Event-ID", &names[6]).stream(server);
    assert_eq!(blocks(&behind.rest()), blocks(&told));
    // What the last life would have written next is not what this one has written.
    let mut lost = behind_lost(server, &again, epoch);
    assert_eq!(lost.event().data["reason"], "epoch");
}

fn behind_lost(server: &Server, session: &Session, epoch: &str) -> Stream {
    behind(server, session, &format!("{epoch}-000000000008"))
}

#[test]
fn events_beyond_64_mib_are_not_kept_and_their_cursors_are_told_so() {
    let server = Server::of_turns();
    let session = started(&server);
    let mut session = session;
    session.message(&server, &json!({"steps": [{"many": 75, "size": 1_000_000}]}));
    let first = json_of(&server, &session, "?last_event_id=now").json();
    let last = first["next"].as_str().expect("a name").to_owned();
    let epoch = last.split_once('-').expect("an epoch").0;
    let name = |seq: u64| format!("{epoch}-{seq:012x}");
    assert_eq!(last, name(77));
    let query = format!("?last_event_id={}", name(2));
    let gone = until("old events go", || {
        let response = json_of(&server, &session, &format!("{query}&limit=1"));
        (response.status == 410).then(|| response.json())
    });
    assert_eq!((&gone["reason"], &gone["code"]), (&json!("truncated"), &json!("gone")), "{gone}");
    let mut stream = Ask::events(&session, &query).stream(&server);
    let reset = stream.event();
    assert_eq!((reset.kind(), &reset.data["reason"]), ("reset", &json!("truncated")), "{reset:?}");
    assert_eq!(reset.data["from"], *stream.field("Rip-Last-Event-ID"));
    let first = stream.event();
    assert_eq!(reset.name(), name(first.seq() - 1));
    // They go in small steps, and no more of them than must.
    let kept = || {
        let earliest = json_of(&server, &session, "?last_event_id=earliest&limit=1").json();
        78 - seqs(&earliest)[0]
    };
    eventually("as many go as must", || kept() <= 68);
    assert_eq!(kept(), 68);
    let end = json_of(&server, &session, &format!("?last_event_id={}", name(76))).json();
    assert_eq!(end["events"][0]["type"], "outcome", "{end}");
}

#[test]
fn one_turn_is_read_to_its_own_end() {
    let server = Server::of_turns();
    let mut session = started(&server);
    let steps = json!({"steps": ["a", {"gate": "third"}, "b"]});
    session.message(&server, &json!({"steps": ["x", "y"]}));
    let mut running = Ask::message(&session, &steps).sse().stream(&server);
    running.event();
    let of = |query: &str| {
        let events = Ask::events(&session, query).stream(&server).rest();
        events.iter().map(Event::seq).collect::<Vec<_>>()
    };
    assert_eq!(of("?turn=2"), [2, 3, 4], "though another one runs");
    assert_eq!(of("?turn=1"), [1]);
    assert_eq!(of("?turn=2&last_event_id=earliest"), [1, 2, 3, 4]);
    let nothing = Ask::events(&session, "?turn=1&last_event_id=now").answer(&server);
    assert_eq!(nothing.status, 204, "{nothing:?}");
    let body = json_of(&server, &session, "?turn=2&wait=20").json();
    assert_eq!((seqs(&body), &body["closed"]), (vec![2, 3, 4], &json!(true)), "{body}");
    let mut third = Ask::events(&session, "?turn=3").stream(&server);
    assert_eq!(third.event().seq(), 5);
    server.open_gate("third");
    let (rest, own) = (third.rest(), running.rest());
    assert_eq!(blocks(&rest), blocks(&own));
    assert_eq!(Ask::events(&session, "?turn=9").answer(&server).status, 204, "nothing runs");
}

#[test]
fn a_long_poll_is_answered_when_something_comes_or_its_time_is_over() {
    let server = Server::of_turns();
    let session = started(&server);
    let body = json_of(&server, &session, "").json();
    assert_eq!(
        (seqs(&body), &body["upToDate"], &body["closed"]),
        (vec![1], &json!(true), &json!(true))
    );
    let next = body["next"].as_str().expect("a name").to_owned();
    let began = Instant::now();
    let body = json_of(&server, &session, &format!("?wait=1&last_event_id={next}")).json();
    assert_eq!((seqs(&body), &body["next"]), (vec![], &json!(next)), "{body}");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // Without `wait` the answer is immediate.
    assert_eq!(seqs(&json_of(&server, &session, "?last_event_id=now").json()), [0; 0]);
    // One connection, poll by poll, through a whole turn.
    let mut poll = server.connect();
    let ask = |poll: &mut Client, next: &str, more: &str| {
        let query = format!("?wait=20&last_event_id={next}{more}");
        Ask::events(&session, &query).field("Accept", "application/json").send_on(poll);
    };
    ask(&mut poll, &next, "");
    let mut told = Vec::new();
    let mut turn = Ask::message(&session, &story()).sse().stream(&server);
    server.open_gate("first");
    let mut next = next;
    let began = Instant::now();
    loop {
        let body = poll.response().json();
        told.extend(body["events"].as_array().expect("events").iter().cloned());
        body["next"].as_str().expect("a name").clone_into(&mut next);
        if told.last().is_some_and(|event| event["type"] == "outcome") {
            assert_eq!(
                (&body["upToDate"], &body["closed"]),
                (&json!(true), &json!(true)),
                "{body}"
            );
            break;
        }
        assert_eq!(body["closed"], false, "{body}");
        if told.len() == 10 {
            server.open_gate("second");
        }
        ask(&mut poll, &next, "&limit=2");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let expected: Vec<_> = turn.rest().into_iter().map(|event| event.data).collect();
    assert_eq!(told, expected);
    // A client that goes is not waited for, and one that waits does not hold up the end.
    ask(&mut poll, &next, "");
    let mut server = server;
    assert!(poll.is_silent_for(Duration::from_millis(300)));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let response = poll.response();
    assert_eq!((response.status, seqs(&response.json())), (200, vec![]));
    assert!(began.elapsed() < Duration::from_secs(19), "{:?}", began.elapsed());
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn the_previous_token_reads_until_the_current_one_is_used() {
    let server = Server::of_turns();
    let mut session = started(&server);
    let first = session.token.clone();
    session.message(&server, &json!({"steps": ["a"]}));
    let by = |token: &str, rest: &str| {
        let ask = Ask::to("GET", session.path(rest)).token(token);
        ask.field("Accept", "application/json").answer(&server).status
    };
    let write = |token: &str| {
        let old = Session { token: token.to_owned(), ..session.clone() };
        Ask::message(&old, &json!({})).answer(&server).status
    };
    let second = session.token.clone();
    for _ in 0..3 {
        assert_eq!(by(&first, "/events"), 200, "its answer may be lost: it reads what came of it");
        assert_eq!(by(&first, ""), 200);
        assert_eq!(
            Ask::status(&session).answer(&server).status,
            200,
            "a resume token ends nothing"
        );
    }
    // It reads, and nothing else.
    assert_eq!(write(&first), 409);
    let old = Session { token: first.clone(), ..session.clone() };
    assert_eq!(Ask::cancel(&old).answer(&server).status, 409);
    assert_eq!(Ask::delete(&old).answer(&server).status, 409);
    assert_eq!(by(&first, "/events"), 200);
    // A stream that it opened goes on after its end; it opens no other one.
    let steps = json!({"steps": ["b", {"gate": "go"}, "c"]});
    let stream = |token: &str| Ask::to("GET", session.path("/events")).token(token);
    assert_eq!(by(&second, ""), 200, "the current one is used");
    assert_eq!(by(&first, "/events"), 409);
    assert_eq!(by(&first, ""), 409);
    let mut turn = Ask::message(&session, &steps).sse().stream(&server);
    let mut reading = stream(&second).stream(&server);
    assert_eq!(reading.event().block, turn.event().block);
    server.open_gate("go");
    let told = turn.rest();
    assert_eq!(blocks(&reading.rest()), blocks(&told));
    let third = told.last().expect("an outcome").data["continuationToken"].as_str().expect("one");
    assert_eq!(by(&second, "/events"), 200);
    // To begin a turn is a use as well.
    let next = Session { token: third.to_owned(), ..session.clone() };
    let gate = json!({"steps": ["d", {"gate": "end"}]});
    let mut turn = Ask::message(&next, &gate).sse().stream(&server);
    turn.event();
    assert_eq!(by(&second, "/events"), 409);
    assert_eq!(by(third, "/events?limit=1"), 200);
    server.open_gate("end");
    turn.outcome();
    assert_eq!(by(third, "/events"), 200, "it is the previous one now");
}

#[test]
fn viewers_come_and_go_and_the_turn_does_not_notice() {
    let server = Server::of_turns();
    let session = started(&server);
    let steps = json!({"steps": ["a", {"gate": "go"}, "b"]});
    let origin = Ask::message(&session, &steps).sse().stream(&server);
    let mut viewers: Vec<_> = (0..20).map(|_| Ask::events(&session, "").stream(&server)).collect();
    for viewer in &mut viewers {
        assert_eq!(viewer.event().seq(), 2);
    }
    // The origin leaves as well.
    drop(origin);
    for viewer in viewers.split_off(10) {
        viewer.into_client().reset();
    }
    drop(viewers.split_off(1));
    assert_eq!(session.status(&server)["status"], "running");
    server.open_gate("go");
    let rest = viewers[0].rest();
    assert_eq!(rest.iter().map(Event::seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(rest[1].data["status"], "finished");
    eventually("the app is done with it", || server.turns("ended").len() == 2);
    assert_eq!(session.status(&server)["status"], "idle");
}

#[test]
fn heads_are_answered_and_old_clients_read_to_the_end_of_the_connection() {
    let server = Server::of_turns();
    let mut session = started(&server);
    session.message(&server, &json!({"steps": ["a", "b"]}));
    let whole = Ask::events(&session, "").stream(&server);
    let head = Ask::to("HEAD", session.path("/events")).field("Rip-Resume-Token", &session.resume);
    let head = head.answer(&server);
    assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
    for name in [
        "Content-Type",
        "Cache-Control",
        "X-Accel-Buffering",
        "Rip-Session-Id",
        "Rip-Last-Event-ID",
    ] {
        assert_eq!([head.field(name)], *field(&whole.head, name), "{name}");
    }
    assert_eq!(head.field("X-Accel-Buffering"), "no");
    let mut old = server.connect();
    let target = session.path("/events");
    let fields = format!("Rip-Resume-Token: {}", session.resume);
    old.send(format!("GET {target} HTTP/1.0\r\nHost: a.test\r\n{fields}\r\n\r\n"));
    let head = old.head();
    assert_eq!((head.status, field(&head, "Transfer-Encoding").len()), (200, 0), "{head:?}");
    let text = String::from_utf8(old.rest().expect("the end")).expect("text");
    let mut whole = whole;
    assert_eq!(text, format!("retry: 1000\n\n{}", blocks(&whole.rest())));
}

#[test]
fn silence_is_broken_by_signs_of_life() {
    let server = Server::of_turns();
    let session = started(&server);
    let steps = json!({"steps": ["a", {"gate": "go"}]});
    let mut turn = Ask::message(&session, &steps).sse().stream(&server);
    let mut viewer = Ask::events(&session, "").stream(&server);
    assert_eq!(turn.event().block, viewer.event().block);
    let began = Instant::now();
    for stream in [&mut turn, &mut viewer] {
        stream.patience(Duration::from_secs(25));
        assert_eq!(stream.block(), ": hb\n\n");
        assert!((13..25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
    server.open_gate("go");
    assert_eq!(turn.outcome().block, viewer.outcome().block);
}

/// Reads a stream to its end and throws nothing away but its head: length and a checksum of the rest.
fn digest(server: &Server, session: &Session, ready: &Barrier) -> (usize, u64) {
    let mut client = Ask::events(session, "").send(server);
    assert_eq!(client.head().status, 200);
    let (mut length, mut sum) = (0_usize, 0_u64);
    while let Some(chunk) = client.chunk() {
        if length == 0 {
            ready.wait();
        }
        // Every 61st byte of the whole: what begins an event moves through all of them.
        let skipped = length.next_multiple_of(61) - length;
        for byte in chunk.iter().skip(skipped).step_by(61) {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        length += chunk.len();
    }
    (length, sum)
}

/// The most memory that the master has while this is done.
fn peak<T>(server: &Server, work: impl FnOnce() -> T) -> (T, u64) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(resident_bytes(server.pid()));
                thread::sleep(Duration::from_millis(10));
            }
            most
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        (done, watch.join().expect("memory is watched"))
    })
}

/// A client that reads an event now and then until it is told to hurry; what it got.
fn dawdle(server: &Server, session: &Session, hurry: &AtomicBool) -> Vec<Event> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let to = SocketAddr::from(([127, 0, 0, 1], server.port()));
    socket.connect(&to.into()).expect("a connection to the server");
    let mut client = Client::over(socket.into()).expect("a connection");
    Ask::events(session, "").send_on(&mut client);
    let mut stream = Stream::of(client).unwrap_or_else(|answer| panic!("{answer:?}"));
    let mut events = Vec::new();
    while let Some(event) = stream.next() {
        events.push(event);
        if !hurry.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(200));
        }
    }
    events
}

#[test]
fn one_slow_and_two_hundred_fast_viewers_get_everything_in_bounded_memory() {
    const FAST: usize = 200;
    const MIB: u64 = 1024 * 1024;
    let server = Server::of_turns();
    let session = started(&server);
    let (count, size) = (1000, 8000);
    let steps = json!({"steps": ["a", {"gate": "go"}, {"many": count, "size": size}, "z"]});
    let mut turn = Ask::message(&session, &steps).sse().stream(&server);
    turn.event();
    let before = resident_bytes(server.pid());
    let (ready, hurry) = (Barrier::new(FAST + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let slow = scope.spawn(|| dawdle(&server, &session, &hurry));
        let ((told, digests), most) = peak(&server, || {
            let fast: Vec<_> =
                (0..FAST).map(|_| scope.spawn(|| digest(&server, &session, &ready))).collect();
            ready.wait();
            server.open_gate("go");
            turn.patience(SOON * 3);
            let told = turn.rest();
            let digests: Vec<_> =
                fast.into_iter().map(|one| one.join().expect("a viewer")).collect();
            (told, digests)
        });
        assert_eq!(told.len(), count + 2);
        assert_eq!(told[count + 1].data["status"], "finished");
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        let length = digests[0].0 as u64;
        assert!(length > (count * size) as u64, "{length}");
        // Each may be a buffer and a page behind; nobody is a turn behind.
        let (bound, grown) = (96 * MIB, most.saturating_sub(before));
        eprintln!("{} MiB more for {FAST} viewers of {} MiB", grown / MIB, length / MIB);
        assert!(grown < bound && bound < FAST as u64 * length / 10, "{grown} bytes more");
        assert!(!slow.is_finished(), "it is slow");
        hurry.store(true, Ordering::Relaxed);
        let slow = slow.join().expect("the slow viewer");
        assert_eq!(slow.len(), told.len() + 1);
        assert!(blocks(&slow[1..]) == blocks(&told), "it got something else");
    });
}
