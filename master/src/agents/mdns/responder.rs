//! A responder and what it has been told.
//!
//! One responder speaks for all names. Taking a service back takes the addresses of its host back as
//! well, whoever else has that host: what stays is told again, after the goodbye has been repeated.

use super::entry::Entry;
use crate::sys::multicast::{can_share, has_neighbours};
use mdns_sd::{DaemonEvent, DnsNameChange, Error, IfKind, MDNS_PORT, RRType, ServiceDaemon};
use std::collections::BTreeSet;
use std::io;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A responder at work.
pub(super) struct Responder {
    daemon: ServiceDaemon,
    /// What shall be told.
    wanted: BTreeSet<Entry>,
    /// What has been.
    told: BTreeSet<Entry>,
    /// What of it must be told again.
    again: BTreeSet<Entry>,
    /// When what is new is told.
    tell_at: Option<Instant>,
}

/// What a responder finds out by itself.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum News {
    /// Somebody else has the host: another machine, or another interface of this one that is
    /// connected to the same network under other addresses. The responder goes on with a host of
    /// its own choice.
    HostTaken {
        /// The host, without a final dot.
        host: String,
        /// Where.
        interface: String,
    },
    /// Somebody else has the label of a service. People are shown ours under another one.
    LabelTaken {
        /// The other one, with the kind of service behind it.
        instead: String,
        /// Where.
        interface: String,
    },
    /// It cannot do what it was told to.
    Trouble(String),
    /// It is gone.
    Ended,
}

impl Responder {
    /// Starts one. `hear` is called with its news, in another thread.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub(super) fn start(hear: impl Fn(News) + Send + 'static) -> Result<Self, String> {
        // The responder itself goes on without a socket and says nothing.
        can_share(MDNS_PORT).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("UDP port {MDNS_PORT} is held by a process that does not share it")
            }
            _ => format!("UDP port {MDNS_PORT}: {error}"),
        })?;
        match has_neighbours() {
            Ok(true) => {}
            Ok(false) => log::warn!(
                "this machine has no network but its own: names are told as soon as it has one"
            ),
            Err(error) => log::warn!("the interfaces of this machine cannot be told: {error}"),
        }
        let in_words = |error: Error| error.to_string();
        let daemon = ServiceDaemon::new().map_err(in_words)?;
        let responder = Self {
            daemon,
            wanted: BTreeSet::new(),
            told: BTreeSet::new(),
            again: BTreeSet::new(),
            tell_at: None,
        };
        match responder.prepare(hear) {
            Ok(()) => Ok(responder),
            Err(why) => {
                responder.stop();
                Err(why)
            }
        }
    }

    fn prepare(&self, hear: impl Fn(News) + Send + 'static) -> Result<(), String> {
        let own = vec![IfKind::LoopbackV4, IfKind::LoopbackV6];
        self.daemon.disable_interface(own).map_err(|error| error.to_string())?;
        let events = self.daemon.monitor().map_err(|error| error.to_string())?;
        let listen = move || {
            events.iter().filter_map(news).for_each(&hear);
            hear(News::Ended);
        };
        let thread = Builder::new().name("mdns-news".to_owned()).spawn(listen);
        thread.map(drop).map_err(|error| error.to_string())
    }

    /// From now on `wanted` is told, and nothing else.
    ///
    /// # Errors
    /// It takes nothing any more: why, in words.
    pub(super) fn tell(&mut self, wanted: &BTreeSet<Entry>, now: Instant) -> Result<(), String> {
        if self.wanted != *wanted {
            self.wanted.clone_from(wanted);
            let pause = if self.take_back()? { GOODBYE_PAUSE } else { Duration::ZERO };
            self.tell_at = Some(now + pause).max(self.tell_at);
        }
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            self.tell_new()?;
        }
        Ok(())
    }

    /// When [`Self::tell`] has something to do, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.tell_at
    }

    /// Takes back what is not wanted; true when there was something.
    fn take_back(&mut self) -> Result<bool, String> {
        let gone: Vec<_> = self.told.difference(&self.wanted).cloned().collect();
        for entry in &gone {
            log::debug!("{entry} is taken back");
            if let Ok(info) = entry.info() {
                patiently(|| self.daemon.unregister(info.get_fullname()).map(drop))?;
            }
            self.told.remove(entry);
            self.again.remove(entry);
        }
        let shares = |entry: &&Entry| gone.iter().any(|gone| gone.host == entry.host);
        self.again.extend(self.told.iter().filter(shares).cloned());
        Ok(!gone.is_empty())
    }

    fn tell_new(&mut self) -> Result<(), String> {
        let again = std::mem::take(&mut self.again);
        let new: Vec<_> = self.wanted.difference(&self.told).cloned().collect();
        for entry in again.into_iter().chain(new) {
            match entry.info() {
                Ok(info) => {
                    log::debug!("{entry} is told");
                    patiently(|| self.daemon.register(info.clone()))?;
                }
                Err(error) => log::warn!("{entry} cannot be told: {error}"),
            }
            self.told.insert(entry);
        }
        Ok(())
    }

    /// Takes everything back and ends; returns when that is done, or takes too long.
    pub(super) fn stop(self) {
        let mut ended = None;
        let asked = patiently(|| {
            ended = Some(self.daemon.shutdown()?);
            Ok(())
        });
        let waited = asked.and_then(|()| match ended {
            None => Ok(()),
            Some(ended) => {
                ended.recv_timeout(END_WAIT).map(drop).map_err(|error| error.to_string())
            }
        });
        if let Err(error) = waited {
            log::debug!("the responder's end: {error}");
        }
    }
}

