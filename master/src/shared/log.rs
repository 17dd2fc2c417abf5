//! What is to be told: lines from every thread to the one that writes them.
//!
//! A writer appends to a bounded box under a short lock and goes on. Lines that do not fit are
//! dropped and counted. The agent is woken only when it sleeps; while lines keep coming it looks
//! by itself, so that a busy server pays a copy for a line and no system call.

use crate::reactor::mailbox::Sender;
use crate::shared::mail::ControlMessage;
use rip::contract::event::Event;
use rip::ids::{AppId, WorkerId};
use rip::limits::LOG_BYTES;
use rip::observe::line;
use rip::time::UnixMillis;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How lines look and which are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogSettings {
    /// Every line is a JSON object.
    pub json: bool,
    /// Only events that tell of trouble.
    pub quiet: bool,
}

/// Where lines go. Cheap to clone; no call ever waits for a reader.
#[derive(Clone)]
pub struct LogSink {
    shared: Arc<Shared>,
}

impl LogSink {
    /// Access lines, each ending with a line feed, to standard output. Best all of a turn at once.
    pub fn write(&self, lines: &[u8]) {
        self.append(lines, |inbox| &mut inbox.out);
    }

    /// Tells what happened, on standard error.
    pub fn event(&self, event: &Event, at: UnixMillis) {
        if !self.shared.settings.quiet || event.is_trouble() {
            let mut line = Vec::new();
            event_line(event, at, self.shared.settings.json, &mut line);
            self.append(&line, |inbox| &mut inbox.err);
        }
    }

    /// A worker was started: what comes out of these pipes is told with the worker's name before
    /// each line.
    pub fn adopt(&self, worker: WorkerId, app: AppId, stdout: OwnedFd, stderr: OwnedFd) {
        self.order(Order::Adopt { worker, app, stdout, stderr });
    }

    /// Asks for the last stderr lines of `worker`, everything included that it wrote before this
    /// call. The answer is [`ControlMessage::LastLines`].
    pub fn last_lines(&self, worker: WorkerId, reply: Sender<ControlMessage>) {
        self.order(Order::LastLines { worker, reply });
    }

    /// The worker is gone: what it wrote is still told, then its pipes are closed.
    pub fn forget(&self, worker: WorkerId) {
        self.order(Order::Forget { worker });
    }

    /// A whole diagnostic line, to standard error.
    pub fn diagnostic(&self, line: &[u8]) {
        self.append(line, |inbox| &mut inbox.err);
    }

    /// Lines that were dropped since the start, whatever the reason.
    pub fn lost_lines(&self) -> u64 {
        self.shared.lost_lines.load(Ordering::Relaxed)
    }

    /// Has files opened anew where they were: whoever rotates them has moved them away.
    pub fn reopen(&self) {
        self.order(Order::Reopen);
    }

    /// Lets the agent write what was told and end.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    fn append(&self, lines: &[u8], lane: impl FnOnce(&mut Inbox) -> &mut LaneInbox) {
        let mut inbox = self.shared.lock();
        let closed = inbox.closed;
        let lane = lane(&mut inbox);
        let fits = if closed { 0 } else { whole_lines(lines, LOG_BYTES - lane.lines.len()) };
        lane.lines.extend_from_slice(&lines[..fits]);
        if fits < lines.len() {
            let lost = line_count(&lines[fits..]);
            lane.lost += lost;
            self.shared.lost_lines.fetch_add(lost, Ordering::Relaxed);
        }
        self.release(inbox);
    }

    fn order(&self, order: Order) {
        let mut inbox = self.shared.lock();
        if !inbox.closed {
            inbox.orders.push(order);
        } else if let Order::LastLines { worker, reply } = order {
            reply.send(ControlMessage::LastLines { worker, lines: Vec::new() });
        }
        self.release(inbox);
    }

    fn release(&self, mut inbox: MutexGuard<'_, Inbox>) {
        let wake = std::mem::take(&mut inbox.asleep);
        drop(inbox);
        if wake {
            // Without its agent nothing can be told, not even this.
            let _ = self.shared.waker.wake();
        }
    }
}

/// The agent's end.
pub struct LogSource {
    shared: Arc<Shared>,
}

impl LogSource {
    /// Takes everything that was told, leaving `batch`'s vectors to be filled: they should be
    /// empty. False when there was nothing.
    pub fn take(&self, batch: &mut Batch) -> bool {
        let mut inbox = self.shared.lock();
        if inbox.is_empty() {
            return false;
        }
        let Inbox { out, err, orders, .. } = &mut *inbox;
        for (theirs, ours) in [(out, &mut batch.out), (err, &mut batch.err)] {
            std::mem::swap(&mut theirs.lines, &mut ours.lines);
            ours.lost += std::mem::take(&mut theirs.lost);
        }
        std::mem::swap(orders, &mut batch.orders);
        true
    }

    /// Whether the agent may wait: from now on the next line wakes it. False when there is
    /// something to take.
    pub fn fall_asleep(&self) -> bool {
        let mut inbox = self.shared.lock();
        inbox.asleep = inbox.is_empty();
        inbox.asleep
    }

