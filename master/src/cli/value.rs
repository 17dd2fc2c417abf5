//! What a flag's text means: one parser a kind of value, shared by flags and tokens.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// How many workers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workers {
    /// One a core, at least two; `WEB_CONCURRENCY` when that is set.
    Auto,
    /// This many.
    Count(u32),
    /// One every two cores, at least one.
    Half,
}

impl Workers {
    /// The number on a machine of `cores` (as far as this process may use them).
    pub fn resolve(self, cores: u32, web_concurrency: Option<u32>) -> u32 {
        match self {
            Self::Auto => web_concurrency.unwrap_or_else(|| cores.max(2)),
            Self::Count(count) => count,
            Self::Half => (cores / 2).max(1),
        }
    }
}

/// `8`, `auto`, `half`.
pub fn workers(text: &str) -> Result<Workers, String> {
    match text {
        "auto" => Ok(Workers::Auto),
        "half" => Ok(Workers::Half),
        _ if text.parse::<i64>().is_err() => Err("not a number, auto or half".to_owned()),
        _ => within(text, 1, 4096).map(Workers::Count),
    }
}

/// Requests one worker may have in flight.
pub fn concurrency(text: &str) -> Result<u32, String> {
    within(text, 1, 65_535)
}

/// A TCP port.
pub fn port(text: &str) -> Result<u16, String> {
    within(text, 1, 65_535)
}

/// A number of edge loops.
pub fn loops(text: &str) -> Result<u16, String> {
    within(text, 1, 1024)
}

/// A count that may be zero.
pub fn count(text: &str) -> Result<u32, String> {
    within(text, 0, 1_000_000)
}

/// A count of at least one.
pub fn positive(text: &str) -> Result<u32, String> {
    within(text, 1, 100_000_000)
}

/// A deadline in milliseconds: from one to a week.
pub fn millis(text: &str) -> Result<Duration, String> {
    within(text, 1, 7 * 24 * 3600 * 1000_u64).map(Duration::from_millis)
}

/// A duration in seconds, fractions allowed.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.001..=604_800.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "not a number of seconds between 0.001 and 604800".to_owned())
}

/// A size: `1048576`, `100MiB`, `100M`, `64k`, `1GB`. Units are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("not a size such as 1048576, 64KiB or 100M".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "not a size such as 1048576, 64KiB or 100M".to_owned())
}

/// A path of a request.
pub fn path(text: &str) -> Result<String, String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if text.starts_with('/') && clean {
        Ok(text.to_owned())
    } else {
        Err("not a path such as /health".to_owned())
    }
}

fn within<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err("not a whole number".to_owned());
    }
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be between {least} and {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_machine_unless_told() {
        assert_eq!(workers("auto").unwrap().resolve(1, None), 2);
        assert_eq!(workers("auto").unwrap().resolve(8, None), 8);
        assert_eq!(workers("auto").unwrap().resolve(8, Some(3)), 3);
        assert_eq!(workers("half").unwrap().resolve(8, Some(3)), 4);
        assert_eq!(workers("half").unwrap().resolve(1, None), 1);
        assert_eq!(workers("5").unwrap().resolve(8, Some(3)), 5);
        assert!(workers("99999").is_err() && workers("-1").is_err() && workers("1.5").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("64k", Some(64 << 10)),
            ("64KiB", Some(64 << 10)),
            ("100MiB", Some(100 << 20)),
            ("1GB", Some(1 << 30)),
            ("99999999999999999999", None),
            ("20000000T", None),
            ("", None),
            ("MB", None),
            ("1.5M", None),
            ("-1", None),
            ("10 apples", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text}");
        }
    }

    #[test]
    fn numbers_outside_their_range_say_the_range() {
        assert_eq!(port("65536").unwrap_err(), "must be between 1 and 65535");
        assert_eq!(port("+80").unwrap_err(), "not a whole number");
        assert_eq!(millis("0").unwrap_err(), "must be between 1 and 604800000");
        assert_eq!(millis("250").unwrap(), Duration::from_millis(250));
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        assert!(seconds("nan").is_err() && seconds("0").is_err() && seconds("1e9").is_err());
        assert!(path("/ok?deep=1").is_ok() && path("ready").is_err() && path("/a b").is_err());
    }
}
