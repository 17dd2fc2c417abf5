//! What several threads may touch.
