//! One service of one name, as it is told.

use mdns_sd::{IfKind, ServiceInfo};
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
}

/// All services of `names`.
pub(super) fn entries(names: &[LocalName]) -> BTreeSet<Entry> {
    let entry = |name: &LocalName, service: &LocalService| Entry {
        host: name.host.clone(),
        instance: name.instance().to_owned(),
        secure: service.secure,
        port: service.port,
        at: name.addresses(),
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
        info.set_interfaces(self.at.iter().map(|ip| interfaces(*ip)).collect());
        Ok(info)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.secure { "https" } else { "http" };
        write!(out, "{kind}://{}:{}/", self.host, self.port)
    }
}

/// The addresses that are told for one that is listened at.
fn interfaces(ip: Option<IpAddr>) -> IfKind {
    match ip {
        None => IfKind::All,
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => IfKind::IPv4,
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => IfKind::IPv6,
        Some(ip) => IfKind::Addr(ip),
    }
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
        let infos: Vec<_> = entries(&[name]).iter().map(|entry| entry.info().unwrap()).collect();
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
        for (ip, is_fitting) in [
            (None, IfKind::All),
            (Some("0.0.0.0"), IfKind::IPv4),
            (Some("::"), IfKind::IPv6),
            (Some("192.0.2.7"), IfKind::Addr("192.0.2.7".parse().unwrap())),
            (Some("2001:db8::7"), IfKind::Addr("2001:db8::7".parse().unwrap())),
        ] {
            let chosen = interfaces(ip.map(|ip| ip.parse().unwrap()));
            assert_eq!(format!("{chosen:?}"), format!("{is_fitting:?}"));
        }
    }
}
