//! The app's setup: the first worker of a generation runs it before the app, and is alone with it.

use super::Supervisor;
use crate::ids::{Generation, WorkerId};
use crate::limits;
use crate::time::Instant;

/// Whether generations are set up, and how far that has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    needed: bool,
    /// The newest generation whose setup ended well; older ones need none any more.
    done: Generation,
}

impl Supervisor {
    /// Every generation from now on has a setup.
    pub fn require_setup(&mut self) {
        self.setup.needed = true;
    }

    /// Whether a worker of `generation` that is started now shall run the setup.
    pub fn needs_setup(&self, generation: Generation) -> bool {
        self.setup.needed && generation > self.setup.done
    }

    /// The worker has begun with the setup, which may take longer than a start.
    pub fn setting_up(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.begin_setup(now + limits::SETUP_TIMEOUT);
        }
        self.check_invariants();
    }

    /// The worker has done the setup: its start begins now, and others of its generation may follow.
    pub fn set_up(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.end_setup(now + self.policy.patience.start);
            self.setup.done = self.setup.done.max(worker.generation);
        }
        self.check_invariants();
    }

    /// A worker of `generation` is alone with its setup, or about to be.
    pub(super) fn waits_for_setup(&self, generation: Generation) -> bool {
        self.needs_setup(generation)
            && self.workers.values().any(|worker| worker.generation == generation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Exit, Output, Policy, WorkerIds};
    use super::*;
    use crate::contract::app::{Recycle, RestartPolicy, Surge};
    use crate::entropy::Xoshiro;
    use crate::supervise::worker::Patience;
    use crate::wire::boot::BootStage;
    use std::time::Duration;

    struct Stand {
        core: Supervisor,
        ids: WorkerIds,
        now: Instant,
    }

    impl Stand {
        fn new() -> Self {
            let now = Instant::from_millis(1000);
            let patience = Patience {
                start: Duration::from_secs(30),
                drain: Duration::from_secs(30),
                kill: Duration::from_secs(5),
            };
            let policy = Policy {
                slots: 3,
                restart: RestartPolicy::default(),
                recycle: Recycle::default(),
                surge: Surge::default(),
                patience,
            };
            let mut core = Supervisor::new(policy, Generation(1), now);
            core.require_setup();
            Self { core, ids: WorkerIds::default(), now }
        }

        /// The workers that are started by now.
        fn spawned(&mut self) -> Vec<WorkerId> {
            self.core.settle(&mut self.ids, &mut Xoshiro::new(1), self.now);
            let outputs: Vec<_> = std::iter::from_fn(|| self.core.poll_output()).collect();
            let spawned = outputs.iter().filter_map(|output| match output {
                Output::Spawn { worker, .. } => Some(*worker),
                _ => None,
            });
            spawned.collect()
        }
    }

    #[test]
    fn the_first_worker_is_alone_with_the_setup_and_has_time_for_it() {
        let mut stand = Stand::new();
        let first = stand.spawned();
        assert_eq!(first.len(), 1);
        assert!(stand.core.needs_setup(Generation(1)));
        stand.core.forked(first[0], stand.now);
        stand.core.setting_up(first[0], stand.now);
        // Nothing is due before the setup is: or the loop would spin.
        assert!(stand.core.next_deadline().is_some_and(|due| due > stand.now));
        for _ in 0..10 {
            stand.now += Duration::from_secs(20);
            assert_eq!(stand.spawned(), []);
        }
        stand.core.set_up(first[0], stand.now);
        assert!(!stand.core.needs_setup(Generation(1)));
        assert!(stand.core.needs_setup(Generation(2)));
        assert_eq!(stand.spawned().len(), 2);
        stand.now += Duration::from_secs(29);
        assert_eq!(stand.core.join(first[0], stand.now), Ok(()));
    }

    #[test]
    fn a_setup_that_fails_at_the_very_start_leaves_no_hope() {
        let mut stand = Stand::new();
        let first = stand.spawned()[0];
        stand.core.forked(first, stand.now);
        stand.core.setting_up(first, stand.now);
        stand.core.boot_failed(first, BootStage::Setup, "it failed", stand.now);
        let outputs: Vec<_> = std::iter::from_fn(|| stand.core.poll_output()).collect();
        let reason = "it failed".to_owned();
        assert!(outputs.contains(&Output::Hopeless { worker: first, reason }), "{outputs:?}");
        assert_eq!(stand.spawned(), []);
        stand.core.exited(first, Exit::Exited(1), stand.now);
    }
}
