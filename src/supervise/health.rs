//! Who does not answer: when workers are asked how they are, and what their silence means.
//!
//! ```text
//!   Waiting ── interval ──▶ (Order::Ask) ── asked ──▶ Asked ── timeout: a failure ──▶ Overdue ─┐
//!      ▲                        │ no room                │                               │  ▲   │
//!      ├────────────────────────┘                        │                               │  └───┘
//!      └──────────────── an answer, or its end ──────────┴───────────────────────────────┘ interval:
//!                                                                                  another failure
//! ```
//!
//! A question stays asked until it is answered: a worker that is silent is not asked again, its
//! silence counts once more with each interval. As many failures in a row as the threshold make it
//! unhealthy; a good answer, late or not, makes the earlier ones forgotten.

use super::oversleep::Oversleep;
use crate::contract::app::HealthCheck;
use crate::entropy::Entropy;
use crate::ids::WorkerId;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What the shell has to do, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Ask the worker, if it has room for a question; then report [`Health::asked`].
    Ask(WorkerId),
    /// It failed too often in a row.
    Unhealthy(WorkerId),
}

/// The health of an app's workers.
#[derive(Clone, Debug)]
pub struct Health {
    interval: Duration,
    timeout: Duration,
    threshold: u32,
    workers: BTreeMap<WorkerId, Patient>,
    orders: VecDeque<Order>,
    oversleep: Oversleep,
}

impl Health {
    /// Nobody is looked after yet.
    pub fn new(check: &HealthCheck, now: Instant) -> Self {
        Self {
            interval: Duration::from_millis(check.interval_ms).max(LEAST_INTERVAL),
            timeout: Duration::from_millis(check.timeout_ms),
            threshold: check.unhealthy_threshold.max(1),
            workers: BTreeMap::new(),
            orders: VecDeque::new(),
            oversleep: Oversleep::new(now),
        }
    }

    /// Workers are asked by `check` from now on; a question that is open or due stays so.
    pub fn configure(&mut self, check: &HealthCheck, now: Instant) {
        self.wake(now);
        self.interval = Duration::from_millis(check.interval_ms).max(LEAST_INTERVAL);
        self.timeout = Duration::from_millis(check.timeout_ms);
        self.threshold = check.unhealthy_threshold.max(1);
        for patient in self.workers.values_mut() {
            if let State::Waiting { at } = &mut patient.state {
                *at = (*at).min(now + self.interval);
            }
        }
    }

    /// The worker is ready. It is asked first after an interval and a bit, so that workers which
    /// became ready together are not asked together.
    pub fn look_after(&mut self, worker: WorkerId, random: &mut dyn Entropy, now: Instant) {
        self.wake(now);
        let bit = u64::try_from(self.interval.as_millis() / 4).unwrap_or(u64::MAX);
        let at = now + self.interval + Duration::from_millis(random.below(bit));
        self.workers.insert(worker, Patient { state: State::Waiting { at }, failures: 0 });
    }

    /// The worker is offered no work any more.
    pub fn forget(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        self.workers.remove(&worker);
    }

    /// The worker has been asked.
    pub fn asked(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        if let Some(patient) = self.workers.get_mut(&worker) {
            patient.state = State::Asked { until: now + self.timeout };
        }
    }

    /// The worker answered, or can be heard no more.
    pub fn answered(&mut self, worker: WorkerId, healthy: bool, now: Instant) {
        self.wake(now);
        let Some(patient) = self.workers.get_mut(&worker) else { return };
        let counted = matches!(patient.state, State::Overdue { .. });
        patient.state = State::Waiting { at: now + self.interval };
        if healthy {
            patient.failures = 0;
        } else if !counted && patient.failed(self.threshold) {
            self.orders.push_back(Order::Unhealthy(worker));
        }
    }

    /// Acts on what is due. To be called at [`Self::next_deadline`].
    pub fn settle(&mut self, now: Instant) {
        self.wake(now);
        for (worker, patient) in &mut self.workers {
            if now < patient.state.due() {
                continue;
            }
            let next = now + self.interval;
            match patient.state {
                State::Waiting { .. } => {
                    patient.state = State::Waiting { at: next };
                    self.orders.push_back(Order::Ask(*worker));
                }
                State::Asked { .. } | State::Overdue { .. } => {
                    patient.state = State::Overdue { at: next };
                    if patient.failed(self.threshold) {
                        self.orders.push_back(Order::Unhealthy(*worker));
                    }
                }
            }
        }
    }

