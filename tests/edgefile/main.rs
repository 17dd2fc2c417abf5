//! The language, by examples: what is right becomes a configuration, what is wrong is told so that
//! an operator knows what to do.
//!
//! `RIP_BLESS=1 cargo test -p rip --test edgefile` writes what is expected anew; read it then.

#![allow(clippy::disallowed_methods, reason = "it reads examples")]

mod corpus;
mod fuzz;
mod hostile;
mod layout;
mod machine;
mod manual;
