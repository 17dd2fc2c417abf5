//! Which port is whose, and what is said when it cannot be had.

use crate::harness::curl::curl;
use crate::harness::port::Port;
use crate::harness::tls::{Secure, identity};
use crate::harness::{Client, Setup, tools};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// A server with a pair of files that does not name the port of HTTPS.
fn with_pair() -> Setup {
    let setup = Setup::builtin("hello").workers(1);
    let stem = setup.path("a");
    identity(&["a.test"], 100).write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    setup.flag("--cert", file("crt")).flag("--key", file("key"))
}

#[test]
fn the_word_http_is_plain_whatever_there_is() {
    // The harness says http:PORT.
    let server = with_pair().start();
    assert_eq!(server.get_at("a.test", "/").status, 200);
    let (_, text) = server.cli(&["ctl", "config"]);
    assert!(text.contains(&format!("listening on http 127.0.0.1:{}\n", server.port())), "{text}");
}

#[test]
fn a_bare_number_is_of_https_where_it_is_served() {
    let server = with_pair().bare_port().start();
    assert_eq!(server.get_at("a.test", "/").status, 400, "plain HTTP is not spoken there");
    let url = format!("https://a.test:{}/", server.port());
    assert_eq!(curl(&server.path("a.crt"), &[&url]).status, 200);
    let (_, text) = server.cli(&["ctl", "config"]);
    assert!(text.contains(&format!("listening on https 127.0.0.1:{}\n", server.port())), "{text}");

    let server = Setup::builtin("hello").workers(1).bare_port().start();
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn the_environments_port_is_of_plain_http() {
    let https = Port::free();
    let server = with_pair().flag("--https-port", https.number).environment_port().start();
    let sent = server.get_at("a.test", "/");
    let expected = format!("https://a.test:{}/", https.number);
    assert_eq!((sent.status, sent.field("location")), (301, expected.as_str()));
    assert_eq!(curl(&server.path("a.crt"), &[&expected]).status, 200);
    let server = Setup::builtin("hello").workers(1).environment_port().start();
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_taken_port_of_https_names_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, output) = with_pair().flag("--https-port", port).fails();
    assert_eq!(code, 69, "{output}");
    assert!(output.contains(&format!("127.0.0.1:{port} is taken by ")), "{output}");
    assert!(output.contains(&format!("pid {}", std::process::id())), "{output}");
}

#[test]
fn another_port_is_taken_where_that_is_wished() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = with_pair().flag("--https-port", port).word("--port-fallback").start();
    server.wait_for_log("server_ready");
    let log = server.stderr();
    let told = log.lines().find(|line| line.contains("takes its place")).expect("a warning");
    assert!(told.contains(&format!("port {port} is held by ")), "{told}");
    let other = told.split("port ").last().and_then(|rest| rest.split(' ').next());
    let other: u16 = other.and_then(|number| number.parse().ok()).expect("another port");
    assert!(other >= 5000, "{told}");
    assert!(log.contains(&format!("urls=https://127.0.0.1:{other}/")), "{log}");
    let mut client = Secure::connect(other, Some("a.test")).unwrap();
    assert_eq!(client.get("a.test").unwrap(), 200);
    let sent = server.get_at("a.test", "/");
    assert_eq!(sent.field("location"), format!("https://a.test:{other}/"));
    drop(taken);
    assert!(Client::try_connect(port).is_err(), "nobody listens there");
}

/// The start of `arguments`, in a network of its own, by root without the right to low ports: its
/// exit code and what it says.
fn without_right(arguments: &[&str], directory: &Path) -> (i32, String) {
    let master = tools::rip_master();
    let mut command = Command::new("unshare");
    command.args(["--net", "setpriv", "--bounding-set", "-net_bind_service", "--"]);
    command.arg(master.get_program()).arg("start").args(arguments).current_dir(directory);
    for (name, value) in master.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("XDG_RUNTIME_DIR", directory).env("STATE_DIRECTORY", directory);
    let output = tools::finish(&mut command);
    (output.status.code().expect("an exit code"), tools::both(&output))
}

#[test]
fn the_right_that_is_missing_is_named_with_the_ways_to_get_it() {
    let directory = std::env::temp_dir().join(format!("rip-e2e-right-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    identity(&["a.test"], 100).write(&directory.join("a"));
    let pair = ["--cert", "a.crt", "--key", "a.key"];
    for (words, port, instead) in [
        (&["builtin:hello"][..], 80, "http:8080"),
        (&["builtin:hello", "http:81"], 81, "http:8080"),
        (&["builtin:hello", "https"], 443, "https:8443"),
        (&["builtin:hello", "http:8080", "https"], 443, "https:8443"),
        (&["builtin:hello", "443"], 443, "https:8443"),
        (&["builtin:hello", "https:444"], 444, "https:8443"),
    ] {
        let is_secure = instead.starts_with("https");
        let words = if is_secure { [words, &pair].concat() } else { words.to_vec() };
        let (code, output) = without_right(&words, &directory);
        assert_eq!(code, 77, "{words:?}: {output}");
        let expected = format!("port {port} needs CAP_NET_BIND_SERVICE");
        assert!(output.contains(&expected), "{words:?}: {output}");
        assert!(output.contains("setcap cap_net_bind_service=+ep"), "{output}");
        assert!(output.contains(instead), "{words:?}: {output}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
