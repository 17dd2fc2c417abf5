//! One app's pool, shared by all loops and the control loop.
//!
//! The pure core sits behind one mutex that is held for nanoseconds. What it decides for others (a
//! grant to another loop's ticket, news for the control loop) is taken out under the lock and sent
//! after it.

use crate::reactor::mailbox::Sender;
use crate::shared::mail::{ControlMessage, EdgeMessage};
use rip::contract::app::AppDescriptor;
use rip::ids::{AppId, Generation, LoopIndex, PoolNumber, WorkerId};
use rip::pool::{Bounce, Decision, Lease, Outcome, Output, Pool, PoolSettings, TicketId, Tunnel};
use rip::time::Instant;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Where a worker can be reached.
#[derive(Clone, Debug)]
pub struct Address {
    /// The worker.
    pub worker: WorkerId,
    /// Its Unix socket.
    pub socket_path: PathBuf,
    /// It serves several open connections; otherwise each exchange gets a fresh one.
    pub keep_alive: bool,
    /// How long an idle link is kept; `None` keeps it as long as the worker lives.
    pub idle: Option<Duration>,
}

/// A ticket of the calling loop that got its answer.
pub enum Settled {
    /// It got a worker.
    Granted {
        /// Whose worker it is.
        pool: PoolNumber,
        /// The ticket's key.
        key: u64,
        /// The right to the worker.
        lease: Lease,
    },
    /// It will not get one.
    Refused {
        /// The ticket's key.
        key: u64,
        /// Why.
        reason: rip::contract::reason::Reason,
        /// When to come again.
        retry_after_secs: u32,
    },
}

/// One app and its workers.
pub struct AppPool {
    /// Its number inside the process.
    pub number: PoolNumber,
    /// The app.
    pub id: AppId,
    core: Mutex<Core>,
    short: AtomicBool,
    loops: OnceLock<Vec<Sender<EdgeMessage>>>,
    control: Sender<ControlMessage>,
}

struct Core {
    pool: Pool,
    addresses: HashMap<WorkerId, Arc<Address>>,
}

impl AppPool {
    /// An empty pool of the app.
    pub fn new(
        number: PoolNumber,
        descriptor: &AppDescriptor,
        control: Sender<ControlMessage>,
    ) -> Self {
        let pool = Pool::new(settings_of(descriptor));
        let core = Mutex::new(Core { pool, addresses: HashMap::new() });
        let short = AtomicBool::new(false);
        Self { number, id: descriptor.id.clone(), core, short, loops: OnceLock::new(), control }
    }

    /// Tells where the loops' tickets are answered. The first call counts.
    pub fn connect_loops(&self, loops: Vec<Sender<EdgeMessage>>) {
        let _ = self.loops.set(loops);
    }

    // --- for an edge loop: `settled` receives what concerns the calling loop -----------------

    /// Asks for a worker.
    pub fn request(&self, ticket: TicketId, now: Instant, settled: &mut Vec<Settled>) -> Decision {
        self.with(Some(ticket.loop_index), settled, |core| core.pool.request(ticket, now))
    }

