//! The name of a WebSocket client.

use crate::entropy::Entropy;
use std::fmt;

/// A client's name: 128 random bits, 32 hexadecimal digits in lower case. It says nothing about the
/// client, not even which loop has it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(u128);

impl ClientId {
    /// A new one. It is as hard to guess as `entropy` is.
    pub fn mint(entropy: &mut dyn Entropy) -> Self {
        Self(u128::from(entropy.next_u64()) << 64 | u128::from(entropy.next_u64()))
    }

    /// The client that is called `name`; `None` for what [`Self::mint`] never makes.
    pub fn parse(name: &str) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_one = name.len() == 32 && name.as_bytes().iter().all(is_digit);
        is_one.then(|| u128::from_str_radix(name, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    #[test]
    fn a_name_is_32_digits_and_finds_its_way_back() {
        let mut random = Xoshiro::new(1);
        for _ in 0..1000 {
            let id = ClientId::mint(&mut random);
            let name = id.to_string();
            assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(ClientId::parse(&name), Some(id));
        }
        assert_eq!(ClientId(7).to_string(), "00000000000000000000000000000007");
    }

    #[test]
    fn what_is_no_name_is_nobody() {
        let good = "0123456789abcdef0123456789abcdef";
        assert!(ClientId::parse(good).is_some());
        for name in [
            "",
            "/lobby",
            &good[1..],
            &format!("{good}0"),
            "0123456789ABCDEF0123456789ABCDEF",
            "+123456789abcdef0123456789abcdef",
            "é123456789abcdef0123456789abcde",
        ] {
            assert_eq!(ClientId::parse(name), None, "{name}");
        }
    }
}
