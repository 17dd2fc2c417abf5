//! Certificates without keys in hand: which one a client gets.

pub mod claim;
pub mod fingerprint;
pub mod select;
