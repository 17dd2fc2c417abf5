//! Clients that come back hear what they missed: no gap, nothing twice.

use crate::harness::websocket::{Frame, Socket, TEXT, quoted, rooms};
use crate::harness::{Client, Server, Setup, processes, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn house(history: &str) -> Server {
    let file = rooms(&format!("realtime \"/realtime\" app=\"rooms\" {{ {history} }}"), "");
    Setup::edgefile(&file).with_rooms().word("--no-watch").start()
}

fn target(groups: &[&str], recover: &str) -> String {
    let open = quoted(&json!({"+": groups}).to_string());
    let recover = if recover.is_empty() { String::new() } else { format!("&recover={recover}") };
    format!("/realtime?open={open}{recover}")
}

#[track_caller]
fn publish(server: &Server, body: &Value) -> Value {
    let mut client = server.connect();
    let fields = "Content-Type: application/json\r\n";
    client.request_at("127.0.0.1", "POST", "/publish", fields, body.to_string().as_bytes());
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// Where a message stands in its group.
#[track_caller]
fn place(message: &Value, group: &str) -> (u64, u64) {
    let place = message["#"][group].as_array().unwrap_or_else(|| panic!("no place: {message}"));
    (place[0].as_u64().expect("an epoch"), place[1].as_u64().expect("an offset"))
}

fn recover(group: &str, (epoch, offset): (u64, u64)) -> String {
    format!("{}:{epoch}:{offset}", quoted(group))
}

#[test]
fn messages_of_groups_with_history_are_numbered() {
    let server = house("history \"/lobby/*\" messages=100 ttl=\"5m\"");
    let mut socket = Socket::open(&server, &target(&["/lobby", "/lobby/7", "/plain"], ""));
    for number in 1..=3_u64 {
        publish(&server, &json!({"@": ["/lobby"], "n": number}));
        let message = socket.hear_json();
        assert_eq!(message["n"], number);
        assert_eq!(place(&message, "/lobby").1, number);
    }
    publish(&server, &json!({"@": ["/lobby/7", "/lobby"], "n": 4}));
    let message = socket.hear_json();
    assert_eq!((place(&message, "/lobby").1, place(&message, "/lobby/7").1), (4, 1), "{message}");
    publish(&server, &json!({"@": ["/plain"], "n": 5}));
    assert_eq!(socket.hear_json(), json!({"n": 5}), "no place where nothing is kept");
    publish(&server, &json!({"@": ["/lobby"], "$text": "as it is"}));
    assert_eq!(socket.hear_text(), "as it is");
}

#[test]
fn whoever_comes_back_hears_what_it_missed_and_then_what_is_new() {
    let server = house("history \"/lobby/*\" \"/other\" messages=100 ttl=\"5m\"");
    let mut socket = Socket::open(&server, &target(&["/lobby"], ""));
    publish(&server, &json!({"@": ["/lobby"], "n": 1}));
    let seen = place(&socket.hear_json(), "/lobby");
    drop(socket.into_client());
    for number in 2..=5 {
        publish(&server, &json!({"@": ["/lobby"], "n": number}));
        publish(&server, &json!({"@": ["/other"], "n": 100 + number}));
    }
    let mut back = Socket::open(&server, &target(&["/lobby"], &recover("/lobby", seen)));
    for number in 2..=5_u64 {
        let message = back.hear_json();
        assert_eq!((&message["n"], place(&message, "/lobby")), (&json!(number), (seen.0, number)));
    }
    publish(&server, &json!({"@": ["/lobby"], "n": 6}));
    assert_eq!(back.hear_json()["n"], 6);
    // Nothing of groups that its open does not join.
    let both = format!("{},{}", recover("/other", (seen.0, 0)), recover("/lobby", (seen.0, 6)));
    let mut stranger = Socket::open(&server, &target(&["/lobby"], &both));
    stranger.assert_nothing_told();
}

#[test]
fn what_cannot_be_had_is_told_as_a_reset() {
    let server = house(
        "history \"/short\" messages=3 ttl=\"5m\"; history \"/soon\" messages=100 ttl=\"300ms\"",
    );
    let mut socket = Socket::open(&server, &target(&["/short"], ""));
    for number in 1..=10 {
        publish(&server, &json!({"@": ["/short"], "n": number}));
    }
    let first = place(&socket.hear_json(), "/short");
    let mut back = Socket::open(&server, &target(&["/short"], &recover("/short", first)));
    let reset = back.hear_json();
    assert_eq!(reset["reset"]["/short"], json!({"epoch": first.0, "offset": 10}), "{reset}");
    publish(&server, &json!({"@": ["/short"], "last": true}));
    assert_eq!(back.hear_json()["last"], true);
    let mut back = Socket::open(&server, &target(&["/short"], &recover("/short", (first.0, 8))));
    for offset in 9..=11 {
        assert_eq!(place(&back.hear_json(), "/short").1, offset);
    }
    // Another epoch, beyond the end, and too long ago.
    for (epoch, offset) in [(first.0 + 1, 9), (first.0, 12), (first.0, u64::MAX), (first.0, 7)] {
        let target = target(&["/short"], &recover("/short", (epoch, offset)));
        let mut back = Socket::open(&server, &target);
        let reset = back.hear_json();
        assert_eq!(
            reset["reset"]["/short"],
            json!({"epoch": first.0, "offset": 11}),
            "{offset}: {reset}"
        );
    }
    // What is not understood is refused: passed over, it would be messages lost without a word.
    for garbage in ["%2Fshort", "%2Fshort:x:1", "short:1:1", ":::", "%2F%ff:1:1"] {
        let target = target(&["/short"], garbage);
        match Socket::try_open(server.connect(), "a.test", &target, "") {
            Ok(_) => panic!("{garbage} was taken"),
            Err(refusal) => {
                assert_eq!(refusal.status, 400, "{garbage}: {refusal:?}");
                assert!(refusal.text().contains("?recover="), "{garbage}: {refusal:?}");
            }
        }
    }
    // A name may have colons; this one is of another group.
    Socket::open(&server, &target(&["/short"], "%2Fshort:1:1:1")).assert_nothing_told();
    // The time it is kept for.
    let mut socket = Socket::open(&server, &target(&["/soon"], ""));
    publish(&server, &json!({"@": ["/soon"], "n": 1}));
    let seen = place(&socket.hear_json(), "/soon");
    publish(&server, &json!({"@": ["/soon"], "n": 2}));
    let deadline = Instant::now() + Duration::from_secs(10);
    let reset = loop {
        let mut back = Socket::open(&server, &target(&["/soon"], &recover("/soon", seen)));
        let told = back.hear_json();
        if told.get("reset").is_some() {
            break told;
        }
        assert!(Instant::now() < deadline, "it is kept for too long: {told}");
    };
    assert_eq!(reset["reset"]["/soon"], json!({"epoch": seen.0, "offset": 2}));
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Comes and goes until `last` was heard, and asserts that everything came once and in order.
fn wander(server: &Server, seed: u64, last: u64) {
    let mut dice = Dice(seed);
    let mut place_seen: Option<(u64, u64)> = None;
    let mut heard: BTreeMap<u64, u64> = BTreeMap::new();
    let mut lives = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "seed {seed}: {} of {last} after {lives}", heard.len());
        let recover = place_seen.map(|seen| recover("/room/1", seen)).unwrap_or_default();
        let target = target(&["/room/1"], &recover);
        // The worker that was asked may have been killed.
        let Ok(mut socket) = Socket::try_open(server.connect(), "a.test", &target, "") else {
            continue;
        };
        lives += 1;
        let before_leaving = dice.below(40);
        for _ in 0..=before_leaving {
            let Ok(Frame { first, payload }) = socket.try_hear() else { break };
            assert_eq!(first, TEXT, "seed {seed}");
            let message: Value = serde_json::from_slice(&payload).expect("JSON");
            assert!(message.get("reset").is_none(), "seed {seed}: {message}");
            let (epoch, offset) = place(&message, "/room/1");
            let number = message["n"].as_u64().expect("a number");
            if let Some((known, before)) = place_seen {
                assert_eq!((known, before + 1), (epoch, offset), "seed {seed}, life {lives}");
            }
            assert_eq!(heard.insert(number, offset), None, "seed {seed}: {number} twice");
            place_seen = Some((epoch, offset));
            if number == last {
                let first = *heard.keys().next().expect("a number");
                let all = (first..=last).collect::<Vec<_>>();
                assert_eq!(heard.keys().copied().collect::<Vec<_>>(), all, "seed {seed}");
                assert!(lives > 1, "seed {seed}: it went away now and then");
                return;
            }
        }
        match dice.below(3) {
            0 => socket.reset(),
            1 => {
                // What arrives meanwhile is missed.
                socket.close(1000, "");
            }
            _ => drop(socket.into_client()),
        }
        std::thread::sleep(Duration::from_millis(dice.below(15)));
    }
}

#[test]
fn clients_that_come_and_go_at_random_miss_nothing_and_hear_nothing_twice() {
    const LAST: u64 = 1500;
    let seed = std::env::var("RIP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261);
    let file = rooms(
        "realtime \"/realtime\" app=\"rooms\" { history \"/room/*\" messages=5000 ttl=\"5m\" }",
        "",
    );
    let changed = file.replace("workers 2", "workers 3");
    let server = Setup::edgefile(&file).with_rooms().word("--no-watch").flag("--loops", 2).start();
    server.wait_for_workers(2);
    let all_there = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (server, all_there) = (&server, &all_there);
        let wanderers: Vec<_> =
            (0..8).map(|nth| scope.spawn(move || wander(server, seed + nth, LAST))).collect();
        scope.spawn(move || {
            until("the first ones", || (server.posted("open").len() >= 8).then_some(()));
            let mut client = server.connect();
            for number in 1..=LAST {
                // What is kept outlives workers and configurations.
                match number {
                    400 => drop(server.order(&["ctl", "restart"])),
                    800 => drop(server.take_up(&changed)),
                    1100 => {
                        processes::signal(server.app_pid(server.worker_ids()[0]), Signal::SIGKILL)
                    }
                    _ => {}
                }
                let body = json!({"@": ["/room/1"], "n": number}).to_string();
                let fields = "Content-Type: application/json\r\n";
                client.request_at("127.0.0.1", "POST", "/publish", fields, body.as_bytes());
                assert_eq!(client.response().status, 200);
                if number % 8 == 0 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            all_there.store(true, Ordering::Relaxed);
        });
        for wanderer in wanderers {
            wanderer.join().expect("a client");
        }
    });
    assert!(all_there.load(Ordering::Relaxed));
}

/// One event of a stream.
fn event(client: &mut Client) -> Vec<String> {
    let chunk = client.chunk().expect("an event");
    let text = String::from_utf8(chunk).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn groups_are_read_as_events_by_whom_the_app_lets() {
    let server = house("history \"/lobby\" messages=100 ttl=\"5m\"");
    let events = |subscribe: &str, group: &str| {
        format!("/realtime/events?group={}&subscribe={}", quoted(group), quoted(subscribe))
    };
    let allowed = events(r#"{"+":["/lobby"]}"#, "/lobby");
    let mut client = server.connect();
    client.request("GET", &allowed, "Cookie: who=me\r\n", b"");
    let head = client.head();
    assert_eq!(head.status, 200, "{head:?}");
    let kind = head.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    assert!(kind.is_some_and(|(_, kind)| kind.starts_with("text/event-stream")), "{head:?}");
    let post = &server.posted("subscribe")[0];
    assert_eq!((post.field("cookie"), post.body()), (Some("who=me"), ""));
    publish(&server, &json!({"@": ["/lobby"], "n": 1}));
    let mut lines = event(&mut client);
    while !lines.iter().any(|line| line.contains("\"n\":1")) {
        lines = event(&mut client);
    }
    let id = lines.iter().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    let data = lines.iter().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let message: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(message["n"], 1);
    drop(client);
    for number in 2..=3 {
        publish(&server, &json!({"@": ["/lobby"], "n": number}));
    }
    let mut client = server.connect();
    client.request("GET", &allowed, &format!("Last-Event-ID: {id}\r\n"), b"");
    assert_eq!(client.head().status, 200);
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        let lines = event(&mut client);
        for data in lines.iter().filter_map(|line| line.strip_prefix("data: ")) {
            let message: Value = serde_json::from_str(data).expect("JSON");
            numbers.extend(message["n"].as_u64());
        }
    }
    assert_eq!(numbers, [2, 3]);
    // Who is not let in, and what is no group.
    let mut refused = server.connect();
    refused.request("GET", &events("{}", "/lobby"), "", b"");
    let status = refused.response().status;
    assert!(matches!(status, 401 | 403), "{status}");
    assert_eq!(server.get("/realtime/events").status, 400);
}
