//! `route`: what is done with requests for a path.

use super::site::Names;
use super::{Bench, files};
use crate::contract::route::{
    Compress, HeaderChanges, HeaderRules, Methods, RouteAction, RouteTimeouts,
};
use crate::edgefile::kind::Typed;
use crate::edgefile::lexer::shown;
use crate::edgefile::span::Span;
use crate::edgefile::suggest::nearest;
use crate::edgefile::validate::{Checked, Given};
use crate::ids::AppId;
use std::collections::BTreeSet;

/// What a `route` says, whatever its host.
pub(super) struct Route {
    /// Where its pattern is.
    pub span: Span,
    pub path: String,
    pub pattern: String,
    pub methods: Methods,
    pub priority: Option<u32>,
    pub id: Option<(String, Span)>,
    /// `None` when what it says is wrong, which has been told.
    pub action: Option<RouteAction>,
    pub headers: Option<HeaderRules>,
    pub timeouts: RouteTimeouts,
    pub body_limit: Option<u64>,
    pub compress: Compress,
    pub stream_request: Option<bool>,
}

/// The route that `node` describes; `None` without a pattern. `around` is what its site says of
/// compressing.
pub(super) fn route(
    node: &Checked,
    names: &Names,
    around: Compress,
    bench: &mut Bench<'_, '_>,
) -> Option<Route> {
    let given = node.argument();
    let (action, headers) = action(node, names, given.and_then(Given::text), bench);
    let pattern = given?.text()?.to_owned();
    let methods = match node.property("methods") {
        Some(Given { typed: Typed::Methods(methods), .. }) => methods.clone(),
        _ => Methods::Any,
    };
    check_effects(node, action.as_ref(), bench);
    let compress = compress(node, around, bench);
    let id = node.property("id").and_then(|id| Some((id.text()?.to_owned(), id.span)));
    Some(Route {
        span: given?.span,
        path: node.path.clone(),
        pattern,
        methods,
        priority: node.property("priority").and_then(Given::small),
        id,
        action,
        headers,
        timeouts: node.child("timeouts").map(timeouts).unwrap_or_default(),
        body_limit: body_limit(node),
        compress,
        stream_request: node.child("stream-request").map(is_on),
    })
}

/// `connect`, `read` and `queue` of a `timeouts` node.
pub(super) fn timeouts(node: &Checked) -> RouteTimeouts {
    let get = |name| node.property(name).and_then(Given::duration);
    RouteTimeouts { connect: get("connect"), read: get("read"), queue: get("queue") }
}

/// What `limits` of a site or route says of bodies.
pub(super) fn body_limit(node: &Checked) -> Option<u64> {
    node.child("limits")?.property("body")?.number()
}

/// A node that says yes unless it says no.
pub(super) fn is_on(node: &Checked) -> bool {
    node.argument().and_then(Given::flag).unwrap_or(true)
}

/// What `compress` of a site or route says, in place of what is `around` it.
pub(super) fn compress(node: &Checked, around: Compress, bench: &mut Bench<'_, '_>) -> Compress {
    let Some(child) = node.child("compress") else { return around };
    let is_off = child.argument().and_then(Given::text) == Some("off");
    let streams = child.property("streams");
    if let Some(given) = streams.filter(|given| is_off && given.flag() == Some(true)) {
        let message = "\"off\" and streams=#true contradict";
        bench.report.error(given.span, &child.path, message, "leave one of them out");
    }
    let streams = streams.and_then(Given::flag).unwrap_or(around.streams);
    Compress { enabled: !is_off, streams: streams && !is_off }
}

