use super::*;
use crate::edgefile::plan::tests::app;

/// A pipeline whose version 1 has pool 1 of app `old` and a listener at port 1.
struct Stand {
    pipe: Pipeline,
    now: Instant,
    unready: Vec<AppId>,
}

impl Stand {
    fn new() -> Self {
        let now = Instant::from_millis(1000);
        let took = Duration::from_millis(70);
        let mut pipe = Pipeline::new([PoolNumber(1)], [at(1)], took, now);
        match pipe.poll_output() {
            Some(Output::Report { attempt, waiters }) => {
                assert_eq!((attempt.id, attempt.source), (1, AttemptSource::Start));
                assert_eq!((attempt.old_version, attempt.new_version), (0, 1));
                assert_eq!((attempt.result, attempt.duration_ms), (AttemptResult::Applied, 70));
                assert_eq!(waiters, []);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pipe.poll_output(), None);
        Self { pipe, now, unready: Vec::new() }
    }

    fn turn(&mut self) -> Vec<Output> {
        self.pipe.settle(&self.unready, self.now);
        std::iter::from_fn(|| self.pipe.poll_output()).collect()
    }

    fn turn_after(&mut self, millis: u64) -> Vec<Output> {
        self.now += Duration::from_millis(millis);
        self.turn()
    }

    fn reload(&mut self, waiter: u64) -> Vec<Output> {
        self.pipe.wish(Wish::Reload, AttemptSource::Api, Some(Waiter(waiter)));
        self.turn()
    }

    fn compiled(&mut self, work: Work) -> Vec<Output> {
        let attempt = self.pipe.attempt().unwrap();
        assert!(self.pipe.compiled(attempt, Ok(work), self.now));
        self.turn()
    }

    /// Version 2 takes the place of version 1: pool 2 of app `new` and a listener at port 2.
    fn verifying() -> Self {
        let mut stand = Self::new();
        stand.reload(7);
        stand.compiled(another());
        stand.pipe.listening(at(2), stand.now);
        stand.turn();
        stand.pipe.pool_ready(PoolNumber(2), stand.now);
        assert_eq!(stand.turn(), [Output::Activate { version: 2 }]);
        stand
    }
}

fn at(port: u16) -> ListenAddress {
    ListenAddress { ip: None, port }
}

fn fresh(pool: u32, name: &str) -> FreshPool {
    FreshPool::new(PoolNumber(pool), &app(name))
}

/// Nothing of version 1 is in it.
fn another() -> Work {
    Work {
        listeners: vec![at(2)],
        fresh: vec![fresh(2, "new")],
        details: vec!["app new started".to_owned()],
        ..Work::default()
    }
}

/// The same as version 1.
fn same() -> Work {
    Work { listeners: vec![at(1)], kept: vec![PoolNumber(1)], ..Work::default() }
}

/// The one report among the outputs: result, code, old and new version, waiters; and the others.
#[track_caller]
fn ended(mut outputs: Vec<Output>) -> (Attempt, Vec<Waiter>, Vec<Output>) {
    let is_report = |output: &Output| matches!(output, Output::Report { .. });
    assert_eq!(outputs.iter().filter(|output| is_report(output)).count(), 1, "{outputs:?}");
    let at = outputs.iter().position(is_report).unwrap();
    let is_close = |output: &Output| matches!(output, Output::Close { .. });
    assert!(!outputs[at..].iter().any(is_close), "closed before it is told: {outputs:?}");
    match outputs.remove(at) {
        Output::Report { attempt, waiters } => (attempt, waiters, outputs),
        _ => unreachable!(),
    }
}

#[track_caller]
fn assert_ended(outputs: Vec<Output>, result: AttemptResult, code: AttemptCode, rest: &[Output]) {
    let (attempt, _, others) = ended(outputs);
    assert_eq!((attempt.result, attempt.code), (result, code), "{attempt:?}");
    assert_eq!(others, rest);
}

fn retire(pool: u32) -> Output {
    Output::Retire { pool: PoolNumber(pool) }
}

fn close(port: u16) -> Output {
    Output::Close { address: at(port) }
}

#[test]
fn an_attempt_compiles_stages_activates_verifies_and_retires_the_old() {
    let mut stand = Stand::new();
    let compile = Output::Compile { attempt: 2, version: 2, reread: true };
    assert_eq!(stand.reload(7), [compile]);
    assert_eq!((stand.pipe.version(), stand.pipe.attempt()), (1, Some(2)));
    assert_eq!(stand.compiled(another()), [Output::Listen { address: at(2) }]);
    assert_eq!(stand.turn(), [], "no pool is started for a listener that may fail");
    stand.pipe.listening(at(2), stand.now);
    assert_eq!(stand.turn(), [Output::Start { pool: PoolNumber(2) }]);
    stand.now += Duration::from_millis(300);
    stand.pipe.pool_ready(PoolNumber(2), stand.now);
    assert_eq!(stand.turn(), [Output::Activate { version: 2 }]);
    assert_eq!(stand.pipe.version(), 2);
    assert_eq!(stand.pipe.next_deadline(), Some(stand.now + limits::VERIFY_PROBATION));
    assert_eq!(stand.turn_after(999), []);
    let (attempt, waiters, others) = ended(stand.turn_after(1));
    let expected = Attempt {
        id: 2,
        source: AttemptSource::Api,
        old_version: 1,
        new_version: 2,
        result: AttemptResult::Applied,
        code: AttemptCode::Ok,
        details: vec!["app new started".to_owned()],
        duration_ms: 1300,
    };
    assert_eq!(attempt, expected);
    assert_eq!(waiters, [Waiter(7)]);
    assert_eq!(others, [close(1), retire(1)]);
    assert_eq!((stand.pipe.version(), stand.pipe.previous_version()), (2, Some(1)));
    assert_eq!((stand.pipe.attempt(), stand.pipe.next_deadline()), (None, None));
}

#[test]
fn a_change_without_fresh_pools_is_verified_at_once() {
    let mut stand = Stand::new();
    stand.unready = vec![AppId::new("old")];
    stand.reload(1);
    let outputs = stand.compiled(same());
    assert_eq!(outputs.first(), Some(&Output::Activate { version: 2 }));
    let activate = [Output::Activate { version: 2 }];
    assert_ended(outputs, AttemptResult::Applied, AttemptCode::Ok, &activate);
    // The version before the last one is not kept.
    stand.reload(2);
    let rest = [Output::Activate { version: 3 }, Output::Forget { version: 1 }];
    assert_ended(stand.compiled(same()), AttemptResult::Applied, AttemptCode::Ok, &rest);
}

#[test]
fn who_does_not_ask_for_healthy_apps_does_not_wait_for_their_probation() {
    let mut stand = Stand::new();
    stand.reload(1);
    let mut work = another();
    work.verify.healthy_apps = false;
    stand.compiled(work);
    stand.pipe.listening(at(2), stand.now);
    stand.turn();
    stand.pipe.pool_ready(PoolNumber(2), stand.now);
    let rest = [Output::Activate { version: 2 }, close(1), retire(1)];
    assert_ended(stand.turn(), AttemptResult::Applied, AttemptCode::Ok, &rest);
}

#[test]
fn what_does_not_compile_is_rejected_and_its_version_is_used_up() {
    let mut stand = Stand::new();
    stand.reload(1);
    let failure = Failure {
        code: AttemptCode::ParseError,
        details: vec!["line 3".to_owned(), "line 4".to_owned()],
    };
    assert!(stand.pipe.compiled(2, Err(failure.clone()), stand.now));
    assert!(!stand.pipe.compiled(2, Ok(same()), stand.now), "one answer is enough");
    let (attempt, waiters, rest) = ended(stand.turn());
    assert_eq!((attempt.result, attempt.code), (AttemptResult::Rejected, AttemptCode::ParseError));
    assert_eq!((attempt.old_version, attempt.new_version), (1, 2));
    assert_eq!(attempt.details, failure.details);
    assert_eq!((waiters, rest), (vec![Waiter(1)], vec![]));
    assert!(!stand.pipe.compiled(2, Ok(same()), stand.now), "the attempt has ended");
    assert_eq!(stand.turn(), []);
    assert_eq!(stand.reload(2), [Output::Compile { attempt: 3, version: 3, reread: true }]);
}

#[test]
fn a_compilation_that_does_not_end_is_cancelled() {
    let mut stand = Stand::new();
    stand.reload(1);
    let due = stand.pipe.next_deadline().unwrap();
    assert!(due.since(stand.now) > limits::COMPILE_TIMEOUT);
    stand.now = due;
    let rest = [Output::Cancel { attempt: 2 }];
    assert_ended(stand.turn(), AttemptResult::Rejected, AttemptCode::Timeout, &rest);
    assert!(!stand.pipe.compiled(2, Ok(same()), stand.now));
}

#[test]
fn a_listener_that_cannot_be_bound_rejects_before_any_process_is_started() {
    let mut stand = Stand::new();
    stand.reload(1);
    let mut work = another();
    work.listeners = vec![at(1), at(2), at(3)];
    let listens = [Output::Listen { address: at(2) }, Output::Listen { address: at(3) }];
    assert_eq!(stand.compiled(work), listens);
    stand.pipe.listening(at(2), stand.now);
    stand.pipe.listen_failed(at(3), "in use", stand.now);
    let (attempt, _, rest) = ended(stand.turn());
    assert_eq!(attempt.code, AttemptCode::ListenFailed);
    assert_eq!(attempt.details, ["*:3: in use"]);
    assert_eq!(rest, [close(2), Output::Forget { version: 2 }]);
    stand.pipe.listen_failed(at(2), "late", stand.now);
    assert_eq!(stand.turn(), []);
}

#[test]
fn a_pool_that_does_not_become_ready_rejects_and_all_that_was_staged_goes() {
    let mut stand = Stand::new();
    stand.reload(1);
    let mut work = another();
    work.fresh.push(fresh(3, "other"));
    stand.compiled(work);
    stand.pipe.listening(at(2), stand.now);
    stand.turn();
    stand.pipe.pool_failed(PoolNumber(3), "exited 1 before it was ready", stand.now);
    stand.pipe.pool_failed(PoolNumber(2), "no such file", stand.now);
    let (attempt, _, rest) = ended(stand.turn());
    assert_eq!((attempt.result, attempt.code), (AttemptResult::Rejected, AttemptCode::AppNotReady));
    let details = ["app other: exited 1 before it was ready", "app new: no such file"];
    assert_eq!(attempt.details, details);
    assert_eq!(rest, [retire(2), retire(3), close(2), Output::Forget { version: 2 }]);
    assert_eq!(stand.pipe.version(), 1);
}

#[test]
fn a_pool_that_loses_a_worker_while_others_start_is_not_activated() {
    let mut stand = Stand::new();
    stand.reload(1);
    let mut work = another();
    work.fresh.push(fresh(3, "other"));
    stand.compiled(work);
    stand.pipe.listening(at(2), stand.now);
    stand.turn();
    stand.pipe.pool_ready(PoolNumber(2), stand.now);
    stand.pipe.worker_lost(PoolNumber(2), "killed by SIGSEGV", stand.now);
    stand.pipe.pool_ready(PoolNumber(3), stand.now);
    let rest = [retire(2), retire(3), close(2), Output::Forget { version: 2 }];
    assert_ended(stand.turn(), AttemptResult::Rejected, AttemptCode::AppDied, &rest);
}

#[test]
fn staging_has_the_time_of_the_slowest_start() {
    let mut slow = app("new");
    slow.timeouts.start = Duration::from_secs(90);
    let patience = FreshPool::new(PoolNumber(2), &slow).patience;
    assert_eq!(patience, Duration::from_secs(91));
    slow.launch.setup = Some(vec!["make".to_owned()]);
    let with_setup = FreshPool::new(PoolNumber(2), &slow).patience;
    assert_eq!(with_setup, patience * 2 + limits::SETUP_TIMEOUT);

    for (within, patience, window) in [(200, 91, 200), (10, 91, 91), (10, 1, 10)] {
        let mut stand = Stand::new();
        stand.reload(1);
        let mut work = another();
        work.verify.within = Duration::from_secs(within);
        work.fresh[0].patience = Duration::from_secs(patience);
        stand.compiled(work);
        let due = stand.pipe.next_deadline();
        assert_eq!(due, Some(stand.now + Duration::from_secs(window) + SLACK));
        stand.pipe.listening(at(2), stand.now);
        stand.turn();
        stand.now = due.unwrap();
        let (attempt, _, rest) = ended(stand.turn());
        assert_eq!((attempt.result, attempt.code), (AttemptResult::Rejected, AttemptCode::Timeout));
        assert_eq!(attempt.details, ["app new: not ready in time"]);
        assert_eq!(rest, [retire(2), close(2), Output::Forget { version: 2 }]);
    }
}

#[test]
fn a_fresh_pool_that_loses_a_worker_in_its_probation_is_rolled_back() {
    let mut stand = Stand::verifying();
    stand.pipe.worker_lost(PoolNumber(1), "not of this attempt", stand.now);
    assert_eq!(stand.turn_after(500), []);
    stand.pipe.worker_lost(PoolNumber(2), "exited 3", stand.now);
    let (attempt, waiters, rest) = ended(stand.turn());
    assert_eq!((attempt.result, attempt.code), (AttemptResult::RolledBack, AttemptCode::AppDied));
    assert_eq!((attempt.old_version, attempt.new_version), (1, 2));
    assert_eq!(attempt.details, ["app new: exited 3"]);
    assert_eq!(waiters, [Waiter(7)]);
    let back = Output::RollBack { to: 1 };
    assert_eq!(rest, [back, retire(2), close(2), Output::Forget { version: 2 }]);
    assert_eq!((stand.pipe.version(), stand.pipe.previous_version()), (1, None));
}

#[test]
fn upstreams_must_show_that_they_are_well_or_it_is_rolled_back() {
    let within = Verify::default().within;
    for is_well in [true, false] {
        let mut stand = Stand::new();
        stand.reload(7);
        let work = Work { upstreams: vec!["legacy".to_owned()], ..same() };
        assert_eq!(stand.compiled(work), [Output::Activate { version: 2 }]);
        assert!(stand.pipe.waits_for_upstreams());
        stand.pipe.unproven(vec!["legacy".to_owned(), "other".to_owned()]);
        assert_eq!(stand.turn_after(100), []);
        if is_well {
            stand.pipe.unproven(vec!["other".to_owned()]);
            assert_ended(stand.turn(), AttemptResult::Applied, AttemptCode::Ok, &[]);
        } else {
            stand.now += within;
            let (attempt, _, rest) = ended(stand.turn());
            assert_eq!(attempt.result, AttemptResult::RolledBack);
            assert_eq!(attempt.code, AttemptCode::UpstreamUnhealthy);
            assert_eq!(attempt.details, ["upstream legacy: no target is well"]);
            assert_eq!(rest, [Output::RollBack { to: 1 }, Output::Forget { version: 2 }]);
        }
        assert!(!stand.pipe.waits_for_upstreams());
    }
}

#[test]
fn after_the_probation_a_loss_counts_only_while_nobody_is_ready() {
    let mut stand = Stand::verifying();
    stand.unready = vec![AppId::new("new")];
    assert_eq!(stand.turn_after(1000), []);
    stand.pipe.worker_lost(PoolNumber(2), "exited 3", stand.now);
    assert_eq!(stand.turn_after(100), []);
    stand.unready.clear();
    let rest = [close(1), retire(1)];
    assert_ended(stand.turn(), AttemptResult::Applied, AttemptCode::Ok, &rest);
}

#[test]
fn an_app_without_a_ready_worker_has_the_window_to_get_one() {
    let mut stand = Stand::verifying();
    stand.unready = vec![AppId::new("new"), AppId::new("beside")];
    assert_eq!(stand.turn_after(1000), []);
    let due = stand.pipe.next_deadline().unwrap();
    assert_eq!(due, stand.now + limits::VERIFY_WINDOW - Duration::from_secs(1));
    stand.now = due;
    let (attempt, _, rest) = ended(stand.turn());
    assert_eq!((attempt.result, attempt.code), (AttemptResult::RolledBack, AttemptCode::Timeout));
    let details = ["app new: no worker is ready", "app beside: no worker is ready"];
    assert_eq!(attempt.details, details);
    assert_eq!(rest.first(), Some(&Output::RollBack { to: 1 }));
}

#[test]
fn an_app_that_was_not_ready_before_is_no_reason_to_go_back_but_a_fresh_one_is() {
    for (ill, result) in [("beside", AttemptResult::Applied), ("new", AttemptResult::RolledBack)] {
        let mut stand = Stand::new();
        stand.unready = vec![AppId::new(ill)];
        stand.reload(1);
        stand.compiled(another());
        stand.pipe.listening(at(2), stand.now);
        stand.turn();
        stand.pipe.pool_ready(PoolNumber(2), stand.now);
        stand.turn();
        stand.turn_after(1000);
        let outputs = match result {
            AttemptResult::Applied => {
                assert_eq!(stand.pipe.attempt(), None);
                continue;
            }
            _ => stand.turn_after(9000),
        };
        assert_eq!(ended(outputs).0.result, result);
    }
}

#[test]
fn a_window_shorter_than_the_probation_is_the_probation() {
    let mut stand = Stand::new();
    stand.reload(1);
    let mut work = another();
    work.verify.within = Duration::from_millis(300);
    stand.compiled(work);
    stand.pipe.listening(at(2), stand.now);
    stand.turn();
    stand.pipe.pool_ready(PoolNumber(2), stand.now);
    stand.turn();
    let rest = [close(1), retire(1)];
    assert_ended(stand.turn_after(300), AttemptResult::Applied, AttemptCode::Ok, &rest);
}

#[test]
fn wishes_during_an_attempt_become_exactly_one_more() {
    let mut stand = Stand::new();
    stand.reload(1);
    stand.pipe.wish(Wish::Reload, AttemptSource::Watch, None);
    stand.pipe.wish(Wish::Reload, AttemptSource::Signal, None);
    stand.pipe.wish(Wish::Hosts, AttemptSource::Api, Some(Waiter(2)));
    stand.pipe.wish(Wish::Reload, AttemptSource::Watch, Some(Waiter(3)));
    assert_eq!(stand.turn(), []);
    assert_eq!(stand.pipe.waiting_count(), 1);
    let (attempt, waiters, rest) = ended(stand.compiled(same()));
    assert_eq!((attempt.id, waiters), (2, vec![Waiter(1)]));
    let compile = Output::Compile { attempt: 3, version: 3, reread: true };
    assert_eq!(rest, [Output::Activate { version: 2 }, compile]);
    let (attempt, waiters, _) = ended(stand.compiled(same()));
    assert_eq!((attempt.id, attempt.source), (3, AttemptSource::Api));
    assert_eq!(waiters, [Waiter(2), Waiter(3)]);
    assert_eq!(stand.turn(), []);
}

#[test]
fn hosts_alone_do_not_read_the_source_again() {
    let mut stand = Stand::new();
    stand.pipe.wish(Wish::Hosts, AttemptSource::Api, None);
    assert_eq!(stand.turn(), [Output::Compile { attempt: 2, version: 2, reread: false }]);
}

#[test]
fn a_rollback_recalls_the_version_before_and_can_itself_be_rolled_back() {
    let mut stand = Stand::verifying();
    stand.turn_after(1000);
    stand.pipe.wish(Wish::Rollback, AttemptSource::Api, Some(Waiter(1)));
    assert_eq!(stand.turn(), [Output::Recall { attempt: 3, version: 1 }]);
    // The pools of version 1 are gone; it gets others.
    let work = Work { listeners: vec![at(1)], fresh: vec![fresh(3, "old")], ..Work::default() };
    assert_eq!(stand.compiled(work.clone()), [Output::Listen { address: at(1) }]);
    stand.pipe.listening(at(1), stand.now);
    assert_eq!(stand.turn(), [Output::Start { pool: PoolNumber(3) }]);
    stand.pipe.pool_ready(PoolNumber(3), stand.now);
    assert_eq!(stand.turn(), [Output::Activate { version: 1 }]);
    stand.pipe.worker_lost(PoolNumber(3), "exited 1", stand.now);
    // It fails, and version 1 can still be recalled.
    let rest = [Output::RollBack { to: 2 }, retire(3), close(1)];
    assert_ended(stand.turn(), AttemptResult::RolledBack, AttemptCode::AppDied, &rest);
    assert_eq!((stand.pipe.version(), stand.pipe.previous_version()), (2, Some(1)));

    stand.pipe.wish(Wish::Rollback, AttemptSource::Api, Some(Waiter(2)));
    stand.turn();
    let work = Work { listeners: vec![at(2)], kept: vec![PoolNumber(2)], ..Work::default() };
    let (attempt, _, rest) = ended(stand.compiled(work));
    assert_eq!((attempt.old_version, attempt.new_version), (2, 1));
    assert_eq!(rest, [Output::Activate { version: 1 }]);
    assert_eq!((stand.pipe.version(), stand.pipe.previous_version()), (1, Some(2)));
    assert_eq!(stand.reload(3), [Output::Compile { attempt: 5, version: 3, reread: true }]);
}

#[test]
fn a_rollback_leaves_only_the_version_that_was_active_when_it_was_asked_for() {
    let mut stand = Stand::new();
    stand.pipe.wish(Wish::Rollback, AttemptSource::Api, Some(Waiter(1)));
    let (attempt, waiters, rest) = ended(stand.turn());
    assert_eq!((attempt.result, attempt.code), (AttemptResult::Rejected, AttemptCode::Invalid));
    assert_eq!((attempt.old_version, attempt.new_version), (1, 1));
    assert_eq!((waiters, rest), (vec![Waiter(1)], vec![]));

    // Asked for before version 2 became active: it was not meant.
    stand.reload(2);
    stand.pipe.wish(Wish::Rollback, AttemptSource::Api, Some(Waiter(3)));
    assert!(stand.pipe.compiled(3, Ok(same()), stand.now));
    let outputs = stand.turn();
    let reports: Vec<_> = outputs
        .into_iter()
        .filter_map(|output| match output {
            Output::Report { attempt, waiters } => Some((attempt, waiters)),
            _ => None,
        })
        .collect();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[1].0.details, ["version 1 was to be left, and 2 is active by now"]);
    assert_eq!(reports[1].1, [Waiter(3)]);

