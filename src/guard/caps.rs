//! How many connections there may be, over all and for one address.
//!
//! At the cap accepting pauses, and it resumes at nine tenths of it, so that a full server does not
//! switch back and forth with every connection.

use core::net::IpAddr;
use std::collections::HashMap;

/// The connections that are open, counted.
#[derive(Debug)]
pub struct Caps {
    max_count: u32,
    max_per_address_count: Option<u32>,
    open_count: u32,
    is_paused: bool,
    by_address: HashMap<IpAddr, u32>,
}

/// The answer to one accepted connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Admission {
    /// It is counted until [`Caps::closed`].
    Admitted,
    /// Its address has too many; it is not counted and must be closed.
    Refused,
}

impl Caps {
    /// At most `max_count` connections (0 counts as 1), of which `max_per_address_count` from one
    /// address.
    pub fn new(max_count: u32, max_per_address_count: Option<u32>) -> Self {
        Self {
            max_count: max_count.max(1),
            max_per_address_count,
            open_count: 0,
            is_paused: false,
            by_address: HashMap::new(),
        }
    }

    /// At most so many from now on. Connections that are too many by then stay.
    pub fn configure(&mut self, max_count: u32, max_per_address_count: Option<u32>) {
        self.max_count = max_count.max(1);
        self.max_per_address_count = max_per_address_count;
        self.is_paused = match self.is_paused {
            true => self.open_count > self.resume_count(),
            false => self.open_count >= self.max_count,
        };
    }

    /// A connection from `peer` was accepted; `None` for a peer that has no address or may have any
    /// number of connections. Only to be called while [`Self::may_accept`].
    pub fn opened(&mut self, peer: Option<IpAddr>) -> Admission {
        if let Some(address) = peer.and_then(counted) {
            // Counted without a bound as well: another configuration may bring one.
            let count = self.by_address.get(&address).copied().unwrap_or_default();
            if self.max_per_address_count.is_some_and(|max| count >= max) {
                return Admission::Refused;
            }
            self.by_address.insert(address, count + 1);
        }
        self.open_count += 1;
        self.is_paused |= self.open_count >= self.max_count;
        Admission::Admitted
    }

    /// An admitted connection was closed; `peer` is what [`Self::opened`] was told.
    pub fn closed(&mut self, peer: Option<IpAddr>) {
        if let Some(address) = peer.and_then(counted)
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        debug_assert!(self.open_count > 0, "a connection was closed twice");
        self.open_count = self.open_count.saturating_sub(1);
        self.is_paused &= self.open_count > self.resume_count();
    }

    /// False from the moment the cap is reached until nine tenths of it are open.
    pub fn may_accept(&self) -> bool {
        !self.is_paused
    }

    /// Connections that are open.
    pub fn open_count(&self) -> u32 {
        self.open_count
    }

    fn resume_count(&self) -> u32 {
        (u64::from(self.max_count) * 9 / 10) as u32
    }
}

/// What a peer is counted as: loopback is not, and an IPv6 network of 64 bits is one client, because
/// one client owns at least that.
fn counted(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Some(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
        }
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn pauses_at_the_cap_and_resumes_at_nine_tenths() {
        let mut caps = Caps::new(20, None);
        for _ in 0..20 {
            assert!(caps.may_accept());
            assert_eq!(caps.opened(None), Admission::Admitted);
        }
        assert!(!caps.may_accept());
        caps.closed(None);
        assert!(!caps.may_accept());
        caps.closed(None);
        assert!(caps.may_accept());
        assert_eq!(caps.open_count(), 18);
    }

    #[test]
    fn a_cap_of_one_still_serves() {
        let mut caps = Caps::new(0, None);
        assert_eq!(caps.opened(None), Admission::Admitted);
        assert!(!caps.may_accept());
        caps.closed(None);
        assert!(caps.may_accept());
    }

    #[test]
    fn one_address_has_its_share_and_others_theirs() {
        let mut caps = Caps::new(100, Some(2));
        let near = peer("192.0.2.1");
        assert_eq!(caps.opened(near), Admission::Admitted);
        assert_eq!(caps.opened(peer("::ffff:192.0.2.1")), Admission::Admitted);
        assert_eq!(caps.opened(near), Admission::Refused);
        assert_eq!(caps.opened(peer("192.0.2.2")), Admission::Admitted);
        caps.closed(near);
        assert_eq!(caps.opened(near), Admission::Admitted);
        assert_eq!(caps.open_count(), 3);
    }

    #[test]
    fn a_bound_that_comes_later_knows_who_is_there_already() {
        let mut caps = Caps::new(100, None);
        let near = peer("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(caps.opened(near), Admission::Admitted);
        }
        caps.configure(100, Some(3));
        assert_eq!(caps.opened(near), Admission::Refused);
        caps.configure(100, None);
        assert_eq!(caps.opened(near), Admission::Admitted);
        caps.configure(100, Some(2));
        for _ in 0..3 {
            assert_eq!(caps.opened(near), Admission::Refused);
            caps.closed(near);
        }
        assert_eq!(caps.opened(near), Admission::Admitted);
        for _ in 0..2 {
            caps.closed(near);
        }
        assert!(caps.by_address.is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let mut caps = Caps::new(100, Some(1));
        assert_eq!(caps.opened(peer("2001:db8::1")), Admission::Admitted);
        assert_eq!(caps.opened(peer("2001:db8::2")), Admission::Refused);
        assert_eq!(caps.opened(peer("2001:db8:0:1::1")), Admission::Admitted);
    }

    #[test]
    fn loopback_and_unix_peers_are_never_counted_by_address() {
        let mut caps = Caps::new(100, Some(0));
        for peer in [peer("127.0.0.1"), peer("::1"), peer("::ffff:127.0.0.1"), None] {
            assert_eq!(caps.opened(peer), Admission::Admitted);
        }
        assert_eq!(caps.opened(peer("192.0.2.1")), Admission::Refused);
        assert!(caps.by_address.is_empty());
    }
}
