//! What a server is besides a process goes on when another one takes its place.

use crate::harness::edgefile::ledger as ledger_app;
use crate::harness::port::Port;
use crate::harness::session::{Ask, SESSIONS, Session, Stream, turns};
use crate::harness::tls::{Secure, identity};
use crate::harness::{Kind, Ledger, Server, Setup, eventually, processes, until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn apps() -> String {
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n{}{}\
         site \"a.test\" {{ route \"/*\" {{ to-app \"one\" }} }}\n\
         site \"b.test\" {{ route \"/*\" {{ to-app \"two\" }} }}\n",
        ledger_app("one", "workers 2"),
        ledger_app("two", "workers 1")
    )
}

#[test]
fn several_apps_of_an_edgefile_are_all_there_again() {
    let mut server = Setup::edgefile(&apps()).own_program().word("--no-watch").start();
    eventually("all workers", || server.ready_workers().len() == 3);
    let places = [("a.test", "", "one"), ("b.test", "", "two")];
    let ledger = Ledger::aimed(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Slow], &places);
    for _ in 0..3 {
        ledger.wait_for(&server, 20);
        server.upgrade();
        assert_eq!(server.ready_workers().len(), 3, "all are ready before it serves");
    }
    ledger.wait_for_round(&server);
    let totals = ledger.balance(&server);
    assert!(totals.apps["one"] > 0 && totals.apps["two"] > 0, "{totals:?}");
    // Reloads go on as ever, with the file as it is by now.
    let more = apps() + "site \"c.test\" { route \"/*\" { redirect \"/c\" } }\n";
    server.take_up(&more);
    assert_eq!(server.get_at("c.test", "/x").status, 302);
}

#[test]
fn what_was_done_by_hand_is_kept() {
    let mut server = Setup::edgefile(&apps()).own_program().word("--no-watch").start();
    eventually("all workers", || server.ready_workers().len() == 3);
    for words in [
        &["ctl", "scale", "one", "3"][..],
        &["add", "new.test", "two"],
        &["add", "own.test", "builtin:hello"],
        &["ctl", "pause", "two"],
    ] {
        server.order(words);
    }
    server.upgrade();
    assert_eq!(server.workers_of("one").len(), 3);
    assert_eq!(server.get_at("own.test", "/").text(), "Hello from rip-master\n");
    let registry = server.control_get("/registry").json();
    let added = registry["added"].as_array().expect("hosts").len();
    assert_eq!(added, 2, "{registry}");
    assert_eq!(server.app_called("two")["paused"], true);
    let mut waits = server.connect();
    waits.request_at("new.test", "GET", "/release/0", "", b"");
    assert!(waits.is_silent_for(Duration::from_millis(300)));
    server.order(&["ctl", "resume", "two"]);
    assert_eq!(waits.response().status, 200);
    // A second time, and what the file does not have any more is left out.
    let one = apps()
        .replace("app \"two\"", "app \"three\"")
        .replace("to-app \"two\"", "to-app \"three\"");
    server.write_edgefile(&one);
    server.upgrade();
    assert_eq!(server.workers_of("one").len(), 3);
    assert_eq!(server.get_at("own.test", "/").status, 200);
    assert_eq!(server.get_at("new.test", "/").status, 404);
}

#[test]
fn a_new_listener_is_bound_and_one_that_is_gone_is_closed() {
    let (two, three) = (Port::free(), Port::free());
    let file = |port: &Port| {
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\" \"127.0.0.1:{}\" }}\n\
             site \"*\" {{ route \"/*\" {{ redirect \"/x\" }} }}\n",
            port.number
        )
    };
    let mut server = Setup::edgefile(&file(&two)).own_program().word("--no-watch").start();
    server.write_edgefile(&file(&three));
    server.upgrade();
    let ask = |port: &Port| {
        let mut client = crate::harness::Client::try_connect(port.number).ok()?;
        Some(client.ask("GET", "/").status)
    };
    assert_eq!(ask(&three), Some(302));
    eventually("nobody at the old port", || crate::harness::edgefile::is_refused(two.number));
    // One that somebody else has is a reason not to.
    let taken = Port::free();
    let _holder = TcpListener::bind(("127.0.0.1", taken.number)).unwrap();
    server.write_edgefile(&file(&taken));
    let before = server.state();
    let (code, answer) = server.try_upgrade(&[]);
    assert_eq!((code, &answer["code"]), (1, &"ended".into()), "{answer:#}");
    assert!(answer["stderr"].to_string().contains("is taken by"), "{answer:#}");
    assert_eq!(server.state(), before);
    assert_eq!(ask(&three), Some(302));
}

