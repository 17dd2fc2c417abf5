//! Heads as nearly all of them are, read in one pass.
//!
//! Most heads are written well: one space where one is due, every line ended by CRLF, names of letters
//! and dashes. Those are read here, many bytes at a time. Of any other head, be it only not complete
//! yet, nothing is said but that it is another: [`super::parse`] has a look at it, and it alone
//! refuses. So whatever is read here is understood exactly as it is there.

use super::framing::is_token;
use super::head::{Field, Fields, Span, Version};
use super::known::Known;
use crate::limits;

/// What stands before the fields of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) version: Version,
}

/// What stands before the fields of a response; its reason phrase stands up to them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: u16,
}

/// Reads the request head that begins at `start` and is complete, with a target of at most
/// `target_bytes`; `fields` are empty. Returns where it ends as well. `None`: it is for
/// [`super::parse`], and `fields` hold anything.
pub(super) fn request(
    text: &[u8],
    start: usize,
    target_bytes: usize,
    fields: &mut Fields,
) -> Option<(RequestLine, usize)> {
    let method = match text.get(start..)? {
        [b'G', b'E', b'T', b' ', ..] => 3,
        rest => rest.iter().position(|byte| !is_token(*byte)).filter(|length| *length > 0)?,
    };
    let method = Span::new(start, start + method);
    let target = method.end as usize + 1;
    let end = target + text.get(target..)?.iter().position(|byte| !is_visible(*byte))?;
    let has_spaces = text.get(target - 1) == Some(&b' ') && text.get(end) == Some(&b' ');
    if !has_spaces || end == target || end - target > target_bytes {
        return None;
    }
    let rest = text.get(end + 1..)?;
    let version = version(rest.first_chunk()?)?;
    let line = RequestLine { method, target: Span::new(target, end), version };
    match rest.get(VERSION_BYTES..)? {
        [b'\r', b'\n', ..] => Some((line, take_fields(text, end + 1 + VERSION_BYTES + 2, fields)?)),
        _ => None,
    }
}

/// Reads the response head that `text` begins with, as [`request`] does.
pub(super) fn response(text: &[u8], fields: &mut Fields) -> Option<(StatusLine, usize)> {
    let version = version(text.first_chunk()?)?;
    let [b' ', hundreds @ b'0'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' ', ..] =
        text.get(VERSION_BYTES..)?
    else {
        return None;
    };
    let digit = |digit: &u8| u16::from(digit - b'0');
    let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    let end = value_end(text, "HTTP/1.1 200 ".len())?;
    Some((StatusLine { version, status }, take_fields(text, end + 2, fields)?))
}

const VERSION_BYTES: usize = "HTTP/1.1".len();

fn version(text: &[u8; VERSION_BYTES]) -> Option<Version> {
    match text {
        b"HTTP/1.1" => Some(Version::Http11),
        b"HTTP/1.0" => Some(Version::Http10),
        _ => None,
    }
}

/// Takes over the field lines that begin at `at`; returns where the empty line behind them ends.
fn take_fields(text: &[u8], mut at: usize, fields: &mut Fields) -> Option<usize> {
    for _ in 0..=limits::FORWARDED_FIELD_COUNT {
        if let [b'\r', b'\n', ..] = text.get(at..)? {
            return Some(at + 2);
        }
        let name = name_end(text, at)?;
        let mut start = name.end + 1;
        let one_space = text.get(start) == Some(&b' ');
        start += usize::from(one_space);
        let mut neat = one_space;
        while matches!(text.get(start)?, b' ' | b'\t') {
            start += 1;
            neat = false;
        }
        let line_end = value_end(text, start)?;
        let mut end = line_end;
        while end > start && matches!(text.get(end - 1)?, b' ' | b'\t') {
            end -= 1;
            neat = false;
        }
        let known = Known::of(text.get(at..name.end)?);
        fields.push(Field {
            name: Span::new(at, name.end),
            value: Span::new(start, end),
            known,
            underscore: name.underscore && known == Known::Other,
            nominated: false,
            neat,
        });
        at = line_end + 2;
    }
    None
}

