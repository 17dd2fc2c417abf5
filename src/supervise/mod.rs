//! The lives of processes.