    /// Counts lines that the agent itself had to drop.
    pub fn count_lost(&self, lines: u64) {
        self.shared.lost_lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// What is told from now on is dropped at once.
    pub fn close(&self) {
        self.shared.lock().closed = true;
    }
}

/// What was told since the agent last looked.
#[derive(Default)]
pub struct Batch {
    /// For standard output.
    pub out: LaneInbox,
    /// For standard error.
    pub err: LaneInbox,
    /// What is to be done.
    pub orders: Vec<Order>,
}

/// Lines for one of the two standard streams.
#[derive(Default)]
pub struct LaneInbox {
    /// Whole lines.
    pub lines: Vec<u8>,
    /// Lines that did not fit.
    pub lost: u64,
}

/// What the agent is asked to do.
pub enum Order {
    /// Tell what comes out of a worker.
    Adopt {
        /// Who writes.
        worker: WorkerId,
        /// Its app.
        app: AppId,
        /// What it writes to its standard output.
        stdout: OwnedFd,
        /// What it writes to its standard error.
        stderr: OwnedFd,
    },
    /// Tell the rest and close.
    Forget {
        /// Who has ended.
        worker: WorkerId,
    },
    /// Answer with the last stderr lines.
    LastLines {
        /// Whose.
        worker: WorkerId,
        /// To whom.
        reply: Sender<ControlMessage>,
    },
    /// Open files anew.
    Reopen,
    /// Write everything and end.
    Stop,
}

/// Both ends of a new log; `waker` is the agent's.
pub fn log_channel(settings: LogSettings, waker: mio::Waker) -> (LogSink, LogSource) {
    let shared = Arc::new(Shared {
        inbox: Mutex::new(Inbox::default()),
        lost_lines: AtomicU64::new(0),
        settings,
        waker,
    });
    (LogSink { shared: Arc::clone(&shared) }, LogSource { shared })
}

struct Shared {
    inbox: Mutex<Inbox>,
    lost_lines: AtomicU64,
    settings: LogSettings,
    waker: mio::Waker,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // Nothing that can panic runs under this lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Inbox {
    out: LaneInbox,
    err: LaneInbox,
    orders: Vec<Order>,
    /// The agent waits without a timeout: whoever leaves something wakes it.
    asleep: bool,
    closed: bool,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        let silent = |lane: &LaneInbox| lane.lines.is_empty() && lane.lost == 0;
        silent(&self.out) && silent(&self.err) && self.orders.is_empty()
    }
}

/// How many bytes of `lines` are whole lines that fit into `room`.
pub fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

/// How many lines these are; an unfinished one counts.
pub fn line_count(lines: &[u8]) -> u64 {
    let ends = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    ends + u64::from(lines.last().is_some_and(|last| *last != b'\n'))
}

/// Appends what tells of `event`, for people or for programs.
pub fn event_line(event: &Event, at: UnixMillis, json: bool, out: &mut Vec<u8>) {
    if json {
        line::write_json(event, at, out);
    } else {
        line::write_human(event, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::ids::Generation;

    fn channel(settings: LogSettings) -> (mio::Poll, LogSink, LogSource) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sink, source) = log_channel(settings, waker);
        (poll, sink, source)
    }

    #[test]
    fn the_agent_is_woken_only_when_it_sleeps() {
        let (mut poll, sink, source) = channel(LogSettings::default());
        let mut events = mio::Events::with_capacity(4);
        let mut woken = |wait| {
            poll.poll(&mut events, Some(std::time::Duration::from_millis(wait))).unwrap();
            !events.is_empty()
        };
        sink.write(b"one\n");
        assert!(!woken(0));
        assert!(!source.fall_asleep());
        let mut batch = Batch::default();
        assert!(source.take(&mut batch));
        assert_eq!(batch.out.lines, b"one\n");
        batch.out.lines.clear();
        assert!(source.fall_asleep());
        sink.write(b"two\n");
        sink.write(b"three\n");
        assert!(woken(5000));
        assert!(!woken(0));
        source.take(&mut batch);
        assert_eq!(batch.out.lines, b"two\nthree\n");
    }

    #[test]
    fn a_full_box_takes_whole_lines_and_counts_the_rest() {
        let (_poll, sink, source) = channel(LogSettings::default());
        let mut most = vec![b'x'; LOG_BYTES - 10];
        most[LOG_BYTES - 11] = b'\n';
        sink.write(&most);
        sink.write(b"fits\ndoes not fit\nnor this\n");
        let mut batch = Batch::default();
        source.take(&mut batch);
        assert_eq!(batch.out.lost, 2);
        assert!(batch.out.lines.ends_with(b"\nfits\n"));
        assert_eq!(sink.lost_lines(), 2);
    }

    #[test]
    fn a_closed_log_answers_and_drops() {
        let (_poll, sink, source) = channel(LogSettings::default());
        source.close();
        sink.write(b"late\n");
        assert_eq!(sink.lost_lines(), 1);
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (reply, mut receiver) = crate::reactor::mailbox::mailbox(Arc::new(waker));
        sink.last_lines(WorkerId(1), reply);
        let mut mail = Vec::new();
        receiver.drain(&mut mail);
        assert_eq!(mail.len(), 1);
    }

    #[test]
    fn quiet_tells_only_trouble() {
        let start = Event::WorkerStart {
            app: AppId::new("api"),
            worker_id: WorkerId(3),
            generation: Generation(7),
            pid: 42,
        };
        let exit = Event::WorkerExit {
            app: AppId::new("api"),
            worker_id: WorkerId(3),
            pid: 42,
            status: "killed by SIGKILL".to_owned(),
            expected: false,
            stderr: Vec::new(),
        };
        let (_poll, sink, source) = channel(LogSettings { quiet: true, json: false });
        sink.event(&start, UnixMillis(0));
        assert!(!source.take(&mut Batch::default()));
        sink.event(&exit, UnixMillis(0));
        assert!(source.take(&mut Batch::default()));
    }
}
