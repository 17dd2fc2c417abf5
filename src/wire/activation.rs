//! Sockets that somebody else opened for us, and which of our listeners each of them is
//! (`sd_listen_fds(3)`).
//!
//! Three questions are asked, in this order, and a socket that one of them has answered is out of
//! the next: which listener does its *name* say (`http`, `https`, `admin`, or an address as the
//! configuration has it), at which listener's *address* is it bound, and, for sockets that nobody
//! named, which listener is still without one. Where several sockets have the name of a protocol,
//! addresses decide among them before their order does.

use crate::contract::listen::ListenAddress;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The first of the descriptors that are handed over.
pub const FIRST_FD: i32 = 3;

/// What the environment says was handed over: a name for each descriptor from [`FIRST_FD`] on.
///
/// `LISTEN_FDS` holds for the process that `LISTEN_PID` names, which must be `own_pid`; a child of
/// it that finds them in its environment has nothing.
pub fn handed_names(
    fds: Option<&str>,
    pid: Option<&str>,
    names: Option<&str>,
    own_pid: u32,
) -> Vec<String> {
    let is_ours = pid.and_then(|pid| pid.parse::<u32>().ok()) == Some(own_pid);
    let count = fds.filter(|_| is_ours).and_then(|fds| fds.parse::<usize>().ok()).unwrap_or(0);
    let mut names = names.unwrap_or_default().split(':');
    (0..count.min(MOST)).map(|_| names.next().unwrap_or_default().to_owned()).collect()
}

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Plain HTTP.
    Http,
    /// HTTPS.
    Https,
    /// The operator's endpoints.
    Admin,
}

impl Role {
    /// What a socket for it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Admin => "admin",
        }
    }
}

/// A listener of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Where it says that it is.
    pub address: ListenAddress,
    /// What it is for.
    pub role: Role,
}

/// A socket that was handed over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// What it is called; may be empty.
    pub name: String,
    /// Where it listens.
    pub bound: SocketAddr,
}

impl Label {
    /// Nobody named it: `systemd` calls it after its unit then, or not at all.
    fn is_unnamed(&self) -> bool {
        matches!(self.name.as_str(), "" | "unknown" | "stored" | "connection")
            || self.name.ends_with(".socket")
    }

    fn is_bound_at(&self, address: ListenAddress) -> bool {
        let is_its_ip = match address.ip {
            None => self.bound.ip().is_unspecified(),
            Some(ip) => self.bound.ip() == ip,
        };
        is_its_ip && self.bound.port() == address.port
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(out, "{}", self.bound),
            name => write!(out, "'{name}' at {}", self.bound),
        }
    }
}

/// For each of `wanted` the index of the socket in `handed` that it is, if any is. Each socket is one
/// listener at most.
pub fn assign(wanted: &[Wanted], handed: &[Label]) -> Vec<Option<usize>> {
    let mut table = Table { of: vec![None; wanted.len()], is_taken: vec![false; handed.len()] };
    let is_called = |label: &Label, wanted: &Wanted| label.name == wanted.role.name();
    let is_address = |label: &Label, wanted: &Wanted| {
        label.name.parse::<ListenAddress>().is_ok_and(|address| address == wanted.address)
    };
    let is_there = |label: &Label, wanted: &Wanted| label.is_bound_at(wanted.address);
    let rounds: [&Fits<'_>; 5] = [
        &is_address,
        &|label, wanted| is_called(label, wanted) && is_there(label, wanted),
        &is_called,
        &is_there,
        &|label, _| label.is_unnamed(),
    ];
    for fits in rounds {
        table.round(wanted, handed, fits);
    }
    table.of
}

/// Whether a socket can be a listener.
type Fits<'a> = dyn Fn(&Label, &Wanted) -> bool + 'a;

struct Table {
    of: Vec<Option<usize>>,
    is_taken: Vec<bool>,
}

impl Table {
    /// Gives each listener without a socket the first free one that fits.
    fn round(
        &mut self,
        wanted: &[Wanted],
        handed: &[Label],
        fits: &dyn Fn(&Label, &Wanted) -> bool,
    ) {
        for (wanted, socket) in wanted.iter().zip(&mut self.of).filter(|(_, of)| of.is_none()) {
            let mut free = handed.iter().zip(&mut self.is_taken).enumerate();
            let found = free.find(|(_, (label, is_taken))| !**is_taken && fits(label, wanted));
            if let Some((index, (_, is_taken))) = found {
                *is_taken = true;
                *socket = Some(index);
            }
        }
    }
}

