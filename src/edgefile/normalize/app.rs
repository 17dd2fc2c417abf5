//! `app`: a program and the pool of its processes.

use super::Bench;
use super::hosts::once;
use crate::contract::app::{
    AppDescriptor, AppTimeouts, HealthCheck, Launch, Listen, ProcessLimits, REALTIME_PATH, Ready,
    Recycle, Reload, RestartPolicy, Runtime, Select, TURN_PATH,
};
use crate::contract::route::RouteTimeouts;
use crate::edgefile::kind::Typed;
use crate::edgefile::lexer::shown;
use crate::edgefile::surroundings::{Asked, Resolved};
use crate::edgefile::validate::{Checked, Given};
use crate::ids::AppId;
use crate::limits;
use std::collections::BTreeMap;

/// The app that `node` describes; `None` when it cannot be launched, which has been told.
pub(super) fn app(
    node: &Checked,
    edge: RouteTimeouts,
    bench: &mut Bench<'_, '_>,
) -> Option<AppDescriptor> {
    let name = node.argument().and_then(Given::text);
    let env = environment(node, bench);
    let resolved = resolve(node, &env, bench);
    let runtime = resolved.as_ref().map(|resolved| resolved.launch.runtime);
    let is_explicit = node.child("health-check").is_some_and(|it| it.property("path").is_some());
    let listen = listen(node, runtime, bench);
    let ready = ready(node, is_explicit, bench);
    let workers = workers(node, bench);
    let concurrency = small(node, "concurrency").unwrap_or(1);
    let whole = workers.saturating_mul(concurrency);
    let user = user(node, bench);
    let globs = resolved.as_ref().map(|resolved| resolved.watch.clone()).unwrap_or_default();
    let (reload, watch, max_reloads) = reload(node, runtime, globs, bench);
    let recycle = recycle(node);
    if let Some(limit) = node.child("recycle")
        && !limit.has_properties()
        && !limit.has_gaps
    {
        let hint = "write recycle requests=20000, or leave it out";
        bench.report.error(limit.span, &limit.path, "`recycle` says no limit", hint);
    }
    let by_default = if concurrency == 1 { Select::Lifo } else { Select::LeastInflight };
    let (hosts, prefixes) = (texts(node, "hosts"), texts(node, "prefixes"));
    let Resolved { shown, launch, .. } = resolved?;
    let listen = listen.unwrap_or(launch.listen);
    let launch = Launch {
        listen,
        ready: ready.unwrap_or(launch.ready),
        stop_signal: word(node, "stop-signal").map_or(launch.stop_signal, str::to_owned),
        setup: argv(node.child("setup")).or(launch.setup),
        ..launch
    };
    placeholders(node, &launch, bench);
    Some(AppDescriptor {
        id: AppId::new(name?),
        entry: shown,
        hosts,
        prefixes,
        workers,
        concurrency,
        max_queue: small(node, "max-queue").unwrap_or(limits::QUEUE_COUNT),
        max_inflight: small(node, "max-inflight").unwrap_or(whole).min(whole),
        select: match word(node, "select") {
            Some("lifo") => Select::Lifo,
            Some(_) => Select::LeastInflight,
            None => by_default,
        },
        env,
        restart_policy: restart_policy(node),
        health_check: health_check(node),
        recycle: Recycle { reloads: recycle.reloads.or(max_reloads), ..recycle },
        surge: match node.child("surge").and_then(Checked::argument) {
            Some(Given { typed: Typed::Surge(surge), .. }) => *surge,
            _ => Default::default(),
        },
        reload,
        watch,
        timeouts: timeouts(node, edge, launch.runtime),
        stream_request: node.child("stream-request").is_some_and(super::route::is_on),
        spool_response_bytes: None,
        realtime_path: node
            .child("realtime-path")
            .and_then(|path| path.argument()?.text())
            .unwrap_or(REALTIME_PATH)
            .to_owned(),
        turn_path: node
            .child("turn-path")
            .and_then(|path| path.argument()?.text())
            .unwrap_or(TURN_PATH)
            .to_owned(),
        user,
        limits: process_limits(node),
        launch,
    })
}

