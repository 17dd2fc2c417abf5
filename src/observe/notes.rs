//! The notes of the requests that ended last, newest over oldest.

use super::note::{Entry, Note};

/// Notes that are kept. With one of these for each loop the last so many requests of the whole
/// server are always among them, however they are spread over the loops.
pub const NOTE_COUNT: usize = 10_000;

/// The notes of one loop. Memory is taken as it is needed and never given back:
/// [`NOTE_COUNT`] × [`NOTE_BYTES`](super::note::NOTE_BYTES) at most.
pub struct Notes {
    notes: Vec<Note>,
    /// A digest of the id of each, and its status, side by side: looking one up does not go through
    /// all notes.
    tags: Vec<(u32, u16)>,
    /// Where the next one goes.
    next: usize,
    most: usize,
}

impl Notes {
    /// None yet; `most` are kept, at least one.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        // Memory that nothing was written to yet is not taken: a note that comes never waits for
        // older ones to be moved.
        Self { notes: Vec::with_capacity(most), tags: Vec::with_capacity(most), next: 0, most }
    }

    /// Notes a request that has ended.
    pub fn push(&mut self, entry: &Entry<'_>) {
        if self.notes.len() < self.most {
            self.notes.push(Note::blank());
            self.tags.push((0, 0));
        }
        if let (Some(note), Some(tag)) =
            (self.notes.get_mut(self.next), self.tags.get_mut(self.next))
        {
            note.write(entry);
            *tag = (tag_of(entry.id), entry.status);
        }
        self.next = (self.next + 1) % self.most;
    }

    /// The notes of requests called `id`, newest first, `most` of them.
    pub fn find(&self, id: &[u8], most: usize) -> Vec<Note> {
        let tag = tag_of(id);
        let places = self.newest_first(|(other, _)| other == tag);
        let notes = places.filter_map(|at| self.notes.get(at));
        notes.filter(|note| note.id() == id).take(most).copied().collect()
    }

    /// The newest `most` requests that were answered with `status` or above, newest first.
    pub fn newest(&self, most: usize, status: u16) -> Vec<Note> {
        let places = self.newest_first(|(_, other)| other >= status).take(most);
        places.filter_map(|at| self.notes.get(at)).copied().collect()
    }

    fn newest_first(&self, wanted: impl Fn((u32, u16)) -> bool) -> impl Iterator<Item = usize> {
        let (newer, older) = self.tags.split_at(self.next.min(self.tags.len()));
        let newer = newer.iter().enumerate().rev();
        let older = older.iter().enumerate().rev().map(|(at, tag)| (at + self.next, tag));
        newer.chain(older).filter(move |(_, tag)| wanted(**tag)).map(|(at, _)| at)
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new(NOTE_COUNT)
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
    use super::super::note::{Entry, Trail};
    use super::*;

    #[test]
    fn the_newest_are_found_and_the_oldest_are_not() {
        let trail = Trail::default();
        let mut notes = Notes::new(100);
        for number in 0..250 {
            notes.push(&entry(format!("req-{number}").as_bytes(), &trail));
        }
        for number in 0..250 {
            let found = notes.find(format!("req-{number}").as_bytes(), 10);
            assert_eq!(found.len(), usize::from(number >= 150), "{number}");
        }
        assert!(notes.find(b"", 10).is_empty());
    }

    #[test]
    fn of_several_with_one_name_the_newest_comes_first() {
        let trail = Trail::default();
        let mut notes = Notes::new(16);
        for status in 200..230 {
            notes.push(&Entry { status, ..entry(b"same", &trail) });
        }
        let statuses: Vec<_> = notes.find(b"same", 10).iter().map(|note| note.status).collect();
        assert_eq!(statuses, (220..230).rev().collect::<Vec<u16>>());
        assert_eq!(notes.find(b"same", 100).len(), 16);
        let high: Vec<_> = notes.newest(3, 220).iter().map(|note| note.status).collect();
        assert_eq!(high, [229, 228, 227]);
        assert!(notes.newest(3, 500).is_empty());
    }

    #[test]
    fn no_more_memory_is_taken_than_is_stated() {
        let trail = Trail::default();
        let mut notes = Notes::new(8);
        let before = (notes.notes.as_ptr(), notes.notes.capacity());
        for _ in 0..100 {
            notes.push(&entry(b"a", &trail));
        }
        assert_eq!((notes.notes.as_ptr(), notes.notes.capacity()), before);
    }
}
