//! `why`: which rule of an Edgefile gets a request, and why each other one does not.

use super::args::Why;
use super::check::{accepted, path_of};
use super::ctl::say;
use super::exit::{Exit, Failure};
use rip::contract::config::Config;
use rip::contract::listen::FreePorts;
use rip::contract::realtime::{PATH, RealtimeConfig};
use rip::contract::route::RouteAction;
use rip::contract::sessions::{SessionsConfig, owns};
use rip::ids::AppId;
use rip::route::Found;
use rip::route::host::{HostPattern, is_ip_or_localhost, normalize};
use rip::route::path::{PathRoom, resolve};
use rip::route::secure::ToHttps;
use rip::route::why::{Explanation, explain};

/// Explains where a request would go.
///
/// # Errors
/// The URL is none, or the file is wrong.
pub fn why(flags: &Why) -> Result<Exit, Failure> {
    let request = Request::read(&flags.url)?;
    // It is not listened at anything here.
    let config = accepted(&path_of(flags.file.as_deref()), FreePorts { http: true, https: true })?;
    let (host, path) = (request.host.as_slice(), request.path.as_slice());
    let explanation = explain(&config.routes, host, path, flags.method.as_bytes());
    let own = own_endpoint(&config, host, path);
    let notes = notes(&config, &request, &flags.method, &explanation);
    let sent_to = sent_to(&config, &request, own);
    let sent_to = sent_to.as_deref();
    let text = match flags.json {
        true => json(&explanation, own, sent_to, &notes)?,
        false => text(&explanation, own, sent_to, &notes),
    };
    say(&text)
}

/// What rules are compared with.
#[derive(Debug, Eq, PartialEq)]
struct Request {
    host: Vec<u8>,
    path: Vec<u8>,
    /// It comes over HTTPS.
    is_secure: bool,
}

impl Request {
    /// Takes `http://HOST:PORT/PATH?QUERY#FRAGMENT` apart; of its parts only a slash is needed.
    fn read(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!("'{url}' is no URL of a server: {why}"))
                .tip("for example http://example.com/path, example.com/path or /path")
        };
        let (is_secure, rest) = match url.split_once("://") {
            Some((scheme, rest)) if ["https", "wss"].contains(&scheme) => (true, rest),
            Some((scheme, rest)) if ["http", "ws"].contains(&scheme) => (false, rest),
            Some((scheme, _)) if !scheme.contains(['/', '?']) => {
                return Err(wrong("it begins neither with http:// nor with https://"));
            }
            _ => (false, url),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err(wrong("a server is not told users"));
        }
        let mut host = Vec::new();
        normalize(authority.as_bytes(), &mut host);
        let path = resolve(path.as_bytes(), &mut PathRoom::new()).map_err(wrong)?.to_vec();
        Ok(Self { host, path, is_secure })
    }
}

/// The name of the server's own endpoint that gets the request before any rule, as it does in the
/// edge.
fn own_endpoint(config: &Config, host: &[u8], path: &[u8]) -> Option<&'static str> {
    let paths = config.edge.builtin.paths().into_iter();
    let mut own = paths.filter_map(|(name, own)| Some((name, own.as_deref()?)));
    let (name, _) = own.find(|(_, own)| own.as_bytes() == path)?;
    let knows = |rule: &str| HostPattern::new(rule).takes(host);
    let is_served = config.routes.iter().any(|rule| knows(&rule.host)) || is_ip_or_localhost(host);
    is_served.then_some(name)
}

