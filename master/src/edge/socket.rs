//! A WebSocket client of an app that speaks HTTP only.
//!
//! Whether it may come in is asked of the app ([`Stage::Opening`]): one that is refused is forgotten,
//! and so is one that leaves before the app can know of it. What it says is POSTed to the app, one message after the other ([`Lane`]), and what the app
//! answers is applied by the app's hub. From the hub letters come to each loop ([`Roll`]): what they
//! have for a client goes into its outbox ([`Speech`]). A client that is gone stays until its `close` was
//! POSTed.

use super::socket_open::Opening;
use super::socket_post::Errand;
use super::speech::{Speech, Stage};
use super::turn::Edge;
use crate::reactor::slab::{Key, Slab};
use crate::shared::hub::AppHub;
use crate::shared::mail::ControlMessage;
use rip::contract::event::Event;
use rip::contract::realtime::{MessageRate, RealtimeConfig};
use rip::entropy::Entropy;
use rip::guard::request_id::RequestId;
use rip::ids::PoolNumber;
use rip::observe::counter::Counter;
use rip::realtime::bucket::Bucket;
use rip::realtime::lane::{Lane, Post};
use rip::realtime::{ClientId, GroupName, Roll};
use rip::time::Instant;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;

/// One client.
pub(super) struct Socket {
    pub(super) id: ClientId,
    pub(super) speech: Speech,
    pub(super) hub: Arc<AppHub>,
    pub(super) config: Arc<RealtimeConfig>,
    /// Fields of every POST on its behalf, each a line with its end.
    pub(super) fields: Box<[u8]>,
    pub(super) ip: Option<IpAddr>,
    /// It is no WebSocket: it reads this group as server-sent events.
    pub(super) view: Option<GroupName>,
    /// What is needed until it is open.
    pub(super) opening: Option<Box<Opening>>,
    /// Whose workers were asked last.
    pub(super) pool: Option<PoolNumber>,
    /// The POST that waits for its turn.
    pub(super) errand: Option<Box<Errand>>,
    /// The POST that is in flight.
    pub(super) call: Option<Key>,
    pub(super) lane: Lane,
    /// A message that the lane has no room for: nothing more is read before it has.
    pub(super) held: Option<Box<Post>>,
    /// The code and the reason it was closed with.
    pub(super) closed: Option<(u16, Box<str>)>,
    /// It does not take what it is told.
    pub(super) is_slow: bool,
    /// It is in the list of those that are looked after at the end of this turn.
    pub(super) is_touched: bool,
}

/// All clients of one loop.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) slab: Slab<Box<Socket>>,
    /// By the hub's number.
    pub(super) halls: Vec<Option<Hall>>,
    /// Those that got something in this turn.
    pub(super) touched: VecDeque<Key>,
    /// When what hubs keep is looked at.
    pub(super) archives: Option<Instant>,
    random: Option<File>,
}

/// This loop's clients of one app.
pub(super) struct Hall {
    pub(super) hub: Arc<AppHub>,
    pub(super) roll: Roll,
    /// POSTs on behalf of clients that are in flight.
    pub(super) in_flight: usize,
    /// Clients whose POST waits for its turn.
    pub(super) waiting: VecDeque<Key>,
    /// A timer will look after them.
    pub(super) is_pausing: bool,
    /// How often mistakes of the app are told.
    telling: Bucket,
    /// Mistakes that were not.
    untold: u64,
}

impl Sockets {
    /// This loop's clients of the hub with that number.
    pub(super) fn hall(&mut self, number: u32) -> Option<&mut Hall> {
        self.halls.get_mut(number as usize)?.as_mut()
    }

    /// The same, made where there is none.
    pub(super) fn hall_of(&mut self, hub: &Arc<AppHub>) -> &mut Hall {
        let index = hub.number as usize;
        if self.halls.len() <= index {
            self.halls.resize_with(index + 1, || None);
        }
        self.halls[index].get_or_insert_with(|| Hall {
            hub: Arc::clone(hub),
            roll: Roll::new(),
            in_flight: 0,
            waiting: VecDeque::new(),
            is_pausing: false,
            telling: Bucket::new(),
            untold: 0,
        })
    }

    /// Every app's clients.
    pub(super) fn halls(&mut self) -> impl Iterator<Item = &mut Hall> {
        self.halls.iter_mut().flatten()
    }

