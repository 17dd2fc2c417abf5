//! The core of an upstream against a model that remembers everything that happened and searches.
//!
//! Requests are begun, finish, fail, are sent again, and show nothing; checks are answered well,
//! badly, late and never; targets are sick for a while; settings change; machines are suspended.
//! After each step the core must have said exactly what the model says.

mod cost;
mod model;
mod world;

use crate::seed::for_each_seed;
use world::World;

#[test]
fn an_upstream_keeps_its_promises_whatever_happens() {
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        for _ in 0..STEP_COUNT {
            world.step(dice);
        }
        world.settle(dice);
    });
}

const SEED_COUNT: u64 = 300;
const STEP_COUNT: u64 = 500;
const _: () = assert!(SEED_COUNT * STEP_COUNT >= 100_000);
