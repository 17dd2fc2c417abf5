//! How often a client may ask: at most `limit` requests in a window of time that slides.
//!
//! Not every request is remembered, only two numbers for each client: how many were allowed in its
//! current window, and how many in the one before. The latter counts by the share of that window
//! which a window ending now still covers, as if its requests had come evenly:
//!
//! ```text
//!        previous: 6            current: 3
//!   ├─────────┬───────────┼───────────┤           used = 3 + 6 × 8/12 = 7
//!             └─────────── window ────┘ now
//! ```
//!
//! What that costs: the number differs from the exact one by at most what was allowed in the
//! previous window. So in no window whatever are `2 × limit` requests allowed, and who was allowed
//! fewer than `limit` requests within the last two windows is never refused. A client that asks
//! evenly is counted exactly, but for rounding up. Refused requests are not counted.

use super::recent::Recent;
use crate::http1::encode;
use crate::limits::RATE_CLIENT_COUNT;
use crate::time::Instant;
use std::net::IpAddr;
use std::time::Duration;

/// The rates of all clients, each by its address: an IPv6 network of 64 bits is one client, because
/// one client owns at least that.
///
/// At most [`RATE_CLIENT_COUNT`] are remembered; who was silent longest is forgotten first, and who
/// was silent for two windows because there is nothing to remember. Room is made as clients come, at
/// most some 11 MB, and used again; a request costs the same at any number of them, but for the few
/// that find the table full and double it.
#[derive(Debug)]
pub struct Rates {
    limit: u32,
    window_nanos: u64,
    clients: Recent<Key, Counts>,
}

/// The answer to one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is counted.
    Allowed {
        /// So many more would be allowed now.
        remaining: u32,
        /// If none comes, the whole limit is there again after this.
        reset: Duration,
    },
    /// It is not counted, and is to be answered 429.
    Refused {
        /// If none comes, the next one is allowed after this, and not before.
        retry_after: Duration,
    },
}

impl Rates {
    /// At most `limit` requests of a client (0 counts as 1) in any `window`.
    pub fn new(limit: u32, window: Duration) -> Self {
        let clients = Recent::new(RATE_CLIENT_COUNT);
        Self { limit: limit.max(1), window_nanos: window_nanos(window), clients }
    }

    /// Another limit from now on. What was counted stays counted, unless the window is another.
    pub fn configure(&mut self, limit: u32, window: Duration) {
        self.limit = limit.max(1);
        if self.window_nanos != window_nanos(window) {
            self.window_nanos = window_nanos(window);
            self.clients.clear();
        }
    }

    /// A request of `client`.
    pub fn check(&mut self, client: IpAddr, now: Instant) -> Verdict {
        // Two, because one may be added: the silent are forgotten faster than others come.
        for _ in 0..2 {
            let is_silent = |counts: &Counts| counts.is_over(self.window_nanos, now);
            if self.clients.oldest().is_some_and(is_silent) {
                self.clients.forget_oldest();
            }
        }
        let counts = self.clients.touch(Key::of(client), Counts::new(now));
        counts.count(self.limit, self.window_nanos, now)
    }

    /// Clients that are remembered.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Appends the value of `RateLimit-Policy`: what is allowed to everybody.
    pub fn policy(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"default\";q=");
        encode::decimal(u64::from(self.limit), out);
        out.extend_from_slice(b";w=");
        encode::decimal(whole_secs(Duration::from_nanos(self.window_nanos)), out);
    }

    /// Panics unless what always holds does.
    pub fn check_invariants(&self) {
        self.clients.check_invariants();
        assert!(self.limit > 0 && self.window_nanos > 0, "nothing is allowed to anybody");
    }
}

impl Verdict {
    /// Appends the value of `RateLimit`: what this client may still ask, and when it may ask
    /// everything again; after a refusal, when it may ask at all.
    pub fn rate_limit(&self, out: &mut Vec<u8>) {
        let (remaining, time) = match self {
            Self::Allowed { remaining, reset } => (*remaining, *reset),
            Self::Refused { retry_after } => (0, *retry_after),
        };
        out.extend_from_slice(b"\"default\";r=");
        encode::decimal(u64::from(remaining), out);
        out.extend_from_slice(b";t=");
        encode::decimal(whole_secs(time), out);
    }

