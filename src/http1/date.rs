//! Moments as HTTP writes them (RFC 9110 §5.6.7): IMF-fixdate out, made once a second for `Date`;
//! all three forms in.

use crate::time::{Civil, UnixMillis};

/// The length of an IMF-fixdate.
pub const DATE_BYTES: usize = 29;
const LINE_BYTES: usize = DATE_BYTES + "Date: \r\n".len();

const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const LONG_WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

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

/// Reads a moment in any of the three forms: IMF-fixdate, RFC 850, asctime. Seconds since the
/// epoch, negative before it; `None` for everything else, a day that its month does not have
/// included. Which day of the week it was is not checked. `now` tells the century of an RFC 850
/// year: the latest that puts it at most 50 years ahead.
pub fn parse(text: &[u8], now: UnixMillis) -> Option<i64> {
    let civil = read_imf(text).or_else(|| read_asctime(text));
    match civil {
        Some(civil) => Some(civil.to_unix()),
        None => read_rfc850(text, now),
    }
}

fn read_imf(text: &[u8]) -> Option<Civil> {
    let mut rest = Rest(text);
    rest.one_of(&WEEKDAYS)?;
    rest.literal(b", ")?;
    let day = rest.number(2)?;
    rest.literal(b" ")?;
    let month = rest.one_of(&MONTHS)? + 1;
    rest.literal(b" ")?;
    let year = rest.number(4)?;
    rest.literal(b" ")?;
    let clock = rest.clock()?;
    rest.literal(b" GMT")?;
    rest.finish(i64::from(year), month, day, clock)
}

fn read_asctime(text: &[u8]) -> Option<Civil> {
    let mut rest = Rest(text);
    rest.one_of(&WEEKDAYS)?;
    rest.literal(b" ")?;
    let month = rest.one_of(&MONTHS)? + 1;
    rest.literal(b" ")?;
    let day = if rest.literal(b" ").is_some() { rest.number(1)? } else { rest.number(2)? };
    rest.literal(b" ")?;
    let clock = rest.clock()?;
    rest.literal(b" ")?;
    let year = rest.number(4)?;
    rest.finish(i64::from(year), month, day, clock)
}

fn read_rfc850(text: &[u8], now: UnixMillis) -> Option<i64> {
    let mut rest = Rest(text);
    LONG_WEEKDAYS.into_iter().find_map(|name| rest.literal(name.as_bytes()))?;
    rest.literal(b", ")?;
    let day = rest.number(2)?;
    rest.literal(b"-")?;
    let month = rest.one_of(&MONTHS)? + 1;
    rest.literal(b"-")?;
    let year = i64::from(rest.number(2)?);
    rest.literal(b" ")?;
    let clock = rest.clock()?;
    rest.literal(b" GMT")?;
    let today = Civil::from_unix(now.as_secs());
    let horizon = Civil { year: today.year + 50, ..today }.to_unix();
    let century = today.year - today.year % 100;
    [century + 100, century, century - 100].into_iter().find_map(|century| {
        let secs = Rest(rest.0).finish(century + year, month, day, clock)?.to_unix();
        (secs <= horizon).then_some(secs)
    })
}

/// What is left to read of a date.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn number(&mut self, width: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    }

    /// Which of the names comes next.
    fn one_of(&mut self, names: &[&[u8; 3]]) -> Option<u32> {
        let (name, rest) = self.0.split_at_checked(3)?;
        self.0 = rest;
        names.iter().position(|known| known.as_slice() == name).map(|at| at as u32)
    }

    fn clock(&mut self) -> Option<[u32; 3]> {
        let hour = self.number(2)?;
        self.literal(b":")?;
        let minute = self.number(2)?;
        self.literal(b":")?;
        let second = self.number(2)?;
        // 60 is a leap second, which Unix time counts as the first of the next minute.
        (hour < 24 && minute < 60 && second <= 60).then_some([hour, minute, second])
    }

    fn finish(&self, year: i64, month: u32, day: u32, clock: [u32; 3]) -> Option<Civil> {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let [hour, minute, second] = clock;
        let is_valid = self.0.is_empty() && (1..=days).contains(&day);
        is_valid.then_some(Civil { year, month, day, hour, minute, second, weekday: 0 })
    }
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

    #[test]
    fn all_three_forms_are_the_same_moment() {
        let now = UnixMillis(1_790_000_000_000);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes(), now), Some(784_111_777), "{text}");
        }
        for (text, secs) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Sat, 01 Jan 0000 00:00:00 GMT", -62_167_219_200),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            // The name of the day is wrong, the date is not.
            ("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ] {
            assert_eq!(parse(text.as_bytes(), now), Some(secs), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        let now = UnixMillis(1_790_000_000_000);
        for text in [
            "",
            "0",
            "784111777",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Thu, 29 Feb 1900 00:00:00 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Sun, 06 Nev 1994 08:49:37 GMT",
            "Foo, 06 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), now), None, "{text}");
        }
    }

    #[test]
    fn two_digits_of_a_year_are_at_most_fifty_years_ahead() {
        // 2026-09-21, and 2099-06-15.
        let (early, late) = (UnixMillis(1_790_000_000_000), UnixMillis(4_085_208_000_000));
        for (text, now, expected) in [
            ("Monday, 01-Jan-26 00:00:00 GMT", early, 2026),
            ("Monday, 01-Jan-76 00:00:00 GMT", early, 2076),
            // More than 50 years ahead by days.
            ("Monday, 31-Dec-76 00:00:00 GMT", early, 1976),
            ("Monday, 01-Jan-77 00:00:00 GMT", early, 1977),
            ("Monday, 01-Jan-99 00:00:00 GMT", early, 1999),
            ("Monday, 01-Jan-00 00:00:00 GMT", early, 2000),
            ("Monday, 01-Jan-05 00:00:00 GMT", late, 2105),
            ("Monday, 01-Jan-99 00:00:00 GMT", late, 2099),
            ("Monday, 01-Jan-60 00:00:00 GMT", late, 2060),
        ] {
            let civil = parse(text.as_bytes(), now).map(|secs| Civil::from_unix(secs as u64).year);
            assert_eq!(civil, Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let now = UnixMillis(0);
        for secs in (0..253_402_300_799_u64).step_by(86_399 * 97) {
            assert_eq!(parse(&imf_fixdate(UnixMillis(secs * 1000)), now), Some(secs as i64));
        }
    }
}
