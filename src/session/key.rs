//! Idempotency keys: how a client that lost its answer gets it again.

use super::id::SessionId;
use super::refusal::Refusal;
use super::token::Digest;
use crate::limits::IDEMPOTENCY_KEY_BYTES;
use crate::time::UnixMillis;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A client's `Idempotency-Key`. Who knows it and repeats the request gets the outcome: it is not
/// printed, and the store keeps its SHA-256 only.
#[derive(Clone, Eq, PartialEq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key that a client sent.
    pub fn new(value: &[u8]) -> Result<Self, Refusal> {
        if IDEMPOTENCY_KEY_BYTES.contains(&value.len()) {
            Ok(Self(value.to_vec()))
        } else {
            Err(Refusal::BadKey)
        }
    }

    /// What the store knows it by within `scope`: one mount's keys say nothing to another's.
    pub fn digest(&self, scope: &str) -> Digest {
        digest(&[b"key", scope.as_bytes(), &self.0])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(…)")
    }
}

/// The request that a key stands for: its method, its path, its input without the token and its
/// `Authorization`. `Host` is in the scope.
pub fn fingerprint(method: &str, path: &str, input: &str, authorization: &[u8]) -> Digest {
    digest(&[method.as_bytes(), path.as_bytes(), input.as_bytes(), authorization])
}

/// Each part's length goes before it, so that what ends one cannot begin the next.
fn digest(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

/// The key of one request and what it stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// [`Key::digest`].
    pub key: Digest,
    /// [`fingerprint`].
    pub fingerprint: Digest,
}

/// What the store keeps of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyRecord {
    /// The key and its request.
    pub asked: Asked,
    /// The session it ran in; forgotten with it.
    pub session: SessionId,
    /// The turn.
    pub turn: u64,
    /// Which attempt of it.
    pub attempt: u32,
    /// The token that the request presented; `None` when it started the session.
    pub presented: Option<Digest>,
    /// Until when it is kept.
    pub until: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_length_and_are_not_printed() {
        assert!(Key::new(&[b'k'; 16]).is_ok());
        assert!(Key::new(&[0xe9; 255]).is_ok());
        for bad in [&[b'k'; 15][..], &[b'k'; 256], b""] {
            assert_eq!(Key::new(bad), Err(Refusal::BadKey));
        }
        assert_eq!(format!("{:?}", Key::new(&[b'k'; 16]).unwrap()), "Key(…)");
    }

    #[test]
    fn a_fingerprint_depends_on_every_part_and_on_where_it_ends() {
        let prints = [
            fingerprint("POST", "/a", "{}", b""),
            fingerprint("PUT", "/a", "{}", b""),
            fingerprint("POST", "/b", "{}", b""),
            fingerprint("POST", "/a", "{\"x\":1}", b""),
            fingerprint("POST", "/a", "{}", b"Bearer x"),
            fingerprint("POST", "/a{", "}", b""),
            fingerprint("POST", "/a", "", b"{}"),
        ];
        for (index, print) in prints.iter().enumerate() {
            assert!(prints[index + 1..].iter().all(|other| other != print), "{index}");
        }
        assert!(prints[0] == fingerprint("POST", "/a", "{}", b""));
        let key = Key::new(b"0123456789abcdef").unwrap();
        assert!(key.digest("a") != key.digest("b"));
    }
}
