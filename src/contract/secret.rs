//! Texts that are never shown.

use std::fmt;

/// A text that whoever knows it has a right by. It is in no log, no listing and no configuration.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// `text` is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// It can stand in a header field as a token of authorization (RFC 6750 §2.1).
    pub fn can_be_presented(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The text, to be compared with what somebody presents.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
