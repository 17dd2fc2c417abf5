//! JSON as it passes through: values of clients and apps keep their own text, so that no number loses
//! a digit and no member its place.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The members of an object in their order, values as text. A name that stands twice is there twice.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads `text`; `None` when it is no JSON object.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `name`, the last one where it stands twice.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    /// The value of `name` when it is a string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// The value of `name` when it is neither absent nor `null`.
    pub(super) fn some(&self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|value| *value != "null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Reader)
    }
}

/// An object that is being written, without white space.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Adds a member whose value is the string `value`.
    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_string(&mut self.0, value);
        self
    }

    /// Adds a member whose value prints as a number or a word of JSON.
    pub(super) fn plain(mut self, name: &str, value: impl fmt::Display) -> Self {
        use fmt::Write;
        self.name(name);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// Adds a member whose value is the JSON text `value`, without its white space.
    pub(super) fn json(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_compact(&mut self.0, value);
        self
    }

    /// The object without its closing brace, as the beginning of a larger one.
    pub(super) fn open(self) -> String {
        self.0
    }

    /// The whole object.
    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_string(&mut self.0, name);
        self.0.push(':');
    }
}

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|letter| matches!(letter, '"' | '\\' | '\0'..='\x1f')) {
        use fmt::Write;
        out.push_str(&rest[..at]);
        let byte = rest.as_bytes()[at];
        let _ = match byte {
            b'"' | b'\\' => write!(out, "\\{}", byte as char),
            b'\n' => write!(out, "\\n"),
            byte => write!(out, "\\u{byte:04x}"),
        };
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends the JSON text `json` without the white space between its parts. It then stands on one line:
/// within strings JSON allows no line ends.
pub(super) fn push_compact(out: &mut String, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find([' ', '\t', '\r', '\n', '"']) {
        out.push_str(&rest[..at]);
        let is_string = rest.as_bytes()[at] == b'"';
        let end = if is_string { at + string_length(&rest[at..]) } else { at + 1 };
        if is_string {
            out.push_str(&rest[at..end]);
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
}

/// `json` without the white space between its parts.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    push_compact(&mut out, json);
    out
}

/// The bytes of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_text() {
        let text = "{ \"b\": 1.00000000000000000001, \"a\" : [ 1 , 2 ], \"b\": \"\\u00e9\" }";
        let members = Members::read(text).unwrap();
        let names: Vec<_> = members.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!(members.0[0].1.get(), "1.00000000000000000001");
        assert_eq!(members.text("b").as_deref(), Some("é"));
        assert_eq!(members.text("a"), None);
        assert_eq!(members.get("c"), None);
        for bad in ["", "[]", "null", "1", "{", "{} x", "{\"a\":}", "{\"a\":1,}"] {
            assert!(Members::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn white_space_goes_and_strings_stay() {
        for (json, expected) in [
            (
                "{\r\n\t\"a b\" : [ 1 , \" \\\" x \" , \"\\\\\" ] }\n",
                "{\"a b\":[1,\" \\\" x \",\"\\\\\"]}",
            ),
            ("  \"é  ü\"  ", "\"é  ü\""),
            ("12", "12"),
            ("", ""),
        ] {
            assert_eq!(compact(json), expected);
        }
    }

    #[test]
    fn strings_are_escaped_as_serde_reads_them() {
        let nasty = "a\"b\\c\n\r\t\0\u{1f}\u{7f}é\u{2028}";
        let mut out = String::new();
        push_string(&mut out, nasty);
        assert!(!out.contains('\n'));
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), nasty);
    }

    #[test]
    fn objects_are_written_in_order() {
        let object = Object::new().text("type", "delta").plain("turn", 4).json("x", " [ ] ");
        assert_eq!(object.end(), "{\"type\":\"delta\",\"turn\":4,\"x\":[]}");
        assert_eq!(Object::new().end(), "{}");
    }
}
