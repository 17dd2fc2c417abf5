//! Where realtime is served, as a configuration has it.

use super::private_path::reads_as;
use rip::contract::config::Config;
use rip::contract::realtime::RealtimeConfig;
use rip::ids::AppId;
use rip::realtime::HubSettings;
use rip::route::host::HostPattern;
use std::collections::HashMap;
use std::sync::Arc;

/// Every place of a configuration where realtime is served.
#[derive(Default)]
pub struct Realtimes {
    /// What the configuration names.
    places: Vec<Place>,
    /// What every other app has without being asked.
    unasked: HashMap<AppId, Arc<RealtimeConfig>>,
    /// The paths at which apps are told of their clients.
    app_paths: Vec<String>,
}

struct Place {
    hosts: Vec<HostPattern>,
    config: Arc<RealtimeConfig>,
}

/// What is served there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// WebSocket.
    Socket,
    /// A group, to be read as it goes on.
    Events,
}

impl Realtimes {
    /// Those of `config`.
    pub fn new(config: &Config) -> Self {
        let place = |config: &RealtimeConfig| Place {
            hosts: config.hosts.iter().map(|host| HostPattern::new(host)).collect(),
            config: Arc::new(config.clone()),
        };
        let places: Vec<_> = config.realtime.iter().map(place).collect();
        let is_named = |app: &AppId| places.iter().any(|place| place.config.app_id == *app);
        let unasked: HashMap<_, _> = (config.apps.iter())
            .filter(|app| !is_named(&app.id))
            .map(|app| {
                let config = RealtimeConfig::unasked(app.id.clone(), &app.realtime_path);
                (app.id.clone(), Arc::new(config))
            })
            .collect();
        let mut app_paths: Vec<String> = places
            .iter()
            .map(|place| &place.config)
            .chain(unasked.values())
            .map(|config| config.app_path.clone())
            .collect();
        app_paths.sort_unstable();
        app_paths.dedup();
        Self { places, unasked, app_paths }
    }

    /// Whether something may be served at `path`: a quick look, for every request.
    pub fn may_be(&self, path: &[u8]) -> bool {
        path == UNASKED_PATH
            || self.places.iter().any(|place| {
                path.strip_prefix(place.config.path.as_bytes())
                    .is_some_and(|rest| rest.is_empty() || rest == EVENTS)
            })
    }

    /// Whether `path` is one at which only the edge itself asks apps.
    pub fn is_private(&self, path: &[u8]) -> bool {
        self.app_paths.iter().any(|own| reads_as(path, own.as_bytes()))
    }

    /// What the configuration names for `path` of a normalized host.
    pub fn at(&self, host: &[u8], path: &[u8]) -> Option<(&Arc<RealtimeConfig>, Part)> {
        self.of_host(host, |config| {
            let rest = path.strip_prefix(config.path.as_bytes())?;
            match rest {
                b"" => Some(Part::Socket),
                EVENTS if config.explicit => Some(Part::Events),
                _ => None,
            }
        })
    }

    /// What the configuration names for a normalized host, whatever the path.
    pub fn of_whole_host(&self, host: &[u8]) -> Option<&Arc<RealtimeConfig>> {
        self.of_host(host, |_| Some(())).map(|(config, ())| config)
    }

    /// What the app has whom the configuration does not name.
    pub fn unasked(&self, app: &AppId) -> Option<&Arc<RealtimeConfig>> {
        self.unasked.get(app)
    }

    /// What the app's hub follows.
    pub fn settings_of(&self, app: &AppId) -> HubSettings {
        let named = self.places.iter().map(|place| &*place.config);
        HubSettings::of(named.filter(|config| config.app_id == *app))
    }

    /// What takes the place of `earlier`, of another configuration: the same app at the same path, for
    /// the hosts that it was for, or more.
    pub fn succeeds(&self, earlier: &RealtimeConfig) -> Option<&Arc<RealtimeConfig>> {
        let mut named = self.places.iter().map(|place| &place.config);
        named.find(|config| config.takes_over(earlier)).or_else(|| {
            self.unasked.get(&earlier.app_id).filter(|config| config.path == earlier.path)
        })
    }

    /// The most specific place of a host that `what` says something of.
    fn of_host<T>(
        &self,
        host: &[u8],
        what: impl Fn(&RealtimeConfig) -> Option<T>,
    ) -> Option<(&Arc<RealtimeConfig>, T)> {
        let rank = |place: &Place| {
            place.hosts.iter().filter(|own| own.takes(host)).map(HostPattern::rank).min()
        };
        (self.places.iter())
            .filter_map(|place| Some((rank(place)?, place, what(&place.config)?)))
            .min_by_key(|(rank, _, _)| *rank)
            .map(|(_, place, found)| (&place.config, found))
    }
}

/// Where apps have realtime that did not ask for it.
pub const UNASKED_PATH: &[u8] = rip::contract::realtime::PATH.as_bytes();
const EVENTS: &[u8] = b"/events";
