//! Apps in other languages, served by a small program of ours in that language.

pub(crate) mod python;
