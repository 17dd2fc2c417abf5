//! Bytes on their way out: appended by whoever answers, tried at once, kept while the peer is slow.

use rip::limits::BLOCK_BYTES;
use std::io::{self, IoSlice, Write};

/// What is still to be written to one peer. An empty one holds no memory until it is used.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Flush {
    /// The peer takes no more now: wait until it is writable.
    Blocked,
    /// Everything is written.
    Done,
}

impl Outbox {
    /// An empty outbox; nothing is allocated.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), sent: 0 }
    }

    /// Where to append. What stands there already must not be changed.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        // What was sent is cut off before it makes the vector grow for nothing.
        if self.sent > 0 && self.sent >= self.bytes.len() - self.sent {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// How many bytes are not yet written.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is not yet written.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first `count` of what was not yet written were written by other means.
    pub fn taken(&mut self, count: usize) {
        self.sent += count.min(self.len());
        if self.is_empty() {
            self.emptied();
        }
    }

    /// Writes until everything is written or the peer takes no more. An error is final.
    pub fn flush(&mut self, to: &mut impl Write) -> io::Result<Flush> {
        while !self.is_empty() {
            match to.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flush::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.emptied();
        Ok(Flush::Done)
    }

    /// Writes everything and then `tail`, gathered, without copying the tail. Returns how many
    /// bytes of the tail were written: when fewer than all, the peer takes no more now (and the
    /// rest of the tail is the caller's to keep).
    pub fn flush_with(&mut self, tail: &[u8], to: &mut impl Write) -> io::Result<usize> {
        let mut tail_sent = 0;
        while !self.is_empty() || tail_sent < tail.len() {
            let pieces = [IoSlice::new(&self.bytes[self.sent..]), IoSlice::new(&tail[tail_sent..])];
            let pieces = if self.is_empty() { &pieces[1..] } else { &pieces[..] };
            match to.write_vectored(pieces) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let own = count.min(self.len());
                    self.sent += own;
                    tail_sent += count - own;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(tail_sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.emptied();
        Ok(tail_sent)
    }

    /// Whether it has memory of its own to write into.
    pub fn holds_memory(&self) -> bool {
        self.bytes.capacity() > 0
    }

    /// Lends the outbox a spare vector to grow in, when it has none of its own. Returns it
    /// otherwise.
    pub fn lend(&mut self, spare: Vec<u8>) -> Option<Vec<u8>> {
        if self.bytes.capacity() > 0 {
            return Some(spare);
        }
        self.bytes = spare;
        self.bytes.clear();
        None
    }

    /// Gives up its memory when everything is written: an idle connection keeps none.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        if self.is_empty() && self.bytes.capacity() > 0 {
            self.sent = 0;
            return Some(std::mem::take(&mut self.bytes));
        }
        None
    }

    /// Forgets what was not written: the peer is gone.
    pub fn discard(&mut self) {
        self.sent = self.bytes.len();
        self.emptied();
    }

    fn emptied(&mut self) {
        self.sent = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// An outbox that grew beyond this for a slow peer gives its memory back when it is empty.
const KEPT_BYTES: usize = 4 * BLOCK_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::entropy::{Entropy, Xoshiro};

    /// A peer that takes so many bytes of each write and so many writes before it blocks.
    struct Slow {
        taken: Vec<u8>,
        each: usize,
        left: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.left -= 1;
            let count = bytes.len().min(self.each);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.write(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_peer_gets_every_byte_once() {
        let mut outbox = Outbox::new();
        outbox.bytes_mut().extend_from_slice(b"hello world");
        let mut peer = Slow { taken: Vec::new(), each: 4, left: 2 };
        assert_eq!(outbox.flush(&mut peer).unwrap(), Flush::Blocked);
        assert_eq!(outbox.len(), 3);
        outbox.bytes_mut().extend_from_slice(b"!!");
        peer.left = 9;
        assert_eq!(outbox.flush(&mut peer).unwrap(), Flush::Done);
        assert_eq!(peer.taken, b"hello world!!");
        assert!(outbox.is_empty());
    }

    #[test]
    fn own_bytes_go_before_the_tail() {
        for seed in 0..100 {
            let mut entropy = Xoshiro::new(seed);
            let (mut outbox, mut expected) = (Outbox::new(), Vec::new());
            let mut peer = Slow { taken: Vec::new(), each: 0, left: 0 };
            for round in 0..50_u8 {
                let own = vec![round; entropy.below(30) as usize];
                let tail = vec![!round; entropy.below(30) as usize];
                outbox.bytes_mut().extend_from_slice(&own);
                expected.extend([own, tail.clone()].concat());
                (peer.each, peer.left) =
                    (entropy.below(20) as usize + 1, entropy.below(3) as usize);
                let sent = outbox.flush_with(&tail, &mut peer).unwrap();
                assert!(sent == 0 || outbox.is_empty());
                outbox.bytes_mut().extend_from_slice(&tail[sent..]);
            }
            (peer.each, peer.left) = (usize::MAX, 1);
            assert_eq!(outbox.flush(&mut peer).unwrap(), Flush::Done);
            assert_eq!(peer.taken, expected, "seed {seed}");
        }
    }

    #[test]
    fn memory_is_lent_and_comes_back() {
        let mut outbox = Outbox::new();
        assert!(outbox.lend(Vec::with_capacity(64)).is_none());
        assert!(outbox.lend(Vec::with_capacity(8)).is_some());
        outbox.bytes_mut().push(1);
        assert!(outbox.release().is_none());
        outbox.discard();
        assert!(outbox.release().is_some_and(|vector| vector.capacity() >= 64));
        outbox.bytes_mut().resize(KEPT_BYTES + 1, 0);
        let mut peer = Slow { taken: Vec::new(), each: usize::MAX, left: 1 };
        assert_eq!(outbox.flush(&mut peer).unwrap(), Flush::Done);
        assert!(outbox.release().is_none());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_an_error() {
        let mut outbox = Outbox::new();
        outbox.bytes_mut().push(1);
        let mut peer = Slow { taken: Vec::new(), each: 0, left: 1 };
        assert_eq!(outbox.flush(&mut peer).unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
