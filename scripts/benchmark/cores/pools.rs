//! Who may use which worker.

use crate::Core;
use rip::contract::app::Select;
use rip::ids::{AppId, Generation, LoopIndex, WorkerId};
use rip::pool::{Decision, Lease, Outcome, Output, Pool, PoolSettings, TicketId};
use rip::time::Instant;
use std::collections::VecDeque;
use std::hint::black_box;

pub fn cores() -> Vec<Core> {
    let mut cores = Vec::new();
    for select in [Select::Lifo, Select::LeastInflight] {
        for workers in [1, 16, 256] {
            let mut pool = pool(select, workers);
            // Half of them are busy.
            let leases: Vec<Decision> = (0..workers / 2).map(|key| ask(&mut pool, key)).collect();
            let mut key = workers;
            let name = format!("lease and release, {workers} workers, {}", name_of(select));
            cores.push(Core::new("pool", name, move || {
                key += 1;
                match ask(&mut pool, key) {
                    Decision::Assigned(lease) => release(&mut pool, lease, key),
                    other => panic!("{other:?}"),
                }
                assert!(pool.poll_output().is_none());
                black_box(&leases);
            }));
        }
    }
    let mut pool = pool(Select::Lifo, 16);
    let mut busy: VecDeque<Lease> = VecDeque::new();
    let mut key = 0;
    // All are busy and some wait: who releases hands over to who has waited longest.
    cores.push(Core::new("pool", "wait, be granted and release, 16 workers", move || {
        key += 1;
        if let Decision::Assigned(lease) = ask(&mut pool, key) {
            busy.push_back(lease);
        }
        if pool.queue_depth() > 8
            && let Some(lease) = busy.pop_front()
        {
            release(&mut pool, lease, key);
            while let Some(output) = pool.poll_output() {
                if let Output::Grant { lease, .. } = output {
                    busy.push_back(lease);
                }
            }
        }
    }));
    cores
}

fn ask(pool: &mut Pool, key: u64) -> Decision {
    let ticket = TicketId { loop_index: LoopIndex(0), key };
    pool.request(black_box(ticket), Instant::from_nanos(key * 1000))
}

fn release(pool: &mut Pool, lease: Lease, key: u64) {
    pool.release(lease, Outcome::Finished, Instant::from_nanos(key * 1000 + 500));
}

fn pool(select: Select, workers: u64) -> Pool {
    let mut pool = Pool::new(PoolSettings {
        app: AppId::new("api"),
        concurrency: 1,
        max_inflight: workers as u32,
        max_queue: 50,
        select,
    });
    for worker in 1..=workers {
        pool.join(WorkerId(worker), Generation(1), Instant::from_millis(0));
    }
    pool
}

const fn name_of(select: Select) -> &'static str {
    match select {
        Select::Lifo => "lifo",
        Select::LeastInflight => "least-inflight",
    }
}
