//! What can go wrong with the store, and what that means for who asked.

use rusqlite::ErrorCode;
use std::fmt;
use std::io;

/// Why the store cannot do something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// What it means.
    pub kind: Kind,
    /// In words, for the operator.
    pub detail: String,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// No room is left.
    Full,
    /// It may not be written.
    ReadOnly,
    /// Somebody else holds it for too long.
    Busy,
    /// What is in it makes no sense: it is moved out of the way.
    Broken,
    /// It cannot be reached: the disk fails, rights are missing.
    Unreachable,
    /// It is in order, but not ours to use.
    Unusable,
    /// A row makes no sense; the others may.
    Row,
    /// One order alone cannot be done: it breaks a rule of the tables.
    Order,
}

impl Trouble {
    /// The database is in order, but not ours to use.
    pub fn unusable(detail: impl Into<String>) -> Self {
        Self { kind: Kind::Unusable, detail: detail.into() }
    }

    /// What is in the database makes no sense.
    pub fn broken(detail: impl Into<String>) -> Self {
        Self { kind: Kind::Broken, detail: detail.into() }
    }

    /// A row makes no sense.
    pub fn row(detail: impl Into<String>) -> Self {
        Self { kind: Kind::Row, detail: detail.into() }
    }

    /// What a client is told.
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            Kind::Full => "full",
            Kind::ReadOnly => "read-only",
            Kind::Busy => "busy",
            Kind::Broken | Kind::Row | Kind::Order => "broken",
            Kind::Unreachable => "unreachable",
            Kind::Unusable => "unusable",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.reason(), self.detail)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Kind::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Broken,
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Kind::Order
            }
            // What a column holds is not what a row of ours has there.
            None => Kind::Row,
            Some(_) => Kind::Unreachable,
        };
        Self { kind, detail: error.to_string() }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            io::ErrorKind::ReadOnlyFilesystem => Kind::ReadOnly,
            _ => Kind::Unreachable,
        };
        Self { kind, detail: error.to_string() }
    }
}
