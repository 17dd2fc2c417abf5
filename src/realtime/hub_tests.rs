use super::*;
use crate::entropy::Xoshiro;
use crate::limits::CLIENT_GROUP_COUNT;
use crate::realtime::roll::{Count, Deed, Roll};
use crate::realtime::{instruct, publish};
use std::time::Duration;

/// A hub, and loops that read their mail at once. Clients are called by numbers.
struct House {
    hub: Hub,
    rolls: Vec<Roll>,
    ids: Vec<ClientId>,
    now: Instant,
}

impl House {
    /// Two loops; groups beneath `/kept` keep three messages for a minute, those beneath `/lossy` are.
    fn new() -> Self {
        let history = |pattern: &str, messages| HistoryRule {
            pattern: pattern.into(),
            messages,
            ttl: Duration::from_secs(60),
        };
        let settings = HubSettings {
            history: vec![history("/kept/*", 3), history("/much/*", 100_000)],
            lossy: vec!["/lossy/*".into()],
        };
        let mut random = Xoshiro::new(1);
        Self {
            hub: Hub::new(&settings, 7),
            rolls: vec![Roll::new(), Roll::new()],
            ids: (0..10).map(|_| ClientId::mint(&mut random)).collect(),
            now: Instant::from_millis(1000),
        }
    }

    /// Clients come, the even ones to the first loop, and join what `answer` says.
    fn open(&mut self, number: usize, answer: &str, positions: &[Position]) -> Vec<String> {
        let at = number % 2;
        self.rolls[at].enter(self.ids[number], number as u64);
        let items = instruct::parse(self.named(answer).as_bytes()).unwrap();
        let items = items.into_iter().map(Result::unwrap).collect();
        let mut mail = Vec::new();
        let mut post = |to: LoopIndex, letter: Letter| mail.push((to, letter));
        self.hub.open(
            self.ids[number],
            LoopIndex(at as u16),
            items,
            positions,
            self.now,
            &mut post,
        );
        self.deliver(&mail).0
    }

    /// What an app answers to a client, or somebody publishes; what came of it.
    fn say(&mut self, origin: Option<usize>, words: &str) -> Vec<String> {
        self.say_and_count(origin, words).0
    }

    fn say_and_count(&mut self, origin: Option<usize>, words: &str) -> (Vec<String>, String) {
        let mail = self.post(origin, words);
        let (said, counts) = self.deliver(&mail);
        let mut tally = publish::Tally::new();
        for item in publish::parse(self.named(words).as_bytes()).unwrap() {
            tally.name(&item);
        }
        tally.expect(counts.len());
        counts.into_iter().for_each(|count| tally.count(count));
        assert!(tally.is_complete());
        (said, String::from_utf8(tally.json()).unwrap())
    }

    fn post(&mut self, origin: Option<usize>, words: &str) -> Vec<(LoopIndex, Letter)> {
        let mut mail = Vec::new();
        let count = Some(CountFor { at: LoopIndex(0), key: 5 });
        for item in instruct::parse(self.named(words).as_bytes()).unwrap() {
            let mut post = |to: LoopIndex, letter: Letter| mail.push((to, letter));
            let origin = origin.map(|number| self.ids[number]);
            self.hub.apply(item.unwrap(), origin, count, self.now, &mut post);
        }
        mail
    }

    fn deliver(&mut self, mail: &[(LoopIndex, Letter)]) -> (Vec<String>, Vec<Count>) {
        let (mut said, mut counts) = (Vec::new(), Vec::new());
        for (to, letter) in mail {
            let count = self.rolls[usize::from(to.0)].apply(letter, &mut |key, deed| {
                said.push(match deed {
                    Deed::Send { frame, is_lossy, .. } => {
                        let text = String::from_utf8_lossy(frame.payload()).into_owned();
                        format!("{key} {text}{}", if is_lossy { " lossy" } else { "" })
                    }
                    Deed::SendMissed { frame, .. } => {
                        format!("{key} missed {}", String::from_utf8_lossy(frame.payload()))
                    }
                    Deed::Close(close) => format!("{key} close {} {}", close.code, close.reason),
                    Deed::Overflow => format!("{key} overflow"),
                    Deed::GroupLimit => format!("{key} limit"),
                });
                true
            });
            counts.extend(count);
        }
        self.rolls.iter().for_each(Roll::check_invariants);
        self.hub.check_invariants();
        (said, counts)
    }