    /// The value of `Retry-After` in seconds, at least 1; `None` when the request is allowed.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Allowed { .. } => None,
            Self::Refused { retry_after } => Some(whole_secs(*retry_after)),
        }
    }
}

/// Whom requests are counted for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Key {
    Four(u32),
    /// The first 64 bits.
    Six(u64),
}

impl Key {
    fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(four) => Self::Four(four.to_bits()),
            IpAddr::V6(six) => Self::Six((six.to_bits() >> 64) as u64),
        }
    }
}

/// What is remembered of one client.
#[derive(Clone, Copy, Debug)]
struct Counts {
    /// When its current window began: with a request, or where the previous one ended.
    began: Instant,
    current: u32,
    previous: u32,
}

impl Counts {
    fn new(now: Instant) -> Self {
        Self { began: now, current: 0, previous: 0 }
    }

    fn count(&mut self, limit: u32, window: u64, now: Instant) -> Verdict {
        self.slide(window, now);
        let left = self.left(window, now);
        // Rounded up: what is uncertain is not allowed.
        let weighted = (u128::from(self.previous) * u128::from(left)).div_ceil(u128::from(window));
        let used = u64::from(self.current) + weighted as u64;
        match u64::from(limit).checked_sub(used + 1) {
            Some(remaining) => {
                self.current += 1;
                let reset = Duration::from_nanos(left.saturating_add(window));
                Verdict::Allowed { remaining: remaining as u32, reset }
            }
            None => Verdict::Refused { retry_after: self.retry_after(limit, window, left) },
        }
    }

    /// When a request is allowed that now, with `left` of the current window, is refused.
    fn retry_after(&self, limit: u32, window: u64, left: u64) -> Duration {
        // So much of a window must be over that of `count` requests in the one before no more than
        // `room` count.
        let shrunk = |count: u32, room: u32| match u128::from(room) * u128::from(window) {
            share if count == 0 || share >= u128::from(count) * u128::from(window) => 0,
            share => window - (share / u128::from(count)) as u64,
        };
        let before_one = limit - 1;
        let nanos = match before_one.checked_sub(self.current) {
            // In this window.
            Some(room) => (left + shrunk(self.previous, room)).saturating_sub(window),
            // In the next, in which the current one is the previous.
            None => left.saturating_add(shrunk(self.current, before_one)),
        };
        Duration::from_nanos(nanos)
    }

    /// Begins as many windows as ended.
    fn slide(&mut self, window: u64, now: Instant) {
        if self.is_over(window, now) {
            *self = Self::new(now);
        } else if self.left(window, now) == 0 {
            self.began += Duration::from_nanos(window);
            self.previous = std::mem::take(&mut self.current);
        }
    }

    /// What is left of the current window.
    fn left(&self, window: u64, now: Instant) -> u64 {
        window.saturating_sub(nanos(now.since(self.began)))
    }

    /// True when no request counts any more.
    fn is_over(&self, window: u64, now: Instant) -> bool {
        nanos(now.since(self.began)) / 2 >= window
    }
}

