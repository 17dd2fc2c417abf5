//! Clients on one side, workers on the other, one event loop a thread.
