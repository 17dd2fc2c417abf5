//! Clients behind TLS that are slow, many, or leave; and the end of the server.

use crate::harness::trusting::Trusting;
use crate::harness::{Setup, tools, within};
use crate::tls::{file, secure};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn half_open_handshakes_are_closed_in_time_while_others_are_answered() {
    let (server, port) = secure(Setup::builtin("hello").workers(1).descriptors(8192));
    let hello = Trusting::hello();
    let began = Instant::now();
    let half_open: Vec<TcpStream> = (0..2000)
        .map(|at| {
            let mut stream = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
            // Nothing, a part of a hello, all of it but never the end of the handshake.
            let upto = [0, 60, hello.len()][at % 3];
            stream.write_all(&hello[..upto]).unwrap();
            stream
        })
        .collect();
    // Some are being answered, some wait; nobody else waits for them.
    for _ in 0..20 {
        let asked = Instant::now();
        assert!(Trusting::connect(port.number).get("/server").ends_with("ok"));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
    for stream in half_open {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let closed = within(Duration::from_secs(20), || match (&stream).read(&mut [0; 4096]) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                Some(())
            }
        });
        assert!(closed.is_some(), "it is still open after {:?}", began.elapsed());
    }
    let spent = began.elapsed();
    assert!(spent >= Duration::from_secs(8), "they had their time: {spent:?}");
    assert!(!server.log().contains("panicked"));
}

#[test]
fn a_slow_client_gets_through_byte_by_byte() {
    let (_server, port) = secure(Setup::builtin("hello").workers(1));
    let mut client = Trusting::connect(port.number);
    let mut hello = Vec::new();
    client.stream.conn.write_tls(&mut hello).unwrap();
    client.stream.sock.set_nodelay(true).unwrap();
    for byte in hello {
        client.stream.sock.write_all(&[byte]).unwrap();
    }
    for byte in b"GET /server HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        client.stream.write_all(&[*byte]).unwrap();
    }
    assert!(client.answer().ends_with("ok"));
}

#[test]
fn a_stop_says_goodbye_to_who_idles_and_finishes_what_runs() {
    let (mut server, port) = secure(Setup::recorder().workers(1));
    let mut idle = Trusting::connect(port.number);
    assert!(idle.get("/server").ends_with("ok"));
    let mut busy = Trusting::connect(port.number);
    busy.send("/slow?sleep=1");
    server.wait_for_seen("/slow?sleep=1");
    let mut silent = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    // The first byte of a hello whose rest never comes.
    silent.write_all(&[0x16]).unwrap();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(busy.answer().starts_with("HTTP/1.1 200 "));
    for client in [&mut idle, &mut busy] {
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).expect("the end is said");
        assert!(rest.is_empty());
    }
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_client_that_ends_its_side_gets_its_answers() {
    let (_server, port) = secure(Setup::builtin("hello").workers(1));
    let mut client = Trusting::connect(port.number);
    client.send("/server");
    client.send("/server");
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    for _ in 0..2 {
        assert!(client.answer().ends_with("ok"));
    }
    client.stream.read_to_end(&mut Vec::new()).expect("the end is said");
    // Without a word of TLS it is an end as well, once everything is answered.
    let mut client = Trusting::connect(port.number);
    assert!(client.get("/server").ends_with("ok"));
    client.stream.sock.shutdown(Shutdown::Write).unwrap();
    client.stream.read_to_end(&mut Vec::new()).expect("the end is said");
}

#[test]
fn garbage_is_answered_by_an_alert_and_stops_nothing() {
    let (server, port) = secure(Setup::builtin("hello").workers(1));
    for bytes in [&[0; 3000][..], b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"\xff\xff\xff\xff\xff"]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said.first(), Some(&0x15), "{bytes:?}: {said:?}");
    }
    assert!(Trusting::connect(port.number).get("/server").ends_with("ok"));
    assert!(!server.log().contains("panicked"));
}

#[test]
fn a_websocket_leads_through() {
    let (server, port) =
        secure(Setup::command(&[&tools::python(), &tools::app("ws_echo.py")]).workers(1));
    let url = format!("wss://localhost:{}/socket?a=b", port.number);
    let mut client = Command::new(tools::python());
    client
        .arg(tools::app("ws_client.py"))
        .args([&url, "big", "100000"])
        .env("SSL_CERT_FILE", file("ca.pem"));
    let output = tools::finish_within(&mut client, Duration::from_secs(120));
    assert!(tools::both(&output).ends_with("fine\n"), "{}{}", tools::both(&output), server.log());
}

#[test]
fn an_idle_client_costs_little_memory() {
    let (server, port) = secure(Setup::builtin("hello").workers(1).descriptors(8192));
    let resident = || {
        let path = format!("/proc/{}/smaps_rollup", server.pid());
        let text = std::fs::read_to_string(path).expect("the master's memory");
        let line = text.lines().find(|line| line.starts_with("Rss:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|text| text.parse::<usize>().ok()).expect("kB")
    };
    let clients = |count| {
        let connect = |_| {
            let mut client = Trusting::connect(port.number);
            assert!(client.get("/server").ends_with("ok"));
            client
        };
        (0..count).map(connect).collect::<Vec<_>>()
    };
    let _warm = clients(100);
    let before = resident();
    let _idle = clients(1000);
    let each = (resident() - before) * 1024 / 1000;
    assert!(each <= 7500, "{each} bytes");
}
