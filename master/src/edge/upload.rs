//! A request's body that is passed on as it comes: to an upstream, or to a worker whose app wants it
//! so.
//!
//! The client is read only while somebody takes what it sends: before there is a connection, and
//! while a little waits for it, nothing is read, and the client's clock stands still.

use super::answer::output;
use super::exchange::State;
use super::turn::Edge;
use crate::reactor::outbox::{Flush, Outbox};
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::http1::encode;
use rip::http1::head::BodyLength;
use std::io::{self, IoSlice, Write};

/// A body on its way.
pub(super) struct Upload {
    pub(super) length: BodyLength,
    /// In its framing, not taken by the other side yet.
    pending: Outbox,
    /// The last byte of it has come.
    ended: bool,
    /// Some of it was taken: the request cannot be sent again.
    pub(super) is_begun: bool,
}

impl Upload {
    /// The body of a request that says it is so long.
    pub(super) fn new(length: BodyLength) -> Self {
        Self { length, pending: Outbox::new(), ended: false, is_begun: false }
    }

    /// The client has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_BYTES
    }

    /// The client has sent all of it.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    fn push(&mut self, data: &[u8]) {
        match self.length {
            BodyLength::Chunked => encode::chunk(data, self.pending.bytes_mut()),
            _ => self.pending.bytes_mut().extend_from_slice(data),
        }
    }

    fn end(&mut self) {
        if self.length == BodyLength::Chunked {
            self.pending.bytes_mut().extend_from_slice(encode::LAST_CHUNK);
        }
        self.ended = true;
    }
}

impl Edge {
    /// Takes in a piece of a body that is passed on as it comes.
    pub(super) fn upload(&mut self, key: Key, data: &[u8]) -> Result<(), Reason> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(()) };
        exchange.record.bytes_in += data.len() as u64;
        if exchange.record.bytes_in > exchange.body_limit {
            return Err(Reason::BodyTooLarge);
        }
        if let Some(upload) = &mut exchange.upload {
            upload.push(data);
        }
        Ok(())
    }

    /// The body has come to its end.
    pub(super) fn upload_complete(&mut self, key: Key) {
        if let Some(upload) =
            self.exchanges.get_mut(key).and_then(|exchange| exchange.upload.as_mut())
        {
            upload.end();
        }
    }

    /// There is a connection for a request whose body is to come: from now on the client is read.
    pub(super) fn invite_upload(&mut self, key: Key) {
        let Some(front_key) = self.exchanges.get(key).and_then(|exchange| exchange.front) else {
            return;
        };
        let Some(front) = self.fronts.get_mut(front_key) else { return };
        if front.server.wants_continue() {
            output(&mut front.output, &mut self.blocks).extend_from_slice(encode::CONTINUE);
            front.server.continue_sent();
        }
        // What is at hand of the body goes with the head.
        self.run_later(front_key);
    }

    /// Sends what there is of the head and the body.
    pub(super) fn send_upload(&mut self, link_key: Key, key: Key) {
        let now = self.clock.now();
        loop {
            let Some(link) = self.links.slab.get_mut(link_key) else { return };
            let Some(exchange) = self.exchanges.get_mut(key) else { return };
            let Some(upload) = &mut exchange.upload else { return };
            if exchange.state != State::Sending {
                return;
            }
            let timeout = exchange.patience.read;
            let head = exchange.request.get(exchange.sent as usize..).unwrap_or_default();
            let result = if head.is_empty() {
                let before = upload.pending.len();
                let flushed = upload.pending.flush(&mut link.wire);
                upload.is_begun |= upload.pending.len() < before;
                match flushed {
                    Ok(Flush::Done) if upload.ended => {
                        exchange.state = State::Answering;
                        self.link_wants_write(link_key, false);
                        return self.link_deadline(link_key, now + timeout);
                    }
                    Ok(Flush::Done) => {
                        // It is the client who is waited for now.
                        link.deadline = None;
                        self.link_wants_write(link_key, false);
                        return self.read_upload_on(key);
                    }
                    Ok(Flush::Blocked) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error),
                }
            } else {
                let parts = [IoSlice::new(head), IoSlice::new(upload.pending.unsent())];
                let head_bytes = head.len();
                link.wire.write_vectored(&parts).map(|count| {
                    let of_head = count.min(head_bytes);
                    exchange.sent += of_head as u64;
                    upload.is_begun |= count > of_head;
                    upload.pending.taken(count - of_head);
                })
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.link_wants_write(link_key, true);
                    return self.link_deadline(link_key, now + timeout);
                }
                Err(_) => {
                    self.rest_upload(key);
                    return self.send_failed(link_key, key);
                }
            }
        }
    }

    /// There is room again: the client may have waited for it.
    fn read_upload_on(&mut self, key: Key) {
        let Some(front_key) = self.exchanges.get(key).and_then(|exchange| exchange.front) else {
            return;
        };
        if self.fronts.get(front_key).is_some_and(super::front::Front::has_more_to_read) {
            self.run_later(front_key);
        }
    }

    /// Nobody takes the body for now: the client's clock stands still.
    pub(super) fn rest_upload(&mut self, key: Key) {
        let front = self.exchanges.get(key).and_then(|exchange| exchange.front);
        if let Some(front) = front.and_then(|front| self.fronts.get_mut(front)) {
            front.rest_body_clock();
        }
    }
}

/// A client is not read while this much waits for the other side.
const PENDING_BYTES: usize = 64 * 1024;
