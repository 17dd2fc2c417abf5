use super::*;
use crate::entropy::Xoshiro;
use crate::http1::Method;
use crate::time::Instant;
use std::sync::Arc;
use std::time::Duration;

struct Stand {
    core: Upstream,
    random: Xoshiro,
    now: Instant,
}

impl Stand {
    fn new(targets: &[&str], check: Option<ActiveCheck>) -> Self {
        let now = Instant::from_millis(5000);
        let core = Upstream::new(settings(targets, check), now);
        Self { core, random: Xoshiro::new(1), now }
    }

    fn choose(&mut self) -> Claim {
        let mut tries = self.core.tries();
        self.choose_with(&mut tries).expect("a target may be chosen")
    }

    fn choose_with(&mut self, tries: &mut Tries) -> Option<Claim> {
        let choice = self.core.choose(tries, self.now);
        self.core.check_invariants();
        match choice {
            Choice::Target(claim) => Some(claim),
            Choice::NoneHealthy => None,
        }
    }

    fn is_down(&mut self) -> bool {
        let mut tries = self.core.tries();
        match self.choose_with(&mut tries) {
            Some(claim) => {
                self.end(claim, Outcome::Unknown);
                false
            }
            None => true,
        }
    }

    fn end(&mut self, claim: Claim, outcome: Outcome) {
        self.core.end(claim, outcome, &mut self.random, self.now);
        self.core.check_invariants();
    }

    /// Sends requests, as many as stand there, all of which end so.
    fn send(&mut self, count: usize, outcome: Outcome) {
        for _ in 0..count {
            let claim = self.choose();
            self.end(claim, outcome);
        }
    }

