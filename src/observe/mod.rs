//! Counting and telling.
