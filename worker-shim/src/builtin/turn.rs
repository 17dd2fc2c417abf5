//! `builtin:turn`: an app of sessions that does what the turn's input says.
//!
//! The keys of the input, all optional; what is not here is part of nothing:
//!
//! * `sleep_ms`: so long before anything else;
//! * `refuse`, `fail`: an answer of this status, and nothing more; `crash`: the process ends, `"middle"`
//!   after the events; `hang`: it never goes on, after the events;
//! * `record`, a value or several in an array: events; `text`: its words as deltas; `pieces`: so many
//!   deltas of its own instead, of `piece_bytes` each; `piece_ms`: so long after each of them;
//! * `form`: `json`, `ndjson` or `sse`, the default where there are events;
//! * `cut`: the answer ends before its outcome, `garbage`: something that is no JSON stands in its place,
//!   `error`: an error event with what this object says;
//! * `attempts`: all that goes wrong does so up to this attempt of the turn only;
//! * `park`: the wait that the turn ends with, `contended`: the number; else it is finished, with
//!   `output`, which is `{"text","turns"}` by default, `wake` where there was one, and with `about` also
//!   what the worker was told: `{"worker","session","turn","attempt","fields"}`; `bare`: this value is the
//!   whole answer;
//! * `state`: what is kept. By default it is `{"turns"}`, which counts those that ended so, with `then` where
//!   that is said: the input of the next turn that has an empty one, as those of timers have;
//!   `state_bytes`: with padding; `keep`: nothing is said of it.
//!
//! Other requests are answered with what they are, as by `builtin:hello`.

use super::{hello, own_name};
use crate::request::Request;
use crate::response::{Response, Writer};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    let own = |name| request.field(name).and_then(|value| std::str::from_utf8(value).ok());
    if own("Rip-Edge") != Some("turn") {
        return hello::answer(request);
    }
    let attempt = own("Rip-Turn-Attempt").and_then(|text| text.parse().ok()).unwrap_or(1);
    let told = json!({
        "worker": own_name(),
        "session": own("Rip-Session-Id"),
        "turn": own("Rip-Turn").and_then(|text| text.parse::<u64>().ok()),
        "attempt": attempt,
        "fields": request.fields()
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect::<Vec<_>>(),
    });
    let Ok(body) = request.bytes() else { return Response::status(400) };
    match Script::read(&body, attempt) {
        Some(script) => script.play(&told),
        None => Response::text("that is no turn\n").with_status(500),
    }
}

/// What is to be done, and what was kept of the turns before.
struct Script {
    input: Map<String, Value>,
    state: Value,
    wake: Option<Value>,
    /// It goes wrong as it says.
    is_bad: bool,
}

impl Script {
    fn read(body: &[u8], attempt: u64) -> Option<Self> {
        let Value::Object(mut body) = serde_json::from_slice(body).ok()? else { return None };
        let Value::Object(mut input) = body.remove("input")? else { return None };
        let state = body.remove("state")?;
        if let (true, Some(Value::Object(then))) = (input.is_empty(), state.get("then")) {
            input.clone_from(then);
        }
        let is_bad =
            input.get("attempts").and_then(Value::as_u64).is_none_or(|most| attempt <= most);
        Some(Self { input, state, wake: body.remove("wake"), is_bad })
    }

