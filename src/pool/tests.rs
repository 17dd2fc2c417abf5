//! Promises of the pool, one by one.

use super::*;
use crate::contract::app::Select;
use crate::contract::reason::Reason;
use crate::contract::worker::WorkerState;
use crate::ids::{AppId, Generation, LoopIndex, WorkerId};
use crate::limits;
use crate::time::Instant;
use std::time::Duration;

#[test]
fn a_join_serves_those_who_wait_in_their_order() {
    let mut pool = pool(1, Select::Lifo);
    assert_eq!(pool.request(ticket(1), NOW), Decision::Queued { position: 1 });
    assert_eq!(pool.request(ticket(2), NOW), Decision::Queued { position: 2 });
    pool.join(WorkerId(1), Generation(1), NOW);
    let first = granted(&mut pool, 1);
    assert_eq!(first.worker(), WorkerId(1));
    pool.release(first, Outcome::Finished, NOW);
    let second = granted(&mut pool, 2);
    pool.release(second, Outcome::Finished, NOW);
    assert_eq!((pool.inflight(), pool.queue_depth()), (0, 0));
}

#[test]
fn lifo_takes_the_worker_that_was_freed_last() {
    let mut pool = pool_of(3, 1, Select::Lifo);
    let leases: Vec<_> = (1..=3).map(|key| assigned(pool.request(ticket(key), NOW))).collect();
    assert_eq!(workers(&leases), [1, 2, 3]);
    let [one, two, three] = <[Lease; 3]>::try_from(leases).unwrap();
    for lease in [two, three, one] {
        pool.release(lease, Outcome::Finished, NOW);
    }
    let leases: Vec<_> = (4..=6).map(|key| assigned(pool.request(ticket(key), NOW))).collect();
    assert_eq!(workers(&leases), [1, 3, 2]);
}

#[test]
fn least_inflight_spreads_and_breaks_ties_by_the_lowest_id() {
    let mut pool = pool(2, Select::LeastInflight);
    for worker in [30, 10, 20] {
        pool.join(WorkerId(worker), Generation(1), NOW);
    }
    let leases: Vec<_> = (1..=6).map(|key| assigned(pool.request(ticket(key), NOW))).collect();
    assert_eq!(workers(&leases), [10, 20, 30, 10, 20, 30]);
}

#[test]
fn the_newest_generation_is_preferred_and_the_old_one_helps_out() {
    let mut pool = pool_of(2, 1, Select::Lifo);
    pool.join(WorkerId(9), Generation(2), NOW);
    let leases: Vec<_> = (1..=3).map(|key| assigned(pool.request(ticket(key), NOW))).collect();
    assert_eq!(workers(&leases)[0], 9);
    assert_eq!(pool.request(ticket(4), NOW), Decision::Queued { position: 1 });
}

#[test]
fn a_busy_worker_rests_ten_milliseconds_and_then_twice_as_long_each_time() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let mut now = NOW;
    let mut lease = assigned(pool.request(ticket(1), now));
    for millis in [10, 20, 40, 80, 160, 160] {
        let decision = pool.bounce(lease, ticket(1), Bounce::Busy, 0, now);
        assert_eq!(decision, Decision::Queued { position: 1 });
        now += Duration::from_millis(millis);
        assert_eq!(pool.next_deadline(), Some(now));
        pool.handle_timeout(now - Duration::from_nanos(1));
        assert_eq!(pool.poll_output(), None);
        pool.handle_timeout(now);
        lease = granted(&mut pool, 1);
    }
    pool.release(lease, Outcome::Finished, now);
    assert_eq!(pool.next_deadline(), None);
}

#[test]
fn a_held_pool_queues_everybody_and_serves_them_in_order_when_it_goes_on() {
    let mut pool = pool_of(2, 1, Select::Lifo);
    let lease = assigned(pool.request(ticket(1), NOW));
    pool.hold(true, NOW);
    assert_eq!(pool.request(ticket(2), NOW), Decision::Queued { position: 1 });
    assert_eq!(pool.request(ticket(3), NOW), Decision::Queued { position: 2 });
    pool.release(lease, Outcome::Finished, NOW);
    assert_eq!(pool.poll_output(), None);
    pool.hold(false, NOW);
    let _ = (granted(&mut pool, 2), granted(&mut pool, 3));
}

