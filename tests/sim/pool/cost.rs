//! What the use of a pool costs: no allocation once warm, and the same time at any size.

use rip::contract::app::Select;
use rip::ids::{AppId, Generation, LoopIndex, WorkerId};
use rip::pool::{Bounce, Decision, Outcome, Output, Pool, PoolSettings, TicketId};
use rip::time::Instant;

#[test]
fn a_warm_pool_allocates_nothing() {
    for select in [Select::Lifo, Select::LeastInflight] {
        let mut pool = pool(select, 8, 2);
        bustle(&mut pool, 0);
        let allocated = allocation_counter::measure(|| {
            for round in 1..20 {
                bustle(&mut pool, round);
            }
        });
        assert_eq!(allocated.count_total, 0, "{select:?}");
    }
}

/// All that happens between joins: requests, waits, grants, bounces, retries, cancels.
fn bustle(pool: &mut Pool, round: u64) {
    let now = Instant::from_millis(round * 1000);
    let mut leases = [const { None }; 100];
    let mut last = 0;
    for key in 0..100 {
        match pool.request(ticket(key), now) {
            Decision::Assigned(lease) => leases[key as usize] = Some(lease),
            Decision::Queued { .. } => last = key,
            Decision::Shed { .. } => {}
        }
    }
    assert!(pool.cancel(ticket(last), now));
    for (key, place) in leases.iter_mut().enumerate() {
        let Some(lease) = place.take() else { continue };
        let ticket = ticket(key as u64);
        let decision = match key % 4 {
            0 => pool.bounce(lease, ticket, Bounce::Busy, 0, now),
            1 => pool.retry(lease, ticket, now),
            _ => {
                pool.release(lease, Outcome::Finished, now);
                continue;
            }
        };
        if let Decision::Assigned(lease) = decision {
            pool.release(lease, Outcome::Finished, now);
        }
    }
    let later = Instant::from_millis(round * 1000 + 500);
    pool.handle_timeout(later);
    while let Some(output) = pool.poll_output() {
        if let Output::Grant { lease, .. } = output {
            pool.release(lease, Outcome::Finished, later);
        }
    }
    assert_eq!((pool.queue_depth(), pool.inflight()), (0, 0));
}

#[cfg(not(debug_assertions))]
#[test]
fn a_request_costs_the_same_at_any_size() {
    for select in [Select::Lifo, Select::LeastInflight] {
        let [one, few, many] = [1, 16, 256].map(|worker_count| {
            let mut pool = pool(select, worker_count, 1);
            // Half of the workers are busy.
            let now = Instant::from_millis(1);
            let busy: Vec<_> =
                (0..worker_count / 2).map(|key| pool.request(ticket(key), now)).collect();
            let nanos = (0..20).map(|_| nanos_for_one(&mut pool)).min().unwrap_or(u64::MAX);
            drop(busy);
            nanos
        });
        println!("{select:?}: request and release take {one} ns, {few} ns, {many} ns");
        // Bounds far above what is measured: they catch a search, not a busy machine.
        assert!(many < 1000 && many <= 4 * one.max(25), "{one} ns, {few} ns, {many} ns");
    }
}

#[cfg(not(debug_assertions))]
#[allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn nanos_for_one(pool: &mut Pool) -> u64 {
    const COUNT: u64 = 20_000;
    let now = Instant::from_millis(2);
    let began = std::time::Instant::now();
    for key in 0..COUNT {
        match pool.request(ticket(std::hint::black_box(1000 + key)), now) {
            Decision::Assigned(lease) => pool.release(lease, Outcome::Finished, now),
            other => panic!("{other:?}"),
        }
        assert!(pool.poll_output().is_none());
    }
    began.elapsed().as_nanos() as u64 / COUNT
}

fn pool(select: Select, worker_count: u64, concurrency: u32) -> Pool {
    let app = AppId::new("api");
    let max_inflight = worker_count as u32 * concurrency;
    let mut pool =
        Pool::new(PoolSettings { app, concurrency, max_inflight, max_queue: 50, select });
    for worker in 1..=worker_count {
        pool.join(WorkerId(worker), Generation(1), Instant::from_millis(0));
    }
    pool
}

fn ticket(key: u64) -> TicketId {
    TicketId { loop_index: LoopIndex(0), key }
}