    // Asked for while version 2 is on trial, and fails by itself: version 1 stays.
    let mut stand = Stand::verifying();
    stand.pipe.wish(Wish::Rollback, AttemptSource::Api, Some(Waiter(4)));
    stand.pipe.worker_lost(PoolNumber(2), "exited 1", stand.now);
    let outputs = stand.turn();
    assert!(matches!(
        outputs.last(),
        Some(Output::Report { attempt: Attempt { code: AttemptCode::Invalid, .. }, .. })
    ));
    assert_eq!(stand.pipe.version(), 1);
}

#[test]
fn stopping_ends_the_attempt_and_every_wish() {
    let stopped = |stand: &mut Stand| {
        stand.pipe.wish(Wish::Reload, AttemptSource::Api, Some(Waiter(8)));
        stand.pipe.stop();
        let mut outputs = stand.turn();
        match outputs.pop() {
            Some(Output::Report { attempt, waiters }) => {
                assert_eq!(attempt.result, AttemptResult::Rejected);
                assert_eq!(attempt.code, AttemptCode::Stopping);
                assert_eq!(waiters, [Waiter(8)]);
            }
            other => panic!("{other:?}"),
        }
        stand.pipe.wish(Wish::Rollback, AttemptSource::Api, Some(Waiter(9)));
        let (attempt, waiters, rest) = ended(stand.turn());
        assert_eq!((attempt.code, waiters), (AttemptCode::Stopping, vec![Waiter(9)]));
        assert_eq!((rest, stand.pipe.next_deadline()), (vec![], None));
        outputs
    };
    assert_eq!(stopped(&mut Stand::new()), []);

    let mut compiling = Stand::new();
    compiling.reload(1);
    let rest = [Output::Cancel { attempt: 2 }];
    let outputs = stopped(&mut compiling);
    assert_ended(outputs, AttemptResult::Rejected, AttemptCode::Stopping, &rest);

    let mut compiled = Stand::new();
    compiled.reload(1);
    assert!(compiled.pipe.compiled(2, Ok(another()), compiled.now));
    let rest = [Output::Forget { version: 2 }];
    let outputs = stopped(&mut compiled);
    assert_ended(outputs, AttemptResult::Rejected, AttemptCode::Stopping, &rest);

    let mut staging = Stand::new();
    staging.reload(1);
    staging.compiled(another());
    let rest = [close(2), Output::Forget { version: 2 }];
    let outputs = stopped(&mut staging);
    assert_ended(outputs, AttemptResult::Rejected, AttemptCode::Stopping, &rest);

    let outputs = stopped(&mut Stand::verifying());
    let rest = [Output::RollBack { to: 1 }, retire(2), close(2), Output::Forget { version: 2 }];
    assert_ended(outputs, AttemptResult::RolledBack, AttemptCode::Stopping, &rest);
}

