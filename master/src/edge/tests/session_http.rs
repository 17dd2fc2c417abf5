//! Requests to a mount of sessions, with a store that says what it is told to.

use super::socket::wait_until_told;
use super::*;
use crate::shared::store::{ReadJob, StoreAnswer, StoreOrder, StoreQueue};
use rip::contract::route::{HeaderRules, RouteAction, RouteRule};
use rip::contract::sessions::SessionsConfig;
use rip::limits;
use rip::session::claim::{Attempt, Claim, Right, Run};
use rip::session::end::{Appended, End, Ended};
use rip::session::look::{Cancel, Delete, View};
use rip::session::{
    Cause, Ending, Epoch, EventId, Kind, Ledger, Nonce, Refusal, Seed, SessionId, TokenKey,
};
use rip::time::UnixMillis;

type Orders = mpsc::Receiver<StoreOrder>;

fn session() -> SessionId {
    SessionId::new([0xab; 16])
}

fn name() -> String {
    session().to_string()
}

fn seed(kind: Kind) -> Seed {
    Seed { kind, turn: 1, nonce: Nonce([7; 16]) }
}

fn token() -> String {
    TokenKey::new([1; 32]).token(session(), &seed(Kind::Continuation)).expose().to_owned()
}

/// A house with sessions at `/v1`, whose store answers with `answer`; and what was ordered.
fn house(
    adjust: impl FnOnce(&mut Config),
    answer: impl Fn(&StoreOrder) -> StoreAnswer + Send + Sync + 'static,
) -> (House, Orders) {
    let configure = |config: &mut Config| {
        config.sessions.push(SessionsConfig::new("/v1", config.apps[0].id.clone()));
        adjust(config);
    };
    let house = House::new(configure, |_, mut stream| {
        while let Some(head) = head(&mut stream) {
            let line = head.lines().next().unwrap().to_owned();
            let body = format!("app: {line}");
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    let queue = house.shared.sessions.queue.clone();
    queue.set_key(TokenKey::new([1; 32]));
    (house, serve(queue, answer))
}

fn serve(
    queue: StoreQueue,
    answer: impl Fn(&StoreOrder) -> StoreAnswer + Send + Sync + 'static,
) -> Orders {
    let (sender, orders) = mpsc::channel();
    let answer = Arc::new(answer);
    let (writes, reads) = ((queue.clone(), sender.clone(), Arc::clone(&answer)), answer);
    thread::spawn(move || {
        let (queue, sender, answer) = writes;
        while let Some(taken) = queue.take_writes(1, PATIENCE) {
            for job in taken.jobs {
                let _ = sender.send(job.order.clone());
                let said = answer(&job.order);
                job.answer(said);
            }
        }
    });
    thread::spawn(move || {
        while let Some(ReadJob::Order(job)) = queue.take_read() {
            let _ = sender.send(job.order.clone());
            let said = reads(&job.order);
            job.answer(said);
        }
    });
    orders
}

fn busy(order: &StoreOrder) -> StoreAnswer {
    order.refused("full")
}

fn ask(house: &House, line: &str, fields: &str, body: &str) -> String {
    let mut client = house.client();
    let length = body.len();
    let framing = if length > 0 { format!("Content-Length: {length}\r\n") } else { String::new() };
    write!(client, "{line} HTTP/1.1\r\nHost: localhost\r\n{fields}{framing}\r\n{body}").unwrap();
    response(&mut client)
}

#[track_caller]
fn expect(text: &str, status: u16, body: &str) {
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    assert_eq!(text.split_once("\r\n\r\n").unwrap().1, body, "{text}");
    assert!(text.contains("\r\nCache-Control: no-store\r\n"), "{text}");
    assert!(text.contains("\r\nX-Request-Id: ") && text.contains("\r\nDate: "), "{text}");
}

#[test]
fn what_is_no_endpoint_is_refused_and_what_is_not_below_the_mount_is_the_apps() {
    let (house, _orders) = house(|_| {}, busy);
    for path in ["/v1/session/", "/v1/session/s_1/x", "/v1/ws/x", "/v1/session/%2F/x"] {
        let body = format!(r#"{{"error":"no route for {path}","code":"no-route"}}"#);
        expect(&ask(&house, &format!("POST {path}"), "", ""), 404, &body);
    }
    let refused = r#"{"error":"method not allowed","code":"method-not-allowed"}"#;
    for (line, allow) in [
        ("GET /v1/session", "POST"),
        ("OPTIONS /v1/session", "POST"),
        ("PUT /v1/session/s_1", "GET, HEAD, DELETE"),
        ("POST /v1/session/s_1/events", "GET, HEAD"),
        ("GET /v1/x/../session/s_1/cancel", "POST"),
    ] {
        let text = ask(&house, line, "", "");
        expect(&text, 405, refused);
        assert!(text.contains(&format!("\r\nAllow: {allow}\r\n")), "{text}");
    }
    let mut client = house.client();
    client.write_all(b"HEAD /v1/session HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 405 "));
    for path in ["/v1", "/v1/turns", "/v1/sessions", "/session", "/"] {
        assert!(ask(&house, &format!("GET {path}"), "", "").contains("\r\n\r\napp: GET"), "{path}");
    }
    wait_until_told(&house, r#""app":"app","worker":null,"method":"PUT""#);
}

#[test]
fn tokens_in_queries_are_refused_everywhere_and_no_query_is_told_of() {
    let (house, orders) = house(|_| {}, busy);
    let body = r#"{"error":"a continuationToken must not be in a query","code":"token-in-query"}"#;
    for line in [
        "POST /v1/session",
        "POST /v1/session/s_1/message",
        "POST /v1/session/s_1/cancel",
        "POST /v1/session/s_1/wake",
        "GET /v1/session/s_1",
        "GET /v1/session/s_1/events",
        "DELETE /v1/session/s_1",
        "GET /v1/ws",
    ] {
        for query in ["continuationToken=ct_secret", "a=1&b=%63t_secret"] {
            expect(&ask(&house, &format!("{line}?{query}"), "", ""), 400, body);
        }
    }
    let text = ask(&house, "GET /v1/session/s_1?resume=rt_secret", "", "");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    let order = orders.recv_timeout(PATIENCE).unwrap();
    let said = format!("{order:?}");
    assert!(matches!(&order, StoreOrder::Look(look) if look.access.resume.is_some()), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let mut lines = String::new();
    wait_until("an access line", || {
        lines += &house.lines();
        lines.contains(r#""status":503"#)
    });
    assert!(!lines.contains("secret") && !lines.contains('?'), "{lines}");
}

#[test]
fn bodies_are_small_objects() {
    let (house, orders) = house(|config| config.edge.limits.body_bytes = 10, busy);
    let large = r#"{"error":"body is too large","code":"too-large"}"#;
    let size = limits::TURN_INPUT_BYTES;
    for length in [size + 1, 100 * size] {
        for line in ["POST /v1/session", "DELETE /v1/session/s_1", "GET /v1/session/s_1"] {
            let fields = format!("Content-Length: {length}\r\n");
            expect(&ask(&house, line, &fields, ""), 413, large);
        }
    }
    let chunk = format!("{size:x}\r\n{}\r\n1\r\n \r\n", " ".repeat(size));
    let mut client = house.client();
    let head = "POST /v1/session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(chunk.as_bytes()).unwrap();
    expect(&response(&mut client), 413, large);
    let refused = |error: &str, code: &str| format!(r#"{{"error":"{error}","code":"{code}"}}"#);
    for (body, error, code) in [
        ("[]", "body must be a JSON object", "not-an-object"),
        ("{", "body is not JSON", "bad-json"),
    ] {
        for line in ["POST /v1/session", "POST /v1/session/s_1/message", "DELETE /v1/session/s_1"] {
            expect(&ask(&house, line, "", body), 400, &refused(error, code));
        }
    }
    let text = ask(&house, "POST /v1/session", "Idempotency-Key: short\r\n", "{}");
    let error = "Idempotency-Key must be 16 to 255 bytes";
    expect(&text, 400, &refused(error, "bad-idempotency-key"));
    let text = ask(&house, "GET /v1/session/s_1/events?turn=x", "", "");
    expect(&text, 400, &refused("bad value of 'turn'", "bad-parameter"));
    let text = ask(&house, "GET /v1/session/s_1/events", "Last-Event-ID: x\r\n", "");
    expect(&text, 400, &refused("malformed event id", "bad-cursor"));
    assert!(orders.try_recv().is_err(), "nothing of it is ordered");
    assert_eq!(house.shared.spool_memory.taken(), 0);
    house.turn();
}

#[test]
fn a_look_a_cancellation_and_a_deletion_are_answered() {
    let answer = |order: &StoreOrder| match order {
        StoreOrder::Look(look) if look.session != name() => {
            let refusal = Refusal::UnknownSession(look.session.clone());
            StoreAnswer::Look(Box::new(Err(refusal)))
        }
        StoreOrder::Look(_) => StoreAnswer::Look(Box::new(Ok(View {
            id: session(),
            status: "running",
            turn: 2,
            running: None,
            ledger: Ledger::new(),
            turn_start: 1,
            expires_at: UnixMillis(0),
            asked: None,
            token: seed(Kind::Continuation),
            resume: seed(Kind::Resume),
            may_write: false,
        }))),
        StoreOrder::Cancel(cancel) => StoreAnswer::Cancel(match &*cancel.session {
            "running" => {
                Cancel::Cancelling { session: session(), turn: 1, owner: Default::default() }
            }
            "ended" => Cancel::Ended {
                session: session(),
                ending: Some(Box::new(Ending {
                    turn: 1,
                    attempt: 1,
                    status: 200,
                    is_committed: true,
                    answer: format!(r#"{{"sessionId":"{}","status":"finished""#, name()),
                    token: Seed { turn: 9, ..seed(Kind::Continuation) },
                    first: 1,
                    last: EventId::default(),
                    at: UnixMillis(0),
                })),
                token: seed(Kind::Continuation),
            },
            "forgotten" => {
                Cancel::Ended { session: session(), ending: None, token: seed(Kind::Continuation) }
            }
            _ => Cancel::Refused(Refusal::MissingToken(session())),
        }),
        StoreOrder::Delete(delete) if delete.session == name() => {
            StoreAnswer::Delete(Delete::Gone { session: session(), owner: None })
        }
        StoreOrder::Delete(_) => {
            StoreAnswer::Delete(Delete::Refused(Refusal::StaleToken(session())))
        }
        order => order.refused("full"),
    };
    let (house, orders) = house(|_| {}, answer);
    let id = name();
    let status = concat!(
        r#"{"status":"running","turn":2,"lastEventId":"0000-000000000000","#,
        r#""expiresAt":"1970-01-01T00:00:00.000Z"}"#
    );
    expect(&ask(&house, &format!("GET /v1/session/{id}"), "", ""), 200, status);
    let unknown = r#"{"error":"unknown session 'a b'","code":"unknown-session"}"#;
    expect(&ask(&house, "GET /v1/session/a%20b", "", ""), 404, unknown);
    orders.try_iter().for_each(drop);
    let body = r#"{"continuationToken":"ct_x"}"#;
    let text = ask(&house, "POST /v1/session/running/cancel", "", body);
    expect(&text, 202, r#"{"status":"cancelling"}"#);
    let StoreOrder::Cancel(order) = orders.recv_timeout(PATIENCE).unwrap() else { panic!() };
    assert_eq!(order.scope, "* /v1 app");
    let Right::Token(Some(presented)) = order.right else { panic!("no token") };
    assert_eq!(presented.expose(), "ct_x");
    let ended =
        format!(r#"{{"sessionId":"{id}","status":"finished","continuationToken":"{}"}}"#, token());
    expect(&ask(&house, "POST /v1/session/ended/cancel", "", ""), 200, &ended);
    let idle = ended.replace("finished", "idle");
    expect(&ask(&house, "POST /v1/session/forgotten/cancel", "", ""), 200, &idle);
    let missing = format!(
        r#"{{"error":"missing continuationToken","code":"missing-token","sessionId":"{id}"}}"#
    );
    expect(&ask(&house, "POST /v1/session/x/cancel", "", ""), 400, &missing);
    let stale = format!(
        r#"{{"error":"stale or invalid continuationToken","code":"stale-token","sessionId":"{id}"}}"#
    );
    expect(&ask(&house, "DELETE /v1/session/x", "X-Continuation-Token: ct_y\r\n", ""), 409, &stale);
    let mut client = house.client();
    let line = format!("DELETE /v1/session/{id} HTTP/1.1\r\nHost: a\r\n\r\n");
    // The connection serves on.
    for _ in 0..2 {
        client.write_all(line.as_bytes()).unwrap();
        let head = head(&mut client).unwrap();
        assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
        assert!(!head.contains("Content-Type") && !head.contains("Content-Length"), "{head}");
    }
    wait_until_told(&house, r#""method":"DELETE","path":"/v1/session/"#);
}

#[test]
fn a_store_that_fails_is_told_with_the_time_to_come_again() {
    let (house, _orders) = house(|_| {}, busy);
    let body = r#"{"error":"session store: full","code":"store"}"#;
    for line in ["GET /v1/session/x", "POST /v1/session/x/cancel", "DELETE /v1/session/x"] {
        let text = ask(&house, line, "", "");
        expect(&text, 503, body);
        assert_eq!(text.matches("\r\nRetry-After: 1\r\n").count(), 1, "{text}");
    }
}

#[test]
fn where_no_websocket_is_spoken_the_answer_is_426() {
    let (with, _orders) = house(|_| {}, busy);
    let (without, _) = house(|config| config.sessions[0].websockets = false, busy);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let disabled = r#"{"error":"websockets are disabled","code":"upgrade-required"}"#;
    let plain = r#"{"error":"only WebSocket is spoken here","code":"upgrade-required"}"#;
    for (house, fields, body, protocol) in [
        (&without, upgrade, disabled, "HTTP/1.1"),
        (&without, "", disabled, "HTTP/1.1"),
        (&without, "Connection: close\r\n", disabled, "HTTP/1.1"),
        (&with, "", plain, "websocket"),
        (&with, "Connection: close\r\n", plain, "websocket"),
    ] {
        let mut client = house.client();
        write!(client, "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").unwrap();
        let text = response(&mut client);
        expect(&text, 426, body);
        assert!(text.contains(&format!("\r\nUpgrade: {protocol}\r\n")), "{text}");
        assert!(text.contains("\r\nConnection: close, Upgrade\r\n"), "{text}");
        assert_eq!(text.matches("\r\nConnection: ").count(), 1, "{text}");
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection ends");
    }
}

#[test]
fn only_who_knows_the_secret_of_publishing_wakes() {
    let (house, orders) = house(|_| {}, busy);
    let mut client = house.client();
    client.write_all(b"POST /v1/session/s_1/wake HTTP/1.1\r\nHost: elsewhere\r\n\r\n").unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 401 "));
    let text = ask(&house, "POST /v1/session/s_1/wake", "X-Forwarded-For: 10.1.1.1\r\n", "");
    assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
    assert!(orders.try_recv().is_err(), "nothing of it is ordered");
}

#[test]
fn answers_are_changed_as_those_of_the_site_are() {
    let adjust = |config: &mut Config| {
        let mut headers = HeaderRules::default();
        headers.response.set.push(("X-Site".to_owned(), "mine".to_owned()));
        let rule = RouteRule::new("*", "/v1/*", RouteAction::Headers(headers));
        config.routes.insert(0, rule);
    };
    let (house, _orders) = house(adjust, busy);
    for line in ["GET /v1/session/x", "GET /v1/session", "POST /v1/session/x/y"] {
        assert!(ask(&house, line, "", "").contains("\r\nX-Site: mine\r\n"), "{line}");
    }
}

/// What a store says that runs everything.
fn run(order: &StoreOrder) -> StoreAnswer {
    let claimed = |cause, wake| {
        let owner = Epoch(1);
        let attempt = Attempt { session: session(), turn: 1, number: 1, owner };
        let run = Run {
            attempt,
            cause,
            is_first: cause == Cause::Start,
            last: EventId::default(),
            token: seed(Kind::Continuation),
            resume: seed(Kind::Resume),
            wake,
        };
        StoreAnswer::Claim { claim: Box::new(Claim::Run(run)), state: None }
    };
    match order {
        StoreOrder::Start(_) => claimed(Cause::Start, None),
        StoreOrder::Wake(order) => claimed(Cause::Wake, order.wake.clone()),
        StoreOrder::Append(_) => {
            StoreAnswer::Appended(Ok(Appended::Stored { is_cancelling: false }))
        }
        StoreOrder::End(order) => {
            let status = match &order.end {
                End::Outcome(outcome, _) => outcome.status(),
                _ => "failed",
            };
            let ending = Ending {
                turn: 1,
                attempt: 1,
                status: 200,
                is_committed: status == "finished",
                answer: format!(r#"{{"sessionId":"{}","status":"{status}""#, name()),
                token: seed(Kind::Continuation),
                first: 1,
                last: EventId::default(),
                at: UnixMillis(0),
            };
            let is_refused = matches!(order.end, End::Refused { .. });
            StoreAnswer::Ended(Ok(Ended::Stored {
                ending: Box::new(ending),
                event: None,
                is_refused,
            }))
        }
        order => order.refused("full"),
    }
}

/// A house whose app answers turns when it may: it tells what it is asked.
fn slow_house(
    adjust: impl FnOnce(&mut Config),
) -> (House, Orders, mpsc::Receiver<String>, mpsc::Sender<()>) {
    let (asked, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let configure = |config: &mut Config| {
        config.sessions.push(SessionsConfig::new("/v1", config.apps[0].id.clone()));
        adjust(config);
    };
    let house = House::new(configure, move |_, mut stream| {
        while let Some(head) = head(&mut stream) {
            let length = head.split("Content-Length: ").nth(1).unwrap();
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            asked.send(head + std::str::from_utf8(&body).unwrap()).unwrap();
            let _ = gone.recv_timeout(PATIENCE);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            );
        }
    });
    let queue = house.shared.sessions.queue.clone();
    queue.set_key(TokenKey::new([1; 32]));
    let orders = serve(queue, run);
    (house, orders, told, go)
}

const POST: &[u8] =
    b"POST /v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}";

/// How the turn ends, as the store is told.
fn end_of(orders: &Orders) -> &'static str {
    loop {
        match orders.recv_timeout(PATIENCE).expect("an end") {
            StoreOrder::End(order) => match order.end {
                End::Outcome(outcome, _) => return outcome.status(),
                other => panic!("{other:?}"),
            },
            _ => continue,
        }
    }
}

#[test]
fn who_has_said_everything_may_still_be_reading() {
    let (house, orders, told, go) = slow_house(|_| {});
    let mut client = house.client();
    client.write_all(POST).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let asked = told.recv_timeout(PATIENCE).unwrap();
    assert!(asked.starts_with("POST /v1/turn HTTP/1.1\r\nHost: localhost\r\n"), "{asked}");
    let body = "{\"input\":{\"a\":1},\"state\":null}";
    assert!(asked.ends_with(&format!("\r\n\r\n{body}")), "{asked}");
    assert_eq!(house.shared.spool_memory.taken(), body.len() as u64, "it is kept once");
    house.turn();
    go.send(()).unwrap();
    let text = response(&mut client);
    let answer = format!(
        r#"{{"sessionId":"{}","status":"finished","continuationToken":"{}"}}"#,
        name(),
        token()
    );
    expect(&text, 200, &answer);
    for field in [
        format!("Rip-Session-Id: {}", name()),
        "Rip-Turn: 1".to_owned(),
        "X-Accel-Buffering: no".to_owned(),
    ] {
        assert!(text.contains(&format!("\r\n{field}\r\n")), "{text}");
    }
    assert_eq!(end_of(&orders), "finished");
    assert_eq!(house.shared.spool_memory.taken(), 0);
}

#[test]
fn where_leaving_cancels_so_does_the_end_of_what_the_client_sends() {
    for at_once in [false, true] {
        let cancel = |config: &mut Config| {
            config.sessions[0].on_disconnect = rip::contract::sessions::OnDisconnect::Cancel;
        };
        let (house, orders, told, _go) = slow_house(cancel);
        let mut client = house.client();
        client.write_all(POST).unwrap();
        if !at_once {
            told.recv_timeout(PATIENCE).unwrap();
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(end_of(&orders), "cancelled");
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "nobody is answered");
        wait_until_told(&house, r#""path":"/v1/session","status":499"#);
        assert_eq!(house.shared.spool_memory.taken(), 0);
    }
}

#[test]
fn who_does_not_wait_is_answered_while_the_turn_runs() {
    let (house, orders, told, go) = slow_house(|config| {
        config.sessions[0].on_disconnect = rip::contract::sessions::OnDisconnect::Cancel;
    });
    let text = ask(&house, "POST /v1/session", "Prefer: a, respond-async\r\n", "{}");
    let accepted = format!(
        r#"{{"sessionId":"{}","status":"running","turn":1,"continuationToken":"{}"}}"#,
        name(),
        token()
    );
    expect(&text, 202, &accepted);
    let location = format!("\r\nLocation: /v1/session/{}/events?turn=1\r\n", name());
    assert!(text.contains(&location), "{text}");
    assert!(text.contains("\r\nPreference-Applied: respond-async\r\n"), "{text}");
    told.recv_timeout(PATIENCE).unwrap();
    house.turn();
    go.send(()).unwrap();
    // Its client has long left, which cancels nothing.
    assert_eq!(end_of(&orders), "finished");
}

#[test]
fn the_secret_of_who_wakes_is_not_the_apps() {
    let (house, orders, told, go) = slow_house(|_| {});
    go.send(()).unwrap();
    let fields = "Authorization: Bearer secret\r\nX-Own: 1\r\nIdempotency-Key: x\r\n";
    let text = ask(&house, "POST /v1/session/s_1/wake", fields, r#"{"why":2}"#);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let asked = told.recv_timeout(PATIENCE).unwrap();
    assert!(asked.ends_with(r#"{"input":{},"state":null,"wake":{"why":2}}"#), "{asked}");
    assert!(asked.contains("\r\nX-Own: 1\r\n"), "{asked}");
    assert!(!asked.contains("secret") && !asked.contains("Idempotency-Key: x"), "{asked}");
    assert_eq!(end_of(&orders), "finished");
}