    /// The next order; drain it after every call.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`Self::settle`] must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.workers.values().map(|patient| patient.state.due()).min()
    }

    /// Silence while nobody listened is no failure.
    fn wake(&mut self, now: Instant) {
        if let Some(absent) = self.oversleep.wake(now, self.next_deadline()) {
            for patient in self.workers.values_mut() {
                patient.state.excuse(absent);
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Patient {
    state: State,
    /// In a row.
    failures: u32,
}

impl Patient {
    /// One more failure; true when it is one too many. The count begins anew then.
    fn failed(&mut self, threshold: u32) -> bool {
        self.failures += 1;
        let unhealthy = self.failures >= threshold;
        if unhealthy {
            self.failures = 0;
        }
        unhealthy
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Asked { until: Instant },
    Overdue { at: Instant },
    Waiting { at: Instant },
}

impl State {
    fn due(self) -> Instant {
        match self {
            Self::Asked { until: due } | Self::Overdue { at: due } | Self::Waiting { at: due } => {
                due
            }
        }
    }

    fn excuse(&mut self, absent: Duration) {
        match self {
            Self::Asked { until: due } | Self::Overdue { at: due } | Self::Waiting { at: due } => {
                *due += absent;
            }
        }
    }
}

/// Nobody is asked more often, whatever was configured.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    const W1: WorkerId = WorkerId(1);

    struct Stand {
        core: Health,
        now: Instant,
    }

    impl Stand {
        fn new() -> Self {
            let now = Instant::from_millis(1000);
            let mut core = Health::new(&HealthCheck::default(), now);
            core.look_after(W1, &mut Xoshiro::new(1), now);
            Self { core, now }
        }

        /// Goes on to the next deadline.
        fn next(&mut self) -> Vec<Order> {
            self.now = self.core.next_deadline().expect("somebody is looked after");
            self.core.settle(self.now);
            std::iter::from_fn(|| self.core.poll_order()).collect()
        }

        fn ask(&mut self) {
            assert_eq!(self.next(), [Order::Ask(W1)]);
            self.core.asked(W1, self.now);
        }
    }

    #[test]
    fn three_bad_answers_in_a_row_are_unhealthy() {
        let mut stand = Stand::new();
        for healthy in [false, false, true, false, false] {
            stand.ask();
            stand.core.answered(W1, healthy, stand.now);
            assert_eq!(stand.core.poll_order(), None);
        }
        stand.ask();
        stand.core.answered(W1, false, stand.now);
        assert_eq!(stand.core.poll_order(), Some(Order::Unhealthy(W1)));
    }

    #[test]
    fn another_check_holds_at_once() {
        let mut stand = Stand::new();
        let check = HealthCheck {
            interval_ms: 100,
            timeout_ms: 50,
            unhealthy_threshold: 1,
            ..HealthCheck::default()
        };
        stand.core.configure(&check, stand.now);
        let before = stand.now;
        stand.ask();
        assert_eq!(stand.now.since(before), Duration::from_millis(100));
        stand.core.answered(W1, false, stand.now);
        assert_eq!(stand.core.poll_order(), Some(Order::Unhealthy(W1)));
    }

    #[test]
    fn silence_counts_with_each_interval_without_asking_again() {
        let mut stand = Stand::new();
        stand.ask();
        let asked = stand.now;
        assert_eq!(stand.next(), []);
        assert_eq!(stand.now.since(asked), Duration::from_secs(2));
        assert_eq!(stand.next(), []);
        assert_eq!(stand.next(), [Order::Unhealthy(W1)]);
        assert_eq!(stand.now.since(asked), Duration::from_secs(12));
    }

    #[test]
    fn a_late_answer_counts_once_and_a_good_one_ends_the_row() {
        let mut stand = Stand::new();
        stand.ask();
        stand.next();
        stand.core.answered(W1, true, stand.now);
        for _ in 0..2 {
            stand.ask();
            assert_eq!(stand.next(), []);
            stand.core.answered(W1, false, stand.now);
            assert_eq!(stand.core.poll_order(), None, "counted when it was late");
        }
        stand.ask();
        assert_eq!(stand.next(), [Order::Unhealthy(W1)]);
    }

    #[test]
    fn a_worker_without_room_is_asked_at_the_next_interval() {
        let mut stand = Stand::new();
        for _ in 0..10 {
            assert_eq!(stand.next(), [Order::Ask(W1)]);
        }
        stand.core.forget(W1, stand.now);
        assert_eq!(stand.core.next_deadline(), None);
    }

    #[test]
    fn nobody_is_unhealthy_for_what_was_not_heard_during_a_suspension() {
        let mut stand = Stand::new();
        stand.ask();
        stand.next();
        stand.next();
        stand.now += Duration::from_secs(3600);
        stand.core.settle(stand.now);
        assert_eq!(stand.core.poll_order(), None);
    }
}
