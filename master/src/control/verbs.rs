//! What may be asked on the control socket: requests become verbs, refusals become statuses.

use super::certs::CertOrder;
use super::orders::Order;
use super::reload::{Destination, HostChange};
use super::server::{Answer, Request};
use super::upgrade::UpgradeOrder;
use rip::guard::request_id::RequestId;
use rip::http1::Method;
use rip::ids::{AppId, WorkerId};
use rip::observe::prometheus::Format;
use rip::reload::overlay::Target;
use rip::supervise::supervisor;
use rip::wire::admit;
use rip::wire::verb::WorkerVerb;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// Something the master is asked to do or tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verb {
    /// The apps and how they are doing.
    Apps,
    /// The certificates that are served.
    Certs,
    /// Something is wanted of certificates.
    CertOrder {
        /// What.
        order: CertOrder,
        /// Answer when it is so, not when it has begun.
        wait: bool,
    },
    /// The active configuration.
    Config,
    /// Everything the server says of itself.
    Diagnostics,
    /// A link into the dashboard is wanted.
    DashboardLogin,
    /// What happens, as it happens.
    Events {
        /// The last event the follower has seen.
        seen: Option<u64>,
    },
    /// What became of a request.
    Explain {
        /// Its id.
        id: String,
    },
    /// The attempts to change the configuration.
    History,
    /// A host is added or removed.
    Host {
        /// Which, and where its requests go.
        change: HostChange,
        /// Answer when that is so, not when it has begun.
        wait: bool,
    },
    /// What is counted and measured, as text.
    Metrics {
        /// How it is written.
        format: Format,
    },
    /// Something is to be made true.
    Order {
        /// What.
        order: Order,
        /// Answer when it is, not when it has begun.
        wait: bool,
    },
    /// What a reload would do.
    Plan {
        /// With this file in the place of the master's own.
        file: Option<String>,
    },
    /// What happened last.
    RecentEvents,
    /// Which host leads to which app.
    Registry,
    /// The version before the active one is to be active again.
    Rollback {
        /// Answer when it is, not when it has begun.
        wait: bool,
    },
    /// Sessions and their turns.
    Sessions,
    /// How the server is doing.
    Status,
    /// End.
    Stop {
        /// Without waiting for what is in flight.
        now: bool,
    },
    /// Another master is to take this one's place.
    Upgrade {
        /// How.
        order: UpgradeOrder,
        /// Answer when it has, not when it has begun to.
        wait: bool,
    },
    /// The servers that are not ours, and how they are.
    Upstreams,
    /// Pages below a prefix want to hear of changed files.
    Watch(WatchPages),
    /// A worker joins or quits.
    Worker {
        /// Which, and what it says of itself.
        verb: WorkerVerb,
        /// What it shows for it.
        authorization: Option<Vec<u8>>,
    },
    /// The workers and what they are doing.
    Workers,
}

impl Verb {
    /// Understands a request.
    ///
    /// # Errors
    /// The answer to a request that is not understood.
    pub fn of(request: &mut Request) -> Result<Self, Answer> {
        let routes = || ROUTES.iter().filter(|route| route.is_at(&request.path));
        if let Some(route) = routes().find(|route| route.takes(request.method)) {
            return (route.understand)(request);
        }
        let allow: Vec<_> = routes().map(|route| route.allow).collect();
        if allow.is_empty() {
            let mut paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
            paths.dedup();
            return Err(Answer::refused(
                404,
                format!("there is no {}", request.path),
                format!("there are {}", paths.join(", ")),
            ));
        }
        let allow = allow.join(", ");
        let mut answer = Answer::refused(405, format!("{} takes {allow} only", request.path), "");
        answer.allow = Some(allow);
        Err(answer)
    }

    /// Whether a client of the public side may have it, be it one that may see and order everything
    /// that clients may. Everything else takes the right to the control socket.
    pub fn is_for_clients(&self) -> bool {
        match self {
            Self::Diagnostics | Self::Metrics { .. } | Self::RecentEvents => true,
            Self::Order { order, .. } => {
                matches!(order, Order::Reload | Order::Restart(_) | Order::Scale { .. })
            }
            _ => false,
        }
    }
}

