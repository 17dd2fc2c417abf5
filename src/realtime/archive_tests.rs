use super::*;
use crate::realtime::frame::Frame;

struct Shelf {
    archive: Archive,
    serial: u64,
}

impl Shelf {
    fn new(rules: &[(&str, u32, u64)]) -> Self {
        let mut shelf = Self { archive: Archive::new(3), serial: 0 };
        shelf.configure(rules);
        shelf
    }

    fn configure(&mut self, rules: &[(&str, u32, u64)]) {
        let rule = |(pattern, messages, secs): &(&str, u32, u64)| HistoryRule {
            pattern: (*pattern).into(),
            messages: *messages,
            ttl: Duration::from_secs(*secs),
        };
        let rules: Vec<_> = rules.iter().map(rule).collect();
        self.archive.configure(&rules);
        self.archive.check_invariants();
    }

    /// Something is said in these groups.
    fn say(&mut self, groups: &[&str], length: usize, secs: u64) {
        let notes = groups.iter().filter_map(|group| self.archive.number(&name(group))).collect();
        self.serial += 1;
        let text = Frame::text(&format!(r#"{{"x":"{}"}}"#, "x".repeat(length)));
        let message = Arc::new(Message::new(self.serial, notes, &text));
        self.archive.keep(&message, at(secs));
        self.archive.check_invariants();
    }

    /// The serials of what came behind an offset, or none.
    fn missed(&mut self, group: &str, offset: u64) -> Option<Vec<u64>> {
        let group = name(group);
        let (epoch, _) = self.archive.position(&group)?;
        match self.archive.missed(&group, epoch, offset) {
            Missed::Messages(missed) => {
                Some(missed.iter().map(|(message, _)| message.serial).collect())
            }
            Missed::Unknown { .. } | Missed::NotKept => None,
        }
    }

    fn expire(&mut self, secs: u64, used: &[&str]) {
        self.archive.expire(at(secs), |group| used.contains(&group.as_str()));
        self.archive.check_invariants();
    }
}

fn name(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1000)
}

#[test]
fn the_last_messages_are_kept() {
    let mut shelf = Shelf::new(&[("/a/*", 3, 60)]);
    for _ in 0..5 {
        shelf.say(&["/a"], 1, 1);
    }
    assert_eq!(shelf.missed("/a", 5), Some(vec![]));
    assert_eq!(shelf.missed("/a", 3), Some(vec![4, 5]));
    assert_eq!(shelf.missed("/a", 2), Some(vec![3, 4, 5]));
    assert_eq!(shelf.missed("/a", 1), None);
    assert_eq!(shelf.missed("/a", 6), None);
    assert_eq!(shelf.missed("/a", u64::MAX), None);
    assert_eq!(shelf.archive.message_count(), 3);
}

#[test]
fn each_group_counts_for_itself() {
    let mut shelf = Shelf::new(&[("/a/*", 10, 60)]);
    shelf.say(&["/a"], 1, 1);
    shelf.say(&["/a", "/a/b"], 1, 1);
    shelf.say(&["/a/b"], 1, 1);
    assert_eq!(shelf.missed("/a", 0), Some(vec![1, 2]));
    assert_eq!(shelf.missed("/a/b", 0), Some(vec![2, 3]));
    let epochs: Vec<_> = ["/a", "/a/b"].map(|group| shelf.archive.position(&name(group))).into();
    assert_ne!(epochs[0].unwrap().0, epochs[1].unwrap().0);
    assert!(epochs.iter().all(|at| (1..1 << 52).contains(&at.unwrap().0)));
}

#[test]
fn the_first_rule_for_a_group_counts() {
    let mut shelf = Shelf::new(&[("/a/b", 1, 60), ("/a/*", 2, 60)]);
    for _ in 0..4 {
        shelf.say(&["/a/b", "/a/c"], 1, 1);
    }
    assert_eq!((shelf.missed("/a/b", 3), shelf.missed("/a/b", 2)), (Some(vec![4]), None));
    assert_eq!((shelf.missed("/a/c", 2), shelf.missed("/a/c", 1)), (Some(vec![3, 4]), None));
    assert!(shelf.archive.number(&name("/b")).is_none());
}

#[test]
fn what_is_old_is_forgotten_in_time() {
    let mut shelf = Shelf::new(&[("/short/*", 9, 10), ("/long/*", 9, 100)]);
    shelf.say(&["/short", "/long"], 1, 1);
    shelf.say(&["/short"], 1, 5);
    assert_eq!(shelf.archive.next_deadline(), Some(at(11)));
    shelf.expire(10, &[]);
    assert_eq!(shelf.archive.message_count(), 3);
    shelf.expire(11, &[]);
    assert_eq!(shelf.missed("/short", 1), Some(vec![2]));
    assert_eq!(shelf.missed("/short", 0), None);
    assert_eq!(shelf.archive.next_deadline(), Some(at(15)));
    let before = shelf.archive.position(&name("/short"));
    shelf.expire(15, &["/short"]);
    assert_eq!(shelf.archive.position(&name("/short")), before, "somebody is in it");
    assert_eq!(shelf.missed("/short", 2), Some(vec![]));
    shelf.archive.vacated(&name("/short"));
    assert_eq!(shelf.archive.position(&name("/short")), None);
    shelf.archive.vacated(&name("/long"));
    assert!(shelf.archive.position(&name("/long")).is_some(), "it keeps something");
    shelf.expire(101, &[]);
    assert_eq!((shelf.archive.group_count(), shelf.archive.byte_count()), (0, 0));
    assert_eq!(shelf.archive.next_deadline(), None);
}

#[test]
fn one_group_is_bounded_in_bytes() {
    let mut shelf = Shelf::new(&[("/a/*", 1_000_000, 60)]);
    for _ in 0..10 {
        shelf.say(&["/a"], 1 << 20, 1);
    }
    assert_eq!(shelf.missed("/a", 7), Some(vec![8, 9, 10]));
    assert_eq!(shelf.missed("/a", 6), None);
    // Alone a message may be of any size.
    shelf.say(&["/a"], HISTORY_GROUP_BYTES + 1, 1);
    assert_eq!(shelf.missed("/a", 10), Some(vec![11]));
    // Small ones are bounded by what they take beside their bytes.
    let mut shelf = Shelf::new(&[("/a/*", 1_000_000, 60)]);
    for _ in 0..100 {
        shelf.say(&["/a"], 1, 1);
    }
    assert!(shelf.archive.byte_count() > 100 * 256);
}

#[test]
fn all_groups_together_are_bounded_and_the_oldest_goes() {
    let mut shelf = Shelf::new(&[("/a/*", 9, 60), ("/b/*", 9, 60)]);
    for number in 0..80_u64 {
        let group = format!("/{}/{number}", if number % 3 == 0 { "a" } else { "b" });
        shelf.say(&[&group], 1 << 20, number);
    }
    let kept: Vec<u64> = (0..80)
        .filter(|number| {
            let group = format!("/{}/{number}", if number % 3 == 0 { "a" } else { "b" });
            shelf.missed(&group, 0).is_some_and(|missed| missed.len() == 1)
        })
        .collect();
    assert_eq!(kept, (17..80).collect::<Vec<_>>());
}

#[test]
fn what_is_gone_takes_no_room() {
    let mut shelf = Shelf::new(&[("/a/*", 2, 1_000_000)]);
    for _ in 0..10_000 {
        shelf.say(&["/a"], 1, 1);
    }
    let places = shelf.archive.rules[0].order.len();
    assert!(places <= 4 + STALE_COUNT, "{places}");
}

#[test]
fn other_rules_keep_what_they_are_for() {
    let mut shelf = Shelf::new(&[("/a/*", 9, 60), ("/b/*", 9, 60)]);
    for secs in 1..=4 {
        shelf.say(&["/a", "/b", "/a/x"], 1, secs);
    }
    let before = shelf.archive.position(&name("/a"));
    shelf.configure(&[("/b/*", 2, 10), ("/a", 3, 20)]);
    assert_eq!(shelf.missed("/a", 1), Some(vec![2, 3, 4]));
    assert_eq!(shelf.missed("/a", 0), None);
    assert_eq!(shelf.missed("/b", 2), Some(vec![3, 4]));
    assert_eq!(shelf.archive.position(&name("/a")), before);
    assert_eq!(shelf.archive.position(&name("/a/x")), None);
    assert_eq!(shelf.archive.next_deadline(), Some(at(11)));
    shelf.expire(22, &[]);
    assert_eq!(shelf.archive.message_count(), 2);
    shelf.configure(&[]);
    assert_eq!((shelf.archive.group_count(), shelf.archive.byte_count()), (0, 0));
}
