//! The parts of an event loop.
