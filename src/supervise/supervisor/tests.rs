use super::*;
use crate::entropy::Xoshiro;
use crate::supervise::roll::Cause;

struct Stand {
    core: Supervisor,
    ids: WorkerIds,
    random: Xoshiro,
    now: Instant,
}

impl Stand {
    fn new(slots: usize) -> Self {
        let seconds = Duration::from_secs;
        let patience = Patience { start: seconds(30), drain: seconds(30), kill: seconds(5) };
        let policy = Policy {
            slots,
            restart: RestartPolicy::default(),
            recycle: Recycle::default(),
            surge: Surge::default(),
            patience,
        };
        let now = Instant::from_millis(1000);
        let core = Supervisor::new(policy, Generation(1), now);
        Self { core, ids: WorkerIds::default(), random: Xoshiro::new(1), now }
    }

    fn after(&mut self, duration: Duration) -> Vec<Output> {
        // A loop that keeps its deadlines: it is awake at each of them.
        let until = self.now + duration;
        let mut outputs = self.settle();
        while let Some(next) = self.core.next_deadline().filter(|next| *next <= until) {
            self.now = next;
            outputs.extend(self.settle());
        }
        self.now = until;
        outputs.extend(self.settle());
        outputs
    }

    fn settle(&mut self) -> Vec<Output> {
        self.core.settle(&mut self.ids, &mut self.random, self.now);
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    fn serve(&mut self) -> Vec<WorkerId> {
        let workers: Vec<_> = self.settle().iter().filter_map(spawned).collect();
        for worker in &workers {
            self.core.forked(*worker, self.now);
            self.core.join(*worker, self.now).expect("a booting worker may join");
        }
        self.settle();
        workers
    }
}

fn spawned(output: &Output) -> Option<WorkerId> {
    match output {
        Output::Spawn { worker, .. } => Some(*worker),
        _ => None,
    }
}

const SECOND: Duration = Duration::from_secs(1);
const W1: WorkerId = WorkerId(1);
const W2: WorkerId = WorkerId(2);

#[test]
fn every_slot_gets_a_worker_and_joining_twice_admits_once() {
    let mut stand = Stand::new(3);
    assert_eq!(stand.serve().len(), 3);
    assert_eq!(stand.core.join(W1, stand.now), Ok(()));
    assert_eq!(stand.settle(), []);
    assert_eq!(stand.core.join(WorkerId(9), stand.now), Err(Refusal::Unknown));
}

#[test]
fn a_crash_is_followed_by_a_pause_and_a_new_worker() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.core.exited(W1, Exit::Signaled(9), stand.now);
    let reason = "killed by SIGKILL".to_owned();
    assert_eq!(
        stand.settle(),
        [
            Output::Gone { worker: W1, exit: Some(Exit::Signaled(9)), expected: false },
            Output::Restart { worker: W1, attempt: 1, backoff: SECOND, reason },
        ]
    );
    let later = stand.after(SECOND);
    assert_eq!(later, [Output::Spawn { worker: W2, generation: Generation(1), slot: 0 }]);
}

#[test]
fn another_policy_holds_for_the_workers_there_are() {
    let mut stand = Stand::new(1);
    stand.serve();
    let restart = RestartPolicy { max_restarts: 0, ..RestartPolicy::default() };
    let recycle = Recycle { requests: Some(1), seconds: Some(10), ..Recycle::default() };
    let policy = Policy { slots: 7, restart, recycle, ..stand.core.policy };
    stand.core.configure(policy, &mut stand.random, stand.now);
    assert_eq!(stand.core.wanted(), 1, "that is scaling");
    let aged = stand.after(SECOND * 12);
    let recycled = Output::Recycle { worker: W1, reason: "seconds" };
    assert_eq!(aged.first(), Some(&recycled), "{aged:?}");
    let mut stand = Stand::new(1);
    stand.serve();
    stand.core.configure(policy, &mut stand.random, stand.now);
    stand.core.exited(W1, Exit::Signaled(9), stand.now);
    let outputs = stand.settle();
    let given_up = |output: &Output| matches!(output, Output::Abandon { worker: W1, .. });
    assert!(outputs.iter().any(given_up), "{outputs:?}");
}

