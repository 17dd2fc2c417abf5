//! Where the loops meet over sessions: which turns run, who looks on, and the queue of the store.
//!
//! What the table says is carried out after its lock: who is to be stirred in another loop gets mail.

use super::hub::Hubs;
use super::mail::EdgeMessage;
use super::store::StoreQueue;
use rip::ids::LoopIndex;
use rip::session::Table;
use rip::session::table::Place;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sessions of one master.
#[derive(Default)]
pub struct Sessions {
    table: Mutex<Table>,
    /// Where orders for the store go. Nobody serves it while no session was ever configured.
    pub queue: StoreQueue,
}

/// What a loop is told of a session.
#[derive(Clone, Copy, Debug)]
pub enum SessionMail {
    /// The viewer with this number is to look again.
    Stirred(u64),
    /// The turn with this number is to be cancelled.
    Cancel {
        /// What its loop calls it.
        key: u64,
        /// Which turn of its session, in case another one runs there by now.
        turn: u64,
    },
}

impl Sessions {
    /// The table. Nothing is sent while it is held.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those of `places` that are not the loop `own`'s; returns the numbers of its own.
    pub fn stir(&self, places: Vec<Place>, own: LoopIndex, loops: &Hubs) -> Vec<u64> {
        let mut mine = Vec::new();
        for place in places {
            if place.loop_index == own {
                mine.push(place.key);
            } else {
                let mail = EdgeMessage::Session(SessionMail::Stirred(place.key));
                loops.mail(place.loop_index, mail);
            }
        }
        mine
    }
}
