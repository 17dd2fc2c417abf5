//! What a flag's text means: one parser a kind of value, shared by flags and tokens.

use rip::contract::app::{Recycle, Surge};
use rip::contract::public_name::is_email;
use rip::ids::WorkerId;
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

/// A window of time, from a millisecond to a week: `60000`, `500ms`, `60s`, `5m`, `1h`.
pub fn window(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("not a window such as 60s, 5m or 500ms".to_owned()),
    };
    let most = 7 * 24 * 3600 * 1000 / unit;
    within(number, 1, most).map(|number| Duration::from_millis(number * unit))
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

/// When workers are replaced by fresh ones: `1000`, `1000,3600s`, `1000,3600s,10r`, or any of the
/// three by itself; requests, seconds, reloads.
pub fn recycle(text: &str) -> Result<Recycle, String> {
    let wrong = || "not a number of requests, with seconds and reloads: 1000,3600s,10r".to_owned();
    let mut recycle = Recycle::default();
    let mut least = 0;
    for part in text.split(',') {
        let (number, rank) = match part.as_bytes().last() {
            Some(b's') => (&part[..part.len() - 1], 2),
            Some(b'r') => (&part[..part.len() - 1], 3),
            _ => (part, 1),
        };
        // In this order, each once.
        if rank <= least {
            return Err(wrong());
        }
        least = rank;
        let number = |most: u64| {
            within(number, 1, most).map_err(|why| match number.is_empty() {
                true => wrong(),
                false => format!("'{part}': {why}"),
            })
        };
        match rank {
            1 => recycle.requests = Some(number(1_000_000_000_000)?),
            2 => recycle.seconds = Some(number(366 * 24 * 3600)?),
            _ => recycle.reloads = Some(u32::try_from(number(1_000_000)?).unwrap_or(u32::MAX)),
        }
    }
    Ok(recycle)
}

/// Fresh workers beyond the wanted number: `2`, `25%`.
pub fn surge(text: &str) -> Result<Surge, String> {
    match text.strip_suffix('%') {
        Some(share) => within(share, 1, 100).map(Surge::Percent),
        None => within(text, 1, 4096).map(Surge::Count),
    }
}

/// A size of at least 1 MiB: less memory no process has.
pub fn memory(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        size if size >= 1 << 20 => Ok(size),
        _ => Err("must be at least 1MiB".to_owned()),
    }
}

/// Workers of a running app.
pub fn worker_count(text: &str) -> Result<u32, String> {
    within(text, 1, 4096)
}

/// A worker's id, as it is shown (`w3`) or as a bare number.
pub fn worker_id(text: &str) -> Result<WorkerId, String> {
    let number = text.strip_prefix('w').unwrap_or(text);
    within(number, 1, u64::MAX).map(WorkerId).map_err(|_| "not a worker such as w3".to_owned())
}

/// A method of a request.
pub fn method(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err("not a method such as GET".to_owned()),
    }
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

/// A mail address.
pub fn email(text: &str) -> Result<String, String> {
    match is_email(text) {
        true => Ok(text.to_owned()),
        false => Err("not a mail address such as you@example.com".to_owned()),
    }
}

/// The URL of an ACME authority's directory.
pub fn directory_url(text: &str) -> Result<String, String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.strip_prefix("https://") {
        Some(rest) if clean && !rest.is_empty() && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => Err("not a URL that begins with https://".to_owned()),
    }
}

/// The name of a host, in lower case: no pattern and no port.
pub fn host(text: &str) -> Result<String, String> {
    match is_host(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("not a host such as panel.example.com".to_owned()),
    }
}

/// Whether `text` is a host name (RFC 1123 §2.1).
pub fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// A path without a query, at which something is served.
pub fn place(text: &str) -> Result<String, String> {
    let is_one = path(text).is_ok_and(|path| path.len() > 1 && !path.contains(['?', '*', '%']));
    if is_one { Ok(text.to_owned()) } else { Err("not a path such as /realtime".to_owned()) }
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
    fn recycling_has_three_parts() {
        let recycle = |requests, seconds, reloads| Recycle {
            requests,
            seconds,
            reloads,
            max_rss_bytes: None,
        };
        for (text, parsed) in [
            ("1000", recycle(Some(1000), None, None)),
            ("1000,3600s", recycle(Some(1000), Some(3600), None)),
            ("1000,3600s,10r", recycle(Some(1000), Some(3600), Some(10))),
            ("1,10r", recycle(Some(1), None, Some(10))),
            ("60s", recycle(None, Some(60), None)),
            ("3r", recycle(None, None, Some(3))),
        ] {
            assert_eq!(super::recycle(text), Ok(parsed), "{text}");
        }
        for wrong in ["", "s", ",", "1,", "1,2", "1,2s,3s", "2s,1", "3r,2s", "1.5", "-1", "10x"] {
            assert!(super::recycle(wrong).is_err(), "{wrong}");
        }
        assert_eq!(super::recycle("0").unwrap_err(), "'0': must be between 1 and 1000000000000");
        assert!(super::recycle("5,0s").unwrap_err().starts_with("'0s': must be between 1"));
    }

    #[test]
    fn a_surge_is_a_number_or_a_share() {
        assert_eq!(surge("2"), Ok(Surge::Count(2)));
        assert_eq!(surge("25%"), Ok(Surge::Percent(25)));
        for wrong in ["0", "0%", "101%", "%", "", "-1", "1.5", "half"] {
            assert!(surge(wrong).is_err(), "{wrong}");
        }
        assert_eq!(memory("64M"), Ok(64 << 20));
        assert_eq!(memory("64k").unwrap_err(), "must be at least 1MiB");
        assert_eq!(worker_id("w3"), Ok(WorkerId(3)));
        assert_eq!(worker_id("12"), Ok(WorkerId(12)));
        for wrong in ["", "w", "w0", "x3", "3w", "w-1"] {
            assert!(worker_id(wrong).is_err(), "{wrong}");
        }
        assert!(worker_count("0").is_err() && worker_count("8") == Ok(8));
    }

    #[test]
    fn numbers_outside_their_range_say_the_range() {
        assert_eq!(port("65536").unwrap_err(), "must be between 1 and 65535");
        assert_eq!(port("+80").unwrap_err(), "not a whole number");
        assert_eq!(millis("0").unwrap_err(), "must be between 1 and 604800000");
        assert_eq!(millis("250").unwrap(), Duration::from_millis(250));
        for (text, millis) in [
            ("60000", 60_000),
            ("500ms", 500),
            ("60s", 60_000),
            ("5m", 300_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(window(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "0", "0s", "-1", "1.5s", "8d", "60sec", "99999999999999999999"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        assert!(seconds("nan").is_err() && seconds("0").is_err() && seconds("1e9").is_err());
        assert!(method("M-SEARCH").is_ok() && method("").is_err() && method("G T").is_err());
        assert!(path("/ok?deep=1").is_ok() && path("ready").is_err() && path("/a b").is_err());
    }
}
