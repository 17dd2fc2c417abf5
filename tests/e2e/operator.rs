//! What who operates the server may ask of it: is it alive, is it ready, how is everything. The last is
//! nobody else's business.

use crate::harness::http::Response;
use crate::harness::network::{Network, OWN};
use crate::harness::{Client, Server, Setup, eventually};
use serde_json::Value;

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
