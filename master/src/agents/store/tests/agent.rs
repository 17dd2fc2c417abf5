//! The threads: everything is answered, and trouble is told.

use super::rig::{Rig, append, deltas, finish, message, name, nonce, start};
use crate::agents::store::StoreAgent;
use crate::agents::store::fault::{Fault, Faults};
use crate::agents::store::place::Place;
use crate::agents::store::trouble::Kind as Wrong;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::{Receiver, Sender, mailbox};
use crate::shared::mail::{ControlMessage, EdgeMessage};
use crate::shared::store::{
    StoreAnswer, StoreJob, StoreMail, StoreOrder, StoreQueue, WAITING_COUNT,
};
use crate::shared::store_state::{CountAsk, StoreState};
use crate::sys::test_dir::TestDir;
use rip::contract::event::Event;
use rip::session::claim::{Claim, Run};
use rip::session::end::{End, Ended};
use rip::session::look::Cancel;
use rip::session::{Epoch, EventId, Kind, Outcome, Refusal, Seed, State};
use rip::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Post<M> {
    poll: mio::Poll,
    sender: Sender<M>,
    receiver: Receiver<M>,
    read: VecDeque<M>,
}

impl<M> Post<M> {
    fn new() -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, receiver) = mailbox(Arc::new(waker));
        Self { poll, sender, receiver, read: VecDeque::new() }
    }

    #[track_caller]
    fn next(&mut self) -> M {
        let until = Instant::now() + Duration::from_secs(20);
        let mut events = mio::Events::with_capacity(4);
        let mut mail = Vec::new();
        loop {
            self.receiver.drain(&mut mail);
            self.read.extend(mail.drain(..));
            if let Some(message) = self.read.pop_front() {
                return message;
            }
            assert!(Instant::now() < until, "no mail");
            self.poll.poll(&mut events, Some(Duration::from_millis(200))).unwrap();
        }
    }
}

struct Desk {
    agent: StoreAgent,
    queue: StoreQueue,
    edge: Post<EdgeMessage>,
    control: Post<ControlMessage>,
}

impl Desk {
    fn at(path: &Path) -> Self {
        Self::with(path, Faults::default())
    }

    fn with(path: &Path, faults: Faults) -> Self {
        let control = Post::new();
        let (place, queue) = (Place::of(path), StoreQueue::new());
        let agent =
            StoreAgent::start(place, faults, queue.clone(), control.sender.clone()).unwrap();
        Self { queue, agent, edge: Post::new(), control }
    }

    fn submit(&self, key: u64, order: StoreOrder) {
        submit(&self.queue, &self.edge, key, order);
    }

    #[track_caller]
    fn mail(&mut self) -> StoreMail {
        match self.edge.next() {
            EdgeMessage::Store(mail) => *mail,
            _ => panic!("another message"),
        }
    }