/// Tells of what has no effect on requests that end as these do.
fn check_effects(node: &Checked, action: Option<&RouteAction>, bench: &mut Bench<'_, '_>) {
    let (idle, wanted): (&[&str], _) = match action {
        None | Some(RouteAction::ToApp { .. }) => return,
        Some(RouteAction::Proxy { .. }) => {
            (&["stream-request"], "`to-app`: `proxy` always does it")
        }
        Some(RouteAction::Static(_)) => {
            (&["timeouts", "limits", "stream-request"], "`to-app` or `proxy`")
        }
        Some(RouteAction::Headers(_) | RouteAction::Redirect { .. }) => {
            (&["timeouts", "limits", "compress", "stream-request"], "`to-app` or `proxy`")
        }
    };
    for child in idle.iter().filter_map(|name| node.child(name)) {
        let name = child.rule.name;
        let message = format!("`{name}` does nothing in a route without {wanted}");
        bench.report.warning(child.span, &child.path, message, "leave it out");
    }
    let timeouts =
        node.child("timeouts").filter(|_| matches!(action, Some(RouteAction::Proxy { .. })));
    if let Some((child, given)) = timeouts.and_then(|it| Some((it, it.property("queue")?))) {
        let message =
            "`queue` does nothing in a route with `proxy`: no request waits for an upstream";
        bench.report.warning(given.span, &child.path_to("queue"), message, "leave it out");
    }
}

/// The action, and header changes beside it.
fn action(
    node: &Checked,
    names: &Names,
    pattern: Option<&str>,
    bench: &mut Bench<'_, '_>,
) -> (Option<RouteAction>, Option<HeaderRules>) {
    let headers = node.child("headers").map(|headers| changes(headers, bench));
    let mut actions = node.children.iter().filter(|child| ACTIONS.contains(&child.rule.name));
    let Some(first) = actions.next() else {
        return match headers {
            Some(rules) => (Some(RouteAction::Headers(rules)), None),
            None if node.has_gaps => (None, None),
            None => {
                let message = "the route does nothing";
                let hint = "give it { to-app \"NAME\" }, or proxy, static or redirect";
                bench.report.error(node.span, &node.path, message, hint);
                (None, None)
            }
        };
    };
    if let Some(other) = actions.next() {
        let message =
            format!("a route does one thing: `{}` or `{}`", first.rule.name, other.rule.name);
        bench.report.error(other.span, &other.path, message, "make two routes of it");
        return (None, headers);
    }
    let action = match first.rule.name {
        "to-app" => to_app(first, &names.apps, bench),
        "proxy" => proxy(first, &names.upstreams, bench),
        "redirect" => redirect(first, pattern, bench),
        "static" => files::files(first, node, bench),
        _ => None,
    };
    (action, headers)
}

fn to_app(
    node: &Checked,
    apps: &BTreeSet<String>,
    bench: &mut Bench<'_, '_>,
) -> Option<RouteAction> {
    let app_id = app(node.argument()?, &node.path, apps, bench)?;
    Some(RouteAction::ToApp { app_id })
}

/// The app that is named.
pub(super) fn app(
    given: &Given,
    path: &str,
    apps: &BTreeSet<String>,
    bench: &mut Bench<'_, '_>,
) -> Option<AppId> {
    let name = given.text()?;
    if apps.contains(name) {
        return Some(AppId::new(name));
    }
    let hint = known(name, apps, "apps").unwrap_or_else(|| {
        let name = shown(name);
        format!("the file has no app: app \"{name}\" {{ entry \"…\" }}")
    });
    let message = format!("there is no app \"{}\"", shown(name));
    bench.report.error(given.span, path, message, hint);
    None
}

fn proxy(
    node: &Checked,
    upstreams: &BTreeSet<String>,
    bench: &mut Bench<'_, '_>,
) -> Option<RouteAction> {
    let given = node.argument()?;
    let name = given.text()?;
    // A URL is the upstream that it stands for.
    if upstreams.contains(name) || name.contains([':', '/']) {
        let host = node.property("host").and_then(Given::text).map(str::to_owned);
        return Some(RouteAction::Proxy { upstream: name.to_owned(), host });
    }
    let hint = known(name, upstreams, "upstreams").unwrap_or_else(|| {
        format!("the file has no upstream; a URL can stand here: proxy \"http://{}\"", shown(name))
    });
    let message = format!("there is no upstream \"{}\"", shown(name));
    bench.report.error(given.span, &node.path, message, hint);
    None
}

