//! Certificates without keys in hand: which one a client gets.

pub mod select;
