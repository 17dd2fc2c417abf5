//! Refusing clients that ask too often.
//!
//! A request is counted once it is known that its host is served, and before its rule is looked
//! for. The edge's own endpoints, and the paths that by custom tell load balancers how an app is,
//! are not counted. What is left to a client is told only when nothing is: fields that change with
//! every answer would make each of them a different one to caches.

use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::http1::head::RequestHead;

impl Edge {
    /// Counts a request to the host noted last, and answers it where it is one too many. True when
    /// it was answered.
    pub(super) fn refuse_for_rate(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let active = self.snapshots.active();
        if active.rates.is_empty() {
            return false;
        }
        let host = self.routing.host();
        if EXEMPT.contains(&head.path().path(buf)) || !active.table.knows_host(host) {
            return false;
        }
        let Some(client) = self.client_ip(front, Some((head, buf))) else { return false };
        let Some(over) = active.rates.check(host, client, self.clock.now()) else { return false };
        self.refuse_with(front, Reason::RateLimited, (head, buf), &over.fields);
        true
    }
}

/// Never counted.
const EXEMPT: [&[u8]; 5] = [b"/server", b"/livez", b"/readyz", b"/healthz", b"/status"];
