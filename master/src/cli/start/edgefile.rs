//! `start` with an Edgefile: flags stand above what it says, and what is about one app is said there.

use super::https::{self, Mode, Said};
use super::{Words, World, checked_name, fallback, name_after, sessions, workers};
use crate::cli::args::Start;
use crate::cli::entry;
use crate::cli::exit::Failure;
use crate::cli::port::{Protocol, are_given};
use rip::contract::config::Config;
use rip::contract::listen::ListenAddress;
use rip::contract::overrides::Overrides;
use rip::contract::settings::{Settings, Source};
use std::path::{Path, PathBuf};

/// What the file beside an entry is called.
pub const NAME: &str = "Edgefile";

/// The Edgefile that `start` means, if it means one: that of `--file`, else the one that is named, or
/// of the directory that is, or of the current one. Another file, a module or a command that is named is started
/// without.
///
/// # Errors
/// Words that would have to stand in the file.
pub fn named(start: &Start, world: &World) -> Result<Option<PathBuf>, Failure> {
    let cwd = &world.places.cwd;
    if let Some(file) = &start.edgefile.file {
        if let Some(word) = start.words.first() {
            return Err(Failure::usage(format!("'{word}' stands beside --file {file}"))
                .tip("the file says what is started: leave one of them out"));
        }
        if start.command.is_some() {
            return Err(Failure::usage(format!("a command stands beside --file {file}"))
                .tip("the file says what is started: leave one of them out"));
        }
        return Ok(Some(file_in(&cwd.join(file))));
    }
    if start.command.is_some() {
        return Ok(None);
    }
    let words = Words::sort(&start.words, false, &world.places)?;
    let place = cwd.join(words.entry.unwrap_or("."));
    let is_one = place.file_name().is_some_and(|name| name == NAME) && !place.is_dir();
    let path = if is_one { place } else { place.join(NAME) };
    // A link that leads nowhere is somebody's Edgefile all the same.
    if path.symlink_metadata().is_err() || path.is_dir() {
        return Ok(None);
    }
    let odd = |what: &str, tip: &str| {
        Err(Failure::usage(format!("{what} stands beside the Edgefile {}", path.display()))
            .tip(tip))
    };
    match (words.name, words.aliases) {
        (Some(name), _) => odd(
            &format!("the name '{name}'"),
            "apps are named there; the master's own name is that of --name",
        ),
        (None, Some(aliases)) => odd(
            &format!("'@{aliases}'"),
            "hosts are named there: hosts \"…\" in an app, or site \"…\"",
        ),
        (None, None) => Ok(Some(path)),
    }
}

/// `path`, or the Edgefile in it where it is a directory.
pub fn file_in(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(NAME) } else { path.to_owned() }
}

/// `path` as text, absolute, with links in it left as they are: the file may be exchanged by
/// another link.
///
/// # Errors
/// It is not UTF-8.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    entry::text(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// What flags and the environment say about what the file describes.
///
/// # Errors
/// Flags that are about one app, or that lack another one; rights that are missing.
pub fn overrides(start: &Start, world: &World) -> Result<Overrides, Failure> {
    refuse_flags_of_apps(start)?;
    let (edge, deadlines) = (&start.edge, &start.deadlines);
    let spool_dir = match edge.spool {
        Some(_) => super::spool_directory(start, world)?,
        None => None,
    };
    let workers = match start.app.workers {
        Some(_) => Some(workers(start, world)?),
        None => None,
    };
    let tls = https::flags(start, world)?;
    let listeners = listeners(start, world)?;
    Ok(Overrides {
        http: listeners.http,
        https: listeners.https,
        only: listeners.only,
        tls,
        user: edge.user.clone(),
        loops: edge.loops,
        body_bytes: edge.max_body,
        connections: edge.max_connections,
        per_address: edge.max_connections_per_address,
        rate_limit: edge.rate_limit,
        rate_window: edge.rate_limit_window,
        spool_dir,
        store: sessions::store(start, world)?,
        head_timeout: deadlines.head_timeout_ms,
        body_timeout: deadlines.body_timeout_ms,
        idle_timeout: deadlines.idle_timeout_ms,
        write_timeout: deadlines.write_timeout_ms,
        dashboard: Some(edge.dashboard.clone()).filter(|hosts| !hosts.is_empty()),
        access_log: start.output.no_access_log.then_some(false),
        json: start.output.json_logging.then_some(true),
        workers,
        concurrency: start.app.concurrency,
        max_queue: edge.max_queue,
        connect_timeout: deadlines.connect_timeout_ms,
        read_timeout: deadlines.read_timeout_ms,
        queue_timeout: deadlines.queue_timeout_ms,
        start_timeout: deadlines.start_timeout_ms,
        drain_timeout: deadlines.drain_timeout_ms,
        kill_timeout: deadlines.kill_timeout_ms,
        stuck_timeout: deadlines.stuck_timeout_ms,
        static_apps: start.changes.is_static,
    })
}

