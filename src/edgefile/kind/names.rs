//! Names, addresses, patterns: texts with a grammar of their own.

use super::{Typed, Wrong};
use crate::contract::cidr::{Cidr, CidrError};
use crate::contract::route::Methods;
use crate::edgefile::lexer::shown;
use crate::edgefile::suggest::nearest;
use crate::limits;

pub(super) fn address(text: &str) -> Result<Typed, Wrong> {
    if text == "off" {
        return Ok(Typed::Word("off"));
    }
    text.parse().map(Typed::Address).map_err(|why: &str| {
        let hint = if text.parse::<u16>().is_ok() {
            format!("write \":{text}\"")
        } else if text.starts_with("http") {
            "an address is HOST:PORT without http://, such as \":8080\"".to_owned()
        } else if text.starts_with("localhost") {
            "write 127.0.0.1 or [::1] for localhost".to_owned()
        } else {
            "for example \":80\", \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned()
        };
        Wrong::new(format!("\"{}\" is no address: {why}", shown(text)), hint)
    })
}

/// As the directories and sockets that are called after it need it.
pub(super) fn app(text: &str) -> Result<String, Wrong> {
    let fits = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    let edges_fit = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !text.ends_with(['.', '-', '_'])
    };
    if text.len() <= APP_NAME_BYTES && text.bytes().all(fits) && edges_fit(text) {
        return Ok(text.to_owned());
    }
    let near: String = text
        .chars()
        .map(|char| char.to_ascii_lowercase())
        .map(|char| if char.is_ascii() && fits(char as u8) { char } else { '-' })
        .take(APP_NAME_BYTES)
        .collect();
    let near = near.trim_matches(['.', '-', '_']);
    let hint = match near {
        "" => String::new(),
        near => format!("\"{near}\" can be one"),
    };
    Err(Wrong::new(
        format!(
            "\"{}\" cannot be a name: lower-case letters, digits, '.', '_' and '-' can, at most \
             {APP_NAME_BYTES}, a letter or digit at each end",
            shown(text)
        ),
        hint,
    ))
}

pub(super) fn glob(text: &str) -> Result<(), Wrong> {
    if text.contains('/') {
        let name = text.rsplit('/').next().unwrap_or_default();
        return Err(Wrong::new(
            format!("\"{}\" has a directory in it; globs are for names of files", shown(text)),
            format!("\"{}\" finds them in every directory of the app", shown(name)),
        ));
    }
    Ok(())
}

/// In lower case.
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    let host = text.to_ascii_lowercase();
    if host == "*" {
        return Ok(host);
    }
    let wrong = |why: &str, hint: String| {
        Err(Wrong::new(format!("\"{}\" is no host: {why}", shown(text)), hint))
    };
    if let Some((_, rest)) = host.split_once("://") {
        let rest = rest.split(['/', '?']).next().unwrap_or_default();
        return wrong("it is a URL", format!("write \"{}\"", shown(rest)));
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => Ok(format!("[{ip}]")),
            Err(_) => wrong("that is no IPv6 address", String::new()),
        };
    }
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return wrong("an IPv6 address stands in brackets", format!("write \"[{host}]\""));
    }
    if let Some((name, _)) = host.split_once(['/', '?']) {
        let hint = format!("write \"{}\"; paths are for `route`", shown(name));
        return wrong("it has a path", hint);
    }
    if let Some((name, port)) = host.rsplit_once(':') {
        let why = if port.bytes().all(|byte| byte.is_ascii_digit()) {
            "it has a port"
        } else {
            "`:` may not stand in it"
        };
        return wrong(why, format!("write \"{}\"; ports are for `edge › http`", shown(name)));
    }
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if let Some(name) = name.strip_suffix('.') {
        return wrong("it ends with a dot", format!("write \"{}\"", shown(name)));
    }
    if name.contains('*') {
        return wrong(
            "`*` stands for one whole label at the beginning",
            "write \"*.example.com\"; \"*\" alone is every host".to_owned(),
        );
    }
    if !name.is_ascii() {
        return wrong(
            "letters beyond ASCII are not sent in requests",
            "write the name as the DNS has it: xn--…".to_owned(),
        );
    }
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if host.len() > 253 {
        return wrong("it has more than 253 characters", String::new());
    }
    match name.split('.').find(|label| !fits(label)) {
        None => Ok(host),
        Some("") => wrong("two dots, or a dot at the beginning", String::new()),
        Some(label) => wrong(
            &format!("\"{}\" is no label", shown(label)),
            "labels are letters, digits and `-` within, at most 63".to_owned(),
        ),
    }
}

