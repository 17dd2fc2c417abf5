//! Plain HTTP where HTTPS is served as well.

use super::secure::certify;
use super::{House, head, response};
use rip::contract::cert::CertSource;
use rip::contract::config::{Config, Hsts};
use rip::contract::listen::ListenAddress;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// A worker that says which method it was asked with, and when to come back.
fn serve(_: usize, mut stream: UnixStream) {
    while let Some(asked) = head(&mut stream) {
        let method = asked.split(' ').next().unwrap();
        let fields = "Strict-Transport-Security: max-age=1";
        let length = method.len();
        let answer =
            format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{method}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// HTTPS is served at this port; nobody in here looks.
fn secure(port: u16) -> impl FnOnce(&mut Config) {
    move |config| {
        config.edge.https = vec![ListenAddress { ip: None, port }];
        let preload = Hsts { max_age: Hsts::MAX_AGE, include_subdomains: true, preload: false };
        config.edge.tls.hsts = Some(preload);
    }
}

fn ask(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).unwrap();
    response(client)
}

#[test]
fn requests_are_sent_on_as_they_are() {
    let house = House::new(secure(8443), serve);
    let mut client = house.client();
    for (request, status, to) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: A.test:8080\r\n\r\n", 301, "https://a.test:8443/a?b=c"),
        ("HEAD //a HTTP/1.1\r\nHost: a.test\r\n\r\n", 301, "https://a.test:8443/a"),
        ("GET /server HTTP/1.1\r\nHost: a.test\r\n\r\n", 301, "https://a.test:8443/server"),
        ("DELETE /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 308, "https://[::1]:8443/a"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 301, "https://127.0.0.1:8443/"),
        (
            "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
            308,
            "https://a.test:8443/a",
        ),
    ] {
        let mut own;
        let client = match request.starts_with("POST") {
            // What it has for a worker nobody reads.
            true => {
                own = house.client();
                &mut own
            }
            false => &mut client,
        };
        client.write_all(request.as_bytes()).unwrap();
        let answer = head(client).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        assert!(answer.contains(&format!("\r\nLocation: {to}\r\n")), "{request}{answer}");
        assert!(!answer.contains("Strict-Transport-Security"), "{answer}");
    }
    let lines = house.lines();
    assert!(lines.contains("\"status\":308") && lines.contains("\"status\":301"), "{lines}");
}

#[test]
fn who_names_no_host_is_sent_nowhere() {
    let house = House::new(secure(443), serve);
    let mut client = house.client();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let named = ask(&mut house.client(), "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert!(named.contains("\r\nLocation: https://a.test/\r\n"), "{named}");
}

#[test]
fn what_is_asked_by_address_about_the_server_is_answered() {
    let house = House::new(secure(443), serve);
    let mut client = house.client();
    for host in ["127.0.0.1", "localhost:80", "[::1]"] {
        let request = format!("GET /server HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(ask(&mut client, &request).starts_with("HTTP/1.1 200 "), "{host}");
    }
}

#[test]
fn who_came_by_https_to_a_proxy_is_there_already() {
    let house = House::new(
        |config| {
            secure(443)(config);
            config.edge.trusted_proxies = vec!["127.0.0.1".to_owned()];
        },
        serve,
    );
    let mut client = house.client();
    let request = |proto: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Host: a.test:9000\r\nX-Forwarded-Proto: \
             {proto}\r\n\r\n"
        )
    };
    assert!(ask(&mut client, &request("https")).ends_with("GET"));
    let answer = ask(&mut client, &request("http"));
    assert!(answer.contains("\r\nLocation: https://a.test/\r\n"), "{answer}");
}

#[test]
fn plain_hosts_and_servers_stay_plain() {
    let house = House::new(
        |config| {
            secure(443)(config);
            config.plain_hosts = vec!["a.test".to_owned()];
        },
        serve,
    );
    let mut client = house.client();
    assert!(ask(&mut client, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").ends_with("GET"));
    let answer = ask(&mut client, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 301 "), "{answer}");
    let house = House::new(
        |config| {
            secure(443)(config);
            config.edge.tls.redirect_http = false;
        },
        serve,
    );
    let answer = ask(&mut house.client(), "POST / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(answer.ends_with("POST"), "{answer}");
    // The app's own word passes.
    assert!(answer.contains("\r\nStrict-Transport-Security: max-age=1\r\n"), "{answer}");
}

#[test]
fn nobody_is_sent_to_a_certificate_that_has_not_come() {
    let house = House::new(
        |config| {
            secure(443)(config);
            config.acme_hosts = vec!["localhost".to_owned()];
        },
        serve,
    );
    let mut client = house.client();
    let mut is_sent = |host: &str| {
        let answer = ask(&mut client, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        answer.starts_with("HTTP/1.1 301 ")
    };
    assert!(!is_sent("localhost"), "there is none");
    assert!(is_sent("a.test"), "nobody asks for one");
    certify(&house, CertSource::Auto);
    assert!(!is_sent("LOCALHOST:80"), "it is a temporary one");
    certify(&house, CertSource::Acme);
    assert!(is_sent("localhost"));
}
