//! The core itself.

use super::balance;
use super::circuit::Change;
use super::health::{ActiveCheck, Check, Due, Health, Verdict};
use super::retry::Tries;
use super::target::{Claim, Outcome, Target, TargetId, TargetView};
use crate::entropy::Entropy;
use crate::time::Instant;
use std::collections::VecDeque;
use std::sync::Arc;

/// What an upstream is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamSettings {
    /// The targets, by names that tell them apart: their URLs. One that is named twice is one.
    pub targets: Vec<Arc<str>>,
    /// How they are checked; `None` is not at all.
    pub check: Option<ActiveCheck>,
    /// How often a request is sent at most, see [`Tries::new`].
    pub attempts: u32,
}

/// The answer to [`Upstream::choose`].
#[derive(Debug, Eq, PartialEq)]
#[must_use]
pub enum Choice {
    /// The request goes there.
    Target(Claim),
    /// No target may be chosen, or none of those that this request may go to.
    NoneHealthy,
}

/// What the shell has to do or to tell.
#[derive(Debug, Eq, PartialEq)]
pub enum Output {
    /// Drop the check that this target is asked: it is over.
    Cancel(TargetId),
    /// Ask how a target is. At most one check of a target is open at a time.
    Check(Check),
    /// A target failed too often and gets nothing for a while.
    Ejected {
        /// The target.
        target: TargetId,
        /// One request tries it again then.
        until: Instant,
    },
    /// Checks say that a target is well, for the first time or again.
    Healthy(TargetId),
    /// The request that tried an ejected target finished.
    Restored(TargetId),
    /// Checks say that a target is not well: it gets nothing.
    Unhealthy(TargetId),
}

/// The targets of one upstream.
#[derive(Debug)]
pub struct Upstream {
    settings: UpstreamSettings,
    targets: Vec<Target>,
    outputs: VecDeque<Output>,
    last_target: u32,
    /// Choices so far.
    choice_count: u64,
    /// Checks so far.
    check_count: u64,
    heard: Instant,
}

impl Upstream {
    /// Nothing is known about any target. Checks are due at once.
    pub fn new(settings: UpstreamSettings, now: Instant) -> Self {
        let mut upstream = Self {
            settings: UpstreamSettings { targets: Vec::new(), check: None, attempts: 1 },
            targets: Vec::new(),
            outputs: VecDeque::new(),
            last_target: 0,
            choice_count: 0,
            check_count: 0,
            heard: now,
        };
        upstream.configure(settings, now);
        upstream
    }

    /// Other settings from now on. What is known about a target that stays is kept; after a change
    /// of the check its verdict holds until other checks say otherwise. Claims on targets that go
    /// may end as before, and count nowhere.
    pub fn configure(&mut self, settings: UpstreamSettings, now: Instant) {
        let now = self.hear(now);
        let has_new_check = self.settings.check != settings.check;
        let mut former = std::mem::take(&mut self.targets);
        for name in &settings.targets {
            if self.targets.iter().any(|target| target.name == *name) {
                continue;
            }
            let target = match former.iter().position(|target| target.name == *name) {
                Some(position) => former.swap_remove(position),
                None => {
                    self.last_target += 1;
                    Target::new(TargetId(self.last_target), Arc::clone(name))
                }
            };
            self.targets.push(target);
        }
        let is_asked = |target: &&Target| target.health.as_ref().is_some_and(Health::is_asked);
        let changed = self.targets.iter().filter(|_| has_new_check);
        let mut cancelled: Vec<_> =
            former.iter().chain(changed).filter(is_asked).map(|target| target.id).collect();
        cancelled.sort_unstable();
        self.outputs.extend(cancelled.into_iter().map(Output::Cancel));
        for target in &mut self.targets {
            match (&mut target.health, &settings.check) {
                (Some(health), Some(_)) if has_new_check => health.restart(now),
                (Some(_), Some(_)) => {}
                (health, Some(_)) => *health = Some(Health::new(now)),
                (health, None) => *health = None,
            }
        }
        self.settings = settings;
    }

    /// The tries of a request that was not sent yet.
    pub fn tries(&self) -> Tries {
        Tries::new(self.settings.attempts)
    }

    /// Where a request goes; `tries` are its own, and know it afterwards. The claim must be given to
    /// [`Self::end`].
    pub fn choose(&mut self, tries: &mut Tries, now: Instant) -> Choice {
        let now = self.hear(now);
        if tries.is_over() {
            return Choice::NoneHealthy;
        }
        let first = balance::first(&self.targets, tries, now);
        let Some(target) = first.and_then(|position| self.targets.get_mut(position)) else {
            return Choice::NoneHealthy;
        };
        self.choice_count += 1;
        target.last_chosen = self.choice_count;
        target.inflight += 1;
        tries.begin(target.id);
        let pass = target.circuit.begin();
        Choice::Target(Claim { target: target.id, name: Arc::clone(&target.name), pass })
    }