    #[track_caller]
    fn answer(&mut self) -> (u64, StoreAnswer) {
        match self.mail() {
            StoreMail::Done { key, answer } => (key, answer),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn ask(&mut self, order: StoreOrder) -> StoreAnswer {
        self.submit(4711, order);
        let (key, answer) = self.answer();
        assert_eq!(key, 4711);
        answer
    }

    #[track_caller]
    fn ran(&mut self, order: StoreOrder) -> Run {
        run_of(&self.ask(order))
    }

    #[track_caller]
    fn event(&mut self) -> Event {
        match self.control.next() {
            ControlMessage::Tell(event) => *event,
            _ => panic!("another message"),
        }
    }
}

fn submit(queue: &StoreQueue, edge: &Post<EdgeMessage>, key: u64, order: StoreOrder) {
    let reply = edge.sender.clone();
    queue.submit(StoreJob { order, reply, key, since: Clock::read() });
}

#[track_caller]
fn run_of(answer: &StoreAnswer) -> Run {
    match answer {
        StoreAnswer::Claim { claim, .. } => match &**claim {
            Claim::Run(run) => run.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn token(queue: &StoreQueue, number: u8, turn: u64) -> rip::session::Token {
    let seed = Seed { kind: Kind::Continuation, turn, nonce: nonce(turn) };
    queue.key().unwrap().token(name(number), &seed)
}

#[test]
fn turns_from_a_loop_are_carried_out_and_can_be_read() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut desk = Desk::at(&path);
    (1..=100).for_each(|number| desk.submit(u64::from(number), start(number)));
    let mut runs = BTreeMap::new();
    for _ in 1..=100 {
        let (key, answer) = desk.answer();
        runs.insert(key, run_of(&answer));
    }
    for (key, run) in &runs {
        desk.submit(*key, append(run, 0, 3));
        desk.submit(*key, finish(run, 1));
    }
    for _ in 1..=200 {
        let answer = desk.answer().1;
        let is_stored = matches!(
            answer,
            StoreAnswer::Appended(Ok(_)) | StoreAnswer::Ended(Ok(Ended::Stored { .. }))
        );
        assert!(is_stored, "{answer:?}");
    }
    for number in 1..=100 {
        let order = StoreOrder::Page { session: name(number), after: EventId::default(), count: 3 };
        let StoreAnswer::Page(Ok(Some(page))) = desk.ask(order) else { panic!("{number}") };
        assert_eq!((page.events.len(), page.last.seq, page.running), (3, 4, None));
    }
    let Desk { agent, .. } = desk;
    agent.stop();
    let mut rig = Rig::at(&path);
    assert_eq!(rig.look(name(100), 2).unwrap().turn, 1);
    rig.check();
}

#[test]
fn what_waits_is_done_before_the_agent_ends_and_nothing_after() {
    let dir = TestDir::make();
    let desk = Desk::at(&dir.path().join("sessions.db"));
    (1..=100).for_each(|number| desk.submit(u64::from(number), start(number)));
    let Desk { agent, queue, edge, control } = desk;
    agent.stop();
    submit(&queue, &edge, 0, start(200));
    let (faults, other) = (Faults::default(), StoreQueue::new());
    let agent = StoreAgent::start(Place::Memory, faults, other, control.sender.clone());
    let mut desk = Desk { agent: agent.unwrap(), queue, edge, control };
    for _ in 1..=100 {
        run_of(&desk.answer().1);
    }
    let StoreAnswer::Claim { claim, .. } = desk.answer().1 else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("closed"))));
}

#[test]
fn a_store_that_cannot_be_opened_refuses_and_is_tried_again() {
    let dir = TestDir::make();
    let place = dir.path().join("state");
    std::fs::write(&place, b"in the way").unwrap();
    let mut desk = Desk::at(&place.join("sessions.db"));
    let event = desk.event();
    assert!(matches!(event, Event::SessionsFailed { .. }), "{event:?}");
    assert!(event.is_trouble());
    let StoreAnswer::Claim { claim, .. } = desk.ask(start(1)) else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("unreachable"))), "{claim:?}");
    let page = StoreOrder::Page { session: name(1), after: EventId::default(), count: 3 };
    assert!(matches!(desk.ask(page), StoreAnswer::Page(Err("unreachable"))));
    std::fs::remove_file(&place).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let StoreAnswer::Claim { claim, .. } = desk.ask(start(1)) else { panic!("no claim") };
        if matches!(*claim, Claim::Run(_)) {
            break;
        }
        assert!(Instant::now() < until, "{claim:?}");
    }
}

#[test]
fn a_store_that_is_taken_away_or_broken_is_replaced_while_the_agent_runs() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    std::fs::write(&path, vec![7; 9000]).unwrap();
    let mut desk = Desk::at(&path);
    let event = desk.event();
    assert!(matches!(event, Event::SessionsBroken { .. }), "{event:?}");
    let run = desk.ran(start(1));
    // Somebody renames it: the next look at it finds out.
    std::fs::rename(&path, dir.path().join("elsewhere.db")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < until, "nobody noticed");
        std::thread::yield_now();
    }
    let answer = desk.ask(finish(&run, 1));
    let StoreAnswer::Ended(Ok(Ended::Lost(_))) = answer else { panic!("{answer:?}") };
    desk.ran(start(1));
}

#[test]
fn a_claim_that_nobody_runs_is_interrupted() {
    let dir = TestDir::make();
    let mut desk = Desk::at(&dir.path().join("sessions.db"));
    let run = desk.ran(start(1));
    desk.queue.abandon(run.attempt);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let order = StoreOrder::Page { session: name(1), after: EventId::default(), count: 3 };
        let StoreAnswer::Page(Ok(Some(page))) = desk.ask(order) else { panic!("no page") };
        if let Some(event) = page.events.first() {
            assert!(event.data.contains("interrupted") && page.running.is_none());
            break;
        }
        assert!(Instant::now() < until, "it runs for ever");
    }
}

