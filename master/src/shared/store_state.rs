//! How the store of sessions is, for who asks on the control socket.

use crate::reactor::mailbox::Sender;
use crate::shared::mail::ControlMessage;

/// How the store is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreState {
    /// It does what is ordered.
    Open,
    /// It is open, and could not do everything lately, for this reason.
    Failing(&'static str),
    /// It is not open, for this reason, and refuses everything.
    Shut(&'static str),
}

impl StoreState {
    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Failing(_) => "failing",
            Self::Shut(_) => "shut",
        }
    }

    /// Why it is not as it should be.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Failing(reason) | Self::Shut(reason) => Some(reason),
        }
    }
}

/// Nobody has opened it yet.
impl Default for StoreState {
    fn default() -> Self {
        Self::Shut("closed")
    }
}

/// The question how many sessions are in the store.
#[derive(Clone)]
pub struct CountAsk {
    /// Who asks.
    pub control: Sender<ControlMessage>,
    /// What the answer is for.
    pub ticket: u64,
}

impl CountAsk {
    /// There are `sessions`; `None`: the store cannot tell.
    pub fn answer(self, sessions: Option<u64>) {
        self.control.send(ControlMessage::SessionsCounted { ticket: self.ticket, sessions });
    }
}
