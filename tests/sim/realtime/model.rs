//! What must come of it: no loops, no letters, no sharing.

use rip::realtime::{ClientId, GroupName, Hub, Position};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// An instruction, as the world makes it.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Groups and clients; `None` is whoever is answered.
    pub targets: Option<(Vec<&'static str>, Vec<ClientId>)>,
    pub joins: Vec<&'static str>,
    pub leaves: Vec<&'static str>,
    pub excludes: Vec<ClientId>,
    pub payload: Said,
    pub close: Option<u16>,
}

/// What is delivered: each message has a number of its own.
#[derive(Clone, Copy, Debug, Default)]
pub enum Said {
    #[default]
    Nothing,
    Object(u64),
    Text(u64),
}

impl Words {
    pub fn json(&self) -> Value {
        let mut object = serde_json::Map::new();
        let names =
            |clients: &[ClientId]| clients.iter().map(ToString::to_string).collect::<Vec<_>>();
        if let Some((groups, clients)) = &self.targets {
            let groups = groups.iter().map(|group| (*group).to_owned());
            object.insert("@".into(), groups.chain(names(clients)).collect::<Vec<_>>().into());
        }
        if !self.joins.is_empty() {
            object.insert("+".into(), self.joins.clone().into());
        }
        if !self.leaves.is_empty() {
            object.insert("-".into(), self.leaves.clone().into());
        }
        if !self.excludes.is_empty() {
            object.insert(">".into(), names(&self.excludes).into());
        }
        match self.payload {
            Said::Nothing => {}
            Said::Object(number) => drop(object.insert("n".into(), number.into())),
            Said::Text(number) => drop(object.insert("$text".into(), format!("t{number}").into())),
        }
        if let Some(code) = self.close {
            object.insert("*".into(), json!({ "code": code }));
        }
        object.into()
    }
}

#[derive(Debug, Default)]
pub struct Model {
    pub clients: BTreeMap<ClientId, ModelClient>,
    pub counts: BTreeMap<&'static str, ModelCount>,
    pub kept_count: usize,
    pub ttl: u64,
}

#[derive(Debug, Default)]
pub struct ModelClient {
    pub groups: BTreeSet<&'static str>,
    pub expected: Vec<Value>,
    pub is_closed: bool,
}

/// The numbered messages of one group since its epoch began.
#[derive(Debug, Default)]
pub struct ModelCount {
    epoch: u64,
    messages: Vec<ModelMessage>,
    /// How many of them are forgotten.
    gone: usize,
}

#[derive(Clone, Debug)]
struct ModelMessage {
    number: u64,
    at: u64,
    notes: BTreeMap<&'static str, (u64, u64)>,
}

/// Who was to get a message: each with those of the named groups that it is in.
pub type Receivers = BTreeMap<ClientId, BTreeSet<&'static str>>;

impl Model {
    /// After the hub did it: who was to get a frame.
    pub fn apply(
        &mut self,
        words: &Words,
        origin: Option<ClientId>,
        hub: &Hub,
        now: u64,
    ) -> Receivers {
        let nobody = (Vec::new(), origin.into_iter().collect());
        let (groups, named) = words.targets.as_ref().unwrap_or(&nobody);
        let mut targets = Receivers::new();
        for (id, client) in &self.clients {
            let of: BTreeSet<_> =
                groups.iter().copied().filter(|group| client.groups.contains(group)).collect();
            if named.contains(id) || !of.is_empty() {
                targets.insert(*id, of);
            }
        }
        for id in targets.keys() {
            let client = self.clients.get_mut(id).unwrap();
            client.groups.extend(&words.joins);
            client.groups.retain(|group| !words.leaves.contains(group));
        }
        let notes = match words.payload {
            Said::Object(number) => self.number(groups, number, hub, now),
            _ => BTreeMap::new(),
        };
        let mut receivers = Receivers::new();
        for (id, of) in &targets {
            let client = self.clients.get_mut(id).unwrap();
            if client.is_closed || words.excludes.contains(id) {
                continue;
            }
            match words.payload {
                Said::Nothing => continue,
                Said::Text(number) => client.expected.push(format!("t{number}").into()),
                Said::Object(number) => {
                    let own = notes.iter().filter(|(group, _)| of.contains(*group));
                    client.expected.push(object(number, own));
                }
            }
            receivers.insert(*id, of.clone());
        }
        if let Some(code) = words.close {
            for id in targets.keys() {
                let client = self.clients.get_mut(id).unwrap();
                if !client.is_closed {
                    client.is_closed = true;
                    client.expected.push(format!("close {code}").into());
                }
            }
        }
        receivers
    }

