//! What an app says in one instruction.

use super::client_id::ClientId;
use super::frame::Frame;
use super::group::GroupName;

/// One instruction, checked: the hub does all of it.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// `@`; `None` is the client whose message is answered.
    pub(super) targets: Option<Targets>,
    /// `+`, each once.
    pub(super) joins: Vec<GroupName>,
    /// `-`, each once.
    pub(super) leaves: Vec<GroupName>,
    /// `>`.
    pub(super) excludes: Vec<ClientId>,
    pub(super) payload: Payload,
    /// `*`.
    pub(super) close: Option<Close>,
}

/// Whom an instruction is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    /// Each once.
    pub(super) groups: Vec<GroupName>,
    pub(super) clients: Vec<ClientId>,
}

/// What an instruction delivers.
#[derive(Clone, Debug, Default)]
pub(super) enum Payload {
    #[default]
    Nothing,
    /// A JSON object that is not empty, without blanks in front: a position can be put into it.
    Object(Frame),
    /// `$text` or `$binary`: as it is.
    Raw(Frame),
}

impl Payload {
    pub(super) fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Nothing => None,
            Self::Object(frame) | Self::Raw(frame) => Some(frame),
        }
    }
}

/// How a connection is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// Why, as a number (RFC 6455 §7.4).
    pub code: u16,
    /// Why, as a text of at most 123 bytes.
    pub reason: Box<str>,
}

impl Close {
    /// The frame that says so.
    pub fn frame(&self) -> Frame {
        Frame::close(self.code, &self.reason)
    }
}

impl Item {
    /// The client whose message is answered joins `group`, and that is all.
    pub fn join(group: GroupName) -> Self {
        Self { joins: vec![group], ..Self::default() }
    }

    /// The groups that the targets join.
    pub fn joined(&self) -> &[GroupName] {
        &self.joins
    }

    /// Whether `client` is meant by name, or because it is the one that is answered.
    pub(super) fn names(&self, client: ClientId) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.clients.contains(&client))
    }
}
