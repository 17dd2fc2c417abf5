//! What the scheduler chose for one request.

use crate::ids::{AppId, WorkerId};
use serde::Serialize;

/// The record of one scheduling decision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerDecision {
    /// The app.
    pub app_id: AppId,
    /// The worker, or null while queued or when refused.
    pub selected_worker: Option<WorkerId>,
    /// `lifo` or `least-inflight`.
    pub algorithm: &'static str,
    /// Why the first choice was not taken: `queued`, `shed`, `bounced`; null when it was.
    pub fallback: Option<&'static str>,
    /// 1-based position in the queue, or null.
    pub queue_position: Option<u32>,
}
