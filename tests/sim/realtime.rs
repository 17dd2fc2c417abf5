//! Hub and rolls against a model that has one list of everything.
//!
//! Users connect to several loops, say things, are told to join, leave and close, lose their
//! connections with half of what they were sent unread, and come back with their positions; letters
//! lie in mailboxes for a while. The model knows no loops: it does each instruction at once. Every
//! client must get exactly what the model says, in that order, and every user every message of the
//! group it is always in, once, whatever happened to its connections.

mod cost;
mod model;
mod world;

use crate::seed::{for_each_seed, is_replayed};
use world::World;

#[test]
fn everybody_is_told_everything_once_whatever_happens() {
    let mut feats = world::Feats::default();
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        for _ in 0..STEP_COUNT {
            world.step(dice);
        }
        world.settle();
        feats.add(&world.feats);
    });
    if !is_replayed() {
        feats.check();
    }
}

const SEED_COUNT: u64 = 200;
const STEP_COUNT: u64 = 500;
const _: () = assert!(SEED_COUNT * STEP_COUNT >= 100_000);
