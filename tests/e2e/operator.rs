//! What who operates the server may ask of it: is it alive, is it ready, how is everything. The last is
//! nobody else's business.

use crate::harness::http::Response;
use crate::harness::network::{Network, OWN};
use crate::harness::port::Port;
use crate::harness::tls::identity;
use crate::harness::{Client, Server, Setup, eventually, tools};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// One request as it would be asked on this machine.
fn local(server: &Server, method: &str, target: &str) -> Response {
    server.connect().ask_at("localhost", method, target)
}

fn diagnostics(server: &Server) -> Value {
    let response = local(server, "GET", "/diagnostics");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.field("content-type"), "application/json");
    assert_eq!(response.field("cache-control"), "no-store");
    response.json()
}

#[test]
fn everything_that_is_promised_of_a_server_is_told() {
    let server = Setup::builtin("hello").workers(2).concurrency(3).start();
    server.wait_for_workers(2);
    for _ in 0..5 {
        assert_eq!(server.get("/").status, 200);
    }
    let told = diagnostics(&server);
    assert_eq!(told["status"], "healthy");
    assert_eq!(told["version"]["server"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["version"]["rip"], env!("CARGO_PKG_VERSION"));
    let git = &told["version"]["git"];
    let is_hash = |text: &str| text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(git.is_null() || git.as_str().is_some_and(is_hash), "{git}");
    assert!(told["uptime"].is_u64() && told["at"].is_u64(), "{told}");
    let [app] = told["apps"].as_array().expect("apps").as_slice() else { panic!("{told}") };
    let row = server.app();
    for name in ["id", "state", "workers", "ready", "generation", "restarts", "lastExit"] {
        assert_eq!(app[name], row[name], "{name}");
    }
    assert_eq!((&app["workers"], &app["ready"]), (&2.into(), &2.into()));
    for name in ["inflight", "queueDepth"] {
        assert_eq!(app[name], 0, "{name}");
    }
    assert_eq!((&app["paused"], &app["rolling"]), (&false.into(), &false.into()));
    let rows = server.workers();
    let processes = app["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), 2);
    for (process, row) in processes.iter().zip(&rows) {
        assert_eq!(process["id"], row["workerId"]);
        assert_eq!(process["pid"], row["appPid"]);
        for name in ["state", "generation", "inflight"] {
            assert_eq!(process[name], row[name], "{name}");
        }
        assert!(process["rssBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{process}");
        assert!(process["age"].is_u64(), "{process}");
    }
    let served: u64 = processes.iter().map(|worker| worker["requests"].as_u64().unwrap()).sum();
    assert!(served >= 5, "{processes:?}");
    let metrics = &told["metrics"];
    assert!(metrics["requests"].as_u64().is_some_and(|count| count >= 5), "{metrics}");
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
        assert!(metrics["responses"][class].is_u64(), "{class} in {metrics}");
    }
    for (group, names) in [
        ("latency", &["p50", "p95", "p99"][..]),
        ("queue", &["queued", "timeouts", "shed", "waitP99"]),
        ("workers", &["restarts", "recycled", "abandoned"]),
        ("acme", &["renewals", "failures"]),
        ("websocket", &["connections", "messages", "deliveries"]),
        ("sessions", &["active", "turns", "committed", "refused"]),
    ] {
        for name in names {
            assert!(metrics[group][name].is_number(), "{group}.{name} in {metrics}");
        }
    }
    let gauges = &told["gauges"];
    assert_eq!((&gauges["workersActive"], &gauges["inflight"]), (&2.into(), &0.into()));
    assert_eq!(gauges["queueDepth"], 0);
    assert!(gauges["connections"].as_u64().is_some_and(|count| count >= 1), "{gauges}");
    for name in ["clients", "groups", "deliveries", "messages", "connections"] {
        assert_eq!(told["realtime"][name], 0, "{name}");
    }
    let config = &told["config"];
    assert_eq!((&config["version"], &config["path"]), (&1.into(), &Value::Null));
    assert_eq!(config["history"].as_array().map(Vec::len), Some(1), "{config}");
    assert_eq!(config["lastAttempt"], config["history"][0]);
    assert_eq!(config["lastAttempt"]["source"], "start");
    for name in ["certs", "upstreams", "hosts"] {
        assert_eq!(told[name], serde_json::json!([]), "{name}");
    }
    assert!(told["urls"][0].as_str().is_some_and(|url| url.starts_with("http://")), "{told}");
    // On the control socket it is the same.
    let own = server.control_get("/diagnostics");
    assert_eq!(own.status, 200);
    assert_eq!(own.json()["apps"][0]["id"], app["id"]);
}

#[test]
fn who_asks_from_elsewhere_finds_nothing_there() {
    let server = Setup::builtin("hello").workers(1).start();
    let nothing = |host: &str, fields: &str, target: &str| {
        let mut client = server.connect();
        client.request_at(host, "GET", target, &format!("X-Request-Id: same\r\n{fields}"), b"");
        let response = client.response();
        (response.status, response.text(), response.field("content-type").to_owned())
    };
    for target in ["/diagnostics", "/metrics"] {
        for host in ["localhost", "127.0.0.1", "[::1]", "127.0.0.1:8080", "rip.local"] {
            assert_eq!(nothing(host, "", target).0, 200, "{host}{target}");
        }
        let port = server.port();
        let own = format!("Origin: http://localhost:{port}\r\n");
        assert_eq!(nothing(&format!("localhost:{port}"), &own, target).0, 200, "{own}");
        let found = nothing("a.test", "", target);
        assert_eq!((found.0, found.1.starts_with("404 Not Found\n")), (404, true), "{found:?}");
        for fields in [
            "X-Forwarded-For: 127.0.0.1\r\n",
            "X-Forwarded-Proto: http\r\n",
            "X-Forwarded-Host: localhost\r\n",
            "X-Real-IP: 127.0.0.1\r\n",
            "Forwarded: for=127.0.0.1\r\n",
            "Via: 1.1 proxy\r\n",
            "Origin: http://evil.test\r\n",
            "Origin: null\r\n",
        ] {
            assert_eq!(nothing("localhost", fields, target), found, "{fields}{target}");
        }
    }
    let server = Setup::edgefile(ONLY_ONE_PATH).names_ports().start();
    for (host, told) in [("a.test", "Nothing is served here."), ("localhost", "Host not found")] {
        let ask = |target: &str| {
            let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Request-Id: same\r\n";
            let mut client = server.connect();
            client.request_at(host, "GET", target, fields, b"");
            let response = client.response();
            (response.status, response.text(), response.field("content-type").to_owned())
        };
        let missing = ask("/missing");
        assert!(missing.0 == 404 && missing.1.contains(told), "{missing:?}");
        assert_eq!(ask("/metrics"), missing, "{host}");
        assert_eq!(ask("/diagnostics"), missing, "{host}");
    }
}

#[test]
fn who_is_on_another_machine_finds_nothing_there() {
    Network::run(|network| {
        network.plug_in();
        let file = ONLY_ONE_PATH.replace("127.0.0.1:PORT", ":PORT");
        let server = Setup::edgefile(&file).word("--no-mdns").word("--no-watch").start();
        for (host, target, status) in [
            (OWN, "/diagnostics", 404),
            ("localhost", "/diagnostics", 404),
            ("localhost", "/metrics", 404),
            (OWN, "/livez", 200),
            (OWN, "/readyz", 200),
            (OWN, "/status", 200),
        ] {
            let stream = std::net::TcpStream::connect((OWN, server.port())).expect("it listens");
            let mut client = Client::over(stream).expect("a client");
            assert_eq!(client.ask_at(host, "GET", target).status, status, "{host}{target}");
        }
        assert_eq!(local(&server, "GET", "/diagnostics").status, 200);
    });
}

#[test]
fn endpoints_take_get_and_head_alone() {
    let server = Setup::builtin("hello").workers(1).start();
    for target in ["/livez", "/readyz", "/healthz", "/diagnostics", "/metrics", "/status"] {
        let whole = local(&server, "GET", target);
        assert_eq!(whole.status, 200, "{target}");
        let head = local(&server, "HEAD", target);
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        assert_eq!(head.field("content-type"), whole.field("content-type"), "{target}");
        assert_ne!(head.field("content-length"), "0", "{target}");
        for method in ["OPTIONS", "POST", "PUT", "DELETE"] {
            let refused = local(&server, method, target);
            assert_eq!((refused.status, refused.field("allow")), (405, "GET, HEAD"), "{target}");
        }
    }
    // Whatever stands in the query.
    assert_eq!(local(&server, "GET", "/diagnostics?x=y").status, 200);
    assert_eq!(local(&server, "GET", "/livez?").status, 200);
    let mut client = server.connect();
    client.request_at("localhost", "GET", "/diagnostics", "", &[b'x'; 1000]);
    assert_eq!(client.response().status, 200, "a body is read and means nothing");
    client.request_at("localhost", "GET", "/diagnostics", "", &[b'x'; 70_000]);
    assert_eq!(client.response().status, 413);
}

#[test]
fn readiness_is_that_of_every_app() {
    let server = Setup::builtin("crash").workers(1).flag("--restart-backoff-ms", 700).start();
    let mut client = server.connect();
    for target in ["/readyz", "/healthz"] {
        let ready = client.ask("GET", target);
        assert_eq!((ready.status, ready.text().as_str()), (200, "ok"), "{target}");
    }
    assert_eq!(server.request("POST", "/crash?how=kill", "", b"").status, 502);
    let mut missing = String::new();
    eventually("a server that is not ready", || {
        let answer = client.ask("GET", "/readyz");
        missing = answer.text();
        answer.status == 503
    });
    let app = server.app()["id"].as_str().expect("an id").to_owned();
    assert_eq!(missing, format!("no worker is ready: {app}\n"));
    assert_eq!(client.ask("GET", "/livez").text(), "ok", "it lives all the same");
    assert_eq!(diagnostics(&server)["status"], "degraded");
    server.wait_for_workers(1);
    eventually("a ready server", || client.ask("GET", "/healthz").status == 200);
}

const ONLY_ONE_PATH: &str = r#"
version 1
edge { http "127.0.0.1:PORT" }
app "api" { entry "builtin:hello"; workers 1 }
site "a.test" { route "/api/*" { to-app "api" } }
"#;

#[test]
fn every_endpoint_is_where_the_edgefile_has_it_or_nowhere() {
    let file = ONLY_ONE_PATH.replace("/api/*", "/*");
    let with = |line: &str| file.replace("PORT\" }", &format!("PORT\"; {line} }}"));
    let setup =
        Setup::edgefile(&with("builtin livez=\"off\" readyz=\"/up\" metrics=\"/inside/m\""));
    let server = setup.word("--no-watch").start();
    let app = server.get("/").text();
    let asked = |target: &str| {
        let response = local(&server, "GET", target);
        (response.status, response.text())
    };
    for target in ["/livez", "/readyz", "/metrics"] {
        let told = server.connect().ask_at("a.test", "GET", target);
        assert_eq!((told.status, told.text()), (200, app.clone()), "{target} is the app's");
    }
    assert_eq!(asked("/up"), (200, "ok".to_owned()));
    assert_eq!(asked("/healthz"), (200, "ok".to_owned()));
    assert!(asked("/inside/m").1.contains("rip_"), "the metrics have moved");
    assert_eq!(asked("/diagnostics").0, 200);
    assert_eq!(server.get("/diagnostics").status, 404, "the route does not take it");
    let elsewhere = |target: &str| {
        let fields = "X-Forwarded-For: 203.0.113.9\r\n";
        server.request("GET", target, fields, b"").status
    };
    server.take_up(&with("builtin open=#true"));
    assert_eq!(
        (elsewhere("/diagnostics"), elsewhere("/metrics"), asked("/livez").0),
        (200, 200, 200)
    );
    assert_eq!(server.get("/diagnostics").status, 200, "at every host");
    server.take_up(&with("builtin \"off\""));
    let paths = ["/server", "/status", "/livez", "/readyz", "/healthz", "/metrics", "/diagnostics"];
    for target in paths {
        let told = server.get(target);
        assert_eq!((told.status, told.text()), (200, app.clone()), "{target} is the app's");
    }
}

#[test]
fn the_operators_address_serves_the_operator_and_nobody_else() {
    let (one, other) = (Port::free(), Port::free());
    let with = |port: &Port| {
        let line = format!("admin \"127.0.0.1:{}\"; builtin \"off\"; ", port.number);
        ONLY_ONE_PATH.replace("edge { ", &format!("edge {{ {line}"))
    };
    let server = Setup::edgefile(&with(&one)).word("--no-watch").start();
    let admin = |port: &Port| Client::connect(port.number);
    let mut client = admin(&one);
    for target in ["/server", "/livez", "/readyz", "/healthz", "/status", "/metrics"] {
        // Monitoring may know the server by any name; a browser that was led here may not.
        let program = "X-Forwarded-For: 203.0.113.9\r\nUser-Agent: Prometheus/2.53.0\r\n";
        for (fields, status) in [(program, 200), ("Origin: http://whatever.test\r\n", 404)] {
            client.request_at("whatever.test", "GET", target, fields, b"");
            assert_eq!(client.response().status, status, "{target} {fields}");
        }
    }
    let told = client.ask("GET", "/diagnostics").json();
    assert_eq!(told["apps"][0]["id"], "api");
    assert_eq!(told["urls"], json!([format!("http://a.test:{}/", server.port())]));
    for (method, target) in
        [("GET", "/api/"), ("GET", "/publish"), ("POST", "/publish"), ("GET", "/control/reload")]
    {
        let refused = client.ask_at("a.test", method, target);
        assert_eq!(refused.status, 404, "{method} {target}");
    }
    assert_eq!(client.ask("DELETE", "/status").status, 405);
    let status = client.ask("GET", "/status").json();
    assert_eq!(status["ports"], json!([server.port()]), "it is no port for clients");
    assert_eq!(server.get("/diagnostics").status, 404);
    // Another address takes its place like that of any listener.
    server.take_up(&with(&other));
    assert_eq!(admin(&other).ask("GET", "/livez").status, 200);
    eventually("the old address closed", || Client::try_connect(one.number).is_err());
    // What is public becomes the operator's, and the other way round, without a restart.
    let file = format!("edge {{ admin \"127.0.0.1:PORT\"; http \"127.0.0.1:{}\" }}", other.number);
    let swapped = ONLY_ONE_PATH.replace("edge { http \"127.0.0.1:PORT\" }", &file);
    server.take_up(&swapped);
    assert_eq!(admin(&other).ask("GET", "/api/").status, 200);
    assert_eq!(local(&server, "GET", "/api/").status, 404);
    assert_eq!(server.get("/diagnostics").status, 200);
}

#[test]
fn what_everybody_may_ask_is_never_too_often() {
    let server = Setup::builtin("hello").workers(1).flag("--rate-limit", 3).start();
    let mut client = server.connect();
    for target in ["/server", "/livez", "/readyz", "/healthz", "/status"].repeat(3) {
        assert_eq!(client.ask_at("localhost", "GET", target).status, 200, "{target}");
    }
    for status in [200, 200, 200, 429, 429] {
        assert_eq!(client.ask_at("localhost", "GET", "/metrics").status, status);
    }
}

#[test]
fn what_has_happened_to_the_configuration_is_told() {
    let text = |line: &str| format!("{ONLY_ONE_PATH}{line}");
    let server = Setup::edgefile(&text("")).word("--no-watch").start();
    server.take_up(&text("upstream \"far\" { target \"http://127.0.0.1:9\" }\n"));
    server.refuses_up(&text("nonsense\n"), "invalid");
    let told = diagnostics(&server);
    let config = &told["config"];
    assert_eq!(config["version"], 2);
    assert_eq!(config["path"], server.path("app/Edgefile").to_str().expect("a path in UTF-8"));
    let column = |name: &str| -> Vec<Value> {
        let rows = config["history"].as_array().expect("a history");
        rows.iter().map(|row| row[name].clone()).collect()
    };
    assert_eq!(column("source"), ["start", "api", "api"]);
    assert_eq!(column("result"), ["applied", "applied", "rejected"]);
    assert_eq!(config["lastAttempt"]["code"], "invalid");
    let mut newest_first = server.attempts();
    newest_first.reverse();
    assert_eq!(config["history"], json!(newest_first));
    assert_eq!(told["hosts"], json!(["a.test"]));
    let [upstream] = told["upstreams"].as_array().expect("upstreams").as_slice() else {
        panic!("{told}")
    };
    assert_eq!(upstream["id"], "far");
    assert_eq!(upstream["targets"][0]["url"], "http://127.0.0.1:9");
    assert_eq!(upstream["targets"][0]["inflight"], 0);
}

#[test]
fn the_command_line_shows_it_to_people_and_to_programs() {
    let server = Setup::builtin("hello").workers(2).start();
    server.wait_for_workers(2);
    for _ in 0..3 {
        assert_eq!(server.get("/").status, 200);
    }
    let (code, page) = server.cli(&["ctl", "diagnostics"]);
    assert_eq!(code, 0, "{page}");
    for part in ["status      healthy", "requests    3 ", "hello  ready    2/2", "DAYS LEFT"] {
        assert_eq!(page.contains(part), part != "DAYS LEFT", "{part} in {page}");
    }
    let (code, text) = server.cli(&["ctl", "diagnostics", "--json"]);
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &told["apps"][0]["ready"]), (0, &2.into()));
    for line in [&["ctl", "metrics"][..], &["ctl", "metrics", "--json"]] {
        let (code, text) = server.cli(line);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("\nrip_http_requests_total{"), "{text}");
    }
    let mut client = server.connect();
    let openly = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    client.request_at("localhost", "GET", "/metrics", openly, b"");
    let open = client.response();
    assert!(open.field("content-type").starts_with("application/openmetrics-text"), "{open:?}");
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
    client.request_at("localhost", "GET", "/metrics", "", b"");
    let plain = client.response();
    assert_eq!(plain.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
}

