//! A request as meta-variables (RFC 3875 §4.1).

use super::decoded;

/// A meta-variable, name and value: an entry of an environment, or a parameter of FastCGI. Names are
/// ASCII; neither has a NUL byte.
pub type Variable = (Vec<u8>, Vec<u8>);

/// What answers a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script<'s> {
    /// `SCRIPT_NAME`: what of the path named it, decoded; empty, or begins with a slash.
    pub name: &'s [u8],
    /// `PATH_INFO`: what of the path is left for it, decoded; empty, or begins with a slash.
    pub path_info: &'s [u8],
    /// `SCRIPT_FILENAME`: the script's absolute path.
    pub file: &'s [u8],
    /// `DOCUMENT_ROOT`: an absolute path without a slash at its end.
    pub root: &'s [u8],
}

/// The meta-variables of a request as a worker gets it from the edge: its target is in origin form, and
/// its `X-Forwarded-*` fields are the edge's own.
///
/// Fields of one name are one variable, their values joined by a comma (cookies by a semicolon).
/// Left out are fields of the connection, names that are not letters, digits and hyphens (another
/// could become the same variable), and `Proxy`, whose variable programs take for the address of a
/// proxy. `Authorization` is told: the edge checks nobody's, so that only the script can.
pub fn variables<'f>(
    method: &[u8],
    target: &[u8],
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    script: &Script<'_>,
) -> Vec<Variable> {
    let mut of_fields: Vec<Variable> = Vec::new();
    let mut client = None;
    for (name, value) in fields {
        if name.eq_ignore_ascii_case(CLIENT) {
            client = Some(value);
            continue;
        }
        let Some(name) = variable_of(name) else { continue };
        match of_fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                let comma: &[u8] = if name == b"HTTP_COOKIE" { b"; " } else { b", " };
                values.extend_from_slice(comma);
                values.extend_from_slice(value);
            }
            None => of_fields.push((name, value.to_vec())),
        }
    }
    let field = |name: &[u8]| {
        of_fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    };
    let is_secure = field(b"HTTP_X_FORWARDED_PROTO") == Some(b"https");
    let (scheme, usual_port): (&[u8], &[u8]) =
        if is_secure { (b"https", b"443") } else { (b"http", b"80") };
    let (host, port) = host_and_port(field(b"HTTP_HOST").unwrap_or_default());
    let forwarded = field(b"HTTP_X_FORWARDED_FOR")
        .and_then(|value| value.split(|byte| *byte == b',').next())
        .map(<[u8]>::trim_ascii)
        .filter(|client| !client.is_empty());
    let client = client.or(forwarded).unwrap_or(b"127.0.0.1");
    let query = target.iter().position(|byte| *byte == b'?').map(|at| &target[at + 1..]);

    let mut told: Vec<Variable> = Vec::with_capacity(of_fields.len() + 18);
    let mut tell = |name: &[u8], value: &[u8]| told.push((name.to_vec(), value.to_vec()));
    tell(b"GATEWAY_INTERFACE", b"CGI/1.1");
    tell(b"SERVER_SOFTWARE", b"rip-master");
    tell(b"SERVER_PROTOCOL", b"HTTP/1.1");
    tell(b"SERVER_NAME", host);
    tell(b"SERVER_PORT", port.unwrap_or(usual_port));
    tell(b"REQUEST_METHOD", method);
    tell(b"REQUEST_URI", target);
    tell(b"REQUEST_SCHEME", scheme);
    if is_secure {
        tell(b"HTTPS", b"on");
    }
    tell(b"REMOTE_ADDR", client);
    tell(b"QUERY_STRING", query.unwrap_or_default());
    tell(b"SCRIPT_NAME", script.name);
    tell(b"SCRIPT_FILENAME", script.file);
    tell(b"DOCUMENT_ROOT", script.root);
    if !script.path_info.is_empty() {
        tell(b"PATH_INFO", script.path_info);
        tell(b"PATH_TRANSLATED", &[script.root, script.path_info].concat());
    }
    told.append(&mut of_fields);
    told
}

/// The edge's word for the client's address, where there are proxies before it and more than one address
/// in `X-Forwarded-For`, not all of them to be believed.
const CLIENT: &[u8] = b"Rip-Client";

/// The variable that tells a field, `None` for one that is not told.
fn variable_of(name: &[u8]) -> Option<Vec<u8>> {
    const CONNECTION: [&str; 9] = [
        "CONNECTION",
        "EXPECT",
        "KEEP_ALIVE",
        "PROXY",
        "PROXY_CONNECTION",
        "TE",
        "TRAILER",
        "TRANSFER_ENCODING",
        "UPGRADE",
    ];
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if name.is_empty() || !name.iter().all(is_plain) {
        return None;
    }
    let upper: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() })
        .collect();
    if upper == b"CONTENT_TYPE" || upper == b"CONTENT_LENGTH" {
        return Some(upper);
    }
    if CONNECTION.iter().any(|known| known.as_bytes() == upper) {
        return None;
    }
    Some([b"HTTP_", upper.as_slice()].concat())
}

/// The name of the server and its port, if the authority has one. An IPv6 address keeps its brackets
/// (RFC 3875 §4.1.14).
fn host_and_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let bracket = authority.iter().rposition(|byte| *byte == b']').unwrap_or(0);
    let colon = authority.iter().rposition(|byte| *byte == b':').filter(|at| *at >= bracket);
    let (host, port) = match colon {
        Some(at) => (&authority[..at], Some(&authority[at + 1..])),
        None => (authority, None),
    };
    let host = if host.is_empty() { b"localhost" } else { host };
    (host, port.filter(|port| !port.is_empty()))
}

