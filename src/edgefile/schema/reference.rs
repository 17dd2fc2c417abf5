//! The schema as a part of the manual.

use super::FILE;
use super::rule::NodeRule;
use super::text::{told_argument, written};

/// The reference in `docs/EDGEFILE.md`: in Markdown, a table for each block.
pub fn reference() -> String {
    let mut out = String::new();
    table("The file", FILE, &mut out);
    out
}

fn table(title: &str, rules: &[NodeRule], out: &mut String) {
    out.push_str(&format!("### {title}\n\n| | | value | without it |\n|---|---|---|---|\n"));
    for rule in rules {
        let mut doc = rule.doc.to_owned();
        if rule.is_required {
            doc.push_str("; required");
        }
        if rule.is_many {
            doc.push_str("; may stand more than once");
        }
        row(&written(rule), &doc, &told_argument(rule), rule.default, rule.is_served, out);
        for property in rule.properties {
            let written = format!("{} {}=", rule.name, property.name);
            let kind = property.kind.brief();
            row(&written, property.doc, &kind, property.default, true, out);
        }
    }
    out.push('\n');
    for rule in rules {
        if !rule.children.is_empty() {
            let title = match title {
                "The file" => format!("`{}`", rule.name),
                title => format!("{} › {}`", title.trim_end_matches('`'), rule.name),
            };
            table(&title, rule.children, out);
        }
    }
}

fn row(written: &str, doc: &str, kind: &str, default: &str, served: bool, out: &mut String) {
    let note = if served { "" } else { " *(not served by this version)*" };
    out.push_str(&format!("| `{written}` | {doc}{note} | {kind} | {default} |\n"));
}
