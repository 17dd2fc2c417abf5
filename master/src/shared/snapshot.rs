//! The configuration as traffic sees it, and the one place where another one takes its place.

use super::pools::AppPool;
use super::rates::RateLimits;
use super::realtime::Realtimes;
use super::secrets::Secrets;
use super::session_places::SessionPlaces;
use super::sites::Site;
use super::upstreams::Upstream;
use rip::contract::app::AppDescriptor;
use rip::contract::config::Config;
use rip::contract::route::{RouteAction, RouteRule};
use rip::guard::cidr::{Cidr, CidrSet};
use rip::ids::{AppId, PoolNumber};
use rip::limits;
use rip::route::Table;
use rip::route::secure::{ComeBack, ToHttps};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One configuration version with everything a request needs of it. It never changes: a request
/// keeps the one it was born with.
pub struct Snapshot {
    /// Its number; never used for another one.
    pub version: u64,
    /// What it was made of.
    pub config: Config,
    /// Which rule takes a request.
    pub table: Table,
    /// The largest request body that any rule takes, in bytes.
    pub body_bytes: u64,
    /// Peers that are believed when they say whom they speak for.
    pub trusted: CidrSet,
    /// Where realtime is served.
    pub realtime: Realtimes,
    /// Where sessions are served.
    pub sessions: SessionPlaces,
    /// Who may publish.
    pub secrets: Secrets,
    /// How often clients may ask.
    pub rates: RateLimits,
    /// What plain listeners answer where HTTPS is served as well.
    pub to_https: Option<ToHttps>,
    /// What answers over HTTPS say of coming back.
    pub come_back: Option<ComeBack>,
    /// The hosts that are the dashboard's, as [`normalize`](rip::route::host::normalize) leaves them.
    pub dashboard: Vec<Vec<u8>>,
    /// The pool of each of the configuration's apps, by the app's position there.
    pub pools: Vec<Arc<AppPool>>,
    /// Each of the configuration's upstreams, by its position there.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What each rule leads to, by its index.
    places: Vec<Option<usize>>,
    /// The files of each rule that serves some, by its index.
    sites: Vec<Option<Arc<Site>>>,
}

impl Snapshot {
    /// Everything that requests need of `config`, whose apps have these `pools`, in its order. Takes
    /// its time with many rules.
    pub fn new(version: u64, config: Config, pools: Vec<Arc<AppPool>>) -> Self {
        let table = Table::new(&config.routes);
        let own_limits = config.routes.iter().filter_map(|rule| rule.body_limit);
        let turns = (!config.sessions.is_empty()).then_some(limits::TURN_INPUT_BYTES as u64);
        let others = [config.edge.limits.body_bytes].into_iter().chain(turns);
        let body_bytes = own_limits.chain(others).max().unwrap_or_default();
        let numbers: HashMap<&AppId, usize> =
            config.apps.iter().enumerate().map(|(index, app)| (&app.id, index)).collect();
        let place = |rule: &RouteRule| match &rule.action {
            RouteAction::ToApp { app_id } => numbers.get(app_id).copied(),
            RouteAction::Proxy { upstream, .. } => {
                config.upstreams.iter().position(|known| known.id == *upstream)
            }
            RouteAction::Headers(_) | RouteAction::Redirect { .. } | RouteAction::Static(_) => None,
        };
        let places = config.routes.iter().map(place).collect();
        let trusted = networks(&config.edge.trusted_proxies);
        let rates = RateLimits::new(&config);
        let to_https = ToHttps::of(&config);
        let come_back = ComeBack::of(&config);
        let realtime = Realtimes::new(&config);
        let sessions = SessionPlaces::new(&config);
        let dashboard = config.dashboard_hosts();
        let dashboard = dashboard.into_iter().map(|host| host.as_bytes().to_vec()).collect();
        let upstreams = Vec::new();
        let sites = config.routes.iter().map(Site::of).collect();
        Self {
            version,
            config,
            table,
            body_bytes,
            trusted,
            realtime,
            sessions,
            secrets: Secrets::default(),
            rates,
            to_https,
            come_back,
            dashboard,
            pools,
            upstreams,
            places,
            sites,
        }
    }

    /// The same with the upstreams of its configuration, in its order, as
    /// [`prepare`](super::upstreams::prepare) makes them. Without them its rules for them answer that
    /// nothing is served.
    pub fn with_upstreams(self, upstreams: Vec<Arc<Upstream>>) -> Self {
        Self { upstreams, ..self }
    }

    /// The same with the secrets that its configuration names. Without them nobody knows them.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// The upstream a rule hands requests to, and its position.
    pub fn upstream_of(&self, rule: usize) -> Option<(usize, &Arc<Upstream>)> {
        if !matches!(self.config.routes.get(rule)?.action, RouteAction::Proxy { .. }) {
            return None;
        }
        let place = (*self.places.get(rule)?)?;
        Some((place, self.upstreams.get(place)?))
    }

    /// `Host` of requests that a rule hands to `upstream`; `None` keeps the client's.
    pub fn host_of<'s>(&'s self, rule: usize, upstream: &'s Upstream) -> Option<&'s str> {
        let own = match &self.config.routes.get(rule)?.action {
            RouteAction::Proxy { host, .. } => host.as_deref(),
            _ => None,
        };
        own.or(upstream.host.as_deref())
    }

    /// The app a rule hands requests to, and its pool.
    pub fn app_of(&self, rule: usize) -> Option<(&AppDescriptor, &Arc<AppPool>)> {
        if !matches!(self.config.routes.get(rule)?.action, RouteAction::ToApp { .. }) {
            return None;
        }
        let app = (*self.places.get(rule)?)?;
        Some((self.config.apps.get(app)?, self.pools.get(app)?))
    }

    /// The files a rule answers with.
    pub fn site_of(&self, rule: usize) -> Option<&Arc<Site>> {
        self.sites.get(rule)?.as_ref()
    }

    /// Every rule's files.
    pub fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.sites.iter().flatten()
    }

    /// A pool by its number.
    pub fn pool(&self, number: PoolNumber) -> Option<&Arc<AppPool>> {
        self.pools.iter().find(|pool| pool.number == number)
    }
}

/// What is no network trusts nobody: who normalized the configuration has refused it.
fn networks(texts: &[String]) -> CidrSet {
    let network = |text: &String| match text.parse::<Cidr>() {
        Ok(network) => Some(network),
        Err(error) => {
            log::error!("no proxy is trusted as '{text}': {error}");
            None
        }
    };
    texts.iter().filter_map(network).collect()
}

/// The active snapshot.
pub struct Current {
    /// Looked at for every request: the lock is only taken when it has changed.
    version: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Current {
    /// `snapshot` is active.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { version: AtomicU64::new(snapshot.version), snapshot: Mutex::new(snapshot) }
    }

    /// The number of the active one.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The active one.
    pub fn load(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock())
    }

    /// Makes `snapshot` the active one; what it replaces is returned. Its upstreams follow its
    /// settings from now on.
    pub fn activate(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        snapshot.upstreams.iter().for_each(|upstream| upstream.apply());
        let mut active = self.lock();
        self.version.store(snapshot.version, Ordering::Release);
        std::mem::replace(&mut *active, snapshot)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Snapshot>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