/// A window's length: at least 1, and short enough for sums of three.
fn window_nanos(window: Duration) -> u64 {
    nanos(window).clamp(1, u64::MAX / 4)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Rounded up; at least 1.
fn whole_secs(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const WINDOW: Duration = Duration::from_secs(60);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    fn is_allowed(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Allowed { .. })
    }

    #[test]
    fn the_limit_is_allowed_at_once_and_then_slides() {
        let mut rates = Rates::new(6, WINDOW);
        let client = ip("192.0.2.1");
        for remaining in (0..6).rev() {
            let reset = Duration::from_secs(120);
            assert_eq!(rates.check(client, secs(0)), Verdict::Allowed { remaining, reset });
        }
        // All six count until the window is over, then one less with every ten seconds.
        let refused = |secs| Verdict::Refused { retry_after: Duration::from_secs(secs) };
        assert_eq!(rates.check(client, secs(0)), refused(70));
        assert_eq!(rates.check(client, secs(59)), refused(11));
        assert_eq!(rates.check(client, secs(60)), refused(10));
        assert!(is_allowed(rates.check(client, secs(70))));
        assert_eq!(rates.check(client, secs(70)), refused(10));
        assert!(is_allowed(rates.check(client, secs(80))));
        assert!(is_allowed(rates.check(ip("192.0.2.2"), secs(80))), "another has its own");
        let reset = Duration::from_secs(120);
        assert_eq!(rates.check(client, secs(240)), Verdict::Allowed { remaining: 5, reset });
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let mut rates = Rates::new(1, WINDOW);
        for (text, allowed) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:0:ffff::", false),
            ("2001:db8:0:1::1", true),
            ("::c000:201", true),
        ] {
            assert_eq!(is_allowed(rates.check(ip(text), secs(1))), allowed, "{text}");
        }
    }

    #[test]
    fn another_limit_counts_what_was_counted() {
        let mut rates = Rates::new(2, WINDOW);
        let client = ip("192.0.2.1");
        assert!(
            is_allowed(rates.check(client, secs(0))) && is_allowed(rates.check(client, secs(0)))
        );
        assert!(!is_allowed(rates.check(client, secs(0))));
        rates.configure(3, WINDOW);
        assert!(is_allowed(rates.check(client, secs(0))));
        rates.configure(1, WINDOW);
        let refused = rates.check(client, secs(0));
        assert_eq!(refused, Verdict::Refused { retry_after: Duration::from_secs(120) });
        assert!(is_allowed(rates.check(client, secs(120))));
        rates.configure(1, Duration::from_secs(1));
        assert!(is_allowed(rates.check(client, secs(120))), "another window begins anew");
    }

    #[test]
    fn no_more_clients_are_remembered_than_allowed_and_the_silent_are_forgotten() {
        let mut rates = Rates::new(1, WINDOW);
        let client = |number: u32| IpAddr::from(Ipv4Addr::from(number));
        let count = RATE_CLIENT_COUNT as u32;
        for number in 0..count {
            assert!(is_allowed(rates.check(client(number), secs(0))));
        }
        assert_eq!(rates.client_count(), RATE_CLIENT_COUNT);
        assert!(!is_allowed(rates.check(client(0), secs(1))));
        assert!(is_allowed(rates.check(client(count), secs(1))));
        assert_eq!(rates.client_count(), RATE_CLIENT_COUNT);
        assert!(!is_allowed(rates.check(client(0), secs(1))), "it was asked for just now");
        assert!(is_allowed(rates.check(client(1), secs(1))), "it was silent longest");
        for number in 0..count {
            let network = Ipv6Addr::from_bits(u128::from(number) << 64);
            assert!(is_allowed(rates.check(network.into(), secs(1000))));
        }
        assert_eq!(rates.client_count(), RATE_CLIENT_COUNT);
        for _ in 0..count {
            rates.check(client(7), secs(2000));
        }
        assert_eq!(rates.client_count(), 1);
        rates.check_invariants();
    }

    #[test]
    fn fields_are_written_as_structured_values() {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let rates = Rates::new(100, WINDOW);
        assert_eq!(text(&|out| rates.policy(out)), r#""default";q=100;w=60"#);
        let half = Rates::new(1, Duration::from_millis(500));
        assert_eq!(text(&|out| half.policy(out)), r#""default";q=1;w=1"#);
        let allowed = Verdict::Allowed { remaining: 5, reset: Duration::from_secs(30) };
        assert_eq!(text(&|out| allowed.rate_limit(out)), r#""default";r=5;t=30"#);
        assert_eq!(allowed.retry_after_secs(), None);
        let refused = Verdict::Refused { retry_after: Duration::from_millis(1001) };
        assert_eq!(text(&|out| refused.rate_limit(out)), r#""default";r=0;t=2"#);
        assert_eq!(refused.retry_after_secs(), Some(2));
        let soon = Verdict::Refused { retry_after: Duration::from_nanos(1) };
        assert_eq!(soon.retry_after_secs(), Some(1));
    }

    #[test]
    fn the_ends_of_time_and_number_are_harmless() {
        let client = ip("::1");
        for window in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let mut rates = Rates::new(u32::MAX, window);
            rates.check_invariants();
            for now in [Instant::from_nanos(u64::MAX), secs(0), Instant::from_nanos(u64::MAX)] {
                assert!(is_allowed(rates.check(client, now)));
            }
            rates.configure(0, window);
            rates.check(client, secs(0));
            rates.check(client, Instant::from_nanos(u64::MAX));
        }
    }

    #[test]
    fn a_client_takes_little_room() {
        // With its links 40 bytes, and 25 for each of at most 262 144 places in the table.
        assert!(size_of::<Counts>() <= 16 && size_of::<Key>() <= 16);
    }
}
