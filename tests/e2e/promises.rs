//! Promises of the whole product, each under its own name.

use crate::harness::edgefile::{Manner, ledger as ledger_app, recorder, told};
use crate::harness::http::chunked;
use crate::harness::port::Port;
use crate::harness::{Client, Kind, Ledger, Server, Setup, eventually};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;

const KINDS: [Kind; 5] =
    [Kind::KeepAlive, Kind::KeepAlive, Kind::Fresh, Kind::Upload, Kind::Stream];

fn edge(more: &str) -> String {
    format!("version 1\nedge {{\n    http \"127.0.0.1:PORT\"{more}\n    verify within=\"2s\"\n}}\n")
}

/// Everything that must be as it was.
#[derive(Debug, PartialEq)]
struct State {
    version: u64,
    config: Value,
    one: std::collections::BTreeMap<u64, (u64, u64)>,
    two: std::collections::BTreeMap<u64, (u64, u64)>,
    four: std::collections::BTreeMap<u64, (u64, u64)>,
}

/// Everything is as it was.
#[track_caller]
fn assert_unchanged(server: &Server, before: &State, what: &str) {
    let now = state(server);
    for (own, old) in [(&now.one, &before.one), (&now.two, &before.two), (&now.four, &before.four)]
    {
        assert!(old.iter().all(|(worker, its)| own.get(worker) == Some(its)), "{what}: {own:?}");
    }
    assert_eq!((now.version, now.config), (before.version, before.config.clone()), "{what}");
    // Workers of what is taken back take their leave.
    eventually("the old workers, and nobody else", || state(server) == *before);
}

fn state(server: &Server) -> State {
    State {
        version: server.version(),
        config: server.control_get("/config").json(),
        one: server.family("one"),
        two: server.family("two"),
        four: server.family("four"),
    }
}

const DIES: &str = "import sys\nprint('no database', file=sys.stderr)\nsys.exit(3)\n";
/// Dies when it is told to, which is after it has become active.
const DIES_LATER: &str = "import os, threading, time\n\
    def die():\n    \
    while not os.path.exists(os.environ['RECORD'] + '/die'):\n        time.sleep(0.005)\n    \
    os._exit(7)\n\
    threading.Thread(target=die, daemon=True).start()\n\
    def application(environ, start_response):\n    \
    start_response('200 OK', [])\n    return [b'']\n";
const NEVER_READY: &str = "import time\nwhile True:\n    time.sleep(1)\n";

