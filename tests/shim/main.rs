//! The shim against a master played by the test. One module per promise.

mod asgi;
mod boot;
mod builtin;
mod bun;
mod cgi;
mod changes;
mod harness;
mod identity;
mod launch;
mod leave;
mod node;
mod php;
mod python;
mod ruby;
mod wsgi;
