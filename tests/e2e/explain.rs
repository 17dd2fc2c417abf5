//! A fault, injected into real processes, is named by `explain`: its code for programs, its words for
//! people.

use crate::harness::curl::curl;
use crate::harness::http::Head;
use crate::harness::port::Port;
use crate::harness::session::Ask;
use crate::harness::tls::identity;
use crate::harness::{Client, Response, Server, Setup, eventually, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

/// The field that names a request.
fn called(id: &str) -> String {
    format!("X-Request-Id: {id}\r\n")
}

fn get(server: &Server, id: &str, target: &str) -> Response {
    server.request("GET", target, &called(id), b"")
}

fn post(server: &Server, id: &str, target: &str) -> Response {
    server.request("POST", target, &called(id), b"body")
}

/// A request on a connection of its own whose answer is not awaited.
fn begin(server: &Server, id: &str, target: &str) -> Client {
    let mut client = server.connect();
    client.request("GET", target, &called(id), b"");
    client
}

/// What is told of a client's request of this name once it has ended, or while it runs.
#[track_caller]
fn story(server: &Server, id: &str, running: bool) -> Value {
    until("the story of the request", || {
        let answer = server.control_get(&format!("/explain/{id}"));
        if answer.status == 404 {
            return None;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let stories = answer.json();
        let own =
            stories["requests"].as_array()?.iter().find(|story| story["own"] == false)?.clone();
        (own["running"] == running).then_some(own)
    })
}

/// What is told names this cause, and people are told it with these words.
#[track_caller]
fn finds(server: &Server, id: &str, cause: &str, words: &[&str]) -> Value {
    let story = story(server, id, cause == "running");
    assert_eq!(story["cause"], cause, "{story:#}");
    let (code, text) = server.cli(&["ctl", "explain", id]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("cause: ") && text.contains(&format!("({cause})")), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in:\n{text}");
    }
    story
}

/// An Edgefile with one recorder, these lines in `edge`, in its app, and these sites.
fn sites(edge: &str, app: &str, sites: &str) -> Setup {
    let app = crate::harness::edgefile::recorder("api", &format!("workers 1; {app}"));
    let text = format!("version 1\nedge {{ http \"127.0.0.1:PORT\"\n{edge}\n}}\n{app}\n{sites}\n");
    Setup::edgefile(&text).word("--no-watch")
}

/// A site that hands everything to this server of somebody else's.
fn upstream(port: &Port, more: &str) -> Server {
    let text = format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
         upstream \"back\" {{ target \"http://127.0.0.1:{}\"\n{more}\n }}\n\
         site \"a.test\" {{ route \"/*\" {{ proxy \"back\" }} }}\n",
        port.number
    );
    // Each loop has connections of its own to it.
    Setup::edgefile(&text).flag("--loops", 1).word("--no-watch").unawaited().start()
}

/// What somebody else's server does with each connection, one after the other.
fn behind(port: &Port, answer: impl Fn(usize, TcpStream) + Send + 'static) {
    let listener = TcpListener::bind(("127.0.0.1", port.number)).expect("a port of the test's own");
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            answer(number, stream.expect("a connection"));
        }
    });
}

/// Reads one request's head.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

const FINE: &[u8] = b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nfine";

#[test]
fn served_by_a_rule_and_nothing_wrong() {
    let server = sites("", "", "site \"a.test\" {\n route \"/a/*\" { to-app \"api\" }\n}").start();
    assert_eq!(get(&server, "fine", "/a/b?secret=1").status, 200);
    let told = finds(&server, "fine", "answered", &["a.test/a/b → 200", "app api", "worker w1"]);
    assert_eq!((&told["rule"]["pattern"], &told["path"]), (&json!("/a/*"), &json!("/a/b")));
    assert!(told["rule"]["line"].as_u64().is_some(), "{told:#}");
    assert_eq!(told["scheduling"]["selectedWorker"], 1);
    assert_eq!(told["peer"].as_str().unwrap().split(':').next(), Some("127.0.0.1"));
    assert!(!told.to_string().contains("secret"), "{told:#}");
}

