//! The part of an app's realtime that all loops share: which loop has which client, which loops have
//! members of which group, and the messages that are kept.
//!
//! ```text
//!              open, apply                    ┌─ letter ─▶ loop 0: roll.apply ─┐
//!   loop ─────────────────▶ hub ── post ──────┤                               │
//!                            ▲                └─ letter ─▶ loop 1: roll.apply ─┤
//!                            └──────── settle: groups that nobody of a loop is in, what is read
//! ```
//!
//! What always holds: each loop gets the letters in the order in which the hub made them, because
//! they are posted while the hub is borrowed; a loop that has a member of a group, or is told by a
//! letter on its way to make one, gets every letter for the group. So what a client is told follows
//! from the order of the calls alone: it gets what comes after its join and before it leaves, once.

use super::archive::{Archive, Missed};
use super::client_id::ClientId;
use super::frame::Frame;
use super::group::{GroupName, GroupPattern};
use super::item::{Item, Payload, Targets};
use super::letter::{Content, CountFor, Letter, MissedParcel, Named, Parcel};
use super::message::Message;
use super::recover::{self, Position};
use super::roll::Settled;
use crate::contract::realtime::{HistoryRule, RealtimeConfig};
use crate::ids::LoopIndex;
use crate::limits::{BACKLOG_BYTES, RECOVER_BYTES};
use crate::time::Instant;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What of the configuration a hub follows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HubSettings {
    /// Which groups number and keep their messages; the first rule for a group counts.
    pub history: Vec<HistoryRule>,
    /// Patterns of groups whose slow members lose messages.
    pub lossy: Vec<String>,
}

impl HubSettings {
    /// Those of an app: the rules of all its endpoints, one after the other.
    pub fn of<'a>(endpoints: impl IntoIterator<Item = &'a RealtimeConfig>) -> Self {
        let mut settings = Self::default();
        for endpoint in endpoints {
            settings.history.extend_from_slice(&endpoint.history);
            settings.lossy.extend_from_slice(&endpoint.lossy);
        }
        settings
    }
}

/// How a letter reaches its loop: it is put into that loop's mailbox before the call returns.
pub type Mailer<'a> = &'a mut dyn FnMut(LoopIndex, Letter);

/// The groups and clients of one app.
#[derive(Debug)]
pub struct Hub {
    clients: HashMap<ClientId, LoopIndex>,
    groups: HashMap<GroupName, Interest>,
    archive: Archive,
    lossy: Vec<GroupPattern>,
    /// By loop: what was posted and is not read yet, in bytes.
    backlogs: Vec<u64>,
    /// Loops of the letter that is being made.
    loops: Vec<LoopIndex>,
    last_serial: u64,
    message_count: u64,
    letter_count: u64,
    dropped_count: u64,
    now: Instant,
}

/// The loops that have members of a group, or will: each with the joins it was told of and has not
/// given back. A loop in which nobody is in the group any more gives back those it has read: while
/// another is on its way to it, it is still one of them.
#[derive(Debug, Default)]
struct Interest {
    loops: Vec<(LoopIndex, u64)>,
}

/// What a hub knows and did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HubCounts {
    /// Clients now.
    pub clients: usize,
    /// Groups that somebody is in.
    pub groups: usize,
    /// Messages that are kept now, once for each group.
    pub history_messages: usize,
    /// What they take.
    pub history_bytes: usize,
    /// Instructions with a payload so far.
    pub messages: u64,
    /// Letters so far.
    pub letters: u64,
    /// Letters whose payload was dropped, because their loop was too far behind.
    pub dropped: u64,
}

impl Hub {
    /// Nobody is there. Epochs follow from `seed`, which is another one after each start.
    pub fn new(settings: &HubSettings, seed: u64) -> Self {
        let mut hub = Self {
            clients: HashMap::new(),
            groups: HashMap::new(),
            archive: Archive::new(seed),
            lossy: Vec::new(),
            backlogs: Vec::new(),
            loops: Vec::new(),
            last_serial: 0,
            message_count: 0,
            letter_count: 0,
            dropped_count: 0,
            now: Instant::default(),
        };
        hub.configure(settings, Instant::default());
        hub
    }

    /// Follows `settings` from now on. What groups keep is kept as far as they say.
    pub fn configure(&mut self, settings: &HubSettings, now: Instant) {
        self.hear(now);
        self.lossy = settings.lossy.iter().map(|text| GroupPattern::new(text)).collect();
        self.archive.configure(&settings.history);
        self.check();
    }

    /// `client` is there, on loop `at`, whose roll has it already; `items` are those of the answer to
    /// its `open`. First it joins those of the groups in `positions` that the items join it to, and
    /// gets what it missed of them, or is told where it has to begin; then the items are done.
    pub fn open(
        &mut self,
        client: ClientId,
        at: LoopIndex,
        items: Vec<Item>,
        positions: &[Position],
        now: Instant,
        post: Mailer<'_>,
    ) {
        self.hear(now);
        self.clients.insert(client, at);
        let is_joined = |position: &&Position| {
            items.iter().any(|item| item.names(client) && item.joins.contains(&position.group))
        };
        let positions: Vec<&Position> = positions.iter().filter(is_joined).collect();
        if !positions.is_empty() {
            self.recover(client, at, &positions, post);
        }
        for item in items {
            self.apply(item, Some(client), None, now, post);
        }
        self.check();
    }

