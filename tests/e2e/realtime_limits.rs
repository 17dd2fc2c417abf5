//! What a WebSocket client may take: room, time, attention. Whoever takes more is told so by a code.

use crate::harness::port::Port;
use crate::harness::tls::identity;
use crate::harness::websocket::{
    BINARY, CLOSE, PING, PONG, Socket, UPGRADE, masked, quoted, rooms,
};
use crate::harness::{Client, Server, Setup, eventually, processes, tools, within};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn house(realtime: &str) -> Server {
    let server = Setup::edgefile(&rooms(realtime, "")).with_rooms().word("--no-watch").start();
    server.wait_for_workers(2);
    server
}

fn joins(group: &str) -> String {
    format!("/realtime?open={}", quoted(&json!({"+": [group]}).to_string()))
}

/// A client whose kernel takes little, so that it is behind when it does not read.
fn narrow(server: &Server, target: &str) -> Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], server.port()));
    socket.connect(&to.into()).unwrap();
    let client = Client::over(socket.into()).unwrap();
    match Socket::try_open(client, "a.test", target, "") {
        Ok(socket) => socket,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// Publishes so many large texts to a group, each with its number.
fn flood(server: &Server, group: &str, count: u32, bytes: usize) {
    flood_after(server, group, count, bytes, |_| {});
}

/// The same; each waits for `before` of its number.
fn flood_after(server: &Server, group: &str, count: u32, bytes: usize, before: impl Fn(u32)) {
    let mut client = server.connect();
    for number in 1..=count {
        before(number);
        let body = json!({"@": [group], "n": number, "text": "x".repeat(bytes)}).to_string();
        let fields = "Content-Type: application/json\r\n";
        client.request_at("127.0.0.1", "POST", "/publish", fields, body.as_bytes());
        let response = client.response();
        assert_eq!(response.status, 200, "{response:?}");
    }
}

#[test]
fn slow_clients_are_closed_with_1013_and_take_bounded_memory_while_others_hear_everything() {
    const SLOW: usize = 20;
    const COUNT: u32 = 400;
    const BYTES: usize = 64 * 1024;
    let server = house("realtime \"/realtime\" app=\"rooms\"");
    let mut slow: Vec<_> = (0..SLOW).map(|_| narrow(&server, &joins("/g"))).collect();
    let mut fast = Socket::open(&server, &joins("/g"));
    // What their requests and the first publishing took is no matter of theirs.
    flood(&server, "/nobody", 5, BYTES);
    let before = processes::resident_bytes(server.pid());
    let mut most = before;
    let heard = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for number in 1..=COUNT {
                assert_eq!(fast.hear_json()["n"], number);
                heard.store(number, Ordering::Relaxed);
            }
        });
        // The fast one is never more than half a mebibyte behind.
        let (heard, server) = (&heard, &server);
        let is_near = move |number: u32| {
            eventually("the fast one", || heard.load(Ordering::Relaxed) + 8 >= number);
        };
        let publisher = scope.spawn(move || flood_after(server, "/g", COUNT, BYTES, is_near));
        while !publisher.is_finished() {
            most = most.max(processes::resident_bytes(server.pid()));
            std::thread::sleep(Duration::from_millis(5));
        }
        publisher.join().unwrap();
        reader.join().unwrap();
    });
    // The frames are shared, and each slow one holds at most a mebibyte of them.
    let more = most.saturating_sub(before) >> 20;
    assert!(more <= 24, "{more} MiB more for {SLOW} slow clients");
    eventually("the slow ones are closed", || {
        server.posted("close").iter().filter(|close| close.body().contains("1013")).count() == SLOW
    });
    for close in server.posted("close") {
        assert_eq!(close.body(), r#"{"code":1013,"reason":"slow"}"#);
    }
    // Those that read on soon enough hear it themselves, behind what they were told in order.
    let mut next = 1;
    let code = loop {
        match slow[0].try_hear() {
            Ok(frame) if frame.first == CLOSE => {
                break Some(frame.close());
            }
            Ok(frame) => {
                let told: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
                assert_eq!(told["n"], next);
                next += 1;
            }
            Err(_) => break None,
        }
    };
    assert!(next < COUNT, "it was told less");
    assert!(matches!(code, None | Some((1013, _))), "{code:?}");
}

#[test]
fn different_messages_for_many_slow_clients_are_bounded_for_each() {
    const SLOW: usize = 12;
    let server = house("realtime \"/realtime\" app=\"rooms\"");
    let clients: Vec<_> =
        (0..SLOW).map(|nth| narrow(&server, &joins(&format!("/own/{nth}")))).collect();
    flood(&server, "/nobody", 5, 64 * 1024);
    let before = processes::resident_bytes(server.pid());
    let mut most = before;
    for nth in 0..SLOW {
        flood(&server, &format!("/own/{nth}"), 80, 64 * 1024);
        most = most.max(processes::resident_bytes(server.pid()));
    }
    let more = most.saturating_sub(before) >> 20;
    assert!(more <= SLOW as u64 * 3 / 2 + 12, "{more} MiB for {SLOW} slow clients");
    eventually("the slow ones are closed", || server.posted("close").len() == SLOW);
    drop(clients);
}

