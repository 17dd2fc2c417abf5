//! Users, their connections, the loops that have them, and the mail between.

use super::model::{Model, Receivers, Said, Words, name};
use crate::seed::Dice;
use rip::contract::realtime::HistoryRule;
use rip::entropy::Xoshiro;
use rip::ids::LoopIndex;
use rip::realtime::{
    ClientId, Count, CountFor, Deed, Hub, HubSettings, Item, Kind, Letter, Position, Roll,
    instruct, publish,
};
use rip::time::Instant;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// One app's realtime.
pub struct World {
    hub: Hub,
    model: Model,
    loops: Vec<Loop>,
    users: Vec<User>,
    weights: Vec<(Deeds, u64)>,
    /// What of published messages is not counted yet.
    counted: HashMap<u64, Receivers>,
    random: Xoshiro,
    now: u64,
    last_number: u64,
    last_key: u64,
    pub feats: Feats,
}

#[derive(Default)]
struct Loop {
    roll: Roll,
    mail: VecDeque<(Letter, Option<u64>)>,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    user: usize,
    client: ClientId,
    received: Vec<Value>,
    is_closed: bool,
}

/// Somebody who comes back.
#[derive(Default)]
struct User {
    online: Option<(usize, u64)>,
    /// The last message it read of each group.
    positions: BTreeMap<&'static str, (u64, u64)>,
    /// What it read of the group it is always in.
    home: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum Deeds {
    Answer,
    Configure,
    Connect,
    Deliver,
    Disconnect,
    Pass,
    Publish,
    Settle,
}

/// How often the interesting things happened.
#[derive(Debug, Default)]
pub struct Feats {
    recovered: u64,
    reset: u64,
    lost_letters: u64,
    read: u64,
    vacated: u64,
    counted: u64,
    subsets: u64,
}

impl Feats {
    pub fn add(&mut self, other: &Self) {
        self.recovered += other.recovered;
        self.reset += other.reset;
        self.lost_letters += other.lost_letters;
        self.read += other.read;
        self.vacated += other.vacated;
        self.counted += other.counted;
        self.subsets += other.subsets;
    }

    /// A simulation in which nothing happens finds nothing.
    pub fn check(&self) {
        assert!(self.recovered > 1000 && self.reset > 300 && self.lost_letters > 1000, "{self:?}");
        assert!(self.read > 10_000 && self.vacated > 1000 && self.counted > 1000, "{self:?}");
        assert!(self.subsets > 1000, "{self:?}");
    }
}

impl World {
    /// A world with a temper of its own.
    pub fn new(dice: &mut Dice) -> Self {
        let temper = DEEDS.map(|(deed, weight)| (deed, weight * dice.between(1, 4)));
        let loop_count = dice.between(1, 4) as usize;
        let mut world = Self {
            hub: Hub::new(&HubSettings::default(), dice.between(0, 1 << 40)),
            model: Model::default(),
            loops: (0..loop_count).map(|_| Loop::default()).collect(),
            users: (0..dice.between(2, 10)).map(|_| User::default()).collect(),
            weights: temper.to_vec(),
            counted: HashMap::new(),
            random: Xoshiro::new(dice.between(0, 1 << 40)),
            now: 1000,
            last_number: 0,
            last_key: 0,
            feats: Feats::default(),
        };
        world.configure(dice);
        world
    }

    /// Something happens.
    pub fn step(&mut self, dice: &mut Dice) {
        match dice.weighted(&self.weights) {
            Deeds::Answer => self.answer(dice),
            Deeds::Configure if dice.one_in(10) => self.configure(dice),
            Deeds::Configure => {}
            Deeds::Connect => self.connect(dice),
            Deeds::Deliver => {
                let at = dice.between(0, self.loops.len() as u64 - 1) as usize;
                (0..dice.between(1, 6)).for_each(|_| self.deliver(at));
            }
            Deeds::Disconnect => self.disconnect(dice),
            Deeds::Pass => self.pass(dice),
            Deeds::Publish => self.publish(dice),
            Deeds::Settle => {
                let at = dice.between(0, self.loops.len() as u64 - 1) as usize;
                self.settle_loop(at);
            }
        }
        self.hub.check_invariants();
        self.model.forget(&self.hub);
    }