#[test]
fn a_worker_killed_in_a_request() {
    let server = Setup::recorder().workers(1).flag("--restart-backoff-ms", 50).start();
    let pid = server.workers().remove(0)["appPid"].to_string();
    assert_eq!(post(&server, "killed", "/x?die=before").status, 502);
    let words = ["worker w1 (pid ", &pid, "was killed by SIGKILL", "after it got the request"];
    let told = finds(&server, "killed", "worker-killed", &words);
    assert_eq!((&told["endedBy"], &told["reason"]), (&json!("worker"), &json!("worker-gone")));
    assert_eq!((&told["worker"]["id"], &told["worker"]["generation"]), (&json!(1), &json!(1)));
}

#[test]
fn a_worker_that_ends_by_itself_with_its_last_words() {
    let server = Setup::recorder().workers(1).flag("--restart-backoff-ms", 50).start();
    assert_eq!(post(&server, "exits", "/x?exit=7").status, 502);
    let words = ["exited with status 7", "cannot go on: status 7", "what to do: "];
    let told = finds(&server, "exits", "worker-exited", &words);
    assert_eq!(
        told["lastWords"].as_array().unwrap().last(),
        Some(&json!("cannot go on: status 7"))
    );
}

#[test]
fn a_worker_that_hangs() {
    let server = Setup::recorder().workers(1).flag("--read-timeout-ms", 300).start();
    assert_eq!(post(&server, "hangs", "/x?gate=never").status, 504);
    let words = ["said nothing for 300 ms", "--read-timeout-ms"];
    finds(&server, "hangs", "worker-timeout", &words);
    server.open_gate("never");
}

#[test]
fn a_worker_that_answers_garbage() {
    let server = Setup::recorder().workers(1).start();
    assert_eq!(post(&server, "garbage", "/x?raw=garbage%0D%0A%0D%0A").status, 502);
    finds(&server, "garbage", "worker-malformed", &["was not HTTP: "]);
}

#[test]
fn a_worker_that_closes_in_the_middle_of_its_answer() {
    let server = Setup::recorder().workers(1).start();
    let mut client = begin(&server, "cut", "/x?size=600000&drop=body");
    let _ = client.try_response("GET");
    finds(&server, "cut", "worker-closed", &["in the middle of its answer", "and lives"]);
    assert_eq!(post(&server, "shut", "/x?drop=before").status, 502);
    let told = finds(&server, "shut", "worker-closed", &["closed the connection", "and lives"]);
    assert!(told["answered"].is_null(), "{told:#}");
}

#[test]
fn a_request_that_a_busy_worker_gave_back_and_then_took() {
    let setup = Setup::recorder().workers(1);
    fs::write(setup.path("record").join("busy"), "").unwrap();
    let server = setup.start();
    let mut client = begin(&server, "again", "/again?busy=busy");
    server.wait_for_seen("/again?busy=busy");
    server.close_gate("busy");
    assert_eq!(client.response().status, 200);
    let told = finds(&server, "again", "answered-after-retry", &["said that it is busy"]);
    assert_eq!(told["tries"][0]["end"], "busy");
    assert_eq!(told["scheduling"]["fallback"], "bounced");
}

#[test]
fn workers_that_all_say_they_are_busy() {
    let setup = Setup::recorder().workers(1);
    fs::write(setup.path("record").join("busy"), "").unwrap();
    let server = setup.start();
    assert_eq!(post(&server, "busy", "/never?busy=busy").status, 503);
    let told = finds(&server, "busy", "worker-busy", &["every worker of", "5 tries"]);
    assert_eq!(told["tryCount"], 5);
    server.close_gate("busy");
}

#[test]
fn a_queue_in_which_a_request_waits_too_long_and_one_that_is_full() {
    let setup = Setup::recorder().workers(1).flag("--max-queue", 1);
    let server = setup.flag("--queue-timeout-ms", 700).start();
    let mut holder = begin(&server, "holds", "/hold?gate=go");
    server.wait_for_seen("/hold?gate=go");
    let mut waiting = begin(&server, "waits", "/waits");
    eventually("the queue to grow", || server.queue_depth() == 1);
    finds(&server, "waits", "running", &["waited", "ctl scale"]);
    finds(&server, "holds", "running", &["worker w1", "said nothing yet"]);
    assert_eq!(get(&server, "full", "/full").status, 503);
    finds(&server, "full", "queue-full", &["as many requests waited", "--max-queue"]);
    assert_eq!(waiting.response().status, 504);
    let words = ["as number 1 of the queue", "1 ready worker", "was busy", "--queue-timeout-ms"];
    let told = finds(&server, "waits", "queue-timeout", &words);
    assert_eq!(told["scheduling"]["queuePosition"], 1);
    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
}