pub(super) fn methods(text: &str) -> Result<Methods, Wrong> {
    if text == "*" {
        return Ok(Methods::Any);
    }
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let upper = name.to_ascii_uppercase();
        if !is_token(name) {
            return Err(Wrong::new(
                format!("\"{}\" is no list of methods", shown(text)),
                "write \"GET,POST\"",
            ));
        }
        if matches!(upper.as_str(), "CONNECT" | "TRACE") {
            return Err(Wrong::new(
                format!("{upper} is refused before routes are looked at"),
                "leave it out",
            ));
        }
        if upper != name {
            return Err(Wrong::new(
                format!("methods are upper case: \"{}\"", shown(name)),
                format!("write \"{}\"", shown(&upper)),
            ));
        }
        if !KNOWN_METHODS.contains(&name)
            && let Some(meant) = nearest(name, KNOWN_METHODS)
        {
            return Err(Wrong::new(
                format!("\"{}\" is no method", shown(name)),
                format!("did you mean {meant}?"),
            ));
        }
        if names.iter().any(|known| known == name) {
            return Err(Wrong::new(
                format!("{} stands here twice", shown(name)),
                "leave one of them out",
            ));
        }
        names.push(upper);
    }
    Ok(Methods::Only(names))
}

/// Which groups of WebSocket clients: one, or with `/*` at its end that one and all beneath it.
pub(super) fn group(text: &str) -> Result<(), Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::new(
            format!("\"{}\" is no group", shown(text)),
            format!("a group begins with /: write \"/{}\"", shown(text)),
        ));
    }
    let name = text.strip_suffix("/*").unwrap_or(text);
    if name.contains('*') {
        return Err(Wrong::new(
            format!("\"{}\" has a `*` that is not its end", shown(text)),
            "write \"/lobby/*\" for /lobby and all beneath it",
        ));
    }
    if name.len() > limits::GROUP_NAME_BYTES {
        let most = limits::GROUP_NAME_BYTES;
        return Err(Wrong::new(
            format!("the name of a group has at most {most} bytes"),
            "shorten it",
        ));
    }
    Ok(())
}

/// Pages, by origin (RFC 6454 §6.2) or by host.
pub(super) fn origins(text: &str) -> Result<Vec<String>, Wrong> {
    let mut origins: Vec<String> = Vec::new();
    for item in text.split(',').map(str::trim) {
        let (scheme, authority) = match item.split_once("://") {
            Some((scheme, authority)) => (Some(scheme), authority),
            None => (None, item),
        };
        if scheme.is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            return Err(Wrong::new(
                format!("\"{}\" is no origin of a page", shown(item)),
                "it begins with https:// or http://, or is a host alone",
            ));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
            None => self::host(host).is_ok() && (host != "*" || (scheme, port) == (None, None)),
        };
        if !is_port || !is_host {
            return Err(Wrong::new(
                format!("\"{}\" is no origin of a page", shown(item)),
                "write \"https://example.com\", or \"*\" for all pages; without a path",
            ));
        }
        if origins.iter().any(|known| known == item) {
            return Err(Wrong::new(
                format!("{} stands here twice", shown(item)),
                "leave one of them out",
            ));
        }
        origins.push(item.to_ascii_lowercase());
    }
    Ok(origins)
}

/// As networks are written, whatever the file has for it.
pub(super) fn network(text: &str) -> Result<String, Wrong> {
    let seen = shown(text);
    text.parse::<Cidr>().map(|network| network.to_string()).map_err(|error| match error {
        CidrError::Address => Wrong::new(
            format!("\"{seen}\" is no address and no network"),
            "for example \"10.0.0.0/8\", \"192.0.2.1\" or \"fd00::/8\"",
        ),
        CidrError::Length(most) => {
            let address = text.split('/').next().unwrap_or_default();
            Wrong::new(
                format!("\"{seen}\" is no network: after the / stands 0 to {most}"),
                format!("for this address alone write \"{}\"", shown(address)),
            )
        }
        CidrError::HostBits(network) => {
            let address = text.split('/').next().unwrap_or_default();
            Wrong::new(
                format!("\"{seen}\" is no network: the address has bits behind its prefix"),
                format!(
                    "write \"{network}\" for all of it, \"{}\" for this address alone",
                    shown(address)
                ),
            )
        }
    })
}

