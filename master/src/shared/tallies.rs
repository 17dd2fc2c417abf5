//! Exchanges, counted by the loop on which they end: numbers of its own that it alone writes and
//! anybody reads.
//!
//! Counting is loads and stores in memory that no other loop writes: it neither locks nor allocates,
//! but for the first answer of an app with a method and a class of statuses. A reader that comes in
//! the middle of an exchange may find it counted in one place and not yet in the other.

use rip::observe::spread::{PLACE_COUNT, Spread, micros_of, place_of};
use rip::observe::tally::{AppTally, Done, METHODS, RecentTally, Tally, label_of, sane_status};
use rip::observe::timings::{BUCKET_COUNT, Timings, bucket_of};
use rip::time::Instant;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The numbers of one loop.
pub struct LoopTally {
    latency: Places,
    waits: Places,
    /// The last minute, in parts.
    parts: [Part; PART_COUNT],
    /// Taken to add an app, and to read.
    apps: Mutex<Vec<Arc<AppCells>>>,
}

/// The hand that writes them: its loop's own.
#[derive(Default)]
pub struct Teller {
    cells: Vec<Arc<AppCells>>,
    by_id: HashMap<Box<str>, usize>,
    /// Whose exchange ended last.
    last: usize,
}

impl Teller {
    /// Counts an exchange that ended at `now`. Must be called with the tally of the caller's own loop.
    pub fn tell(&mut self, tally: &LoopTally, done: &Done<'_>, now: Instant) {
        let part = tally.part(now);
        add_32(&part.requests, 1);
        let status = sane_status(done.status);
        add_32(&part.errors, u32::from(status >= 500));
        if let Some(took) = done.took {
            let place = place_of(took);
            tally.latency.count(place);
            if let Some(number) = part.places.get(place) {
                add_32(number, 1);
            }
        }
        if let Some(waited) = done.waited {
            tally.waits.count(place_of(waited));
        }
        let Some(app) = self.cells_of(done.app, tally) else { return };
        app.answer(label_of(done.method), status);
        if let Some(took) = done.took {
            app.latency.count(took);
        }
        if let Some(waited) = done.waited {
            app.waits.count(waited);
        }
    }

    fn cells_of(&mut self, id: &str, tally: &LoopTally) -> Option<&AppCells> {
        if self.cells.get(self.last).is_none_or(|cells| &*cells.id != id) {
            self.last = match self.by_id.get(id) {
                Some(index) => *index,
                // So many names come of many configurations: what is new is counted as one.
                None if self.cells.len() >= APP_COUNT && id != OVERFLOW => {
                    return self.cells_of(OVERFLOW, tally);
                }
                None => self.learn(id, tally),
            };
        }
        self.cells.get(self.last).map(|cells| &**cells)
    }

    fn learn(&mut self, id: &str, tally: &LoopTally) -> usize {
        let cells = Arc::new(AppCells::new(id));
        let index = self.cells.len();
        self.by_id.insert(id.into(), index);
        self.cells.push(Arc::clone(&cells));
        tally.apps.lock().unwrap_or_else(PoisonError::into_inner).push(cells);
        index
    }
}

impl LoopTally {
    /// Nothing has ended yet.
    pub fn new() -> Self {
        Self {
            latency: Places::default(),
            waits: Places::default(),
            parts: std::array::from_fn(|_| Part::default()),
            apps: Mutex::default(),
        }
    }

    /// Adds what was counted to `sums`; its last minute is that before `now`.
    pub fn read(&self, now: Instant, sums: &mut Tally) {
        self.latency.read(&mut sums.latency);
        self.waits.read(&mut sums.waits);
        self.read_parts(now, &mut sums.recent);
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for cells in apps {
            match sums.apps.get_mut(&cells.id) {
                Some(app) => cells.read(app),
                None => cells.read(sums.apps.entry(cells.id.clone()).or_default()),
            }
        }
    }