#[test]
fn a_probe_takes_a_free_worker_only_and_none_while_somebody_waits() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let probe = pool.probe(WorkerId(1), NOW).unwrap();
    assert_eq!(pool.probe(WorkerId(1), NOW), None);
    assert_eq!(pool.request(ticket(1), NOW), Decision::Queued { position: 1 });
    pool.release(probe, Outcome::Unused, NOW);
    let lease = granted(&mut pool, 1);
    pool.release(lease, Outcome::Finished, NOW);
    assert_eq!(pool.worker(WorkerId(1)).unwrap().requests, 1, "a probe is no request");
    assert_eq!(pool.probe(WorkerId(9), NOW), None);
    pool.retire(WorkerId(1), NOW);
    assert_eq!(pool.probe(WorkerId(1), NOW), None);
}

#[test]
fn the_fifth_bounce_is_a_requests_last() {
    let mut pool = pool_of(5, 1, Select::Lifo);
    let mut lease = assigned(pool.request(ticket(1), NOW));
    for bounces_so_far in 0..4 {
        lease = assigned(pool.bounce(lease, ticket(1), Bounce::Busy, bounces_so_far, NOW));
    }
    match pool.bounce(lease, ticket(1), Bounce::Busy, 4, NOW) {
        Decision::Shed { reason, retry_after_secs } => {
            assert_eq!(reason, Reason::WorkerBusy);
            assert!(retry_after_secs >= 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.counters().bounced, 5);
}

#[test]
fn a_busy_worker_that_finishes_something_rests_no_more() {
    let mut pool = pool_of(1, 2, Select::LeastInflight);
    let served = assigned(pool.request(ticket(1), NOW));
    let refused = assigned(pool.request(ticket(2), NOW));
    let decision = pool.bounce(refused, ticket(2), Bounce::Busy, 0, NOW);
    assert_eq!(decision, Decision::Queued { position: 1 });
    assert!(pool.worker(WorkerId(1)).unwrap().paused);
    pool.release(served, Outcome::Finished, NOW);
    assert_eq!(granted(&mut pool, 2).worker(), WorkerId(1));
    assert_eq!(pool.next_deadline(), None);
}

#[test]
fn a_bounced_request_goes_to_another_worker_or_before_all_others() {
    let mut pool = pool_of(2, 1, Select::Lifo);
    let first = assigned(pool.request(ticket(1), NOW));
    let lease = assigned(pool.bounce(first, ticket(1), Bounce::Busy, 0, NOW));
    assert_eq!(lease.worker(), WorkerId(2));
    assert_eq!(pool.request(ticket(2), NOW), Decision::Queued { position: 1 });
    let decision = pool.bounce(lease, ticket(1), Bounce::Busy, 1, NOW);
    assert_eq!(decision, Decision::Queued { position: 1 });
    pool.handle_timeout(NOW + Duration::from_millis(10));
    let lease = granted(&mut pool, 1);
    pool.release(lease, Outcome::Finished, NOW);
}

#[test]
fn a_draining_worker_is_retired_and_then_idle() {
    let mut pool = pool_of(1, 2, Select::Lifo);
    let one = assigned(pool.request(ticket(1), NOW));
    let two = assigned(pool.request(ticket(2), NOW));
    let decision = pool.bounce(one, ticket(1), Bounce::Draining, 0, NOW);
    assert_eq!(decision, Decision::Queued { position: 1 });
    let worker = WorkerId(1);
    assert_eq!(pool.poll_output(), Some(Output::Retired { worker }));
    assert_eq!(pool.poll_output(), None);
    assert_eq!(pool.worker(worker).unwrap().state, WorkerState::Draining);
    pool.release(two, Outcome::Finished, NOW);
    assert_eq!(pool.poll_output(), Some(Output::Idle { worker }));
    pool.retire(worker, NOW);
    assert_eq!(pool.poll_output(), None);
    pool.join(WorkerId(2), Generation(1), NOW);
    assert_eq!(granted(&mut pool, 1).worker(), WorkerId(2));
}

#[test]
fn a_retired_worker_without_leases_is_idle_at_once() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    pool.retire(WorkerId(1), NOW);
    assert_eq!(pool.poll_output(), Some(Output::Idle { worker: WorkerId(1) }));
    pool.join(WorkerId(1), Generation(1), NOW);
    assert_eq!(pool.ready_count(), 0, "a late join does not bring it back");
}

#[test]
fn a_retry_goes_to_another_worker_even_if_that_one_is_busy() {
    let mut pool = pool_of(2, 1, Select::Lifo);
    let one = assigned(pool.request(ticket(1), NOW));
    let two = assigned(pool.request(ticket(2), NOW));
    assert_eq!(pool.retry(one, ticket(1), NOW), Decision::Queued { position: 1 });
    pool.release(two, Outcome::Finished, NOW);
    assert_eq!(granted(&mut pool, 1).worker(), WorkerId(2));
}

#[test]
fn a_retry_goes_to_the_same_worker_when_it_is_the_only_one() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let lease = assigned(pool.request(ticket(1), NOW));
    assert_eq!(assigned(pool.retry(lease, ticket(1), NOW)).worker(), WorkerId(1));
}

