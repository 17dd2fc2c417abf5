//! What is served of a pair: what its files hold now, or what they held before.

use crate::shared::cert_files::{Leaf, Wrong};
use rip::contract::cert::TlsCertRecord;

/// What is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// What the files hold now.
    Fresh,
    /// What was served of them before.
    Kept,
    /// Nothing.
    Nothing,
}

/// What is served of a pair at `now`, in seconds, and what is wrong with what its files hold.
/// `before` is what was served of it until now.
pub fn choose(
    fresh: &Result<Leaf, Wrong>,
    before: Option<&TlsCertRecord>,
    now: u64,
) -> (Choice, Option<Wrong>) {
    let kept = match before {
        Some(_) => Choice::Kept,
        None => Choice::Nothing,
    };
    match fresh {
        Err(wrong) => (kept, Some(wrong.clone())),
        Ok(leaf) => {
            let doubt = leaf.doubt(now);
            let is_better = |before: &TlsCertRecord| {
                before.fingerprint != leaf.fingerprint && is_current(before, now)
            };
            match doubt.is_some() && before.is_some_and(is_better) {
                true => (Choice::Kept, doubt),
                false => (Choice::Fresh, doubt),
            }
        }
    }
}

/// `now`, in seconds, is one of its days.
pub fn is_current(record: &TlsCertRecord, now: u64) -> bool {
    (record.not_before..=record.not_after).contains(&now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::cert_files::parse;
    use rip::contract::cert::CertSource;

    fn leaf(names: &str, not_before: u64, not_after: u64) -> Leaf {
        let file = |name: &str| {
            let path = format!("{}/../tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read(path).unwrap()
        };
        let leaf = parse(&file("leaf.pem"), &file("leaf.key")).unwrap();
        Leaf { fingerprint: names.to_owned(), not_before, not_after, ..leaf }
    }

    #[test]
    fn what_cannot_be_served_leaves_what_is() {
        let wrong = || Err(Wrong::new("it is half", ""));
        let before = leaf("old", 0, 100).record(CertSource::Manual, "", "");
        assert_eq!(choose(&wrong(), Some(&before), 50), (Choice::Kept, wrong().err()));
        assert_eq!(choose(&wrong(), Some(&before), 500), (Choice::Kept, wrong().err()));
        assert_eq!(choose(&wrong(), None, 50), (Choice::Nothing, wrong().err()));
    }

    #[test]
    fn what_nobody_would_believe_does_not_replace_what_is_believed() {
        let before = leaf("old", 0, 100).record(CertSource::Manual, "", "");
        let (good, expired, early) =
            (leaf("new", 0, 200), leaf("new", 0, 10), leaf("new", 80, 200));
        for (fresh, now, expected) in [
            (&good, 50, Choice::Fresh),
            (&expired, 50, Choice::Kept),
            (&early, 50, Choice::Kept),
            // Both are expired: the newer wish counts.
            (&expired, 150, Choice::Fresh),
        ] {
            let (choice, doubt) = choose(&Ok(fresh.clone()), Some(&before), now);
            assert_eq!((choice, doubt), (expected, fresh.doubt(now)), "{now}");
        }
        let (choice, doubt) = choose(&Ok(expired), None, 50);
        assert!(choice == Choice::Fresh && doubt.is_some(), "better than nothing");
        let own = leaf("old", 0, 100);
        let (choice, doubt) = choose(&Ok(own), Some(&before), 150);
        assert!(choice == Choice::Fresh && doubt.is_some(), "it has grown old");
    }
}
