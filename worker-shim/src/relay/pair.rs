//! One connection of the master's and the one to the app that stands for it.
//!
//! ```text
//!          ┌──────── out ───────▶
//!   near ──┤                     ├── far        each way:  Open ──end of input──▶ Ending ──all passed on──▶ Over
//!          ◀──────── back ───────┘                           └──────────the other side is gone───────────────▲
//! ```
//!
//! The end of a way is passed on as a half-close. When the master no longer reads, the pair ends at
//! once, so that the app's next write fails; when the app no longer reads, what it has answered
//! still goes back.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    /// The master's.
    Near,
    /// The app's.
    Far,
}

/// The pair came to nothing: both its connections are closed.
#[derive(Debug)]
pub(super) struct Broken;

pub(super) struct Pair {
    near: UnixStream,
    far: TcpStream,
    port: u16,
    stage: Stage,
    out: Way,
    back: Way,
    /// What each side is watched for.
    watched: [EpollFlags; 2],
}

/// How far the connection to the app has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// To this address.
    Connecting(IpAddr),
    Connected,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// Read and not yet written.
    pending: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Open,
    Ending,
    Over,
}

/// Where a way is blocked for good.
enum Fault {
    Reading,
    Writing,
}

/// Where the app is looked for. Some take `localhost` for the second.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SECOND: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Blocks that one direction may pass before others have their turn.
const TURNS: usize = 8;

impl Pair {
    /// Begins to connect to the app.
    pub(super) fn connect(near: UnixStream, port: u16) -> io::Result<Self> {
        near.set_nonblocking(true)?;
        let (far, address) = match connecting(FIRST, port) {
            Ok(far) => (far, FIRST),
            Err(_) => (connecting(SECOND, port)?, SECOND),
        };
        Ok(Self {
            near,
            far,
            port,
            stage: Stage::Connecting(address),
            out: Way::default(),
            back: Way::default(),
            watched: [EpollFlags::empty(); 2],
        })
    }

    /// Passes on what can be passed on now. `side` is the one that something happened on.
    pub(super) fn turn(&mut self, side: Side, block: &mut [u8]) -> Result<(), Broken> {
        let is_new = self.stage != Stage::Connected;
        if let Stage::Connecting(address) = self.stage {
            if side == Side::Near {
                return Ok(());
            }
            self.connected(address)?;
            if self.stage != Stage::Connected {
                return Ok(());
            }
        }
        // A way that nothing happened to is not tried: each try is a system call in vain.
        let goes_out = is_new || side == Side::Near || self.out.writes();
        let comes_back = is_new || side == Side::Far || self.back.writes();
        let went = match goes_out {
            true => pass(&self.near, &self.far, &mut self.out, block),
            false => Ok(()),
        };
        match went {
            Ok(()) => {}
            Err(Fault::Reading) => return Err(Broken),
            Err(Fault::Writing) => {
                // The app takes no more: so the master is told, and its answer goes on.
                self.out.end();
                let _ = self.near.shutdown(Shutdown::Read);
            }
        }
        if !comes_back {
            return Ok(());
        }
        match pass(&self.far, &self.near, &mut self.back, block) {
            Ok(()) => Ok(()),
            Err(Fault::Writing) => Err(Broken),
            Err(Fault::Reading) => {
                // The app is gone, and what it said first is still to be told.
                self.back.state = State::Ending;
                pass(&self.far, &self.near, &mut self.back, block).map_err(|_| Broken)
            }
        }
    }

    /// Whether the connection to the app is there by now; on to the next address where it was refused.
    fn connected(&mut self, address: IpAddr) -> Result<(), Broken> {
        let refused = self.far.take_error().map_err(|_| Broken)?;
        if refused.is_some() {
            if address == SECOND {
                return Err(Broken);
            }
            self.far = connecting(SECOND, self.port).map_err(|_| Broken)?;
            self.stage = Stage::Connecting(SECOND);
            self.watched[Side::Far as usize] = EpollFlags::empty();
            return Ok(());
        }
        match (self.far.local_addr(), self.far.peer_addr()) {
            // The kernel can join a port to itself while nobody listens there.
            (Ok(own), Ok(peer)) if own == peer => Err(Broken),
            (_, Ok(_)) => {
                self.stage = Stage::Connected;
                Ok(())
            }
            // Not yet.
            _ => Ok(()),
        }
    }

    /// Both directions have come to their end.
    pub(super) fn is_over(&self) -> bool {
        self.out.state == State::Over && self.back.state == State::Over
    }

