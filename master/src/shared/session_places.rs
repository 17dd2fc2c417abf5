//! Where sessions are served, as a configuration has it.

use super::private_path::reads_as;
use rip::contract::app::AppDescriptor;
use rip::contract::config::Config;
use rip::contract::sessions::{SessionsConfig, owns};
use rip::ids::AppId;
use rip::route::host::HostPattern;
use std::sync::Arc;

/// Every mount of sessions of a configuration.
#[derive(Default)]
pub struct SessionPlaces {
    places: Vec<Place>,
    /// Where their apps are asked to run turns.
    app_paths: Vec<(AppId, String)>,
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
        let has_some = |app: &&AppDescriptor| config.sessions.iter().any(|it| it.app_id == app.id);
        let app_paths = config.apps.iter().filter(has_some);
        let app_paths = app_paths.map(|app| (app.id.clone(), app.turn_path.clone())).collect();
        Self { places: config.sessions.iter().map(place).collect(), app_paths }
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

    /// Whether `path` is one at which only the edge itself asks `app`.
    pub fn is_private(&self, app: &AppId, path: &[u8]) -> bool {
        self.app_paths.iter().any(|(id, own)| id == app && reads_as(path, own.as_bytes()))
    }

    /// The mount that a session of this scope belongs to.
    pub fn of_scope(&self, scope: &str) -> Option<&Arc<SessionsConfig>> {
        self.places.iter().map(|place| &place.config).find(|config| config.scope() == scope)
    }
}
