//! What an upstream should do, said in the plainest way.

use rip::entropy::Entropy;
use rip::time::Instant;
use rip::upstream::{ActiveCheck, Outcome, TargetId, UpstreamSettings, Verdict};
use std::time::Duration;

/// An output, without the parts that are looked at elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    Cancel(TargetId),
    Check(TargetId, Instant),
    Ejected(TargetId, Instant),
    Healthy(TargetId),
    Restored(TargetId),
    Unhealthy(TargetId),
}

pub struct Model {
    pub settings: UpstreamSettings,
    pub targets: Vec<ModelTarget>,
    pub told: Vec<Told>,
    exchanges: Vec<Exchange>,
    /// Who was chosen, from the first time on.
    chosen: Vec<TargetId>,
    last_target: u32,
    last_exchange: u64,
}

pub struct ModelTarget {
    pub id: TargetId,
    pub name: String,
    /// Ends that show something: when, and whether it failed.
    pub ends: Vec<(Instant, bool)>,
    /// The circuit last opened or closed then, when there were so many ends.
    ends_before: usize,
    pub ejected_until: Option<Instant>,
    pub verdict: Option<Verdict>,
    /// Results of checks since their rules last changed.
    results: Vec<bool>,
    pub asked: Option<Asked>,
    pub check_at: Instant,
}

#[derive(Clone, Copy)]
pub struct Asked {
    pub since: Instant,
    pub until: Instant,
}

struct Exchange {
    number: u64,
    target: TargetId,
    /// Its end shows something.
    counts: bool,
    is_trial: bool,
}

impl Model {
    pub fn new(settings: UpstreamSettings, now: Instant) -> Self {
        let nothing = UpstreamSettings { targets: Vec::new(), check: None, attempts: 1 };
        let mut model = Self {
            settings: nothing,
            targets: Vec::new(),
            told: Vec::new(),
            exchanges: Vec::new(),
            chosen: Vec::new(),
            last_target: 0,
            last_exchange: 0,
        };
        model.configure(settings, now);
        model
    }

    pub fn configure(&mut self, settings: UpstreamSettings, now: Instant) {
        let has_new_check = settings.check != self.settings.check;
        let mut names: Vec<String> = Vec::new();
        for name in &settings.targets {
            if !names.iter().any(|known| **known == **name) {
                names.push(name.to_string());
            }
        }
        let mut cancelled: Vec<TargetId> = self
            .targets
            .iter()
            .filter(|target| target.asked.is_some())
            .filter(|target| has_new_check || !names.contains(&target.name))
            .map(|target| target.id)
            .collect();
        cancelled.sort();
        self.told.extend(cancelled.into_iter().map(Told::Cancel));
        self.targets.retain(|target| names.contains(&target.name));
        self.exchanges
            .retain(|exchange| self.targets.iter().any(|target| target.id == exchange.target));
        for name in &names {
            if !self.targets.iter().any(|target| target.name == *name) {
                self.last_target += 1;
                self.targets.push(ModelTarget {
                    id: TargetId(self.last_target),
                    name: name.clone(),
                    ends: Vec::new(),
                    ends_before: 0,
                    ejected_until: None,
                    verdict: settings.check.is_some().then_some(Verdict::Untested),
                    results: Vec::new(),
                    asked: None,
                    check_at: now,
                });
            }
        }
        self.targets.sort_by_key(|target| names.iter().position(|name| *name == target.name));
        if has_new_check {
            for target in &mut self.targets {
                target.results.clear();
                target.asked = None;
                target.check_at = now;
                target.verdict =
                    settings.check.as_ref().map(|_| target.verdict.unwrap_or(Verdict::Untested));
            }
        }
        self.settings = settings;
    }

    /// Whom to choose; `others` when none of those tried may be.
    pub fn choice(&self, tried: &[TargetId], others: bool, now: Instant) -> Option<TargetId> {
        let free: Vec<&ModelTarget> =
            self.targets.iter().filter(|target| self.is_free(target, now)).collect();
        let fresh: Vec<&ModelTarget> =
            free.iter().copied().filter(|target| !tried.contains(&target.id)).collect();
        let candidates = if !fresh.is_empty() || others { fresh } else { free };
        let fewest = candidates.iter().map(|target| self.inflight(target.id)).min()?;
        let equals = candidates.iter().filter(|target| self.inflight(target.id) == fewest);
        let last = |id: TargetId| self.chosen.iter().rposition(|chosen| *chosen == id);
        equals.min_by_key(|target| last(target.id)).map(|target| target.id)
    }

    /// The number of the exchange that begins.
    pub fn begin(&mut self, id: TargetId) -> u64 {
        let is_trial = self.target(id).is_some_and(|target| target.ejected_until.is_some());
        self.chosen.push(id);
        self.last_exchange += 1;
        let number = self.last_exchange;
        self.exchanges.push(Exchange { number, target: id, counts: true, is_trial });
        number
    }