/// Where the name of a field ends.
struct NameEnd {
    /// There is a colon.
    end: usize,
    /// It contains `_`.
    underscore: bool,
}

/// The end of the name at `at`, which is a token and not empty.
fn name_end(text: &[u8], at: usize) -> Option<NameEnd> {
    let mut end = at;
    while let Some(block) = block(text, end) {
        match first_flag(block, others_than_name) {
            Some(place) => {
                end += place;
                break;
            }
            None => end += BLOCK_BYTES,
        }
    }
    let mut underscore = false;
    loop {
        match text.get(end)? {
            b':' => break,
            b'_' => underscore = true,
            byte if is_token(*byte) => {}
            _ => return None,
        }
        end += 1;
    }
    (end > at).then_some(NameEnd { end, underscore })
}

/// Where the CRLF stands that ends what begins at `at`; between them is no other control character
/// but the tab.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    loop {
        while let Some(block) = block(text, end) {
            if has_control(block) {
                end += first_flag(block, controls).unwrap_or_default();
                break;
            }
            end += BLOCK_BYTES;
        }
        match text.get(end..)? {
            [b'\r', b'\n', ..] => return Some(end),
            [b'\t' | b' '..=b'~' | 0x80.., ..] => end += 1,
            _ => return None,
        }
    }
}

/// So many bytes are looked at together.
const BLOCK_BYTES: usize = 16;

#[inline]
fn block(text: &[u8], at: usize) -> Option<&[u8; BLOCK_BYTES]> {
    text.get(at..)?.first_chunk()
}

/// Whether there is a control character, the tab included. Without an early end: this is a handful of
/// instructions for the whole block.
#[inline]
fn has_control(block: &[u8; BLOCK_BYTES]) -> bool {
    block.iter().fold(false, |found, byte| found | (*byte < b' ') | (*byte == 0x7f))
}

/// The first byte that is flagged: `flags` says of eight bytes which are, by their highest bits, and
/// is to be right about the first one.
#[inline]
fn first_flag(block: &[u8; BLOCK_BYTES], flags: fn(u64) -> u64) -> Option<usize> {
    let (words, _) = block.as_chunks::<8>();
    words.iter().enumerate().find_map(|(at, word)| {
        let flags = flags(u64::from_le_bytes(*word));
        (flags != 0).then_some(at * 8 + flags.trailing_zeros() as usize / 8)
    })
}

/// Visible characters of ASCII.
fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
}

/// This byte, eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = each(0x80);

/// Flags at control characters. Only the first one is sure to be at one: a subtraction that borrows
/// spoils what is behind it.
#[inline(always)]
fn controls(word: u64) -> u64 {
    let below_space = word.wrapping_sub(each(b' ')) & !word;
    let delete = word ^ each(0x7f);
    let is_delete = delete.wrapping_sub(each(1)) & !delete;
    (below_space | is_delete) & HIGH
}

/// Flags at bytes that are neither letters nor dashes; exact.
#[inline(always)]
fn others_than_name(word: u64) -> u64 {
    // With seven bits a byte, sums stay within theirs.
    let lower = (word | each(0x20)) & !HIGH;
    let from_a = lower + each(0x80 - b'a');
    let beyond_z = lower + each(0x7f - b'z');
    let dash = word ^ each(b'-');
    let no_dash = ((dash & !HIGH) + each(0x7f)) | dash;
    (!(from_a & !beyond_z) | word) & no_dash & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_where_they_belong() {
        for byte in 0..=255_u8 {
            for place in 0..BLOCK_BYTES {
                let mut block = *b"abc-XYZzdef-UVWA";
                block[place] = byte;
                let is_name = byte.is_ascii_alphabetic() || byte == b'-';
                let expected = (!is_name).then_some(place);
                assert_eq!(first_flag(&block, others_than_name), expected, "{byte} at {place}");
                let expected = (byte < b' ' || byte == 0x7f).then_some(place);
                assert_eq!(first_flag(&block, controls), expected, "{byte} at {place}");
                assert_eq!(has_control(&block), expected.is_some(), "{byte} at {place}");
            }
        }
    }
}
