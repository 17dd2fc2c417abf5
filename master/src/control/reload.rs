//! Putting other configurations in the place of the active one: carries out what
//! [`rip::reload::Pipeline`] wants, and tells it what became of it.
//!
//! [`requests`] are how an attempt is asked for and how those are answered who wait for it,
//! [`staging`] makes a configuration and what it needs, [`switch`] makes it the active one or takes
//! that back, [`departures`] are pools on their way out.

mod answers;
mod departures;
mod requests;
mod staging;
mod switch;

pub(super) use answers::{Added, configuration, history};
pub(super) use requests::{Destination, HostChange};
pub(super) use switch::longest;

use super::compiler::Compiler;
use super::crew::News;
use super::master::Master;
use super::server::Asker;
use crate::shared::draft::{Draft, DraftId};
use crate::shared::snapshot::Snapshot;
use departures::Departure;
use requests::{Pending, Waiting};
use rip::contract::config::Config;
use rip::contract::listen::ListenAddress;
use rip::edgefile::plan::Plan;
use rip::ids::{AppId, PoolNumber};
use rip::pool::Pool;
use rip::reload::{History, Output, Overlay, Pipeline, Waiter, Work};
use rip::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use switch::Undo;

/// The master's configurations, and the attempts to change them.
pub(super) struct Reloads {
    pub(super) pipeline: Pipeline,
    pub(super) history: History,
    pub(super) compiler: Compiler,
    /// What is made, and for whom.
    makings: BTreeMap<DraftId, Purpose>,
    /// By version: the active one, the one before it, and the one that is tried.
    drafts: BTreeMap<u64, Draft>,
    /// Listeners that accept nobody yet.
    bound: BTreeMap<ListenAddress, TcpListener>,
    /// Pools that were started for the attempt under way; true when they have told that they are
    /// ready.
    fresh: BTreeMap<PoolNumber, bool>,
    /// What the workers wrote last that made the attempt fail.
    stderr: Vec<String>,
    /// How to take the attempt under way back.
    undo: Option<Undo>,
    departures: BTreeMap<PoolNumber, Departure>,
    /// When requests end whose rules are gone.
    removed_end_at: Option<Instant>,
    waiting: BTreeMap<Waiter, Waiting>,
    last_waiter: u64,
    /// Hosts to be added or removed by an attempt that has not ended.
    pending: Vec<Pending>,
    /// The init system believes that a reload is under way.
    pub(super) is_announced: bool,
    /// When upstreams are looked at again.
    upstreams_at: Option<Instant>,
    /// Listeners that have been given up and may still be there: what follows waits for their end.
    pub(super) closing: BTreeSet<ListenAddress>,
}

/// Whom a draft is made for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// An attempt to make it the active one.
    Attempt {
        /// Its number.
        attempt: u64,
        /// The version.
        version: u64,
    },
    /// Somebody who wants to know what it would change.
    Question(Asker),
}

impl Reloads {
    /// The start has succeeded: `snapshot`, made of `base`, is active, after `took`.
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        base: Config,
        compiler: Compiler,
        took: Duration,
        now: Instant,
    ) -> Self {
        let pools = snapshot.pools.iter().map(|pool| pool.number);
        let listeners = snapshot.config.edge.listeners().into_iter();
        let pipeline = Pipeline::new(pools, listeners, took, now);
        let urls = snapshot.config.apps.iter().map(|app| snapshot.config.urls_of(app)).collect();
        let draft = Draft {
            base: Arc::new(base),
            overlay: Overlay::default(),
            urls,
            plan: Plan::default(),
            work: Work::default(),
            certs: None,
            snapshot,
        };
        Self {
            pipeline,
            history: History::default(),
            compiler,
            makings: BTreeMap::new(),
            drafts: BTreeMap::from([(draft.snapshot.version, draft)]),
            bound: BTreeMap::new(),
            fresh: BTreeMap::new(),
            stderr: Vec::new(),
            undo: None,
            departures: BTreeMap::new(),
            removed_end_at: None,
            waiting: BTreeMap::new(),
            last_waiter: 0,
            pending: Vec::new(),
            is_announced: false,
            upstreams_at: None,
            closing: BTreeSet::new(),
        }
    }

    /// The hosts that were added to the active configuration.
    pub(super) fn overlay(&self) -> Option<&Overlay> {
        Some(&self.drafts.get(&self.pipeline.version())?.overlay)
    }

    /// An attempt is under way, or waits for its turn.
    pub(super) fn is_busy(&self) -> bool {
        self.pipeline.attempt().is_some() || self.pipeline.waiting_count() > 0
    }

    /// When [`Master::drive_reload`] is due, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.pipeline.next_deadline(),
            self.compiler.next_deadline(),
            self.removed_end_at,
            self.upstreams_at,
        ];
        let departures = self.departures.values().filter_map(Departure::deadline);
        deadlines.into_iter().flatten().chain(departures).min()
    }
}