/// A join or quit that is not believed.
pub fn refusal(refusal: admit::Refusal) -> Answer {
    let hint = match refusal {
        admit::Refusal::UnknownWorker => "the worker should end: nobody will use it",
        admit::Refusal::WrongIdentity | admit::Refusal::WrongToken => {
            "only the shim that the master started may speak for its worker"
        }
    };
    Answer::refused(403, refusal.to_string(), hint)
}

/// A join or quit that is believed and comes too late.
pub fn too_late(refusal: supervisor::Refusal) -> Answer {
    Answer::refused(403, refusal.to_string(), "the worker should end: nobody will use it")
}

/// Whose pages, made of what.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WatchPages {
    /// `/site`; its pages listen at `/site/watch`. Without a slash at its end.
    pub prefix: String,
    /// The directories, relative to the app's; at least one.
    pub dirs: Vec<PathBuf>,
}

struct Route {
    path: &'static str,
    allow: &'static str,
    understand: fn(&mut Request) -> Result<Verb, Answer>,
}

impl Route {
    /// Whether `path` is its own; what ends with a slash is so with a name behind it.
    fn is_at(&self, path: &str) -> bool {
        match self.path.ends_with('/') {
            true => path.strip_prefix(self.path).is_some_and(|name| !name.contains('/')),
            false => path == self.path,
        }
    }

    fn takes(&self, method: Method) -> bool {
        match self.allow {
            "DELETE" => method == Method::Delete,
            "POST" => method == Method::Post,
            _ => matches!(method, Method::Get | Method::Head),
        }
    }
}

/// Those of one path stand together.
const ROUTES: [Route; 30] = [
    Route { path: "/apps", allow: "GET", understand: |_| Ok(Verb::Apps) },
    Route { path: "/certs", allow: "GET", understand: |_| Ok(Verb::Certs) },
    Route { path: "/config", allow: "GET", understand: |_| Ok(Verb::Config) },
    Route { path: "/control/certs/reload", allow: "POST", understand: reload_certs },
    Route { path: "/control/certs/renew", allow: "POST", understand: renew_cert },
    Route {
        path: "/control/dashboard-login",
        allow: "POST",
        understand: |asked| body_or_default(asked).map(|Nothing {}| Verb::DashboardLogin),
    },
    Route { path: "/control/drain", allow: "POST", understand: drain },
    Route {
        path: "/control/pause",
        allow: "POST",
        understand: |asked| on_app(asked, Order::Pause),
    },
    Route { path: "/control/plan", allow: "POST", understand: plan },
    Route { path: "/control/reload", allow: "POST", understand: reload },
    Route {
        path: "/control/restart",
        allow: "POST",
        understand: |asked| on_app(asked, Order::Restart),
    },
    Route {
        path: "/control/resume",
        allow: "POST",
        understand: |asked| on_app(asked, Order::Resume),
    },
    Route { path: "/control/rollback", allow: "POST", understand: rollback },
    Route { path: "/control/scale", allow: "POST", understand: scale },
    Route { path: "/control/stop", allow: "POST", understand: stop },
    Route { path: "/control/upgrade", allow: "POST", understand: upgrade },
    Route { path: "/diagnostics", allow: "GET", understand: |_| Ok(Verb::Diagnostics) },
    Route { path: "/events", allow: "GET", understand: events },
    Route { path: "/explain/", allow: "GET", understand: explain },
    Route { path: "/history", allow: "GET", understand: |_| Ok(Verb::History) },
    Route { path: "/metrics", allow: "GET", understand: metrics },
    Route { path: "/registry", allow: "GET", understand: |_| Ok(Verb::Registry) },
    Route { path: "/registry", allow: "POST", understand: add_host },
    Route { path: "/registry", allow: "DELETE", understand: remove_host },
    Route { path: "/sessions", allow: "GET", understand: |_| Ok(Verb::Sessions) },
    Route { path: "/status", allow: "GET", understand: |_| Ok(Verb::Status) },
    Route { path: "/upstreams", allow: "GET", understand: |_| Ok(Verb::Upstreams) },
    Route { path: "/watch", allow: "POST", understand: watch },
    Route { path: "/worker", allow: "POST", understand: worker },
    Route { path: "/workers", allow: "GET", understand: |_| Ok(Verb::Workers) },
];

fn metrics(request: &mut Request) -> Result<Verb, Answer> {
    Ok(Verb::Metrics { format: Format::preferred(&request.accept) })
}

