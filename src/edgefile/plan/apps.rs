//! What becomes of an app, by what each of its fields means.

use super::{AppChange, Fate, Names, Scale, sorted};
use crate::contract::app::{AppDescriptor, AppTimeouts, HealthCheck, Launch};
use crate::contract::config::Config;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of the apps of both, and of those of either.
pub(super) fn app_changes(old: &Config, new: &Config) -> Vec<AppChange> {
    let before: BTreeMap<_, _> = old.apps.iter().map(|app| (&app.id, app)).collect();
    let after: BTreeSet<_> = new.apps.iter().map(|app| &app.id).collect();
    let present = new.apps.iter().map(|app| AppChange {
        app: app.id.clone(),
        fate: before.get(&app.id).map_or(Fate::Started, |old| fate_of_app(old, app)),
    });
    let removed = old
        .apps
        .iter()
        .filter(|app| !after.contains(&app.id))
        .map(|app| AppChange { app: app.id.clone(), fate: Fate::Removed });
    present.chain(removed).collect()
}

/// What becomes of an app of both configurations.
fn fate_of_app(old: &AppDescriptor, new: &AppDescriptor) -> Fate {
    let AppDescriptor {
        id: _,
        entry,
        hosts,
        prefixes,
        workers,
        concurrency,
        max_queue,
        max_inflight,
        select,
        env,
        restart_policy,
        health_check,
        recycle,
        surge,
        reload,
        watch,
        timeouts,
        stream_request,
        spool_response_bytes,
        realtime_path,
        turn_path,
        user,
        limits,
        launch,
    } = old;
    let HealthCheck { path, interval_ms, timeout_ms, unhealthy_threshold, explicit } = health_check;
    let Launch { runtime, argv, cwd, listen, ready, stop_signal, setup } = launch;

    let mut born = Names::default();
    born.note("entry", *entry != new.entry);
    born.note("runtime", *runtime != new.launch.runtime);
    born.note("argv", *argv != new.launch.argv);
    born.note("cwd", *cwd != new.launch.cwd);
    born.note("listen", *listen != new.launch.listen);
    born.note("readyBy", *ready != new.launch.ready);
    born.note("stopSignal", *stop_signal != new.launch.stop_signal);
    born.note("setup", *setup != new.launch.setup);
    // The process is told at its birth, and arranges itself for being reloaded within.
    born.note("reload", *reload != new.reload);
    born.note("user", *user != new.user);
    born.note("limits", *limits != new.limits);
    born.note("healthCheck.path", *path != new.health_check.path);
    born.note("healthCheck.explicit", *explicit != new.health_check.explicit);
    let variables: BTreeSet<_> = env.keys().chain(new.env.keys()).collect();
    for name in variables {
        born.note(&format!("env.{name}"), env.get(name) != new.env.get(name));
    }
    if !born.0.is_empty() {
        return Fate::Replaced { because: born.0 };
    }

    let mut tuned = Names::default();
    tuned.note("hosts", sorted(hosts) != sorted(&new.hosts));
    tuned.note("prefixes", sorted(prefixes) != sorted(&new.prefixes));
    tuned.note("concurrency", *concurrency != new.concurrency);
    tuned.note("maxQueue", *max_queue != new.max_queue);
    let follows = follows_workers(old) && follows_workers(new) && *concurrency == new.concurrency;
    tuned.note("maxInflight", *max_inflight != new.max_inflight && !follows);
    tuned.note("select", *select != new.select);
    tuned.note("restartPolicy", *restart_policy != new.restart_policy);
    tuned.note("healthCheck.intervalMs", *interval_ms != new.health_check.interval_ms);
    tuned.note("healthCheck.timeoutMs", *timeout_ms != new.health_check.timeout_ms);
    let threshold = new.health_check.unhealthy_threshold;
    tuned.note("healthCheck.unhealthyThreshold", *unhealthy_threshold != threshold);
    tuned.note("recycle", *recycle != new.recycle);
    tuned.note("surge", *surge != new.surge);
    tuned.note("streamRequest", *stream_request != new.stream_request);
    tuned.note("spoolResponseBytes", *spool_response_bytes != new.spool_response_bytes);
    tuned.note("realtimePath", *realtime_path != new.realtime_path);
    tuned.note("turnPath", *turn_path != new.turn_path);
    tuned.note("watch", sorted(watch) != sorted(&new.watch));
    note_timeouts(timeouts, &new.timeouts, &mut tuned);
    let scaled = (*workers != new.workers).then_some(Scale { from: *workers, to: new.workers });
    match scaled {
        _ if !tuned.0.is_empty() => Fate::Retuned { what: tuned.0, scaled },
        Some(scale) => Fate::Scaled(scale),
        None => Fate::Same,
    }
}

fn note_timeouts(old: &AppTimeouts, new: &AppTimeouts, tuned: &mut Names) {
    let AppTimeouts { connect, read, queue, start, drain, kill, stuck, turn, keepalive } = old;
    tuned.note("timeouts.connectMs", *connect != new.connect);
    tuned.note("timeouts.readMs", *read != new.read);
    tuned.note("timeouts.queueMs", *queue != new.queue);
    tuned.note("timeouts.startMs", *start != new.start);
    tuned.note("timeouts.drainMs", *drain != new.drain);
    tuned.note("timeouts.killMs", *kill != new.kill);
    tuned.note("timeouts.stuckMs", *stuck != new.stuck);
    tuned.note("timeouts.turnMs", *turn != new.turn);
    tuned.note("timeouts.keepaliveMs", *keepalive != new.keepalive);
}

/// The app may have as many requests in flight as its workers take.
fn follows_workers(app: &AppDescriptor) -> bool {
    app.max_inflight == app.workers.saturating_mul(app.concurrency)
}