#[test]
fn certificates_are_told_with_the_days_they_have_left() {
    let https = Port::free();
    let setup = Setup::builtin("hello").workers(1).flag("--https-port", https.number);
    let stem = setup.path("a");
    identity(&["a.test", "localhost"], 100).write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    let server = setup.flag("--cert", file("crt")).flag("--key", file("key")).start();
    let told = diagnostics(&server);
    let [cert] = told["certs"].as_array().expect("certificates").as_slice() else {
        panic!("{told}")
    };
    assert_eq!(cert["domains"], json!(["a.test", "localhost"]));
    assert_eq!(cert["source"], "manual");
    let days = cert["daysLeft"].as_i64().expect("days");
    assert!((98..=100).contains(&days), "{cert}");
    assert!(cert["notAfter"].as_u64().is_some_and(|at| at > told["at"].as_u64().unwrap() / 1000));
    let https = Port::free();
    let setup = Setup::builtin("hello").workers(1).word("--auto-tls");
    let server = setup.flag("--https-port", https.number).start();
    let told = diagnostics(&server);
    assert_eq!(told["certs"][0]["source"], "auto", "{told}");
    assert!(told["certs"][0]["daysLeft"].as_i64().is_some_and(|days| days > 0), "{told}");
}

#[test]
fn a_control_loop_that_is_busy_holds_up_nobody_but_who_asks_it() {
    let server = Setup::builtin("hello").workers(1).start();
    let held = Held::new(&server);
    let began = Instant::now();
    let mut asking = server.connect();
    asking.request_at("localhost", "GET", "/diagnostics", "", b"");
    let mut leaves = server.connect();
    leaves.request_at("localhost", "GET", "/metrics", "", b"");
    leaves.reset();
    let mut client = server.connect();
    for target in ["/", "/livez", "/readyz", "/status"] {
        assert_eq!(client.ask("GET", target).status, 200, "{target}");
    }
    assert!(began.elapsed() < Duration::from_secs(4), "nobody waits: {:?}", began.elapsed());
    let refused = asking.response();
    assert_eq!((refused.status, refused.field("retry-after")), (503, "1"));
    assert!((4..9).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    asking.request_at("localhost", "GET", "/diagnostics", "", b"");
    drop(held);
    // The answer to what was given up comes now, and is nobody's: this one is the right one.
    let response = asking.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["metrics"]["rejects"]["control-busy"], 1, "{}", response.text());
}

