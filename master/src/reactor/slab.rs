//! Things that are open, found by a key that cannot be mistaken for an older one.
//!
//! A [`Key`] is an index and a generation: when a place is used again its generation has moved
//! on, so that an event, a timer or a grant for something long gone finds nobody home.

use std::num::NonZeroU32;

/// The name of one entry of one [`Slab`]. `Option<Key>` is no larger than `Key`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    index: u32,
    generation: NonZeroU32,
}

impl Key {
    /// The place in the slab: small, dense, and used again after removal.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The key as one number, never 0.
    pub const fn as_u64(self) -> u64 {
        (self.generation.get() as u64) << 32 | self.index as u64
    }

    /// The key that [`Key::as_u64`] turned into `number`; any other number gives a key that no
    /// slab knows or that is as good as forged.
    pub const fn from_u64(number: u64) -> Self {
        let generation = match NonZeroU32::new((number >> 32) as u32) {
            Some(generation) => generation,
            None => NonZeroU32::MAX,
        };
        Self { index: number as u32, generation }
    }
}

/// What an event of the poll is about. Three bits of every token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum TokenKind {
    /// A child process ended.
    Child = 0,
    /// A connection to the control socket.
    Control = 1,
    /// A client's connection.
    Front = 2,
    /// A connection to a worker.
    Link = 3,
    /// A listening socket.
    Listener = 4,
    /// A pipe of a worker's output.
    Pipe = 5,
    /// The process's signals.
    Signals = 6,
    /// Another thread has left mail.
    Waker = 7,
}

impl TokenKind {
    const ALL: [Self; 8] = [
        Self::Child,
        Self::Control,
        Self::Front,
        Self::Link,
        Self::Listener,
        Self::Pipe,
        Self::Signals,
        Self::Waker,
    ];
}

/// The token of the `kind` thing called `key`: three bits of kind, 29 of generation, 32 of index.
pub const fn token(kind: TokenKind, key: Key) -> mio::Token {
    mio::Token((kind as usize) << 61 | key.as_u64() as usize)
}

/// The token of the only thing, or the `index`-th, of a `kind` that lives in no slab.
pub const fn plain_token(kind: TokenKind, index: u32) -> mio::Token {
    token(kind, Key { index, generation: NonZeroU32::MIN })
}

/// What [`token`] or [`plain_token`] was made of.
pub const fn parse(token: mio::Token) -> (TokenKind, Key) {
    let number = token.0 as u64;
    (TokenKind::ALL[(number >> 61) as usize], Key::from_u64(number & (u64::MAX >> 3)))
}

/// Entries at stable places; insertion and removal are O(1) and the last place freed is the next
/// one used.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    first_free: u32,
    count: usize,
    /// What a place that is new begins with: none that was dropped has had it.
    first_generation: NonZeroU32,
}

#[derive(Debug)]
struct Place<T> {
    generation: NonZeroU32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Free { next: u32 },
    Full(T),
}

impl<T> Slab<T> {
    /// An empty slab; nothing is allocated before the first entry.
    pub const fn new() -> Self {
        Self { places: Vec::new(), first_free: NONE, count: 0, first_generation: NonZeroU32::MIN }
    }

    /// Keeps `entry` and names it.
    pub fn insert(&mut self, entry: T) -> Key {
        self.insert_with(|_| entry)
    }

    /// Keeps what `make` makes, which is told its own key first.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.first_free;
        let key = match self.places.get(index as usize) {
            Some(place) => Key { index, generation: place.generation },
            None => Key { index: self.places.len() as u32, generation: self.first_generation },
        };
        let content = Content::Full(make(key));
        match self.places.get_mut(index as usize) {
            Some(place) => {
                if let Content::Free { next } = place.content {
                    self.first_free = next;
                }
                place.content = content;
            }
            None => self.places.push(Place { generation: key.generation, content }),
        }
        self.count += 1;
        key
    }

    /// The entry called `key`, unless it was removed.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.places.get(key.index as usize) {
            Some(Place { generation, content: Content::Full(entry) })
                if *generation == key.generation =>
            {
                Some(entry)
            }
            _ => None,
        }
    }

    /// The entry called `key`, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.places.get_mut(key.index as usize) {
            Some(Place { generation, content: Content::Full(entry) })
                if *generation == key.generation =>
            {
                Some(entry)
            }
            _ => None,
        }
    }

    /// Takes the entry out; its key names nothing from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let place = self.places.get_mut(key.index as usize)?;
        let content =
            std::mem::replace(&mut place.content, Content::Free { next: self.first_free });
        place.generation = following(place.generation);
        self.first_free = key.index;
        self.count -= 1;
        match content {
            Content::Full(entry) => Some(entry),
            Content::Free { .. } => None,
        }
    }

    /// Gives back the memory behind the last entry, after many were removed. Keys stay what they are.
    /// It takes a look at every place.
    pub fn shrink(&mut self) {
        while let Some(Place { generation, content: Content::Free { .. } }) = self.places.last() {
            self.first_generation = self.first_generation.max(*generation);
            self.places.pop();
        }
        self.places.shrink_to_fit();
        // The first place is used next, so that the last ones can go another time.
        self.first_free = NONE;
        for (index, place) in self.places.iter_mut().enumerate().rev() {
            if let Content::Free { next } = &mut place.content {
                *next = std::mem::replace(&mut self.first_free, index as u32);
            }
        }
    }

    /// Whether `key` still names an entry.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every entry, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| match &place.content {
            Content::Full(entry) => {
                Some((Key { index: index as u32, generation: place.generation }, entry))
            }
            Content::Free { .. } => None,
        })
    }

    /// Every entry, by place, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| match &mut place.content {
            Content::Full(entry) => {
                Some((Key { index: index as u32, generation: place.generation }, entry))
            }
            Content::Free { .. } => None,
        })
    }

    /// The key of every entry, by place.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Generations use 29 bits, so that a token has room for its kind, and skip 0.
