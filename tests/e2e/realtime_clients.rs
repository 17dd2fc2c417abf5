//! Clients that people use, and the chat that newcomers are shown, in a browser.

use crate::harness::port::Port;
use crate::harness::tls::identity;
use crate::harness::{Server, Setup, tools};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Runs the client written in Python, which must be content.
#[track_caller]
fn is_fine(url: &str, what: &[&str]) {
    let mut client = Command::new(tools::python());
    client.arg(tools::app("realtime_client.py")).arg(url).args(what);
    let output = tools::finish_within(&mut client, Duration::from_secs(60));
    assert_eq!(tools::both(&output), "fine\n", "{what:?}");
}

fn echo() -> Server {
    let server = Setup::builtin("realtime").workers(2).start();
    server.wait_for_workers(2);
    server
}

#[test]
fn python_is_content() {
    let server = echo();
    let url = format!("ws://127.0.0.1:{}/realtime", server.port());
    is_fine(&url, &["echo"]);
    is_fine(&url, &["pings"]);
    is_fine(&format!("{url}?join=/room"), &["room", "20"]);
}

#[test]
fn node_is_content() {
    let server = echo();
    let mut client = Command::new("node");
    client.env("NODE_PATH", tools::cache().join("node/node_modules"));
    client.arg(tools::app("realtime_client.cjs"));
    client.arg(format!("ws://127.0.0.1:{}/realtime?protocol=chosen", server.port()));
    let output = tools::finish_within(&mut client, Duration::from_secs(60));
    assert_eq!(tools::both(&output), "fine\n");
}

#[test]
fn python_is_content_behind_tls() {
    let https = Port::free();
    let setup = Setup::builtin("realtime").workers(2).flag("--https-port", https.number);
    let stem = setup.path("pair");
    identity(&["localhost"], 10).write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    let server = setup.flag("--cert", file("crt")).flag("--key", file("key")).start();
    server.wait_for_workers(2);
    let url = format!("wss://localhost:{}/realtime", https.number);
    is_fine(&url, &["secure", &file("crt")]);
}

#[test]
fn two_tabs_of_the_chat_talk_and_a_lost_connection_hears_what_was_said_meanwhile() {
    let chat = tools::repository().join("examples/chat");
    let text = |name: &str| fs::read_to_string(chat.join(name)).expect("a file of the example");
    let port = |text: String| text.replace("http \":8080\"", "http \"127.0.0.1:PORT\"");
    let edgefile = port(text("Edgefile"));
    assert!(edgefile.contains("PORT"), "it says where to listen: {edgefile}");
    let server = Setup::edgefile(&edgefile)
        .with_file("app.py", &text("app.py"))
        .with_file("page.html", &text("page.html"))
        .start();
    server.wait_for_workers(2);
    let pictures = tools::repository().join("target/artefacts");
    fs::create_dir_all(&pictures).expect("a directory for what CI keeps");
    let mut node = Command::new("node");
    node.arg(tools::repository().join("tests/browser/chat.cjs"))
        .arg(format!("http://127.0.0.1:{}/", server.port()))
        .arg(pictures.join("chat.png"))
        .env("NODE_PATH", tools::cache().join("node/node_modules"))
        .env("HOME", server.path("app"));
    let output = tools::finish_within(&mut node, Duration::from_secs(120));
    assert!(output.status.success(), "{}\n{}", tools::both(&output), server.log());
    let picture = fs::read(pictures.join("chat.png")).expect("a picture");
    assert!(picture.starts_with(b"\x89PNG"), "a picture");
}
