//! `start`: flags, words and the machine become [`Settings`].

pub mod edgefile;
mod fallback;
mod https;
mod sessions;

use super::args::Start;
use super::entry::{self, Entry, Files, Found, Named, Places, python};
use super::exit::Failure;
use super::port::{Protocol, Rights, are_given};
use super::value::is_host;
use super::{changes, env, value};
use rip::contract::app::{
    AppDescriptor, AppTimeouts, HealthCheck, Launch, Listen, ProcessLimits, REALTIME_PATH, Ready,
    Recycle, RestartPolicy, Runtime, Select, TURN_PATH,
};
use rip::contract::config::{
    DashboardConfig, EdgeConfig, EdgeLimits, LogConfig, Phases, RateLimit,
};
use rip::contract::https_flags::HttpsFlags;
use rip::contract::overrides::Overrides;
use rip::contract::realtime::RealtimeConfig;
use rip::contract::secret::Secret;
use rip::contract::settings::{Settings, Source, file_site, single_app};
use rip::ids::AppId;
use rip::limits;
use rip::wire::runtime_dir::{is_name, sanitise_name};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `start` looks at besides its arguments.
#[derive(Clone, Debug)]
pub struct World {
    /// Where entries, programs and packages are looked for.
    pub places: Places,
    /// Cores this process may use.
    pub cores: u32,
    /// Ports this process may bind.
    pub rights: Rights,
    /// The path of this program.
    pub executable: String,
    /// `$PORT`.
    pub port: Option<String>,
    /// `$WEB_CONCURRENCY`.
    pub web_concurrency: Option<String>,
    /// `$CACHE_DIRECTORY`.
    pub cache_directory: Option<String>,
    /// Where what outlives a master is kept: `$STATE_DIRECTORY`, else `~/.rip`.
    pub state_dir: PathBuf,
    /// Nothing but the home of this process's user says so.
    pub is_state_at_home: bool,
}

impl World {
    /// As it is now.
    ///
    /// # Errors
    /// The current directory cannot be told.
    pub fn look() -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::configuration(format!("the current directory cannot be told: {error}"))
        })?;
        Ok(Self::seen_from(cwd))
    }

    /// As it is now, seen from the absolute directory `cwd`.
    pub fn seen_from(cwd: PathBuf) -> Self {
        let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let programs: Vec<_> = std::env::var_os("PATH")
            .map(|paths| std::env::split_paths(&paths).collect())
            .unwrap_or_default();
        let packages = python::package_directories(
            std::env::var_os("PYTHONPATH").as_deref(),
            std::env::var_os("VIRTUAL_ENV").as_deref(),
            &programs,
            &cwd,
        );
        // Aware of affinity and of the cgroup's quota.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            places: Places { cwd, programs, packages, ..Places::default() },
            cores: u32::try_from(cores).unwrap_or(1),
            rights: Rights::look(),
            executable: std::env::current_exe()
                .map_or_else(|_| "rip-master".to_owned(), |path| path.display().to_string()),
            port: text("PORT"),
            web_concurrency: text("WEB_CONCURRENCY"),
            cache_directory: text("CACHE_DIRECTORY"),
            is_state_at_home: said_state(text("STATE_DIRECTORY").as_deref()).is_none(),
            state_dir: state_dir(text("STATE_DIRECTORY"), text("HOME")),
        }
    }
}

/// `$STATE_DIRECTORY`, as an init system says it (the first of several), else `.rip` at home, which is
/// where the system's list of users says it is when nobody else does. Never a place where others may
/// write as well: keys are kept there.
fn state_dir(said: Option<String>, home: Option<String>) -> PathBuf {
    if let Some(path) = said_state(said.as_deref()) {
        return path;
    }
    let own = || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let home = home.map(PathBuf::from).or_else(|| Some(own()?.dir));
    home.filter(|home| home.is_absolute()).unwrap_or_else(|| "/nonexistent".into()).join(".rip")
}

fn said_state(said: Option<&str>) -> Option<PathBuf> {
    said?.split(':').find(|path| path.starts_with('/')).map(PathBuf::from)
}

