//! System calls and all of the unsafe code.
