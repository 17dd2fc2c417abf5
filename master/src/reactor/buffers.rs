//! Bytes on their way in: a window that fills at its end and is consumed at its beginning, and
//! the loop's store of blocks, so that a connection holds memory only while bytes are pending.

use rip::limits::BLOCK_BYTES;
use std::io::{self, Read};

/// Bytes that were read and not yet consumed, less than 4 GiB. An empty one made by `default` holds no
/// memory.
#[derive(Debug, Default)]
pub struct Buffer {
    block: Box<[u8]>,
    // Short, because each idle connection has a place for one of these.
    start: u32,
    end: u32,
}

impl Buffer {
    /// An empty buffer with room for `capacity_bytes`.
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        Self { block: vec![0; capacity_bytes].into_boxed_slice(), start: 0, end: 0 }
    }

    /// What was read and not consumed.
    pub fn filled(&self) -> &[u8] {
        &self.block[self.start()..self.end()]
    }

    /// The same, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        let pending = self.start()..self.end();
        &mut self.block[pending]
    }

    /// How many bytes are pending.
    pub fn len(&self) -> usize {
        self.end() - self.start()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes it can hold before it must grow.
    pub fn capacity(&self) -> usize {
        self.block.len()
    }

    /// The first `count` bytes are done with (all of them when there are fewer).
    pub fn consume(&mut self, count: usize) {
        // What is pending is no more than fits.
        self.start += count.min(self.len()) as u32;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room to read into; what is pending moves to the front when the room behind it is small.
    /// Empty only when the buffer is full: consume or [`Buffer::grow`].
    pub fn space(&mut self) -> &mut [u8] {
        let behind = self.block.len() - self.end();
        // Moving costs the pending bytes; it is worth it when it gains as many, or when there is
        // no other room.
        if self.start > 0
            && (behind == 0 || behind < self.block.len() / 4 && self.start() >= self.len())
        {
            self.compact();
        }
        let end = self.end();
        &mut self.block[end..]
    }

    /// `count` bytes were read into [`Buffer::space`].
    pub fn filled_by(&mut self, count: usize) {
        self.ends_at(self.end().saturating_add(count));
    }

    /// Reads once into the room there is; `Ok(0)` is the end of the stream, or a full buffer.
    pub fn read_from(&mut self, from: &mut impl Read) -> io::Result<usize> {
        loop {
            match from.read(self.space()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.filled_by(count);
                    return Ok(count);
                }
            }
        }
    }

    /// Doubles the room, up to `max_bytes` (a block at least). False when it has that much
    /// already.
    pub fn grow(&mut self, max_bytes: usize) -> bool {
        let wanted = (self.block.len() * 2).max(BLOCK_BYTES).min(max_bytes);
        if wanted <= self.block.len() {
            return false;
        }
        self.resize(wanted);
        true
    }

    /// Appends `bytes`, growing as needed: the caller bounds what it appends.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let end = self.end();
        self.block[end..end + bytes.len()].copy_from_slice(bytes);
        self.ends_at(end + bytes.len());
    }

    /// Makes room for `count` bytes at least: the caller bounds what it asks for.
    pub fn reserve(&mut self, count: usize) {
        if self.block.len() - self.end() >= count {
            return;
        }
        if self.block.len() - self.len() < count {
            self.resize((self.len() + count).next_power_of_two().max(BLOCK_BYTES));
        } else {
            self.compact();
        }
    }

    fn start(&self) -> usize {
        self.start as usize
    }

    fn end(&self) -> usize {
        self.end as usize
    }

    fn ends_at(&mut self, end: usize) {
        self.end = u32::try_from(end.min(self.block.len())).unwrap_or(u32::MAX);
    }

    fn compact(&mut self) {
        self.block.copy_within(self.start()..self.end(), 0);
        (self.start, self.end) = (0, self.end - self.start);
    }

    fn resize(&mut self, capacity_bytes: usize) {
        let mut larger = Self::with_capacity(capacity_bytes);
        larger.block[..self.len()].copy_from_slice(self.filled());
        larger.ends_at(self.len());
        *self = larger;
    }
}