/// Where a master keeps what outlives it that becomes `user`: at home it would be that of who starts
/// it, where another may not go.
fn state_dir_of(world: &World, user: Option<&str>) -> String {
    match user {
        Some(user) if world.is_state_at_home => format!("{STATE_OF_USERS}/{user}"),
        _ => world.state_dir.to_string_lossy().into_owned(),
    }
}

/// Below it, a directory for each user that a master becomes.
const STATE_OF_USERS: &str = "/var/lib/rip";

/// The settings `start` stands for.
///
/// # Errors
/// The first thing that is wrong: words and flags with exit 2, rights with 77, what the words name
/// with 78.
pub fn settings(start: &Start, world: &World) -> Result<Settings, Failure> {
    let words = Words::sort(&start.words, start.command.is_some(), &world.places)?;
    let env = env::collect(&start.app.env, &world.places.cwd)?;
    let mut places = world.places.clone();
    if let Some(path) = env.get("PATH") {
        // The command is looked for where the app would look for it.
        places.programs = std::env::split_paths(path).collect();
    }
    let named =
        Named { word: words.entry, argv: start.command.as_deref(), runtime: start.app.runtime };
    let mut found = entry::find(named, &places)?;
    match &mut found {
        Found::App(entry) => {
            apply_launch_flags(start, entry)?;
            entry.launch.setup = changes::setup(start, &entry.launch)?;
        }
        Found::Files(files) => refuse_app_flags(start, files)?,
    }
    let id = match (words.name, &found) {
        (Some(name), _) => checked_name(name)?,
        (None, Found::App(Entry { name, .. }) | Found::Files(Files { name, .. })) => name.clone(),
    };
    let name = match &start.app.name {
        Some(name) => checked_name(name)?,
        None => id.clone(),
    };
    let hosts = words.hosts()?;
    let tls = https::flags(start, world)?;
    let ports = https::Ports::choose(start, world, tls.has_source())?;
    https::warn_of_idle(start, &tls, ports);
    let edge = EdgeConfig {
        // First: whoever moves it to a port of its own has no need of port 80.
        https: https::addresses(ports.https, Protocol::Https, start, world)?,
        http: https::addresses(ports.http, Protocol::Http, start, world)?,
        mdns: true,
        user: start.edge.user.clone(),
        loops: start.edge.loops,
        limits: edge_limits(start),
        rate_limit: rate_limit(start)?,
        phases: phases(start),
        log: LogConfig { access: !start.output.no_access_log, json: start.output.json_logging },
        spool_dir: spool_directory(start, world)?,
        store: sessions::store(start, world)?,
        dashboard: DashboardConfig { on: true, hosts: start.edge.dashboard.clone() },
        ..EdgeConfig::default()
    };
    let mut config = match found {
        Found::App(entry) => {
            let app = app(start, world, AppId::new(&id), hosts.clone(), entry)?;
            single_app(AppDescriptor { env, ..app }, edge)
        }
        Found::Files(files) => file_site(&files.dir, &hosts, edge),
    };
    if ports.https.is_some() {
        https::serve_names(&mut config, &hosts, &tls);
        tls.apply(&mut config);
        https::check_acme(&tls, &config.acme_hosts)?;
    } else {
        HttpsFlags { cert: None, auto: false, acme: None, ..tls }.apply(&mut config);
    }
    if let (Some(path), Some(app)) = (&start.realtime.realtime_path, config.apps.first()) {
        let endpoint = RealtimeConfig::new(path, app.id.clone(), &app.realtime_path);
        config.realtime.push(endpoint);
    }
    sessions::serve(start, &mut config)?;
    if start.edge.port_fallback && !are_given() {
        fallback::settle(&mut config.edge)?;
    }
    let state_dir = state_dir_of(world, config.edge.user.as_deref());
    Ok(Settings {
        name,
        config,
        source: Source::CommandLine,
        quiet: start.output.quiet,
        debug: start.output.debug,
        watch_poll: start.changes.watch_poll,
        publish_secret: publish_secret(start)?,
        state_dir,
    })
}

