//! Durable sessions: conversations whose turns are committed exactly once.
//!
//! A session has a name that stays and a token that is used up by every committed turn. A turn is one
//! POST to the app; what came of it, the app's state and the next token are stored in one transaction.
//!
//! ```text
//!  client ──▶ path, ask, access   what is asked, by what right
//!               │
//!               ▼
//!             claim ──▶ turn ◀── answer ◀── the app
//!               │        │ append, end
//!               ▼        ▼
//!             store: one transaction an order: Found in, Step out
//!               │        │
//!               ▼        ▼
//!             look      events ──▶ viewer ──▶ encode ──▶ everyone who looks on
//! ```
//!
//! * Names: [`SessionId`], [`EventId`], [`Ledger`] (which events there are), [`Token`].
//! * Decisions on rows, each one transaction ([`store`]): [`claim`], [`end`], [`look`], [`prune`].
//! * Machines: [`Turn`] (a turn that runs), [`Viewer`] (who looks on), [`Socket`] (a WebSocket),
//!   [`Table`] (what runs and who looks on, here).
//! * Words: [`Refusal`], [`Failure`], [`encode`].
//!
//! What always holds: of any number of requests with one token one runs; the token rotates with the
//! commit and with nothing else; an event is stored before it is seen; what has committed stays
//! committed; a turn that its client was told is being cancelled does not commit.

pub mod access;
pub mod answer;
pub mod ask;
pub mod claim;
pub mod encode;
pub mod end;
pub mod event;
pub mod event_id;
pub mod failure;
pub mod frame;
pub mod id;
mod json;
pub mod key;
pub mod ledger;
mod lines;
pub mod look;
pub mod moment;
pub mod outcome;
pub mod path;
pub mod prune;
pub mod record;
pub mod refusal;
pub mod request;
pub mod socket;
pub mod store;
pub mod table;
pub mod token;
pub mod turn;
pub mod viewer;

#[cfg(test)]
mod tests;

pub use access::{Access, ReadFields, Reading};
pub use ask::{Ask, AskFields, Form, Prefer};
pub use event::Event;
pub use event_id::{Cursor, Epoch, EventId};
pub use failure::Failure;
pub use id::SessionId;
pub use key::{Asked, Key, KeyRecord};
pub use ledger::{Ledger, Reset};
pub use outcome::{Outcome, State};
pub use path::Endpoint;
pub use record::{Cause, Ending, Previous, Running, Session, Timer};
pub use refusal::Refusal;
pub use socket::Socket;
pub use store::{Found, Level, Load, Step, Write};
pub use table::Table;
pub use token::{Digest, Kind, Nonce, Seed, Stamp, Token, TokenKey};
pub use turn::{Client, Turn};
pub use viewer::Viewer;
