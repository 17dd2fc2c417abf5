//! A turn that runs: from its claim to the last word about it.
//!
//! The machine reads the app's answer, has every event stored before anybody sees it, and ends the turn
//! exactly once. It does not know who looks on, nor what a worker is.

use super::answer::{Answer, Reader, Said};
use super::ask::Form;
use super::claim::Run;
use super::end::{AppendOrder, Appended, End, EndOrder, Ended, Lost, store_pause};
use super::event::{Closes, Event};
use super::event_id::EventId;
use super::failure::Failure;
use super::outcome::{Outcome, State};
use super::record::Ending;
use super::token::Nonce;
use crate::limits::{CANCEL_GRACE, TURN_UNSTORED_BYTES};
use crate::time::{Instant, UnixMillis};
use std::collections::VecDeque;

/// How far a turn is.
///
/// ```text
///            2xx             outcome, failure, cancelled
///  Asking ─────────▶ Reading ───────────────────────────┐
///    │                                                  ▼   store free             stored, lost
///    └── a refusal, failure, cancelled ─────────────▶ Ending ───────────▶ Storing ─────────────▶ Ended
///                                                       ▲                   │
///                                            pause over └──── Pausing ◀─────┘ not stored
/// ```
/// From `Asking` and `Reading` a turn that is not its runner's any more is `Ended` at once.
#[derive(Debug)]
enum Phase {
    /// The request is on its way, or its answer has not begun.
    Asking,
    /// The answer has begun.
    Reading(Reader),
    /// How it ends is known, and is stored as soon as the store is free.
    Ending(End),
    /// The end is at the store.
    Storing,
    /// The store did not take the end; the client was told so.
    Pausing {
        /// What is tried again.
        failure: Failure,
        /// When.
        until: Instant,
    },
    /// Nothing follows.
    Ended,
}

/// What the client that began the turn wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// How it is told.
    pub form: Form,
    /// It is answered 202 and goes.
    pub is_async: bool,
    /// If it leaves before the end, the turn is cancelled.
    pub cancels_by_leaving: bool,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Have these events stored, and say what became of it with [`Turn::appended`].
    Append(AppendOrder),
    /// Have the turn ended, and say what became of it with [`Turn::ended`].
    End(EndOrder),
    /// To the client: 202, for it is not to wait.
    Accept,
    /// To the client: the head of a stream.
    Begin,
    /// To everyone who looks on, and to the client if it has a stream: these are stored.
    Events(Vec<Event>),
    /// To the client: the whole answer, of a turn that has ended so.
    Answer(Box<Ending>),
    /// To the client: the app's own answer as it is.
    PassThrough,
    /// To the client: an error that is not stored; as the whole answer, or within the stream.
    Trouble(Failure),
    /// To the client: the stream ends here.
    Finish,
    /// To the worker: its connection is closed, whatever it still says.
    LetGo,
    /// To the supervisor: the worker did not let go in time.
    Recycle,
}

