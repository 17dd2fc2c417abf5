//! Turns on a whole loop with a real store.

use crate::agents::store::StoreAgent;
use crate::agents::store::fault::Faults;
use crate::agents::store::place::Place;
use crate::edge::tests::{House, PATIENCE, head, response, wait_until};
use crate::sys::test_dir::TestDir;
use rip::contract::sessions::SessionsConfig;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A loop whose app has sessions, and their store.
struct Bench {
    house: House,
    _agent: StoreAgent,
}

impl Bench {
    fn new(place: &Place, serve: impl FnMut(usize, UnixStream) + Send + 'static) -> Self {
        let house = House::new(
            |config| {
                config.sessions.push(SessionsConfig::new("/v1", config.apps[0].id.clone()));
                config.apps[0].max_queue = 1000;
            },
            serve,
        );
        let (queue, control) = (house.shared.sessions.queue.clone(), house.shared.control.clone());
        let agent = StoreAgent::start(place.clone(), Faults::default(), queue, control).unwrap();
        // It is asked before it can answer otherwise.
        wait_until("the store never opens", || house.shared.sessions.queue.key().is_some());
        Self { house, _agent: agent }
    }

    fn post(&self, path: &str, token: Option<&str>, input: &Value) -> (u16, Value) {
        let mut client = self.house.client();
        let body = input.to_string();
        let token =
            token.map_or(String::new(), |token| format!("x-continuation-token: {token}\r\n"));
        let length = body.len();
        let head = format!("POST /v1{path} HTTP/1.1\r\nHost: a\r\n{token}");
        write!(client, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
        let text = response(&mut client);
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap())
    }

    /// One message of a session, told again until it is committed.
    fn say(&self, session: &mut Told, input: &Value) -> Value {
        let path = format!("/session/{}/message", session.id);
        let mut tries = 0;
        loop {
            let (status, body) = self.post(&path, Some(&session.token), input);
            if status == 200 {
                session.hear(&body);
                return body;
            }
            assert!(matches!(status, 502..=504), "{status} {body}");
            assert_eq!(body["continuationToken"], session.token, "{body}");
            tries += 1;
            assert!(tries < 50, "{status} {body}");
        }
    }

    fn is_idle(&self) -> bool {
        let table = self.house.shared.sessions.table();
        table.check_invariants();
        table.running_count() == 0
    }
}

/// What a client knows of its session.
struct Told {
    id: String,
    token: String,
}

impl Told {
    fn of(body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().expect(name).to_owned();
        Self { id: text("sessionId"), token: text("continuationToken") }
    }

    fn hear(&mut self, body: &Value) {
        let told = Self::of(body);
        assert_eq!(told.id, self.id);
        assert_ne!(told.token, self.token, "it was committed: {body}");
        *self = told;
    }
}

/// A request of the edge's.
struct Asked {
    head: String,
    body: Value,
}

