//! Request targets (RFC 9112 §3.2) and authorities (RFC 3986 §3.2).
//!
//! A target is taken apart where it stands. Its path is judged once: an escape that is not
//! `%` with two hexadecimal digits, `%00`, a fragment, or `..` that climbs over the root is refused,
//! so that whoever routes by the path and whoever serves it cannot see two different paths.

use super::head::Span;
use super::method::Method;
use crate::limits;
use std::net::Ipv6Addr;

/// How a target is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// `http://host/path?query`
    Absolute,
    /// `*`, with `OPTIONS` only.
    Asterisk,
    /// `host:port`, with `CONNECT` only, which is always refused.
    Authority,
    /// `/path?query`
    #[default]
    Origin,
}

/// A target taken apart, as places in the buffer of its head.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Target {
    /// Everything.
    pub whole: Span,
    /// The authority of an absolute target; empty otherwise.
    pub authority: Span,
    /// The path as it was sent, still encoded; empty for [`Form::Asterisk`] and for an absolute
    /// target without one. [`Target::path`] is what to route by.
    pub path: Span,
    /// The query without its `?`.
    pub query: Span,
    /// There was a `?`.
    pub has_query: bool,
    /// Some segment of the path is `.` or `..`, be it written with `%2e`.
    pub has_dot_segments: bool,
    /// How it is written.
    pub form: Form,
}

impl Target {
    /// The path as it was sent; `/` for an absolute target without one, `*` for the asterisk.
    pub fn path<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        match self.form {
            Form::Asterisk => b"*",
            _ if self.path.is_empty() => b"/",
            _ => self.path.of(buf),
        }
    }

    /// Appends the target an origin server gets: origin form, dot segments resolved, and otherwise
    /// every byte as it was sent.
    pub fn forward(&self, buf: &[u8], method: Method, out: &mut Vec<u8>) {
        // RFC 9112 §3.2.4: OPTIONS of a target without a path asks about the server.
        if method == Method::Options && self.path.is_empty() && !self.has_query {
            out.push(b'*');
            return;
        }
        let path = self.path(buf);
        // A path that climbs was refused when the head was read.
        if !self.has_dot_segments || normalize(path, out).is_err() {
            out.extend_from_slice(path);
        }
        if self.has_query {
            out.push(b'?');
            out.extend_from_slice(self.query.of(buf));
        }
    }

    /// Takes the target at `whole` apart.
    pub(crate) fn read(buf: &[u8], whole: Span, method: Method) -> Result<Self, &'static str> {
        let mut target = Self { whole, ..Self::default() };
        let text = whole.of(buf);
        let start = whole.start as usize;
        let rest = match text.first() {
            Some(b'/') => start,
            Some(b'*') if text.len() == 1 && method == Method::Options => {
                target.form = Form::Asterisk;
                return Ok(target);
            }
            _ if method == Method::Connect => {
                target.form = Form::Authority;
                return Ok(target);
            }
            _ => target.read_authority(text, start)?,
        };
        target.read_path(buf, rest)?;
        Ok(target)
    }

    fn read_authority(&mut self, text: &[u8], start: usize) -> Result<usize, &'static str> {
        let scheme = ["http://", "https://"].into_iter().find(|scheme| {
            text.get(..scheme.len())
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case(scheme.as_bytes()))
        });
        let scheme = scheme.ok_or("the target is neither a path nor an http URL")?;
        let after = &text[scheme.len()..];
        let length =
            after.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(after.len());
        if !is_authority(&after[..length]) {
            return Err("the target's authority is not valid");
        }
        let authority = start + scheme.len();
        self.form = Form::Absolute;
        self.authority = Span::new(authority, authority + length);
        Ok(authority + length)
    }

    fn read_path(&mut self, buf: &[u8], start: usize) -> Result<(), &'static str> {
        let end = self.whole.end as usize;
        let text = buf.get(start..end).unwrap_or_default();
        let mut length = text.len();
        let mut at = 0;
        while let Some(plain) = text[at..].iter().position(|byte| PATH_SIGNS[usize::from(*byte)]) {
            at += plain;
            let follows_slash = at > 0 && text[at - 1] == b'/';
            match text[at] {
                b'?' => {
                    length = at;
                    self.has_query = true;
                    self.query = Span::new(start + at + 1, end);
                    check_query(&text[at + 1..])?;
                    break;
                }
                b'%' => {
                    let escaped =
                        escape(&text[at..]).ok_or("the path has a broken percent escape")?;
                    if escaped == 0 {
                        return Err("the target contains %00");
                    }
                    self.has_dot_segments |= follows_slash && escaped == b'.';
                }
                b'.' => self.has_dot_segments |= follows_slash,
                b'#' => return Err("the target has a fragment"),
                _ => {}
            }
            at += 1;
        }
        self.path = Span::new(start, start + length);
        if self.has_dot_segments {
            // So far it is only a segment that begins with a dot.
            self.has_dot_segments = check_dots(&text[..length])?;
        }
        Ok(())
    }
}