#[test]
fn a_bad_configuration_or_a_bad_release_never_replaces_a_good_one() {
    let one = ledger_app("one", "workers 2\nhosts \"one.test\"");
    let two = "app \"two\" { entry \"./two/app.py\"; workers 1; hosts \"two.test\"\n RELEASE }\n";
    // Nobody asks it: what a release that is taken back answers meanwhile is nobody's loss.
    let four = ledger_app("four", "workers 1\nhosts \"four.test\"");
    let good =
        |release: &str| format!("{}{one}{}{four}", edge(""), two.replace("RELEASE", release));
    let ledger_source = crate::harness::release::source("1");
    let server = Setup::edgefile(&good(""))
        .with_file("two/app.py", &ledger_source)
        .with_file("dies/app.py", DIES)
        .with_file("later/app.py", DIES_LATER)
        .with_file("never/app.py", NEVER_READY)
        .word("--no-watch")
        .start();
    eventually("all workers", || server.ready_workers().len() == 4);
    eventually("all processes", || server.processes().len() == 9);
    let places = [("one.test", "", "one@1"), ("two.test", "", "two@1")];
    let ledger = Ledger::aimed(&server, &KINDS, &places);
    ledger.wait_for(&server, 20);
    let before = state(&server);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let busy = taken.local_addr().expect("its address").port();
    let free = Port::free();
    let third = |entry: &str, more: &str| {
        format!("app \"three\" {{ entry \"{entry}\"; workers 2; hosts \"three.test\"\n {more} }}\n")
    };
    let text = good("");
    let deep = format!("{text}{}", "site \"x.test\" {\n".repeat(60));
    let four_later = "app \"four\" { entry \"./later/app.py\"; workers 1; hosts \"four.test\" }\n";
    let quick = "restart-policy max-restarts=0\n";
    let bad: Vec<(&str, String, &str, &str)> = vec![
        ("half a file", text[..text.len() / 2 + 7].to_owned(), "rejected", "parse_error"),
        ("no text", "\u{1}\u{2}\u{3}".to_owned(), "rejected", "parse_error"),
        ("an empty file", String::new(), "rejected", "invalid"),
        ("a deep file", deep, "rejected", "parse_error"),
        ("a large file", "// nothing\n".repeat(100_000), "rejected", "parse_error"),
        ("an unknown node", text.replace("workers", "wrokers"), "rejected", "invalid"),
        (
            "an unknown app",
            format!("{text}site \"x.test\" {{ route \"/*\" {{ to-app \"x\" }} }}"),
            "rejected",
            "invalid",
        ),
        ("an app twice", format!("{text}{one}"), "rejected", "invalid"),
        (
            "a missing entry",
            format!("{text}{}", third("./none/app.py", "")),
            "rejected",
            "entry_missing",
        ),
        (
            "a certificate that is none",
            format!(
                "{text}site \"x.test\" {{ tls cert=\"two/app.py\" key=\"two/app.py\"; route \"/\" {{ redirect \"/x\" }} }}"
            ),
            "rejected",
            "cert_unreadable",
        ),
        (
            "a busy port",
            text.replace("PORT\"", &format!("PORT\" \"127.0.0.1:{busy}\"")),
            "rejected",
            "listen_failed",
        ),
        (
            "an app that dies",
            format!("{text}{}", third("./dies/app.py", quick))
                .replace("PORT\"", &format!("PORT\" \"127.0.0.1:{}\"", free.number)),
            "rejected",
            "app_not_ready",
        ),
        (
            "an app that is never ready",
            format!("{text}{}", third("./never/app.py", "timeouts start=\"800ms\" kill=\"200ms\"")),
            "rejected",
            "app_not_ready",
        ),
        (
            "an app that dies soon",
            format!("{text}{}", third("./later/app.py", quick)),
            "rolled_back",
            "app_died",
        ),
        (
            "a release that dies",
            good("env RELEASE=\"2\"").replace("./two/", "./dies/"),
            "rejected",
            "app_not_ready",
        ),
        (
            "a release that dies soon",
            good("").replace(&four, four_later),
            "rolled_back",
            "app_died",
        ),
    ];
    for (number, (what, text, result, code)) in bad.iter().enumerate() {
        let manner = if number % 2 == 0 { Manner::Renamed } else { Manner::InPlace };
        server.save_edgefile(text, manner);
        let reloaded = std::thread::scope(|scope| {
            let order = scope.spawn(|| server.reload());
            if *result == "rolled_back" {
                eventually("the new version", || server.version() != before.version);
                server.open_gate("die");
            }
            order.join().expect("the order")
        });
        if *result == "rolled_back" {
            server.close_gate("die");
        }
        let attempt = &reloaded.attempt;
        assert_eq!(
            (reloaded.code, &attempt["result"], &attempt["code"]),
            (1, &(*result).into(), &(*code).into()),
            "{what}: {attempt}"
        );
        assert!(
            attempt["details"].as_array().is_some_and(|said| !said.is_empty()),
            "{what}: {attempt}"
        );
        assert_unchanged(&server, &before, what);
        ledger.assert_no_failure(&server);
        assert_eq!(server.get_at("three.test", "/").status, 404, "{what}");
    }
    fs::remove_file(server.path("app/Edgefile")).expect("it was there");
    let attempt = server.hup();
    assert_eq!(attempt["result"], "rejected", "no file at all: {attempt}");
    assert_unchanged(&server, &before, "no file");
    eventually("no process of what was refused", || server.processes().len() == 9);
    assert!(Client::try_connect(free.number).is_err(), "a listener of what was refused");

    // The same for code: a release that is broken, in the place of one that serves.
    let other = crate::harness::release::source("broken");
    fs::write(server.path("app/two/app.py"), format!("{other}\nraise RuntimeError('no')\n"))
        .expect("the app");
    server.write_edgefile(&good(""));
    let (exit, output) = server.cli(&["ctl", "restart", "two"]);
    assert!(exit == 1 && output.contains("RuntimeError: no"), "{exit}: {output}");
    assert_unchanged(&server, &before, "a broken release");
    ledger.wait_for_round(&server);

    // Good ones are taken up.
    fs::write(server.path("app/two/app.py"), crate::harness::release::source("2"))
        .expect("the app");
    ledger.changing("two.test", "", "two@2");
    let (exit, output) = server.cli(&["ctl", "restart", "two"]);
    assert_eq!(exit, 0, "{output}");
    ledger.changed();
    ledger.changing("two.test", "", "two@3");
    server.write_edgefile(&good("env RELEASE=\"3\""));
    let reloaded = server.reload();
    assert_eq!((reloaded.code, &reloaded.attempt["result"]), (0, &"applied".into()));
    ledger.changed();
    ledger.wait_for_round(&server);
    let totals = ledger.balance(&server);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    assert!(!totals.releases.contains_key("broken"), "{totals:?}");
    eventually("no process too many", || server.processes().len() == 9);
}

/// Somebody with whom no change has to do anything.
struct Bystander {
    what: &'static str,
    go_on: Box<dyn FnMut(usize)>,
}

