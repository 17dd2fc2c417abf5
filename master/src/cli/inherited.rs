//! Listeners that a master has before it binds any: those of the one it succeeds.

use crate::control::summons;
use rip::contract::listen::ListenAddress;
use std::sync::OnceLock;

/// Whether this process has that listener already.
pub fn has(at: ListenAddress) -> bool {
    listeners().contains(&at)
}

/// Whether it has one with that port.
pub fn has_port(port: u16) -> bool {
    listeners().iter().any(|at| at.port == port)
}

/// What a process is started with does not change while it runs.
fn listeners() -> &'static [ListenAddress] {
    static LISTENERS: OnceLock<Vec<ListenAddress>> = OnceLock::new();
    LISTENERS.get_or_init(|| summons().map(|summons| summons.listeners).unwrap_or_default())
}
