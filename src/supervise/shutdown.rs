//! The end of the server, gentle or not, within a bound.
//!
//! ```text
//!  Running ── asked ──▶ Draining ── edges drained ──▶ Retiring ── workers gone ──▶ Finished
//!     │                    │ │                           │ │                          ▲
//!     │                    │ └────── drain deadline ─────│─┴─▶ Ending ── workers gone ─┤
//!     └── asked fast ──▶ Hurried ◀── asked again ────────┘                            │
//!                          └─ workers gone; from anywhere: drain + kill + slack ──────┘ (forced)
//! ```
//!
//! Workers are kept, and restarted, until the edges hold no request any more: what waits in a queue
//! is still served. A second request to end cuts everything short, a third one kills.

use super::oversleep::Oversleep;
use crate::limits;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// What the shell has to do, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Stop the edges without waiting for what they hold.
    CutEdges,
    /// Take no new connections and finish what is there until the deadline.
    DrainEdges {
        /// When the rest is cut.
        deadline: Instant,
    },
    /// Reap what is left, remove what is ours, end.
    Finish {
        /// Something was still alive when the time was over.
        forced: bool,
    },
    /// SIGKILL to every worker.
    KillWorkers,
    /// No request is left: workers may go.
    RetireWorkers,
    /// SIGTERM to every worker, SIGKILL after `kill`.
    TerminateWorkers {
        /// From SIGTERM to SIGKILL.
        kill: Duration,
    },
}

/// The way down.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: Phase,
    drain: Duration,
    kill: Duration,
    deadline: Option<Instant>,
    forced_end: Option<Instant>,
    orders: VecDeque<Order>,
    oversleep: Oversleep,
}

impl Shutdown {
    /// Not asked yet. `drain` and `kill` are the longest of any app.
    pub fn new(drain: Duration, kill: Duration, now: Instant) -> Self {
        Self {
            phase: Phase::Running,
            drain,
            kill,
            deadline: None,
            forced_end: None,
            orders: VecDeque::new(),
            oversleep: Oversleep::new(now),
        }
    }

    /// `drain` and `kill` are the longest of any app from now on. An end that was asked for keeps
    /// its deadlines.
    pub fn configure(&mut self, drain: Duration, kill: Duration) {
        if self.phase == Phase::Running {
            (self.drain, self.kill) = (drain, kill);
        }
    }

    /// Somebody wants the server to end: gently the first time, fast the second, by force then.
    pub fn ask(&mut self, now: Instant) {
        self.wake(now);
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Draining;
                let deadline = now + self.drain;
                self.deadline = Some(deadline);
                self.forced_end = Some(deadline + self.kill + limits::SHUTDOWN_SLACK);
                self.orders.push_back(Order::DrainEdges { deadline });
            }
            Phase::Draining | Phase::Retiring | Phase::Ending => self.hurry(now),
            Phase::Hurried => self.orders.push_back(Order::KillWorkers),
            Phase::Finished => {}
        }
    }

    /// Somebody wants the server to end at once.
    pub fn ask_fast(&mut self, now: Instant) {
        self.wake(now);
        match self.phase {
            Phase::Running | Phase::Draining | Phase::Retiring | Phase::Ending => self.hurry(now),
            Phase::Hurried | Phase::Finished => {}
        }
    }

    /// No edge holds a request any more.
    pub fn edges_drained(&mut self, now: Instant) {
        self.wake(now);
        if self.phase == Phase::Draining {
            self.phase = Phase::Retiring;
            self.orders.push_back(Order::RetireWorkers);
        }
    }

    /// Acts on what has passed: `workers_gone` says that no worker process is left.
    pub fn settle(&mut self, workers_gone: bool, now: Instant) {
        self.wake(now);
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            // What an edge still holds is cut; what a worker still does after its client has left
            // does not hold anybody up either.
            if self.phase == Phase::Draining {
                self.orders.push_back(Order::CutEdges);
            }
            self.orders.push_back(Order::TerminateWorkers { kill: self.kill });
            self.phase = Phase::Ending;
            self.deadline = None;
        }
        if matches!(self.phase, Phase::Retiring | Phase::Ending | Phase::Hurried) {
            if workers_gone {
                self.finish(false);
            } else if self.forced_end.is_some_and(|end| now >= end) {
                self.orders.push_back(Order::KillWorkers);
                self.finish(true);
            }
        }
    }

    /// The next order; drain it after every call.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`Self::settle`] must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline.or(self.forced_end)
    }

    /// True from the first request to end.
    pub fn is_asked(&self) -> bool {
        self.phase != Phase::Running
    }

    fn hurry(&mut self, now: Instant) {
        self.phase = Phase::Hurried;
        self.deadline = None;
        let kill = self.kill.min(FAST_KILL);
        let end = now + kill + limits::SHUTDOWN_SLACK;
        self.forced_end = Some(self.forced_end.map_or(end, |forced| forced.min(end)));
        self.orders.push_back(Order::CutEdges);
        self.orders.push_back(Order::TerminateWorkers { kill });
    }

    fn finish(&mut self, forced: bool) {
        self.phase = Phase::Finished;
        (self.deadline, self.forced_end) = (None, None);
        self.orders.push_back(Order::Finish { forced });
    }

    fn wake(&mut self, now: Instant) {
        if let Some(absent) = self.oversleep.wake(now, self.next_deadline()) {
            self.deadline = self.deadline.map(|deadline| deadline + absent);
            self.forced_end = self.forced_end.map(|end| end + absent);
        }
    }
}