    fn leave(&mut self, number: usize) {
        self.rolls[number % 2].leave(self.ids[number]);
        self.hub.close(self.ids[number]);
        self.settle();
    }

    fn settle(&mut self) {
        for (at, roll) in self.rolls.iter_mut().enumerate() {
            if let Some(settled) = roll.take_settled() {
                self.hub.settle(LoopIndex(at as u16), settled);
            }
        }
    }

    fn groups_of(&self, number: usize) -> Vec<String> {
        let names = self.rolls[number % 2].groups_of(self.ids[number]);
        let mut names: Vec<_> = names.map(ToString::to_string).collect();
        names.sort();
        names
    }

    fn position(&self, group: &str) -> Position {
        let group = name(group);
        let (epoch, offset) = self.hub.position(&group).unwrap();
        Position { group, epoch, offset }
    }

    /// `C3` is the third client.
    fn named(&self, words: &str) -> String {
        let named = |words: String, (number, id): (usize, &ClientId)| {
            words.replace(&format!("C{number}"), &id.to_string())
        };
        self.ids.iter().enumerate().fold(words.to_owned(), named)
    }
}

fn name(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

#[test]
fn a_message_reaches_each_member_once_on_every_loop() {
    let mut house = House::new();
    for number in 0..4 {
        assert!(house.open(number, r#"{"+":["/a"]}"#, &[]).is_empty());
    }
    let said = house.say(Some(0), r#"{"@":["/a"],"x":1}"#);
    assert_eq!(said, [r#"0 {"x":1}"#, r#"2 {"x":1}"#, r#"1 {"x":1}"#, r#"3 {"x":1}"#]);
    // However often it is meant.
    house.say(Some(1), r#"{"+":["/b"]}"#);
    let (said, counts) = house.say_and_count(None, r#"{"@":["/a","/b","C1","C1","C0"],"x":1}"#);
    assert_eq!(said.len(), 4);
    assert_eq!(counts, r#"{"delivered":4,"groups":{"/a":4,"/b":1}}"#);
}

#[test]
fn only_loops_with_members_are_told() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/a"]}"#, &[]);
    house.open(1, "{}", &[]);
    assert_eq!(house.post(None, r#"{"@":["/a"],"x":1}"#).len(), 1);
    assert_eq!(house.post(None, r#"{"@":["/a","C1"],"x":1}"#).len(), 2);
    assert_eq!(house.post(None, r#"{"@":["/b","C9"],"x":1}"#).len(), 0);
    assert_eq!(house.post(None, r#"{"@":["/a"]}"#).len(), 0, "nothing is said");
    house.settle();
    house.leave(0);
    assert_eq!(house.post(None, r#"{"@":["/a"],"x":1}"#).len(), 0);
    assert_eq!(house.hub.counts().groups, 0);
}

#[test]
fn the_frame_is_shared() {
    let mut house = House::new();
    (0..4).for_each(|number| drop(house.open(number, r#"{"+":["/kept"]}"#, &[])));
    let mail = house.post(None, r#"{"@":["/kept"],"x":1}"#);
    let mut addresses = Vec::new();
    for (to, letter) in &mail {
        house.rolls[usize::from(to.0)].apply(letter, &mut |_, deed| {
            if let Deed::Send { frame, .. } = deed {
                addresses.push(frame.as_bytes().as_ptr());
            }
            true
        });
    }
    assert_eq!(addresses.len(), 4);
    assert!(addresses.iter().all(|address| *address == addresses[0]));
}

#[test]
fn an_item_joins_then_leaves_then_delivers_then_closes() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/a"]}"#, &[]);
    let said = house
        .say(Some(0), r#"{"*":{"code":4001,"reason":"r"},"x":1,"-":["/a","/b"],"+":["/b","/c"]}"#);
    assert_eq!(said, [r#"0 {"x":1}"#, "0 close 4001 r"]);
    assert_eq!(house.groups_of(0), ["/c"]);
    // Those of a group are its members before the item.
    house.open(2, r#"{"+":["/a"]}"#, &[]);
    let said = house.say(None, r#"{"@":["/a"],"-":["/a"],"x":1}"#);
    assert_eq!(said, [r#"2 {"x":1}"#]);
    assert_eq!(house.say(None, r#"{"@":["/a"],"x":1}"#), [""; 0]);
    let said = house.say(Some(2), r#"{"@":["/a","C0"],"+":["/a"],"x":1}"#);
    assert_eq!(said, [r#"0 {"x":1}"#]);
    assert_eq!(house.groups_of(0), ["/a", "/c"]);
}

#[test]
fn items_follow_each_other() {
    let mut house = House::new();
    house.open(0, "{}", &[]);
    house.open(1, "{}", &[]);
    let said = house.say(Some(0), r#"[{"@":["C1"],"+":["/a"]},{"@":["/a"],"x":1},{"@":["/a"],"-":["/a"]},{"@":["/a"],"x":2}]"#);
    assert_eq!(said, [r#"1 {"x":1}"#]);
}

#[test]
fn who_is_left_out_gets_nothing_but_joins_and_is_closed() {
    let mut house = House::new();
    (0..3).for_each(|number| drop(house.open(number, r#"{"+":["/a"]}"#, &[])));
    let words = r#"{"@":["/a","C0"],">":["C0","C2","C9"],"+":["/b"],"x":1,"*":"bye"}"#;
    let (said, counts) = house.say_and_count(None, words);
    assert_eq!(said, ["0 close 1000 bye", "2 close 1000 bye", r#"1 {"x":1}"#, "1 close 1000 bye"]);
    assert_eq!(counts, r#"{"delivered":1,"groups":{"/a":1}}"#);
    assert_eq!(house.groups_of(0), ["/a", "/b"]);
}

#[test]
fn who_is_in_no_group_is_reached_by_name_until_it_leaves() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/a"]}"#, &[]);
    house.say(Some(0), r#"{"-":["/a"]}"#);
    house.settle();
    assert_eq!(house.say(None, r#"{"@":["C0"],"x":1}"#), [r#"0 {"x":1}"#]);
    assert_eq!(house.say(Some(0), r#"{"$text":"hi"}"#), ["0 hi"]);
    house.leave(0);
    assert_eq!(house.say(Some(0), r#"{"x":1}"#), [""; 0], "an answer to who is gone");
    assert_eq!(house.say(None, r#"{"@":["C0"],"x":1}"#), [""; 0]);
    assert_eq!(house.say(None, r#"{"x":1}"#), [""; 0], "published to nobody");
    let counts = house.hub.counts();
    assert_eq!((counts.clients, counts.groups, counts.messages), (0, 0, 5));
}

#[test]
fn only_what_comes_through_lossy_groups_alone_may_be_lost() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/lossy/a","/lossy","/a"]}"#, &[]);
    for (targets, lossy) in [
        (r#""/lossy/a""#, true),
        (r#""/lossy","/lossy/a""#, true),
        (r#""/lossy/a","/a""#, false),
        (r#""/lossy/a","C0""#, false),
        (r#""/lossy/a","/nobody""#, true),
        (r#""C0""#, false),
    ] {
        let said = house.say(None, &format!(r#"{{"@":[{targets}],"$text":"x"}}"#));
        assert_eq!(said, [if lossy { "0 x lossy" } else { "0 x" }], "{targets}");
    }
}

#[test]
fn clients_are_told_the_numbers_of_their_own_groups() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/kept/a"]}"#, &[]);
    house.open(2, r#"{"+":["/kept/b","/kept/a"]}"#, &[]);
    house.open(4, r#"{"+":["/plain"]}"#, &[]);
    let said = house.say(None, r#"{"@":["/kept/b","/plain","/kept/a","C6"],"x":1}"#);
    let (a, b) = (house.position("/kept/a").epoch, house.position("/kept/b").epoch);
    assert_eq!(said.len(), 3);
    assert_eq!(said[0], format!(r##"2 {{"#":{{"/kept/b":[{b},1],"/kept/a":[{a},1]}},"x":1}}"##));
    assert_eq!(said[1], r#"4 {"x":1}"#);
    assert_eq!(said[2], format!(r##"0 {{"#":{{"/kept/a":[{a},1]}},"x":1}}"##));
    // What is no object has no room for numbers, and gets none.
    assert_eq!(house.say(None, r#"{"@":["/kept/b"],"$text":"hi"}"#), ["2 hi"]);
    assert_eq!(house.say(None, r#"{"@":["/kept/b"],"$binary":"aGk="}"#), ["2 hi"]);
    assert_eq!(house.say(None, r#"{"@":["C2"],"x":1}"#), [r#"2 {"x":1}"#]);
    assert_eq!((house.position("/kept/a").offset, house.position("/kept/b").offset), (1, 1));
}

#[test]
fn who_comes_back_gets_what_it_missed_and_then_what_comes() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/kept"]}"#, &[]);
    house.say(None, r#"{"@":["/kept"],"x":1}"#);
    let position = house.position("/kept");
    let epoch = position.epoch;
    house.leave(0);
    assert_eq!(house.hub.counts().groups, 0);
    house.say(
        None,
        r#"[{"@":["/kept"],"x":2},{"@":["/kept"],"$text":"gone"},{"@":["/kept"],"x":3}]"#,
    );
    let answer = r#"[{"hello":1},{"+":["/kept"],"@":["/kept","C1"],"x":4}]"#;
    let said = house.open(1, answer, std::slice::from_ref(&position));
    assert_eq!(
        said,
        [
            format!(r##"1 missed {{"#":{{"/kept":[{epoch},2]}},"x":2}}"##),
            format!(r##"1 missed {{"#":{{"/kept":[{epoch},3]}},"x":3}}"##),
            r#"1 {"hello":1}"#.into(),
            format!(r##"1 {{"#":{{"/kept":[{epoch},4]}},"x":4}}"##),
        ]
    );
    // Nothing is missed by who has it all, nothing is given of groups that are not joined.
    assert_eq!(house.open(3, r#"{"+":["/kept"]}"#, &[house.position("/kept")]), [""; 0]);
    assert_eq!(house.open(5, r#"{"+":["/a"]}"#, std::slice::from_ref(&position)), [""; 0]);
    assert_eq!(house.open(7, r#"{"@":["C5"],"+":["/kept"]}"#, &[position]), [""; 0]);
}

#[test]
fn a_message_to_several_groups_is_given_once() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/kept/a","/kept/b"]}"#, &[]);
    house.say(None, r#"{"@":["/kept/a","/kept/b"],"x":1}"#);
    let (a, b) = (house.position("/kept/a"), house.position("/kept/b"));
    house.say(None, r#"[{"@":["/kept/b"],"x":2},{"@":["/kept/b","/kept/a"],"x":3}]"#);
    let answer = r#"[{"+":["/kept/a"]},{"+":["/kept/b"]}]"#;
    let (a_epoch, b_epoch) = (a.epoch, b.epoch);
    let said = house.open(1, answer, &[a.clone(), b]);
    assert_eq!(
        said,
        [
            format!(r##"1 missed {{"#":{{"/kept/b":[{b_epoch},2]}},"x":2}}"##),
            format!(
                r##"1 missed {{"#":{{"/kept/b":[{b_epoch},3],"/kept/a":[{a_epoch},2]}},"x":3}}"##
            ),
        ]
    );
    // It had the first one through the other group.
    let early = Position { offset: 0, ..house.position("/kept/b") };
    let said = house.open(3, answer, &[a, early]);
    assert_eq!(said.len(), 2);
    assert!(said[0].ends_with(r#""x":2}"#) && said[1].ends_with(r#""x":3}"#), "{said:?}");
}

#[test]
fn who_cannot_get_what_it_missed_is_told_where_to_begin() {
    let mut house = House::new();
    let zero = |group: &str| Position { group: name(group), epoch: 0, offset: 0 };
    let answer = r#"{"+":["/kept","/plain"]}"#;
    let said = house.open(0, answer, &[zero("/kept"), zero("/plain")]);
    let at = house.position("/kept");
    let reset = |number: usize, offset: u64| {
        let epoch = at.epoch;
        format!(r#"{number} missed {{"reset":{{"/kept":{{"epoch":{epoch},"offset":{offset}}}}}}}"#)
    };
    assert_eq!(said, [reset(0, 0).replace("}}}", r#"},"/plain":{}}}"#)]);
    for _ in 0..5 {
        house.say(None, r#"{"@":["/kept"],"x":1}"#);
    }
    // Three are kept: the third to the fifth.
    for (offset, missed) in
        [(0, None), (1, None), (2, Some(3)), (4, Some(1)), (5, Some(0)), (6, None)]
    {
        let said = house.open(2, r#"{"+":["/kept"]}"#, &[Position { offset, ..at.clone() }]);
        match missed {
            Some(count) => {
                assert!(said.len() == count && !said.iter().any(|line| line.contains("reset")))
            }
            None => assert_eq!(said, [reset(2, 5)], "{offset}"),
        }
        house.leave(2);
    }
    let other = Position { epoch: at.epoch + 1, offset: 4, group: name("/kept") };
    assert_eq!(house.open(2, r#"{"+":["/kept"]}"#, &[other]), [reset(2, 5)]);
    // A minute later they are forgotten, and nobody who stayed has missed anything.
    house.now += Duration::from_secs(60);
    assert_eq!(house.hub.next_deadline(), Some(house.now));
    house.hub.handle_timeout(house.now);
    assert_eq!(house.hub.counts().history_messages, 0);
    assert_eq!(
        house.open(1, r#"{"+":["/kept"]}"#, &[Position { offset: 5, ..at.clone() }]),
        [""; 0]
    );
    (0..3).for_each(|number| house.leave(number));
    assert_eq!(house.hub.position(&name("/kept")), None);
    let said = house.open(4, r#"{"+":["/kept"]}"#, &[Position { offset: 5, ..at.clone() }]);
    assert!(said[0].contains("reset"));
    assert_ne!(house.position("/kept").epoch, at.epoch, "another count");
}

#[test]
fn what_is_missed_comes_with_its_number() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/kept/a","/kept/b"]}"#, &[]);
    house.say(None, r#"[{"@":["/kept/a"],"x":1},{"@":["/kept/b","/kept/a"],"x":2}]"#);
    let (a, b) = (house.position("/kept/a"), house.position("/kept/b"));
    let mut notes = |positions: &[Position]| {
        let (client, mut mail) = (ClientId::mint(&mut Xoshiro::new(9)), Vec::new());
        let items = positions.iter().map(|at| Item::join(at.group.clone())).collect();
        house.rolls[0].enter(client, 9);
        let mut post = |_, letter| mail.push(letter);
        house.hub.open(client, LoopIndex(0), items, positions, house.now, &mut post);
        let mut notes = Vec::new();
        for letter in mail {
            house.rolls[0].apply(&letter, &mut |_, deed| {
                if let Deed::SendMissed { note, .. } = deed {
                    notes.push(note);
                }
                true
            });
        }
        house.rolls[0].leave(client);
        house.hub.close(client);
        notes
    };
    let at = |position: &Position, offset| Some((position.epoch, offset));
    let from = |position: &Position, offset| Position { offset, ..position.clone() };
    assert_eq!(notes(&[from(&a, 0)]), [at(&a, 1), at(&a, 2)]);
    assert_eq!(notes(&[from(&b, 0), from(&a, 1)]), [at(&b, 1)]);
    assert_eq!(notes(&[from(&a, 9)]), [at(&a, 2)], "where it begins anew");
    assert_eq!(notes(&[from(&a, 9), from(&b, 9)]), [None]);
}

#[test]
fn who_missed_too_much_begins_anew() {
    let mut house = House::new();
    let long = "x".repeat(1 << 20);
    for group in ["/much/a", "/much/b"] {
        let words = format!(r#"{{"@":["{group}"],"x":"{long}"}}"#);
        (0..3).for_each(|_| drop(house.say(None, &words)));
    }
    let first = |group| Position { offset: 0, ..house.position(group) };
    let positions = [first("/much/a"), first("/much/b")];
    let said = house.open(0, r#"{"+":["/much/a","/much/b"]}"#, &positions);
    assert_eq!(said.len(), 4, "three of one, and a word on the other");
    assert!(said[0].starts_with(r#"0 missed {"reset":{"/much/b":{"epoch":"#), "{:.80}", said[0]);
    assert!(said[0].contains(r#""offset":3}"#));
}

#[test]
fn a_join_on_its_way_keeps_the_loop_among_those_of_the_group() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/a"]}"#, &[]);
    house.open(2, "{}", &[]);
    house.settle();
    // The last member leaves while another one's join is in the mail.
    let mail = house.post(Some(2), r#"{"+":["/a"]}"#);
    house.leave(0);
    assert_eq!(house.hub.counts().groups, 1);
    let later = house.post(None, r#"{"@":["/a"],"x":1}"#);
    house.deliver(&mail);
    assert_eq!(house.deliver(&later).0, [r#"2 {"x":1}"#]);
    // A join of somebody who is gone is given back.
    let mail = house.post(Some(2), r#"{"+":["/b"]}"#);
    house.leave(2);
    house.deliver(&mail);
    house.settle();
    assert_eq!(house.hub.counts().groups, 0);
}

#[test]
fn nobody_is_in_more_groups_than_allowed() {
    let mut house = House::new();
    let groups = |from: usize, to: usize| {
        let names: Vec<String> = (from..to).map(|number| format!(r#""/{number}""#)).collect();
        names.join(",")
    };
    house.open(0, &format!(r#"{{"+":[{}]}}"#, groups(0, CLIENT_GROUP_COUNT - 1)), &[]);
    assert_eq!(house.groups_of(0).len(), CLIENT_GROUP_COUNT - 1);
    // All of an item's groups or none; the rest of the item is done.
    let said = house.say(Some(0), r#"{"+":["/x","/y"],"-":["/0"],"a":1}"#);
    assert_eq!(said, ["0 limit", r#"0 {"a":1}"#]);
    assert_eq!(house.groups_of(0).len(), CLIENT_GROUP_COUNT - 2);
    assert_eq!(house.say(Some(0), r#"{"+":["/x","/y","/1"]}"#), [""; 0]);
    assert_eq!(house.groups_of(0).len(), CLIENT_GROUP_COUNT);
    assert_eq!(house.say(Some(0), r#"{"+":["/x","/1"]}"#), [""; 0], "it is in these");
    assert_eq!(house.say(Some(0), r#"{"+":["/z"]}"#), ["0 limit"]);
    house.leave(0);
    assert_eq!(house.hub.counts().groups, 0, "groups that nobody could join are forgotten");
}

#[test]
fn what_a_loop_leaves_unread_is_bounded_and_whom_it_was_for_is_told() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/a","/lossy"]}"#, &[]);
    house.open(1, r#"{"+":["/a"]}"#, &[]);
    house.settle();
    let words = format!(r#"{{"@":["/a"],"x":"{}"}}"#, "x".repeat(1 << 20));
    let mut unread = Vec::new();
    for _ in 0..63 {
        for (to, letter) in house.post(None, &words) {
            if to == LoopIndex(0) {
                unread.push((to, letter));
            } else {
                house.deliver(&[(to, letter)]);
                house.settle();
            }
        }
    }
    assert_eq!(house.hub.counts().dropped, 0);
    let weight: u64 = unread.iter().map(|(_, letter)| letter.weight()).sum();
    assert!(weight <= BACKLOG_BYTES && weight > 62 << 20, "{weight}");
    // One loop has no room for it; the other gets it.
    let mail = house.post(None, &words);
    assert_eq!(house.hub.counts().dropped, 1);
    assert!(mail[0].1.weight() < 1000 && mail[1].1.weight() > 1 << 20);
    let (said, counts) = house.deliver(&mail);
    assert_eq!((said[0].as_str(), said.len()), ("0 overflow", 2));
    assert_eq!(counts.iter().map(|count| count.delivered).collect::<Vec<_>>(), [0, 1]);
    // Who may lose some stays, and joins are never lost.
    let lossy = words.replace("/a", "/lossy").replace('{', r#"{"+":["/b"],"#);
    let mail = house.post(None, &lossy);
    assert_eq!(house.deliver(&mail).0, [""; 0]);
    assert_eq!(house.groups_of(0), ["/a", "/b", "/lossy"]);
    // It reads: there is room again.
    house.deliver(&unread);
    house.settle();
    let mail = house.post(None, &words);
    assert_eq!((mail.len(), house.hub.counts().dropped), (2, 2));
    assert_eq!(house.deliver(&mail).0.len(), 2);
}

#[test]
fn another_configuration_keeps_what_it_can() {
    let mut house = House::new();
    house.open(0, r#"{"+":["/kept/a","/kept/b"]}"#, &[]);
    for group in ["/kept/a", "/kept/a", "/kept/b"] {
        house.say(None, &format!(r#"{{"@":["{group}"],"x":1}}"#));
    }
    let (a, b) = (house.position("/kept/a"), house.position("/kept/b"));
    let rule = |pattern: &str, messages| HistoryRule {
        pattern: pattern.into(),
        messages,
        ttl: Duration::from_secs(1),
    };
    let settings = HubSettings {
        history: vec![rule("/kept/a", 1), rule("/plain", 5)],
        lossy: vec!["/a".into()],
    };
    house.hub.configure(&settings, house.now);
    house.hub.check_invariants();
    assert_eq!(house.position("/kept/a"), a);
    assert_eq!(house.hub.counts().history_messages, 1);
    assert_eq!(house.hub.position(&b.group), None);
    assert_eq!(house.say(None, r#"{"@":["/kept/b"],"x":1}"#), [r#"0 {"x":1}"#]);
    house.say(Some(0), r#"{"+":["/plain","/a"]}"#);
    assert!(house.say(None, r#"{"@":["/plain"],"x":1}"#)[0].contains(r#""/plain":["#));
    assert_eq!(house.say(None, r#"{"@":["/a"],"$text":"x"}"#), ["0 x lossy"]);
    house.hub.handle_timeout(house.now + Duration::from_secs(1));
    assert_eq!(house.hub.counts().history_messages, 0);
}

#[test]
fn settings_of_several_endpoints_follow_each_other() {
    let endpoint = |pattern: &str, lossy: &str| -> RealtimeConfig {
        serde_json::from_value(serde_json::json!({
            "hosts": ["a.test"], "path": "/realtime", "appId": "a", "appPath": "/rt",
            "lossy": [lossy],
            "history": [{"pattern": pattern, "messages": 1, "ttlMs": 1}],
        }))
        .unwrap()
    };
    let settings = HubSettings::of([&endpoint("/x", "/l"), &endpoint("/y", "/m")]);
    assert_eq!(
        settings.history.iter().map(|rule| &*rule.pattern).collect::<Vec<_>>(),
        ["/x", "/y"]
    );
    assert_eq!(settings.lossy, ["/l", "/m"]);
}
