//! The thread that writes: access lines, events and what the workers say.
//!
//! Nobody waits for it. Threads leave their lines in a bounded box, worker pipes are always read,
//! and the standard streams are written to without waiting. When a stream's reader is slow or
//! gone, lines are dropped, counted and reported as soon as there is a way to.

mod lane;
mod lines;
mod voices;

use crate::reactor::clock::Clock;
use crate::shared::diagnostics::WRITER;
pub use crate::shared::log::LogSettings;
use crate::shared::log::{Batch, LogSink, LogSource, Order, event_line, log_channel};
use crate::shared::mail::ControlMessage;
use crate::sys::outlet::Outlet;
use lane::{Lane, Lanes};
use mio::{Events, Poll, Token};
use rip::contract::event::Event;
use rip::time::Instant;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;
use voices::Voices;

/// The log agent: one thread that owns standard output and standard error.
pub struct LogAgent {
    sink: LogSink,
    thread: Option<JoinHandle<()>>,
}

impl LogAgent {
    /// Starts it on this process's standard output and standard error.
    pub fn start(settings: LogSettings) -> io::Result<Self> {
        Self::start_on(settings, Outlet::stdout()?, Outlet::stderr()?)
    }

    /// Starts it on any two outlets.
    pub fn start_on(settings: LogSettings, out: Outlet, err: Outlet) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let (sink, source) = log_channel(settings, waker);
        let out = Lane::open("stdout", out, poll.registry(), OUT)?;
        let err = Lane::open("stderr", err, poll.registry(), ERR)?;
        let voices = Voices::new(settings.json, poll.registry().try_clone()?);
        let lanes = Lanes { out, err };
        let writer = Writer { settings, source, poll, lanes, voices, clock: Clock::new() };
        let thread =
            std::thread::Builder::new().name(WRITER.to_owned()).spawn(move || writer.run())?;
        Ok(Self { sink, thread: Some(thread) })
    }

    /// Where lines go.
    pub fn sink(&self) -> LogSink {
        self.sink.clone()
    }

    /// Writes what was told, a second at most, and ends. What is told later is dropped.
    pub fn stop(self) {}
}

impl Drop for LogAgent {
    fn drop(&mut self) {
        self.sink.stop();
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by itself; nobody is left to tell.
            let _ = thread.join();
        }
    }
}

struct Writer {
    settings: LogSettings,
    source: LogSource,
    poll: Poll,
    lanes: Lanes,
    voices: Voices,
    clock: Clock,
}

