//! The server's side of TLS on one client's connection.
//!
//! ```text
//!              begins         hello is whole       client's Finished       close_notify, EOF
//!  (new) ─▶ Plain ────▶ Hello ───────────────▶ Shaking ───────────────▶ Open ───────────▶ Ended
//!             ▲           │ speaks HTTP           │ refused              │ broken          │
//!             └───────────┘                       ▼                      ▼                 │
//!                                               Deaf ◀───────────────────┴─────────────────┘
//! ```
//!
//! Plain: bytes pass as they are; a PROXY header comes before the hello. Deaf: what comes is not
//! opened any more, and who reads throws it away: an alert is lost to a reset when the socket is
//! closed behind it while bytes wait unread.
//!
//! The session holds no buffers of its own: records are read into and written from blocks of the
//! loop, [`TlsBlocks`], and a connection keeps one only while a record is not whole or not sent.
//! A record is opened only when its plaintext is wanted, so nothing waits inside the session.

use super::buffers::Buffer;
use crate::sys::socket::Direct;
use mio::net::TcpStream;
use rip::limits::BLOCK_BYTES;
use rip::observe::note::{Suite, TlsFacts};
use rustls::server::{Acceptor, ClientHello, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, InvalidMessage, ServerConfig};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// A client's connection under TLS.
pub struct TlsStream {
    socket: TcpStream,
    /// From the hello on, for as long as something can be sealed or opened.
    session: Option<Box<UnbufferedServerConnection>>,
    stage: Stage,
    /// Records that are not whole yet, or not wanted yet.
    received: Buffer,
    /// A whole record among them was left because there was no room.
    leaves_records: bool,
    /// Records that are not the kernel's yet.
    unsent: Buffer,
    /// The client was told that we say nothing more, or never will be.
    is_ended: bool,
    /// The client was told to say another hello.
    is_asked_again: bool,
    /// Whom its hello asked for.
    server_name: Option<Box<str>>,
}

enum Stage {
    Plain,
    /// A hello that has to be looked at before its configuration is known goes through the acceptor
    /// as well: so many bytes of it did.
    Hello(Option<(Box<Acceptor>, usize)>),
    Shaking,
    Open,
    Ended,
    Deaf,
}

/// What handshakes are made with.
pub trait Handshakes {
    /// The configuration for every client, where none has to be looked at first.
    fn for_all(&self) -> Option<Arc<ServerConfig>>;
    /// The configuration for the client that says `hello`.
    fn for_one(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig>;
}

/// What one read came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Got {
    /// So many bytes for the protocol above, maybe none.
    Bytes {
        /// How many.
        count: usize,
        /// A further read may give more at once.
        more: bool,
    },
    /// The client says nothing more.
    End,
    /// The client speaks HTTP, without TLS: now bytes pass as they are.
    Plain,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// The socket failed, or the client left in the middle of the handshake.
    Io(io::Error),
    /// The session failed. The alert that says so is written like anything else.
    Tls(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl TlsStream {
    /// A connection on which nothing was said yet. Bytes pass as they are.
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            session: None,
            stage: Stage::Plain,
            leaves_records: false,
            received: Buffer::default(),
            unsent: Buffer::default(),
            is_ended: false,
            is_asked_again: false,
            server_name: None,
        }
    }

    /// The hello comes now; `received` of it has come already.
    pub fn begin(&mut self, received: &[u8]) {
        self.stage = Stage::Hello(None);
        self.leaves_records = !received.is_empty();
        if !received.is_empty() {
            self.received = Buffer::with_capacity(received.len());
            self.received.push(received);
        }
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The same, to be registered.
    pub fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Bytes pass as they are: before a hello, or because the client speaks HTTP.
    pub fn is_plain(&self) -> bool {
        matches!(self.stage, Stage::Plain)
    }

    /// Its hello was not answered yet, or only by the wish for another one.
    pub fn awaits_hello(&self) -> bool {
        matches!(self.stage, Stage::Hello(_))
    }

    /// Its handshake has not ended yet.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Hello(_) | Stage::Shaking)
    }

