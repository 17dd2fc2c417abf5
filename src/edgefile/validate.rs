//! Whether a document says only what the language knows: names, kinds, numbers of things.
//!
//! It follows the [`schema`] and knows no node by name. What it passes on holds only values that are
//! of their kind; what is wrong is told and left out, so that everything else is looked at as well.

use super::document::{Argument, Node, Property};
use super::kind::{Kind, Typed};
use super::lexer::shown;
use super::report::Report;
use super::schema::{self, Arguments, Free, NodeRule, PropertyRule};
use super::span::Span;
use super::structure::is_env;
use super::suggest::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// A node of the language, with its values read.
#[derive(Debug)]
pub(super) struct Checked {
    pub rule: &'static NodeRule,
    /// Its name.
    pub span: Span,
    /// The field path, itself included.
    pub path: String,
    pub arguments: Vec<Given>,
    properties: Vec<(&'static str, Given)>,
    /// What is called by names that the file chooses, by declaration.
    pub free: Vec<Chosen>,
    pub children: Vec<Checked>,
    /// What is around it is served.
    is_served: bool,
    /// Something was left out because it is wrong: what is missing here may not be.
    pub has_gaps: bool,
}

/// A value of its kind.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub typed: Typed,
    pub span: Span,
}

/// A value with a name that the file chose.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub name: String,
    pub value: String,
    pub span: Span,
}

/// What `nodes` say, as far as it is right.
pub(super) fn check(nodes: &[Node], report: &mut Report<'_>) -> Vec<Checked> {
    block(
        nodes,
        schema::FILE,
        &Around { path: "", span: Span::default(), name: "", is_served: true },
        report,
    )
    .0
}

/// The node whose block is looked at.
struct Around<'a> {
    path: &'a str,
    span: Span,
    name: &'a str,
    is_served: bool,
}

