//! What is remembered of one request: enough to say afterwards why it ended as it did.
//!
//! A [`Trail`] grows while the request lives. When it ends, what it was is written on a
//! [`Page`](super::page::Page), close to the others; a [`Note`] is what is read there later. Nothing in
//! either is a header, a query or a body.

use super::{access, text};
use crate::contract::app::Select;
use crate::contract::listen::ListenAddress;
use crate::contract::reason::Reason;
use crate::ids::WorkerId;
use crate::time::{Instant, UnixMillis};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a connection is, as far as its requests are told by it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Connection {
    /// Who connected, or whom its PROXY header names.
    pub peer: Option<SocketAddr>,
    /// The listener it came by.
    pub listener: Option<ListenAddress>,
    /// How it is sealed; `None` in the clear.
    pub tls: Option<TlsFacts>,
    /// Which of its requests this one is, from 1; 0 where it is not known.
    pub request: u32,
}

/// How a connection is sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// As on the wire: `0x0304` is TLS 1.3.
    pub version: u16,
    /// The suite.
    pub suite: Suite,
    /// An earlier session was taken up again.
    pub resumed: bool,
}

/// A suite of TLS, by its number on the wire. One for each connection is kept, among them many idle
/// ones: a name would take eight times the room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suite(pub u16);

impl Suite {
    /// Its name in IANA's registry, with `TLS13_` in front where TLS 1.3 has it; empty for one that no
    /// server of ours speaks.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x1301 => "TLS13_AES_128_GCM_SHA256",
            0x1302 => "TLS13_AES_256_GCM_SHA384",
            0x1303 => "TLS13_CHACHA20_POLY1305_SHA256",
            0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            _ => "",
        }
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stage {
    /// It never got further than the edge.
    #[default]
    Edge,
    /// Its body arrives.
    Receiving,
    /// It waits for a worker.
    Waiting,
    /// It has a worker or a target, and no connection to it yet.
    Linking,
    /// It goes there.
    Sending,
    /// Its answer is awaited, or comes.
    Answering,
    /// Bytes pass both ways.
    Tunnelling,
}

/// What answered a request, or was to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Handler {
    /// The edge itself: an endpoint of its own, or a refusal.
    #[default]
    Edge,
    /// A worker of an app.
    App,
    /// A server that is not ours.
    Upstream,
    /// A file.
    File,
    /// It is sent elsewhere, by a rule.
    Redirect,
    /// It is sent on to HTTPS.
    ToHttps,
    /// The hub of WebSocket clients.
    Realtime,
    /// A mount of sessions.
    Session,
}

/// Why a try did not become the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TryEnd {
    /// The worker said that it is busy.
    Busy,
    /// The worker said that it is about to end.
    Draining,
    /// Nobody could be connected to.
    Connect,
    /// The connection ended before any answer.
    Gone,
    /// The connection was an old one that the other side had closed.
    Stale,
    /// No answer came in time.
    Timeout,
    /// What came was not HTTP.
    Malformed,
}

impl TryEnd {
    /// Its name in what is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Connect => "connect",
            Self::Gone => "gone",
            Self::Stale => "stale",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}

/// A try that did not become the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Try {
    /// The worker's id, or the target's number.
    pub whom: u32,
    /// When it ended, after the request's head was complete.
    pub after: Micros,
    /// Why.
    pub end: TryEnd,
}

/// Microseconds that fit where many are kept: at most 71 minutes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, PartialOrd)]
pub struct Micros(u32);

impl Micros {
    /// Longer than can be said is said as the longest.
    pub fn of(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX))
    }

    /// The time.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

/// Tries that are kept of one request; of more than that the last is replaced.
pub const TRY_COUNT: usize = 6;

