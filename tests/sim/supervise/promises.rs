//! What holds whatever processes do.
//!
//! * A serving worker is retired only when it asked, was dismissed or does not end a request, when
//!   its slot's next worker is ready, or when the app ends; it is never told to end before it is
//!   retired, unless the end is in a hurry.
//! * No process is started beyond slots + surge + 1; no two in a slot within its floor.
//! * One worker proves a generation, then no more than the surge are started at a time in the place
//!   of others; outside of a roll, one.
//! * What an aborted roll brought and did not serve is told to end at once.
//! * Who asked for a roll, a scale or a drain is answered exactly once, and when it is true.
//! * A worker that was replaced is not counted as failed.

use super::Seen;
use rip::ids::{Generation, WorkerId};
use rip::supervise::roll::RollProgress;
use rip::supervise::{Output, Policy};
use rip::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a worker from the orders that concerned it.
#[derive(Clone, Debug)]
pub struct Known {
    pub generation: Generation,
    pub slot: usize,
    pub serves: bool,
    pub retired: bool,
    told: bool,
    aborted: bool,
    /// It may be retired although nobody takes its place.
    pub excused: bool,
}

pub struct Promises {
    policy: Policy,
    pub workers: BTreeMap<WorkerId, Known>,
    starts: BTreeMap<usize, Instant>,
    /// The roll under way, and how many of its workers took their seats.
    roll: Option<(Generation, usize)>,
    pub rolls_asked: BTreeSet<Generation>,
    pub scale_asked: Option<usize>,
    pub drains_asked: BTreeSet<WorkerId>,
    /// Generations whose roll was aborted in this turn.
    given_up: Vec<Generation>,
    last_admitted: Option<WorkerId>,
    /// The last one that went, and whether it had been replaced.
    last_gone: Option<(WorkerId, bool)>,
    /// Workers may go without another: the app ends.
    pub ending: bool,
    pub hurried: bool,
}