    /// All mail is read: everybody has got everything. Then everybody leaves, and nothing is left.
    pub fn settle(&mut self) {
        for at in 0..self.loops.len() {
            while !self.loops[at].mail.is_empty() {
                self.deliver(at);
            }
            for connection in self.loops[at].connections.values() {
                let expected = &self.model.clients[&connection.client].expected;
                assert_eq!(
                    connection.received, *expected,
                    "{} has not got it all",
                    connection.client
                );
            }
        }
        assert!(self.counted.is_empty(), "a count is lost");
        for user in 0..self.users.len() {
            self.end(user, usize::MAX);
        }
        for at in 0..self.loops.len() {
            assert!(self.loops[at].roll.is_empty() && self.loops[at].roll.group_count() == 0);
            self.settle_loop(at);
        }
        let counts = self.hub.counts();
        assert_eq!((counts.clients, counts.groups), (0, 0), "something is left");
        self.now += 1_000_000_000;
        self.hub.handle_timeout(self.instant());
        assert_eq!(self.hub.counts().history_bytes, 0);
        assert_eq!(self.hub.next_deadline(), None);
        for group in GROUPS {
            assert_eq!(self.hub.position(&name(group)), None, "{group} is remembered");
        }
    }

    fn connect(&mut self, dice: &mut Dice) {
        let Some(user) = dice.index(self.users.len()) else { return };
        if self.users[user].online.is_some() {
            return;
        }
        let at = dice.between(0, self.loops.len() as u64 - 1) as usize;
        let client = ClientId::mint(&mut self.random);
        self.last_key += 1;
        let key = self.last_key;
        let mut joins = vec![HOME];
        joins.extend(some(dice, &GROUPS).into_iter().filter(|group| *group != HOME));
        let words = Words { joins: joins.clone(), ..Words::default() };
        let mut answers = vec![words];
        if dice.one_in(2) {
            answers.push(self.words(dice));
        }
        // Its positions in all groups, whether it joins them or not.
        let positions: Vec<(&'static str, Position)> = self.users[user]
            .positions
            .iter()
            .map(|(group, (epoch, offset))| {
                (*group, Position { group: name(group), epoch: *epoch, offset: *offset })
            })
            .collect();
        let query = positions
            .iter()
            .map(|(group, at)| format!("{}:{}:{}", group.replace('/', "%2F"), at.epoch, at.offset))
            .collect::<Vec<_>>();
        let query = format!("x=1&recover={}", query.join(","));
        let read = rip::realtime::recover::parse(query.as_bytes()).expect("positions");
        assert!(read.iter().eq(positions.iter().map(|(_, position)| position)));

        self.loops[at].roll.enter(client, key);
        let connection = Connection { user, client, received: Vec::new(), is_closed: false };
        self.loops[at].connections.insert(key, connection);
        self.users[user].online = Some((at, key));
        let is_joined = |(group, _): &(&'static str, Position)| joins.contains(group);
        let wanted: Vec<Position> =
            positions.iter().map(|(_, position)| position.clone()).collect();
        let joined: Vec<_> = positions.into_iter().filter(is_joined).collect();
        let mut posted = Vec::new();
        let now = self.instant();
        {
            let mut post = |to: LoopIndex, letter: Letter| posted.push((to, letter));
            let items = vec![item(&answers[0])];
            self.hub.open(client, LoopIndex(at as u16), items, &wanted, now, &mut post);
        }
        self.model.open(client, &joined, &self.hub);
        self.model.apply(&answers[0], Some(client), &self.hub, self.now);
        for words in &answers[1..] {
            let mut post = |to: LoopIndex, letter: Letter| posted.push((to, letter));
            self.hub.apply(item(words), Some(client), None, now, &mut post);
            self.model.apply(words, Some(client), &self.hub, self.now);
        }
        for (to, letter) in posted {
            self.loops[usize::from(to.0)].mail.push_back((letter, None));
        }
        if !joined.is_empty() {
            let is_reset = self.model.clients[&client]
                .expected
                .first()
                .is_some_and(|first| first.get("reset").is_some());
            self.feats.reset += u64::from(is_reset);
            self.feats.recovered += u64::from(!is_reset);
        }
    }

    fn disconnect(&mut self, dice: &mut Dice) {
        let Some(user) = dice.index(self.users.len()) else { return };
        let read = if dice.one_in(3) { dice.between(0, 20) as usize } else { usize::MAX };
        self.end(user, read);
    }

    /// A connection is lost: its user has read so many frames of it.
    fn end(&mut self, user: usize, read: usize) {
        let Some((at, key)) = self.users[user].online.take() else { return };
        let home = &mut self.loops[at];
        let connection = home.connections.remove(&key).expect("it was there");
        assert_eq!(home.roll.key(connection.client), Some(key));
        assert_eq!(home.roll.leave(connection.client), Some(key));
        assert_eq!(home.roll.leave(connection.client), None);
        self.hub.close(connection.client);
        let model = self.model.clients.remove(&connection.client).expect("it is known");
        assert!(
            model.expected.starts_with(&connection.received),
            "{connection_received:?} is not the beginning of {:?}",
            model.expected,
            connection_received = connection.received
        );
        self.feats.lost_letters += u64::from(model.expected.len() > connection.received.len());
        let user = &mut self.users[connection.user];
        for frame in connection.received.iter().take(read) {
            self.feats.read += 1;
            user.read(frame);
        }
    }

    fn answer(&mut self, dice: &mut Dice) {
        let Some(user) = dice.index(self.users.len()) else { return };
        let Some((at, key)) = self.users[user].online else { return };
        let origin = self.loops[at].connections[&key].client;
        let words = self.words(dice);
        self.apply(&words, Some(origin), None);
    }

    fn publish(&mut self, dice: &mut Dice) {
        let words = self.words(dice);
        self.last_key += 1;
        self.apply(&words, None, Some(self.last_key));
    }

    fn apply(&mut self, words: &Words, origin: Option<ClientId>, key: Option<u64>) {
        let count = key.map(|key| CountFor { at: LoopIndex(0), key });
        let mut posted = Vec::new();
        let mut post = |to: LoopIndex, letter: Letter| posted.push((to, letter));
        let now = self.instant();
        let letters = self.hub.apply(item(words), origin, count, now, &mut post);
        assert_eq!(letters, posted.len());
        let mut loops: Vec<_> = posted.iter().map(|(to, _)| *to).collect();
        loops.dedup();
        assert_eq!(loops.len(), letters, "a loop was told twice");
        let receivers = self.model.apply(words, origin, &self.hub, self.now);
        for (to, letter) in posted {
            self.loops[usize::from(to.0)].mail.push_back((letter, key));
        }
        let groups = words.targets.as_ref().map_or(0, |(groups, _)| groups.len());
        self.feats.subsets += u64::from(groups > 1 && receivers.len() > 1);
        if let Some(key) = key {
            // Whoever was to get it is on a loop that was told.
            for at in 0..self.loops.len() {
                let has_any = self.loops[at]
                    .connections
                    .values()
                    .any(|one| receivers.contains_key(&one.client));
                assert!(!has_any || loops.contains(&LoopIndex(at as u16)), "a loop was not told");
            }
            if letters > 0 {
                self.counted.insert(key, receivers);
            }
        }
    }

    /// A loop reads one letter.
    fn deliver(&mut self, at: usize) {
        let Loop { roll, mail, connections } = &mut self.loops[at];
        let Some((letter, key)) = mail.pop_front() else { return };
        // Who is still there to be counted: before the letter closes anybody.
        let there: Vec<ClientId> = connections
            .values()
            .filter(|connection| !connection.is_closed)
            .map(|connection| connection.client)
            .collect();
        let count = roll.apply(&letter, &mut |key, deed| {
            let connection = connections.get_mut(&key).expect("it is there");
            if connection.is_closed {
                return false;
            }
            match deed {
                Deed::Send { frame, note, .. } => {
                    let text = std::str::from_utf8(frame.payload()).expect("UTF-8");
                    assert_eq!(frame.kind(), Kind::Text);
                    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
                    let first = value.get("#").and_then(Value::as_object).map(|notes| notes.len());
                    assert_eq!(first.is_some(), note.is_some());
                    if let Some((epoch, offset)) = note {
                        let notes = value["#"].as_object().expect("notes");
                        assert!(
                            notes
                                .values()
                                .any(|found| *found == serde_json::json!([epoch, offset]))
                        );
                    }
                    connection.received.push(value);
                }
                Deed::SendMissed { frame, note } => {
                    let value: Value = serde_json::from_slice(frame.payload()).expect("JSON");
                    assert!(note.is_some() || value.get("reset").is_some());
                    connection.received.push(value);
                }
                Deed::Close(close) => {
                    connection.received.push(format!("close {}", close.code).into());
                    connection.is_closed = true;
                }
                Deed::Overflow | Deed::GroupLimit => panic!("{deed:?}"),
            }
            true
        });
        roll.check_invariants();
        let Some(key) = key else {
            assert_eq!(count, None);
            return;
        };
        let count = count.expect("somebody wants to know");
        assert_eq!(count.count_for.key, key);
        self.feats.counted += count.delivered;
        self.check_count(key, &count, &there);
        let is_last =
            !self.loops.iter().any(|other| other.mail.iter().any(|(_, one)| *one == Some(key)));
        if is_last {
            self.counted.remove(&key);
        }
    }

    fn check_count(&self, key: u64, count: &Count, there: &[ClientId]) {
        let Some(receivers) = self.counted.get(&key) else {
            panic!("nobody was to get what {} got", count.delivered)
        };
        let here: Vec<_> = receivers.iter().filter(|(client, _)| there.contains(client)).collect();
        assert_eq!(count.delivered, here.len() as u64, "miscounted");
        for (group, delivered) in &count.groups {
            let of = here.iter().filter(|(_, groups)| groups.contains(group.as_str())).count();
            assert_eq!(*delivered, of as u64, "{group} is miscounted");
        }
    }

    fn settle_loop(&mut self, at: usize) {
        if let Some(settled) = self.loops[at].roll.take_settled() {
            let before = self.hub.counts().groups;
            self.hub.settle(LoopIndex(at as u16), settled);
            self.feats.vacated += (before - self.hub.counts().groups) as u64;
        }
        assert_eq!(self.loops[at].roll.take_settled(), None);
    }

    fn pass(&mut self, dice: &mut Dice) {
        self.now += dice.between(0, 2000);
        if dice.one_in(2) {
            self.hub.handle_timeout(self.instant());
            self.model.expire(self.now);
        }
    }

    fn configure(&mut self, dice: &mut Dice) {
        let (kept, ttl) = (dice.between(1, 60), dice.between(100, 30_000));
        let rule = |pattern: &str| HistoryRule {
            pattern: pattern.into(),
            messages: kept as u32,
            ttl: Duration::from_millis(ttl),
        };
        let history = if dice.one_in(2) {
            vec![rule("/kept/*")]
        } else {
            vec![rule("/kept/b"), rule("/kept/*"), rule("/nobody")]
        };
        let settings = HubSettings { history, lossy: Vec::new() };
        self.hub.configure(&settings, self.instant());
        self.model.configure(kept as usize, ttl);
    }

    /// Any instruction.
    fn words(&mut self, dice: &mut Dice) -> Words {
        let mut words = Words::default();
        if !dice.one_in(3) {
            let clients = (0..dice.between(0, 2)).filter_map(|_| self.any_client(dice)).collect();
            words.targets = Some((some(dice, &GROUPS), clients));
        }
        if dice.one_in(3) {
            words.joins = some(dice, &GROUPS);
        }
        if dice.one_in(3) {
            // Nobody ever leaves its home.
            words.leaves = some(dice, &GROUPS);
            words.leaves.retain(|group| *group != HOME);
        }
        self.last_number += 1;
        words.payload = match dice.between(0, 9) {
            0 => Said::Nothing,
            1 => Said::Text(self.last_number),
            _ => Said::Object(self.last_number),
        };
        let is_home = words.targets.as_ref().is_some_and(|(groups, _)| groups.contains(&HOME));
        if dice.one_in(4) && !is_home {
            // Nor is anybody left out there.
            words.excludes = (0..2).filter_map(|_| self.any_client(dice)).collect();
        }
        if dice.one_in(25) {
            words.close = Some(4000 + dice.between(0, 9) as u16);
        }
        words
    }

    /// Somebody who is there, or nobody.
    fn any_client(&mut self, dice: &mut Dice) -> Option<ClientId> {
        if dice.one_in(8) {
            return Some(ClientId::mint(&mut self.random));
        }
        let online: Vec<_> = self.users.iter().filter_map(|user| user.online).collect();
        let (at, key) = online[dice.index(online.len())?];
        Some(self.loops[at].connections[&key].client)
    }

    fn instant(&self) -> Instant {
        Instant::from_millis(self.now)
    }
}

impl User {
    /// Reads one frame: of its home it must be the next message, unless it was told to begin anew.
    fn read(&mut self, frame: &Value) {
        for (group, position) in frame.get("reset").and_then(Value::as_object).into_iter().flatten()
        {
            let group = GROUPS.into_iter().find(|known| known == group).expect("a group");
            let number = |key: &str| position[key].as_u64();
            match number("epoch").zip(number("offset")) {
                Some(position) => drop(self.positions.insert(group, position)),
                None => drop(self.positions.remove(group)),
            }
            if group == HOME {
                self.home = self.positions.get(HOME).copied();
            }
        }
        for (group, note) in frame.get("#").and_then(Value::as_object).into_iter().flatten() {
            let group = GROUPS.into_iter().find(|known| known == group).expect("a group");
            let position = (note[0].as_u64().unwrap(), note[1].as_u64().unwrap());
            if group == HOME {
                if let Some((epoch, offset)) = self.home {
                    assert_eq!(position, (epoch, offset + 1), "a gap, or a message twice");
                }
                self.home = Some(position);
            }
            self.positions.insert(group, position);
        }
    }
}

/// The item that the words stand for, as an app's answer or a publisher's request.
fn item(words: &Words) -> Item {
    let json = words.json().to_string();
    let published = publish::parse(json.as_bytes()).expect("valid");
    let mut items = instruct::parse(json.as_bytes()).expect("JSON");
    assert_eq!((items.len(), published.len()), (1, 1));
    items.remove(0).expect("valid")
}

/// None to three of them, each once.
fn some(dice: &mut Dice, groups: &[&'static str]) -> Vec<&'static str> {
    let mut some = Vec::new();
    for _ in 0..dice.between(0, 3) {
        let group = groups[dice.index(groups.len()).unwrap()];
        if !some.contains(&group) {
            some.push(group);
        }
    }
    some
}

const HOME: &str = "/kept";
const GROUPS: [&str; 6] = [HOME, "/kept/a", "/kept/b", "/plain", "/other", "/third"];
const DEEDS: [(Deeds, u64); 8] = [
    (Deeds::Answer, 6),
    (Deeds::Configure, 1),
    (Deeds::Connect, 6),
    (Deeds::Deliver, 8),
    (Deeds::Disconnect, 3),
    (Deeds::Pass, 2),
    (Deeds::Publish, 6),
    (Deeds::Settle, 4),
];
