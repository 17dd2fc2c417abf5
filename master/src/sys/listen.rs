//! Listening sockets.

use super::checked;
use super::proc::port_holder;
use rip::contract::listen::ListenAddress;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Listens at `address`, non-blocking. Accepted connections inherit TCP_NODELAY. `[::]` takes
/// IPv6 only; see [`tcp_listener_everywhere`].
pub fn tcp_listener(address: SocketAddr) -> Result<TcpListener, ListenError> {
    listen(address, true).map_err(|source| ListenError::new(address, source))
}

/// Listens at `port` of every address, IPv6 and IPv4 in one socket; IPv4 alone where the system
/// has no IPv6.
pub fn tcp_listener_everywhere(port: u16) -> Result<TcpListener, ListenError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match listen(both, false) {
        Err(error) if lacks_ipv6(&error) => tcp_listener((Ipv4Addr::UNSPECIFIED, port).into()),
        other => other.map_err(|source| ListenError::new(both, source)),
    }
}

/// Listens at `address`, as [`tcp_listener`] and [`tcp_listener_everywhere`] do.
pub fn tcp_listener_at(address: ListenAddress) -> Result<TcpListener, ListenError> {
    match address.ip {
        Some(ip) => tcp_listener((ip, address.port).into()),
        None => tcp_listener_everywhere(address.port),
    }
}

/// Makes a socket that somebody else opened one of ours: what it must be is looked at, and connections
/// that come from now on are as those from [`tcp_listener`]; Nagle's algorithm stays with those before.
///
/// # Errors
/// What it is instead of a TCP socket that listens, in a clause that fits after "it is".
pub fn adopt(socket: OwnedFd) -> Result<TcpListener, String> {
    let socket = Socket::from(socket);
    let asked = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOTSOCK) => "no socket".to_owned(),
        _ => format!("a descriptor that says: {error}"),
    };
    if socket.r#type().map_err(asked)? != Type::STREAM {
        return Err("not a stream socket".to_owned());
    }
    let domain = socket.domain().map_err(asked)?;
    if domain == Domain::UNIX {
        return Err("a Unix socket, and clients come by TCP".to_owned());
    }
    if domain != Domain::IPV4 && domain != Domain::IPV6 {
        return Err("a socket of another family than IPv4 and IPv6".to_owned());
    }
    if !socket.is_listener().map_err(asked)? {
        return Err("a connection, not a socket that listens".to_owned());
    }
    socket.set_nonblocking(true).and_then(|()| socket.set_tcp_nodelay(true)).map_err(asked)?;
    await_first_words(&socket);
    Ok(socket.into())
}

/// Clients are taken in when they have said something, or a second after they connected: whoever speaks
/// first in HTTP and TLS is the client, and a connection that comes with its request is read at once,
/// without being watched for it. For a new connection with each request that is a third of its cost.
///
/// A kernel that cannot do it does without.
fn await_first_words(socket: &Socket) {
    let seconds: libc::c_int = 1;
    let (value, length) = ((&raw const seconds).cast(), size_of_val(&seconds) as libc::socklen_t);
    // SAFETY: the kernel reads `length` bytes of a number that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            value,
            length,
        )
    };
    if let Err(error) = checked(result) {
        log::debug!("clients are taken in before they have said anything: {error}");
    }
}

/// Listens at `path`, non-blocking; who may connect is told by `mode` from the first moment. An
/// old socket there is removed: the caller makes sure that nobody lives behind it.
pub fn unix_listener(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Why an address cannot be listened at.
#[derive(Debug)]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Who has it, if it is taken and can be known: `nginx, pid 123`.
    pub holder: Option<String>,
    /// What the system said: `AddrInUse`, `PermissionDenied`, …
    pub source: io::Error,
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let busy = source.kind() == io::ErrorKind::AddrInUse;
        Self { address, holder: busy.then(|| port_holder(address)).flatten(), source }
    }

    /// Whether another process listens there.
    pub fn is_busy(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.address.port();
        match (&self.holder, self.is_busy()) {
            (Some(holder), _) => write!(out, "port {port} is held by {holder}"),
            (None, true) => write!(out, "port {port} is held by another process"),
            (None, false) => write!(out, "cannot listen at {}: {}", self.address, self.source),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    await_first_words(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
    )
}

/// Connections that wait to be accepted; the kernel has its own upper bound.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    #[test]
    fn accepted_connections_do_not_delay_and_an_empty_backlog_does_not_block() {
        let listener = tcp_listener("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"words").unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn who_says_something_is_taken_in_at_once_and_who_is_silent_a_little_later() {
        for listener in [
            tcp_listener("127.0.0.1:0".parse().unwrap()).unwrap(),
            adopt(TcpListener::bind("127.0.0.1:0").unwrap().into()).unwrap(),
        ] {
            let address = listener.local_addr().unwrap();
            let silent = TcpStream::connect(address).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
            let mut talking = TcpStream::connect(address).unwrap();
            talking.write_all(b"words").unwrap();
            let (mut first, peer) = listener.accept().unwrap();
            assert_eq!(peer, talking.local_addr().unwrap());
            first.read_exact(&mut [0; 5]).unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            let peer = loop {
                match listener.accept() {
                    Ok((_, peer)) => break peer,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                assert!(Instant::now() < until, "the silent one is never taken in");
                std::thread::sleep(Duration::from_millis(10));
            };
            assert_eq!(peer, silent.local_addr().unwrap());
        }
    }

    #[test]
    fn a_busy_port_names_its_holder() {
        let first = tcp_listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = tcp_listener(address).unwrap_err();
        assert!(error.is_busy());
        let own = format!("pid {}", std::process::id());
        assert!(error.to_string().contains(&own), "{error}");
    }

    #[test]
    fn an_address_of_another_host_is_an_error() {
        let error = tcp_listener("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(!error.is_busy());
        assert!(error.to_string().starts_with("cannot listen at 192.0.2.1:0: "));
    }

    #[test]
    fn everywhere_means_both_families() {
        let listener = tcp_listener_everywhere(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn only_a_tcp_socket_that_listens_is_adopted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let adopted = adopt(listener.into()).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"words").unwrap();
        assert_eq!(adopted.local_addr().unwrap(), address);
        assert!(adopted.accept().unwrap().0.nodelay().unwrap());
        assert_eq!(adopted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let dir = TestDir::make();
        let refused = |socket: OwnedFd| adopt(socket).unwrap_err();
        assert!(refused(client.into()).starts_with("a connection"));
        assert!(refused(UnixListener::bind(dir.path().join("s")).unwrap().into()).contains("Unix"));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(refused(datagrams.into()), "not a stream socket");
        assert_eq!(refused(fs::File::open("/dev/null").unwrap().into()), "no socket");
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_replaces_a_dead_one() {
        let dir = TestDir::make();
        let path = dir.path().join("ctl.sock");
        drop(unix_listener(&path, 0o600).unwrap());
        let listener = unix_listener(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert!(unix_listener(&file, 0o600).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"kept");
    }
}
