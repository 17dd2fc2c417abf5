//! Bytes into lines.

use rip::limits::OUTPUT_LINE_BYTES;

/// Cuts a stream of bytes into lines. A line that is too long loses its end.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    /// The line that was begun is too long: the rest of it is skipped.
    skipping: bool,
}

impl Lines {
    /// Gives every line that `bytes` complete, without its end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.begun.is_empty() && !self.skipping && head.len() <= OUTPUT_LINE_BYTES {
                line(trimmed(head));
            } else {
                self.keep(head);
                line(trimmed(&self.begun));
                self.reset();
            }
            bytes = rest;
        }
        self.keep(bytes);
    }

    /// Gives what stands after the last line end, if anything.
    pub(super) fn finish(&mut self, line: impl FnOnce(&[u8])) {
        if !self.begun.is_empty() {
            line(trimmed(&self.begun));
        }
        self.reset();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        let room = OUTPUT_LINE_BYTES - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.begun.extend_from_slice(CUT);
            self.skipping = true;
        }
    }

    fn reset(&mut self) {
        self.begun.clear();
        self.begun.shrink_to(KEPT_BYTES);
        self.skipping = false;
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Stands where a line was cut.
const CUT: &[u8] = "…".as_bytes();
const KEPT_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| out.push(line.to_vec()));
        }
        lines.finish(|line| out.push(line.to_vec()));
        out
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_come() {
        let text = b"one\ntwo\r\n\nthree and four";
        let expected: [&[u8]; 4] = [b"one", b"two", b"", b"three and four"];
        assert_eq!(cut(&[text]), expected);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), expected);
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_is_whole() {
        let long = vec![b'x'; OUTPUT_LINE_BYTES + 1];
        for pieces in [vec![&long[..], b"yyy\nnext\n"], vec![&[&long[..], b"\nnext\n"].concat()]] {
            let out = cut(&pieces);
            assert_eq!(out.len(), 2);
            assert_eq!(out[0].len(), OUTPUT_LINE_BYTES + CUT.len());
            assert!(out[0].ends_with(CUT));
            assert_eq!(out[1], b"next");
        }
        let fits = vec![b'x'; OUTPUT_LINE_BYTES];
        assert_eq!(cut(&[&fits, b"\n"]), [fits]);
    }
}
