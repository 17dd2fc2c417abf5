//! Where the certificates of hosts come from, and what of it changes.

use crate::contract::config::Config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A host whose certificate comes from somewhere else.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceChange {
    /// The host.
    pub host: String,
    /// Where it came from; nowhere is the default of all hosts.
    pub from: Vec<Source>,
    /// Where it comes from now.
    pub to: Vec<Source>,
}

/// Where a host's certificate comes from, as `tls` of an Edgefile calls it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Files that the configuration names.
    Files,
    /// An ACME authority.
    Acme,
    /// The machine's own local authority.
    Auto,
    /// From nowhere: plain HTTP stays plain there.
    Off,
}

/// The hosts whose certificates come from somewhere else, by name. Files that a host gets beside nothing
/// else, or loses, are told of as certificates.
pub(super) fn source_changes(old: &Config, new: &Config) -> Vec<SourceChange> {
    let (before, after) = (sources(old), sources(new));
    let mut hosts: Vec<&str> = before.keys().chain(after.keys()).copied().collect();
    hosts.sort_unstable();
    hosts.dedup();
    let of = |map: &BTreeMap<&str, Vec<Source>>, host| map.get(host).cloned().unwrap_or_default();
    let changes = hosts.into_iter().map(|host| SourceChange {
        host: host.to_owned(),
        from: of(&before, host),
        to: of(&after, host),
    });
    let is_told = |change: &SourceChange| {
        let both = (change.from.as_slice(), change.to.as_slice());
        change.from != change.to && !matches!(both, ([], [Source::Files]) | ([Source::Files], []))
    };
    changes.filter(is_told).collect()
}

fn sources(config: &Config) -> BTreeMap<&str, Vec<Source>> {
    let Config { certs, acme_hosts, auto_hosts, plain_hosts, .. } = config;
    let files = certs.iter().flat_map(|files| &files.hosts).map(|host| (host, Source::Files));
    let acme = acme_hosts.iter().map(|host| (host, Source::Acme));
    let auto = auto_hosts.iter().map(|host| (host, Source::Auto));
    let off = plain_hosts.iter().map(|host| (host, Source::Off));
    let mut sources: BTreeMap<&str, Vec<Source>> = BTreeMap::new();
    for (host, source) in files.chain(acme).chain(auto).chain(off) {
        let known = sources.entry(host).or_default();
        if !known.contains(&source) {
            known.push(source);
        }
    }
    sources
}

impl fmt::Display for SourceChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |sources: &[Source]| match sources {
            [] => "the default".to_owned(),
            some => some.iter().map(|source| source.as_str()).collect::<Vec<_>>().join(", "),
        };
        write!(out, "{}: {} → {}", self.host, words(&self.from), words(&self.to))
    }
}

impl Source {
    /// As an Edgefile says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Acme => "acme",
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}
