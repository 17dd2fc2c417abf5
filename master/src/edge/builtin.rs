//! Answers of the edge itself: whether it is alive and well, what it counts, and the way elsewhere.
//!
//! What takes no more than this loop knows is answered at once, and to everybody. What only the control
//! loop knows is asked there, and told to who operates the server: requests from this machine.

use super::answer::OwnAnswer;
use super::door::Errand;
use super::identity::Entry;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::config::{Builtin as Paths, SERVER_NAME};
use rip::contract::reason::Reason;
use rip::contract::route::RouteAction;
use rip::guard::client_ip::{is_local, is_wanted};
use rip::http1::changes::Changes;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;
use rip::observe::note::Handler;
use std::sync::Arc;

impl Edge {
    /// Answers a request to one of the edge's own paths that everybody may ask as often as they like.
    /// False when it is none of them.
    pub(super) fn answer_builtin(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let found = self.builtin(head, buf).filter(|_| self.serves_builtins());
        let Some(builtin) = found.filter(|builtin| !builtin.is_for_operators()) else {
            return false;
        };
        self.tell_of_ourselves(front, (head, buf), builtin);
        true
    }

    /// Answers a request to one of the edge's own paths that are for who operates the server. To whom they
    /// are not open there is nothing at those paths. False when it is none of them.
    pub(super) fn answer_operator(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let found = self.builtin(head, buf).filter(|_| self.serves_builtins());
        let Some(builtin) = found.filter(|builtin| builtin.is_for_operators()) else {
            return false;
        };
        let is_open = self.snapshots.active().config.edge.builtin.open;
        if is_open || self.is_local(front, head, buf) {
            self.tell_of_ourselves(front, (head, buf), builtin);
        } else {
            let is_known = self.snapshots.active().table.knows_host(self.routing.host());
            let reason = if is_known { Reason::NotFound } else { self.unknown_host(front) };
            self.refuse(front, reason, "", Some((head, buf)));
        }
        true
    }

    /// Answers a request that came by a listener for the operator, where nothing else is served and
    /// whoever connects is the operator; but not a page of somebody else in the operator's browser.
    /// False when it came by another.
    pub(super) fn answer_admin(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        if !self.fronts.get(front).is_some_and(|front| front.is_admin) {
            return false;
        }
        self.note_host(head, buf);
        if !self.is_wanted(front, head, buf) {
            self.refuse(front, Reason::NotFound, "", Some((head, buf)));
            return true;
        }
        match Builtin::at_usual_path(head.path().path(buf)) {
            Some(builtin) => self.tell_of_ourselves(front, (head, buf), builtin),
            None if self.begin_dashboard(front, head, buf) => {}
            None => self.refuse(front, Reason::NotFound, "", Some((head, buf))),
        }
        true
    }

    /// The operator wants what came by the operator's listener.
    fn is_wanted(&self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(front) = self.fronts.get(front) else { return false };
        let active = self.snapshots.active();
        let hosts = active.config.edge.dashboard.hosts.iter().map(String::as_str);
        let own_names: Vec<&str> = hosts.chain([SERVER_NAME]).collect();
        let client = front.client(head, buf, active);
        is_wanted(head, buf, client.scheme, client.host, &own_names)
    }

    /// The request is for one of the edge's own paths, be they served at its host or not.
    pub(super) fn is_builtin(&self, head: &RequestHead, buf: &[u8]) -> bool {
        self.builtin(head, buf).is_some()
    }

    /// Whoever asks sits at this machine, and does not ask for somebody elsewhere; or it came by a
    /// listener for the operator.
    pub(super) fn is_local(&self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(front) = self.fronts.get(front) else { return false };
        if front.is_admin {
            return true;
        }
        // Whoever a PROXY header stands for does not ask from here.
        if front.entry != Entry::Direct {
            return false;
        }
        let active = self.snapshots.active();
        let mut own_names = active.config.hosts();
        own_names.push(SERVER_NAME.to_owned());
        own_names.extend_from_slice(&active.config.edge.dashboard.hosts);
        let scheme = front.client(head, buf, active).scheme;
        is_local(head, buf, front.peer().ip(), scheme, &own_names)
    }

