//! The store of sessions: rows, transactions, and what must last (SQLite in WAL mode).
//!
//! ```text
//!  loops ──orders──▶ StoreQueue ──┬─ write ─▶ writer: open, batches, chores ──▶ database ─▶ sessions.db
//!    ▲                            └─ read ──▶ reader: looks, pages ─────────────────────────▲
//!    └───────────── EdgeMessage::Store ◀─────────┴─ what has to be written goes to the writer
//! ```
//!
//! * What is decided is decided by `rip::session`, on rows that were loaded in the same transaction
//!   ([`database`]). All orders that wait share one ([`writer`]), and one sync where any of them must
//!   survive a loss of power.
//! * Each master lives in an epoch of its own and holds a lock as long as it does ([`place`]): turns
//!   of a master whose lock is free are interrupted ([`chores`]), those of others are left alone.
//! * A database that makes no sense is moved aside ([`open`]); a large one is looked through while it
//!   serves ([`check`]). Whatever else is wrong with it is a
//!   reason to refuse, and to try again ([`trouble`]).

mod check;
pub mod chores;
pub mod database;
pub mod fault;
mod group;
pub mod open;
pub mod place;
mod reader;
pub mod rows;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod trouble;
pub mod write;
mod writer;

use crate::reactor::mailbox::Sender;
use crate::shared::mail::ControlMessage;
use crate::shared::store::StoreQueue;
use fault::Faults;
use place::Place;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{Builder, JoinHandle};

/// The agent: a thread that writes and one that reads.
pub struct StoreAgent {
    queue: StoreQueue,
    threads: Vec<JoinHandle<()>>,
}

impl StoreAgent {
    /// Starts it on the store at `place`, for the orders of `queue`. It opens the store by itself, and
    /// tells `control` what is wrong with it: a store that cannot be opened is tried again, and until then
    /// refuses.
    ///
    /// # Errors
    /// When no thread can be started. The queue is closed then: what is ordered is refused.
    pub fn start(
        place: Place,
        faults: Faults,
        queue: StoreQueue,
        control: Sender<ControlMessage>,
    ) -> io::Result<Self> {
        let lives = Arc::new(AtomicU64::new(0));
        let mut agent = Self { queue: queue.clone(), threads: Vec::with_capacity(2) };
        let (read, reads, known) = (place.clone(), queue.clone(), Arc::clone(&lives));
        let reader = Builder::new().name("store-read".to_owned());
        agent.threads.push(reader.spawn(move || reader::run(&read, &reads, &known))?);
        let writer = Builder::new().name("store".to_owned());
        agent.threads.push(
            writer
                .spawn(move || writer::Writer::new(place, faults, queue, control, lives).run())?,
        );
        Ok(agent)
    }

    /// Does and answers what was submitted, then ends.
    pub fn stop(self) {}
}

impl Drop for StoreAgent {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("the store agent ended by a panic");
            }
        }
    }
}
