//! Answers of the edge itself: `/server`, `/status`, and the way elsewhere.

use super::answer::OwnAnswer;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::contract::route::RouteAction;
use rip::http1::changes::Changes;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;
use rip::observe::note::Handler;
use std::sync::Arc;

impl Edge {
    /// Answers a request to one of the edge's own paths. False when it is none of them.
    pub(super) fn answer_builtin(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(builtin) = self.builtin(head, buf).filter(|_| self.serves_builtins()) else {
            return false;
        };
        if !matches!(head.method_kind(), Method::Get | Method::Head) {
            self.routing.set_allow(b"GET, HEAD");
            self.refuse(front, Reason::MethodNotAllowed, "", Some((head, buf)));
            return true;
        }
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        let (status, content_type) = match builtin {
            Builtin::Server => self.server(&mut body),
            Builtin::Status => self.status(&mut body),
        };
        let (handler, rule) = (Handler::Edge, None);
        let own = OwnAnswer { status, content_type, body: &body, changes: None, handler, rule };
        self.answer_whole(front, (head, buf), &own, |_| {});
        self.scratch = body;
        true
    }

    /// The request is for one of the edge's own paths, be they served at its host or not.
    pub(super) fn is_builtin(&self, head: &RequestHead, buf: &[u8]) -> bool {
        self.builtin(head, buf).is_some()
    }

    fn builtin(&self, head: &RequestHead, buf: &[u8]) -> Option<Builtin> {
        let path = head.path().path(buf);
        let paths = &self.snapshots.active().config.edge.builtin;
        let is = |own: &Option<String>| own.as_ref().is_some_and(|own| own.as_bytes() == path);
        match () {
            () if is(&paths.server) => Some(Builtin::Server),
            () if is(&paths.status) => Some(Builtin::Status),
            () => None,
        }
    }

    /// Sends the client where the rule at `index` says.
    pub(super) fn redirect(&mut self, front: Key, head: &RequestHead, buf: &[u8], index: usize) {
        let snapshot = Arc::clone(self.snapshots.active());
        let Some(rule) = snapshot.config.routes.get(index) else { return };
        let RouteAction::Redirect { to, status } = &rule.action else { return };
        let location = self.routing.location(to, &rule.path_pattern, head.path(), buf);
        let mut changes = Vec::new();
        self.collect_changes(index, &mut changes);
        let changes = snapshot.table.headers().response(&changes);
        let own = OwnAnswer {
            status: *status,
            content_type: "text/plain; charset=utf-8",
            body: b"",
            changes: changes.as_ref().map(|changes| changes as &dyn Changes),
            handler: Handler::Redirect,
            rule: Some(index),
        };
        self.answer_whole(front, (head, buf), &own, |fields| {
            fields.field(b"Location", &location);
        });
    }

    /// The server answers: nothing is looked up.
    fn server(&mut self, body: &mut Vec<u8>) -> (u16, &'static str) {
        body.extend_from_slice(b"ok");
        (200, "text/plain; charset=utf-8")
    }

    /// Every app has a worker, or not.
    fn status(&mut self, body: &mut Vec<u8>) -> (u16, &'static str) {
        let status = self.shared.status(self.clock.now());
        status.write(body);
        (status.status_code(), "application/json")
    }
}

/// The edge's own endpoints.
#[derive(Clone, Copy, Debug)]
enum Builtin {
    Server,
    Status,
}
