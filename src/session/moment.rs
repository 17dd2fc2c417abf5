//! Moments as apps and clients write them (RFC 3339).

use crate::time::{Civil, UnixMillis};

/// The moment that `text` means; `None` when it is no RFC 3339 date-time. Fractions beyond
/// milliseconds are cut; a leap second counts as the second after it; before 1970 is 1970.
pub fn parse(text: &str) -> Option<UnixMillis> {
    let bytes = text.as_bytes();
    let number = |from: usize, length: usize| {
        let digits = bytes.get(from..from + length)?;
        digits.iter().try_fold(0u32, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let is = |at: usize, signs: &[u8]| bytes.get(at).is_some_and(|byte| signs.contains(byte));
    let has_signs = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    if !has_signs {
        return None;
    }
    let civil = Civil {
        year: i64::from(number(0, 4)?),
        month: number(5, 2)?,
        day: number(8, 2)?,
        hour: number(11, 2)?,
        minute: number(14, 2)?,
        second: number(17, 2)?,
        weekday: 0,
    };
    let is_time = civil.hour < 24 && civil.minute < 60 && civil.second <= 60;
    if !is_time || !(1..=12).contains(&civil.month) || civil.day == 0 {
        return None;
    }
    let (mut at, mut millis) = (19, 0);
    if is(at, b".") {
        at += 1;
        let digits = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..3 {
            let digit = if place < digits { number(at + place, 1)? } else { 0 };
            millis = millis * 10 + i64::from(digit);
        }
        at += digits;
    }
    let offset_minutes = match bytes.get(at..)? {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (i64::from(number(at + 1, 2)?), i64::from(number(at + 4, 2)?));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    let seconds = civil.to_unix();
    // A day that the month does not have comes back as another one.
    let midnight = Civil { hour: 0, minute: 0, second: 0, ..civil };
    if let Ok(since_epoch) = u64::try_from(midnight.to_unix())
        && Civil::from_unix(since_epoch).day != civil.day
    {
        return None;
    }
    let moment = (seconds - offset_minutes * 60) * 1000 + millis;
    Some(UnixMillis(u64::try_from(moment).unwrap_or(0)))
}

/// `2026-03-14T12:00:00.123Z`.
pub fn print(moment: UnixMillis) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(moment.as_secs());
    let millis = moment.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_offsets_and_fractions() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-03-14T12:00:00Z", 1_773_489_600_000),
            ("2026-03-14t12:00:00.5z", 1_773_489_600_500),
            ("2026-03-14 12:00:00.123999Z", 1_773_489_600_123),
            ("2026-03-14T14:30:00+02:30", 1_773_489_600_000),
            ("2026-03-13T23:00:00-13:00", 1_773_489_600_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("1969-12-31T23:59:59Z", 0),
        ] {
            assert_eq!(parse(text), Some(UnixMillis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "now",
            "2026-03-14",
            "2026-03-14T12:00:00",
            "2026-03-14T12:00Z",
            "2026-13-14T12:00:00Z",
            "2026-00-14T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-03-00T12:00:00Z",
            "2026-03-14T24:00:00Z",
            "2026-03-14T12:60:00Z",
            "2026-03-14T12:00:61Z",
            "2026-03-14T12:00:00.Z",
            "2026-03-14T12:00:00+0200",
            "2026-03-14T12:00:00+24:00",
            "2026-03-14T12:00:00Zx",
            "+026-03-14T12:00:00Z",
            "2026-03-14T12:00:0éZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_can_be_read() {
        for millis in [0, 999, 1_773_489_600_123, 253_402_300_799_999] {
            let text = print(UnixMillis(millis));
            assert_eq!(parse(&text), Some(UnixMillis(millis)), "{text}");
        }
        assert_eq!(print(UnixMillis(1_773_489_600_123)), "2026-03-14T12:00:00.123Z");
    }
}
