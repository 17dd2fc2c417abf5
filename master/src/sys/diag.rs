//! Whether the other end of a Unix connection is still held open by anybody.
//!
//! Once both directions of a connection were shut down from this side, a poll reports a hang-up
//! for ever and a read reports the end: neither tells whether the other side has closed. The
//! kernel still knows, and answers on a `NETLINK_SOCK_DIAG` socket (see `sock_diag(7)`) with the
//! inode of the peer, which is 0 once the last descriptor of the peer is closed.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use nix::sys::stat::fstat;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// An open line to the kernel's socket diagnosis.
#[derive(Debug)]
pub struct SocketDiag {
    socket: OwnedFd,
    sequence: u32,
}

impl SocketDiag {
    /// Opens the line. Where the kernel has no such diagnosis, or a sandbox forbids it, this or the
    /// first question fails.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkSockDiag;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Whether anybody holds the other end of `stream`, a connected Unix socket, open.
    ///
    /// A connection that waits in a backlog is held by nobody yet: ask only of one that was heard
    /// from. The peer's closing comes before the event it raises, so that an answer asked for after
    /// an event is never older than it.
    pub fn is_peer_open(&mut self, stream: impl AsFd) -> io::Result<bool> {
        let stream = stream.as_fd();
        let inode = u32::try_from(fstat(stream)?.st_ino).map_err(|_| ErrorKind::InvalidInput)?;
        let cookie = SockRef::from(&stream).cookie()?;
        self.sequence = self.sequence.wrapping_add(1);
        let question = question(self.sequence, inode, cookie);
        send(self.socket.as_raw_fd(), &question, MsgFlags::empty())?;
        let mut answer = [0; ANSWER_BYTES];
        // The kernel answers within the send. What is not the answer belongs to an earlier question
        // that was given up.
        loop {
            match recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Ok(count) => match understand(&answer[..count], self.sequence) {
                    Some(found) => return found.map(|peer| peer != 0),
                    None => continue,
                },
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A `struct nlmsghdr` and a `struct unix_diag_req`.
fn question(sequence: u32, inode: u32, cookie: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(QUESTION_BYTES);
    bytes.extend((QUESTION_BYTES as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(FROM_KERNEL_TO_US.to_ne_bytes());
    // The family, a protocol there is none of, and padding.
    bytes.extend([AF_UNIX, 0, 0, 0]);
    bytes.extend(ANY_STATE.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(UDIAG_SHOW_PEER.to_ne_bytes());
    // Its low half first, on every machine.
    bytes.extend((cookie as u32).to_ne_bytes());
    bytes.extend(((cookie >> 32) as u32).to_ne_bytes());
    debug_assert_eq!(bytes.len(), QUESTION_BYTES);
    bytes
}

/// The peer's inode; 0 when there is none any more. `None`: this answers another question.
fn understand(answer: &[u8], sequence: u32) -> Option<io::Result<u32>> {
    if word(answer, 8) != Some(sequence) {
        return None;
    }
    let kind = half(answer, 4)?;
    if kind == NLMSG_ERROR {
        let errno = word(answer, HEADER_BYTES)?.cast_signed();
        return Some(Err(io::Error::from_raw_os_error(errno.wrapping_neg())));
    }
    if kind != SOCK_DIAG_BY_FAMILY {
        return Some(Err(ErrorKind::InvalidData.into()));
    }
    // What follows the `struct unix_diag_msg` are attributes: length, kind, value, padding.
    let mut at = HEADER_BYTES + MESSAGE_BYTES;
    while let (Some(length), Some(kind)) = (half(answer, at), half(answer, at + 2)) {
        if kind == UNIX_DIAG_PEER {
            return Some(word(answer, at + 4).ok_or(ErrorKind::InvalidData.into()));
        }
        at += usize::from(length.max(4)).next_multiple_of(4);
    }
    Some(Ok(0))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

const HEADER_BYTES: usize = 16;
const QUESTION_BYTES: usize = HEADER_BYTES + 24;
const MESSAGE_BYTES: usize = 16;
/// More than an answer with one attribute needs.
const ANSWER_BYTES: usize = 512;
const FROM_KERNEL_TO_US: u32 = 0;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_UNIX: u8 = 1;
const ANY_STATE: u32 = u32::MAX;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Interest, Poll, Token};
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_peer_is_open_until_its_last_descriptor_is_closed() {
        let mut diag = SocketDiag::open().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let also = far.try_clone().unwrap();
        assert!(diag.is_peer_open(&near).unwrap());
        near.shutdown(Shutdown::Both).unwrap();
        assert!(diag.is_peer_open(&near).unwrap());
        drop(far);
        assert!(diag.is_peer_open(&near).unwrap());
        drop(also);
        assert!(!diag.is_peer_open(&near).unwrap());
    }

    #[test]
    fn what_is_no_unix_connection_is_an_error() {
        let mut diag = SocketDiag::open().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(diag.is_peer_open(&listener).is_err());
        assert!(diag.is_peer_open(std::fs::File::open("/dev/null").unwrap()).is_err());
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(diag.is_peer_open(&near).unwrap(), "and the next question is answered");
    }

    #[test]
    fn answers_of_any_kind_are_understood() {
        let mut answer = vec![0; HEADER_BYTES + MESSAGE_BYTES];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        answer[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        assert!(understand(&answer, 8).is_none());
        assert!(matches!(understand(&answer, 7), Some(Ok(0))));
        // An attribute of one byte, padded, then the peer.
        answer.extend(5_u16.to_ne_bytes());
        answer.extend([6, 0, 3, 0, 0, 0]);
        answer.extend(8_u16.to_ne_bytes());
        answer.extend(UNIX_DIAG_PEER.to_ne_bytes());
        answer.extend(99_u32.to_ne_bytes());
        assert!(matches!(understand(&answer, 7), Some(Ok(99))));
        for length in 0..answer.len() {
            let _ = understand(&answer[..length], 7);
        }
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-2_i32).to_ne_bytes());
        let found = understand(&answer, 7);
        assert!(matches!(found, Some(Err(error)) if error.kind() == ErrorKind::NotFound));
    }

    /// Writers that close at any moment, before, while and after we shut down both directions: with
    /// a question after the last shutdown and one after each event their end is known, once, and
    /// never before it.
    #[test]
    fn an_end_is_never_missed_and_never_early() {
        let rounds = std::env::var("RIP_DIAG_ROUNDS").ok().and_then(|text| text.parse().ok());
        let mut diag = SocketDiag::open().unwrap();
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let (start, started) = mpsc::channel::<(UnixStream, Arc<AtomicBool>, u32)>();
        let writer = thread::spawn(move || {
            for (mut stream, closing, pause) in started {
                let mut failed = false;
                for turn in 0..pause {
                    failed |= stream.write_all(&[b'x'; 64]).is_err();
                    if failed && turn % 3 == 0 {
                        break;
                    }
                    std::hint::spin_loop();
                }
                closing.store(true, Ordering::SeqCst);
            }
        });
        let mut seed = 0x9E37_79B9_u32;
        let mut random = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        for round in 0..rounds.unwrap_or(1000) {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut near = mio::net::UnixStream::from_std(near);
            poll.registry().register(&mut near, Token(round), Interest::READABLE).unwrap();
            let closing = Arc::new(AtomicBool::new(false));
            start.send((far, closing.clone(), random(60))).unwrap();
            for _ in 0..random(400) {
                std::hint::spin_loop();
            }
            near.shutdown(Shutdown::Write).unwrap();
            if random(2) == 0 {
                poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            }
            near.shutdown(Shutdown::Read).unwrap();
            while diag.is_peer_open(&near).unwrap() {
                poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                assert!(!events.is_empty(), "round {round}: its end raised no event");
            }
            assert!(closing.load(Ordering::SeqCst), "round {round}: it had not ended");
        }
        drop(start);
        writer.join().unwrap();
    }
}