    fn play(self, told: &Value) -> Response {
        std::thread::sleep(Duration::from_millis(self.number("sleep_ms").unwrap_or(0)));
        for kind in ["refuse", "fail"] {
            if let Some(status) = self.fault(kind).and_then(Value::as_u64) {
                let status = u16::try_from(status).unwrap_or(500).clamp(200, 599);
                let body = json!({ "error": format!("to {kind} was asked for") }).to_string();
                return Response::bytes("application/json", body.into_bytes()).with_status(status);
            }
        }
        let crash = self.fault("crash").cloned();
        if crash.as_ref().is_some_and(|crash| crash != "middle") {
            end();
        }
        let (events, form) = (self.events(), self.form());
        let last = self.last(told);
        let pause = Duration::from_millis(self.number("piece_ms").unwrap_or(0));
        let ending = match () {
            () if crash.is_some() => Ending::Crash,
            () if self.fault("hang").is_some() => Ending::Hang,
            () if self.fault("cut").is_some() => Ending::Cut,
            () if self.fault("garbage").is_some() => Ending::Garbage,
            () => Ending::Whole,
        };
        Response::stream(form.content_type(), move |out| {
            // A whole answer has no events.
            let events = events.into_iter().filter(|_| form != Form::Json);
            for event in events {
                form.write(out, &event.to_string())?;
                out.flush()?;
                std::thread::sleep(pause);
            }
            let last = last.to_string();
            match ending {
                Ending::Whole => form.write(out, &last),
                Ending::Garbage => form.write(out, "{\"garbage\":"),
                Ending::Crash => end(),
                Ending::Hang => loop {
                    std::thread::park();
                },
                Ending::Cut => {
                    if form == Form::Json {
                        out.write_all(&last.as_bytes()[..last.len() / 2])?;
                    }
                    out.flush()?;
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
            }
        })
        .field("Worker", own_name())
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.input.get(key)?.as_u64()
    }

    /// What is said of something that goes wrong, unless it is over with that.
    fn fault(&self, key: &str) -> Option<&Value> {
        let wanted = |said: &&Value| **said != Value::Null && **said != Value::Bool(false);
        self.input.get(key).filter(|_| self.is_bad).filter(wanted)
    }

    fn events(&self) -> Vec<Value> {
        let records = match self.input.get("record") {
            Some(Value::Array(records)) => records.clone(),
            Some(record) => vec![record.clone()],
            None => Vec::new(),
        };
        let records = records.iter().map(|record| json!({ "type": "record", "record": record }));
        let delta = |text: &str| json!({ "type": "delta", "text": text });
        let deltas: Vec<Value> = match (self.number("pieces"), self.text()) {
            (Some(count), _) => {
                let padding = self.number("piece_bytes").unwrap_or(0).min(MOST_BYTES);
                let padding = "x".repeat(usize::try_from(padding).unwrap_or(0));
                (1..=count).map(|number| delta(&format!("{number} {padding}"))).collect()
            }
            (None, Some(text)) => text.split_inclusive(' ').map(delta).collect(),
            (None, None) => Vec::new(),
        };
        records.chain(deltas).collect()
    }

    fn text(&self) -> Option<&str> {
        self.input.get("text")?.as_str()
    }

    fn form(&self) -> Form {
        let has_events =
            ["record", "text", "pieces"].iter().any(|key| self.input.contains_key(*key));
        match self.input.get("form").and_then(Value::as_str) {
            Some("json") => Form::Json,
            Some("ndjson") => Form::Lines,
            Some(_) => Form::Events,
            None if has_events => Form::Events,
            None => Form::Json,
        }
    }

    /// What the answer ends with.
    fn last(&self, told: &Value) -> Value {
        if let Some(Value::Object(error)) = self.fault("error") {
            let mut event = error.clone();
            event.insert("type".to_owned(), "error".into());
            return event.into();
        }
        if let Some(bare) = self.input.get("bare") {
            return bare.clone();
        }
        let mut outcome = Map::new();
        let mut put = |key: &str, value: Value| outcome.insert(key.to_owned(), value);
        if self.form() != Form::Json {
            put("type", "outcome".into());
        }
        if let Some(current) = self.fault("contended") {
            put("status", "contended".into());
            put("current", current.clone());
            return outcome.into();
        }
        match self.input.get("park") {
            Some(wait) => {
                put("status", "parked".into());
                put("wait", wait.clone());
            }
            None => {
                put("status", "finished".into());
                put("output", self.output(told));
            }
        }
        if self.fault("keep").is_none() {
            put("state", self.next_state());
        }
        outcome.into()
    }

    fn output(&self, told: &Value) -> Value {
        if let Some(output) = self.input.get("output") {
            return output.clone();
        }
        let mut output = json!({ "text": self.text().unwrap_or_default(), "turns": self.turns() });
        if let Some(wake) = &self.wake {
            output["wake"] = wake.clone();
        }
        if self.input.get("about") == Some(&Value::Bool(true)) {
            output["about"] = told.clone();
        }
        output
    }

    /// Those that ended well, with this one.
    fn turns(&self) -> u64 {
        self.state.get("turns").and_then(Value::as_u64).unwrap_or(0).saturating_add(1)
    }

    fn next_state(&self) -> Value {
        if let Some(state) = self.input.get("state") {
            return state.clone();
        }
        let mut state = json!({ "turns": self.turns() });
        if let Some(then) = self.input.get("then") {
            state["then"] = then.clone();
        }
        if let Some(count) = self.number("state_bytes") {
            let padding = "x".repeat(usize::try_from(count.min(MOST_BYTES)).unwrap_or(0));
            state["padding"] = padding.into();
        }
        state
    }
}

/// How an answer ends.
enum Ending {
    Whole,
    Garbage,
    Cut,
    Crash,
    Hang,
}

/// How an answer is written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Json,
    Lines,
    Events,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn write(self, out: &mut Writer<'_>, text: &str) -> io::Result<()> {
        match self {
            Self::Json => out.write_all(text.as_bytes()),
            Self::Lines => writeln!(out, "{text}"),
            Self::Events => write!(out, "data: {text}\n\n"),
        }
    }
}