/// What a request has met so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trail {
    /// Its connection.
    pub connection: Connection,
    /// The version of the configuration that it was born with; 0 where none was asked.
    pub config: u64,
    /// The position of the rule that took it in that configuration.
    pub rule: Option<u32>,
    /// What answers it.
    pub handler: Handler,
    /// How workers of its app are chosen.
    pub select: Option<Select>,
    /// Where it stood in the queue, 1 is next; 0 when it never waited.
    pub position: u32,
    /// How far it has come.
    pub stage: Stage,
    /// Something of the answer has gone to the client.
    pub begun: bool,
    /// It asks for WebSocket.
    pub upgrade: bool,
    /// The edge itself asks, on behalf of a client.
    pub own: bool,
    /// What the worker or the target answered; 0 when it has not.
    pub answered: u16,
    /// When that began; the beginning of time when it has not.
    pub first_byte: Instant,
    /// What was in the way of a refusal, in words.
    pub detail: &'static str,
    /// The bound that was reached: bytes or milliseconds, as the reason has it; 0 where none was.
    pub limit: u64,
    pub(in crate::observe) tries: [Option<Try>; TRY_COUNT],
    pub(in crate::observe) tried: u32,
}

impl Trail {
    /// A try has ended without an answer.
    pub fn tried(&mut self, whom: u64, end: TryEnd, after: Duration) {
        let place = (self.tried as usize).min(TRY_COUNT - 1);
        let whom = u32::try_from(whom).unwrap_or(u32::MAX);
        self.tries[place] = Some(Try { whom, after: Micros::of(after), end });
        self.tried = self.tried.saturating_add(1);
    }

    /// The tries that are kept, in their order.
    pub fn tries(&self) -> impl Iterator<Item = &Try> {
        self.tries.iter().flatten()
    }

    /// How many there were.
    pub const fn try_count(&self) -> u32 {
        self.tried
    }

    /// Why the first choice was not simply taken: a [`crate::contract::decision`] has the words.
    pub fn fallback(&self, reason: Option<Reason>) -> Option<&'static str> {
        let is_shed = matches!(
            reason,
            Some(
                Reason::QueueFull
                    | Reason::QueueTimeout
                    | Reason::AppAbandoned
                    | Reason::WorkerBusy
            )
        );
        let gave_back = |tried: &Try| matches!(tried.end, TryEnd::Busy | TryEnd::Draining);
        match () {
            () if is_shed => Some("shed"),
            () if self.tries().any(gave_back) => Some("bounced"),
            () if self.tried > 0 => Some("retried"),
            () if self.position > 0 => Some("queued"),
            () => None,
        }
    }
}

/// A request at its end, or on its way, as it is about to be noted.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: &'a [u8],
    /// When its head was complete, for people.
    pub at: UnixMillis,
    /// Its method.
    pub method: &'a [u8],
    /// Its target; what of it is no path is left out here.
    pub target: &'a [u8],
    /// The authority it asked for.
    pub host: &'a [u8],
    /// The app or the upstream.
    pub app: &'a [u8],
    /// The upstream's server that got it last.
    pub server: &'a [u8],
    /// The name that TLS asked for, where it is another than `host`.
    pub sni: &'a [u8],
    /// What its worker marked it with.
    pub mark: &'a [u8],
    /// Who asked.
    pub client: Option<IpAddr>,
    /// What the client got; 0 while it has nothing.
    pub status: u16,
    /// Of the body.
    pub bytes_in: u64,
    /// Of the answer's body.
    pub bytes_out: u64,
    /// Who has it, or had it last.
    pub worker: Option<WorkerId>,
    /// Why the edge ended it.
    pub reason: Option<Reason>,
    /// It has not ended.
    pub running: bool,
    /// From its head to its end, or to now.
    pub total: Duration,
    /// When it asked for a worker, after its head was complete.
    pub queued: Option<Duration>,
    /// When a worker was chosen for it.
    pub leased: Option<Duration>,
    /// When its answer began.
    pub first_byte: Option<Duration>,
    /// How it came.
    pub connection: &'a Connection,
    /// The configuration that took it.
    pub config: u64,
    /// What else it met.
    pub trail: &'a Trail,
}

impl<'a> Entry<'a> {
    /// A request called `id` that met what `trail` says, and nothing else.
    pub fn of(id: &'a [u8], trail: &'a Trail) -> Self {
        Self {
            id,
            at: UnixMillis(0),
            method: b"",
            target: b"",
            host: b"",
            app: b"",
            server: b"",
            sni: b"",
            mark: b"",
            client: None,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            worker: None,
            reason: None,
            running: false,
            total: Duration::ZERO,
            queued: None,
            leased: None,
            first_byte: None,
            connection: &trail.connection,
            config: trail.config,
            trail,
        }
    }
}

