//! Messages that are numbered and kept for those who come back.
//!
//! A group that a rule is for has a count: an epoch and the offset of its last message. The messages
//! at the end of the count are kept: so many, so long, so many bytes. When all are gone and nobody is
//! in the group the count is forgotten too; the next one has another epoch.

use super::group::{GroupName, GroupPattern};
use super::message::{Message, Note};
use crate::contract::realtime::HistoryRule;
use crate::entropy::{Entropy, Xoshiro};
use crate::limits::{HISTORY_BYTES, HISTORY_GROUP_BYTES};
use crate::time::Instant;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// All counts of one hub.
#[derive(Debug)]
pub(super) struct Archive {
    rules: Vec<Rule>,
    counts: HashMap<GroupName, Count>,
    byte_count: usize,
    random: Xoshiro,
}

#[derive(Debug)]
struct Rule {
    pattern: GroupPattern,
    message_count: usize,
    ttl: Duration,
    /// What its groups keep, the oldest first, and some that is kept no more.
    order: VecDeque<Place>,
    /// How much of it is kept.
    kept_count: usize,
}

#[derive(Debug)]
struct Place {
    group: GroupName,
    epoch: u64,
    offset: u64,
    at: Instant,
}

#[derive(Debug)]
struct Count {
    /// Index of its rule.
    rule: usize,
    epoch: u64,
    /// Of the last message; 0 before the first.
    offset: u64,
    /// The last messages, each with the place of this group among its notes.
    kept: VecDeque<(Arc<Message>, u32)>,
    byte_count: usize,
}

impl Count {
    /// The offset of the first message that is kept.
    fn first(&self) -> u64 {
        self.offset + 1 - self.kept.len() as u64
    }
}

