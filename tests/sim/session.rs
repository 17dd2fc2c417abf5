//! Sessions on a store that fails, under masters that die, against a model of a few rules.
//!
//! Two masters share one store. Clients start sessions, send messages with good, used-up and made-up
//! tokens, with and without idempotency keys, cancel, delete, wake, leave, look on and come back. Apps
//! answer in every form, cut anywhere, and fail. Every transaction of the store may be refused, may be
//! done without anyone being told, and may be the last of its master or of the whole machine; after a
//! loss of power what was not asked to survive it is gone from some point on. After each step the cores
//! must have said exactly what the model says.

mod app;
mod disk;
mod model;
mod view;
mod world;

use crate::seed::for_each_seed;
use world::World;

#[test]
fn a_session_keeps_its_promises_whatever_happens() {
    let mut done = world::Done::default();
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        for _ in 0..STEP_COUNT {
            world.step(dice);
        }
        world.settle(dice);
        done += world.done;
    });
    done.check_coverage(SEED_COUNT);
}

const SEED_COUNT: u64 = 200;
const STEP_COUNT: u64 = 600;
const _: () = assert!(SEED_COUNT * STEP_COUNT >= 100_000);
