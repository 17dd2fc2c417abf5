//! The head of what a script prints (RFC 3875 §6).
//!
//! Its lines end in LF or CRLF, and an empty one ends it. Scripts are lax and are read strictly all the
//! same: an answer that could be understood in two ways is an error of the script, and the log says
//! which.

use crate::limits;
use std::fmt;

/// What a script answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The answer itself, whose body follows; a redirect for the client too (§6.2.1, §6.2.3, §6.2.4).
    Document(Head),
    /// Nothing but a `Location` that is a path of this server: the request is to be answered again, as
    /// a GET of this target (§6.2.2).
    Local(Vec<u8>),
}

/// The head of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// From 200 to 599.
    pub status: u16,
    /// Its fields, without `Status`, without `Content-Length`, and without those of the connection, which
    /// is not the script's to speak about (§6.3.4). They can stand in a head as they are.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// What its `Content-Length` says.
    pub length: Option<u64>,
}

impl Head {
    /// Sends the client to `target`.
    pub fn redirect(target: &[u8]) -> Self {
        let fields = vec![(b"Location".to_vec(), target.to_vec())];
        Self { status: 302, fields, length: Some(0) }
    }
}

/// Why what a script printed is no answer: a sentence's end, for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadHead(String);

impl fmt::Display for BadHead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BadHead {}

fn bad<T>(what: impl Into<String>) -> Result<T, BadHead> {
    Err(BadHead(what.into()))
}

/// Reads a head as it comes.
#[derive(Debug, Default)]
pub struct HeadReader {
    line: Vec<u8>,
    read_bytes: usize,
    status: Option<u16>,
    location: Option<Vec<u8>>,
    length: Option<u64>,
    has_type: bool,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    is_first: bool,
}

impl HeadReader {
    /// A reader of a head of which nothing has come.
    pub fn new() -> Self {
        Self { is_first: true, ..Self::default() }
    }