/// What is remembered of one request.
#[derive(Clone, Debug)]
pub struct Note {
    pub(super) texts: Vec<u8>,
    /// Where each text ends, in the order of [`Part`].
    pub(super) ends: TextEnds,
    /// The path was longer.
    pub path_cut: bool,
    /// When its head was complete.
    pub at: UnixMillis,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// What the client got; 0 while it has nothing.
    pub status: u16,
    /// It has not ended.
    pub running: bool,
    /// Why the edge ended it.
    pub reason: Option<Reason>,
    /// Of the body.
    pub bytes_in: u64,
    /// Of the answer's body.
    pub bytes_out: u64,
    /// Who has it, or had it last.
    pub worker: Option<WorkerId>,
    /// From its head to its end, or to now.
    pub total: Duration,
    /// When it asked for a worker, after its head was complete.
    pub queued: Option<Duration>,
    /// When a worker was chosen for it.
    pub leased: Option<Duration>,
    /// When its answer began.
    pub first_byte: Option<Duration>,
    /// What it met.
    pub trail: Trail,
}

impl Note {
    /// The note of `entry`. Texts that are longer than there is room are cut, the path first.
    pub fn of(entry: &Entry<'_>) -> Self {
        let mut texts = Vec::new();
        let (ends, path_cut) = push_texts(entry, &mut texts);
        Self {
            texts,
            ends,
            path_cut,
            at: entry.at,
            client: entry.client,
            status: entry.status,
            running: entry.running,
            reason: entry.reason,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            worker: entry.worker,
            total: entry.total,
            queued: entry.queued,
            leased: entry.leased,
            first_byte: entry.first_byte,
            trail: Trail { connection: *entry.connection, config: entry.config, ..*entry.trail },
        }
    }

    /// When it ended, or was looked at.
    pub fn end(&self) -> UnixMillis {
        let total = u64::try_from(self.total.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.at.0.saturating_add(total))
    }

    /// Whether `other` is the same request, looked at at another time.
    pub fn is_same(&self, other: &Self) -> bool {
        let (own, others) = (self.trail.connection, other.trail.connection);
        self.id() == other.id()
            && (self.at, own.peer, own.request) == (other.at, others.peer, others.request)
            && self.trail.own == other.trail.own
    }

    fn part(&self, part: Part) -> &[u8] {
        let at = part as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(at).copied().unwrap_or_default();
        self.texts.get(usize::from(start.unwrap_or_default())..usize::from(end)).unwrap_or_default()
    }

    /// The request's id.
    pub fn id(&self) -> &[u8] {
        self.part(Part::Id)
    }

    /// Its method, made harmless.
    pub fn method(&self) -> String {
        harmless(self.part(Part::Method))
    }

    /// Its path, without what follows `?`, made harmless.
    pub fn path(&self) -> String {
        let mut path = harmless(self.part(Part::Path));
        if self.path_cut {
            path.push('…');
        }
        path
    }

    /// The authority it asked for, made harmless.
    pub fn host(&self) -> String {
        harmless(self.part(Part::Host))
    }

    /// The app or the upstream; empty when none was to answer it.
    pub fn app(&self) -> String {
        harmless(self.part(Part::App))
    }

    /// The upstream's server that got it last.
    pub fn server(&self) -> String {
        harmless(self.part(Part::Server))
    }

    /// The name that TLS asked for, where it is another than the host.
    pub fn sni(&self) -> String {
        harmless(self.part(Part::Sni))
    }

    /// What its worker marked it with.
    pub fn mark(&self) -> String {
        harmless(self.part(Part::Mark))
    }
}

fn harmless(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    if !bytes.is_empty() {
        text::push_word(&mut out, bytes);
    }
    String::from_utf8(out).unwrap_or_default()
}

/// The texts of a note, in the order they stand: what may be cut comes last.
#[derive(Clone, Copy)]
enum Part {
    Id,
    Method,
    App,
    Host,
    Server,
    Sni,
    Mark,
    Path,
}

const PARTS: usize = 8;
/// All texts of one note; an id of a client takes up to 128 of them.
pub(super) const TEXT_BYTES: usize = 288;
/// Where each text of a note ends, in the order of [`Part`].
pub(super) type TextEnds = [u16; PARTS];