pub(super) fn variable(text: &str) -> Result<(), Wrong> {
    let fits = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !fits {
        return Err(Wrong::new(
            format!("\"{}\" cannot be the name of a variable", shown(text)),
            "letters, digits and _, a letter first",
        ));
    }
    if OUR_VARIABLES.contains(&text) {
        return Err(Wrong::new(
            format!("{} is set by rip-master itself", shown(text)),
            "choose another name",
        ));
    }
    Ok(())
}

/// The name of a field that a file may change.
pub(super) fn header(text: &str) -> Result<(), Wrong> {
    if !is_token(text) {
        return Err(Wrong::new(
            format!("\"{}\" cannot be the name of a header field", shown(text)),
            "letters, digits and -, without a colon",
        ));
    }
    let lower = text.to_ascii_lowercase();
    let why = if lower.starts_with("rip-") {
        "fields that begin with Rip- are between rip-master and its workers"
    } else if lower == "host" {
        "Host says where a request goes, and was looked at before"
    } else if lower == "content-length" {
        "the length of a body is the server's to say"
    } else if is_hop_by_hop(&lower) {
        "it is about one connection, and not passed on"
    } else {
        return Ok(());
    };
    Err(Wrong::new(format!("`{}` cannot be changed: {why}", shown(text)), "leave it out"))
}

pub(super) fn header_value(text: &str) -> Result<(), Wrong> {
    if text.chars().any(|char| char.is_control() && char != '\t') {
        return Err(Wrong::new(
            "a line end or control character may not stand in a header field",
            "write the value on one line",
        ));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(Wrong::new(
            "white space at the ends of a header field is not sent",
            format!("write \"{}\"", shown(text.trim())),
        ));
    }
    Ok(())
}

/// Fields about one connection (RFC 9110 §7.6.1, RFC 9112 §6.1); `lower` is in lower case.
fn is_hop_by_hop(lower: &str) -> bool {
    matches!(
        lower,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// A token of HTTP (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Leaves room for the rest of a worker's socket path.
const APP_NAME_BYTES: usize = 40;
const KNOWN_METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"];
const OUR_VARIABLES: [&str; 11] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "RIP_APP_ID",
    "RIP_GENERATION",
    "RIP_PUBLISH_SECRET",
    "RIP_STATUS_FD",
    "RIP_URLS",
    "RIP_WORKER_ID",
    "RIP_WORKER_SOCKET",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_with_at_most_one_wildcard_label() {
        for (text, expected) in [
            ("*", Some("*")),
            ("Example.COM", Some("example.com")),
            ("*.example.com", Some("*.example.com")),
            ("localhost", Some("localhost")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("[0:0::1]", Some("[::1]")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("*.", None),
            ("**", None),
            ("*.*", None),
            ("a.*", None),
            ("a_b.example", None),
            ("-a", None),
            ("a-", None),
            ("[::1", None),
            (".", None),
        ] {
            assert_eq!(host(text).ok().as_deref(), expected, "{text}");
        }
        assert!(host(&"a".repeat(64)).is_err() && host(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn names_of_apps_fit_into_paths() {
        for (text, fits) in [
            ("api", true),
            ("a-b_c.d", true),
            ("1", true),
            ("", false),
            ("A", false),
            ("a-", false),
            ("a/b", false),
            ("..", false),
        ] {
            assert_eq!(app(text).is_ok(), fits, "{text}");
        }
        assert!(app(&"a".repeat(40)).is_ok() && app(&"a".repeat(41)).is_err());
    }

    #[test]
    fn fields_of_one_connection_cannot_be_changed() {
        for bad in [
            "Connection",
            "TE",
            "te",
            "Content-Length",
            "HOST",
            "rip-Anything",
            "a b",
            "",
            "a:",
            "é",
        ] {
            assert!(header(bad).is_err(), "{bad}");
        }
        for good in ["X-Frame-Options", "Server", "Cache-Control", "Authorization"] {
            assert_eq!(header(good), Ok(()), "{good}");
        }
        for bad in ["a\r\nB: c", "a\n", " a", "a ", "\u{7f}"] {
            assert!(header_value(bad).is_err(), "{bad:?}");
        }
        assert_eq!(header_value("a \t b"), Ok(()));
    }

    #[test]
    fn networks_are_written_one_way() {
        for (text, expected) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.0.2.1/32", Some("192.0.2.1")),
            ("FD00:0::/8", Some("fd00::/8")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.1/8", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("localhost", None),
        ] {
            assert_eq!(network(text).ok().as_deref(), expected, "{text}");
        }
    }
}
