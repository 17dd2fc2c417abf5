//! Turns of sessions: a thread for a worker, and a store in the hands of the test.

use super::*;
use crate::shared::mail::Farewell;
use crate::shared::mail::{EdgeMessage, StuckExchange};
use crate::shared::sessions::SessionMail;
use crate::shared::store::{ReadJob, StoreAnswer, StoreJob, StoreMail, StoreOrder};
use rip::contract::sessions::SessionsConfig;
use rip::ids::LoopIndex;
use rip::session::claim::{Attempt, Claim, Run};
use rip::session::end::{AppendOrder, Appended, End, EndOrder, Ended, Lost};
use rip::session::{
    Cause, Ending, Epoch, Event, EventId, Failure, Kind, Nonce, Outcome, Seed, SessionId, State,
    TokenKey,
};
use rip::time::UnixMillis;

const SESSION: SessionId = SessionId::new([7; 16]);
const SSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                   Transfer-Encoding: chunked\r\n\r\n";
const OUTCOME: &str = "{\"type\":\"outcome\",\"status\":\"finished\",\"output\":1}";

/// A loop whose app has sessions, and its store.
struct Bench {
    house: House,
}

impl Bench {
    fn new(
        adjust: impl FnOnce(&mut Config),
        serve: impl FnMut(usize, UnixStream) + Send + 'static,
    ) -> Self {
        let configure = |config: &mut Config| {
            let mut place = SessionsConfig::new("/v1", config.apps[0].id.clone());
            place.hosts = vec!["chat.test".to_owned()];
            config.sessions.push(place);
            adjust(config);
        };
        Self { house: House::new(configure, serve) }
    }

    fn mail(&self, message: EdgeMessage) {
        self.house.shared.hubs.mail(LoopIndex(0), message);
    }

    /// The timer of the session is due: the loop wants to run its turn.
    fn wake(&self) -> StoreJob {
        let scope = self.house.shared.current.load().config.sessions[0].scope();
        self.mail(EdgeMessage::Store(Box::new(StoreMail::Due { session: SESSION, scope })));
        let job = self.job();
        assert!(matches!(job.order, StoreOrder::Wake(_)), "{:?}", job.order);
        job
    }

    /// The turn is the loop's.
    fn begin(&self, turn: u64) -> Attempt {
        let run = run(turn);
        let attempt = run.attempt;
        let state = Some("{\"n\":1}".to_owned());
        self.wake().answer(StoreAnswer::Claim { claim: Box::new(Claim::Run(run)), state });
        attempt
    }

    /// A client starts a session: its turn is the loop's.
    fn start(&self, fields: &str) -> (TcpStream, Attempt) {
        self.house.shared.sessions.queue.set_key(TokenKey::new([1; 32]));
        let mut client = self.house.client();
        let head = "POST /v1/session HTTP/1.1\r\nHost: chat.test\r\n";
        write!(client, "{head}{fields}Content-Length: 0\r\n\r\n").unwrap();
        let job = self.job();
        assert!(matches!(job.order, StoreOrder::Start(_)), "{:?}", job.order);
        let run = Run { cause: Cause::Start, is_first: true, wake: None, ..run(1) };
        let attempt = run.attempt;
        let claim = Box::new(Claim::Run(run));
        job.answer(StoreAnswer::Claim { claim, state: None });
        (client, attempt)
    }

    /// What the loop orders next.
    fn job(&self) -> StoreJob {
        let mut found = None;
        wait_until("nothing is ordered", || {
            found = self.jobs(1).pop();
            found.is_some()
        });
        found.unwrap()
    }

    fn jobs(&self, count: usize) -> Vec<StoreJob> {
        let queue = &self.house.shared.sessions.queue;
        queue.take_writes(count, Duration::from_millis(1)).map_or(Vec::new(), |taken| taken.jobs)
    }

    fn appended(&self) -> (AppendOrder, StoreJob) {
        let job = self.job();
        match job.order.clone() {
            StoreOrder::Append(order) => (order, job),
            other => panic!("{other:?}"),
        }
    }