#[test]
fn a_loop_that_was_asleep_blames_nobody_for_it() {
    let mut stand = Stand::new();
    stand.reload(1);
    assert_eq!(stand.turn_after(3_600_000), []);
    stand.compiled(another());
    stand.pipe.listening(at(2), stand.now);
    stand.turn();
    stand.now += Duration::from_secs(3600);
    stand.pipe.pool_ready(PoolNumber(2), stand.now);
    assert_eq!(stand.turn(), [Output::Activate { version: 2 }]);
    assert_eq!(stand.turn_after(3_600_000), [], "the probation was not watched");
    let rest = [close(1), retire(1)];
    assert_ended(stand.turn_after(1000), AttemptResult::Applied, AttemptCode::Ok, &rest);
}

#[test]
fn facts_about_nothing_under_way_change_nothing() {
    let mut stand = Stand::new();
    let now = stand.now;
    assert!(!stand.pipe.compiled(1, Ok(same()), now));
    stand.pipe.listening(at(1), now);
    stand.pipe.listen_failed(at(1), "x", now);
    stand.pipe.pool_ready(PoolNumber(1), now);
    stand.pipe.pool_failed(PoolNumber(1), "x", now);
    stand.pipe.worker_lost(PoolNumber(1), "x", now);
    assert_eq!(stand.turn(), []);
    stand.reload(1);
    stand.pipe.worker_lost(PoolNumber(1), "x", now);
    stand.pipe.listen_failed(at(1), "x", now);
    assert_eq!(stand.turn(), []);
}