impl<'s> Script<'s> {
    /// The one script at `file` in `root` that answers whatever is asked for; `path_info` is the
    /// decoded path.
    pub fn of_everything(file: &'s [u8], root: &'s [u8], path_info: &'s [u8]) -> Self {
        // The target of `OPTIONS *` is no path.
        let path_info = if path_info.first() == Some(&b'/') { path_info } else { b"" };
        Self { name: b"", path_info, file, root }
    }
}

/// The path of a target, decoded.
pub fn decoded_path(target: &[u8]) -> Vec<u8> {
    decoded(target.split(|byte| *byte == b'?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str, fields: &[(&str, &str)], script: &Script<'_>) -> Vec<(String, String)> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        variables(b"POST", target.as_bytes(), fields, script)
            .into_iter()
            .map(|(name, value)| {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
                (text(name), text(value))
            })
            .collect()
    }

    fn value<'v>(told: &'v [(String, String)], name: &str) -> Option<&'v str> {
        let mut found = told.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert_eq!(found.next(), None, "{name} is told twice");
        value
    }

    #[test]
    fn a_request_is_told() {
        let script = Script {
            name: b"/bin/count.cgi",
            path_info: b"/caf\xc3\xa9/x",
            file: b"/srv/bin/count.cgi",
            root: b"/srv",
        };
        let told = of(
            "/bin/count.cgi/caf%C3%A9/x?a=1?b",
            &[
                ("Host", "Example.org:8080"),
                ("Content-Type", "text/plain"),
                ("content-length", "12"),
                ("X-Forwarded-For", "192.0.2.1, 198.51.100.7"),
                ("X-Forwarded-Proto", "https"),
                ("Accept", "text/html"),
                ("Cookie", "a=1"),
                ("accept", "*/*"),
                ("cookie", "b=2"),
                ("Authorization", "Bearer t"),
            ],
            &script,
        );
        for (name, expected) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "Example.org"),
            ("SERVER_PORT", "8080"),
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/bin/count.cgi/caf%C3%A9/x?a=1?b"),
            ("REQUEST_SCHEME", "https"),
            ("HTTPS", "on"),
            ("REMOTE_ADDR", "192.0.2.1"),
            ("QUERY_STRING", "a=1?b"),
            ("SCRIPT_NAME", "/bin/count.cgi"),
            ("SCRIPT_FILENAME", "/srv/bin/count.cgi"),
            ("DOCUMENT_ROOT", "/srv"),
            ("PATH_INFO", "/café/x"),
            ("PATH_TRANSLATED", "/srv/café/x"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "12"),
            ("HTTP_ACCEPT", "text/html, */*"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_AUTHORIZATION", "Bearer t"),
            ("HTTP_HOST", "Example.org:8080"),
        ] {
            assert_eq!(value(&told, name), Some(expected), "{name}");
        }
        assert_eq!(value(&told, "HTTP_CONTENT_TYPE"), None);
        assert_eq!(value(&told, "HTTP_CONTENT_LENGTH"), None);
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        let told = of("/", &[], &Script::default());
        for name in ["PATH_INFO", "PATH_TRANSLATED", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTPS"] {
            assert_eq!(value(&told, name), None, "{name}");
        }
        // §4.1.7: there is always a query, be it empty.
        assert_eq!(value(&told, "QUERY_STRING"), Some(""));
        assert_eq!(value(&told, "SERVER_NAME"), Some("localhost"));
        assert_eq!(value(&told, "SERVER_PORT"), Some("80"));
        assert_eq!(value(&told, "REMOTE_ADDR"), Some("127.0.0.1"));
    }

    #[test]
    fn fields_that_could_deceive_are_not_told() {
        let told = of(
            "/",
            &[
                ("Proxy", "http://evil/"),
                ("X_Forwarded_For", "1.1.1.1"),
                ("X-A.B", "x"),
                ("Connection", "close"),
                ("Transfer-Encoding", "chunked"),
                ("TE", "trailers"),
                ("", "x"),
                ("X-Fine", "y"),
            ],
            &Script::default(),
        );
        let of_fields: Vec<_> = told.iter().filter(|(name, _)| name.starts_with("HTTP")).collect();
        assert_eq!(of_fields, [&("HTTP_X_FINE".to_owned(), "y".to_owned())]);
    }

    #[test]
    fn the_edge_knows_the_client_better_than_the_list() {
        let list = ("X-Forwarded-For", "203.0.113.9, 192.0.2.1");
        let told = of("/", &[list, ("rip-client", "192.0.2.1")], &Script::default());
        assert_eq!(value(&told, "REMOTE_ADDR"), Some("192.0.2.1"));
        assert_eq!(value(&told, "HTTP_RIP_CLIENT"), None);
    }

    #[test]
    fn hosts_are_taken_apart() {
        for (authority, host, port) in [
            ("a.example", "a.example", None),
            ("a.example:81", "a.example", Some("81")),
            ("a.example:", "a.example", None),
            ("[::1]", "[::1]", None),
            ("[::1]:8080", "[::1]", Some("8080")),
            (":80", "localhost", Some("80")),
            ("", "localhost", None),
        ] {
            let expected = (host.as_bytes(), port.map(str::as_bytes));
            assert_eq!(host_and_port(authority.as_bytes()), expected, "{authority}");
        }
    }

    #[test]
    fn one_script_answers_everything() {
        let script = Script::of_everything(b"/srv/app.cgi", b"/srv", b"/a b");
        assert_eq!((script.name, script.path_info), (&b""[..], &b"/a b"[..]));
        assert_eq!(Script::of_everything(b"/srv/app.cgi", b"/srv", b"*").path_info, b"");
        assert_eq!(decoded_path(b"/a%20b?c%20d"), b"/a b");
    }
}
