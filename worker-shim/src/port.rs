//! A port for an app that listens on one itself.
//!
//! Between the choice of a port and the app's `bind` seconds may pass, in which nobody holds it: an app
//! that does not set SO_REUSEADDR could not bind it otherwise. What keeps others away meanwhile:
//!
//! * Another worker, of this or any other master of the machine: each claims its port's name, an
//!   abstract Unix socket, for as long as it lives. The kernel forgets the name with the process.
//! * Connections that leave the machine, and programs that bind port 0: the port is none of those
//!   that the kernel gives away.

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, setsockopt,
    socket, sockopt,
};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A port that no other worker is given while this is held.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: UnixDatagram,
}

/// What the kernel gives away unless it is told otherwise.
const USUAL: RangeInclusive<u16> = 32_768..=60_999;
/// Below this, ports belong to services.
const FIRST: u16 = 10_000;
/// So many are enough to choose from.
const ENOUGH: u16 = 1_000;

impl Port {
    /// One that nobody has bound on any address of this machine.
    pub(crate) fn claim() -> io::Result<Self> {
        let given = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let given = given.ok().and_then(|text| range(&text)).unwrap_or(USUAL);
        let from = choice(&given);
        // Workers that start at once look at different places first.
        let count = u32::from(*from.end() - *from.start()) + 1;
        let begin = std::process::id().wrapping_mul(61) % count;
        for step in 0..count {
            let offset = u16::try_from((begin + step) % count).unwrap_or_default();
            let number = *from.start() + offset;
            if let Some(claim) = claim(number)?
                && is_free(number)?
            {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// The kernel's range as it tells it.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace().map(str::parse);
    let (first, last) = (words.next()?.ok()?, words.next()?.ok()?);
    (first <= last).then_some(first..=last)
}

/// The ports above the kernel's, else those below; its own where it has nearly all.
fn choice(given: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    let (first, last) = (*given.start(), *given.end());
    if u16::MAX - last >= ENOUGH {
        last + 1..=u16::MAX
    } else if first.saturating_sub(FIRST) >= ENOUGH {
        FIRST..=first - 1
    } else {
        given.clone()
    }
}

/// The port's name; `None` when another worker has it.
fn claim(number: u16) -> io::Result<Option<UnixDatagram>> {
    let name = SocketAddr::from_abstract_name(format!("rip-master/port/{number}"))?;
    match UnixDatagram::bind_addr(&name) {
        Ok(claim) => Ok(Some(claim)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a server could listen there, on whatever address.
fn is_free(number: u16) -> io::Result<bool> {
    let all: SockaddrIn6 = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, number, 0, 0).into();
    match can_bind(AddressFamily::Inet6, &all) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            // There is no IPv6.
            let all: SockaddrIn = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, number).into();
            can_bind(AddressFamily::Inet, &all).map(|()| true).or_else(in_use)
        }
        tried => tried.map(|()| true).or_else(in_use),
    }
}

fn in_use(error: io::Error) -> io::Result<bool> {
    if error.kind() == ErrorKind::AddrInUse { Ok(false) } else { Err(error) }
}

/// Without SO_REUSEADDR: what is left of old connections counts.
fn can_bind(family: AddressFamily, address: &dyn SockaddrLike) -> io::Result<()> {
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    Ok(bind(socket.as_raw_fd(), address)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    #[test]
    fn the_ports_are_none_that_the_kernel_gives_away() {
        assert_eq!(range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(range("1024\n"), None);
        assert_eq!(range("9 8"), None);
        assert_eq!(choice(&USUAL), 61_000..=65_535);
        assert_eq!(choice(&(32_768..=65_535)), 10_000..=32_767);
        assert_eq!(choice(&(1_024..=65_535)), 1_024..=65_535);
        assert_eq!(choice(&(1_024..=65_000)), 1_024..=65_000);
    }

    #[test]
    fn no_two_hold_one_port() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    (0..50).map(|_| Port::claim().expect("a port")).collect::<Vec<_>>()
                })
            })
            .collect();
        let held: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect();
        let numbers: BTreeSet<_> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 200);
    }

    #[test]
    fn a_port_that_anybody_listens_on_is_not_free() {
        for address in ["127.0.0.1", "0.0.0.0", "127.0.0.9"] {
            let port = Port::claim().expect("a port");
            let listener = TcpListener::bind((address, port.number())).expect("it is free");
            assert!(!is_free(port.number()).expect("an answer"), "{address}");
            drop(listener);
            assert!(is_free(port.number()).expect("an answer"), "{address}");
        }
    }
}
