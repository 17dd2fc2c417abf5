//! Which rules are others, and which only stand elsewhere.

use super::RouteChanges;
use crate::contract::route::{HeaderChanges, Methods, RouteAction, RouteRule};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of the rules.
pub(super) fn route_changes(old: &[RouteRule], new: &[RouteRule]) -> RouteChanges {
    let before: BTreeMap<_, _> = old.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    let mut changes = RouteChanges::default();
    let mut same = BTreeSet::new();
    for rule in new {
        match before.get(rule.id.as_str()) {
            None => changes.added.push(rule.id.clone()),
            Some(old) if meaning(old) != meaning(rule) => changes.changed.push(rule.id.clone()),
            Some(_) => drop(same.insert(rule.id.as_str())),
        }
    }
    let after: BTreeSet<_> = new.iter().map(|rule| rule.id.as_str()).collect();
    let gone = old.iter().filter(|rule| !after.contains(rule.id.as_str()));
    changes.removed = gone.map(|rule| rule.id.clone()).collect();
    let (was, is) = (places(old, &same), places(new, &same));
    let moved = new.iter().filter(|rule| was.get(rule.id.as_str()) != is.get(rule.id.as_str()));
    changes.moved = moved.map(|rule| rule.id.clone()).collect();
    changes
}

/// For each rule of `same` its place among those for its host and pattern, in the order in which
/// they are asked.
fn places<'a>(rules: &'a [RouteRule], same: &BTreeSet<&str>) -> BTreeMap<&'a str, usize> {
    let mut asked: Vec<_> = rules.iter().filter(|rule| same.contains(rule.id.as_str())).collect();
    asked.sort_by_key(|rule| if rule.explicit { (0, rule.priority) } else { (1, 0) });
    let mut counts = BTreeMap::new();
    let mut places = BTreeMap::new();
    for rule in asked {
        let count = counts.entry((&rule.host, &rule.path_pattern)).or_insert(0);
        places.insert(rule.id.as_str(), *count);
        *count += 1;
    }
    places
}

/// The rule without what means nothing by itself: where it stands, and in which order methods and
/// names are listed.
fn meaning(rule: &RouteRule) -> RouteRule {
    let mut rule = rule.clone();
    rule.line = None;
    if !rule.explicit {
        rule.priority = 0;
    }
    if let Methods::Only(names) = &mut rule.methods {
        names.sort_unstable();
    }
    let own = match &mut rule.action {
        RouteAction::Headers(headers) => Some(headers),
        RouteAction::Proxy { .. }
        | RouteAction::Redirect { .. }
        | RouteAction::Static(_)
        | RouteAction::ToApp { .. } => None,
    };
    for headers in own.into_iter().chain(&mut rule.headers) {
        for HeaderChanges { set: _, remove } in [&mut headers.response, &mut headers.request] {
            remove.sort_unstable();
        }
    }
    rule
}