#[test]
fn a_quit_is_answered_after_the_last_lease_and_its_slot_is_filled_at_once() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.after(SECOND * 5);
    stand.core.quit(W1, stand.now).expect("it lives");
    assert_eq!(
        stand.settle(),
        [
            Output::Retire { worker: W1 },
            Output::Spawn { worker: W2, generation: Generation(1), slot: 0 }
        ]
    );
    stand.core.idle(W1, stand.now);
    assert_eq!(stand.settle(), [Output::AnswerQuit { worker: W1, drained: true }]);
    stand.core.exited(W1, Exit::Exited(0), stand.now);
    let gone = Output::Gone { worker: W1, exit: Some(Exit::Exited(0)), expected: true };
    assert_eq!(stand.settle(), [gone]);
}

#[test]
fn a_quit_whose_lease_never_ends_is_answered_at_the_drain_deadline_and_then_killed() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.core.quit(W1, stand.now).expect("it lives");
    stand.core.retire_all(stand.now);
    assert_eq!(stand.after(SECOND * 29), [Output::Retire { worker: W1 }]);
    assert_eq!(
        stand.after(SECOND),
        [Output::AnswerQuit { worker: W1, drained: false }, Output::Terminate { worker: W1 }]
    );
    assert_eq!(stand.after(SECOND * 5), [Output::Kill { worker: W1 }]);
}

#[test]
fn a_worker_that_never_joins_is_ended_and_counts_as_failed() {
    let mut stand = Stand::new(1);
    stand.settle();
    stand.core.forked(W1, stand.now);
    assert_eq!(stand.after(SECOND * 31), [Output::Terminate { worker: W1 }]);
    assert_eq!(stand.core.join(W1, stand.now), Err(Refusal::Leaving));
    assert_eq!(stand.after(SECOND * 5), [Output::Kill { worker: W1 }]);
    stand.core.exited(W1, Exit::Signaled(9), stand.now);
    let outputs = stand.settle();
    assert!(
        matches!(&outputs[1], Output::Restart { reason, .. } if reason == "not ready within 30s"),
        "{outputs:?}"
    );
}

#[test]
fn a_sleeping_loop_kills_nobody() {
    let mut stand = Stand::new(1);
    stand.settle();
    stand.core.forked(W1, stand.now);
    stand.now += Duration::from_secs(3600);
    assert_eq!(stand.settle(), []);
    assert_eq!(stand.core.join(W1, stand.now), Ok(()));
}

#[test]
fn an_app_that_never_starts_is_abandoned_and_tried_again_each_minute() {
    let mut stand = Stand::new(2);
    let mut abandoned_at = None;
    let mut spawns = Vec::new();
    while stand.now < Instant::from_millis(600_000) {
        for worker in stand.settle().iter().filter_map(spawned) {
            spawns.push((stand.now, worker));
            stand.core.forked(worker, stand.now);
            stand.core.exited(worker, Exit::Exited(1), stand.now);
        }
        if stand.core.app_abandoned() {
            abandoned_at.get_or_insert(stand.now);
        }
        stand.now = stand.core.next_deadline().map_or(stand.now, |next| next.max(stand.now));
    }
    let abandoned_at = abandoned_at.expect("it never starts");
    assert!(stand.core.app_abandoned());
    let tries = spawns.iter().filter(|(at, _)| *at <= abandoned_at).count();
    assert_eq!(tries, 22, "eleven a slot");
    let later = spawns.iter().filter(|(at, _)| *at > abandoned_at).count() as u64;
    let minutes = stand.now.since(abandoned_at).as_secs() / 60;
    assert!(later <= 2 * (minutes + 1), "{later} in {minutes} minutes");
}