/// Does what the responder has room for soon.
fn patiently(mut act: impl FnMut() -> mdns_sd::Result<()>) -> Result<(), String> {
    let deadline = Instant::now() + ROOM_WAIT;
    loop {
        match act() {
            Err(Error::Again) if Instant::now() < deadline => std::thread::sleep(ROOM_PAUSE),
            done => return done.map_err(|error| error.to_string()),
        }
    }
}

/// What an event means to us; most mean nothing.
fn news(event: DaemonEvent) -> Option<News> {
    match event {
        DaemonEvent::NameChange(change) => name_change(change),
        DaemonEvent::Error(error) => Some(News::Trouble(error.to_string())),
        DaemonEvent::Announce(name, at) => {
            log::debug!("{name} is known at {at}");
            None
        }
        DaemonEvent::IpAdd(ip) => {
            log::debug!("{ip} is an address of this machine");
            None
        }
        DaemonEvent::IpDel(ip) => {
            log::debug!("{ip} is no address of this machine any more");
            None
        }
        _ => None,
    }
}

fn name_change(change: DnsNameChange) -> Option<News> {
    let DnsNameChange { original, new_name, rr_type, intf_name: interface } = change;
    let bare = |name: String| name.strip_suffix('.').map(str::to_owned).unwrap_or(name);
    match rr_type {
        RRType::A | RRType::AAAA => Some(News::HostTaken { host: bare(original), interface }),
        RRType::SRV => Some(News::LabelTaken { instead: bare(new_name), interface }),
        _ => None,
    }
}

/// A responder repeats a goodbye after 120 ms. What is told before would be forgotten again.
const GOODBYE_PAUSE: Duration = Duration::from_millis(250);
/// A responder takes a hundred orders at once, and carries them out in no time.
const ROOM_WAIT: Duration = Duration::from_millis(200);
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// Sending goodbyes takes a responder no time either.
const END_WAIT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_is_taken_and_a_label_is_another() {
        let change = |original: &str, new_name: &str, rr_type| {
            news(DaemonEvent::NameChange(DnsNameChange {
                original: original.to_owned(),
                new_name: new_name.to_owned(),
                rr_type,
                intf_name: "eth0".to_owned(),
            }))
        };
        for kind in [RRType::A, RRType::AAAA] {
            let taken =
                News::HostTaken { host: "shop.local".to_owned(), interface: "eth0".to_owned() };
            assert_eq!(change("shop.local.", "shop-2.local.", kind), Some(taken));
        }
        let other = "shop (2)._http._tcp.local";
        let change_to_other =
            |kind| change("shop._http._tcp.local.", "shop (2)._http._tcp.local.", kind);
        let listed = News::LabelTaken { instead: other.to_owned(), interface: "eth0".to_owned() };
        assert_eq!(change_to_other(RRType::SRV), Some(listed));
        assert_eq!(change_to_other(RRType::TXT), None);
        assert_eq!(news(DaemonEvent::Respond("eth0".to_owned())), None);
    }

    #[test]
    fn a_full_responder_is_asked_again_but_not_for_ever() {
        let mut left = 3;
        let soon = patiently(|| {
            left -= 1;
            if left == 0 { Ok(()) } else { Err(Error::Again) }
        });
        assert_eq!((soon, left), (Ok(()), 0));
        let began = Instant::now();
        assert!(patiently(|| Err(Error::Again)).is_err());
        assert!(began.elapsed() >= ROOM_WAIT);
        assert!(patiently(|| Err(Error::DaemonShutdown)).is_err());
    }
}
