//! How a turn ends, in the words of app and client.

use super::id::SessionId;
use super::json::{Members, Object, compact};
use super::moment;
use crate::time::UnixMillis;

/// What an app says came of a turn, or what a cancellation made of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Done: it commits.
    Finished {
        /// JSON.
        output: String,
    },
    /// The session waits for something: it commits.
    Parked {
        /// A JSON object: `{id, reason, message?, responseSchema?, expiresAt?, until?}`.
        wait: String,
        /// `until` in it: when the master runs a turn by itself.
        until: Option<UnixMillis>,
    },
    /// Somebody else was faster, says the app: nothing changes.
    Contended {
        /// A JSON number.
        current: String,
    },
    /// It was cancelled: nothing changes.
    Cancelled,
}

impl Outcome {
    /// The turn is committed by it, and its token used up.
    pub const fn commits(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Parked { .. })
    }

    /// Its name on the wire.
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Finished { .. } => "finished",
            Self::Parked { .. } => "parked",
            Self::Contended { .. } => "contended",
            Self::Cancelled => "cancelled",
        }
    }

    /// What `members`, an object of the app with a `status`, say; an error says what is wrong.
    pub(super) fn read(members: &Members<'_>) -> Result<Self, &'static str> {
        match members.text("status").as_deref() {
            Some("finished") => {
                Ok(Self::Finished { output: compact(members.get("output").unwrap_or("null")) })
            }
            Some("parked") => {
                let wait = members.get("wait").unwrap_or_default();
                let inner = Members::read(wait).ok_or("`wait` of a parked turn is no object")?;
                let until = match inner.some("until") {
                    None => None,
                    Some(_) => {
                        let text = inner.text("until").unwrap_or_default();
                        Some(moment::parse(&text).ok_or("`until` is no RFC 3339 time")?)
                    }
                };
                Ok(Self::Parked { wait: compact(wait), until })
            }
            Some("contended") => {
                let current = members.get("current").unwrap_or_default();
                let is_number = serde_json::from_str::<serde_json::Number>(current).is_ok();
                if !is_number {
                    return Err("`current` of a contended turn is no number");
                }
                Ok(Self::Contended { current: current.to_owned() })
            }
            _ => Err("`status` is none of finished, parked, contended"),
        }
    }

    /// Adds what the client gets: `sessionId`, `status` and what belongs to it.
    pub(super) fn write(&self, session: SessionId, object: Object) -> Object {
        let object =
            object.plain("sessionId", format_args!("\"{session}\"")).text("status", self.status());
        match self {
            Self::Finished { output } => object.json("output", output),
            Self::Parked { wait, .. } => object.json("wait", wait),
            Self::Contended { current } => object.json("current", current),
            Self::Cancelled => object,
        }
    }

    /// What the app is told when the master itself wakes the session: `{"id","until"}` of the wait.
    pub(super) fn wake(&self) -> Option<String> {
        let Self::Parked { wait, .. } = self else { return None };
        let members = Members::read(wait)?;
        let add = |object: Object, name| match members.get(name) {
            Some(value) => object.json(name, value),
            None => object,
        };
        Some(add(add(Object::new(), "id"), "until").end())
    }
}

/// What the app wants kept for the next turn.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum State {
    /// As it was: the app said nothing.
    #[default]
    Same,
    /// This JSON; `null` is none.
    New(String),
}

impl State {
    /// What `members` say.
    pub(super) fn read(members: &Members<'_>) -> Self {
        members.get("state").map_or(Self::Same, |state| Self::New(compact(state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Outcome, &'static str> {
        Outcome::read(&Members::read(text).unwrap())
    }

    fn written(outcome: &Outcome) -> String {
        outcome.write(SessionId::new([0; 16]), Object::new()).end()
    }

    #[test]
    fn outcomes_are_read_and_told() {
        let id = "\"sessionId\":\"s_00000000000000000000000000000000\"";
        for (text, commits, told) in [
            (
                "{\"status\":\"finished\",\"output\":{ \"a\": 1.50 }}",
                true,
                "\"status\":\"finished\",\"output\":{\"a\":1.50}",
            ),
            ("{\"status\":\"finished\"}", true, "\"status\":\"finished\",\"output\":null"),
            (
                "{\"wait\":{\"id\": \"w\"},\"status\":\"parked\"}",
                true,
                "\"status\":\"parked\",\"wait\":{\"id\":\"w\"}",
            ),
            (
                "{\"status\":\"contended\",\"current\":12}",
                false,
                "\"status\":\"contended\",\"current\":12",
            ),
        ] {
            let outcome = read(text).unwrap();
            assert_eq!(outcome.commits(), commits, "{text}");
            assert_eq!(written(&outcome), format!("{{{id},{told}}}"));
        }
        assert!(!Outcome::Cancelled.commits());
        assert_eq!(written(&Outcome::Cancelled), format!("{{{id},\"status\":\"cancelled\"}}"));
    }

    #[test]
    fn nonsense_is_named() {
        for text in [
            "{\"status\":\"done\"}",
            "{\"status\":200}",
            "{\"status\":\"cancelled\"}",
            "{\"status\":\"parked\"}",
            "{\"status\":\"parked\",\"wait\":[]}",
            "{\"status\":\"parked\",\"wait\":{\"until\":\"tomorrow\"}}",
            "{\"status\":\"parked\",\"wait\":{\"until\":5}}",
            "{\"status\":\"contended\"}",
            "{\"status\":\"contended\",\"current\":\"1\"}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wait_may_have_an_end() {
        let parked = read(
            "{\"status\":\"parked\",\"wait\":{\"id\":\"w1\",\"x\":0,\"until\":\"1970-01-01T00:00:01Z\"}}",
        );
        let parked = parked.unwrap();
        assert!(matches!(parked, Outcome::Parked { until: Some(UnixMillis(1000)), .. }));
        let wake = parked.wake();
        assert_eq!(wake.as_deref(), Some("{\"id\":\"w1\",\"until\":\"1970-01-01T00:00:01Z\"}"));
        let forever = read("{\"status\":\"parked\",\"wait\":{\"until\":null}}").unwrap();
        assert!(matches!(forever, Outcome::Parked { until: None, .. }));
        assert_eq!(Outcome::Cancelled.wake(), None);
    }

    #[test]
    fn state_that_is_not_named_stays() {
        let state = |text| State::read(&Members::read(text).unwrap());
        assert_eq!(state("{}"), State::Same);
        assert_eq!(state("{\"state\":null}"), State::New("null".into()));
        assert_eq!(state("{\"state\": [ 1 ]}"), State::New("[1]".into()));
    }
}