    /// Is told by `epoll`, under these marks, when either side can go on. A side that can do nothing is not
    /// watched at all: its hang-up would be told again and again.
    pub(super) fn watch(&mut self, epoll: &Epoll, mark: impl Fn(Side) -> u64) -> io::Result<()> {
        let flags = |reads: bool, writes: bool| {
            let mut flags = EpollFlags::empty();
            flags.set(EpollFlags::EPOLLIN, reads);
            flags.set(EpollFlags::EPOLLOUT, writes);
            flags
        };
        let [near, far] = if self.stage == Stage::Connected {
            [
                flags(self.out.reads(), self.back.writes()),
                flags(self.back.reads(), self.out.writes()),
            ]
        } else {
            [flags(false, false), flags(false, true)]
        };
        let [near_was, far_was] = self.watched;
        change(epoll, &self.near, mark(Side::Near), near_was, near)?;
        change(epoll, &self.far, mark(Side::Far), far_was, far)?;
        self.watched = [near, far];
        Ok(())
    }
}

impl Way {
    fn reads(&self) -> bool {
        self.state == State::Open && self.pending.is_empty()
    }

    /// It has something to pass on, be it the end.
    fn writes(&self) -> bool {
        !self.pending.is_empty() || self.state == State::Ending
    }

    /// Nobody takes anything more.
    fn end(&mut self) {
        *self = Self { pending: Vec::new(), state: State::Over };
    }
}

fn change(
    epoll: &Epoll,
    socket: impl AsFd,
    mark: u64,
    was: EpollFlags,
    now: EpollFlags,
) -> io::Result<()> {
    let mut event = EpollEvent::new(now, mark);
    if was == now {
        Ok(())
    } else if was.is_empty() {
        Ok(epoll.add(socket, event)?)
    } else if now.is_empty() {
        Ok(epoll.delete(socket)?)
    } else {
        Ok(epoll.modify(socket, &mut event)?)
    }
}

/// A socket on its way there: only a full backlog waits.
fn connecting(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    let address = SockaddrStorage::from(SocketAddr::from((address, port)));
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies until nothing comes, nothing is taken, or others are to have their turn.
fn pass<'a, A, B>(from: &'a A, to: &'a B, way: &mut Way, block: &mut [u8]) -> Result<(), Fault>
where
    &'a A: Read,
    &'a B: Write,
    B: HalfClose,
{
    let (mut reader, mut writer) = (from, to);
    for _ in 0..TURNS {
        while !way.pending.is_empty() {
            match writer.write(&way.pending) {
                Ok(count) if count == way.pending.len() => way.pending = Vec::new(),
                Ok(count) => drop(way.pending.drain(..count)),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Ok(()),
                    _ => return Err(Fault::Writing),
                },
            }
        }
        match way.state {
            State::Over => return Ok(()),
            State::Ending => {
                way.state = State::Over;
                return to.half_close().map_err(|_| Fault::Writing);
            }
            State::Open => {}
        }
        let count = match reader.read(block) {
            Ok(0) => {
                way.state = State::Ending;
                continue;
            }
            Ok(count) => count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock => return Ok(()),
                _ => return Err(Fault::Reading),
            },
        };
        let read = block.get(..count).unwrap_or_default();
        let written = match writer.write(read) {
            Ok(written) => written,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                0
            }
            Err(_) => return Err(Fault::Writing),
        };
        way.pending.extend_from_slice(read.get(written..).unwrap_or_default());
        if count < block.len() && way.pending.is_empty() {
            // There was no more, most probably: the epoll says if there was.
            return Ok(());
        }
    }
    Ok(())
}

trait HalfClose {
    fn half_close(&self) -> io::Result<()>;
}

impl HalfClose for UnixStream {
    fn half_close(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl HalfClose for TcpStream {
    fn half_close(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Has so many whole blocks, and then ends.
    struct Source(Cell<usize>);

    impl Read for &Source {
        fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
            let left = self.0.get();
            self.0.set(left.saturating_sub(1));
            Ok(if left == 0 { 0 } else { block.len() })
        }
    }

    /// Takes everything, and knows whether it was told of the end.
    #[derive(Default)]
    struct Sink(Cell<bool>);

    impl Write for &Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl HalfClose for Sink {
        fn half_close(&self) -> io::Result<()> {
            self.0.set(true);
            Ok(())
        }
    }

    #[test]
    fn an_end_that_comes_with_the_last_block_of_a_turn_is_passed_on() {
        for blocks in 0..3 * TURNS {
            let (source, sink) = (Source(Cell::new(blocks)), Sink::default());
            let (mut way, mut block) = (Way::default(), [0; 16]);
            let mut turns = 0;
            // Who watches the two sides comes back when one of them can be read or is to be written.
            while way.reads() || way.writes() {
                assert!(pass(&source, &sink, &mut way, &mut block).is_ok());
                turns += 1;
                assert!(turns < 10, "{blocks} blocks do not end");
            }
            assert!(sink.0.get(), "the end behind {blocks} blocks is lost");
        }
    }
}
