//! From settings to a master that can run: each step either holds or undoes the ones before.

use super::capacity::Capacity;
use super::certs::CertAsks;
use super::compiler::Compiler;
use super::crew::Gear;
use super::crews::Crews;
use super::demotion::{Demotion, warn_of_unreadable};
use super::explain::Explains;
use super::feed::Feed;
use super::listeners::Listeners;
use super::master::{Master, State};
use super::notify::Notifier;
use super::numbers::Past;
use super::orders::Orders;
use super::orphans::Orphans;
use super::program::Program;
use super::reload::{Reloads, longest};
use super::runtime_dir::RuntimeDir;
use super::server::ControlServer;
use super::sessions::SessionStore;
use super::source::Source;
use super::source_file::SourceFile;
use super::start_error::StartError;
use super::successor::Inheritance;
use super::upgrade::Handover;
use super::watcher::{Purpose, Watcher};
use super::workshop::Workshop;
use crate::agents::certs::{self, CertKeeper, LoadError, Watch};
use crate::agents::files::FileAgent;
use crate::agents::log::LogAgent;
use crate::agents::mdns::MdnsAgent;
use crate::edge::Edges;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::{Sender, mailbox};
use crate::shared::Shared;
use crate::shared::budget::Budget;
use crate::shared::connections::Connections;
use crate::shared::diagnostics;
use crate::shared::hub::Hubs;
use crate::shared::log::LogSettings;
use crate::shared::mail::{ControlMessage, Listening};
use crate::shared::notes::LoopNotes;
use crate::shared::pages::Pages;
use crate::shared::pools::AppPool;
use crate::shared::renewals::Renewals;
use crate::shared::secrets::Secrets;
use crate::shared::sessions::Sessions;
use crate::shared::snapshot::{Current, Snapshot};
use crate::shared::stats::Stats;
use crate::shared::tls::Tls;
use crate::shared::upstreams::prepare;
use crate::sys::listen::{self, ListenError};
use crate::sys::memory;
use crate::sys::outlet::Outlet;
use crate::sys::proc::{raise_nofile, set_child_subreaper};
use crate::sys::random::random;
use crate::sys::signals::{Signals, ignore_sigpipe};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Registry, Waker};
use rip::contract::config::{Config, EdgeConfig};
use rip::contract::listen::ListenAddress;
use rip::contract::settings::{self, Settings};
use rip::guard::caps::Caps;
use rip::ids::{Generation, PoolNumber};
use rip::supervise::Shutdown;
use rip::time::Instant;
use std::io;
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes everything a master needs and starts its threads; the workers start with its first turn.
///
/// # Errors
/// The first step that failed. Nothing is left behind.
pub fn boot(settings: Settings) -> Result<Master, StartError> {
    memory::settle();
    let clock = Clock::new();
    let step = |what: &'static str| move |error: io::Error| StartError::system(what, &error);
    ignore_sigpipe().map_err(step("signals"))?;
    set_child_subreaper().map_err(step("becoming the reaper of our workers' orphans"))?;
    let descriptors = raise_nofile();
    // Before rights are given up: who has done that may not look at its own program.
    let program = Program::of_this_process();
    // Before anything is opened that could have the number of a descriptor that was not left us.
    let mut inheritance = Inheritance::receive()?;
    let mut listeners = Listeners::of_init()?;
    let demotion = Demotion::plan(&settings)?;
    let runtime = match &mut inheritance {
        None => RuntimeDir::claim(&settings.name)?,
        Some(inheritance) => {
            inheritance.bequeath(&mut listeners)?;
            inheritance.runtime_dir()?
        }
    };
    let poll = Poll::new().map_err(step("the control loop"))?;
    let waker = Waker::new(poll.registry(), Source::Mail.into()).map_err(step("the waker"))?;
    let (control, mail) = mailbox(Arc::new(waker));
    let tls = Tls::new().map_err(|error| step("TLS")(io::Error::other(error)))?;
    let (certs, watch) = load_certs(&settings, &tls, control.clone())?;
    let listening = open_all(&mut listeners, &settings.config.edge)?;
    let of_workers = control_socket(&runtime.worker_control())?;

    // What is read here is read again at a reload, by who we become.
    let upstreams = prepare(&settings.config, &[], &control).map_err(StartError::configuration)?;
    let secrets = Secrets::read(&settings.config)
        .map_err(|wrong| StartError::configuration(wrong.join("; ")))?;
    if let Some(demotion) = demotion {
        demotion.hand_over(&runtime, &settings)?;
        demotion.drop_rights(&runtime)?;
        warn_of_unreadable(&settings);
    }

    let mut signals = Signals::new().map_err(step("signals"))?;
    poll.registry()
        .register(&mut signals, Source::Signals.into(), Interest::READABLE)
        .map_err(step("signals"))?;
    let registry = || poll.registry().try_clone().map_err(step("the control loop"));
    let mut server = ControlServer::new(
        of_workers,
        Source::Control.into(),
        |connection| Source::Connection(connection).into(),
        registry()?,
    )
    .map_err(step("the control socket"))?;
    if inheritance.is_none() {
        server
            .open(control_socket(&runtime.control_socket())?)
            .map_err(step("the control socket"))?;
    }

    let log = LogSettings { json: settings.config.edge.log.json, quiet: settings.quiet };
    let log = match &inheritance {
        None => LogAgent::start(log),
        // Our own standard error leads to the predecessor until we serve.
        Some(inheritance) => inheritance
            .stderr()
            .and_then(|stderr| LogAgent::start_on(log, Outlet::stdout()?, Outlet::new(stderr)?)),
    };
    let log = log.map_err(step("the log agent"))?;
    if inheritance.is_none() {
        diagnostics::send_to(log.sink());
    }
    let files = FileAgent::start().map_err(step("the files agent"))?;
    let edge = &settings.config.edge;
    let loops = edge.loops.unwrap_or_else(cores).max(1);
    let capacity = Capacity { descriptors, loops };
    let cap = capacity.connections(&settings.config);
    let gear = Gear { registry: registry()?, log: log.sink(), mail: control.clone() };
    let mut crews = Crews::new(gear);
    let snapshot = first_snapshot(&settings.config, &mut crews, &control, clock.now())
        .map_err(step("the control loop"))?
        .with_upstreams(upstreams)
        .with_secrets(secrets);
    let shared = Arc::new(Shared {
        current: Current::new(Arc::new(snapshot)),
        access_log: edge.log.access && !settings.quiet,
        json: edge.log.json,
        stats: Stats::new(usize::from(loops)),
        notes: LoopNotes::new(usize::from(loops)),
        connections: Connections::new(Caps::new(cap, edge.limits.per_address), usize::from(loops)),
        spool_memory: Budget::new(edge.limits.spool_memory_bytes),
        spool_disk: Budget::new(edge.limits.spool_disk_bytes),
        spool_dir: spool_dir(edge.spool_dir.as_deref()),
        pages: Pages::default(),
        publish_secret: settings.publish_secret.clone(),
        hubs: Hubs::default(),
        sessions: Sessions::default(),
        logins: Default::default(),
        tls: Arc::new(tls),
        renewals: Renewals::default(),
        files: files.queue(),
        log: log.sink(),
        control: control.clone(),
    });
    let orphans = Orphans::new(runtime.path());
    let shop = Workshop::new(runtime)?;
    let mut watcher = watcher(&settings, registry()?, control)?;
    let source_file = watched_file(&settings, &mut watcher)?;
    watch.start(settings.watch_poll).map_err(step("the thread of the certificates"))?;
    let seed = random_seed().map_err(step("/dev/urandom"))?;
    let store = SessionStore::start(&settings, &shared)?;
    let (listening, succession) = match inheritance {
        None => (listening, None),
        Some(inheritance) => (Vec::new(), Some(inheritance.succession(listening))),
    };
    if let Some(succession) = &succession {
        poll.registry()
            .register(
                &mut SourceFd(&succession.as_raw_fd()),
                Source::Predecessor.into(),
                Interest::READABLE,
            )
            .map_err(step("the running server"))?;
    }
    let edges = Edges::start(&shared, listening, loops, seed).map_err(step("the edge loops"))?;
    let upgrade = Handover::new(registry()?, program, clock.now());
    let acme = super::acme::agent(&shared, &certs, &settings.state_dir, seed);
    let config = &settings.config;
    let (drain, kill) = (longest(config, |app| app.drain), longest(config, |app| app.kill));
    let shutdown = Shutdown::new(drain, kill, clock.now());
    let reload = Reloads::new(
        shared.current.load(),
        config.clone(),
        Compiler::new(registry()?),
        Clock::read().since(clock.now()),
        clock.now(),
    );
    let mut master = Master {
        started: clock.now(),
        poll,
        clock,
        signals,
        mail,
        notifier: Notifier::from_environment(clock.now()),
        server,
        shutdown,
        crews,
        orphans,
        edges: Some(edges),
        listeners,
        shop,
        watcher,
        source_file,
        settings,
        shared,
        certs,
        cert_asks: CertAsks::default(),
        agents: (log, files),
        store,
        acme,
        mdns: MdnsAgent::new(),
        feed: Feed::default(),
        explains: Explains::default(),
        orders: Orders::default(),
        reload,
        capacity,
        past: Past::new(clock.now(), clock.wall()),
        succession,
        upgrade,
        farewell: None,
        state: State::default(),
    };
    let config = master.settings.config.clone();
    master.keep_certs(&config);
    master.execute_will();
    Ok(master)
}

