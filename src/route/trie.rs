//! The path patterns of one host as a trie of segments.

use super::path::{self, Pattern, Segment};
use super::quick::QuickMap;

/// Patterns, each with the rules that carry it.
#[derive(Debug, Default)]
pub struct Trie {
    /// The first one is the root; without any pattern there is none.
    nodes: Vec<Node>,
}

/// What the segments so far lead to.
#[derive(Debug, Default)]
struct Node {
    literals: QuickMap,
    /// No literal is longer: what is, need not be looked up.
    longest: usize,
    star: Option<usize>,
    /// Rules of the pattern that ends here.
    exact: Vec<usize>,
    /// Rules of the pattern that takes everything below.
    prefix: Vec<usize>,
}

/// The way of one path through a trie.
#[derive(Debug, Default)]
pub struct Walk {
    /// Nodes that the segments so far lead to, the least specific one first.
    here: Vec<usize>,
    next: Vec<usize>,
    /// What takes the path, the least specific one first.
    taken: Vec<End>,
}

/// The end of a pattern.
#[derive(Clone, Copy, Debug)]
enum End {
    Exact(usize),
    Prefix(usize),
}

impl Trie {
    /// No pattern was inserted.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a rule.
    pub fn insert(&mut self, pattern: &Pattern, rule: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in &pattern.segments {
            at = self.child(at, segment);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            let rules = if pattern.is_prefix { &mut node.prefix } else { &mut node.exact };
            rules.push(rule);
        }
    }

    /// Puts the rules of each pattern into the order of their keys.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl Fn(usize) -> K) {
        for node in &mut self.nodes {
            node.exact.sort_by_key(|rule| key(*rule));
            node.prefix.sort_by_key(|rule| key(*rule));
        }
    }

    /// Finds every pattern that takes `path`. At each level no more nodes are looked at than there
    /// are patterns, and no more levels than the deepest of them has.
    pub fn walk(&self, path: &[u8], walk: &mut Walk) {
        let Walk { here, next, taken } = walk;
        here.clear();
        taken.clear();
        if !self.is_empty() {
            here.push(0);
        }
        for segment in path::segments(path) {
            next.clear();
            for (at, node) in here.iter().filter_map(|at| Some((*at, self.nodes.get(*at)?))) {
                // There is a segment below it, be it an empty one.
                if !node.prefix.is_empty() {
                    taken.push(End::Prefix(at));
                }
                if !segment.is_empty() {
                    next.extend(node.star);
                }
                if segment.len() <= node.longest {
                    next.extend(node.literals.get(segment));
                }
            }
            std::mem::swap(here, next);
            if here.is_empty() {
                return;
            }
        }
        taken.extend(here.iter().map(|at| End::Exact(*at)));
    }

    /// The rules that a walk has found, the most specific one first.
    pub fn most_first<'a>(&'a self, walk: &'a Walk) -> impl Iterator<Item = usize> + 'a {
        walk.taken.iter().rev().flat_map(|end| self.rules(*end)).copied()
    }

    /// The rules that a walk has found, the least specific one first.
    pub fn least_first<'a>(&'a self, walk: &'a Walk) -> impl Iterator<Item = usize> + 'a {
        walk.taken.iter().flat_map(|end| self.rules(*end).iter().rev()).copied()
    }

    fn rules(&self, end: End) -> &[usize] {
        match end {
            End::Exact(at) => self.nodes.get(at).map(|node| node.exact.as_slice()),
            End::Prefix(at) => self.nodes.get(at).map(|node| node.prefix.as_slice()),
        }
        .unwrap_or_default()
    }

    fn child(&mut self, at: usize, segment: &Segment) -> usize {
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = match segment {
            Segment::Star => *node.star.get_or_insert(fresh),
            Segment::Literal(literal) => {
                node.longest = node.longest.max(literal.len());
                *node.literals.entry(literal.as_slice().into()).or_insert(fresh)
            }
        };
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }
}
