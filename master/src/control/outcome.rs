//! How a master's life went.

/// The end of a master that had started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Requests that got no answer, or only part of one.
    pub cut: u64,
    /// The time for ending was over before everything had ended.
    pub forced: bool,
}

impl Outcome {
    /// What the process exits with: 0 only when everything accepted was answered.
    pub fn exit_code(self) -> u8 {
        u8::from(self.forced || self.cut > 0)
    }
}
