//! Where sessions are served, as a configuration has it.

use rip::contract::config::Config;
use rip::contract::sessions::SessionsConfig;
use rip::route::host::HostPattern;
use std::sync::Arc;

/// Every mount of sessions of a configuration.
#[derive(Default)]
pub struct SessionPlaces {
    places: Vec<Place>,
}

struct Place {
    hosts: Vec<HostPattern>,
    config: Arc<SessionsConfig>,
}

impl SessionPlaces {
    /// Those of `config`.
    pub fn new(config: &Config) -> Self {
        let place = |config: &SessionsConfig| Place {
            hosts: config.hosts.iter().map(|host| HostPattern::new(host)).collect(),
            config: Arc::new(config.clone()),
        };
        Self { places: config.sessions.iter().map(place).collect() }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The mount that owns `path` of a normalized host: of several the one of the most specific host.
    pub fn at(&self, host: &[u8], path: &[u8]) -> Option<&Arc<SessionsConfig>> {
        let rank = |place: &Place| {
            place.hosts.iter().filter(|own| own.takes(host)).map(HostPattern::rank).min()
        };
        (self.places.iter())
            .filter(|place| owns(&place.config.mount, path))
            .filter_map(|place| Some((rank(place)?, place)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, place)| &place.config)
    }

    /// The mount that a session of this scope belongs to.
    pub fn of_scope(&self, scope: &str) -> Option<&Arc<SessionsConfig>> {
        self.places.iter().map(|place| &place.config).find(|config| config.scope() == scope)
    }
}

/// Whether `path` is `<mount>/session`, below it, or `<mount>/ws`.
fn owns(mount: &str, path: &[u8]) -> bool {
    let Some(below) = path.strip_prefix(mount.as_bytes()) else { return false };
    let is = |name: &[u8]| {
        below.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    is(b"/session") || is(b"/ws")
}

#[cfg(test)]
mod tests {
    use super::owns;

    #[test]
    fn a_mount_owns_sessions_and_the_socket_and_nothing_else() {
        for path in ["/v1/session", "/v1/session/", "/v1/session/s_1/x", "/v1/ws", "/v1/ws/x"] {
            assert!(owns("/v1", path.as_bytes()), "{path}");
        }
        for path in ["/v1", "/v1/", "/v1/sessions", "/v1/wsx", "/v1/turn", "/session", "/v2/ws"] {
            assert!(!owns("/v1", path.as_bytes()), "{path}");
        }
        assert!(owns("", b"/session") && owns("", b"/ws"));
    }
}
