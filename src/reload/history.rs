//! How the last attempts ended.

use crate::contract::attempt::{Attempt, AttemptResult};
use crate::limits;
use crate::time::UnixMillis;
use serde::{Serialize, Serializer};
use std::collections::VecDeque;

/// The last [`limits::ATTEMPT_COUNT`] attempts, and how many there were of each result since the
/// start. JSON: the attempts, newest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    attempts: VecDeque<Kept>,
    counts: Counts,
}

/// An attempt, and when it ended.
#[derive(Clone, Debug, Serialize)]
struct Kept {
    #[serde(flatten)]
    attempt: Attempt,
    /// In milliseconds since 1970.
    at: u64,
}

/// Attempts since the start, by result.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Counts {
    /// The new configuration became active.
    pub applied: u64,
    /// It did not.
    pub rejected: u64,
    /// It did for a moment.
    pub rolled_back: u64,
}

impl History {
    /// One more attempt has ended, at this moment.
    pub fn record(&mut self, attempt: Attempt, at: UnixMillis) {
        let count = match attempt.result {
            AttemptResult::Applied => &mut self.counts.applied,
            AttemptResult::Rejected => &mut self.counts.rejected,
            AttemptResult::RolledBack => &mut self.counts.rolled_back,
        };
        *count += 1;
        self.attempts.truncate(limits::ATTEMPT_COUNT - 1);
        self.attempts.push_front(Kept { attempt, at: at.0 });
    }

    /// The attempts that are remembered, newest first.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().map(|kept| &kept.attempt)
    }

    /// The last attempt.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.front().map(|kept| &kept.attempt)
    }

    /// How many attempts ended how, forgotten ones included.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.attempts.serialize(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::attempt::{AttemptCode, AttemptSource};

    fn attempt(id: u64, result: AttemptResult) -> Attempt {
        Attempt {
            id,
            source: AttemptSource::Api,
            old_version: 1,
            new_version: 2,
            result,
            code: AttemptCode::Invalid,
            details: vec!["no".to_owned()],
            duration_ms: 3,
        }
    }

    #[test]
    fn the_last_attempts_are_told_newest_first_and_all_are_counted() {
        let mut history = History::default();
        assert_eq!(serde_json::to_value(&history).unwrap(), serde_json::json!([]));
        assert_eq!(history.last(), None);
        for id in 1..=25 {
            let result = match id % 5 {
                0 => AttemptResult::Rejected,
                1 => AttemptResult::RolledBack,
                _ => AttemptResult::Applied,
            };
            history.record(attempt(id, result), UnixMillis(id * 1000));
        }
        let ids: Vec<_> = history.attempts().map(|attempt| attempt.id).collect();
        assert_eq!(ids, (6..=25).rev().collect::<Vec<_>>());
        assert_eq!(history.counts(), Counts { applied: 15, rejected: 5, rolled_back: 5 });
        let json = serde_json::to_value(&history).unwrap();
        assert_eq!(json.as_array().unwrap().len(), limits::ATTEMPT_COUNT);
        assert_eq!(
            json[0],
            serde_json::json!({
                "id": 25, "source": "api", "oldVersion": 1, "newVersion": 2,
                "result": "rejected", "code": "invalid", "details": ["no"], "durationMs": 3, "at": 25_000,
            })
        );
        assert_eq!(history.last().map(|attempt| attempt.id), Some(25));
    }
}
