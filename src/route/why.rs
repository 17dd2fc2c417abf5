//! Why a request goes where it goes: every rule, and what decided against it.
//!
//! This compares each rule with the request and with the winner, one after the other. It is what
//! people read, and what the table is held to in its tests; so it takes no short cut.

use super::host::HostPattern;
use super::path::Pattern;
use super::table::Found;
use crate::contract::route::{Methods, RouteAction, RouteRule};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

/// Where one request goes, and why no other rule got it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The host that was compared.
    pub host: String,
    /// The path that was compared.
    pub path: String,
    /// The method.
    pub method: String,
    /// What the table says.
    #[serde(skip)]
    pub found: Found,
    /// The rule that wins, by its place in `rules`.
    pub winner: Option<usize>,
    /// 404 or 405 where no rule wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The methods of `Allow`, in alphabetical order, where the method is what is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// The rules whose header changes apply before the winner's own, in that order.
    pub headers: Vec<usize>,
    /// Every rule, by declaration.
    pub rules: Vec<Candidate>,
}

/// One rule and what became of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its line of the Edgefile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What it does, in words.
    pub action: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a rule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Verdict {
    /// It gets the request.
    Wins,
    /// It takes the request and changes headers.
    ChangesHeaders,
    /// It takes the request, but the winner goes before it.
    Lost {
        /// What decided.
        by: Aspect,
    },
    /// It does not take the method.
    OtherMethod {
        /// It takes these.
        takes: Methods,
    },
    /// It does not take the path.
    OtherPath,
    /// It is for another host.
    OtherHost,
}

/// What decides between two rules that both take a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Aspect {
    /// One host is more specific.
    Host,
    /// One path is more specific.
    Path,
    /// One priority goes first.
    Priority,
    /// One is declared earlier.
    Declaration,
}

/// A rule with what is compared of it.
struct Entry<'a> {
    index: usize,
    rule: &'a RouteRule,
    host: HostPattern,
    path: Pattern,
}

/// Explains where a request goes. The arguments are those of [`super::Table::find`].
pub fn explain(rules: &[RouteRule], host: &[u8], path: &[u8], method: &[u8]) -> Explanation {
    let entries: Vec<Entry> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| Entry {
            index,
            rule,
            host: HostPattern::new(&rule.host),
            path: Pattern::new(&rule.path_pattern),
        })
        .collect();
    let mut on_path: Vec<&Entry> =
        entries.iter().filter(|entry| entry.host.takes(host) && entry.path.takes(path)).collect();
    on_path.sort_by(|left, right| compare(left, right).0);
    let (headers, routes): (Vec<&Entry>, Vec<&Entry>) =
        on_path.into_iter().partition(|entry| entry.only_changes_headers());
    let winner = routes.iter().find(|entry| entry.rule.methods.take(method)).copied();
    let found = match winner {
        Some(winner) => Found::Rule(winner.index),
        None if !routes.is_empty() => Found::MethodNotAllowed,
        None if entries.iter().any(|entry| entry.host.takes(host)) => Found::NoRoute,
        None => Found::UnknownHost,
    };
    let verdict = |entry: &Entry| match winner {
        _ if !entry.host.takes(host) => Verdict::OtherHost,
        _ if !entry.path.takes(path) => Verdict::OtherPath,
        _ if !entry.rule.methods.take(method) => {
            Verdict::OtherMethod { takes: entry.rule.methods.clone() }
        }
        _ if entry.only_changes_headers() => Verdict::ChangesHeaders,
        Some(winner) if winner.index != entry.index => {
            Verdict::Lost { by: compare(winner, entry).1 }
        }
        _ => Verdict::Wins,
    };
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Explanation {
        host: lossy(host),
        path: lossy(path),
        method: lossy(method),
        found,
        winner: winner.map(|winner| winner.index),
        status: match found {
            Found::Rule(_) => None,
            Found::MethodNotAllowed => Some(405),
            Found::NoRoute | Found::UnknownHost => Some(404),
        },
        allow: if found == Found::MethodNotAllowed { allow(&routes) } else { Vec::new() },
        headers: headers
            .iter()
            .rev()
            .filter(|entry| entry.rule.methods.take(method))
            .map(|entry| entry.index)
            .collect(),
        rules: entries
            .iter()
            .map(|entry| Candidate {
                id: entry.rule.id.clone(),
                line: entry.rule.line,
                action: entry.rule.action.to_string(),
                verdict: verdict(entry),
            })
            .collect(),
    }
}

impl Entry<'_> {
    fn only_changes_headers(&self) -> bool {
        matches!(self.rule.action, RouteAction::Headers(_))
    }
}

/// Which of two rules for the same request goes first, and what decides it.
fn compare(left: &Entry, right: &Entry) -> (Ordering, Aspect) {
    let host = left.host.rank().cmp(&right.host.rank());
    if host.is_ne() {
        return (host, Aspect::Host);
    }
    let path = left.path.compare(&right.path);
    if path.is_ne() {
        return (path, Aspect::Path);
    }
    let priority = match (left.rule.explicit, right.rule.explicit) {
        (true, true) => left.rule.priority.cmp(&right.rule.priority),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => Ordering::Equal,
    };
    if priority.is_ne() {
        return (priority, Aspect::Priority);
    }
    (left.index.cmp(&right.index), Aspect::Declaration)
}

fn allow(routes: &[&Entry]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for entry in routes {
        if let Methods::Only(methods) = &entry.rule.methods {
            names.extend(methods.iter().cloned());
        }
    }
    if names.contains("GET") {
        names.insert("HEAD".to_owned());
    }
    names.into_iter().collect()
}

impl fmt::Display for Explanation {
    /// Several lines: the result, the header rules that apply, and each other rule with the reason.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}{} → ", self.method, self.host, self.path)?;
        match (self.winner.and_then(|winner| self.rules.get(winner)), self.found) {
            (Some(winner), _) => writeln!(out, "{}, by {}", winner.action, Named(winner))?,
            (None, Found::MethodNotAllowed) => {
                writeln!(out, "405, Allow: {}", self.allow.join(", "))?;
            }
            (None, Found::UnknownHost) => writeln!(out, "404, no rule is for this host")?,
            (None, _) => writeln!(out, "404, no rule takes the path")?,
        }
        for rule in self.headers.iter().filter_map(|rule| self.rules.get(*rule)) {
            writeln!(out, "  headers changed by {}", Named(rule))?;
        }
        let others = self
            .rules
            .iter()
            .filter(|rule| !matches!(rule.verdict, Verdict::Wins | Verdict::ChangesHeaders));
        for (index, rule) in others.enumerate() {
            if index == 0 {
                writeln!(out, "the others:")?;
            }
            writeln!(out, "  {}: {}", Named(rule), rule.verdict)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Wins => "wins",
            Self::ChangesHeaders => "changes headers",
            Self::Lost { by: Aspect::Host } => "the winner's host is more specific",
            Self::Lost { by: Aspect::Path } => "the winner's path is more specific",
            Self::Lost { by: Aspect::Priority } => "the winner's priority goes first",
            Self::Lost { by: Aspect::Declaration } => "the winner is declared earlier",
            Self::OtherMethod { takes } => return write!(out, "takes only {takes}"),
            Self::OtherPath => "does not take the path",
            Self::OtherHost => "is for another host",
        })
    }
}

/// A rule's id, and where it stands.
struct Named<'a>(&'a Candidate);

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.id)?;
        match self.0.line {
            Some(line) => write!(out, " (line {line})"),
            None => Ok(()),
        }
    }
}