impl Master {
    /// Goes on with the attempt under way, and with whatever is on its way out.
    /// True when something was done that others may have to follow.
    pub(super) fn drive_reload(&mut self) -> bool {
        let now = self.clock.now();
        self.reload.compiler.expire(now);
        let mut is_moved = false;
        loop {
            self.report_ready_pools(now);
            self.look_at_upstreams(now);
            let unready = match self.reload.pipeline.attempt() {
                Some(_) => self.unready_apps(),
                None => Vec::new(),
            };
            self.reload.pipeline.settle(&unready, now);
            let mut went_on = false;
            while self.reload.closing.is_empty()
                && let Some(output) = self.reload.pipeline.poll_output()
            {
                went_on = true;
                self.obey_pipeline(output, now);
            }
            if !went_on {
                break;
            }
            is_moved = true;
        }
        is_moved |= self.see_off(now);
        self.tell_init_of_reload();
        is_moved
    }

    fn obey_pipeline(&mut self, output: Output, now: Instant) {
        match output {
            Output::Compile { attempt, version, reread } => {
                self.compile(attempt, version, reread, now);
            }
            Output::Recall { attempt, version } => self.recall(attempt, version, now),
            Output::Cancel { attempt } => self.cancel_making(attempt),
            Output::Listen { address } => self.stage_listener(address, now),
            Output::Start { pool } => self.start_pool(pool, now),
            Output::Activate { version } => self.activate(version, now),
            Output::RollBack { to } => self.roll_back(to, now),
            Output::Retire { pool } => self.dismiss_pool(pool, now),
            Output::Close { address } => self.close_listener(address),
            Output::Forget { version } => drop(self.reload.drafts.remove(&version)),
            Output::Report { attempt, waiters } => self.report(attempt, &waiters, now),
        }
    }

    /// A crew has told something that may concern an attempt. True when it is the attempt's alone.
    pub(super) fn reload_hears(&mut self, pool: PoolNumber, news: &News) -> bool {
        let (reason, stderr) = match news {
            News::Failed { reason, stderr } => (reason, stderr.as_slice()),
            News::Hopeless(reason) => (reason, &[][..]),
            _ => return false,
        };
        let now = self.clock.now();
        if !self.reload.fresh.contains_key(&pool) {
            return self.reload.departures.contains_key(&pool);
        }
        if self.reload.stderr.is_empty() {
            self.reload.stderr = stderr.to_vec();
        }
        if self.reload.undo.is_some() {
            self.reload.pipeline.worker_lost(pool, reason, now);
        } else {
            self.reload.pipeline.pool_failed(pool, reason, now);
        }
        true
    }

    /// Tells an attempt that waits for upstreams which of them have not shown yet that they are well.
    fn look_at_upstreams(&mut self, now: Instant) {
        self.reload.upstreams_at = None;
        if !self.reload.pipeline.waits_for_upstreams() {
            return;
        }
        let active = self.shared.current.load();
        let unproven = active.upstreams.iter().filter(|upstream| !upstream.is_proven(now));
        self.reload.pipeline.unproven(unproven.map(|upstream| upstream.id.to_string()).collect());
        self.reload.upstreams_at = Some(now + UPSTREAM_LOOK);
    }

    /// Apps of the active configuration of which no worker is ready.
    fn unready_apps(&self) -> Vec<AppId> {
        let active = self.shared.current.load();
        let unready = active.pools.iter().filter(|pool| pool.view(Pool::ready_count) == 0);
        unready.map(|pool| pool.id.clone()).collect()
    }

    /// The numbers of the pools of the active configuration, in its order.
    pub(super) fn active_pools(&self) -> Vec<PoolNumber> {
        self.shared.current.load().pools.iter().map(|pool| pool.number).collect()
    }

    fn tell_init_of_reload(&mut self) {
        let is_busy = self.reload.is_busy() || self.orders.is_reloading();
        if self.shutdown.is_asked() || !self.is_announced() || is_busy == self.reload.is_announced {
            return;
        }
        self.reload.is_announced = is_busy;
        if is_busy {
            self.tell_init_of_a_reload();
        } else {
            let status = self.status_line();
            self.notifier.tell_ready(status);
        }
    }
}

/// Between looks at upstreams that an attempt waits for: their checks are made on the loops.
const UPSTREAM_LOOK: Duration = Duration::from_millis(50);