#[test]
fn an_app_that_was_given_up_after_crashes() {
    let setup = Setup::recorder().workers(1).flag("--restart-backoff-ms", 20);
    let server = setup.flag("--max-restarts", 1).start();
    eventually("the app to be given up", || {
        server.request("POST", "/x?die=before", "", b"");
        server.app()["abandoned"] == true
    });
    assert_eq!(get(&server, "given-up", "/").status, 503);
    let words = ["was given up after crashes", "killed by SIGKILL", "ctl restart"];
    finds(&server, "given-up", "app-abandoned", &words);
}

#[test]
fn an_app_that_does_not_start() {
    let server = Setup::recorder()
        .env("DIE_AT_START", "cannot find the database")
        .flag("--restart-backoff-ms", 20)
        .flag("--max-restarts", 2)
        .workers(1)
        .unawaited()
        .start();
    server.wait_for_log("worker_abandon");
    assert_eq!(get(&server, "starts", "/").status, 503);
    finds(&server, "starts", "start-failed", &["becomes ready", "cannot find the database"]);
}

#[test]
fn an_app_none_of_whose_workers_is_ready_and_one_that_is_paused() {
    let setup = Setup::recorder().workers(1).flag("--restart-backoff-ms", 20_000);
    let server = setup.flag("--queue-timeout-ms", 300).start();
    let name = server.app()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.cli(&["ctl", "pause"]).0, 0);
    assert_eq!(get(&server, "paused", "/").status, 504);
    let resume = format!("ctl resume {name}");
    finds(&server, "paused", "app-paused", &["had been paused", &resume]);
    assert_eq!(server.cli(&["ctl", "resume"]).0, 0);
    assert_eq!(post(&server, "dies", "/x?die=before").status, 502);
    assert_eq!(get(&server, "nobody", "/").status, 504);
    finds(&server, "nobody", "no-worker-ready", &["no worker of", "was ready"]);
}

#[test]
fn clients_that_leave_while_they_wait_while_it_works_and_in_the_answer() {
    let server = Setup::recorder().workers(1).start();
    let holder = begin(&server, "works", "/hold?gate=go");
    server.wait_for_seen("/hold?gate=go");
    let waiting = begin(&server, "queues", "/never");
    eventually("the queue to grow", || server.queue_depth() == 1);
    waiting.reset();
    finds(&server, "queues", "client-gone-waiting", &["no worker saw the request"]);
    holder.reset();
    let told = finds(&server, "works", "client-gone-working", &["before it answered"]);
    assert_eq!((&told["endedBy"], &told["status"]), (&json!("client"), &json!(499)));
    server.open_gate("go");

    let mut reader = begin(&server, "reads", "/many?count=9&gate_between=n");
    let _: Head = reader.head();
    assert!(reader.chunk().is_some());
    reader.reset();
    finds(&server, "reads", "client-gone-answering", &["the client left after"]);
    for gate in 1..9 {
        server.open_gate(&format!("n{gate}"));
    }

    let mut sender = server.connect();
    sender.send("POST /up HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: sends\r\n");
    sender.send("Content-Length: 100\r\n\r\nhalf");
    story(&server, "sends", true);
    sender.reset();
    finds(&server, "sends", "client-gone-sending", &["of its body"]);
}

#[test]
fn a_client_that_does_not_take_its_answer() {
    let server = Setup::recorder().workers(1).flag("--write-timeout-ms", 300).start();
    let _client = begin(&server, "slow", "/big?size=60000000");
    finds(
        &server,
        "slow",
        "client-too-slow",
        &["took nothing of the answer", "--write-timeout-ms"],
    );
}

#[test]
fn bodies_that_are_too_large_or_too_slow() {
    let setup = Setup::recorder().workers(1).flag("--max-body", 1000);
    let server = setup.flag("--body-timeout-ms", 300).start();
    let large = server.request("POST", "/large", &called("large"), &[b'x'; 1001]);
    assert_eq!(large.status, 413);
    let mut client = server.connect();
    client.send("POST /chunks HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: chunks\r\n");
    client.send("Transfer-Encoding: chunked\r\n\r\n");
    client.send(format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)));
    assert_eq!(client.response().status, 413);
    finds(&server, "chunks", "body-too-large", &["larger than 1000 bytes", "--max-body"]);
    finds(&server, "large", "body-too-large", &["--max-body"]);
    let mut client = server.connect();
    client.send("POST /drips HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: drips\r\n");
    client.send("Content-Length: 100\r\n\r\nhalf");
    assert_eq!(client.response().status, 408);
    finds(&server, "drips", "body-too-slow", &["4 bytes", "--body-timeout-ms"]);
}

