//! The route table: one trie of segments for each host.
//!
//! A lookup walks down the tries of the hosts that take the request, and at each level keeps every
//! node that the path has led to so far: one by the literal, one by the star. The list is kept from
//! the least to the most specific node, so reading all that was found backwards gives the rules in
//! their order. The walk ends with the deepest pattern that fits, however long the path goes on.

use super::headers::Headers;
use super::host::{self, HostPattern};
use super::path::Pattern;
use super::quick::QuickMap;
use super::trie::{Trie, Walk};
use crate::contract::route::{Methods, RouteAction, RouteRule};
use std::collections::BTreeSet;

/// Every rule of a configuration, compiled.
#[derive(Debug, Default)]
pub struct Table {
    sites: Vec<Site>,
    exact: QuickMap,
    /// By the name behind `*.`.
    wildcard: QuickMap,
    any: Option<usize>,
    /// What each rule takes, by its index.
    takes: Vec<Takes>,
    /// Every name of a method in the rules, in alphabetical order.
    methods: Vec<Box<[u8]>>,
    headers: Headers,
}

/// The rules of one host.
#[derive(Debug, Default)]
struct Site {
    /// Rules that answer.
    routes: Trie,
    /// Rules that only change headers.
    headers: Trie,
}

/// The methods of a rule, as indexes into the table's names, in order.
#[derive(Debug)]
enum Takes {
    Any,
    Only(Box<[usize]>),
}

impl Takes {
    fn method(&self, method: Option<usize>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(methods) => {
                method.is_some_and(|method| methods.binary_search(&method).is_ok())
            }
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// The rule at this index wins.
    Rule(usize),
    /// Rules take the path, but not the method: 405 with [`Scratch::allow`].
    MethodNotAllowed,
    /// The host is known, but no rule takes the path.
    NoRoute,
    /// No rule is for this host.
    UnknownHost,
}

/// What lookups work with. One per loop: a lookup allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct Scratch {
    walk: Walk,
    headers: Vec<usize>,
    allowed: Vec<bool>,
    allow: Vec<u8>,
}

impl Scratch {
    /// An empty one. It allocates with the first lookups and keeps its room from then on.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rules that only change headers and take the request of the last lookup, by index, the
    /// least specific one first; whatever else the lookup found.
    pub fn headers(&self) -> &[usize] {
        &self.headers
    }

    /// The value of `Allow` after [`Found::MethodNotAllowed`]: the methods that some rule takes for
    /// the path, in alphabetical order. Empty after anything else.
    pub fn allow(&self) -> &[u8] {
        &self.allow
    }
}

impl Table {
    /// The table of `rules`, whose indexes it speaks of.
    pub fn new(rules: &[RouteRule]) -> Self {
        let (methods, headers) = (method_names(rules), Headers::new(rules));
        let mut table = Self { methods, headers, ..Self::default() };
        for (index, rule) in rules.iter().enumerate() {
            let takes = table.compile(&rule.methods);
            table.takes.push(takes);
            let pattern = Pattern::new(&rule.path_pattern);
            let Some(site) = table.site(&rule.host) else { continue };
            let trie = match rule.action {
                RouteAction::Headers(_) => &mut site.headers,
                RouteAction::Proxy { .. }
                | RouteAction::Redirect { .. }
                | RouteAction::Static(_)
                | RouteAction::ToApp { .. } => &mut site.routes,
            };
            trie.insert(&pattern, index);
        }
        for site in &mut table.sites {
            for trie in [&mut site.routes, &mut site.headers] {
                trie.sort_by_key(|index| rules.get(index).map(|rule| order(rule, index)));
            }
        }
        table
    }

