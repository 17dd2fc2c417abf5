//! One edge loop: its sockets, and the order in which a turn looks at them.
//!
//! A turn: wait, events, mail, timers, what was put off, then one hand-over of log lines and notes. Nothing
//! re-enters: whatever a step finds out for a later one is put into a list that the turn empties.

use super::acceptor::Acceptor;
use super::compress::Compressor;
use super::drain::Drain;
use super::ebb::Ebb;
use super::exchange::{Exchange, Record};
use super::file_search::Files;
use super::front::Front;
use super::handshake::HELLOS_PER_TURN;
use super::link::Links;
use super::live_reload::LiveStreams;
use super::routing::Routing;
use super::seats::Seats;
use super::session::LoopSessions;
use super::snapshots::Snapshots;
use super::socket::Sockets;
use super::subrequest::News;
use super::upstream_health::Checks;
use crate::reactor::buffers::Blocks;
use crate::reactor::clock::{Clock, LONG_TURN};
use crate::reactor::mailbox::{Receiver, Sender};
use crate::reactor::slab::{self, Key, Slab, TokenKind};
use crate::reactor::tls_stream::TlsBlocks;
use crate::reactor::wheel::Wheel;
use crate::shared::Shared;
use crate::shared::mail::{ControlMessage, EdgeMessage};
use crate::shared::pools::Settled;
use crate::shared::stats::Shard;
use crate::shared::tallies::Teller;
use crate::sys::proc::thread_time;
use mio::{Events, Poll, Registry};
use rip::contract::config::Phases;
use rip::entropy::Xoshiro;
use rip::http1::{DateCache, Limits, RequestHead, ResponseHead};
use rip::ids::{LoopIndex, PoolNumber};
use rip::observe::page::Page;
use rip::pool::{Lease, Outcome};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What a timer is for. The owner's deadline may have moved since: it looks again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Timer {
    /// A client connection.
    Front(Key),
    /// A connection to a worker or an upstream.
    Link(Key),
    /// A worker connection whose exchange was abandoned.
    Stuck(Key),
    /// What hubs keep gets too old.
    Archives,
    /// POSTs on behalf of WebSocket clients may be made again, of the hub with this number.
    Posts(u32),
    /// A request of the edge's own.
    Own(Key),
    /// A turn of a session.
    SessionTurn(Key),
    /// Who reads the events of a session.
    SessionView(Key),
    /// Who reads of sessions that run elsewhere is to look for news.
    SessionPoll,
    /// Upstreams are to be asked how they are.
    Checks,
    /// A pool's busy workers may be asked again.
    Pauses(PoolNumber),
    /// Accepting may be tried again.
    Accept,
    /// Live streams need a sign of life.
    Heartbeat,
    /// Many clients have left.
    Ebb,
}

/// One loop.
pub(super) struct Edge {
    pub(super) index: LoopIndex,
    pub(super) shared: Arc<Shared>,
    poll: Poll,
    pub(super) registry: Registry,
    mail: Receiver<EdgeMessage>,
    pub(super) own: Sender<EdgeMessage>,
    pub(super) clock: Clock,
    pub(super) wheel: Wheel<Timer>,
    pub(super) entropy: Xoshiro,
    pub(super) date: DateCache,

    pub(super) fronts: Slab<Front>,
    pub(super) links: Links,
    pub(super) exchanges: Slab<Box<Exchange>>,
    /// Used exchanges: their buffers serve again.
    #[expect(clippy::vec_box, reason = "they move between here and the slab as pointers")]
    pub(super) blanks: Vec<Box<Exchange>>,
    pub(super) blocks: Blocks,
    /// With one loop, that loop accepts.
    pub(super) acceptor: Option<Acceptor>,
    /// There was more in the backlogs than one go takes, or the house was full.
    pub(super) accept_later: bool,
    /// The kernel had no descriptor: nothing is accepted before [`Timer::Accept`].
    pub(super) accept_starved: bool,
    pub(super) drain: Option<Drain>,
    pub(super) live: LiveStreams,
    pub(super) ebb: Ebb,
    /// Clients that speak WebSocket.
    pub(super) sockets: Sockets,
    /// Durable sessions.
    pub(super) sessions: LoopSessions,
    pub(super) checks: Checks,
    /// Questions that the control loop has not answered, also those whose clients have left.
    pub(super) door_asks: usize,
    /// What this server calls itself in `Via`, so that it knows what it sent itself.
    pub(super) pseudonym: String,