/// The variables of all `env` nodes.
fn environment(node: &Checked, bench: &mut Bench<'_, '_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for block in node.all("env") {
        if block.free.is_empty() && !block.has_gaps {
            let hint = "write env NAME=\"value\", or leave it out";
            bench.report.error(block.span, &block.path, "`env` names no variable", hint);
        }
        for variable in &block.free {
            if env.insert(variable.name.clone(), variable.value.clone()).is_some() {
                let name = shown(&variable.name);
                let path = block.path_to(&name);
                let message = format!("the variable {name} is set twice");
                bench.report.error(variable.span, &path, message, "leave one of them out");
            }
        }
    }
    env
}

fn resolve(
    node: &Checked,
    env: &BTreeMap<String, String>,
    bench: &mut Bench<'_, '_>,
) -> Option<Resolved> {
    let runtime = node.child("runtime").and_then(Checked::argument);
    let cwd = node.child("cwd").and_then(Checked::argument);
    let mut may_ask = !node.child("runtime").is_some_and(|it| it.has_gaps);
    if let (Some(given), Some(child)) = (cwd, node.child("cwd"))
        && let Some(path) = given.text()
    {
        may_ask &= bench.directory(path, Some(given), child).is_some();
    }
    let asked = Asked {
        runtime: runtime.and_then(Given::text),
        cwd: cwd.and_then(Given::text),
        env: Some(env),
        has_setup: node.child("setup").is_some(),
    };
    match (node.child("entry"), node.child("command")) {
        (None, None) => {
            if !node.has_gaps {
                let message = "the app has neither `entry` nor `command`";
                let hint = "write entry \"./app.py\", or command \"gunicorn\" \"app:app\"";
                bench.report.error(node.span, &node.path, message, hint);
            }
            None
        }
        (Some(_), Some(command)) => {
            let message = "`entry` and `command` stand beside each other";
            bench.report.error(command.span, &command.path, message, "leave one of them out");
            None
        }
        (Some(entry), None) => {
            let given = entry.argument()?;
            let word = given.text()?;
            let found = may_ask.then(|| bench.machine.entry(word, &asked))?;
            bench.taken(found, given.span, &entry.path)
        }
        (None, Some(command)) => {
            if let Some(given) = runtime.filter(|given| given.text() != Some("command")) {
                let path = format!("{} › runtime", node.path);
                let message = "a `command` has no other runtime than \"command\"";
                bench.report.error(given.span, &path, message, "leave `runtime` out");
                may_ask = false;
            }
            let argv = argv(Some(command))?;
            let program = command.argument()?;
            if argv.first().is_none_or(String::is_empty) {
                let hint = "write command \"gunicorn\" \"app:app\"";
                bench.report.error(program.span, &command.path, "the program has no name", hint);
                return None;
            }
            let found = may_ask.then(|| bench.machine.command(&argv, &asked))?;
            bench.taken(found, program.span, &command.path)
        }
    }
}

fn listen(node: &Checked, runtime: Option<Runtime>, bench: &mut Bench<'_, '_>) -> Option<Listen> {
    let child = node.child("listen")?;
    let given = child.argument()?;
    if runtime.is_some_and(|runtime| runtime.listens().is_some()) {
        let message = "`listen` is for a `command`";
        let hint = "leave it out: apps that are started by their entry are given their socket";
        bench.report.error(given.span, &child.path, message, hint);
    }
    Some(match given.text()? {
        "path" => Listen::Path,
        "port" => Listen::Port,
        _ => Listen::Fd,
    })
}

fn ready(node: &Checked, is_explicit: bool, bench: &mut Bench<'_, '_>) -> Option<Ready> {
    let child = node.child("ready")?;
    let given = child.argument()?;
    if given.text()? != "listen" {
        return Some(Ready::Http);
    }
    if is_explicit {
        let message = "the path of `health-check` is never asked with ready \"listen\"";
        bench.report.error(given.span, &child.path, message, "leave one of them out");
    }
    Some(Ready::Listen)
}

