//! One non-blocking connection with at most one question open: to the app while it is probed, to
//! the master for the verbs.

use crate::answer::Answer;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a connection goes.
#[derive(Debug)]
pub(crate) enum Target {
    Unix(PathBuf),
    /// A Unix socket that was opened (`O_PATH`) while the way to it was free.
    Held(OwnedFd),
    Port(u16),
}

/// An open connection.
pub(crate) struct Connection {
    stream: Stream,
    unsent: Vec<u8>,
    answer: Option<Box<Answer>>,
    closed: bool,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Connection {
    /// Connects without waiting for the other side to accept.
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        let stream = match target {
            Target::Unix(path) => Stream::Unix(unix(path)?),
            Target::Held(held) => {
                let path = format!("/proc/self/fd/{}", held.as_raw_fd());
                Stream::Unix(unix(Path::new(&path))?)
            }
            Target::Port(port) => {
                // Some take `localhost` for the second; what is told is that nobody is at the first.
                let stream = tcp(IpAddr::V4(Ipv4Addr::LOCALHOST), *port).or_else(|error| {
                    tcp(IpAddr::V6(Ipv6Addr::LOCALHOST), *port).map_err(|_| error)
                })?;
                Stream::Tcp(stream)
            }
        };
        Ok(Self { stream, unsent: Vec::new(), answer: None, closed: false })
    }

    /// Sends a question; its answer is [`Self::answer`] after some [`Self::turn`]s. Questions may
    /// follow each other only when the one before has been answered.
    pub(crate) fn ask(&mut self, question: &[u8]) {
        self.unsent.extend_from_slice(question);
        self.answer = Some(Box::new(Answer::new()));
        self.turn();
    }

    /// Writes and reads what is possible now.
    pub(crate) fn turn(&mut self) {
        if self.write().is_err() || self.read().is_err() {
            self.end();
        }
    }

    /// The answer to the question, as far as it has come.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.answer.as_deref()
    }

    /// The other side is gone, or spoke nonsense.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a poll should also wait for room to write.
    pub(crate) fn is_writing(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn end(&mut self) {
        self.closed = true;
        if let Some(answer) = &mut self.answer {
            let _ = answer.close();
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let sent = match &mut self.stream {
                Stream::Unix(stream) => stream.write(&self.unsent),
                Stream::Tcp(stream) => stream.write(&self.unsent),
            };
            match sent {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        loop {
            let got = match &mut self.stream {
                Stream::Unix(stream) => stream.read(&mut block),
                Stream::Tcp(stream) => stream.read(&mut block),
            };
            match got {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => match &mut self.answer {
                    Some(answer) => answer
                        .read(&block[..count])
                        .map_err(|_| io::Error::from(ErrorKind::InvalidData))?,
                    None => return Err(ErrorKind::InvalidData.into()),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// On loopback a connection is accepted or refused at once; only a full backlog waits.
fn tcp(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((address, port));
    let stream = TcpStream::connect_timeout(&address, Duration::from_millis(100))?;
    if stream.local_addr()? == stream.peer_addr()? {
        // The kernel can join a port to itself while nobody listens there.
        return Err(ErrorKind::ConnectionRefused.into());
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn unix(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd.into())
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}