#[test]
fn bodies_for_which_there_is_no_room() {
    let server =
        sites("limits spool-memory=\"1KiB\" spool-disk=\"1KiB\"", "hosts \"a.test\"", "").start();
    let response = server.request("POST", "/x", &called("room"), &[b'x'; 200_000]);
    assert_eq!(response.status, 503);
    finds(&server, "room", "spool-full", &["all the room", "spool-memory"]);
}

#[test]
fn heads_that_are_not_http_or_too_large_or_too_slow() {
    let server = Setup::recorder().workers(1).flag("--head-timeout-ms", 300).start();
    let told = |bytes: &str| {
        let mut client = server.connect();
        client.send(bytes);
        client.response().field("x-request-id").to_owned()
    };
    let head = "GET /a HTTP/1.1\r\nHost: a.test\r\n";
    let id = told(&format!("{head}Bad Name: 1\r\n\r\n"));
    finds(&server, &id, "head-malformed", &["not valid HTTP: ", "never repaired"]);
    let id = told(&format!("{head}X: {}\r\n\r\n", "x".repeat(70_000)));
    finds(&server, &id, "head-too-large", &["64 KiB"]);
    let id = told(&format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(9000)));
    finds(&server, &id, "target-too-long", &["8 KiB"]);
    let id = told(&format!("{head}Expect: miracles\r\n\r\n"));
    finds(&server, &id, "expectation-failed", &["100-continue"]);
    let id = told(head);
    finds(&server, &id, "head-too-slow", &["--head-timeout-ms"]);
}

#[test]
fn requests_that_no_rule_takes() {
    let site = "site \"a.test\" { route \"/only/*\" methods=\"GET\" { to-app \"api\" } }";
    let server = sites("", "", site).start();
    let ask = |id: &str, host: &str, method: &str, target: &str| {
        let mut client = server.connect();
        client.request_at(host, method, target, &called(id), b"");
        client.response().status
    };
    assert_eq!(ask("host", "nobody.test", "GET", "/"), 404);
    finds(&server, "host", "host-not-found", &["no site is for the host nobody.test"]);
    assert_eq!(ask("route", "a.test", "GET", "/other"), 404);
    finds(&server, "route", "no-route", &["no rule takes /other", "rip-master why"]);
    assert_eq!(ask("method", "a.test", "POST", "/only/x"), 405);
    finds(&server, "method", "method-not-allowed", &["but not for POST"]);
}

#[test]
fn a_client_that_asks_too_often() {
    let server = sites("rate-limit 1 window=\"600s\"", "hosts \"a.test\"", "").start();
    get(&server, "first", "/");
    assert_eq!(get(&server, "often", "/").status, 429);
    finds(&server, "often", "rate-limited", &["127.0.0.1 asked more often", "--rate-limit"]);
}

#[test]
fn requests_that_are_sent_elsewhere() {
    let site = "site \"a.test\" { route \"/old/*\" { redirect \"/new/\" status=308 }; \
                route \"/*\" { to-app \"api\" } }";
    let server = sites("", "", site).start();
    assert_eq!(get(&server, "old", "/old/x").status, 308);
    finds(&server, "old", "redirected", &["sent elsewhere with 308", "a.test/old/*"]);
}

