//! Ten thousand WebSocket clients on one machine, while everything behind them changes.

use crate::harness::crowd::{Crowd, possible};
use crate::harness::{Client, Server, Setup, eventually, processes, within};
use serde_json::{Value, json};
use std::time::Duration;

/// What an idle client may take of the master's memory.
const BYTES_EACH: u64 = 4096;

fn file(round: u32) -> String {
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\"; limits connections=12000 }}\n\
         app \"hub\" {{ entry \"builtin:realtime\"; workers 2; env ROUND=\"{}\" }}\n\
         site \"*\" {{ realtime \"/realtime\" app=\"hub\" rate={}\n\
         route \"/v{round}/*\" {{ to-app \"hub\" }} }}\n",
        round / 2,
        100 + round
    )
}

fn publish(server: &Server) -> Value {
    let mut client = Client::connect(server.port());
    let body = json!({"@": ["/all"], "$text": "to all of you"}).to_string();
    let fields = "Content-Type: application/json\r\n";
    client.request_at("127.0.0.1", "POST", "/publish", fields, body.as_bytes());
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[track_caller]
fn all_are_there(crowd: &Crowd) {
    let lost = crowd.lost();
    assert!(lost.is_empty(), "{} are lost, first {:?}", lost.len(), &lost[..lost.len().min(5)]);
}

#[test]
fn ten_thousand_clients_stay_while_the_app_rolls_and_the_edgefile_changes() {
    let count = possible(10_000);
    let server = Setup::edgefile(&file(0)).word("--no-watch").start();
    server.wait_for_workers(2);
    // What the first few take has nothing to do with how many there are.
    drop(Crowd::gather(&server, "/realtime?join=/all", 200));
    eventually("a calm server", || processes::descriptor_count(server.pid()) < 100);
    let before = processes::resident_bytes(server.pid());
    let crowd = Crowd::gather(&server, "/realtime?join=/all", count);
    let each = processes::resident_bytes(server.pid()).saturating_sub(before) / count as u64;
    println!("{count} idle WebSocket clients: {each} bytes of memory each");
    let mut told = 0;
    let mut tell_all = |what: &str| {
        let answer = publish(&server);
        assert_eq!(answer["delivered"], count, "{what}: {answer}");
        told += 1;
        let all = within(Duration::from_secs(30), || (crowd.told(told) == count).then_some(()));
        all_are_there(&crowd);
        assert!(all.is_some(), "{what}: {} of {count} were told", crowd.told(told));
    };
    tell_all("at first");
    for round in 1..=4 {
        server.take_up(&file(round));
        tell_all("after a reload");
        if round % 2 == 1 {
            server.order(&["ctl", "restart"]);
            tell_all("after a roll");
        }
    }
    let pids: Vec<_> = server.worker_ids().iter().map(|id| server.app_pid(*id)).collect();
    for pid in pids {
        processes::signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
    tell_all("after all workers were killed");
    eventually("fresh workers", || server.ready_workers().len() == 2);
    tell_all("at last");
    assert!(each <= BYTES_EACH, "{each} bytes for each idle client");
    drop(crowd);
    eventually("nobody is there", || publish(&server)["delivered"] == 0);
}
