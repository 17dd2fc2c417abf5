//! One service of one name, as it is told.

use mdns_sd::{IfKind, IfPredicate, ServiceInfo};
use rip::route::{LocalName, LocalService};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// One service of one name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Entry {
    /// The host, without a final dot.
    pub(super) host: String,
    /// What people are shown.
    instance: String,
    secure: bool,
    port: u16,
    /// The addresses of the host, whatever the service: a machine has one set of them.
    at: Vec<Option<IpAddr>>,
    /// Interfaces where the name is somebody else's.
    not_at: BTreeSet<String>,
}

/// Where names are somebody else's: a host, without a final dot, and an interface.
pub(super) type Taken = BTreeSet<(String, String)>;

/// All services of `names`.
pub(super) fn entries(names: &[LocalName], taken: &Taken) -> BTreeSet<Entry> {
    let not_at = |host: &str| {
        let of_host = taken.iter().filter(|(taken, _)| taken == host);
        of_host.map(|(_, interface)| interface.clone()).collect()
    };
    let entry = |name: &LocalName, service: &LocalService| Entry {
        host: name.host.clone(),
        instance: name.instance().to_owned(),
        secure: service.secure,
        port: service.port,
        at: name.addresses(),
        not_at: not_at(&name.host),
    };
    names
        .iter()
        .flat_map(|name| name.services.iter().map(move |service| entry(name, service)))
        .collect()
}

impl Entry {
    /// What the responder is told.
    ///
    /// # Errors
    /// What it does not take.
    pub(super) fn info(&self) -> mdns_sd::Result<ServiceInfo> {
        let kind = if self.secure { "_https._tcp.local." } else { "_http._tcp.local." };
        let host = format!("{}.", self.host);
        let path = [("path", "/")];
        let info = ServiceInfo::new(kind, &self.instance, &host, (), self.port, path.as_slice())?;
        let mut info = info.enable_addr_auto();
        let (at, not_at) = (self.at.clone(), self.not_at.clone());
        let is_told = IfPredicate::new(move |found| {
            !not_at.contains(&found.name) && at.iter().any(|at| is_listened_at(*at, found.ip()))
        });
        info.set_interfaces(vec![IfKind::Predicate(is_told)]);
        Ok(info)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.secure { "https" } else { "http" };
        write!(out, "{kind}://{}:{}/", self.host, self.port)
    }
}

/// Whether `ip` of this machine is one of those that are listened at, and of use to others: an
/// address that is good for one link only says nothing without the link, and every interface has
/// one of the same network, so that the responder tells those of each at all of them.
fn is_listened_at(at: Option<IpAddr>, ip: IpAddr) -> bool {
    let is_bound = matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local());
    let is_among = |at: IpAddr| at == ip || (at.is_unspecified() && at.is_ipv4() == ip.is_ipv4());
    !is_bound && at.is_none_or(is_among)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_what_clients_look_for() {
        let every = LocalService { secure: false, port: 8080, at: vec![None] };
        let own = "192.0.2.7".parse().unwrap();
        let secure = LocalService { secure: true, port: 443, at: vec![Some(own)] };
        let name = LocalName { host: "my.shop.local".to_owned(), services: vec![every, secure] };
        let infos: Vec<_> =
            entries(&[name], &Taken::new()).iter().map(|entry| entry.info().unwrap()).collect();
        let told: Vec<_> = infos
            .iter()
            .map(|info| (info.get_fullname(), info.get_hostname(), info.get_port()))
            .collect();
        assert_eq!(
            told,
            [
                (r"my\.shop._http._tcp.local.", "my.shop.local.", 8080),
                (r"my\.shop._https._tcp.local.", "my.shop.local.", 443)
            ]
        );
        assert!(infos.iter().all(|info| info.get_property_val_str("path") == Some("/")));
        assert!(infos.iter().all(ServiceInfo::is_addr_auto));
    }

    #[test]
    fn listeners_choose_the_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = ["192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8::8", "fe80::7"];
        for (at, expected) in [
            (None, &own[..4]),
            (Some("0.0.0.0"), &own[..2]),
            (Some("::"), &own[2..4]),
            (Some("192.0.2.8"), &own[1..2]),
            (Some("2001:db8::7"), &own[2..3]),
            (Some("192.0.2.9"), &[]),
        ] {
            let told = own.into_iter().filter(|own| is_listened_at(at.map(ip), ip(own)));
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_name_is_left_to_others_where_they_have_it() {
        let service = LocalService { secure: false, port: 80, at: vec![None] };
        let name =
            |host: &str| LocalName { host: host.to_owned(), services: vec![service.clone()] };
        let names = [name("a.local"), name("b.local")];
        let taken = Taken::from([("b.local".to_owned(), "eth0".to_owned())]);
        let found: Vec<_> = entries(&names, &taken).into_iter().map(|entry| entry.not_at).collect();
        assert_eq!(found, [BTreeSet::new(), BTreeSet::from(["eth0".to_owned()])]);
    }
}
