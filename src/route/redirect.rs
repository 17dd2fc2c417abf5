//! Redirects: a template and a request make a `Location`.
//!
//! What comes from the request stays in the path and the query of the result, whatever it looks
//! like: it cannot begin it, become an authority, or end its line.

/// What a request gives to a template.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `{host}`: the request's host as [`super::host::normalize`] leaves it.
    pub host: &'a [u8],
    /// The path as it was sent, with its dot segments resolved ([`super::path::sent_path`]).
    pub path: &'a [u8],
    /// `{query}`: the query without its `?`; empty without one.
    pub query: &'a [u8],
    /// The rule's path pattern as it is written. `{path}` is what the final `*` of a prefix stands
    /// for, else the whole path; in both cases without its leading slash.
    pub pattern: &'a str,
}

/// Appends the value of `Location` that `template` becomes. Several leading slashes become one,
/// signs that do not belong into a URL are percent-encoded (`\` as `%5C`), and where the query is
/// empty the `?` or `&` right before `{query}` goes as well.
pub fn location(template: &str, parts: &Parts<'_>, out: &mut Vec<u8>) {
    let base = out.len();
    let mut rest = template;
    while let Some((before, name, after)) = placeholder(rest) {
        rest = after;
        match name {
            Name::Host => {
                encode(before.as_bytes(), out);
                encode(parts.host, out);
            }
            Name::Path => {
                encode(before.as_bytes(), out);
                leave_authority(base, out);
                encode(tail(parts.path, parts.pattern), out);
            }
            Name::Query if parts.query.is_empty() => {
                let (before, after) = without_query(before, after);
                encode(before.as_bytes(), out);
                rest = after;
            }
            Name::Query => {
                encode(before.as_bytes(), out);
                leave_authority(base, out);
                encode(parts.query, out);
            }
        }
    }
    encode(rest.as_bytes(), out);
    let written = out.get(base..).unwrap_or_default();
    let slashes = written.iter().take_while(|byte| **byte == b'/').count();
    if slashes > 1 {
        out.drain(base..base + slashes - 1);
    }
}

#[derive(Clone, Copy)]
enum Name {
    Host,
    Path,
    Query,
}

/// The first placeholder, with what stands before and after it. Other braces are text.
fn placeholder(text: &str) -> Option<(&str, Name, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('{')?;
        let (before, opened) = text.split_at_checked(open)?;
        for (written, name) in
            [("{host}", Name::Host), ("{path}", Name::Path), ("{query}", Name::Query)]
        {
            if let Some(after) = opened.strip_prefix(written) {
                return Some((before, name, after));
            }
        }
        from = open + 1;
    }
}

/// Drops the sign that joins an empty query to what stands before it, or to what follows.
fn without_query<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    if let Some(shorter) = before.strip_suffix('&') {
        return (shorter, after);
    }
    match (before.strip_suffix('?'), after.strip_prefix('&')) {
        (Some(_), Some(after)) => (before, after),
        (Some(before), None) => (before, after),
        (None, _) => (before, after),
    }
}

/// What the request brings must not begin the result, nor be or go on with its scheme or its host:
/// where it would, a slash goes before it, or before everything.
fn leave_authority(base: usize, out: &mut Vec<u8>) {
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    let written = out.get(base..).unwrap_or_default();
    if written.first().is_some_and(ends) {
        return;
    }
    match written.windows(3).position(|signs| signs == b"://") {
        Some(colon) => {
            let behind = written.get(colon + 3..).unwrap_or_default();
            match behind.iter().position(ends) {
                Some(0) => out.insert(base, b'/'),
                None if behind.is_empty() => out.insert(base, b'/'),
                None => out.push(b'/'),
                Some(_) => {}
            }
        }
        None => {
            let first = written.split(ends).next().unwrap_or_default();
            if first.len() == written.len() || first.contains(&b':') {
                out.insert(base, b'/');
            }
        }
    }
}

/// What `{path}` stands for.
fn tail<'a>(path: &'a [u8], pattern: &str) -> &'a [u8] {
    let rooted = path.strip_prefix(b"/").unwrap_or(path);
    let Some(before) = pattern.strip_suffix("/*") else { return rooted };
    let skipped = before.bytes().filter(|byte| *byte == b'/').count();
    let mut rest = rooted;
    for _ in 0..skipped {
        let Some(slash) = rest.iter().position(|byte| *byte == b'/') else { return &[] };
        rest = rest.get(slash + 1..).unwrap_or_default();
    }
    rest
}

