//! Who is bound to a session over WebSocket, with a store that says what a test wants it to.

use super::session_view::{KEY, SESSION, Stage, bytes_in_kernel};
use super::socket::{hear, say};
use super::*;
use rip::limits::EVENT_PAGE_BYTES;
use rip::session::{TokenKey, encode};

const UPGRADE: &str = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn open(stage: &Stage) -> TcpStream {
    let mut client = stage.house.client();
    client.write_all(UPGRADE.as_bytes()).unwrap();
    let head = head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

/// Asks to look on from `cursor`.
fn resume(client: &mut TcpStream, cursor: &str) {
    let (head, tail) = ("{\"type\":\"resume\",\"sessionId\":", ",\"resumeToken\":\"rt_x\"");
    let text = format!("{head}\"{SESSION}\"{tail},\"lastEventId\":\"{cursor}\"}}");
    // In two parts, as each is at most 125 bytes.
    let (one, two) = text.split_at(100);
    say(client, 0x01, one.as_bytes());
    say(client, 0x80, two.as_bytes());
}

fn hear_text(client: &mut TcpStream) -> String {
    let (first, payload) = hear(client);
    assert_eq!(first, 0x81, "{}", String::from_utf8_lossy(&payload));
    String::from_utf8(payload).unwrap()
}

/// Everything from event `first` on is told, in its order.
fn hear_events(stage: &Stage, client: &mut TcpStream, first: u64) {
    let events = stage.store.lock().unwrap().events[first as usize - 1..].to_vec();
    for event in events {
        let expected = encode::event_message(&event, SESSION, &TokenKey::new(KEY));
        assert_eq!(hear_text(client), expected);
    }
}

/// Nothing is told before the answer to a ping, behind event `last`.
fn assert_nothing_told(client: &mut TcpStream, last: &str) {
    say(client, 0x81, b"{\"type\":\"ping\"}");
    assert_eq!(hear_text(client), format!("{{\"id\":\"{last}\",\"type\":\"pong\"}}"));
}

fn pages(stage: &Stage) -> usize {
    stage.store.lock().unwrap().pages
}

#[test]
fn what_was_and_what_comes_is_told_in_order() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(3, 10);
    let mut client = open(&stage);
    resume(&mut client, "0001-000000000001");
    hear_events(&stage, &mut client, 2);
    stage.say(2, 10);
    hear_events(&stage, &mut client, 4);
    stage.end();
    hear_events(&stage, &mut client, 6);
    // The next turn as well, whoever begins it.
    stage.begin(true);
    stage.say(2, 10);
    stage.end();
    hear_events(&stage, &mut client, 7);
    assert_nothing_told(&mut client, "0001-000000000009");
}

#[test]
fn who_keeps_up_or_rests_costs_the_store_next_to_nothing() {
    let stage = Stage::new();
    let mut client = open(&stage);
    resume(&mut client, "now");
    assert_nothing_told_yet(&mut client);
    assert_eq!(pages(&stage), 0);
    for turn in 0..5 {
        stage.begin(true);
        for _ in 0..10 {
            let last = stage.store.lock().unwrap().events.len() as u64;
            stage.say(3, 100);
            hear_events(&stage, &mut client, last + 1);
        }
        let last = stage.store.lock().unwrap().events.len() as u64;
        stage.end();
        hear_events(&stage, &mut client, last + 1);
        assert_nothing_told(&mut client, &format!("0001-{:012x}", last + 1));
        // That no other turn runs is asked once.
        assert!(pages(&stage) <= turn + 1, "{} pages", pages(&stage));
    }
}

/// The same of who has not been told of any event.
fn assert_nothing_told_yet(client: &mut TcpStream) {
    say(client, 0x81, b"{\"type\":\"ping\"}");
    assert_eq!(hear_text(client), "{\"type\":\"pong\"}");
}

#[test]
fn a_turn_that_runs_elsewhere_is_told_as_well() {
    let stage = Stage::new();
    stage.begin(false);
    stage.say(2, 10);
    let mut client = open(&stage);
    resume(&mut client, "earliest");
    hear_events(&stage, &mut client, 1);
    stage.say(1, 10);
    hear_events(&stage, &mut client, 3);
    stage.end();
    hear_events(&stage, &mut client, 4);
}

#[test]
fn a_store_that_is_in_trouble_delays_events_and_loses_none() {
    let stage = Stage::new();
    stage.begin(false);
    stage.say(2, 10);
    stage.store.lock().unwrap().trouble = Some("busy");
    let mut client = open(&stage);
    resume(&mut client, "earliest");
    assert_nothing_told_yet(&mut client);
    stage.store.lock().unwrap().trouble = None;
    hear_events(&stage, &mut client, 1);
    stage.store.lock().unwrap().trouble = Some("busy");
    stage.say(2, 10);
    stage.end();
    assert_nothing_told(&mut client, "0001-000000000002");
    stage.store.lock().unwrap().trouble = None;
    hear_events(&stage, &mut client, 3);
}

