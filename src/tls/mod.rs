//! Certificates without keys in hand: which one a client gets, and when another one is ordered.

pub mod challenge;
pub mod claim;
pub mod fingerprint;
pub mod past;
pub mod renew;
pub mod select;
pub mod validity;
pub mod window;
