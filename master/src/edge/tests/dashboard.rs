//! The page that shows the server: who may look on, who may order, and how they get there.

use super::*;
use crate::shared::door::{Answer, DoorAsk};
use crate::shared::mail::EdgeMessage;
use crate::shared::mail::Farewell;
use rip::guard::login::Key;
use rip::ids::LoopIndex;

const PANEL: &str = "panel.test";
/// Makes a request one of somebody elsewhere.
const ELSEWHERE: &str = "X-Forwarded-For: 192.0.2.7\r\n";

fn house() -> House {
    house_with(|config| config.edge.dashboard.hosts = vec![PANEL.to_owned()])
}

fn house_with(adjust: impl FnOnce(&mut Config)) -> House {
    House::new(adjust, |_, mut stream| {
        while head(&mut stream).is_some() {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp";
            stream.write_all(answer).expect("the edge reads");
        }
    })
}

fn ask(house: &House, line: &str, host: &str, fields: &str, body: &str) -> String {
    let mut client = house.client();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    client.write_all(request.as_bytes()).unwrap();
    response(&mut client)
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status")
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name))
    });
    line.map_or("", |(_, value)| value)
}

/// A link that is good.
fn link(house: &House, number: u8) -> Key {
    let key = Key::new([number; 32]);
    house.shared.logins.offer(&key, Clock::read());
    key
}

fn log_in(house: &House, secret: &str) -> String {
    let fields = format!("{ELSEWHERE}Origin: http://{PANEL}\r\nAuthorization: Bearer {secret}\r\n");
    ask(house, "POST /login", PANEL, &fields, "")
}

/// The field of a session that has just begun.
fn cookie(house: &House, number: u8) -> String {
    let answer = log_in(house, link(house, number).expose());
    assert_eq!(status(&answer), 200, "{answer}");
    let set = field(&answer, "set-cookie");
    let pair = set.split(';').next().unwrap_or_default();
    format!("Cookie: other=1; {pair}\r\n")
}

/// The next question to the control loop; answered with 200 and its path.
fn answer_next(house: &House) -> DoorAsk {
    let mut found = None;
    wait_until("the control loop is asked", || {
        let mut mail = Vec::new();
        house.mail.lock().unwrap().drain(&mut mail);
        found = mail.into_iter().find_map(|mail| match mail {
            ControlMessage::Asked { from, ask } => Some((from, ask)),
            _ => None,
        });
        found.is_some()
    });
    let (from, ask) = found.expect("a question");
    let answer = Answer::ok(&ask.path);
    let edges = house.edges.lock().unwrap();
    edges.as_ref().unwrap().tell_one(from.index, EdgeMessage::Answered { key: from.key, answer });
    ask
}

/// Mail that says whether somebody watches.
fn watching(house: &House) -> bool {
    let mut said = None;
    wait_until("the control loop hears of it", || {
        let mut mail = Vec::new();
        house.mail.lock().unwrap().drain(&mut mail);
        let on = mail.into_iter().filter_map(|mail| match mail {
            ControlMessage::Watching { on, .. } => Some(on),
            _ => None,
        });
        said = on.last();
        said.is_some()
    });
    said == Some(true)
}

fn report(house: &House, frame: &[u8]) {
    let edges = house.edges.lock().unwrap();
    edges.as_ref().unwrap().tell_one(LoopIndex(0), EdgeMessage::Report(frame.into()));
}

/// Reads a stream until it has said `text`.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    let mut byte = [0];
    while !read.contains(text) {
        assert_eq!(stream.read(&mut byte).expect("more"), 1, "it ended: {read}");
        read.push(char::from(byte[0]));
    }
    read
}

