//! Another process of the program takes the server's place, and no client notices.

use crate::harness::ledger::ALL_KINDS;
use crate::harness::websocket::Socket;
use crate::harness::{Kind, Ledger, Server, Setup, eventually, processes, until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn one_upgrade_replaces_the_process_and_the_workers_and_nothing_else() {
    let mut server = Setup::ledger().own_program().workers(2).start();
    server.wait_for_workers(2);
    let (first, old) = (server.pid(), server.processes());
    let answer = server.upgrade();
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    let program = server.path("bin/rip-master").display().to_string();
    assert_eq!(answer["binary"], program.as_str());
    assert_eq!(server.first_exit_code(), 0);
    server.wait_for_workers(2);
    assert_eq!(server.release(), "1");
    eventually("the end of all that was", || {
        old.iter().all(|pid| processes::has_ended(*pid) || !processes::is_alive(*pid))
    });
    // The old one tells of its end before it has ended, and the new one that it is alone.
    server.wait_for_predecessors();
    assert_ne!(processes::parent(server.pid()), Some(first));
    let [start] = &server.told("upgrade_start")[..] else { panic!("once") };
    assert!(start.contains(&format!("pid={first} binary={program}")), "{start}");
    let [done] = &server.told("upgrade_done")[..] else { panic!("once") };
    let ends = format!("result=applied oldPid={first} newPid={} tookMs=", server.pid());
    assert!(done.contains(&ends), "{done}");
    let stops = server.told("server_stop");
    assert!(stops[0].ends_with("reason=upgrade cut=0"), "{stops:?}");
    // The new one is a server like any other.
    assert_eq!(server.cli(&["restart"]).0, 0);
    assert_eq!(server.stop(), 0);
}

#[test]
fn twenty_upgrades_in_a_row_lose_nothing() {
    const UPGRADES: usize = 20;
    let mut server = Setup::ledger().own_program().workers(2).start();
    server.wait_for_workers(2);
    // The first one was started by somebody else, with other descriptors.
    server.upgrade();
    assert_eq!(server.first_exit_code(), 0);
    server.wait_for_predecessors();
    let descriptors = processes::descriptor_count(server.pid());
    let ledger = Ledger::open(&server, &ALL_KINDS);
    for turn in 0..UPGRADES {
        if turn % 2 == 0 {
            server.replace_program();
        }
        if turn % 5 == 4 {
            server.upgrade_by_signal()
        } else {
            drop(server.upgrade())
        }
        ledger.assert_no_failure(&server);
        ledger.wait_for(&server, 20);
    }
    ledger.wait_for_round(&server);
    let totals = ledger.balance(&server);
    // One that has served nobody yet, as the one that was counted.
    server.upgrade();
    assert!(totals.requests > 20 * UPGRADES as u64, "{totals:?}");
    server.wait_for_predecessors();
    eventually("the end of all but one master, two shims, two apps", || {
        server.processes().len() == 5
    });
    assert_eq!(server.told("upgrade_done").len(), UPGRADES + 2);
    eventually("no more descriptors than twenty masters ago", || {
        processes::descriptor_count(server.pid()) <= descriptors
    });
    assert_eq!(server.stop(), 0);
}

#[test]
fn with_one_loop_as_with_several_nobody_is_refused() {
    for loops in [1, 3] {
        let setup = Setup::ledger().own_program().workers(2).flag("--loops", loops);
        let mut server = setup.start();
        let kinds = [Kind::Fresh, Kind::Fresh, Kind::Fresh, Kind::KeepAlive];
        let ledger = Ledger::open(&server, &kinds);
        for _ in 0..3 {
            ledger.wait_for(&server, 20);
            server.upgrade();
        }
        ledger.wait_for_round(&server);
        ledger.balance(&server);
    }
}

#[test]
fn sockets_are_closed_with_1012_within_five_seconds_and_find_the_new_one() {
    let mut server = Setup::rooms("realtime \"/realtime\" app=\"rooms\"").own_program().start();
    server.wait_for_workers(2);
    let sockets: Vec<_> = (0..8).map(|_| Socket::open(&server, "/realtime")).collect();
    server.upgrade();
    let begun = std::time::Instant::now();
    for mut socket in sockets {
        let (code, reason) = socket.hear_close();
        assert_eq!((code, reason.as_str()), (1012, "the server is replaced: connect again"));
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let mut socket = Socket::open(&server, "/realtime");
    socket.say(r#"{"new":1}"#);
    assert_eq!(socket.hear_json(), json!({"new": 1}));
    socket.close(1000, "");
    assert_eq!(server.first_exit_code(), 0);
}

/// Says numbers and hears them again, connecting anew as often as it is told to.
fn talk(server: &Server, is_over: &AtomicBool, closes: &AtomicUsize) {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut socket = Socket::open(server, "/realtime");
        loop {
            if is_over.load(Ordering::Relaxed) {
                socket.close(1000, "");
                return;
            }
            number += 1;
            std::thread::sleep(Duration::from_millis(20));
            socket.say(&format!("{{\"n\":{number}}}"));
            let frame = socket.hear();
            if frame.first == crate::harness::websocket::CLOSE {
                assert_eq!(frame.close().0, 1012);
                closes.fetch_add(1, Ordering::Relaxed);
                break;
            }
            assert_eq!(frame.payload, format!("{{\"n\":{number}}}").into_bytes());
        }
    }
}

#[test]
fn a_socket_that_reconnects_lives_through_upgrades() {
    let mut server = Setup::rooms("realtime \"/realtime\" app=\"rooms\"").own_program().start();
    server.wait_for_workers(2);
    let (is_over, closes) = (AtomicBool::new(false), AtomicUsize::new(0));
    for _ in 0..3 {
        is_over.store(false, Ordering::Relaxed);
        let before = closes.load(Ordering::Relaxed);
        let pid = std::thread::scope(|scope| {
            let talker = scope.spawn(|| talk(&server, &is_over, &closes));
            let (code, answer) = server.try_upgrade(&[]);
            assert_eq!(code, 0, "{answer}");
            eventually("a close", || closes.load(Ordering::Relaxed) > before);
            is_over.store(true, Ordering::Relaxed);
            talker.join().expect("a client");
            answer["newPid"].as_u64().expect("a pid")
        });
        server.is_succeeded_by(u32::try_from(pid).expect("a pid"));
    }
    server.wait_for_predecessors();
}

#[test]
fn a_request_at_a_worker_is_finished_by_the_old_one() {
    let mut server = Setup::recorder().own_program().workers(1).start();
    let mut slow = server.connect();
    slow.request("GET", "/slow?gate=go", "", b"");
    server.wait_for_seen("/slow?gate=go");
    let first = server.pid();
    server.upgrade();
    assert_eq!(server.get("/fast").status, 200, "the new one has a worker of its own");
    assert!(processes::is_alive(first));
    server.open_gate("go");
    let response = slow.response();
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.field("connection"), "close");
    assert_eq!(server.first_exit_code(), 0);
}

#[test]
fn a_client_that_the_old_one_still_has_asks_how_it_is_and_orders_nothing() {
    let mut server = Setup::recorder().own_program().workers(1).start();
    let (code, told) = server.cli(&["ctl", "dashboard-login", "--json"]);
    assert_eq!(code, 0, "{told}");
    let (_, secret) = told.split_once("/login#").expect("a link");
    let secret = secret.split('"').next().unwrap_or_default();
    let mut orders = server.connect();
    let own = "Origin: http://rip.local\r\n";
    let fields = format!("{own}Authorization: Bearer {secret}\r\n");
    orders.request_at("rip.local", "POST", "/login", &fields, b"");
    let login = orders.response();
    assert_eq!(login.status, 200, "{login:?}");
    let session = login.field("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let asked =
        [("localhost", "/metrics"), ("localhost", "/diagnostics"), ("rip.local", "/events")];
    let mut asking = asked.map(|(host, target)| {
        let mut client = server.connect();
        assert_eq!(client.ask_at(host, "GET", target).status, 200, "{target}");
        (client, host, target)
    });
    // It must not end before all have asked.
    let mut slow = server.connect();
    slow.request("GET", "/slow?gate=go", "", b"");
    server.wait_for_seen("/slow?gate=go");
    server.upgrade();
    for (client, host, target) in &mut asking {
        let answer = client.ask_at(host, "GET", target);
        assert_eq!((answer.status, answer.field("connection")), (200, "close"), "{target}");
    }
    let fields = format!("{own}Cookie: {session}\r\n");
    orders.request_at("rip.local", "POST", "/actions/restart", &fields, b"{}");
    let refused = orders.response();
    assert_eq!((refused.status, refused.field("retry-after")), (503, "1"), "{refused:?}");
    assert_eq!(refused.field("connection"), "close");
    server.open_gate("go");
    assert_eq!(slow.response().status, 200);
    assert_eq!(server.first_exit_code(), 0);
}

#[test]
fn who_is_told_to_end_while_it_finishes_goes_on_and_the_second_time_hurries() {
    let mut server = Setup::recorder().own_program().workers(1).start();
    let mut slow = server.connect();
    slow.request("GET", "/slow?gate=go", "", b"");
    server.wait_for_seen("/slow?gate=go");
    let first = server.pid();
    server.upgrade();
    // The init system ends every process of a service at once.
    processes::signal(first, Signal::SIGTERM);
    assert!(slow.is_silent_for(Duration::from_millis(500)));
    server.open_gate("go");
    assert_eq!(slow.response().status, 200);
    assert_eq!(server.first_exit_code(), 0);
    server.close_gate("go");
    let mut cut = server.connect();
    cut.request("GET", "/cut?gate=go", "", b"");
    server.wait_for_seen("/cut?gate=go");
    let second = server.pid();
    server.upgrade();
    processes::signal(second, Signal::SIGTERM);
    assert!(cut.is_silent_for(Duration::from_millis(200)));
    processes::signal(second, Signal::SIGTERM);
    eventually("a hurried end", || !processes::is_alive(second));
    server.open_gate("go");
}

#[test]
fn the_pid_file_and_the_control_socket_are_never_without_a_master() {
    let mut server = Setup::builtin("hello").own_program().workers(1).start();
    let is_over = AtomicBool::new(false);
    let pids = std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while !is_over.load(Ordering::Relaxed) {
                let (code, output) = server.cli(&["ctl", "status", "--json"]);
                assert_eq!(code, 0, "{output}");
                looks += 1;
            }
            looks
        });
        let mut pids = Vec::new();
        for _ in 0..4 {
            // The one before must be gone before the next.
            let answer = until("an upgrade", || {
                let (code, answer) = server.try_upgrade(&[]);
                (code == 0).then_some(answer)
            });
            pids.push(answer["newPid"].as_u64().expect("a pid"));
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(looker.join().expect("nothing was wrong") > 4);
        pids
    });
    server.is_succeeded_by(u32::try_from(pids[3]).expect("a pid"));
    server.wait_for_predecessors();
}