/// One loop's spare blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    buffers: Vec<Buffer>,
    vectors: Vec<Vec<u8>>,
}

impl Blocks {
    /// A store that has none yet.
    pub const fn new() -> Self {
        Self { buffers: Vec::new(), vectors: Vec::new() }
    }

    /// An empty buffer of one block.
    pub fn take(&mut self) -> Buffer {
        self.buffers.pop().unwrap_or_else(|| Buffer::with_capacity(BLOCK_BYTES))
    }

    /// Takes a buffer back; whatever it still holds is gone. Grown ones are not kept, nor more
    /// than the loop can use at a time.
    pub fn give(&mut self, mut buffer: Buffer) {
        if buffer.capacity() == BLOCK_BYTES && self.buffers.len() < SPARE_COUNT {
            buffer.consume(usize::MAX);
            self.buffers.push(buffer);
        }
    }

    /// An empty vector with room for a block: for bytes on their way out.
    pub fn take_vec(&mut self) -> Vec<u8> {
        self.vectors.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES))
    }

    /// Takes a vector back, unless it grew or never had a block.
    pub fn give_vec(&mut self, mut vector: Vec<u8>) {
        if vector.capacity() == BLOCK_BYTES && self.vectors.len() < SPARE_COUNT {
            vector.clear();
            self.vectors.push(vector);
        }
    }
}

const SPARE_COUNT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::entropy::{Entropy, Xoshiro};
    use std::collections::VecDeque;

    #[test]
    fn an_empty_buffer_holds_no_memory_and_grows_to_its_bound() {
        let mut buffer = Buffer::default();
        assert!(buffer.is_empty() && buffer.space().is_empty());
        assert!(buffer.grow(64 * 1024));
        assert_eq!(buffer.capacity(), BLOCK_BYTES);
        buffer.push(b"head");
        assert!(buffer.grow(20_000));
        assert_eq!((buffer.capacity(), buffer.filled()), (20_000, &b"head"[..]));
        assert!(!buffer.grow(20_000));
    }

    #[test]
    fn room_is_made_by_moving_what_is_pending() {
        let mut buffer = Buffer::with_capacity(8);
        buffer.space().copy_from_slice(b"abcdefgh");
        buffer.filled_by(8);
        assert!(buffer.space().is_empty());
        buffer.consume(1);
        assert_eq!(buffer.space().len(), 1);
        assert_eq!(buffer.filled(), b"bcdefgh");
        buffer.consume(100);
        assert_eq!(buffer.space().len(), 8);
    }

    #[test]
    fn it_behaves_as_a_queue_does() {
        for seed in 0..50 {
            let mut entropy = Xoshiro::new(seed);
            let (mut buffer, mut queue) = (Buffer::with_capacity(64), VecDeque::new());
            for _ in 0..500 {
                let byte = entropy.next_u64() as u8;
                match entropy.below(3) {
                    0 => {
                        let pushed = vec![byte; entropy.below(40) as usize];
                        buffer.push(&pushed);
                        queue.extend(&pushed);
                    }
                    1 => {
                        let mut source = io::repeat(byte).take(entropy.below(40));
                        let count = buffer.read_from(&mut source).unwrap();
                        queue.extend(std::iter::repeat_n(byte, count));
                    }
                    _ => {
                        let count = entropy.below(60) as usize;
                        buffer.consume(count);
                        queue.drain(..count.min(queue.len()));
                    }
                }
                assert_eq!(buffer.filled(), queue.make_contiguous(), "seed {seed}");
            }
        }
    }

    #[test]
    fn blocks_come_back_empty_and_grown_ones_do_not() {
        let mut blocks = Blocks::new();
        let mut block = blocks.take();
        block.push(b"secret");
        blocks.give(block);
        assert!(blocks.take().is_empty());
        let mut grown = blocks.take();
        grown.grow(usize::MAX);
        blocks.give(grown);
        blocks.give(Buffer::default());
        assert!(blocks.buffers.is_empty());
        let mut vector = blocks.take_vec();
        vector.push(1);
        blocks.give_vec(vector);
        assert!(blocks.take_vec().is_empty());
    }
}
