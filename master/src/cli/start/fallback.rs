//! `--port-fallback`: other ports in the place of those that cannot be had.

use crate::cli::exit::{Exit, Failure};
use crate::cli::inherited;
use crate::sys::listen::tcp_listener_at;
use rip::contract::config::EdgeConfig;
use rip::contract::listen::ListenAddress;
use std::io::ErrorKind;

/// Gives each port of `edge` that is busy, or that this process may not listen at, the next free one
/// from [`FIRST`] on, and tells of it on stderr. Whether anything was changed.
///
/// # Errors
/// No port is free.
pub(super) fn settle(edge: &mut EdgeConfig) -> Result<bool, Failure> {
    let mut ports: Vec<u16> = edge.listeners().iter().map(|at| at.port).collect();
    ports.dedup();
    let mut given: Vec<u16> = ports.clone();
    let mut is_changed = false;
    for port in ports {
        let of_port: Vec<_> = edge.listeners().into_iter().filter(|at| at.port == port).collect();
        let Some(why) = of_port.iter().find_map(|at| trouble(*at)) else { continue };
        let free = (FIRST..=u16::MAX).find(|port| {
            let moved = |at: &ListenAddress| ListenAddress { port: *port, ..*at };
            !given.contains(port) && of_port.iter().all(|at| is_free(moved(at)))
        });
        let Some(free) = free else {
            return Err(Failure::new(Exit::Unavailable, format!("{why}, and no port is free")));
        };
        eprintln!("warning: {why}: port {free} takes its place");
        given.push(free);
        let EdgeConfig { http, https, admin, proxy_protocol, .. } = edge;
        let all = http.iter_mut().chain(https).chain(admin).chain(proxy_protocol);
        for at in all.filter(|at| at.port == port) {
            at.port = free;
        }
        is_changed = true;
    }
    Ok(is_changed)
}

/// A predecessor's is ours.
fn is_free(at: ListenAddress) -> bool {
    inherited::has(at) || tcp_listener_at(at).is_ok()
}

/// Why nobody can listen there, as far as another port would help.
fn trouble(at: ListenAddress) -> Option<String> {
    if inherited::has(at) {
        return None;
    }
    let error = tcp_listener_at(at).err()?;
    match error.source.kind() {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Some(error.to_string()),
        _ => None,
    }
}

/// The first port that is tried.
pub(super) const FIRST: u16 = 5000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, TcpListener};

    #[test]
    fn only_what_is_taken_gives_way() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = |port| ListenAddress { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port };
        let (busy, open) =
            (at(taken.local_addr().unwrap().port()), at(free.local_addr().unwrap().port()));
        drop(free);
        let mut edge = EdgeConfig { http: vec![busy], https: vec![open], ..EdgeConfig::default() };
        edge.proxy_protocol = vec![busy];
        assert!(settle(&mut edge).unwrap());
        assert_eq!(edge.https, [open]);
        assert!(edge.http[0].port >= FIRST && edge.http[0] != busy, "{:?}", edge.http);
        assert_eq!(edge.proxy_protocol, edge.http);
        let before = edge.clone();
        assert!(!settle(&mut edge).unwrap());
        assert_eq!(edge, before);
    }
}
