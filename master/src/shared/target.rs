//! One server of an upstream, as loops reach it.

use super::names::Name;
use super::upstream_tls::TlsTarget;
use rip::upstream::{Place, TargetUrl};
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One server. It stays the same object through reloads that do not change how it is reached.
#[derive(Debug)]
pub struct Target {
    /// No two targets of a process have the same: connections that idle are found by it.
    pub number: u64,
    /// The URL it was configured with.
    pub name: Arc<str>,
    /// What is put before each path.
    pub prefix: String,
    /// The authority of its URL, for requests that no client's `Host` comes with.
    pub authority: String,
    /// With TLS.
    pub tls: Option<TlsTarget>,
    /// The file of the certificates that its own is verified against.
    pub(super) ca: Option<String>,
    place: Reach,
}

/// Where a connection goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket.
    Unix(PathBuf),
}

#[derive(Debug)]
enum Reach {
    Fixed(SocketAddr),
    Named {
        name: Arc<Name>,
        /// Which of its addresses is next.
        next: AtomicUsize,
    },
    Unix(PathBuf),
}

impl Target {
    /// The server at `url`, called `name`. `tls` gives what is needed for TLS, where it is.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn new(
        name: &Arc<str>,
        url: &TargetUrl,
        ca: Option<&str>,
        tls: &mut dyn FnMut() -> Result<Arc<rustls::ClientConfig>, String>,
    ) -> Result<Self, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (place, authority, is_secret) = match &url.place {
            Place::Unix(path) => (Reach::Unix(path.into()), "localhost".to_owned(), None),
            Place::Tcp { host, port, tls } => {
                let ip: Option<IpAddr> = host.parse().ok();
                let place = match ip {
                    Some(ip) => Reach::Fixed(SocketAddr::new(ip, *port)),
                    None => Reach::Named { name: Name::new(host, *port), next: 0.into() },
                };
                let usual = if *tls { 443 } else { 80 };
                let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let port = if *port == usual { String::new() } else { format!(":{port}") };
                (place, shown + &port, tls.then_some(host))
            }
        };
        let tls = match is_secret {
            None => None,
            Some(host) => Some(TlsTarget {
                config: tls()?,
                name: ServerName::try_from(host.clone()).map_err(|error| error.to_string())?,
            }),
        };
        Ok(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            name: Arc::clone(name),
            prefix: url.prefix.clone(),
            authority,
            tls,
            ca: ca.map(str::to_owned),
            place,
        })
    }

    /// Where the next connection goes, and how many places there are. After [`Self::unreached`] it
    /// is another one.
    ///
    /// # Errors
    /// `WouldBlock` while its name is being asked for; any other when it stands for nothing.
    pub fn address(&self) -> io::Result<(Address, usize)> {
        match &self.place {
            Reach::Fixed(address) => Ok((Address::Tcp(*address), 1)),
            Reach::Unix(path) => Ok((Address::Unix(path.clone()), 1)),
            Reach::Named { name, next } => {
                let addresses = name.addresses()?;
                let at = next.load(Ordering::Relaxed) % addresses.len().max(1);
                let address = addresses.get(at).copied().ok_or(io::ErrorKind::NotFound)?;
                Ok((Address::Tcp(address), addresses.len()))
            }
        }
    }

    /// Nobody was reached where [`Self::address`] said.
    pub fn unreached(&self) {
        if let Reach::Named { name, next } = &self.place {
            next.fetch_add(1, Ordering::Relaxed);
            name.doubt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        let parsed = TargetUrl::parse(url).unwrap();
        Target::new(&url.into(), &parsed, None, &mut || Err("no TLS here".to_owned())).unwrap()
    }

    #[test]
    fn a_target_knows_its_authority_and_its_place() {
        let found = target("http://[::1]:8080/x");
        assert_eq!((found.authority.as_str(), found.prefix.as_str()), ("[::1]:8080", "/x"));
        let expected = Address::Tcp("[::1]:8080".parse().unwrap());
        assert_eq!(found.address().unwrap(), (expected, 1));
        assert_eq!(target("http://127.0.0.1/").authority, "127.0.0.1");
        let unix = target("unix:/run/x.sock");
        assert_eq!(unix.address().unwrap(), (Address::Unix("/run/x.sock".into()), 1));
        assert_ne!(found.number, unix.number);
    }
}