/// Appends text, with what does not belong into a URL (RFC 3986 §2) percent-encoded. Escapes in it
/// are left as they are.
fn encode(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(byte) {
            out.push(*byte);
        } else {
            let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(template: &str, path: &str, query: &str, pattern: &str) -> String {
        let parts =
            Parts { host: b"a.test", path: path.as_bytes(), query: query.as_bytes(), pattern };
        let mut out = b"kept".to_vec();
        location(template, &parts, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        text.strip_prefix("kept").unwrap().to_owned()
    }

    #[test]
    fn templates_are_filled_in() {
        for (template, path, query, pattern, location) in [
            ("/new/{path}", "/old/a/b", "", "/old/*", "/new/a/b"),
            ("/new/{path}", "/old/", "", "/old/*", "/new/"),
            ("/new/{path}", "/old/a%2Fb%20c", "x", "/old/*", "/new/a%2Fb%20c"),
            ("/new/{path}", "/u/7/x/y", "", "/u/*/*", "/new/x/y"),
            ("/{path}", "/a/b", "", "/*", "/a/b"),
            ("/x/{path}", "/a/b", "", "/a/b", "/x/a/b"),
            ("https://{host}/{path}?{query}", "/a", "b=c", "/*", "https://a.test/a?b=c"),
            ("https://{host}/{path}?{query}", "/a", "", "/*", "https://a.test/a"),
            ("https://www.{host}/", "/a", "b", "/*", "https://www.a.test/"),
            ("/a?b=1&{query}", "/", "c=2", "/", "/a?b=1&c=2"),
            ("/a?b=1&{query}", "/", "", "/", "/a?b=1"),
            ("/a?{query}&b=1", "/", "", "/", "/a?b=1"),
            ("/a?{query}&b=1", "/", "c", "/", "/a?c&b=1"),
            ("/a?{query}#b", "/", "", "/", "/a#b"),
            ("/{path}{query}", "/a&", "", "/*", "/a&"),
            ("/{path}/{path}", "/a", "", "/*", "/a/a"),
            ("/caf\u{e9} {x}", "/", "", "/", "/caf%C3%A9%20%7Bx%7D"),
            ("/{{path}}", "/a", "", "/*", "/%7Ba%7D"),
            ("", "/a", "", "/*", ""),
        ] {
            assert_eq!(to(template, path, query, pattern), location, "{template} {path} {query}");
        }
    }

    #[test]
    fn a_request_cannot_choose_the_host_it_is_sent_to() {
        for (template, path, pattern, location) in [
            ("/{path}", "//evil.test", "/*", "/evil.test"),
            ("/{path}", "////evil.test/x", "/*", "/evil.test/x"),
            ("/{path}", "/old//evil.test", "/old/*", "/evil.test"),
            ("/{path}", "/\\evil.test", "/*", "/%5Cevil.test"),
            ("/{path}", "\\/evil.test", "/*", "/%5C/evil.test"),
            ("/{path}", "/%2Fevil.test", "/*", "/%2Fevil.test"),
            ("{path}", "//evil.test", "/*", "/evil.test"),
            ("{path}", "/https://evil.test", "/*", "/https://evil.test"),
            ("{path}", "/javascript:alert(1)", "/*", "/javascript:alert(1)"),
            ("//{path}", "/evil.test", "/*", "/evil.test"),
            ("https://a.test{path}", "/.evil.test", "/*", "https://a.test/.evil.test"),
            ("https://a.test{path}", "/@evil.test", "/*", "https://a.test/@evil.test"),
            ("https://{host}{path}", "/:80@evil.test", "/*", "https://a.test/:80@evil.test"),
            ("https://{path}", "/evil.test", "/*", "/https://evil.test"),
            ("https:///{path}", "/evil.test", "/*", "/https:///evil.test"),
            ("https:{path}", "/evil.test", "/*", "/https:evil.test"),
            ("https:/{path}", "/evil.test", "/*", "/https:/evil.test"),
            ("java{path}", "/script:alert(1)", "/*", "/javascript:alert(1)"),
            ("/in?to=https://{host}/{path}", "/x", "/*", "/in?to=https://a.test/x"),
            ("https://b.test?{path}", "/x", "/*", "https://b.test?x"),
            ("below/{path}", "/x", "/*", "below/x"),
        ] {
            assert_eq!(to(template, path, "", pattern), location, "{template} {path}");
        }
        assert_eq!(to("{query}", "/", "//evil.test", "/"), "/evil.test");
        assert_eq!(to("https://a.test{query}", "/", "@evil", "/"), "https://a.test/@evil");
    }

    #[test]
    fn no_byte_ends_the_line() {
        let every: Vec<u8> = (0..=255).collect();
        let parts = Parts { host: &every, path: &every, query: &every, pattern: "/*" };
        let mut out = Vec::new();
        location("/\r\n{host}/{path}?{query}\u{85}", &parts, &mut out);
        assert!(out.iter().all(u8::is_ascii_graphic), "{}", out.escape_ascii());
        assert!(out.starts_with(b"/%0D%0A%00%01"), "{}", out.escape_ascii());
    }
}