    fn read_parts(&self, now: Instant, sums: &mut RecentTally) {
        let current = number_of(now);
        let into_current = now.since(start_of(current));
        let before = PART.as_secs_f64() * (PART_COUNT - 1) as f64;
        sums.seconds = before + into_current.as_secs_f64();
        for part in &self.parts {
            let number = part.number.load(Acquire);
            // The first part is number 1: 0 is one that was never written, or is being cleared.
            if number > 0 && number <= current && number + PART_COUNT as u64 > current {
                sums.requests += u64::from(part.requests.load(Relaxed));
                sums.errors += u64::from(part.errors.load(Relaxed));
                for (place, count) in part.places.iter().enumerate() {
                    sums.latency.add_at(place, count.load(Relaxed).into());
                }
            }
        }
    }

    /// The part of the minute that `now` falls into, empty when it is a new one.
    fn part(&self, now: Instant) -> &Part {
        let number = number_of(now);
        let part = &self.parts[number as usize % PART_COUNT];
        if part.number.load(Relaxed) != number {
            part.number.store(0, Release);
            part.requests.store(0, Relaxed);
            part.errors.store(0, Relaxed);
            part.places.iter().for_each(|count| count.store(0, Relaxed));
            part.number.store(number, Release);
        }
        part
    }
}

impl Default for LoopTally {
    fn default() -> Self {
        Self::new()
    }
}

/// Ten seconds of a loop.
struct Part {
    /// Which ten seconds, from 1; 0 for none.
    number: AtomicU64,
    requests: AtomicU32,
    errors: AtomicU32,
    places: Box<[AtomicU32]>,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            places: (0..PLACE_COUNT).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

fn number_of(now: Instant) -> u64 {
    now.as_nanos() / PART.as_nanos() as u64 + 1
}

fn start_of(number: u64) -> Instant {
    Instant::from_nanos((number - 1) * PART.as_nanos() as u64)
}

/// Numbers of one app.
struct AppCells {
    id: Box<str>,
    /// By method and class of status; a hundred statuses each.
    classes: [[OnceLock<Box<[AtomicU64; 100]>>; CLASS_COUNT]; METHODS.len()],
    latency: Buckets,
    waits: Buckets,
}

impl AppCells {
    fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            classes: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            latency: Buckets::default(),
            waits: Buckets::default(),
        }
    }

    fn answer(&self, method: usize, status: u16) {
        let status = usize::from(status);
        let classes = self.classes.get(method);
        let Some(class) = classes.and_then(|classes| classes.get(status / 100 - 1)) else { return };
        let statuses = class.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        if let Some(count) = statuses.get(status % 100) {
            add(count, 1);
        }
    }

    fn read(&self, sums: &mut AppTally) {
        for (method, classes) in self.classes.iter().enumerate() {
            for (class, statuses) in (1_u16..).zip(classes) {
                let counts = statuses.get().into_iter().flat_map(|statuses| statuses.iter());
                for (last, count) in (0_u16..).zip(counts) {
                    let count = count.load(Relaxed);
                    if count > 0 {
                        *sums.answers.entry((method, class * 100 + last)).or_default() += count;
                    }
                }
            }
        }
        self.latency.read(&mut sums.latency);
        self.waits.read(&mut sums.waits);
    }
}

/// Durations in buckets.
#[derive(Default)]
struct Buckets {
    counts: [AtomicU64; BUCKET_COUNT],
    sum_micros: AtomicU64,
}

impl Buckets {
    fn count(&self, duration: Duration) {
        if let Some(count) = self.counts.get(bucket_of(duration)) {
            add(count, 1);
        }
        add(&self.sum_micros, micros_of(duration));
    }

    fn read(&self, sums: &mut Timings) {
        for (bucket, count) in self.counts.iter().enumerate() {
            sums.add_at(bucket, count.load(Relaxed));
        }
        sums.add_sum(self.sum_micros.load(Relaxed));
    }
}

/// Durations by place.
struct Places {
    counts: Box<[AtomicU64]>,
}

impl Places {
    fn count(&self, place: usize) {
        if let Some(count) = self.counts.get(place) {
            add(count, 1);
        }
    }

