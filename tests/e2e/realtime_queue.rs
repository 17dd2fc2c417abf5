//! WebSocket clients and the queue for workers: who waits, who is refused, what is never lost.

use crate::harness::websocket::{Socket, UPGRADE};
use crate::harness::{Client, Server, Setup, eventually, tools};
use serde_json::json;
use std::fs;

/// The app with one worker and these flags.
fn house(flags: &[(&str, u32)]) -> Server {
    let source = fs::read_to_string(tools::app("rooms.py")).expect("the app's source");
    let setup = Setup::python(&source).workers(1);
    let record = setup.path("record");
    fs::create_dir_all(&record).expect("the directory of records");
    let setup = flags.iter().fold(setup, |setup, (name, value)| setup.flag(name, value));
    setup.env("RECORD", record).start()
}

/// Asks for a WebSocket, without waiting for the answer.
fn asks(server: &Server) -> Client {
    let mut client = server.connect();
    client.request("GET", "/realtime", UPGRADE, b"");
    client
}

/// Keeps the only worker at work until the gate opens.
fn busy(server: &Server, gate: &str) -> Socket {
    let before = server.posted("text").len();
    let mut socket = Socket::open(server, "/realtime");
    socket.say(&format!("!gate {gate} {{\"gate\":\"{gate}\"}}"));
    eventually("a busy worker", || server.posted("text").len() == before + 1);
    socket
}

#[test]
fn a_client_waits_for_a_worker_no_longer_than_a_request() {
    let server = house(&[("--queue-timeout-ms", 400)]);
    let mut socket = busy(&server, "go");
    assert_eq!(asks(&server).response().status, 504);
    server.open_gate("go");
    assert_eq!(socket.hear_json(), json!({"gate": "go"}));
    assert!(Socket::switched(asks(&server)).is_ok());
    assert_eq!(server.posted("open").len(), 2, "the app knows nothing of the one that was refused");
}

#[test]
fn clients_that_come_to_a_full_queue_are_refused_and_may_come_again() {
    let server = house(&[("--max-queue", 2)]);
    let mut socket = busy(&server, "go");
    let mut waiting: Vec<_> = (0..2).map(|_| asks(&server)).collect();
    eventually("a full queue", || server.queue_depth() == 2);
    let refusal = asks(&server).response();
    assert_eq!(refusal.status, 503);
    assert_eq!(refusal.values("Retry-After").len(), 1, "{refusal:?}");
    server.open_gate("go");
    assert_eq!(socket.hear_json(), json!({"gate": "go"}));
    for client in waiting.drain(..) {
        assert!(Socket::switched(client).is_ok());
    }
}

#[test]
fn what_clients_say_is_lost_to_no_full_queue_and_to_no_deadline_of_one() {
    const CLIENTS: usize = 12;
    const MESSAGES: u32 = 10;
    let server = house(&[("--max-queue", 2), ("--queue-timeout-ms", 1500)]);
    let mut sockets: Vec<_> = (0..CLIENTS).map(|_| Socket::open(&server, "/realtime")).collect();
    let mut first = busy(&server, "go");
    for number in 0..MESSAGES {
        for socket in &mut sockets {
            socket.say(&format!("!sleep 0.005 {{\"n\":{number}}}"));
        }
    }
    server.open_gate("go");
    assert_eq!(first.hear_json(), json!({"gate": "go"}));
    for socket in &mut sockets {
        for number in 0..MESSAGES {
            assert_eq!(socket.hear_json(), json!({"n": number}));
        }
    }
    // Requests of others are served beside them.
    assert_eq!(server.get("/page").status, 200);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_never_told_of() {
    let server = house(&[]);
    let mut socket = busy(&server, "go");
    let left = asks(&server);
    eventually("it waits", || server.queue_depth() == 1);
    drop(left);
    eventually("it does not wait any more", || server.queue_depth() == 0);
    server.open_gate("go");
    assert_eq!(socket.hear_json(), json!({"gate": "go"}));
    socket.close(1000, "");
    server.wait_for_posts("close", 1);
    assert_eq!(server.posted("open").len(), 1);
}

#[test]
fn a_worker_that_is_away_for_a_while_is_waited_for() {
    let server = house(&[]);
    let mut socket = Socket::open(&server, "/realtime");
    server.order(&["ctl", "pause"]);
    socket.say("{\"said\":\"in the pause\"}");
    let asked = asks(&server);
    eventually("both wait", || server.queue_depth() == 2);
    server.order(&["ctl", "restart"]);
    server.order(&["ctl", "resume"]);
    assert_eq!(socket.hear_json(), json!({"said": "in the pause"}));
    assert!(Socket::switched(asked).is_ok());
}