fn worker(request: &mut Request) -> Result<Verb, Answer> {
    let verb = body(request)?;
    Ok(Verb::Worker { verb, authorization: request.authorization.take() })
}

fn events(request: &mut Request) -> Result<Verb, Answer> {
    let asked = match request.query.as_str() {
        "" | "follow=true" => true,
        "follow=false" => false,
        other => {
            return Err(Answer::refused(
                400,
                format!("/events does not take '{other}'"),
                "there is follow=false",
            ));
        }
    };
    if !asked || request.method == Method::Head {
        return Ok(Verb::RecentEvents);
    }
    let seen = match request.last_event_id.as_deref() {
        None => None,
        Some(text) => Some(
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                Answer::refused(
                    400,
                    "Last-Event-ID is not a number",
                    "leave it out to begin with the next event",
                )
            })?,
        ),
    };
    Ok(Verb::Events { seen })
}

fn explain(request: &mut Request) -> Result<Verb, Answer> {
    let id = request.path.strip_prefix("/explain/").unwrap_or_default();
    if !RequestId::is_one(id.as_bytes()) {
        let hint = "1 to 128 of the letters, digits and . _ - that a request's id is made of: \
                    /explain/req-0123456789ab";
        return Err(Answer::refused(400, format!("'{id}' is no request's id"), hint));
    }
    Ok(Verb::Explain { id: id.to_owned() })
}

fn on_app(request: &mut Request, order: fn(Option<String>) -> Order) -> Result<Verb, Answer> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OnApp {
        app: Option<String>,
        wait: Option<bool>,
    }
    let OnApp { app, wait } = body_or_default(request)?;
    Ok(Verb::Order { order: order(app), wait: wait.unwrap_or(true) })
}

/// Nothing is to be said.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitOnly {
    wait: Option<bool>,
}

fn reload(request: &mut Request) -> Result<Verb, Answer> {
    let WaitOnly { wait } = body_or_default(request)?;
    Ok(Verb::Order { order: Order::Reload, wait: wait.unwrap_or(true) })
}

fn reload_certs(request: &mut Request) -> Result<Verb, Answer> {
    let WaitOnly { wait } = body_or_default(request)?;
    Ok(Verb::CertOrder { order: CertOrder::Reload, wait: wait.unwrap_or(true) })
}

fn renew_cert(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Renew {
        name: String,
        wait: Option<bool>,
    }
    let Renew { name, wait } = body(request)?;
    let order = CertOrder::Renew(name.to_ascii_lowercase());
    Ok(Verb::CertOrder { order, wait: wait.unwrap_or(true) })
}

fn rollback(request: &mut Request) -> Result<Verb, Answer> {
    let WaitOnly { wait } = body_or_default(request)?;
    Ok(Verb::Rollback { wait: wait.unwrap_or(true) })
}

fn plan(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plan {
        file: Option<String>,
    }
    let Plan { file } = body_or_default(request)?;
    match file {
        Some(file) if !file.starts_with('/') => {
            let error = format!("'{file}' is no whole path");
            Err(Answer::refused(400, error, "it begins with /"))
        }
        file => Ok(Verb::Plan { file }),
    }
}

fn add_host(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Add {
        host: String,
        app: Option<AppId>,
        path: Option<String>,
        wait: Option<bool>,
    }
    let Add { host, app, path, wait } = body(request)?;
    let target = match (app, path) {
        (Some(app), None) => Destination::Named(Target::App(app)),
        (None, None) => Destination::TheOnlyApp,
        (None, Some(path)) if is_relative(&path) => {
            let error = format!("'{path}' is no whole path");
            return Err(Answer::refused(400, error, "it begins with /"));
        }
        (None, Some(path)) => Destination::Named(Target::Path { path, app: None }),
        (Some(_), Some(_)) => {
            let error = "a host leads either to an app or to a path";
            return Err(Answer::refused(400, error, "say one of app and path"));
        }
    };
    let change = HostChange { host, target: Some(target) };
    Ok(Verb::Host { change, wait: wait.unwrap_or(true) })
}

fn remove_host(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Remove {
        host: String,
        wait: Option<bool>,
    }
    let Remove { host, wait } = body(request)?;
    Ok(Verb::Host { change: HostChange { host, target: None }, wait: wait.unwrap_or(true) })
}

