//! Names of things: newtypes that cannot be mixed up and print with a prefix.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number_id!(
    /// A worker; never reused within a master's life. Prints `w3`; JSON is the bare number.
    WorkerId, u64, "w"
);
number_id!(
    /// Which code a worker runs. Prints `g7`; JSON is the bare number.
    Generation, u64, "g"
);
number_id!(
    /// An edge loop's index, 0-based. Prints `edge-0`.
    LoopIndex, u16, "edge-"
);

number_id!(
    /// A pool; never reused within a master's life: an app that is started anew gets another one.
    /// Prints `p2`.
    PoolNumber, u32, "p"
);

impl PoolNumber {
    /// No pool has this number.
    pub const NONE: Self = Self(u32::MAX);
}

/// An app's name. Cheap to clone; JSON is the bare string.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct AppId(Arc<str>);

impl AppId {
    /// The app called `name`.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
