//! A target's URL, taken apart: how it is reached, and what is put before the paths asked there.
//!
//! `http://10.0.0.7:8080/base`, `https://api.example.com`, `unix:/run/x.sock`; `ws` and `wss` mean
//! `http` and `https`. There is no query, no fragment and no user in it.

use std::fmt;
use std::net::Ipv6Addr;

/// One target's URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetUrl {
    /// How it is reached.
    pub place: Place,
    /// What is put before each path: empty, or begins with `/` and does not end with one.
    pub prefix: String,
}

/// How a target is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Over TCP.
    Tcp {
        /// A name or an address, an IPv6 one without its brackets.
        host: String,
        /// The port.
        port: u16,
        /// With TLS.
        tls: bool,
    },
    /// Over a Unix socket at this absolute path.
    Unix(String),
}

/// Why a text is no target's URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UrlError(&'static str);

impl fmt::Display for UrlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for UrlError {}

impl TargetUrl {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') || path.len() > crate::limits::SOCKET_PATH_BYTES {
                return Err(UrlError("a Unix socket has an absolute path of at most 107 bytes"));
            }
            return Ok(Self { place: Place::Unix(path.to_owned()), prefix: String::new() });
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(UrlError("a URL begins with http://, https:// or unix:"));
        };
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(UrlError("the scheme is none of http, https, ws, wss and unix")),
        };
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if rest.contains(['?', '#', '@']) || !rest.bytes().all(is_visible) {
            return Err(UrlError("there is no query, fragment, user or blank in it"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
                _ => return Err(UrlError("the port is none from 1 to 65535")),
            },
        };
        let prefix = path.trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Tcp { host: host.to_owned(), port, tls }, prefix })
    }
}

/// The host, and the port where there is one.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    const NO_HOST: UrlError = UrlError("there is no valid host in it");
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(NO_HOST)?;
        host.parse::<Ipv6Addr>().map_err(|_| NO_HOST)?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if port.is_empty() => Ok((host, None)),
            None => Err(NO_HOST),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(NO_HOST);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (String, u16, bool, String) {
        match TargetUrl::parse(text).unwrap() {
            TargetUrl { place: Place::Tcp { host, port, tls }, prefix } => {
                (host, port, tls, prefix)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_is_understood() {
        for (text, host, port, tls, prefix) in [
            ("http://10.0.0.7:8080/base", "10.0.0.7", 8080, false, "/base"),
            ("https://api.example.com", "api.example.com", 443, true, ""),
            ("http://a/", "a", 80, false, ""),
            ("wss://[::1]:9000/x/y/", "::1", 9000, true, "/x/y"),
            ("ws://[2001:db8::1]", "2001:db8::1", 80, false, ""),
        ] {
            let expected = (host.to_owned(), port, tls, prefix.to_owned());
            assert_eq!(tcp(text), expected, "{text}");
        }
        for text in ["unix:/run/x.sock", "unix:///run/x.sock"] {
            let url = TargetUrl::parse(text).unwrap();
            assert_eq!(url.place, Place::Unix("/run/x.sock".to_owned()));
            assert_eq!(url.prefix, "");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "10.0.0.7:80",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a:",
            "http://a/?q",
            "http://a/#f",
            "http://u:p@a/",
            "http://a b/",
            "http://[::1",
            "http://[a]",
            "http://[::1]x",
            "http://a:1:2",
            "http://a/\r\nX: y",
            "unix:x.sock",
            "unix:",
        ] {
            assert!(TargetUrl::parse(text).is_err(), "{text}");
        }
    }
}
