//! A connection that left HTTP: bytes pass both ways between a client and the worker or upstream
//! that switched.
//!
//! ```text
//!            101            one side ended, its last byte passed on
//!  exchange ─────▶ Both ways ────────────────────────────────────────▶ One way
//!                     │  reset, too long idle, the server's end           │ the other side ended
//!                     ▼                                                   ▼
//!                  (gone) ◀───────────────────────────────────────────────┘
//! ```
//!
//! Neither side is read while what it said before waits for the other. The worker's lease has ended
//! with its 101; the tunnel keeps it from being stopped until its drain deadline. The exchange stays
//! for the access line that tells of it at its end, and for the configuration it was born with.

use super::answer::output;
use super::exchange::{Exchange, State};
use super::front::Front;
use super::link::Filled;
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::outbox::Outbox;
use crate::reactor::slab::Key;
use crate::reactor::tls_stream::{Failure, Got};
use crate::shared::pools::AppPool;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use rip::http1::changes::Changes;
use rip::http1::head::ResponseHead;
use rip::http1::{fields, upgrade};
use rip::limits;
use rip::pool;
use rip::upstream::Outcome;
use std::io;
use std::sync::Arc;

/// What an exchange knows of its tunnel.
pub(super) struct Tunnel {
    /// The worker's side of it, where it leads to one.
    worker: Option<(Arc<AppPool>, pool::Tunnel)>,
    to_backend: Outbox,
    client: Side,
    backend: Side,
}

/// What one side has said about its end.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// It says nothing more.
    ended: bool,
    /// The other side was told so.
    told: bool,
}

impl Tunnel {
    /// The app that it leads to.
    pub(super) fn app(&self) -> Option<&str> {
        self.worker.as_ref().map(|(pool, _)| pool.id.as_str())
    }
}

/// What became of reading one side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    /// Nothing more for now.
    Quiet,
    /// Something moved, and more may follow.
    Moved,
    /// The connection is broken.
    Broken,
}

