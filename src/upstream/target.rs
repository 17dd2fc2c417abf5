//! One target, and the claim that an exchange has on it.

use super::circuit::{Circuit, Pass};
use super::health::{Health, Verdict};
use crate::time::Instant;
use std::fmt;
use std::sync::Arc;

/// A target; never reused within the life of an upstream: one that is removed and comes back gets
/// another. Prints `t3`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TargetId(pub u32);

impl fmt::Display for TargetId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "t{}", self.0)
    }
}

/// One exchange's use of a target.
///
/// It cannot be copied: it ends exactly once, by [`Upstream::end`](super::Upstream::end). One that
/// is dropped instead counts as in flight until the target is removed.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a claim that is not ended counts as in flight for ever"]
pub struct Claim {
    pub(super) target: TargetId,
    pub(super) name: Arc<str>,
    pub(super) pass: Pass,
}

impl Claim {
    /// The target.
    pub fn target(&self) -> TargetId {
        self.target
    }

    /// The target as it is called in the settings.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// How an exchange with a target ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The target's fault: it was not reached, did not answer in time, or its answer broke off or
    /// was no HTTP.
    Failed,
    /// The target answered to the end, with whatever status.
    Finished,
    /// It shows nothing about the target: nothing was sent, or the client left first.
    Unknown,
}

/// A target and all that is known about it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: TargetId,
    pub(super) name: Arc<str>,
    /// Claims that are not ended.
    pub(super) inflight: u32,
    /// Number of the choice that fell on it last; 0 for none.
    pub(super) last_chosen: u64,
    /// Claims that ended with an outcome that shows something.
    pub(super) request_count: u64,
    /// Those among them that failed.
    pub(super) failure_count: u64,
    pub(super) circuit: Circuit,
    /// `None` while no checks are made.
    pub(super) health: Option<Health>,
}

impl Target {
    pub(super) fn new(id: TargetId, name: Arc<str>) -> Self {
        Self {
            id,
            name,
            inflight: 0,
            last_chosen: 0,
            request_count: 0,
            failure_count: 0,
            circuit: Circuit::default(),
            health: None,
        }
    }

    /// Whether a request may go there.
    pub(super) fn may_be_chosen(&self, now: Instant) -> bool {
        self.verdict() != Some(Verdict::Unhealthy) && self.circuit.lets_through(now)
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.health.as_ref().map(Health::verdict)
    }

    pub(super) fn view(&self, now: Instant) -> TargetView<'_> {
        TargetView {
            id: self.id,
            name: &self.name,
            inflight: self.inflight,
            requests: self.request_count,
            failures: self.failure_count,
            verdict: self.verdict(),
            ejected_until: self.circuit.opens_until(now),
            may_be_chosen: self.may_be_chosen(now),
        }
    }
}

/// A target as the upstream sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TargetView<'u> {
    /// The target.
    pub id: TargetId,
    /// As it is called in the settings.
    pub name: &'u str,
    /// Claims that are not ended.
    pub inflight: u32,
    /// Exchanges that finished or failed.
    pub requests: u64,
    /// Exchanges that failed.
    pub failures: u64,
    /// What checks say; `None` while none are made.
    pub verdict: Option<Verdict>,
    /// It was ejected for its failures and gets one request to try it then, or, in the past, as soon
    /// as one comes.
    pub ejected_until: Option<Instant>,
    /// A request may go there now.
    pub may_be_chosen: bool,
}
