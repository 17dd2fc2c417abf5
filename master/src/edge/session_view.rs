//! Who reads the events of a session over HTTP, at its own speed: the stream of a POST, a GET of
//! events.
//!
//! Nobody is handed events: who is told that there are new ones reads on, while there is room on the way
//! to its client. So all readers get the same bytes, and a slow one waits for itself.
//!
//! ```text
//!  GET ─▶ Looking ─┬─ refused, nothing left ──────────▶ answered
//!                  ├─ JSON ─▶ Polling ── read, late ──▶ answered
//!                  ▼
//!  POST ────────▶ Streaming ── all read, drain ───────▶ ended
//! ```
//! A client that leaves takes its reader along from every one of these. The turn does not notice.

use super::answer::output;
use super::front::Front;
use super::session::Mark;
use super::session_answer::Told;
use super::session_pages::{Pages, Pull, READ_ON_BYTES};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use crate::shared::store::{StoreAnswer, StoreOrder};
use rip::limits::{RESPONSE_BUFFER_BYTES, STREAM_HEARTBEAT};
use rip::session::claim::Run;
use rip::session::encode::{self, Field};
use rip::session::look::{LookOrder, View};
use rip::session::viewer::{Batch, Opening, Page};
use rip::session::{Event, Failure, Form, Reading, Refusal, SessionId, Viewer};
use rip::time::Instant;
use std::time::Duration;

/// One who reads.
pub(super) struct SessionView {
    exchange: Key,
    /// What it watches; nothing where its client named something that is no session's name.
    session: Option<SessionId>,
    stage: Stage,
    /// When something was last said to its client.
    spoke_at: Instant,
    /// When its timer goes off.
    armed: Option<Instant>,
}

enum Stage {
    /// Whether it may read is being looked up.
    Looking { reading: Reading, form: Form },
    /// The head of its stream is written.
    Streaming {
        pages: Pages,
        /// It ends when it has read what is stored, with these words.
        farewell: Option<Vec<u8>>,
    },
    /// What it reads is its answer, in one piece.
    Polling { pages: Pages, events: Vec<Event> },
}

impl SessionView {
    fn pages(&mut self) -> Option<&mut Pages> {
        match &mut self.stage {
            Stage::Looking { .. } => None,
            Stage::Streaming { pages, .. } | Stage::Polling { pages, .. } => Some(pages),
        }
    }
}

impl Edge {
    /// The stream of a POST begins: its exchange becomes a reader of the turn of `run`.
    pub(super) fn stream_begins(&mut self, exchange: Key, run: &Run) {
        let Some(key) = self.shared.sessions.queue.key() else {
            return self.post_failed(exchange, run, &Failure::Store("closed"));
        };
        let (session, turn) = (run.attempt.session, run.attempt.turn);
        let fields = encode::turn_fields(session, turn, &run.resume, &key);
        if !self.begin_stream(exchange, &fields, b"") {
            return;
        }
        let pages = Pages::new(Viewer::of_run(run, Form::Sse));
        let stage = Stage::Streaming { pages, farewell: None };
        let Some(key) = self.add_view(exchange, Some(session), stage) else { return };
        self.arm_view(key, self.clock.now() + STREAM_HEARTBEAT);
        self.tend_reader(key);
    }

    /// To the stream of a POST: an error that is not stored, as its last event.
    pub(super) fn stream_failed(&mut self, exchange: Key, run: &Run, failure: &Failure) {
        let mut words = Vec::new();
        encode::block(None, &encode::trouble_event(failure, run.attempt.turn), &mut words);
        self.end_stream_with(exchange, words);
    }

    /// The turn of a stream has ended: what is stored of it is still sent, then the stream ends.
    pub(super) fn stream_finishes(&mut self, exchange: Key) {
        self.end_stream_with(exchange, Vec::new());
    }

    fn end_stream_with(&mut self, exchange: Key, words: Vec<u8>) {
        let Some(key) = self.view_of(exchange) else { return };
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        let Stage::Streaming { pages, farewell } = &mut view.stage else { return };
        // What came first counts.
        farewell.get_or_insert(words);
        pages.stir();
        self.tend_reader(key);
    }

    /// A GET of events: its exchange becomes a reader, if the store lets it.
    pub(super) fn open_session_view(
        &mut self,
        exchange: Key,
        session: String,
        mut reading: Reading,
        form: Form,
    ) {
        let Some(found) = self.exchanges.get(exchange) else { return };
        let Some(asking) = &found.asking else { return };
        if found.head_only {
            // What it would wait for is not shown.
            reading.wait = Duration::ZERO;
        }
        let scope = asking.place.scope();
        let (access, turn) = (reading.access.clone(), reading.turn);
        let id = SessionId::parse(&session);
        let order = LookOrder { session, scope, access, turn };
        let Some(key) = self.add_view(exchange, id, Stage::Looking { reading, form }) else {
            return;
        };
        self.order(Mark::View(key), StoreOrder::Look(order));
    }