    /// Does what `item` says. `origin` is the client whose message is answered; `None` for what is
    /// published. Returns how many letters were posted: as many counts come back, if `count` says
    /// where to.
    pub fn apply(
        &mut self,
        item: Item,
        origin: Option<ClientId>,
        count: Option<CountFor>,
        now: Instant,
        post: Mailer<'_>,
    ) -> usize {
        self.hear(now);
        let Item { targets, joins, leaves, excludes, payload, close } = item;
        let Targets { groups, mut clients } = targets.unwrap_or_else(|| Targets {
            groups: Vec::new(),
            clients: origin.into_iter().collect(),
        });
        self.loops.clear();
        clients.retain(|client| match self.clients.get(client) {
            Some(at) => {
                if !self.loops.contains(at) {
                    self.loops.push(*at);
                }
                true
            }
            None => false,
        });
        for (at, _) in
            groups.iter().filter_map(|name| self.groups.get(name)).flat_map(|group| &group.loops)
        {
            if !self.loops.contains(at) {
                self.loops.push(*at);
            }
        }
        let mut parcel = Parcel {
            groups: groups.into_iter().map(|name| self.named(name)).collect(),
            clients,
            joins,
            leaves,
            excludes,
            frame: payload.frame().cloned(),
            close,
            count,
            ..Parcel::default()
        };
        for name in &parcel.joins {
            for index in 0..self.loops.len() {
                self.join(name, self.loops[index]);
            }
        }
        self.message_count += u64::from(parcel.frame.is_some());
        if let Payload::Object(object) = &payload {
            self.number(&mut parcel, object);
        }
        let says_something = parcel.has_payload()
            || parcel.close.is_some()
            || !parcel.joins.is_empty()
            || !parcel.leaves.is_empty();
        let posted = if says_something { self.post(parcel, post) } else { 0 };
        self.check();
        posted
    }

    /// `client` is gone: nothing is for it any more. Its loop takes it off its roll.
    pub fn close(&mut self, client: ClientId) {
        self.clients.remove(&client);
        self.check();
    }

    /// What a loop has done with its letters: `at` has read so much, and has nobody in these groups.
    pub fn settle(&mut self, at: LoopIndex, settled: Settled) {
        if let Some(backlog) = self.backlogs.get_mut(usize::from(at.0)) {
            *backlog = backlog.saturating_sub(settled.bytes);
        }
        for (name, joins) in settled.vacated {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            group.give_back(at, joins);
            if group.loops.is_empty() {
                self.groups.remove(&name);
                self.archive.vacated(&name);
            }
        }
        self.check();
    }