#[test]
fn a_port_that_was_found_instead_of_a_taken_one_stays() {
    let taken = Port::free();
    let _holder = TcpListener::bind(("127.0.0.1", taken.number)).unwrap();
    let other = Port::free();
    let mut server = Setup::files(|site| std::fs::write(site.join("a.txt"), "a").unwrap())
        .own_program()
        .word("--port-fallback")
        .at(other)
        .start();
    let ports = server.control_get("/status").json()["ports"].clone();
    server.upgrade();
    assert_eq!(server.control_get("/status").json()["ports"], ports);
    assert_eq!(server.get("/a.txt").text(), "a");
}

#[test]
fn https_is_served_without_a_gap() {
    let https = Port::free();
    let setup = Setup::recorder().own_program().workers(1).flag("--https-port", https.number);
    let stem = setup.path("a");
    let pair = identity(&["a.test"], 100);
    pair.write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    let setup = setup.flag("--cert", file("crt")).flag("--key", file("key"));
    let mut server = setup.word("--no-redirect-http").start();
    let is_over = AtomicBool::new(false);
    let port = https.number;
    for _ in 0..3 {
        is_over.store(false, Ordering::Relaxed);
        let pid = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut secure = Secure::connect(port, Some("a.test")).expect("a handshake");
                    assert_eq!(secure.fingerprint(), pair.fingerprint);
                    assert_eq!(secure.get("a.test").expect("an answer"), 200);
                    count += 1;
                }
                count
            });
            let (code, answer) = server.try_upgrade(&[]);
            is_over.store(true, Ordering::Relaxed);
            assert!(client.join().expect("a client") > 10);
            assert_eq!(code, 0, "{answer:#}");
            answer["newPid"].as_u64().expect("a pid")
        });
        server.is_succeeded_by(u32::try_from(pid).expect("a pid"));
    }
}

fn gated(gate: &str) -> serde_json::Value {
    json!({"steps": ["begin", {"gate": gate}, "end"]})
}

#[test]
fn a_turn_that_runs_is_finished_by_the_old_one_and_in_flight_for_the_new_one() {
    let mut server = Setup::edgefile(&turns(SESSIONS, "")).own_program().word("--no-watch").start();
    server.wait_for_workers(2);
    let (session, _) = Session::start(&server, &json!({}));
    let ask = Ask::message(&session, &gated("go"));
    let mut stream = Stream::of(ask.sse().send(&server)).expect("a stream");
    assert_eq!(stream.event().data["text"], "begin");
    let first = server.pid();
    server.upgrade();
    // The new one knows of it, and does not take it for one that nobody runs.
    let refused = Ask::message(&session, &json!({})).answer(&server);
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("in-flight")),
        "{refused:?}"
    );
    assert_eq!(session.status(&server)["status"], "running");
    let mut view = Ask::events(&session, "").stream(&server);
    assert_eq!(view.event().data["text"], "begin");
    assert!(processes::is_alive(first));
    server.open_gate("go");
    assert_eq!(stream.event().data["text"], "end");
    let outcome = stream.outcome();
    assert_eq!(outcome.data["status"], "finished", "{outcome:?}");
    assert_eq!(outcome.data["output"]["attempt"], 1, "{outcome:?}");
    assert_eq!(view.event().data["text"], "end", "who looks on at the new one sees it as well");
    assert_eq!(view.outcome().data["status"], "finished");
    let mut session = Session::of_stream(&stream.head, &outcome);
    let next = session.message(&server, &json!({}));
    assert_eq!(next["status"], "finished", "{next}");
    assert_eq!(server.first_exit_code(), 0);
}

