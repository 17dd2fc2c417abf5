//! Times and amounts as people read them.

use std::time::Duration;

/// `350 µs`, `2.4 ms`, `12 ms`, `1.5 s`, `3 min`.
pub fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        _ => format!("{} min", duration.as_secs() / 60),
    }
}

/// `5 bytes`, `1.2 KiB`, `100 MiB`.
pub fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    let mut unit = "";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    match unit {
        "" if count == 1 => "1 byte".to_owned(),
        "" => format!("{count} bytes"),
        unit if amount.fract() < 0.05 => format!("{amount:.0} {unit}"),
        unit => format!("{amount:.1} {unit}"),
    }
}

/// A number; one that is not known is a question mark.
pub fn amount(number: u32) -> String {
    if number == 0 { "?".to_owned() } else { number.to_string() }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`.
pub fn ordinal(number: u32) -> String {
    let end = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_are_short() {
        for (micros, text) in [
            (350, "350 µs"),
            (2_400, "2.4 ms"),
            (12_345, "12 ms"),
            (1_500_000, "1.5 s"),
            (180_000_000, "3 min"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
        for (count, text) in
            [(1, "1 byte"), (5, "5 bytes"), (1229, "1.2 KiB"), (104_857_600, "100 MiB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (number, text) in [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (22, "22nd")] {
            assert_eq!(ordinal(number), text);
        }
    }
}
