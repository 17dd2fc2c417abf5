//! The grammar of instructions: what an app answers, as items.
//!
//! ```text
//! answer  = nothing | object | array of objects
//! object  = "@": [target …]     "/name" a group, everything else a client
//!           "+": [group …]      joined by the targets
//!           "-": [group …]      left by them
//!           ">": [client …]     get nothing
//!           "*": reason | {"code": number, "reason": text}     closed, after the deliveries
//!           "$text": text | "$binary": base64 | any other keys, as one JSON object
//! ```
//!
//! An object is valid as a whole or does nothing. What is delivered is passed on as it was written:
//! numbers of any size, any depth, keys in their order.

use super::client_id::ClientId;
use super::frame::Frame;
use super::group::{GroupName, NoGroup};
use super::item::{Close, Item, Payload, Targets};
use crate::limits::{CLIENT_GROUP_COUNT, CLOSE_REASON_BYTES, GROUP_NAME_BYTES, INSTRUCTION_COUNT};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// An object that does nothing, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invalid {
    /// Its place among the others, 0 is the first.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "item {}: {}", self.index + 1, self.reason)
    }
}

/// An answer of which nothing can be used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The items of an answer, in order, and the objects that are none. An empty or blank answer has
/// none.
///
/// # Errors
/// It is not UTF-8, not JSON, neither an object nor an array, or an array of too many.
pub fn parse(answer: &[u8]) -> Result<Vec<Result<Item, Invalid>>, Unreadable> {
    let text = std::str::from_utf8(answer).map_err(|_| Unreadable("it is not UTF-8".into()))?;
    let broken = |error: serde_json::Error| Unreadable(format!("it is no JSON: {error}"));
    let items: Vec<&RawValue> = match text.bytes().find(|byte| !b" \t\r\n".contains(byte)) {
        None => Vec::new(),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
            if items.len() > INSTRUCTION_COUNT {
                let count = items.len();
                return Err(Unreadable(format!(
                    "it has {count} items: {INSTRUCTION_COUNT} may be"
                )));
            }
            items
        }
        Some(b'{') => vec![serde_json::from_str(text).map_err(broken)?],
        Some(_) => {
            let value: &RawValue = serde_json::from_str(text).map_err(broken)?;
            let what = kind_of(value);
            return Err(Unreadable(format!("it is {what}, not an object or an array of them")));
        }
    };
    let read = |(index, value): (usize, &&RawValue)| {
        item(value).map_err(|reason| Invalid { index, reason })
    };
    Ok(items.iter().enumerate().map(read).collect())
}

/// One object.
fn item(value: &RawValue) -> Result<Item, String> {
    if !value.get().starts_with('{') {
        return Err(format!("it is {}, not an object", kind_of(value)));
    }
    let Fields(fields) = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
    let mut item = Item::default();
    let mut seen = [false; CONTROL_KEYS.len()];
    let mut object = String::new();
    let mut raw = None;
    for (key, value) in fields {
        let control = CONTROL_KEYS.iter().position(|control| *control == key);
        if let Some(seen) = control.and_then(|index| seen.get_mut(index))
            && std::mem::replace(seen, true)
        {
            return Err(format!("{key:?} is there twice"));
        }
        match &*key {
            "@" => item.targets = Some(targets(value)?),
            "+" => item.joins = groups("+", value)?,
            "-" => item.leaves = groups("-", value)?,
            ">" => item.excludes = excludes(value)?,
            "*" => item.close = Some(close(value)?),
            "#" => return Err("\"#\" is reserved for the positions that clients are told".into()),
            "$text" | "$binary" if raw.is_some() => {
                return Err("there are both \"$text\" and \"$binary\"".into());
            }
            "$text" => raw = Some(Frame::text(&text("$text", value)?)),
            "$binary" => raw = Some(Frame::binary(&binary(value)?)),
            key => append(&mut object, key, value)?,
        }
    }
    if item.joins.len() > CLIENT_GROUP_COUNT {
        let count = item.joins.len();
        return Err(format!("\"+\" has {count} groups: a client is in {CLIENT_GROUP_COUNT}"));
    }
    item.payload = match raw {
        Some(_) if !object.is_empty() => {
            return Err("\"$text\" and \"$binary\" stand instead of other keys".into());
        }
        Some(frame) => Payload::Raw(frame),
        None if object.is_empty() => Payload::Nothing,
        None => {
            object.push('}');
            Payload::Object(Frame::text(&object))
        }
    };
    Ok(item)
}

/// Appends a key of the payload and its value as it was written.
fn append(object: &mut String, key: &str, value: &RawValue) -> Result<(), String> {
    object.push(if object.is_empty() { '{' } else { ',' });
    object.push_str(&serde_json::to_string(key).map_err(|error| error.to_string())?);
    object.push(':');
    object.push_str(value.get());
    Ok(())
}

fn targets(value: &RawValue) -> Result<Targets, String> {
    let mut targets = Targets::default();
    let mut seen = HashSet::new();
    for name in &strings("@", value)? {
        if name.starts_with('/') {
            let group = group("@", name)?;
            if seen.insert(group.clone()) {
                targets.groups.push(group);
            }
        } else {
            // What is no client's name is a client that is gone.
            targets.clients.extend(ClientId::parse(name));
        }
    }
    Ok(targets)
}

