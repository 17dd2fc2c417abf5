//! Writing: status lines, fields, chunks. Everything is appended to a vector the caller owns.

use super::changes::Changes;
use super::status;

/// The answer to `Expect: 100-continue`; written straight to the client.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The `Server` line with its CRLF, for [`FieldWriter::raw`].
pub const SERVER_LINE: &[u8] = b"Server: rip-master\r\n";
/// The value of `Allow` in answers to `CONNECT` and `TRACE`.
pub const ALLOW: &[u8] = b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

/// What is known about the length of a response's body before it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseLength {
    /// There is no body. Written as `Content-Length: 0`, unless the status or the method say that
    /// there is none: then nothing is said.
    None,
    /// Exactly that many bytes; to `HEAD` and in a 304 it is what would have come.
    Known(u64),
    /// It ends when it ends.
    Unknown,
}

/// The fields of a head that is being written. Add fields, then [`FieldWriter::finish`].
#[derive(Debug)]
#[must_use = "a head is complete only after finish()"]
pub struct FieldWriter<'o> {
    out: &'o mut Vec<u8>,
    changes: Option<&'o dyn Changes>,
}

impl<'o> FieldWriter<'o> {
    /// A writer behind a start line that was already written with its CRLF.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, changes: None }
    }

    /// The same, with the operator's changes: they replace and remove fields that are added from now
    /// on, except [`Self::raw`] ones, and bring their own.
    pub fn changed_by(self, changes: Option<&'o dyn Changes>) -> Self {
        Self { changes, ..self }
    }

    /// Adds `name: value`. A field that would break the head (a control character in its name or
    /// value) is left out.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        if is_clean(name) && is_clean(value) {
            self.parsed(name, value);
        }
    }

    /// Adds a field that was read from a head, and is clean for that reason.
    #[inline]
    pub(crate) fn parsed(&mut self, name: &[u8], value: &[u8]) {
        if !self.is_touched(name) {
            line(name, value, self.out);
        }
    }

    /// Adds a clean field of the edge's own that no change replaces or removes.
    pub(crate) fn asserted(&mut self, name: &[u8], value: &[u8]) {
        line(name, value, self.out);
    }

    /// Adds the edge's own `Server`.
    pub fn server(&mut self) {
        if !self.is_touched(b"Server") {
            self.raw(SERVER_LINE);
        }
    }

    /// Adds a field called `name` that is rendered already, with its CRLF, unless the operator changes
    /// fields of that name.
    pub fn line(&mut self, name: &[u8], line: &[u8]) {
        if !self.is_touched(name) {
            self.raw(line);
        }
    }

    /// Adds lines that are rendered already, each with its CRLF.
    pub fn raw(&mut self, lines: &[u8]) {
        debug_assert!(lines.is_empty() || lines.ends_with(b"\r\n"));
        self.out.extend_from_slice(lines);
    }

    /// Writes what the changes set, and the empty line that ends the head.
    pub fn finish(self) {
        if let Some(changes) = self.changes {
            changes.write(self.out);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Where whole lines go that no change touches.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Whether the operator's changes replace or remove fields of this name.
    #[inline]
    pub(crate) fn is_touched(&self, name: &[u8]) -> bool {
        self.changes.is_some_and(|changes| changes.touch(name))
    }
}

/// Whether a name or a value stays within its line: no control characters but the tab.
#[inline]
pub fn is_clean(text: &[u8]) -> bool {
    // Without an early end: names and values are short, and nearly always clean.
    !text.iter().fold(false, |bad, byte| bad | (*byte < b' ') & (*byte != b'\t'))
}

/// Appends `HTTP/1.1 STATUS REASON`; an empty `reason` becomes the standard phrase.
pub fn status_line(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    if status == 200 && (reason.is_empty() || reason == b"OK") {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(status), out);
    out.push(b' ');
    let standard = status::phrase(status).as_bytes();
    out.extend_from_slice(if reason.is_empty() { standard } else { reason });
    out.extend_from_slice(b"\r\n");
}

/// Appends `name: value` with its CRLF. Both must be free of control characters.
pub fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends `name: number` with its CRLF.
pub fn number_line(name: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    decimal(number, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk (RFC 9112 §7.1); nothing for no bytes, which would end the body.
pub fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    out.reserve(bytes.len() + 20);
    hexadecimal(bytes.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The chunk that ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a decimal number.
pub fn decimal(mut number: u64, out: &mut Vec<u8>) {
    // Two digits at a time, from the last ones on: a division is what costs here.
    let mut text = [0_u8; 20];
    let mut at = text.len();
    while number >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&two_digits(number));
        number /= 100;
    }
    if number > 0 || at == text.len() {
        at -= 1;
        text[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&text[at..]);
}

fn hexadecimal(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [0_u8; 16];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// The two digits of a number below 100; of any other, its last two.
#[inline]
pub const fn two_digits(number: u64) -> [u8; 2] {
    PAIRS[(number % 100) as usize]
}

/// Every number of two digits.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_in_full() {
        let powers = (0..20).map(|digits| 10_u64.pow(digits));
        let around = powers.flat_map(|power| [power - 1, power, power + 1]);
        for number in around.chain([255, 4096, u64::MAX - 1, u64::MAX]) {
            assert_eq!(written(|out| decimal(number, out)), number.to_string());
            assert_eq!(written(|out| hexadecimal(number, out)), format!("{number:x}"));
        }
    }

    #[test]
    fn status_lines_fall_back_to_the_standard_phrase() {
        assert_eq!(written(|out| status_line(200, b"", out)), "HTTP/1.1 200 OK\r\n");
        assert_eq!(written(|out| status_line(404, b"", out)), "HTTP/1.1 404 Not Found\r\n");
        assert_eq!(written(|out| status_line(200, b"Fine", out)), "HTTP/1.1 200 Fine\r\n");
        assert_eq!(written(|out| status_line(299, b"", out)), "HTTP/1.1 299 \r\n");
    }

    #[test]
    fn a_field_cannot_break_out_of_its_line() {
        let text = written(|out| {
            let mut fields = FieldWriter::new(out);
            fields.field(b"A", b"b\r\nC: d");
            fields.field(b"E\r\n", b"f");
            fields.field(b"G", b"h\ti");
            fields.finish();
        });
        assert_eq!(text, "G: h\ti\r\n\r\n");
    }

    #[test]
    fn chunks_carry_their_size_and_no_bytes_are_no_chunk() {
        assert_eq!(written(|out| chunk(b"", out)), "");
        assert_eq!(written(|out| chunk(&[b'x'; 17], out)), format!("11\r\n{}\r\n", "x".repeat(17)));
    }
}
