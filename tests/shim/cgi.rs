//! Scripts behind the CGI gateway.

use crate::harness::{Directory, Reply, Shim, running, session, spec, until};
use nix::sys::signal::Signal;
use rip::contract::app::Runtime;
use rip::wire::boot::BootStage;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A script by its path, as a person would write one in a shell.
const SCRIPT: &str = r#"#!/bin/sh
case "$PATH_INFO" in
/echo) printf 'Content-Type: %s\n\n' "$CONTENT_TYPE"; exec cat ;;
/env) printf 'Content-Type: text/plain\r\n\r\n'; env | sort ;;
/pwd) printf 'Content-Type: text/plain\n\n'; pwd ;;
/length) printf 'Content-Type: text/plain\nContent-Length: 4\n\nfour' ;;
/short) printf 'Content-Type: text/plain\nContent-Length: 9\n\nfour' ;;
/long) printf 'Content-Type: text/plain\nContent-Length: 4\n\nfour and more' ;;
/status) printf 'Status: 404 Not Here\nContent-Type: text/plain\n\nno' ;;
/nothing) printf 'Status: 204 No Content\n\n' ;;
/away) printf 'Location: https://example.org/x\n\n' ;;
/local) printf 'Location: /env?from=local\n\n' ;;
/round) printf 'Location: /round\n\n' ;;
/cookies) printf 'Content-Type: text/plain\nSet-Cookie: a=1\nSet-Cookie: b=2\n\nok' ;;
/stream) printf 'Content-Type: text/plain\n\nfirst\n'; read -r _ <"$GATE"; echo last ;;
/wait) echo $$ >"$GATE.pid"; printf 'Content-Type: text/plain\n\nbegun\n'; sleep 1000 & wait ;;
/turns) printf 'Content-Type: text/plain\n\nbegun\n'; while read -r line; do echo "got $line"; done ;;
/silent) sleep 1001 ;;
/behind) printf 'Content-Type: text/plain\n\nok\n'; sleep 1002 & ;;
/head) printf 'Content-Type: text/plain\n\nmethod %s\n' "$REQUEST_METHOD" ;;
/mistake) echo 'it broke' >&2; exit 3 ;;
/nohead) echo 'hello there' ;;
/killed) printf 'Content-Type: text/plain\n\nhalf'; kill -9 $$ ;;
/fds) printf 'Content-Type: text/plain\n\n'; ls /proc/self/fd | tr '\n' ' ' ;;
*) printf 'Content-Type: text/plain\n\n%s|%s|%s\n' "$SCRIPT_NAME" "$PATH_INFO" "$QUERY_STRING" ;;
esac
"#;

fn script(directory: &Directory, name: &str, text: &str) -> String {
    let path = directory.write(name, text);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// A worker of [`SCRIPT`], joined.
fn start() -> Shim {
    start_with(|_| {})
}

fn start_with(prepare: impl Fn(&Directory)) -> Shim {
    let directory = Directory::new();
    let path = script(&directory, "app.cgi", SCRIPT);
    prepare(&directory);
    let mut spec = spec(&directory, Runtime::Cgi, &[&path]);
    spec.env.insert("GATE".to_owned(), directory.join("gate"));
    spec.env.insert("HTTP_ACCEPT".to_owned(), "a lie".to_owned());
    let mut shim = Shim::start(directory, spec);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    shim
}

fn post(shim: &Shim, target: &str, body: &[u8]) -> Reply {
    let mut stream = shim.connect();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Type: a/b\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut writer = stream.try_clone().unwrap();
    let body = body.to_vec();
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body));
    });
    let reply = crate::harness::read_reply(&mut stream, false);
    writing.join().unwrap();
    reply
}

#[test]
fn a_script_is_told_the_request() {
    let shim = start();
    let reply = shim.ask(
        "GET /env?a=b%20c HTTP/1.1\r\nHost: a.test:8080\r\nX-Forwarded-For: 192.0.2.7\r\n\
         X-Forwarded-Proto: https\r\nProxy: evil\r\nUser-Agent: test\r\n\r\n",
    );
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("text/plain")));
    let app = shim.directory.join("app.cgi");
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=GET",
        "QUERY_STRING=a=b%20c",
        "PATH_INFO=/env",
        "SCRIPT_NAME=",
        &format!("SCRIPT_FILENAME={app}"),
        "SERVER_NAME=a.test",
        "SERVER_PORT=8080",
        "REMOTE_ADDR=192.0.2.7",
        "HTTPS=on",
        "HTTP_USER_AGENT=test",
        "RIP_APP_ID=app",
        "FROM_MASTER=master",
    ] {
        assert!(reply.text().lines().any(|told| told == line), "{line} in {}", reply.text());
    }
    for name in ["HTTP_PROXY", "HTTP_ACCEPT", "LISTEN_FDS", "RIP_STATUS_FD", "CONTENT_LENGTH"] {
        let told = reply.text().lines().any(|line| line.starts_with(&format!("{name}=")));
        assert!(!told, "{name} in {}", reply.text());
    }
    let here = std::fs::canonicalize(shim.directory.path()).unwrap();
    assert_eq!(Path::new(shim.get("/pwd").text().trim()), here);
    // The third is of the directory that `ls` reads.
    assert_eq!(shim.get("/fds").text().trim(), "0 1 2 3");
    assert_eq!(shim.get("/caf%C3%A9/x?q").text().trim(), "|/café/x|q");
    shim.stop();
}

