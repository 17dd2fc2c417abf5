//! The Common Gateway Interface, version 1.1 (RFC 3875), between a gateway and what answers through
//! it: a script of its own process, or PHP behind FastCGI.
//!
//! * [`locate()`] says which script a path leads to, and what of it is left.
//! * [`variables()`] words a request as meta-variables.
//! * [`HeadReader`] reads the head of what a script prints.

mod answer;
mod locate;
mod variables;

pub use answer::{Answer, BadHead, Head, HeadReader};
pub use locate::{Located, There, decoded, locate};
pub use variables::{Script, Variable, decoded_path, variables};