#[test]
fn a_cancelled_ticket_never_reaches_a_worker() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let lease = assigned(pool.request(ticket(1), NOW));
    let _ = pool.request(ticket(2), NOW);
    let _ = pool.request(ticket(3), NOW);
    assert!(pool.cancel(ticket(2), NOW));
    assert!(!pool.cancel(ticket(2), NOW));
    assert!(!pool.cancel(ticket(1), NOW));
    pool.release(lease, Outcome::Finished, NOW);
    let lease = granted(&mut pool, 3);
    assert!(!pool.cancel(ticket(3), NOW), "its grant is on its way");
    pool.release(lease, Outcome::Unused, NOW);
    assert_eq!(pool.worker(WorkerId(1)).unwrap().requests, 1);
}

#[test]
fn a_full_queue_sheds_and_says_when_to_come_back() {
    let mut pool = pool(1, Select::Lifo);
    pool.configure(PoolSettings { max_queue: 4, ..settings(1, Select::Lifo) }, NOW);
    pool.join(WorkerId(1), Generation(1), NOW);
    let mut now = NOW;
    let mut lease = assigned(pool.request(ticket(0), now));
    for key in 1..50 {
        let _ = pool.request(ticket(key), now);
        now += Duration::from_secs(2);
        pool.release(lease, Outcome::Finished, now);
        lease = granted(&mut pool, key);
    }
    for key in 50..54 {
        assert!(matches!(pool.request(ticket(key), now), Decision::Queued { .. }));
    }
    let shed = Decision::Shed { reason: Reason::QueueFull, retry_after_secs: 8 };
    assert_eq!(pool.request(ticket(54), now), shed);
    assert_eq!(pool.counters().shed, 1);
}

#[test]
fn an_abandoned_app_refuses_until_a_worker_joins() {
    let mut pool = pool(1, Select::Lifo);
    let _ = pool.request(ticket(1), NOW);
    pool.set_abandoned(true, NOW);
    let reason = Reason::AppAbandoned;
    let retry_after_secs = 60;
    let refused = Output::Refused { ticket: ticket(1), reason, retry_after_secs };
    assert_eq!(pool.poll_output(), Some(refused));
    assert_eq!(pool.request(ticket(2), NOW), Decision::Shed { reason, retry_after_secs });
    pool.join(WorkerId(1), Generation(1), NOW);
    let _ = assigned(pool.request(ticket(3), NOW));
}

#[test]
fn leases_of_a_dead_worker_count_no_more_and_harm_no_successor() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let orphan = assigned(pool.request(ticket(1), NOW));
    pool.remove(WorkerId(1), NOW);
    assert_eq!(pool.inflight(), 0);
    pool.join(WorkerId(2), Generation(1), NOW);
    let lease = assigned(pool.request(ticket(2), NOW));
    assert_eq!(lease.slot(), orphan.slot());
    pool.release(orphan, Outcome::Failed, NOW);
    assert_eq!(pool.worker(WorkerId(2)).unwrap().inflight, 1);
    pool.release(lease, Outcome::Finished, NOW);
}

#[test]
fn an_abandoned_lease_keeps_its_worker_until_it_is_released() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let mut lease = assigned(pool.request(ticket(1), NOW));
    pool.abandon(&mut lease);
    assert!(lease.is_abandoned());
    assert_eq!(pool.worker(WorkerId(1)).unwrap().abandoned, 1);
    assert_eq!(pool.request(ticket(2), NOW), Decision::Queued { position: 1 });
    pool.release(lease, Outcome::Finished, NOW);
    assert_eq!(pool.worker(WorkerId(1)).unwrap().abandoned, 0);
    let _ = granted(&mut pool, 2);
}

#[test]
fn a_worker_that_failed_gets_nothing_for_a_moment() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let lease = assigned(pool.request(ticket(1), NOW));
    assert_eq!(pool.request(ticket(2), NOW), Decision::Queued { position: 1 });
    pool.release(lease, Outcome::Failed, NOW);
    assert_eq!(pool.poll_output(), None, "it may be dead, and that be known only in a moment");
    let soon = pool.next_deadline().unwrap();
    assert_eq!(soon, NOW + limits::BUSY_PAUSE_MIN);
    pool.handle_timeout(soon);
    let _ = granted(&mut pool, 2);
}

