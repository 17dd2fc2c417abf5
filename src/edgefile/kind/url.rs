//! Servers elsewhere: their URLs, and the hosts that are said to them.

use super::Wrong;
use crate::edgefile::lexer::shown;
use crate::limits;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A server's URL: what is put before the paths asked there is its path.
pub(super) fn url(text: &str) -> Result<(), Wrong> {
    let wrong = |why: &str, hint: String| {
        Err(Wrong::new(format!("\"{}\" is no URL of a server: {why}", shown(text)), hint))
    };
    let for_example =
        || "for example \"http://10.0.0.7:8080\" or \"unix:/run/app.sock\"".to_owned();
    if let Some(odd) = text.chars().find(|char| !char.is_ascii_graphic()) {
        let message = format!("the character U+{:04X} may not stand in a URL", u32::from(odd));
        return Err(Wrong::new(message, "write it as %XX, in a name as the DNS has it"));
    }
    if names_user(text) {
        // Whose password may be beside: the text is not shown.
        let hint = "a route says it: headers { request { set Authorization=\"…\" } }";
        return Err(Wrong::new("the URL of a server names no user", hint));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return wrong("the path is not absolute", "write \"unix:/run/app.sock\"".to_owned());
        }
        if path.len() > limits::SOCKET_PATH_BYTES {
            let why = format!("the path has more than {} bytes", limits::SOCKET_PATH_BYTES);
            return wrong(&why, "the kernel knows no longer ones for sockets".to_owned());
        }
        return Ok(());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let host = text.split('/').next().unwrap_or_default();
        let hint = match authority_error(host) {
            None => format!("write \"http://{}\"", shown(text)),
            Some(_) => for_example(),
        };
        return wrong("it has no scheme", hint);
    };
    if !SCHEMES.contains(&scheme) {
        let lower = scheme.to_ascii_lowercase();
        let hint = match SCHEMES.contains(&lower.as_str()) {
            true => format!("write \"{lower}://{}\"", shown(rest)),
            false => for_example(),
        };
        return wrong("schemes are http, https, ws, wss and unix", hint);
    }
    if rest.contains(['?', '#']) {
        return wrong("it has a query", "leave it out: requests bring their own".to_owned());
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if let Some((why, hint)) = authority_error(authority) {
        return wrong(&why, if hint.is_empty() { for_example() } else { hint });
    }
    let inner = path.strip_suffix('/').unwrap_or(path);
    let mut parts = inner.split('/').skip(1);
    if path.contains('\\') || parts.any(|part| matches!(part, "" | "." | "..")) {
        let hint = "it is put before the paths asked there: \"http://10.0.0.7/base\"".to_owned();
        return wrong("its path has empty or dot segments, or a backslash", hint);
    }
    Ok(())
}

/// A text that looks like a URL with a user in it, and perhaps a password.
pub(super) fn names_user(text: &str) -> bool {
    let rest = text.split_once("//").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// The same of one that is spoken to over HTTPS alone.
pub(super) fn https_url(text: &str) -> Result<(), Wrong> {
    if text.starts_with("https://") {
        return url(text);
    }
    if names_user(text) {
        return Err(Wrong::new("the URL of an authority names no user", "leave that out"));
    }
    let message = format!("\"{}\" is no URL that begins with https://", shown(text));
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    Err(Wrong::new(message, format!("write \"https://{}\"", shown(rest))))
}

/// `Host` as it is sent.
pub(super) fn authority(text: &str) -> Result<(), Wrong> {
    if let Some(odd) = text.chars().find(|char| !char.is_ascii_graphic()) {
        let message = format!("the character U+{:04X} may not stand in a host", u32::from(odd));
        return Err(Wrong::new(message, "write the name as the DNS has it"));
    }
    let Some((why, hint)) = authority_error(text) else { return Ok(()) };
    let (why, hint) = match text.split_once("://") {
        Some((_, rest)) => {
            let host = shown(rest.split('/').next().unwrap_or_default());
            ("it is a URL".to_owned(), format!("write \"{host}\""))
        }
        None => (why, hint),
    };
    Err(Wrong::new(format!("\"{}\" is no host: {why}", shown(text)), hint))
}

/// Why `text` is no host with or without a port, and how to mend it.
fn authority_error(text: &str) -> Option<(String, String)> {
    let wrong = |why: &str, hint: &str| Some((why.to_owned(), hint.to_owned()));
    if text.len() > limits::AUTHORITY_BYTES {
        return wrong("it is too long", "");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((
            "an IPv6 address stands in brackets".to_owned(),
            format!("write [{text}] for it"),
        ));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
                match port.strip_prefix(':') {
                    None if port.is_empty() => return None,
                    None => return wrong("after the ] stands a : and a port", ""),
                    Some(port) => ("localhost", Some(port)),
                }
            }
            _ => return wrong("that is no IPv6 address in brackets", ""),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if let Some(port) = port {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return wrong("the port is a number from 1 to 65535", "");
        }
    }
    // The dot at the end keeps the system from trying its own domains.
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() {
        return wrong("it names no host", "");
    }
    if name.contains('*') {
        return wrong("`*` is no server", "name the server itself");
    }
    if name.len() > 253 || name.split('.').any(|label| !is_label(label)) {
        return wrong("its host is none", "");
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return wrong("its host is no IPv4 address, and no name ends with a number", "");
    }
    None
}

/// Names of services have `_` in them, which those of hosts have not.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_or_a_socket() {
        for good in [
            "http://a",
            "http://a/",
            "https://a.example:8443/x",
            "https://a.example./x/",
            "http://my_service:8080/a%20b/c",
            "unix:/run/a.sock",
            "unix:///run/a.sock",
            "http://[::1]:80",
            "http://[::1]",
            "ws://127.0.0.1",
            "wss://a:1/x",
        ] {
            assert_eq!(url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "a:80",
            "http://",
            "http:///x",
            "http://a:",
            "http://a:0",
            "http://a:+1",
            "http://a:1:2",
            "http://a:99999",
            "http://u@a",
            "http://u:p@a/",
            "HTTP://a",
            "ftp://a",
            "unix:a",
            "unix:",
            "unix://a/b",
            "http://*",
            "http://*.a",
            "http://a b",
            "http://a/?b",
            "http://a#b",
            "http://a//b",
            "http://a//",
            "http://a/../b",
            "http://a/.",
            "http://a\\b",
            "http://a/\\b",
            "http://größe",
            "http://1.2.3",
            "http://256.0.0.1",
            "http://127.0.0.1.",
            "http://a..b",
            "http://-a",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://[a]",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        let path = "/".to_owned() + &"a".repeat(limits::SOCKET_PATH_BYTES - 1);
        assert!(url(&format!("unix:{path}")).is_ok() && url(&format!("unix:{path}a")).is_err());
    }

    #[test]
    fn a_host_is_said_without_a_scheme() {
        for good in ["example.com", "example.com:8080", "[::1]:80", "127.0.0.1", "a_b"] {
            assert_eq!(authority(good), Ok(()), "{good}");
        }
        for bad in ["", "http://a", "a/b", "a b", "a\r\nB: c", "::1", "*", "a:0", "u@a", "é"] {
            assert!(authority(bad).is_err(), "{bad:?}");
        }
        assert_eq!(authority("http://a.test/x").unwrap_err().hint, "write \"a.test\"");
        assert_eq!(authority("::1").unwrap_err().hint, "write [::1] for it");
    }
}