    /// A name for a new client that nobody can guess.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(super) fn mint(&mut self) -> io::Result<ClientId> {
        let random = match &mut self.random {
            Some(random) => random,
            None => self.random.insert(File::open("/dev/urandom")?),
        };
        let mut bytes = [[0; 8]; 2];
        for part in &mut bytes {
            random.read_exact(part)?;
        }
        Ok(ClientId::mint(&mut Drawn(bytes.map(u64::from_ne_bytes))))
    }
}

/// Numbers that were drawn before.
struct Drawn([u64; 2]);

impl Entropy for Drawn {
    fn next_u64(&mut self) -> u64 {
        self.0.swap(0, 1);
        self.0[1]
    }
}

impl Socket {
    /// Says goodbye: nothing follows what it has been told so far.
    pub(super) fn say_close(&mut self, code: u16, reason: &str) {
        if self.speech.close(code, reason) {
            self.note_close(code, reason);
        }
    }

    /// It was closed, by whomever. Only the first counts.
    pub(super) fn note_close(&mut self, code: u16, reason: &str) {
        self.lane.close(code, reason);
        self.closed.get_or_insert_with(|| (code, reason.into()));
    }
}

impl Edge {
    /// The client, which was closed, hears and is heard of no more: its app's hub forgets it, and the
    /// app is told.
    pub(super) fn part(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let (id, hub, is_view) = (socket.id, Arc::clone(&socket.hub), socket.view.is_some());
        if let Some(hall) = self.sockets.hall(hub.number)
            && hall.roll.leave(id).is_some()
        {
            let settled = hall.roll.take_settled();
            hub.close(id);
            if let Some(settled) = settled {
                hub.settle(self.index, settled);
            }
            if !is_view {
                self.tell_closed(key);
            }
        }
        self.post_next(key);
    }

    /// Its connection is closed, or was never more than a request.
    pub(super) fn socket_gone(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        let stage = socket.speech.gone();
        let (call, hub) = (socket.call, socket.hub.number);
        // Where no close was said this is how it ended (RFC 6455 §7.1.5).
        socket.note_close(1006, "");
        if stage == Stage::Opening {
            if let Some(call) = call
                && !self.was_sent(call)
            {
                // The app knows nothing of it.
                self.stop_asking(call);
                self.sockets.slab.remove(key);
                self.post_ended(hub);
                self.post_waiting(hub);
            }
            return;
        }
        self.part(key);
    }

    /// Forgets a client whose last POST has ended, once its connection has as well.
    pub(super) fn forget_socket_if_over(&mut self, key: Key) {
        let is_over = |socket: &Socket| socket.speech.front.is_none() && socket.lane.is_over();
        if self.sockets.slab.get(key).is_some_and(|socket| is_over(socket)) {
            self.sockets.slab.remove(key);
        }
    }

    /// Tells of a client that has come.
    pub(super) fn tell_opened(&mut self, key: Key) {
        self.shard().add(Counter::SocketOpened, 1);
        let Some(socket) = self.sockets.slab.get(key) else { return };
        self.tell_event(Event::WsOpen {
            app: socket.hub.app.clone(),
            client_id: socket.id.to_string(),
            ip: socket.ip.map(|ip| ip.to_canonical().to_string()),
        });
    }

    fn tell_closed(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let (code, reason) = socket.closed.clone().unwrap_or((1006, "".into()));
        self.shard().add(Counter::SocketClosed(code), 1);
        self.tell_event(Event::WsClose {
            app: socket.hub.app.clone(),
            client_id: socket.id.to_string(),
            code,
            reason: reason.into(),
        });
    }

    /// Tells of an answer that reaches nobody, unless too many are told already.
    pub(super) fn tell_mistake(
        &mut self,
        hub: &Arc<AppHub>,
        client: ClientId,
        id: &RequestId,
        what: &dyn fmt::Display,
    ) {
        let now = self.clock.now();
        let hall = self.sockets.hall_of(hub);
        if !hall.telling.take(MISTAKE_RATE, now) {
            hall.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut hall.untold);
        self.tell_event(Event::WsError {
            app: hub.app.clone(),
            client_id: client.to_string(),
            request_id: id.to_string(),
            reason: what.to_string(),
            untold,
        });
    }

    fn tell_event(&self, event: Event) {
        self.shared.control.send(ControlMessage::Tell(Box::new(event)));
    }
}

/// So many mistakes of an app each loop tells: what a worker loses that dies, but no flood of one that
/// always fails.
const MISTAKE_RATE: MessageRate = MessageRate { per_sec: 10, burst: 100 };
