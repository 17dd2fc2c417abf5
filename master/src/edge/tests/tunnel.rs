//! Connections that leave HTTP, and bodies that are passed to workers as they come.

use super::proxy::{house as proxying, peer, upstream};
use super::*;
use crate::shared::mail::Farewell;
use rip::pool::Pool;

const ASK: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches, says `hello` behind its head, and echoes until the end.
fn echo(mut stream: impl Read + Write) {
    let asked = head(&mut stream).unwrap().to_lowercase();
    assert!(asked.contains("\r\nconnection: upgrade\r\n"), "{asked}");
    assert!(asked.contains("\r\nupgrade: websocket\r\n"), "{asked}");
    assert!(asked.contains("\r\nsec-websocket-key: "), "{asked}");
    stream.write_all(&[SWITCH, b"hello"].concat()).unwrap();
    let mut block = vec![0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut block) {
        if stream.write_all(&block[..count]).is_err() {
            return;
        }
    }
}

/// Asks for a tunnel and says `early` in the same breath.
fn open(house: &House) -> TcpStream {
    let mut client = house.client();
    client.write_all(&[ASK, b"early"].concat()).unwrap();
    let head = head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let lower = head.to_lowercase();
    assert!(lower.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(lower.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(lower.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    expect(&mut client, b"helloearly");
    client
}

fn expect(stream: &mut impl Read, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == expected, "{:?}", String::from_utf8_lossy(&got[..got.len().min(80)]));
}

fn tunnels(house: &House) -> u32 {
    house.shared.current.load().pools[0].view(|pool: &Pool| pool.workers().map(|w| w.tunnels).sum())
}

fn both(test: impl Fn(&House)) {
    test(&House::new(|_| {}, |_, stream| drop(thread::spawn(move || echo(stream)))));
    let address = peer(|_, stream| echo(stream));
    test(&proxying(upstream(&[format!("http://{address}")])));
}

#[test]
fn bytes_pass_both_ways_and_the_clients_end_is_the_backends() {
    both(|house| {
        let mut client = open(house);
        let mut reader = client.try_clone().unwrap();
        let sent: Vec<u8> = (0..10_000_000_u32).map(|at| (at / 7 % 251) as u8).collect();
        let expected = sent.clone();
        let reads = thread::spawn(move || expect(&mut reader, &expected));
        client.write_all(&sent).unwrap();
        reads.join().unwrap();
        assert_eq!(house.inflight(), 0, "a tunnel is no exchange in flight");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the backend has ended in turn");
        wait_until("the tunnel never ends", || house.shared.connections.open() == 0);
        assert_eq!(tunnels(house), 0);
        assert_eq!(house.answers(101), 1);
        assert_eq!(house.count(Counter::Refusal(Reason::ClientGone)), 0);
    });
}

#[test]
fn nobody_is_read_faster_than_the_other_side_reads() {
    let house = House::new(|_| {}, |_, stream| drop(thread::spawn(move || echo(stream))));
    let mut client = open(&house);
    client.set_nonblocking(true).unwrap();
    let block = vec![b'x'; 65536];
    let (mut sent, mut stuck) = (0, Instant::now());
    while stuck.elapsed() < Duration::from_millis(300) {
        match client.write(&block) {
            Ok(count) => (sent, stuck) = (sent + count, Instant::now()),
            Err(_) => thread::yield_now(),
        }
        assert!(sent < 64 * 1024 * 1024, "what is sent goes nowhere");
    }
    house.turn();
    client.set_nonblocking(false).unwrap();
    let mut got = 0;
    let mut into = vec![0; 65536];
    while got < sent {
        got += client.read(&mut into).unwrap();
    }
}

#[test]
fn the_backends_end_is_the_clients_and_so_is_a_break() {
    for breaks in [false, true] {
        let address = peer(move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(SWITCH).unwrap();
            stream.write_all(b"last").unwrap();
            if breaks {
                thread::park_timeout(Duration::from_millis(200));
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        let house = proxying(upstream(&[format!("http://{address}")]));
        let mut client = house.client();
        client.write_all(ASK).unwrap();
        assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101 "));
        expect(&mut client, b"last");
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
        drop(client);
        wait_until("the tunnel never ends", || house.shared.connections.open() == 0);
    }
}

#[test]
fn a_client_that_vanishes_ends_the_tunnel() {
    both(|house| {
        let client = open(house);
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        wait_until("the tunnel never ends", || house.shared.connections.open() == 0);
        wait_until("the worker is never free", || tunnels(house) == 0);
    });
}

#[test]
fn an_answer_that_is_no_101_is_an_answer() {
    let house = House::new(
        |_| {},
        |_, mut stream| {
            while head(&mut stream).is_some() {
                let no = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno";
                stream.write_all(no).unwrap();
            }
        },
    );
    let mut client = house.client();
    for _ in 0..3 {
        client.write_all(ASK).unwrap();
        let answer = response(&mut client);
        assert!(answer.starts_with("HTTP/1.1 426 ") && answer.ends_with("no"), "{answer}");
    }
    wait_until("the lease never ends", || house.inflight() == 0);
}

#[test]
fn a_worker_with_a_tunnel_serves_on_and_is_idle_only_without_it() {
    let house = House::new(
        |_| {},
        |_, mut stream| {
            thread::spawn(move || {
                let asked = head(&mut stream).unwrap();
                if asked.to_lowercase().contains("upgrade") {
                    stream.write_all(&[SWITCH, b"hello"].concat()).unwrap();
                    let mut block = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut block) {
                        stream.write_all(&block[..count]).unwrap();
                    }
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
            });
        },
    );
    let first = open(&house);
    let second = open(&house);
    assert_eq!((house.inflight(), tunnels(&house)), (0, 2));
    let mut client = house.client();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with("hi"), "its one lease is free");
    let pool = Arc::clone(&house.shared.current.load().pools[0]);
    pool.retire(WorkerId(1), Clock::read());
    let mut mail = house.mail.lock().unwrap();
    let mut idle = || {
        let mut all = Vec::new();
        mail.drain(&mut all);
        all.iter().any(|message| matches!(message, ControlMessage::WorkerIdle(_)))
    };
    assert!(!idle(), "it still carries two tunnels");
    drop(first);
    wait_until("the first tunnel never ends", || tunnels(&house) == 1);
    assert!(!idle(), "it still carries a tunnel");
    drop(second);
    wait_until("nobody hears that it is idle", idle);
}

#[test]
fn a_stop_cuts_a_tunnel() {
    both(|house| {
        let mut client = open(house);
        let edges = house.edges.lock().unwrap().take().unwrap();
        edges.drain(Farewell::until(Clock::read()));
        client.write_all(b"still").unwrap();
        expect(&mut client, b"still");
        edges.stop();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
        assert_eq!(tunnels(house), 0);
    });
}

/// A worker that tells what it reads as it comes, and answers at the end of six bytes.
fn telling(stream_request: bool) -> (House, mpsc::Receiver<String>) {
    let (said, heard) = mpsc::channel();
    let house = House::new(
        |config| config.apps[0].stream_request = stream_request,
        move |_, mut stream| {
            while let Some(asked) = head(&mut stream) {
                said.send(asked).unwrap();
                for _ in 0..6 {
                    let mut byte = [0];
                    if stream.read_exact(&mut byte).is_err() {
                        return said.send("ended".to_owned()).unwrap();
                    }
                    said.send(char::from(byte[0]).to_string()).unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
            }
        },
    );
    (house, heard)
}

#[test]
fn a_worker_gets_a_body_as_it_comes_where_its_app_wants_it() {
    let (house, heard) = telling(true);
    let mut client = house.client();
    for _ in 0..3 {
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").unwrap();
        assert!(heard.recv_timeout(PATIENCE).unwrap().contains("Content-Length: 6\r\n"));
        for expected in ["a", "b", "c"] {
            assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), expected);
        }
        assert_eq!(house.inflight(), 1, "it holds its worker as long as it takes");
        client.write_all(b"def").unwrap();
        assert!(response(&mut client).ends_with("hi"));
        assert_eq!(heard.try_iter().collect::<String>(), "def");
        wait_until("the lease never ends", || house.inflight() == 0);
    }
    let (house, heard) = telling(false);
    let mut client = house.client();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").unwrap();
    house.turn();
    assert_eq!((house.inflight(), heard.try_recv().is_err()), (0, true), "others wait for it");
}

#[test]
fn a_client_that_stalls_or_leaves_gives_the_worker_back() {
    let (said, heard) = mpsc::channel();
    let house = House::new(
        |config| {
            config.apps[0].stream_request = true;
            config.edge.phases.body = Duration::from_millis(100);
        },
        move |_, mut stream| {
            // One that leaves at once may have left before anything was sent.
            let asked = head(&mut stream).is_some();
            let mut all = Vec::new();
            if asked {
                let _ = stream.read_to_end(&mut all);
            }
            said.send(all).unwrap();
        },
    );
    for leaves in [false, true] {
        let mut client = house.client();
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").unwrap();
        if leaves {
            drop(client);
        } else {
            let answer = response(&mut client);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
        let got = heard.recv_timeout(PATIENCE).unwrap();
        assert!(got == b"abc" || (leaves && b"abc".starts_with(&got)), "{got:?}");
        wait_until("the lease never ends", || house.inflight() == 0);
    }
}

#[test]
fn a_worker_that_is_busy_takes_nothing_of_a_body_and_another_try_gets_all_of_it() {
    let (said, heard) = mpsc::channel();
    let house = House::new(
        |config| config.apps[0].stream_request = true,
        move |number, mut stream| {
            let asked = head(&mut stream).unwrap();
            if number == 0 {
                let busy = b"HTTP/1.1 503 Busy\r\nRip-Worker-Busy: 1\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(busy).unwrap();
            }
            assert!(asked.contains("Transfer-Encoding: chunked"));
            let mut all = Vec::new();
            while !all.ends_with(b"0\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                all.extend(byte);
            }
            said.send(all).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        },
    );
    let mut client = house.client();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    wait_until("nobody was busy", || {
        house.shared.current.load().pools[0].view(|pool| pool.counters().bounced) == 1
    });
    client.write_all(b"3\r\nabc\r\n0\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with("hi"));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"3\r\nabc\r\n0\r\n\r\n");
}