    /// From here on it misses nothing.
    fn add_view(&mut self, exchange: Key, session: Option<SessionId>, stage: Stage) -> Option<Key> {
        let asking = self.exchanges.get_mut(exchange)?.asking.as_mut()?;
        let spoke_at = self.clock.now();
        let view = SessionView { exchange, session, stage, spoke_at, armed: None };
        let key = self.sessions.views.insert(Box::new(view));
        asking.view = Some(key);
        if let Some(session) = session {
            self.watch_session(session, Mark::View(key));
        }
        Some(key)
    }

    /// A reader has everything there is, and waits for more.
    pub(super) fn is_waiting_reader(&self, key: Key) -> bool {
        let stage = self.sessions.views.get(key).map(|view| &view.stage);
        stage.is_some_and(|stage| match stage {
            Stage::Looking { .. } => false,
            Stage::Streaming { pages, .. } | Stage::Polling { pages, .. } => pages.is_waiting(),
        })
    }

    fn view_of(&self, exchange: Key) -> Option<Key> {
        self.exchanges.get(exchange)?.asking.as_ref()?.view
    }

    /// The client of a reader takes more.
    pub(super) fn view_has_room(&mut self, key: Key) {
        self.tend_reader(key);
    }

    /// The client of a reader is gone, or was answered. The turn does not notice.
    pub(super) fn view_left(&mut self, key: Key) {
        let Some(view) = self.sessions.views.remove(key) else { return };
        if let Some(session) = view.session {
            self.leave_session(session, Mark::View(key));
        }
    }

    /// The store has answered a reader's order.
    pub(super) fn view_stored(&mut self, key: Key, answer: StoreAnswer) {
        match answer {
            StoreAnswer::Look(found) => match *found {
                Ok(found) => self.view_opens(key, &found),
                Err(refusal) => self.refuse_view(key, &refusal),
            },
            StoreAnswer::Page(page) => self.view_gets(key, page),
            _ => {}
        }
    }

    /// There is something new for a reader.
    pub(super) fn view_stirred(&mut self, key: Key) {
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        let Some(pages) = view.pages() else { return };
        pages.stir();
        self.tend_reader(key);
    }

    /// What it reads runs elsewhere, or nothing runs that it waits for: it may look by itself. `count`
    /// counts how often it might.
    pub(super) fn view_polled(&mut self, key: Key, count: u32) {
        let Some(view) = self.sessions.views.get(key) else { return };
        let is_due = match view.stage {
            Stage::Looking { .. } => false,
            Stage::Streaming { .. } => true,
            // Who waits for a turn that may never begin is in no such hurry.
            Stage::Polling { .. } => count.is_multiple_of(POLLS_PER_POLL),
        };
        if is_due {
            self.view_stirred(key);
        }
    }

    /// A reader's deadline: a sign of life, the end of a long poll.
    pub(super) fn view_timer(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        if view.armed.is_none_or(|at| at > now) {
            return;
        }
        view.armed = None;
        match &mut view.stage {
            Stage::Looking { .. } => {}
            Stage::Polling { pages, .. } => {
                pages.handle_timeout(now);
                self.tend_reader(key);
            }
            Stage::Streaming { .. } => {
                let due = view.spoke_at + STREAM_HEARTBEAT;
                if due > now {
                    return self.arm_view(key, due);
                }
                self.arm_view(key, now + STREAM_HEARTBEAT);
                if self.front_of(key).is_some_and(|front| front.output.is_empty()) {
                    self.say(key, encode::HEARTBEAT.as_bytes());
                    self.flush_reader(key);
                }
            }
        }
    }

    /// The server drains: who reads of a turn that runs here reads it to its end, everybody else
    /// comes again by itself.
    pub(super) fn drain_views(&mut self) {
        for key in self.sessions.views.keys().collect::<Vec<_>>() {
            self.tend_reader(key);
        }
    }

