//! Notes, close together: how requests are noted while they come, and how notes are kept.
//!
//! A request is noted by writing some two hundred bytes behind the last one's, which is what a memory does
//! best. What only few requests have, tries and troubles, stands apart from what all have.

use super::note::{
    Connection, Entry, Handler, Note, Stage, TEXT_BYTES, TextEnds, TlsFacts, Trail, push_texts,
};
use crate::contract::app::Select;
use crate::contract::listen::ListenAddress;
use crate::contract::reason::Reason;
use crate::ids::WorkerId;
use crate::time::{Instant, UnixMillis};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Notes in the order in which they were made.
#[derive(Debug, Default)]
pub struct Page {
    facts: Vec<Facts>,
    texts: Vec<u8>,
    /// The trails that have more than [`Facts`] say.
    trails: Vec<Trail>,
    tags: Vec<Tag>,
}

/// What of a note is looked at by who looks for it.
#[derive(Clone, Copy, Debug)]
struct Tag {
    id: u32,
    status: u16,
}

/// What every note has, but its texts.
#[derive(Clone, Copy, Debug)]
struct Facts {
    text_at: u32,
    ends: TextEnds,
    path_cut: bool,
    running: bool,
    begun: bool,
    upgrade: bool,
    own: bool,
    handler: Handler,
    stage: Stage,
    select: Option<Select>,
    reason: Option<Reason>,
    status: u16,
    answered: u16,
    position: u32,
    /// The request's number on its connection.
    request: u32,
    rule: Option<u32>,
    config: u64,
    at: UnixMillis,
    bytes_in: u64,
    bytes_out: u64,
    worker: Option<WorkerId>,
    total: Nanos,
    queued: Nanos,
    leased: Nanos,
    first_byte: Nanos,
    client: Option<IpAddr>,
    listener: Option<ListenAddress>,
    peer: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    /// Where the whole trail is, from 1; 0 when this is all of it.
    trail: u32,
}

/// What is stated as the memory of a note, texts and tag included.
const _: () = assert!(size_of::<Facts>() + TEXT_BYTES + size_of::<Tag>() <= NOTE_BYTES);
/// At most this much memory is one note that came to its end without trouble. Most are half of it.
pub const NOTE_BYTES: usize = 536;

/// A duration, or none, in less room than both take.
#[derive(Clone, Copy, Debug)]
struct Nanos(u64);

impl Nanos {
    fn of(duration: Option<Duration>) -> Self {
        let nanos = duration.map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        Self(nanos.map_or(u64::MAX, |nanos| nanos.min(u64::MAX - 1)))
    }

    fn get(self) -> Option<Duration> {
        (self.0 != u64::MAX).then(|| Duration::from_nanos(self.0))
    }
}

