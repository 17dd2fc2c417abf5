//! What goes up and what comes down.

use super::{Can, assert_text};
use crate::harness::http::chunked;
use crate::harness::server::Server;
use crate::harness::tools;
use std::fs;
use std::process::Command;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The size of what is downloaded.
const NUMBERS: usize = MIB;

pub fn check(server: &Server, can: &Can) {
    if can.forms {
        form(server);
        for size in [0, 1, 100 * KIB, 5 * MIB] {
            upload(server, size);
        }
    }
    echo(server);
    download(server);
}

fn form(server: &Server) {
    let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
    let body = b"name=Zo%C3%AB+M%C3%BCller&colour=blue+%26+50%25+green";
    let response = server.request("POST", "/form", fields, body);
    assert_eq!(response.status, 303, "{response:?}");
    let location = response.field("location");
    let target = location.strip_prefix("http://a.test").unwrap_or(location);
    assert!(target.starts_with("/form?"), "{response:?}");
    assert_text(&server.get(target), "Zoë Müller likes blue & 50% green");
}

/// By a client that is not ours.
fn upload(server: &Server, size: usize) {
    let path = server.path("upload");
    fs::write(&path, numbers(size)).expect("a file to upload");
    let sum = tools::finish(Command::new("sha256sum").arg(&path));
    let sum = tools::both(&sum);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "--noproxy", "*"]);
    curl.args(["-F", "note=für Zoë"]);
    curl.args(["-F", &format!("file=@{};filename=my numbers.bin", path.display())]);
    curl.arg(format!("http://127.0.0.1:{}/upload", server.port()));
    let output = tools::both(&tools::finish(&mut curl));
    let answer: serde_json::Value = serde_json::from_str(&output)
        .unwrap_or_else(|error| panic!("{size} bytes: {error} in {output:?}"));
    let expected = serde_json::json!({
        "name": "my numbers.bin",
        "size": size,
        "sha256": sum.split(' ').next(),
        "note": "für Zoë",
    });
    assert_eq!(answer, expected);
}

fn echo(server: &Server) {
    let mut client = server.connect();
    let kind = "Content-Type: application/x-numbers\r\n";
    for size in [0, 1, 70_000, 300_000] {
        let body = numbers(size);
        client.request("POST", "/echo", kind, &body);
        let response = client.response();
        assert_eq!(response.status, 200, "{size}: {:?}", response.fields);
        assert!(response.body == body, "{} bytes of {size} came back", response.body.len());
        assert_eq!(response.field("content-type"), "application/x-numbers");
        if size > 0 {
            client.send(format!(
                "POST /echo HTTP/1.1\r\nHost: a.test\r\n{kind}Transfer-Encoding: chunked\r\n\r\n"
            ));
            client.send(chunked(&body, 9_000));
            let response = client.response();
            assert_eq!(response.status, 200, "{size} in chunks: {:?}", response.fields);
            assert!(response.body == body, "{} bytes of {size} came back", response.body.len());
        }
    }
}

fn download(server: &Server) {
    let mut client = server.connect();
    let response = client.ask("GET", "/download");
    assert_eq!(response.status, 200, "{:?}", response.fields);
    let disposition = response.field("content-disposition").replace('"', "");
    assert_eq!(disposition, "attachment; filename=numbers.bin");
    assert_eq!(response.field("content-length"), NUMBERS.to_string());
    assert!(response.body == numbers(NUMBERS), "{} other bytes", response.body.len());
    if let [tag] = response.values("etag")[..] {
        client.request("GET", "/download", &format!("If-None-Match: {tag}\r\n"), b"");
        let again = client.response();
        // Some give a tag and never look at it again.
        let expected = if again.status == 304 { 0 } else { NUMBERS };
        assert!(matches!(again.status, 200 | 304), "{:?}", again.fields);
        assert_eq!(again.body.len(), expected, "{:?}", again.fields);
    }
    let head = client.ask("HEAD", "/download");
    assert!(matches!(head.status, 200 | 404 | 405), "{head:?}");
    assert_eq!(client.ask("GET", "/who").status, 200, "and goes on");
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7 % 256) as u8).collect()
}
