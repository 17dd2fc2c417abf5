//! Durations, sizes and shares.

use super::{Kind, Typed, Wrong, known_word};
use crate::contract::app::Surge;
use crate::edgefile::document::Value;
use crate::edgefile::lexer::shown;
use std::time::Duration;

pub(super) fn duration(
    kind: Kind,
    value: &Value,
    words: &'static [&'static str],
) -> Result<Typed, Wrong> {
    if let Some(word) = known_word(value, words) {
        return Ok(Typed::Word(word));
    }
    let Value::Text(text) = value else { return Err(kind.mismatch(value)) };
    let (number, unit) = split(text);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ if number.is_empty() && !words.is_empty() => {
            return Err(Wrong::new(
                format!("expected {}, not \"{}\"", kind.told(), shown(text)),
                "",
            ));
        }
        _ => {
            let hint = match (number, unit) {
                ("", _) => "it is a whole number and one of ms, s, m, h and d".to_owned(),
                (number, "") => format!("say the unit: \"{number}s\" or \"{number}ms\""),
                _ => "units are ms, s, m, h and d; there are no fractions and no sums".to_owned(),
            };
            return Err(Wrong::new(format!("\"{}\" is no duration", shown(text)), hint));
        }
    };
    let duration = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
    match duration {
        Some(millis @ 1..=LONGEST_MILLIS) => Ok(Typed::Duration(Duration::from_millis(millis))),
        _ if number.is_empty() => Err(Wrong::new(
            format!("\"{}\" is no duration", shown(text)),
            "it is a whole number and one of ms, s, m, h and d",
        )),
        _ => Err(Wrong::new(
            format!("\"{}\" is out of range: expected a duration from 1ms to 3650d", shown(text)),
            String::new(),
        )),
    }
}

pub(super) fn size(kind: Kind, value: &Value, least: u64) -> Result<Typed, Wrong> {
    let size = match value {
        Value::Number(number) => u64::try_from(*number).ok(),
        Value::Text(text) => {
            let (number, unit) = split(text);
            let shift = match unit.to_ascii_lowercase().as_str() {
                "" | "b" => Some(0),
                "k" | "kb" | "kib" => Some(10),
                "m" | "mb" | "mib" => Some(20),
                "g" | "gb" | "gib" => Some(30),
                "t" | "tb" | "tib" => Some(40),
                _ => None,
            };
            let (Some(shift), false) = (shift, number.is_empty()) else {
                return Err(Wrong::new(
                    format!("\"{}\" is no size", shown(text)),
                    "it is a whole number and one of KiB, MiB, GiB and TiB: \"64KiB\"",
                ));
            };
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift))
        }
        _ => return Err(kind.mismatch(value)),
    };
    match size {
        Some(size) if size < least => {
            Err(Wrong::new(format!("that is too small: at least {}", told_size(least)), ""))
        }
        Some(size) if size <= LARGEST => Ok(Typed::Number(size)),
        _ => Err(Wrong::new("that is out of range: expected a size up to 1024TiB", "")),
    }
}

pub(super) fn surge(kind: Kind, value: &Value) -> Result<Typed, Wrong> {
    let within = |number: Option<u32>, most: u32| number.filter(|it| (1..=most).contains(it));
    match value {
        Value::Number(number) => within(u32::try_from(*number).ok(), 4096)
            .map(|count| Typed::Surge(Surge::Count(count)))
            .ok_or_else(|| {
                Wrong::new(
                    format!("{number} is out of range: expected a number from 1 to 4096"),
                    "",
                )
            }),
        Value::Text(text) => match text.strip_suffix('%') {
            Some(share) => within(share.parse().ok(), 100)
                .map(|share| Typed::Surge(Surge::Percent(share)))
                .ok_or_else(|| {
                    let message = format!("\"{}\" is no share from 1% to 100%", shown(text));
                    Wrong::new(message, "write \"25%\"")
                }),
            None => Err(kind.mismatch(value)),
        },
        _ => Err(kind.mismatch(value)),
    }
}

fn told_size(size: u64) -> String {
    if size.is_multiple_of(1 << 20) {
        format!("{}MiB", size >> 20)
    } else {
        format!("{size} bytes")
    }
}

/// Digits, and what follows them.
fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or_default()
}

/// Ten years: what is longer is a slip.
const LONGEST_MILLIS: u64 = 3650 * 86_400_000;
const LARGEST: u64 = 1 << 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn durations_have_units() {
        for (written, millis) in [
            ("500ms", Some(500)),
            ("2s", Some(2000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("365d", Some(31_536_000_000)),
            ("0s", None),
            ("2", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("1m30s", None),
            ("-1s", None),
            ("2S", None),
            ("2 s", None),
            ("99999999999999999999s", None),
            ("99999999999999999d", None),
            ("4000d", None),
        ] {
            let read = duration(Kind::Duration, &text(written), &[]).ok();
            let expected = millis.map(|millis| Typed::Duration(Duration::from_millis(millis)));
            assert_eq!(read, expected, "{written}");
        }
        let read = duration(Kind::Duration, &text("forever"), &["forever"]);
        assert_eq!(read, Ok(Typed::Word("forever")));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (written, bytes) in [
            ("512MiB", Some(512 << 20)),
            ("64KiB", Some(64 << 10)),
            ("64k", Some(64 << 10)),
            ("1GB", Some(1 << 30)),
            ("0", Some(0)),
            ("10B", Some(10)),
            ("1TiB", Some(1 << 40)),
            ("2000TiB", None),
            ("99999999999999999999", None),
            ("MiB", None),
            ("1.5MiB", None),
            ("ten", None),
            ("5µ", None),
        ] {
            let read = size(Kind::Size { least: 0 }, &text(written), 0).ok();
            assert_eq!(read, bytes.map(Typed::Number), "{written}");
        }
        assert_eq!(size(Kind::Size { least: 0 }, &Value::Number(7), 0), Ok(Typed::Number(7)));
        let small = size(Kind::Size { least: 1 << 20 }, &text("1KiB"), 1 << 20).unwrap_err();
        assert_eq!(small.message, "that is too small: at least 1MiB");
    }

    #[test]
    fn a_surge_is_a_number_or_a_share() {
        let read = |value| surge(Kind::Surge, &value).ok();
        assert_eq!(read(Value::Number(2)), Some(Typed::Surge(Surge::Count(2))));
        assert_eq!(read(text("25%")), Some(Typed::Surge(Surge::Percent(25))));
        for wrong in [Value::Number(0), Value::Number(-1), text("0%"), text("101%"), text("2")] {
            assert_eq!(read(wrong.clone()), None, "{wrong:?}");
        }
    }
}