fn block(
    nodes: &[Node],
    rules: &'static [NodeRule],
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> (Vec<Checked>, bool) {
    let mut checked: Vec<Checked> = Vec::new();
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    let mut has_gaps = false;
    // What unknown nodes were probably meant to be.
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for node in nodes {
        let Some(rule) = rules.iter().find(|rule| rule.name == node.name) else {
            meant.extend(unknown_node(node, rules, around, report));
            has_gaps = true;
            continue;
        };
        let path = path_of(node, rule, around.path);
        let earlier = *first.entry(rule.name).or_insert(node.span);
        if earlier != node.span && !rule.is_many {
            let line = report.line(earlier);
            report.error(
                node.span,
                &path,
                format!("`{}` stands here twice; the first is on line {line}", rule.name),
                "make one of the two",
            );
            continue;
        }
        if rule.is_served || !around.is_served {
            checked.push(self::node(node, rule, path, around.is_served, report));
        } else {
            report.error(node.span, &path, not_served(rule.name), "leave it out");
            // Its own shape is looked at all the same; what is in it is not served either.
            let mut inner = self::node(node, rule, path, false, report);
            inner.has_gaps = true;
            checked.push(inner);
        }
    }
    let is_missing = |name: &str| !first.contains_key(name) && !meant.contains(name);
    for rule in rules.iter().filter(|rule| rule.is_required && is_missing(rule.name)) {
        let message = match around.name {
            "" => format!("the file has no `{}`", rule.name),
            name => format!("`{name}` has no `{}`", rule.name),
        };
        report.error(around.span, around.path, message, format!("write {}", example(rule)));
        has_gaps = true;
    }
    (checked, has_gaps)
}

fn node(
    node: &Node,
    rule: &'static NodeRule,
    path: String,
    is_served: bool,
    report: &mut Report<'_>,
) -> Checked {
    let mut checked = Checked {
        rule,
        span: node.span,
        path,
        arguments: Vec::new(),
        properties: Vec::new(),
        free: Vec::new(),
        children: Vec::new(),
        is_served,
        has_gaps: false,
    };
    arguments(node, &mut checked, report);
    properties(node, &mut checked, report);
    children(node, &mut checked, report);
    checked
}

fn arguments(node: &Node, checked: &mut Checked, report: &mut Report<'_>) {
    let rule = checked.rule;
    let (kind, most) = match rule.arguments {
        Arguments::None => (None, 0),
        Arguments::One(_, kind) | Arguments::Maybe(_, kind) => (Some(kind), 1),
        Arguments::Many(_, kind) => (Some(kind), usize::MAX),
    };
    if is_secret(rule) {
        node.arguments.iter().for_each(|argument| report.hide(argument.span));
    }
    for (index, Argument { value, span }) in node.arguments.iter().enumerate() {
        let Some(kind) = kind.filter(|_| index < most) else {
            let (message, hint) = surplus(node, rule, index);
            report.error(*span, &checked.path, message, hint);
            checked.has_gaps = true;
            break;
        };
        if kind.may_hold_password(value) {
            report.hide(*span);
        }
        match kind.read(value) {
            Ok(typed) => checked.arguments.push(Given { typed, span: *span }),
            Err(wrong) => {
                report.error(*span, &checked.path, wrong.message, wrong.hint);
                checked.has_gaps = true;
            }
        }
    }
    let wanted = match rule.arguments {
        Arguments::One(_, kind) | Arguments::Many(_, kind) => Some(kind),
        Arguments::None | Arguments::Maybe(..) => None,
    };
    if let Some(kind) = wanted.filter(|_| node.arguments.is_empty()) {
        let message = format!("`{}` needs {}", rule.name, kind.told());
        let hint = match node.properties.first() {
            Some(property) if rule.properties.iter().all(|it| it.name != property.name) => {
                format!("the value stands alone, without a name: {}", example(rule))
            }
            _ => format!("write {}", example(rule)),
        };
        report.error(node.span, &checked.path, message, hint);
        checked.has_gaps = true;
    }
}

/// Its values are never shown.
fn is_secret(rule: &NodeRule) -> bool {
    rule.free.is_some_and(|free| matches!(free.values, Kind::VariableValue | Kind::HeaderValue))
}

fn surplus(node: &Node, rule: &NodeRule, index: usize) -> (String, String) {
    let told = node.arguments.get(index).map(|found| found.value.told()).unwrap_or_default();
    match rule.arguments {
        Arguments::None => {
            if is_secret(rule) {
                let message = format!("`{}` takes no value without a name", rule.name);
                return (message, format!("write {} NAME=\"value\"", rule.name));
            }
            let message = format!("`{}` takes no value of its own, but finds {told}", rule.name);
            let hint = match rule.properties {
                [] if rule.free.is_some() => {
                    format!("its values have names: {} NAME=\"…\"", rule.name)
                }
                [] if rule.children.is_empty() => String::new(),
                [] => format!("what belongs to it stands in a block: {} {{ … }}", rule.name),
                [first, ..] => {
                    format!("its values have names: {} {}=…", rule.name, first.name)
                }
            };
            (message, hint)
        }
        _ => (
            format!("`{}` takes one value, but finds another: {told}", rule.name),
            "remove one of them".to_owned(),
        ),
    }
}

fn properties(node: &Node, checked: &mut Checked, report: &mut Report<'_>) {
    let rule = checked.rule;
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    if is_secret(rule) {
        node.properties.iter().for_each(|property| report.hide(property.span));
    }
    for property in &node.properties {
        let name = property.name.as_str();
        let path = format!("{} › {}", checked.path, shown(name));
        if let Some(first) = seen.insert(name, property.name_span) {
            let line = report.line(first);
            let message = format!("`{}` is said twice; first on line {line}", shown(name));
            report.error(property.name_span, &path, message, "leave one of them out");
            continue;
        }
        if let Some(found) = rule.properties.iter().find(|it| it.name == name) {
            known_property(property, found, path, checked, report);
        } else if let Some(free) = rule.free {
            let value = (&property.value, property.span);
            chosen(name, property.name_span, value, free, path, checked, report);
        } else {
            unknown_property(property, node, rule, &path, report);
            checked.has_gaps = true;
        }
    }
}

fn known_property(
    property: &Property,
    rule: &'static PropertyRule,
    path: String,
    checked: &mut Checked,
    report: &mut Report<'_>,
) {
    if rule.kind.may_hold_password(&property.value) {
        report.hide(property.span);
    }
    match rule.kind.read(&property.value) {
        Ok(typed) => {
            checked.properties.push((rule.name, Given { typed, span: property.span }));
        }
        Err(wrong) => {
            report.error(property.span, &path, wrong.message, wrong.hint);
            checked.has_gaps = true;
        }
    }
}

fn chosen(
    name: &str,
    name_span: Span,
    (value, span): (&super::document::Value, Span),
    free: Free,
    path: String,
    checked: &mut Checked,
    report: &mut Report<'_>,
) {
    let name_value = super::document::Value::Text(name.to_owned());
    let name_fits = free.names.read(&name_value);
    let value_fits = free.values.read(value);
    for (wrong, at) in [(name_fits.err(), name_span), (value_fits.as_ref().err().cloned(), span)] {
        if let Some(wrong) = wrong {
            report.error(at, &path, wrong.message, wrong.hint);
            checked.has_gaps = true;
        }
    }
    if let Ok(Typed::Text(value)) = value_fits {
        checked.free.push(Chosen { name: name.to_owned(), value, span: name_span });
    }
}

fn children(node: &Node, checked: &mut Checked, report: &mut Report<'_>) {
    let rule = checked.rule;
    let nodes = match &node.children {
        Some(nodes) => nodes.as_slice(),
        // Without a block what must stand in it is missing as well.
        None if rule.children.iter().any(|child| child.is_required) => &[],
        None => return,
    };
    if let Some(free) = rule.free.filter(|free| free.as_children) {
        for child in nodes {
            let path = format!("{} › {}", checked.path, shown(&child.name));
            hide_values(child, report);
            let [Argument { value, span }] = child.arguments.as_slice() else {
                report.error(
                    child.span,
                    &path,
                    format!("`{}` needs one value", shown(&child.name)),
                    format!("write {} \"…\"", shown(&child.name)),
                );
                checked.has_gaps = true;
                continue;
            };
            if !child.properties.is_empty() || child.children.is_some() {
                let message = format!("`{}` takes one value and nothing else", shown(&child.name));
                report.error(child.span, &path, message, "one variable a line: NAME \"value\"");
                checked.has_gaps = true;
                continue;
            }
            chosen(&child.name, child.span, (value, *span), free, path, checked, report);
        }
        return;
    }
    if rule.children.is_empty() && !nodes.is_empty() {
        for child in nodes {
            let path = format!("{} › {}", checked.path, shown(&child.name));
            let hint = if rule.properties.iter().any(|property| property.name == child.name) {
                format!("it is a property: {} {}=…", rule.name, child.name)
            } else {
                match rule.properties {
                    [] => format!("end the line after `{}`", rule.name),
                    [first, ..] => {
                        format!("its values stand on its line: {} {}=…", rule.name, first.name)
                    }
                }
            };
            report.error(child.span, &path, format!("`{}` has no block", rule.name), hint);
        }
        checked.has_gaps = true;
        return;
    }
    let path = checked.path.clone();
    let is_served = rule.is_served && checked.is_served;
    let around = Around { path: &path, span: node.span, name: rule.name, is_served };
    let (found, has_gaps) = block(nodes, rule.children, &around, report);
    checked.children = found;
    checked.has_gaps |= has_gaps;
}

fn unknown_node(
    node: &Node,
    rules: &'static [NodeRule],
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Option<&'static str> {
    if is_env(&node.name) {
        // Most likely variables, and their values may be secrets.
        hide_values(node, report);
    }
    let name = shown(&node.name);
    let path = match around.path {
        "" => name.clone(),
        path => format!("{path} › {name}"),
    };
    let here = match around.name {
        "" => "at the top of a file".to_owned(),
        around => format!("in `{around}`"),
    };
    let known: Vec<&'static str> = rules.iter().map(|rule| rule.name).collect();
    let guess = meant(node.name.trim_end_matches(':'), &known);
    let elsewhere = schema::places_of(node.name.trim_end_matches(':'));
    let hint = if guess.is_none() && !elsewhere.is_empty() {
        let places: Vec<String> = elsewhere
            .iter()
            .map(|place| match place.as_str() {
                "" => "at the top of the file".to_owned(),
                place => format!("in `{place}`"),
            })
            .collect();
        format!("`{}` stands {}", node.name.trim_end_matches(':'), places.join(" or "))
    } else if node.name == "include" {
        "an Edgefile is one file".to_owned()
    } else if let Some(meant) = guess {
        format!("did you mean `{meant}`?")
    } else {
        format!("known {here}: {}", known.join(", "))
    };
    let message = format!("`{name}` is not known {here}");
    report.error(node.span, &path, message, hint);
    guess
}

/// The word of `known` that `word` was probably meant to be.
fn meant(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let begins = |full: &&&'static str| word.len() >= 3 && full.starts_with(word);
    let mut beginnings = known.iter().filter(begins);
    match (beginnings.next(), beginnings.next()) {
        (Some(only), None) => Some(only),
        _ => nearest(word, known.iter().copied()),
    }
}

fn hide_values(node: &Node, report: &mut Report<'_>) {
    node.arguments.iter().for_each(|argument| report.hide(argument.span));
    node.properties.iter().for_each(|property| report.hide(property.span));
    node.children.iter().flatten().for_each(|child| hide_values(child, report));
}

fn unknown_property(
    property: &Property,
    node: &Node,
    rule: &NodeRule,
    path: &str,
    report: &mut Report<'_>,
) {
    let name = shown(&property.name);
    let known: Vec<&'static str> = rule.properties.iter().map(|property| property.name).collect();
    let hint = if rule.children.iter().any(|child| child.name == property.name) {
        format!("`{name}` is a node of the block: {} {{ {name} … }}", rule.name)
    } else if let Some(place) = schema::owner_of(rule.name, &property.name) {
        format!("`{name}=` is for `{place}`")
    } else if let Some(meant) = meant(&property.name, &known) {
        format!("did you mean `{meant}`?")
    } else if known.is_empty() {
        match rule.arguments {
            Arguments::One(..) | Arguments::Maybe(..) | Arguments::Many(..)
                if node.arguments.is_empty() =>
            {
                format!("its value stands alone: {}", example(rule))
            }
            _ => format!("`{}` has no properties", rule.name),
        }
    } else {
        format!("known: {}", known.join(", "))
    };
    let message = format!("`{name}` is no property of `{}`", rule.name);
    report.error(property.name_span, path, message, hint);
}

fn path_of(node: &Node, rule: &NodeRule, around: &str) -> String {
    let mut path = around.to_owned();
    if !path.is_empty() {
        path.push_str(" › ");
    }
    path.push_str(rule.name);
    let is_named = matches!(rule.name, "app" | "route" | "site" | "upstream");
    if let Some(Argument { value: super::document::Value::Text(text), .. }) =
        node.arguments.first().filter(|_| is_named)
    {
        path.push_str(&format!(" \"{}\"", shown(text)));
    }
    path
}

fn example(rule: &NodeRule) -> String {
    match rule.arguments {
        Arguments::One(_, kind) | Arguments::Maybe(_, kind) | Arguments::Many(_, kind) => {
            format!("{} {}", rule.name, kind.example())
        }
        Arguments::None => rule.name.to_owned(),
    }
}

fn not_served(name: &str) -> String {
    format!("`{name}` is not served by this version")
}

impl Checked {
    /// The child called `name`.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.rule.name == name)
    }

    /// Every child called `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.rule.name == name)
    }

    /// The property called `name`.
    pub(super) fn property(&self, name: &str) -> Option<&Given> {
        self.properties.iter().find(|(known, _)| *known == name).map(|(_, given)| given)
    }

    /// Whether there is any property.
    pub(super) fn has_properties(&self) -> bool {
        !self.properties.is_empty()
    }

    /// The first argument.
    pub(super) fn argument(&self) -> Option<&Given> {
        self.arguments.first()
    }

    /// The texts of the arguments.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, Span)> {
        self.arguments.iter().filter_map(|given| Some((given.text()?, given.span)))
    }

    /// The path of a property.
    pub(super) fn path_to(&self, property: &str) -> String {
        format!("{} › {property}", self.path)
    }
}

impl Given {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.typed {
            Typed::Text(text) => Some(text),
            Typed::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self.typed {
            Typed::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Numbers have ranges that fit.
    pub(super) fn small(&self) -> Option<u32> {
        self.number().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.typed {
            Typed::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn duration(&self) -> Option<std::time::Duration> {
        match self.typed {
            Typed::Duration(duration) => Some(duration),
            _ => None,
        }
    }
}
