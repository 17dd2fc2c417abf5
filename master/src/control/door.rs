//! What edge loops ask for clients of theirs, and what they are sent while one of those watches.
//!
//! A question goes the way of one on the control socket, as far as it is one for clients. Watchers get
//! the report once a second, and each event as it happens; while nobody watches nothing is made.

use super::master::Master;
use super::server::{Answer, Asker, By, Request};
use crate::shared::door::{Caller, DoorAsk};
use crate::shared::mail::EdgeMessage;
use rip::ids::LoopIndex;
use rip::time::Instant;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The loops that have watchers.
#[derive(Default)]
pub(super) struct Watchers {
    loops: BTreeSet<LoopIndex>,
    /// When they get the next report.
    due: Option<Instant>,
}

impl Watchers {
    /// When [`Master::report_to_watchers`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due
    }
}

impl Master {
    /// A client of a loop asks.
    pub(super) fn asked(&mut self, from: Caller, ask: DoorAsk) {
        let DoorAsk { method, path, query, accept, body, client } = ask;
        self.serve(Request {
            from: Asker::Door(from),
            method,
            path,
            query,
            last_event_id: None,
            authorization: None,
            accept,
            body,
            by: By::Client(client),
        });
    }

    /// Sends a client's loop what it is to be answered.
    pub(super) fn answer_at_door(&self, to: Caller, answer: &Answer) {
        if let Some(edges) = &self.edges {
            let answer = answer.clone();
            edges.tell_one(to.index, EdgeMessage::Answered { key: to.key, answer });
        }
    }

    /// A loop has somebody who watches, or nobody any more.
    pub(super) fn watching(&mut self, index: LoopIndex, on: bool) {
        let watchers = &mut self.state.watchers;
        if !on {
            watchers.loops.remove(&index);
            if watchers.loops.is_empty() {
                watchers.due = None;
            }
            return;
        }
        watchers.loops.insert(index);
        watchers.due.get_or_insert(self.clock.now() + REPORT_INTERVAL);
        let frame = frame("report", &self.report_json());
        self.send_frame(index, &frame);
    }

    /// Sends a report to whoever watches, once it is time.
    pub(super) fn report_to_watchers(&mut self) {
        let now = self.clock.now();
        if self.state.watchers.due.is_none_or(|due| now < due) {
            return;
        }
        // What was missed meanwhile nobody needs any more.
        self.state.watchers.due = Some(now + REPORT_INTERVAL);
        let frame = frame("report", &self.report_json());
        self.send_to_watchers(&frame);
    }

    /// Tells whoever watches of the event with the number `id`, which is `json`.
    pub(super) fn tell_watchers(&self, id: u64, json: &str) {
        if !self.state.watchers.loops.is_empty() {
            self.send_to_watchers(
                &format!("id: {id}\nevent: event\ndata: {json}\n\n").into_bytes().into(),
            );
        }
    }

    fn send_to_watchers(&self, frame: &Arc<[u8]>) {
        self.state.watchers.loops.iter().for_each(|index| self.send_frame(*index, frame));
    }

    fn send_frame(&self, index: LoopIndex, frame: &Arc<[u8]>) {
        if let Some(edges) = &self.edges {
            edges.tell_one(index, EdgeMessage::Report(Arc::clone(frame)));
        }
    }
}

/// An event of a stream (WHATWG HTML §9.2). `data` is JSON in one line.
fn frame(event: &str, data: &[u8]) -> Arc<[u8]> {
    [b"event: ", event.as_bytes(), b"\ndata: ", data, b"\n\n"].concat().into()
}

/// Between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_an_event_with_its_data() {
        assert_eq!(&*frame("report", b"{\"at\":1}"), b"event: report\ndata: {\"at\":1}\n\n");
    }
}