/// A turn that runs.
#[derive(Debug)]
pub struct Turn {
    run: Run,
    client: Client,
    /// Nobody waits for an answer any more: it was given, or the client left.
    is_answered: bool,
    is_streaming: bool,
    phase: Phase,
    /// The last event that has a name.
    last: EventId,
    /// Events that are not at the store yet.
    unstored: Vec<Event>,
    /// Events that are at the store.
    at_store: Vec<Event>,
    /// Bytes of both.
    unstored_bytes: usize,
    is_store_busy: bool,
    next: Nonce,
    failures: u32,
    /// The worker is given up and has not let go.
    recycle_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Turn {
    /// The turn of `run`. `next` makes the next token, if it commits.
    pub fn new(run: Run, client: Client, next: Nonce) -> Self {
        let epoch = run.attempt.owner.max(run.last.epoch);
        let mut turn = Self {
            last: EventId::new(epoch, run.last.seq),
            run,
            client,
            is_answered: client.is_async,
            is_streaming: false,
            phase: Phase::Asking,
            unstored: Vec::new(),
            at_store: Vec::new(),
            unstored_bytes: 0,
            is_store_busy: false,
            next,
            failures: 0,
            recycle_at: None,
            outputs: VecDeque::new(),
        };
        if client.is_async {
            turn.outputs.push_back(Output::Accept);
        }
        turn
    }

    /// What it runs.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The app is to be asked, or has not answered yet.
    pub fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking)
    }

    /// The app's answer is to be read on. While this is false its bytes wait at the worker.
    pub fn wants_bytes(&self) -> bool {
        matches!(self.phase, Phase::Reading(_)) && self.unstored_bytes < TURN_UNSTORED_BYTES
    }

    /// The client has been sent the head of a stream.
    pub fn is_streaming(&self) -> bool {
        self.is_streaming
    }

    /// Nothing follows, and no deadline runs.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended) && self.recycle_at.is_none() && self.outputs.is_empty()
    }

    /// The next thing to do; drain after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Turn::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        let pause = match &self.phase {
            Phase::Pausing { until, .. } => Some(*until),
            _ => None,
        };
        pause.into_iter().chain(self.recycle_at).min()
    }

    /// The head of the app's answer.
    pub fn answer_head(&mut self, status: u16, content_type: Option<&[u8]>) {
        if !matches!(self.phase, Phase::Asking) {
            return;
        }
        match Answer::of(status, content_type) {
            Answer::Reading(reader) => {
                if reader.is_stream() {
                    self.begin();
                }
                self.phase = Phase::Reading(reader);
            }
            Answer::Refusal => {
                let is_alone = self.run.is_first && self.run.attempt.number == 1;
                self.finish(End::Refused { status, is_unheard: is_alone && !self.client.is_async });
            }
            Answer::Failed(failure) => self.fail(failure),
        }
    }

    /// Bytes of the app's answer, written at `at`.
    pub fn answer_bytes(&mut self, mut bytes: &[u8], at: UnixMillis) {
        while !bytes.is_empty() {
            let Phase::Reading(reader) = &mut self.phase else { return };
            match reader.next(&mut bytes) {
                Ok(Some(said)) => self.say(said, at),
                Ok(None) => {}
                Err(failure) => self.fail(failure),
            }
        }
        self.pump();
    }

    /// The app's answer has ended; `is_whole`: in good order, as its framing says.
    pub fn answer_end(&mut self, is_whole: bool, at: UnixMillis) {
        match &mut self.phase {
            Phase::Reading(reader) if is_whole => match reader.finish() {
                Ok(Some(said)) => self.say(said, at),
                Ok(None) => {}
                Err(failure) => self.fail(failure),
            },
            Phase::Reading(_) | Phase::Asking => self.fail(Failure::Incomplete),
            _ => {}
        }
        self.pump();
    }

    /// It came to nothing: no worker was to be had, or it took too long.
    pub fn fail(&mut self, failure: Failure) {
        if matches!(self.phase, Phase::Asking | Phase::Reading(_)) {
            self.outputs.push_back(Output::LetGo);
            self.finish(End::Failed(failure));
        }
    }

    /// It is cancelled. What the store said before counts more: a turn that has ended has ended.
    pub fn cancel(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Asking | Phase::Reading(_)) {
            self.recycle_at = Some(now + CANCEL_GRACE);
            self.outputs.push_back(Output::LetGo);
            self.finish(End::Outcome(Outcome::Cancelled, State::Same));
        }
    }

    /// The client that began it is gone.
    pub fn client_left(&mut self, now: Instant) {
        let was_waiting = !std::mem::replace(&mut self.is_answered, true);
        if was_waiting && self.client.cancels_by_leaving {
            self.cancel(now);
        }
    }

    /// The worker is free of the turn, by itself or dead.
    pub fn worker_done(&mut self) {
        self.recycle_at = None;
    }

    /// What became of [`Output::Append`]; an error says why the store took nothing.
    pub fn appended(&mut self, reply: Result<Appended, &'static str>, now: Instant) {
        self.is_store_busy = false;
        let events = std::mem::take(&mut self.at_store);
        match reply {
            Ok(Appended::Stored { is_cancelling }) => {
                self.publish(events);
                if is_cancelling {
                    self.cancel(now);
                }
            }
            Ok(Appended::Lost(lost)) => return self.lose(lost),
            Err(reason) => {
                self.forget_unstored();
                match &self.phase {
                    Phase::Ending(End::Outcome(outcome, _)) if outcome.commits() => {
                        self.phase = Phase::Ending(End::Failed(Failure::Store(reason)));
                    }
                    _ => self.fail(Failure::Store(reason)),
                }
            }
        }
        self.pump();
    }

    /// What became of [`Output::End`]; an error says why the store took nothing.
    pub fn ended(&mut self, reply: Result<Ended, &'static str>, now: Instant) {
        self.is_store_busy = false;
        let mut events = std::mem::take(&mut self.at_store);
        match reply {
            Ok(Ended::Stored { ending, event, is_refused }) => {
                self.phase = Phase::Ended;
                events.extend(event);
                self.conclude(ending, events, is_refused);
            }
            Ok(Ended::Lost(lost)) => self.lose(lost),
            Err(reason) => {
                self.forget_unstored();
                let pause = store_pause(self.failures);
                self.failures = self.failures.saturating_add(1);
                let failure = Failure::Store(reason);
                self.trouble(failure.clone());
                // Not what it was: the client knows that it came to nothing.
                self.phase = Phase::Pausing { failure, until: now + pause };
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.recycle_at.is_some_and(|at| at <= now) {
            self.recycle_at = None;
            self.outputs.push_back(Output::Recycle);
        }
        if let Phase::Pausing { failure, until } = &self.phase
            && *until <= now
        {
            self.phase = Phase::Ending(End::Failed(failure.clone()));
            self.pump();
        }
    }

    fn say(&mut self, said: Said, at: UnixMillis) {
        let turn = self.run.attempt.turn;
        let id = EventId::new(self.last.epoch, self.last.seq + 1);
        let event = match said {
            Said::Delta(text) => Event::delta(id, turn, at, &text),
            Said::Record(record) => Event::record(id, turn, at, &record),
            Said::Outcome(outcome, state) => return self.finish(End::Outcome(outcome, state)),
        };
        if event.is_too_large() {
            return self.fail(Failure::BadAnswer("an event is over 1 MiB".to_owned()));
        }
        self.last = id;
        self.unstored_bytes += event.byte_count();
        self.unstored.push(event);
    }

    fn finish(&mut self, end: End) {
        self.phase = Phase::Ending(end);
        self.pump();
    }

    /// Gives the store what there is, one order at a time.
    fn pump(&mut self) {
        if self.is_store_busy {
            return;
        }
        let attempt = self.run.attempt;
        match std::mem::replace(&mut self.phase, Phase::Storing) {
            Phase::Ending(end) => {
                self.at_store = std::mem::take(&mut self.unstored);
                let events = self.at_store.clone();
                let order = EndOrder { attempt, events, end, next: self.next };
                self.outputs.push_back(Output::End(order));
                self.is_store_busy = true;
            }
            phase => {
                self.phase = phase;
                if !self.unstored.is_empty() {
                    self.at_store = std::mem::take(&mut self.unstored);
                    let events = self.at_store.clone();
                    self.outputs.push_back(Output::Append(AppendOrder { attempt, events }));
                    self.is_store_busy = true;
                }
            }
        }
    }

    /// Events that the store did not take never were, and neither were those behind them.
    fn forget_unstored(&mut self) {
        self.unstored.clear();
        self.unstored_bytes = 0;
    }

    fn publish(&mut self, events: Vec<Event>) {
        let bytes: usize = events.iter().map(Event::byte_count).sum();
        self.unstored_bytes = self.unstored_bytes.saturating_sub(bytes);
        if !events.is_empty() {
            self.outputs.push_back(Output::Events(events));
        }
    }

    fn begin(&mut self) {
        if self.client.form == Form::Sse && !self.is_answered && !self.is_streaming {
            self.is_streaming = true;
            self.outputs.push_back(Output::Begin);
        }
    }

    /// The turn has ended: everyone is told.
    fn conclude(&mut self, ending: Box<Ending>, events: Vec<Event>, is_refused: bool) {
        if ending.status == 200 {
            self.begin();
        }
        let has_event = events.last().is_some_and(|event| event.closes != Closes::Nothing);
        self.publish(events);
        if self.is_answered {
            return;
        }
        self.is_answered = true;
        let answer = match self.client.form {
            Form::Socket if !has_event => Output::Trouble(Failure::Refused(ending.status)),
            Form::Socket => Output::Finish,
            Form::Sse if self.is_streaming => Output::Finish,
            _ if is_refused => Output::PassThrough,
            _ => Output::Answer(ending),
        };
        self.outputs.push_back(answer);
    }

    /// The turn is not ours any more: it was interrupted, deleted, or its end was stored before.
    fn lose(&mut self, lost: Lost) {
        self.forget_unstored();
        if matches!(self.phase, Phase::Asking | Phase::Reading(_)) {
            self.outputs.push_back(Output::LetGo);
        }
        self.phase = Phase::Ended;
        if self.is_answered {
            return;
        }
        match lost {
            Lost::Ended(ending) if self.client.form == Form::Json => {
                self.is_answered = true;
                self.outputs.push_back(Output::Answer(ending));
            }
            _ => self.trouble(Failure::Interrupted),
        }
    }

    /// Tells the client what is not stored, and no more after it.
    fn trouble(&mut self, failure: Failure) {
        if std::mem::replace(&mut self.is_answered, true) {
            return;
        }
        self.outputs.push_back(Output::Trouble(failure));
        if self.is_streaming || self.client.form == Form::Socket {
            self.outputs.push_back(Output::Finish);
        }
    }
}