/// Where the server is on its way down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Draining,
    Ending,
    Finished,
    Hurried,
    Retiring,
    Running,
}

/// From SIGTERM to SIGKILL when the end was asked for twice.
const FAST_KILL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn shutdown() -> Shutdown {
        Shutdown::new(Duration::from_secs(30), Duration::from_secs(5), Instant::default())
    }

    fn orders(shutdown: &mut Shutdown) -> Vec<Order> {
        std::iter::from_fn(|| shutdown.poll_order()).collect()
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    #[test]
    fn workers_retire_only_after_the_edges_drained() {
        let mut end = shutdown();
        end.ask(at(10));
        end.settle(false, at(10));
        assert_eq!(orders(&mut end), [Order::DrainEdges { deadline: at(40) }]);
        end.settle(true, at(12));
        assert_eq!(orders(&mut end), [], "without workers the edges still drain");
        end.edges_drained(at(13));
        assert_eq!(orders(&mut end), [Order::RetireWorkers]);
        end.settle(true, at(14));
        assert_eq!(orders(&mut end), [Order::Finish { forced: false }]);
        assert_eq!(end.next_deadline(), None);
    }

    #[test]
    fn the_time_for_the_end_is_what_was_said_last_before_it_was_asked_for() {
        let mut end = shutdown();
        end.configure(Duration::from_secs(3), Duration::from_secs(2));
        end.ask(at(10));
        end.configure(Duration::from_secs(60), Duration::from_secs(60));
        assert_eq!(orders(&mut end), [Order::DrainEdges { deadline: at(13) }]);
        end.settle(false, at(13));
        let kill = Duration::from_secs(2);
        assert!(orders(&mut end).contains(&Order::TerminateWorkers { kill }));
    }

    #[test]
    fn what_is_left_after_drain_kill_and_slack_is_forced() {
        let mut end = shutdown();
        end.ask(at(0));
        end.settle(false, at(30));
        let kill = Duration::from_secs(5);
        let cut = [Order::CutEdges, Order::TerminateWorkers { kill }];
        assert_eq!(orders(&mut end)[1..], cut);
        assert_eq!(end.next_deadline(), Some(at(40)));
        end.settle(false, at(40));
        assert_eq!(orders(&mut end), [Order::KillWorkers, Order::Finish { forced: true }]);
    }

    #[test]
    fn a_worker_busy_with_a_request_nobody_waits_for_goes_at_the_drain_deadline() {
        let mut end = shutdown();
        end.ask(at(0));
        end.edges_drained(at(1));
        orders(&mut end);
        assert_eq!(end.next_deadline(), Some(at(30)));
        end.settle(false, at(30));
        let kill = Duration::from_secs(5);
        assert_eq!(orders(&mut end), [Order::TerminateWorkers { kill }]);
    }

    #[test]
    fn a_second_request_is_fast_and_a_third_kills() {
        let mut end = shutdown();
        end.ask(at(0));
        orders(&mut end);
        end.ask(at(1));
        let kill = Duration::from_secs(1);
        assert_eq!(orders(&mut end), [Order::CutEdges, Order::TerminateWorkers { kill }]);
        end.ask(at(1));
        assert_eq!(orders(&mut end), [Order::KillWorkers]);
        assert_eq!(end.next_deadline(), Some(at(7)));
    }

    #[test]
    fn a_suspended_machine_cuts_nobody_short() {
        let mut end = shutdown();
        end.ask(at(0));
        orders(&mut end);
        end.settle(false, at(3000));
        assert_eq!(orders(&mut end), []);
        assert_eq!(end.next_deadline(), Some(at(3030)));
    }
}
