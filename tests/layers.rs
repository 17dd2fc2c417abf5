//! The layering is a test.