/// A placeholder that would reach the command as it stands, or name a socket that is not there.
fn placeholders(node: &Checked, launch: &Launch, bench: &mut Bench<'_, '_>) {
    let Some(command) = node.child("command").filter(|_| launch.runtime == Runtime::Command) else {
        return;
    };
    for (placeholder, listen, word) in [
        ("{fd}", Listen::Fd, "fd"),
        ("{socket}", Listen::Path, "path"),
        ("{port}", Listen::Port, "port"),
    ] {
        let found = command.texts().find(|(text, _)| text.contains(placeholder));
        if let Some((_, span)) = found.filter(|_| launch.listen != listen) {
            let message = format!("{placeholder} needs listen \"{word}\"");
            let hint = format!("add the line listen \"{word}\" to the app");
            bench.report.error(span, &command.path, message, hint);
        }
    }
}

fn workers(node: &Checked, bench: &Bench<'_, '_>) -> u32 {
    let cores = bench.machine.cores().max(1);
    match node.child("workers").and_then(Checked::argument) {
        Some(Given { typed: Typed::Word("half"), .. }) => (cores / 2).max(1),
        Some(given) => given.small().unwrap_or(cores.max(2)),
        None => cores.max(2),
    }
}

/// Who `node` says that processes run as.
pub(super) fn user(node: &Checked, bench: &mut Bench<'_, '_>) -> Option<String> {
    let child = node.child("user")?;
    let given = child.argument()?;
    let name = given.text()?;
    let known = bench.machine.user(name);
    bench.taken(known, given.span, &child.path)?;
    Some(name.to_owned())
}

/// What a change does, which files matter, and reloads before a worker is replaced.
fn reload(
    node: &Checked,
    runtime: Option<Runtime>,
    by_default: Vec<String>,
    bench: &mut Bench<'_, '_>,
) -> (Reload, Vec<String>, Option<u32>) {
    let child = node.child("reload");
    let mode = match child.and_then(|it| it.property("mode")?.text()) {
        Some("module") => Reload::Module,
        Some("process") => Reload::Process,
        _ => Reload::None,
    };
    let watched = texts(node, "watch");
    let max = child.and_then(|it| it.property("max"));
    if let (Some(child), Some(max)) = (child, max.filter(|_| mode != Reload::Module)) {
        let message = "`max` is for mode=\"module\"";
        let hint = "leave it out, or write reload mode=\"module\" max=…";
        bench.report.error(max.span, &child.path_to("max"), message, hint);
    }
    if let Some(child) = child.filter(|it| it.property("mode").is_none() && !it.has_gaps) {
        let hint = "write reload mode=\"process\"";
        bench.report.error(child.span, &child.path, "`reload` needs mode=", hint);
    }
    if mode == Reload::None {
        if let Some(watch) = node.child("watch")
            && !child.is_some_and(|it| it.has_gaps)
        {
            let message = "`watch` does nothing without `reload`";
            let hint = "add reload mode=\"process\", or leave it out";
            bench.report.warning(watch.span, &watch.path, message, hint);
        }
        return (mode, Vec::new(), None);
    }
    if let (Some(child), Some(runtime)) = (child, runtime) {
        let given = child.property("mode").map_or(child.span, |given| given.span);
        if mode == Reload::Module && !runtime.reloads_modules() {
            let message = "mode=\"module\" is for Python and Node apps";
            let hint = "mode=\"process\" replaces the workers of any app";
            bench.report.error(given, &child.path_to("mode"), message, hint);
        } else if watched.is_empty() && by_default.is_empty() && node.child("watch").is_none() {
            let message = "which files of this app matter is not known";
            bench.report.error(given, &child.path, message, "name them: watch \"*.js\" \"*.json\"");
        }
    }
    let watch = if watched.is_empty() { by_default } else { watched };
    let reloads = max.and_then(Given::small).unwrap_or(MAX_RELOADS);
    (mode, watch, (mode == Reload::Module).then_some(reloads))
}

