//! Whether this process may listen on a port, and what to do when it may not.

use super::exit::{Exit, Failure};
use super::inherited as predecessor;
use crate::sys::inherited;
use rip::wire::activation;
use std::fs::read_to_string;

/// What the kernel lets this process bind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rights {
    /// Ports from here on are free for all.
    pub unprivileged_from: u16,
    /// `CAP_NET_BIND_SERVICE`: lower ports too.
    pub bind_service: bool,
    /// `CAP_SETUID` and `CAP_SETGID`: processes may be started as somebody else.
    pub change_user: bool,
}

/// What is served at a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// Plain HTTP.
    Http,
    /// HTTPS.
    Https,
}

impl Protocol {
    /// A token for a port that is free for all.
    pub fn example(self) -> &'static str {
        match self {
            Self::Http => "http:8080",
            Self::Https => "https:8443",
        }
    }
}

impl Rights {
    /// As `/proc` tells; where it does not, as a kernel is set up by default.
    pub fn look() -> Self {
        let status = read_to_string("/proc/self/status").unwrap_or_default();
        let start = read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        let start = start.ok().and_then(|text| text.trim().parse().ok());
        Self {
            // Which of them somebody else has opened for us shows when the master starts.
            unprivileged_from: if are_given() { 0 } else { start.unwrap_or(1024) },
            bind_service: has(&status, CAP_NET_BIND_SERVICE),
            change_user: has(&status, CAP_SETGID) && has(&status, CAP_SETUID),
        }
    }

    /// Whether the kernel lets this process bind `port`, or need not: a predecessor has.
    pub fn allow(self, port: u16) -> bool {
        self.bind_service || port >= self.unprivileged_from || predecessor::has_port(port)
    }

    /// # Errors
    /// The missing right and the ways to get it (exit 77).
    pub fn check(self, port: u16, protocol: Protocol, executable: &str) -> Result<(), Failure> {
        if self.allow(port) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Permission,
            format!(
                "port {port} needs CAP_NET_BIND_SERVICE, which this process does not have (ports \
                 from {} on are free for all)",
                self.unprivileged_from
            ),
        )
        .tip(format!("use another port: {}", protocol.example()))
        .tip(format!(
            "give the program the right: sudo setcap cap_net_bind_service=+ep {executable}"
        ))
        .tip("under systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit")
        .tip(format!("for every program: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}")))
    }
}

/// The init system has opened sockets for this process (`LISTEN_FDS`). No process that is started
/// before a master takes them gets them.
pub fn are_given() -> bool {
    let variable = |name| std::env::var(name).ok();
    let (fds, pid) = (variable("LISTEN_FDS"), variable("LISTEN_PID"));
    let names = activation::handed_names(fds.as_deref(), pid.as_deref(), None, std::process::id());
    inherited::close_at_exec((activation::FIRST_FD..).take(names.len()));
    !names.is_empty()
}

/// Reads `CapEff` of `/proc/self/status`. Without that line (no `/proc`) the bind shall tell.
fn has(status: &str, capability: u32) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << capability) != 0)
}

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_NET_BIND_SERVICE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_needs_the_capability() {
        let plain = Rights { unprivileged_from: 1024, bind_service: false, change_user: false };
        assert!(plain.check(1024, Protocol::Http, "rip-master").is_ok());
        let failure = plain.check(80, Protocol::Http, "/opt/rip-master").unwrap_err();
        assert_eq!(failure.exit.code(), 77);
        assert!(failure.message.contains("port 80 needs CAP_NET_BIND_SERVICE"));
        assert!(failure.tips.iter().any(|tip| tip.ends_with("+ep /opt/rip-master")));
        assert_eq!(failure.tips[0], "use another port: http:8080");
        let failure = plain.check(443, Protocol::Https, "").unwrap_err();
        assert_eq!(failure.tips[0], "use another port: https:8443");
        assert!(Rights { bind_service: true, ..plain }.check(80, Protocol::Http, "").is_ok());
        assert!(Rights { unprivileged_from: 0, ..plain }.check(80, Protocol::Http, "").is_ok());
    }

    #[test]
    fn capabilities_are_bits() {
        assert!(has("Name:\tx\nCapEff:\t0000000000000400\n", CAP_NET_BIND_SERVICE));
        assert!(!has("Name:\tx\nCapEff:\t00000000000003ff\n", CAP_NET_BIND_SERVICE));
        assert!(has("", CAP_NET_BIND_SERVICE));
    }
}