#[test]
fn the_init_system_hears_who_serves_before_the_old_one_ends() {
    let setup = Setup::recorder().own_program().workers(1);
    let path = setup.path("notify");
    let ear = UnixDatagram::bind(&path).unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut server = setup.env("NOTIFY_SOCKET", path).start();
    let mut slow = server.connect();
    slow.request("GET", "/slow?gate=go", "", b"");
    server.wait_for_seen("/slow?gate=go");
    let first = server.pid();
    server.upgrade();
    let mut heard = Vec::new();
    let mut letter = [0; 4096];
    let new = format!("MAINPID={}", server.pid());
    let is_new = |text: &String| text.contains(&new) && text.contains("READY=1");
    while !heard.iter().any(is_new) {
        let length = ear.recv(&mut letter).expect("the new one is ready");
        heard.push(String::from_utf8_lossy(&letter[..length]).into_owned());
    }
    assert!(processes::is_alive(first), "it still finishes what it has");
    let at = |wanted: &dyn Fn(&String) -> bool| heard.iter().position(wanted);
    let handed = at(&|text| *text == new).expect("the old one names the new one");
    let ready = at(&is_new).expect("the new one is ready");
    assert!(handed < ready, "{heard:#?}");
    let told = format!("upgrading: process {} is getting ready", server.pid());
    assert!(heard[..handed].iter().any(|text| text.contains(&told)), "{heard:#?}");
    server.open_gate("go");
    assert_eq!(slow.response().status, 200);
    assert_eq!(server.first_exit_code(), 0);
    ear.set_nonblocking(true).unwrap();
    while let Ok(length) = ear.recv(&mut letter) {
        heard.push(String::from_utf8_lossy(&letter[..length]).into_owned());
    }
    assert!(heard.iter().all(|text| !text.contains("STOPPING=1")), "{heard:#?}");
    server.signal(Signal::SIGTERM);
    ear.set_nonblocking(false).unwrap();
    until("the end of the new one", || {
        let length = ear.recv(&mut letter).ok()?;
        String::from_utf8_lossy(&letter[..length]).contains("STOPPING=1").then_some(())
    });
    assert_eq!(server.exit_code(), 0);
}

/// `command` with `socket` as the descriptor that an init system hands over.
#[allow(unsafe_code)]
fn activated(command: &Command, socket: &TcpListener) -> Command {
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg("LISTEN_PID=$$ exec \"$@\"").arg("sh");
    shell.arg(command.get_program()).args(command.get_args());
    shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
    let fd = socket.as_raw_fd();
    let place = move || {
        // SAFETY: plain numbers of descriptors.
        match unsafe { libc::dup2(fd, 3) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec nothing but a system call on numbers is done.
    unsafe { shell.pre_exec(place) };
    shell
}

#[test]
fn a_socket_of_the_init_system_is_handed_on_and_stays_its_own() {
    let port = Port::free();
    let socket = TcpListener::bind(("127.0.0.1", port.number)).unwrap();
    let held = socket.try_clone().unwrap();
    let setup = Setup::ledger().own_program().workers(2).at(port);
    let mut server: Server = setup.wrapped(move |command, _| activated(command, &held)).start();
    let ledger = Ledger::open(&server, &[Kind::Fresh, Kind::KeepAlive, Kind::Upload]);
    for _ in 0..3 {
        ledger.wait_for(&server, 20);
        server.upgrade();
    }
    ledger.wait_for_round(&server);
    ledger.balance(&server);
    server.wait_for_predecessors();
    assert_eq!(server.stop(), 0);
    // It is still open here: who connects now waits for the next server.
    crate::harness::Client::try_connect(server.port()).expect("a place in its backlog");
    drop(socket);
}