#[test]
fn requests_in_the_clear_that_are_sent_on_to_https() {
    let https = Port::free();
    let setup = Setup::recorder().workers(1).flag("--https-port", https.number);
    let stem = setup.path("a");
    identity(&["a.test", "localhost"], 100).write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    let server = setup.flag("--cert", file("crt")).flag("--key", file("key")).start();
    assert!((300..400).contains(&get(&server, "clear", "/").status));
    finds(&server, "clear", "redirected-to-https", &["in the clear", "--no-redirect-http"]);

    let url = format!("https://a.test:{}/x", https.number);
    let answer = curl(&server.path("a.crt"), &["-H", "X-Request-Id: sealed", &url]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = finds(&server, "sealed", "answered", &["TLS 1.3"]);
    assert_eq!(told["tls"]["version"], "TLS 1.3");
    assert!(told["tls"]["suite"].as_str().unwrap().contains("AES"), "{told:#}");
    let mut plain = Client::connect(https.number);
    plain.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let id = plain.response().field("x-request-id").to_owned();
    finds(&server, &id, "plain-on-tls", &["ask https://"]);
}

#[test]
fn an_upstream_that_refuses_connections_until_its_circuit_opens() {
    let port = Port::free();
    let server = upstream(&port, "");
    assert_eq!(get(&server, "refused", "/").status, 502);
    finds(&server, "refused", "upstream-unreachable", &["connection refused", "/upstreams"]);
    let mut asked = 0;
    eventually("the circuit to open", || {
        asked += 1;
        get(&server, &format!("r{asked}"), "/").status == 503
    });
    let words = ["no server of upstream back was well", "down were", "failures"];
    finds(&server, &format!("r{asked}"), "upstream-unavailable", &words);
}

#[test]
fn an_upstream_that_is_silent_one_that_resets_and_one_that_is_no_http() {
    let port = Port::free();
    behind(&port, |_, mut stream| {
        let head = read_head(&mut stream);
        match head.split(' ').nth(1) {
            // Until the other side has had enough of it.
            Some("/silent") => drop(stream.read_to_end(&mut Vec::new())),
            Some("/closes") => {}
            Some("/error") => {
                let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
            }
            _ => drop(stream.write_all(b"SSH-2.0-nothing\r\n")),
        }
    });
    let server = upstream(&port, "timeouts read=\"300ms\"");
    assert_eq!(post(&server, "silent", "/silent").status, 504);
    finds(&server, "silent", "upstream-timeout", &["said nothing for 300 ms", "timeouts read="]);
    assert_eq!(post(&server, "closes", "/closes").status, 502);
    finds(&server, "closes", "upstream-closed", &["closed or reset the connection"]);
    assert_eq!(post(&server, "other", "/other").status, 502);
    finds(&server, "other", "upstream-malformed", &["was not HTTP"]);
    assert_eq!(post(&server, "error", "/error").status, 500);
    finds(&server, "error", "upstream-error", &["itself answered 500"]);
}

#[test]
fn a_connection_that_idled_too_long_is_made_anew() {
    let port = Port::free();
    behind(&port, |number, mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(FINE);
        // The second request on the first connection is read, and not answered.
        if number == 0 {
            read_head(&mut stream);
        }
    });
    let server = upstream(&port, "");
    assert_eq!(get(&server, "first", "/").status, 200);
    assert_eq!(get(&server, "second", "/").status, 200);
    let told = finds(&server, "second", "answered-after-retry", &["connection that idled"]);
    assert_eq!(told["tries"][0]["end"], "stale");
}

#[test]
fn files_that_are_not_there_and_links_that_lead_out() {
    let make = |site: &Path| {
        fs::write(site.join("here.txt"), "here").unwrap();
        fs::write(site.parent().unwrap().join("secret.txt"), "secret").unwrap();
        symlink("../secret.txt", site.join("out.txt")).unwrap();
    };
    let server = Setup::files(make).start();
    assert_eq!(get(&server, "here", "/here.txt").status, 200);
    finds(&server, "here", "answered", &["a file answered it"]);
    assert_eq!(get(&server, "missing", "/missing.txt").status, 404);
    finds(&server, "missing", "file-not-found", &["there is no such file below"]);
    assert_eq!(get(&server, "out", "/out.txt").status, 404);
    finds(&server, "out", "file-escapes", &["leads out of", "is not followed"]);
}

#[test]
fn websockets_that_the_app_refuses() {
    let server = sites("", "", "site \"a.test\" { route \"/*\" { to-app \"api\" } }").start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let fields = format!("{}{upgrade}", called("tunnel"));
    assert_eq!(server.request("GET", "/chat?status=403", &fields, b"").status, 403);
    finds(&server, "tunnel", "websocket-refused", &["answered 403", "open a WebSocket"]);
    let fields = format!("{}{upgrade}Origin: http://evil.test\r\n", called("origin"));
    assert_eq!(server.request("GET", "/realtime", &fields, b"").status, 403);
    finds(&server, "origin", "origin-refused", &["another site"]);
}