    fn read(&self, sums: &mut Spread) {
        for (place, count) in self.counts.iter().enumerate() {
            sums.add_at(place, count.load(Relaxed));
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self { counts: (0..PLACE_COUNT).map(|_| AtomicU64::new(0)).collect() }
    }
}

/// A load and a store, because nobody else writes.
fn add(number: &AtomicU64, amount: u64) {
    number.store(number.load(Relaxed).wrapping_add(amount), Relaxed);
}

fn add_32(number: &AtomicU32, amount: u32) {
    number.store(number.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// The last minute is read in parts of this length: the present one and those before it.
const PART: Duration = Duration::from_secs(10);
const PART_COUNT: usize = 6;
/// Classes of statuses, 1xx to 9xx.
const CLASS_COUNT: usize = 9;
/// Apps and upstreams that are told apart over all configurations of a process.
const APP_COUNT: usize = 4096;
/// What others are counted as.
const OVERFLOW: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;
    use rip::http1::method::Method;

    fn done(app: &str, status: u16) -> Done<'_> {
        let took = Some(Duration::from_millis(7));
        Done { app, method: Method::Get, status, took, waited: None }
    }

    fn read(tallies: &[&LoopTally], now: Instant) -> Tally {
        let mut sums = Tally::default();
        tallies.iter().for_each(|tally| tally.read(now, &mut sums));
        sums
    }

    #[test]
    fn what_loops_count_is_what_one_tally_would() {
        let tallies = [LoopTally::new(), LoopTally::new()];
        let mut tellers = [Teller::default(), Teller::default()];
        let now = Instant::from_millis(123_456);
        let mut expected = Tally::default();
        for round in 0..1000_u64 {
            let (app, status) = match round % 4 {
                0 => ("", 404),
                1 => ("api", 200),
                2 => ("api", 999),
                _ => ("shop", 101),
            };
            let exchange = Done {
                app,
                method: [Method::Get, Method::Post, Method::Other][round as usize % 3],
                status,
                took: (status != 101).then(|| Duration::from_micros(round * round)),
                waited: (round % 5 == 0).then(|| Duration::from_millis(round)),
            };
            let index = round as usize % 2;
            tellers[index].tell(&tallies[index], &exchange, now);
            expected.add(&exchange);
        }
        let found = read(&[&tallies[0], &tallies[1]], now);
        assert_eq!((found.recent.requests, found.recent.errors), (1000, 250));
        assert_eq!(found.recent.latency, found.latency);
        assert_eq!(found.classes(), expected.classes());
        assert_eq!(Tally { recent: expected.recent.clone(), ..found }, expected);
    }

    #[test]
    fn the_last_minute_forgets() {
        let (tally, mut teller) = (LoopTally::new(), Teller::default());
        let at = |secs: u64| Instant::from_millis(secs * 1000);
        for secs in [3, 12, 58, 61] {
            teller.tell(&tally, &done("api", 500), at(secs));
        }
        let recent = |secs| {
            let RecentTally { requests, errors, latency, seconds } =
                read(&[&tally], at(secs)).recent;
            assert_eq!((requests, requests), (errors, latency.count()));
            (requests, seconds)
        };
        assert_eq!(recent(62), (3, 52.0), "that of the third second is forgotten");
        assert_eq!(recent(71), (2, 51.0));
        assert_eq!(recent(115), (1, 55.0));
        assert_eq!(recent(200), (0, 50.0));
        assert_eq!(read(&[&tally], at(200)).classes()[4], 4, "what is counted for good is not");
    }

    #[test]
    fn names_without_end_are_counted_as_one() {
        let (tally, mut teller) = (LoopTally::new(), Teller::default());
        for number in 0..APP_COUNT + 10 {
            teller.tell(&tally, &done(&number.to_string(), 200), Instant::default());
        }
        teller.tell(&tally, &done("0", 200), Instant::default());
        let found = read(&[&tally], Instant::default());
        assert_eq!(found.apps.len(), APP_COUNT + 1);
        assert_eq!(found.apps[OVERFLOW].answers[&(label_of(Method::Get), 200)], 10);
        assert_eq!(found.apps["0"].answers[&(label_of(Method::Get), 200)], 2);
        assert_eq!(found.classes()[1], APP_COUNT as u64 + 11);
    }
}
