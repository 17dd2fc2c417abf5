//! The schema as a part of the manual.

use super::FILE;
use super::rule::NodeRule;
use super::text::{told_kind, written};

/// The reference in `docs/EDGEFILE.md`: in Markdown, a table for each block.
pub fn reference() -> String {
    let mut out = String::new();
    table("The file", FILE, &mut out);
    out
}

fn table(title: &str, rules: &[NodeRule], out: &mut String) {
    out.push_str(&format!("### {title}\n\n| | | without it |\n|---|---|---|\n"));
    for rule in rules {
        let mut doc = rule.doc.to_owned();
        if rule.is_required {
            doc.push_str("; required");
        }
        if rule.is_many {
            doc.push_str("; may stand more than once");
        }
        row(&written(rule), &doc, rule.default, rule.is_served, out);
        for property in rule.properties {
            let doc = format!("{}: {}", property.doc, told_kind(property));
            let served = property.is_served || !rule.is_served;
            row(&format!("{} {}=", rule.name, property.name), &doc, property.default, served, out);
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

fn row(written: &str, doc: &str, default: &str, served: bool, out: &mut String) {
    let note = if served { "" } else { " *(not served by this version)*" };
    let default = match default.replace('|', "\\|") {
        text if text.starts_with(['"', '#', '/'])
            || text.starts_with(|it: char| it.is_ascii_digit()) =>
        {
            let (value, rest) = text.split_once([',', ' ']).unwrap_or((&text, ""));
            match rest {
                "" => format!("`{value}`"),
                rest => format!("`{value}` {}", rest.trim_start()),
            }
        }
        text => text,
    };
    out.push_str(&format!("| `{written}` | {}{note} | {default} |\n", doc.replace('|', "\\|")));
}
