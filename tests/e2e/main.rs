//! Promises, each against the real binary.