    /// Gives a lease back because its worker was busy or draining, and asks again.
    pub fn bounce(
        &self,
        lease: Lease,
        ticket: TicketId,
        bounce: Bounce,
        bounces: u32,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Decision {
        self.with(Some(ticket.loop_index), settled, |core| {
            core.pool.bounce(lease, ticket, bounce, bounces, now)
        })
    }

    /// Gives a lease back because its worker failed, and asks for another worker.
    pub fn retry(
        &self,
        lease: Lease,
        ticket: TicketId,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Decision {
        self.with(Some(ticket.loop_index), settled, |core| core.pool.retry(lease, ticket, now))
    }

    /// Ends a lease.
    pub fn release(
        &self,
        lease: Lease,
        outcome: Outcome,
        from: LoopIndex,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) {
        self.with(Some(from), settled, |core| core.pool.release(lease, outcome, now));
    }

    /// The lease's connection was switched to another protocol: the lease ends, a tunnel begins.
    pub fn upgrade(
        &self,
        lease: Lease,
        from: LoopIndex,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Tunnel {
        self.with(Some(from), settled, |core| core.pool.upgrade(lease, now))
    }

    /// A tunnel has ended.
    pub fn end_tunnel(&self, tunnel: Tunnel, now: Instant) {
        self.with(None, &mut Vec::new(), |core| core.pool.end_tunnel(tunnel, now));
    }

    /// Takes a ticket out of the queue. False when it is not there: its answer is in the mail.
    pub fn cancel(&self, ticket: TicketId, now: Instant, settled: &mut Vec<Settled>) -> bool {
        self.with(Some(ticket.loop_index), settled, |core| core.pool.cancel(ticket, now))
    }

    /// The lease's exchange is over for its client, but its worker may still be busy with it.
    pub fn abandon(&self, lease: &mut Lease) {
        self.lock().pool.abandon(lease);
    }

    /// Busy workers whose pause has ended may be used again.
    pub fn pauses_over(&self, from: LoopIndex, now: Instant, settled: &mut Vec<Settled>) {
        self.with(Some(from), settled, |core| core.pool.handle_timeout(now));
    }

    /// When [`Self::pauses_over`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lock().pool.next_deadline()
    }

    /// Where the lease's worker can be reached; `None` once it has been removed.
    pub fn address(&self, lease: &Lease) -> Option<Arc<Address>> {
        self.lock().addresses.get(&lease.worker()).cloned()
    }

    // --- for the control loop ----------------------------------------------------------------

    /// The worker is ready; waiting requests are given to it at once.
    pub fn join(&self, generation: Generation, address: Address, now: Instant) {
        let worker = address.worker;
        self.with(None, &mut Vec::new(), |core| {
            // The address is there before the first grant can be followed.
            core.addresses.insert(worker, Arc::new(address));
            core.pool.join(worker, generation, now);
        });
    }

    /// The worker gets no new request; [`ControlMessage::WorkerIdle`] follows its last one.
    pub fn retire(&self, worker: WorkerId, now: Instant) {
        self.with(None, &mut Vec::new(), |core| core.pool.retire(worker, now));
    }

    /// The worker's process is gone.
    pub fn remove(&self, worker: WorkerId, now: Instant) {
        self.with(None, &mut Vec::new(), |core| {
            core.pool.remove(worker, now);
            core.addresses.remove(&worker);
        });
    }

    /// Some worker slot was given up, or none is any longer.
    pub fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// Some worker slot is given up: the others serve in its place.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Every worker slot was given up, or no longer.
    pub fn set_abandoned(&self, abandoned: bool, now: Instant) {
        self.with(None, &mut Vec::new(), |core| core.pool.set_abandoned(abandoned, now));
    }

    /// The worker asked to be retired on a response it served: no new request for it, and the
    /// control loop is told.
    pub fn retire_as_asked(&self, worker: WorkerId, now: Instant) {
        self.retire(worker, now);
        self.control.send(ControlMessage::WorkerDraining(worker));
    }

    /// Every request waits, whoever is free, until it is called with `false`.
    pub fn hold(&self, held: bool, now: Instant) {
        self.with(None, &mut Vec::new(), |core| core.pool.hold(held, now));
    }

    /// A lease for a look at a worker's health; `None` while it has none to give or somebody waits.
    /// It ends with [`Self::end_probe`].
    pub fn probe(&self, worker: WorkerId, now: Instant) -> Option<Lease> {
        self.with(None, &mut Vec::new(), |core| core.pool.probe(worker, now))
    }

    /// The look at a worker's health is over.
    pub fn end_probe(&self, lease: Lease, now: Instant) {
        self.with(None, &mut Vec::new(), |core| core.pool.release(lease, Outcome::Unused, now));
    }

    /// The app is wanted like this from now on, and with so many workers: what they may have in
    /// flight together follows, unless the operator chose less than they all could.
    pub fn configure(&self, app: &AppDescriptor, workers: u32, now: Instant) {
        let whole = app.workers.saturating_mul(app.concurrency);
        let max_inflight = match app.max_inflight {
            chosen if chosen < whole => chosen,
            _ => workers.saturating_mul(app.concurrency),
        };
        let settings = PoolSettings { max_inflight, ..settings_of(app) };
        self.with(None, &mut Vec::new(), |core| core.pool.configure(settings, now));
    }

    /// Idle links to its workers are kept so long from now on, where they are used again.
    pub fn keep_links(&self, idle: Option<Duration>) {
        for address in self.lock().addresses.values_mut() {
            if address.idle != idle {
                *address = Arc::new(Address { idle, ..Address::clone(address) });
            }
        }
    }

    /// Looks at the pool.
    pub fn view<T>(&self, look: impl FnOnce(&Pool) -> T) -> T {
        look(&self.lock().pool)
    }

    /// Runs `change` under the lock, then delivers what it decided for others.
    fn with<T>(
        &self,
        from: Option<LoopIndex>,
        settled: &mut Vec<Settled>,
        change: impl FnOnce(&mut Core) -> T,
    ) -> T {
        let mut core = self.lock();
        let result = change(&mut core);
        let Some(first) = core.pool.poll_output() else { return result };
        // The common output is one: a lease freed for the next ticket. It needs no list.
        let mut rest = Vec::new();
        while let Some(output) = core.pool.poll_output() {
            rest.push(output);
        }
        drop(core);
        for output in std::iter::once(first).chain(rest) {
            self.deliver(output, from, settled);
        }
        result
    }

    fn deliver(&self, output: Output, from: Option<LoopIndex>, settled: &mut Vec<Settled>) {
        let mail = |to: LoopIndex, message| {
            let sender = self.loops.get().and_then(|loops| loops.get(usize::from(to.0)));
            if let Some(sender) = sender {
                sender.send(message);
            }
        };
        match output {
            Output::Grant { ticket: TicketId { loop_index, key }, lease } => {
                if from == Some(loop_index) {
                    settled.push(Settled::Granted { pool: self.number, key, lease });
                } else {
                    mail(loop_index, EdgeMessage::Grant { pool: self.number, key, lease });
                }
            }
            Output::Refused { ticket: TicketId { loop_index, key }, reason, retry_after_secs } => {
                if from == Some(loop_index) {
                    settled.push(Settled::Refused { key, reason, retry_after_secs });
                } else {
                    mail(loop_index, EdgeMessage::Refused { key, reason, retry_after_secs });
                }
            }
            Output::Idle { worker } => self.control.send(ControlMessage::WorkerIdle(worker)),
            Output::Retired { worker } => {
                self.control.send(ControlMessage::WorkerDraining(worker));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings_of(app: &AppDescriptor) -> PoolSettings {
    PoolSettings {
        app: app.id.clone(),
        concurrency: app.concurrency,
        max_inflight: app.max_inflight,
        max_queue: app.max_queue,
        select: app.select,
    }
}
