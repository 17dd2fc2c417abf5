//! WebSocket clients, groups, and who is told what: the edge holds the connections, the app answers
//! HTTP requests with instructions.
//!
//! * [`instruct`] — the grammar of instructions. [`publish`] — the same from outside, and counting
//!   who heard it.
//! * [`Hub`] — what the loops share: which loop has whom, and the messages that are kept. [`Roll`] —
//!   one loop's clients and their groups. [`Letter`] — what the one says to the others.
//! * [`recover`] — where a client that comes back had got to. [`sse`] — messages as events.
//! * [`lane`] — one client's messages on their way to the app. [`outbox`] — its frames on their way
//!   out. [`Frame`] — encoded once.
//! * [`origin`], [`bucket`], [`pulse`] — which pages may connect, how often a client may send,
//!   whether it is still there.
//!
//! ```text
//!   client ──▶ lane ──▶ POST to the app ──▶ instruct ──▶ Hub ──┬─ Letter ─▶ Roll ──▶ outbox ──▶ client
//!                       POST /publish ───▶ publish ──▶  one   └─ Letter ─▶ Roll ──▶ outbox ──▶ client
//!                                                    per app       one per loop
//! ```

mod archive;
pub mod bucket;
mod client_id;
mod frame;
mod group;
mod hub;
pub mod instruct;
mod item;
pub mod lane;
mod letter;
mod message;
pub mod origin;
pub mod outbox;
pub mod publish;
pub mod pulse;
pub mod recover;
mod roll;
pub mod sse;

pub use client_id::ClientId;
pub use frame::{Frame, Kind};
pub use group::{GroupName, GroupPattern, NoGroup};
pub use hub::{Hub, HubCounts, HubSettings, Mailer};
pub use item::{Close, Item};
pub use letter::{CountFor, Letter};
pub use recover::Position;
pub use roll::{Count, Deed, Roll, Settled};
