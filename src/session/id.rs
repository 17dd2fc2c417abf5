//! The name of a session.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A session's name: `s_` and 32 hexadecimal digits. It is no secret; what its holder may do is
/// said by tokens.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The session of `random`, which the shell takes from the kernel.
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The session that `text` names; `None` when it could be the name of none. Upper-case digits
    /// are refused: one session has one name.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("s_")?.as_bytes();
        let mut id = [0; 16];
        if digits.len() != 2 * id.len() {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                *byte = *byte << 4 | hex(*digit)?;
            }
        }
        Some(Self(id))
    }

    /// The 16 bytes that [`SessionId::new`] makes it of.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The value of a lower-case hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("s_")?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no session id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_way_back() {
        let id = SessionId::new(*b"\x00\x01\x7f\x80\xff\xfe123456789\x0a");
        let text = id.to_string();
        assert_eq!(text, "s_00017f80fffe3132333435363738390a");
        assert_eq!(SessionId::parse(&text), Some(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<SessionId>(&format!("\"{text}\"")).unwrap(), id);
    }

    #[test]
    fn what_is_no_name_is_none() {
        let good = "s_00017f80fffe3132333435363738390a";
        for bad in [
            "",
            "s_",
            "S_00017f80fffe3132333435363738390a",
            "s_00017F80fffe3132333435363738390a",
            "s_00017f80fffe3132333435363738390",
            "s_00017f80fffe3132333435363738390a0",
            "s_00017f80fffe313233343536373839g0",
            " s_00017f80fffe3132333435363738390a",
            "s_é017f80fffe3132333435363738390a",
        ] {
            assert_eq!(SessionId::parse(bad), None, "{bad}");
        }
        assert!(SessionId::parse(good).is_some());
    }
}
