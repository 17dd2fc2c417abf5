//! WebSocket clients, groups, and who is told what.
pub mod bucket;
mod client_id;
mod frame;
mod group;
pub mod instruct;
mod item;
pub mod lane;
pub mod origin;
pub mod outbox;
pub mod pulse;

pub use client_id::ClientId;
pub use frame::{Frame, Kind};
pub use group::{GroupName, GroupPattern, NoGroup};
pub use item::{Close, Item};