/// Appends `path` with its dot segments resolved (RFC 3986 §5.2.4), `%2e` counting as a dot;
/// everything else stays as it is. Fails, having appended nothing, when `..` climbs over the root.
pub fn normalize(path: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let base = out.len();
    let rooted = path.strip_prefix(b"/").unwrap_or(path);
    let mut ends_in_dots = false;
    for segment in rooted.split(|byte| *byte == b'/') {
        let dots = dots(segment);
        ends_in_dots = dots != 0;
        match dots {
            0 => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
            1 => {}
            _ => match out[base..].iter().rposition(|byte| *byte == b'/') {
                Some(slash) => out.truncate(base + slash),
                None => {
                    out.truncate(base);
                    return Err(CLIMBS);
                }
            },
        }
    }
    if ends_in_dots {
        out.push(b'/');
    }
    Ok(())
}

/// Appends `path` percent-decoded once, for routing and for files. `%2f` and `%5c` stay encoded:
/// they are data inside a segment, not separators. Fails on a broken escape and on `%00`, having
/// appended an unknown part.
pub fn decode(path: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let (plain, escaped) = rest.split_at(at);
        out.extend_from_slice(plain);
        match escape(escaped) {
            None => return Err("the path has a broken percent escape"),
            Some(0) => return Err("the path contains %00"),
            Some(b'/' | b'\\') => out.extend_from_slice(&escaped[..3]),
            Some(byte) => out.push(byte),
        }
        rest = &escaped[3..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// True for `host` or `host:port` with a host that is not empty: a name, an IPv4 address or a
/// bracketed IPv6 address. Userinfo and commas are refused.
pub fn is_authority(text: &[u8]) -> bool {
    if text.len() > limits::AUTHORITY_BYTES {
        return false;
    }
    // Nearly always a name or an IPv4 address without an escape.
    match text.iter().position(|byte| !REG_NAME[usize::from(*byte)]) {
        None => return !text.is_empty(),
        Some(colon) if colon > 0 && text[colon] == b':' => return is_port(&text[colon + 1..]),
        Some(_) => {}
    }
    let (host, port) = if text.first() == Some(&b'[') {
        let Some(close) = text.iter().position(|byte| *byte == b']') else { return false };
        let address = std::str::from_utf8(&text[1..close]).unwrap_or_default();
        if address.parse::<Ipv6Addr>().is_err() {
            return false;
        }
        match &text[close + 1..] {
            [] => return true,
            [b':', port @ ..] => return is_port(port),
            _ => return false,
        }
    } else {
        match text.iter().position(|byte| *byte == b':') {
            Some(colon) => (&text[..colon], &text[colon + 1..]),
            None => (text, &[][..]),
        }
    };
    !host.is_empty() && is_reg_name(host) && is_port(port)
}

/// The byte that `%XX` at the start of `text` means.
fn escape(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => {
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        }
        _ => None,
    }
}

fn check_query(query: &[u8]) -> Result<(), &'static str> {
    for (at, byte) in query.iter().enumerate() {
        match byte {
            b'#' => return Err("the target has a fragment"),
            b'%' if query[at..].starts_with(b"%00") => return Err("the target contains %00"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether there are dot segments; fails when they climb over the root.
fn check_dots(path: &[u8]) -> Result<bool, &'static str> {
    let mut depth = 0_u32;
    let mut found = false;
    let rooted = path.strip_prefix(b"/").unwrap_or(path);
    for segment in rooted.split(|byte| *byte == b'/') {
        match dots(segment) {
            0 => depth += 1,
            1 => found = true,
            _ => {
                found = true;
                depth = depth.checked_sub(1).ok_or(CLIMBS)?;
            }
        }
    }
    Ok(found)
}

/// 1 for `.`, 2 for `..`, 0 for every other segment; `%2e` counts as a dot.
fn dots(segment: &[u8]) -> u32 {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] => rest,
            [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return 0,
        };
        count += 1;
    }
    if count > 2 { 0 } else { count }
}

fn is_reg_name(name: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        if REG_NAME[usize::from(byte)] {
            at += 1;
        } else if byte == b'%' && escape(&name[at..]).is_some_and(|byte| byte > b' ') {
            at += 3;
        } else {
            return false;
        }
    }
    true
}

fn is_port(port: &[u8]) -> bool {
    // RFC 3986 §3.2.3 allows an empty port.
    let number = port.iter().try_fold(0_u32, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    });
    number.is_some_and(|number| number <= u32::from(u16::MAX))
}

const CLIMBS: &str = "the path climbs over the root";

/// What a path is looked at for.
static PATH_SIGNS: [bool; 256] = {
    let mut table = [false; 256];
    let signs = b"?%.#";
    let mut at = 0;
    while at < signs.len() {
        table[signs[at] as usize] = true;
        at += 1;
    }
    table
};