impl Edge {
    /// Passes the head of a 101 on to the client. False when it switches to something that was not
    /// asked for.
    pub(super) fn answer_switches(&mut self, key: Key, head: &ResponseHead, buf: &[u8]) -> bool {
        if !upgrade::is_websocket(head, buf) {
            return false;
        }
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) else {
            return false;
        };
        let born_with = self.snapshots.get(exchange.snapshot);
        let changes =
            born_with.and_then(|snapshot| snapshot.table.headers().response(&exchange.changes));
        let changes = changes.as_ref().map(|changes| changes as &dyn Changes);
        let out = output(&mut front.output, &mut self.blocks);
        let Some(answer) = front.server.informational(101, head.reason(buf), out) else {
            return false;
        };
        let mut answer = answer.changed_by(changes);
        upgrade::switching(&mut answer);
        answer.field(b"X-Request-Id", exchange.request_id.as_bytes());
        fields::forward_response(head, buf, &mut answer);
        answer.finish();
        exchange.answered = true;
        exchange.record.status = 101;
        true
    }

    /// The 101 was passed on: from now on bytes are. What came behind the two heads comes first.
    pub(super) fn open_tunnel(&mut self, link_key: Key, key: Key) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let mut worker = None;
        if let Some(lease) = exchange.lease.take()
            && let Some(pool) = self.seats.pool(exchange.pool).cloned()
        {
            let tunnel = pool.upgrade(lease, self.index, now, &mut self.settled);
            worker = Some((pool, tunnel));
        }
        if let Some(proxied) = &mut exchange.proxied {
            proxied.end(Outcome::Finished, now);
        }
        // No reload waits for a tunnel: its pool knows of it, and its worker's deadline ends it.
        let pool = std::mem::replace(&mut exchange.pool, rip::ids::PoolNumber::NONE);
        exchange.state = State::Tunnelling;
        let mut tunnel = Tunnel {
            worker,
            to_backend: Outbox::new(),
            client: Side::default(),
            backend: Side::default(),
        };
        if let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) {
            for phase in [Phase::Idle, Phase::Head, Phase::Body, Phase::BodyRate] {
                front.deadlines.clear(phase);
            }
            if let Some(input) = front.input.take() {
                exchange.record.bytes_in += input.len() as u64;
                tunnel.to_backend.bytes_mut().extend_from_slice(input.filled());
                self.blocks.give(input);
            }
            if let Some(link) = self.links.slab.get_mut(link_key)
                && let Some(input) = link.input.take()
            {
                exchange.record.bytes_out += input.len() as u64;
                output(&mut front.output, &mut self.blocks).extend_from_slice(input.filled());
                self.blocks.give(input);
            }
        }
        exchange.tunnel = Some(Box::new(tunnel));
        if self.seats.leave(pool) {
            self.report_left(pool);
        }
        self.link_deadline(link_key, now + limits::TUNNEL_IDLE);
        self.pump(key);
    }

    /// Whether the exchange is a tunnel.
    pub(super) fn is_tunnel(&self, key: Key) -> bool {
        self.exchanges.get(key).is_some_and(|exchange| exchange.state == State::Tunnelling)
    }

    /// Moves what can be moved, both ways.
    pub(super) fn pump(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let (Some(front_key), Some(link_key)) = (exchange.front, exchange.link) else { return };
        let before = moved(exchange);
        let mut block = self.blocks.take();
        let mut goes_left = GOES;
        let flow = loop {
            let up = self.pump_up(key, front_key, link_key, &mut block);
            if up == Flow::Broken {
                break up;
            }
            let down = self.pump_down(key, front_key, link_key, &mut block);
            // Writing may have found the client gone, and with it the tunnel.
            if down == Flow::Broken || !self.exchanges.contains(key) {
                break down;
            }
            if up == Flow::Quiet && down == Flow::Quiet {
                break Flow::Quiet;
            }
            goes_left -= 1;
            if goes_left == 0 {
                self.run_later(front_key);
                break Flow::Moved;
            }
        };
        self.blocks.give(block);
        if flow == Flow::Broken {
            return self.end_tunnel(key, None);
        }
        self.pass_ends_on(key, before);
    }

    /// From the client to the backend.
    fn pump_up(&mut self, key: Key, front_key: Key, link_key: Key, block: &mut Buffer) -> Flow {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Flow::Quiet };
        let Some(tunnel) = &mut exchange.tunnel else { return Flow::Quiet };
        let Some(front) = self.fronts.get_mut(front_key) else { return Flow::Quiet };
        let Some(link) = self.links.slab.get_mut(link_key) else { return Flow::Broken };
        let (mut read_bytes, mut was_read) = (0, false);
        if front.readable && !tunnel.client.ended && tunnel.to_backend.len() < WAITING_BYTES {
            match front.transport.read(block, &mut self.tls, &*self.shared.tls) {
                Ok(Got::End) => {
                    tunnel.client.ended = true;
                    front.readable = false;
                }
                Ok(Got::Bytes { count, more }) => {
                    front.readable = more || front.read_closed;
                    read_bytes = count;
                    was_read = true;
                }
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    front.readable = false;
                }
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(Failure::Tls(error)) => {
                    // The tunnel is over; the connection lives until its alert has arrived.
                    self.tls_failed(front_key, (false, false), &error);
                    return Flow::Quiet;
                }
                Ok(Got::Plain) | Err(Failure::Io(_)) => return Flow::Broken,
            }
        }
        exchange.record.bytes_in += read_bytes as u64;
        let was_waiting = tunnel.to_backend.len();
        let sent = tunnel.to_backend.flush_with(block.filled(), &mut link.wire);
        let rest = match sent {
            Ok(sent) => block.filled().get(sent..).unwrap_or_default(),
            Err(_) => return Flow::Broken,
        };
        if !rest.is_empty() {
            tunnel.to_backend.bytes_mut().extend_from_slice(rest);
        }
        block.consume(read_bytes);
        let waits = !tunnel.to_backend.is_empty();
        let moves = was_read || tunnel.to_backend.len() < was_waiting;
        self.link_wants_write(link_key, waits);
        if moves && !waits { Flow::Moved } else { Flow::Quiet }
    }

    /// From the backend to the client.
    fn pump_down(&mut self, key: Key, front_key: Key, link_key: Key, block: &mut Buffer) -> Flow {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Flow::Quiet };
        let Some(tunnel) = &mut exchange.tunnel else { return Flow::Quiet };
        let Some(front) = self.fronts.get_mut(front_key) else { return Flow::Quiet };
        let Some(link) = self.links.slab.get_mut(link_key) else { return Flow::Broken };
        let was_waiting = front.unsent();
        let mut read_bytes = 0;
        if link.readable && !tunnel.backend.ended && was_waiting < WAITING_BYTES {
            match link.fill(block, usize::MAX) {
                Filled::End => {
                    tunnel.backend.ended = true;
                    link.readable = false;
                }
                Filled::Bytes(count) => read_bytes = count,
                Filled::Nothing => {}
                Filled::Reset => {
                    // What it said before it broke is still the client's.
                    self.flush_front(front_key);
                    return Flow::Broken;
                }
            }
        }
        if read_bytes > 0 {
            exchange.record.bytes_out += read_bytes as u64;
            output(&mut front.output, &mut self.blocks).extend_from_slice(block.filled());
            block.consume(read_bytes);
        }
        if !self.flush_front(front_key) {
            return Flow::Quiet;
        }
        let waiting = self.fronts.get(front_key).map_or(0, Front::unsent);
        let moves = read_bytes > 0 || waiting < was_waiting;
        if moves && waiting < WAITING_BYTES { Flow::Moved } else { Flow::Quiet }
    }

    /// Tells each side of the other's end once it has everything that was said before it.
    fn pass_ends_on(&mut self, key: Key, before: u64) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let moved = moved(exchange) != before;
        let Some(link_key) = exchange.link else { return };
        let Some(tunnel) = &mut exchange.tunnel else { return };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) else {
            return;
        };
        let Some(link) = self.links.slab.get_mut(link_key) else { return };
        let Tunnel { client, backend, to_backend, .. } = &mut **tunnel;
        let mut news = false;
        if client.ended && !client.told && to_backend.is_empty() && link.wire.is_flushed() {
            link.wire.shutdown_write();
            client.told = true;
            news = true;
        }
        if backend.ended && !backend.told && front.unsent() == 0 {
            front.transport.shutdown_write(&mut self.tls);
            backend.told = true;
            news = true;
        }
        if client.told && backend.told {
            return self.end_tunnel(key, None);
        }
        let one_way = client.ended || backend.ended;
        if moved || news {
            let idle = if one_way { limits::TUNNEL_HALF_IDLE } else { limits::TUNNEL_IDLE };
            if news {
                self.link_deadline(link_key, now + idle);
            } else {
                // The timer that is armed finds out that the deadline has moved.
                link.deadline = Some(now + idle);
            }
        }
    }

    /// The tunnel is over, and with it both connections.
    pub(super) fn end_tunnel(&mut self, key: Key, reason: Option<Reason>) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let front = exchange.front;
        self.forget(key, reason);
        if let Some(front) = front {
            self.close_front(front);
        }
    }

    /// A tunnel's exchange is being forgotten: its link ends, and its worker may be stopped.
    pub(super) fn close_tunnel(&mut self, exchange: &mut Exchange) {
        let Some(tunnel) = &mut exchange.tunnel else { return };
        if let Some(link) = exchange.link.take() {
            self.close_link(link);
        }
        if let Some((pool, lease)) = tunnel.worker.take() {
            pool.end_tunnel(lease, self.clock.now());
        }
    }
}

fn moved(exchange: &Exchange) -> u64 {
    exchange.record.bytes_in + exchange.record.bytes_out
}

/// Pieces moved in each direction before others have their turn.
const GOES: u32 = 16;
/// A side is not read while this much of what it said waits.
const WAITING_BYTES: usize = 64 * 1024;
