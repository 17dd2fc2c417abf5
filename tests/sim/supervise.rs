//! A world of processes that fork, boot, crash, hang, quit and outlive signals at random, with a
//! loop that keeps its deadlines and sometimes sleeps through them; kept, rolled, recycled and
//! scaled by the supervisor, and brought down by the shutdown.
//!
//! [`promises`] says what must hold whatever happens. Besides: every process that was forked is
//! reaped, and the end comes within drain + kill + slack of awake time.

mod promises;
mod world;

use world::World;

#[test]
#[expect(clippy::disallowed_methods, reason = "a replay names its seed in the environment")]
fn processes_are_kept_replaced_and_brought_down_whatever_they_do() {
    let seeds = match std::env::var("RIP_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..600,
    };
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let world = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            world.seen
        });
        match world {
            Ok(world) => seen.add(&world),
            Err(cause) => {
                eprintln!("replay with RIP_SIM_SEED={seed} cargo test --test sim");
                std::panic::resume_unwind(cause);
            }
        }
    }
    if seeds.end - seeds.start > 1 {
        assert!(seen.everything(), "the world must show everything: {seen:?}");
    }
}

#[test]
fn in_good_times_every_roll_scale_and_recycling_comes_to_its_end() {
    let mut seen = Seen::default();
    for seed in 0..100 {
        let mut world = World::without_gloom(seed);
        world.run();
        assert_eq!(world.seen.of("abort"), 0, "seed {seed}: nothing was wrong");
        seen.add(&world.seen);
    }
    assert!(seen.of("roll done") > 100 && seen.of("scaled") > 100, "{seen:?}");
}

/// How often things happened: a simulation that never shows the rare ones proves nothing.
#[derive(Debug, Default)]
struct Seen(std::collections::BTreeMap<&'static str, u64>);

impl Seen {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn everything(&self) -> bool {
        RARE.iter().all(|what| self.of(what) > 10) && self.of("spawn") > 10_000
    }
}

const RARE: [&str; 20] = [
    "abandoned",
    "abort",
    "abort after steps",
    "abort at the end",
    "aged",
    "bloated",
    "drain failed",
    "drained",
    "fell over in probation",
    "forced",
    "kill",
    "quit",
    "recovered",
    "requests",
    "roll done",
    "rolls in one",
    "scale failed",
    "scaled",
    "stuck",
    "suspended",
];
