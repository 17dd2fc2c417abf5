//! A pair of sockets that keeps messages apart and carries descriptors beside them.

use super::inherited;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt,
    recvmsg, sendmsg, socketpair, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// One end. Nothing but [`Channel::wait`] waits.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came at once.
#[derive(Debug)]
pub struct Message {
    /// The bytes, as they were sent.
    pub bytes: Vec<u8>,
    /// The descriptors beside them, in their order; each is closed at exec.
    pub fds: Vec<OwnedFd>,
}

impl Channel {
    /// Both ends.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (near, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self(near), Self(far)))
    }

    /// The end that this process was started with as `fd`, from now on closed at exec. To be asked
    /// for once.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn inherited(fd: RawFd) -> io::Result<Self> {
        let taken = inherited::take(fd)?;
        if getsockopt(&taken, sockopt::SockType)? != SockType::SeqPacket {
            return Err(io::Error::other("it is another kind of socket"));
        }
        Ok(Self(taken))
    }

    /// Sends `bytes` as one message, copies of `fds` beside it.
    ///
    /// # Errors
    /// Nobody is at the other end, or there is no room.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let beside = [ControlMessage::ScmRights(&raw)];
        let beside = if raw.is_empty() { &[][..] } else { &beside[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], beside, flags, None) {
                Err(Errno::EINTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }

    /// The next message, which has at most `limit` bytes; `None` when the other end is closed.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none is there; otherwise what came was too large.
    pub fn receive(&self, limit: usize) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; limit];
        let mut beside = cmsg_space!([RawFd; MOST_FDS]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let (length, is_whole, fds) = loop {
            let mut places = [IoSliceMut::new(&mut bytes)];
            let received = recvmsg::<()>(self.0.as_raw_fd(), &mut places, Some(&mut beside), flags);
            match received {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(received) => {
                    let cut = MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC;
                    let is_whole = !received.flags.intersects(cut);
                    let fds = received.cmsgs().map(rights).unwrap_or_default();
                    break (received.bytes, is_whole, fds);
                }
            }
        };
        if !is_whole {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too large"));
        }
        if length == 0 && fds.is_empty() {
            return Ok(None);
        }
        bytes.truncate(length);
        Ok(Some(Message { bytes, fds }))
    }

    /// The next message, waited for.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] after `patience`; otherwise as [`Self::receive`].
    pub fn wait(&self, limit: usize, patience: Duration) -> io::Result<Option<Message>> {
        let until = Instant::now() + patience;
        loop {
            match self.receive(limit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = left + Duration::from_millis(1);
            let mut asked = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut asked, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(error) if error != Errno::EINTR => return Err(error.into()),
                _ => {}
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn rights(messages: nix::sys::socket::CmsgIterator<'_>) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    for message in messages {
        if let ControlMessageOwned::ScmRights(raw) = message {
            // SAFETY: the kernel has just put these descriptors into this process, for us.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    fds
}

/// What the kernel lets travel beside one message.
const MOST_FDS: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::memfd;
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn messages_stay_apart_and_descriptors_travel() {
        let (near, far) = Channel::pair().unwrap();
        let (one, two) = (memfd(c"one", b"one").unwrap(), memfd(c"two", b"two").unwrap());
        near.send(b"first", &[one.as_fd(), two.as_fd()]).unwrap();
        near.send(b"second", &[]).unwrap();
        drop((one, two));
        let first = far.wait(100, Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!(first.bytes, b"first");
        let read = |fd: OwnedFd| {
            let flags = FdFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFD).unwrap());
            assert!(flags.contains(FdFlag::FD_CLOEXEC));
            let mut text = String::new();
            File::from(fd).read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(first.fds.into_iter().map(read).collect::<Vec<_>>(), ["one", "two"]);
        let second = far.receive(100).unwrap().unwrap();
        assert_eq!((second.bytes.as_slice(), second.fds.len()), (&b"second"[..], 0));
        assert_eq!(far.receive(100).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let late = far.wait(100, Duration::from_millis(5)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(near);
        assert!(far.receive(100).unwrap().is_none());
        assert!(far.send(b"nobody", &[]).is_err());
    }

    #[test]
    fn what_is_too_large_or_no_channel_is_refused() {
        let (near, far) = Channel::pair().unwrap();
        near.send(b"too large", &[]).unwrap();
        assert_eq!(far.receive(3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(Channel::inherited(9999).is_err());
    }
}
