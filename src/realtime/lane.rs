//! One client's messages on their way to the app: strictly in order, one request at a time.
//!
//! ```text
//!              opened                  next: a message
//!   Opening ──────────▶ Idle ──────────────────────────▶ Busy
//!      │                 │ ▲           answered           │
//!      │ refused         │ └──────────────────────────────┘
//!      │                 │ next: closed, and nothing waits
//!      │                 ▼     answered
//!      └──────────────▶ Over ◀────────── Last
//! ```
//!
//! Whoever closes, and however often: what the client sent before is posted first, then `close`,
//! once. What it sends afterwards is ignored. Before `open` is answered nothing is posted; a client
//! that is refused is never closed, one that left in the meantime is.

use crate::limits::{LANE_BYTES, LANE_MESSAGE_COUNT};
use std::collections::VecDeque;

/// What of one client waits to be posted.
#[derive(Debug)]
pub struct Lane {
    stage: Stage,
    waiting: VecDeque<Post>,
    waiting_bytes: usize,
    /// How it was closed first; taken when `close` is posted.
    closed: Option<Post>,
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// `open` is in flight.
    Opening,
    /// Nothing is in flight.
    Idle,
    /// A message is in flight.
    Busy,
    /// `close` is in flight.
    Last,
    Over,
}

/// One request to the app.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Post {
    /// A text message. It is UTF-8.
    Text(Vec<u8>),
    /// A binary message.
    Binary(Vec<u8>),
    /// The connection is over, or is about to be.
    Close {
        /// RFC 6455 §7.4; 1005 when there was none, 1006 when the connection was lost.
        code: u16,
        /// As whoever closed has it.
        reason: Box<str>,
    },
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Accepted {
    /// It will be posted.
    Yes,
    /// Too much waits already. It is dropped, and the client is to be closed with 1013.
    Overflow,
    /// The connection is closing: it is dropped.
    Ignored,
}

impl Lane {
    /// The lane of a client whose `open` is in flight.
    pub fn new() -> Self {
        Self {
            stage: Stage::Opening,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            closed: None,
            is_closing: false,
        }
    }

    /// `open` was answered with 2xx.
    pub fn opened(&mut self) {
        if self.stage == Stage::Opening {
            self.stage = Stage::Idle;
        }
        self.check();
    }

    /// `open` was answered otherwise, or not at all: the client was never there.
    pub fn refused(&mut self) {
        if self.stage == Stage::Opening {
            self.end();
        }
        self.check();
    }

    /// The client sent a message: [`Post::Text`] or [`Post::Binary`].
    pub fn message(&mut self, message: Post) -> Accepted {
        if self.is_closing || self.stage == Stage::Over {
            return Accepted::Ignored;
        }
        if !self.has_room_for(&message) {
            return Accepted::Overflow;
        }
        self.waiting_bytes += message.byte_count();
        self.waiting.push_back(message);
        self.check();
        Accepted::Yes
    }

    /// Whether a message would not overflow.
    pub fn has_room_for(&self, message: &Post) -> bool {
        let bytes = message.byte_count();
        self.waiting.is_empty()
            || (self.waiting.len() < LANE_MESSAGE_COUNT && self.waiting_bytes + bytes <= LANE_BYTES)
    }

    /// The connection is over, or is about to be, whoever wanted it. Only the first call counts.
    pub fn close(&mut self, code: u16, reason: &str) {
        if !self.is_closing && self.stage != Stage::Over {
            self.is_closing = true;
            self.closed = Some(Post::Close { code, reason: reason.into() });
        }
        self.check();
    }

    /// The request to make now, which then is in flight; `None` while one is, and when there is none.
    pub fn next_post(&mut self) -> Option<Post> {
        if self.stage != Stage::Idle {
            return None;
        }
        let post = match self.waiting.pop_front() {
            Some(message) => {
                self.waiting_bytes -= message.byte_count();
                self.stage = Stage::Busy;
                if self.waiting.is_empty() {
                    // An idle client keeps no memory.
                    self.waiting = VecDeque::new();
                }
                Some(message)
            }
            None => {
                let close = self.closed.take();
                if close.is_some() {
                    self.stage = Stage::Last;
                }
                close
            }
        };
        self.check();
        post
    }

