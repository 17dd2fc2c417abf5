//! How many clients are connected, which loop has them, and who waits for room.

use mio::Waker;
use rip::guard::caps::{Admission, Caps};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Client connections of the process: the caps, and the loops they were dealt to.
pub struct Connections {
    caps: Mutex<Caps>,
    acceptor: OnceLock<Arc<Waker>>,
    /// By loop.
    dealt: Vec<AtomicU32>,
}

impl Connections {
    /// No connection yet; they are dealt to `loops` loops, at least one.
    pub fn new(caps: Caps, loops: usize) -> Self {
        Self {
            caps: Mutex::new(caps),
            acceptor: OnceLock::new(),
            dealt: (0..loops.max(1)).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Who is woken when a full house opens again. The first call counts.
    pub fn wake_on_room(&self, acceptor: Arc<Waker>) {
        let _ = self.acceptor.set(acceptor);
    }

    /// At most `max_count` from now on, of which `max_per_address_count` from one address.
    pub fn configure(&self, max_count: u32, max_per_address_count: Option<u32>) {
        self.change(|caps| caps.configure(max_count, max_per_address_count));
    }

    /// Connections open now.
    pub fn open(&self) -> u32 {
        self.lock().open_count()
    }

    /// False when the house is full: then nothing is accepted until the acceptor is woken.
    pub fn has_room(&self) -> bool {
        self.lock().may_accept()
    }

    /// Counts a connection from `address` and names the loop that shall have it, the one with the
    /// fewest. `None` when that address has too many already: then nothing is counted. Without an
    /// address it is one that may have any number.
    #[must_use]
    pub fn enter(&self, address: Option<IpAddr>) -> Option<usize> {
        if self.lock().opened(address) == Admission::Refused {
            return None;
        }
        let fewest = self.dealt.iter().enumerate().min_by_key(|(_, count)| count.load(Relaxed));
        let (chosen, count) = fewest?;
        count.fetch_add(1, Relaxed);
        Some(chosen)
    }

    /// Takes back an [`Self::enter`] with the same address that named loop `dealt_to`.
    pub fn leave(&self, address: Option<IpAddr>, dealt_to: usize) {
        if let Some(count) = self.dealt.get(dealt_to) {
            count.fetch_sub(1, Relaxed);
        }
        self.change(|caps| caps.closed(address));
    }

    /// Wakes the acceptor when a full house opens again by it.
    fn change(&self, change: impl FnOnce(&mut Caps)) {
        let mut caps = self.lock();
        let was_full = !caps.may_accept();
        change(&mut caps);
        let opens = was_full && caps.may_accept();
        drop(caps);
        if opens
            && let Some(acceptor) = self.acceptor.get()
            && let Err(error) = acceptor.wake()
        {
            log::error!("cannot wake the acceptor: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Caps> {
        self.caps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptiest_loop_is_dealt_the_next_connection() {
        let peer = Some(IpAddr::from([10, 0, 0, 1]));
        let house = Connections::new(Caps::new(10, None), 2);
        assert_eq!((house.enter(peer), house.enter(peer)), (Some(0), Some(1)));
        house.leave(peer, 1);
        assert_eq!(house.enter(peer), Some(1));
        assert_eq!(house.open(), 2);
    }
}
