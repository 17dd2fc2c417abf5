//! Requests for servers that are not ours, which here are threads.

use super::*;
use rip::contract::config::UpstreamDescriptor;
use rip::contract::route::{RouteAction, RouteRule};

/// A server on TCP: `serve` is called with each connection and its number, each on a thread of its
/// own.
pub(super) fn peer(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

pub(super) fn upstream(targets: &[String]) -> UpstreamDescriptor {
    UpstreamDescriptor {
        id: "up".to_owned(),
        targets: targets.to_vec(),
        host: None,
        ca: None,
        health_check: None,
        attempts: 2,
        connect: Duration::from_secs(2),
        read: Duration::from_secs(10),
    }
}

/// A house that hands everything to `upstream`.
pub(super) fn house(upstream: UpstreamDescriptor) -> House {
    House::new(
        |config| {
            let action = RouteAction::Proxy { upstream: "up".to_owned(), host: None };
            config.routes = vec![RouteRule::new("*", "/*", action)];
            config.upstreams = vec![upstream];
        },
        |_, _| {},
    )
}

fn at(address: SocketAddr) -> UpstreamDescriptor {
    upstream(&[format!("http://{address}")])
}

/// Nobody listens there.
fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}")
}

fn ask(house: &House, request: &str) -> String {
    let mut client = house.client();
    client.write_all(request.as_bytes()).unwrap();
    response(&mut client)
}

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_request_is_passed_on_with_what_is_said_about_it() {
    let address = peer(|_, mut stream| {
        while let Some(head) = head(&mut stream) {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut descriptor = upstream(&[format!("http://{address}/base/")]);
    let house_ = house(descriptor.clone());
    let asked = "GET /a?b HTTP/1.1\r\nHost: shop.test\r\nConnection: X-Own, keep-alive\r\n\
                 X-Own: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTE: trailers\r\nVia: 1.1 other\r\n\
                 Cookie: c\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";
    let answer = ask(&house_, asked);
    let text = answer.to_lowercase();
    for line in [
        "get /base/a?b http/1.1\r\n",
        "\r\nhost: shop.test\r\n",
        "\r\nvia: 1.1 other\r\n",
        "\r\nvia: 1.1 rip-",
        "\r\ncookie: c\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
        "\r\nx-forwarded-host: shop.test\r\n",
        "\r\nx-forwarded-proto: http\r\n",
        "\r\nx-request-id: req-",
    ] {
        assert!(text.contains(line), "{line}: {answer}");
    }
    for name in ["x-own", "upgrade", "http2-settings", "\r\nte:", "9.9.9.9"] {
        assert!(!text.contains(name), "{name}: {answer}");
    }
    descriptor.host = Some("inside.test".to_owned());
    let text = ask(&house(descriptor), GET).to_lowercase();
    assert!(text.contains("\r\nhost: inside.test\r\n") && text.contains("host: shop.test\r\n"));
}

#[test]
fn connections_are_kept_and_redirects_are_the_clients() {
    let address = peer(|number, mut stream| {
        while let Some(_asked) = head(&mut stream) {
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: http://else/\r\nX-N: {number}\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let house = house(at(address));
    for _ in 0..20 {
        let answer = ask(&house, GET);
        assert!(answer.starts_with("HTTP/1.1 302 Found\r\n"), "{answer}");
        assert!(answer.contains("Location: http://else/\r\n") && answer.contains("X-N: 0\r\n"));
    }
}

#[test]
fn a_request_that_comes_back_is_refused() {
    let proxied = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
    let address = peer({
        let proxied = Arc::clone(&proxied);
        move |_, mut stream| {
            let asked = head(&mut stream).unwrap();
            let mut back = TcpStream::connect(proxied.lock().unwrap().unwrap()).unwrap();
            back.write_all(asked.as_bytes()).unwrap();
            stream.write_all(response(&mut back).as_bytes()).unwrap();
        }
    });
    let house = house(at(address));
    *proxied.lock().unwrap() = Some(house.address);
    let answer = ask(&house, GET);
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
    assert_eq!(house.count(Counter::Refusal(Reason::ProxyLoop)), 1);
}

#[test]
fn a_body_goes_through_as_it_comes_in_its_own_framing() {
    let (said, heard) = mpsc::channel();
    let address = peer(move |_, mut stream| {
        while let Some(asked) = head(&mut stream) {
            said.send(asked).unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.send("first".to_owned()).unwrap();
            let mut rest = Vec::new();
            while !rest.ends_with(b"0\r\n\r\n") && !rest.ends_with(b"end") {
                stream.read_exact(&mut byte).unwrap();
                rest.extend(byte);
            }
            said.send(String::from_utf8(rest).unwrap()).unwrap();
            stream.write_all(OK).unwrap();
        }
    });
    let house = house(at(address));
    let mut client = house.client();
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    client.write_all(chunked.as_bytes()).unwrap();
    let asked = heard.recv_timeout(PATIENCE).unwrap();
    assert!(asked.contains("Transfer-Encoding: chunked\r\n") && !asked.contains("Content-Length"));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "first", "nothing waits for its end");
    client.write_all(b"2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n").unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert!(response(&mut client).ends_with("hi"));
    // The same connection goes on, this time with a length.
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nab").unwrap();
    let asked = heard.recv_timeout(PATIENCE).unwrap();
    assert!(asked.contains("Content-Length: 7\r\n") && !asked.contains("chunked"));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "first");
    client.write_all(b"cdend").unwrap();
    assert!(response(&mut client).ends_with("hi"));
}

#[test]
fn a_client_is_read_no_faster_than_its_upstream_reads() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    const BYTES: usize = 64 * 1024 * 1024;
    let address = peer(move |_, mut stream| {
        head(&mut stream).unwrap();
        gone.lock().unwrap().recv().unwrap();
        let mut left = BYTES;
        let mut block = vec![0; 65536];
        while left > 0 {
            left -= stream.read(&mut block).unwrap();
        }
        stream.write_all(OK).unwrap();
    });
    let house = house(at(address));
    let mut client = house.client();
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    client.set_nonblocking(true).unwrap();
    let block = vec![b'x'; 65536];
    let (mut sent, mut stuck) = (0, Instant::now());
    while stuck.elapsed() < Duration::from_millis(500) {
        match client.write(&block[..block.len().min(BYTES - sent)]) {
            Ok(count) => (sent, stuck) = (sent + count, Instant::now()),
            Err(_) => thread::yield_now(),
        }
    }
    assert!(sent < BYTES / 2, "{sent} bytes went nowhere");
    house.turn();
    client.set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    while sent < BYTES {
        sent += client.write(&block[..block.len().min(BYTES - sent)]).unwrap();
    }
    assert!(response(&mut client).ends_with("hi"));
}

#[test]
fn a_client_that_waits_for_continue_gets_it_when_somebody_takes_its_body() {
    let address = peer(|_, mut stream| {
        let asked = head(&mut stream).unwrap();
        assert!(!asked.contains("Expect"));
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(OK).unwrap();
    });
    let asked = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let house_ = house(at(address));
    let mut client = house_.client();
    client.write_all(asked.as_bytes()).unwrap();
    assert_eq!(head(&mut client).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").unwrap();
    assert!(response(&mut client).ends_with("hi"));
    // Where nobody does, it is answered at once.
    let answer = ask(&house(upstream(&[nobody()])), asked);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[test]
fn a_dead_target_costs_a_request_nothing_while_another_lives() {
    let address = peer(|_, mut stream| {
        while head(&mut stream).is_some() {
            stream.read_exact(&mut [0; 4]).unwrap();
            stream.write_all(OK).unwrap();
        }
    });
    let house = house(upstream(&[nobody(), format!("http://{address}")]));
    for _ in 0..30 {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
        let answer = ask(&house, post);
        assert!(answer.ends_with("hi"), "{answer}");
    }
    let view = house.shared.upstreams(Clock::read());
    assert!(!view[0].targets[0].serving, "it was ejected: {view:?}");
    assert!(view[0].targets[1].serving && view[0].targets[1].inflight == 0, "{view:?}");
}

#[test]
fn every_way_to_fail_has_its_status() {
    let refused = ask(&house(upstream(&[nobody()])), GET);
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    let silent = peer(|_, mut stream| while head(&mut stream).is_some() {});
    let late = UpstreamDescriptor { read: Duration::from_millis(100), attempts: 1, ..at(silent) };
    let answer = ask(&house(late), GET);
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    let nonsense = peer(|_, mut stream| {
        head(&mut stream).unwrap();
        stream.write_all(b"no HTTP\r\n\r\n").unwrap();
    });
    let answer = ask(&house(at(nonsense)), GET);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let mute = peer(|_, mut stream| {
        head(&mut stream).unwrap();
    });
    let answer = ask(&house(at(mute)), GET);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let switching = peer(|_, mut stream| {
        head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    });
    let answer = ask(&house(at(switching)), GET);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[test]
fn what_may_have_run_is_not_sent_again_and_what_is_harmless_is() {
    let (said, heard) = mpsc::channel();
    let serve = move |_, mut stream: TcpStream| {
        let asked = head(&mut stream).unwrap();
        said.send(asked.split(' ').next().unwrap().to_owned()).unwrap();
    };
    let house = house(at(peer(serve)));
    let answer = ask(&house, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["POST"]);
    let answer = ask(&house, GET);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["GET", "GET"]);
}

#[test]
fn a_kept_connection_that_was_closed_is_no_failure() {
    let address = peer(|_, mut stream| {
        head(&mut stream).unwrap();
        stream.write_all(OK).unwrap();
        // The second request on a connection is never answered.
        head(&mut stream);
    });
    let house = house(UpstreamDescriptor { attempts: 1, ..at(address) });
    for _ in 0..10 {
        assert!(ask(&house, GET).ends_with("hi"));
    }
    let view = house.shared.upstreams(Clock::read());
    assert_eq!(view[0].targets[0].failures, 0, "{view:?}");
}

#[test]
fn an_answer_before_the_body_was_read_reaches_its_client() {
    let address = peer(|_, mut stream| {
        head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig").unwrap();
    });
    let house = house(at(address));
    let mut client = house.client();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n").unwrap();
    let block = vec![b'x'; 65536];
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while client.write_all(&block).is_ok() {}
    let answer = response(&mut client);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("big"), "{answer}");
}

#[test]
fn an_answer_that_breaks_off_breaks_off() {
    for (answer, is_reset) in [
        (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"[..], false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", true),
    ] {
        let address = peer(move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(answer).unwrap();
            if is_reset {
                // The client has the beginning of it before the end comes.
                thread::park_timeout(Duration::from_millis(300));
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        let house = house(at(address));
        let mut client = house.client();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut all = Vec::new();
        let _ = client.read_to_end(&mut all);
        let text = String::from_utf8_lossy(&all);
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        assert!(!text.ends_with("0\r\n\r\n"), "it seems whole: {text}");
    }
}

#[test]
fn interim_answers_pass_and_a_slow_client_holds_its_upstream_back() {
    const BYTES: usize = 64 * 1024 * 1024;
    let (said, heard) = mpsc::channel();
    let address = peer(move |_, mut stream| {
        head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").unwrap();
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let block = vec![b'x'; 65536];
        let (mut sent, mut stuck) = (0, Instant::now());
        while sent < BYTES {
            match stream.write(&block[..block.len().min(BYTES - sent)]) {
                Ok(count) => (sent, stuck) = (sent + count, Instant::now()),
                Err(_) if stuck.elapsed() > Duration::from_millis(500) => {
                    said.send(sent).unwrap();
                    stream.set_nonblocking(false).unwrap();
                }
                Err(_) => thread::yield_now(),
            }
        }
    });
    let house = house(at(address));
    let mut client = house.client();
    client.write_all(GET.as_bytes()).unwrap();
    let sent = heard.recv_timeout(PATIENCE).unwrap();
    assert!(sent < BYTES / 2, "{sent} bytes went nowhere");
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 102 "));
    let hints = head(&mut client).unwrap();
    assert!(hints.starts_with("HTTP/1.1 103 ") && hints.contains("Link: </a>"), "{hints}");
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 200 "));
    let mut got = 0;
    let mut block = vec![0; 65536];
    while got < BYTES {
        got += client.read(&mut block).unwrap();
    }
}

#[test]
fn checks_take_a_target_out_and_bring_it_back() {
    let well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let address = peer({
        let well = Arc::clone(&well);
        move |_, mut stream| {
            while let Some(asked) = head(&mut stream) {
                let is_check = asked.starts_with("GET /health HTTP/1.1\r\n");
                let answer: &[u8] = match is_check && !well.load(Ordering::Relaxed) {
                    true => b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
                    false => OK,
                };
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
        }
    });
    let check = HealthCheck {
        path: "/health".to_owned(),
        interval_ms: 20,
        timeout_ms: 1000,
        unhealthy_threshold: 2,
        explicit: true,
    };
    let house = house(UpstreamDescriptor { health_check: Some(check), ..at(address) });
    let serving = || house.shared.upstreams(Clock::read())[0].targets[0].serving;
    wait_until("it is never taken out", || !serving());
    let answer = ask(&house, GET);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
    well.store(true, Ordering::Relaxed);
    wait_until("it never comes back", serving);
    assert!(ask(&house, GET).ends_with("hi"));
}

#[test]
fn a_unix_socket_and_a_name_are_reached() {
    let dir = std::env::temp_dir().join(format!("rip-proxy-unix-{}", std::process::id()));
    let listener = UnixListener::bind(&dir).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while head(&mut stream).is_some() {
                stream.write_all(OK).unwrap();
            }
        }
    });
    let house_ = house(upstream(&[format!("unix:{}", dir.display())]));
    for _ in 0..3 {
        assert!(ask(&house_, GET).ends_with("hi"));
    }
    std::fs::remove_file(&dir).unwrap();
    let port = peer(|_, mut stream| {
        while head(&mut stream).is_some() {
            stream.write_all(OK).unwrap();
        }
    })
    .port();
    let house_ = house(upstream(&[format!("http://localhost:{port}")]));
    for _ in 0..3 {
        assert!(ask(&house_, GET).ends_with("hi"));
    }
    let nowhere = house(upstream(&["http://name.invalid:1".to_owned()]));
    let answer = ask(&nowhere, GET);
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
}

#[test]
fn a_target_that_dies_and_comes_back_under_load_costs_nothing_that_may_be_sent_again() {
    let answering = |listener: TcpListener, stop: Arc<std::sync::atomic::AtomicBool>| {
        thread::spawn(move || {
            listener.set_nonblocking(true).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::yield_now();
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match stream.peek(&mut [0]) {
                            Ok(1..) => {}
                            Ok(0) => return,
                            Err(_) => continue,
                        }
                        if head(&mut stream).is_none() || stream.write_all(OK).is_err() {
                            return;
                        }
                    }
                });
            }
        })
    };
    let stays = peer(|_, mut stream| {
        while head(&mut stream).is_some() {
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let mortal = first.local_addr().unwrap();
    let house = house(upstream(&[format!("http://{mortal}"), format!("http://{stays}")]));
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, over) = (house.client(), Arc::clone(&over));
            thread::spawn(move || {
                let mut served = 0;
                while !over.load(Ordering::Relaxed) {
                    client.write_all(GET.as_bytes()).unwrap();
                    let answer = response(&mut client);
                    assert!(answer.ends_with("hi"), "{answer}");
                    served += 1;
                }
                served
            })
        })
        .collect();
    let requests =
        |target: usize| house.shared.upstreams(Clock::read())[0].targets[target].requests;
    let mut listener = Some(first);
    for life in 0..3 {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let listener = listener.take().unwrap_or_else(|| TcpListener::bind(mortal).unwrap());
        let before = requests(0);
        let accepts = answering(listener, Arc::clone(&stop));
        if life == 0 {
            wait_until("it is never asked", || requests(0) > before + 20);
        }
        stop.store(true, Ordering::Relaxed);
        accepts.join().unwrap();
        let others = requests(1);
        wait_until("the other is never asked", || requests(1) > others + 20);
    }
    over.store(true, Ordering::Relaxed);
    let served: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(served > 40, "{served}");
}
