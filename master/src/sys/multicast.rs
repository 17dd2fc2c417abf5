//! What multicast on this machine depends on.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether the UDP `port` of every address can be shared with those who have it already: in IPv6,
/// in IPv4, or in the one of them that the machine has.
///
/// # Errors
/// `AddrInUse` where somebody has it who shares it with nobody, and what else the system says.
pub fn can_share(port: u16) -> io::Result<()> {
    let bound = [
        share(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        share(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
    ];
    let lacks_family = |result: &io::Result<()>| {
        let error = result.as_ref().err().and_then(io::Error::raw_os_error);
        matches!(error, Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
    };
    if bound.iter().all(lacks_family) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    bound.into_iter().filter(|result| !lacks_family(result)).collect()
}

fn share(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())
}

/// Whether an interface is up that reaches several other machines and has an address that says who
/// this machine is without saying at which link.
///
/// # Errors
/// Those of the system.
pub fn has_neighbours() -> io::Result<bool> {
    let own = InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_POINTOPOINT;
    Ok(getifaddrs()?.any(|found| {
        let is_shared =
            found.flags.contains(InterfaceFlags::IFF_UP) && !found.flags.intersects(own);
        is_shared
            && found.address.is_some_and(|address| {
                let six = address.as_sockaddr_in6();
                address.as_sockaddr_in().is_some()
                    || six.is_some_and(|six| !six.ip().is_unicast_link_local())
            })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_port_can_be_shared_unless_its_holder_shares_it_with_nobody() {
        let alone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = can_share(alone.local_addr().unwrap().port());
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let shared = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        shared.set_reuse_address(true).unwrap();
        shared.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = shared.local_addr().unwrap().as_socket().unwrap().port();
        can_share(port).unwrap();
    }
}
