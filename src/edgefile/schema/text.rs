//! The schema as `rip-master schema` prints it, for people and for programs.

use super::FILE;
use super::rule::{Arguments, NodeRule, PropertyRule};
use serde_json::{Value, json};

/// The whole language, indented as a file is, each node with what it is for.
pub fn print() -> String {
    let mut rows = Vec::new();
    collect(FILE, 0, &mut rows);
    let widest = rows.iter().map(|row| row.written.chars().count()).max().unwrap_or_default();
    let mut out = String::from(INTRODUCTION);
    for row in rows {
        let padding = " ".repeat(widest - row.written.chars().count());
        out.push_str(format!("{}{padding}  {}", row.written, row.told).trim_end());
        out.push('\n');
    }
    out
}

/// The whole language as JSON, an array of nodes:
/// `{name, doc, argument?, properties[], children[], repeatable, required, served, default?}`.
pub fn json() -> Value {
    FILE.iter().map(node_json).collect()
}

struct Row {
    written: String,
    told: String,
}

fn collect(rules: &[NodeRule], depth: usize, rows: &mut Vec<Row>) {
    let indent = "    ".repeat(depth);
    for rule in rules {
        let block = if rule.children.is_empty() { "" } else { " {" };
        rows.push(Row {
            written: format!("{indent}{}{block}", written(rule)),
            told: told(
                rule.doc,
                &told_argument(rule),
                rule.default,
                &[
                    (rule.is_required, "required"),
                    (rule.is_many, "may stand more than once"),
                    (!rule.is_served, "not served by this version"),
                ],
            ),
        });
        for property in rule.properties {
            rows.push(Row {
                written: format!("{indent}        {}=", property.name),
                told: told(property.doc, &property.kind.brief(), property.default, &[]),
            });
        }
        collect(rule.children, depth + 1, rows);
        if !rule.children.is_empty() {
            rows.push(Row { written: format!("{indent}}}"), told: String::new() });
        }
    }
}

/// The node with its arguments, as it is written: `site HOST…`.
pub(super) fn written(rule: &NodeRule) -> String {
    let mut text = rule.name.to_owned();
    match rule.arguments {
        Arguments::None => {}
        Arguments::One(word, _) => text.push_str(&format!(" {word}")),
        Arguments::Maybe(word, _) => text.push_str(&format!(" [{word}]")),
        Arguments::Many(word, _) => text.push_str(&format!(" {word}…")),
    }
    if let Some(free) = rule.free {
        text.push_str(&format!(" {}=\"…\"", free.name));
    }
    text
}

/// What the arguments are; empty without any.
pub(super) fn told_argument(rule: &NodeRule) -> String {
    match rule.arguments {
        Arguments::None => rule.free.map(|free| free.values.brief()).unwrap_or_default(),
        Arguments::One(_, kind) | Arguments::Maybe(_, kind) | Arguments::Many(_, kind) => {
            kind.brief()
        }
    }
}

fn told(doc: &str, kind: &str, default: &str, notes: &[(bool, &str)]) -> String {
    let mut text = doc.to_owned();
    if !kind.is_empty() {
        text.push_str(&format!(": {kind}"));
    }
    if !default.is_empty() {
        text.push_str(&format!(" [{default}]"));
    }
    for (_, note) in notes.iter().filter(|(holds, _)| *holds) {
        text.push_str(&format!(" ({note})"));
    }
    text
}

fn node_json(rule: &NodeRule) -> Value {
    let mut object = json!({
        "name": rule.name,
        "doc": rule.doc,
        "repeatable": rule.is_many,
        "required": rule.is_required,
        "served": rule.is_served,
        "properties": rule.properties.iter().map(property_json).collect::<Vec<_>>(),
        "children": rule.children.iter().map(node_json).collect::<Vec<_>>(),
    });
    let argument = match rule.arguments {
        Arguments::None => None,
        Arguments::One(word, kind) => Some((word, kind, "one")),
        Arguments::Maybe(word, kind) => Some((word, kind, "optional")),
        Arguments::Many(word, kind) => Some((word, kind, "many")),
    };
    if let Some((word, kind, count)) = argument {
        object["argument"] = json!({ "name": word, "type": kind.told(), "count": count });
    }
    if let Some(free) = rule.free {
        object["names"] = json!({
            "name": free.name,
            "type": free.values.told(),
            "block": free.as_children,
        });
    }
    if !rule.default.is_empty() {
        object["default"] = rule.default.into();
    }
    object
}

fn property_json(property: &PropertyRule) -> Value {
    let mut object = json!({
        "name": property.name,
        "doc": property.doc,
        "type": property.kind.told(),
    });
    if !property.default.is_empty() {
        object["default"] = property.default.into();
    }
    object
}

const INTRODUCTION: &str = "\
// The Edgefile, version 1: a KDL 2 document of these nodes. NAME is a value by position, name= one
// by name; [in brackets] stands what holds without it.

";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edgefile::schema::places_of;

    #[test]
    fn every_node_is_printed_with_what_it_is_for() {
        let text = print();
        for line in ["version NUMBER", "    http ADDRESS…", "        route PATTERN {"] {
            let found = text.lines().any(|found| found.trim_start().starts_with(line.trim_start()));
            assert!(found, "{line}:\n{text}");
        }
        assert!(text.contains("(not served by this version)"));
        let nodes = json();
        assert_eq!(nodes[0]["name"], "version");
        assert_eq!(nodes[1]["children"][0]["argument"]["count"], "many");
    }

    #[test]
    fn names_are_unique_in_their_block_and_explained() {
        fn check(rules: &[NodeRule]) {
            for (index, rule) in rules.iter().enumerate() {
                assert!(
                    rules[..index].iter().all(|other| other.name != rule.name),
                    "{}",
                    rule.name
                );
                assert!(!rule.doc.is_empty() && !rule.doc.ends_with('.'), "{}", rule.name);
                for (at, property) in rule.properties.iter().enumerate() {
                    let before = &rule.properties[..at];
                    assert!(before.iter().all(|other| other.name != property.name));
                    assert!(!property.doc.is_empty(), "{}", property.name);
                }
                check(rule.children);
            }
        }
        check(FILE);
        assert_eq!(places_of("to-app"), ["site › route"]);
        assert_eq!(places_of("site"), [""]);
    }
}