#[test]
fn a_missing_interpreter_is_hopeless_until_some_worker_has_served() {
    let mut stand = Stand::new(1);
    stand.settle();
    stand.core.forked(W1, stand.now);
    stand.core.boot_failed(W1, BootStage::Find, "python3 is not installed", stand.now);
    let reason = "python3 is not installed".to_owned();
    assert!(stand.settle().contains(&Output::Hopeless { worker: W1, reason }));

    let mut stand = Stand::new(2);
    stand.settle();
    stand.core.forked(W1, stand.now);
    stand.core.join(W1, stand.now).expect("it boots");
    stand.core.forked(W2, stand.now);
    stand.core.boot_failed(W2, BootStage::Find, "python3 is not installed", stand.now);
    let outputs = stand.settle();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Hopeless { .. })));
}

#[test]
fn a_joining_worker_ends_the_abandonment() {
    let mut stand = Stand::new(1);
    for _ in 0..11 {
        stand.now = stand.core.next_deadline().expect("a slot is down").max(stand.now);
        for worker in stand.settle().iter().filter_map(spawned) {
            stand.core.fork_failed(worker, "no memory".to_owned(), stand.now);
        }
        stand.settle();
    }
    assert!(stand.core.app_abandoned());
    stand.now += limits::ABANDON_RETRY;
    let worker = stand.settle().iter().find_map(spawned).expect("a try a minute");
    stand.core.forked(worker, stand.now);
    assert!(stand.core.app_abandoned(), "one try does not make requests wait");
    stand.core.join(worker, stand.now).expect("it boots");
    assert_eq!(stand.settle(), [Output::AppAbandoned(false), Output::Admit { worker }]);
}

/// Forks and joins every worker that is started meanwhile, and ends every process that is told to.
fn go_on(stand: &mut Stand, duration: Duration) -> Vec<Output> {
    let until = stand.now + duration;
    let mut seen = Vec::new();
    loop {
        let outputs = stand.settle();
        for output in &outputs {
            match output {
                Output::Spawn { worker, .. } => {
                    stand.core.forked(*worker, stand.now);
                    stand.core.join(*worker, stand.now).expect("a booting worker may join");
                }
                Output::Retire { worker } => stand.core.idle(*worker, stand.now),
                Output::Terminate { worker } => {
                    stand.core.exited(*worker, Exit::Exited(0), stand.now);
                }
                _ => {}
            }
        }
        if !outputs.is_empty() {
            seen.extend(outputs);
            continue;
        }
        match stand.core.next_deadline().filter(|next| *next <= until) {
            Some(next) => stand.now = next.max(stand.now),
            None => break,
        }
    }
    stand.now = until;
    seen
}

fn position(outputs: &[Output], is: impl Fn(&Output) -> bool) -> usize {
    outputs.iter().position(is).unwrap_or_else(|| panic!("it did not happen: {outputs:?}"))
}

#[test]
fn a_roll_puts_a_ready_worker_in_every_place_before_it_takes_the_old_one() {
    let mut stand = Stand::new(3);
    stand.serve();
    stand.after(SECOND * 5);
    let generation = stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    assert_eq!(generation, Generation(2));
    let outputs = go_on(&mut stand, SECOND * 5);
    let mut ready: usize = 3;
    for output in &outputs {
        match output {
            Output::Admit { .. } => ready += 1,
            Output::Retire { .. } => ready -= 1,
            _ => {}
        }
        assert!((3..=4).contains(&ready), "{outputs:?}");
    }
    assert!(outputs.contains(&Output::RollDone { generation }));
    assert_eq!((stand.core.generation(), stand.core.worker_count()), (generation, 3));
    assert_eq!(stand.core.restart_count(), 0);
}

#[test]
fn a_release_that_does_not_start_costs_one_process_and_no_old_worker() {
    let mut stand = Stand::new(2);
    stand.serve();
    stand.after(SECOND * 5);
    let generation = stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    let canary = stand.settle().iter().find_map(spawned).expect("one goes ahead");
    stand.core.forked(canary, stand.now);
    stand.core.exited(canary, Exit::Exited(1), stand.now);
    let reason = "exited 1 before it was ready".to_owned();
    let outputs = stand.after(SECOND * 60);
    assert_eq!(
        outputs,
        [
            Output::Gone { worker: canary, exit: Some(Exit::Exited(1)), expected: false },
            Output::RollAborted { generation, failed: Some(canary), reason },
        ]
    );
    assert_eq!((stand.core.ready_count(), stand.core.generation()), (2, Generation(1)));
}