    /// When [`Self::handle_timeout`] is to be called: what is kept gets too old. May change with every
    /// call.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.archive.next_deadline()
    }

    /// Forgets what is too old. Too early a call does nothing, a late one loses nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.hear(now);
        self.archive.expire(self.now, |name| self.groups.contains_key(name));
        self.check();
    }

    /// Where a group's messages stand: epoch and offset of the last one. `None` where they are not
    /// numbered, or not yet.
    pub fn position(&self, group: &GroupName) -> Option<(u64, u64)> {
        self.archive.position(group)
    }

    /// Whether `client` is there.
    pub fn has(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// What it knows and did.
    pub fn counts(&self) -> HubCounts {
        HubCounts {
            clients: self.clients.len(),
            groups: self.groups.len(),
            history_messages: self.archive.message_count(),
            history_bytes: self.archive.byte_count(),
            messages: self.message_count,
            letters: self.letter_count,
            dropped: self.dropped_count,
        }
    }

    /// Panics when the hub contradicts itself.
    pub fn check_invariants(&self) {
        self.archive.check_invariants();
        for (name, group) in &self.groups {
            assert!(!group.loops.is_empty(), "{name} is nowhere");
            assert!(group.loops.iter().all(|(_, joins)| *joins > 0), "{name}: joined by nobody");
            let mut loops: Vec<_> = group.loops.iter().map(|(at, _)| at).collect();
            loops.sort_unstable();
            assert!(loops.is_sorted_by(|a, b| a < b), "{name}: a loop is there twice");
        }
        assert!(self.archive.group_count() <= self.groups.len() + self.archive.message_count() + 1);
    }

    /// Numbers what is sent to groups that keep it, and keeps it.
    fn number(&mut self, parcel: &mut Parcel, object: &Frame) {
        let mut notes = Vec::new();
        for named in &mut parcel.groups {
            if let Some(note) = self.archive.number(&named.name) {
                named.note = Some(notes.len() as u32);
                notes.push(note);
            }
        }
        if notes.is_empty() {
            return;
        }
        self.last_serial += 1;
        let message = Arc::new(Message::new(self.last_serial, notes, object));
        self.archive.keep(&message, self.now);
        self.archive.expire(self.now, |name| self.groups.contains_key(name));
        // Who is reached through that group alone gets the numbered frame only.
        let is_for_all = parcel.clients.is_empty() && matches!(*parcel.groups, [_]);
        if is_for_all {
            parcel.frame = None;
        }
        parcel.message = Some(message);
    }

    fn named(&self, name: GroupName) -> Named {
        let is_lossy = self.lossy.iter().any(|pattern| pattern.matches(&name));
        Named { name, is_lossy, note: None }
    }

    /// Posts `parcel` to `self.loops`.
    fn post(&mut self, mut parcel: Parcel, post: Mailer<'_>) -> usize {
        let loops = std::mem::take(&mut self.loops);
        parcel.weigh();
        let parcel = Arc::new(parcel);
        let has_payload = parcel.has_payload();
        let mut lost: Option<Arc<Parcel>> = None;
        for at in &loops {
            let is_behind = self.backlog(*at).saturating_add(parcel.weight) > BACKLOG_BYTES;
            let parcel = if has_payload && is_behind {
                self.dropped_count += 1;
                lost.get_or_insert_with(|| Arc::new(parcel.without_payload()))
            } else {
                &parcel
            };
            self.send(*at, Letter(Content::Parcel(Arc::clone(parcel))), post);
        }
        let count = loops.len();
        self.loops = loops;
        count
    }

    fn send(&mut self, at: LoopIndex, letter: Letter, post: Mailer<'_>) {
        *self.backlog(at) += letter.weight();
        self.letter_count += 1;
        post(at, letter);
    }

    fn backlog(&mut self, at: LoopIndex) -> &mut u64 {
        let index = usize::from(at.0);
        if self.backlogs.len() <= index {
            self.backlogs.resize(index + 1, 0);
        }
        &mut self.backlogs[index]
    }

    /// A letter with this join is about to be posted.
    fn join(&mut self, name: &GroupName, at: LoopIndex) {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.clone(), Interest::default());
        }
        if let Some(group) = self.groups.get_mut(name) {
            match group.loops.iter_mut().find(|(other, _)| *other == at) {
                Some((_, joins)) => *joins += 1,
                None => group.loops.push((at, 1)),
            }
        }
    }

    /// Posts what `client` missed behind `positions`, in the order in which it was sent, each message
    /// once, with its numbers in all these groups.
    fn recover(
        &mut self,
        client: ClientId,
        at: LoopIndex,
        positions: &[&Position],
        post: Mailer<'_>,
    ) {
        let mut missed: BTreeMap<u64, (Arc<Message>, Vec<u32>)> = BTreeMap::new();
        let mut resets = Vec::new();
        let mut bytes = 0;
        for position in positions {
            let Position { group, epoch, offset } = position;
            let reset = match self.archive.missed(group, *epoch, *offset) {
                Missed::NotKept => Some(None),
                Missed::Unknown { epoch, offset } => Some(Some((epoch, offset))),
                Missed::Messages(messages) => {
                    let more: usize =
                        messages.iter().map(|(message, _)| message.byte_count()).sum();
                    if bytes + more > RECOVER_BYTES {
                        // Too much for one client: it has to begin anew.
                        Some(None)
                    } else {
                        bytes += more;
                        for (message, note) in messages {
                            let entry = missed.entry(message.serial);
                            let (_, notes) =
                                entry.or_insert_with(|| (Arc::clone(message), Vec::new()));
                            notes.push(note);
                        }
                        None
                    }
                }
            };
            if let Some(known) = reset {
                resets.push((group.clone(), known.or_else(|| self.archive.position(group))));
            }
        }
        // What it had through another of the groups.
        let had = |message: &Message| {
            message.notes().iter().any(|note| {
                positions.iter().any(|position| {
                    position.group == note.group
                        && position.epoch == note.epoch
                        && note.offset <= position.offset
                })
            })
        };
        let mut frames = Vec::with_capacity(missed.len() + 1);
        if !resets.is_empty() {
            let position = match *resets {
                [(_, position)] => position,
                _ => None,
            };
            frames.push((Frame::text(&recover::reset(&resets)), position));
        }
        for (message, mut notes) in missed.into_values() {
            if !had(&message) {
                notes.sort_unstable();
                frames.push((message.frame(&notes), message.position(&notes)));
            }
        }
        let joins: Vec<GroupName> =
            positions.iter().map(|position| position.group.clone()).collect();
        joins.iter().for_each(|name| self.join(name, at));
        let weight =
            bytes + frames.len() * size_of::<Frame>() + joins.len() * size_of::<GroupName>();
        let parcel = MissedParcel { client, joins, frames, weight: weight as u64 };
        self.send(at, Letter(Content::Missed(Arc::new(parcel))), post);
    }

    fn hear(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    #[inline]
    fn check(&self) {
        if cfg!(debug_assertions) && self.groups.len() + self.archive.message_count() < 100 {
            self.check_invariants();
        }
    }
}

impl Interest {
    fn give_back(&mut self, at: LoopIndex, joins: u64) {
        for (other, told) in &mut self.loops {
            if *other == at {
                *told = told.saturating_sub(joins);
            }
        }
        self.loops.retain(|(_, told)| *told > 0);
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