    /// After the hub did it: a client that has come with positions in groups that it joins.
    pub fn open(&mut self, id: ClientId, positions: &[(&'static str, Position)], hub: &Hub) {
        let mut client = ModelClient::default();
        let mut missed: BTreeMap<u64, (ModelMessage, Vec<&'static str>)> = BTreeMap::new();
        let mut resets = serde_json::Map::new();
        for (group, at) in positions {
            client.groups.insert(group);
            self.look(group, hub);
            let Some(count) = self.counts.get(group) else {
                resets.insert((*group).into(), json!({}));
                continue;
            };
            let last = count.messages.len() as u64;
            let first = count.gone as u64;
            if at.epoch != count.epoch || at.offset < first || at.offset > last {
                resets.insert((*group).into(), json!({ "epoch": count.epoch, "offset": last }));
                continue;
            }
            for message in &count.messages[at.offset as usize..] {
                let entry = missed.entry(message.number).or_insert((message.clone(), Vec::new()));
                entry.1.push(group);
            }
        }
        if !resets.is_empty() {
            client.expected.push(json!({ "reset": resets }));
        }
        for (number, (message, groups)) in missed {
            let had = positions.iter().any(|(group, at)| {
                message
                    .notes
                    .get(group)
                    .is_some_and(|(epoch, offset)| *epoch == at.epoch && *offset <= at.offset)
            });
            if !had {
                let notes = message.notes.iter().filter(|(group, _)| groups.contains(group));
                client.expected.push(object(number, notes));
            }
        }
        self.clients.insert(id, client);
    }

    pub fn expire(&mut self, now: u64) {
        for count in self.counts.values_mut() {
            while let Some(message) = count.messages.get(count.gone)
                && message.at + self.ttl <= now
            {
                count.gone += 1;
            }
        }
    }

    pub fn configure(&mut self, kept_count: usize, ttl: u64) {
        (self.kept_count, self.ttl) = (kept_count, ttl);
        self.trim();
    }

    fn number(
        &mut self,
        groups: &[&'static str],
        number: u64,
        hub: &Hub,
        now: u64,
    ) -> BTreeMap<&'static str, (u64, u64)> {
        let mut notes = BTreeMap::new();
        for group in groups.iter().copied().filter(|group| is_kept(group)) {
            let (epoch, offset) = hub.position(&name(group)).expect("it is numbered");
            notes.insert(group, (epoch, offset));
        }
        for (group, (epoch, offset)) in &notes {
            let count = self.counts.entry(group).or_default();
            if count.epoch != *epoch {
                assert_eq!(count.epoch, 0, "{group}: forgotten for no reason");
                *count = ModelCount { epoch: *epoch, ..ModelCount::default() };
            }
            count.messages.push(ModelMessage { number, at: now, notes: notes.clone() });
            assert_eq!(*offset, count.messages.len() as u64, "{group}: a number is left out");
        }
        if !notes.is_empty() {
            self.trim();
            self.expire(now);
        }
        notes
    }

    fn trim(&mut self) {
        for count in self.counts.values_mut() {
            count.gone = count.gone.max(count.messages.len().saturating_sub(self.kept_count));
        }
    }

    /// Follows the hub where it forgot a count, which it may do when nobody is in the group and none
    /// of its messages is kept.
    pub fn forget(&mut self, hub: &Hub) {
        self.counts.retain(|group, count| {
            let is_there =
                hub.position(&name(group)).is_some_and(|(epoch, _)| epoch == count.epoch);
            if !is_there {
                let is_used = self.clients.values().any(|client| client.groups.contains(group));
                assert!(!is_used, "{group}: forgotten while somebody is in it");
                assert_eq!(count.gone, count.messages.len(), "{group}: messages are forgotten");
            }
            is_there
        });
    }

    /// A count that has just begun.
    fn look(&mut self, group: &'static str, hub: &Hub) {
        let Some((epoch, offset)) = hub.position(&name(group)) else { return };
        let count =
            self.counts.entry(group).or_insert(ModelCount { epoch, ..ModelCount::default() });
        assert_eq!((epoch, offset), (count.epoch, count.messages.len() as u64));
    }
}

fn object<'a>(
    number: u64,
    notes: impl Iterator<Item = (&'a &'static str, &'a (u64, u64))>,
) -> Value {
    let notes: serde_json::Map<_, _> = notes
        .map(|(group, (epoch, offset))| ((*group).to_owned(), json!([epoch, offset])))
        .collect();
    if notes.is_empty() { json!({ "n": number }) } else { json!({ "#": notes, "n": number }) }
}

pub fn is_kept(group: &str) -> bool {
    group == "/kept" || group.starts_with("/kept/")
}

pub fn name(group: &str) -> GroupName {
    GroupName::new(group).unwrap()
}
