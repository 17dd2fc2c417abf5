//! The language as one table, and what is made of it.

mod reference;
mod rule;
mod table;
mod text;

pub use reference::reference;
pub use text::{json, print};

pub(super) use rule::{Arguments, Free, NodeRule, PropertyRule};
pub(super) use table::FILE;

/// Blocks in which a node called `name` may stand, as paths: `app`, `site › route`.
pub(super) fn places_of(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    find(FILE, "", name, &mut found);
    found
}

/// Another node called `node` that has the property called `property`, as a path.
pub(super) fn owner_of(node: &str, property: &str) -> Option<String> {
    fn look(rules: &[NodeRule], path: &str, node: &str, property: &str) -> Option<String> {
        rules.iter().find_map(|rule| {
            let here = match path {
                "" => rule.name.to_owned(),
                path => format!("{path} › {}", rule.name),
            };
            let owns = rule.properties.iter().any(|found| found.name == property);
            if owns && rule.name == node {
                return Some(here);
            }
            look(rule.children, &here, node, property)
        })
    }
    look(FILE, "", node, property)
}

fn find(rules: &[NodeRule], path: &str, name: &str, found: &mut Vec<String>) {
    for rule in rules {
        if rule.name == name {
            found.push(path.to_owned());
        }
        let below = match path {
            "" => rule.name.to_owned(),
            path => format!("{path} › {}", rule.name),
        };
        find(rule.children, &below, name, found);
    }
}
