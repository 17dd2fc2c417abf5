//! Attempts against a world in which everybody wishes at any time, compilers answer, err, or never
//! end, listeners and pools come up or do not, workers die, loops sleep, and servers stop.
//!
//! The world carries out what the pipeline orders and keeps its own books of it: what is open, what
//! runs, who waits, which version is which. [`world::World`] says what must be true of them.

mod books;
mod world;

use crate::seed::for_each_seed;
use std::collections::BTreeSet;
use world::World;

#[test]
fn attempts_begin_and_end_and_leave_nothing_behind_whatever_happens() {
    let mut seen = BTreeSet::new();
    let mut story_count = 0;
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        for _ in 0..STEP_COUNT {
            world.step(dice);
        }
        world.finish();
        seen.append(&mut world.seen);
        story_count += 1;
    });
    if story_count > 1 {
        for end in ENDS {
            assert!(seen.contains(end), "no attempt ended {end}: {seen:?}");
        }
    }
}

/// What the world must be rich enough to bring about.
const ENDS: [&str; 15] = [
    "applied ok",
    "applied ok again",
    "rejected app_died",
    "rejected app_not_ready",
    "rejected invalid",
    "rejected listen_failed",
    "rejected parse_error",
    "rejected stopping",
    "rejected timeout compiling",
    "rejected timeout staging",
    "rolled_back app_died",
    "rolled_back app_died again",
    "rolled_back stopping",
    "rolled_back timeout",
    "excused",
];
const SEED_COUNT: u64 = 500;
const STEP_COUNT: u64 = 400;
