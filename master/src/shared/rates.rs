//! How often clients may ask: the limits of one configuration, counted by all loops together.

use rip::contract::config::{Config, RateLimit};
use rip::guard::rate::{Rates, Verdict};
use rip::route::host::{HostPattern, parent};
use rip::time::Instant;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The limits of a configuration. A site without a limit of its own has that of the whole edge; of
/// several that a host meets, the most specific counts. The limit of a site with several names is
/// that of each name.
#[derive(Debug, Default)]
pub struct RateLimits {
    exact: HashMap<Box<[u8]>, Limiter>,
    /// By the name behind `*.`.
    wildcard: HashMap<Box<[u8]>, Limiter>,
    /// That of `*`.
    any: Option<Limiter>,
    edge: Option<Limiter>,
}

/// A client asked more often than it may.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Over {
    /// The answer's fields, as whole lines: `Retry-After`, `RateLimit`, `RateLimit-Policy`.
    pub fields: Vec<u8>,
}

#[derive(Debug)]
struct Limiter {
    limit: RateLimit,
    core: Mutex<Rates>,
}

impl RateLimits {
    /// Nobody has asked yet.
    pub fn new(config: &Config) -> Self {
        let mut limits = Self { edge: config.edge.rate_limit.map(Limiter::new), ..Self::default() };
        // Where nothing is limited there is nothing to be free of.
        let is_limit = |limit: &RateLimit| *limit != RateLimit::UNLIMITED;
        if limits.edge.is_none() && !config.rate_limits.values().any(is_limit) {
            return limits;
        }
        for (host, limit) in &config.rate_limits {
            let limiter = Limiter::new(*limit);
            match HostPattern::new(host) {
                HostPattern::Exact(name) => drop(limits.exact.insert(name.into(), limiter)),
                HostPattern::Wildcard(name) => drop(limits.wildcard.insert(name.into(), limiter)),
                HostPattern::Any => limits.any = Some(limiter),
            }
        }
        limits
    }

    /// Nobody is limited.
    pub fn is_empty(&self) -> bool {
        let Self { exact, wildcard, any, edge } = self;
        exact.is_empty() && wildcard.is_empty() && any.is_none() && edge.is_none()
    }

    /// Counts a request of `client` to a normalized host. `None` when it may go on.
    pub fn check(&self, host: &[u8], client: IpAddr, now: Instant) -> Option<Over> {
        self.of(host)?.check(client, now)
    }

    /// What was counted under `old` counts here, limit by limit: under the same limit as it was,
    /// under another one as far as it can (see [`Rates::configure`]). `old` begins anew.
    pub fn succeed(&self, old: &Self) {
        if std::ptr::eq(self, old) {
            return;
        }
        for (mine, others) in [(&self.exact, &old.exact), (&self.wildcard, &old.wildcard)] {
            for (host, limiter) in mine {
                limiter.succeed(others.get(host));
            }
        }
        for (mine, other) in [(&self.any, &old.any), (&self.edge, &old.edge)] {
            if let Some(limiter) = mine {
                limiter.succeed(other.as_ref());
            }
        }
    }

    fn of(&self, host: &[u8]) -> Option<&Limiter> {
        let wildcard = || parent(host).and_then(|parent| self.wildcard.get(parent));
        let own = self.exact.get(host).or_else(wildcard);
        own.or(self.any.as_ref()).or(self.edge.as_ref())
    }
}

impl Limiter {
    fn new(limit: RateLimit) -> Self {
        Self { limit, core: Mutex::new(Rates::new(limit.limit, limit.window)) }
    }

    fn check(&self, client: IpAddr, now: Instant) -> Option<Over> {
        let mut core = self.lock();
        let verdict = core.check(client, now);
        let Verdict::Refused { .. } = verdict else { return None };
        let mut fields = Vec::with_capacity(128);
        fields.extend_from_slice(b"RateLimit-Policy: ");
        core.policy(&mut fields);
        drop(core);
        fields.extend_from_slice(b"\r\nRateLimit: ");
        verdict.rate_limit(&mut fields);
        let seconds = verdict.retry_after_secs().unwrap_or(1);
        fields.extend_from_slice(format!("\r\nRetry-After: {seconds}\r\n").as_bytes());
        Some(Over { fields })
    }

