//! A field that may stand on several lines (RFC 9110 §5.3).

/// The values of a field's lines, in their order. Allocates with the second line.
#[derive(Clone, Debug, Default)]
pub struct Lines<'b> {
    first: Option<&'b [u8]>,
    more: Vec<&'b [u8]>,
}

impl<'b> Lines<'b> {
    /// A field of one line.
    pub const fn one(value: &'b [u8]) -> Self {
        Self { first: Some(value), more: Vec::new() }
    }

    /// Adds the value of one more line.
    pub fn push(&mut self, value: &'b [u8]) {
        match self.first {
            None => self.first = Some(value),
            Some(_) => self.more.push(value),
        }
    }

    /// There is a line.
    pub const fn is_present(&self) -> bool {
        self.first.is_some()
    }

    /// The value of a field that is not a list: `None` unless it stands on exactly one line.
    pub fn single(&self) -> Option<&'b [u8]> {
        if self.more.is_empty() { self.first } else { None }
    }

    /// The values of the lines.
    pub fn iter(&self) -> impl Iterator<Item = &'b [u8]> {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    /// The members of a list whose members hold no quoted commas, without the white space around
    /// them; empty ones are left out.
    pub fn members(&self) -> impl Iterator<Item = &'b [u8]> {
        self.iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list_are_one_list() {
        let mut lines = Lines::default();
        assert!(!lines.is_present() && lines.single().is_none() && lines.members().count() == 0);
        lines.push(b"a , b,,");
        assert_eq!(lines.single(), Some(&b"a , b,,"[..]));
        lines.push(b"\tc");
        assert_eq!(lines.single(), None);
        assert_eq!(lines.members().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }
}