/// What else becomes of the request, or of others like it, than the rules say.
fn notes(
    config: &Config,
    request: &Request,
    method: &str,
    explanation: &Explanation,
) -> Vec<String> {
    let path = request.path.as_slice();
    let mut notes = Vec::new();
    let app = explanation.winner.and_then(|winner| match &config.routes.get(winner)?.action {
        RouteAction::ToApp { app_id } => Some(app_id),
        _ => None,
    });
    let hidden = config.apps.iter().find(|app| app.realtime_path.as_bytes() == path);
    if let (Some(hidden), Some(_)) = (hidden, app) {
        let id = &hidden.id;
        notes.push(format!(
            "it is answered 404: there the server tells app {id} of its WebSocket clients"
        ));
    }
    let turns = app.and_then(|id| config.apps.iter().find(|app| app.id == *id));
    let has_sessions = |id: &AppId| config.sessions.iter().any(|mount| mount.app_id == *id);
    if let Some(app) = turns.filter(|app| has_sessions(&app.id))
        && app.turn_path.as_bytes() == path
    {
        let id = &app.id;
        notes.push(format!("it is answered 404: there the server asks app {id} to run turns"));
    }
    let knows = |host: &String| HostPattern::new(host).takes(&request.host);
    if let Some(mount) = mount_of(config, &request.host, path) {
        let id = &mount.app_id;
        notes.push(match is_socket(mount, path) {
            true if !mount.websockets => {
                "the server answers it 426: WebSockets of sessions are off here".to_owned()
            }
            true => format!("the server takes it: WebSockets of sessions of app {id}"),
            false => format!("the server takes it: sessions of app {id}"),
        });
    }
    let named = |endpoint: &&RealtimeConfig| endpoint.hosts.iter().any(knows);
    let at = |endpoint: &&RealtimeConfig| endpoint.path.as_bytes() == path;
    let unasked = app.filter(|app| {
        path == PATH.as_bytes() && !config.realtime.iter().any(|known| known.app_id == **app)
    });
    if let Some(endpoint) = config.realtime.iter().filter(named).find(at) {
        let id = &endpoint.app_id;
        notes.push(format!(
            "it is a realtime endpoint: the server holds WebSockets for app {id}, and answers \
             anything else 426"
        ));
    } else if let Some(id) = unasked {
        notes.push(format!(
            "upgrades to WebSocket are not given to app {id}: the server holds them for it"
        ));
    }
    let publishes = config.edge.publish.path.as_ref().is_some_and(|own| own.as_bytes() == path);
    if publishes && method == "POST" {
        notes.push("the server takes it: it is published to WebSocket clients".to_owned());
    }
    if request.is_secure && explanation.found == Found::UnknownHost {
        notes.push("over TLS that is a 421: the connection is not for this host".to_owned());
    }
    notes
}

/// The mount of sessions that gets the request, whatever the rules say: of several the one of the most
/// specific host, as in the edge.
fn mount_of<'c>(config: &'c Config, host: &[u8], path: &[u8]) -> Option<&'c SessionsConfig> {
    let rank = |mount: &SessionsConfig| {
        let hosts = mount.hosts.iter().map(|own| HostPattern::new(own));
        hosts.filter(|own| own.takes(host)).map(|own| own.rank()).min()
    };
    (config.sessions.iter())
        .filter(|mount| owns(&mount.mount, path))
        .filter_map(|mount| Some((rank(mount)?, mount)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, mount)| mount)
}

fn is_socket(mount: &SessionsConfig, path: &[u8]) -> bool {
    path.strip_prefix(mount.mount.as_bytes()).is_some_and(|below| below.starts_with(b"/ws"))
}

/// Where the request is sent before anything else, as it is in the edge, because it comes in the
/// clear: an origin.
fn sent_to(config: &Config, request: &Request, own: Option<&str>) -> Option<String> {
    let Request { host, is_secure, .. } = request;
    let is_local = own.is_some() && is_ip_or_localhost(host);
    let to_https = ToHttps::of(config).filter(|to| !is_secure && !is_local && to.takes(host))?;
    let mut origin = Vec::new();
    to_https.origin(host, &mut origin);
    Some(String::from_utf8_lossy(&origin).into_owned()).filter(|_| !host.is_empty())
}

fn text(
    explanation: &Explanation,
    own: Option<&str>,
    sent_to: Option<&str>,
    notes: &[String],
) -> String {
    let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
    let otherwise = if notes.is_empty() { "" } else { "otherwise: " };
    let told = notes + otherwise + &rule_text(explanation, own);
    match sent_to {
        Some(origin) => format!("over plain HTTP it is sent on to {origin}; there:\n{told}"),
        None => told,
    }
}

fn rule_text(explanation: &Explanation, own: Option<&str>) -> String {
    match own {
        Some(name) => {
            format!("the server answers it itself (builtin {name}=); without that:\n{explanation}")
        }
        None => explanation.to_string(),
    }
}