/// How often one client may ask.
fn rate_limit(start: &Start) -> Result<Option<RateLimit>, Failure> {
    let (rate_limit, rate_window) = (start.edge.rate_limit, start.edge.rate_limit_window);
    let said = Overrides { rate_limit, rate_window, ..Overrides::default() };
    match said.rate(None) {
        None if rate_window.is_some() => Err(window_alone()),
        limit => Ok(limit),
    }
}

fn window_alone() -> Failure {
    Failure::usage("--rate-limit-window is the window of a limit, and there is none")
        .tip("say how many requests it may see: --rate-limit 100")
}

/// The secret of publishers. It is told to nobody, not even where it is wrong.
///
/// # Errors
/// It cannot be presented in a header field.
fn publish_secret(start: &Start) -> Result<Option<Secret>, Failure> {
    let secret = start.realtime.publish_secret.clone();
    match &secret {
        Some(secret) if !secret.can_be_presented() => {
            Err(Failure::usage("--publish-secret is empty, or has blanks or signs beyond ASCII")
                .tip("openssl rand -hex 32 makes one"))
        }
        _ => Ok(secret),
    }
}

/// The words that are neither tokens nor flags.
struct Words<'a> {
    entry: Option<&'a str>,
    aliases: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// `PATH[@ALIAS,…] [NAME]`, also the other way round where only the second can be the path.
    fn sort(words: &'a [String], command: bool, places: &Places) -> Result<Self, Failure> {
        let (first, second) = match words {
            [] => return Ok(Self { entry: None, aliases: None, name: None }),
            [only] => (only.as_str(), None),
            [first, second] => (first.as_str(), Some(second.as_str())),
            [first, second, third, ..] => {
                return Err(Failure::usage(format!(
                    "unexpected '{third}': '{first}' is the entry and '{second}' the name"
                ))
                .tip(if command {
                    "flags of the command stand after --"
                } else {
                    TOKENS
                }));
            }
        };
        let is_entry = |word| entry::is_entry(split_aliases(word, places).0, places);
        let (entry, name) = match second {
            Some(second) if !is_entry(first) && is_entry(second) => (second, Some(first)),
            other => (first, other),
        };
        let (entry, aliases) = split_aliases(entry, places);
        Ok(Self { entry: Some(entry).filter(|entry| !entry.is_empty()), aliases, name })
    }

    /// The aliases as host names: one without a dot is a name of the local network.
    fn hosts(&self) -> Result<Vec<String>, Failure> {
        let mut hosts = Vec::new();
        for alias in self.aliases.into_iter().flat_map(|aliases| aliases.split(',')) {
            let host = alias.to_ascii_lowercase();
            if !is_host(&host) {
                return Err(Failure::usage(format!("'{alias}' is not a host name"))
                    .tip("aliases follow the path: app@shop,shop.example.com"));
            }
            let host = if host.contains('.') { host } else { format!("{host}.local") };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        Ok(hosts)
    }
}

/// `path@alias,…`, unless a file of that very name exists.
fn split_aliases<'a>(word: &'a str, places: &Places) -> (&'a str, Option<&'a str>) {
    match word.rsplit_once('@') {
        Some((path, aliases)) if !places.cwd.join(word).exists() => (path, Some(aliases)),
        _ => (word, None),
    }
}

fn checked_name(name: &str) -> Result<String, Failure> {
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let failure = Failure::usage(format!(
        "'{name}' cannot be a name: lower-case letters, digits, '.', '_' and '-' can, at most 40"
    ));
    Err(match sanitise_name(name) {
        Some(near) => failure.tip(format!("did you mean '{near}'?")),
        None => failure,
    })
}

/// Flags about an app, where there is none.
fn refuse_app_flags(start: &Start, files: &Files) -> Result<(), Failure> {
    let (app, changes) = (&start.app, &start.changes);
    let given = [
        ("--workers", app.workers.is_some()),
        ("--concurrency", app.concurrency.is_some()),
        ("--select", app.select.is_some()),
        ("--listen", app.listen.is_some()),
        ("--ready", app.ready.is_some()),
        ("--health-path", app.health_path.is_some()),
        ("--env", !app.env.is_empty()),
        ("--setup", changes.setup.is_some()),
        ("--reload", changes.reload.is_some()),
        ("--realtime-path", start.realtime.realtime_path.is_some()),
        ("--sessions", start.sessions.sessions),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::configuration(format!(
            "{flag} is about an app, and there is none in {}: looked for {}",
            files.dir,
            entry::looked_for()
        ))
        .tip("name the entry, or give a command after --")
        .tip(format!("to serve the files of '{}', leave {flag} out", files.shown))),
    }
}