/// unreserved and sub-delims of RFC 3986, less the comma: a list of hosts is not a host.
static REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Target, &'static str> {
        Target::read(text.as_bytes(), Span::new(0, text.len()), Method::Get)
    }

    fn normal(path: &str) -> Result<String, &'static str> {
        let mut out = b"x".to_vec();
        normalize(path.as_bytes(), &mut out)?;
        Ok(String::from_utf8_lossy(&out[1..]).into_owned())
    }

    #[test]
    fn targets_are_taken_apart() {
        for (text, authority, path, query, form) in [
            ("/", "", "/", "", Form::Origin),
            ("/a/b?x=1", "", "/a/b", "x=1", Form::Origin),
            ("/a?", "", "/a", "", Form::Origin),
            ("//a//b", "", "//a//b", "", Form::Origin),
            ("/?a?b/..", "", "/", "a?b/..", Form::Origin),
            ("http://h", "h", "/", "", Form::Absolute),
            ("http://h?q", "h", "/", "q", Form::Absolute),
            ("HTTPS://h:8/p?q", "h:8", "/p", "q", Form::Absolute),
            ("http://[::1]:80/", "[::1]:80", "/", "", Form::Absolute),
        ] {
            let target = read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            let buf = text.as_bytes();
            assert_eq!(target.form, form, "{text}");
            assert_eq!(target.authority.of(buf), authority.as_bytes(), "{text}");
            assert_eq!(target.path(buf), path.as_bytes(), "{text}");
            assert_eq!(target.query.of(buf), query.as_bytes(), "{text}");
            assert_eq!(target.has_query, text.contains('?'), "{text}");
        }
    }

    #[test]
    fn targets_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "*",
            "a",
            "a/b",
            "?a",
            "ftp://h/",
            "http://",
            "http:///a",
            "http://u@h/",
            "http://h:x/",
            "http://h,i/",
            "/a#b",
            "/a?b#c",
            "/%",
            "/%4",
            "/%4g",
            "/%00",
            "/?a=%00",
            "/..",
            "/../a",
            "/a/../..",
            "/%2e%2E/a",
            "/.%2e",
            "http://h/..",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let options = Target::read(b"*", Span::new(0, 1), Method::Options);
        assert_eq!(options.map(|target| target.form), Ok(Form::Asterisk));
    }

    #[test]
    fn dot_segments_are_found_in_every_spelling_and_resolved() {
        for (path, expected) in [
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e", "/a/"),
            ("/a/..", "/"),
            ("/.", "/"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/a/b"),
            ("/a/b/../../c/", "/c/"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
            assert_eq!(read(path).map(|target| target.has_dot_segments), Ok(true), "{path}");
        }
        for path in ["/", "/a..b", "/...", "/..a", "/a../b", "/.a", "/a/%2e%2e%2fb", "/%2ea", "//"]
        {
            assert_eq!(normal(path).as_deref(), Ok(path), "{path}");
            assert_eq!(read(path).map(|target| target.has_dot_segments), Ok(false), "{path}");
        }
        assert_eq!(normal("/a/../../b"), Err(CLIMBS));
    }

    #[test]
    fn forwarded_targets_are_in_origin_form_and_resolved() {
        for (text, method, expected) in [
            ("/a%20b?c=%zz", Method::Get, "/a%20b?c=%zz"),
            ("/a/../b?x=/../", Method::Get, "/b?x=/../"),
            ("http://h/a?", Method::Get, "/a?"),
            ("http://h", Method::Get, "/"),
            ("http://h?q", Method::Options, "/?q"),
            ("http://h", Method::Options, "*"),
            ("*", Method::Options, "*"),
        ] {
            let mut out = Vec::new();
            let target = Target::read(text.as_bytes(), Span::new(0, text.len()), method);
            target.unwrap().forward(text.as_bytes(), method, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{text}");
        }
    }

    #[test]
    fn decoding_happens_once_and_keeps_separators_apart() {
        let decoded = |path: &str| {
            let mut out = Vec::new();
            decode(path.as_bytes(), &mut out).map(|()| out)
        };
        assert_eq!(decoded("/a%20b%C3%A9").unwrap(), "/a bé".as_bytes());
        assert_eq!(decoded("/a%2fb%5Cc%252f").unwrap(), b"/a%2fb%5Cc%2f");
        assert!(decoded("/%0").is_err() && decoded("/%zz").is_err() && decoded("/%00").is_err());
    }

    #[test]
    fn authorities_are_hosts_with_an_optional_port() {
        for good in
            ["a", "a.b:80", "127.0.0.1:", "[::1]", "[2001:db8::1]:443", "a_b", "a%41", "0=1"]
        {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:80:80",
            "u@a",
            "a,b",
            "a b",
            "[::1",
            "[::1]x",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "[]",
            "::1",
            "a/b",
            "a%",
            "a%00",
            "a%0a",
            "é",
            "a\\b",
            "a:99999999999",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(!is_authority(&[b'a'; limits::AUTHORITY_BYTES + 1]));
    }
}
