//! Outside text and moments in a form that cannot break a line.

use crate::http1::encode::two_digits;
use crate::time::{Civil, UnixMillis};
use std::io::Write;

/// Appends `bytes` as a JSON string. Control characters of every kind are escaped; what is not
/// UTF-8 becomes U+FFFD.
pub(super) fn push_json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    // Without an early end: most texts are short, and stay as they are.
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\');
    if bytes.iter().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(letter) = push_run(out, &mut rest, |byte| !matches!(byte, b'"' | b'\\')) {
            match letter {
                '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
                _ if is_disruptive(letter) => push(out, format_args!("\\u{:04x}", letter as u32)),
                _ => push_char(out, letter),
            }
        }
        if !chunk.invalid().is_empty() {
            push_char(out, char::REPLACEMENT_CHARACTER);
        }
    }
    out.push(b'"');
}

/// Appends `bytes` as one word: what is not a visible ASCII character becomes `\xHH`, so that it
/// can imitate neither a space nor a column.
pub(super) fn push_word(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push(b'-');
    }
    // Without an early end: most words are short, and stay as they are.
    if bytes.iter().fold(true, |plain, byte| plain & byte.is_ascii_graphic()) {
        return out.extend_from_slice(bytes);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let run = rest.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..run]);
        rest = &rest[run..];
        if let Some((byte, after)) = rest.split_first() {
            push(out, format_args!("\\x{byte:02x}"));
            rest = after;
        }
    }
}

/// Appends `text` with its spaces and letters of all languages; control characters become `\u{..}`.
pub(super) fn push_prose(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(letter) = push_run(out, &mut rest, |_| true) {
        match letter {
            '\t' => out.push(b' '),
            _ if is_disruptive(letter) => push(out, format_args!("\\u{{{:x}}}", letter as u32)),
            _ => push_char(out, letter),
        }
    }
}

/// Appends `2026-03-14 12:00:00.123 +0000`.
pub(super) fn push_human_time(out: &mut Vec<u8>, at: UnixMillis) {
    push_time(out, at, b' ');
    out.extend_from_slice(b" +0000");
}

/// Appends `"2026-03-14T12:00:00.123Z"` (RFC 3339), quotes included.
pub(super) fn push_json_time(out: &mut Vec<u8>, at: UnixMillis) {
    out.push(b'"');
    push_time(out, at, b'T');
    out.extend_from_slice(b"Z\"");
}

/// Appends `number` in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    push_digits(out, number, 1);
}

/// Appends `number` in decimal, with leading zeros up to `width` digits; `width` is 20 at most.
pub(super) fn push_digits(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let (mut rest, mut first) = (number, digits.len());
    while rest >= 10 {
        first -= 2;
        digits[first..first + 2].copy_from_slice(&two_digits(rest));
        rest /= 100;
    }
    if rest > 0 {
        first -= 1;
        digits[first] = b'0' + rest as u8;
    }
    out.extend_from_slice(&digits[first.min(digits.len() - width)..]);
}

/// Appends formatted text.
pub(super) fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

fn push_time(out: &mut Vec<u8>, at: UnixMillis, between: u8) {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(at.as_secs());
    push_digits(out, year.unsigned_abs(), 4);
    let mut text = *b"-__-__T__:__:__.___";
    text[6] = between;
    for (place, number) in [(1, month), (4, day), (7, hour), (10, minute), (13, second)] {
        text[place..place + 2].copy_from_slice(&two_digits(u64::from(number)));
    }
    let millis = u64::from(at.subsec_millis());
    text[16] = b'0' + (millis / 100) as u8;
    text[17..].copy_from_slice(&two_digits(millis));
    out.extend_from_slice(&text);
}

/// Appends the letters of `rest` up to the first that is not printable ASCII or not `plain`, takes
/// that one off as well and returns it; `None` at the end.
fn push_run(out: &mut Vec<u8>, rest: &mut &str, plain: impl Fn(u8) -> bool) -> Option<char> {
    let passes = |byte: u8| matches!(byte, b' '..=b'~') && plain(byte);
    let run = rest.bytes().position(|byte| !passes(byte)).unwrap_or(rest.len());
    out.extend_from_slice(&rest.as_bytes()[..run]);
    let mut letters = rest[run..].chars();
    let letter = letters.next();
    *rest = letters.as_str();
    letter
}

fn push_char(out: &mut Vec<u8>, letter: char) {
    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Characters that end a line or command a terminal: C0, DEL, C1, line and paragraph separators,
/// and those that turn the direction of writing.
fn is_disruptive(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_come_back_as_they_were() {
        for text in ["", "plain", "q\"b\\s", "é…│", "a\nb\r\t\0\u{7f}\u{9b}2J\u{2028}\u{202e}"]
        {
            let mut out = Vec::new();
            push_json(&mut out, text.as_bytes());
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            let written = std::str::from_utf8(&out).unwrap();
            assert!(!written.chars().any(is_disruptive), "{written:?}");
        }
    }

    #[test]
    fn what_is_not_text_is_still_json() {
        let mut out = Vec::new();
        push_json(&mut out, b"a\xff\xfeb\xe2\x82");
        let text = serde_json::from_slice::<String>(&out).unwrap();
        assert!(text.starts_with('a') && text.contains('b') && text.contains('\u{fffd}'));
    }

    #[test]
    fn numbers_have_their_digits() {
        for (number, width, expected) in
            [(0, 1, "0"), (7, 3, "007"), (1234, 2, "1234"), (u64::MAX, 20, "18446744073709551615")]
        {
            let mut out = Vec::new();
            push_digits(&mut out, number, width);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_word_has_no_space_and_no_end_of_line() {
        let mut out = Vec::new();
        push_word(&mut out, "a b\r\nc│\x1b[2J".as_bytes());
        assert_eq!(out, b"a\\x20b\\x0d\\x0ac\\xe2\\x94\\x82\\x1b[2J");
    }

    #[test]
    fn prose_keeps_letters_and_loses_commands() {
        let mut out = Vec::new();
        push_prose(&mut out, "naïve\tline\nnext\u{1b}[31m");
        assert_eq!(out, "naïve line\\u{a}next\\u{1b}[31m".as_bytes());
    }
}
