//! What a request that cannot be read was about, for the record only.

use crate::limits::TARGET_BYTES;

/// The method and the target that `input` seems to begin with; both empty where it does not, and never
/// to be acted upon. What only might be a request line is taken for none: it may be the rest of a body.
pub fn opening(input: &[u8]) -> (&[u8], &[u8]) {
    let skipped = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let line = &input[skipped.unwrap_or(input.len())..];
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let space = line.iter().position(|byte| !is_method(byte)).unwrap_or(line.len());
    let (method, after) = line.split_at(space);
    let Some(target) = after.strip_prefix(b" ").filter(|_| method.len() <= METHOD_BYTES) else {
        return (b"", b"");
    };
    let end = target.iter().position(|byte| *byte <= b' ' || *byte == 0x7f);
    let target = &target[..end.unwrap_or(target.len()).min(TARGET_BYTES)];
    let begins = [b"/".as_slice(), b"*", b"http://", b"https://"];
    match begins.iter().any(|begin| target.starts_with(begin)) && !method.is_empty() {
        true => (method, target),
        false => (b"", b""),
    }
}

const METHOD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_request_line_is_one_for_the_record() {
        for (input, method, target) in [
            ("GET /a?b HTTP/1.1\r\nbad header\r\n", "GET", "/a?b"),
            ("\r\n\r\nPOST /half", "POST", "/half"),
            ("GET  /two HTTP/1.1\r\n", "", ""),
            ("GET http://a.test/x HTTP/3", "GET", "http://a.test/x"),
            ("hunter2 /my HTTP", "", ""),
            ("PASSWORD is HTTP", "", ""),
            ("GE", "", ""),
            ("", "", ""),
            ("\x16\x03\x01", "", ""),
            ("{\"a\": 1}", "", ""),
            ("Bearer/secret\r\n", "", ""),
        ] {
            assert_eq!(
                opening(input.as_bytes()),
                (method.as_bytes(), target.as_bytes()),
                "{input}"
            );
        }
        let long = [b"GET /".as_slice(), &[b'x'; 2 * TARGET_BYTES]].concat();
        assert_eq!(opening(&long).1.len(), TARGET_BYTES);
        let long = [&[b'G'; METHOD_BYTES + 1], b" /".as_slice()].concat();
        assert_eq!(opening(&long).0, b"");
    }
}
