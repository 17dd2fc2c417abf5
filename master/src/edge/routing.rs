//! Which rule takes a request, and what that means: an app, an answer of our own, a refusal.

use super::exchange::Patience;
use super::turn::Edge;
use crate::shared::snapshot::Snapshot;
use rip::contract::app::Select;
use rip::contract::reason::Reason;
use rip::contract::route::{RouteAction, RouteRule};
use rip::contract::sessions::SessionsConfig;
use rip::http1::head::RequestHead;
use rip::http1::target::Target;
use rip::ids::PoolNumber;
use rip::route::local::SERVER_NAME;
use rip::route::path::{PathRoom, routing_path, sent_path};
use rip::route::redirect::{self, Parts};
use rip::route::{Found, Scratch, host};
use rip::session::{Endpoint, Refusal};
use std::sync::Arc;

/// What lookups work with; warm after the first few.
#[derive(Default)]
pub(super) struct Routing {
    /// The authority noted last, as it was sent: most requests of a loop name the same.
    authority: Vec<u8>,
    host: Vec<u8>,
    /// It is an address or `localhost`.
    is_address: bool,
    path: PathRoom,
    scratch: Scratch,
    /// What the refusal that follows says.
    allow: Option<Vec<u8>>,
}

impl Routing {
    /// The host noted last.
    pub(super) fn host(&self) -> &[u8] {
        &self.host
    }

    /// The host noted last is an address, or `localhost`.
    pub(super) fn is_address(&self) -> bool {
        self.is_address
    }

    /// What the refusal that follows says: the path takes these methods.
    pub(super) fn set_allow(&mut self, methods: &[u8]) {
        self.allow = Some(methods.to_vec());
    }

    /// Where `template` sends a request for `target` to the host noted last.
    pub(super) fn location(
        &mut self,
        template: &str,
        pattern: &str,
        target: &Target,
        buf: &[u8],
    ) -> Vec<u8> {
        let mut location = Vec::new();
        let path = sent_path(target, buf, &mut self.path);
        let parts = Parts { host: &self.host, path, query: target.query.of(buf), pattern };
        redirect::location(template, &parts, &mut location);
        location
    }

    /// The refusal that follows says that these methods are taken.
    pub(super) fn say_allow(&mut self, methods: &[u8]) {
        self.allow = Some(methods.to_vec());
    }

    /// The methods that a path takes which was just refused for its method.
    pub(super) fn take_allow(&mut self) -> Option<Vec<u8>> {
        self.allow.take()
    }
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// A worker of this pool answers it.
    App(Errand),
    /// A server that is not ours answers it.
    Proxy(Errand),
    /// The rule at this index sends the client elsewhere.
    Redirect(usize),
    /// A file answers it, as the rule at this index says.
    Static(usize),
    /// Nobody answers it.
    Refused(Reason),
}

/// A request for an app or an upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    pub(super) pool: PoolNumber,
    /// The upstream's position in the configuration; then there is no pool.
    pub(super) upstream: Option<usize>,
    /// The rule that brought it there.
    pub(super) rule: usize,
    pub(super) patience: Patience,
    /// Its body may have this many bytes.
    pub(super) body_limit: u64,
    /// Its body is passed on as it comes.
    pub(super) streams: bool,
    /// How its app's workers are chosen.
    pub(super) select: Option<Select>,
}

impl Edge {
    /// Notes whom a request is for.
    pub(super) fn note_host(&mut self, head: &RequestHead, buf: &[u8]) {
        let authority = head.authority(buf);
        let Routing { authority: last, host, is_address, .. } = &mut self.routing;
        if last != authority {
            last.clear();
            last.extend_from_slice(authority);
            host::normalize(authority, host);
            *is_address = host::is_ip_or_localhost(host);
        }
    }

    /// Whether the edge's own endpoints are served at the host noted last: at every host that is
    /// configured, and where it is asked by address or by its own name.
    pub(super) fn serves_builtins(&self) -> bool {
        let host = &self.routing.host;
        let is_own = self.routing.is_address || host == SERVER_NAME.as_bytes();
        is_own || self.snapshots.active().table.knows_host(host)
    }

    /// The active configuration's way for a request to the host noted last.
    pub(super) fn way(&mut self, head: &RequestHead, buf: &[u8]) -> Way {
        let snapshot = self.snapshots.active();
        let Routing { host, path, scratch, allow, .. } = &mut self.routing;
        let path = match routing_path(head.path(), buf, path) {
            // A question about the server as a whole is one about its root.
            b"*" => b"/",
            path => path,
        };
        match snapshot.table.find(host, path, head.method(buf), scratch) {
            Found::Rule(rule) => match way_of(snapshot, rule) {
                // There only the edge itself asks apps.
                Way::App(_) if is_private(snapshot, rule, path) => Way::Refused(Reason::NotFound),
                way => way,
            },
            Found::MethodNotAllowed => {
                *allow = Some(scratch.allow().to_vec());
                Way::Refused(Reason::MethodNotAllowed)
            }
            Found::NoRoute => Way::Refused(Reason::NotFound),
            Found::UnknownHost => Way::Refused(Reason::HostNotFound),
        }
    }