    /// The request in flight is over, and what its answer said is done.
    pub fn answered(&mut self) {
        match self.stage {
            Stage::Busy => self.stage = Stage::Idle,
            Stage::Last => self.end(),
            Stage::Opening | Stage::Idle | Stage::Over => {}
        }
        self.check();
    }

    /// Nothing more is posted: the server ends. How many requests were still to be made, `close`
    /// among them.
    pub fn abandon(&mut self) -> usize {
        let close_count = match self.stage {
            Stage::Idle | Stage::Busy => 1,
            Stage::Opening | Stage::Last | Stage::Over => 0,
        };
        let count = self.waiting.len() + close_count;
        self.end();
        self.check();
        count
    }

    /// Whether there is nothing to come.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether somebody closed.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Messages that wait, without the one in flight.
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }

    /// Panics when the lane contradicts itself. Every mutation does this in debug builds.
    pub fn check_invariants(&self) {
        let bytes: usize = self.waiting.iter().map(Post::byte_count).sum();
        assert_eq!(bytes, self.waiting_bytes, "bytes are miscounted");
        assert!(self.waiting.len() <= LANE_MESSAGE_COUNT, "too many wait");
        assert!(self.waiting.len() <= 1 || bytes <= LANE_BYTES, "too much waits");
        assert!(self.closed.is_none() || self.is_closing, "closed by nobody");
        if matches!(self.stage, Stage::Last | Stage::Over) {
            assert!(
                self.waiting.is_empty() && self.closed.is_none(),
                "something comes after the end"
            );
        } else {
            assert_eq!(self.closed.is_some(), self.is_closing, "a close is lost");
        }
    }

    fn end(&mut self) {
        *self = Self { stage: Stage::Over, is_closing: self.is_closing, ..Self::new() };
    }

    #[inline]
    fn check(&self) {
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self::new()
    }
}

