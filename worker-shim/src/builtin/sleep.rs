//! `builtin:sleep`: takes its time.
//!
//! `ms=N` in the query is how long. The fields of the answer tell what the worker saw: `Worker` is
//! its id, `Served` counts the requests it began, this one included, and `Overlap` is the largest
//! number it ever had in progress at once: 1 under single in-flight isolation.

use super::own_name;
use crate::request::Request;
use crate::response::Response;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static SERVED: AtomicU64 = AtomicU64::new(0);
static IN_PROGRESS: AtomicU64 = AtomicU64::new(0);
static OVERLAP: AtomicU64 = AtomicU64::new(0);

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    let ms = request.number("ms").unwrap_or(0);
    let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
    let in_progress = IN_PROGRESS.fetch_add(1, Ordering::Relaxed) + 1;
    let overlap = OVERLAP.fetch_max(in_progress, Ordering::Relaxed).max(in_progress);
    std::thread::sleep(Duration::from_millis(ms));
    IN_PROGRESS.fetch_sub(1, Ordering::Relaxed);
    Response::text(format!("slept {ms} ms\n"))
        .field("Worker", own_name())
        .field("Served", served.to_string())
        .field("Overlap", overlap.to_string())
}
