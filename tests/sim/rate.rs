//! The rate limit against a model that remembers every request.
//!
//! Clients of several tempers ask: evenly, in bursts, at the ends of windows, as soon as they may.
//! The model knows when each allowed request was, counts both exactly and as the documentation says,
//! and forgets clients as the documentation says.

use crate::seed::{Dice, for_each_seed};
use rip::guard::rate::{Rates, Verdict};
use rip::time::Instant;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

#[test]
fn the_rate_limit_stays_within_its_bound_of_the_exact_count() {
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        for _ in 0..STEP_COUNT {
            world.step(dice);
        }
    });
}

#[test]
fn who_asks_evenly_is_counted_exactly_but_for_rounding() {
    for_each_seed(50, |dice| {
        let limit = dice.between(2, 100) as u32;
        let window = Duration::from_millis(dice.between(100, 100_000));
        // A hair slower than the limit, so that never more than `limit` are in a window.
        let gap = window / (limit - 1) + Duration::from_nanos(1);
        let mut rates = Rates::new(limit, window);
        let mut now = Instant::from_nanos(dice.between(0, 1 << 40));
        for _ in 0..limit * 10 {
            let verdict = rates.check(CLIENT, now);
            assert!(
                matches!(verdict, Verdict::Allowed { .. }),
                "{limit} in {window:?}: {verdict:?}"
            );
            now += gap;
        }
        // Twice as fast: no more than the limit gets through, and nearly all of it.
        let (began, mut allowed) = (now, 0);
        while now.since(began) < window * 20 {
            allowed += u32::from(matches!(rates.check(CLIENT, now), Verdict::Allowed { .. }));
            now += gap / 2;
        }
        assert!(allowed <= limit * 21 && allowed >= (limit - 1) * 19, "{allowed} of {limit}");
    });
}

#[test]
fn memory_does_not_grow_with_the_clients_that_come_and_go() {
    let mut rates = Rates::new(10, Duration::from_secs(60));
    let mut come = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let now = Instant::from_millis(u64::from(number) / 100);
            let verdict = rates.check(Ipv4Addr::from(number).into(), now);
            assert!(matches!(verdict, Verdict::Allowed { remaining: 9, .. }));
        }
    };
    let filled = allocation_counter::measure(|| come(0..300_000));
    assert!(filled.bytes_current < 12 << 20, "{filled:?}");
    let allocated = allocation_counter::measure(|| come(300_000..700_000));
    assert_eq!(allocated.count_total, 0);
}

struct World {
    rates: Rates,
    limit: u32,
    window: Duration,
    clients: Vec<Client>,
    now: Instant,
}

struct Client {
    ip: IpAddr,
    /// When each request was allowed.
    allowed: Vec<Instant>,
    /// When its window began, as the documentation says.
    began: Option<Instant>,
    /// What the last refusal promised.
    promise: Option<Instant>,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let limit = dice.weighted(&[(1, 1), (2, 1), (3, 2), (10, 3), (50, 1)]);
        let window = Duration::from_millis(dice.between(1, 10_000));
        let client = |number: u32| Client {
            ip: Ipv4Addr::from(number).into(),
            allowed: Vec::new(),
            began: None,
            promise: None,
        };
        Self {
            rates: Rates::new(limit, window),
            limit,
            window,
            clients: (0..dice.between(1, 5) as u32).map(client).collect(),
            now: Instant::from_nanos(dice.between(0, 1 << 50)),
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        let index = dice.index(self.clients.len()).unwrap_or(0);
        match dice.between(0, 9) {
            0..=3 => self.now += self.window / self.limit * dice.between(0, 2) as u32,
            4 => self.now += self.window * dice.between(0, 3) as u32,
            5 => self.now += Duration::from_nanos(dice.between(0, 2)),
            6 => {
                // The end of a window, or a moment before.
                if let Some(began) = self.clients[index].began {
                    let end = began + self.window - Duration::from_nanos(dice.between(0, 1));
                    self.now = self.now.max(end);
                }
            }
            7 => {
                if let Some(promise) = self.clients[index].promise {
                    self.now = self.now.max(promise - Duration::from_nanos(dice.between(0, 1)));
                }
            }
            _ => {}
        }
        let burst = if dice.one_in(5) { dice.between(1, u64::from(self.limit) + 1) } else { 1 };
        for _ in 0..burst {
            self.ask(index);
        }
        self.rates.check_invariants();
    }

    fn ask(&mut self, index: usize) {
        let (now, window, limit) = (self.now, self.window, self.limit as usize);
        let client = &mut self.clients[index];
        let mut began = client.began.unwrap_or(now);
        if now.since(began) >= window * 2 {
            began = now;
        } else if now.since(began) >= window {
            began += window;
        }
        client.began = Some(began);
        let count = |from: Instant, to: Instant| {
            client.allowed.iter().filter(|at| (from..to).contains(at)).count()
        };
        let end = now + Duration::from_nanos(1);
        let previous = if began.since(Instant::default()) < window {
            count(Instant::default(), began)
        } else {
            count(began - window, began)
        };
        let current = count(began, end);
        let exact = client.allowed.iter().filter(|at| now.since(**at) < window).count();
        let last_two = client.allowed.iter().filter(|at| now.since(**at) < window * 2).count();
        let left = (window - now.since(began)).as_nanos();
        let used = current + (previous as u128 * left).div_ceil(window.as_nanos()) as usize;
        assert!(used.abs_diff(exact) <= previous, "{used} used, {exact} exact, {previous} before");

        let verdict = self.rates.check(client.ip, now);
        match verdict {
            Verdict::Allowed { remaining, reset } => {
                assert!(used < limit, "{used} of {limit} were used");
                assert_eq!(remaining as usize, limit - used - 1);
                assert!(exact + 1 < (2 * limit).max(2), "{exact} more were allowed in a window");
                assert_eq!(now + reset, began + window * 2);
                assert!(client.promise.is_none_or(|promise| now >= promise), "sooner than said");
                client.allowed.push(now);
                client.promise = None;
            }
            Verdict::Refused { retry_after } => {
                assert!(used >= limit, "only {used} of {limit} were used");
                assert!(last_two >= limit, "only {last_two} were allowed in two windows");
                assert!(!retry_after.is_zero() && retry_after <= window * 2);
                let promise = now + retry_after;
                assert!(client.promise.is_none_or(|earlier| earlier == promise), "it changed");
                client.promise = Some(promise);
            }
        }
        if let Some(promise) = client.promise {
            assert!(now < promise, "the promised time has come");
        }
    }
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SEED_COUNT: u64 = 250;
const STEP_COUNT: u64 = 400;
