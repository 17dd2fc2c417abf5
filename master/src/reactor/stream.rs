//! A connection, whatever carries it.

use crate::sys::socket::Direct;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A non-blocking byte stream. Dropping it closes it, which also deregisters it.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Ends one direction or both. An already disconnected peer is not an error.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let result = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// The error the kernel holds for this socket, if any: after a connect became writable it
    /// tells whether it succeeded.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Direct(&*stream).read(into),
            Self::Unix(stream) => Direct(&*stream).read(into),
        }
    }

    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read_vectored(into),
            Self::Unix(stream) => stream.read_vectored(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Direct(&*stream).write(bytes),
            Self::Unix(stream) => Direct(&*stream).write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, at: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(at, token, interests),
            Self::Unix(stream) => stream.register(at, token, interests),
        }
    }

    fn reregister(&mut self, at: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(at, token, interests),
            Self::Unix(stream) => stream.reregister(at, token, interests),
        }
    }

    fn deregister(&mut self, at: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(at),
            Self::Unix(stream) => stream.deregister(at),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_closed_stream_still_reads_and_a_second_shutdown_is_no_error() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut near = Stream::from(near);
        assert_eq!(near.write(b"ping").unwrap(), 4);
        near.shutdown(Shutdown::Write).unwrap();
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"ping");
        far.write_all(b"pong").unwrap();
        drop(far);
        bytes.clear();
        near.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"pong");
        near.shutdown(Shutdown::Both).unwrap();
    }

    #[test]
    fn a_refused_connect_is_told_by_its_error() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut poll = mio::Poll::new().unwrap();
        let mut stream = Stream::from(TcpStream::connect(closed).unwrap());
        poll.registry().register(&mut stream, Token(0), Interest::WRITABLE).unwrap();
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(std::time::Duration::from_secs(5))).unwrap();
        let error = stream.take_error().unwrap().expect("an error waits");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
