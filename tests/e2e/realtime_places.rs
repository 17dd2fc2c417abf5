//! Where WebSockets of realtime are opened, by whose pages, and what stays an app's own.

use crate::harness::websocket::{Socket, UPGRADE, quoted, rooms};
use crate::harness::{Response, Server, Setup, tools};
use serde_json::json;

/// The status of a handshake at this host with these fields: 101, or a refusal.
fn status(server: &Server, host: &str, target: &str, fields: &str) -> u16 {
    match Socket::try_open(server.connect(), host, target, fields) {
        Ok(_) => 101,
        Err(refusal) => refusal.status,
    }
}

fn origin(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

#[test]
fn an_implicit_place_takes_upgrades_and_leaves_the_app_its_page() {
    let server = Setup::rooms("").start();
    let mut socket = Socket::open(&server, "/realtime");
    socket.say(r#"{"it":"works"}"#);
    assert_eq!(socket.hear_json(), json!({"it": "works"}));
    assert_eq!(server.get("/realtime").text(), "page of /realtime");
    assert_eq!(server.request("POST", "/realtime", "", b"x").text(), "page of /realtime");
    assert_eq!(server.get("/realtime/more").text(), "page of /realtime/more");
    // Elsewhere an upgrade goes to the app, which knows nothing of it.
    assert_eq!(status(&server, "a.test", "/other", ""), 200);
    assert_eq!(status(&server, "a.test", "/realtime/", ""), 200);
}

#[test]
fn an_explicit_place_takes_nothing_but_upgrades() {
    let server = Setup::rooms("realtime \"/live\" app=\"rooms\"").start();
    for (method, body) in [("GET", b"".as_slice()), ("POST", b"x"), ("HEAD", b"")] {
        let refusal = server.request(method, "/live", "", body);
        assert_eq!(refusal.status, 426, "{method}: {refusal:?}");
        assert_eq!(refusal.field("Upgrade"), "websocket");
        let options = refusal.values("Connection").join(", ").to_ascii_lowercase();
        assert!(options.contains("upgrade"), "{options}");
    }
    assert_eq!(status(&server, "a.test", "/live?a=b", ""), 101);
    assert_eq!(server.posted("open").len(), 1);
    assert_eq!(server.get("/realtime").text(), "page of /realtime");
}

#[test]
fn a_flag_says_where() {
    let setup = Setup::python(&std::fs::read_to_string(tools::app("rooms.py")).unwrap());
    let record = setup.path("record");
    std::fs::create_dir_all(&record).unwrap();
    let server =
        setup.env("RECORD", record).flag("--realtime-path", "/live").word("--realtime").start();
    assert_eq!(status(&server, "a.test", "/live", ""), 101);
    assert_eq!(server.get("/live").status, 426);
    assert_eq!(server.get("/realtime").status, 200);
}

#[test]
fn pages_of_other_hosts_are_refused_unless_they_are_named() {
    let file =
        |origins: &str| rooms(&format!("realtime \"/realtime\" app=\"rooms\" {origins}"), "");
    let server = Setup::edgefile(&file("")).with_rooms().word("--no-watch").start();
    let port = server.port();
    let own = format!("own.test:{port}");
    let try_origins = |table: &[(&str, u16)]| {
        for (from, expected) in table {
            let found = status(&server, &own, "/realtime", &origin(from));
            assert_eq!(found, *expected, "{from} at {own}");
        }
    };
    assert_eq!(status(&server, &own, "/realtime", ""), 101, "no browser");
    try_origins(&[
        (&format!("http://own.test:{port}"), 101),
        (&format!("http://OWN.test:{port}"), 101),
        ("http://other.test", 403),
        (&format!("http://own.test.evil.test:{port}"), 403),
        (&format!("http://evil-own.test:{port}"), 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("chrome-extension://abcdef", 403),
    ]);
    let opened = server.posted("open").len();
    assert_eq!(opened, 3, "the app was not asked about the others");
    server.take_up(&file("origins=\"https://app.example.com,*.friends.test\""));
    try_origins(&[
        (&format!("http://own.test:{port}"), 101),
        ("https://app.example.com", 101),
        ("http://app.example.com", 403),
        ("https://www.friends.test", 101),
        ("https://friends.test.evil.test", 403),
        ("http://other.test", 403),
    ]);
    server.take_up(&file("origins=\"*\""));
    try_origins(&[("http://other.test", 101), ("null", 101)]);
}

#[test]
fn the_path_where_an_app_hears_is_nothing_from_outside() {
    for (more, path) in [("", "/v1/realtime"), ("realtime-path \"/in/here\"", "/in/here")] {
        let mut setup =
            Setup::edgefile(&rooms("realtime \"/realtime\" app=\"rooms\"", more)).with_rooms();
        if !more.is_empty() {
            // The app knows where it hears.
            let app = format!("{more}; env REALTIME_AT=\"{path}\"");
            setup =
                Setup::edgefile(&rooms("realtime \"/realtime\" app=\"rooms\"", &app)).with_rooms();
        }
        let server = setup.word("--no-watch").start();
        let forged = format!(
            "Rip-Client-Id: {}\r\nSec-WebSocket-Frame: open\r\nRip-Edge: realtime\r\n",
            "0".repeat(32)
        );
        let mut asked: Vec<Response> = Vec::new();
        for fields in ["", &forged] {
            for (method, body) in [("POST", b"{}".as_slice()), ("GET", b""), ("PUT", b"x")] {
                for target in [path.to_owned(), format!("{path}?a=b")] {
                    asked.push(server.request(method, &target, fields, body));
                }
            }
        }
        for response in asked {
            assert_eq!(response.status, 404, "{response:?}");
        }
        assert!(server.posts().is_empty(), "{:?}", server.posts());
        // From the edge it is heard.
        let mut socket = Socket::open(&server, &format!("/realtime?open={}", quoted("{}")));
        socket.say(r#"{"a":1}"#);
        assert_eq!(socket.hear_json(), json!({"a": 1}));
        assert_eq!(server.posts().len(), 2);
    }
}

#[test]
fn spellings_of_that_path_are_nothing_either() {
    let server = Setup::rooms("realtime \"/realtime\" app=\"rooms\"").start();
    let forged = format!(
        "Rip-Client-Id: {}\r\nSec-WebSocket-Frame: open\r\nRip-Edge: realtime\r\n",
        "0".repeat(32)
    );
    for target in [
        "/v1/%72ealtime",
        "/v1/x/../realtime",
        "//v1/realtime",
        "/v1//realtime",
        "/V1/realtime",
        "/v1/realtime/",
        "/v1/realtime;x",
    ] {
        let _ = server.request("POST", target, &forged, b"{}");
    }
    assert!(server.posts().is_empty(), "{:?}", server.posts());
}

#[test]
fn an_app_that_speaks_websocket_itself_is_not_touched_without_realtime() {
    // Only the default place is the edge's; every other upgrade is the app's own.
    let python = Setup::command(&[&tools::python(), &tools::app("ws_echo.py")]);
    let server = python.workers(1).start();
    let mut socket = Socket::open(&server, "/socket");
    socket.say("to the app");
    assert_eq!(socket.hear_text(), "to the app");
}

#[test]
fn a_place_of_one_host_is_none_of_another() {
    let file = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
         app \"rooms\" { entry \"rooms.py\"; workers 1; hosts \"rest.test\" }\n\
         site \"a.test\" { realtime \"/live\" app=\"rooms\"; route \"/*\" { to-app \"rooms\" } }\n\
         site \"b.test\" { route \"/*\" { to-app \"rooms\" } }\n";
    let server = Setup::edgefile(file).with_rooms().word("--no-watch").start();
    assert_eq!(status(&server, "a.test", "/live", ""), 101);
    assert_eq!(status(&server, "b.test", "/live", ""), 200);
    assert_eq!(status(&server, "b.test", "/realtime", ""), 200, "it has said where its place is");
    let mut client = server.connect();
    client.request_at("a.test", "GET", "/live", UPGRADE, b"");
    assert_eq!(client.head().status, 101);
}