#[test]
fn slow_clients_behind_tls_are_closed_and_bounded_as_well() {
    const SLOW: usize = 20;
    let https = Port::free();
    let source = std::fs::read_to_string(tools::app("rooms.py")).unwrap();
    let setup = Setup::python(&source).workers(2).flag("--https-port", https.number);
    let (stem, record) = (setup.path("pair"), setup.path("record"));
    identity(&["localhost"], 10).write(&stem);
    std::fs::create_dir_all(&record).unwrap();
    let file = |extension| stem.with_extension(extension).display().to_string();
    let server = setup
        .flag("--cert", file("crt"))
        .flag("--key", file("key"))
        .word("--no-redirect-http")
        .env("RECORD", record)
        .start();
    server.wait_for_workers(2);
    let mut deaf = Command::new(tools::python());
    deaf.arg(tools::app("realtime_client.py"));
    deaf.arg(format!("wss://localhost:{}{}", https.number, joins("/g")));
    deaf.args(["deaf", &file("crt"), &SLOW.to_string()]);
    let mut deaf = deaf.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(deaf.stdout.take().unwrap());
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    assert_eq!(line, "there\n");
    flood(&server, "/nobody", 5, 64 * 1024);
    let before = processes::resident_bytes(server.pid());
    flood(&server, "/g", 200, 64 * 1024);
    let more = processes::resident_bytes(server.pid()).saturating_sub(before) >> 20;
    eventually("the slow ones are closed", || server.posted("close").len() == SLOW);
    drop(deaf.stdin.take());
    deaf.wait().unwrap();
    assert!(server.posted("close").iter().all(|close| close.body().contains("1013")));
    assert!(more <= 24, "{more} MiB more for {SLOW} slow clients");
}

#[test]
fn a_slow_client_of_a_lossy_group_loses_the_oldest_and_stays() {
    const COUNT: u32 = 400;
    let server = house("realtime \"/realtime\" app=\"rooms\" { lossy \"/ticks\" }");
    let mut slow = narrow(&server, &joins("/ticks"));
    flood(&server, "/ticks", COUNT, 64 * 1024);
    let mut heard = Vec::new();
    while heard.last() != Some(&COUNT) {
        heard.push(u32::try_from(slow.hear_json()["n"].as_u64().unwrap()).unwrap());
    }
    assert!(heard.is_sorted() && heard.len() < COUNT as usize, "{heard:?}");
    assert_eq!(heard[0], 1);
    slow.assert_nothing_told();
    assert!(server.posted("close").is_empty());
}