/// The name of a directory, else that of any app.
fn name_after(directory: Option<&Path>) -> String {
    directory.and_then(entry::name_of_directory).unwrap_or_else(|| "app".to_owned())
}

fn apply_launch_flags(start: &Start, entry: &mut Entry) -> Result<(), Failure> {
    listen_as_said(&mut entry.launch, start.app.listen)?;
    if let Some(ready) = start.app.ready {
        if ready == Ready::Listen && start.app.health_path.is_some() {
            return Err(Failure::usage("--health-path is never asked with --ready listen")
                .tip("choose one of them"));
        }
        entry.launch.ready = ready;
    }
    Ok(())
}

/// A command listens as `--listen` says; its placeholders go with that.
///
/// # Errors
/// It is no command, or names a listener that is not there (exit 2).
pub(super) fn listen_as_said(launch: &mut Launch, said: Option<Listen>) -> Result<(), Failure> {
    if let Some(listen) = said {
        if launch.runtime.listens().is_some() {
            return Err(Failure::usage("--listen is for a command after --")
                .tip("apps that are started by their entry are given their listener"));
        }
        launch.listen = listen;
    }
    match launch.runtime {
        Runtime::Command => check_placeholders(launch),
        _ => Ok(()),
    }
}

/// A placeholder that would reach the command as it stands, or name a listener that is not there.
fn check_placeholders(launch: &Launch) -> Result<(), Failure> {
    for (placeholder, listen, flag) in [
        ("{fd}", Listen::Fd, "--listen fd"),
        ("{socket}", Listen::Path, "--listen path"),
        ("{port}", Listen::Port, "--listen port"),
    ] {
        if launch.listen != listen && launch.argv.iter().any(|word| word.contains(placeholder)) {
            return Err(Failure::usage(format!("{placeholder} in the command needs {flag}"))
                .tip("the flag stands before --"));
        }
    }
    Ok(())
}

/// The app that `entry` is under these flags.
pub(super) fn app(
    start: &Start,
    world: &World,
    id: AppId,
    hosts: Vec<String>,
    entry: Entry,
) -> Result<AppDescriptor, Failure> {
    let workers = workers(start, world)?;
    let concurrency = start.app.concurrency.unwrap_or(1);
    let following = changes::following(start, entry.launch.runtime)?;
    let recycle = recycle(start);
    let most = recycle.reloads;
    let by_default = if concurrency == 1 { Select::Lifo } else { Select::LeastInflight };
    Ok(AppDescriptor {
        id,
        entry: entry.shown,
        hosts,
        prefixes: Vec::new(),
        workers,
        concurrency,
        max_queue: start.edge.max_queue.unwrap_or(limits::QUEUE_COUNT),
        max_inflight: workers.saturating_mul(concurrency),
        select: start.app.select.unwrap_or(by_default),
        env: BTreeMap::new(),
        restart_policy: restart_policy(start),
        health_check: health_check(start),
        recycle: Recycle { reloads: most.or(following.max_reloads), ..recycle },
        surge: start.replacing.surge.unwrap_or_default(),
        reload: following.reload,
        watch: following.globs,
        timeouts: timeouts(start, entry.launch.runtime),
        stream_request: false,
        realtime_path: REALTIME_PATH.to_owned(),
        turn_path: TURN_PATH.to_owned(),
        spool_response_bytes: None,
        user: None,
        limits: ProcessLimits::default(),
        launch: entry.launch,
    })
}

