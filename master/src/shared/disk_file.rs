//! An open file whose bytes are sent from the kernel's memory, if they are there.

use rip::time::Instant;
use std::fs::File;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A file, and when its end was last seen to be in memory.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    size_bytes: u64,
    /// Nanoseconds of the clock of who saw it; 0 for never.
    seen_warm: AtomicU64,
}

impl DiskFile {
    /// `file`, which has `size_bytes`.
    pub fn new(file: File, size_bytes: u64) -> Self {
        Self { file, size_bytes, seen_warm: AtomicU64::new(0) }
    }

    /// At `now` the last of the `length` bytes from `offset` was in memory.
    pub fn note_warm(&self, offset: u64, length: u64, now: Instant) {
        if offset == 0 && length == self.size_bytes {
            self.seen_warm.store(now.as_nanos(), Relaxed);
        }
    }

    /// All of it was in memory a moment ago: what was read then is not what a kernel that needs room
    /// gives up first.
    pub fn was_warm(&self, now: Instant) -> bool {
        let seen = self.seen_warm.load(Relaxed);
        seen > 0 && now.since(Instant::from_nanos(seen)) < WARM_FOR
    }
}

impl Deref for DiskFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// As long as a file that was looked at is not looked at again.
const WARM_FOR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_counts_and_only_for_a_moment() {
        let file = DiskFile::new(File::open("/dev/null").unwrap(), 100);
        let at = |millis| Instant::from_millis(millis);
        assert!(!file.was_warm(at(0)));
        file.note_warm(50, 50, at(1_000));
        assert!(!file.was_warm(at(1_000)));
        file.note_warm(0, 100, at(1_000));
        assert!(file.was_warm(at(1_099)) && !file.was_warm(at(1_100)));
    }
}
