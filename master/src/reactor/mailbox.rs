//! Messages from other threads to one event loop.
//!
//! The receiver is woken only when its box goes from empty to non-empty, and takes everything at
//! once by swapping the vectors under the lock: messages are handled outside it. Nothing is ever
//! refused; what may be sent is bounded by connections and tickets, not here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A mailbox whose receiver is woken through `waker`.
pub fn mailbox<M>(waker: Arc<mio::Waker>) -> (Sender<M>, Receiver<M>) {
    let shared = Arc::new(Shared {
        letters: Mutex::new(Letters { waiting: Vec::new(), closed: false }),
        any: AtomicBool::new(false),
        waker,
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The end that anyone may hold.
#[derive(Debug)]
pub struct Sender<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Sender<M> {
    /// Leaves `message`; never blocks for longer than a swap takes. When the receiver is gone the
    /// message is dropped here.
    pub fn send(&self, message: M) {
        if self.leave(message)
            && let Err(error) = self.shared.waker.wake()
        {
            log::error!("an event loop cannot be woken: {error}");
        }
    }

    /// The same for the receiver's own loop, which is awake and looks ([`Receiver::has_mail`]) before
    /// it sleeps: it is not woken. True when the box was empty.
    pub fn leave(&self, message: M) -> bool {
        let mut letters = self.shared.lock();
        if letters.closed {
            drop(letters);
            return false;
        }
        letters.waiting.push(message);
        let first = letters.waiting.len() == 1;
        if first {
            self.shared.any.store(true, Ordering::Release);
        }
        first
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The end that belongs to the loop.
#[derive(Debug)]
pub struct Receiver<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Receiver<M> {
    /// Appends everything that was sent to `out`, oldest first. With an empty `out` the vectors
    /// change places and nothing is copied. Cheap when there is nothing: no lock is taken.
    pub fn drain(&mut self, out: &mut Vec<M>) {
        if !self.shared.any.load(Ordering::Acquire) {
            return;
        }
        if out.is_empty() && out.capacity() > KEPT_MESSAGE_COUNT {
            *out = Vec::new();
        }
        let mut letters = self.shared.lock();
        self.shared.any.store(false, Ordering::Release);
        if out.is_empty() {
            std::mem::swap(&mut letters.waiting, out);
        } else {
            out.append(&mut letters.waiting);
        }
    }

    /// Whether something waits: a loop that is about to sleep may look.
    pub fn has_mail(&self) -> bool {
        self.shared.any.load(Ordering::Acquire)
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        let mut letters = self.shared.lock();
        letters.closed = true;
        let unread = std::mem::take(&mut letters.waiting);
        drop(letters);
        drop(unread);
    }
}

#[derive(Debug)]
struct Shared<M> {
    letters: Mutex<Letters<M>>,
    /// True while `letters` is not empty; written under its lock.
    any: AtomicBool,
    waker: Arc<mio::Waker>,
}

#[derive(Debug)]
struct Letters<M> {
    waiting: Vec<M>,
    closed: bool,
}

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, Letters<M>> {
        // Nothing that can panic runs under this lock, and a vector is whole at every moment.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A vector that grew beyond this in a burst is not kept.
const KEPT_MESSAGE_COUNT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn poll_and_box() -> (mio::Poll, Sender<u32>, Receiver<u32>) {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (sender, receiver) = mailbox(waker);
        (poll, sender, receiver)
    }

    fn woken(poll: &mut mio::Poll, timeout: Duration) -> bool {
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn only_the_first_letter_rings() {
        let (mut poll, sender, mut receiver) = poll_and_box();
        sender.send(1);
        assert!(woken(&mut poll, Duration::from_secs(5)));
        sender.send(2);
        assert!(!woken(&mut poll, Duration::ZERO));
        assert!(receiver.has_mail());
        let mut out = Vec::new();
        receiver.drain(&mut out);
        assert_eq!(out, [1, 2]);
        assert!(!receiver.has_mail());
        sender.send(3);
        assert!(woken(&mut poll, Duration::from_secs(5)));
        receiver.drain(&mut out);
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn a_letter_to_oneself_rings_nowhere_and_is_there() {
        let (mut poll, sender, mut receiver) = poll_and_box();
        assert!(sender.leave(1));
        sender.send(2);
        assert!(!woken(&mut poll, Duration::ZERO));
        assert!(receiver.has_mail());
        let mut out = Vec::new();
        receiver.drain(&mut out);
        assert_eq!(out, [1, 2]);
        sender.send(3);
        assert!(woken(&mut poll, Duration::from_secs(5)));
    }

    #[test]
    fn letters_to_nobody_are_dropped() {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (sender, receiver) = mailbox(waker);
        let letter = Arc::new(());
        sender.send(Arc::clone(&letter));
        drop(receiver);
        sender.send(Arc::clone(&letter));
        assert_eq!(Arc::strong_count(&letter), 1);
    }

    #[test]
    fn nothing_is_lost_between_threads_and_each_sender_keeps_its_order() {
        let (mut poll, sender, mut receiver) = poll_and_box();
        let senders: Vec<_> = (0..4_u32)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    (0..5000).for_each(|count| sender.send(thread << 16 | count));
                })
            })
            .collect();
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        while all.len() < 20_000 {
            assert!(woken(&mut poll, Duration::from_secs(10)), "lost a wake-up");
            receiver.drain(&mut batch);
            all.append(&mut batch);
        }
        senders.into_iter().for_each(|thread| thread.join().unwrap());
        for thread in 0..4 {
            let own: Vec<_> = all.iter().filter(|letter| **letter >> 16 == thread).collect();
            assert_eq!(own.len(), 5000);
            assert!(own.is_sorted());
        }
    }
}
