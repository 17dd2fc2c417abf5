//! When the authority itself wants a certificate to be renewed (RFC 9773).

use super::validity::{DAY, Validity};
use crate::entropy::Entropy;

/// What an authority suggests, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Not sooner.
    pub start: u64,
    /// Not later.
    pub end: u64,
}

impl Window {
    /// A moment for the renewal of a certificate, each in the window equally likely (RFC 9773
    /// §4.2); one that is past means now. `None` when the window is none: it ends before it begins.
    pub fn moment(self, validity: Validity, entropy: &mut impl Entropy) -> Option<u64> {
        let length = self.end.checked_sub(self.start).filter(|length| *length > 0)?;
        let moment = self.start + entropy.below(length);
        Some(moment.min(validity.last_call()))
    }
}

/// What an authority answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// A window, and after how many seconds to ask again.
    Window(Window, u64),
    /// It has no opinion.
    None,
    /// It did not answer, or nothing that can be understood.
    Unknown,
}

/// After how many seconds to ask again where the authority said `retry_after` (RFC 9773 §4.3.2).
pub(super) fn ask_again(retry_after: u64) -> u64 {
    retry_after.clamp(60, DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    #[test]
    fn moments_lie_in_the_window_and_all_over_it() {
        let mut entropy = Xoshiro::new(9);
        let validity = Validity { not_before: 0, not_after: 100_000 };
        let window = Window { start: 50_000, end: 50_100 };
        let moments: Vec<u64> =
            (0..1000).filter_map(|_| window.moment(validity, &mut entropy)).collect();
        assert!(moments.iter().all(|moment| (50_000..50_100).contains(moment)));
        assert!(moments.iter().any(|moment| *moment < 50_010));
        assert!(moments.iter().any(|moment| *moment >= 50_090));
    }

    #[test]
    fn a_window_too_late_is_cut_and_one_upside_down_is_none() {
        let mut entropy = Xoshiro::new(9);
        let validity = Validity { not_before: 0, not_after: 1000 };
        let late = Window { start: 2000, end: 3000 };
        assert_eq!(late.moment(validity, &mut entropy), Some(900));
        for end in [2000, 1999] {
            assert_eq!(Window { start: 2000, end }.moment(validity, &mut entropy), None);
        }
        assert_eq!((ask_again(0), ask_again(7200), ask_again(u64::MAX)), (60, 7200, DAY));
    }
}
