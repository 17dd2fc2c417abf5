//! Which bytes of a body are sent (RFC 9110 §14), and how several parts are framed (§14.6).

use crate::http1::encode;
use crate::limits::RANGE_COUNT;

/// Bytes of a representation; both ends are included, as in the field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRange {
    /// The first byte, from 0.
    pub first: u64,
    /// The last byte; never before `first`.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes; at least one.
    pub const fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// They overlap, or one begins where the other ends.
    const fn touches(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    fn cover(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What a `Range` comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// The whole representation, with 200: the field is of another unit, is not one at all, or asks
    /// for more parts than are worth it.
    Whole,
    /// 206 with one part.
    One(ByteRange),
    /// 206 with these parts, at least two; none of them touches another. They are in the order in
    /// which they were asked for, those that touched joined at the place of the first.
    Many(Vec<ByteRange>),
    /// 416: no byte of any range exists.
    Unsatisfiable,
}

/// Evaluates the value of `Range` for a representation of `size` bytes.
pub fn select(value: &[u8], size: u64) -> Selection {
    let Some(set) = range_set(value) else { return Selection::Whole };
    let mut ranges: Vec<ByteRange> = Vec::new();
    let mut count = 0;
    let mut has_empty_suffix = false;
    for text in set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        // A list may have empty members (RFC 9110 §5.6.1.2).
        if text.is_empty() {
            continue;
        }
        let Some(spec) = Spec::read(text) else { return Selection::Whole };
        count += 1;
        if let Some(range) = spec.within(size) {
            // Beyond the limit the answer is settled; the rest is only checked.
            if count <= RANGE_COUNT {
                insert(&mut ranges, range);
            }
        } else {
            has_empty_suffix |= matches!(spec, Spec::Suffix(1..));
        }
    }
    match (count, ranges.as_slice()) {
        (0, _) => Selection::Whole,
        (count, _) if count > RANGE_COUNT => Selection::Whole,
        (_, [one]) => Selection::One(*one),
        // The end of nothing exists, and is nothing: no 206 can say so.
        (_, []) if has_empty_suffix => Selection::Whole,
        (_, []) => Selection::Unsatisfiable,
        _ => Selection::Many(ranges),
    }
}

/// What follows `bytes=`.
fn range_set(value: &[u8]) -> Option<&[u8]> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = value.split_at_checked(equals)?;
    if unit.eq_ignore_ascii_case(b"bytes") { set.get(1..) } else { None }
}

/// One range as it was asked for.
#[derive(Clone, Copy)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

impl Spec {
    fn read(text: &[u8]) -> Option<Self> {
        let hyphen = text.iter().position(|byte| *byte == b'-')?;
        let (first, rest) = text.split_at_checked(hyphen)?;
        match (first, rest.get(1..)?) {
            ([], []) => None,
            ([], suffix) => number(suffix).map(Self::Suffix),
            (first, []) => number(first).map(Self::From),
            (first, last) => {
                let (from, to) = (number(first)?, number(last)?);
                (from <= to).then_some(Self::Between(from, to))
            }
        }
    }

    /// What of it exists.
    fn within(self, size: u64) -> Option<ByteRange> {
        let end = size.checked_sub(1)?;
        let (first, last) = match self {
            Self::From(first) => (first, end),
            Self::Between(first, last) => (first, last.min(end)),
            Self::Suffix(0) => return None,
            Self::Suffix(length) => (size.saturating_sub(length), end),
        };
        (first <= end).then_some(ByteRange { first, last })
    }
}

/// 1*DIGIT; a number that is too large for any file is the largest one.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

/// Adds a range, joined with those that it touches.
fn insert(ranges: &mut Vec<ByteRange>, mut range: ByteRange) {
    let mut place = ranges.len();
    // Joining makes it longer, so that it may touch one that was passed over.
    while let Some(at) = ranges.iter().position(|other| other.touches(range)) {
        range = range.cover(ranges.remove(at));
        place = place.min(at);
    }
    ranges.insert(place.min(ranges.len()), range);
}

/// Appends the value of `Content-Range` of a part (RFC 9110 §14.4).
pub fn content_range(range: ByteRange, size: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"bytes ");
    encode::decimal(range.first, out);
    out.push(b'-');
    encode::decimal(range.last, out);
    out.push(b'/');
    encode::decimal(size, out);
}

/// Appends the value of `Content-Range` of a 416.
pub fn content_range_of_none(size: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"bytes */");
    encode::decimal(size, out);
}

/// The layout of a `multipart/byteranges` body: for every part its head and its bytes, then the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Multipart {
    boundary: [u8; BOUNDARY_BYTES],
    media_type: &'static str,
    ranges: Vec<ByteRange>,
    size: u64,
}

const BOUNDARY_PREFIX: &[u8; 4] = b"rip-";
const BOUNDARY_BYTES: usize = BOUNDARY_PREFIX.len() + 32;

impl Multipart {
    /// The layout for `ranges` of a representation of `size` bytes. `chance` makes the boundary: what
    /// cannot be guessed is not in the file.
    pub fn new(
        ranges: Vec<ByteRange>,
        size: u64,
        media_type: &'static str,
        chance: [u64; 2],
    ) -> Self {
        let [high, low] = chance.map(u128::from);
        let mut random = high << 64 | low;
        let mut boundary = [0; BOUNDARY_BYTES];
        let (prefix, digits) = boundary.split_at_mut(BOUNDARY_PREFIX.len());
        prefix.copy_from_slice(BOUNDARY_PREFIX);
        for digit in digits {
            *digit = b"0123456789abcdef"[(random & 15) as usize];
            random >>= 4;
        }
        Self { boundary, media_type, ranges, size }
    }

    /// The parts' bytes, in their order.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// Appends the value of the answer's `Content-Type`.
    pub fn content_type(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"multipart/byteranges; boundary=");
        out.extend_from_slice(&self.boundary);
    }

    /// Appends what stands before the bytes of part `part`, from 0. There is nothing before a part
    /// that does not exist.
    pub fn head(&self, part: usize, out: &mut Vec<u8>) {
        let Some(range) = self.ranges.get(part) else { return };
        if part > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--");
        out.extend_from_slice(&self.boundary);
        out.extend_from_slice(b"\r\n");
        encode::line(b"Content-Type", self.media_type.as_bytes(), out);
        out.extend_from_slice(b"Content-Range: ");
        content_range(*range, self.size, out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Appends what stands after the bytes of the last part.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n--");
        out.extend_from_slice(&self.boundary);
        out.extend_from_slice(b"--\r\n");
    }

    /// The length of the whole body in bytes.
    pub fn length(&self) -> u64 {
        let mut framing = Vec::new();
        (0..self.ranges.len()).for_each(|part| self.head(part, &mut framing));
        self.end(&mut framing);
        self.ranges
            .iter()
            .fold(framing.len() as u64, |sum, range| sum.saturating_add(range.length()))
    }
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