#[test]
fn a_store_that_is_in_trouble_is_not_asked_in_circles() {
    for here in [true, false] {
        let stage = Stage::new();
        stage.begin(here);
        stage.say(2000, 100);
        stage.store.lock().unwrap().trouble = Some("unreachable");
        let mut client = open(&stage);
        resume(&mut client, "earliest");
        let troubles = || stage.store.lock().unwrap().troubles;
        // It is asked again for as long as it takes, now and then.
        wait_until("it gives up", || troubles() > 2);
        let (before, began) = (troubles(), Instant::now());
        thread::sleep(Duration::from_millis(500));
        let asked = troubles() - before;
        let most = began.elapsed().as_millis() / 250 + 2;
        assert!(asked as u128 <= most, "asked {asked} times in {:?}", began.elapsed());
        assert_nothing_told_yet(&mut client);
        stage.store.lock().unwrap().trouble = None;
        hear_events(&stage, &mut client, 1);
    }
}

#[test]
fn what_a_client_does_not_take_is_not_read_for_it() {
    const EVENTS: u64 = 2000;
    let stage = Stage::new();
    stage.begin(true);
    stage.say(EVENTS, 20_000);
    let mut client = open(&stage);
    resume(&mut client, "earliest");
    wait_until("it never reads", || pages(&stage) > 0);
    // What the kernel takes, it takes; then nothing more is read.
    let mut before = 0;
    wait_until("it never stops", || {
        thread::sleep(Duration::from_millis(100));
        before == std::mem::replace(&mut before, pages(&stage))
    });
    let all = (EVENTS as usize * 20_000).div_ceil(EVENT_PAGE_BYTES);
    assert!(before < all / 2, "{before} of {all} pages were read for nobody");
    hear_events(&stage, &mut client, 1);
    stage.end();
    hear_events(&stage, &mut client, EVENTS + 1);
}

#[test]
fn what_waits_for_a_slow_client_is_one_page() {
    let stage = Stage::new();
    stage.begin(false);
    // Each of the first is a page, and a smaller one than those that follow: where in a page the kernel has
    // enough depends on how many of them are read.
    stage.say(8, 200 * 1024);
    stage.say(600, 16 * 1024);
    stage.end();
    for first in 0..8 {
        let bytes = || stage.store.lock().unwrap().bytes;
        let bytes_before = bytes();
        let mut client = open(&stage);
        resume(&mut client, &format!("0001-{:012x}", first));
        wait_until("it never reads", || bytes() > bytes_before);
        let left = bytes_in_kernel(&client);
        let read = bytes() - bytes_before;
        let waiting = read.saturating_sub(left);
        assert!(waiting <= EVENT_PAGE_BYTES * 5 / 4, "{waiting} of {read} bytes wait");
    }
}

#[test]
fn who_asks_on_while_the_store_looks_is_heard_afterwards() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(1, 10);
    let mut client = open(&stage);
    let store = stage.store.lock().unwrap();
    resume(&mut client, "earliest");
    say(&mut client, 0x81, b"[");
    say(&mut client, 0x81, b"{\"type\":\"ping\"}");
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.peek(&mut [0]).is_err(), "the store has not answered yet");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(store);
    let mut told: Vec<_> = (0..3).map(|_| hear_text(&mut client)).collect();
    told.sort();
    assert!(told[0].contains("\"seq\":1"), "{told:?}");
    assert!(told[1].contains("bad-json") && told[2].contains("pong"), "{told:?}");
}

#[test]
fn a_loop_that_drains_closes_who_has_been_told_everything() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(1, 10);
    let (mut idle, mut bound) = (open(&stage), open(&stage));
    resume(&mut bound, "earliest");
    hear_events(&stage, &mut bound, 1);
    stage.drain();
    let close = |client: &mut TcpStream| {
        let (first, payload) = hear(client);
        assert_eq!((first, &payload[..2]), (0x88, &1012_u16.to_be_bytes()[..]));
        say(client, 0x88, &payload);
    };
    close(&mut idle);
    stage.say(1, 10);
    hear_events(&stage, &mut bound, 2);
    stage.end();
    hear_events(&stage, &mut bound, 3);
    close(&mut bound);
    stage.wait_until_drained();
    assert_eq!(stage.viewers(), 0);
}

#[test]
fn who_leaves_is_not_stirred_any_more() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(1, 10);
    let mut client = open(&stage);
    resume(&mut client, "earliest");
    hear_events(&stage, &mut client, 1);
    assert_eq!(stage.viewers(), 1);
    drop(client);
    wait_until("it stays", || stage.viewers() == 0);
    // One that is refused looks on at nothing.
    let mut client = open(&stage);
    let text = b"{\"type\":\"resume\",\"sessionId\":\"s_0123456789abcdef0123456789abcdef\"}";
    say(&mut client, 0x81, text);
    assert!(hear_text(&mut client).contains("unknown session"));
    assert_eq!(stage.viewers(), 0);
}
