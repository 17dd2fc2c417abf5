//! `realtime` and `publish`: WebSocket endpoints whose app hears of them by HTTP.

use super::Bench;
use super::site::{self, Names};
use crate::contract::app::AppDescriptor;
use crate::contract::attempt::AttemptCode;
use crate::contract::config::EdgeConfig;
use crate::contract::realtime::{HistoryRule, MessageRate, PublishConfig, RealtimeConfig};
use crate::edgefile::kind::Typed;
use crate::edgefile::span::Span;
use crate::edgefile::surroundings::Trouble;
use crate::edgefile::validate::{Checked, Given};
use crate::limits;
use std::collections::BTreeMap;

/// The endpoints of the site that `node` describes, which is known by `hosts`.
pub(super) fn endpoints(
    node: &Checked,
    hosts: &[String],
    names: &Names,
    edge: &EdgeConfig,
    bench: &mut Bench<'_, '_>,
) -> Vec<RealtimeConfig> {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    let mut found = Vec::new();
    for endpoint in node.all("realtime") {
        let Some((path, span)) = endpoint.texts().next() else { continue };
        if let Some(first) = seen.insert(path, span) {
            let line = bench.report.line(first);
            let message = format!("the path {path} is taken; first on line {line}");
            bench.report.error(span, &endpoint.path, message, "choose another one");
            continue;
        }
        if edge.builtin.served().chain(edge.publish.path.as_deref()).any(|own| own == path) {
            let message = format!("the server answers {path} itself");
            bench.report.error(span, &endpoint.path, message, "choose another one");
        }
        let app = site::app_of(endpoint, "which app hears of it", names, bench);
        let secret = secret(endpoint, "publish-secret-file", bench);
        let history = history(endpoint, bench);
        let Some(app_id) = app else { continue };
        let number = |name| endpoint.property(name).and_then(Given::small);
        let usual = MessageRate::default();
        let per_sec = number("rate").unwrap_or(usual.per_sec);
        found.push(RealtimeConfig {
            hosts: hosts.to_vec(),
            path: path.to_owned(),
            app_id,
            // Known when all apps are read.
            app_path: String::new(),
            explicit: true,
            origins: match endpoint.property("origins").map(|given| &given.typed) {
                Some(Typed::Texts(origins)) => origins.clone(),
                _ => Vec::new(),
            },
            history,
            lossy: endpoint.all("lossy").flat_map(groups).map(|(group, _)| group).collect(),
            max_message_bytes: endpoint
                .property("max-message")
                .and_then(Given::number)
                .unwrap_or(limits::WS_MESSAGE_BYTES),
            rate: MessageRate {
                per_sec,
                // Who may send so many in a second may send them at once.
                burst: number("burst").unwrap_or(usual.burst.max(per_sec)),
            },
            publish_secret_file: secret,
        });
    }
    found
}

/// Has each endpoint tell its app where that app wants to hear of it.
pub(super) fn lead(endpoints: &mut [RealtimeConfig], apps: &[AppDescriptor]) {
    for endpoint in endpoints {
        if let Some(app) = apps.iter().find(|app| app.id == endpoint.app_id) {
            endpoint.app_path.clone_from(&app.realtime_path);
        }
    }
}

/// Who may publish, as `node` says.
pub(super) fn publish(node: &Checked, bench: &mut Bench<'_, '_>) -> PublishConfig {
    let secret_file = secret(node, "secret-file", bench);
    let open = node.property("open");
    if let (Some(open), Some(_)) = (open.filter(|it| it.flag() == Some(true)), &secret_file) {
        let hint = "leave one of them out";
        bench.report.error(open.span, &node.path, "`open` and a secret contradict", hint);
    }
    if !node.has_properties() && !node.has_gaps {
        let hint = "write publish secret-file=\"secret.txt\", or leave it out";
        bench.report.error(node.span, &node.path, "`publish` says nothing", hint);
    }
    let open = open.and_then(Given::flag).unwrap_or_default();
    PublishConfig { secret_file, open, ..PublishConfig::default() }
}

/// Groups each once: of several rules the first counts.
fn history(node: &Checked, bench: &mut Bench<'_, '_>) -> Vec<HistoryRule> {
    let mut rules: Vec<HistoryRule> = Vec::new();
    for rule in node.all("history") {
        let messages = rule.property("messages").and_then(Given::small);
        let ttl = rule.property("ttl").and_then(Given::duration);
        for (pattern, span) in groups(rule) {
            if rules.iter().any(|known| known.pattern == pattern) {
                let message = format!("the group {pattern} has a history already");
                bench.report.error(span, &rule.path, message, "leave one of them out");
                continue;
            }
            rules.push(HistoryRule {
                pattern,
                messages: messages.unwrap_or(limits::HISTORY_MESSAGE_COUNT),
                ttl: ttl.unwrap_or(limits::HISTORY_TTL),
            });
        }
    }
    rules
}

fn groups(node: &Checked) -> impl Iterator<Item = (String, Span)> {
    node.texts().map(|(group, span)| (group.to_owned(), span))
}

/// The absolute path of a file with a secret; that others may read it is told.
fn secret(node: &Checked, name: &str, bench: &mut Bench<'_, '_>) -> Option<String> {
    let given = node.property(name)?;
    let found = bench.machine.secret_file(given.text()?);
    let found = found.map_err(|trouble| Trouble { code: AttemptCode::Invalid, ..trouble });
    let (path, by_others) = bench.taken(found, given.span, &node.path_to(name))?;
    if by_others {
        let message = format!("others may read the secret in {path}");
        let hint = format!("chmod o-r {path}");
        bench.report.warning(given.span, &node.path_to(name), message, hint);
    }
    Some(path)
}
