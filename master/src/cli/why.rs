//! `why`: which rule of an Edgefile gets a request, and why each other one does not.

use super::args::Why;
use super::check::{accepted, path_of};
use super::ctl::say;
use super::exit::{Exit, Failure};
use rip::contract::config::Config;
use rip::contract::listen::FreePorts;
use rip::route::host::{HostPattern, is_ip_or_localhost, normalize};
use rip::route::path::{PathRoom, resolve};
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
    let text = if flags.json { json(&explanation, own)? } else { text(&explanation, own) };
    say(&text)
}

/// What rules are compared with.
#[derive(Debug, Eq, PartialEq)]
struct Request {
    host: Vec<u8>,
    path: Vec<u8>,
}

impl Request {
    /// Takes `http://HOST:PORT/PATH?QUERY#FRAGMENT` apart; of its parts only a slash is needed.
    fn read(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!("'{url}' is no URL of a server: {why}"))
                .tip("for example http://example.com/path, example.com/path or /path")
        };
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if ["http", "https", "ws", "wss"].contains(&scheme) => rest,
            Some((scheme, _)) if !scheme.contains(['/', '?']) => {
                return Err(wrong("it begins neither with http:// nor with https://"));
            }
            _ => url,
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
        Ok(Self { host, path })
    }
}

/// The name of the server's own endpoint that gets the request before any rule, as it does in the
/// edge.
fn own_endpoint(config: &Config, host: &[u8], path: &[u8]) -> Option<&'static str> {
    let builtin = &config.edge.builtin;
    let is = |own: &Option<String>| own.as_ref().is_some_and(|own| own.as_bytes() == path);
    let name = match () {
        () if is(&builtin.server) => "server",
        () if is(&builtin.status) => "status",
        () => return None,
    };
    let knows = |rule: &str| HostPattern::new(rule).takes(host);
    let is_served = config.routes.iter().any(|rule| knows(&rule.host)) || is_ip_or_localhost(host);
    is_served.then_some(name)
}

fn text(explanation: &Explanation, own: Option<&str>) -> String {
    match own {
        Some(name) => {
            format!("the server answers it itself (builtin {name}=); without that:\n{explanation}")
        }
        None => explanation.to_string(),
    }
}

fn json(explanation: &Explanation, own: Option<&str>) -> Result<String, Failure> {
    let mut value = serde_json::to_value(explanation)
        .map_err(|error| Failure::new(Exit::Failed, format!("it cannot be told: {error}")))?;
    if let (Some(object), Some(name)) = (value.as_object_mut(), own) {
        object.insert("builtin".to_owned(), name.into());
    }
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::contract::config::EdgeConfig;
    use rip::contract::route::{RouteAction, RouteRule};
    use rip::ids::AppId;

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
            assert_eq!(Request::read(url).unwrap(), Request { host, path }, "{url}");
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
        let told = text(&explanation, Some("status"));
        assert!(told.starts_with("the server answers it itself (builtin status=)"), "{told}");
        assert!(told.contains("GET example.com/status → app api, by example.com/* (line 3)"));
        let told = json(&explanation, Some("status")).unwrap();
        assert!(told.contains(r#""builtin":"status""#) && told.contains(r#""winner":0"#), "{told}");
    }
}