fn groups(key: &str, value: &RawValue) -> Result<Vec<GroupName>, String> {
    let mut groups = Vec::new();
    let mut seen = HashSet::new();
    for name in &strings(key, value)? {
        let group = group(key, name)?;
        if seen.insert(group.clone()) {
            groups.push(group);
        }
    }
    Ok(groups)
}

fn group(key: &str, name: &str) -> Result<GroupName, String> {
    GroupName::new(name).map_err(|no| {
        let name = shown(name);
        match no {
            NoGroup::NoSlash => {
                format!("{name} in {key:?} is no group: the \"/\" before it is missing")
            }
            NoGroup::TooLong => {
                format!("{name} in {key:?} is longer than {GROUP_NAME_BYTES} bytes")
            }
        }
    })
}

fn excludes(value: &RawValue) -> Result<Vec<ClientId>, String> {
    let names = strings(">", value)?;
    if let Some(group) = names.iter().find(|name| name.starts_with('/')) {
        let group = shown(group);
        return Err(format!("{group} in \">\" is a group: only clients are left out"));
    }
    Ok(names.iter().filter_map(|name| ClientId::parse(name)).collect())
}

fn close(value: &RawValue) -> Result<Close, String> {
    let (code, reason) = match value.get().as_bytes().first() {
        Some(b'"') => (NORMAL, text("*", value)?),
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(value.get()).map_err(|e| e.to_string())?;
            let (mut code, mut reason) = (None, None);
            for (key, value) in fields {
                match &*key {
                    "code" if code.is_none() => code = Some(close_code(value)?),
                    "reason" if reason.is_none() => reason = Some(text("reason", value)?),
                    "code" | "reason" => return Err(format!("{key:?} in \"*\" is there twice")),
                    other => {
                        let other = shown(other);
                        return Err(format!("{other} in \"*\" is neither \"code\" nor \"reason\""));
                    }
                }
            }
            (code.unwrap_or(NORMAL), reason.unwrap_or_default())
        }
        _ => {
            let what = kind_of(value);
            return Err(format!("\"*\" is {what}, not a reason or {{\"code\", \"reason\"}}"));
        }
    };
    if reason.len() > CLOSE_REASON_BYTES {
        let length = reason.len();
        return Err(format!(
            "the reason in \"*\" has {length} bytes: {CLOSE_REASON_BYTES} fit into the frame"
        ));
    }
    Ok(Close { code, reason: reason.into() })
}

fn close_code(value: &RawValue) -> Result<u16, String> {
    // As text: what is no whole number or too large for one is refused in the same words.
    match value.get().parse() {
        Ok(code) if may_be_sent(code) => Ok(code),
        _ => {
            // What is no number may be anything, and is not shown.
            let code = match value.get() {
                text if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                    shown(text)
                }
                _ => kind_of(value).to_owned(),
            };
            Err(format!("{code} in \"*\" is no code: 1000 to 1003, 1007 to 1014, 3000 to 4999 are"))
        }
    }
}

/// Whether a Close frame may carry this code (RFC 6455 §7.4, and what is registered since).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn text(key: &str, value: &RawValue) -> Result<String, String> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(value.get())
            .map_err(|_| format!("{key:?} has half a character: a surrogate that stands alone")),
        _ => Err(format!("{key:?} is {}, not a string", kind_of(value))),
    }
}

fn binary(value: &RawValue) -> Result<Vec<u8>, String> {
    let encoded = text("$binary", value)?;
    STANDARD.decode(encoded).map_err(|error| format!("\"$binary\" is no base64: {error}"))
}

fn strings(key: &str, value: &RawValue) -> Result<Vec<String>, String> {
    if !value.get().starts_with('[') {
        return Err(format!("{key:?} is {}, not an array of strings", kind_of(value)));
    }
    let values: Vec<&RawValue> =
        serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
    let read = |value: &&RawValue| match value.get().as_bytes().first() {
        Some(b'"') => text(key, value),
        _ => Err(format!("{key:?} has {}, not strings alone", kind_of(value))),
    };
    values.iter().map(read).collect()
}

fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// What an app wrote, as it is shown in a reason: short, and without control characters.
fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(SHOWN_COUNT + 1).collect();
    if start.chars().count() > SHOWN_COUNT {
        start.pop();
        start.push('…');
    }
    format!("{start:?}")
}

/// An object's keys and values, in order, as often as they are there.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Object)
    }
}

/// A key that is copied only where it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

/// Keys that are no payload; each may be there once.
const CONTROL_KEYS: [&str; 8] = ["@", "+", "-", ">", "*", "#", "$text", "$binary"];
/// The code of a close without one.
const NORMAL: u16 = 1000;
/// Characters of what an app wrote that are shown.
const SHOWN_COUNT: usize = 64;

#[cfg(test)]
#[path = "instruct_tests.rs"]
mod tests;
