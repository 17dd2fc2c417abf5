//! The pool against a model of a hundred lines that searches where the pool remembers.
//!
//! Several loops ask, bounce, retry, abandon, cancel and release; grants lie in their mail for a
//! while; workers join, crash, retire and return; time passes, pauses end late. After each step the
//! pool must have said exactly what the model says, and keep what it promises.

mod cost;
mod model;
mod world;

use crate::seed::for_each_seed;
use world::World;

#[test]
fn the_pool_keeps_its_promises_whatever_happens() {
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        for _ in 0..STEP_COUNT {
            world.step(dice);
        }
        world.settle();
    });
}

const SEED_COUNT: u64 = 400;
const STEP_COUNT: u64 = 500;
const _: () = assert!(SEED_COUNT * STEP_COUNT >= 100_000);