/// What somebody missed of a group.
pub(super) enum Missed<'a> {
    /// These, in order, each with the place of the group among its notes.
    Messages(Vec<(&'a Arc<Message>, u32)>),
    /// It cannot be said; now the group is there.
    Unknown { epoch: u64, offset: u64 },
    /// The group keeps nothing.
    NotKept,
}

impl Archive {
    /// Nothing is kept. Epochs follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rules: Vec::new(),
            counts: HashMap::new(),
            byte_count: 0,
            random: Xoshiro::new(seed),
        }
    }

    /// Follows these rules from now on. Groups whose rule is gone are forgotten.
    pub(super) fn configure(&mut self, rules: &[HistoryRule]) {
        let old = std::mem::take(&mut self.rules);
        self.rules = rules.iter().map(Rule::new).collect();
        let mut places: Vec<Place> = old.into_iter().flat_map(|rule| rule.order).collect();
        places.retain(|place| self.is_kept(place));
        places.sort_by_key(|place| place.at);
        let rules = &mut self.rules;
        self.counts.retain(|group, count| {
            let rule = rules.iter().position(|rule| rule.pattern.matches(group));
            count.rule = rule.unwrap_or_default();
            rule.is_some()
        });
        self.byte_count = self.counts.values().map(|count| count.byte_count).sum();
        for place in places {
            if let Some(count) = self.counts.get(&place.group)
                && let Some(rule) = self.rules.get_mut(count.rule)
            {
                rule.kept_count += 1;
                rule.order.push_back(place);
            }
        }
        let groups: Vec<GroupName> = self.counts.keys().cloned().collect();
        groups.iter().for_each(|group| self.trim(group));
    }

    /// The number of the next message of `group`; `None` when its messages are not numbered.
    pub(super) fn number(&mut self, group: &GroupName) -> Option<Note> {
        let count = self.count(group)?;
        count.offset += 1;
        Some(Note { group: group.clone(), epoch: count.epoch, offset: count.offset })
    }

    /// Keeps a message whose notes have just been numbered.
    pub(super) fn keep(&mut self, message: &Arc<Message>, now: Instant) {
        for (place, note) in message.notes().iter().enumerate() {
            let Some(count) = self.counts.get_mut(&note.group) else { continue };
            let bytes = weight(message);
            count.kept.push_back((Arc::clone(message), place as u32));
            count.byte_count += bytes;
            self.byte_count += bytes;
            if let Some(rule) = self.rules.get_mut(count.rule) {
                rule.kept_count += 1;
                let (group, offset) = (note.group.clone(), note.offset);
                rule.order.push_back(Place { group, epoch: note.epoch, offset, at: now });
            }
            self.trim(&note.group);
        }
        while self.byte_count > HISTORY_BYTES && self.drop_oldest() {}
        self.tidy();
    }

    /// What came in `group` behind a position. A group without a count gets one.
    pub(super) fn missed(&mut self, group: &GroupName, epoch: u64, offset: u64) -> Missed<'_> {
        let Some(count) = self.count(group) else { return Missed::NotKept };
        let is_had = count.epoch == epoch && (count.first() - 1..=count.offset).contains(&offset);
        if !is_had {
            return Missed::Unknown { epoch: count.epoch, offset: count.offset };
        }
        let known_count = offset + 1 - count.first();
        let missed = count.kept.iter().skip(known_count as usize);
        Missed::Messages(missed.map(|(message, place)| (message, *place)).collect())
    }

    /// Where `group` stands: epoch and offset.
    pub(super) fn position(&self, group: &GroupName) -> Option<(u64, u64)> {
        self.counts.get(group).map(|count| (count.epoch, count.offset))
    }

    /// Nobody is in `group` any more: its count goes with its last message.
    pub(super) fn vacated(&mut self, group: &GroupName) {
        if self.counts.get(group).is_some_and(|count| count.kept.is_empty()) {
            self.counts.remove(group);
        }
    }

    /// When the next message is too old.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = |rule: &Rule| rule.order.front().map(|place| place.at + rule.ttl);
        self.rules.iter().filter_map(first).min()
    }

    /// Forgets what is too old, and counts of groups without messages in which nobody is.
    pub(super) fn expire(&mut self, now: Instant, is_used: impl Fn(&GroupName) -> bool) {
        for index in 0..self.rules.len() {
            while let Some(rule) = self.rules.get_mut(index)
                && rule.order.front().is_some_and(|place| place.at + rule.ttl <= now)
                && let Some(place) = rule.order.pop_front()
            {
                if self.is_kept(&place) {
                    self.drop_first(&place.group);
                    if !is_used(&place.group) {
                        self.vacated(&place.group);
                    }
                }
            }
        }
    }

    /// Messages that are kept, once for each group.
    pub(super) fn message_count(&self) -> usize {
        self.rules.iter().map(|rule| rule.kept_count).sum()
    }

    /// What they take.
    pub(super) fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// Groups that have a count.
    pub(super) fn group_count(&self) -> usize {
        self.counts.len()
    }

    /// Panics when the archive contradicts itself.
    pub(super) fn check_invariants(&self) {
        let mut bytes = 0;
        for (group, count) in &self.counts {
            assert!(count.kept.len() as u64 <= count.offset, "{group} keeps what it never had");
            let sum: usize = count.kept.iter().map(|(message, _)| weight(message)).sum();
            assert_eq!(sum, count.byte_count, "{group}: bytes are miscounted");
            bytes += sum;
            let rule = self.rules.get(count.rule).expect("a rule");
            assert!(count.kept.len() <= rule.message_count, "{group} keeps too many");
            assert!(sum <= HISTORY_GROUP_BYTES || count.kept.len() == 1, "{group} keeps too much");
            for (index, (message, place)) in count.kept.iter().enumerate() {
                let note = &message.notes()[*place as usize];
                assert_eq!((&note.group, note.epoch), (group, count.epoch), "another's message");
                assert_eq!(note.offset, count.first() + index as u64, "{group}: out of order");
            }
        }
        assert_eq!(bytes, self.byte_count, "bytes are miscounted");
        assert!(bytes <= HISTORY_BYTES || self.message_count() == 1, "too much is kept");
        for rule in &self.rules {
            let kept = rule.order.iter().filter(|place| self.is_kept(place)).count();
            assert_eq!(kept, rule.kept_count, "messages are miscounted");
            assert!(rule.order.len() <= 2 * kept + STALE_COUNT, "what is gone is remembered");
            assert!(rule.order.iter().is_sorted_by_key(|place| place.at), "out of order");
        }
    }

    /// The count of `group`, which begins now if a rule is for it.
    fn count(&mut self, group: &GroupName) -> Option<&mut Count> {
        if !self.counts.contains_key(group) {
            let rule = self.rules.iter().position(|rule| rule.pattern.matches(group))?;
            let epoch = 1 + self.random.below(EPOCH_MAX);
            let (kept, byte_count) = (VecDeque::new(), 0);
            let count = Count { rule, epoch, offset: 0, kept, byte_count };
            self.counts.insert(group.clone(), count);
        }
        self.counts.get_mut(group)
    }

    /// Drops what a group may not keep.
    fn trim(&mut self, group: &GroupName) {
        while let Some(count) = self.counts.get(group)
            && let Some(rule) = self.rules.get(count.rule)
            && (count.kept.len() > rule.message_count
                || (count.byte_count > HISTORY_GROUP_BYTES && count.kept.len() > 1))
        {
            self.drop_first(group);
        }
    }

    fn drop_first(&mut self, group: &GroupName) {
        if let Some(count) = self.counts.get_mut(group)
            && let Some((message, _)) = count.kept.pop_front()
        {
            let bytes = weight(&message);
            count.byte_count -= bytes;
            self.byte_count -= bytes;
            if let Some(rule) = self.rules.get_mut(count.rule) {
                rule.kept_count -= 1;
            }
            if count.kept.is_empty() {
                count.kept = VecDeque::new();
            }
        }
    }

    /// Drops the oldest message of all; false when there is one at most.
    fn drop_oldest(&mut self) -> bool {
        if self.message_count() <= 1 {
            return false;
        }
        let fronts = self.rules.iter().enumerate();
        let fronts = fronts.filter_map(|(index, rule)| Some((rule.order.front()?.at, index)));
        let Some((_, index)) = fronts.min() else { return false };
        let place = self.rules.get_mut(index).and_then(|rule| rule.order.pop_front());
        if let Some(place) = place
            && self.is_kept(&place)
        {
            self.drop_first(&place.group);
        }
        true
    }

    /// Forgets places of what is kept no more, when they are the most.
    fn tidy(&mut self) {
        for index in 0..self.rules.len() {
            let Some(rule) = self.rules.get_mut(index) else { continue };
            if rule.order.len() > 2 * rule.kept_count + STALE_COUNT {
                let mut order = std::mem::take(&mut rule.order);
                order.retain(|place| self.is_kept(place));
                if let Some(rule) = self.rules.get_mut(index) {
                    rule.order = order;
                }
            }
        }
    }

    fn is_kept(&self, place: &Place) -> bool {
        let count = self.counts.get(&place.group).filter(|count| count.epoch == place.epoch);
        count.is_some_and(|count| place.offset >= count.first())
    }
}

impl Rule {
    fn new(rule: &HistoryRule) -> Self {
        Self {
            pattern: GroupPattern::new(&rule.pattern),
            message_count: rule.messages.max(1) as usize,
            ttl: rule.ttl,
            order: VecDeque::new(),
            kept_count: 0,
        }
    }
}

/// What a kept message takes, with its places.
fn weight(message: &Message) -> usize {
    message.byte_count() + KEPT_BYTES
}

/// Epochs are below 2^52.
const EPOCH_MAX: u64 = (1 << 52) - 2;
/// Beside the message itself: two places, the name, the notes.
const KEPT_BYTES: usize = 256;
/// Places of what is gone that a rule may remember.
const STALE_COUNT: usize = 64;

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