fn workers(start: &Start, world: &World) -> Result<u32, Failure> {
    let wanted = start.app.workers.unwrap_or(value::Workers::Auto);
    let web_concurrency = match (&world.web_concurrency, wanted) {
        (Some(text), value::Workers::Auto) => match value::workers(text) {
            Ok(value::Workers::Count(count)) => Some(count),
            _ => {
                return Err(Failure::usage(format!(
                    "WEB_CONCURRENCY is '{text}' in the environment, which is not a number of \
                     workers"
                ))
                .tip("unset it, or say how many: w:4"));
            }
        },
        _ => None,
    };
    Ok(wanted.resolve(world.cores, web_concurrency))
}

fn restart_policy(start: &Start) -> RestartPolicy {
    let default = RestartPolicy::default();
    let flags = &start.restarts;
    RestartPolicy {
        max_restarts: flags.max_restarts.unwrap_or(default.max_restarts),
        backoff_ms: flags.restart_backoff_ms.map_or(default.backoff_ms, whole_millis),
        window_ms: flags.restart_window_ms.map_or(default.window_ms, whole_millis),
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn recycle(start: &Start) -> Recycle {
    let flags = &start.replacing;
    Recycle { max_rss_bytes: flags.max_rss, ..flags.recycle.unwrap_or_default() }
}

fn health_check(start: &Start) -> HealthCheck {
    let default = HealthCheck::default();
    let flags = &start.replacing;
    let path = start.app.health_path.as_ref();
    HealthCheck {
        explicit: path.is_some(),
        path: path.cloned().unwrap_or(default.path),
        interval_ms: flags.health_interval_ms.map_or(default.interval_ms, whole_millis),
        timeout_ms: flags.health_timeout_ms.map_or(default.timeout_ms, whole_millis),
        unhealthy_threshold: flags.unhealthy_threshold.unwrap_or(default.unhealthy_threshold),
    }
}

fn timeouts(start: &Start, runtime: Runtime) -> AppTimeouts {
    let default = AppTimeouts::default();
    let flags = &start.deadlines;
    AppTimeouts {
        connect: flags.connect_timeout_ms.unwrap_or(default.connect),
        read: flags.read_timeout_ms.unwrap_or(default.read),
        queue: flags.queue_timeout_ms.unwrap_or(default.queue),
        start: flags.start_timeout_ms.unwrap_or(default.start),
        drain: flags.drain_timeout_ms.unwrap_or(default.drain),
        kill: flags.kill_timeout_ms.unwrap_or(default.kill),
        stuck: flags.stuck_timeout_ms.unwrap_or(default.stuck),
        turn: default.turn,
        // A server that is not ours may close an idle link at any moment; ours never does.
        keepalive: (!runtime.keeps_links()).then_some(limits::LINK_KEEPALIVE),
    }
}

fn edge_limits(start: &Start) -> EdgeLimits {
    EdgeLimits {
        body_bytes: start.edge.max_body.unwrap_or(limits::BODY_BYTES),
        connections: start.edge.max_connections,
        per_address: start.edge.max_connections_per_address,
        ..EdgeLimits::default()
    }
}

fn phases(start: &Start) -> Phases {
    let default = Phases::default();
    let flags = &start.deadlines;
    Phases {
        head: flags.head_timeout_ms.unwrap_or(default.head),
        body: flags.body_timeout_ms.unwrap_or(default.body),
        idle: flags.idle_timeout_ms.unwrap_or(default.idle),
        write: flags.write_timeout_ms.unwrap_or(default.write),
        linger: default.linger,
    }
}

fn spool_directory(start: &Start, world: &World) -> Result<Option<String>, Failure> {
    if let Some(given) = &start.edge.spool {
        let path = world.places.cwd.join(given);
        if !path.is_dir() {
            return Err(Failure::configuration(format!("--spool '{given}' is not a directory")));
        }
        return entry::text(&path).map(Some);
    }
    // Made by the init system for this service; it may list several.
    Ok(world
        .cache_directory
        .as_deref()
        .and_then(|paths| paths.split(':').find(|path| Path::new(path).is_dir()))
        .map(str::to_owned))
}

const TOKENS: &str = "tokens are w:N, c:N, r:N, http:PORT, https:PORT or a bare port";

#[cfg(test)]
mod tests;