impl Page {
    /// A page with room for `notes`, which is not taken before something is written there.
    pub(super) fn with_room_for(notes: usize) -> Self {
        Self {
            facts: Vec::with_capacity(notes),
            texts: Vec::with_capacity(notes * TEXT_BYTES),
            trails: Vec::new(),
            tags: Vec::with_capacity(notes),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Nothing is noted here.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Notes a request.
    pub fn push(&mut self, entry: &Entry<'_>) {
        let text_at = self.texts.len() as u32;
        let (ends, path_cut) = push_texts(entry, &mut self.texts);
        let (trail, connection) = (entry.trail, entry.connection);
        let is_plain = trail.tried == 0 && trail.detail.is_empty() && trail.limit == 0;
        if !is_plain {
            self.trails.push(*trail);
        }
        self.facts.push(Facts {
            text_at,
            ends,
            path_cut,
            running: entry.running,
            begun: trail.begun,
            upgrade: trail.upgrade,
            own: trail.own,
            handler: trail.handler,
            stage: trail.stage,
            select: trail.select,
            reason: entry.reason,
            status: entry.status,
            answered: trail.answered,
            position: trail.position,
            request: connection.request,
            rule: trail.rule,
            config: entry.config,
            at: entry.at,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            worker: entry.worker,
            total: Nanos::of(Some(entry.total)),
            queued: Nanos::of(entry.queued),
            leased: Nanos::of(entry.leased),
            first_byte: Nanos::of(entry.first_byte),
            client: entry.client,
            listener: connection.listener,
            peer: connection.peer,
            tls: connection.tls,
            trail: if is_plain { 0 } else { self.trails.len() as u32 },
        });
        self.tags.push(Tag { id: tag_of(entry.id), status: entry.status });
    }

    /// Takes over what stands on `other`, which is empty then.
    pub fn take(&mut self, other: &mut Self) {
        let (texts, trails) = (self.texts.len() as u32, self.trails.len() as u32);
        self.facts.extend(other.facts.iter().map(|facts| Facts {
            text_at: facts.text_at + texts,
            trail: if facts.trail == 0 { 0 } else { facts.trail + trails },
            ..*facts
        }));
        self.texts.extend_from_slice(&other.texts);
        self.trails.extend_from_slice(&other.trails);
        self.tags.extend_from_slice(&other.tags);
        other.clear();
    }

    /// Forgets all of it. The memory is kept.
    pub(super) fn clear(&mut self) {
        self.facts.clear();
        self.texts.clear();
        self.trails.clear();
        self.tags.clear();
    }

    /// What it has of memory.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let Self { facts, texts, trails, tags } = self;
        facts.capacity() * size_of::<Facts>()
            + texts.capacity()
            + trails.capacity() * size_of::<Trail>()
            + tags.capacity() * size_of::<Tag>()
    }

    /// The requests called `id`, newest first.
    pub(super) fn find<'p>(&'p self, id: &'p [u8]) -> impl Iterator<Item = Note> + 'p {
        let wanted = tag_of(id);
        self.newest_first(move |tag| tag.id == wanted).filter(move |note| note.id() == id)
    }

    /// The requests that were answered with `status` or above, newest first.
    pub(super) fn answered_from(&self, status: u16) -> impl Iterator<Item = Note> {
        self.newest_first(move |tag| tag.status >= status)
    }

    fn newest_first(&self, wanted: impl Fn(Tag) -> bool) -> impl Iterator<Item = Note> {
        let tags = self.tags.iter().enumerate().rev();
        tags.filter(move |(_, tag)| wanted(**tag)).filter_map(|(at, _)| self.note(at))
    }

    fn note(&self, at: usize) -> Option<Note> {
        let facts = self.facts.get(at)?;
        let from = facts.text_at as usize;
        let count = facts.ends.last().copied().map_or(0, usize::from);
        let texts = self.texts.get(from..from + count)?.to_vec();
        let whole = facts.trail.checked_sub(1).and_then(|trail| self.trails.get(trail as usize));
        let trail = Trail {
            connection: Connection {
                peer: facts.peer,
                listener: facts.listener,
                tls: facts.tls,
                request: facts.request,
            },
            config: facts.config,
            rule: facts.rule,
            handler: facts.handler,
            select: facts.select,
            position: facts.position,
            stage: facts.stage,
            begun: facts.begun,
            upgrade: facts.upgrade,
            own: facts.own,
            answered: facts.answered,
            first_byte: Instant::default(),
            ..whole.copied().unwrap_or_default()
        };
        Some(Note {
            texts,
            ends: facts.ends,
            path_cut: facts.path_cut,
            at: facts.at,
            client: facts.client,
            status: facts.status,
            running: facts.running,
            reason: facts.reason,
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            worker: facts.worker,
            total: facts.total.get().unwrap_or_default(),
            queued: facts.queued.get(),
            leased: facts.leased.get(),
            first_byte: facts.first_byte.get(),
            trail,
        })
    }
}

/// Not a good digest and a cheap one: ids that somebody makes alike are compared whole.
fn tag_of(id: &[u8]) -> u32 {
    let word = |at: usize| {
        let bytes = id.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        bytes.map(u64::from_le_bytes)
    };
    let (first, last) = match id.len().checked_sub(8) {
        Some(at) => (word(0).unwrap_or_default(), word(at).unwrap_or_default()),
        None => (id.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)), 0),
    };
    let mixed =
        (first ^ last.rotate_left(29) ^ id.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::super::note::tests::entry;
    use super::super::note::{Suite, TryEnd};
    use super::*;

    /// Everything a note can say, in words.
    fn told(note: &Note) -> String {
        format!("{note:?}")
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let listener = ListenAddress { ip: None, port: 443 };
        let tls = TlsFacts { version: 0x0304, suite: Suite(0x1301), resumed: true };
        let mut troubled = Trail {
            connection: Connection {
                peer: Some(([0, 0, 0, 0, 0, 0, 0, 1], 7).into()),
                listener: Some(listener),
                tls: Some(tls),
                request: 9,
            },
            config: 3,
            rule: Some(2),
            handler: Handler::App,
            select: Some(Select::Lifo),
            position: 5,
            stage: Stage::Answering,
            begun: true,
            upgrade: true,
            own: true,
            answered: 502,
            detail: "what",
            limit: 300,
            ..Trail::default()
        };
        troubled.tried(4, TryEnd::Gone, Duration::from_millis(3));
        let plain = Trail { detail: "", limit: 0, tries: Default::default(), tried: 0, ..troubled };
        let mut batch = Page::default();
        let mut page = Page::default();
        let mut expected = Vec::new();
        for (number, trail) in
            [&plain, &troubled, &troubled, &plain, &troubled].into_iter().enumerate()
        {
            let id = format!("request-{number}");
            let entry = Entry { reason: Some(Reason::WorkerGone), ..entry(id.as_bytes(), trail) };
            expected.push(told(&Note::of(&entry)));
            batch.push(&entry);
            // Two come together.
            if number != 1 {
                page.take(&mut batch);
                assert!(batch.is_empty());
            }
        }
        assert_eq!(page.len(), 5);
        let mut read: Vec<String> = page.answered_from(0).map(|note| told(&note)).collect();
        read.reverse();
        assert_eq!(read, expected);
        let found: Vec<String> = page.find(b"request-2").map(|note| told(&note)).collect();
        assert_eq!(found, [expected[2].clone()]);
    }

    #[test]
    fn a_duration_without_an_end_is_not_taken_for_none() {
        assert_eq!(Nanos::of(None).get(), None);
        assert!(Nanos::of(Some(Duration::MAX)).get().is_some_and(|most| most.as_secs() > 1 << 33));
    }
}