    fn configure(&mut self, targets: &[&str], check: Option<ActiveCheck>) {
        self.core.configure(settings(targets, check), self.now);
        self.core.check_invariants();
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    /// Goes on to the next deadline; the checks that are to be made.
    fn checks(&mut self) -> Vec<Check> {
        self.now = self.core.next_deadline().expect("checks are made").max(self.now);
        self.core.settle(&mut self.random, self.now);
        self.core.check_invariants();
        let check = |output| match output {
            Output::Check(check) => check,
            other => panic!("{other:?}"),
        };
        self.outputs().into_iter().map(check).collect()
    }

    fn answer(&mut self, check: Check, good: bool) -> Vec<Output> {
        self.core.checked(check, good, &mut self.random, self.now);
        self.core.check_invariants();
        self.outputs()
    }

    /// In flight to each target.
    fn inflight(&self) -> Vec<u32> {
        self.core.targets(self.now).map(|target| target.inflight).collect()
    }
}

fn settings(targets: &[&str], check: Option<ActiveCheck>) -> UpstreamSettings {
    let targets = targets.iter().map(|name| Arc::from(*name)).collect();
    UpstreamSettings { targets, check, attempts: 2 }
}

fn check() -> Option<ActiveCheck> {
    Some(ActiveCheck { failures: 1, successes: 1, ..ActiveCheck::new("/healthz") })
}

#[test]
fn the_target_with_the_fewest_in_flight_is_chosen_and_equals_take_turns() {
    let mut stand = Stand::new(&["a", "b", "c"], None);
    let claims: Vec<Claim> = (0..7).map(|_| stand.choose()).collect();
    let names: String = claims.iter().map(Claim::name).collect();
    assert_eq!(names, "abcabca");
    assert_eq!(stand.inflight(), [3, 2, 2]);
    for claim in claims.into_iter().filter(|claim| claim.name() == "c") {
        stand.end(claim, Outcome::Finished);
    }
    let held = [stand.choose(), stand.choose()];
    assert!(held.iter().all(|claim| claim.name() == "c"));
    // One after the other, none held: turns as well.
    let mut idle = Stand::new(&["a", "b"], None);
    let names: String = (0..4)
        .map(|_| {
            let claim = idle.choose();
            let name = claim.name().to_owned();
            idle.end(claim, Outcome::Finished);
            name
        })
        .collect();
    assert_eq!(names, "abab");
}

#[test]
fn an_upstream_without_targets_or_with_none_that_is_well_says_so() {
    let mut empty = Stand::new(&[], check());
    assert!(empty.is_down() && !empty.core.is_proven(empty.now));
    assert_eq!(empty.core.next_deadline(), None);
    let mut stand = Stand::new(&["a", "a"], check());
    assert_eq!(stand.core.targets(stand.now).count(), 1);
    let ask = stand.checks().remove(0);
    assert_eq!(stand.answer(ask, false), [Output::Unhealthy(TargetId(1))]);
    assert!(stand.is_down());
}

#[test]
fn a_target_that_fails_is_ejected_and_comes_back_with_one_request() {
    let mut stand = Stand::new(&["a"], None);
    stand.send(9, Outcome::Failed);
    stand.send(20, Outcome::Unknown);
    assert_eq!(stand.outputs(), []);
    let running = stand.choose();
    stand.send(1, Outcome::Failed);
    let [Output::Ejected { target: TargetId(1), until }] = stand.outputs()[..] else {
        panic!("it is not ejected")
    };
    assert!(stand.is_down() && !stand.core.is_proven(stand.now));
    stand.end(running, Outcome::Finished);
    assert!(stand.is_down(), "what was begun before shows nothing");

    stand.now = until;
    let trial = stand.choose();
    assert!(stand.is_down(), "only one request tries it");
    stand.end(trial, Outcome::Unknown);
    let trial = stand.choose();
    stand.end(trial, Outcome::Failed);
    let [Output::Ejected { until, .. }] = stand.outputs()[..] else { panic!("it is back") };
    stand.now = until;
    let trial = stand.choose();
    stand.end(trial, Outcome::Finished);
    assert_eq!(stand.outputs(), [Output::Restored(TargetId(1))]);
    stand.send(9, Outcome::Failed);
    assert_eq!(stand.outputs(), [], "it begins anew");
    let view = stand.core.targets(stand.now).next().unwrap();
    assert_eq!((view.inflight, view.requests, view.failures), (0, 22, 20));
    assert_eq!((view.ejected_until, view.may_be_chosen, view.verdict), (None, true, None));
}

#[test]
fn checks_are_made_of_each_target_and_change_who_is_chosen() {
    let mut stand = Stand::new(&["a", "b"], check());
    assert!(!stand.core.is_proven(stand.now));
    assert!(!stand.is_down(), "traffic does not wait for checks");
    let mut asked = stand.checks();
    assert_eq!(asked.iter().map(|check| &*check.name).collect::<String>(), "ab");
    assert!(asked.iter().all(|check| &*check.path == "/healthz"));
    let [second, first] = [asked.pop().unwrap(), asked.pop().unwrap()];
    assert_eq!(first.until, stand.now + Duration::from_secs(2));
    assert_eq!(stand.answer(first, false), [Output::Unhealthy(TargetId(1))]);
    assert!(!stand.core.is_proven(stand.now));
    assert_eq!(stand.answer(second, true), [Output::Healthy(TargetId(2))]);
    assert!(stand.core.is_proven(stand.now));
    stand.send(10, Outcome::Finished);
    assert_eq!(stand.core.targets(stand.now).map(|target| target.requests).sum::<u64>(), 10);
    assert_eq!(stand.core.targets(stand.now).next().unwrap().requests, 0);
    let mut again = stand.checks();
    assert!(stand.now.since(Instant::from_millis(5000)) >= Duration::from_secs(5));
    while again.iter().all(|check| &*check.name != "a") {
        again.extend(stand.checks());
    }
    let back = again.into_iter().find(|check| &*check.name == "a").unwrap();
    assert_eq!(stand.answer(back, true), [Output::Healthy(TargetId(1))]);
}

#[test]
fn a_check_without_an_answer_is_cancelled_and_its_late_answer_changes_nothing() {
    let mut stand = Stand::new(&["a"], check());
    let asked = stand.checks().remove(0);
    stand.now = asked.until;
    stand.core.settle(&mut stand.random, stand.now);
    assert_eq!(stand.outputs(), [Output::Cancel(TargetId(1)), Output::Unhealthy(TargetId(1))]);
    assert_eq!(stand.answer(asked, true), []);
    let asked = stand.checks().remove(0);
    stand.now = asked.until + Duration::from_secs(3600);
    stand.core.settle(&mut stand.random, stand.now);
    let outputs = stand.outputs();
    assert!(
        matches!(outputs[..], [Output::Cancel(TargetId(1)), Output::Check(_)]),
        "after a suspension it is asked again at once: {outputs:?}"
    );
}

#[test]
fn a_request_that_failed_goes_to_another_target() {
    let mut stand = Stand::new(&["a", "b"], None);
    let mut tries = stand.core.tries();
    let first = stand.choose_with(&mut tries).unwrap();
    assert_eq!(first.name(), "a");
    stand.end(first, Outcome::Failed);
    assert!(tries.failed(Failure::Connect, Method::Post, false, false));
    // The other has more in flight, and is the other.
    let busy: Vec<Claim> = (0..5).map(|_| stand.choose()).filter(|c| c.name() == "b").collect();
    let second = stand.choose_with(&mut tries).unwrap();
    assert_eq!((second.name(), tries.made()), ("b", 2));
    stand.end(second, Outcome::Failed);
    assert!(!tries.failed(Failure::Connect, Method::Post, false, false));
    assert!(stand.choose_with(&mut tries).is_none());
    for claim in busy {
        stand.end(claim, Outcome::Finished);
    }
}

#[test]
fn the_same_target_is_tried_again_only_after_a_broken_connection() {
    for (failure, again) in
        [(Failure::Broken, true), (Failure::Connect, false), (Failure::Timeout, false)]
    {
        let mut stand = Stand::new(&["a"], None);
        let mut tries = stand.core.tries();
        let first = stand.choose_with(&mut tries).unwrap();
        stand.end(first, Outcome::Failed);
        assert!(tries.failed(failure, Method::Get, true, false));
        let second = stand.choose_with(&mut tries);
        assert_eq!(second.is_some(), again, "{failure:?}");
        if let Some(claim) = second {
            stand.end(claim, Outcome::Finished);
        }
    }
}

#[test]
fn targets_that_stay_keep_what_is_known_about_them() {
    let mut stand = Stand::new(&["a", "b"], None);
    let held: Vec<Claim> = (0..4).map(|_| stand.choose()).collect();
    for turn in 0..10 {
        let claim = stand.choose();
        let outcome = if claim.name() == "a" { Outcome::Failed } else { Outcome::Finished };
        stand.end(claim, outcome);
        assert_eq!(stand.outputs(), [], "{turn}");
    }
    stand.configure(&["c", "a"], None);
    let names: String =
        stand.core.targets(stand.now).map(|target| target.name.to_owned()).collect();
    assert_eq!((names.as_str(), stand.inflight()), ("ca", vec![0, 2]));
    assert_eq!(
        stand.core.targets(stand.now).map(|t| t.id).collect::<Vec<_>>(),
        [TargetId(3), TargetId(1)]
    );
    // The five failures still count.
    let rest = [stand.choose(), stand.choose()];
    assert!(rest.iter().all(|claim| claim.name() == "c"));
    for claim in rest.into_iter().chain(held) {
        stand.end(claim, Outcome::Failed);
    }
    assert_eq!(stand.inflight(), [0, 0], "a claim on what is gone counts nowhere");
    let failures: Vec<u64> = stand.core.targets(stand.now).map(|target| target.failures).collect();
    assert_eq!(failures, [2, 7]);
    // What went and comes back is unknown, and its old claims are not its.
    let old = stand.choose();
    stand.configure(&[], None);
    stand.configure(&["a", "c"], None);
    stand.end(old, Outcome::Failed);
    assert_eq!(stand.inflight(), [0, 0]);
    assert!(stand.core.targets(stand.now).all(|target| target.requests == 0));
}

#[test]
fn other_checks_begin_at_once_and_leave_the_verdict_until_they_say_otherwise() {
    let mut stand = Stand::new(&["a", "b"], check());
    let mut asked = stand.checks();
    let (open, first) = (asked.pop().unwrap(), asked.pop().unwrap());
    stand.answer(first, false);
    let other = Some(ActiveCheck { path: "/other".into(), ..check().unwrap() });
    stand.configure(&["a", "b", "c"], other.clone());
    assert_eq!(stand.outputs(), [Output::Cancel(TargetId(2))]);
    assert_eq!(stand.answer(open, false), []);
    assert_eq!(stand.core.next_deadline(), Some(stand.now));
    let asked = stand.checks();
    assert!(asked.len() == 3 && asked.iter().all(|check| &*check.path == "/other"));
    let verdicts = |stand: &Stand| -> Vec<_> {
        stand.core.targets(stand.now).map(|target| target.verdict).collect()
    };
    let [sick, unknown] = [Some(Verdict::Unhealthy), Some(Verdict::Untested)];
    assert_eq!(verdicts(&stand), [sick, unknown, unknown]);
    stand.configure(&["b", "c"], other);
    assert_eq!(stand.outputs(), [Output::Cancel(TargetId(1))], "the same checks go on");
    stand.configure(&["b", "c"], None);
    assert_eq!(stand.outputs(), [Output::Cancel(TargetId(2)), Output::Cancel(TargetId(3))]);
    assert_eq!(verdicts(&stand), [None, None]);
    assert_eq!(stand.core.next_deadline(), None);
    assert!(stand.core.is_proven(stand.now), "there is nothing to prove it by");
}

#[test]
fn time_that_goes_back_counts_as_the_latest() {
    let mut stand = Stand::new(&["a"], None);
    stand.send(10, Outcome::Failed);
    let [Output::Ejected { until, .. }] = stand.outputs()[..] else { panic!("not ejected") };
    let earlier = stand.now;
    stand.now = until;
    let trial = stand.choose();
    stand.now = earlier;
    stand.end(trial, Outcome::Unknown);
    assert!(!stand.is_down());
}
