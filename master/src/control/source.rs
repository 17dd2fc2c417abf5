//! What the main loop is told about by the kernel, and its names in the event loop.

use super::crew::Watched;
use super::server::ConnectionId;
use crate::shared::draft::DraftId;
use crate::shared::mail::WatchId;
use mio::Token;
use rip::ids::WorkerId;

/// Something that can wake the main loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A process that reads an Edgefile.
    Compiler(DraftId),
    /// A connection on the control socket.
    Connection(ConnectionId),
    /// The control socket itself.
    Control,
    /// A watched tree of files.
    Files(WatchId),
    /// The mailbox.
    Mail,
    /// The master that we succeed.
    Predecessor,
    /// Signals.
    Signals,
    /// The master that succeeds us.
    Successor(Successor),
    /// A worker's process or pipe.
    Worker(Watched),
}

/// What is watched of the master that succeeds us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Successor {
    /// What it says to us.
    Channel,
    /// Its process.
    Process,
    /// Its standard error.
    Words,
}

impl From<Source> for Token {
    fn from(source: Source) -> Self {
        let (kind, number) = match source {
            Source::Mail => (0, 0),
            Source::Signals => (1, 0),
            Source::Control => (2, 0),
            Source::Connection(ConnectionId(number)) => (3, number),
            Source::Worker(Watched::Child(WorkerId(number))) => (4, number),
            Source::Worker(Watched::Boot(WorkerId(number))) => (5, number),
            Source::Files(WatchId(number)) => (7, number),
            Source::Compiler(DraftId(number)) => (8, number),
            Source::Worker(Watched::Probe(WorkerId(number))) => (6, number),
            Source::Predecessor => (13, 0),
            Source::Successor(Successor::Channel) => (14, 0),
            Source::Successor(Successor::Process) => (14, 1),
            Source::Successor(Successor::Words) => (14, 2),
        };
        // Numbers only grow, one for each connection or worker: they never reach the upper bits.
        Self((number as usize) << KIND_BITS | kind)
    }
}

impl From<Watched> for Token {
    fn from(watched: Watched) -> Self {
        Source::Worker(watched).into()
    }
}

impl Source {
    /// What `token` names.
    pub fn of(token: Token) -> Option<Self> {
        let number = (token.0 >> KIND_BITS) as u64;
        Some(match token.0 & ((1 << KIND_BITS) - 1) {
            0 => Self::Mail,
            1 => Self::Signals,
            2 => Self::Control,
            3 => Self::Connection(ConnectionId(number)),
            4 => Self::Worker(Watched::Child(WorkerId(number))),
            5 => Self::Worker(Watched::Boot(WorkerId(number))),
            7 => Self::Files(WatchId(number)),
            8 => Self::Compiler(DraftId(number)),
            6 => Self::Worker(Watched::Probe(WorkerId(number))),
            13 => Self::Predecessor,
            14 => Self::Successor(match number {
                0 => Successor::Channel,
                1 => Successor::Process,
                2 => Successor::Words,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

const KIND_BITS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_source() {
        for source in [
            Source::Mail,
            Source::Signals,
            Source::Control,
            Source::Connection(ConnectionId(70_000)),
            Source::Worker(Watched::Child(WorkerId(12))),
            Source::Worker(Watched::Boot(WorkerId(12))),
            Source::Files(WatchId(9)),
            Source::Compiler(DraftId(3)),
            Source::Worker(Watched::Probe(WorkerId(12))),
            Source::Predecessor,
            Source::Successor(Successor::Channel),
            Source::Successor(Successor::Process),
            Source::Successor(Successor::Words),
        ] {
            assert_eq!(Source::of(source.into()), Some(source));
        }
        assert_eq!(Source::of(Token(15)), None);
    }
}