/// A crew for each app, and the configuration that hands requests to them.
fn first_snapshot(
    config: &Config,
    crews: &mut Crews,
    control: &Sender<ControlMessage>,
    now: Instant,
) -> io::Result<Snapshot> {
    let PoolNumber(first) = crews.reserve(config.apps.len());
    let mut pools = Vec::with_capacity(config.apps.len());
    for (number, app) in (first..).zip(&config.apps) {
        let pool = Arc::new(AppPool::new(PoolNumber(number), app, control.clone()));
        crews.found(Arc::clone(&pool), app.clone(), Generation(1), config.urls_of(app), now)?;
        pools.push(pool);
    }
    Ok(Snapshot::new(1, config.clone(), pools))
}

/// The watcher of the apps' own files, where their changes shall do something.
fn watcher(
    settings: &Settings,
    registry: Registry,
    control: Sender<ControlMessage>,
) -> Result<Watcher, StartError> {
    let mut watcher = Watcher::new(registry, control, settings.watch_poll);
    for app in &settings.config.apps {
        watcher
            .watch_app(app)
            .map_err(|error| StartError::system("the app's files cannot be watched", &error))?;
    }
    Ok(watcher)
}

/// The Edgefile, watched where it shall be.
fn watched_file(
    settings: &Settings,
    watcher: &mut Watcher,
) -> Result<Option<SourceFile>, StartError> {
    let path = match &settings.source {
        settings::Source::Edgefile { path, watch: true, .. } => path,
        settings::Source::Edgefile { .. } | settings::Source::CommandLine => return Ok(None),
    };
    let file = SourceFile::new(Path::new(path));
    watcher
        .watch_file(Purpose::Edgefile, file.path(), file.places())
        .map_err(|error| StartError::system("the Edgefile cannot be watched", &error))?;
    Ok(Some(file))
}