    /// The end of a turn, its events stored on the way.
    fn end(&self) -> (Vec<Event>, EndOrder, StoreJob) {
        let mut events = Vec::new();
        loop {
            let job = self.job();
            match job.order.clone() {
                StoreOrder::Append(order) => {
                    events.extend(order.events);
                    job.answer(stored());
                }
                StoreOrder::End(order) => {
                    events.extend(order.events.clone());
                    return (events, order, job);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn running(&self) -> usize {
        self.house.shared.sessions.table().running_count()
    }

    fn wait_for_stuck(&self) -> StuckExchange {
        let mut stuck = None;
        let began = Instant::now();
        while stuck.is_none() {
            assert!(began.elapsed() < PATIENCE, "nobody is told");
            let mut mail = Vec::new();
            self.house.mail.lock().unwrap().drain(&mut mail);
            stuck = mail.into_iter().find_map(|message| match message {
                ControlMessage::WorkerStuck(stuck) => Some(stuck),
                _ => None,
            });
            thread::yield_now();
        }
        stuck.unwrap()
    }
}

fn run(turn: u64) -> Run {
    let owner = Epoch(1);
    let seed = |kind, turn| Seed { kind, turn, nonce: Nonce([1; 16]) };
    Run {
        attempt: Attempt { session: SESSION, turn, number: 1, owner },
        cause: Cause::Timer,
        is_first: false,
        last: EventId::new(owner, 3),
        token: seed(Kind::Continuation, turn),
        resume: seed(Kind::Resume, 0),
        wake: Some("{\"id\":\"w\"}".to_owned()),
    }
}

fn stored() -> StoreAnswer {
    StoreAnswer::Appended(Ok(Appended::Stored { is_cancelling: false }))
}

/// The store takes the end as it was ordered.
fn ended(order: &EndOrder) -> StoreAnswer {
    let Attempt { turn, number, .. } = order.attempt;
    let seq = order.events.last().map_or(3, |event| event.id.seq) + 1;
    let (id, at) = (EventId::new(Epoch(1), seq), UnixMillis(0));
    let token = Seed { kind: Kind::Continuation, turn, nonce: order.next };
    let (status, event) = match &order.end {
        End::Outcome(outcome, _) => (200, Event::outcome(id, turn, at, SESSION, outcome, token)),
        End::Failed(failure) => (failure.status(), Event::error(id, turn, at, failure, None)),
        End::Refused { status, .. } => {
            (*status, Event::error(id, turn, at, &Failure::Refused(*status), None))
        }
    };
    let ending = Box::new(Ending {
        turn,
        attempt: number,
        status,
        is_committed: status == 200,
        answer: "{\"status\":\"finished\"".to_owned(),
        token,
        first: 4,
        last: id,
        at,
    });
    let is_refused = matches!(order.end, End::Refused { .. });
    StoreAnswer::Ended(Ok(Ended::Stored { ending, event: Some(event), is_refused }))
}

/// The next request of a connection: its head and its body.
fn asked(stream: &mut UnixStream) -> Option<(String, String)> {
    let head = head(stream)?;
    let length = head.split("Content-Length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

fn whole(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// An event of a stream, in a chunk.
fn event(json: &str) -> Vec<u8> {
    let block = format!("data: {json}\n\n");
    format!("{:x}\r\n{block}\r\n", block.len()).into_bytes()
}

fn delta(text: &str) -> Vec<u8> {
    event(&format!("{{\"type\":\"delta\",\"text\":\"{text}\"}}"))
}

fn is_finished(order: &EndOrder, output: &str) -> bool {
    let End::Outcome(Outcome::Finished { output: found }, State::Same) = &order.end else {
        return false;
    };
    found == output
}

fn failure(order: &EndOrder) -> &Failure {
    match &order.end {
        End::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// What a worker was asked: on which connection, the head, the body.
type Heard = mpsc::Receiver<(usize, String, String)>;

/// One that answers every request with `answer`, and tells what it was asked on which connection.
fn worker(
    mut answer: impl FnMut(usize) -> Vec<u8> + Send + 'static,
) -> (impl FnMut(usize, UnixStream) + Send + 'static, Heard) {
    let (tell, told) = mpsc::channel();
    let mut count = 0;
    let serve = move |number, mut stream: UnixStream| {
        while let Some((head, body)) = asked(&mut stream) {
            let _ = tell.send((number, head, body));
            count += 1;
            if stream.write_all(&answer(count)).is_err() {
                return;
            }
        }
    };
    (serve, told)
}

#[test]
fn an_app_is_asked_for_a_turn_with_all_it_needs() {
    let (serve, told) = worker(|_| whole("200 OK", "{\"status\":\"finished\",\"output\":[7]}"));
    let bench = Bench::new(|_| {}, serve);
    for turn in 2..5 {
        bench.begin(turn);
        let (events, order, job) = bench.end();
        assert!(events.is_empty() && is_finished(&order, "[7]"), "{order:?}");
        assert_eq!(bench.running(), 1);
        job.answer(ended(&order));
        wait_until("the turn never ends", || bench.running() == 0);
        let (number, head, body) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(number, 0, "the connection serves again");
        assert_eq!(body, "{\"input\":{},\"state\":{\"n\":1},\"wake\":{\"id\":\"w\"}}");
        assert!(head.starts_with("POST /v1/turn HTTP/1.1\r\nHost: chat.test\r\n"), "{head}");
        for line in [
            "Content-Type: application/json",
            "Rip-Edge: turn",
            &format!("Rip-Session-Id: {SESSION}"),
            &format!("Rip-Turn: {turn}"),
            "Rip-Turn-Attempt: 1",
            &format!("Idempotency-Key: {SESSION}:{turn}"),
            "X-Forwarded-Proto: http",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert_eq!(head.matches("\r\ntraceparent: 00-").count(), 1, "{head}");
        assert_eq!(head.matches("\r\nX-Request-Id: ").count(), 1, "{head}");
    }
    assert_eq!(bench.house.inflight(), 0);
    wait_until("no line is written", || {
        bench.house.lines().contains(r#""path":"/v1/turn","status":200"#)
    });
}

#[test]
fn events_are_stored_one_order_after_the_other_and_seen_then() {
    let (go, gone) = mpsc::channel::<Vec<u8>>();
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            for bytes in gone.iter() {
                stream.write_all(&bytes).unwrap();
            }
        },
    );
    bench.begin(2);
    go.send([SSE.as_bytes(), &delta("a")].concat()).unwrap();
    let (first, job) = bench.appended();
    assert_eq!(first.events.iter().map(|event| event.id.seq).collect::<Vec<_>>(), [4]);
    assert!(first.events[0].data.contains("\"text\":\"a\""), "{}", first.events[0].data);
    go.send([delta("b"), delta("c")].concat()).unwrap();
    for _ in 0..20 {
        bench.house.turn();
    }
    assert!(bench.jobs(1).is_empty(), "one order at a time");
    let page = |after| {
        let table = bench.house.shared.sessions.table();
        table.page(SESSION, EventId::new(Epoch(1), after), 10).map(|page| page.events.len())
    };
    assert_eq!(page(3), None, "what is not stored is not seen");
    job.answer(stored());
    let (second, job) = bench.appended();
    assert_eq!(second.events.iter().map(|event| event.id.seq).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(page(3), Some(1));
    go.send([&event(OUTCOME), b"0\r\n\r\n".as_slice()].concat()).unwrap();
    job.answer(stored());
    let (events, order, job) = bench.end();
    assert!(events.is_empty() && is_finished(&order, "1"), "{order:?}");
    assert_eq!(page(3), Some(3));
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_worker_waits_while_the_store_does() {
    const PIECES: usize = 200;
    const PIECE_BYTES: usize = 64 * 1024;
    let written = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&written);
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(SSE.as_bytes()).unwrap();
            for _ in 0..PIECES {
                stream.write_all(&delta(&"x".repeat(PIECE_BYTES))).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
            stream.write_all(&event(OUTCOME)).unwrap();
            stream.write_all(b"0\r\n\r\n").unwrap();
        },
    );
    bench.begin(2);
    let (first, job) = bench.appended();
    // It stands still when every buffer between the two is full.
    let mut before = u32::MAX;
    wait_until("it never waits", || {
        let now = written.load(Ordering::Relaxed);
        let stands = std::mem::replace(&mut before, now) == now;
        thread::sleep(Duration::from_millis(50));
        bench.house.turn();
        stands
    });
    let held = written.load(Ordering::Relaxed) as usize * PIECE_BYTES;
    assert!(held < rip::limits::TURN_UNSTORED_BYTES + 1024 * 1024, "{held} bytes are held");
    job.answer(stored());
    let (events, order, job) = bench.end();
    assert_eq!(first.events.len() + events.len(), PIECES);
    assert!(events.iter().zip(&events[1..]).all(|(one, next)| one.id.seq + 1 == next.id.seq));
    assert!(is_finished(&order, "1"), "{:?}", order.end);
    job.answer(ended(&order));
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_flood_without_a_word_starves_nobody() {
    let (stop, stopped) = mpsc::channel::<()>();
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(SSE.as_bytes()).unwrap();
            let comment = format!("{:x}\r\n{}\r\n", 65536, ":\n".repeat(32768));
            while stopped.try_recv().is_err() {
                stream.write_all(comment.as_bytes()).unwrap();
            }
            stream.write_all(&event(OUTCOME)).unwrap();
            stream.write_all(b"0\r\n\r\n").unwrap();
        },
    );
    bench.begin(2);
    for _ in 0..20 {
        bench.house.turn();
    }
    stop.send(()).unwrap();
    let (_, order, _job) = bench.end();
    assert!(is_finished(&order, "1"), "{:?}", order.end);
}

#[test]
fn a_turn_whose_worker_dies_fails_and_is_not_run_again() {
    for (sent, expected) in [
        (String::new(), Failure::Incomplete),
        (SSE.to_owned(), Failure::Incomplete),
        (format!("{SSE}{}", String::from_utf8(delta("a")).unwrap()), Failure::Incomplete),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_owned(), Failure::Incomplete),
        ("nonsense\r\n\r\n".to_owned(), Failure::BadAnswer("it is not HTTP".to_owned())),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned(), Failure::Status(500)),
    ] {
        let (tell, told) = mpsc::channel();
        let bytes = sent.clone();
        let bench = Bench::new(
            |_| {},
            move |_, mut stream| {
                asked(&mut stream).unwrap();
                tell.send(()).unwrap();
                stream.write_all(bytes.as_bytes()).unwrap();
            },
        );
        bench.begin(2);
        let (_, order, job) = bench.end();
        assert_eq!(failure(&order), &expected, "{sent}");
        job.answer(ended(&order));
        wait_until("the turn never ends", || bench.running() == 0);
        wait_until("the lease never ends", || bench.house.inflight() == 0);
        assert_eq!(told.try_iter().count(), 1, "{sent}");
    }
}

#[test]
fn an_outcome_counts_though_its_worker_dies_behind_it() {
    let bench = Bench::new(
        |_| {},
        |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(&[SSE.as_bytes(), &delta("a"), &event(OUTCOME)].concat()).unwrap();
        },
    );
    bench.begin(2);
    let (events, order, _job) = bench.end();
    assert_eq!(events.len(), 1);
    assert!(is_finished(&order, "1"), "{:?}", order.end);
}

#[test]
fn a_turn_that_a_worker_did_not_take_goes_to_another() {
    let busy = b"HTTP/1.1 503 Busy\r\nRip-Worker-Busy: 1\r\nContent-Length: 0\r\n\r\n";
    let (serve, told) = worker(move |count| match count {
        1 | 2 => busy.to_vec(),
        _ => whole("200 OK", "{\"a\":1}"),
    });
    let bench = Bench::new(|_| {}, serve);
    bench.begin(2);
    let (_, order, _job) = bench.end();
    assert!(is_finished(&order, "{\"a\":1}"), "{:?}", order.end);
    let bodies: Vec<_> = told.try_iter().map(|(_, _, body)| body).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[test]
fn a_turn_has_so_much_time_in_all_and_its_app_may_be_silent_within() {
    let (ended_by, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let bench = Bench::new(
        |config| {
            config.apps[0].timeouts.read = Duration::from_millis(20);
            config.apps[0].timeouts.turn = Duration::from_millis(400);
        },
        move |number, mut stream| {
            asked(&mut stream).unwrap();
            thread::sleep(Duration::from_millis(100));
            if number == 0 {
                return stream.write_all(&whole("200 OK", "{}")).unwrap();
            }
            stream.write_all(SSE.as_bytes()).unwrap();
            // Signs of life do not help.
            let end = loop {
                if stream.write_all(&delta("a")).is_err() {
                    break "a write fails";
                }
                thread::sleep(Duration::from_millis(10));
            };
            ended_by.send(end).unwrap();
            let _ = gone.recv();
        },
    );
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "{}"), "{:?}", order.end);
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    bench.begin(3);
    let (_, order, job) = bench.end();
    assert_eq!(failure(&order), &Failure::Timeout);
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(bench.house.inflight(), 1, "the worker is still busy");
    drop(go);
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

/// A worker that streams a piece, tells when it is left, and ends when it may.
fn patient()
-> (impl FnMut(usize, UnixStream) + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let serve = move |_, mut stream: UnixStream| {
        asked(&mut stream).unwrap();
        stream.write_all(&[SSE.as_bytes(), &delta("a")].concat()).unwrap();
        // The other side says nothing more.
        assert_eq!(head(&mut stream), None);
        tell.send(()).unwrap();
        let _ = gone.recv();
    };
    (serve, told, go)
}

#[test]
fn a_cancelled_turn_ends_at_once_and_its_worker_is_waited_for() {
    let (serve, told, go) = patient();
    let bench = Bench::new(|_| {}, serve);
    let attempt = bench.begin(2);
    let (_, job) = bench.appended();
    job.answer(stored());
    let (turn, place) = bench.house.shared.sessions.table().place(SESSION).unwrap();
    assert_eq!((turn, place.loop_index), (2, LoopIndex(0)));
    // Another turn than the one that runs is not meant.
    bench.mail(EdgeMessage::Session(SessionMail::Cancel { key: place.key, turn: 1 }));
    bench.house.turn();
    assert!(bench.jobs(1).is_empty());
    let mail = StoreMail::Cancelled { key: place.key, attempt };
    bench.mail(EdgeMessage::Store(Box::new(mail)));
    let (_, order, job) = bench.end();
    assert!(matches!(order.end, End::Outcome(Outcome::Cancelled, State::Same)), "{order:?}");
    told.recv_timeout(PATIENCE).expect("the worker is told");
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    assert_eq!(bench.house.inflight(), 1, "the worker is still busy");
    drop(go);
    wait_until("the lease never ends", || bench.house.inflight() == 0);
    // In time: it is not waited for any longer, and nobody is told that it was stuck.
    let released = Instant::now();
    let edges = bench.house.edges.lock().unwrap().take().unwrap();
    edges.drain(Farewell::until(Clock::read()));
    let mut mail = Vec::new();
    wait_until("something is left", || {
        bench.house.mail.lock().unwrap().drain(&mut mail);
        mail.iter().any(|message| matches!(message, ControlMessage::LoopDrained(_)))
    });
    assert!(released.elapsed() < rip::limits::CANCEL_GRACE.mul_f32(0.8), "the turn lingers");
    assert!(!mail.iter().any(|message| matches!(message, ControlMessage::WorkerStuck(_))));
    edges.stop();
}

#[test]
fn a_worker_that_does_not_let_go_of_a_cancelled_turn_is_recycled() {
    let (serve, told, go) = patient();
    let bench = Bench::new(|_| {}, serve);
    bench.begin(2);
    let (_, job) = bench.appended();
    // The store says so as well.
    job.answer(StoreAnswer::Appended(Ok(Appended::Stored { is_cancelling: true })));
    let (_, order, job) = bench.end();
    assert!(matches!(order.end, End::Outcome(Outcome::Cancelled, State::Same)), "{order:?}");
    job.answer(ended(&order));
    told.recv_timeout(PATIENCE).expect("the worker is told");
    let stuck = bench.wait_for_stuck();
    assert_eq!((stuck.worker, stuck.method.as_str()), (WorkerId(1), "POST"));
    assert_eq!(stuck.path, "/v1/turn");
    drop(go);
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_turn_that_is_somebody_elses_by_now_lets_its_worker_go() {
    let (serve, told, _go) = patient();
    let bench = Bench::new(|_| {}, serve);
    bench.begin(2);
    let (_, job) = bench.appended();
    job.answer(StoreAnswer::Appended(Ok(Appended::Lost(Lost::Taken))));
    told.recv_timeout(PATIENCE).expect("the worker is told");
    wait_until("the turn never ends", || bench.running() == 0);
    bench.house.turn();
    assert!(bench.jobs(1).is_empty(), "nothing is stored of it any more");
}

#[test]
fn an_end_that_cannot_be_stored_is_tried_again_as_a_failure() {
    let (serve, _told) = worker(|_| whole("200 OK", "{}"));
    let bench = Bench::new(|_| {}, serve);
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "{}"), "{:?}", order.end);
    job.answer(StoreAnswer::Ended(Err("full")));
    for reason in ["full", "busy"] {
        let (_, order, job) = bench.end();
        assert_eq!(failure(&order), &Failure::Store(reason));
        job.answer(StoreAnswer::Ended(Err("busy")));
    }
    assert_eq!(bench.running(), 1);
    let (_, order, job) = bench.end();
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
}

#[test]
fn an_app_that_is_not_there_or_has_no_room_fails_its_turns() {
    let (serve, _told) = worker(|_| whole("200 OK", "{}"));
    let gone = Bench::new(|config| config.sessions[0].app_id = AppId::new("gone"), serve);
    gone.begin(2);
    let (_, order, _job) = gone.end();
    assert_eq!(failure(&order), &Failure::Unavailable { status: 503, code: "route-removed" });

    let (tell, told) = mpsc::channel();
    let full = Bench::new(
        |config| config.apps[0].max_queue = 0,
        move |_, mut stream| {
            head(&mut stream).unwrap();
            tell.send(()).unwrap();
            let _ = head(&mut stream);
        },
    );
    let mut client = full.house.client();
    client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    full.begin(2);
    let (_, order, _job) = full.end();
    assert_eq!(failure(&order), &Failure::Unavailable { status: 503, code: "queue-full" });
}

#[test]
fn what_is_no_turn_is_not_run() {
    let (serve, told) = worker(|_| whole("200 OK", "{}"));
    let bench = Bench::new(|_| {}, serve);
    bench.wake().refuse("busy");
    let scope = "elsewhere /v1 app".to_owned();
    bench.mail(EdgeMessage::Store(Box::new(StoreMail::Due { session: SESSION, scope })));
    bench.house.turn();
    assert!(bench.jobs(1).is_empty(), "its mount is not served here");
    assert!(told.try_recv().is_err());
    assert_eq!(bench.running(), 0);
}

#[test]
fn a_refusal_is_read_to_its_end_and_the_connection_serves_again() {
    let (serve, told) = worker(|count| match count {
        1 => whole("401 No", &"x".repeat(100_000)),
        _ => whole("200 OK", "{}"),
    });
    let bench = Bench::new(|_| {}, serve);
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(matches!(order.end, End::Refused { status: 401, is_unheard: false }), "{order:?}");
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    wait_until("the lease never ends", || bench.house.inflight() == 0);
    bench.begin(3);
    let (_, order, _job) = bench.end();
    assert!(is_finished(&order, "{}"), "{:?}", order.end);
    assert_eq!(told.try_iter().map(|(number, ..)| number).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn a_worker_that_goes_on_behind_its_outcome_is_let_go() {
    let (failed, told) = mpsc::channel();
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(&[SSE.as_bytes(), &event(OUTCOME)].concat()).unwrap();
            while stream.write_all(&delta(&"x".repeat(65536))).is_ok() {}
            failed.send(()).unwrap();
        },
    );
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "1"), "{:?}", order.end);
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    told.recv_timeout(PATIENCE).expect("its writes fail");
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_worker_that_is_silent_behind_its_outcome_has_no_more_time_than_for_any_answer() {
    let bench = Bench::new(
        |config| config.apps[0].timeouts.read = Duration::from_millis(50),
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(&[SSE.as_bytes(), &event(OUTCOME)].concat()).unwrap();
            // Until it is told that nobody listens: long before the ten minutes of a turn.
            let _ = stream.read(&mut [0]);
        },
    );
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "1"), "{:?}", order.end);
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_worker_that_dribbles_behind_its_outcome_has_no_more_time_than_one_that_is_silent() {
    let (failed, told) = mpsc::channel();
    let bench = Bench::new(
        |config| config.apps[0].timeouts.read = Duration::from_millis(200),
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(&[SSE.as_bytes(), &event(OUTCOME)].concat()).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            // Until it is told that nobody listens.
            while stream.read(&mut [0]).is_err() {
                stream.write_all(&delta("x")).unwrap();
            }
            failed.send(()).unwrap();
        },
    );
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "1"), "{:?}", order.end);
    job.answer(ended(&order));
    told.recv_timeout(PATIENCE).expect("it is let go");
    wait_until("the lease never ends", || bench.house.inflight() == 0);
}