impl Writer {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut batch = Batch::default();
        let mut report_at = None;
        let mut end_at = None;
        loop {
            let busy = self.source.take(&mut batch);
            self.tell(&mut batch);
            if self.carry_out(&mut batch.orders) && end_at.is_none() {
                self.source.close();
                // What was told between our looking and our closing.
                self.source.take(&mut batch);
                self.tell(&mut batch);
                self.carry_out(&mut batch.orders);
                self.voices.listen_to_all(&mut self.lanes, &self.clock);
                end_at = Some(self.clock.now() + END_WAIT);
            }
            let more = self.voices.listen(FAIR_BYTES, &mut self.lanes, &self.clock);
            self.lanes.flush();
            self.report(&mut report_at, end_at.is_some());
            self.source
                .count_lost(self.lanes.out.take_uncounted() + self.lanes.err.take_uncounted());
            if end_at.is_some_and(|at| at <= self.clock.now() || self.lanes.is_written()) {
                break;
            }
            let timeout = self.timeout(more, busy, report_at.into_iter().chain(end_at).min());
            if self.voices.take_spoken() && !more && end_at.is_none() {
                std::thread::sleep(PAUSE);
            }
            if !self.wait(&mut events, timeout) {
                break;
            }
        }
        self.source.close();
        self.source.count_lost(self.lanes.out.abandon() + self.lanes.err.abandon());
    }

    fn tell(&mut self, batch: &mut Batch) {
        let lanes = &mut self.lanes;
        for (lane, told) in [(&mut lanes.out, &mut batch.out), (&mut lanes.err, &mut batch.err)] {
            lane.push_all(&told.lines);
            lane.count_refused(std::mem::take(&mut told.lost));
            told.lines.clear();
            // A burst leaves no memory behind.
            told.lines.shrink_to(KEPT_BYTES);
        }
    }

    /// True when the agent is to end.
    fn carry_out(&mut self, orders: &mut Vec<Order>) -> bool {
        let mut end = false;
        for order in orders.drain(..) {
            match order {
                Order::Adopt { worker, app, stdout, stderr } => {
                    self.voices.adopt(worker, &app, stdout, stderr, self.clock.now());
                }
                Order::Forget { worker } => {
                    self.voices.listen_to(worker, &mut self.lanes, &self.clock);
                    self.voices.forget(worker, &mut self.lanes, &self.clock);
                }
                Order::LastLines { worker, reply } => {
                    self.voices.listen_to(worker, &mut self.lanes, &self.clock);
                    let lines = self.voices.last_lines(worker);
                    reply.send(ControlMessage::LastLines { worker, lines });
                }
                Order::Reopen => {
                    self.lanes.out.reopen();
                    self.lanes.err.reopen();
                }
                Order::Stop => end = true,
            }
        }
        end
    }

    /// Tells what could not be told, once a second at most.
    fn report(&mut self, report_at: &mut Option<Instant>, ending: bool) {
        let now = self.clock.now();
        if !self.lanes.out.has_lost() && !self.lanes.err.has_lost() && !self.voices.has_lost() {
            *report_at = None;
            return;
        }
        let due = report_at.get_or_insert(now);
        if *due > now && !ending {
            return;
        }
        *due = now + REPORT_INTERVAL;
        let mut losses = Vec::new();
        losses.extend(self.lanes.out.take_loss());
        losses.extend(self.lanes.err.take_loss());
        self.voices.take_losses(&mut losses);
        for loss in losses {
            self.source.count_lost(if loss.counted { 0 } else { loss.lines });
            let (from, lines, reason) = (loss.from, loss.lines, loss.reason);
            let mut line = Vec::new();
            let event = Event::LogDropped { from, lines, reason };
            event_line(&event, self.clock.wall(), self.settings.json, &mut line);
            self.lanes.err.push_report(&line);
        }
        self.lanes.err.flush();
    }

    /// While lines keep coming, they are collected for a moment and written at once; nobody has
    /// to wake us then. Only when none came we sleep, and the next line wakes.
    fn timeout(&self, more: bool, busy: bool, deadline: Option<Instant>) -> Option<Duration> {
        if more {
            return Some(Duration::ZERO);
        }
        let until_deadline = deadline.map(|at| self.clock.until(at).max(LEAST_WAIT));
        if busy || !self.source.fall_asleep() {
            return Some(until_deadline.map_or(COLLECT, |wait| wait.min(COLLECT)));
        }
        until_deadline
    }

    /// False when there is nothing left to wait with.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> bool {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return false,
            Err(_) => events.clear(),
            Ok(()) => {}
        }
        self.clock.refresh();
        for event in events.iter() {
            match event.token() {
                WAKER => {}
                OUT => self.lanes.out.unblock(),
                ERR => self.lanes.err.unblock(),
                token => self.voices.heard(token),
            }
        }
        true
    }
}

/// Lines that were not told.
struct Loss {
    from: String,
    lines: u64,
    reason: &'static str,
    /// They are in the total already.
    counted: bool,
}

const OUT: Token = Token(usize::MAX);
const ERR: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);
/// How long lines are collected before they are written at once.
const COLLECT: Duration = Duration::from_millis(10);
/// How long a worker that has said something is left to say more, instead of being read again
/// for every line. What a pipe holds is more than most say in this time.
const PAUSE: Duration = Duration::from_millis(2);
const LEAST_WAIT: Duration = Duration::from_millis(1);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a slow reader is waited for at the end.
const END_WAIT: Duration = Duration::from_secs(1);
/// What is read from one worker before the others have their turn.
const FAIR_BYTES: usize = 256 * 1024;
const KEPT_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests;
