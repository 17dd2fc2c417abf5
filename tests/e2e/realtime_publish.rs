//! `/publish`: messages for WebSocket clients from who holds no worker.

use crate::harness::http::chunked;
use crate::harness::websocket::{Socket, quoted, rooms};
use crate::harness::{Response, Server, Setup, tools, within};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const REALTIME: &str = "realtime \"/realtime\" app=\"rooms\"";
const JSON: &str = "Content-Type: application/json\r\n";

fn house(edge: &str, realtime: &str) -> Server {
    let file = rooms(realtime, "").replace("edge {", &format!("edge {{\n{edge}\n"));
    Setup::edgefile(&file).with_rooms().word("--no-watch").start()
}

/// Publishes from this machine, by its address.
fn publish(server: &Server, body: impl ToString) -> Response {
    publish_as(server, "127.0.0.1", "", body)
}

fn publish_as(server: &Server, host: &str, fields: &str, body: impl ToString) -> Response {
    let mut client = server.connect();
    let fields = format!("{JSON}{fields}");
    client.request_at(host, "POST", "/publish", &fields, body.to_string().as_bytes());
    client.response()
}

fn joins(server: &Server, groups: &[&str]) -> Socket {
    let open = quoted(&json!({"+": groups}).to_string());
    Socket::open(server, &format!("/realtime?open={open}"))
}

fn id_of(server: &Server, nth: usize) -> String {
    server.posted("open")[nth].client().to_owned()
}

#[track_caller]
fn counted(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.field("Content-Type"), "application/json");
    response.json()
}

#[test]
fn what_is_published_is_told_and_counted() {
    let server = Setup::edgefile(&rooms(REALTIME, ""))
        .with_rooms()
        .word("--no-watch")
        .flag("--loops", 3)
        .start();
    let mut both: Vec<_> = (0..5).map(|_| joins(&server, &["/a", "/b"])).collect();
    let mut only: Vec<_> = (0..3).map(|_| joins(&server, &["/a"])).collect();
    let ids = [id_of(&server, 0), id_of(&server, 5)];
    let count = counted(&publish(&server, json!({"@": ["/a"], "news": 1})));
    assert_eq!(count, json!({"delivered": 8, "groups": {"/a": 8}}));
    for socket in both.iter_mut().chain(&mut only) {
        assert_eq!(socket.hear_json(), json!({"news": 1}));
    }
    // Each is told once, however often it is named.
    let count = counted(&publish(&server, json!({"@": ["/a", "/b", "/none", ids[0]], "news": 2})));
    assert_eq!(count, json!({"delivered": 8, "groups": {"/a": 8, "/b": 5, "/none": 0}}));
    let count = counted(&publish(&server, json!({"@": ["/a"], ">": [ids[0], ids[1]], "news": 3})));
    assert_eq!(count["delivered"], 6, "{count}");
    let items = json!([{"@": ["/b"], "$text": "x"}, {"@": [ids[1]], "$text": "y"}]);
    assert_eq!(counted(&publish(&server, items))["delivered"], 6);
    for socket in &mut both[1..] {
        assert_eq!(socket.hear_json(), json!({"news": 2}));
        assert_eq!(socket.hear_json(), json!({"news": 3}));
        assert_eq!(socket.hear_text(), "x");
    }
    assert_eq!(only[0].hear_json(), json!({"news": 2}));
    assert_eq!(only[0].hear_text(), "y");
    // Nobody is meant without a target, and nobody is there to be told.
    for (body, delivered) in [
        (json!({"news": 4}), 0),
        (json!([]), 0),
        (json!({"@": [], "news": 4}), 0),
        (json!({"@": ["/nobody", "f".repeat(32)], "news": 4}), 0),
    ] {
        assert_eq!(counted(&publish(&server, &body))["delivered"], delivered, "{body}");
    }
}

#[test]
fn who_publishes_moves_and_closes_clients() {
    let server = house("", REALTIME);
    let mut one = joins(&server, &["/a"]);
    let mut other = joins(&server, &[]);
    let id = id_of(&server, 1);
    counted(&publish(&server, json!({"@": [id], "+": ["/a"], "-": ["/b"]})));
    let count = counted(&publish(&server, json!({"@": ["/a"], "x": 1})));
    assert_eq!(count["delivered"], 2);
    counted(&publish(
        &server,
        json!({"@": ["/a"], ">": [id], "y": 2, "*": {"code": 4001, "reason": "r"}}),
    ));
    assert_eq!(other.hear_json(), json!({"x": 1}));
    assert_eq!(other.hear_close(), (4001, "r".to_owned()));
    assert_eq!(one.hear_json(), json!({"x": 1}));
    assert_eq!(one.hear_json(), json!({"y": 2}));
    assert_eq!(one.hear_close(), (4001, "r".to_owned()));
    server.wait_for_posts("close", 2);
}

