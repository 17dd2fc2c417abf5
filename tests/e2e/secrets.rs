//! What is secret is said nowhere. A secret of each kind is planted where such secrets are, everything
//! is done with it that a server does, and then it is looked for wherever the server says something.

use crate::harness::edgefile::recorder;
use crate::harness::port::Port;
use crate::harness::session::{Ask, Session};
use crate::harness::tls::{Secure, identity};
use crate::harness::websocket::{Socket, quoted};
use crate::harness::{Client, Server, Setup, eventually, processes, tools};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

#[test]
fn no_secret_is_told_to_people() {
    no_secret_is_told("text");
}

#[test]
fn no_secret_is_told_to_programs() {
    no_secret_is_told("json");
}

fn no_secret_is_told(format: &str) {
    let (https, proxied) = (Port::free(), Port::free());
    let text = |more: &str| file(format, [https.number, proxied.number], more);
    let setup = Setup::edgefile(&text("")).with_rooms().with_record().word("--no-watch");
    let setup = setup.with_file("files/a.txt", "a file").with_file("secret", &secret("file"));
    let setup = setup.with_file("api.env", "").env("RIP_LOG", "trace");
    let setup = setup.env("RIP_PUBLISH_SECRET", secret("environment"));
    fs::create_dir_all(setup.path("pairs")).expect("a directory");
    let pair = identity(&["safe.test"], 30);
    pair.write(&setup.path("pairs/safe"));
    let key = fs::read_to_string(setup.path("pairs/safe.key")).expect("a key");
    let key = key.lines().nth(1).expect("a line of it").to_owned();
    let server = setup.flag("--loops", 2).start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    let mut secrets = vec![("the private key".to_owned(), key)];

    requests(&server);
    refusals(&server, https.number, proxied.number);
    websockets(&server);
    publishing(&server);
    sessions(&server, &mut secrets);
    over_tls(https.number);
    orders(&server, &text);
    crashes(&server);
    // What was said last is written.
    let mark = "X-Request-Id: the-last-one\r\n";
    server.request("GET", "/last", mark, b"");
    server.wait_for_log("the-last-one");

    secrets.extend(KINDS.iter().map(|kind| ((*kind).to_owned(), secret(kind))));
    let told = everything_told(&server);
    assert!(told.len() > 20, "{}", told.len());
    let mut found = Vec::new();
    for (place, text) in &told {
        for (kind, secret) in &secrets {
            if let Some(at) = text.find(secret.as_str()) {
                let near: String = text[..at].chars().rev().take(200).collect();
                let near: String = near.chars().rev().collect();
                found.push(format!("{kind} in {place}: {near}>>>{secret}"));
            }
        }
    }
    assert!(found.is_empty(), "{} are told:\n{}", found.len(), found.join("\n"));
    processes_know_only_their_own(&server);
}

/// What is secret, by what it is. Each is planted by that name below.
const KINDS: [&str; 30] = [
    "authorization",
    "basic",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "any-field",
    "query",
    "fragment",
    "userinfo",
    "request-body",
    "answer-body",
    "malformed",
    "garbage",
    "proxy-header",
    "expectation",
    "ws-query",
    "ws-text",
    "ws-protocol",
    "ws-answer",
    "environment",
    "file",
    "wrong-publisher",
    "published",
    "session-token",
    "idempotency-key",
    "session-input",
    "session-output",
    "app-env",
    "set-header",
    "control-token",
];

fn secret(kind: &str) -> String {
    format!("hush-{kind}-3f9a")
}