#[test]
fn sessions_that_are_refused() {
    let server = Server::of_turns();
    let unknown = "/v1/session/s_00000000000000000000000000000000/message";
    let response = Ask::to("POST", unknown)
        .json(&json!({"a": 1}))
        .token("nothing")
        .field("X-Request-Id", "unknown")
        .answer(&server);
    assert_eq!(response.status, 404, "{response:?}");
    finds(&server, "unknown", "session-refused", &["unknown-session", "nothing ran"]);
}

#[test]
fn a_rule_that_a_reload_removes_under_a_request() {
    let with = |more: &str| {
        let app = crate::harness::edgefile::recorder("api", "workers 1; timeouts drain=\"300ms\"");
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n{app}\n\
             site \"a.test\" {{ route \"/stays/*\" {{ to-app \"api\" }}; {more} }}\n"
        )
    };
    let goes = "route \"/goes/*\" { to-app \"api\" }";
    let server = Setup::edgefile(&with(goes)).word("--no-watch").start();
    let mut client = begin(&server, "removed", "/goes/x?gate=never");
    server.wait_for_seen("/goes/x?gate=never");
    server.take_up(&with(""));
    assert_eq!(client.response().status, 503);
    let words = ["a.test/goes/* took it", "does not have it any more", "ctl rollback"];
    finds(&server, "removed", "route-removed", &words);
}

#[test]
fn a_request_that_a_stop_cuts() {
    // Its worker takes its time, so that somebody is left to tell.
    let command = [
        "sh",
        "-c",
        "trap '' TERM; exec \"$0\" \"$@\"",
        &crate::harness::tools::python(),
        "-S",
        "-I",
        &crate::harness::tools::app("recorder.py"),
    ];
    let mut server = Setup::command(&command).with_record().workers(1).start();
    let client = begin(&server, "stopped", "/x?gate=never");
    server.wait_for_seen("/x?gate=never");
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    server.signal(Signal::SIGTERM);
    let told = story(&server, "stopped", false);
    assert_eq!(told["cause"], "stopping", "{told:#}");
    assert!(told["because"].as_str().unwrap().contains("told to stop"), "{told:#}");
    drop(client);
    server.exit_code();
}

#[test]
fn an_app_that_answers_with_an_error_of_its_own() {
    let server = Setup::recorder().workers(1).start();
    assert_eq!(get(&server, "own", "/x?status=500&field=Rip-Mark:slow-query").status, 500);
    let told = finds(&server, "own", "app-error", &["itself answered 500", "X-Request-Id"]);
    assert_eq!(told["mark"], "slow-query");
}

#[test]
fn of_one_name_the_newest_comes_first_and_what_is_unknown_is_said_to_be() {
    let server = Setup::builtin("hello").workers(1).start();
    for round in 0..12 {
        assert_eq!(get(&server, "same", &format!("/{round}")).status, 200);
    }
    let stories = server.control_get("/explain/same").json();
    let paths: Vec<_> =
        stories["requests"].as_array().unwrap().iter().map(|told| &told["path"]).collect();
    assert_eq!(paths.len(), 10, "{stories:#}");
    assert_eq!((paths[0], paths[9]), (&json!("/11"), &json!("/2")));
    let (code, text) = server.cli(&["ctl", "explain", "same", "--json"]);
    let printed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &printed["ok"]), (0, &json!(true)));

    let missing = server.control_get("/explain/nobody");
    assert_eq!(missing.status, 404);
    assert!(missing.json()["hint"].as_str().unwrap().contains("10000 requests"), "{missing:?}");
    let (code, text) = server.cli(&["ctl", "explain", "nobody"]);
    assert!(code == 1 && text.contains("there is no request nobody"), "{code} {text}");
    assert_eq!(server.control_get("/explain/a%20b").status, 400);
    assert_eq!(server.control_get(&format!("/explain/{}", "x".repeat(129))).status, 400);
    assert_eq!(server.cli(&["ctl", "explain", "a b"]).0, 2);
}

#[test]
fn the_notes_of_all_loops_are_found() {
    let server =
        Setup::builtin("hello").workers(2).flag("--loops", 3).word("--no-access-log").start();
    for round in 0..30 {
        assert_eq!(get(&server, &format!("r{round}"), "/x").status, 200);
    }
    for round in 0..30 {
        let told = story(&server, &format!("r{round}"), false);
        assert_eq!((&told["method"], &told["path"]), (&json!("GET"), &json!("/x")), "{told:#}");
        assert!(told["at"].as_u64().is_some_and(|at| at > 1_600_000_000_000), "{told:#}");
    }
}
