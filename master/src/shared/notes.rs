//! What is remembered of the last requests: notes of each loop, which it hands over and others look at.

use rip::observe::note::Note;
use rip::observe::notes::Notes;
use rip::observe::page::Page;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The notes of all loops.
///
/// Each has a lock of its own that nobody but who asks ever contends, and who asks holds it for some
/// microseconds: digests are looked through, not notes.
pub struct LoopNotes {
    loops: Vec<Place>,
}

/// The notes of one loop, on cache lines of their own.
#[repr(align(128))]
struct Place(Mutex<Notes>);

impl LoopNotes {
    /// None yet, for `loops` loops, at least one.
    pub fn new(loops: usize) -> Self {
        Self { loops: (0..loops.max(1)).map(|_| Place(Mutex::new(Notes::default()))).collect() }
    }

    /// Takes over what loop `index` has noted. Locking for each request would cost more than noting it.
    pub fn take(&self, index: usize, batch: &mut Page) {
        if let Some(place) = self.loops.get(index) {
            place.lock().take(batch);
        }
    }

    /// The requests called `id`, the newest of each loop, `most` of each.
    pub fn find(&self, id: &[u8], most: usize) -> Vec<Note> {
        self.loops.iter().flat_map(|place| place.lock().find(id, most)).collect()
    }

    /// The newest `most` requests that were answered with `status` or above, newest first.
    pub fn newest(&self, most: usize, status: u16) -> Vec<Note> {
        let mut notes: Vec<Note> =
            self.loops.iter().flat_map(|place| place.lock().newest(most, status)).collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.end()));
        notes.truncate(most);
        notes
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::observe::note::{Entry, Trail};
    use rip::time::UnixMillis;
    use std::time::Duration;

    fn entry<'a>(id: &'a [u8], at: u64, status: u16, trail: &'a Trail) -> Entry<'a> {
        let total = Duration::from_millis(1);
        Entry { status, at: UnixMillis(at), total, ..Entry::of(id, trail) }
    }

    #[test]
    fn the_newest_errors_are_those_of_all_loops() {
        let trail = Trail::default();
        let notes = LoopNotes::new(2);
        for at in 0..100_u64 {
            let status = if at % 10 == 0 { 502 } else { 200 };
            let id = format!("r{at}");
            let mut batch = Page::default();
            batch.push(&entry(id.as_bytes(), at, status, &trail));
            notes.take((at / 10 % 2) as usize, &mut batch);
        }
        let ends: Vec<_> = notes.newest(3, 500).iter().map(|note| note.at.0).collect();
        assert_eq!(ends, [90, 80, 70]);
        assert_eq!(notes.find(b"r55", 10).len(), 1);
        assert!(notes.find(b"nobody", 10).is_empty());
    }
}
