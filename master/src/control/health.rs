//! Asking workers how they are, over their own sockets, without ever waiting for an answer.

use super::crew::Watched;
use crate::shared::pools::AppPool;
use mio::net::UnixStream;
use mio::{Interest, Registry};
use rip::contract::app::HealthCheck;
use rip::entropy::Entropy;
use rip::http1::{Client, ClientRead, ResponseHead};
use rip::ids::WorkerId;
use rip::limits;
use rip::pool::Lease;
use rip::supervise::health::{Health, Order};
use rip::time::Instant;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// The questions that are open.
pub struct Probes {
    core: Health,
    open: BTreeMap<WorkerId, Probe>,
    /// Answers are read with this, one at a time.
    head: ResponseHead,
    request: Vec<u8>,
    explicit: bool,
    pool: Arc<AppPool>,
    registry: Registry,
}

/// A question on its way.
struct Probe {
    stream: UnixStream,
    /// A worker with room for one request gets none while it is asked.
    lease: Lease,
    http: Client,
    heard: Vec<u8>,
    /// Bytes read so far.
    total_bytes: usize,
    /// What the answer's head said.
    healthy: bool,
}

impl Probes {
    /// Nobody is asked yet. `host` is who the questions are addressed to.
    pub fn new(
        pool: Arc<AppPool>,
        check: &HealthCheck,
        host: &str,
        registry: Registry,
        now: Instant,
    ) -> Self {
        Self {
            core: Health::new(check, now),
            open: BTreeMap::new(),
            head: ResponseHead::default(),
            request: request(check, host),
            explicit: check.explicit,
            pool,
            registry,
        }
    }

    /// Questions are asked like this from now on.
    pub fn configure(&mut self, check: &HealthCheck, host: &str, now: Instant) {
        self.core.configure(check, now);
        self.request = request(check, host);
        self.explicit = check.explicit;
    }

    /// The worker is offered work from now on.
    pub fn look_after(&mut self, worker: WorkerId, random: &mut dyn Entropy, now: Instant) {
        self.core.look_after(worker, random, now);
    }

    /// The worker is offered no work any more: what it has not answered need not be answered.
    pub fn forget(&mut self, worker: WorkerId, now: Instant) {
        self.core.forget(worker, now);
        self.close(worker, now);
    }

    /// Asks who is due. The answer is who failed too often.
    pub fn settle<'a>(
        &mut self,
        socket_of: impl Fn(WorkerId) -> Option<&'a Path>,
        now: Instant,
    ) -> Vec<WorkerId> {
        self.core.settle(now);
        let mut unhealthy = Vec::new();
        while let Some(order) = self.core.poll_order() {
            match order {
                Order::Ask(worker) => {
                    if let Some(socket) = socket_of(worker)
                        && let Some(lease) = self.pool.probe(worker, now)
                    {
                        self.ask(worker, socket, lease, now);
                    }
                }
                Order::Unhealthy(worker) => unhealthy.push(worker),
            }
        }
        unhealthy
    }

    /// When [`Self::settle`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// The worker's answer can be read.
    pub fn ready(&mut self, worker: WorkerId, now: Instant) {
        let Some(probe) = self.open.get_mut(&worker) else { return };
        match probe.read(&mut self.head, self.explicit) {
            Ok(false) => {}
            Ok(true) => {
                let healthy = probe.healthy;
                self.core.answered(worker, healthy, now);
                self.close(worker, now);
            }
            Err(error) => {
                log::debug!("{worker} cannot be heard: {error}");
                self.core.answered(worker, false, now);
                self.close(worker, now);
            }
        }
    }

    fn ask(&mut self, worker: WorkerId, socket: &Path, lease: Lease, now: Instant) {
        self.core.asked(worker, now);
        match self.send(worker, socket) {
            Ok(stream) => {
                let mut http = Client::new();
                http.request(false);
                let probe = Probe {
                    stream,
                    lease,
                    http,
                    heard: Vec::new(),
                    total_bytes: 0,
                    healthy: false,
                };
                self.open.insert(worker, probe);
            }
            Err(error) => {
                log::debug!("{worker} cannot be asked: {error}");
                self.core.answered(worker, false, now);
                self.pool.end_probe(lease, now);
            }
        }
    }

    fn send(&self, worker: WorkerId, socket: &Path) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(socket)?;
        // A fresh socket takes a whole request; one that does not is as good as none.
        stream.write_all(&self.request)?;
        self.registry.register(&mut stream, Watched::Probe(worker).into(), Interest::READABLE)?;
        Ok(stream)
    }

    fn close(&mut self, worker: WorkerId, now: Instant) {
        if let Some(mut probe) = self.open.remove(&worker) {
            let _closing_it_is_enough = self.registry.deregister(&mut probe.stream);
            self.pool.end_probe(probe.lease, now);
        }
    }
}

impl Probe {
    /// Reads what has come; true when the answer is complete.
    fn read(&mut self, head: &mut ResponseHead, explicit: bool) -> io::Result<bool> {
        let mut block = [0; BLOCK_BYTES];
        loop {
            let eof = match self.stream.read(&mut block) {
                Ok(count) => {
                    self.heard.extend_from_slice(&block[..count]);
                    self.total_bytes += count;
                    count == 0
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            loop {
                let read = self.http.read(&self.heard, eof, head);
                let consumed = match read.map_err(|error| io::Error::other(error.detail))? {
                    ClientRead::More if eof => return Err(io::ErrorKind::UnexpectedEof.into()),
                    ClientRead::More => break,
                    ClientRead::Informational { consumed }
                    | ClientRead::Switched { consumed }
                    | ClientRead::Body { consumed, .. } => consumed,
                    ClientRead::Head { consumed } => {
                        self.healthy = match head.status() {
                            status if explicit => (200..300).contains(&status),
                            status => status < 500,
                        };
                        consumed
                    }
                    ClientRead::End { .. } => return Ok(true),
                };
                self.heard.drain(..consumed);
            }
            if self.total_bytes > ANSWER_BYTES {
                // Its head was read long ago, and there may be no end.
                return Ok(true);
            }
        }
    }
}

fn request(check: &HealthCheck, host: &str) -> Vec<u8> {
    let text = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rip-master-probe\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        check.path
    );
    text.into_bytes()
}

/// An answer is listened to up to this size; a head is shorter.
const ANSWER_BYTES: usize = 2 * limits::HEAD_BYTES;
const BLOCK_BYTES: usize = 4096;
