//! Whoever reads what is told, or does not, no request waits for it.

use crate::harness::{Client, Server, Setup, eventually, until};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Requests in one go.
const BATCH: usize = 100;

/// Sends so many requests over one connection, a hundred at once, and reads every answer; the longest
/// time that a hundred of them took.
#[track_caller]
fn ask(server: &Server, count: usize) -> Duration {
    let mut client = server.connect();
    let batch = "GET /server HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(BATCH);
    let mut longest = Duration::ZERO;
    for _ in 0..count / BATCH {
        let begin = Instant::now();
        client.send(&batch);
        for _ in 0..BATCH {
            assert_eq!(client.response().status, 200);
        }
        longest = longest.max(begin.elapsed());
    }
    longest
}

#[test]
fn a_hundred_thousand_requests_do_not_wait_for_a_pipe_that_nobody_reads() {
    const COUNT: usize = 100_000;
    let (out, into) = pipe().expect("a pipe");
    let setup = Setup::builtin("hello").workers(1).word("--json-logging");
    let mut server = setup.writing_to(Some(into.into()), None).start();
    let longest = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(&server, COUNT / 4))).collect();
        clients.into_iter().map(|client| client.join().expect("every answer")).max()
    });
    let longest = longest.expect("clients");
    assert!(longest < Duration::from_secs(5), "a hundred took {longest:?}");
    assert!(!server.stderr().contains("log_dropped"), "not before somebody reads");
    // It is read again: what was kept comes whole, and the rest is told as lost. Each line is one of
    // these, and none is both.
    let reader = std::thread::spawn(move || access_lines(out));
    server.wait_for_log("log_dropped");
    assert_eq!(server.get("/server").status, 200);
    assert_eq!(server.stop(), 0);
    let lost: u64 = lost(&server, "stdout", "too slow");
    // With its command our own end of the pipe goes.
    drop(server);
    let lines = reader.join().expect("lines");
    assert!(lost > 0 && !lines.is_empty());
    let paths: Vec<_> = lines.iter().map(|line| line["path"].as_str().expect("a path")).collect();
    let told = paths.iter().filter(|path| **path == "/server").count() as u64;
    assert_eq!(told + lost, COUNT as u64 + 1, "{told} told and {lost} lost");
}

#[test]
fn neither_do_they_wait_for_standard_error() {
    let (err, into) = pipe().expect("a pipe");
    let setup = Setup::builtin("hello").workers(1).env("RIP_LOG", "trace");
    let mut server = setup.writing_to(None, Some(into.into())).start();
    // A refused request is a diagnostic: some megabytes of them.
    let before = Instant::now();
    for _ in 0..2000 {
        let mut client = server.connect();
        client.send("GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n");
        assert_eq!(client.response().status, 501);
    }
    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
    let (code, output) = server.cli(&["ctl", "workers"]);
    assert_eq!(code, 0, "{output}");
    // Nor does the end.
    let before = Instant::now();
    assert_eq!(server.stop(), 0);
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    drop(err);
}

#[test]
fn a_reader_that_is_gone_is_told_of_once_and_missed_by_nobody() {
    let (out, into) = pipe().expect("a pipe");
    let setup = Setup::builtin("hello").workers(1);
    let server = setup.writing_to(Some(into.into()), None).start();
    ask(&server, 1000);
    drop(out);
    ask(&server, 5000);
    server.wait_for_log("reason=closed");
    ask(&server, 1000);
    assert_eq!(server.stderr().matches("log_dropped").count(), 1, "{}", server.stderr());
}

#[test]
fn a_disk_that_is_full_costs_lines_and_nothing_else() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the full device");
    let setup = Setup::builtin("hello").workers(1);
    let server = setup.writing_to(Some(full.into()), None).start();
    ask(&server, 5000);
    server.wait_for_log("reason=failed");
    ask(&server, 1000);
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the full device");
    let server = Setup::builtin("hello").workers(1).writing_to(None, Some(full.into())).start();
    ask(&server, 1000);
    eventually("its lines", || server.stdout().lines().count() >= 1000);
}

#[test]
fn closed_outputs_and_the_null_device_are_fine() {
    for null in [false, true] {
        let out = || if null { Stdio::null() } else { closed_file().into() };
        let server =
            Setup::builtin("hello").workers(1).writing_to(Some(out()), Some(out())).start();
        ask(&server, 1000);
    }
}