/// The settings of a master that serves `config`, which the Edgefile at `path` describes.
///
/// # Errors
/// `--name` is none.
pub fn settings(
    start: &Start,
    world: &World,
    path: &str,
    mut overrides: Overrides,
    mut config: Config,
) -> Result<Settings, Failure> {
    let name = match &start.app.name {
        Some(name) => checked_name(name)?,
        None => name_after(Path::new(path).parent()),
    };
    // The init system's directory stands below what the file says, and above the default.
    if overrides.spool_dir.is_none() && config.edge.spool_dir.is_none() {
        overrides.spool_dir = super::spool_directory(start, world)?;
    }
    let is_plain = config.edge.https.is_empty();
    overrides.apply(&mut config);
    if !config.edge.https.is_empty() {
        https::check_acme(&overrides.tls, &config.acme_hosts)?;
    }
    check_listeners(start, world, &config, is_plain)?;
    if config.edge.rate_limit.is_none() && overrides.rate_window.is_some() {
        return Err(super::window_alone());
    }
    if start.edge.port_fallback && !are_given() && fallback::settle(&mut config.edge)? {
        // Reloads listen there as well.
        overrides.http = Some(config.edge.http.clone());
        overrides.https = Some(config.edge.https.clone());
        overrides.only = None;
    }
    let state_dir = super::state_dir_of(world, config.edge.user.as_deref());
    Ok(Settings {
        name,
        config,
        source: Source::Edgefile {
            path: path.to_owned(),
            overrides: Box::new(overrides),
            watch: !start.changes.is_static && !start.edgefile.no_watch,
        },
        quiet: start.output.quiet,
        debug: start.output.debug,
        watch_poll: start.changes.watch_poll,
        publish_secret: super::publish_secret(start)?,
        state_dir,
    })
}

/// Those that flags name.
#[derive(Debug, Default)]
struct Listeners {
    http: Option<Vec<ListenAddress>>,
    https: Option<Vec<ListenAddress>>,
    only: Option<Vec<ListenAddress>>,
}

fn listeners(start: &Start, world: &World) -> Result<Listeners, Failure> {
    let said = Said::read(start, world)?;
    let at = |port: Option<u16>, protocol| {
        port.map(|port| https::addresses(Some(port), protocol, start, world)).transpose()
    };
    let http = at(said.http.or(said.env), Protocol::Http)?;
    let https = match said.mode {
        Mode::Plain => Some(Vec::new()),
        Mode::Secure | Mode::Either => at(said.https, Protocol::Https)?,
    };
    let only = at(said.bare, Protocol::Http)?;
    if http.is_none() && https.is_none() && only.is_none() && !start.edge.host.is_empty() {
        return Err(Failure::usage("--host needs a port where an Edgefile names the listeners")
            .tip("say it: http:8080"));
    }
    Ok(Listeners { http, https, only })
}

/// Listeners of file and flags together that cannot be; whether those of HTTPS `are_new` to the file.
fn check_listeners(
    start: &Start,
    world: &World,
    config: &Config,
    are_new: bool,
) -> Result<(), Failure> {
    let edge = &config.edge;
    let is_bare = !edge.https.is_empty() && !config.has_cert_source();
    if is_bare || (edge.https.is_empty() && start.https.https) {
        return Err(https::no_source());
    }
    if let Some(why) = config.listener_trouble() {
        return Err(Failure::usage(format!("together with these flags {why}"))
            .tip("name both: http:8080 https:8443"));
    }
    if are_new && !start.edge.port_fallback {
        for at in &edge.https {
            world.rights.check(at.port, Protocol::Https, &world.executable)?;
        }
    }
    Ok(())
}

fn refuse_flags_of_apps(start: &Start) -> Result<(), Failure> {
    let Start { app, restarts, replacing, changes, .. } = start;
    let given = [
        (app.select.is_some(), "--select", "select \"lifo\""),
        (app.runtime.is_some(), "--runtime", "runtime \"node\""),
        (app.listen.is_some(), "--listen", "listen \"port\""),
        (app.ready.is_some(), "--ready", "ready \"listen\""),
        (
            start.realtime.realtime_path.is_some(),
            "--realtime-path",
            "realtime \"/realtime\" app=\"NAME\"",
        ),
        (start.sessions.sessions, "--sessions", "sessions \"/v1\" app=\"NAME\""),
        (app.health_path.is_some(), "--health-path", "health-check path=\"/ready\""),
        (!app.env.is_empty(), "--env", "env KEY=\"value\""),
        (restarts.max_restarts.is_some(), "--max-restarts", "restart-policy max-restarts=10"),
        (
            restarts.restart_backoff_ms.is_some(),
            "--restart-backoff-ms",
            "restart-policy backoff=\"1s\"",
        ),
        (
            restarts.restart_window_ms.is_some(),
            "--restart-window-ms",
            "restart-policy window=\"60s\"",
        ),
        (replacing.recycle.is_some(), "--recycle", "recycle requests=20000 seconds=3600"),
        (replacing.max_rss.is_some(), "--max-rss", "recycle max-rss=\"512MiB\""),
        (replacing.surge.is_some(), "--surge", "surge 2"),
        (
            replacing.health_interval_ms.is_some(),
            "--health-interval-ms",
            "health-check interval=\"5s\"",
        ),
        (
            replacing.health_timeout_ms.is_some(),
            "--health-timeout-ms",
            "health-check timeout=\"2s\"",
        ),
        (
            replacing.unhealthy_threshold.is_some(),
            "--unhealthy-threshold",
            "health-check unhealthy-threshold=3",
        ),
        (changes.reload.is_some(), "--reload", "reload mode=\"process\""),
        (!changes.watch.is_empty(), "--watch", "watch \"*.py\""),
        (changes.max_reloads.is_some(), "--max-reloads", "reload max=10"),
        (changes.setup.is_some(), "--setup", "setup \"make\" \"css\""),
    ];
    match given.into_iter().find(|(is_given, ..)| *is_given) {
        None => Ok(()),
        Some((_, flag, node)) => Err(Failure::usage(format!(
            "{flag} is about one app, and with an Edgefile apps are described there"
        ))
        .tip(
            match ["realtime \"", "sessions \""].iter().any(|of_site| node.starts_with(of_site)) {
                true => format!("say it in a site: {node}"),
                false => format!("say it in the block of the app: {node}"),
            },
        )),
    }
}

#[cfg(test)]
mod tests;
