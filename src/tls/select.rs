//! Which certificate a client gets: that of the exact name, else of the wildcard one label above,
//! else the default.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Positions of certificates by the names they are for.
#[derive(Clone, Debug, Default)]
pub struct ByName {
    exact: HashMap<String, usize>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, usize>,
    default: Option<usize>,
    /// Who is not to get the default.
    refused: HashSet<String>,
}

impl ByName {
    /// The certificate at `position` is for `name`, `*.name` among them. Names compare in lower case,
    /// a final dot is left out. Whoever comes first for a name keeps it.
    pub fn add(&mut self, name: &str, position: usize) {
        let name = plain(name);
        match name.strip_prefix("*.") {
            Some(above) => self.wildcard.entry(above.to_owned()).or_insert(position),
            None => self.exact.entry(name.into_owned()).or_insert(position),
        };
    }

    /// The certificate at `position` is for those who name nobody, or nobody we know.
    pub fn set_default(&mut self, position: usize) {
        self.default = Some(position);
    }

    /// Whoever names `name` gets the certificate made for it, or none: never the default.
    pub fn refuse(&mut self, name: &str) {
        self.refused.insert(plain(name).into_owned());
    }

    /// The position of the certificate made for `name`: a wildcard stands for one label
    /// (RFC 9525 §6.3).
    pub fn named(&self, name: &str) -> Option<usize> {
        self.made_for(&plain(name))
    }

    /// The position of the certificate that a client gets which names `name`, or nobody.
    pub fn select(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else { return self.default };
        let name = plain(name);
        self.made_for(&name).or_else(|| self.default.filter(|_| !self.refused.contains(&*name)))
    }

    fn made_for(&self, name: &str) -> Option<usize> {
        let above = |name: &str| self.wildcard.get(name.split_once('.')?.1).copied();
        self.exact.get(name).copied().or_else(|| above(name))
    }
}

/// `name` as names are kept: in lower case, without a final dot.
fn plain(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_wins_then_the_wildcard_then_the_default() {
        let mut by_name = ByName::default();
        by_name.add("*.Example.com", 0);
        by_name.add("www.example.com.", 1);
        by_name.add("www.example.com", 2);
        assert_eq!(by_name.select(Some("other.test")), None);
        by_name.set_default(7);
        for (name, expected) in [
            (Some("www.example.com"), 1),
            (Some("WWW.EXAMPLE.COM"), 1),
            (Some("www.example.com."), 1),
            (Some("api.example.com"), 0),
            (Some("API.Example.Com"), 0),
            (Some("a.b.example.com"), 7),
            (Some("example.com"), 7),
            (Some("other.test"), 7),
            (None, 7),
            (Some(""), 7),
            (Some("."), 7),
        ] {
            assert_eq!(by_name.select(name), Some(expected), "{name:?}");
        }
    }
}
