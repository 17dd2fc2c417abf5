//! What an ACME authority is shown over HTTP while it asks whether a name is ours (RFC 8555 §8.3).
//!
//! It comes before everything else: before redirects, limits and rules, whatever the host.

use super::answer::OwnAnswer;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;
use rip::observe::note::Handler;

impl Edge {
    /// Answers the request if it is for a token that is being asked for. Anything else below that
    /// path is a request like others.
    pub(super) fn answer_challenge(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(token) = head.path().path(buf).strip_prefix(PREFIX) else { return false };
        if !matches!(head.method_kind(), Method::Get | Method::Head) {
            return false;
        }
        let token = str::from_utf8(token).ok();
        let Some(text) = token.and_then(|token| self.shared.tls.challenges.http(token)) else {
            return false;
        };
        let own = OwnAnswer {
            handler: Handler::Edge,
            rule: None,
            status: 200,
            content_type: "application/octet-stream",
            body: text.as_bytes(),
            changes: None,
        };
        self.answer_whole(front, (head, buf), &own, |_| {});
        true
    }
}

const PREFIX: &[u8] = b"/.well-known/acme-challenge/";
