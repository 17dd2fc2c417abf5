//! What the workers say: their pipes, always read, and what is kept of it.
//!
//! A worker must never wait because nobody reads its output, so its pipes are read whatever
//! happens to the lines. One that writes faster than it may is still read; its lines are dropped
//! and counted. The last lines of its standard error are kept even then.

use super::Loss;
use super::lane::{Lane, Lanes};
use super::lines::Lines;
use crate::reactor::clock::Clock;
use crate::reactor::slab::{Key, Slab, TokenKind, parse, token};
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use rip::ids::{AppId, WorkerId};
use rip::limits::{OUTPUT_BURST_BYTES, OUTPUT_BYTES_PER_SEC, STDERR_LINE_COUNT};
use rip::observe::output::{Stream, Voice};
use rip::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// Every worker's output.
pub(super) struct Voices {
    json: bool,
    registry: Registry,
    speakers: BTreeMap<WorkerId, Speaker>,
    pipes: Slab<Pipe>,
    /// Pipes that may have more to read.
    ready: Vec<Key>,
    block: Vec<u8>,
    spoken: bool,
}

/// One worker.
struct Speaker {
    allowance: Allowance,
    last_lines: VecDeque<String>,
    lost: u64,
    pipes: Vec<Key>,
    /// Nobody will ask again; it stays only until its loss is told.
    forgotten: bool,
}

struct Pipe {
    worker: WorkerId,
    voice: Voice,
    receiver: Receiver,
    lines: Lines,
    ready: bool,
}

impl Voices {
    pub(super) fn new(json: bool, registry: Registry) -> Self {
        Self {
            json,
            registry,
            speakers: BTreeMap::new(),
            pipes: Slab::new(),
            ready: Vec::new(),
            block: vec![0; BLOCK_BYTES],
            spoken: false,
        }
    }

    /// Listens to a new worker.
    pub(super) fn adopt(
        &mut self,
        worker: WorkerId,
        app: &AppId,
        stdout: OwnedFd,
        stderr: OwnedFd,
        now: Instant,
    ) {
        let pipes = [(Stream::Stdout, stdout), (Stream::Stderr, stderr)]
            .into_iter()
            .filter_map(|(stream, fd)| {
                match self.open(Voice::new(app.clone(), worker, stream), worker, fd) {
                    Err(error) => {
                        log::error!("the output of {worker} cannot be read: {error}");
                        None
                    }
                    Ok(key) => Some(key),
                }
            })
            .collect();
        let speaker = Speaker {
            allowance: Allowance::new(now),
            last_lines: VecDeque::new(),
            lost: 0,
            pipes,
            forgotten: false,
        };
        self.speakers.insert(worker, speaker);
    }

    fn open(&mut self, voice: Voice, worker: WorkerId, fd: OwnedFd) -> io::Result<Key> {
        crate::sys::fd::set_nonblocking(&fd)?;
        let receiver = Receiver::from(fd);
        let lines = Lines::default();
        // Something may have been written before: it is read without waiting for an event.
        let key = self.pipes.insert(Pipe { worker, voice, receiver, lines, ready: true });
        if let Some(pipe) = self.pipes.get_mut(key) {
            let token = token(TokenKind::Pipe, key);
            let registered = self.registry.register(&mut pipe.receiver, token, Interest::READABLE);
            if let Err(error) = registered {
                self.pipes.remove(key);
                return Err(error);
            }
        }
        self.ready.push(key);
        Ok(key)
    }

    /// The poll says that a pipe has something.
    pub(super) fn heard(&mut self, token: Token) {
        let (_, key) = parse(token);
        if let Some(pipe) = self.pipes.get_mut(key)
            && !pipe.ready
        {
            pipe.ready = true;
            self.ready.push(key);
        }
    }

    /// Reads what is ready, `fair_bytes` of each pipe at most. True when some have more.
    pub(super) fn listen(&mut self, fair_bytes: usize, lanes: &mut Lanes, clock: &Clock) -> bool {
        for key in std::mem::take(&mut self.ready) {
            if self.read(key, fair_bytes, lanes, clock) {
                self.ready.push(key);
            }
        }
        !self.ready.is_empty()
    }

    /// Reads what `worker` has written so far, as much as pipes can hold.
    pub(super) fn listen_to(&mut self, worker: WorkerId, lanes: &mut Lanes, clock: &Clock) {
        let Some(speaker) = self.speakers.get(&worker) else { return };
        for key in speaker.pipes.clone() {
            self.read(key, PIPE_BYTES, lanes, clock);
        }
    }

    /// Reads what everybody has written so far.
    pub(super) fn listen_to_all(&mut self, lanes: &mut Lanes, clock: &Clock) {
        let workers: Vec<_> = self.speakers.keys().copied().collect();
        for worker in workers {
            self.listen_to(worker, lanes, clock);
        }
    }