#[test]
fn a_stream_that_cannot_be_read_from_the_store_says_why_it_ends() {
    let (written, all_written) = mpsc::channel();
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            stream.write_all(SSE.as_bytes()).unwrap();
            // More than the kernel keeps for us, so that some of it has been read.
            (0..16).for_each(|_| stream.write_all(&delta(&"x".repeat(60_000))).unwrap());
            written.send(()).unwrap();
            let _ = stream.read(&mut [0]);
        },
    );
    let (mut client, _) = bench.start("Accept: text/event-stream\r\n");
    let (_, first) = bench.appended();
    all_written.recv_timeout(PATIENCE).expect("it is read while the store is busy");
    first.answer(stored());
    // More than memory keeps for readers.
    let (order, second) = bench.appended();
    assert!(order.events.len() > 2);
    second.answer(stored());
    match bench.house.shared.sessions.queue.take_read() {
        Some(ReadJob::Order(job)) => job.refuse("full"),
        _ => panic!("nothing is read"),
    }
    let mut told = Vec::new();
    while !told.ends_with(b"0\r\n\r\n") {
        let mut bytes = [0; 65536];
        let count = client.read(&mut bytes).unwrap();
        assert!(count > 0, "it is cut off");
        told.extend_from_slice(&bytes[..count]);
    }
    let told = String::from_utf8(told).unwrap();
    let last = told.trim_end().lines().rev().find(|line| line.starts_with("data: "));
    assert_eq!(
        last,
        Some("data: {\"type\":\"error\",\"message\":\"session store: full\",\"code\":\"store\"}"),
    );
    assert_eq!(bench.running(), 1, "the turn runs on");
}

