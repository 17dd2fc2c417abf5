//! TLS handshakes of clients: how many a turn may answer, what becomes of those that fail, and what
//! is counted.
//!
//! An answer to a hello costs as much as dozens of requests. So hellos wait for the end of a turn,
//! where some of them are answered and the rest is put off to the next: a thousand clients that come
//! at once make nobody wait who is here.

use super::front::Front;
use super::transport::Transport;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use rip::observe::counter::Counter;
use rustls::Error;

impl Front {
    /// What passes between the client and us is sealed.
    pub(super) fn is_secure(&self) -> bool {
        matches!(&self.transport, Transport::Tls(stream) if !stream.is_plain())
    }
}

impl Edge {
    /// What passes between this client and us is sealed.
    pub(super) fn is_secure(&self, front: Key) -> bool {
        self.fronts.get(front).is_some_and(Front::is_secure)
    }

    /// A read may have moved the handshake on, which had yet to begin if `awaited_hello`.
    pub(super) fn handshake_moved(&mut self, key: Key, awaited_hello: bool) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Transport::Tls(stream) = &front.transport else { return };
        if awaited_hello && !stream.awaits_hello() {
            self.hellos_left = self.hellos_left.saturating_sub(1);
        }
        if stream.is_handshaking() {
            return;
        }
        let is_resumed = stream.is_resumed();
        front.connection.tls = stream.facts();
        front.deadlines.clear(Phase::Head);
        self.front_idles(key);
        let shard = self.shard();
        shard.add(Counter::Handshakes, 1);
        shard.add(Counter::Resumptions, u64::from(is_resumed));
    }

    /// The session failed: its alert is sent, then the connection ends. What the client still says
    /// is read and thrown away, or the alert would be lost to a reset. Where a hello was
    /// awaited it may have been answered before, and counts.
    pub(super) fn tls_failed(
        &mut self,
        key: Key,
        (awaited_hello, was_handshaking): (bool, bool),
        error: &Error,
    ) {
        self.hellos_left = self.hellos_left.saturating_sub(u32::from(awaited_hello));
        let Some(front) = self.fronts.get(key) else { return };
        log::debug!("TLS with {} failed: {error}", front.peer());
        let reason = if was_handshaking { reason(error) } else { Reason::TlsBroken };
        self.shard().add(Counter::Refusal(reason), 1);
        self.end_with_alert(key);
    }
}

/// Why a handshake failed.
fn reason(error: &Error) -> Reason {
    match error {
        Error::NoApplicationProtocol | Error::PeerIncompatible(_) => Reason::TlsIncompatible,
        Error::AlertReceived(_) => Reason::TlsRefused,
        Error::General(_) => Reason::TlsName,
        _ => Reason::TlsBroken,
    }
}

/// Hellos that one turn answers.
pub(super) const HELLOS_PER_TURN: u32 = 8;
