//! One client's frames on their way out: shared with others, bounded, partly written.
//!
//! ```text
//!   Open ── close, fail ──▶ Closing ── the Close frame is written ──▶ finished
//! ```

use super::frame::Frame;
use crate::limits::OUTBOX_BYTES;
use std::collections::VecDeque;

/// What is still to be written to one client. An empty one holds no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    written: usize,
    /// What counts against [`OUTBOX_BYTES`].
    weight: usize,
    /// The part of it that may be dropped, the first piece included.
    lossy_weight: usize,
    is_closing: bool,
}

#[derive(Debug)]
struct Piece {
    frame: Frame,
    sort: Sort,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sort {
    /// It counts, and is not dropped.
    Kept,
    /// It counts, and is dropped for newer ones.
    Lossy,
    /// It does not count: what was missed, which is bounded elsewhere, and the Close frame.
    Free,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Pushed {
    /// It will be written, in place of so many older ones.
    Taken {
        /// Frames of lossy groups that were dropped for it.
        dropped: u32,
    },
    /// There is no room for it, and its group is lossy.
    Dropped,
    /// There is no room for it: the client is too slow, and to be closed with 1013.
    Slow,
    /// The last frame is there already.
    Closing,
}

impl Outbox {
    /// An empty outbox; nothing is allocated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a frame. Where there is no room, frames that are `lossy` make it, the oldest first.
    pub fn push(&mut self, frame: &Frame, lossy: bool) -> Pushed {
        if self.is_closing {
            return Pushed::Closing;
        }
        let weight = weight(frame);
        // Alone a frame may be of any size.
        let fits = |taken: usize| taken == 0 || taken + weight <= OUTBOX_BYTES;
        if !fits(self.weight - self.droppable()) {
            return if lossy { Pushed::Dropped } else { Pushed::Slow };
        }
        let mut dropped = 0;
        while !fits(self.weight) && self.drop_oldest() {
            dropped += 1;
        }
        self.add(frame.clone(), if lossy { Sort::Lossy } else { Sort::Kept });
        self.check();
        Pushed::Taken { dropped }
    }

    /// Appends a frame that the client missed, whether there is room or not: true unless it is
    /// closing.
    pub fn push_missed(&mut self, frame: &Frame) -> bool {
        if !self.is_closing {
            self.add(frame.clone(), Sort::Free);
        }
        self.check();
        !self.is_closing
    }

    /// Appends the Close frame, after which nothing comes. Only the first call counts.
    pub fn close(&mut self, frame: Frame) {
        if !self.is_closing {
            self.is_closing = true;
            self.add(frame, Sort::Free);
        }
        self.check();
    }

    /// Forgets everything but the frame that is partly written, and appends the Close frame. Nothing
    /// if the last frame is there already.
    pub fn fail(&mut self, frame: Frame) {
        if self.is_closing {
            return;
        }
        let begun = if self.written > 0 { self.pieces.pop_front() } else { None };
        let written = self.written;
        *self = Self::default();
        if let Some(Piece { frame, sort }) = begun {
            self.add(frame, sort);
            self.written = written;
        }
        self.close(frame);
    }

    /// What is to be written, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut cut = self.written;
        self.pieces.iter().map(move |piece| {
            piece.frame.as_bytes().get(std::mem::take(&mut cut)..).unwrap_or_default()
        })
    }

    /// The first `count` bytes of it are written.
    pub fn written(&mut self, count: usize) {
        self.written += count;
        while let Some(first) = self.pieces.front()
            && first.frame.byte_count() <= self.written
        {
            self.written -= first.frame.byte_count();
            self.remove(0);
        }
        if self.pieces.is_empty() {
            self.written = 0;
            if self.pieces.capacity() > KEPT_PIECE_COUNT {
                self.pieces = VecDeque::new();
            }
        }
        self.check();
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether the Close frame is written.
    pub fn is_finished(&self) -> bool {
        self.is_closing && self.pieces.is_empty()
    }

    /// Whether the last frame is there.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Bytes that are to be written.
    pub fn byte_count(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Panics when the outbox contradicts itself. Every mutation does this in debug builds.
    pub fn check_invariants(&self) {
        let sum = |sort: Sort| -> usize {
            let of_sort = self.pieces.iter().filter(|piece| piece.sort == sort);
            of_sort.map(|piece| weight(&piece.frame)).sum()
        };
        assert_eq!(self.lossy_weight, sum(Sort::Lossy), "what is lossy is miscounted");
        assert_eq!(self.weight, self.lossy_weight + sum(Sort::Kept), "bytes are miscounted");
        let counted = self.pieces.iter().filter(|piece| piece.sort != Sort::Free).count();
        assert!(counted <= 1 || self.weight <= OUTBOX_BYTES, "there is more than there may be");
        match self.pieces.front() {
            Some(first) => {
                assert!(self.written < first.frame.byte_count(), "a written frame is kept");
            }
            None => assert_eq!(self.written, 0, "nothing is partly written"),
        }
    }

    fn add(&mut self, frame: Frame, sort: Sort) {
        self.count(&frame, sort, usize::checked_add);
        self.pieces.push_back(Piece { frame, sort });
    }

    fn remove(&mut self, index: usize) {
        if let Some(Piece { frame, sort }) = self.pieces.remove(index) {
            self.count(&frame, sort, usize::checked_sub);
        }
    }

    fn count(&mut self, frame: &Frame, sort: Sort, change: fn(usize, usize) -> Option<usize>) {
        let changed = |old| change(old, weight(frame)).unwrap_or_default();
        if sort != Sort::Free {
            self.weight = changed(self.weight);
        }
        if sort == Sort::Lossy {
            self.lossy_weight = changed(self.lossy_weight);
        }
    }

    /// Drops the oldest frame that may be: not one that is partly written.
    fn drop_oldest(&mut self) -> bool {
        let begun = usize::from(self.written > 0);
        let mut pieces = self.pieces.iter().enumerate().skip(begun);
        let found = pieces.find(|(_, piece)| piece.sort == Sort::Lossy).map(|(index, _)| index);
        found.is_some_and(|index| {
            self.remove(index);
            true
        })
    }

    /// The weight that [`Self::drop_oldest`] can take away.
    fn droppable(&self) -> usize {
        let begun = self.pieces.front().filter(|_| self.written > 0);
        let kept = begun.filter(|piece| piece.sort == Sort::Lossy);
        self.lossy_weight - kept.map_or(0, |piece| weight(&piece.frame))
    }

    #[inline]
    fn check(&self) {
        // The whole queue is looked at: only now and then where it is long.
        if cfg!(debug_assertions)
            && (self.pieces.len() < 64 || self.pieces.len().is_multiple_of(64))
        {
            self.check_invariants();
        }
    }
}

/// What a frame takes, with its place in the queue: many small ones are bounded as well.
fn weight(frame: &Frame) -> usize {
    frame.byte_count() + size_of::<Piece>()
}

/// A queue that grew beyond this gives its memory back when it is empty.
const KEPT_PIECE_COUNT: usize = 16;

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