    fn succeed(&self, old: Option<&Self>) {
        let Some(old) = old else { return };
        std::mem::swap(&mut *self.lock(), &mut *old.lock());
        self.lock().configure(self.limit.limit, self.limit.window);
        old.lock().configure(old.limit.limit, old.limit.window);
    }

    fn lock(&self) -> MutexGuard<'_, Rates> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits(edge: Option<u32>, hosts: &[(&str, u32)]) -> RateLimits {
        let limit = |limit| RateLimit { limit, window: Duration::from_secs(60) };
        let mut config = Config::default();
        config.edge.rate_limit = edge.map(limit);
        config.rate_limits =
            hosts.iter().map(|(host, count)| ((*host).to_owned(), limit(*count))).collect();
        RateLimits::new(&config)
    }

    /// How many requests in a row are allowed, up to ten.
    fn allowed(limits: &RateLimits, host: &str) -> usize {
        let client = IpAddr::from([192, 0, 2, 1]);
        let now = Instant::from_millis(1000);
        (0..10).take_while(|_| limits.check(host.as_bytes(), client, now).is_none()).count()
    }

    #[test]
    fn the_most_specific_limit_of_a_host_counts() {
        let limits = limits(Some(5), &[("a.test", 1), ("*.a.test", 2)]);
        assert_eq!(allowed(&limits, "a.test"), 1);
        assert_eq!(allowed(&limits, "x.a.test"), 2);
        assert_eq!(allowed(&limits, "y.a.test"), 0, "the sites of a wildcard are one");
        assert_eq!(allowed(&limits, "b.test"), 5);
        let limits = self::limits(Some(5), &[("*", 3), ("A.Test.", 1)]);
        assert_eq!((allowed(&limits, "a.test"), allowed(&limits, "b.test")), (1, 3));
        assert_eq!(allowed(&self::limits(None, &[("a.test", 1)]), "b.test"), 10);
        assert_eq!(allowed(&RateLimits::default(), "a.test"), 10);
        let mut config = Config::default();
        config.rate_limits.insert("a.test".to_owned(), RateLimit::UNLIMITED);
        assert!(RateLimits::new(&config).is_empty(), "nothing is limited");
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_again() {
        let limits = limits(Some(1), &[]);
        let client = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(limits.check(b"a", client, Instant::from_millis(0)), None);
        let over = limits.check(b"a", client, Instant::from_millis(0)).expect("too often");
        assert_eq!(
            String::from_utf8(over.fields).unwrap(),
            "RateLimit-Policy: \"default\";q=1;w=60\r\nRateLimit: \"default\";r=0;t=120\r\n\
             Retry-After: 120\r\n"
        );
        let other = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(limits.check(b"a", other, Instant::from_millis(0)), None);
    }

    #[test]
    fn counts_outlive_the_configuration_and_come_back_with_it() {
        let old = limits(Some(2), &[("a.test", 1), ("gone.test", 1)]);
        assert_eq!((allowed(&old, "b.test"), allowed(&old, "a.test")), (2, 1));
        let new = limits(Some(3), &[("a.test", 1), ("new.test", 1)]);
        new.succeed(&old);
        assert_eq!(allowed(&new, "a.test"), 0, "the same limit goes on");
        assert_eq!(allowed(&new, "b.test"), 1, "one more than before");
        assert_eq!(allowed(&new, "new.test"), 1);
        old.succeed(&new);
        assert_eq!(allowed(&old, "a.test"), 0);
        assert_eq!(allowed(&old, "b.test"), 0, "fewer than were counted meanwhile");
        old.succeed(&old);
    }
}
