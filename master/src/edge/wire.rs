//! What carries a link: a Unix socket, TCP, or TLS over TCP.

use crate::shared::target::Address;
use crate::shared::upstream_tls::TlsTarget;
use crate::sys::socket::Direct;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::ClientConnection;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

/// A non-blocking connection from us to somebody.
pub(super) enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsWire>),
    Unix(UnixStream),
}

/// TLS over TCP. Bytes count as written when the session has taken them; it never takes many more
/// than the socket did.
pub(super) struct TlsWire {
    stream: TcpStream,
    session: ClientConnection,
}

impl Wire {
    /// Begins a connection to `address`. [`Self::open`] tells when it stands.
    pub(super) fn connect(address: &Address, tls: Option<&TlsTarget>) -> io::Result<Self> {
        let address = match address {
            Address::Unix(path) => return Ok(Self::Unix(UnixStream::connect(path)?)),
            Address::Tcp(address) => *address,
        };
        let stream = TcpStream::connect(address)?;
        // Heads and bodies are written in as few pieces as they come in: none waits for another.
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok(Self::Tcp(stream)) };
        let session = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone());
        let session = session.map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(TlsWire { stream, session })))
    }

    /// Goes on with a connection that was begun. True when it stands, TLS and all.
    ///
    /// # Errors
    /// When it never will.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        match self {
            Self::Unix(_) => Ok(true),
            Self::Tcp(stream) => is_connected(stream),
            Self::Tls(wire) => Ok(is_connected(&wire.stream)? && wire.shake_hands()?),
        }
    }

    /// The Unix socket, where it is one.
    pub(super) fn unix(&self) -> Option<&UnixStream> {
        match self {
            Self::Unix(stream) => Some(stream),
            Self::Tcp(_) | Self::Tls(_) => None,
        }
    }

    /// It is under TLS: what it took of a write that failed is not known.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether a read of `count` bytes into room for `asked` may have left something behind of which
    /// the kernel does not tell again.
    pub(super) fn holds_more(&self, count: usize, asked: usize) -> bool {
        count == asked || matches!(self, Self::Tls(_))
    }

    /// True when everything that was written is the kernel's.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Tls(wire) => !wire.session.wants_write(),
            Self::Tcp(_) | Self::Unix(_) => true,
        }
    }

    /// Our side says nothing more. Only when [`Self::is_flushed`].
    pub(super) fn shutdown_write(&mut self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(wire) => {
                wire.session.send_close_notify();
                let _ = wire.send();
                wire.stream.shutdown(Shutdown::Write)
            }
        };
    }
}

impl TlsWire {
    fn shake_hands(&mut self) -> io::Result<bool> {
        loop {
            self.send()?;
            if !self.session.is_handshaking() {
                return Ok(true);
            }
            match self.session.read_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.digest()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes apart what was read.
    fn digest(&mut self) -> io::Result<()> {
        match self.session.process_new_packets() {
            Ok(_) => Ok(()),
            Err(error) => {
                // What is wrong is told before the connection is closed.
                let _ = self.send();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Gives the kernel what it takes.
    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn written(&mut self, count: usize, asked: usize) -> io::Result<usize> {
        self.send()?;
        if count == 0 && asked > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wire = match self {
            Self::Unix(stream) => return Direct(&*stream).read(into),
            Self::Tcp(stream) => return Direct(&*stream).read(into),
            Self::Tls(wire) => wire,
        };
        loop {
            match wire.session.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            match wire.session.read_tls(&mut wire.stream) {
                Ok(_) => {
                    wire.digest()?;
                    wire.send()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => Direct(&*stream).write(bytes),
            Self::Tcp(stream) => Direct(&*stream).write(bytes),
            Self::Tls(wire) => {
                let count = wire.session.writer().write(bytes)?;
                wire.written(count, bytes.len())
            }
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write_vectored(pieces),
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Tls(wire) => {
                let count = wire.session.writer().write_vectored(pieces)?;
                wire.written(count, pieces.iter().map(|piece| piece.len()).sum())
            }
        }
    }

    /// Gives the kernel what it takes of what was written.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(wire) => wire.send(),
        }
    }
}

impl Source for Wire {
    fn register(&mut self, at: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.register(at, token, interests),
            Self::Tcp(stream) => stream.register(at, token, interests),
            Self::Tls(wire) => wire.stream.register(at, token, interests),
        }
    }

    fn reregister(&mut self, at: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.reregister(at, token, interests),
            Self::Tcp(stream) => stream.reregister(at, token, interests),
            Self::Tls(wire) => wire.stream.reregister(at, token, interests),
        }
    }

    fn deregister(&mut self, at: &Registry) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.deregister(at),
            Self::Tcp(stream) => stream.deregister(at),
            Self::Tls(wire) => wire.stream.deregister(at),
        }
    }
}

fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