#[test]
fn who_says_too_much_too_often_is_closed_with_1008() {
    let server = house(
        "realtime \"/few\" app=\"rooms\" rate=5 burst=10; realtime \"/realtime\" app=\"rooms\"",
    );
    for (target, burst) in [("/few", 10_usize), ("/realtime", 200)] {
        let mut socket = Socket::open(&server, target);
        let began = Instant::now();
        let frames: Vec<u8> = (0..burst * 3).flat_map(|_| masked(BINARY, b"x")).collect();
        let _ = socket.send_bytes(&frames);
        let mut echoes = 0;
        let close = loop {
            let frame = socket.hear();
            if frame.first != BINARY {
                break frame.close();
            }
            echoes += 1;
        };
        assert_eq!(close.0, 1008, "{close:?}");
        // Some more became due while it was at it.
        let more = began.elapsed().as_secs_f64() * if burst == 10 { 5.0 } else { 100.0 };
        assert!(echoes <= burst + more as usize + 1, "{echoes} of {burst}");
    }
    // What was taken in before is POSTed all the same, then the close.
    let closes = server.wait_for_posts("close", 2);
    assert!(closes.iter().all(|close| close.body().contains("1008")), "{closes:?}");
    let first = server
        .posts()
        .iter()
        .filter(|post| post.word() == "binary" && post.client() == closes[0].client())
        .count();
    assert!(first >= 10, "{first}");
    // Who keeps to the rate is heard for longer than the burst lasts.
    let mut socket = Socket::open(&server, "/few");
    let began = Instant::now();
    for number in 0..20 {
        socket.send(BINARY, &[number]);
        assert_eq!(socket.hear().payload, [number]);
        let due = Duration::from_millis(210) * u32::from(number);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

#[test]
fn pings_are_no_messages_and_a_flood_of_them_takes_no_memory() {
    let server = house("realtime \"/realtime\" app=\"rooms\" rate=1 burst=1");
    let mut socket = Socket::open(&server, "/realtime");
    for _ in 0..500 {
        socket.send(PING, b"again");
    }
    for _ in 0..500 {
        assert_eq!(socket.frame().first, PONG);
    }
    let before = processes::resident_bytes(server.pid());
    let mut deaf = narrow(&server, "/realtime");
    let pings: Vec<u8> = (0..1000).flat_map(|_| masked(PING, &[7; 125])).collect();
    let into = deaf.client();
    into.write_patience(Duration::from_millis(500));
    for _ in 0..100 {
        if into.try_send(&pings).is_err() {
            break;
        }
    }
    let more = processes::resident_bytes(server.pid()).saturating_sub(before) >> 20;
    assert!(more <= 8, "{more} MiB for one who pings and does not read");
    socket.say("{}");
    socket.send(PING, b"x");
    assert_eq!(socket.frame().first, PONG, "others are served");
}

#[test]
fn who_is_ahead_of_its_app_is_read_no_further_and_closed_with_1013_in_the_end() {
    let server = house("realtime \"/realtime\" app=\"rooms\" rate=10000 burst=10000");
    let mut socket = Socket::open(&server, "/realtime");
    socket.say("!gate go {}");
    for number in 0..200 {
        socket.say(&format!("{{\"n\":{number}}}"));
    }
    assert_eq!(socket.hear().close().0, 1013);
    assert!(server.posted("close").is_empty(), "what it said before comes first");
    server.open_gate("go");
    let close = server.wait_for_posts("close", 1);
    assert!(close[0].body().contains("1013"));
    let texts = server.posted("text");
    let own = texts.len();
    assert!((64..=70).contains(&own), "{own} were taken in");
    for (number, post) in texts.iter().skip(1).enumerate() {
        assert_eq!(post.body(), format!("{{\"n\":{number}}}"));
    }
    // Many bytes are as many messages.
    let mut socket = Socket::open(&server, "/realtime");
    socket.say("!gate later {}");
    let before = processes::resident_bytes(server.pid());
    socket.client().write_patience(Duration::from_secs(2));
    for _ in 0..30 {
        if socket.send_bytes(&masked(BINARY, &vec![1; 900_000])).is_err() {
            break;
        }
    }
    let more = processes::resident_bytes(server.pid()).saturating_sub(before) >> 20;
    assert!(more <= 6, "{more} MiB wait for the app");
    server.open_gate("later");
}

#[test]
fn a_client_is_in_256_groups_and_names_have_256_bytes() {
    let server = house("realtime \"/realtime\" app=\"rooms\"");
    let mut socket = Socket::open(&server, "/realtime");
    let groups: Vec<_> = (0..256).map(|number| format!("/g/{number}")).collect();
    socket.say(&json!({"+": groups}).to_string());
    socket.say(r#"{"+":["/one/too/many"]}"#);
    socket.say(r#"[{"@":["/one/too/many"],"x":1},{"@":["/g/255"],"y":2}]"#);
    assert_eq!(socket.hear_json(), json!({"y": 2}));
    // There is room again once it has left one.
    socket.say(r#"[{"-":["/g/7"]},{"+":["/one/too/many"]},{"@":["/one/too/many"],"z":3}]"#);
    assert_eq!(socket.hear_json(), json!({"z": 3}));
    let mut other = Socket::open(&server, "/realtime");
    let (fits, over) = (format!("/{}", "n".repeat(255)), format!("/{}", "n".repeat(256)));
    other.say(&json!([{"+": [over], "bad": 1}, {"+": [fits], "good": 1}]).to_string());
    assert_eq!(other.hear_json(), json!({"good": 1}));
}

#[test]
fn clients_count_as_connections() {
    let setup = Setup::builtin("realtime").workers(1).flag("--max-connections", 20);
    let server = setup.start();
    let mut sockets = Vec::new();
    let refused = within(Duration::from_secs(20), || {
        let mut client = Client::try_connect(server.port()).ok()?;
        let request = format!("GET /realtime HTTP/1.1\r\nHost: a.test\r\n{UPGRADE}\r\n");
        if client.try_send(request).is_err() {
            return Some(());
        }
        client.patience(Duration::from_secs(2));
        match client.try_head() {
            Ok(head) if head.status == 101 => {
                sockets.push(client);
                assert!(sockets.len() <= 20, "more than there may be");
                None
            }
            _ => Some(()),
        }
    });
    assert!(refused.is_some() && sockets.len() >= 15, "{} came in", sockets.len());
    sockets.truncate(5);
    eventually("room again", || {
        let mut client = server.connect();
        client.request("GET", "/realtime", UPGRADE, b"");
        client.try_head().is_ok_and(|head| head.status == 101)
    });
}

#[test]
fn a_quiet_client_is_pinged_and_one_that_answers_stays() {
    let server = house("realtime \"/realtime\" app=\"rooms\"");
    let mut socket = Socket::open(&server, "/realtime");
    let began = Instant::now();
    socket.client().patience(Duration::from_secs(40));
    let ping = socket.frame();
    assert_eq!((ping.first, began.elapsed() < Duration::from_secs(35)), (PING, true), "{ping:?}");
    socket.send(PONG, &ping.payload);
    socket.assert_nothing_told();
}