    pub(super) head_limits: Limits,
    /// Scratch: the head that is being read.
    pub(super) head: RequestHead,
    pub(super) answer_head: ResponseHead,
    /// Scratch: the body of an answer of the edge's own, and its record.
    pub(super) scratch: Vec<u8>,
    pub(super) record: Record,
    /// What records of clients are read into and written from.
    pub(super) tls: TlsBlocks,
    /// Hellos that may be answered before others have their turn.
    pub(super) hellos_left: u32,
    /// Connections that have more to do than fits into one go.
    pub(super) runnable: VecDeque<Key>,
    /// Tickets that got their answer.
    pub(super) settled: Vec<Settled>,
    /// What came of requests of the edge's own, for who asked.
    pub(super) news: VecDeque<News>,
    /// Configurations that requests of this loop were born with.
    pub(super) snapshots: Snapshots,
    /// The pools they may be given to.
    pub(super) seats: Seats,
    /// Scratch: how requests find their rules.
    pub(super) routing: Routing,
    /// What answers are compressed with.
    pub(super) compressor: Compressor,
    /// Files that requests are answered with.
    pub(super) files: Files,
    /// Counts exchanges that end.
    pub(super) teller: Teller,
    /// Access lines of this turn.
    pub(super) lines: Vec<u8>,
    /// Notes of this turn.
    pub(super) noted: Page,
    stopped: bool,
}

impl Edge {
    /// A loop that reads the mailbox whose two sides it is given, and calls itself `pseudonym` before
    /// upstreams.
    pub(super) fn new(
        index: LoopIndex,
        shared: Arc<Shared>,
        poll: Poll,
        (own, mail): (Sender<EdgeMessage>, Receiver<EdgeMessage>),
        seed: u64,
        pseudonym: String,
        acceptor: Option<Acceptor>,
    ) -> io::Result<Self> {
        let clock = Clock::new();
        let snapshots = Snapshots::new(shared.current.load());
        let mut seats = Seats::default();
        snapshots.active().pools.iter().for_each(|pool| seats.learn(pool));
        Ok(Self {
            index,
            registry: poll.registry().try_clone()?,
            poll,
            mail,
            own,
            wheel: Wheel::new(clock.now()),
            clock,
            entropy: Xoshiro::new(seed),
            date: DateCache::default(),
            fronts: Slab::default(),
            links: Links::default(),
            exchanges: Slab::default(),
            blanks: Vec::new(),
            blocks: Blocks::default(),
            acceptor,
            accept_later: false,
            accept_starved: false,
            drain: None,
            live: LiveStreams::default(),
            ebb: Ebb::default(),
            sockets: Sockets::default(),
            sessions: LoopSessions::default(),
            checks: Checks::default(),
            door_asks: 0,
            pseudonym,
            head_limits: Limits { body_bytes: snapshots.active().body_bytes, ..Limits::default() },
            head: RequestHead::default(),
            answer_head: ResponseHead::default(),
            scratch: Vec::new(),
            record: Record::default(),
            tls: TlsBlocks::default(),
            hellos_left: 0,
            runnable: VecDeque::new(),
            settled: Vec::new(),
            news: VecDeque::new(),
            snapshots,
            seats,
            routing: Routing::default(),
            compressor: Compressor::default(),
            files: Files::default(),
            teller: Teller::default(),
            lines: Vec::new(),
            noted: Page::default(),
            stopped: false,
            shared,
        })
    }