    /// The rule for a request. `host` is a [`host::normalize`]d one, `path` a
    /// [`super::path::routing_path`], `method` as it was sent.
    pub fn find(&self, host: &[u8], path: &[u8], method: &[u8], scratch: &mut Scratch) -> Found {
        scratch.headers.clear();
        scratch.allowed.clear();
        scratch.allow.clear();
        let method = self.method(method);
        let sites = self.sites_of(host);
        for site in sites.into_iter().flatten().rev() {
            if !site.headers.is_empty() {
                site.headers.walk(path, &mut scratch.walk);
                let takes = |rule: &usize| self.takes(*rule, method);
                scratch.headers.extend(site.headers.least_first(&scratch.walk).filter(takes));
            }
        }
        let mut is_taken = false;
        for site in sites.into_iter().flatten() {
            site.routes.walk(path, &mut scratch.walk);
            for rule in site.routes.most_first(&scratch.walk) {
                if self.takes(rule, method) {
                    return Found::Rule(rule);
                }
                is_taken = true;
                self.allow(rule, &mut scratch.allowed);
            }
        }
        if is_taken {
            self.write_allow(&scratch.allowed, &mut scratch.allow);
            Found::MethodNotAllowed
        } else if sites.iter().all(Option::is_none) {
            Found::UnknownHost
        } else {
            Found::NoRoute
        }
    }

    /// Whether some rule is for this normalized host; a rule for `*` is for every host.
    pub fn knows_host(&self, host: &[u8]) -> bool {
        self.sites_of(host).iter().any(Option::is_some)
    }

    /// What the rules change in heads.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The most specific site first.
    fn sites_of(&self, host: &[u8]) -> [Option<&Site>; 3] {
        let exact = self.exact.get(host);
        let wildcard = match self.wildcard.is_empty() {
            true => None,
            false => host::parent(host).and_then(|parent| self.wildcard.get(parent)),
        };
        [exact, wildcard, self.any.as_ref()].map(|site| site.and_then(|at| self.sites.get(*at)))
    }

    fn site(&mut self, host: &str) -> Option<&mut Site> {
        let fresh = self.sites.len();
        let at = match HostPattern::new(host) {
            HostPattern::Exact(name) => *self.exact.entry(name.into()).or_insert(fresh),
            HostPattern::Wildcard(parent) => *self.wildcard.entry(parent.into()).or_insert(fresh),
            HostPattern::Any => *self.any.get_or_insert(fresh),
        };
        if at == fresh {
            self.sites.push(Site::default());
        }
        self.sites.get_mut(at)
    }

    fn compile(&self, methods: &Methods) -> Takes {
        match methods {
            Methods::Any => Takes::Any,
            Methods::Only(_) => {
                let taken = self.methods.iter().enumerate().filter(|(_, name)| methods.take(name));
                Takes::Only(taken.map(|(index, _)| index).collect())
            }
        }
    }

    fn method(&self, name: &[u8]) -> Option<usize> {
        self.methods.binary_search_by(|known| known.as_ref().cmp(name)).ok()
    }

    fn takes(&self, rule: usize, method: Option<usize>) -> bool {
        self.takes.get(rule).is_some_and(|takes| takes.method(method))
    }

    fn allow(&self, rule: usize, allowed: &mut Vec<bool>) {
        if let Some(Takes::Only(methods)) = self.takes.get(rule) {
            allowed.resize(self.methods.len(), false);
            for method in methods {
                if let Some(allowed) = allowed.get_mut(*method) {
                    *allowed = true;
                }
            }
        }
    }

    fn write_allow(&self, allowed: &[bool], out: &mut Vec<u8>) {
        let names = self.methods.iter().zip(allowed).filter(|(_, allowed)| **allowed);
        for (name, _) in names {
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(name);
        }
    }
}

/// What decides between rules of one host and one pattern: the lesser goes first.
pub(super) fn order(rule: &RouteRule, index: usize) -> (bool, u32, usize) {
    let priority = if rule.explicit { rule.priority } else { 0 };
    (!rule.explicit, priority, index)
}

fn method_names(rules: &[RouteRule]) -> Vec<Box<[u8]>> {
    let mut names = BTreeSet::new();
    for rule in rules {
        if let Methods::Only(methods) = &rule.methods {
            names.extend(methods.iter().map(String::as_bytes));
        }
    }
    if names.contains(b"GET".as_slice()) {
        names.insert(b"HEAD");
    }
    names.into_iter().map(Box::from).collect()
}
