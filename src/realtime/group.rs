//! The names of groups, and patterns of them.

use crate::limits::GROUP_NAME_BYTES;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A group's name: `/` and up to 255 bytes more. Cheap to clone.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupName(Arc<str>);

/// Why a text is no group's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoGroup {
    /// It does not begin with `/`.
    NoSlash,
    /// It has more than [`GROUP_NAME_BYTES`] bytes.
    TooLong,
}

impl GroupName {
    /// The group that is called `name`.
    ///
    /// # Errors
    /// It cannot be one's name.
    pub fn new(name: &str) -> Result<Self, NoGroup> {
        if !name.starts_with('/') {
            Err(NoGroup::NoSlash)
        } else if name.len() > GROUP_NAME_BYTES {
            Err(NoGroup::TooLong)
        } else {
            Ok(Self(name.into()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A map by name can be asked with a text.
impl Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// Which groups a rule is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupPattern {
    name: Box<str>,
    /// Those beneath it as well.
    beneath: bool,
}

impl GroupPattern {
    /// `/lobby` is that group, `/lobby/*` is that one and all beneath it, `/*` is every group.
    pub fn new(text: &str) -> Self {
        match text.strip_suffix("/*") {
            Some(name) => Self { name: name.into(), beneath: true },
            None => Self { name: text.into(), beneath: false },
        }
    }

    /// Whether the rule is for this group.
    pub fn matches(&self, group: &GroupName) -> bool {
        match group.as_str().strip_prefix(&*self.name) {
            Some("") => true,
            Some(rest) => self.beneath && rest.starts_with('/'),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_begins_with_a_slash_and_is_short() {
        let longest = format!("/{}", "x".repeat(255));
        for name in ["/", "/lobby", "/lobby/é", "/ ", &longest] {
            assert_eq!(GroupName::new(name).map(|group| group.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "lobby", " /lobby", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(GroupName::new(name), Err(NoGroup::NoSlash), "{name}");
        }
        assert_eq!(GroupName::new(&format!("{longest}x")), Err(NoGroup::TooLong));
    }

    #[test]
    fn a_pattern_is_for_a_group_or_for_what_is_beneath_it_too() {
        for (pattern, yes, no) in [
            ("/lobby", &["/lobby"][..], &["/lobby/1", "/lobb", "/lobbyx", "/"][..]),
            ("/lobby/*", &["/lobby", "/lobby/1", "/lobby/1/2", "/lobby/"], &["/lobbyx", "/lob"]),
            ("/*", &["/", "/lobby", "/a/b"], &[]),
            ("/a*", &["/a*"], &["/ab", "/a"]),
        ] {
            let pattern = GroupPattern::new(pattern);
            for name in yes {
                assert!(pattern.matches(&GroupName::new(name).unwrap()), "{pattern:?} {name}");
            }
            for name in no {
                assert!(!pattern.matches(&GroupName::new(name).unwrap()), "{pattern:?} {name}");
            }
        }
    }
}
