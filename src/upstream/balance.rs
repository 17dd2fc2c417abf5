//! Which of the targets that could take a request is chosen: the fewest in flight; among those the
//! one that was chosen longest ago, so that equals take turns, whoever comes and goes between.

use super::retry::Tries;
use super::target::Target;
use crate::time::Instant;

/// The position of the target to be chosen at `now`: one that was not tried yet when there is one,
/// else one that was, if `tries` allow that.
pub(super) fn first(targets: &[Target], tries: &Tries, now: Instant) -> Option<usize> {
    let best = |again: bool| {
        targets
            .iter()
            .enumerate()
            .filter(|(_, target)| tries.has_tried(target.id) == again && target.may_be_chosen(now))
            .min_by_key(|(_, target)| (target.inflight, target.last_chosen))
            .map(|(position, _)| position)
    };
    best(false).or_else(|| if tries.allow_same() { best(true) } else { None })
}