    /// The mount of sessions that owns a request's path at the host noted last.
    pub(super) fn session_mount(
        &mut self,
        head: &RequestHead,
        buf: &[u8],
    ) -> Option<Arc<SessionsConfig>> {
        let sessions = &self.snapshots.active().sessions;
        if sessions.is_empty() {
            return None;
        }
        let path = routing_path(head.path(), buf, &mut self.routing.path);
        sessions.at(&self.routing.host, path).cloned()
    }

    /// What is asked of `mount`, which owns the request's path; and that path, its dot segments resolved.
    pub(super) fn session_endpoint(
        &mut self,
        mount: &str,
        head: &RequestHead,
        buf: &[u8],
    ) -> (String, Result<Endpoint, Refusal>) {
        let room = &mut self.routing.path;
        let method = String::from_utf8_lossy(head.method(buf));
        let sent = String::from_utf8_lossy(sent_path(head.path(), buf, room)).into_owned();
        let found = Endpoint::find(mount, &method, &sent).or_else(|| {
            // Only decoded is it below the mount.
            let path = String::from_utf8_lossy(routing_path(head.path(), buf, room));
            Endpoint::find(mount, &method, &path)
        });
        let found = found.unwrap_or_else(|| Err(Refusal::NoRoute(sent.clone())));
        (sent, found)
    }

    /// The rule that would take a `GET` of `path` at the host noted last.
    pub(super) fn rule_at(&mut self, path: &[u8]) -> Option<usize> {
        let snapshot = self.snapshots.active();
        let Routing { host, scratch, .. } = &mut self.routing;
        match snapshot.table.find(host, path, b"GET", scratch) {
            Found::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// Appends the rules that change heads of the request looked at last, which `rule` takes.
    pub(super) fn collect_changes(&self, rule: usize, changes: &mut Vec<usize>) {
        self.collect_changes_of(Some(rule), changes);
    }

    /// The same, where perhaps no rule takes the request.
    pub(super) fn collect_changes_of(&self, rule: Option<usize>, changes: &mut Vec<usize>) {
        let snapshot = self.snapshots.active();
        snapshot.table.headers().collect(self.routing.scratch.headers(), rule, changes);
    }
}

/// Whether the app that `rule` leads to is asked at `path` by the edge itself alone.
fn is_private(snapshot: &Snapshot, rule: usize, path: &[u8]) -> bool {
    let of_turns = || match snapshot.config.routes.get(rule).map(|rule| &rule.action) {
        Some(RouteAction::ToApp { app_id }) => snapshot.sessions.is_private(app_id, path),
        _ => false,
    };
    snapshot.realtime.is_private(path) || of_turns()
}

fn way_of(snapshot: &Snapshot, index: usize) -> Way {
    let Some(rule) = snapshot.config.routes.get(index) else {
        return Way::Refused(Reason::NotFound);
    };
    match &rule.action {
        RouteAction::Redirect { .. } => Way::Redirect(index),
        RouteAction::Proxy { .. } => match snapshot.upstream_of(index) {
            None => Way::Refused(Reason::NotFound),
            Some((place, upstream)) => {
                let patience = Patience {
                    connect: upstream.connect,
                    read: upstream.read,
                    ..Patience::default()
                };
                let errand = Errand::new(snapshot, index, rule, patience);
                Way::Proxy(Errand { upstream: Some(place), streams: true, ..errand })
            }
        },
        RouteAction::Static(_) => Way::Static(index),
        // The table never ends with a rule that only changes headers.
        RouteAction::Headers(_) => Way::Refused(Reason::NotFound),
        RouteAction::ToApp { .. } => match snapshot.app_of(index) {
            None => Way::Refused(Reason::NotFound),
            Some((app, pool)) => {
                let errand = Errand::new(snapshot, index, rule, Patience::from(&app.timeouts));
                let streams = rule.stream_request.unwrap_or(app.stream_request);
                let select = Some(app.select);
                Way::App(Errand { pool: pool.number, streams, select, ..errand })
            }
        },
    }
}

impl Errand {
    /// What the rule at `index` says of its requests, beside where they go.
    fn new(snapshot: &Snapshot, index: usize, rule: &RouteRule, mut patience: Patience) -> Self {
        if let Some(own) = &rule.timeouts {
            patience.connect = own.connect.unwrap_or(patience.connect);
            patience.read = own.read.unwrap_or(patience.read);
            patience.queue = own.queue.unwrap_or(patience.queue);
        }
        let limits = &snapshot.config.edge.limits;
        let body_limit = rule.body_limit.unwrap_or(limits.body_bytes);
        let pool = PoolNumber::NONE;
        let (upstream, streams, select) = (None, false, None);
        Self { pool, upstream, rule: index, patience, body_limit, streams, select }
    }
}