impl Post {
    /// `Sec-WebSocket-Frame`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
            Self::Close { .. } => "close",
        }
    }

    /// `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "text/plain; charset=utf-8",
            Self::Binary(_) => "application/octet-stream",
            Self::Close { .. } => "application/json",
        }
    }

    /// The request's body.
    pub fn into_body(self) -> Vec<u8> {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
            Self::Close { code, reason } => {
                serde_json::json!({ "code": code, "reason": reason }).to_string().into_bytes()
            }
        }
    }

    fn byte_count(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::Close { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    fn text(text: &str) -> Post {
        Post::Text(text.into())
    }

    fn close(code: u16) -> Post {
        Post::Close { code, reason: "why".into() }
    }

    fn open() -> Lane {
        let mut lane = Lane::new();
        lane.opened();
        lane
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let mut lane = Lane::new();
        assert_eq!(lane.message(text("early")), Accepted::Yes);
        assert_eq!(lane.next_post(), None, "open is in flight");
        lane.opened();
        assert_eq!(lane.message(Post::Binary(vec![1])), Accepted::Yes);
        assert_eq!(lane.next_post(), Some(text("early")));
        assert_eq!(lane.next_post(), None);
        assert_eq!(lane.depth(), 1);
        lane.answered();
        assert_eq!(lane.next_post(), Some(Post::Binary(vec![1])));
        lane.answered();
        lane.answered();
        assert_eq!(lane.next_post(), None);
        assert!(!lane.is_over());
    }

    #[test]
    fn close_comes_last_and_once() {
        let mut lane = open();
        assert_eq!(lane.message(text("a")), Accepted::Yes);
        assert_eq!(lane.message(text("b")), Accepted::Yes);
        assert_eq!(lane.next_post(), Some(text("a")));
        lane.close(1001, "why");
        lane.close(4000, "too late");
        assert_eq!(lane.message(text("c")), Accepted::Ignored);
        lane.answered();
        assert_eq!(lane.next_post(), Some(text("b")));
        lane.answered();
        assert_eq!(lane.next_post(), Some(close(1001)));
        lane.close(1006, "again");
        assert_eq!(lane.next_post(), None);
        assert!(!lane.is_over());
        lane.answered();
        assert!(lane.is_over());
        lane.close(1006, "again");
        lane.opened();
        assert_eq!((lane.next_post(), lane.message(text("d"))), (None, Accepted::Ignored));
    }

    #[test]
    fn who_leaves_while_open_is_in_flight_is_closed_only_if_it_was_there() {
        let mut lane = Lane::new();
        lane.close(1006, "why");
        assert_eq!(lane.next_post(), None);
        lane.opened();
        assert_eq!(lane.next_post(), Some(close(1006)));
        let mut lane = Lane::new();
        lane.close(1006, "why");
        lane.refused();
        assert!(lane.is_over());
        assert_eq!(lane.next_post(), None);
    }

    #[test]
    fn what_waits_is_bounded_by_number() {
        let mut lane = open();
        for _ in 0..LANE_MESSAGE_COUNT {
            assert_eq!(lane.message(text("")), Accepted::Yes);
        }
        assert_eq!(lane.message(text("")), Accepted::Overflow);
        assert!(lane.next_post().is_some());
        assert_eq!(lane.message(text("")), Accepted::Yes);
        lane.close(1013, "why");
        let mut posted = 1;
        loop {
            lane.answered();
            let Some(post) = lane.next_post() else { break };
            posted += 1;
            assert_eq!(post == close(1013), posted == LANE_MESSAGE_COUNT + 2);
        }
        assert_eq!(posted, LANE_MESSAGE_COUNT + 2);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_but_one_message_always_may() {
        let mut lane = open();
        assert_eq!(lane.message(Post::Binary(vec![0; 2 * LANE_BYTES])), Accepted::Yes);
        assert_eq!(lane.message(text("")), Accepted::Overflow);
        assert!(lane.next_post().is_some());
        assert_eq!(lane.message(Post::Binary(vec![0; LANE_BYTES - 1])), Accepted::Yes);
        assert_eq!(lane.message(text("x")), Accepted::Yes);
        assert_eq!(lane.message(text("x")), Accepted::Overflow);
        assert_eq!(lane.message(text("")), Accepted::Yes);
    }

    #[test]
    fn what_is_cut_at_the_end_is_counted() {
        assert_eq!(Lane::new().abandon(), 0);
        let mut lane = open();
        assert_eq!(lane.abandon(), 1, "its close");
        assert!(lane.is_over());
        assert_eq!(lane.abandon(), 0);
        let mut lane = open();
        assert_eq!(
            (lane.message(text("a")), lane.message(text("b"))),
            (Accepted::Yes, Accepted::Yes)
        );
        assert!(lane.next_post().is_some());
        assert_eq!(lane.abandon(), 2);
        let mut lane = open();
        lane.close(1001, "why");
        assert!(lane.next_post().is_some());
        assert_eq!(lane.abandon(), 0, "it is in flight");
    }

    #[test]
    fn requests_are_told_apart() {
        let close = Post::Close { code: 4001, reason: "\"quoted\"\n".into() };
        assert_eq!((close.word(), close.content_type()), ("close", "application/json"));
        assert_eq!(close.into_body(), br#"{"code":4001,"reason":"\"quoted\"\n"}"#);
        assert_eq!((text("").word(), text("x").into_body()), ("text", b"x".to_vec()));
        assert_eq!(Post::Binary(vec![]).word(), "binary");
    }

    #[test]
    fn whatever_happens_close_is_posted_once_after_all_that_was_accepted() {
        for seed in 0..500 {
            let mut random = Xoshiro::new(seed);
            let mut lane = Lane::new();
            let (mut accepted, mut posted) = (Vec::new(), Vec::new());
            let mut in_flight = false;
            for step in 0..200_u64 {
                match random.below(12) {
                    0..=3 => {
                        let message = Post::Text(step.to_string().into_bytes());
                        if lane.message(message.clone()) == Accepted::Yes {
                            accepted.push(message);
                        }
                    }
                    4..=6 => {
                        let post = lane.next_post();
                        assert!(post.is_none() || !in_flight, "two at a time");
                        in_flight |= post.is_some();
                        posted.extend(post);
                    }
                    7..=9 if in_flight => {
                        lane.answered();
                        in_flight = false;
                    }
                    10 => lane.opened(),
                    _ if random.below(20) == 0 => lane.close(1000 + step as u16, "why"),
                    _ => {}
                }
            }
            lane.opened();
            lane.close(4999, "why");
            while !lane.is_over() {
                posted.extend(lane.next_post());
                lane.answered();
            }
            assert!(matches!(posted.pop(), Some(Post::Close { .. })));
            assert_eq!(posted, accepted, "seed {seed}");
        }
    }
}