fn recycle(node: &Checked) -> Recycle {
    let Some(node) = node.child("recycle") else { return Recycle::default() };
    Recycle {
        requests: node.property("requests").and_then(Given::number),
        seconds: node.property("seconds").and_then(Given::number),
        reloads: node.property("reloads").and_then(Given::small),
        max_rss_bytes: node.property("max-rss").and_then(Given::number),
    }
}

fn restart_policy(node: &Checked) -> RestartPolicy {
    let default = RestartPolicy::default();
    let Some(node) = node.child("restart-policy") else { return default };
    RestartPolicy {
        max_restarts: node
            .property("max-restarts")
            .and_then(Given::small)
            .unwrap_or(default.max_restarts),
        backoff_ms: millis(node, "backoff").unwrap_or(default.backoff_ms),
        window_ms: millis(node, "window").unwrap_or(default.window_ms),
    }
}

fn health_check(node: &Checked) -> HealthCheck {
    let default = HealthCheck::default();
    let Some(node) = node.child("health-check") else { return default };
    let path = node.property("path").and_then(Given::text);
    HealthCheck {
        explicit: path.is_some(),
        path: path.map_or(default.path, str::to_owned),
        interval_ms: millis(node, "interval").unwrap_or(default.interval_ms),
        timeout_ms: millis(node, "timeout").unwrap_or(default.timeout_ms),
        unhealthy_threshold: node
            .property("unhealthy-threshold")
            .and_then(Given::small)
            .unwrap_or(default.unhealthy_threshold),
    }
}

fn timeouts(node: &Checked, edge: RouteTimeouts, runtime: Runtime) -> AppTimeouts {
    let default = AppTimeouts::default();
    let child = node.child("timeouts");
    let get = |name| child.and_then(|child| child.property(name)?.duration());
    let keepalive = match node.child("keepalive").and_then(Checked::argument) {
        // Another server may close an idle connection at any moment; ours never does.
        None => (!runtime.keeps_links()).then_some(limits::LINK_KEEPALIVE),
        Some(given) => given.duration(),
    };
    AppTimeouts {
        connect: get("connect").or(edge.connect).unwrap_or(default.connect),
        read: get("read").or(edge.read).unwrap_or(default.read),
        queue: get("queue").or(edge.queue).unwrap_or(default.queue),
        start: get("start").unwrap_or(default.start),
        drain: get("drain").unwrap_or(default.drain),
        kill: get("kill").unwrap_or(default.kill),
        stuck: get("stuck").unwrap_or(default.stuck),
        turn: get("turn").unwrap_or(default.turn),
        keepalive,
    }
}

fn process_limits(node: &Checked) -> ProcessLimits {
    let Some(node) = node.child("limits") else { return ProcessLimits::default() };
    let get = |name| node.property(name).and_then(Given::number);
    ProcessLimits {
        memory_bytes: get("memory"),
        files: get("files"),
        processes: get("processes"),
        core_bytes: get("core"),
    }
}

fn small(node: &Checked, name: &str) -> Option<u32> {
    node.child(name)?.argument()?.small()
}

fn word<'a>(node: &'a Checked, name: &str) -> Option<&'a str> {
    node.child(name)?.argument()?.text()
}

fn millis(node: &Checked, name: &str) -> Option<u64> {
    let duration = node.property(name)?.duration()?;
    Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn argv(node: Option<&Checked>) -> Option<Vec<String>> {
    Some(node?.texts().map(|(text, _)| text.to_owned()).collect())
}

/// The texts of all nodes called `name`, each once.
fn texts(node: &Checked, name: &str) -> Vec<String> {
    once(node, name).into_iter().map(|(text, _)| text.to_owned()).collect()
}

/// Reloads leave something behind each time.
const MAX_RELOADS: u32 = 10;
