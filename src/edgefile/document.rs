//! Bytes become a document: nodes with their values and places.
//!
//! The parser recurses, and its repairs of a broken document cost more than the document is worth.
//! So it sees only what [`structure`] has found to be whole, not too deep, and free of comments and
//! of what `/-` puts aside; what is wrong is told from the tokens, before.

use super::lexer::{self, Fault, shown};
use super::span::Span;
use super::structure::{self, NodeSpans};
use crate::limits;
use kdl::{KdlDocument, KdlNode, KdlValue};

/// A node, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub name: String,
    pub span: Span,
    pub arguments: Vec<Argument>,
    pub properties: Vec<Property>,
    /// `None` without a block.
    pub children: Option<Vec<Node>>,
}

/// A value by its position.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub value: Value,
    pub span: Span,
}

/// A value by its name.
#[derive(Clone, Debug)]
pub(super) struct Property {
    pub name: String,
    pub name_span: Span,
    pub value: Value,
    pub span: Span,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i128),
    Fraction,
    Bool(bool),
    Null,
}

impl Value {
    /// The value in words, for a message.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Text(text) if text.is_empty() => "an empty text".to_owned(),
            Self::Text(text) => format!("the text \"{}\"", shown(text)),
            Self::Number(number) => format!("the number {number}"),
            Self::Fraction => "a number with a fraction".to_owned(),
            Self::Bool(value) => format!("#{value}"),
            Self::Null => "#null".to_owned(),
        }
    }
}

/// The document in `text`.
///
/// # Errors
/// What keeps it from being one, by place.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Vec<Fault>> {
    let structure = structure::divide(text, lexer::tokens(text))?;
    let bare = without(text, &structure.aside);
    let document = KdlDocument::parse_v2(&bare).map_err(|error| {
        let faults = error.diagnostics.iter().take(limits::DIAGNOSTIC_COUNT);
        faults
            .map(|found| {
                let start = found.span.offset().min(text.len());
                let end = start.saturating_add(found.span.len()).min(text.len());
                let message = found.message.as_deref().unwrap_or("this is not KDL 2");
                let mut fault = Fault::new(Span::new(start, end), lower_first(message));
                fault.hint.clone_from(&found.help);
                fault
            })
            .collect::<Vec<_>>()
    })?;
    let mut spans = structure.nodes.into_iter();
    let nodes = convert(document.nodes(), &mut spans);
    nodes.filter(|_| spans.next().is_none()).ok_or_else(|| {
        // Cannot be: parser and tokens agree about what a node is. If it is, better refused.
        vec![Fault::new(Span::default(), "this document is understood in two ways")]
    })
}

/// The text of `bytes`.
///
/// # Errors
/// It is too long, or not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > limits::EDGEFILE_BYTES {
        let message = format!(
            "the file has {} bytes; an Edgefile may have {}",
            bytes.len(),
            limits::EDGEFILE_BYTES
        );
        return Err(Fault::new(Span::default(), message).hint("is it the right file?"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        // In the text with marks in place of what is none, the first mark.
        let at = error.valid_up_to();
        let mark = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
        Fault::new(mark, "this is not UTF-8").hint("save the file as UTF-8 text")
    })
}

/// `text` with spaces in the place of each of `places`.
fn without(text: &str, places: &[Span]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for place in places {
        if let Some(bytes) = bytes.get_mut(place.start as usize..place.end as usize) {
            bytes.fill(b' ');
        }
    }
    // Places begin and end between characters.
    String::from_utf8(bytes).unwrap_or_default()
}

/// `None` when nodes and places do not fit; never deeper than blocks may be.
fn convert(nodes: &[KdlNode], spans: &mut impl Iterator<Item = NodeSpans>) -> Option<Vec<Node>> {
    nodes
        .iter()
        .map(|node| {
            let here = spans.next()?;
            if node.entries().len() != here.entries.len() {
                return None;
            }
            let mut arguments = Vec::new();
            let mut properties = Vec::new();
            for (entry, place) in node.entries().iter().zip(&here.entries) {
                let value = value(entry.value());
                match (entry.name(), place.name) {
                    (None, None) => arguments.push(Argument { value, span: place.value }),
                    (Some(name), Some(name_span)) => properties.push(Property {
                        name: name.value().to_owned(),
                        name_span,
                        value,
                        span: place.value,
                    }),
                    _ => return None,
                }
            }
            let children = match node.children() {
                Some(children) => Some(convert(children.nodes(), spans)?),
                None => None,
            };
            let name = node.name().value().to_owned();
            Some(Node { name, span: here.name, arguments, properties, children })
        })
        .collect()
}

fn value(value: &KdlValue) -> Value {
    match value {
        KdlValue::String(text) => Value::Text(text.clone()),
        KdlValue::Integer(number) => Value::Number(*number),
        KdlValue::Float(_) => Value::Fraction,
        KdlValue::Bool(value) => Value::Bool(*value),
        KdlValue::Null => Value::Null,
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
