//! `Date` values: IMF-fixdate (RFC 9110 §5.6.7), made once a second.

use crate::time::{Civil, UnixMillis};

/// The length of an IMF-fixdate.
pub const DATE_BYTES: usize = 29;
const LINE_BYTES: usize = DATE_BYTES + "Date: \r\n".len();

const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The moment as text, for example `Sun, 06 Nov 1994 08:49:37 GMT`. Years beyond 9999 are written
/// as 9999: the format has no room for more.
pub fn imf_fixdate(at: UnixMillis) -> [u8; DATE_BYTES] {
    let civil = Civil::from_unix(at.as_secs());
    let year = civil.year.clamp(0, 9999) as u32;
    let mut text = *b"___, __ ___ ____ __:__:__ GMT";
    text[..3].copy_from_slice(WEEKDAYS[civil.weekday as usize % 7]);
    two_digits(&mut text, 5, civil.day);
    text[8..11].copy_from_slice(MONTHS[(civil.month as usize + 11) % 12]);
    two_digits(&mut text, 12, year / 100);
    two_digits(&mut text, 14, year % 100);
    two_digits(&mut text, 17, civil.hour);
    two_digits(&mut text, 20, civil.minute);
    two_digits(&mut text, 23, civil.second);
    text
}

/// A whole `Date` line, re-made when the second changes. One per loop.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: u64,
    line: [u8; LINE_BYTES],
}

impl Default for DateCache {
    fn default() -> Self {
        Self::new()
    }
}

impl DateCache {
    /// A cache that holds the epoch.
    pub fn new() -> Self {
        let mut cache = Self { second: 0, line: *b"Date: _____________________________\r\n" };
        cache.render(UnixMillis(0));
        cache
    }

    /// The line `Date: …` with its CRLF, for [`super::FieldWriter::raw`].
    pub fn line(&mut self, now: UnixMillis) -> &[u8] {
        if now.as_secs() != self.second {
            self.render(now);
        }
        &self.line
    }

    fn render(&mut self, now: UnixMillis) {
        self.second = now.as_secs();
        self.line[6..6 + DATE_BYTES].copy_from_slice(&imf_fixdate(now));
    }
}

fn two_digits(text: &mut [u8; DATE_BYTES], at: usize, number: u32) {
    text[at] = b'0' + (number / 10 % 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_out_as_the_rfc_writes_them() {
        let text = imf_fixdate(UnixMillis(784_111_777_000));
        assert_eq!(&text, b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&imf_fixdate(UnixMillis(0)), b"Thu, 01 Jan 1970 00:00:00 GMT");
        let late = imf_fixdate(UnixMillis(u64::MAX));
        assert_eq!(&late[12..16], b"9999");
    }

    #[test]
    fn the_line_is_made_again_when_the_second_changes() {
        let mut cache = DateCache::new();
        assert_eq!(cache.line(UnixMillis(999)), b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        assert_eq!(cache.line(UnixMillis(1000)), b"Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
        assert_eq!(cache.line(UnixMillis(0)), b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    }
}