#[test]
fn timers_and_cancellations_find_their_loops() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut desk = Desk::at(&path);
    desk.queue.attach(desk.edge.sender.clone());
    let run = desk.ran(start(1));
    let wait = "{\"id\":\"w\",\"until\":\"2026-03-14T12:01:00Z\"}".to_owned();
    let parked = Outcome::Parked { wait, until: Some(UnixMillis(1)) };
    desk.ask(super::rig::end(run.attempt, End::Outcome(parked, State::Same)));
    let due = desk.mail();
    assert!(matches!(due, StoreMail::Due { session, .. } if session == name(1)), "{due:?}");
    let run = desk.ran(super::rig::timer(name(1)));
    // Another master is asked to cancel it.
    let mut other = Rig::at(&path);
    other.now = UnixMillis(u64::MAX >> 1);
    assert!(matches!(other.cancel(name(1), 2), Cancel::Cancelling { .. }));
    match desk.mail() {
        StoreMail::Cancelled { key, attempt } => assert_eq!((key, attempt), (4711, run.attempt)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_that_is_not_served_refuses_beyond_its_bound_but_not_a_turn_that_runs() {
    let queue = StoreQueue::new();
    let mut edge = Post::new();
    let attempt = Run {
        attempt: rip::session::claim::Attempt {
            session: name(1),
            turn: 1,
            number: 1,
            owner: Epoch(1),
        },
        cause: rip::session::Cause::Start,
        is_first: true,
        last: EventId::default(),
        token: Seed { kind: Kind::Continuation, turn: 1, nonce: nonce(1) },
        resume: Seed { kind: Kind::Resume, turn: 0, nonce: nonce(0) },
        wake: None,
    };
    for key in 0..=WAITING_COUNT as u64 {
        submit(&queue, &edge, key, message(name(1), None, None));
    }
    submit(&queue, &edge, 9999, append(&attempt, 0, 1));
    assert_eq!(deltas(&attempt, 0, 1).len(), 1);
    let EdgeMessage::Store(mail) = edge.next() else { panic!("another message") };
    let StoreMail::Done { key, answer: StoreAnswer::Claim { claim, .. } } = *mail else {
        panic!("no claim")
    };
    assert_eq!(key, WAITING_COUNT as u64);
    assert!(matches!(*claim, Claim::Refused(Refusal::Store("busy"))));
    let taken = queue.take_writes(usize::MAX, Duration::ZERO).unwrap();
    assert_eq!(taken.jobs.len(), WAITING_COUNT + 1);
    assert_eq!(taken.jobs.last().map(|job| job.key), Some(9999));
    assert!(token_needs_a_key(&queue));
}

fn token_needs_a_key(queue: &StoreQueue) -> bool {
    queue.key().is_none()
}

#[test]
fn a_second_agent_on_the_store_goes_on_with_its_sessions() {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let mut first = Desk::at(&path);
    let run = first.ran(start(1));
    first.ask(finish(&run, 1));
    let mut second = Desk::at(&path);
    // The key is there when the first answer is.
    second.ran(start(2));
    let next = message(name(1), Some(token(&second.queue, 1, 2)), None);
    let run = second.ran(next.clone());
    let StoreAnswer::Claim { claim, .. } = first.ask(next) else { panic!("no claim") };
    assert!(matches!(*claim, Claim::Refused(Refusal::InFlight { .. })), "{claim:?}");
    assert_eq!(run.attempt.owner, Epoch(2));
}

#[test]
fn trouble_with_one_batch_is_answered_and_the_agent_goes_on() {
    for (wrong, reason, lives) in [
        (Wrong::Broken, "broken", 2),
        (Wrong::Unreachable, "unreachable", 1),
        (Wrong::Full, "full", 1),
    ] {
        let dir = TestDir::make();
        let path = dir.path().join("sessions.db");
        let mut rig = Rig::at(&path);
        rig.now = Clock::new().wall();
        let run = rig.ran(start(1));
        rig.end(finish(&run, 1));
        drop(rig);
        // The chores of a start pass a dozen steps; the write of the first order fails.
        let mut desk = Desk::with(&path, Faults::at(Fault::Fail(wrong), 15));
        let mut refused = 0;
        for number in 2..40 {
            let StoreAnswer::Claim { claim, .. } = desk.ask(start(number)) else {
                panic!("no claim")
            };
            match *claim {
                Claim::Run(_) => {}
                Claim::Refused(Refusal::Store(why)) => {
                    assert_eq!(why, reason);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, 1, "{reason}");
        // What was there before is there.
        let run = desk.ran(message(name(1), Some(token(&desk.queue, 1, 2)), None));
        assert_eq!(run.attempt.owner, Epoch(lives + 1));
        let answer = desk.ask(finish(&run, 2));
        assert!(matches!(answer, StoreAnswer::Ended(Ok(Ended::Stored { .. }))), "{answer:?}");
        let Desk { agent, .. } = desk;
        agent.stop();
        Rig::at(&path).check();
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = files.filter(|name| name.to_string_lossy().contains("broken"));
        assert_eq!(aside.count(), 0, "a mishap is no reason to lose everything");
    }
}

#[test]
fn sessions_are_counted_by_who_can_look() {
    let dir = TestDir::make();
    for place in [Place::File(dir.path().join("s.db")), Place::Memory] {
        let (mut control, queue) = (Post::new(), StoreQueue::new());
        assert_eq!(queue.state(), StoreState::Shut("closed"));
        let (faults, mine) = (Faults::default(), queue.clone());
        let sender: Sender<ControlMessage> = control.sender.clone();
        let agent = StoreAgent::start(place, faults, mine, sender.clone()).unwrap();
        let mut desk =
            Desk { agent, queue: queue.clone(), edge: Post::new(), control: Post::new() };
        let mut count = |ticket| {
            queue.count(CountAsk { control: sender.clone(), ticket });
            match control.next() {
                ControlMessage::SessionsCounted { ticket: told, sessions } if told == ticket => {
                    sessions
                }
                _ => panic!("another message"),
            }
        };
        for number in 1..=3 {
            run_of(&desk.ask(start(number)));
        }
        assert_eq!((count(7), queue.state()), (Some(3), StoreState::Open));
        desk.agent.stop();
        assert_eq!(count(8), None);
    }
}