fn file(format: &str, [https, proxied]: [u16; 2], more: &str) -> String {
    let (python, turns) = (tools::python(), tools::app("turns.py"));
    let (env, header) = (secret("app-env"), secret("set-header"));
    let api = recorder(
        "api",
        &format!("workers 2; env API_KEY={env:?}; timeouts read=\"300ms\" stuck=\"1s\""),
    );
    format!(
        "version 1\n\
         edge {{ http \"127.0.0.1:PORT\"; http \"127.0.0.1:{proxied}\" proxy-protocol=#true\n\
         https \"127.0.0.1:{https}\"; trusted-proxies \"127.0.0.1\"; certs \"$DIR/pairs\"\n\
         log format={format:?}; timeouts head=\"300ms\"; store \"$DIR/state/sessions.db\" }}\n\
         {api}{more}\n\
         app \"rooms\" {{ entry \"rooms.py\"; workers 1 }}\n\
         app \"turns\" {{ command {python:?} \"-S\" \"-I\" {turns:?}\n workers 1; concurrency 4 }}\n\
         site \"a.test\" {{ tls \"off\"\n\
         route \"/files/*\" {{ static \"$DIR/app/files\" }}\n\
         route \"/proxied/*\" {{ proxy \"http://127.0.0.1:PORT\" host=\"b.test\" }}\n\
         route \"/moved/*\" {{ redirect \"https://a.test{{path}}?{{query}}\" }}\n\
         route \"/*\" {{ to-app \"api\"; headers {{ request {{ set X-Upstream-Key={header:?} }} }} }} }}\n\
         site \"b.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"api\" }} }}\n\
         site \"rooms.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"rooms\" }}\n\
         realtime \"/realtime\" app=\"rooms\" }}\n\
         site \"filed.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"rooms\" }}\n\
         realtime \"/realtime\" app=\"rooms\" publish-secret-file=\"secret\" }}\n\
         site \"turns.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"turns\" }}\n\
         sessions \"/v1\" app=\"turns\" }}\n\
         site \"safe.test\" {{ route \"/*\" {{ to-app \"api\" }} }}\n"
    )
}

/// Fields with a secret in each.
fn fields() -> String {
    let basic = secret("basic");
    format!(
        "Authorization: Bearer {}\r\nProxy-Authorization: Basic {basic}\r\nCookie: id={}\r\n\
         X-Api-Key: {}\r\nReferer: https://a.test/?{}\r\nX-Continuation-Token: {}\r\n\
         Idempotency-Key: {}\r\n",
        secret("authorization"),
        secret("cookie"),
        secret("any-field"),
        secret("query"),
        secret("session-token"),
        secret("idempotency-key"),
    )
}

fn requests(server: &Server) {
    let (query, body) = (secret("query"), secret("request-body"));
    let set_cookie = format!("field=Set-Cookie:{}", secret("set-cookie"));
    for target in [
        format!("/x?{query}&{set_cookie}&text={}", secret("answer-body")),
        format!("/x?raw={}", secret("answer-body")),
        format!("/x?raw=HTTP/1.1%20200%20OK%0d%0aSet-Cookie{}%0d%0a%0d%0a", secret("set-cookie")),
        format!("/x?{query}&drop=before"),
        format!("/x?{query}&die=before"),
        format!("/x?{query}&status=500&text={}", secret("answer-body")),
        format!("/x?{query}&sleep=0.5"),
        format!("/proxied/x?{query}&text={}", secret("answer-body")),
        format!("/proxied/x?raw={}", secret("answer-body")),
        format!("/moved/x?{query}"),
        format!("/files/a.txt?{query}"),
        format!("/files/none?{query}"),
        format!("http://a.test/x?{query}"),
        format!("/server?{query}"),
        format!("/status?{query}"),
        format!("/diagnostics?{query}"),
        format!("/metrics?{query}"),
    ] {
        for method in ["GET", "POST"] {
            let mut client = server.connect();
            let body = if method == "POST" { body.as_bytes() } else { b"" };
            client.request("GET", &target, &fields(), body);
            client.patience(Duration::from_secs(5));
            let _ = client.try_response("GET");
        }
    }
    // A client that leaves, and one that a worker does not end.
    let mut gone = server.connect();
    gone.request("GET", &format!("/gone?{query}&gate=gone"), &fields(), b"");
    eventually("the request at its worker", || {
        server.seen().iter().any(|seen| seen.target().starts_with("/gone"))
    });
    gone.reset();
    server.wait_for_log("worker_stuck");
    server.open_gate("gone");
}

