//! Who is at the other end of a Unix socket.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::fd::AsFd;

/// The process that connected, as the kernel knew it at that moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process id; 0 when it lives in a namespace we cannot see.
    pub pid: u32,
}

impl Peer {
    /// The peer of `stream`, a connected Unix socket.
    pub fn of(stream: impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(&stream, PeerCredentials)?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: u32::try_from(credentials.pid()).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_of_our_own_pair_is_ourselves() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&near).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, nix::unistd::getuid().as_raw());
        assert!(Peer::of(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
