//! Where the sockets come from that clients connect to: from whoever started us (the init system, or
//! the master we succeed), and where nobody opened one, we open it ourselves.
//!
//! A socket of the init system is its, and stays open there whatever we do: clients that connect
//! while a configuration does not listen at it wait for one that does. So it is kept for the
//! master's whole life, and what the loops get is a copy. One of a predecessor is handed on and is
//! then ours alone.
//!
//! Of every socket that the loops have a copy is kept here, for a successor ([`Listeners::to_hand_on`]).
//! It goes before the loops close theirs: a socket nobody accepts at must not stay open.

use super::start_error::StartError;
use crate::shared::mail::Listening;
use crate::sys::inherited;
use crate::sys::listen::{self, ListenError, tcp_listener_at};
use rip::contract::config::EdgeConfig;
use rip::contract::listen::ListenAddress;
use rip::wire::activation::{FIRST_FD, Label, Role, Wanted, assign, handed_names};
use rip::wire::upgrade::HandedOn;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

/// Who opened a socket that we did not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The init system (`LISTEN_FDS`).
    Init,
    /// The master that we succeed.
    Predecessor,
}

/// The sockets that were handed over, and which of our listeners they are.
#[derive(Default)]
pub struct Listeners {
    handed: Vec<Handed>,
    are_given: bool,
    /// Those that were opened, for a successor.
    copies: BTreeMap<ListenAddress, TcpListener>,
}

struct Handed {
    label: Label,
    origin: Origin,
    socket: TcpListener,
    /// The listener that it is.
    of: Option<ListenAddress>,
}

impl Listeners {
    /// Takes what the environment says the init system has opened for this process. To be asked once,
    /// before anything else opens a descriptor that it keeps.
    ///
    /// # Errors
    /// A descriptor that is not there, or is no TCP socket that listens (exit 78).
    pub fn of_init() -> Result<Self, StartError> {
        let variable = |name| std::env::var(name).ok();
        let (fds, pid, names) =
            (variable("LISTEN_FDS"), variable("LISTEN_PID"), variable("LISTEN_FDNAMES"));
        let names =
            handed_names(fds.as_deref(), pid.as_deref(), names.as_deref(), std::process::id());
        let mut listeners = Self::default();
        // All are taken before one is refused: from then on each is closed at exec.
        let taken: Vec<_> =
            (FIRST_FD..).zip(names).map(|(fd, name)| (fd, name, inherited::take(fd))).collect();
        for (fd, name, socket) in taken {
            let called = if name.is_empty() { String::new() } else { format!(" ('{name}')") };
            let refused = |what: &str| {
                StartError::configuration(format!(
                    "descriptor {fd}{called}, which the init system handed over, is {what}"
                ))
                .hint("a socket unit has ListenStream=PORT or ListenStream=ADDRESS:PORT")
            };
            let socket = socket.map_err(|_| refused("not open"))?;
            let socket = listen::adopt(socket).map_err(|what| refused(&what))?;
            let bound = socket.local_addr();
            let bound = bound.map_err(|error| refused(&format!("bound nowhere: {error}")))?;
            listeners.add(Origin::Init, name, bound, socket);
        }
        Ok(listeners)
    }

    /// Takes a socket that the master we succeed has for `listening.address`; `origin` is where that
    /// one has it from.
    ///
    /// # Errors
    /// It is bound nowhere.
    pub fn inherit(&mut self, origin: Origin, listening: Listening) -> io::Result<()> {
        let Listening { address, listener } = listening;
        let bound = listener.local_addr()?;
        self.add(origin, address.to_string(), bound, listener);
        Ok(())
    }

    fn add(&mut self, origin: Origin, name: String, bound: SocketAddr, socket: TcpListener) {
        self.are_given = true;
        self.handed.push(Handed { label: Label { name, bound }, origin, socket, of: None });
    }

    /// Whether anybody else opened any: then our rights say nothing of ports.
    pub fn are_given(&self) -> bool {
        self.are_given
    }

    /// Finds out which listeners of `edge` the sockets are. One that a predecessor had and this
    /// configuration has not is closed.
    ///
    /// # Errors
    /// A socket of the init system that is none of them (exit 78): clients that connect there would
    /// wait for nobody.
    pub fn match_up(&mut self, edge: &EdgeConfig) -> Result<(), StartError> {
        let wanted = wanted(edge);
        let labels: Vec<_> = self.handed.iter().map(|handed| handed.label.clone()).collect();
        for (wanted, index) in wanted.iter().zip(assign(&wanted, &labels)) {
            if let Some(handed) = index.and_then(|index| self.handed.get_mut(index)) {
                handed.of = Some(wanted.address);
                log::debug!("{} is the listener {}", handed.label, wanted.address);
            }
        }
        self.handed.retain(|handed| handed.origin == Origin::Init || handed.of.is_some());
        let spare: Vec<_> = self.handed.iter().filter(|handed| handed.of.is_none()).collect();
        if spare.is_empty() {
            return Ok(());
        }
        let spare: Vec<_> = spare.iter().map(|handed| handed.label.to_string()).collect();
        let wanted: Vec<_> =
            wanted.iter().map(|want| format!("{} {}", want.role.name(), want.address)).collect();
        Err(StartError::configuration(format!(
            "the init system handed over {}, which no listener is for: there is {}",
            spare.join(" and "),
            wanted.join(" and ")
        ))
        .hint("leave it out of the socket unit, or name it with FileDescriptorName=http, https or admin"))
    }