    /// The last lines of its standard error, oldest first.
    pub(super) fn last_lines(&self, worker: WorkerId) -> Vec<String> {
        self.speakers
            .get(&worker)
            .filter(|speaker| !speaker.forgotten)
            .map(|speaker| speaker.last_lines.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Stops listening to a worker that is gone.
    pub(super) fn forget(&mut self, worker: WorkerId, lanes: &mut Lanes, clock: &Clock) {
        let Some(speaker) = self.speakers.get(&worker) else { return };
        for key in speaker.pipes.clone() {
            self.end(key, lanes, clock);
        }
        if let Some(speaker) = self.speakers.get_mut(&worker) {
            speaker.forgotten = true;
            if speaker.lost == 0 {
                self.speakers.remove(&worker);
            }
        }
    }

    /// Whether something was read since the last call.
    pub(super) fn take_spoken(&mut self) -> bool {
        std::mem::take(&mut self.spoken)
    }

    pub(super) fn has_lost(&self) -> bool {
        self.speakers.values().any(|speaker| speaker.lost > 0)
    }

    /// What each worker said too fast.
    pub(super) fn take_losses(&mut self, losses: &mut Vec<Loss>) {
        self.speakers.retain(|worker, speaker| {
            if speaker.lost > 0 {
                let lines = std::mem::take(&mut speaker.lost);
                let from = worker.to_string();
                losses.push(Loss { from, lines, reason: "too fast", counted: false });
            }
            !speaker.forgotten
        });
    }

    /// True when there is more to read at once.
    fn read(&mut self, key: Key, most_bytes: usize, lanes: &mut Lanes, clock: &Clock) -> bool {
        let mut read = 0;
        while read < most_bytes {
            let Some(pipe) = self.pipes.get_mut(key) else { return false };
            match pipe.receiver.read(&mut self.block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    pipe.ready = false;
                    return false;
                }
                Ok(0) | Err(_) => {
                    self.end(key, lanes, clock);
                    return false;
                }
                Ok(count) => {
                    read += count;
                    self.spoken = true;
                    let Some(speaker) = self.speakers.get_mut(&pipe.worker) else { return false };
                    let (voice, json) = (&pipe.voice, self.json);
                    let lane = lanes.of(voice.stream());
                    pipe.lines.feed(&self.block[..count], |line| {
                        speaker.say(voice, line, lane, json, clock);
                    });
                }
            }
        }
        true
    }

    /// A pipe has come to its end, or nobody cares any more.
    fn end(&mut self, key: Key, lanes: &mut Lanes, clock: &Clock) {
        let Some(mut pipe) = self.pipes.remove(key) else { return };
        let Some(speaker) = self.speakers.get_mut(&pipe.worker) else { return };
        let (voice, json) = (&pipe.voice, self.json);
        let lane = lanes.of(voice.stream());
        pipe.lines.finish(|line| speaker.say(voice, line, lane, json, clock));
        speaker.pipes.retain(|other| *other != key);
    }
}

impl Speaker {
    fn say(&mut self, voice: &Voice, line: &[u8], lane: &mut Lane, json: bool, clock: &Clock) {
        if voice.stream() == Stream::Stderr {
            if self.last_lines.len() == STDERR_LINE_COUNT {
                self.last_lines.pop_front();
            }
            self.last_lines.push_back(String::from_utf8_lossy(line).into_owned());
        }
        let cost = (line.len() + LINE_COST_BYTES) as u64;
        if !self.allowance.spend(cost, clock.now()) {
            self.lost += 1;
            return;
        }
        lane.push(|to| match json {
            true => voice.write_json(line, clock.wall(), to),
            false => voice.write_human(line, to),
        });
    }
}

/// How much a worker may say: so much a second, and a burst.
struct Allowance {
    bytes: u64,
    at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { bytes: OUTPUT_BURST_BYTES, at: now }
    }

    /// False when it is used up.
    fn spend(&mut self, bytes: u64, now: Instant) -> bool {
        let earned = now.since(self.at).as_nanos() * u128::from(OUTPUT_BYTES_PER_SEC) / NANOS;
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(earned).min(OUTPUT_BURST_BYTES);
            self.at = now;
        }
        if self.bytes < bytes {
            return false;
        }
        self.bytes -= bytes;
        true
    }
}

/// What a line costs beside its text: even empty ones are not free.
const LINE_COST_BYTES: usize = 16;
const NANOS: u128 = 1_000_000_000;
const BLOCK_BYTES: usize = 64 * 1024;
/// The most a pipe can hold unless an administrator has allowed more.
const PIPE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_allowance_is_a_burst_and_then_a_rate() {
        let start = Instant::from_millis(10);
        let mut allowance = Allowance::new(start);
        assert!(allowance.spend(OUTPUT_BURST_BYTES, start));
        assert!(!allowance.spend(1, start));
        let later = start + Duration::from_secs(1);
        assert!(allowance.spend(OUTPUT_BYTES_PER_SEC, later));
        assert!(!allowance.spend(1, later));
        let much_later = later + Duration::from_secs(3600);
        assert!(!allowance.spend(OUTPUT_BURST_BYTES + 1, much_later));
        assert!(allowance.spend(OUTPUT_BURST_BYTES, much_later));
    }
}
