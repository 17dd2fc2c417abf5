//! However many loops there are, they share the workers fairly.

use crate::harness::load::Load;
use crate::harness::{Client, Setup, eventually};
use std::thread;

#[test]
fn one_loop_and_many_serve_alike() {
    for loops in [1, 4] {
        let server = Setup::recorder().workers(2).flag("--loops", loops).start();
        server.wait_for_workers(2);
        let load = Load::start(server.port(), 12, "GET /l HTTP/1.1\r\nHost: a.test\r\n\r\n");
        eventually("answers", || load.answered() > 300);
        let tally = load.stop();
        assert!(tally.lost.is_empty(), "{loops}: {:?}", tally.lost);
        assert_eq!(tally.others(200), 0, "{loops}: {:?}", tally.statuses);
        assert_eq!((server.inflight(), server.queue_depth()), (0, 0));
    }
}

#[test]
fn a_lone_worker_is_handed_from_loop_to_loop() {
    let server = Setup::recorder().workers(1).flag("--loops", 4).start();
    let port = server.port();
    let clients: Vec<_> = (0..16)
        .map(|number| {
            thread::spawn(move || {
                let mut client = Client::connect(port);
                for _ in 0..20 {
                    let response = client.ask("GET", &format!("/h?text={number}"));
                    assert_eq!(response.text(), number.to_string());
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(server.seen().len(), 320);
    let mut open = 0_u32;
    for line in server.records() {
        open = if line.0["event"] == "request" { open + 1 } else { open - 1 };
        assert!(open <= 1, "two at once at a worker of one");
    }
}

#[test]
fn clients_of_every_loop_leave_the_queue_cleanly() {
    let server = Setup::recorder().workers(1).flag("--loops", 4).start();
    let mut holder = server.connect();
    holder.request("GET", "/hold?gate=go", "", b"");
    server.wait_for_seen("/hold?gate=go");
    let mut waiting: Vec<_> = (0..12).map(|_| server.connect()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.request("GET", &format!("/w{number}"), "", b"");
    }
    eventually("a queue", || server.queue_depth() == 12);
    for (number, client) in waiting.into_iter().enumerate() {
        if number % 2 == 0 { client.reset() } else { drop(client) }
    }
    eventually("an empty queue", || server.queue_depth() == 0);
    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
    assert_eq!(server.get("/after").status, 200);
    assert_eq!(server.seen().len(), 2, "nobody who left was served");
}
