//! `builtin:busy`: sends work back to the master.
//!
//! In the query: `times=N` answers 503 with `Rip-Worker-Busy: 1` to the first N requests this worker
//! gets with the same path, `always` to all of them; `draining` answers 503 with
//! `Rip-Worker-Draining: 1`; `retire` answers 200 with it. `only=wN` makes all of that hold for one
//! worker. What is not sent back is answered `done` with the worker's id in `Worker`, and in `Seen`
//! how often this worker was given the path.

use super::own_name;
use crate::request::Request;
use crate::response::Response;
use rip::wire::header;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

static SEEN: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    let seen = {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(request.path().to_owned()).or_default();
        *count += 1;
        *count
    };
    let name = own_name();
    let meant = request.parameter("only").is_none_or(|only| only == name);
    let busy = request.parameter("always").is_some()
        || request.number("times").is_some_and(|times| seen <= times);
    let response = if meant && busy {
        Response::text("busy\n").with_status(503).field(header::WORKER_BUSY, "1")
    } else if meant && request.parameter("draining").is_some() {
        Response::text("draining\n").with_status(503).field(header::WORKER_DRAINING, "1")
    } else if meant && request.parameter("retire").is_some() {
        Response::text("done\n").field(header::WORKER_DRAINING, "1")
    } else {
        Response::text("done\n")
    };
    response.field("Worker", name).field("Seen", seen.to_string())
}
