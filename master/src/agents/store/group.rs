//! Which ends of turns wait for others to share a sync with.
//!
//! A sync costs the same for one end and for twenty. Where few turns run, their ends come one by one and
//! none waits; where many do, the next end is never far, and waiting for it a moment saves a sync. Only
//! ends wait that must survive a loss of power: whatever else is ordered is done meanwhile, and whatever
//! else is synced takes them along.

use super::database;
use crate::shared::store::{StoreJob, StoreOrder};
use rip::session::Level;
use rip::time::Instant;
use std::time::Duration;

/// Ends that wait.
#[derive(Default)]
pub struct Group {
    jobs: Vec<StoreJob>,
    /// When the first of them came.
    since: Instant,
}

impl Group {
    /// What of `jobs` is to be done now, in the order it came; `live` turns run. The rest waits.
    pub fn sift(&mut self, jobs: Vec<StoreJob>, live: usize, now: Instant) -> Vec<StoreJob> {
        let (ends, mut others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_lasting_end);
        if self.jobs.is_empty() {
            self.since = now;
        }
        self.jobs.extend(ends);
        let has_sync = others.iter().any(|job| database::needs(&job.order) == Level::Power);
        let is_due = self.jobs.len() >= enough(live) || self.due().is_some_and(|due| due <= now);
        if has_sync || is_due {
            others.append(&mut self.jobs);
        }
        others
    }

    /// Those that wait, whether it is time or not.
    pub fn take(&mut self) -> Vec<StoreJob> {
        std::mem::take(&mut self.jobs)
    }

    /// When they have waited long enough.
    pub fn due(&self) -> Option<Instant> {
        (!self.jobs.is_empty()).then(|| self.since + WAIT)
    }
}

fn is_lasting_end(job: &StoreJob) -> bool {
    matches!(job.order, StoreOrder::End(_)) && database::needs(&job.order) == Level::Power
}

/// So many ends are worth a sync where `live` turns run.
const fn enough(live: usize) -> usize {
    if live < FEW { 1 } else { live / 2 }
}

/// Turns that end one by one.
const FEW: usize = 12;
/// Longest wait for company.
const WAIT: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mailbox::mailbox;
    use rip::session::claim::{Attempt, Right};
    use rip::session::end::{AppendOrder, End, EndOrder};
    use rip::session::look::DeleteOrder;
    use rip::session::{Epoch, Nonce, Outcome, SessionId, State};
    use std::sync::Arc;

    const SESSION: SessionId = SessionId::new([1; 16]);

    fn job(key: u64, order: StoreOrder) -> StoreJob {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (reply, _) = mailbox(Arc::new(waker));
        StoreJob { order, reply, key, since: Instant::default() }
    }

    fn attempt() -> Attempt {
        Attempt { session: SESSION, turn: 2, number: 1, owner: Epoch(1) }
    }

    fn append(key: u64) -> StoreJob {
        job(key, StoreOrder::Append(AppendOrder { attempt: attempt(), events: Vec::new() }))
    }

    fn end(key: u64, outcome: Outcome) -> StoreJob {
        let end = End::Outcome(outcome, State::Same);
        let next = Nonce([1; 16]);
        job(key, StoreOrder::End(EndOrder { attempt: attempt(), events: Vec::new(), end, next }))
    }

    fn commit(key: u64) -> StoreJob {
        end(key, Outcome::Finished { output: "1".to_owned() })
    }

    fn sift(group: &mut Group, jobs: Vec<StoreJob>, live: usize, millis: u64) -> Vec<u64> {
        let now = Instant::default() + Duration::from_millis(millis);
        group.sift(jobs, live, now).iter().map(|job| job.key).collect()
    }

    #[test]
    fn ends_wait_for_company_where_there_is_some() {
        let mut group = Group::default();
        // Few run: nobody waits.
        assert_eq!(sift(&mut group, vec![commit(1)], FEW - 1, 0), [1]);
        assert_eq!(group.due(), None);
        // Many run: the rest is done meanwhile, and what needs no sync.
        let jobs = vec![commit(2), append(3), end(4, Outcome::Cancelled)];
        assert_eq!(sift(&mut group, jobs, 30, 1), [3, 4]);
        assert_eq!(group.due(), Some(Instant::default() + Duration::from_millis(1) + WAIT));
        assert_eq!(sift(&mut group, vec![append(5)], 30, 3), [5]);
        // Their time is over.
        assert_eq!(sift(&mut group, Vec::new(), 30, 6), [2]);
        assert_eq!(group.due(), None);
        // There are enough.
        assert!(sift(&mut group, (10..19).map(commit).collect(), 20, 7).is_empty());
        assert_eq!(sift(&mut group, vec![append(30), commit(19)], 20, 8).len(), 11);
        assert!(group.take().is_empty());
    }

    #[test]
    fn a_sync_for_somebody_else_takes_them_along() {
        let mut group = Group::default();
        assert!(sift(&mut group, vec![commit(1)], 100, 0).is_empty());
        let (session, scope) = (SESSION.to_string(), String::new());
        let order = StoreOrder::Delete(DeleteOrder { session, scope, right: Right::Bound });
        assert_eq!(sift(&mut group, vec![job(2, order)], 100, 1), [2, 1]);
        assert!(sift(&mut group, vec![commit(3)], 100, 2).is_empty());
        assert_eq!(group.take().len(), 1);
    }
}
