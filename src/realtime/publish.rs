//! Publishing from outside: who may, what was said, how many heard it.

use super::group::GroupName;
use super::instruct;
use super::item::Item;
use super::message::quoted;
use super::roll::Count;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The items of a request: all of them, or none.
///
/// # Errors
/// It is empty, no JSON, or an object of it is wrong: the text of the answer 400.
pub fn parse(body: &[u8]) -> Result<Vec<Item>, String> {
    if body.trim_ascii().is_empty() {
        return Err("the body is empty: a JSON object or an array of them is expected".into());
    }
    let items = instruct::parse(body).map_err(|unreadable| unreadable.to_string())?;
    items.into_iter().collect::<Result<_, _>>().map_err(|invalid| invalid.to_string())
}

/// The secret in a value of `Authorization`: `Bearer <secret>` (RFC 6750 §2.1).
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, secret) = authorization.trim_ascii().split_at_checked(7)?;
    let secret = secret.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !secret.is_empty()).then_some(secret)
}

/// Whether two secrets are the same, in a time that tells nothing of where they differ.
pub fn is_same_secret(given: &[u8], expected: &[u8]) -> bool {
    let (given, expected) = (Sha256::digest(given), Sha256::digest(expected));
    given.iter().zip(&expected).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// What of one request the loops have counted.
#[derive(Debug, Default)]
pub struct Tally {
    waiting: usize,
    delivered: u64,
    groups: BTreeMap<GroupName, u64>,
}

impl Tally {
    /// Nothing is counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// The groups that an item names are in the answer, whoever is in them.
    pub fn name(&mut self, item: &Item) {
        for group in item.targets.iter().flat_map(|targets| &targets.groups) {
            self.groups.entry(group.clone()).or_default();
        }
    }

    /// So many more counts will come.
    pub fn expect(&mut self, letters: usize) {
        self.waiting += letters;
    }

    /// One has come.
    pub fn count(&mut self, count: Count) {
        self.waiting = self.waiting.saturating_sub(1);
        self.delivered += count.delivered;
        for (group, delivered) in count.groups {
            *self.groups.entry(group).or_default() += delivered;
        }
    }

    /// Whether all have come.
    pub fn is_complete(&self) -> bool {
        self.waiting == 0
    }

    /// The answer: `{"delivered":3,"groups":{"/a":2}}`.
    pub fn json(&self) -> Vec<u8> {
        let group = |(group, count): (&GroupName, &u64)| format!("{}:{count}", quoted(group));
        let groups: Vec<String> = self.groups.iter().map(group).collect();
        let delivered = self.delivered;
        format!(r#"{{"delivered":{delivered},"groups":{{{}}}}}"#, groups.join(",")).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LoopIndex;
    use crate::realtime::CountFor;

    fn error(body: &str) -> String {
        parse(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn a_request_is_taken_as_a_whole_or_refused() {
        assert_eq!(parse(br#"[{"@":["/a"],"x":1},{"@":["/b"]}]"#).unwrap().len(), 2);
        assert_eq!(parse(br#"{"x":1}"#).unwrap().len(), 1);
        assert_eq!(parse(b"[]").unwrap().len(), 0);
        assert!(error(" \n").starts_with("the body is empty"));
        assert!(error("{").starts_with("it is no JSON: "));
        assert_eq!(error("7"), "it is a number, not an object or an array of them");
        assert_eq!(
            error(r#"[{"@":["/a"],"x":1},{"+":["lobby"]},{"-":["too"]}]"#),
            r#"item 2: "lobby" in "+" is no group: the "/" before it is missing"#
        );
    }

    #[test]
    fn secrets_are_taken_from_the_field_and_compared() {
        for (value, secret) in [
            ("Bearer s3cret", Some("s3cret")),
            ("bearer s3cret", Some("s3cret")),
            (" BEARER   s3cret ", Some("s3cret")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearers3cret", None),
            ("Basic s3cret", None),
            ("s3cret", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), secret.map(str::as_bytes), "{value:?}");
        }
        assert!(is_same_secret(b"s3cret", b"s3cret") && is_same_secret(b"", b""));
        for other in ["", "s3cre", "s3crett", "S3cret", "s3cret\0"] {
            assert!(!is_same_secret(other.as_bytes(), b"s3cret"), "{other:?}");
        }
    }

    #[test]
    fn counts_of_all_loops_are_added() {
        let group = |name: &str| GroupName::new(name).unwrap();
        let count = |delivered, groups: &[(&str, u64)]| Count {
            count_for: CountFor { at: LoopIndex(0), key: 1 },
            delivered,
            groups: groups.iter().map(|(name, count)| (group(name), *count)).collect(),
        };
        let mut tally = Tally::new();
        assert!(tally.is_complete());
        assert_eq!(tally.json(), br#"{"delivered":0,"groups":{}}"#);
        tally.name(&parse(br#"{"@":["/b","/a\""]}"#).unwrap()[0]);
        tally.expect(1);
        tally.expect(1);
        tally.count(count(3, &[("/b", 2), ("/c", 1)]));
        assert!(!tally.is_complete());
        tally.count(count(1, &[("/b", 1)]));
        assert!(tally.is_complete());
        let json = String::from_utf8(tally.json()).unwrap();
        assert_eq!(json, r#"{"delivered":4,"groups":{"/a\"":0,"/b":3,"/c":1}}"#);
    }
}