#[test]
fn a_loop_that_finishes_runs_its_turns_to_their_end() {
    let (go, gone) = mpsc::channel::<()>();
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            asked(&mut stream).unwrap();
            let _ = gone.recv();
            stream.write_all(&whole("200 OK", "{}")).unwrap();
        },
    );
    bench.begin(2);
    wait_until("no worker is asked", || bench.house.inflight() == 1);
    let edges = bench.house.edges.lock().unwrap().take().unwrap();
    edges.drain(Farewell::until(Clock::read()));
    let is_drained = || {
        let mut mail = Vec::new();
        bench.house.mail.lock().unwrap().drain(&mut mail);
        mail.iter().any(|message| matches!(message, ControlMessage::LoopDrained(_)))
    };
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(5));
        assert!(!is_drained());
    }
    drop(go);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "{}"), "{:?}", order.end);
    assert!(!is_drained());
    job.answer(ended(&order));
    wait_until("it never finishes", is_drained);
    // Timers wait for the next master.
    let scope = bench.house.shared.current.load().config.sessions[0].scope();
    bench.mail(EdgeMessage::Store(Box::new(StoreMail::Due { session: SESSION, scope })));
    edges.stop();
    assert!(bench.jobs(1).is_empty());
}

#[test]
fn a_loop_that_is_cut_gives_its_turns_up() {
    let (serve, told, _go) = patient();
    let bench = Bench::new(|_| {}, serve);
    let attempt = bench.begin(2);
    let (_, _job) = bench.appended();
    let edges = bench.house.edges.lock().unwrap().take().unwrap();
    edges.stop();
    let queue = &bench.house.shared.sessions.queue;
    let taken = queue.take_writes(9, Duration::ZERO).unwrap();
    assert_eq!(taken.abandoned, [attempt]);
    assert!(taken.jobs.is_empty());
    told.recv_timeout(PATIENCE).expect("the worker is told");
    assert_eq!(bench.running(), 0);
}

