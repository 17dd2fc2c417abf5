//! A thousand sessions with five turns each, while workers are killed, the app rolls, and the server is
//! stopped and killed: nothing that was committed is lost, and nothing has its effect twice.

use crate::harness::session::{Ask, Session, Stream};
use crate::harness::{Response, Server, Setup, eventually, processes, within};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SESSIONS: usize = 1000;
const TURNS: u64 = 5;
const CLIENTS: usize = 24;

/// What the clients have come to, together.
#[derive(Debug, Default)]
struct Tally {
    /// Turns that somebody knows of.
    known: AtomicU64,
    /// How they became known.
    answered: AtomicU64,
    replayed: AtomicU64,
    found: AtomicU64,
    /// Requests without an answer that says what became of them.
    lost: AtomicU64,
    /// What must not be.
    wrong: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Tally {
    fn known(&self) -> u64 {
        self.known.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().expect("what is wrong").push(what);
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// How a client finds out what became of a turn whose answer was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// It asks again with the same key.
    Keyed,
    /// It asks again with the same token, and reads the events when that is used up.
    Reading,
}

/// One session's client.
struct Caller {
    number: usize,
    manner: Manner,
    session: Option<Session>,
    committed: u64,
    /// Requests so far.
    tried: usize,
}

/// What one request came to.
enum Came {
    /// The turn's outcome.
    Outcome { body: Value, session: Session, is_replay: bool },
    /// Nobody knows.
    Lost,
    /// It was answered that the token is used up.
    Stale,
    /// What cannot be.
    Wrong(String),
}

impl Caller {
    fn new(number: usize) -> Self {
        let manner = if number % 4 == 3 { Manner::Reading } else { Manner::Keyed };
        Self { number, manner, session: None, committed: 0, tried: number }
    }

    fn is_streamed(&self) -> bool {
        (self.number as u64 + self.committed) % 3 == 1
    }

    /// The request for its next turn: the same each time it is made.
    fn ask(&self) -> Ask {
        let turn = self.committed + 1;
        let input = match self.is_streamed() {
            true => json!({"number": self.number, "steps": ["a ", {"many": 8, "size": 100}]}),
            false => json!({"number": self.number}),
        };
        let (ask, is_keyed) = match &self.session {
            // Without a key nobody could know which session was made.
            None => (Ask::start(&input), true),
            Some(session) => (Ask::message(session, &input), self.manner == Manner::Keyed),
        };
        let ask = if self.is_streamed() { ask.sse() } else { ask };
        let key = format!("storm of session {} turn {turn}", self.number);
        if is_keyed { ask.key(&key) } else { ask }
    }

    /// Makes its next turn happen.
    fn turn(&mut self, ports: &[u16], tally: &Tally) {
        let begin = Instant::now();
        let ask = self.ask();
        while !tally.is_over() {
            // Whoever is there: masters that share a store are one server.
            let tried = self.tried;
            self.tried += 1;
            let port = ports[tried % ports.len()];
            let came = self.come(&ask, port);
            let (body, session, is_replay) = match came {
                Came::Outcome { body, session, is_replay } => (body, session, is_replay),
                Came::Stale if self.manner == Manner::Reading => match self.find(port) {
                    Some((body, session)) => {
                        tally.found.fetch_add(1, Ordering::Relaxed);
                        return self.learn(&body, session, tally);
                    }
                    None => continue,
                },
                Came::Lost if begin.elapsed() < PATIENCE => {
                    tally.lost.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Came::Lost => return tally.wrong(format!("session {} waits", self.number)),
                Came::Stale => {
                    return tally.wrong(format!("session {}: its token is used up", self.number));
                }
                Came::Wrong(what) => {
                    return tally.wrong(format!("session {}: {what}", self.number));
                }
            };
            let counter = if is_replay { &tally.replayed } else { &tally.answered };
            counter.fetch_add(1, Ordering::Relaxed);
            return self.learn(&body, session, tally);
        }
    }

    /// The outcome of its turn: it is the right one, and the first of its number.
    fn learn(&mut self, body: &Value, session: Session, tally: &Tally) {
        let output = &body["output"];
        let before = output["state"]["count"].as_u64().unwrap_or(0);
        let is_so = output["input"]["number"] == self.number
            && output["turn"] == self.committed + 1
            && before == self.committed
            && self.session.as_ref().is_none_or(|own| own.id == session.id)
            && self.session.as_ref().is_none_or(|own| own.token != session.token);
        if !is_so {
            return tally.wrong(format!("session {} had {}: {body}", self.number, self.committed));
        }
        self.committed += 1;
        self.session = Some(session);
        tally.known.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes one request.
    fn come(&self, ask: &Ask, port: u16) -> Came {
        let Ok(mut client) = ask.try_send(port) else { return Came::Lost };
        let Ok(head) = client.try_head() else { return Came::Lost };
        let is_json = head.fields.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("content-type") && value == "application/json"
        });
        if is_json {
            let Ok(body) = client.body("POST", &head) else { return Came::Lost };
            let (version, status, fields) = (head.version, head.status, head.fields);
            let informational = Vec::new();
            return answered(&Response { version, status, fields, body, informational });
        }
        match Stream::after(client, head) {
            Ok(stream) => streamed(stream),
            Err(response) => answered(&response),
        }
    }

    /// Reads what became of its turn, whose token is used up.
    fn find(&self, port: u16) -> Option<(Value, Session)> {
        let session = self.session.as_ref()?;
        let query = format!("?last_event_id=earliest&limit=1000&turn={}", self.committed + 1);
        let ask = Ask::events(session, &query).field("Accept", "application/json");
        let response = ask.try_answer(port).ok().filter(|response| response.status == 200)?;
        let events = response.json()["events"].as_array()?.clone();
        let is_own =
            |event: &Value| event["type"] == "outcome" && event["turn"] == self.committed + 1;
        let outcome = events.into_iter().rfind(is_own)?;
        let token = outcome["continuationToken"].as_str()?.to_owned();
        Some((outcome, Session { token, ..session.clone() }))
    }
}

fn answered(response: &Response) -> Came {
    let wrong = |what: &str| Came::Wrong(format!("{what}: {response:?}"));
    match response.status {
        200 => {
            let body = response.json();
            let is_replay = response.values("Idempotency-Replayed") == ["true"];
            match body["status"] == "finished" {
                true => Came::Outcome { session: Session::of(response), body, is_replay },
                false => wrong("no outcome"),
            }
        }
        409 => match response.json()["code"].as_str() {
            Some("in-flight") => Came::Lost,
            Some("stale-token") => Came::Stale,
            _ => wrong("another refusal"),
        },
        502..=504 => Came::Lost,
        _ => wrong("a status"),
    }
}

fn streamed(mut stream: Stream) -> Came {
    loop {
        match stream.try_next() {
            Ok(Some(event)) if event.kind() == "outcome" => {
                let is_replay = stream
                    .head
                    .fields
                    .iter()
                    .any(|(name, _)| name.eq_ignore_ascii_case("idempotency-replayed"));
                let session = Session::of_stream(&stream.head, &event);
                return Came::Outcome { body: event.data, session, is_replay };
            }
            Ok(Some(event)) if event.kind() == "error" => match &event.data["retryable"] {
                Value::Bool(true) => return Came::Lost,
                _ => return Came::Wrong(format!("an error for good: {event:?}")),
            },
            Ok(Some(_)) => {}
            // It was cut: whatever it told is told by the store as well.
            Ok(None) | Err(_) => return Came::Lost,
        }
    }
}

/// What happens to the server.
#[derive(Clone, Copy, Debug)]
enum Blow {
    WorkerDies,
    Rolls,
    Stops,
    Dies,
    /// It is started anew, and dies at this step of its store, in the middle of what it does for many.
    DiesAt(u32),
    /// It is started anew with a store that fails like this for a while.
    Suffers(&'static str),
}

/// In equal parts of the work.
const BLOWS: [Blow; 14] = [
    Blow::WorkerDies,
    Blow::Rolls,
    Blow::Dies,
    Blow::Suffers("full:300-420"),
    Blow::WorkerDies,
    Blow::DiesAt(702),
    Blow::Stops,
    Blow::WorkerDies,
    Blow::DiesAt(511),
    Blow::Suffers("unreachable:200-260"),
    Blow::Rolls,
    Blow::DiesAt(333),
    Blow::Suffers("broken:400"),
    Blow::Rolls,
];

impl Blow {
    #[track_caller]
    fn strike(self, server: &mut Server, is_shared: bool) {
        // Whatever moment it was: nothing in the store contradicts itself.
        let look = |server: &Server| {
            if !is_shared {
                server.stored();
            }
        };
        match self {
            Self::WorkerDies => {
                let ready = server.ready_workers();
                let pid = ready.first().and_then(|row| row["appPid"].as_u64());
                if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
                    processes::signal_if_alive(pid, Signal::SIGKILL);
                }
            }
            Self::Rolls => drop(server.order(&["restart"])),
            Self::Stops => {
                assert_eq!(server.stop(), 0);
                look(server);
                server.start_again();
            }
            Self::Dies => {
                server.kill();
                look(server);
                server.start_again();
            }
            Self::DiesAt(step) => {
                server.kill();
                // Its clients wait for it: they take it there.
                server.starts_again_with("RIP_STORE_FAULT", &format!("kill:{step}"));
                server.was_killed();
                look(server);
                server.start_again();
            }
            Self::Suffers(fault) => {
                server.kill();
                assert!(server.starts_again_with("RIP_STORE_FAULT", fault), "{fault}");
            }
        }
    }
}

/// Has clients run five turns of each of so many sessions, while these blows come down on the masters;
/// what the clients are in the end.
#[track_caller]
fn storm(servers: &mut [Server], sessions: usize, blows: &[(usize, Blow)]) -> Vec<Caller> {
    let ports: Vec<_> = servers.iter().map(Server::port).collect();
    let is_shared = servers.len() > 1;
    let tally = Tally::default();
    let callers: Vec<Caller> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (tally, ports) = (&tally, &ports);
                scope.spawn(move || {
                    let numbers = (client..sessions).step_by(CLIENTS);
                    let mut callers: Vec<_> = numbers.map(Caller::new).collect();
                    for _ in 0..TURNS {
                        callers.iter_mut().for_each(|caller| caller.turn(ports, tally));
                    }
                    callers
                })
            })
            .collect();
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (number, (server, blow)) in (1..).zip(blows) {
                let share = sessions as u64 * TURNS * number / (blows.len() as u64 + 1);
                let came = within(PATIENCE * 2, || {
                    (tally.known() >= share || tally.is_over()).then_some(())
                });
                assert!(came.is_some(), "{blow:?} after {} turns", tally.known());
                if tally.is_over() {
                    return;
                }
                blow.strike(&mut servers[*server], is_shared);
            }
        }));
        if struck.is_err() {
            tally.is_over.store(true, Ordering::SeqCst);
        }
        let callers = clients.into_iter().flat_map(|client| client.join().expect("a client"));
        let callers = callers.collect();
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        callers
    });
    let wrong = tally.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // It was a storm.
    assert!(tally.lost.load(Ordering::Relaxed) > blows.len() as u64, "{tally:?}");
    assert_eq!(tally.known(), sessions as u64 * TURNS);
    // Each is where its client thinks it is.
    for caller in callers.iter().step_by(20) {
        let session = caller.session.as_ref().unwrap();
        for server in &*servers {
            eventually("rest", || session.status(server)["status"] == "idle");
            assert_eq!(session.status(server)["turn"], TURNS);
        }
    }
    for server in &mut *servers {
        assert!(server.moved_aside().is_empty());
        assert_eq!(server.stop(), 0);
    }
    callers
}