#[test]
fn what_cannot_be_understood_is_400_with_the_reason_and_tells_nobody() {
    let server = house("", REALTIME);
    let mut socket = joins(&server, &["/a"]);
    for (body, word) in [
        ("", ""),
        ("no json", ""),
        ("5", ""),
        ("\"x\"", ""),
        ("[[]]", ""),
        ("[5]", ""),
        (r#"{"@":"/a","x":1}"#, "@"),
        (r#"{"@":[1],"x":1}"#, "@"),
        (r#"{"@":["/a"],"+":["lobby"]}"#, "/"),
        (r#"{"@":["/a"],"-":["lobby"]}"#, "/"),
        (r#"{"@":["/a"],"$binary":"%%"}"#, "$binary"),
        (r#"{"@":["/a"],"$text":1}"#, "$text"),
        (r#"{"@":["/a"],"*":{"code":1}}"#, "code"),
        // All or nothing.
        (r#"[{"@":["/a"],"x":1},{"@":5}]"#, "@"),
    ] {
        let refusal = publish(&server, body);
        assert_eq!(refusal.status, 400, "{body}: {refusal:?}");
        assert!(refusal.text().contains(word) && !refusal.text().is_empty(), "{body}: {refusal:?}");
    }
    socket.assert_nothing_told();
}

#[test]
fn more_than_a_mebibyte_is_413() {
    let server = house("", REALTIME);
    let mut socket = joins(&server, &["/a"]);
    let body = |bytes: usize| {
        let text = json!({"@": ["/a"], "$text": ""}).to_string();
        let more = "x".repeat(bytes - text.len());
        json!({"@": ["/a"], "$text": more}).to_string()
    };
    let fits = body(1 << 20);
    assert_eq!(fits.len(), 1 << 20);
    assert_eq!(counted(&publish(&server, &fits))["delivered"], 1);
    assert!(socket.hear_text().len() > 1_000_000);
    let mut client = server.connect();
    client.send(format!(
        "POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}Content-Length: {}\r\n\r\n",
        (1 << 20) + 1
    ));
    assert_eq!(client.response().status, 413, "before it has come");
    let mut client = server.connect();
    client.send(format!(
        "POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    ));
    let chunks = chunked(body((1 << 20) + 1).as_bytes(), 100_000);
    let _ = client.try_send(&chunks);
    assert_eq!(client.response().status, 413, "as it comes");
    let mut client = server.connect();
    client.send(format!(
        "POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    ));
    client.send(chunked(fits.as_bytes(), 100_000));
    assert_eq!(counted(&client.response())["delivered"], 1);
    assert!(socket.hear_text().len() > 1_000_000);
    socket.assert_nothing_told();
}

#[test]
fn other_methods_and_paths_are_the_apps() {
    let server = house("", REALTIME);
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(server.request(method, "/publish", "", b"").text(), "page of /publish");
    }
    assert_eq!(server.request("POST", "/publish/", "", b"{}").text(), "page of /publish/");
}

#[test]
fn only_this_machine_publishes_where_there_is_no_secret() {
    let server = house("", REALTIME);
    let port = server.port();
    let fine = json!({"@": ["/a"]});
    for host in ["127.0.0.1".to_owned(), format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        assert_eq!(publish_as(&server, &host, "", &fine).status, 200, "{host}");
    }
    for (host, fields) in [
        // A name that leads here by somebody else's name server.
        ("rebinding.test", ""),
        ("127.0.0.1", "Origin: http://evil.test\r\n"),
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n"),
        ("127.0.0.1", "Forwarded: for=203.0.113.7\r\n"),
    ] {
        let refusal = publish_as(&server, host, fields, &fine);
        assert_eq!(refusal.status, 401, "{host} {fields}: {refusal:?}");
    }
    let server = house("publish open=#true", REALTIME);
    assert_eq!(publish_as(&server, "rebinding.test", "", &fine).status, 200, "open to everybody");
}

#[test]
fn a_secret_lets_in_and_keeps_out() {
    let source = fs::read_to_string(tools::app("rooms.py")).unwrap();
    let setup = Setup::python(&source).env("RIP_PUBLISH_SECRET", "open-sesame").workers(1);
    let record = setup.path("record");
    fs::create_dir_all(&record).unwrap();
    let server = setup.env("RECORD", record).start();
    let fine = json!({"@": ["/a"]});
    for (fields, status) in [
        ("", 401),
        ("Authorization: Bearer open-sesame\r\n", 200),
        ("authorization: bearer open-sesame\r\n", 200),
        ("Authorization: Bearer open-sesam\r\n", 401),
        ("Authorization: Bearer open-sesame2\r\n", 401),
        ("Authorization: Basic open-sesame\r\n", 401),
        ("Authorization: open-sesame\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Bearer wrong\r\nAuthorization: Bearer open-sesame\r\n", 401),
    ] {
        for host in ["127.0.0.1", "elsewhere.test"] {
            let response = publish_as(&server, host, fields, &fine);
            assert_eq!(response.status, status, "{host} {fields}: {response:?}");
            if status == 401 {
                assert!(response.field("WWW-Authenticate").starts_with("Bearer"));
            }
        }
    }
    // It is told nowhere: not to the app, not in the log, not in what the master says of itself.
    assert_eq!(server.get("/environment").status, 200);
    let mut told = server.log();
    for verb in ["/apps", "/workers", "/config"] {
        told += &server.control_get(verb).text();
    }
    assert!(!told.contains("open-sesame"), "{told}");
    let shown = within(Duration::from_secs(1), || {
        let worker = server.worker_ids()[0];
        fs::read(format!("/proc/{}/environ", server.app_pid(worker))).ok()
    });
    let environment = String::from_utf8_lossy(&shown.unwrap_or_default()).into_owned();
    assert!(!environment.contains("open-sesame"), "the app does not get it");
}

#[test]
fn a_site_has_a_secret_of_its_own_from_a_file() {
    let file = |site: &str| {
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\"; publish secret-file=\"$DIR/edge\" }}\n\
             app \"rooms\" {{ entry \"rooms.py\"; workers 1 }}\n\
             site \"own.test\" {{ realtime \"/realtime\" app=\"rooms\" {site} }}\n\
             site \"other.test\" {{ realtime \"/realtime\" app=\"rooms\" }}\n\
             site \"none.test\" {{ redirect \"/*\" to=\"https://own.test\" }}\n"
        )
    };
    let file = |site: &str| {
        file(site).replace(
            "redirect \"/*\" to=\"https://own.test\"",
            "route \"/*\" { redirect \"https://own.test/\" }",
        )
    };
    let setup =
        Setup::edgefile(&file("publish-secret-file=\"$DIR/own\"")).with_rooms().word("--no-watch");
    fs::write(setup.path("edge"), "of-the-edge\n").unwrap();
    fs::write(setup.path("own"), "of-its-own\n").unwrap();
    let server = setup.start();
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    let fine = json!({"@": ["/a"]});
    for (host, secret, status) in [
        ("own.test", "of-its-own", 200),
        ("own.test", "of-the-edge", 401),
        ("other.test", "of-the-edge", 200),
        ("other.test", "of-its-own", 401),
        ("none.test", "of-the-edge", 404),
    ] {
        let response = publish_as(&server, host, &bearer(secret), &fine);
        assert_eq!(response.status, status, "{host} {secret}: {response:?}");
    }
    // A file is read at a reload, and one that is not there is an error of the Edgefile.
    fs::write(server.path("own"), "changed").unwrap();
    assert_eq!(publish_as(&server, "own.test", &bearer("of-its-own"), &fine).status, 200);
    server.take_up(&file("publish-secret-file=\"$DIR/own\""));
    let _ = server.cli(&["reload"]);
    let changed = publish_as(&server, "own.test", &bearer("changed"), &fine).status;
    assert_eq!(changed, 200, "the secret that the file has by now");
    fs::remove_file(server.path("own")).unwrap();
    server.refuses_up(&file("publish-secret-file=\"$DIR/own\" rate=5"), "invalid");
    assert_eq!(publish_as(&server, "own.test", &bearer("changed"), &fine).status, 200);
}

#[test]
fn a_host_without_realtime_has_nobody_to_publish_to() {
    let server = Setup::files(|site| fs::write(site.join("index.html"), "x").unwrap()).start();
    assert_eq!(publish(&server, json!({"@": ["/a"]})).status, 404);
}