    fn builtin(&self, head: &RequestHead, buf: &[u8]) -> Option<Builtin> {
        let path = head.path().path(buf);
        let Paths { server, status, livez, readyz, healthz, metrics, diagnostics, open: _ } =
            &self.snapshots.active().config.edge.builtin;
        let is = |own: &Option<String>| own.as_ref().is_some_and(|own| own.as_bytes() == path);
        match () {
            () if is(server) => Some(Builtin::Server),
            () if is(status) => Some(Builtin::Status),
            () if is(livez) => Some(Builtin::Alive),
            () if is(readyz) || is(healthz) => Some(Builtin::Ready),
            () if is(metrics) => Some(Builtin::Metrics),
            () if is(diagnostics) => Some(Builtin::Diagnostics),
            () => None,
        }
    }

    fn tell_of_ourselves(
        &mut self,
        front: Key,
        (head, buf): (&RequestHead, &[u8]),
        builtin: Builtin,
    ) {
        if !matches!(head.method_kind(), Method::Get | Method::Head) {
            self.routing.set_allow(b"GET, HEAD");
            return self.refuse(front, Reason::MethodNotAllowed, "", Some((head, buf)));
        }
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        let (status, content_type) = match builtin {
            Builtin::Server | Builtin::Alive => alive(&mut body),
            Builtin::Status => self.status(&mut body),
            Builtin::Ready => self.readiness(&mut body),
            Builtin::Metrics | Builtin::Diagnostics => {
                self.scratch = body;
                let path = if builtin == Builtin::Metrics { "/metrics" } else { "/diagnostics" };
                return self.knock(front, (head, buf), &Errand::question(path));
            }
        };
        let own = OwnAnswer::of_edge(status, content_type, &body);
        self.answer_whole(front, (head, buf), &own, |_| {});
        self.scratch = body;
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
            content_type: PLAIN,
            body: b"",
            changes: changes.as_ref().map(|changes| changes as &dyn Changes),
            handler: Handler::Redirect,
            rule: Some(index),
        };
        self.answer_whole(front, (head, buf), &own, |fields| {
            fields.field(b"Location", &location);
        });
    }

    /// Every app has a worker, or not.
    fn status(&mut self, body: &mut Vec<u8>) -> (u16, &'static str) {
        let status = self.shared.status(self.clock.now());
        status.write(body);
        (status.status_code(), "application/json")
    }

    /// The same in a line: which apps have none.
    fn readiness(&mut self, body: &mut Vec<u8>) -> (u16, &'static str) {
        let missing = self.shared.unready();
        if missing.is_empty() {
            return alive(body);
        }
        let names: Vec<&str> = missing.iter().map(|app| app.as_str()).collect();
        let line = format!("no worker is ready: {}\n", names.join(", "));
        body.extend_from_slice(line.as_bytes());
        (503, PLAIN)
    }
}

/// The server answers: nothing is looked up.
fn alive(body: &mut Vec<u8>) -> (u16, &'static str) {
    body.extend_from_slice(b"ok");
    (200, PLAIN)
}

/// The edge's own endpoints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Builtin {
    Server,
    Status,
    Alive,
    Ready,
    Metrics,
    Diagnostics,
}

impl Builtin {
    /// What is at a path where nobody has chosen another one.
    fn at_usual_path(path: &[u8]) -> Option<Self> {
        Some(match path {
            b"/server" => Self::Server,
            b"/status" => Self::Status,
            b"/livez" => Self::Alive,
            b"/readyz" | b"/healthz" => Self::Ready,
            b"/metrics" => Self::Metrics,
            b"/diagnostics" => Self::Diagnostics,
            _ => return None,
        })
    }

    /// They show what is nobody else's business.
    fn is_for_operators(self) -> bool {
        matches!(self, Self::Metrics | Self::Diagnostics)
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