    /// The socket of a listener: the one that was handed over, or one that is bound now.
    ///
    /// # Errors
    /// Nobody handed one over and the address cannot be bound.
    pub fn open(&mut self, address: ListenAddress) -> Result<TcpListener, ListenError> {
        let refused = |source| ListenError {
            address: address.candidates().first().copied().unwrap_or_else(nowhere),
            holder: None,
            source,
        };
        let Some(index) = self.handed.iter().position(|handed| handed.of == Some(address)) else {
            let socket = tcp_listener_at(address)?;
            self.copies.insert(address, socket.try_clone().map_err(refused)?);
            return Ok(socket);
        };
        match self.handed.get(index) {
            Some(handed) if handed.origin == Origin::Init => {
                handed.socket.try_clone().map_err(refused)
            }
            _ => {
                let socket = self.handed.swap_remove(index).socket;
                self.copies.insert(address, socket.try_clone().map_err(refused)?);
                Ok(socket)
            }
        }
    }

    /// The loops are about to close the listener.
    pub fn close(&mut self, address: ListenAddress) {
        self.copies.remove(&address);
    }

    /// Everything a successor gets.
    pub fn to_hand_on(&self) -> Vec<(HandedOn, BorrowedFd<'_>)> {
        let of_init = self.handed.iter().filter(|handed| handed.origin == Origin::Init);
        let of_init = of_init.filter_map(|handed| {
            let bound = || handed.socket.local_addr().ok().map(address_of);
            let address = handed.of.or_else(bound)?;
            Some((HandedOn { address, of_init: true }, handed.socket.as_fd()))
        });
        let own = self.copies.iter().map(|(address, socket)| {
            (HandedOn { address: *address, of_init: false }, socket.as_fd())
        });
        of_init.chain(own).collect()
    }

    /// The server ends: what the init system opened is its alone from now on, and what we opened is
    /// the loops' to close.
    pub fn let_go(&mut self) {
        self.handed.clear();
        self.copies.clear();
    }
}

fn address_of(bound: SocketAddr) -> ListenAddress {
    let ip = Some(bound.ip()).filter(|ip| !(ip.is_ipv6() && ip.is_unspecified()));
    ListenAddress { ip, port: bound.port() }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

/// The listeners of a configuration, in the order in which sockets without a name are theirs.
fn wanted(edge: &EdgeConfig) -> Vec<Wanted> {
    let of = |role, all: &[ListenAddress]| {
        all.iter().map(move |address| Wanted { address: *address, role }).collect::<Vec<_>>()
    };
    let public = [of(Role::Http, &edge.http), of(Role::Https, &edge.https)];
    [public.concat(), of(Role::Admin, &edge.admin)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(http: &[ListenAddress], https: &[ListenAddress]) -> EdgeConfig {
        EdgeConfig { http: http.to_vec(), https: https.to_vec(), ..EdgeConfig::default() }
    }

    fn bound() -> (TcpListener, ListenAddress) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener, ListenAddress { ip: Some(address.ip()), port: address.port() })
    }

    #[test]
    fn a_socket_of_init_is_kept_and_one_of_a_predecessor_is_given_away() {
        let mut listeners = Listeners::default();
        let ((kept, one), (given, two)) = (bound(), bound());
        let at = kept.local_addr().expect("it is bound");
        listeners.add(Origin::Init, "http".to_owned(), at, kept);
        let listening = Listening { address: two, listener: given };
        listeners.inherit(Origin::Predecessor, listening).expect("it is bound");
        assert!(listeners.are_given());
        listeners.match_up(&edge(&[one], &[two])).expect("all are wanted");
        for _ in 0..2 {
            assert_eq!(listeners.open(one).expect("a copy").local_addr().expect("bound"), at);
        }
        drop(listeners.open(two).expect("it is handed on"));
        let handed: Vec<_> = listeners.to_hand_on().into_iter().map(|(handed, _)| handed).collect();
        let own = HandedOn { address: two, of_init: false };
        assert_eq!(handed, [HandedOn { address: one, of_init: true }, own]);
        listeners.close(two);
        listeners.open(two).expect("nobody has it any more: it is bound anew");
    }

    #[test]
    fn what_nobody_wants_is_an_error_unless_a_predecessor_had_it() {
        let mut listeners = Listeners::default();
        let ((spare, address), (_, other)) = (bound(), bound());
        let listening = |spare: &TcpListener| Listening {
            address,
            listener: spare.try_clone().expect("a copy"),
        };
        listeners.inherit(Origin::Predecessor, listening(&spare)).expect("it is bound");
        listeners.match_up(&edge(&[other], &[])).expect("it is closed");
        assert!(listeners.handed.is_empty());
        let at = spare.local_addr().expect("it is bound");
        listeners.add(Origin::Init, "metrics".to_owned(), at, spare);
        let error = listeners.match_up(&edge(&[other], &[])).expect_err("clients would wait");
        assert_eq!(error.exit_code, 78);
        let named = format!("'metrics' at {at}, which no listener is for: there is http {other}");
        assert!(error.message.ends_with(&named), "{error}");
    }
}