fn following(generation: NonZeroU32) -> NonZeroU32 {
    NonZeroU32::new((generation.get() + 1) & GENERATION_MASK).unwrap_or(NonZeroU32::MIN)
}

const NONE: u32 = u32::MAX;
const GENERATION_MASK: u32 = (1 << 29) - 1;
const _: () = assert!(usize::BITS == 64, "a token holds kind, generation and index");

#[cfg(test)]
mod tests {
    use super::*;
    use rip::entropy::{Entropy, Xoshiro};
    use std::collections::BTreeMap;

    #[test]
    fn a_removed_key_finds_nobody_home_when_its_place_is_used_again() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        let second = slab.insert("second");
        assert_eq!(first.index(), second.index());
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert!(!slab.contains(Key::from_u64(0)));
    }

    #[test]
    fn an_entry_may_know_its_own_key() {
        let mut slab = Slab::new();
        slab.insert_with(Key::as_u64);
        let key = slab.insert_with(Key::as_u64);
        assert_eq!(slab.get(key), Some(&key.as_u64()));
        assert_eq!(Key::from_u64(key.as_u64()), key);
        assert_eq!(size_of::<Option<Key>>(), 8);
    }

    #[test]
    fn tokens_say_what_they_were_made_of() {
        let mut slab = Slab::new();
        let mut key = slab.insert(());
        for _ in 0..1000 {
            slab.remove(key);
            key = slab.insert(());
        }
        for kind in TokenKind::ALL {
            assert_eq!(parse(token(kind, key)), (kind, key));
            let (parsed, plain) = parse(plain_token(kind, 7));
            assert_eq!((parsed, plain.index()), (kind, 7));
        }
        assert_eq!(following(NonZeroU32::new(GENERATION_MASK).unwrap()), NonZeroU32::MIN);
    }

    #[test]
    fn a_crowd_that_has_left_holds_no_memory_and_is_not_mistaken_for_the_next() {
        let mut slab = Slab::new();
        let crowd: Vec<Key> = (0..1000).map(|number| slab.insert(number)).collect();
        let (stays, leave) = crowd.split_at(10);
        for &key in leave.iter().chain(&stays[..3]) {
            slab.remove(key);
        }
        slab.shrink();
        assert!(slab.places.capacity() < 20);
        assert!(stays[3..].iter().all(|key| slab.contains(*key)));
        let next: Vec<Key> = (0..1000).map(|number| slab.insert(number)).collect();
        assert_eq!(next[0].index(), 0, "the first free place is used first");
        assert!(leave.iter().all(|key| !slab.contains(*key)));
        assert!(next.iter().all(|key| slab.contains(*key)));
    }

    #[test]
    fn it_behaves_as_a_map_does() {
        for seed in 0..16 {
            let mut entropy = Xoshiro::new(seed);
            let (mut slab, mut map) = (Slab::new(), BTreeMap::new());
            let mut dead = Vec::new();
            for step in 0..2000_u32 {
                if entropy.below(5) < 3 {
                    map.insert(slab.insert(step), step);
                } else if entropy.below(50) == 0 {
                    slab.shrink();
                } else if let Some(&key) = map.keys().nth(entropy.below(8) as usize) {
                    assert_eq!(slab.remove(key), map.remove(&key));
                    dead.push(key);
                }
                assert_eq!(slab.len(), map.len());
            }
            assert!(dead.iter().all(|key| !slab.contains(*key)));
            assert_eq!(slab.keys().count(), map.len());
            for (key, entry) in slab.iter() {
                assert_eq!(map.get(&key), Some(entry), "seed {seed}");
            }
        }
    }
}
