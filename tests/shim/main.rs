//! The shim against a master played by the test. One module per promise.

mod asgi;
mod boot;
mod builtin;
mod bun;
mod changes;
mod harness;
mod identity;
mod launch;
mod leave;
mod node;
mod python;
mod wsgi;
