//! System calls and all of the unsafe code.
//!
//! What stands here asks the kernel and decides nothing: descriptors ([`fd`]), starting and
//! ending processes ([`spawn`], [`child`], [`signals`]), what we were left ([`inherited`]), what the
//! system knows about processes ([`proc`], [`peer`], [`diag`]), locks ([`lock`]), listening ([`listen`],
//! [`multicast`]), writing without waiting ([`outlet`]), terminals ([`terminal`]), handing descriptors
//! over ([`scm`]), what changes below directories ([`watch`]) and on the way to a file ([`places`]),
//! giving up rights ([`confine`], [`privilege`]), giving back memory ([`memory`]), chance ([`random`]) and files that may not be left ([`beneath`]).

pub mod beneath;
pub mod child;
pub mod confine;
pub mod diag;
pub mod fd;
pub mod inherited;
pub mod listen;
pub mod lock;
pub mod memory;
pub mod multicast;
pub mod outlet;
pub mod peer;
pub mod places;
pub mod privilege;
pub mod proc;
pub mod random;
pub mod regular;
pub mod scm;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod terminal;
#[cfg(test)]
pub mod test_dir;
#[cfg(test)]
pub mod test_disk;
pub mod watch;

/// The result of a C call that says -1 and sets `errno` when it fails.
fn checked<N: PartialOrd + From<i8>>(result: N) -> std::io::Result<N> {
    if result < N::from(0) { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