#[test]
fn a_release_that_falls_over_as_soon_as_it_is_ready_was_never_offered_work() {
    let mut stand = Stand::new(2);
    stand.serve();
    stand.after(SECOND * 5);
    stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    let canary = stand.settle().iter().find_map(spawned).expect("one goes ahead");
    stand.core.forked(canary, stand.now);
    assert_eq!(stand.core.join(canary, stand.now), Ok(()));
    assert_eq!(stand.core.join(canary, stand.now), Ok(()), "it may say so again");
    assert_eq!(stand.after(Duration::from_millis(400)), []);
    stand.core.exited(canary, Exit::Exited(3), stand.now);
    let outputs = stand.settle();
    assert!(
        matches!(&outputs[1], Output::RollAborted { reason, .. }
            if reason == "exited 3 as soon as it was ready"),
        "{outputs:?}"
    );
    assert_eq!(stand.core.ready_count(), 2);
}

#[test]
fn a_roll_that_fails_halfway_is_rolled_back_start_first() {
    let mut stand = Stand::new(2);
    stand.serve();
    stand.after(SECOND * 5);
    stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    let canary = stand.settle().iter().find_map(spawned).expect("one goes ahead");
    stand.core.forked(canary, stand.now);
    stand.core.join(canary, stand.now).expect("it boots");
    stand.after(SECOND);
    stand.core.idle(W1, stand.now);
    stand.core.exited(W1, Exit::Exited(0), stand.now);
    let second = stand.settle().iter().find_map(spawned).expect("the next one");
    stand.core.fork_failed(second, "no memory".to_owned(), stand.now);
    let outputs = go_on(&mut stand, SECOND * 5);
    position(&outputs, |output| matches!(output, Output::RollAborted { .. }));
    let admitted = position(&outputs, |output| matches!(output, Output::Admit { .. }));
    let retired = position(&outputs, |output| *output == Output::Retire { worker: canary });
    assert!(admitted < retired);
    assert_eq!((stand.core.ready_count(), stand.core.worker_count()), (2, 2));
    let generations = stand.core.workers.values().map(|worker| worker.generation);
    assert!(generations.into_iter().all(|generation| generation == Generation(1)));
}

#[test]
fn an_old_worker_that_dies_during_a_roll_is_made_up_for() {
    let mut stand = Stand::new(2);
    stand.serve();
    stand.after(SECOND * 5);
    stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    let canary = stand.settle().iter().find_map(spawned).expect("one goes ahead");
    stand.core.forked(canary, stand.now);
    stand.core.exited(W2, Exit::Signaled(9), stand.now);
    // The new generation is not proven: the old one helps out.
    let outputs = stand.after(SECOND);
    let helper = position(&outputs, |output| {
        matches!(output, Output::Spawn { generation: Generation(1), slot: 1, .. })
    });
    let helper = spawned(&outputs[helper]).expect("it is one");
    stand.core.forked(helper, stand.now);
    stand.core.join(helper, stand.now).expect("it boots");
    stand.core.join(canary, stand.now).expect("it boots");
    let outputs = go_on(&mut stand, SECOND * 5);
    assert!(outputs.contains(&Output::RollDone { generation: Generation(2) }));
}

#[test]
fn a_restart_brings_an_app_back_that_was_given_up() {
    let mut stand = Stand::new(1);
    while !stand.core.app_abandoned() {
        stand.now = stand.core.next_deadline().expect("a slot is down").max(stand.now);
        for worker in stand.settle().iter().filter_map(spawned) {
            stand.core.fork_failed(worker, "no memory".to_owned(), stand.now);
        }
    }
    stand.after(SECOND * 2);
    stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    let outputs = go_on(&mut stand, Duration::ZERO);
    assert!(outputs.contains(&Output::AppAbandoned(false)), "at once: {outputs:?}");
    assert!(outputs.contains(&Output::RollDone { generation: Generation(2) }));
}