#[test]
fn what_a_script_prints_is_answered() {
    let shim = start();
    let mut stream = shim.connect();
    let mut ask = |method: &str, target: &str| {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let reply = crate::harness::ask(&mut stream, request.as_bytes());
        assert!(reply.reusable, "{target}: {reply:?}");
        reply
    };
    let reply = ask("GET", "/length");
    assert_eq!((reply.field("content-length"), reply.text()), (Some("4"), "four"));
    assert_eq!(ask("GET", "/long").text(), "four");
    let reply = ask("GET", "/status");
    assert_eq!((reply.status, reply.text()), (404, "no"));
    let reply = ask("GET", "/nothing");
    assert_eq!((reply.status, reply.text()), (204, ""));
    let reply = ask("GET", "/away");
    assert_eq!((reply.status, reply.field("location")), (302, Some("https://example.org/x")));
    let reply = ask("HEAD", "/head");
    assert_eq!((reply.status, reply.text()), (200, ""));
    assert_eq!(ask("GET", "/head").text(), "method GET\n");
    let cookies: Vec<_> = ask("GET", "/cookies").fields.into_iter().collect();
    let cookies: Vec<_> = cookies
        .iter()
        .filter(|(name, _)| name == "Set-Cookie")
        .map(|(_, value)| &**value)
        .collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    shim.stop();
}

#[test]
fn a_path_of_this_server_is_answered_within_it() {
    let shim = start();
    let reply = post(&shim, "/local", b"body");
    assert_eq!(reply.status, 200, "{reply:?}");
    for line in ["REQUEST_METHOD=GET", "QUERY_STRING=from=local", "REQUEST_URI=/env?from=local"] {
        assert!(reply.text().lines().any(|told| told == line), "{line} in {}", reply.text());
    }
    assert!(!reply.text().contains("CONTENT_LENGTH"), "{}", reply.text());
    assert_eq!(shim.get("/round").status, 500);
    let log = shim.stop();
    assert!(log.contains("scripts lead to each other without an end, at last to /round"), "{log}");
}

#[test]
fn bodies_pass_both_ways_at_once() {
    let shim = start();
    for size in [0, 1, 70_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|index: u32| (index * 7 % 251) as u8).collect();
        let reply = post(&shim, "/echo", &body);
        assert_eq!((reply.status, reply.field("content-type")), (200, Some("a/b")), "{size}");
        assert!(reply.body == body, "{size} came back as {}", reply.body.len());
        // Nobody reads it.
        assert_eq!(post(&shim, "/head", &body).text(), "method POST\n", "{size}");
    }
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(shim.ask(chunked).status, 411);
    shim.stop();
}

