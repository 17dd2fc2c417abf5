//! What a hub says to the loops that have clients.

use super::client_id::ClientId;
use super::frame::Frame;
use super::group::GroupName;
use super::item::Close;
use super::message::Message;
use crate::ids::LoopIndex;
use std::sync::Arc;

/// One thing that is said to a loop. Letters of a hub are for the roll of its app, in the order in
/// which they were posted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Letter(pub(super) Content);

#[derive(Clone, Debug)]
pub(super) enum Content {
    Parcel(Arc<Parcel>),
    Missed(Arc<MissedParcel>),
}

impl Letter {
    /// What it may hold in memory, in bytes.
    pub fn weight(&self) -> u64 {
        match &self.0 {
            Content::Parcel(parcel) => parcel.weight,
            Content::Missed(parcel) => parcel.weight,
        }
    }
}

/// One instruction: the same for all loops.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) groups: Vec<Named>,
    pub(super) clients: Vec<ClientId>,
    pub(super) joins: Vec<GroupName>,
    pub(super) leaves: Vec<GroupName>,
    pub(super) excludes: Vec<ClientId>,
    /// As it goes to those that are in no group of `message`.
    pub(super) frame: Option<Frame>,
    /// The same with its numbers.
    pub(super) message: Option<Arc<Message>>,
    /// There was a frame, and no room for it: those it was for are too slow.
    pub(super) is_lost: bool,
    pub(super) close: Option<Close>,
    pub(super) count: Option<CountFor>,
    pub(super) weight: u64,
}

/// A group among the targets.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: GroupName,
    /// Slow members lose messages.
    pub(super) is_lossy: bool,
    /// The place of its number among the notes of the message.
    pub(super) note: Option<u32>,
}

/// What a client missed that has come back.
#[derive(Debug)]
pub(super) struct MissedParcel {
    pub(super) client: ClientId,
    /// It joins these.
    pub(super) joins: Vec<GroupName>,
    /// In order, each with its number in the first of these groups.
    pub(super) frames: Vec<(Frame, Option<(u64, u64)>)>,
    pub(super) weight: u64,
}

/// Who wants to know how many got a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CountFor {
    /// On which loop.
    pub at: LoopIndex,
    /// The caller's own key.
    pub key: u64,
}

impl Parcel {
    /// Whether it delivers anything.
    pub(super) fn has_payload(&self) -> bool {
        self.frame.is_some() || self.message.is_some()
    }

    /// What it holds in memory, about.
    pub(super) fn weigh(&mut self) {
        let names = self.groups.len() + self.joins.len() + self.leaves.len();
        let clients = self.clients.len() + self.excludes.len();
        let plain = self.frame.as_ref().map_or(0, Frame::byte_count);
        let numbered = self.message.as_ref().map_or(0, |message| message.byte_count());
        let bytes = size_of::<Self>() + names * NAME_BYTES + clients * 16 + plain + numbered;
        self.weight = bytes as u64;
    }

    /// The same without what is delivered.
    pub(super) fn without_payload(&self) -> Self {
        let mut lost = Self {
            groups: self.groups.clone(),
            clients: self.clients.clone(),
            joins: self.joins.clone(),
            leaves: self.leaves.clone(),
            excludes: self.excludes.clone(),
            frame: None,
            message: None,
            is_lost: true,
            close: self.close.clone(),
            count: self.count,
            weight: 0,
        };
        lost.weigh();
        lost
    }
}

/// A group's name and where it stands, on average and rounded up.
const NAME_BYTES: usize = 96;
