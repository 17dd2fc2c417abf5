//! Who gets in and for how long.
