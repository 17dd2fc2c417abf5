//! Event lines: the same events for people and for programs.

use super::text;
use crate::contract::event::Event;
use crate::time::UnixMillis;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Appends `event` for programs: `{"t":"…","event":"worker_ready",…}` and the end of the line.
pub fn write_json(event: &Event, at: UnixMillis, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"t\":");
    text::push_json_time(out, at);
    for (key, value) in members(event) {
        text::push(out, format_args!(",\"{key}\":"));
        push_json_value(&value, out);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends `event` for people: `rip: worker_ready app=api workerId=3 …` and the end of the line.
/// What a worker wrote, or is to be done, follows: one indented line for each of its lines.
pub fn write_human(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"rip:");
    push_human(&members(event), out);
}

/// Appends for people what [`write_json`] wrote, the time before the name. False, and nothing is
/// appended, when it is no such line.
pub fn retell(json: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(Members(mut members)) = serde_json::from_slice(json) else { return false };
    let time = members.iter().position(|(key, _)| key == "t").map(|at| members.remove(at).1);
    if let Some(Value::String(time)) = time {
        text::push_prose(out, &time);
    }
    push_human(&members, out);
    true
}

fn push_human(members: &[(String, Value)], out: &mut Vec<u8>) {
    for (key, value) in members {
        match (key.as_str(), value) {
            ("event", Value::String(name)) => text::push(out, format_args!(" {name}")),
            (key, _) if LINES.contains(&key) => {}
            _ => {
                text::push(out, format_args!(" {key}="));
                push_human_value(value, out);
            }
        }
    }
    out.push(b'\n');
    let written = members.iter().filter(|(key, _)| LINES.contains(&key.as_str()));
    for line in written.filter_map(|(_, value)| value.as_array()).flatten() {
        out.extend_from_slice("    │ ".as_bytes());
        text::push_prose(out, line.as_str().unwrap_or_default());
        out.push(b'\n');
    }
}

/// The event's fields in the order of their declaration, its name first.
fn members(event: &Event) -> Vec<(String, Value)> {
    let text = serde_json::to_vec(event).unwrap_or_default();
    serde_json::from_slice::<Members>(&text).map(|members| members.0).unwrap_or_default()
}

fn push_json_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                push_json_value(item, out);
            }
            out.extend_from_slice(if items.is_empty() { b"[]" } else { b"]" });
        }
        Value::String(string) => text::push_json(out, string.as_bytes()),
        _ => text::push(out, format_args!("{value}")),
    }
}

fn push_human_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_human_value(item, out);
            }
        }
        Value::String(string) if string.bytes().all(is_plain) && !string.is_empty() => {
            out.extend_from_slice(string.as_bytes());
        }
        Value::String(string) => text::push_json(out, string.as_bytes()),
        _ => text::push(out, format_args!("{value}")),
    }
}

/// A byte that needs no quotes around it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

/// A JSON object with its order kept.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        input.deserialize_map(InOrder)
    }
}

const LINES: [&str; 2] = ["stderr", "trust"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AppId, Generation, WorkerId};

    fn human(event: &Event) -> String {
        let mut out = Vec::new();
        write_human(event, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn json(event: &Event) -> String {
        let mut out = Vec::new();
        write_json(event, UnixMillis(1_773_489_600_123), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn ready() -> Event {
        Event::WorkerReady {
            app: AppId::new("api"),
            worker_id: WorkerId(3),
            generation: Generation(1),
            app_pid: 42,
            took_ms: 310,
        }
    }

    fn crash() -> Event {
        Event::WorkerExit {
            app: AppId::new("api"),
            worker_id: WorkerId(3),
            pid: 42,
            status: "killed by SIGKILL".into(),
            expected: false,
            stderr: vec!["Traceback:".into(), "  rip: worker_ready\nforged\u{1b}[2J".into()],
        }
    }

    #[test]
    fn what_was_written_for_programs_can_be_told_to_people() {
        let mut out = Vec::new();
        let json = br#"{"t":"2026-03-14T12:00:00.123Z","event":"worker_exit","app":"api",
            "workerId":3,"status":"exited 1","stderr":["one","two"]}"#;
        assert!(retell(json, &mut out));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2026-03-14T12:00:00.123Z worker_exit app=api workerId=3 status=\"exited 1\"\n    \
             │ one\n    │ two\n"
        );
        assert!(!retell(b"no", &mut Vec::new()));
    }

    #[test]
    fn people_read_words_in_the_order_of_the_event() {
        assert_eq!(
            human(&ready()),
            "rip: worker_ready app=api workerId=3 generation=1 appPid=42 tookMs=310\n"
        );
    }

    #[test]
    fn programs_read_the_time_first() {
        assert_eq!(
            json(&ready()),
            "{\"t\":\"2026-03-14T12:00:00.123Z\",\"event\":\"worker_ready\",\"app\":\"api\",\
             \"workerId\":3,\"generation\":1,\"appPid\":42,\"tookMs\":310}\n"
        );
    }

    #[test]
    fn lists_are_joined_and_sentences_quoted() {
        let urls = vec!["http://127.0.0.1:8080".into(), "http://[::1]:8080".into()];
        assert_eq!(
            human(&Event::ServerReady { urls, took_ms: 5 }),
            "rip: server_ready urls=http://127.0.0.1:8080,http://[::1]:8080 tookMs=5\n"
        );
        let stop = Event::ServerStop { reason: "a \"b\"\n".into(), cut: 0 };
        assert_eq!(human(&stop), "rip: server_stop reason=\"a \\\"b\\\"\\u000a\" cut=0\n");
    }

    #[test]
    fn a_workers_last_words_are_indented_and_harmless() {
        assert_eq!(
            human(&crash()),
            "rip: worker_exit app=api workerId=3 pid=42 status=\"killed by SIGKILL\" \
             expected=false\n    │ Traceback:\n    │   rip: worker_ready\\u{a}forged\\u{1b}[2J\n"
        );
        let line = json(&crash());
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["stderr"][1], "  rip: worker_ready\nforged\u{1b}[2J");
    }
}
