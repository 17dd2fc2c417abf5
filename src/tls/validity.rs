//! From when until when a certificate is good, and what follows from that alone.

/// From when until when a certificate is good, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// Good from then on.
    pub not_before: u64,
    /// Good until then.
    pub not_after: u64,
}

impl Validity {
    /// How long it is good in all; at least a second.
    pub fn length(self) -> u64 {
        self.not_after.saturating_sub(self.not_before).max(1)
    }

    /// How long it is still good.
    pub fn left(self, now: u64) -> u64 {
        self.not_after.saturating_sub(now)
    }

    /// It is good at this moment.
    pub fn holds(self, now: u64) -> bool {
        (self.not_before..self.not_after).contains(&now)
    }

    /// The moment when a third of it is left: 30 days of 90, 15 of 45, 2 of 6.
    pub fn last_third(self) -> u64 {
        self.not_after - self.length() / 3
    }

    /// The last moment at which another one is ordered, whatever an authority suggests: a tenth is
    /// left for what may go wrong.
    pub fn last_call(self) -> u64 {
        self.not_after - self.length() / 10
    }
}

/// How fast time counts where certificates last less than a day: pauses that are right for months
/// would outlast them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    length: u64,
}

impl Pace {
    /// The pace of certificates that are good for `length` seconds; `None` is not known yet.
    pub fn of(length: Option<u64>) -> Self {
        Self { length: length.unwrap_or(DAY).clamp(1, DAY) }
    }

    /// `seconds` of a pause at this pace, at least one.
    pub fn scale(self, seconds: u64) -> u64 {
        let scaled = u128::from(seconds) * u128::from(self.length) / u128::from(DAY);
        u64::try_from(scaled).unwrap_or(u64::MAX).max(1)
    }
}

/// An hour in seconds.
pub(super) const HOUR: u64 = 3600;
/// A day in seconds.
pub(super) const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_left_when_another_one_is_due() {
        for (days, left) in [(90, 30), (45, 15), (6, 2)] {
            let validity = Validity { not_before: 1000, not_after: 1000 + days * DAY };
            assert_eq!(validity.left(validity.last_third()), left * DAY);
            assert!(validity.last_call() > validity.last_third());
            assert!(validity.holds(1000) && !validity.holds(1000 + days * DAY));
        }
        let upside_down = Validity { not_before: 9, not_after: 5 };
        assert_eq!((upside_down.length(), upside_down.last_third()), (1, 5));
        assert!(!upside_down.holds(7));
    }

    #[test]
    fn certificates_of_a_minute_make_pauses_of_seconds() {
        assert_eq!(Pace::of(Some(60)).scale(HOUR), 2);
        assert_eq!(Pace::of(Some(60)).scale(DAY), 60);
        assert_eq!(Pace::of(Some(90 * DAY)).scale(HOUR), HOUR);
        assert_eq!(Pace::of(None).scale(HOUR), HOUR);
        assert_eq!(Pace::of(Some(0)).scale(10), 1);
    }
}