fn end() -> ! {
    eprintln!("crashing as asked");
    std::process::exit(1)
}

/// Padding at most: more than anything may have.
const MOST_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn script(input: Value, state: Value, attempt: u64) -> Script {
        let body = json!({ "input": input, "state": state }).to_string();
        Script::read(body.as_bytes(), attempt).unwrap()
    }

    fn last(input: Value, state: Value) -> Value {
        script(input, state, 1).last(&Value::Null)
    }

    #[test]
    fn turns_are_counted_in_the_state() {
        let first = last(json!({}), Value::Null);
        assert_eq!(
            first,
            json!({"status":"finished","output":{"text":"","turns":1},"state":{"turns":1}})
        );
        let second = last(json!({"text":"a b"}), first["state"].clone());
        assert_eq!(second["output"], json!({"text":"a b","turns":2}));
        assert_eq!(second["type"], "outcome");
        assert_eq!(last(json!({"state":null}), Value::Null)["state"], Value::Null);
        assert_eq!(last(json!({"keep":true}), Value::Null).get("state"), None);
    }

    #[test]
    fn events_are_records_and_then_words_or_pieces() {
        let events = script(json!({"record":[1],"text":"a bc"}), Value::Null, 1).events();
        let texts: Vec<_> = events.iter().map(|event| event["text"].as_str()).collect();
        assert_eq!(texts, [None, Some("a "), Some("bc")]);
        let pieces = script(json!({"pieces":2,"piece_bytes":3}), Value::Null, 1).events();
        assert_eq!(pieces[1], json!({"type":"delta","text":"2 xxx"}));
    }

    #[test]
    fn what_goes_wrong_may_be_over() {
        let input = json!({"contended":7,"attempts":2});
        for (attempt, status) in [(1, "contended"), (2, "contended"), (3, "finished")] {
            let last = script(input.clone(), Value::Null, attempt).last(&Value::Null);
            assert_eq!(last["status"], status, "{attempt}");
        }
    }

    #[test]
    fn an_empty_input_is_what_was_kept_for_it() {
        let parked = last(json!({"park":{"id":"w"},"then":{"output":5}}), Value::Null);
        assert_eq!((&parked["status"], &parked["wait"]), (&"parked".into(), &json!({"id":"w"})));
        assert_eq!(last(json!({}), parked["state"].clone())["output"], 5);
        assert_eq!(last(json!({"text":"x"}), parked["state"].clone())["output"]["turns"], 2);
    }

    #[test]
    fn what_is_no_turn_is_none() {
        for body in ["", "[]", "{}", r#"{"input":1,"state":null}"#, r#"{"input":{}}"#] {
            assert!(Script::read(body.as_bytes(), 1).is_none(), "{body}");
        }
    }
}
