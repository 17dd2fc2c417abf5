//! The notes of the requests that ended last: pages, the newest over the oldest.

use super::note::{Entry, Note};
use super::page::Page;

/// Notes that are kept at least. With one of these for each loop the last so many requests of the whole
/// server are always among them, however they are spread over the loops.
pub const NOTE_COUNT: usize = 10_000;

/// Notes that a loop may gather before it hands them over.
pub const BATCH_COUNT: usize = 64;

/// The notes of one loop. Memory is taken as it is needed and never given back: some more than
/// [`NOTE_COUNT`] × [`NOTE_BYTES`](super::page::NOTE_BYTES) at most, and as a rule half of it.
#[derive(Debug)]
pub struct Notes {
    /// The one that is written to, and behind it the others, the newest first.
    pages: Vec<Page>,
    /// A page with so many is full.
    page_notes: usize,
}

impl Notes {
    /// Room for at least the last `least` notes.
    pub fn new(least: usize) -> Self {
        let page_notes = least.div_ceil(PAGE_COUNT - 1).max(1);
        Self { pages: Vec::new(), page_notes }
    }

    /// Notes a request.
    pub fn push(&mut self, entry: &Entry<'_>) {
        self.page().push(entry);
    }

    /// Takes over what was noted elsewhere: [`BATCH_COUNT`] at most keep to the memory that is stated.
    pub fn take(&mut self, batch: &mut Page) {
        self.page().take(batch);
    }

    /// The page that is written to; when it is full, the oldest in its place.
    fn page(&mut self) -> &mut Page {
        if self.pages.first().is_none_or(|page| page.len() >= self.page_notes) {
            let oldest = (self.pages.len() >= PAGE_COUNT).then(|| self.pages.pop()).flatten();
            let mut page =
                oldest.unwrap_or_else(|| Page::with_room_for(self.page_notes + BATCH_COUNT));
            page.clear();
            self.pages.insert(0, page);
        }
        &mut self.pages[0]
    }

    /// The requests called `id`, newest first, `most` of them.
    pub fn find(&self, id: &[u8], most: usize) -> Vec<Note> {
        self.pages.iter().flat_map(|page| page.find(id)).take(most).collect()
    }

    /// The newest `most` requests that were answered with `status` or above, newest first.
    pub fn newest(&self, most: usize, status: u16) -> Vec<Note> {
        self.pages.iter().flat_map(|page| page.answered_from(status)).take(most).collect()
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new(NOTE_COUNT)
    }
}

/// One is written to while the others hold what is promised.
const PAGE_COUNT: usize = 9;

#[cfg(test)]
mod tests {
    use super::super::note::tests::entry;
    use super::super::note::{Entry, Trail};
    use super::*;

    #[test]
    fn the_newest_are_found_and_the_oldest_are_not() {
        let trail = Trail::default();
        let (mut notes, mut batch) = (Notes::new(100), Page::default());
        for number in 0..250 {
            let id = format!("req-{number}");
            // Some come one by one, others together.
            if number % 40 < 20 {
                notes.push(&entry(id.as_bytes(), &trail));
            } else {
                batch.push(&entry(id.as_bytes(), &trail));
                if number % 5 == 4 {
                    notes.take(&mut batch);
                }
            }
            for (past, kept) in [(99, true), (140, false)] {
                let id = format!("req-{}", number - past);
                let is_there = batch.is_empty() && number >= past;
                if is_there {
                    assert_eq!(notes.find(id.as_bytes(), 10).len(), usize::from(kept), "{id}");
                }
            }
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
        assert!((16..=18).contains(&notes.find(b"same", 100).len()));
        let high: Vec<_> = notes.newest(3, 220).iter().map(|note| note.status).collect();
        assert_eq!(high, [229, 228, 227]);
        assert!(notes.newest(3, 500).is_empty());
    }

    #[test]
    fn no_more_memory_is_taken_than_is_stated() {
        let trail = Trail::default();
        let mut notes = Notes::new(80);
        let mut after_a_while = None;
        for number in 0..2_000 {
            notes.push(&entry(&[b'i'; 300], &trail));
            let held: usize = notes.pages.iter().map(Page::held_bytes).sum();
            if number > 200 {
                assert_eq!(*after_a_while.get_or_insert(held), held);
            }
        }
    }
}