#[test]
fn workers_that_reach_a_limit_together_are_replaced_one_after_the_other() {
    let mut stand = Stand::new(3);
    stand.core.policy.recycle.requests = Some(10);
    stand.serve();
    stand.after(SECOND * 5);
    for worker in 1..=3 {
        stand.core.observed(WorkerId(worker), 12, None, stand.now);
    }
    let outputs = stand.settle();
    assert_eq!(outputs[0], Output::Recycle { worker: W1, reason: "requests" });
    assert_eq!(outputs.iter().filter_map(spawned).count(), 1);
    let fresh = outputs.iter().find_map(spawned).expect("its successor");
    stand.core.forked(fresh, stand.now);
    stand.core.join(fresh, stand.now).expect("it boots");
    let outputs = go_on(&mut stand, SECOND * 5);
    assert_eq!(outputs.iter().filter_map(spawned).count(), 2, "{outputs:?}");
    assert_eq!((stand.core.ready_count(), stand.core.restart_count()), (3, 0));
}

#[test]
fn an_idle_worker_grows_old_too() {
    let mut stand = Stand::new(1);
    stand.core.policy.recycle.seconds = Some(100);
    stand.serve();
    assert_eq!(stand.after(SECOND * 89), []);
    let outputs = go_on(&mut stand, SECOND * 22);
    assert_eq!(outputs[0], Output::Recycle { worker: W1, reason: "seconds" });
    assert_eq!(stand.core.ready_count(), 1);
}

#[test]
fn a_drain_whose_replacement_fails_leaves_the_worker_serving() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.after(SECOND * 5);
    stand.core.replace(W1, Wish::Drain, stand.now).expect("it serves");
    let successor = stand.settle().iter().find_map(spawned).expect("its successor");
    stand.core.fork_failed(successor, "no memory".to_owned(), stand.now);
    let reason = "no memory".to_owned();
    let failed = Output::DrainFailed { worker: W1, failed: Some(successor), reason };
    assert!(stand.after(SECOND * 60).ends_with(&[failed]));
    assert_eq!(stand.core.ready_count(), 1);
}

#[test]
fn a_stuck_worker_is_aborted_then_killed_and_its_place_is_filled_at_once() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.after(SECOND * 5);
    assert!(stand.core.stuck(W1, stand.now));
    assert!(!stand.core.stuck(W1, stand.now), "once");
    assert_eq!(
        stand.settle(),
        [
            Output::Retire { worker: W1 },
            Output::Abort { worker: W1 },
            Output::Spawn { worker: W2, generation: Generation(1), slot: 0 },
        ]
    );
    assert_eq!(stand.after(SECOND), []);
    assert_eq!(stand.after(SECOND), [Output::Kill { worker: W1 }]);
}

#[test]
fn scaling_starts_and_dismisses_and_says_when_it_is_true() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.core.scale(3, stand.now).expect("it serves");
    assert!(go_on(&mut stand, SECOND).contains(&Output::Scaled { workers: 3 }));
    assert_eq!(stand.core.ready_count(), 3);
    stand.core.scale(0, stand.now).expect("it serves");
    assert!(go_on(&mut stand, SECOND).contains(&Output::Scaled { workers: 1 }));
    assert_eq!((stand.core.ready_count(), stand.core.worker_count()), (1, 1));
}

#[test]
fn the_end_answers_everybody_who_waits() {
    let mut stand = Stand::new(1);
    stand.serve();
    stand.core.roll(Cause::new("api"), stand.now).expect("it serves");
    stand.settle();
    stand.core.roll(Cause::new("HUP"), stand.now).expect("it serves");
    stand.core.scale(2, stand.now).expect("it serves");
    stand.core.replace(W1, Wish::Drain, stand.now).expect("it serves");
    stand.core.wind_down(stand.now);
    let outputs = stand.settle();
    let aborted = |output: &&Output| matches!(output, Output::RollAborted { failed: None, .. });
    assert_eq!(outputs.iter().filter(aborted).count(), 2);
    position(&outputs, |output| matches!(output, Output::ScaleFailed { .. }));
    position(&outputs, |output| matches!(output, Output::DrainFailed { .. }));
    assert_eq!(stand.core.roll(Cause::new("api"), stand.now), Err(Refusal::Ending));
    assert_eq!(stand.core.ready_count(), 1, "what serves is kept");
}