impl Asked {
    fn read(stream: &mut UnixStream) -> Option<Self> {
        let head = head(stream)?;
        let length = head.split("Content-Length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        Some(Self { head, body: serde_json::from_slice(&body).unwrap() })
    }

    fn number(&self, name: &str) -> u64 {
        let value = self.head.split(&format!("\r\n{name}: ")).nth(1).expect(name);
        value.split("\r\n").next().unwrap().parse().unwrap()
    }
}

fn json(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn stream(events: &[Value]) -> Vec<u8> {
    let mut text = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
                    Transfer-Encoding: chunked\r\n\r\n"
        .to_owned();
    for event in events {
        let line = format!("{event}\n");
        text.push_str(&format!("{:x}\r\n{line}\r\n", line.len()));
    }
    text.into_bytes()
}

#[test]
fn each_turn_is_committed_once_whatever_its_worker_does() {
    const CLIENTS: u64 = 8;
    const TURNS: u64 = 12;
    let mut dice = 7_u64;
    // It counts turns in its state, and now and then does something else instead.
    let bench = Bench::new(&Place::Memory, move |_, mut worker| {
        while let Some(asked) = Asked::read(&mut worker) {
            let count = asked.body["state"]["count"].as_u64().unwrap_or(0) + 1;
            assert_eq!(asked.number("Rip-Turn"), count, "state and turn go together");
            let delta = json!({ "type": "delta", "text": count.to_string() });
            let kept = json!({ "count": count });
            let outcome = json!({
                "type": "outcome", "status": "finished", "output": count, "state": kept,
            });
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (answer, goes_on) = match (dice >> 33) % 8 {
                0 => (Vec::new(), false),
                1 => (stream(&[delta]), false),
                2 => (stream(&[delta, outcome]), false),
                3 => (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(), true),
                4 => (
                    b"HTTP/1.1 503 Busy\r\nRip-Worker-Busy: 1\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                    true,
                ),
                5 => ([&stream(&[delta, outcome]), b"0\r\n\r\n".as_slice()].concat(), true),
                _ => (json(&json!({ "status": "finished", "output": count, "state": kept })), true),
            };
            if worker.write_all(&answer).is_err() || !goes_on {
                return;
            }
        }
    });
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let (status, body) = bench.post("/session", None, &json!({}));
                let mut told = Told::of(&body);
                let mut committed = u64::from(status == 200);
                while committed < TURNS {
                    let body = bench.say(&mut told, &json!({ "n": committed }));
                    committed += 1;
                    assert_eq!(body["output"], committed, "{body}");
                }
            });
        }
    });
    wait_until("a turn never ends", || bench.is_idle());
    wait_until("a lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_session_is_woken_by_its_own_timer() {
    let bench = Bench::new(&Place::Memory, |_, mut worker| {
        while let Some(asked) = Asked::read(&mut worker) {
            let wait = json!({ "id": "w", "until": "2001-01-01T00:00:00Z" });
            let answer = match &asked.body["wake"] {
                Value::Null => json!({ "status": "parked", "wait": wait, "state": 5 }),
                wake => {
                    assert_eq!((wake, &asked.body["state"]), (&wait, &json!(5)));
                    assert!(asked.head.contains("\r\nHost: localhost\r\n"), "{}", asked.head);
                    json!({ "status": "finished", "output": "woken" })
                }
            };
            worker.write_all(&json(&answer)).unwrap();
        }
    });
    let (status, body) = bench.post("/session", None, &json!({}));
    assert_eq!((status, &body["status"]), (200, &json!("parked")));
    let told = Told::of(&body);
    let mut events = Vec::new();
    wait_until("it is never woken", || {
        let mut client = bench.house.client();
        let ask = format!("GET /v1/session/{}/events?last_event_id=earliest HTTP/1.1\r\n", told.id);
        let fields = "Host: a\r\nAccept: application/json\r\nx-continuation-token: ";
        write!(client, "{ask}{fields}{}\r\n\r\n", told.token).unwrap();
        let text = response(&mut client);
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        events = body["events"].as_array().unwrap().clone();
        events.len() == 2
    });
    assert_eq!((&events[1]["turn"], &events[1]["output"]), (&json!(2), &json!("woken")));
    // Its token reads on, and is used up.
    let path = format!("/session/{}/message", told.id);
    assert_eq!(bench.post(&path, Some(&told.token), &json!({})).0, 409);
}

#[test]
fn a_turn_that_is_cut_may_be_run_again_while_its_store_lives() {
    let dir = TestDir::make();
    let place = Place::File(dir.path().join("sessions.db"));
    let (tell, told) = mpsc::channel();
    let first = Bench::new(&place, move |_, mut worker| {
        while let Some(asked) = Asked::read(&mut worker) {
            match asked.number("Rip-Turn") {
                1 => worker.write_all(&json(&json!({ "status": "finished" }))).unwrap(),
                _ => {
                    let delta = json!({ "type": "delta", "text": "a" });
                    worker.write_all(&stream(&[delta])).unwrap();
                    tell.send(()).unwrap();
                    assert!(Asked::read(&mut worker).is_none());
                }
            }
        }
    });
    let (status, body) = first.post("/session", None, &json!({}));
    assert_eq!(status, 200, "{body}");
    let mut session = Told::of(&body);
    let mut client = first.house.client();
    let (id, token) = (&session.id, &session.token);
    let ask = format!("POST /v1/session/{id}/message HTTP/1.1\r\nHost: a\r\n");
    write!(client, "{ask}x-continuation-token: {token}\r\nContent-Length: 0\r\n\r\n").unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    let second = Bench::new(&place, |_, mut worker| {
        while let Some(asked) = Asked::read(&mut worker) {
            let output = json!([asked.number("Rip-Turn"), asked.number("Rip-Turn-Attempt")]);
            let answer = json!({ "status": "finished", "output": output });
            worker.write_all(&json(&answer)).unwrap();
        }
    });
    let path = format!("/session/{id}/message");
    let (status, body) = second.post(&path, Some(token), &json!({}));
    assert_eq!(status, 409, "it runs over there: {body}");
    // Its master lives on: only who gives it up can end it.
    first.house.edges.lock().unwrap().take().unwrap().stop();
    let mut answer = Value::Null;
    wait_until("it is never interrupted", || {
        let (status, body) = second.post(&path, Some(&session.token), &json!({}));
        assert!(matches!(status, 200 | 409), "{body}");
        thread::sleep(Duration::from_millis(20));
        answer = body;
        status == 200
    });
    assert_eq!(answer["output"], json!([2, 2]), "the second attempt of the same turn");
    session.hear(&answer);
}