/// The address at which a socket listens, as a configuration has it.
pub fn address_of(bound: SocketAddr) -> ListenAddress {
    let ip = match bound.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => None,
        ip => Some(ip),
    };
    ListenAddress { ip, port: bound.port() }
}

/// Nobody hands over more.
const MOST: usize = 61;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(role: Role, address: &str) -> Wanted {
        Wanted { address: address.parse().unwrap(), role }
    }

    fn label(name: &str, bound: &str) -> Label {
        Label { name: name.to_owned(), bound: bound.parse().unwrap() }
    }

    #[test]
    fn what_was_handed_over_to_another_process_is_not_ours() {
        let names = |fds, pid, names| handed_names(fds, pid, names, 7);
        assert_eq!(names(Some("2"), Some("7"), Some("http:https")), ["http", "https"]);
        assert_eq!(names(Some("2"), Some("7"), Some("http")), ["http", ""]);
        assert_eq!(names(Some("1"), Some("7"), None), [""]);
        for (fds, pid) in [
            (Some("1"), Some("8")),
            (Some("1"), None),
            (None, Some("7")),
            (Some("x"), Some("7")),
            (Some("-1"), Some("7")),
            (Some("0"), Some("7")),
        ] {
            assert!(names(fds, pid, Some("http")).is_empty(), "{fds:?} {pid:?}");
        }
        assert_eq!(names(Some("100000"), Some("7"), None).len(), MOST);
    }

    #[test]
    fn names_come_first_then_addresses_then_the_order() {
        use Role::{Admin, Http, Https};
        for (wants, handed, expected) in [
            // By the name of the protocol, wherever it is bound.
            (
                vec![wanted(Http, ":80"), wanted(Https, ":443")],
                vec![label("https", "[::]:8443"), label("http", "[::]:8080")],
                vec![Some(1), Some(0)],
            ),
            // By the address as a name.
            (
                vec![wanted(Http, ":80"), wanted(Http, "127.0.0.1:81")],
                vec![label("127.0.0.1:81", "127.0.0.1:9"), label("*:80", "[::]:9")],
                vec![Some(1), Some(0)],
            ),
            // By the address it is bound at; both kinds of wildcard are every address.
            (
                vec![wanted(Http, ":80"), wanted(Https, ":443"), wanted(Admin, "127.0.0.1:9000")],
                vec![
                    label("x.socket", "127.0.0.1:9000"),
                    label("x.socket", "0.0.0.0:443"),
                    label("x.socket", "[::]:80"),
                ],
                vec![Some(2), Some(1), Some(0)],
            ),
            // Several of one name: the address decides, then the order.
            (
                vec![wanted(Http, "127.0.0.1:80"), wanted(Http, "[::1]:80")],
                vec![label("http", "[::1]:80"), label("http", "127.0.0.1:80")],
                vec![Some(1), Some(0)],
            ),
            // Nobody named them and they are bound elsewhere: in order.
            (
                vec![wanted(Http, ":80"), wanted(Https, ":443")],
                vec![label("", "127.0.0.1:5"), label("x.socket", "127.0.0.1:6")],
                vec![Some(0), Some(1)],
            ),
            // One that is bound where a listener shall be is not given to the first in order.
            (
                vec![wanted(Http, ":80"), wanted(Https, ":443")],
                vec![label("", "[::]:443"), label("", "127.0.0.1:6")],
                vec![Some(1), Some(0)],
            ),
            // A name that says something else is not taken for anything.
            (vec![wanted(Http, ":80")], vec![label("metrics", "[::]:9")], vec![None]),
            // Too few, and too many.
            (
                vec![wanted(Http, ":80"), wanted(Https, ":443")],
                vec![label("https", "[::]:443")],
                vec![None, Some(0)],
            ),
            (
                vec![wanted(Http, ":80")],
                vec![label("", "[::]:80"), label("", "[::]:81")],
                vec![Some(0)],
            ),
            (vec![], vec![label("http", "[::]:80")], vec![]),
        ] {
            assert_eq!(assign(&wants, &handed), expected, "{wants:?} {handed:?}");
        }
    }

    #[test]
    fn a_socket_is_called_by_its_name_and_where_it_is() {
        assert_eq!(label("http", "[::]:80").to_string(), "'http' at [::]:80");
        assert_eq!(label("", "127.0.0.1:80").to_string(), "127.0.0.1:80");
        assert_eq!(address_of("[::]:80".parse().unwrap()).to_string(), "*:80");
        assert_eq!(address_of("0.0.0.0:80".parse().unwrap()).to_string(), "0.0.0.0:80");
    }
}