impl Promises {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            workers: BTreeMap::new(),
            starts: BTreeMap::new(),
            roll: None,
            rolls_asked: BTreeSet::new(),
            scale_asked: None,
            drains_asked: BTreeSet::new(),
            given_up: Vec::new(),
            last_admitted: None,
            last_gone: None,
            ending: false,
            hurried: false,
        }
    }

    pub fn serving(&self) -> usize {
        self.workers.values().filter(|worker| worker.serves).count()
    }

    /// Slots were taken away: their numbers may come back.
    pub fn slots_changed(&mut self) {
        self.starts.clear();
    }

    pub fn excuse(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.excused = true;
        }
    }

    /// Every order passes here before it is carried out.
    pub fn check(&mut self, output: &Output, wanted: usize, now: Instant, seen: &mut Seen) {
        let admitted = self.last_admitted.take();
        match output {
            Output::Spawn { worker, generation, slot } => {
                seen.count("spawn");
                self.check_spawn(*slot, wanted, now);
                let known = Known {
                    generation: *generation,
                    slot: *slot,
                    serves: false,
                    retired: false,
                    told: false,
                    aborted: false,
                    excused: false,
                };
                self.workers.insert(*worker, known);
            }
            Output::Admit { worker } => {
                let known = self.workers.get_mut(worker).expect("admitted alive");
                assert!(!known.serves && !known.retired, "admitted twice");
                known.serves = true;
                self.last_admitted = Some(*worker);
            }
            Output::Retire { worker } => {
                let slot = admitted.and_then(|fresh| self.workers.get(&fresh)).map(|it| it.slot);
                let ending = self.ending;
                let known = self.known(*worker);
                let replaced = slot == Some(known.slot);
                assert!(known.serves || known.excused, "{worker} did not serve");
                assert!(ending || replaced || known.excused, "{worker} is missed");
                (known.serves, known.retired) = (false, true);
            }
            Output::Abort { worker } => {
                let known = self.known(*worker);
                assert!(known.excused && known.retired);
                known.aborted = true;
                seen.count("stuck");
            }
            Output::Terminate { worker } => {
                let hurried = self.hurried;
                let known = self.known(*worker);
                assert!(!known.serves || hurried, "{worker} is cut short");
                (known.serves, known.told) = (false, true);
            }
            Output::Kill { worker } => {
                seen.count("kill");
                let hurried = self.hurried;
                let known = self.known(*worker);
                let left = known.told || known.aborted || known.excused;
                assert!(left || hurried, "{worker} is killed without a word");
                known.serves = false;
            }
            Output::Gone { worker, .. } => {
                let known = self.workers.remove(worker).expect("it was not gone already");
                self.last_gone = Some((*worker, known.retired));
                if self.drains_asked.remove(worker) {
                    seen.count("drained");
                }
            }
            Output::Restart { worker, .. } | Output::Abandon { worker, .. } => {
                assert_eq!(self.last_gone, Some((*worker, false)), "it was no failure");
            }
            Output::Recycle { worker, reason } => {
                assert!(self.known(*worker).serves);
                assert!(self.roll.is_none());
                seen.count(match *reason {
                    "seconds" => "aged",
                    "rss" => "bloated",
                    reason => reason,
                });
            }
            Output::DrainFailed { worker, failed, .. } => {
                assert!(self.drains_asked.remove(worker), "nobody asked");
                if failed.is_some() {
                    assert!(self.known(*worker).serves, "it goes on serving");
                    seen.count("drain failed");
                }
            }
            _ => self.check_outcome(output, wanted, seen),
        }
    }

    fn check_outcome(&mut self, output: &Output, wanted: usize, seen: &mut Seen) {
        match output {
            Output::RollStarted { generation, .. } => {
                assert!(self.roll.replace((*generation, 0)).is_none(), "one at a time");
                assert!(self.rolls_asked.contains(generation));
            }
            Output::RollStepped(RollProgress { generation, fresh, wanted: all }) => {
                let roll = self.roll.as_mut().expect("a roll runs");
                assert_eq!(roll.0, *generation);
                assert!(fresh <= all && *all == wanted);
                roll.1 += 1;
            }
            Output::RollDone { generation } => {
                assert_eq!(self.roll.take().map(|roll| roll.0), Some(*generation));
                assert!(self.rolls_asked.remove(generation));
                assert_eq!(self.serving(), wanted);
                let fresh = |worker: &Known| worker.generation == *generation;
                assert!(self.workers.values().all(fresh), "an old one lives");
                seen.count("roll done");
            }
            Output::RollAborted { generation, failed, .. } => {
                assert!(self.rolls_asked.remove(generation), "nobody asked");
                self.given_up.push(*generation);
                let steps = self.roll.take_if(|roll| roll.0 == *generation).map(|roll| roll.1);
                seen.count(match (failed, steps) {
                    (None, _) => "abort at the end",
                    (Some(_), Some(0)) => "abort",
                    (Some(_), _) => "abort after steps",
                });
            }
            Output::Scaled { workers } => {
                assert_eq!(self.scale_asked.take(), Some(*workers));
                assert_eq!((*workers, self.serving()), (wanted, wanted));
                seen.count("scaled");
            }
            Output::ScaleFailed { workers, .. } => {
                assert_eq!(self.scale_asked.take(), Some(*workers));
                seen.count("scale failed");
            }
            Output::AppAbandoned(true) => seen.count("abandoned"),
            Output::AppAbandoned(false) => seen.count("recovered"),
            _ => {}
        }
    }

    /// After all orders of a turn.
    pub fn check_turn(&mut self) {
        for generation in std::mem::take(&mut self.given_up) {
            let of_it = self.workers.iter().filter(|(_, it)| it.generation == generation);
            for (id, worker) in of_it {
                let leaves = worker.told || worker.retired || worker.excused;
                assert!(worker.serves || leaves, "{id} was left over");
            }
        }
    }

    fn check_spawn(&mut self, slot: usize, wanted: usize, now: Instant) {
        let surge = self.policy.surge.of(wanted as u32) as usize;
        assert!(self.workers.len() <= wanted + surge, "too many processes");
        let floor = self.policy.restart.backoff_ms;
        if let Some(before) = self.starts.insert(slot, now) {
            assert!(now.since(before).as_millis() >= u128::from(floor), "a restart storm");
        }
        let serves = |slot: usize| self.workers.values().any(|it| it.slot == slot && it.serves);
        let successors = self
            .workers
            .values()
            .filter(|it| !it.serves && !it.retired && !it.told && !it.excused && serves(it.slot));
        let most = match self.roll {
            Some((_, steps)) if steps > 0 => surge,
            Some(_) | None => 1,
        };
        let successors = successors.count() + usize::from(serves(slot));
        assert!(!serves(slot) || successors <= most, "{successors} successors");
    }

    fn known(&mut self, worker: WorkerId) -> &mut Known {
        self.workers.get_mut(&worker).expect("orders concern the living")
    }
}