    /// Runs until [`EdgeMessage::Stop`].
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut inbox = Vec::new();
        let mut expired = Vec::new();
        self.settle_checks();
        while !self.stopped {
            if let Err(error) = self.poll.poll(&mut events, self.patience()) {
                if error.kind() == io::ErrorKind::Interrupted {
                    // After a stop of the whole process: what came meanwhile counts before any
                    // deadline does.
                    self.clock.refresh();
                    continue;
                }
                log::error!("{}: cannot wait for events: {error}", self.index);
                break;
            }
            self.clock.refresh();
            let computed = log::log_enabled!(log::Level::Debug).then(thread_time);
            self.compressor.next_turn();
            for event in &events {
                let (kind, key) = slab::parse(event.token());
                match kind {
                    TokenKind::Front => self.front_event(key, event),
                    TokenKind::Link => self.link_event(key, event),
                    TokenKind::Listener => self.accept(),
                    _ => {}
                }
                self.settle();
            }
            self.mail.drain(&mut inbox);
            for message in inbox.drain(..) {
                self.receive(message);
                self.settle();
            }
            self.tend_sockets();
            self.settle();
            self.wheel.expire(self.clock.now(), &mut expired);
            for timer in expired.drain(..) {
                self.timer(timer);
                self.settle();
            }
            self.hellos_left = HELLOS_PER_TURN;
            for _ in 0..self.runnable.len() {
                if let Some(key) = self.runnable.pop_front() {
                    let Some(front) = self.fronts.get_mut(key) else { continue };
                    front.runs_later = false;
                    self.run_front(key);
                    self.settle();
                }
            }
            self.hellos_left = 0;
            let unfinished = self.acceptor.as_ref().is_some_and(|acceptor| acceptor.unfinished);
            if unfinished && (self.accept_later || self.shared.connections.has_room()) {
                self.accept();
            }
            self.look_whether_drained();
            self.watch_ebb();
            self.hand_over();
            if let Some(computed) = computed {
                self.tell_long_turn(computed);
            }
        }
        let cut = self.cut_everything();
        self.mail.drain(&mut inbox);
        for message in inbox.drain(..) {
            self.forsake(message);
        }
        self.hand_over();
        self.shared.control.send(ControlMessage::LoopStopped { index: self.index, cut });
    }

    /// For diagnostics, which ask the kernel for times that nobody needs otherwise: `computed` is how long
    /// the loop had been computing when its turn began.
    fn tell_long_turn(&self, computed: Duration) {
        let turn = Clock::read().since(self.clock.now());
        if turn > LONG_TURN {
            let busy = thread_time().saturating_sub(computed);
            log::debug!("a turn of {} took {turn:?}, {busy:?} of it computing", self.index);
        }
    }

    fn hand_over(&mut self) {
        self.hand_over_notes();
        if !self.lines.is_empty() {
            self.shared.log.write(&self.lines);
            self.lines.clear();
        }
    }

    fn patience(&self) -> Option<Duration> {
        let has_more =
            !self.runnable.is_empty() || !self.sockets.touched.is_empty() || self.mail.has_mail();
        if has_more || self.accept_later {
            return Some(Duration::ZERO);
        }
        let next = self.wheel.next()?;
        Some(next.since(self.clock.now()))
    }

    fn receive(&mut self, message: EdgeMessage) {
        match message {
            EdgeMessage::Accepted(arrival) => self.welcome(arrival),
            EdgeMessage::Grant { pool, key, lease } => {
                self.granted(pool, Key::from_u64(key), lease);
            }
            EdgeMessage::Refused { key, reason, retry_after_secs } => {
                self.shed(Key::from_u64(key), reason, retry_after_secs);
            }
            EdgeMessage::Answered { key, answer } => {
                self.door_asks = self.door_asks.saturating_sub(1);
                self.control_answered(Key::from_u64(key), &answer);
            }
            EdgeMessage::Report(frame) => self.tell_watchers(&frame),
            EdgeMessage::Counted(count) => self.take_count(count),
            EdgeMessage::Realtime { hub, letter } => self.receive_letter(hub, &letter),
            EdgeMessage::Beneath(done) => self.beneath_done(done),
            EdgeMessage::File(done) => self.file_done(done),
            EdgeMessage::FilesChanged { prefix, styles_only } => {
                self.tell_of_changes(&prefix, styles_only);
            }
            EdgeMessage::Store(mail) => self.take_store_mail(*mail),
            EdgeMessage::Session(mail) => self.take_session_mail(mail),
            EdgeMessage::Recall { ticket, id } => self.recall(ticket, &id),
            EdgeMessage::Live(round) => self.shared.control.send(ControlMessage::Alive(round)),
            EdgeMessage::Open(listening) => self.open_listener(listening),
            EdgeMessage::Close(address) => self.close_listener(address),
            EdgeMessage::Activated => self.look_at_configuration(),
            EdgeMessage::Vacate(pool) => {
                self.look_at_configuration();
                if self.seats.vacate(pool) {
                    self.report_left(pool);
                }
            }
            EdgeMessage::Stay(pool) => self.seats.stay(pool),
            EdgeMessage::EndRemoved => self.end_removed(),
            EdgeMessage::Forget(pool) => {
                self.fail_own_requests(pool);
                self.seats.forget(pool);
                self.links.forget_pool(pool);
            }
            EdgeMessage::Drain(farewell) => self.begin_drain(&farewell),
            EdgeMessage::Stop => self.stopped = true,
        }
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Front(key) => self.front_timer(key),
            Timer::Link(key) => self.link_timer(key),
            Timer::SessionTurn(key) => self.turn_timer(key),
            Timer::SessionView(key) => self.view_timer(key),
            Timer::SessionPoll => self.poll_sessions(),
            Timer::Checks => self.checks_due(),
            Timer::Stuck(key) => self.tell_stuck(key),
            Timer::Archives => self.tidy_archives(),
            Timer::Posts(hub) => self.pause_over(hub),
            Timer::Own(key) => self.own_timer(key),
            Timer::Pauses(pool) => {
                let now = self.clock.now();
                let Some(seat) = self.seats.seat(pool) else { return };
                // An earlier look took this one's place.
                if seat.pause.is_none_or(|at| at > now) {
                    return;
                }
                seat.pause = None;
                seat.pool.pauses_over(self.index, now, &mut self.settled);
                self.watch_pauses(pool);
            }
            Timer::Heartbeat => self.heartbeat(),
            Timer::Ebb => self.ebb_due(),
            Timer::Accept => {
                self.accept_starved = false;
                self.accept();
            }
        }
    }

    /// Follows up the tickets that got their answer, then the edge's own requests that did.
    fn settle(&mut self) {
        loop {
            while let Some(settled) = self.settled.pop() {
                match settled {
                    Settled::Granted { pool, key, lease } => {
                        self.granted(pool, Key::from_u64(key), lease);
                    }
                    Settled::Refused { key, reason, retry_after_secs } => {
                        self.shed(Key::from_u64(key), reason, retry_after_secs);
                    }
                }
            }
            let Some(news) = self.news.pop_front() else { return };
            self.take_news(news);
        }
    }

    /// Ends a lease; whoever waits for its worker gets it.
    pub(super) fn release(&mut self, pool: PoolNumber, lease: Lease, outcome: Outcome) {
        let now = self.clock.now();
        let Some(found) = self.seats.pool(pool) else { return };
        found.release(lease, outcome, self.index, now, &mut self.settled);
        if outcome == Outcome::Failed {
            self.watch_pauses(pool);
        }
    }

    /// Makes sure that this loop looks at the pool's busy workers when their pause is over.
    pub(super) fn watch_pauses(&mut self, pool: PoolNumber) {
        let Some(seat) = self.seats.seat(pool) else { return };
        let Some(at) = seat.pool.next_deadline() else { return };
        if seat.pause.is_none_or(|watched| at < watched) {
            seat.pause = Some(at);
            self.wheel.schedule(Timer::Pauses(pool), at);
        }
    }

    /// Takes up the active configuration, if it is another one.
    pub(super) fn look_at_configuration(&mut self) {
        if self.shared.current.version() == self.snapshots.active().version {
            return;
        }
        let active = self.shared.current.load();
        active.pools.iter().for_each(|pool| self.seats.learn(pool));
        self.head_limits.body_bytes = active.body_bytes;
        self.files.take_up(&active);
        self.snapshots.activate(active);
        self.close_removed_sockets();
        self.close_removed_talks();
        self.settle_checks();
    }

    /// Deadlines of clients in the active configuration.
    pub(super) fn phases(&self) -> &Phases {
        &self.snapshots.active().config.edge.phases
    }

    pub(super) fn report_left(&self, pool: PoolNumber) {
        self.shared.control.send(ControlMessage::PoolLeft { index: self.index, pool });
    }

    /// This loop's counters.
    pub(super) fn shard(&self) -> &Shard {
        self.shared.stats.shard(usize::from(self.index.0))
    }

    /// Puts a connection's next step off to the end of this turn.
    pub(super) fn run_later(&mut self, front: Key) {
        if let Some(found) = self.fronts.get_mut(front)
            && !std::mem::replace(&mut found.runs_later, true)
        {
            self.runnable.push_back(front);
        }
    }
}

/// The kernel tells of the rest in the next turn.
const EVENTS_PER_TURN: usize = 1024;
