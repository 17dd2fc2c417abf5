//! Who is at the other end of a connection, and who asks a request.
//!
//! ```text
//!  accepted ──────────────────────────────────────────────▶ Direct
//!     │ at a listener for proxies
//!     ├── peer is trusted ──▶ HeaderAwaited ── header ────▶ Proxied
//!     │                            └── none, in time ──▶ closed
//!     └── peer is not ──▶ closed
//! ```
//!
//! What is closed here is closed without a word: whoever speaks is not known to speak HTTP.

use super::front::Front;
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use crate::shared::snapshot::Snapshot;
use rip::contract::listen::ListenAddress;
use rip::contract::reason::Reason;
use rip::guard::client_ip::{Client, Scheme};
use rip::guard::phase::Phase;
use rip::guard::proxy_header::{self, Progress, Source};
use rip::http1::head::RequestHead;
use rip::observe::counter::Counter;
use std::net::IpAddr;
use std::ops::ControlFlow;

/// How a connection says whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// The peer is the one that asks, or a proxy that says so in each request.
    Direct,
    /// A PROXY header has to come before anything else.
    HeaderAwaited,
    /// It came. Whoever it named: nobody asks from this machine on such a connection.
    Proxied,
}

impl Front {
    /// Who asks the request that `head` begins.
    pub(super) fn client<'b>(
        &self,
        head: &RequestHead,
        buf: &'b [u8],
        snapshot: &Snapshot,
    ) -> Client<'b> {
        let scheme = if self.is_secure() { Scheme::Https } else { Scheme::Http };
        Client::of(head, buf, self.peer().ip(), scheme, &snapshot.trusted)
    }
}

impl Edge {
    /// Who asks the request that `head` begins; whose the connection is when there is none.
    pub(super) fn client_ip(
        &self,
        front: Key,
        head: Option<(&RequestHead, &[u8])>,
    ) -> Option<IpAddr> {
        let front = self.fronts.get(front)?;
        let Some((head, buf)) = head else { return Some(front.peer().ip()) };
        Some(front.client(head, buf, self.snapshots.active()).ip)
    }

    /// How a connection from `peer` to the listener at `at` begins; `None` when it must not.
    pub(super) fn entry(&self, peer: IpAddr, at: ListenAddress) -> Option<Entry> {
        if !self.snapshots.beginning(at).has_header {
            return Some(Entry::Direct);
        }
        let is_trusted = self.snapshots.active().trusted.contains(peer);
        if !is_trusted {
            log::debug!("{peer} is no trusted proxy, but connected to {at}");
        }
        is_trusted.then_some(Entry::HeaderAwaited)
    }

    /// Reads the header that has to come first. Broken off with whether more bytes are wanted.
    pub(super) fn read_proxy_header(&mut self, key: Key, input: &mut Buffer) -> ControlFlow<bool> {
        let (consumed, source) = match proxy_header::read(input.filled()) {
            Progress::More => return ControlFlow::Break(true),
            Progress::Header { consumed, source } => (consumed, source),
            Progress::Malformed(what) => {
                self.close_without_header(key, what);
                return ControlFlow::Break(false);
            }
        };
        input.consume(consumed);
        let Some(front) = self.fronts.get_mut(key) else { return ControlFlow::Break(false) };
        front.entry = Entry::Proxied;
        if let Source::Client { from, .. } = source {
            front.connection.peer = Some(from);
        }
        if front.transport.is_tls() {
            // Its deadline is that of the handshake as well. What came behind it is its beginning.
            front.transport.begin(input.filled());
            front.readable = true;
            input.consume(input.len());
            return ControlFlow::Continue(());
        }
        front.deadlines.clear(Phase::Head);
        self.front_idles(key);
        ControlFlow::Continue(())
    }

    /// Closes a connection that did not begin as it has to.
    pub(super) fn close_without_header(&mut self, key: Key, what: &str) {
        let Some(front) = self.fronts.get(key) else { return };
        log::debug!("no PROXY header from {}: {what}", front.peer());
        self.shard().add(Counter::Refusal(Reason::ProxyHeader), 1);
        self.close_front(key);
    }
}
