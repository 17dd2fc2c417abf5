//! What carries a client's connection: TCP, or TLS over it.
//!
//! Links have a noun of their own ([`super::wire::Wire`]): they are connected by us, and Unix
//! sockets are among them.

use crate::reactor::buffers::Buffer;
use crate::reactor::outbox::{Flush, Outbox};
use crate::reactor::tls_stream::{Failure, Got, Handshakes, TlsBlocks, TlsStream};
use crate::sys::socket::Direct;
use mio::net::TcpStream;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

/// A client's connection, non-blocking.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Transport {
    /// A client's connection, to a listener for TLS if `is_secure`. TLS has to [begin](Self::begin).
    pub(super) fn new(stream: TcpStream, is_secure: bool) -> Self {
        if is_secure { Self::Tls(Box::new(TlsStream::new(stream))) } else { Self::Plain(stream) }
    }

    /// The client's hello comes now; `received` of it has come already.
    pub(super) fn begin(&mut self, received: &[u8]) {
        if let Self::Tls(stream) = self {
            stream.begin(received);
        }
    }

    /// What passes is sealed.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Its handshake has not ended yet.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_handshaking())
    }

    /// The client's hello was not answered yet.
    pub(super) fn awaits_hello(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.awaits_hello())
    }

    /// The name that the client's hello asked for, where one had to be looked at.
    pub(super) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.server_name(),
        }
    }

    /// The socket.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket(),
        }
    }

    /// The same, to be registered.
    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket_mut(),
        }
    }

    /// Reads once, and appends what the client says to `input`.
    ///
    /// # Errors
    /// Every error is the connection's last, but that it would block, or was interrupted.
    pub(super) fn read(
        &mut self,
        input: &mut Buffer,
        blocks: &mut TlsBlocks,
        handshakes: &impl Handshakes,
    ) -> Result<Got, Failure> {
        match self {
            Self::Plain(stream) => {
                let room = input.space();
                let asked = room.len();
                match Direct(&*stream).read(room)? {
                    0 => Ok(Got::End),
                    count => {
                        input.filled_by(count);
                        // A short read emptied the socket.
                        Ok(Got::Bytes { count, more: count == asked })
                    }
                }
            }
            Self::Tls(stream) => stream.read(input, blocks, handshakes),
        }
    }

    /// Writes until the kernel takes no more. Done is what the kernel has all of.
    pub(super) fn flush(
        &mut self,
        output: &mut Outbox,
        blocks: &mut TlsBlocks,
    ) -> io::Result<Flush> {
        match self {
            Self::Plain(stream) => output.flush(&mut Direct(&*stream)),
            Self::Tls(stream) => {
                if output.flush(&mut Sealing { stream, blocks })? == Flush::Done
                    && stream.send(blocks)?
                {
                    return Ok(Flush::Done);
                }
                Ok(Flush::Blocked)
            }
        }
    }

    /// The same where more follows at once: nothing has to leave yet. A head that is kept back for the
    /// pages of its file (`MSG_MORE`) costs a fifth to a third more time than one that leaves by itself.
    pub(super) fn gather(
        &mut self,
        output: &mut Outbox,
        blocks: &mut TlsBlocks,
    ) -> io::Result<Flush> {
        match self {
            Self::Plain(stream) => output.flush(&mut Direct(&*stream)),
            Self::Tls(stream) => output.flush(&mut Gathering { stream, blocks }),
        }
    }

    /// Writes of `bytes` what is taken at once.
    pub(super) fn write(&mut self, bytes: &[u8], blocks: &mut TlsBlocks) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => Direct(&*stream).write(bytes),
            Self::Tls(stream) => stream.write(bytes, blocks),
        }
    }

    /// Writes of `pieces`, one behind the other, what is taken at once. Over TLS they are
    /// [flushed](Self::flush) when all of them are taken.
    pub(super) fn write_pieces(
        &mut self,
        pieces: &[IoSlice<'_>],
        blocks: &mut TlsBlocks,
    ) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write_vectored(pieces),
            Self::Tls(stream) => {
                let mut taken = 0;
                for piece in pieces {
                    match stream.gather(piece, blocks) {
                        Ok(count) if count == piece.len() => taken += count,
                        Ok(count) => return Ok(taken + count),
                        Err(_) if taken > 0 => return Ok(taken),
                        Err(error) => return Err(error),
                    }
                }
                Ok(taken)
            }
        }
    }

    /// Bytes that were taken and are not the kernel's yet.
    pub(super) fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.unsent(),
        }
    }

    /// The same for an answer that is the last: its end leaves with it.
    pub(super) fn flush_last(
        &mut self,
        output: &mut Outbox,
        blocks: &mut TlsBlocks,
    ) -> io::Result<Flush> {
        if let Self::Tls(stream) = self
            && output.flush(&mut Gathering { stream, blocks })? == Flush::Done
        {
            stream.farewell(blocks);
        }
        self.flush(output, blocks)
    }

    /// What the client got is whole: it is told so, as far as the kernel takes that at once.
    pub(super) fn farewell(&mut self, blocks: &mut TlsBlocks) {
        if let Self::Tls(stream) = self {
            stream.farewell(blocks);
            // Whoever is not told of the end sees it.
            let _ = stream.send(blocks);
        }
    }

    /// What the client got is not whole, and will not look so.
    pub(super) fn forgo_farewell(&mut self) {
        if let Self::Tls(stream) = self {
            stream.forgo_farewell();
        }
    }

    /// Our side says nothing more; the client may.
    pub(super) fn shutdown_write(&mut self, blocks: &mut TlsBlocks) {
        self.farewell(blocks);
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// What the client still says is not looked at.
    pub(super) fn deafen(&mut self) {
        if let Self::Tls(stream) = self {
            stream.deafen();
        }
    }
}

/// Each write leaves at once.
struct Sealing<'t> {
    stream: &'t mut TlsStream,
    blocks: &'t mut TlsBlocks,
}

impl Write for Sealing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes, self.blocks)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Small writes leave with the larger ones behind them.
struct Gathering<'t> {
    stream: &'t mut TlsStream,
    blocks: &'t mut TlsBlocks,
}

impl Write for Gathering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.gather(bytes, self.blocks)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