    fn view_opens(&mut self, key: Key, found: &View) {
        let now = self.clock.now();
        if self.shared.sessions.queue.key().is_none() {
            return self.refuse_view(key, &Refusal::Store("closed"));
        }
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        let exchange = view.exchange;
        let Stage::Looking { reading, form } = &view.stage else { return };
        let form = *form;
        let viewer = match Viewer::open(reading, form, found, now) {
            Ok(Opening::Viewer(viewer)) => viewer,
            Ok(Opening::Nothing) => {
                let nothing = Told { status: 204, content_type: "", fields: &[], body: b"" };
                return self.answer_asking(exchange, &nothing, b"");
            }
            Err(refusal) => return self.refuse_view(key, &refusal),
        };
        if form == Form::Json {
            view.stage = Stage::Polling { pages: Pages::new(viewer), events: Vec::new() };
            return self.tend_reader(key);
        }
        let mut start = Vec::new();
        if let Some(reset) = viewer.reset() {
            encode::reset_block(reset, viewer.after(), &mut start);
        }
        let fields = encode::resume_fields(found.id, viewer.after());
        view.stage = Stage::Streaming { pages: Pages::new(viewer), farewell: None };
        if !self.begin_stream(exchange, &fields, &start) {
            return;
        }
        if self.exchanges.get(exchange).is_some_and(|exchange| exchange.head_only) {
            return self.finish_answer(exchange);
        }
        self.arm_view(key, now + STREAM_HEARTBEAT);
        self.tend_reader(key);
    }

    fn view_gets(&mut self, key: Key, page: Result<Option<Page>, &'static str>) {
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        let Some(pages) = view.pages() else { return };
        match pages.take(page) {
            Ok(batch) => {
                self.give(key, batch);
                self.tend_reader(key);
            }
            Err(reason) => {
                let refusal = Refusal::Store(reason);
                if let Stage::Polling { .. } = view.stage {
                    return self.refuse_view(key, &refusal);
                }
                // Who asked for a turn waits for its outcome, and is told why none comes. Everybody else
                // knows what it read last, and comes again.
                let exchange = self.exchanges.get(view.exchange);
                let asking = exchange.and_then(|exchange| exchange.asking.as_ref());
                if asking.is_some_and(|asking| asking.begins_turn) {
                    let mut words = Vec::new();
                    encode::block(None, &refusal.event(), &mut words);
                    self.say(key, &words);
                }
                self.end_reader(key);
            }
        }
    }

    /// Reads on while the client of the reader takes what is read.
    fn tend_reader(&mut self, key: Key) {
        let mut budget_bytes = BYTES_PER_GO;
        loop {
            let Some(front) = self.front_of(key) else { return };
            if has_enough(front) {
                // Where it still has, its socket tells when it takes more.
                let has_enough =
                    !self.flush_reader(key) || self.front_of(key).is_none_or(has_enough);
                if has_enough {
                    return;
                }
            }
            if budget_bytes == 0 {
                return self.run_reader_later(key);
            }
            let Some(view) = self.sessions.views.get_mut(key) else { return };
            let Some(pages) = view.pages() else { return };
            match pages.pull(&self.shared.sessions) {
                Pull::Batch(batch) => {
                    budget_bytes = budget_bytes.saturating_sub(self.give(key, batch));
                }
                Pull::Order(order) => {
                    self.order(Mark::View(key), order);
                    break;
                }
                Pull::Coming => break,
                Pull::Wait { until } => {
                    if self.waits_in_vain(key) {
                        return self.end_reader(key);
                    }
                    if let Some(until) = until {
                        self.arm_view(key, until);
                    }
                    break;
                }
                Pull::Done => return self.end_reader(key),
            }
        }
        self.flush_reader(key);
    }

    /// A reader has read everything that is stored. What it waits for will not come, or not here.
    fn waits_in_vain(&self, key: Key) -> bool {
        let Some(view) = self.sessions.views.get(key) else { return true };
        let front = self.front_of(key);
        let began_turn = self.exchanges.get(view.exchange).is_some_and(|exchange| {
            exchange.asking.as_ref().is_some_and(|asking| asking.turn.is_some())
        });
        if front.is_some_and(|front| front.read_closed) && !began_turn {
            // Whether it still reads would not be known.
            return true;
        }
        match &view.stage {
            Stage::Streaming { farewell: Some(_), .. } => true,
            Stage::Polling { .. } => self.drain.is_some(),
            _ => {
                self.drain.is_some() && !view.session.is_some_and(|session| self.runs_here(session))
            }
        }
    }

