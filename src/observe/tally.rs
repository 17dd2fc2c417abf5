//! Exchanges that have ended: which app, which method, which status, how long.
//!
//! Each loop counts for itself; who reads adds them up. Labels are bounded whatever clients send:
//! apps and upstreams are those of the configuration, methods those of the standard and `other`,
//! statuses have three digits.

use super::spread::Spread;
use super::timings::Timings;
use crate::http1::method::Method;
use std::collections::BTreeMap;
use std::time::Duration;

/// One exchange that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Done<'a> {
    /// The app or upstream it was for; empty for none.
    pub app: &'a str,
    /// Its method; a request without any has [`Method::Other`].
    pub method: Method,
    /// The status of its answer.
    pub status: u16,
    /// From the first byte of the request to the last of the answer; `None` for an answer that lasts
    /// as long as its client likes, and so tells nothing of the server.
    pub took: Option<Duration>,
    /// How long it waited for a worker; `None` when it had not to.
    pub waited: Option<Duration>,
}

/// Exchanges that have ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// By app or upstream; the empty name is for what was for none.
    pub apps: BTreeMap<Box<str>, AppTally>,
    /// How long they took.
    pub latency: Spread,
    /// How long those waited that had to.
    pub waits: Spread,
    /// Those of the last minute.
    pub recent: RecentTally,
}

/// Exchanges of one app.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AppTally {
    /// By method and status.
    pub answers: BTreeMap<(usize, u16), u64>,
    /// How long they took.
    pub latency: Timings,
    /// How long those waited that had to.
    pub waits: Timings,
}

/// Exchanges of the last minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecentTally {
    /// All of them.
    pub requests: u64,
    /// Those that were answered with 5xx.
    pub errors: u64,
    /// How long they took.
    pub latency: Spread,
    /// How much time that is, in seconds.
    pub seconds: f64,
}

impl Tally {
    /// Exchanges by the first digit of their status: the first number is that of 1xx.
    pub fn classes(&self) -> [u64; CLASS_COUNT] {
        let mut classes = [0; CLASS_COUNT];
        for (&(_, status), count) in self.apps.values().flat_map(|app| &app.answers) {
            classes[class_of(status)] += count;
        }
        classes
    }

    /// Counts one more; the last minute is not kept.
    pub fn add(&mut self, done: &Done<'_>) {
        let app = match self.apps.get_mut(done.app) {
            Some(app) => app,
            None => self.apps.entry(done.app.into()).or_default(),
        };
        *app.answers.entry((label_of(done.method), sane_status(done.status))).or_default() += 1;
        if let Some(took) = done.took {
            app.latency.add(took);
            self.latency.add(took);
        }
        if let Some(waited) = done.waited {
            app.waits.add(waited);
            self.waits.add(waited);
        }
    }
}

/// Values of the label `method`, by [`label_of`].
pub const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "other"];

/// Where a method stands in [`METHODS`].
pub const fn label_of(method: Method) -> usize {
    match method {
        Method::Connect => 0,
        Method::Delete => 1,
        Method::Get => 2,
        Method::Head => 3,
        Method::Options => 4,
        Method::Patch => 5,
        Method::Post => 6,
        Method::Put => 7,
        Method::Trace => 8,
        Method::Other => 9,
    }
}

/// Classes of statuses, 1xx to 5xx.
pub const CLASS_COUNT: usize = 5;

/// A status outside 100 to 599 is the server's own mistake.
const fn class_of(status: u16) -> usize {
    match status {
        100..=599 => status as usize / 100 - 1,
        _ => CLASS_COUNT - 1,
    }
}

/// What is counted for `status`: a status of other than three digits is the server's own mistake.
pub const fn sane_status(status: u16) -> u16 {
    match status {
        100..=999 => status,
        _ => 500,
    }
}

/// An answer that lasts as long as its client likes: WebSocket, a tunnel, an event stream.
pub fn is_endless(status: u16, media_type: &[u8]) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    // Asked of every answer: most are told by one letter.
    let may_be = media_type.get(5).is_some_and(|letter| letter | 0x20 == b'e');
    let stream = media_type.get(..EVENT_STREAM.len()).filter(|_| may_be);
    status == 101 || stream.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_labels_of_their_own() {
        for (index, name) in METHODS.into_iter().enumerate() {
            assert_eq!(label_of(Method::of(name.as_bytes())), index, "{name}");
        }
    }

    #[test]
    fn exchanges_are_counted_by_what_they_were() {
        let mut tally = Tally::default();
        let done = Done {
            app: "api",
            method: Method::Get,
            status: 200,
            took: Some(Duration::from_millis(4)),
            waited: None,
        };
        tally.add(&done);
        tally.add(&Done { waited: Some(Duration::from_millis(3)), ..done });
        tally.add(&Done { app: "", status: 404, ..done });
        tally.add(&Done { status: 101, took: None, ..done });
        tally.add(&Done { status: 0, method: Method::Other, ..done });
        assert_eq!(tally.classes(), [1, 2, 0, 1, 1]);
        assert_eq!(tally.apps["api"].answers[&(2, 200)], 2);
        assert_eq!(tally.apps["api"].answers[&(9, 500)], 1);
        assert_eq!((tally.latency.count(), tally.waits.count()), (4, 1));
        assert_eq!(tally.apps["api"].waits.count(), 1);
    }

    #[test]
    fn what_lasts_as_long_as_clients_like_is_known() {
        assert!(is_endless(101, b""));
        assert!(is_endless(200, b"text/event-stream"));
        assert!(is_endless(200, b"Text/Event-Stream; charset=utf-8"));
        assert!(!is_endless(200, b"text/html"));
    }
}