    pub fn end(&mut self, number: u64, outcome: Outcome, random: &mut dyn Entropy, now: Instant) {
        let Some(at) = self.exchanges.iter().position(|exchange| exchange.number == number) else {
            return;
        };
        let Exchange { target: id, counts, is_trial, .. } = self.exchanges.remove(at);
        let target = self.targets.iter_mut().find(|target| target.id == id).unwrap();
        let failed = match outcome {
            Outcome::Failed => true,
            Outcome::Finished => false,
            Outcome::Unknown => {
                if is_trial && counts {
                    target.ejected_until = Some(now);
                }
                return;
            }
        };
        target.ends.push((now, failed));
        if !counts {
            // It is counted for the eye only.
            target.ends.pop();
            target.ends.insert(target.ends_before, (now, failed));
            target.ends_before += 1;
            return;
        }
        let second = |at: Instant| at.as_millis() / 1000;
        let recent: Vec<bool> = target.ends[target.ends_before..]
            .iter()
            .filter(|(at, _)| second(*at) + 10 > second(now))
            .map(|(_, failed)| *failed)
            .collect();
        let failures = recent.iter().filter(|failed| **failed).count();
        let opens =
            if is_trial { failed } else { recent.len() >= 10 && failures * 2 >= recent.len() };
        if opens {
            let jitter = random.below(6_000_000_001);
            let until = now + Duration::from_secs(30) + Duration::from_nanos(jitter);
            target.ejected_until = Some(until);
            self.told.push(Told::Ejected(id, until));
        } else if is_trial {
            target.ejected_until = None;
            self.told.push(Told::Restored(id));
        }
        if opens || is_trial {
            target.ends_before = target.ends.len();
            for exchange in self.exchanges.iter_mut().filter(|exchange| exchange.target == id) {
                exchange.counts = false;
            }
        }
    }

    pub fn settle(&mut self, random: &mut dyn Entropy, now: Instant) {
        let Some(rules) = self.settings.check.clone() else { return };
        for target in &mut self.targets {
            if let Some(asked) = target.asked
                && asked.until <= now
            {
                target.asked = None;
                self.told.push(Told::Cancel(target.id));
                let slack = rules.timeout.max(Duration::from_secs(1));
                if now.since(asked.until) > slack {
                    target.check_at = now;
                } else {
                    target.check_at = next_check(&rules, asked.since, random).max(now);
                    self.told.extend(target.judge(false, &rules));
                }
            }
            if target.asked.is_none() && target.check_at <= now {
                let until = now + rules.timeout;
                target.asked = Some(Asked { since: now, until });
                self.told.push(Told::Check(target.id, until));
            }
        }
    }

    /// The check that `id` was asked at `since` is answered.
    pub fn checked(
        &mut self,
        id: TargetId,
        until: Instant,
        good: bool,
        random: &mut dyn Entropy,
        now: Instant,
    ) {
        let Some(rules) = self.settings.check.clone() else { return };
        let Some(target) = self.targets.iter_mut().find(|target| target.id == id) else { return };
        if let Some(asked) = target.asked.filter(|asked| asked.until == until) {
            target.asked = None;
            target.check_at = next_check(&rules, asked.since, random).max(now);
            self.told.extend(target.judge(good, &rules));
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.settings.check.as_ref()?;
        let due = |target: &ModelTarget| target.asked.map_or(target.check_at, |asked| asked.until);
        self.targets.iter().map(due).min()
    }

    pub fn is_proven(&self, now: Instant) -> bool {
        self.targets.iter().any(|target| {
            self.is_free(target, now) && matches!(target.verdict, None | Some(Verdict::Healthy))
        })
    }

    pub fn inflight(&self, id: TargetId) -> u32 {
        self.exchanges.iter().filter(|exchange| exchange.target == id).count() as u32
    }

    pub fn is_free(&self, target: &ModelTarget, now: Instant) -> bool {
        target.verdict != Some(Verdict::Unhealthy)
            && target.ejected_until.is_none_or(|until| until <= now)
            && !self.is_tried(target.id)
    }

    /// Its trial is in flight.
    pub fn is_tried(&self, id: TargetId) -> bool {
        self.exchanges
            .iter()
            .any(|exchange| exchange.target == id && exchange.is_trial && exchange.counts)
    }

    fn target(&self, id: TargetId) -> Option<&ModelTarget> {
        self.targets.iter().find(|target| target.id == id)
    }
}

impl ModelTarget {
    fn judge(&mut self, good: bool, rules: &ActiveCheck) -> Option<Told> {
        self.results.push(good);
        let run = self.results.iter().rev().take_while(|result| **result == good).count() as u32;
        let (verdict, told) = if good {
            let enough = self.verdict == Some(Verdict::Untested) || run >= rules.successes;
            (enough.then_some(Verdict::Healthy), Told::Healthy(self.id))
        } else {
            ((run >= rules.failures).then_some(Verdict::Unhealthy), Told::Unhealthy(self.id))
        };
        let changed = verdict.is_some() && verdict != self.verdict;
        self.verdict = verdict.or(self.verdict);
        changed.then_some(told)
    }
}

fn next_check(rules: &ActiveCheck, since: Instant, random: &mut dyn Entropy) -> Instant {
    let interval = rules.interval.max(Duration::from_millis(10));
    since + interval + Duration::from_nanos(random.below(interval.as_nanos() as u64 / 10))
}