#[test]
fn a_change_to_one_thing_does_not_disturb_another() {
    let second = Port::free();
    let steady = recorder("steady", "workers 4\nhosts \"steady.test\"");
    let busy = recorder("busy", "workers 1\nhosts \"busy.test\"");
    let other = |more: &str| recorder("other", more);
    let base = other("workers 1\nhosts \"other.test\"");
    let with = |listen: &str, other: &str, rest: &str| {
        format!("{}{steady}{busy}{other}{rest}", edge(listen))
    };
    let listen = format!(" \"127.0.0.1:{}\"", second.number);
    let guest = "app \"guest\" { entry \"builtin:hello\"; workers 1; hosts \"guest.test\" }\n";
    let site = "site \"site.test\" { route \"/a\" { redirect \"/b\" } }\n";
    let changes: Vec<(&str, String)> = vec![
        ("nothing", with("", &base, "")),
        ("an app more", with("", &base, guest)),
        ("an app less", with("", &base, "")),
        ("a site more", with("", &base, site)),
        ("a site's route", with("", &base, &site.replace("/b", "/c"))),
        ("a site less", with("", &base, "")),
        ("a listener more", with(&listen, &base, "")),
        ("a listener less", with("", &base, "")),
        ("workers more", with("", &base.replace("workers 1", "workers 3"), "")),
        ("workers fewer", with("", &base, "")),
        ("a queue", with("", &base.replace("workers 1", "workers 1\nmax-queue 5"), "")),
        ("an environment", with("", &base.replace("workers 1", "workers 1\nenv MODE=\"x\""), "")),
        ("a host", with("", &base.replace("other.test", "another.test"), "")),
        ("an app that is not there", with("", "", "")),
        ("all of it back", with("", &base, "")),
    ];
    let server = Setup::edgefile(&changes[0].1).word("--no-watch").start();
    server.wait_for_workers(6);
    let families = || (server.family("steady"), server.family("busy"));
    let before = families();

    // A request that has a worker, one that waits for it, and a stream.
    let mut holder = server.connect();
    holder.request_at("busy.test", "GET", "/hold?gate=go&tell=1", "", b"");
    server.wait_for_seen("/hold?gate=go&tell=1");
    let mut queued = server.connect();
    queued.request_at("busy.test", "GET", "/queued?tell=1", "", b"");
    eventually("a queued request", || server.app_called("busy")["queueDepth"] == 1);
    let mut stream = server.connect();
    let pieces = changes.len() + 1;
    let query = format!("count={pieces}&gate_between=g&type=text/event-stream");
    stream.request_at("steady.test", "GET", &format!("/events?{query}"), "", b"");
    assert_eq!(stream.head().status, 200);
    assert!(stream.chunk().is_some());
    let record = server.path("record");
    let mut kept = server.connect();
    let mut upload = server.connect();
    let body = vec![b'u'; 400_000];
    upload.send(
        "POST /up?tell=1 HTTP/1.1\r\nHost: steady.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let mut rest = chunked(&body, 10_000);
    let step = rest.len() / (changes.len() + 1);
    let last = rest.split_off(step * changes.len());
    let mut upload_rest = rest;
    let mut bystanders = [
        Bystander {
            what: "a stream",
            go_on: Box::new(move |turn| {
                fs::write(record.join(format!("g{turn}")), "").expect("the gate opens");
                let chunk = stream.chunk().expect("one more piece");
                assert!(chunk.starts_with(b"data: ") && chunk.ends_with(b"\n\n"));
                if turn + 1 == pieces {
                    assert!(stream.chunk().is_none(), "its end");
                }
            }),
        },
        Bystander {
            what: "a connection that is kept",
            go_on: Box::new(move |turn| {
                let answer =
                    kept.ask_at("steady.test", "GET", &format!("/kept?tell=1&turn={turn}"));
                assert!(!answer.says_close(), "{answer:?}");
                assert_eq!(told(&answer)["app"], "steady");
            }),
        },
        Bystander {
            what: "an upload",
            go_on: Box::new(move |turn| {
                let piece: Vec<u8> = upload_rest.drain(..step).collect();
                upload.send(piece);
                if turn + 1 == pieces {
                    upload.send(&last);
                    let answer = told(&upload.response());
                    assert_eq!(
                        (&answer["app"], &answer["bodyBytes"]),
                        (&"steady".into(), &400_000.into())
                    );
                }
            }),
        },
    ];
    for (turn, (what, text)) in (1..).zip(&changes) {
        let attempt = server.take_up(text);
        for bystander in &mut bystanders {
            eprintln!("-- {what}: {}", bystander.what);
            (bystander.go_on)(turn);
        }
        assert_eq!(families(), before, "{what}: {attempt}");
        let busy = server.app_called("busy");
        assert_eq!((&busy["inflight"], &busy["queueDepth"]), (&1.into(), &1.into()), "{what}");
        assert_eq!(busy["restarts"], 0);
    }
    server.open_gate("go");
    for client in [&mut holder, &mut queued] {
        assert_eq!(told(&client.response())["app"], "busy");
    }
    assert_eq!(families(), before);
    assert_eq!(
        server.told("worker_exit").iter().filter(|line| !line.contains("expected=true")).count(),
        0
    );
}
