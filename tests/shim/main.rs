//! The shim against a master played by the test. One module per promise.

mod boot;
mod builtin;
mod cgi;
mod changes;
mod harness;
mod identity;
mod launch;
mod leave;
mod php;
mod python;