/// A path that means another place to another process.
fn is_relative(path: &str) -> bool {
    path.is_empty() || path.starts_with('.') || (path.contains('/') && !path.starts_with('/'))
}

fn scale(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Scale {
        app: Option<String>,
        workers: u32,
        wait: Option<bool>,
    }
    let Scale { app, workers, wait } = body(request)?;
    if !(1..=WORKER_COUNT).contains(&workers) {
        let error = format!("{workers} is not a number of workers");
        return Err(Answer::refused(400, error, format!("from 1 to {WORKER_COUNT} are")));
    }
    Ok(Verb::Order { order: Order::Scale { app, workers }, wait: wait.unwrap_or(true) })
}

fn drain(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Drain {
        worker_id: WorkerId,
        wait: Option<bool>,
    }
    let Drain { worker_id, wait } = body(request)?;
    Ok(Verb::Order { order: Order::Drain(worker_id), wait: wait.unwrap_or(true) })
}

fn stop(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Stop {
        #[serde(default)]
        now: bool,
    }
    let Stop { now } = body_or_default(request)?;
    Ok(Verb::Stop { now })
}

fn upgrade(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Upgrade {
        binary: Option<String>,
        within_ms: Option<u64>,
        wait: Option<bool>,
    }
    let Upgrade { binary, within_ms, wait } = body_or_default(request)?;
    if let Some(path) = binary.as_ref().filter(|path| !path.starts_with('/')) {
        let error = format!("'{path}' is no whole path");
        return Err(Answer::refused(400, error, "it begins with /"));
    }
    let within = within_ms.map(|millis| Duration::from_millis(millis.clamp(1, LONGEST_UPGRADE_MS)));
    Ok(Verb::Upgrade { order: UpgradeOrder { binary, within }, wait: wait.unwrap_or(true) })
}

/// A day: nobody waits longer.
const LONGEST_UPGRADE_MS: u64 = 24 * 3600 * 1000;

fn watch(request: &mut Request) -> Result<Verb, Answer> {
    let mut watch: WatchPages = body(request)?;
    watch.prefix.truncate(watch.prefix.trim_end_matches('/').len());
    let is_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'%');
    if !(watch.prefix.is_empty() || watch.prefix.starts_with('/'))
        || !watch.prefix.bytes().all(is_path)
    {
        let error = format!("'{}' is not the beginning of a path", watch.prefix);
        return Err(Answer::refused(400, error, "for example /site"));
    }
    if watch.dirs.is_empty() || watch.dirs.len() > WATCH_DIRECTORIES {
        let error = format!("between 1 and {WATCH_DIRECTORIES} dirs can be watched");
        return Err(Answer::refused(400, error, ""));
    }
    Ok(Verb::Watch(watch))
}

/// Directories of one prefix.
const WATCH_DIRECTORIES: usize = 64;