#[test]
fn all_workers_together_stay_below_max_inflight() {
    let mut pool = pool_of(3, 1, Select::LeastInflight);
    let settings = settings(1, Select::LeastInflight);
    pool.configure(PoolSettings { max_inflight: 2, ..settings.clone() }, NOW);
    let one = assigned(pool.request(ticket(1), NOW));
    let two = assigned(pool.request(ticket(2), NOW));
    assert_eq!(pool.request(ticket(3), NOW), Decision::Queued { position: 1 });
    pool.configure(settings, NOW);
    assert_eq!(granted(&mut pool, 3).worker(), WorkerId(3));
    pool.release(one, Outcome::Finished, NOW);
    pool.release(two, Outcome::Finished, NOW);
}

#[test]
fn the_last_decision_is_on_record() {
    let mut pool = pool_of(1, 1, Select::LeastInflight);
    assert_eq!(pool.decision(), None);
    let app = AppId::new("api");
    let _ = pool.request(ticket(1), NOW);
    let record = |pool: &Pool| serde_json::to_value(pool.decision().unwrap().record(&app)).unwrap();
    assert_eq!(
        record(&pool),
        serde_json::json!({"appId": "api", "selectedWorker": 1, "algorithm": "least-inflight",
            "fallback": null, "queuePosition": null})
    );
    let _ = pool.request(ticket(2), NOW);
    assert_eq!(
        record(&pool),
        serde_json::json!({"appId": "api", "selectedWorker": null, "algorithm": "least-inflight",
            "fallback": "queued", "queuePosition": 1})
    );
}

const NOW: Instant = Instant::from_millis(1000);

fn settings(concurrency: u32, select: Select) -> PoolSettings {
    let app = AppId::new("api");
    PoolSettings { app, concurrency, max_inflight: 1000, max_queue: 1000, select }
}

fn pool(concurrency: u32, select: Select) -> Pool {
    Pool::new(settings(concurrency, select))
}

fn pool_of(worker_count: u64, concurrency: u32, select: Select) -> Pool {
    let mut pool = pool(concurrency, select);
    for worker in 1..=worker_count {
        pool.join(WorkerId(worker), Generation(1), NOW);
    }
    pool
}

fn ticket(key: u64) -> TicketId {
    TicketId { loop_index: LoopIndex(0), key }
}

#[track_caller]
fn assigned(decision: Decision) -> Lease {
    match decision {
        Decision::Assigned(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn granted(pool: &mut Pool, key: u64) -> Lease {
    match pool.poll_output() {
        Some(Output::Grant { ticket: granted, lease }) if granted == ticket(key) => lease,
        other => panic!("{other:?}"),
    }
}

fn workers(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.worker().0).collect()
}

#[test]
fn a_tunnel_takes_no_lease_and_keeps_a_retired_worker_from_being_idle() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let lease = assigned(pool.request(ticket(1), NOW));
    let tunnel = pool.upgrade(lease, NOW);
    assert_eq!((tunnel.worker(), pool.inflight()), (WorkerId(1), 0));
    let view = pool.worker(WorkerId(1)).unwrap();
    assert_eq!((view.tunnels, view.requests), (1, 1));
    let lease = assigned(pool.request(ticket(2), NOW));
    pool.retire(WorkerId(1), NOW);
    pool.release(lease, Outcome::Finished, NOW);
    assert_eq!(pool.poll_output(), None, "the tunnel is still there");
    pool.end_tunnel(tunnel, NOW);
    assert_eq!(pool.poll_output(), Some(Output::Idle { worker: WorkerId(1) }));
    assert_eq!(pool.poll_output(), None);
}

#[test]
fn a_tunnel_that_outlives_its_worker_changes_nothing() {
    let mut pool = pool_of(1, 1, Select::Lifo);
    let lease = assigned(pool.request(ticket(1), NOW));
    let tunnel = pool.upgrade(lease, NOW);
    pool.remove(WorkerId(1), NOW);
    pool.join(WorkerId(2), Generation(1), NOW);
    pool.end_tunnel(tunnel, NOW);
    pool.retire(WorkerId(2), NOW);
    assert_eq!(pool.poll_output(), Some(Output::Idle { worker: WorkerId(2) }));
    assert_eq!(pool.worker(WorkerId(2)).unwrap().tunnels, 0);
}