#[test]
fn what_is_printed_arrives_at_once() {
    let shim = start_with(|directory| {
        let gate = directory.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    let mut stream = shim.connect();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut seen = String::new();
    while !seen.contains("first\n") {
        let mut block = [0; 1024];
        let count = stream.read(&mut block).unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
    std::fs::write(shim.directory.join("gate"), "go\n").unwrap();
    while !seen.ends_with("\r\n0\r\n\r\n") {
        let mut block = [0; 1024];
        let count = stream.read(&mut block).unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
    assert!(seen.contains("last\n"), "{seen}");
    shim.stop();
}

#[test]
fn a_client_that_leaves_ends_the_script_and_what_it_has_started() {
    let shim = start();
    let mut stream = shim.connect();
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the script begins", || Path::new(&shim.directory.join("gate.pid")).exists());
    until("it has started another", || !running("sleep\u{0}1000").is_empty());
    stream.shutdown(Shutdown::Write).unwrap();
    until("all of it ends", || session(shim.pid()).len() == 2);
    let mut rest = String::new();
    let end = stream.read_to_string(&mut rest);
    assert!(end.is_ok() && !rest.ends_with("0\r\n\r\n"), "it is cut: {rest}");
    assert_eq!(shim.get("/length").status, 200, "the next one is answered");
    shim.stop();
}

/// Reads until `end` has come.
fn read_to(stream: &mut std::os::unix::net::UnixStream, end: &str) {
    let mut seen = String::new();
    while !seen.contains(end) {
        let mut block = [0; 1024];
        let count = stream.read(&mut block).unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
}

#[test]
fn a_script_answers_while_its_body_is_still_coming() {
    let shim = start();
    let mut stream = shim.connect();
    let head = b"POST /turns HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n";
    stream.write_all(head).unwrap();
    read_to(&mut stream, "begun\n");
    stream.write_all(b"one\n").unwrap();
    read_to(&mut stream, "got one\n");
    stream.write_all(b"two\n").unwrap();
    read_to(&mut stream, "got two\n");
    stream.read_to_end(&mut Vec::new()).expect("its end");
    assert_eq!(shim.get("/length").text(), "four");
    shim.stop();
}

#[test]
fn a_client_that_leaves_amid_its_body_ends_the_script() {
    let shim = start();
    let mut stream = shim.connect();
    let head = b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\none\n";
    stream.write_all(head).unwrap();
    read_to(&mut stream, "begun\n");
    stream.shutdown(Shutdown::Write).unwrap();
    until("all of it ends", || session(shim.pid()).len() == 2);
    shim.stop();
}

#[test]
fn what_a_script_leaves_behind_does_not_hold_the_answer() {
    let shim = start();
    let began = Instant::now();
    assert_eq!(shim.get("/behind").text(), "ok\n");
    assert!(began.elapsed() < Duration::from_secs(10));
    until("nothing is left of it", || session(shim.pid()).len() == 2);
    shim.stop();
}

#[test]
fn mistakes_are_answered_and_logged() {
    let shim = start();
    for target in ["/mistake", "/nohead"] {
        let reply = shim.get(target);
        assert_eq!((reply.status, reply.text()), (500, "the script has failed\n"), "{target}");
    }
    for target in ["/killed", "/short"] {
        let mut stream = shim.connect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(!rest.ends_with("0\r\n\r\n") && !rest.ends_with("four\r\n"), "it is cut: {rest}");
    }
    let app = shim.directory.join("app.cgi");
    let log = shim.stop();
    assert!(log.contains("it broke\n"), "{log}");
    assert!(log.contains(&format!("{app}: it printed nothing (exit status: 3)\n")), "{log}");
    assert!(log.contains(&format!("{app}: \"hello there\" is no line of a head\n")), "{log}");
}

#[test]
fn a_directory_of_scripts_is_served() {
    let directory = Directory::new();
    let show = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s|%s\\n' \"$SCRIPT_NAME\" \"$PATH_INFO\"\n";
    script(&directory, "bin/show", show);
    script(&directory, "bin/sub/index.cgi", show);
    script(&directory, "bin/.hidden", show);
    directory.write("bin/plain.txt", "secret");
    script(&directory, "bin/broken", "#!/nowhere/at/all\n");
    script(&directory, "bin/lineless", "echo hello\n");
    let entry = directory.join("bin");
    let spec = spec(&directory, Runtime::Cgi, &[&entry]);
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    assert_eq!(shim.get("/show").text(), "/show|\n");
    assert_eq!(shim.get("/show/a%2Fb/c?d").text(), "/show|/a/b/c\n");
    assert_eq!(shim.get("/sub/").text(), "/sub/index.cgi|\n");
    let reply = shim.get("/sub?a=b");
    assert_eq!((reply.status, reply.field("location")), (301, Some("/sub/?a=b")));
    for target in ["/", "/none", "/.hidden", "/sub/%2e%2e/show", "/sub%2findex.cgi"] {
        assert_eq!(shim.get(target).status, 404, "{target}");
    }
    for target in ["/plain.txt", "/broken", "/lineless"] {
        let reply = shim.get(target);
        assert_eq!((reply.status, reply.text()), (500, "the script has failed\n"), "{target}");
    }
    let log = shim.stop();
    for line in [
        format!("{entry}/plain.txt is not executable; run `chmod +x {entry}/plain.txt`"),
        format!("the interpreter that the first line of {entry}/broken names does not exist"),
        format!("{entry}/lineless is not a program: it needs a first line such as #!/bin/sh"),
    ] {
        assert!(log.contains(&line), "{line} in {log}");
    }
}

#[test]
fn what_cannot_run_ends_the_start() {
    for (text, mode, expected) in [
        ("#!/bin/sh\n", 0o644, "is not executable; run `chmod +x"),
        ("#!/nowhere/sh -e\n", 0o755, "/nowhere/sh, which the first line of"),
    ] {
        let directory = Directory::new();
        let path = directory.write("app.cgi", text);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let spec = spec(&directory, Runtime::Cgi, &[&path]);
        let (stage, message) = Shim::start(directory, spec).failed();
        assert_eq!(stage, BootStage::Find);
        assert!(message.contains(expected) && message.contains(&path), "{message}");
    }
}

#[test]
fn a_request_that_runs_ends_before_the_worker_does() {
    let mut shim = start_with(|directory| {
        let gate = directory.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    let mut stream = shim.connect();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let gate = shim.directory.join("gate");
    // Opening it waits for the script to read.
    let mut gate = std::fs::OpenOptions::new().write(true).open(gate).unwrap();
    shim.signal(Signal::SIGTERM);
    let mut quit = shim.verb();
    assert_eq!(quit.op(), "quit");
    quit.accept();
    gate.write_all(b"go\n").unwrap();
    let reply = crate::harness::read_reply(&mut stream, false);
    assert_eq!(reply.text(), "first\nlast\n");
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn a_killed_shim_leaves_no_script_behind() {
    let mut shim = start();
    let mut stream = shim.connect();
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the script runs", || !running("sleep\u{0}1001").is_empty());
    let pid = shim.pid();
    shim.signal(Signal::SIGKILL);
    shim.exit();
    until("nothing is left", || session(pid).is_empty());
}