fn setup() -> Setup {
    let setup = Setup::turns_command().workers(2).flag("--restart-backoff-ms", 20);
    setup.flag("--max-restarts", 50)
}

#[test]
fn a_thousand_sessions_survive_whatever_happens_to_the_server() {
    let server = setup().start();
    server.wait_for_workers(2);
    let mut servers = [server];
    let callers = storm(&mut servers, SESSIONS, &BLOWS.map(|blow| (0, blow)));
    balance(&servers, &callers);
}

#[test]
fn two_masters_that_share_a_store_are_one_server_whichever_of_them_dies() {
    let one = setup().start();
    let two = setup().flag("--sessions-db", one.store().display()).start();
    let mut servers = [one, two];
    let blows = [
        (0, Blow::Dies),
        (1, Blow::Dies),
        (0, Blow::WorkerDies),
        (1, Blow::Stops),
        (0, Blow::Stops),
        (1, Blow::Rolls),
        (0, Blow::Dies),
        (1, Blow::Dies),
    ];
    let callers = storm(&mut servers, SESSIONS / 4, &blows);
    balance(&servers, &callers);
}

/// What the store holds and what the app was asked is what the clients know.
#[track_caller]
fn balance(servers: &[Server], callers: &[Caller]) {
    let stored = servers[0].stored();
    assert_eq!(stored.names().len(), callers.len(), "a start with a key makes one session");
    let mut executed: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for asked in servers.iter().flat_map(|server| server.turns("turn")) {
        let (turn, attempt) = asked.attempt();
        let key = format!("{}:{turn}", asked.session());
        assert_eq!(asked.values("Idempotency-Key"), [&key]);
        assert!(turn <= TURNS, "{key} was never asked for");
        assert!(executed.entry(key.clone()).or_default().insert(attempt), "{key}: {attempt} twice");
    }
    for caller in callers {
        let session = caller.session.as_ref().expect("a session");
        assert_eq!((caller.committed, stored.committed(&session.id)), (TURNS, TURNS));
        assert_eq!(stored.session(&session.id)["state"]["count"], TURNS, "{}", session.id);
        assert_eq!(stored.session(&session.id)["running"], false, "{}", session.id);
        for turn in 1..=TURNS {
            assert!(executed.contains_key(&format!("{}:{turn}", session.id)), "never executed");
        }
    }
}

/// How long a client tries the same turn again.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