#[test]
fn a_thousand_scrapes_at_once_are_answered_and_cost_no_request() {
    let server = Setup::builtin("hello").workers(2).concurrency(8).descriptors(8192).start();
    server.wait_for_workers(2);
    let port = server.port();
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                let mut client = Client::connect(port);
                let mut count = 0;
                while !is_over.load(Relaxed) {
                    assert_eq!(client.ask("GET", "/").status, 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut clients: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let target = if index % 2 == 0 { "/metrics" } else { "/diagnostics" };
        client.request_at("localhost", "GET", target, "", b"");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    is_over.store(true, Relaxed);
    let asked: u64 = load.into_iter().map(|thread| thread.join().expect("every answer")).sum();
    let told = diagnostics(&server);
    let counted = told["metrics"]["requests"].as_u64().expect("a number");
    assert_eq!(counted, asked + 1000, "every request is counted, scrapes too");
    assert_eq!(told["metrics"]["responses"]["5xx"], 0);
}

/// The control loop of a server, held still.
struct Held {
    holder: std::process::Child,
}

impl Held {
    fn new(server: &Server) -> Self {
        let mut command = Command::new(tools::python());
        command.arg(tools::app("hold_thread.py")).arg(server.pid().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("python is there");
        let mut line = String::new();
        let output = holder.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "held\n", "run this test as root: it takes the right to trace");
        Self { holder }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What it holds goes on when it ends.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
