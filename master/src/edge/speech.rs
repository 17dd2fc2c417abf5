//! WebSocket as it is spoken over one client's connection: what the client says, what it is still to
//! be told, whether it is there, and how it ends.
//!
//! ```text
//!             let in             our close, or theirs          both said, or too late
//!  Opening ─────────────▶ Open ────────────────────▶ Closing ────────────────────────▶ Gone
//!     │                    └──────── the connection broke ──────────────────────────────▲
//!     └──────────────────────────── the client left ────────────────────────────────────┘
//! ```
//!
//! What the messages mean is for who speaks it: a client of an app ([`Socket`]), or one of durable
//! sessions ([`Talk`]).
//!
//! [`Socket`]: super::socket::Socket
//! [`Talk`]: super::session_socket::Talk

use super::frames::{Frames, Heard, Violation};
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::entropy::Entropy;
use rip::realtime::Frame;
use rip::realtime::bucket::Bucket;
use rip::realtime::outbox::Outbox;
use rip::realtime::pulse::Pulse;
use rip::time::Instant;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speaker {
    /// A client of an app that speaks HTTP only, or who reads one of its groups.
    Client(Key),
    /// One of durable sessions.
    Talk(Key),
}

/// One side of a conversation: the server's.
pub(super) struct Speech {
    /// The client's connection, while there is one.
    pub(super) front: Option<Key>,
    pub(super) stage: Stage,
    /// The longest message the client may send.
    pub(super) message_bytes: usize,
    pub(super) outbox: Outbox,
    pub(super) bucket: Bucket,
    pub(super) pulse: Pulse,
    frames: Frames,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// It is not known yet whether it may come in.
    Opening,
    Open,
    /// A close frame is on its way to it; with `heard` nothing it says counts any more.
    Closing {
        heard: bool,
    },
    /// Its connection is closed.
    Gone,
}

impl Speech {
    /// With a client whose connection is `front`.
    pub(super) fn new(
        front: Key,
        stage: Stage,
        message_bytes: usize,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        Self {
            front: Some(front),
            stage,
            message_bytes,
            outbox: Outbox::new(),
            bucket: Bucket::new(),
            pulse: Pulse::new(now, entropy),
            frames: Frames::default(),
        }
    }

    /// Reads on in what came.
    pub(super) fn read(&mut self, input: &mut Buffer) -> Result<Option<Heard>, Violation> {
        self.frames.read(input, self.message_bytes)
    }

    /// Says goodbye: nothing follows what the client has been told so far. True if it was open.
    pub(super) fn close(&mut self, code: u16, reason: &str) -> bool {
        if self.stage != Stage::Open {
            return false;
        }
        self.stage = Stage::Closing { heard: false };
        self.frames.closes(self.message_bytes);
        self.outbox.close(Frame::close(code, reason));
        true
    }

    /// The client says goodbye, or answers ours. True if it was open.
    pub(super) fn closed_by_client(&mut self, code: u16, reason: &str) -> bool {
        let was_open = self.stage == Stage::Open;
        if was_open {
            self.outbox.close(Frame::close(code, reason));
        }
        self.stage = Stage::Closing { heard: true };
        was_open
    }

    /// Its connection is closed: what the client was not told any more is let go at once. Returns
    /// where it was.
    pub(super) fn gone(&mut self) -> Stage {
        self.front = None;
        self.outbox = Outbox::new();
        self.frames = Frames::default();
        std::mem::replace(&mut self.stage, Stage::Gone)
    }
}

impl Edge {
    /// What is spoken with `speaker`.
    pub(super) fn speech(&mut self, speaker: Speaker) -> Option<&mut Speech> {
        match speaker {
            Speaker::Client(key) => Some(&mut self.sockets.slab.get_mut(key)?.speech),
            Speaker::Talk(key) => Some(&mut self.sessions.talks.get_mut(key)?.speech),
        }
    }
}