    /// Hands on what was read. Returns how many bytes that were.
    fn give(&mut self, key: Key, batch: Batch) -> usize {
        let Some(view) = self.sessions.views.get_mut(key) else { return 0 };
        let Some(session) = view.session else { return 0 };
        if let Stage::Polling { events, .. } = &mut view.stage {
            match batch.reset {
                Some((reset, _)) => self.refuse_view(key, &Refusal::Gone { session, reset }),
                None => events.extend(batch.events),
            }
            return 0;
        }
        let Some(token_key) = self.shared.sessions.queue.key() else { return 0 };
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        if let Some((reset, from)) = batch.reset {
            encode::reset_block(reset, from, &mut bytes);
        }
        for event in &batch.events {
            encode::event_block(event, session, &token_key, &mut bytes);
        }
        if !bytes.is_empty() {
            self.say(key, &bytes);
        }
        let count = bytes.len();
        bytes.shrink_to(SCRATCH_BYTES);
        self.scratch = bytes;
        count
    }

    /// Ends a stream, or answers a poll: the reader has all that it will get.
    fn end_reader(&mut self, key: Key) {
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        let exchange = view.exchange;
        match &mut view.stage {
            Stage::Looking { .. } => {}
            Stage::Streaming { farewell, .. } => {
                if let Some(words) = farewell.take().filter(|words| !words.is_empty()) {
                    self.say(key, &words);
                }
                if let Some(exchange) = self.exchanges.get_mut(exchange)
                    && let Some(asking) = &mut exchange.asking
                {
                    // It is we who end it: no client has left.
                    asking.turn = None;
                }
                self.finish_answer(exchange);
            }
            Stage::Polling { pages, events } => {
                let Some(token_key) = self.shared.sessions.queue.key() else { return };
                let (viewer, events) = (pages.viewer(), std::mem::take(events));
                let body = encode::events_body(
                    &events,
                    viewer.session(),
                    viewer.after(),
                    viewer.is_up_to_date(),
                    viewer.is_closed(),
                    &token_key,
                );
                let (content_type, body) = (encode::JSON_TYPE, body.as_bytes());
                let told = Told { status: 200, content_type, fields: &[], body };
                self.answer_asking(exchange, &told, b"");
            }
        }
    }

    fn refuse_view(&mut self, key: Key, refusal: &Refusal) {
        if let Some(view) = self.sessions.views.get(key) {
            self.refuse_asking(view.exchange, refusal);
        }
    }

    /// Says something in the stream of a reader.
    fn say(&mut self, key: Key, bytes: &[u8]) {
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        let Some(exchange) = self.exchanges.get_mut(view.exchange) else { return };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) else {
            return;
        };
        view.spoke_at = self.clock.now();
        exchange.record.bytes_out += bytes.len() as u64;
        front.server.body(bytes, output(&mut front.output, &mut self.blocks));
    }

    /// Writes the head of a stream and what every stream begins with, then `start`. False when the
    /// client is gone.
    fn begin_stream(&mut self, key: Key, fields: &[Field], start: &[u8]) -> bool {
        let told = Told { status: 200, content_type: encode::STREAM_TYPE, fields, body: b"" };
        if !self.begin_asked_stream(key, &told) {
            return false;
        }
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) else {
            return false;
        };
        let mut bytes = encode::STREAM_START.as_bytes().to_vec();
        bytes.extend_from_slice(start);
        exchange.record.bytes_out += bytes.len() as u64;
        front.server.body(&bytes, output(&mut front.output, &mut self.blocks));
        true
    }

    fn front_key_of(&self, key: Key) -> Option<Key> {
        let view = self.sessions.views.get(key)?;
        self.exchanges.get(view.exchange)?.front
    }

    fn front_of(&self, key: Key) -> Option<&Front> {
        self.fronts.get(self.front_key_of(key)?)
    }

    /// False when the client is gone.
    fn flush_reader(&mut self, key: Key) -> bool {
        self.front_key_of(key).is_some_and(|front| self.flush_front(front))
    }

    fn run_reader_later(&mut self, key: Key) {
        if let Some(front) = self.front_key_of(key)
            && self.flush_front(front)
        {
            self.run_later(front);
        }
    }

    /// Its timer goes off at `at`, if not before.
    fn arm_view(&mut self, key: Key, at: Instant) {
        let Some(view) = self.sessions.views.get_mut(key) else { return };
        if view.armed.is_none_or(|armed| at < armed) {
            view.armed = Some(at);
            self.wheel.schedule(Timer::SessionView(key), at);
        }
    }
}

/// The client has so much to take that nothing is read for it.
fn has_enough(front: &Front) -> bool {
    front.output.len() >= READ_ON_BYTES
}

/// Bytes read for one client before the others get their turn.
const BYTES_PER_GO: usize = RESPONSE_BUFFER_BYTES;
/// What the scratch memory may keep.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Of so many looks at sessions that run elsewhere, one is a look at sessions that run nowhere.
const POLLS_PER_POLL: u32 = 4;