/// Which of the `names` was meant, or all of them; `None` without any.
fn known(name: &str, names: &BTreeSet<String>, noun: &str) -> Option<String> {
    if let Some(meant) = nearest(name, names.iter().take(MOST_COMPARED).map(String::as_str)) {
        return Some(format!("did you mean \"{meant}\"?"));
    }
    if names.is_empty() {
        return None;
    }
    let mut known: Vec<String> =
        names.iter().take(MOST_SHOWN).map(|name| format!("\"{name}\"")).collect();
    if names.len() > MOST_SHOWN {
        known.push("…".to_owned());
    }
    Some(format!("the {noun} are {}", known.join(", ")))
}

fn redirect(
    node: &Checked,
    pattern: Option<&str>,
    bench: &mut Bench<'_, '_>,
) -> Option<RouteAction> {
    let given = node.argument()?;
    let to = given.text()?;
    // What `{path}` stands for is the part that `*` took.
    let itself = pattern.map(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => format!("{prefix}{{path}}"),
        None => pattern.to_owned(),
    });
    if itself.is_some_and(|itself| to == itself || to == format!("{itself}?{{query}}")) {
        let message = "the redirect leads to where it stands: clients would go in circles";
        bench.report.error(given.span, &node.path, message, "choose another path or host");
        return None;
    }
    let status = node.property("status").and_then(Given::number).unwrap_or(FOUND);
    Some(RouteAction::Redirect { to: to.to_owned(), status: u16::try_from(status).ok()? })
}

fn changes(node: &Checked, bench: &mut Bench<'_, '_>) -> HeaderRules {
    let side = |name: &str, bench: &mut Bench<'_, '_>| {
        node.child(name).map(|side| fields(side, bench)).unwrap_or_default()
    };
    let request = side("request", bench);
    let response = side("response", bench);
    if request.is_empty() && response.is_empty() && !has_gaps(node) {
        let message = "`headers` changes nothing";
        let hint = "write headers { response { set X-Frame-Options=\"DENY\" } }";
        bench.report.error(node.span, &node.path, message, hint);
    }
    HeaderRules { response, request }
}

fn fields(side: &Checked, bench: &mut Bench<'_, '_>) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    let mut seen = BTreeSet::new();
    let mut told_twice = |name: &str, span: Span, path: &str, bench: &mut Bench<'_, '_>| {
        let is_first = seen.insert(name.to_ascii_lowercase());
        if !is_first {
            let message = format!("`{}` is changed twice", shown(name));
            bench.report.error(span, path, message, "leave one of them out");
        }
        !is_first
    };
    for node in &side.children {
        if node.rule.name == "set" {
            if node.free.is_empty() && !node.has_gaps {
                let hint = "write set X-Frame-Options=\"DENY\"";
                bench.report.error(node.span, &node.path, "`set` names no field", hint);
            }
            for field in &node.free {
                let path = node.path_to(&shown(&field.name));
                if !told_twice(&field.name, field.span, &path, bench) {
                    changes.set.push((field.name.clone(), field.value.clone()));
                }
            }
        } else {
            for (name, span) in node.texts() {
                if !told_twice(name, span, &node.path, bench) {
                    changes.remove.push(name.to_owned());
                }
            }
        }
    }
    changes
}

fn has_gaps(node: &Checked) -> bool {
    node.has_gaps || node.children.iter().any(has_gaps)
}

const ACTIONS: [&str; 4] = ["to-app", "redirect", "proxy", "static"];
const FOUND: u64 = 302;
const MOST_SHOWN: usize = 20;
/// With more names than this one is as near as the other.
const MOST_COMPARED: usize = 1000;
