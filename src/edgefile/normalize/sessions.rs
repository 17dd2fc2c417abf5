//! `sessions` and `store`: where durable sessions are served, and where they are kept.

use super::Bench;
use super::site::{self, Names};
use crate::contract::config::EdgeConfig;
use crate::contract::sessions::{OnDisconnect, SessionsConfig};
use crate::edgefile::kind::Typed;
use crate::edgefile::span::Span;
use crate::edgefile::validate::{Checked, Given};
use crate::ids::AppId;

/// The mounts of the site that `node` describes, which is known by `hosts`.
pub(super) fn mounts(
    node: &Checked,
    hosts: &[String],
    names: &Names,
    edge: &EdgeConfig,
    bench: &mut Bench<'_, '_>,
) -> Vec<SessionsConfig> {
    let mut found: Vec<SessionsConfig> = Vec::new();
    let mut seen: Vec<(SessionsConfig, Span)> = Vec::new();
    for mount in node.all("sessions") {
        let Some((path, span)) = mount.texts().next() else { continue };
        let app = site::app_of(mount, "which app runs their turns", names, bench);
        let word = |name| mount.property(name).and_then(Given::text);
        let sessions = SessionsConfig {
            hosts: hosts.to_vec(),
            mount: path.to_owned(),
            app_id: app.clone().unwrap_or_else(|| AppId::new("")),
            on_disconnect: match word("on-disconnect") {
                Some("cancel") => OnDisconnect::Cancel,
                _ => OnDisconnect::Continue,
            },
            websockets: mount.property("websockets").and_then(Given::flag).unwrap_or(true),
            origins: match mount.property("origins").map(|given| &given.typed) {
                Some(Typed::Texts(origins)) => origins.clone(),
                _ => Vec::new(),
            },
        };
        if let Some((first, at)) = seen.iter().find(|(other, _)| overlap(other, &sessions)) {
            let line = bench.report.line(*at);
            let message = match first.mount == sessions.mount {
                true => format!("the path {} is taken; first on line {line}", shown(path)),
                false => format!("its paths are in those of line {line}, or the other way round"),
            };
            bench.report.error(span, &mount.path, message, "choose another one");
            continue;
        }
        let mut own = edge.builtin.served().chain(edge.publish.path.as_deref());
        if let Some(own) = own.find(|own| sessions.owns(own)) {
            let message = format!("the server answers {own} itself");
            bench.report.error(span, &mount.path, message, "choose another one");
        }
        check_endpoints(node, &sessions, bench);
        seen.push((sessions.clone(), span));
        found.extend(app.map(|_| sessions));
    }
    found
}

/// The file that `node` names, absolute.
pub(super) fn store(node: &Checked, bench: &mut Bench<'_, '_>) -> Option<String> {
    let given = node.argument()?;
    let path = given.text()?;
    if path == MEMORY {
        return Some(path.to_owned());
    }
    if path.ends_with('/') || bench.machine.existing_directory(path).is_ok() {
        let message = format!("{path} is a directory");
        let hint =
            format!("name a file in it: store \"{}/sessions.db\"", path.trim_end_matches('/'));
        bench.report.error(given.span, &node.path, message, hint);
        return None;
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    Some(match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", bench.machine.directory().trim_end_matches('/')),
    })
}

/// Warns of a `store` in which nothing is kept.
pub(super) fn check_used(
    edge: Option<&Checked>,
    mounts: &[SessionsConfig],
    bench: &mut Bench<'_, '_>,
) {
    let store = edge.and_then(|edge| edge.child("store"));
    if let Some(store) = store.filter(|_| mounts.is_empty()) {
        let message = "no site has sessions: nothing is kept there";
        let hint = "give a site sessions \"/v1\", or leave `store` out";
        bench.report.warning(store.span, &store.path, message, hint);
    }
}

/// Both would serve some path.
fn overlap(one: &SessionsConfig, other: &SessionsConfig) -> bool {
    let within = |outer: &SessionsConfig, inner: &SessionsConfig| {
        outer.owns(&format!("{}/session", inner.mount))
    };
    within(one, other) || within(other, one)
}

/// Realtime of the same site where sessions are.
fn check_endpoints(site: &Checked, sessions: &SessionsConfig, bench: &mut Bench<'_, '_>) {
    for endpoint in site.all("realtime") {
        if let Some((path, span)) = endpoint.texts().next()
            && sessions.owns(path)
        {
            let mount = shown(&sessions.mount);
            let message = format!("{path} is a path of the sessions at {mount}");
            bench.report.error(span, &endpoint.path, message, "choose another one");
        }
    }
}

fn shown(mount: &str) -> &str {
    if mount.is_empty() { "/" } else { mount }
}

const MEMORY: &str = ":memory:";