/// Appends the texts of `entry`, and says where each of them ends from where they begin, and whether the
/// path was cut.
pub(super) fn push_texts(entry: &Entry<'_>, texts: &mut Vec<u8>) -> (TextEnds, bool) {
    let path = access::path_of(entry.target);
    let host = access::without_user(entry.host);
    texts.reserve(TEXT_BYTES);
    let mut at = 0;
    let mut put = |text: &[u8], most: usize| {
        // Most are empty.
        if !text.is_empty() {
            let count = text.len().min(most).min(TEXT_BYTES - at);
            texts.extend_from_slice(&text[..count]);
            at += count;
        }
        at as u16
    };
    let ends = [
        put(entry.id, TEXT_BYTES),
        put(entry.method, 16),
        put(entry.app, 40),
        put(host, 64),
        put(entry.server, 40),
        put(entry.sni, 40),
        put(entry.mark, 32),
        put(path, TEXT_BYTES),
    ];
    let path_cut = usize::from(ends[PARTS - 1] - ends[PARTS - 2]) < path.len();
    (ends, path_cut)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A `GET /` that an app answered.
    pub(crate) fn entry<'a>(id: &'a [u8], trail: &'a Trail) -> Entry<'a> {
        Entry {
            at: UnixMillis(1_000),
            method: b"GET",
            target: b"/a?secret=1",
            host: b"example.com",
            app: b"api",
            client: Some(IpAddr::from([192, 0, 2, 7])),
            status: 200,
            bytes_out: 5,
            worker: Some(WorkerId(3)),
            total: Duration::from_millis(4),
            queued: Some(Duration::ZERO),
            leased: Some(Duration::from_millis(1)),
            first_byte: Some(Duration::from_millis(3)),
            ..Entry::of(id, trail)
        }
    }

    #[test]
    fn a_note_keeps_what_was_told_and_no_query() {
        let trail = Trail::default();
        let note = Note::of(&Entry { mark: b"m", sni: b"other", ..entry(b"req-1", &trail) });
        assert_eq!((note.id(), &*note.method(), &*note.path()), (&b"req-1"[..], "GET", "/a"));
        assert_eq!((&*note.host(), &*note.app(), &*note.mark()), ("example.com", "api", "m"));
        assert_eq!((&*note.sni(), &*note.server()), ("other", ""));
        assert!(!note.path_cut);
        for target in
            [&b"/a#secret"[..], b"me:secret@a:1", b"http://me:secret@a/a?secret", b"secret"]
        {
            let note = Note::of(&Entry { target, host: b"me:secret@a", ..entry(b"b", &trail) });
            assert!(!note.texts.windows(6).any(|part| part == b"secret"), "{target:?}");
        }
        assert!(!note.texts.windows(6).any(|part| part == b"secret"));
    }

    #[test]
    fn what_is_too_long_is_cut_and_said_to_be() {
        let trail = Trail::default();
        let (id, mut path) = ([b'i'; 128], [b'p'; 4096]);
        path[0] = b'/';
        let note = Note::of(&Entry { target: &path, ..entry(&id, &trail) });
        assert_eq!(note.id(), id);
        assert!(note.path_cut && note.path().ends_with("p…"), "{}", note.path());
        let evil = Note::of(&Entry { target: b"/\x1b[2J\r\n", ..entry(b"a", &trail) });
        assert_eq!(evil.path(), "/\\x1b[2J\\x0d\\x0a");
    }

    #[test]
    fn tries_are_kept_in_order_and_the_last_always() {
        let mut trail = Trail::default();
        for whom in 0..9 {
            trail.tried(whom, TryEnd::Busy, Duration::from_millis(whom));
        }
        let kept: Vec<u32> = trail.tries().map(|tried| tried.whom).collect();
        assert_eq!(kept, [0, 1, 2, 3, 4, 8]);
        assert_eq!(trail.try_count(), 9);
        assert_eq!(trail.fallback(None), Some("bounced"));
        assert_eq!(trail.fallback(Some(Reason::QueueFull)), Some("shed"));
        assert_eq!(Trail { position: 2, ..Trail::default() }.fallback(None), Some("queued"));
    }
}
