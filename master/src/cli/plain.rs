//! What a master answers, made harmless for a terminal.
//!
//! It tells people what apps wrote and clients sent. Nothing of that may move the cursor, name the
//! window or turn the line around: every character that a terminal acts upon is shown by its number,
//! `\u{1b}`. Done once, where an answer is understood and before anything is painted, so that no verb
//! can forget it. `--json` prints answers as they are.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads an answer whose texts are for people.
///
/// # Errors
/// It is no such answer.
pub fn read<T: DeserializeOwned>(body: &str) -> serde_json::Result<T> {
    let mut value = serde_json::from_str(body)?;
    tame(&mut value);
    serde_json::from_value(value)
}

fn tame(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(is_wild) => *text = shown(text),
        Value::Array(items) => items.iter_mut().for_each(tame),
        Value::Object(members) => members.values_mut().for_each(tame),
        _ => {}
    }
}

fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_wild(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A terminal acts upon it, or it hides or reorders what stands around it. Ends of lines and tabs are
/// layout.
fn is_wild(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_upon_is_shown_by_its_number() {
        let body = r#"{"id":"a\tb\n","lines":["\u001b]0;x\u0007é","\u009b31m\u202e","plain │ text"],"n":7}"#;
        let read: Value = read(body).expect("JSON");
        assert_eq!(read["id"], "a\tb\n");
        assert_eq!(read["lines"][0], r"\u{1b}]0;x\u{7}é");
        assert_eq!(read["lines"][1], r"\u{9b}31m\u{202e}");
        assert_eq!(read["lines"][2], "plain │ text");
        assert_eq!(read["n"], 7);
        assert!(super::read::<Value>("{").is_err());
    }
}
