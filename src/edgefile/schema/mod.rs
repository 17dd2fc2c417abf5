//! The language as one table, and what is made of it.

mod rule;
mod table;

pub(super) use rule::{Arguments, Free, NodeRule, PropertyRule};
pub(super) use table::FILE;

/// Blocks in which a node called `name` may stand, as paths: `app`, `site › route`.
pub(super) fn places_of(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    find(FILE, "", name, &mut found);
    found
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