/// The certificates to begin with, served and not yet watched.
fn load_certs(
    settings: &Settings,
    tls: &Tls,
    control: Sender<ControlMessage>,
) -> Result<(CertKeeper, Watch), StartError> {
    let dir = certs::directory(&settings.state_dir);
    let loaded = CertKeeper::load(Arc::clone(&tls.certs), dir, &settings.config, control);
    loaded.map_err(|error| match error {
        LoadError::System(error) => StartError::system("certificates", &error),
        LoadError::Unusable(lines) => StartError::configuration(lines.join("; ")),
    })
}

/// The sockets of every listener, wherever they come from.
fn open_all(listeners: &mut Listeners, edge: &EdgeConfig) -> Result<Vec<Listening>, StartError> {
    listeners.match_up(edge)?;
    let open = edge.listeners().into_iter().map(|address| {
        let listener = listeners
            .open(address)
            .map_err(|error| cannot_listen(address, edge.is_secure(address), &error))?;
        Ok(Listening { address, listener })
    });
    open.collect()
}

fn control_socket(path: &Path) -> Result<UnixListener, StartError> {
    listen::unix_listener(path, 0o600).map_err(|error| StartError::system(path.display(), &error))
}

fn cannot_listen(address: ListenAddress, is_secure: bool, error: &ListenError) -> StartError {
    if error.is_busy() {
        let holder = match &error.holder {
            Some(holder) => format!("{address} is taken by {holder}"),
            None => format!("{address} is taken by a process we may not see"),
        };
        return StartError::unavailable(holder).hint(format!(
            "stop it, or choose another port: rip-master start … {}:PORT",
            if is_secure { "https" } else { "http" }
        ));
    }
    let message = format!("cannot listen at {address}: {}", error.source);
    match error.source.kind() {
        io::ErrorKind::PermissionDenied => StartError::permission(message)
            .hint("use a port above 1023, or grant the program CAP_NET_BIND_SERVICE"),
        _ => StartError::unavailable(message),
    }
}

fn spool_dir(chosen: Option<&str>) -> PathBuf {
    let chosen = chosen.map(PathBuf::from).or_else(cache_directory);
    chosen.unwrap_or_else(|| "/var/tmp".into())
}

/// The directory that the init system made for what may be lost; it may list several, separated by
/// colons.
pub(super) fn cache_directory() -> Option<PathBuf> {
    let listed = std::env::var("CACHE_DIRECTORY").ok()?;
    listed.split(':').find(|path| path.starts_with('/')).map(PathBuf::from)
}

fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores).unwrap_or(u16::MAX)
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    random(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
