//! What a host name stands for now. Asking for that may take long, so it is asked on a thread of its
//! own that lives as long as the question; loops only ever look at the last answer.

use crate::reactor::clock::Clock;
use rip::time::Instant;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A host name and a port.
#[derive(Debug)]
pub struct Name {
    host: String,
    port: u16,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    error: Option<String>,
    /// Nothing is asked before this.
    fresh_until: Option<Instant>,
    asking: bool,
}

impl Name {
    /// `host` at `port`; the first question is asked at once.
    pub fn new(host: &str, port: u16) -> Arc<Self> {
        let name = Arc::new(Self { host: host.to_owned(), port, known: Mutex::default() });
        let _ = name.addresses();
        name
    }

    /// The addresses it stands for, at least one. What is old is returned and asked for anew.
    ///
    /// # Errors
    /// `WouldBlock` while the first answer is awaited; any other when there is none.
    pub fn addresses(self: &Arc<Self>) -> io::Result<Arc<[SocketAddr]>> {
        let mut known = self.lock();
        let is_fresh = known.fresh_until.is_some_and(|until| Clock::read() < until);
        if !is_fresh && !known.asking {
            known.asking = self.ask();
        }
        if !known.addresses.is_empty() {
            return Ok(Arc::clone(&known.addresses));
        }
        match &known.error {
            Some(error) if is_fresh || !known.asking => Err(io::Error::other(error.clone())),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Nobody was reached at what it stands for: it is asked for anew, though not all the time.
    pub fn doubt(&self) {
        let mut known = self.lock();
        let soon = Clock::read() + DOUBT_PAUSE;
        known.fresh_until = known.fresh_until.map(|until| until.min(soon));
    }

    fn ask(self: &Arc<Self>) -> bool {
        let name = Arc::clone(self);
        let asked = thread::Builder::new().name("name".to_owned()).spawn(move || {
            let found = (name.host.as_str(), name.port).to_socket_addrs();
            name.answered(found.map(Iterator::collect));
        });
        if let Err(error) = &asked {
            log::error!("cannot ask for {}: {error}", self.host);
        }
        asked.is_ok()
    }

    fn answered(&self, found: io::Result<Vec<SocketAddr>>) {
        let mut known = self.lock();
        known.asking = false;
        let error = match found {
            Ok(addresses) if !addresses.is_empty() => {
                known.addresses = addresses.into();
                known.error = None;
                known.fresh_until = Some(Clock::read() + FRESH_TIME);
                return;
            }
            Ok(_) => "it stands for no address".to_owned(),
            Err(error) => error.to_string(),
        };
        // What it stood for last is better than nothing.
        log::warn!("cannot resolve {}: {error}", self.host);
        known.error = Some(error);
        known.fresh_until = Some(Clock::read() + DOUBT_PAUSE);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer is good for this long.
const FRESH_TIME: Duration = Duration::from_secs(30);
/// A question that gave nothing is asked again after this.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &Arc<Name>) -> io::Result<Arc<[SocketAddr]>> {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            match name.addresses() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    assert!(std::time::Instant::now() < deadline, "it is never answered");
                    thread::yield_now();
                }
                other => return other,
            }
        }
    }

    #[test]
    fn a_name_is_known_soon_after_it_was_asked_for() {
        let name = Name::new("localhost", 81);
        let addresses = answer(&name).unwrap();
        assert!(addresses.iter().all(|at| at.ip().is_loopback() && at.port() == 81));
        name.doubt();
        assert_eq!(name.addresses().unwrap(), addresses, "what is old still serves");
    }

    #[test]
    fn a_name_that_stands_for_nothing_is_an_error_and_not_a_wait() {
        assert!(answer(&Name::new("name.invalid", 80)).is_err());
    }
}
