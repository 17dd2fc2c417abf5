//! Taking a stream of an app apart: blocks of `data:` (`text/event-stream`) or lines
//! (`application/x-ndjson`), wherever the pieces were cut.

use crate::limits::TURN_ANSWER_BYTES;

/// How a stream is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Division {
    /// One JSON text a line.
    Lines,
    /// Blocks as the HTML standard describes event streams; of their fields only `data` counts.
    Blocks,
}

/// A stream that is being divided.
#[derive(Debug)]
pub(super) struct Lines {
    division: Division,
    /// The line that has begun.
    line: Vec<u8>,
    /// The `data` of the block that has begun.
    data: Option<Vec<u8>>,
    /// The last byte was a CR that ended a line: an LF behind it ends none.
    is_behind_cr: bool,
    /// The first line has ended: what looks like a byte order mark is none any more.
    is_begun: bool,
}

/// A part is longer than any answer may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn new(division: Division) -> Self {
        Self { division, line: Vec::new(), data: None, is_behind_cr: false, is_begun: false }
    }

    /// Takes bytes of `bytes` until a part is complete, which is returned; the rest of `bytes` is for
    /// the next call. `Ok(None)`: all were taken.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some(first) = bytes.first() {
            if self.is_behind_cr {
                self.is_behind_cr = false;
                if *first == b'\n' {
                    *bytes = &bytes[1..];
                    continue;
                }
            }
            let end = bytes.iter().position(|byte| self.ends_line(*byte));
            let taken = &bytes[..end.unwrap_or(bytes.len())];
            let held = self.line.len() + self.data.as_ref().map_or(0, Vec::len);
            if held + taken.len() > TURN_ANSWER_BYTES {
                return Err(TooLong);
            }
            self.line.extend_from_slice(taken);
            let Some(end) = end else {
                *bytes = &[];
                break;
            };
            self.is_behind_cr = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            if let Some(part) = self.end_line() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The stream has ended in good order: what it left open counts as complete.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        let line = (!self.line.is_empty()).then(|| self.end_line()).flatten();
        line.or_else(|| self.data.take())
    }

    fn ends_line(&self, byte: u8) -> bool {
        byte == b'\n' || (byte == b'\r' && self.division == Division::Blocks)
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let mut line = std::mem::take(&mut self.line);
        if !self.is_begun && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        self.is_begun = true;
        match self.division {
            Division::Lines => (!line.trim_ascii().is_empty()).then_some(line),
            Division::Blocks if line.is_empty() => {
                self.data.take().filter(|data| !data.trim_ascii().is_empty())
            }
            Division::Blocks => {
                let value = match line.strip_prefix(b"data") {
                    Some([]) => Some(&b""[..]),
                    Some([b':', value @ ..]) => Some(value.strip_prefix(b" ").unwrap_or(value)),
                    _ => None,
                };
                if let Some(value) = value {
                    match &mut self.data {
                        Some(data) => {
                            data.push(b'\n');
                            data.extend_from_slice(value);
                        }
                        None => self.data = Some(value.to_vec()),
                    }
                }
                None
            }
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(division: Division, pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(division);
        let mut parts = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some(part) = lines.next(&mut rest).unwrap() {
                parts.push(String::from_utf8(part).unwrap());
            }
            assert!(rest.is_empty());
        }
        parts.extend(lines.finish().map(|part| String::from_utf8(part).unwrap()));
        parts
    }

    #[track_caller]
    fn divides(division: Division, stream: &str, expected: &[&str]) {
        let stream = stream.as_bytes();
        assert_eq!(divide(division, &[stream]), expected);
        for cut in 0..=stream.len() {
            let pieces = [&stream[..cut], &stream[cut..]];
            assert_eq!(divide(division, &pieces), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(divide(division, &bytes), expected, "byte by byte");
    }

    #[test]
    fn blocks_are_found_wherever_they_are_cut() {
        divides(
            Division::Blocks,
            "data: {\"a\":1}\n\ndata:{\"b\":2}\n\n",
            &["{\"a\":1}", "{\"b\":2}"],
        );
        divides(Division::Blocks, "data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
        divides(Division::Blocks, "data: a\r\rdata: b\r\r", &["a", "b"]);
        divides(Division::Blocks, "data: a\r\ndata: b\r\n\r\n", &["a\nb"]);
        divides(Division::Blocks, "\u{feff}data: a\n\n", &["a"]);
        divides(Division::Blocks, "\u{feff}\u{feff}data: a\n\ndata: b\n\n", &["b"]);
        divides(Division::Blocks, "data: {\ndata: \"a\":1\ndata: }\n\n", &["{\n\"a\":1\n}"]);
        divides(Division::Blocks, ": hb\n\nevent: x\nid: 7\nretry: 5\ndata: a\nfoo\n\n", &["a"]);
        divides(Division::Blocks, "data\n\ndata:\n\ndata: \n\n\n\n", &[]);
        divides(Division::Blocks, "data:  two\n\n", &[" two"]);
        divides(Division::Blocks, "database: x\n\n", &[]);
        divides(Division::Blocks, "data: a\n\ndata: open", &["a", "open"]);
        divides(Division::Blocks, "data: a\ndata: b\n", &["a\nb"]);
        divides(Division::Blocks, "data: é€😀\n\n", &["é€😀"]);
    }

    #[test]
    fn lines_are_found_wherever_they_are_cut() {
        divides(Division::Lines, "{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]);
        divides(Division::Lines, "a\r\nb\n", &["a\r", "b"]);
        divides(Division::Lines, "\u{feff}a\n\n \n\r\nb", &["a", "b"]);
        divides(Division::Lines, "a\rb\n", &["a\rb"]);
        divides(Division::Lines, "", &[]);
    }

    #[test]
    fn a_part_has_a_largest_size() {
        for division in [Division::Lines, Division::Blocks] {
            let mut lines = Lines::new(division);
            let piece = vec![b'x'; TURN_ANSWER_BYTES];
            assert_eq!(lines.next(&mut piece.as_slice()), Ok(None));
            assert_eq!(lines.next(&mut &b"x"[..]), Err(TooLong));
        }
        let mut lines = Lines::new(Division::Blocks);
        let piece = [b"data:", vec![b'x'; TURN_ANSWER_BYTES - 5].as_slice(), b"\n"].concat();
        assert_eq!(lines.next(&mut piece.as_slice()), Ok(None));
        assert_eq!(lines.next(&mut &b"data:xxxxxxx"[..]), Err(TooLong));
    }
}