fn feed(house: &House, fields: &str) -> TcpStream {
    let mut stream = house.client();
    let request = format!("GET /feed HTTP/1.1\r\nHost: {PANEL}\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn the_page_is_for_this_machine_and_everybody_else_is_told_how_to_log_in() {
    let house = house();
    let own = ask(&house, "GET /", "rip.local", "", "");
    assert_eq!(status(&own), 200);
    assert!(own.contains("<title>rip-master</title>") && own.contains("Requests a second"));
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(field(&own, name), value, "{name}");
    }
    let policy = field(&own, "content-security-policy");
    assert!(policy.contains("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    // A name that is not of this network alone can be made to lead here by anybody.
    for (host, fields) in [
        ("rip.local", ELSEWHERE),
        ("rip.local", "Origin: http://evil.test\r\n"),
        (PANEL, ""),
        (PANEL, ELSEWHERE),
    ] {
        let other = ask(&house, "GET /", host, fields, "");
        assert_eq!(status(&other), 401, "{host} {fields}");
        assert!(other.contains("dashboard-login") && !other.contains("Requests a second"));
        for path in ["/feed", "/events", "/session"] {
            let refused = ask(&house, &format!("GET {path}"), host, fields, "");
            assert_eq!(status(&refused), 401, "{path} at {host}");
        }
    }
    assert_eq!(status(&ask(&house, "GET /login", PANEL, ELSEWHERE, "")), 200);
    // Every other host is the app's.
    let app = ask(&house, "GET /", "other.test", "", "");
    assert!(app.ends_with("\r\n\r\napp"), "{app}");
}

#[test]
fn nothing_else_is_at_its_host() {
    let house = house();
    for path in ["/x", "/feed/", "//", "/actions", "/actions/stop", "/actions/", "/page.html"] {
        assert_eq!(
            status(&ask(&house, &format!("GET {path}"), "rip.local", "", "")),
            404,
            "{path}"
        );
        assert_eq!(status(&ask(&house, &format!("POST {path}"), "rip.local", "", "")), 404);
    }
    let page = ask(&house, "POST /", "rip.local", "", "");
    assert_eq!((status(&page), field(&page, "allow")), (405, "GET, HEAD"));
    let action = ask(&house, "GET /actions/reload", "rip.local", "", "");
    assert_eq!((status(&action), field(&action, "allow")), (405, "POST"));
    assert_eq!(field(&ask(&house, "PUT /login", PANEL, "", ""), "allow"), "GET, HEAD, POST");
}

#[test]
fn a_link_becomes_a_session_once() {
    let house = house();
    let key = link(&house, 1);
    // Looking at it is not using it.
    assert_eq!(status(&ask(&house, "GET /login", PANEL, ELSEWHERE, "")), 200);
    let origin = format!("Origin: http://{PANEL}\r\n");
    let bearer = format!("Authorization: Bearer {}\r\n", key.expose());
    for (fields, expected) in [
        (bearer.clone(), 403),
        (format!("Origin: http://evil.test\r\n{bearer}"), 403),
        (format!("Origin: null\r\n{bearer}"), 403),
        (format!("{origin}Sec-Fetch-Site: cross-site\r\n{bearer}"), 403),
        (origin.clone(), 401),
        (format!("{origin}Authorization: Bearer wrong\r\n"), 401),
    ] {
        let refused = ask(&house, "POST /login", PANEL, &fields, "");
        assert_eq!(status(&refused), expected, "{fields}");
        assert_eq!(field(&refused, "set-cookie"), "");
    }
    let answer = log_in(&house, key.expose());
    let set = field(&answer, "set-cookie").to_owned();
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(set.starts_with("rip-dashboard=") && set.contains("; HttpOnly; SameSite=Strict"));
    assert_eq!(status(&log_in(&house, key.expose())), 401, "used");

    let pair = set.split(';').next().unwrap();
    let fields = format!("{ELSEWHERE}Cookie: {pair}\r\n");
    assert_eq!(status(&ask(&house, "GET /", PANEL, &fields, "")), 200);
    let session = ask(&house, "GET /session", PANEL, &fields, "");
    assert!(session.contains("\"loggedIn\":true,\"secondsLeft\":43"), "{session}");
    // Secrets are in no line.
    let lines = house.lines();
    assert!(lines.contains("/login") && !lines.contains(key.expose()), "{lines}");
    assert!(!lines.contains(pair.split('=').nth(1).unwrap()), "{lines}");

    let out = ask(&house, "POST /logout", PANEL, &format!("{fields}{origin}"), "");
    assert!(field(&out, "set-cookie").contains("Max-Age=0"), "{out}");
    assert_eq!(status(&ask(&house, "GET /", PANEL, &fields, "")), 401);
}

#[test]
fn only_a_session_at_this_very_page_orders_something() {
    let house = house();
    let session = cookie(&house, 1);
    let origin = format!("Origin: http://{PANEL}\r\n");
    for (fields, expected) in [
        (String::new(), 403),
        (session.clone(), 403),
        (origin.clone(), 401),
        (format!("{session}Origin: http://{PANEL}:8080\r\n"), 403),
        (format!("{session}Origin: https://{PANEL}\r\n"), 403),
        (format!("{session}{origin}{origin}"), 403),
        (format!("{session}{origin}Sec-Fetch-Site: same-site\r\n"), 403),
        (format!("{origin}Cookie: rip-dashboard={}\r\n", "A".repeat(43)), 401),
    ] {
        for action in ["reload", "restart", "scale"] {
            let line = format!("POST /actions/{action}");
            assert_eq!(status(&ask(&house, &line, PANEL, &fields, "{}")), expected, "{fields}");
        }
        assert_eq!(status(&ask(&house, "POST /logout", PANEL, &fields, "")), expected);
    }
    // Nor does whoever asks from this machine without one.
    let local =
        ask(&house, "POST /actions/reload", "rip.local", "Origin: http://rip.local\r\n", "");
    assert_eq!(status(&local), 401);
    let mut mail = Vec::new();
    house.mail.lock().unwrap().drain(&mut mail);
    assert!(!mail.iter().any(|mail| matches!(mail, ControlMessage::Asked { .. })));

    for (action, body) in [("reload", ""), ("restart", "{\"app\":\"app\"}"), ("scale", "{}")] {
        thread::scope(|scope| {
            let fields = format!("{session}{origin}Sec-Fetch-Site: same-origin\r\n");
            let line = format!("POST /actions/{action}");
            let house = &house;
            let answer = scope.spawn(move || ask(house, &line, PANEL, &fields, body));
            let asked = answer_next(house);
            assert_eq!(asked.path, format!("/control/{action}"));
            assert_eq!(asked.method, rip::http1::Method::Post);
            assert_eq!(asked.body, body.as_bytes());
            let answer = answer.join().unwrap();
            assert!(status(&answer) == 200 && answer.contains("/control/"), "{answer}");
        });
    }
}

#[test]
fn the_feed_brings_what_the_control_loop_says_as_long_as_the_session_lives() {
    let house = house();
    let session = cookie(&house, 1);
    let mut far = feed(&house, &format!("{ELSEWHERE}{session}"));
    assert!(watching(&house));
    let begun = read_until(&mut far, "\"secondsLeft\":");
    assert!(begun.contains("event: session") && begun.contains("\"loggedIn\":true"), "{begun}");
    let mut near = house.client();
    near.write_all(b"GET /feed HTTP/1.1\r\nHost: rip.local\r\n\r\n").unwrap();
    assert!(read_until(&mut near, "\"secondsLeft\":0").contains("\"loggedIn\":false"));
    report(&house, b"event: report\ndata: {\"at\":1}\n\n");
    for stream in [&mut far, &mut near] {
        assert!(read_until(stream, "{\"at\":1}\n\n").contains("event: report"));
    }

    let origin = format!("Origin: http://{PANEL}\r\n");
    ask(&house, "POST /logout", PANEL, &format!("{session}{origin}"), "");
    report(&house, b"event: report\ndata: {\"at\":2}\n\n");
    let mut rest = String::new();
    far.read_to_string(&mut rest).expect("an end");
    assert!(!rest.contains("\"at\":2"), "{rest}");
    read_until(&mut near, "{\"at\":2}\n\n");
    drop(near);
    wait_until("nobody watches", || !watching(&house));
}

#[test]
fn no_more_than_so_many_are_fed_and_a_drain_ends_all() {
    let house = house();
    let mut streams: Vec<_> = (0..rip::limits::WATCHER_COUNT)
        .map(|_| {
            let mut near = house.client();
            near.write_all(b"GET /feed HTTP/1.1\r\nHost: rip.local\r\n\r\n").unwrap();
            read_until(&mut near, "secondsLeft");
            near
        })
        .collect();
    assert_eq!(status(&ask(&house, "GET /feed", "rip.local", "", "")), 503);
    let edges = house.edges.lock().unwrap();
    edges.as_ref().unwrap().drain(Farewell::until(Clock::read()));
    for stream in &mut streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("an end");
        assert!(rest.contains("retry: 1000"), "{rest}");
    }
}

#[test]
fn behind_a_proxy_that_seals_the_cookie_is_one_for_https() {
    let house = house_with(|config| {
        config.edge.dashboard.hosts = vec![PANEL.to_owned()];
        config.edge.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    });
    let proxy = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n";
    let key = link(&house, 1);
    let bearer = format!("{proxy}Authorization: Bearer {}\r\n", key.expose());
    let plain = format!("{bearer}Origin: http://{PANEL}\r\n");
    assert_eq!(status(&ask(&house, "POST /login", PANEL, &plain, "")), 403);
    let sealed = format!("{bearer}Origin: https://{PANEL}\r\n");
    let answer = ask(&house, "POST /login", PANEL, &sealed, "");
    let set = field(&answer, "set-cookie");
    assert!(set.starts_with("__Host-rip-dashboard=") && set.ends_with("; Secure"), "{answer}");
    let pair = set.split(';').next().unwrap_or_default();
    let page = |fields: &str| status(&ask(&house, "GET /", PANEL, &format!("{proxy}{fields}"), ""));
    assert_eq!(page(&format!("Cookie: {pair}\r\n")), 200);
    // Another host, or somebody on the way, could have set this one.
    let other = pair.trim_start_matches("__Host-");
    assert_eq!(page(&format!("Cookie: {other}\r\n")), 401);
}

#[test]
fn by_a_listener_for_the_operator_everybody_looks_on_and_who_has_logged_in_orders() {
    let house = house_with(|config| {
        config.edge.admin = std::mem::take(&mut config.edge.http);
        config.edge.dashboard.hosts = vec![PANEL.to_owned()];
    });
    let page = ask(&house, "GET /", "whatever.test", ELSEWHERE, "");
    assert!(status(&page) == 200 && page.contains("Requests a second"), "{page}");
    let session = ask(&house, "GET /session", "whatever.test", "", "");
    assert!(session.ends_with("{\"loggedIn\":false,\"secondsLeft\":0}"), "{session}");
    for host in [PANEL, "rip.local", "127.0.0.1"] {
        let origin = format!("Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
        assert_eq!(status(&ask(&house, "POST /actions/reload", host, &origin, "")), 401, "{host}");
        assert_eq!(status(&ask(&house, "GET /", host, &origin, "")), 200, "{host}");
    }
    assert_eq!(status(&ask(&house, "GET /nothing", "whatever.test", "", "")), 404);
    // The operator's other endpoints are beside it.
    assert!(ask(&house, "GET /livez", "whatever.test", "", "").ends_with("ok"));
    // A page of somebody whose name was made to lead here reads nothing, and asks for nothing.
    for mark in ["Sec-Fetch-Site: same-origin", "Origin: http://evil.test", "Accept-Language: de"] {
        for path in
            ["/", "/feed", "/events", "/session", "/login", "/metrics", "/diagnostics", "/status"]
        {
            let answer =
                ask(&house, &format!("GET {path}"), "evil.test", &format!("{mark}\r\n"), "");
            assert_eq!(status(&answer), 404, "{path} {mark}");
        }
    }
    let order = "Origin: http://evil.test\r\n";
    assert_eq!(status(&ask(&house, "POST /actions/reload", "evil.test", order, "")), 404);
}

#[test]
fn where_none_is_wanted_there_is_none() {
    let house = house_with(|config| config.edge.dashboard.on = false);
    assert!(ask(&house, "GET /", "rip.local", "", "").ends_with("\r\n\r\napp"));
    let admin = house_with(|config| {
        config.edge.dashboard.on = false;
        config.edge.admin = std::mem::take(&mut config.edge.http);
    });
    assert_eq!(status(&ask(&admin, "GET /", "127.0.0.1", "", "")), 404);
}

#[test]
fn an_app_that_has_taken_the_name_keeps_it() {
    let house = house_with(|config| {
        let action = config.routes[0].action.clone();
        let rule = rip::contract::route::RouteRule::new("rip.local", "/*", action);
        config.routes.push(rule);
    });
    assert!(ask(&house, "GET /", "rip.local", "", "").ends_with("\r\n\r\napp"));
    assert!(house.shared.current.load().config.dashboard_urls().is_empty());
}

#[test]
fn who_logs_in_or_out_is_told() {
    let house = house();
    let session = cookie(&house, 1);
    let fields = format!("{session}{ELSEWHERE}Origin: http://{PANEL}\r\n");
    assert_eq!(status(&ask(&house, "POST /logout", PANEL, &fields, "")), 200);
    let mut mail = Vec::new();
    house.mail.lock().unwrap().drain(&mut mail);
    let told = mail.into_iter().filter_map(|mail| match mail {
        ControlMessage::Tell(event) => Some(serde_json::to_value(&*event).unwrap()),
        _ => None,
    });
    let told: Vec<_> = told
        .map(|event| {
            format!("{} {} {} {}", event["verb"], event["by"], event["ip"], event["result"])
        })
        .collect();
    let said = |verb: &str| format!("\"{verb}\" \"dashboard\" \"127.0.0.1\" \"done\"");
    assert_eq!(told, [said("login"), said("logout")]);
}

#[test]
fn questions_of_clients_that_have_left_are_bounded() {
    let house = house();
    let asks = || {
        let mut mail = Vec::new();
        house.mail.lock().unwrap().drain(&mut mail);
        let asked = mail.into_iter().filter_map(|mail| match mail {
            ControlMessage::Asked { from, .. } => Some(from),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    let question = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut asked, mut stays) = (Vec::new(), None);
    for count in 1..=rip::limits::DOOR_ASK_COUNT {
        let mut client = house.client();
        client.write_all(question).unwrap();
        wait_until("the control loop is asked", || {
            asked.extend(asks());
            asked.len() == count
        });
        stays.get_or_insert(client);
    }
    let refused = ask(&house, "GET /metrics", "localhost", "", "");
    assert_eq!((status(&refused), field(&refused, "retry-after")), (503, "1"), "{refused}");
    assert!(asks().is_empty());
    // An answer makes place for another question, also one that nobody waits for any more.
    for from in [asked[1], asked[0]] {
        let answered = EdgeMessage::Answered { key: from.key, answer: Answer::ok(&"late") };
        house.edges.lock().unwrap().as_ref().unwrap().tell_one(from.index, answered);
    }
    let mut stays = stays.expect("the first");
    assert_eq!(status(&response(&mut stays)), 200);
    for _ in 0..2 {
        let mut client = house.client();
        client.write_all(question).unwrap();
        wait_until("the control loop is asked again", || !asks().is_empty());
    }
    assert_eq!(status(&ask(&house, "GET /metrics", "localhost", "", "")), 503, "two, not three");
}
