//! The name of a request: the client's own where it is harmless, else one of ours.

use crate::entropy::Entropy;
use crate::limits::REQUEST_ID_BYTES;
use std::fmt;

/// A request's name: 1 to 128 bytes of `[A-Za-z0-9._-]`, kept in place.
#[derive(Clone, Copy)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_BYTES],
    length: u8,
}

impl RequestId {
    /// The client's id when it is one, else a new `req-` and 12 hexadecimal digits.
    pub fn new(client: Option<&[u8]>, entropy: &mut dyn Entropy) -> Self {
        match client {
            Some(id) if is_acceptable(id) => Self::copy(id),
            _ => Self::mint(entropy),
        }
    }

    /// Whether `id` is one that a request may have.
    pub fn is_one(id: &[u8]) -> bool {
        is_acceptable(id)
    }

    /// The id as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn mint(entropy: &mut dyn Entropy) -> Self {
        let mut id = *b"req-000000000000";
        let mut random = entropy.next_u64();
        for digit in &mut id[4..] {
            *digit = b"0123456789abcdef"[(random & 15) as usize];
            random >>= 4;
        }
        Self::copy(&id)
    }

    fn copy(id: &[u8]) -> Self {
        let mut bytes = [0; REQUEST_ID_BYTES];
        bytes[..id.len()].copy_from_slice(id);
        Self { bytes, length: id.len() as u8 }
    }
}

impl Default for RequestId {
    /// No name yet.
    fn default() -> Self {
        Self { bytes: [0; REQUEST_ID_BYTES], length: 0 }
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RequestId {}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

fn is_acceptable(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

const _: () = assert!(REQUEST_ID_BYTES <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    #[test]
    fn a_harmless_id_of_the_client_is_kept() {
        let mut random = Xoshiro::new(1);
        let longest = [b'x'; REQUEST_ID_BYTES];
        for id in [&b"a"[..], b"A-Z_a.z-09", &longest] {
            assert_eq!(RequestId::new(Some(id), &mut random).as_bytes(), id);
        }
    }

    #[test]
    fn every_other_id_is_replaced() {
        let mut random = Xoshiro::new(1);
        let too_long = [b'x'; REQUEST_ID_BYTES + 1];
        for id in
            [None, Some(&b""[..]), Some(b"a b"), Some(b"a\nb"), Some(b"\xe9"), Some(&too_long)]
        {
            let minted = RequestId::new(id, &mut random);
            let (prefix, digits) = minted.as_str().split_at(4);
            assert_eq!(prefix, "req-");
            assert_eq!(digits.len(), 12);
            assert!(digits.bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
        }
    }

    #[test]
    fn minted_ids_differ() {
        let mut random = Xoshiro::new(2);
        let ids: std::collections::HashSet<_> =
            (0..10_000).map(|_| RequestId::new(None, &mut random).to_string()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
