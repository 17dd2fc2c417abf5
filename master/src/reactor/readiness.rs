//! What the kernel has said about one socket since it last said "would block".
//!
//! With edge-triggered events the kernel speaks once; this is where it is remembered. What the
//! protocol wants is another word: work is done where both say so.

use std::io;

/// Facts about one socket. They stay until an operation disproves them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Readiness {
    /// A read may give bytes, an end, or an error.
    pub readable: bool,
    /// A write may take bytes or give an error.
    pub writable: bool,
    /// The peer will send no more; bytes may still wait before the end.
    pub read_closed: bool,
    /// The peer reads no more, or the connection is broken in both directions.
    pub write_closed: bool,
    /// The kernel has an error for this socket; the next operation tells which.
    pub failed: bool,
}

impl Readiness {
    /// Adds what `event` says.
    pub fn merge(&mut self, event: &mio::event::Event) {
        let failed = event.is_error();
        self.failed |= failed;
        self.read_closed |= event.is_read_closed();
        self.write_closed |= event.is_write_closed();
        self.readable |= event.is_readable() || event.is_read_closed() || failed;
        self.writable |= event.is_writable() || event.is_write_closed() || failed;
    }

    /// Whether a read into `asked` bytes that gave `got` leaves more to be read in this turn, and
    /// remembers when not.
    ///
    /// A short read took everything there was, so no further read is made only to be told so. But
    /// bytes and the end of the stream can arrive as one event: once the end or an error is
    /// known, reading goes on until it is seen.
    pub fn after_read(&mut self, asked: usize, got: &io::Result<usize>) -> bool {
        self.readable = match got {
            Ok(0) => false,
            Ok(count) => *count >= asked || self.read_closed || self.failed,
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        };
        self.readable
    }

    /// A write would have blocked: the next event says when to try again.
    pub fn write_blocked(&mut self) {
        self.writable = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;
    use mio::{Events, Interest, Poll, Token};
    use std::io::{Read, Write};
    use std::time::Duration;

    fn wait(poll: &mut Poll, readiness: &mut Readiness) {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert!(!events.is_empty());
        events.iter().for_each(|event| readiness.merge(event));
    }

    #[test]
    fn a_short_read_ends_the_turn_unless_the_end_is_known() {
        let mut readiness = Readiness { readable: true, ..Readiness::default() };
        assert!(readiness.after_read(10, &Ok(10)));
        assert!(!readiness.after_read(10, &Ok(3)));
        readiness.read_closed = true;
        assert!(readiness.after_read(10, &Ok(3)));
        assert!(!readiness.after_read(10, &Ok(0)));
        assert!(!readiness.after_read(10, &Err(io::ErrorKind::WouldBlock.into())));
        assert!(!readiness.after_read(10, &Err(io::ErrorKind::ConnectionReset.into())));
    }

    #[test]
    fn bytes_and_their_end_in_one_event_are_both_seen() {
        let mut poll = Poll::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"last words").unwrap();
        drop(far);
        poll.registry().register(&mut near, Token(0), Interest::READABLE).unwrap();
        let mut readiness = Readiness::default();
        wait(&mut poll, &mut readiness);
        assert!(readiness.readable && readiness.read_closed);
        let (mut block, mut bytes) = ([0; 64], Vec::new());
        let mut ended = false;
        while readiness.readable {
            let got = near.read(&mut block);
            readiness.after_read(block.len(), &got);
            ended = matches!(got, Ok(0));
            bytes.extend_from_slice(&block[..got.unwrap()]);
        }
        assert!(ended);
        assert_eq!(bytes, b"last words");
    }
}