    /// Takes the next bytes. `Some`: the head is complete, and so many of *these* bytes were its; the
    /// rest of them is the body's. It is not to be called again then, nor after an error.
    ///
    /// # Errors
    /// When it is no head, or one beyond the limits.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<(Answer, usize)>, BadHead> {
        let mut taken = 0;
        while let Some(at) = bytes[taken..].iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[taken..taken + at])?;
            taken += at + 1;
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                return self.finish().map(|answer| Some((answer, taken)));
            }
            self.read_line(&line)?;
            self.is_first = false;
        }
        self.take(&bytes[taken..])?;
        Ok(None)
    }

    /// What is wrong when the script's output ends here.
    pub fn ended(&self) -> BadHead {
        BadHead(if self.read_bytes == 0 {
            "it printed nothing".to_owned()
        } else {
            "its output ended before the empty line that ends the head".to_owned()
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), BadHead> {
        self.read_bytes += bytes.len();
        if self.read_bytes > limits::HEAD_BYTES {
            return bad(format!("its head is longer than {} bytes", limits::HEAD_BYTES));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), BadHead> {
        // Scripts that print a whole HTTP answer are meant as if they had said its status.
        if self.is_first
            && let Some(rest) = line.strip_prefix(b"HTTP/1.")
        {
            let status = rest.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
            self.status = Some(status_of(status)?);
            return Ok(());
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return bad(format!("{} is no line of a head", shown(line)));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(is_token) {
            return bad(format!("{} is no field's name", shown(name)));
        }
        if value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return bad(format!("the value of {} has a control character", shown(name)));
        }
        self.field(name, value)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadHead> {
        let twice = || bad(format!("it says {} twice", shown(name)));
        if name.eq_ignore_ascii_case(b"Status") {
            if self.status.replace(status_of(value)?).is_some() {
                return twice();
            }
        } else if name.eq_ignore_ascii_case(b"Content-Length") {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            if length.is_none() || !value.iter().all(u8::is_ascii_digit) {
                return bad(format!("its Content-Length is {}", shown(value)));
            }
            if self.length.is_some_and(|known| Some(known) != length) {
                return twice();
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"Location") {
            if value.is_empty() {
                return bad("its Location is empty");
            }
            if self.location.replace(value.to_vec()).is_some() {
                return twice();
            }
        } else if !CONNECTION.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            let is_type = name.eq_ignore_ascii_case(b"Content-Type");
            if is_type && std::mem::replace(&mut self.has_type, true) {
                return twice();
            }
            if self.fields.len() == limits::HEAD_FIELD_COUNT {
                return bad(format!("it has more than {} fields", limits::HEAD_FIELD_COUNT));
            }
            self.fields.push((name.to_vec(), value.to_vec()));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Answer, BadHead> {
        let mut fields = std::mem::take(&mut self.fields);
        let is_path =
            |location: &Vec<u8>| location[..].starts_with(b"/") && !location.starts_with(b"//");
        let location = self.location.take();
        match (self.status, location) {
            (None, None) if !self.has_type => {
                bad("its head has no Content-Type, no Location and no Status")
            }
            // With anything else in its head, such as a cookie, it is for the client.
            (None, Some(target)) if fields.is_empty() && is_path(&target) => {
                if !target.iter().all(u8::is_ascii_graphic) {
                    return bad(format!("its Location is {}", shown(&target)));
                }
                Ok(Answer::Local(target))
            }
            (status, location) => {
                let usual = if location.is_some() { 302 } else { 200 };
                fields.extend(location.map(|location| (b"Location".to_vec(), location)));
                let status = status.unwrap_or(usual);
                Ok(Answer::Document(Head { status, fields, length: self.length }))
            }
        }
    }
}

/// Fields that are not a script's to send.
const CONNECTION: [&str; 7] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// `404` or `404 Not Found`.
fn status_of(value: &[u8]) -> Result<u16, BadHead> {
    let (digits, rest) = value.split_at(value.len().min(3));
    let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u16>().ok());
    match status {
        Some(status @ 200..=599) if matches!(rest.first(), None | Some(b' ')) => Ok(status),
        _ => bad(format!("its Status is {}", shown(value))),
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What a script said, for a sentence: quoted, without control characters, cut short.
fn shown(text: &[u8]) -> String {
    const SHOWN_BYTES: usize = 60;
    let cut = &text[..text.len().min(SHOWN_BYTES)];
    format!("{:?}", String::from_utf8_lossy(cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    /// Reads it whole and in every two pieces, which must come to the same.
    fn read(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
        let whole = HeadReader::new().read(bytes).map_err(|fault| fault.to_string());
        for cut in 0..bytes.len() {
            let mut reader = HeadReader::new();
            let found = match reader.read(&bytes[..cut]) {
                Ok(None) => reader
                    .read(&bytes[cut..])
                    .map(|found| found.map(|(answer, count)| (answer, count + cut))),
                early => early,
            };
            assert_eq!(found.map_err(|fault| fault.to_string()), whole, "{bytes:?} cut at {cut}");
        }
        whole
    }

    fn answer(head: &str) -> Answer {
        let text = format!("{head}\n\nbody: x\n\n");
        match read(text.as_bytes()) {
            Ok(Some((answer, count))) => {
                assert_eq!(&text[count..], "body: x\n\n");
                answer
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn document(status: u16, fields: &[(&str, &str)], length: Option<u64>) -> Answer {
        let owned =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        Answer::Document(Head { status, fields: fields.iter().map(owned).collect(), length })
    }

    #[test]
    fn answers_are_read_as_scripts_print_them() {
        for (head, expected) in [
            ("Content-Type: text/plain", document(200, &[("Content-Type", "text/plain")], None)),
            (
                "content-type:text/html\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX: \tcaf\u{e9} \r",
                document(
                    200,
                    &[
                        ("content-type", "text/html"),
                        ("Set-Cookie", "a=1"),
                        ("Set-Cookie", "b=2"),
                        ("X", "caf\u{e9}"),
                    ],
                    None,
                ),
            ),
            ("Status: 204", document(204, &[], None)),
            (
                "Status: 404 Not Found\nContent-type: a/b\nContent-Length: 08",
                document(404, &[("Content-type", "a/b")], Some(8)),
            ),
            (
                "HTTP/1.0 418 I'm a teapot\nContent-Type: a/b",
                document(418, &[("Content-Type", "a/b")], None),
            ),
            (
                "Location: https://example.org/",
                document(302, &[("Location", "https://example.org/")], None),
            ),
            ("Location: //example.org/", document(302, &[("Location", "//example.org/")], None)),
            (
                "Status: 303 See Other\nLocation: /there",
                document(303, &[("Location", "/there")], None),
            ),
            (
                "Set-Cookie: a=1\nLocation: /there",
                document(302, &[("Set-Cookie", "a=1"), ("Location", "/there")], None),
            ),
            ("Location: /there?a=b%20c", Answer::Local(b"/there?a=b%20c".to_vec())),
            (
                "Content-Type: a/b\nConnection: close\nTransfer-Encoding: chunked\nUpgrade: x",
                document(200, &[("Content-Type", "a/b")], None),
            ),
        ] {
            assert_eq!(answer(head), expected, "{head}");
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        for (text, expected) in [
            ("\n", "its head has no Content-Type, no Location and no Status"),
            ("X-A: b\r\n\r\n", "its head has no Content-Type, no Location and no Status"),
            ("hello\n", "\"hello\" is no line of a head"),
            ("<h1>a: b</h1>\n", "\"<h1>a\" is no field's name"),
            ("Content-Type : a\n", "\"Content-Type \" is no field's name"),
            ("A: b\n folded: c\n", "\" folded\" is no field's name"),
            (": b\n", "\"\" is no field's name"),
            ("A: b\rC: d\n", "the value of \"A\" has a control character"),
            ("A: b\0\n", "the value of \"A\" has a control character"),
            ("Status: 99\n", "its Status is \"99\""),
            ("Status: 101 Switching\n", "its Status is \"101 Switching\""),
            ("Status: 600\n", "its Status is \"600\""),
            ("Status: 2000\n", "its Status is \"2000\""),
            ("Status: +20\n", "its Status is \"+20\""),
            ("Status: \u{e9}4\n", "its Status is \"\u{e9}4\""),
            ("HTTP/1.1\n", "its Status is \"\""),
            ("Status: 200\nstatus: 200\n", "it says \"status\" twice"),
            ("Content-Type: a/b\nContent-Type: a/b\n", "it says \"Content-Type\" twice"),
            ("Content-Length: 1\nContent-Length: 2\n", "it says \"Content-Length\" twice"),
            ("Content-Length: +1\n", "its Content-Length is \"+1\""),
            (
                "Content-Length: 99999999999999999999\n",
                "its Content-Length is \"99999999999999999999\"",
            ),
            ("Location:\n", "its Location is empty"),
            ("Location: /a\nLocation: /b\n", "it says \"Location\" twice"),
            ("Location: /a b\n\n", "its Location is \"/a b\""),
        ] {
            assert_eq!(read(text.as_bytes()), Err(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_head_has_limits() {
        let mut long = HeadReader::new();
        assert_eq!(long.read(b"A: ").map_err(|fault| fault.to_string()), Ok(None));
        let many = vec![b'x'; limits::HEAD_BYTES];
        assert!(long.read(&many).is_err_and(|fault| fault.to_string().contains("longer than")));
        let many = "A: b\n".repeat(limits::HEAD_FIELD_COUNT + 1);
        let read = HeadReader::new().read(many.as_bytes());
        assert!(read.is_err_and(|fault| fault.to_string().contains("fields")));
    }

    #[test]
    fn an_early_end_is_named() {
        let mut reader = HeadReader::new();
        assert_eq!(reader.ended().to_string(), "it printed nothing");
        assert_eq!(reader.read(b"Status: 200\n"), Ok(None));
        let expected = "its output ended before the empty line that ends the head";
        assert_eq!(reader.ended().to_string(), expected);
    }

    /// Whatever is printed, however it comes: one reading, and fields that can stand in a head.
    #[test]
    fn anything_is_read_alike_however_it_is_cut() {
        let pieces: [&[u8]; 14] = [
            b"Status: ",
            b"404",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"Content-Type: a/b",
            b"Location: /x",
            b"Content-Length: 3",
            b": ",
            b"\0",
            b"\xff\xfe",
            b" ",
            b"HTTP/1.1 200 OK\n",
            b"A: b\n",
        ];
        let mut random = Xoshiro::new(3875);
        for _ in 0..3000 {
            let mut text = Vec::new();
            for _ in 0..random.below(9) {
                text.extend_from_slice(pieces[random.below(pieces.len() as u64) as usize]);
            }
            if let Ok(Some((Answer::Document(head), count))) = read(&text) {
                assert!(count <= text.len() && (200..600).contains(&head.status));
                for (name, value) in &head.fields {
                    assert!(name.iter().all(is_token) && !name.is_empty(), "{text:?}");
                    assert!(!value.iter().any(|byte| b"\0\r\n".contains(byte)), "{text:?}");
                }
            }
        }
    }
}
