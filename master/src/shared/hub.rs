//! One hub an app: who its WebSocket clients are and what they are told, shared by all loops.
//!
//! The pure core sits behind one mutex. What it says to loops goes into their mailboxes while the
//! lock is held, into that of the calling loop as well: so every loop hears of joins and deliveries
//! in one order. A hub is the app's, not the configuration's: clients outlive reloads.

use crate::reactor::mailbox::Sender;
use crate::shared::mail::EdgeMessage;
use rip::ids::{AppId, LoopIndex};
use rip::realtime::{
    ClientId, CountFor, Hub, HubCounts, HubSettings, Item, Letter, Position, Settled,
};
use rip::time::Instant;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The loops' mailboxes, once they run.
type Loops = Arc<OnceLock<Vec<Sender<EdgeMessage>>>>;

/// Every app's hub.
#[derive(Default)]
pub struct Hubs {
    hubs: Mutex<HashMap<AppId, Arc<AppHub>>>,
    loops: Loops,
}

impl Hubs {
    /// Tells where loops get their mail. The first call counts.
    pub fn connect_loops(&self, loops: Vec<Sender<EdgeMessage>>) {
        let _ = self.loops.set(loops);
    }

    /// The hub of an app, made where there is none. `seed` is another one after each start.
    pub fn of(
        &self,
        app: &AppId,
        settings: impl FnOnce() -> HubSettings,
        seed: u64,
    ) -> Arc<AppHub> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(app) {
            return Arc::clone(hub);
        }
        let hub = Arc::new(AppHub {
            number: u32::try_from(hubs.len()).unwrap_or(u32::MAX),
            app: app.clone(),
            core: Mutex::new(Hub::new(&settings(), seed)),
            loops: Arc::clone(&self.loops),
        });
        hubs.insert(app.clone(), Arc::clone(&hub));
        hub
    }

    /// How many loops there are, at least one.
    pub fn loop_count(&self) -> usize {
        self.loops.get().map_or(1, Vec::len).max(1)
    }

    /// Sends a loop a message.
    pub fn mail(&self, to: LoopIndex, message: EdgeMessage) {
        if let Some(sender) = self.loops.get().and_then(|loops| loops.get(usize::from(to.0))) {
            sender.send(message);
        }
    }

    /// Every hub there is.
    pub fn all(&self) -> Vec<Arc<AppHub>> {
        let hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = hubs.values().cloned().collect();
        all.sort_by_key(|hub| hub.number);
        all
    }
}

/// The hub of one app.
pub struct AppHub {
    /// Its number in the process: dense, never used for another.
    pub number: u32,
    /// The app.
    pub app: AppId,
    core: Mutex<Hub>,
    loops: Loops,
}

impl AppHub {
    /// Other settings from now on.
    pub fn configure(&self, settings: &HubSettings, now: Instant) {
        self.lock().configure(settings, now);
    }

    /// A client has come that loop `at` serves: see [`Hub::open`].
    pub fn open(
        &self,
        client: ClientId,
        at: LoopIndex,
        items: Vec<Item>,
        recover: &[Position],
        now: Instant,
    ) {
        let post = &mut |to, letter| self.post(to, letter, at);
        self.lock().open(client, at, items, recover, now, post);
    }

    /// Carries out instructions that came together, one after the other, for loop `from`. Returns how
    /// many letters were posted.
    pub fn apply(
        &self,
        from: LoopIndex,
        items: impl IntoIterator<Item = Item>,
        origin: Option<ClientId>,
        count: Option<CountFor>,
        now: Instant,
    ) -> usize {
        let mut hub = self.lock();
        let mut post = |to, letter| self.post(to, letter, from);
        items.into_iter().map(|item| hub.apply(item, origin, count, now, &mut post)).sum()
    }

    /// A client has gone.
    pub fn close(&self, client: ClientId) {
        self.lock().close(client);
    }

    /// What a loop has got through, and which groups it has nobody in any more. Returns when
    /// something that is kept gets too old.
    pub fn settle(&self, at: LoopIndex, settled: Settled) -> Option<Instant> {
        let mut hub = self.lock();
        hub.settle(at, settled);
        hub.next_deadline()
    }

    /// Forgets what is too old to be kept. Returns when there is more of it.
    pub fn forget_old(&self, now: Instant) -> Option<Instant> {
        let mut hub = self.lock();
        if hub.next_deadline().is_some_and(|at| at <= now) {
            hub.handle_timeout(now);
        }
        hub.next_deadline()
    }

    /// How much there is of everything.
    pub fn counts(&self) -> HubCounts {
        self.lock().counts()
    }

    fn post(&self, to: LoopIndex, letter: Letter, from: LoopIndex) {
        let loops = self.loops.get();
        let Some(sender) = loops.and_then(|loops| loops.get(usize::from(to.0))) else { return };
        let message = EdgeMessage::Realtime { hub: self.number, letter };
        if to == from {
            sender.leave(message);
        } else {
            sender.send(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
