//! The rules of all sites and apps, and whether it is clear which of them wins.

use super::Bench;
use crate::contract::route::{
    Compress, HeaderRules, Methods, RouteAction, RouteRule, RouteTimeouts,
};
use crate::edgefile::span::Span;
use std::collections::{BTreeMap, BTreeSet};

/// A rule, before it is known to be clear.
pub(super) struct Candidate {
    pub origin: Origin,
    /// What it comes from, in the file.
    pub span: Span,
    pub path: String,
    pub host: String,
    pub pattern: String,
    pub methods: Methods,
    /// The one that the file says.
    pub priority: Option<u32>,
    /// The one that the file says.
    pub id: Option<(String, Span)>,
    /// `None` when it is wrong; the rest is looked at all the same.
    pub action: Option<RouteAction>,
    pub headers: Option<HeaderRules>,
    pub timeouts: Option<RouteTimeouts>,
    pub body_limit: Option<u64>,
    pub compress: Compress,
    pub stream_request: Option<bool>,
}

/// What a rule comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// `hosts` or `prefixes` of an app.
    App,
    /// A `route` of a site.
    Route,
}

impl Candidate {
    /// Lets matching go on.
    fn is_headers(&self) -> bool {
        matches!(self.action, Some(RouteAction::Headers(_)))
    }

    /// Neither of the two is said to go first.
    fn is_level_with(&self, other: &Self) -> bool {
        self.priority == other.priority && self.methods.overlap(&other.methods)
    }
}

/// The rules in the order of the file.
pub(super) fn rules(
    candidates: Vec<Candidate>,
    contested: &BTreeSet<String>,
    bench: &mut Bench<'_, '_>,
) -> Vec<RouteRule> {
    check_clear(&candidates, contested, bench);
    let mut ids = Ids::default();
    // Those that the file says come first: what is made gives way.
    for candidate in &candidates {
        let Some((id, span)) = &candidate.id else { continue };
        let first = *ids.taken.entry(id.clone()).or_insert(*span);
        if first != *span {
            let line = bench.report.line(first);
            let path = format!("{} › id", candidate.path);
            let message = format!("another route on line {line} has the id \"{id}\"");
            bench.report.error(*span, &path, message, "choose another one");
        }
    }
    let mut rules = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.into_iter().enumerate() {
        let id = match &candidate.id {
            Some((id, _)) => id.clone(),
            None => default_id(&candidate, &mut ids),
        };
        let line = bench.report.line(candidate.span);
        let Some(action) = candidate.action else { continue };
        let position = u32::try_from(index).unwrap_or(u32::MAX);
        rules.push(RouteRule {
            id,
            host: candidate.host,
            path_pattern: candidate.pattern,
            methods: candidate.methods,
            action,
            priority: candidate.priority.unwrap_or(position),
            explicit: candidate.priority.is_some(),
            headers: candidate.headers,
            timeouts: candidate.timeouts,
            body_limit: candidate.body_limit,
            compress: candidate.compress,
            stream_request: candidate.stream_request,
            line: Some(line),
        });
    }
    rules
}

/// Of methods, host and pattern; rules that agree in all of them are numbered.
fn default_id(candidate: &Candidate, ids: &mut Ids) -> String {
    let methods = match &candidate.methods {
        Methods::Any => String::new(),
        Methods::Only(names) => format!("{} ", names.join(",")),
    };
    let plain = format!("{methods}{}{}", candidate.host, candidate.pattern);
    let number = ids.numbers.entry(plain.clone()).or_insert(0);
    loop {
        *number += 1;
        let id = if *number == 1 { plain.clone() } else { format!("{plain} #{number}") };
        if !ids.taken.contains_key(&id) {
            ids.taken.insert(id.clone(), candidate.span);
            return id;
        }
    }
}

/// Names of rules that are taken.
#[derive(Default)]
struct Ids {
    taken: BTreeMap<String, Span>,
    /// How many there are of those that are made.
    numbers: BTreeMap<String, u32>,
}

/// Tells of rules for the same requests of which none goes first.
fn check_clear(candidates: &[Candidate], contested: &BTreeSet<String>, bench: &mut Bench<'_, '_>) {
    let mut told = BTreeSet::new();
    let mut alike: BTreeMap<(&str, &str), Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_headers()) {
        // Whose host it is has been asked before.
        if contested.contains(&candidate.host) {
            continue;
        }
        let same = alike.entry((&candidate.host, &candidate.pattern)).or_default();
        let earlier = same.iter().find(|other| other.is_level_with(candidate));
        let is_news = |earlier: &&&Candidate| told.insert((candidate.span, earlier.span));
        if let Some(earlier) = earlier.filter(is_news) {
            let line = bench.report.line(earlier.span);
            let message = format!(
                "it is not clear which route takes {} of {}: this one or that of line {line}",
                candidate.pattern,
                if candidate.host == "*" { "every host" } else { &candidate.host },
            );
            let hint = match (candidate.origin, candidate.priority) {
                (Origin::App, _) => "give one of the apps other hosts or prefixes",
                (_, Some(_)) => "give them different priorities; the lower one goes first",
                (_, None) => "give one of them priority=, or make their methods differ",
            };
            bench.report.error(candidate.span, &candidate.path, message, hint);
        }
        // A few are enough to find the next conflict by, however many there are.
        if same.len() < MOST_ALIKE {
            same.push(candidate);
        }
    }
}

const MOST_ALIKE: usize = 100;