fn refusals(server: &Server, https: u16, proxied: u16) {
    let (fields, user, bad) = (fields(), secret("userinfo"), secret("malformed"));
    for bytes in [
        format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}X: {bad}\0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nX{bad} : 1\r\n{fields}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {bad}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: {bad}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nExpect: {}\r\n\r\n", secret("expectation")),
        format!("GET http://me:{user}@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: me:{user}@a.test\r\n\r\n"),
        format!("CONNECT me:{user}@a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("TRACE /?{bad} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"),
        format!("GET /x#{} HTTP/1.1\r\nHost: a.test\r\n\r\n", secret("fragment")),
        format!("GET /?{bad} HTTP/7.1\r\nHost: a.test\r\n\r\n"),
        format!("GET /?{bad}{} HTTP/1.1\r\n", "x".repeat(9000)),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {bad}{}\r\n\r\n", "x".repeat(70_000)),
        format!("GET /?{bad} HTTP/1.1\r\nHost: a.test\r\nCookie: {}", secret("cookie")),
        format!("GET /%00?{bad} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("{} and more\r\n\r\n", secret("garbage")),
        format!("GET {} HTTP/1.1\r\n\r\n", secret("garbage")),
        format!("\x16{}", secret("garbage")),
        format!("POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{bad}\r\n"),
        // The rest of a body that was longer than it said.
        format!(
            "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx{}\r\n\r\n",
            secret("request-body")
        ),
        format!("PASSWORD={} HTTP/1.1\r\n\r\n", secret("request-body")),
    ] {
        send(server.connect(), &bytes);
        send(Client::connect(https), &bytes);
        send(Client::connect(proxied), &bytes);
        send(Client::connect(proxied), &format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{bytes}"));
    }
    for header in ["PROXY TCP4 ", "PROXY UNKNOWN ", "PROXY "] {
        let bytes = format!("{header}{}\r\nGET / HTTP/1.1\r\n\r\n", secret("proxy-header"));
        send(Client::connect(proxied), &bytes);
    }
}

/// Sends bytes and hears what comes of it, whatever that is.
fn send(mut client: Client, bytes: &str) {
    if client.try_send(bytes).is_ok() {
        client.patience(Duration::from_secs(2));
        let _ = client.try_response("GET");
    }
}

fn websockets(server: &Server) {
    let (query, said) = (secret("ws-query"), secret("ws-text"));
    let fields = fields();
    let open = |host: &str, target: &str, more: &str| {
        Socket::try_open(server.connect(), host, target, &format!("{fields}{more}"))
    };
    let protocol = format!("Sec-WebSocket-Protocol: {}\r\n", secret("ws-protocol"));
    let target = format!("/realtime?open={}&{query}", quoted(r#"{"+":["/lobby"]}"#));
    let mut socket = open("rooms.test", &target, &protocol).expect("it comes in");
    let answer = secret("ws-answer");
    for order in [
        said.clone(),
        format!("!raw {answer}"),
        format!("!raw \"{answer}\""),
        format!("!raw {{\"@\":\"{answer}\"}}"),
        format!("!raw {{\"*\":{{\"code\":\"{answer}\"}}}}"),
        format!("!raw {{\"$binary\":\"{answer}\"}}"),
        format!("!raw {{\"$text\":[\"{answer}\"]}}"),
        format!("!raw {{\"#\":\"{answer}\"}}"),
        format!("!status 500 {said}"),
        format!("!raw {{\"@\":[\"/lobby\"],\"text\":\"{answer}\"}}"),
    ] {
        socket.say(&order);
    }
    socket.hear_text();
    socket.say(&format!("!die {said}"));
    server.wait_for_log("killed by SIGKILL");
    socket.send_bytes(said.as_bytes()).expect("nonsense is sent");
    let no = open("rooms.test", &format!("/realtime?status=403&{query}"), "");
    assert!(no.is_err());
    let origin = format!("Origin: https://me:{}@elsewhere.example\r\n", secret("userinfo"));
    assert!(open("rooms.test", &format!("/realtime?{query}"), &origin).is_err());
    let recover = open("rooms.test", &format!("/realtime?recover={query}"), "");
    assert!(recover.is_err());
    send(
        server.connect(),
        &format!("GET /realtime/events?group={query} HTTP/1.1\r\nHost: rooms.test\r\n{fields}\r\n"),
    );
}

fn publishing(server: &Server) {
    let publish = |host: &str, secret: &str, body: &str| {
        let fields =
            format!("Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n");
        let mut client = server.connect();
        client.request_at(host, "POST", "/publish", &fields, body.as_bytes());
        client.response().status
    };
    let said = secret("published");
    let (given, filed, wrong) = (secret("environment"), secret("file"), secret("wrong-publisher"));
    for body in [
        format!("{{\"@\":[\"/lobby\"],\"said\":\"{said}\"}}"),
        format!("{{\"@\":\"{said}\"}}"),
        format!("{{\"+\":[\"{said}\"]}}"),
        said,
    ] {
        publish("rooms.test", &given, &body);
        publish("filed.test", &filed, &body);
        assert_eq!(publish("filed.test", &wrong, &body), 401);
    }
    assert_eq!(publish("rooms.test", &given, "{}"), 200);
    assert_eq!(publish("filed.test", &filed, "{}"), 200);
}

fn sessions(server: &Server, secrets: &mut Vec<(String, String)>) {
    let (input, output) = (secret("session-input"), secret("session-output"));
    let forged = format!("ct_{}", secret("session-token"));
    let at = |ask: Ask| ask.at("turns.test").field("Cookie", &secret("cookie"));
    let key = secret("idempotency-key");
    let response = at(Ask::start(&json!({"said": input}))).key(&key).answer(server);
    assert_eq!(response.status, 200, "{response:?}");
    let mut session = Session::of(&response);
    let mut learn = |session: &Session| {
        secrets.push(("a continuation token".to_owned(), session.token.clone()));
        secrets.push(("a resume token".to_owned(), session.resume.clone()));
    };
    learn(&session);
    for plan in [
        json!({"answer": {"status": "finished", "output": output.clone(), "state": output.clone()}}),
        json!({"answer": {"status": output.clone()}}),
        json!({"answer": [output.clone()]}),
        json!({"body": output.clone(), "media": "application/json"}),
        json!({"steps": [output.clone(), {"raw": output.clone()}, {"end": true}]}),
        json!({"steps": [{"type": output.clone()}]}),
        json!({"status": 500, "answer": {"error": output.clone()}}),
        json!({"status": 422, "answer": {"error": output.clone()}}),
        json!({"drop": true, "said": input.clone()}),
    ] {
        let response = at(Ask::message(&session, &plan)).answer(server);
        if response.status == 200 {
            session = Session::of(&response);
            learn(&session);
        }
    }
    let mut other = Session::of(&at(Ask::start(&json!({}))).answer(server));
    learn(&other);
    let old = other.token.clone();
    other.token = forged;
    assert_eq!(at(Ask::message(&other, &json!({"x": input}))).answer(server).status, 409);
    other.token = old;
    for target in [
        format!("/v1/session/{}/events?resume={}", session.id, session.resume),
        format!("/v1/session/{}/events?resume={}", session.id, session.token),
        format!("/v1/session/{}?resume={}", session.id, session.resume),
        format!("/v1/session/{}/events?last_event_id={}", session.id, session.resume),
    ] {
        let json = Ask::to("GET", &target).field("Accept", "application/json");
        at(json).answer(server);
    }
    let mut socket = Socket::try_open(server.connect(), "turns.test", "/v1/ws", "")
        .expect("a socket for sessions");
    for said in [
        json!({"type": "resume", "sessionId": session.id, "resumeToken": session.resume})
            .to_string(),
        json!({"continuationToken": session.token, "said": input}).to_string(),
        format!("{{\"said\": {input}"),
    ] {
        socket.say(&said);
        socket.hear_text();
    }
    let bad = format!("{{\"said\": {input}");
    assert_eq!(at(Ask::to("POST", "/v1/session").body(bad)).answer(server).status, 400);
}

fn over_tls(https: u16) {
    let mut secure = Secure::connect(https, Some("safe.test")).expect("a connection");
    assert_eq!(secure.get("safe.test").expect("an answer"), 200);
    assert!(Secure::connect(https, Some("unknown.test")).is_ok_and(|mut it| it.get("x").is_ok()));
}

fn orders(server: &Server, text: &dyn Fn(&str) -> String) {
    let env = secret("app-env");
    for wrong in [
        format!("app \"new\" {{ entry \"builtin:hello\"; env API_KEY={env} }} nonsense"),
        format!(
            "site \"x.test\" {{ route \"/*\" {{ to-app \"api\"; headers {{ request {{ set {env:?} }} }} }} }}"
        ),
        format!(
            "site \"x.test\" {{ route \"/*\" {{ headers {{ request {{ set \"a b\"={env:?} }} }} }} }}"
        ),
        format!("app \"new\" {{ entry \"builtin:hello\"; env \"{env}\" }}"),
        format!(
            "app \"new\" {{ entry \"builtin:hello\"; env {{ API_KEY {env:?}; BAD=NAME {env:?} }} }}"
        ),
        format!("app \"new\" {{ entry \"builtin:hello\"; env API_KEY={env:?} wrokers=3 }}"),
        format!("app \"new\" {{ entry \"builtin:hello\"; env API_KEY=\"{env} }}"),
    ] {
        server.save_edgefile(&text(&wrong), crate::harness::edgefile::Manner::Renamed);
        assert_eq!(server.reload_by_api()["ok"], false, "{wrong}");
        server.cli(&["ctl", "plan"]);
    }
    let target = format!("http://me:{}@127.0.0.1:1", secret("userinfo"));
    let more = format!("upstream \"up\" {{ target {target:?} }}");
    server.save_edgefile(&text(&more), crate::harness::edgefile::Manner::Renamed);
    server.reload_by_api();
    // Values that differ are changed, and nobody is told from what to what.
    let changed = text("").replace(&env, &format!("{env}-other"));
    server.take_up(&changed);
    let (_, plan) = server.cli(&["ctl", "plan", "--json"]);
    assert!(!plan.contains(&env), "{plan}");
    server.take_up(&text(""));
    server.control_post("/control/rollback", "", "{}");
    // Whoever claims to be a worker.
    let token = format!("Authorization: Bearer {}\r\n", secret("control-token"));
    let join = "{\"op\":\"quit\",\"workerId\":1,\"generation\":1,\"appId\":\"api\"}";
    assert_eq!(server.control_post("/worker", &token, join).status, 403);
    server.control_post(
        "/control/restart",
        &token,
        &format!("{{\"app\":{:?}", secret("malformed")),
    );
    server.control_post("/control/restart", &token, "{\"app\":\"rooms\"}");
}

fn crashes(server: &Server) {
    let pid = server.pids_of("api").first().copied().expect("a worker");
    let pid = u32::try_from(pid).expect("a pid");
    processes::signal_if_alive(pid, nix::sys::signal::Signal::SIGABRT);
    server.wait_for_log("SIGABRT");
    eventually("every worker again", || server.control_get("/status").status == 200);
}

/// Everything the server says of itself, by where: its output, each endpoint and each verb. A new one
/// that is none of these has to be added here.
fn everything_told(server: &Server) -> Vec<(String, String)> {
    let mut told = vec![
        ("standard output".to_owned(), server.stdout()),
        ("standard error".to_owned(), server.stderr()),
    ];
    let mut say = |place: String, text: String| told.push((place, text));
    // The control socket itself tells what there is to ask.
    let nothing = server.control_get("/there-is-no-such-thing").json();
    let paths = nothing["hint"].as_str().expect("a hint").to_owned();
    let paths = paths.trim_start_matches("there are ").split(", ");
    for path in paths.filter(|path| !path.contains("{") && !path.starts_with("/control/")) {
        let path = if path == "/events" { "/events?follow=false" } else { path };
        let response = server.control_get(path);
        say(format!("control {path}"), response.text());
    }
    let mut client = server.control();
    client.request("GET", "/events", "Last-Event-ID: 0\r\n", b"");
    client.patience(Duration::from_millis(500));
    let rest = client.rest().unwrap_or_default();
    say("the stream of events".to_owned(), String::from_utf8_lossy(&rest).into_owned());
    for id in request_ids(server) {
        say(format!("explain {id}"), server.control_get(&format!("/explain/{id}")).text());
    }
    for path in ["/status", "/diagnostics", "/metrics", "/livez", "/readyz", "/healthz", "/server"]
    {
        let mut client = server.connect();
        say(format!("public {path}"), client.ask_at("localhost", "GET", path).text());
    }
    for path in ["/", "/status", "/diagnostics", "/metrics", "/events", "/feed"] {
        let mut client = server.connect();
        client.request_at("rip.local", "GET", path, "Accept: text/event-stream\r\n", b"");
        client.patience(Duration::from_millis(1500));
        let rest = client.rest().unwrap_or_default();
        say(format!("dashboard {path}"), String::from_utf8_lossy(&rest).into_owned());
    }
    let (_, help) = server.cli_without_name(&["ctl", "--help"]);
    let verbs = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    for verb in verbs.filter_map(|line| line.split_whitespace().next()) {
        if !ORDERS.contains(&verb) {
            for more in [&[][..], &["--json"]] {
                let words = [&["ctl", verb], more].concat();
                say(words.join(" "), server.cli(&words).1);
            }
        }
    }
    for words in [&["plan"][..], &["status"], &["why", "http://a.test/x"], &["check"], &["list"]] {
        say(words.join(" "), server.cli(words).1);
    }
    told
}

/// Verbs that change something, or do not end by themselves.
const ORDERS: [&str; 13] = [
    "stop",
    "restart",
    "reload",
    "rollback",
    "scale",
    "pause",
    "resume",
    "drain",
    "upgrade",
    "top",
    "dashboard-login",
    "explain",
    "help",
];

/// The ids of some requests that the log tells of.
fn request_ids(server: &Server) -> Vec<String> {
    let log = server.stdout();
    let words = log.split(|letter: char| letter.is_whitespace() || letter == '"');
    let mut ids: Vec<_> =
        words.filter(|word| word.starts_with("req-")).map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    let every = (ids.len() / 40).max(1);
    ids.into_iter().step_by(every).collect()
}

/// No command line has a secret, and no process another one's in its environment.
fn processes_know_only_their_own(server: &Server) {
    let apps: Value = server.control_get("/workers").json();
    let apps = apps["workers"].as_array().expect("workers");
    assert!(!apps.is_empty());
    for worker in apps {
        for name in ["pid", "appPid"] {
            let pid = worker[name].as_u64().expect("a pid");
            let read = |what: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (command, environment) = (read("cmdline"), read("environ"));
            assert!(!command.contains("hush-"), "{command}");
            for kind in ["environment", "file", "set-header"] {
                assert!(!environment.contains(&secret(kind)), "{kind} in {name} of {worker}");
            }
            let own = worker["appId"] == "api" && name == "appPid";
            let known = environment.contains(&secret("app-env"));
            assert_eq!(known, own, "the environment of an app in {name} of {worker}");
        }
    }
}