/// A worker that answers with pieces as they are handed to it, then ends.
fn pieces() -> (impl FnMut(usize, UnixStream) + Send + 'static, mpsc::Sender<Vec<u8>>) {
    let (say, said) = mpsc::channel::<Vec<u8>>();
    let serve = move |_, mut stream: UnixStream| {
        asked(&mut stream).unwrap();
        while let Ok(bytes) = said.recv_timeout(PATIENCE) {
            if bytes.is_empty() {
                return;
            }
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    };
    (serve, say)
}

/// The client is gone for good, and not only done with speaking.
fn reset(client: TcpStream) {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

const REFUSED: &[u8] = b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\nX-Why: so\r\n\
                         Content-Length: 4\r\n\r\n";

fn is_refused(order: &EndOrder) -> bool {
    matches!(order.end, End::Refused { status: 403, .. })
}

#[test]
fn a_refusal_is_the_clients_once_it_is_whole_and_stored() {
    for is_stored_first in [true, false] {
        let (serve, say) = pieces();
        let bench = Bench::new(|_| {}, serve);
        let (mut client, _) = bench.start("");
        say.send([REFUSED, b"n"].concat()).unwrap();
        let (_, order, job) = bench.end();
        assert!(is_refused(&order), "{order:?}");
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        if is_stored_first {
            job.answer(ended(&order));
            assert!(client.read(&mut [0]).is_err(), "not all of it is there");
            say.send(b"ope".to_vec()).unwrap();
        } else {
            say.send(b"ope".to_vec()).unwrap();
            wait_until("the lease never ends", || bench.house.inflight() == 0);
            assert!(client.read(&mut [0]).is_err(), "the store does not know of it");
            job.answer(ended(&order));
        }
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = response(&mut client);
        assert!(text.starts_with("HTTP/1.1 403 ") && text.ends_with("\r\n\r\nnope"), "{text}");
        assert!(text.contains("\r\nX-Why: so\r\n"), "{text}");
        wait_until("the turn never ends", || bench.running() == 0);
        say.send(Vec::new()).unwrap();
    }
}

#[test]
fn a_refusal_that_is_cut_short_or_too_long_is_told_in_our_words() {
    let long = b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n".to_vec();
    for (answer, is_long) in [([REFUSED, b"n"].concat(), false), (long, true)] {
        let (serve, say) = pieces();
        let bench = Bench::new(|_| {}, serve);
        let (mut client, _) = bench.start("");
        say.send(answer).unwrap();
        if is_long {
            say.send(vec![b'x'; 3 * 1024 * 1024]).unwrap();
        } else {
            say.send(Vec::new()).unwrap();
        }
        let (_, order, job) = bench.end();
        assert!(is_refused(&order), "{order:?}");
        job.answer(ended(&order));
        let text = response(&mut client);
        assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
        let own = "{\"error\":\"the app refused the turn with 403\",\"code\":\"refused\"}";
        assert!(text.ends_with(own), "{text}");
        drop(say);
        wait_until("the lease never ends", || bench.house.inflight() == 0);
    }
}

#[test]
fn nobody_waits_for_the_refusal_of_a_client_that_left() {
    let (serve, say) = pieces();
    let bench = Bench::new(|_| {}, serve);
    let (client, _) = bench.start("");
    say.send([REFUSED, b"n"].concat()).unwrap();
    let (_, order, job) = bench.end();
    reset(client);
    wait_until("the client never leaves", || bench.house.shared.connections.open() == 0);
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    say.send(b"ope".to_vec()).unwrap();
    wait_until("the lease never ends", || bench.house.inflight() == 0);
    let edges = bench.house.edges.lock().unwrap().take().unwrap();
    edges.drain(Farewell::until(Clock::read()));
    let is_drained = || {
        let mut mail = Vec::new();
        bench.house.mail.lock().unwrap().drain(&mut mail);
        mail.iter().any(|message| matches!(message, ControlMessage::LoopDrained(_)))
    };
    wait_until("something is left", is_drained);
    edges.stop();
}

#[test]
fn a_client_that_leaves_cancels_its_turn_where_it_wants_to() {
    // While a worker is busy, and before anybody was asked.
    for is_early in [false, true] {
        for (prefer, cancels) in [("", false), ("Prefer: disconnect=cancel\r\n", true)] {
            let (serve, say) = pieces();
            let bench = Bench::new(|_| {}, serve);
            let claim = |job: StoreJob| {
                let run = Run { cause: Cause::Start, is_first: true, wake: None, ..run(1) };
                let claim = Box::new(Claim::Run(run));
                job.answer(StoreAnswer::Claim { claim, state: None });
            };
            bench.house.shared.sessions.queue.set_key(TokenKey::new([1; 32]));
            let mut client = bench.house.client();
            let head = "POST /v1/session HTTP/1.1\r\nHost: chat.test\r\n";
            write!(client, "{head}{prefer}Content-Length: 0\r\n\r\n").unwrap();
            let job = bench.job();
            let mut claimed = Some(job);
            if !is_early {
                claimed.take().into_iter().for_each(claim);
                wait_until("no worker is asked", || bench.house.inflight() == 1);
            }
            reset(client);
            wait_until("the client never leaves", || bench.house.shared.connections.open() == 0);
            claimed.into_iter().for_each(claim);
            say.send(whole("200 OK", "{}")).unwrap();
            let (_, order, job) = bench.end();
            let expected = if cancels { "cancelled" } else { "finished" };
            let End::Outcome(outcome, _) = &order.end else { panic!("{order:?}") };
            assert_eq!(outcome.status(), expected, "{prefer} {is_early}");
            job.answer(ended(&order));
            wait_until("the turn never ends", || bench.running() == 0);
            say.send(Vec::new()).unwrap();
            wait_until("the lease never ends", || bench.house.inflight() == 0);
        }
    }
}

#[test]
fn a_turn_that_waits_for_a_worker_is_cancelled_without_one() {
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let bench = Bench::new(
        |_| {},
        move |_, mut stream| {
            tell.send(head(&mut stream)).unwrap();
            let _ = gone.recv();
            let _ = stream.write_all(&whole("200 OK", "{}"));
        },
    );
    let mut client = bench.house.client();
    client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(told.recv_timeout(PATIENCE).unwrap().unwrap().starts_with("GET /x "));
    bench.begin(2);
    wait_until("the turn never begins", || bench.running() == 1);
    let (_, place) = bench.house.shared.sessions.table().place(SESSION).unwrap();
    bench.mail(EdgeMessage::Session(SessionMail::Cancel { key: place.key, turn: 2 }));
    let (_, order, job) = bench.end();
    assert!(matches!(order.end, End::Outcome(Outcome::Cancelled, _)), "{order:?}");
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    drop(go);
    assert!(response(&mut client).ends_with("{}"));
    wait_until("the lease never ends", || bench.house.inflight() == 0);
    assert!(told.try_recv().is_err(), "no worker has heard of it");
}

#[test]
fn turns_of_an_app_that_is_removed_come_to_nothing() {
    let (serve, told, _go) = patient();
    let bench = Bench::new(|_| {}, serve);
    bench.begin(2);
    let (_, job) = bench.appended();
    job.answer(stored());
    let mut config = bench.house.shared.current.load().config.clone();
    config.apps.clear();
    config.routes.clear();
    config.sessions.clear();
    let snapshot = Arc::new(Snapshot::new(2, config, Vec::new()));
    bench.house.shared.activate(snapshot, 50, Clock::read());
    bench.mail(EdgeMessage::Activated);
    thread::sleep(Duration::from_millis(50));
    assert!(bench.jobs(1).is_empty(), "it may run on for a while");
    bench.mail(EdgeMessage::EndRemoved);
    let (_, order, job) = bench.end();
    assert_eq!(failure(&order), &Failure::Unavailable { status: 503, code: "route-removed" });
    told.recv_timeout(PATIENCE).expect("the worker is told");
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
}

#[test]
fn bodies_of_turns_count_like_those_of_clients() {
    let (serve, told) = worker(|_| whole("200 OK", "{}"));
    let bench = Bench::new(|config| config.edge.limits.spool_memory_bytes = 60, serve);
    bench.begin(2);
    let (_, order, job) = bench.end();
    assert!(is_finished(&order, "{}"), "{:?}", order.end);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().2.len(), 46);
    job.answer(ended(&order));
    wait_until("the turn never ends", || bench.running() == 0);
    // What was taken has been given back; twice as much is too much.
    let state = Some(format!("\"{}\"", "x".repeat(60)));
    let claim = Box::new(Claim::Run(run(3)));
    bench.wake().answer(StoreAnswer::Claim { claim, state });
    let (_, order, _job) = bench.end();
    assert_eq!(failure(&order), &Failure::Unavailable { status: 503, code: "spool-full" });
    assert!(told.try_recv().is_err());
}
