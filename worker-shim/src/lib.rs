//! What the master execs to host an app, and the worker library for Rust apps.
