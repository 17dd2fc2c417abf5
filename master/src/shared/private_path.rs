//! Paths of apps at which only the edge itself asks them.

/// Whether an app may take `path` for `own`: many read an escaped slash as one, several slashes as one,
/// and nothing in a slash at the end or in parameters of a segment (`;x`).
pub fn reads_as(path: &[u8], own: &[u8]) -> bool {
    let (mut rest, mut own, mut was_slash) = (path, own.iter(), false);
    while let [first, tail @ ..] = rest {
        let mut byte = *first;
        rest = tail;
        if byte == b';' {
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        }
        if let [b'2', b'f' | b'F', tail @ ..] = rest
            && byte == b'%'
        {
            byte = b'/';
            rest = tail;
        }
        if byte == b'/' && std::mem::replace(&mut was_slash, true) {
            continue;
        }
        was_slash = byte == b'/';
        match own.next() {
            Some(wanted) if *wanted == byte => {}
            None if was_slash => {}
            _ => return false,
        }
    }
    own.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_path_is_private_however_it_is_written() {
        let own = b"/v1/realtime";
        for path in [
            "/v1/realtime",
            "/v1/realtime/",
            "//v1///realtime//",
            "/v1%2frealtime",
            "/v1%2Frealtime",
            "%2fv1/realtime",
            "/v1;a=b/realtime;c",
            "/v1/%2f/realtime",
        ] {
            assert!(reads_as(path.as_bytes(), own), "{path}");
        }
        for path in
            ["/v1", "/v1/realtimes", "/v1/realtime/x", "/v1realtime", "/v1/Realtime", "", "/"]
        {
            assert!(!reads_as(path.as_bytes(), own), "{path}");
        }
    }
}