fn json(
    explanation: &Explanation,
    own: Option<&str>,
    sent_to: Option<&str>,
    notes: &[String],
) -> Result<String, Failure> {
    let mut value = serde_json::to_value(explanation)
        .map_err(|error| Failure::new(Exit::Failed, format!("it cannot be told: {error}")))?;
    if let (Some(object), Some(name)) = (value.as_object_mut(), own) {
        object.insert("builtin".to_owned(), name.into());
    }
    if let (Some(object), Some(origin)) = (value.as_object_mut(), sent_to) {
        object.insert("sentTo".to_owned(), origin.into());
    }
    if let (Some(object), false) = (value.as_object_mut(), notes.is_empty()) {
        object.insert("notes".to_owned(), notes.into());
    }
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::contract::app::AppDescriptor;
    use rip::contract::config::EdgeConfig;
    use rip::contract::route::RouteRule;

    #[test]
    fn a_url_is_what_rules_are_compared_with() {
        for (url, host, path) in [
            ("http://Example.com:8080/a/../b%20c?q=1#f", "example.com", "/b c"),
            ("https://example.com", "example.com", "/"),
            ("example.com/x", "example.com", "/x"),
            ("/x", "", "/x"),
            ("http://[::1]:80/", "[::1]", "/"),
            ("/to?back=http://a/", "", "/to"),
            ("*.example.com", "*.example.com", "/"),
        ] {
            let (host, path) = (host.as_bytes().to_vec(), path.as_bytes().to_vec());
            let is_secure = url.starts_with("https");
            assert_eq!(Request::read(url).unwrap(), Request { host, path, is_secure }, "{url}");
        }
        for url in ["ftp://example.com/", "http://me@example.com/", "/%zz", "/../../x"] {
            assert_eq!(Request::read(url).unwrap_err().exit.code(), 2, "{url}");
        }
    }

    #[test]
    fn the_servers_own_endpoints_come_first() {
        let action = RouteAction::ToApp { app_id: AppId::new("api") };
        let rule = RouteRule { line: Some(3), ..RouteRule::new("example.com", "/*", action) };
        let config =
            Config { edge: EdgeConfig::default(), routes: vec![rule], ..Config::default() };
        let own = |host: &str, path: &str| own_endpoint(&config, host.as_bytes(), path.as_bytes());
        assert_eq!(own("example.com", "/status"), Some("status"));
        assert_eq!(own("127.0.0.1", "/server"), Some("server"));
        assert_eq!(own("other.com", "/status"), None);
        assert_eq!(own("example.com", "/statuses"), None);

        let explanation = explain(&config.routes, b"example.com", b"/status", b"GET");
        let told = text(&explanation, Some("status"), None, &[]);
        assert!(told.starts_with("the server answers it itself (builtin status=)"), "{told}");
        assert!(told.contains("GET example.com/status → app api, by example.com/* (line 3)"));
        let told = json(&explanation, Some("status"), Some("https://x"), &[]).unwrap();
        assert!(told.contains(r#""builtin":"status""#) && told.contains(r#""winner":0"#), "{told}");
        assert!(told.contains(r#""sentTo":"https://x""#), "{told}");
    }

    #[test]
    fn what_comes_in_the_clear_is_sent_on() {
        let action = RouteAction::ToApp { app_id: AppId::new("api") };
        let routes = vec![RouteRule::new("example.com", "/*", action)];
        let mut config = Config { routes, ..Config::default() };
        config.edge.https = vec![":8443".parse().unwrap()];
        let sent = |url: &str, config: &Config| {
            let request = Request::read(url).unwrap();
            let own = own_endpoint(config, &request.host, &request.path);
            sent_to(config, &request, own)
        };
        let to = Some("https://example.com:8443".to_owned());
        assert_eq!(sent("http://example.com/a", &config), to);
        assert_eq!(sent("example.com/a", &config), to);
        assert_eq!(sent("https://example.com/a", &config), None);
        assert_eq!(sent("http://127.0.0.1/status", &config), None);
        assert_eq!(sent("/a", &config), None);
        config.plain_hosts.push("example.com".to_owned());
        assert_eq!(sent("http://example.com/a", &config), None);
        let explanation = explain(&config.routes, b"example.com", b"/a", b"GET");
        let told = text(&explanation, None, to.as_deref(), &[]);
        assert!(told.starts_with("over plain HTTP it is sent on to https://example.com:8443;"));
    }

    #[test]
    fn what_the_server_does_with_websockets_is_told() {
        let route = |host: &str, app: &str| {
            let action = RouteAction::ToApp { app_id: AppId::new(app) };
            RouteRule::new(host, "/*", action)
        };
        let mut live = RealtimeConfig::new("/live", AppId::new("api"), "/hear");
        live.hosts = vec!["example.com".to_owned()];
        let routes = vec![route("example.com", "api"), route("other.com", "web")];
        let config = Config { routes, realtime: vec![live], ..Config::default() };
        let told = |url: &str, method: &str| {
            let request = Request::read(url).unwrap();
            let (host, path) = (&request.host, &request.path);
            let explanation = explain(&config.routes, host, path, method.as_bytes());
            notes(&config, &request, method, &explanation).join("; ")
        };
        for (url, method, expected) in [
            ("http://example.com/live", "GET", "holds WebSockets for app api"),
            ("http://other.com/realtime", "GET", "not given to app web"),
            ("http://example.com/realtime", "GET", ""),
            ("http://other.com/live", "GET", ""),
            ("http://other.com/publish", "POST", "it is published"),
            ("http://other.com/publish", "GET", ""),
            ("https://nobody.com/", "GET", "a 421"),
            ("http://nobody.com/", "GET", ""),
        ] {
            let told = told(url, method);
            let is_it = if expected.is_empty() { told.is_empty() } else { told.contains(expected) };
            assert!(is_it, "{method} {url}: {told}");
        }
    }

    #[test]
    fn what_the_server_does_for_sessions_is_told() {
        let app = |id: &str| {
            let json = format!("{{\"id\":\"{id}\",\"turnPath\":\"/hear/turns\"}}");
            descriptor(&json)
        };
        let route = |host: &str, app: &str| {
            let action = RouteAction::ToApp { app_id: AppId::new(app) };
            RouteRule::new(host, "/*", action)
        };
        let mut everywhere = SessionsConfig::new("/v1", AppId::new("api"));
        everywhere.websockets = false;
        let mut there = SessionsConfig::new("/v1", AppId::new("api"));
        there.hosts = vec!["a.test".to_owned()];
        let config = Config {
            apps: vec![app("api"), app("web")],
            routes: vec![route("*", "api"), route("b.test", "web")],
            sessions: vec![everywhere, there],
            ..Config::default()
        };
        for (url, expected) in [
            ("http://a.test/v1/session/s_1/events", "the server takes it: sessions of app api"),
            ("http://a.test/v1/ws", "the server takes it: WebSockets of sessions of app api"),
            ("http://c.test/v1/ws", "the server answers it 426"),
            ("http://a.test/v1/other", ""),
            ("http://a.test/hear/turns", "there the server asks app api to run turns"),
            ("http://b.test/hear/turns", ""),
        ] {
            let request = Request::read(url).unwrap();
            let explanation = explain(&config.routes, &request.host, &request.path, b"POST");
            let told = notes(&config, &request, "POST", &explanation).join("; ");
            let is_it = if expected.is_empty() { told.is_empty() } else { told.contains(expected) };
            assert!(is_it, "{url}: {told}");
        }
    }

    /// An app of which only these fields matter.
    fn descriptor(fields: &str) -> AppDescriptor {
        let serde_json::Value::Object(fields) = serde_json::from_str(fields).unwrap() else {
            panic!("no object")
        };
        let mut json = serde_json::json!({
            "entry": "x", "hosts": [], "prefixes": [], "workers": 1, "concurrency": 1,
            "maxQueue": 1, "maxInflight": 1, "select": "lifo", "env": {},
            "restartPolicy": {"maxRestarts": 1, "backoffMs": 1, "windowMs": 1},
            "healthCheck": {"path": "/", "intervalMs": 1, "timeoutMs": 1, "unhealthyThreshold": 1},
            "recycle": {}, "surge": {"count": 1}, "reload": "none", "watch": [],
            "timeouts": {"connectMs": 1, "readMs": 1, "queueMs": 1, "startMs": 1, "drainMs": 1,
                         "killMs": 1, "stuckMs": 1, "keepaliveMs": null},
            "runtime": "builtin", "argv": ["x"], "cwd": "/", "listen": "fd", "readyBy": "http",
            "stopSignal": "TERM",
        });
        json.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(json).unwrap()
    }
}