/// A file that was opened for reading only: nothing can be written to it.
fn closed_file() -> File {
    File::open("/dev/null").expect("the null device")
}

/// The access lines that come from `out`, to the end. Each line is whole.
fn access_lines(out: PipeReader) -> Vec<Value> {
    let lines = BufReader::new(out).lines().map(|line| line.expect("a line"));
    let lines = lines.map(|line| serde_json::from_str::<Value>(&line).expect("whole JSON"));
    lines.filter(|line| line.get("totalSeconds").is_some()).collect()
}

/// How many lines were told as lost from there, for that reason.
fn lost(server: &Server, from: &str, reason: &str) -> u64 {
    let log = server.stderr();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = events.filter(|event| event["event"] == "log_dropped");
    let events = events.filter(|event| event["from"] == from && event["reason"] == reason);
    events.map(|event| event["lines"].as_u64().expect("a number")).sum()
}

/// Fields that try to end a line, to begin another, or to look like a column.
const FORGERIES: [&str; 8] = [
    "x\" │ 200 text 1B │ GET /forged │ hello w1 req-000000000000",
    "%0d%0a2026-03-14 12:00:00.123 +0000  4.4ms │ 200",
    "\",\"status\":200,\"x\":\"",
    "\\\",\\u000a{\\\"event\\\":\\\"server_stop\\\"}",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{85}\u{2028}\u{2029}\u{202e}rip: server_stop",
    "│││",
    "é\u{9b}31m",
];

/// No field of a request makes a line of its own, moves a column, or commands a terminal: raw bytes in
/// every place that is told, in both formats.
#[test]
fn nothing_that_a_client_sends_can_forge_a_line() {
    for json in [false, true] {
        let setup = Setup::recorder().workers(1).env("RIP_LOG", "debug");
        let setup = if json { setup.word("--json-logging") } else { setup };
        let server = setup.start();
        let mut sent = 0;
        for forgery in FORGERIES {
            let word = forgery.replace(' ', "%20");
            let marked = word.replace('%', "%25");
            for bytes in [
                format!("GET /{word} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                format!("{word} / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: {forgery}\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: {forgery}\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: {forgery}\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: a.test\r\nExpect: {forgery}\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: {forgery}\r\n\r\n"),
                format!("GET / HTTP/1.1\r\n{forgery}: x\r\n\r\n"),
                format!("GET http://{word}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                format!("GET /x?field=Rip-Mark:%20{marked} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                format!("GET /x?field=Content-Type:%20{marked} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                format!("{forgery}\r\n\r\n"),
                forgery.to_owned(),
            ] {
                send(server.connect(), bytes.as_bytes());
                sent += 1;
            }
        }
        // Whatever byte stands in a path, a name, or a value.
        for byte in 0..=255 {
            for (before, after) in [
                ("GET /a", "b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                ("GET / HTTP/1.1\r\nHost: a", "b\r\n\r\n"),
            ] {
                send(server.connect(), &[before.as_bytes(), &[byte], after.as_bytes()].concat());
                sent += 1;
            }
        }
        let lines = until("a line for each", || {
            let lines: Vec<_> = server.stdout().lines().map(str::to_owned).collect();
            let is_access =
                |line: &&String| line.contains(if json { "totalSeconds" } else { " │ " });
            (lines.iter().filter(is_access).count() >= sent).then_some(lines)
        });
        for line in
            lines.iter().chain(&server.stderr().lines().map(str::to_owned).collect::<Vec<_>>())
        {
            let odd = |letter: char| {
                letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{fffe}')
            };
            assert!(!line.contains(odd), "{line:?}");
            match (json, line.contains("recorder starts")) {
                (true, _) => {
                    let value: Value = serde_json::from_str(line).expect("an object");
                    assert!(value["x"].is_null() && value["event"] != "server_stop", "{line}");
                }
                (false, true) => {}
                (false, false) if line.starts_with("rip: ") || line.starts_with('[') => {
                    assert!(!line.starts_with("rip: server_stop"), "{line}");
                }
                (false, false) => assert_eq!(line.matches('│').count(), 3, "{line}"),
            }
        }
        assert_eq!(lines.len(), sent + 1, "one for each, and the worker's own");
    }
}

/// Sends bytes and waits for what comes of it: an answer, or the end.
fn send(mut client: Client, bytes: &[u8]) {
    if client.try_send(bytes).is_ok() {
        client.finish_sending();
        client.patience(Duration::from_secs(5));
        let _ = client.rest();
    }
}