    /// The exchange ended so.
    pub fn end(&mut self, claim: Claim, outcome: Outcome, random: &mut dyn Entropy, now: Instant) {
        let now = self.hear(now);
        let Some(target) = self.targets.iter_mut().find(|target| target.id == claim.target) else {
            return;
        };
        target.inflight = target.inflight.saturating_sub(1);
        let failed = match outcome {
            Outcome::Failed => Some(true),
            Outcome::Finished => Some(false),
            Outcome::Unknown => None,
        };
        target.request_count += u64::from(failed.is_some());
        target.failure_count += u64::from(failed == Some(true));
        let output = match target.circuit.end(claim.pass, failed, random, now) {
            Some(Change::Opened { until }) => Output::Ejected { target: target.id, until },
            Some(Change::Closed) => Output::Restored(target.id),
            None => return,
        };
        self.outputs.push_back(output);
    }

    /// Acts on what is due. To be called at [`Self::next_deadline`].
    pub fn settle(&mut self, random: &mut dyn Entropy, now: Instant) {
        let now = self.hear(now);
        let Some(rules) = &self.settings.check else { return };
        for target in &mut self.targets {
            let Some(health) = &mut target.health else { continue };
            // One that nobody listened to is cancelled and asked again.
            while let Some(due) = health.due(rules, random, now) {
                match due {
                    Due::Ask => {
                        self.check_count += 1;
                        self.outputs.push_back(Output::Check(Check {
                            target: target.id,
                            name: Arc::clone(&target.name),
                            path: Arc::clone(&rules.path),
                            until: health.asked(rules, self.check_count, now),
                            serial: self.check_count,
                        }));
                        break;
                    }
                    Due::Late(verdict) => {
                        self.outputs.push_back(Output::Cancel(target.id));
                        self.outputs.extend(verdict.and_then(|verdict| told(target.id, verdict)));
                    }
                }
            }
        }
    }

    /// A check was answered; `good` when the answer was.
    pub fn checked(&mut self, check: Check, good: bool, random: &mut dyn Entropy, now: Instant) {
        let now = self.hear(now);
        let found = self.targets.iter_mut().find(|target| target.id == check.target);
        if let Some(rules) = &self.settings.check
            && let Some(health) = found.and_then(|target| target.health.as_mut())
            && let Some(verdict) = health.answered(check.serial, good, rules, random, now)
        {
            self.outputs.extend(told(check.target, verdict));
        }
    }

    /// The next output; drain it after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::settle`] must be called next, if nothing happens before; `None` without checks.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.targets.iter().filter_map(|target| target.health.as_ref()).map(Health::deadline).min()
    }

    /// Whether there is a target to choose that is not only hoped to be well: where checks are made,
    /// one of them was good.
    pub fn is_proven(&self, now: Instant) -> bool {
        self.targets
            .iter()
            .any(|target| target.may_be_chosen(now) && target.verdict() != Some(Verdict::Untested))
    }

    /// The targets in the order of the settings, as they are at `now`.
    pub fn targets(&self, now: Instant) -> impl Iterator<Item = TargetView<'_>> {
        self.targets.iter().map(move |target| target.view(now))
    }

    /// The settings.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Panics unless what always holds does.
    pub fn check_invariants(&self) {
        for (position, target) in self.targets.iter().enumerate() {
            let others = &self.targets[..position];
            assert!(
                self.settings.targets.contains(&target.name),
                "{} is not configured",
                target.id
            );
            assert!(others.iter().all(|other| other.name != target.name), "a target stands twice");
            assert!(
                others.iter().all(|other| other.id != target.id),
                "two are called {}",
                target.id
            );
            assert!(target.id.0 <= self.last_target, "{} comes from nowhere", target.id);
            assert!(target.last_chosen <= self.choice_count, "{} comes from the future", target.id);
            assert!(target.failure_count <= target.request_count, "more failed than ended");
            assert!(
                target.inflight > 0 || !target.circuit.is_trying(),
                "a trial without a request"
            );
            assert_eq!(
                target.health.is_some(),
                self.settings.check.is_some(),
                "checks are not made"
            );
        }
        for name in &self.settings.targets {
            assert!(self.targets.iter().any(|target| target.name == *name), "{name} is missing");
        }
    }

    fn hear(&mut self, now: Instant) -> Instant {
        self.heard = self.heard.max(now);
        self.heard
    }
}

fn told(target: TargetId, verdict: Verdict) -> Option<Output> {
    match verdict {
        Verdict::Healthy => Some(Output::Healthy(target)),
        Verdict::Unhealthy => Some(Output::Unhealthy(target)),
        Verdict::Untested => None,
    }
}
