//! What the followers of `GET /events` are told: events with numbers that only grow, and the last
//! of them kept for whoever asks later.

use super::server::Answer;
use crate::shared::door::JSON;
use rip::contract::event::Event;
use rip::limits::RECENT_EVENT_COUNT;
use rip::observe::line;
use rip::time::UnixMillis;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt::Write;

/// The events so far.
#[derive(Debug, Default)]
pub struct Feed {
    last_id: u64,
    /// Newest last, without a gap.
    recent: VecDeque<Told>,
}

/// An event as it is told.
#[derive(Debug)]
struct Told {
    id: u64,
    name: String,
    json: String,
}

impl Feed {
    /// Numbers and keeps an event; the frame its followers get.
    pub fn tell(&mut self, event: &Event, at: UnixMillis) -> Vec<u8> {
        let mut text = Vec::new();
        line::write_json(event, at, &mut text);
        let json = String::from_utf8_lossy(&text).trim_end().to_owned();
        let parsed: Option<Value> = serde_json::from_str(&json).ok();
        let name = parsed.as_ref().and_then(|event| event["event"].as_str()).unwrap_or_default();
        self.last_id += 1;
        let told = Told { id: self.last_id, name: name.to_owned(), json };
        let frame = told.frame();
        if self.recent.len() >= RECENT_EVENT_COUNT {
            self.recent.pop_front();
        }
        self.recent.push_back(told);
        frame
    }

    /// The last event: its number, and the event as JSON.
    pub fn newest(&self) -> Option<(u64, &str)> {
        self.recent.back().map(|told| (told.id, told.json.as_str()))
    }

    /// How a stream begins for a follower that has seen every event up to `seen`; `None` begins
    /// with the next one. A number this master never gave belongs to another one.
    pub fn greeting(&self, seen: Option<u64>) -> Vec<u8> {
        let mut out = b": connected\n\n".to_vec();
        let Some(seen) = seen else { return out };
        let seen = if seen > self.last_id { 0 } else { seen };
        if let Some(first) = self.recent.front().filter(|first| first.id > seen + 1) {
            let mut gap = String::new();
            // Writing to a string cannot fail.
            let _ = write!(gap, ": {} events are not kept any more\n\n", first.id - seen - 1);
            out.extend_from_slice(gap.as_bytes());
        }
        for told in self.recent.iter().filter(|told| told.id > seen) {
            out.extend_from_slice(&told.frame());
        }
        out
    }

    /// The events that are kept, and who follows.
    pub fn recent(&self, followers: usize, dropped: u64) -> Answer {
        let events: Vec<_> = self.recent.iter().map(|told| told.json.as_str()).collect();
        let body = format!(
            "{{\"ok\":true,\"lastId\":{},\"followers\":{followers},\"droppedFollowers\":{dropped},\
             \"events\":[{}]}}",
            self.last_id,
            events.join(",")
        );
        Answer::of(200, JSON, body.into_bytes())
    }
}

impl Told {
    fn frame(&self) -> Vec<u8> {
        format!("id: {}\nevent: {}\ndata: {}\n\n", self.id, self.name, self.json).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(cut: u64) -> Event {
        Event::ServerStop { reason: "api".to_owned(), cut }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn an_event_is_a_frame_with_a_number() {
        let mut feed = Feed::default();
        feed.tell(&stop(0), UnixMillis(0));
        let frame = text(feed.tell(&stop(1), UnixMillis(0)));
        assert!(frame.starts_with("id: 2\nevent: server_stop\ndata: {\"t\":"), "{frame}");
        assert!(frame.ends_with("\"cut\":1}\n\n"), "{frame}");
        assert!(feed.newest().is_some_and(|(id, json)| id == 2 && json.ends_with("\"cut\":1}")));
        let answer = feed.recent(3, 1);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["lastId"], 2);
        assert_eq!((&body["followers"], &body["droppedFollowers"]), (&3.into(), &1.into()));
        assert_eq!(body["events"][1]["cut"], 1);
    }

    #[test]
    fn who_comes_back_is_told_what_was_missed_and_what_is_lost() {
        let mut feed = Feed::default();
        for cut in 0..RECENT_EVENT_COUNT as u64 + 10 {
            feed.tell(&stop(cut), UnixMillis(0));
        }
        assert_eq!(text(feed.greeting(None)), ": connected\n\n");
        let last = RECENT_EVENT_COUNT as u64 + 10;
        let missed = text(feed.greeting(Some(last - 2)));
        assert_eq!(missed.matches("id: ").count(), 2, "{missed}");
        let lost = text(feed.greeting(Some(4)));
        assert!(lost.contains(": 6 events are not kept any more\n\n"), "{lost}");
        assert_eq!(lost.matches("id: ").count(), RECENT_EVENT_COUNT);
        let stranger = text(feed.greeting(Some(last + 1)));
        assert_eq!(stranger.matches("id: ").count(), RECENT_EVENT_COUNT);
        assert!(!text(feed.greeting(Some(last))).contains("id: "));
    }
}
