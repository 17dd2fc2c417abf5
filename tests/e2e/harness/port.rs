//! Ports for servers, locked by file so that test runs beside each other never share one.

use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A TCP port nobody else uses while this is held.
pub struct Port {
    /// Its number.
    pub number: u16,
    _lock: Flock<File>,
}

/// Below the range the kernel takes outgoing ports from.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

impl Port {
    /// One that was ours a moment ago.
    ///
    /// # Panics
    /// When somebody has taken it meanwhile.
    #[track_caller]
    pub fn again(number: u16) -> Self {
        let file = File::create(locks().join(number.to_string())).expect("a port's lock file");
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let lock = lock.unwrap_or_else(|(_, error)| panic!("port {number}: {error}"));
        Self { number, _lock: lock }
    }

    /// A free one.
    pub fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let locks = locks();
        let start = u32::from(FIRST) + std::process::id() * 61 % u32::from(COUNT);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let offset = (start - u32::from(FIRST) + step) % u32::from(COUNT);
            let number = FIRST + u16::try_from(offset).expect("an offset below the count");
            let file = File::create(locks.join(number.to_string())).expect("a port's lock file");
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            if TcpListener::bind(("0.0.0.0", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port");
    }
}

fn locks() -> std::path::PathBuf {
    let locks = std::env::temp_dir().join("rip-e2e-ports");
    std::fs::create_dir_all(&locks).expect("the directory of port locks");
    locks
}