fn body_or_default<T: Default + DeserializeOwned>(request: &Request) -> Result<T, Answer> {
    if request.body.is_empty() { Ok(T::default()) } else { body(request) }
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Answer> {
    serde_json::from_slice(&request.body).map_err(|error| {
        Answer::refused(400, format!("the body is not what {} takes: {error}", request.path), "")
    })
}

/// Workers an app may have.
pub const WORKER_COUNT: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::server::{Asker, By, ConnectionId};
    use crate::sys::peer::Peer;
    use rip::wire::verb::Refused;

    fn ask(method: Method, path: &str, body: &str) -> Result<Verb, (u16, Refused)> {
        let mut request = Request {
            from: Asker::Connection(ConnectionId(1)),
            method,
            path: path.split('?').next().unwrap_or_default().to_owned(),
            query: path.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
            last_event_id: None,
            authorization: None,
            accept: Vec::new(),
            body: body.as_bytes().to_vec(),
            by: By::Process(Peer { uid: 0, gid: 0, pid: 1 }),
        };
        Verb::of(&mut request).map_err(|answer| {
            let body = serde_json::from_slice(&answer.body).expect("every refusal is one");
            (answer.status, body)
        })
    }

    fn status(method: Method, path: &str, body: &str) -> u16 {
        ask(method, path, body).expect_err("it is refused").0
    }

    #[test]
    fn paths_methods_and_bodies_are_checked_in_that_order() {
        assert_eq!(ask(Method::Get, "/apps", ""), Ok(Verb::Apps));
        assert_eq!(ask(Method::Get, "/upstreams", ""), Ok(Verb::Upstreams));
        assert_eq!(ask(Method::Get, "/certs", ""), Ok(Verb::Certs));
        let reload = Verb::CertOrder { order: CertOrder::Reload, wait: true };
        assert_eq!(ask(Method::Post, "/control/certs/reload", ""), Ok(reload));
        let renew = ask(Method::Post, "/control/certs/renew", r#"{"name":"A.x","wait":false}"#);
        let order = CertOrder::Renew("a.x".to_owned());
        assert_eq!(renew, Ok(Verb::CertOrder { order, wait: false }));
        assert_eq!(status(Method::Post, "/control/certs/renew", ""), 400);
        assert_eq!(ask(Method::Head, "/workers", ""), Ok(Verb::Workers));
        assert_eq!(ask(Method::Post, "/control/stop", ""), Ok(Verb::Stop { now: false }));
        let now = ask(Method::Post, "/control/stop", r#"{"now":true}"#);
        assert_eq!(now, Ok(Verb::Stop { now: true }));
        assert_eq!(ask(Method::Get, "/events", ""), Ok(Verb::Events { seen: None }));
        assert_eq!(ask(Method::Get, "/events?follow=false", ""), Ok(Verb::RecentEvents));
        assert_eq!(ask(Method::Head, "/events", ""), Ok(Verb::RecentEvents), "it has an end");
        assert_eq!(status(Method::Get, "/events?fellow=no", ""), 400);
        assert_eq!(status(Method::Get, "/watch", ""), 405);
        assert_eq!(status(Method::Get, "/nothing", ""), 404);
        assert_eq!(status(Method::Get, "/control/stop", ""), 405);
        assert_eq!(status(Method::Post, "/apps", "{"), 405);
        assert_eq!(status(Method::Post, "/worker", "{"), 400);
        assert_eq!(status(Method::Post, "/worker", r#"{"op":"dance"}"#), 400);
        assert_eq!(status(Method::Post, "/control/stop", r#"{"nwo":true}"#), 400);
    }

    #[test]
    fn clients_may_look_and_order_little() {
        let may = |method, path, body| {
            ask(method, path, body).expect("it is understood").is_for_clients()
        };
        for path in ["/diagnostics", "/metrics", "/events?follow=false"] {
            assert!(may(Method::Get, path, ""), "{path}");
        }
        for path in ["/apps", "/config", "/events", "/sessions", "/workers"] {
            assert!(!may(Method::Get, path, ""), "{path}");
        }
        for (path, body) in [
            ("/control/reload", ""),
            ("/control/restart", ""),
            ("/control/scale", r#"{"workers":2}"#),
        ] {
            assert!(may(Method::Post, path, body), "{path}");
        }
        for (path, body) in [
            ("/control/stop", ""),
            ("/control/pause", ""),
            ("/control/rollback", ""),
            ("/control/drain", r#"{"workerId":1}"#),
            ("/watch", r#"{"prefix":"/a","dirs":["x"]}"#),
            ("/registry", r#"{"host":"a.x"}"#),
        ] {
            assert!(!may(Method::Post, path, body), "{path}");
        }
    }

    #[test]
    fn a_prefix_is_the_beginning_of_a_path() {
        for (prefix, expected) in
            [("/site", Some("/site")), ("/site/", Some("/site")), ("/", Some("")), ("site", None)]
        {
            let body = format!(r#"{{"prefix":"{prefix}","dirs":["static"]}}"#);
            let found = match ask(Method::Post, "/watch", &body) {
                Ok(Verb::Watch(watch)) => Some(watch.prefix),
                _ => None,
            };
            assert_eq!(found.as_deref(), expected, "{prefix}");
        }
        for body in [r#"{"prefix":"/a?b","dirs":["x"]}"#, r#"{"prefix":"/a","dirs":[]}"#, "{}"] {
            assert_eq!(status(Method::Post, "/watch", body), 400, "{body}");
        }
    }

    #[test]
    fn orders_are_understood() {
        let order = |path, body| match ask(Method::Post, path, body) {
            Ok(Verb::Order { order, wait }) => (order, wait),
            other => panic!("{path} {body}: {other:?}"),
        };
        let api = || Some("api".to_owned());
        assert_eq!(order("/control/restart", ""), (Order::Restart(None), true));
        assert_eq!(order("/control/restart", r#"{"app":"api"}"#), (Order::Restart(api()), true));
        assert_eq!(order("/control/reload", r#"{"wait":false}"#), (Order::Reload, false));
        assert_eq!(order("/control/pause", r#"{"app":"api"}"#), (Order::Pause(api()), true));
        assert_eq!(order("/control/resume", "{}"), (Order::Resume(None), true));
        assert_eq!(order("/control/drain", r#"{"workerId":3}"#), (Order::Drain(WorkerId(3)), true));
        let scale = order("/control/scale", r#"{"app":"api","workers":8,"wait":false}"#);
        assert_eq!(scale, (Order::Scale { app: api(), workers: 8 }, false));
        for (path, body) in [
            ("/control/restart", r#"{"worker":1}"#),
            ("/control/reload", r#"{"app":"api"}"#),
            ("/control/drain", ""),
            ("/control/drain", r#"{"workerId":"w3"}"#),
            ("/control/scale", "{}"),
            ("/control/scale", r#"{"workers":0}"#),
            ("/control/scale", r#"{"workers":4097}"#),
            ("/control/scale", r#"{"workers":-1}"#),
        ] {
            assert_eq!(status(Method::Post, path, body), 400, "{path} {body}");
        }
        assert_eq!(status(Method::Get, "/control/restart", ""), 405);
    }

    #[test]
    fn an_upgrade_may_name_a_program_and_a_time() {
        let plain = Verb::Upgrade { order: UpgradeOrder::default(), wait: true };
        assert_eq!(ask(Method::Post, "/control/upgrade", ""), Ok(plain));
        let body = r#"{"binary":"/opt/rip","withinMs":5000,"wait":false}"#;
        let order = UpgradeOrder {
            binary: Some("/opt/rip".to_owned()),
            within: Some(Duration::from_secs(5)),
        };
        let full = Verb::Upgrade { order, wait: false };
        assert_eq!(ask(Method::Post, "/control/upgrade", body), Ok(full));
        assert_eq!(status(Method::Post, "/control/upgrade", r#"{"binary":"rip"}"#), 400);
        assert_eq!(status(Method::Post, "/control/upgrade", r#"{"force":true}"#), 400);
    }

    #[test]
    fn hosts_are_added_and_removed() {
        let host = |method, body| match ask(method, "/registry", body) {
            Ok(Verb::Host { change: HostChange { host, target }, wait }) => (host, target, wait),
            other => panic!("{body}: {other:?}"),
        };
        let named = |name: &str| name.to_owned();
        let app = Some(Destination::Named(Target::App(AppId::new("api"))));
        let added = host(Method::Post, r#"{"host":"a.x","app":"api"}"#);
        assert_eq!(added, (named("a.x"), app, true));
        let path = Target::Path { path: named("/srv/a"), app: None };
        let path = Some(Destination::Named(path));
        let added = host(Method::Post, r#"{"host":"a.x","path":"/srv/a","wait":false}"#);
        assert_eq!(added, (named("a.x"), path, false));
        let only = Some(Destination::TheOnlyApp);
        assert_eq!(host(Method::Post, r#"{"host":"a.x"}"#), (named("a.x"), only, true));
        assert_eq!(host(Method::Delete, r#"{"host":"a.x"}"#), (named("a.x"), None, true));
        for body in [
            r#"{"host":"a.x","app":"a","path":"/b"}"#,
            r#"{"host":"a.x","path":"srv/a"}"#,
            r#"{"host":"a.x","path":"./a"}"#,
            r#"{"app":"a"}"#,
            "",
        ] {
            assert_eq!(status(Method::Post, "/registry", body), 400, "{body}");
        }
        let Err((status, refused)) = ask(Method::Put, "/registry", "{}") else {
            panic!("it is refused")
        };
        assert_eq!((status, &*refused.error), (405, "/registry takes GET, POST, DELETE only"));
    }

    #[test]
    fn a_join_is_understood() {
        let body = r#"{"op":"join","workerId":3,"generation":7,"version":7,"pid":10,"appPid":11,
            "socket":"/w3.sock","appId":"api","keepAlive":true}"#;
        let verb = ask(Method::Post, "/worker", body).expect("it is a join");
        assert!(matches!(
            verb,
            Verb::Worker { verb: WorkerVerb::Join(join), .. } if join.app_pid == 11
        ));
    }
}