    /// The client came back with a session it had before.
    pub fn is_resumed(&self) -> bool {
        let session = self.session.as_ref();
        session.and_then(|session| session.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// How it is sealed; `None` while that is not settled.
    pub fn facts(&self) -> Option<TlsFacts> {
        let session = self.session.as_ref()?;
        Some(TlsFacts {
            version: session.protocol_version()?.into(),
            suite: Suite(session.negotiated_cipher_suite()?.suite().into()),
            resumed: self.is_resumed(),
        })
    }

    /// The name that the client's hello asked for, where one had to be looked at.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Bytes of records that are not the kernel's yet.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Reads once, goes on with the handshake, and appends to `input` what the client says inside:
    /// one record, and further ones while they fit into a block. What is to be written for it waits
    /// for [`Self::send`].
    ///
    /// # Errors
    /// That it would block, or was interrupted; every other one is the connection's last. Behind
    /// [`Failure::Tls`] an alert waits to be sent, and reading goes on unopened.
    pub fn read(
        &mut self,
        input: &mut Buffer,
        blocks: &mut TlsBlocks,
        handshakes: &impl Handshakes,
    ) -> Result<Got, Failure> {
        match self.stage {
            Stage::Plain | Stage::Deaf => return self.read_unopened(input),
            Stage::Ended => return Ok(Got::End),
            Stage::Hello(_) | Stage::Shaking | Stage::Open => {}
        }
        let mut incoming = blocks.take_incoming();
        if !self.received.is_empty() {
            incoming.push(self.received.filled());
            self.received = Buffer::default();
        }
        let before = input.len();
        let result = self.read_records(&mut incoming, input, blocks, handshakes);
        if !incoming.is_empty() && !matches!(self.stage, Stage::Ended | Stage::Deaf) {
            self.received = Buffer::with_capacity(incoming.len());
            self.received.push(incoming.filled());
        }
        blocks.give_incoming(incoming);
        let kernel_has_more = result?;
        match self.stage {
            // What came before the end is taken first.
            Stage::Ended if input.len() == before => Ok(Got::End),
            Stage::Hello(_)
                if self.session.is_none()
                    && self.received.filled().first().is_some_and(u8::is_ascii_alphabetic) =>
            {
                self.received = Buffer::default();
                self.stage = Stage::Plain;
                Ok(Got::Plain)
            }
            _ => {
                let ended = matches!(self.stage, Stage::Ended);
                let more = kernel_has_more || self.leaves_records || ended;
                Ok(Got::Bytes { count: input.len() - before, more })
            }
        }
    }

    /// True when the kernel may have more.
    fn read_records(
        &mut self,
        incoming: &mut Buffer,
        input: &mut Buffer,
        blocks: &mut TlsBlocks,
        handshakes: &impl Handshakes,
    ) -> Result<bool, Failure> {
        let mut kernel_has_more = true;
        if !std::mem::take(&mut self.leaves_records) {
            let room = incoming.space();
            let asked = room.len().min(RECORD_BYTES);
            let room = room.get_mut(..asked).unwrap_or_default();
            if asked == 0 {
                return Err(self.too_large(blocks));
            }
            match Direct(&self.socket).read(room) {
                Ok(0) if self.is_handshaking() => {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                Ok(0) => {
                    self.stage = Stage::Ended;
                    return Ok(false);
                }
                Ok(count) => {
                    incoming.filled_by(count);
                    kernel_has_more = count == asked;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.awaits_hello() && !self.choose(incoming.filled(), handshakes)? {
            return Ok(kernel_has_more);
        }
        if let Err(error) = self.process(incoming, input, blocks) {
            self.alert(blocks);
            return Err(Failure::Tls(error));
        }
        Ok(kernel_has_more)
    }

    fn read_unopened(&mut self, input: &mut Buffer) -> Result<Got, Failure> {
        let room = input.space();
        let asked = room.len();
        match Direct(&self.socket).read(room)? {
            0 => Ok(Got::End),
            count => {
                input.filled_by(count);
                Ok(Got::Bytes { count, more: count == asked })
            }
        }
    }

    /// Begins the session of the client whose hello begins with `hello`. False while it cannot be
    /// told which one.
    fn choose(&mut self, hello: &[u8], handshakes: &impl Handshakes) -> Result<bool, Failure> {
        if self.session.is_some() {
            return Ok(true);
        }
        if hello.first().is_none_or(u8::is_ascii_alphabetic) {
            return Ok(false);
        }
        let Stage::Hello(looking) = &mut self.stage else { return Ok(true) };
        let at_once = if looking.is_none() { handshakes.for_all() } else { None };
        let config = match at_once {
            Some(config) => config,
            None => {
                let (acceptor, seen) = looking.get_or_insert_default();
                let mut rest = hello.get(*seen..).unwrap_or_default();
                *seen = hello.len();
                while !rest.is_empty() {
                    acceptor.read_tls(&mut rest)?;
                }
                match acceptor.accept() {
                    Ok(None) => return Ok(false),
                    Ok(Some(accepted)) => {
                        let hello = accepted.client_hello();
                        self.server_name = hello.server_name().map(Box::from);
                        handshakes.for_one(&hello)
                    }
                    // The session will say what is wrong with it.
                    Err(_) => match handshakes.for_all() {
                        Some(config) => config,
                        None => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                    },
                }
            }
        };
        let session = UnbufferedServerConnection::new(config).map_err(Failure::Tls)?;
        self.session = Some(Box::new(session));
        Ok(true)
    }

    /// Takes apart what was read, as far as it is wanted.
    fn process(
        &mut self,
        incoming: &mut Buffer,
        input: &mut Buffer,
        blocks: &mut TlsBlocks,
    ) -> Result<(), Error> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let before = input.len();
        loop {
            let UnbufferedStatus { mut discard, state } =
                session.process_tls_records(incoming.filled_mut());
            let mut rests = false;
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        input.push(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, blocks.lend(&mut self.unsent)),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.stage = Stage::Ended;
                    rests = true;
                }
                // There is none: no configuration allows it.
                ConnectionState::ReadEarlyData(mut early) => while early.next_record().is_some() {},
                _ => rests = true,
            }
            incoming.consume(discard);
            if rests {
                break;
            }
            if input.len() > before && !next_fits(incoming.filled(), input) {
                self.leaves_records = true;
                break;
            }
        }
        self.stage = match &self.stage {
            Stage::Hello(_) | Stage::Shaking if !session.is_handshaking() => {
                // A handshake that proves whose a name is has no other purpose (RFC 8737 §3).
                match session.alpn_protocol() {
                    Some(ACME_TLS) => Stage::Ended,
                    _ => Stage::Open,
                }
            }
            // It was asked for another hello, and that is the one that costs.
            Stage::Hello(_) if !self.is_asked_again && asks_again(session) => {
                self.is_asked_again = true;
                return Ok(());
            }
            Stage::Hello(_) if !self.unsent.is_empty() => Stage::Shaking,
            _ => return Ok(()),
        };
        Ok(())
    }

    /// Takes `bytes`, or as many of them as fit, and writes what the kernel takes.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while earlier records wait for the kernel; every other one is
    /// the connection's last.
    pub fn write(&mut self, bytes: &[u8], blocks: &mut TlsBlocks) -> io::Result<usize> {
        let count = self.gather(bytes, blocks)?;
        self.send(blocks)?;
        Ok(count)
    }

    /// The same where more comes at once: nothing has to leave yet.
    ///
    /// # Errors
    /// As those of [`Self::write`].
    pub fn gather(&mut self, bytes: &[u8], blocks: &mut TlsBlocks) -> io::Result<usize> {
        if self.unsent.len() >= BLOCK_BYTES && !self.send(blocks)? || self.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = bytes.get(..SEAL_BYTES).unwrap_or(bytes);
        if matches!(self.stage, Stage::Plain) {
            blocks.lend(&mut self.unsent).push(bytes);
        } else {
            self.with_session(blocks, bytes.len(), |traffic, into| traffic.encrypt(bytes, into))?;
        }
        Ok(bytes.len())
    }

    /// The same with what `fill` gives: it gets room, and says how much of it it has filled.
    ///
    /// # Errors
    /// As those of [`Self::write`], and those of `fill`.
    pub fn write_from(
        &mut self,
        blocks: &mut TlsBlocks,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.unsent.len() >= BLOCK_BYTES && !self.send(blocks)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut piece = std::mem::take(&mut blocks.plaintext);
        piece.resize(SEAL_BYTES, 0);
        let room = piece.get_mut(..most.min(SEAL_BYTES)).unwrap_or_default();
        let filled = fill(room);
        let written =
            filled.and_then(|count| self.write(piece.get(..count).unwrap_or_default(), blocks));
        blocks.plaintext = piece;
        written
    }

    /// Gives the kernel what it takes. True when everything that was taken is the kernel's.
    ///
    /// # Errors
    /// Every error is the connection's last.
    pub fn send(&mut self, blocks: &mut TlsBlocks) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match Direct(&self.socket).write(self.unsent.filled()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.unsent.consume(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    blocks.spare(&mut self.unsent);
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        blocks.spare(&mut self.unsent);
        Ok(true)
    }

    /// Tells the client that it has everything: behind what is unsent, with the next
    /// [`Self::send`]. Nothing more can be written.
    pub fn farewell(&mut self, blocks: &mut TlsBlocks) {
        if self.is_ended || self.session.is_none() || self.is_handshaking() {
            return;
        }
        self.is_ended = true;
        let goodbye =
            self.with_session(blocks, 0, |traffic, into| traffic.queue_close_notify(into));
        if let Err(error) = goodbye {
            log::trace!("a client is not told that it has everything: {error}");
        }
    }

    /// [`Self::farewell`] will say nothing: something is missing.
    pub fn forgo_farewell(&mut self) {
        self.is_ended = true;
    }

    /// What the client still says is not opened any more, and nothing is sealed.
    pub fn deafen(&mut self) {
        self.session = None;
        self.received = Buffer::default();
        self.leaves_records = false;
        self.stage = Stage::Deaf;
    }

    /// Has `seal` write into the records that are unsent, once the session itself has nothing more
    /// to say.
    fn with_session(
        &mut self,
        blocks: &mut TlsBlocks,
        length: usize,
        mut seal: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let unsent = blocks.lend(&mut self.unsent);
        let mut room = length + (1 + length / BLOCK_BYTES) * OVERHEAD_BYTES;
        // A message that is not whole has to be shown again with each call. A record that was left
        // for want of room came behind one with content, so no such message is before it.
        let records = if self.leaves_records { &mut [] } else { self.received.filled_mut() };
        loop {
            // Nothing new is among them, so nothing of them is done with.
            match session.process_tls_records(records).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    unsent.reserve(room);
                    match seal(&mut traffic, unsent.space()) {
                        Ok(count) => {
                            unsent.filled_by(count);
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(size)) if size.required_size > room => {
                            room = size.required_size;
                        }
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, unsent),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => {}
                Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    /// A message of the handshake has no end. Before keys are agreed on the alert is ours to say (RFC
    /// 8446 §6: fatal, decode_error); later only the session could seal it, and it still waits for
    /// more.
    fn too_large(&mut self, blocks: &mut TlsBlocks) -> Failure {
        if self.awaits_hello() && self.unsent.is_empty() {
            blocks.lend(&mut self.unsent).push(&[0x15, 3, 3, 0, 2, 2, 50]);
        }
        self.deafen();
        Failure::Tls(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge))
    }

    /// The session has failed: its last words are put to what is unsent, and nothing is opened any
    /// more.
    fn alert(&mut self, blocks: &mut TlsBlocks) {
        if let Some(mut session) = self.session.take() {
            // It is asked for no more than it has to say: where it is in the middle of a message it
            // takes for granted that it gets the beginning again.
            while session.wants_write() {
                match session.process_tls_records(&mut []).state {
                    Ok(ConnectionState::EncodeTlsData(data)) => {
                        encode(data, blocks.lend(&mut self.unsent));
                    }
                    _ => break,
                }
            }
        }
        self.deafen();
    }
}

type Traffic<'a> = WriteTraffic<'a, ServerConnectionData>;
type Encode<'a> = EncodeTlsData<'a, ServerConnectionData>;

/// The client was told to say another hello (RFC 8446 §4.1.4).
fn asks_again(session: &UnbufferedServerConnection) -> bool {
    session.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
}

/// Appends a record of the session's own.
fn encode(mut data: Encode<'_>, unsent: &mut Buffer) {
    loop {
        match data.encode(unsent.space()) {
            Ok(count) => return unsent.filled_by(count),
            Err(EncodeError::InsufficientSize(size)) => unsent.reserve(size.required_size),
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// The next record is not whole, or there is room for what it holds without growing.
fn next_fits(records: &[u8], input: &Buffer) -> bool {
    let &[_, _, _, high, low, ..] = records else { return true };
    let length = usize::from(u16::from_be_bytes([high, low]));
    records.len() < HEADER_BYTES + length || input.len() + length <= BLOCK_BYTES
}

/// One loop's blocks for records, lent to the connection that reads or writes.
#[derive(Debug, Default)]
pub struct TlsBlocks {
    incoming: Buffer,
    outgoing: Vec<Buffer>,
    /// Where files are read to be sealed.
    plaintext: Vec<u8>,
}

impl TlsBlocks {
    fn take_incoming(&mut self) -> Buffer {
        match std::mem::take(&mut self.incoming) {
            buffer if buffer.capacity() > 0 => buffer,
            _ => Buffer::with_capacity(INCOMING_BYTES),
        }
    }

    fn give_incoming(&mut self, mut buffer: Buffer) {
        buffer.consume(usize::MAX);
        self.incoming = buffer;
    }

    /// Lends `unsent` a block where it has no memory of its own.
    fn lend<'b>(&mut self, unsent: &'b mut Buffer) -> &'b mut Buffer {
        if unsent.capacity() == 0 {
            let block = self.outgoing.pop();
            *unsent = block.unwrap_or_else(|| Buffer::with_capacity(OUTGOING_BYTES));
        }
        unsent
    }

    /// Takes the block of `unsent` back: what is left in it and small moves out.
    fn spare(&mut self, unsent: &mut Buffer) {
        if unsent.capacity() == 0 || unsent.len() > unsent.capacity() / 2 {
            return;
        }
        let mut rest = Buffer::default();
        if !unsent.is_empty() {
            rest = Buffer::with_capacity(unsent.len());
            rest.push(unsent.filled());
        }
        let mut block = std::mem::replace(unsent, rest);
        if block.capacity() == OUTGOING_BYTES && self.outgoing.len() < SPARE_COUNT {
            block.consume(usize::MAX);
            self.outgoing.push(block);
        }
    }
}

/// The protocol of TLS-ALPN-01 (RFC 8737 §6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";
const HEADER_BYTES: usize = 5;
/// What a record holds beside its plaintext: header, nonce, tag and padding of every suite there is.
const OVERHEAD_BYTES: usize = 64;
/// One record, as most of those that are full are: a further byte would begin the next.
const RECORD_BYTES: usize = BLOCK_BYTES + 22;
/// Two records of the largest size allowed (RFC 5246 §6.2.3), or a hello in many pieces.
const INCOMING_BYTES: usize = 2 * (BLOCK_BYTES + 2048 + HEADER_BYTES);
/// Plaintext that is sealed at a time.
const SEAL_BYTES: usize = 4 * BLOCK_BYTES;
/// Room for it, for a head before it, and for what a handshake says.
const OUTGOING_BYTES: usize = 2 * SEAL_BYTES;
const SPARE_COUNT: usize = 4;

#[cfg(test)]
mod tests;
