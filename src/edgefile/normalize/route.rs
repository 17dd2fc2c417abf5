//! `route`: what is done with requests for a path.

use super::Bench;
use crate::contract::route::{HeaderChanges, HeaderRules, Methods, RouteAction, RouteTimeouts};
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
}

/// The route that `node` describes; `None` without a pattern.
pub(super) fn route(
    node: &Checked,
    apps: &BTreeSet<String>,
    bench: &mut Bench<'_, '_>,
) -> Option<Route> {
    let given = node.argument();
    let (action, headers) = action(node, apps, given.and_then(Given::text), bench);
    let pattern = given?.text()?.to_owned();
    let methods = match node.property("methods") {
        Some(Given { typed: Typed::Methods(methods), .. }) => methods.clone(),
        _ => Methods::Any,
    };
    check_effects(node, action.as_ref(), bench);
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

/// Tells of what is for requests to an app, in a route that sends none to any.
fn check_effects(node: &Checked, action: Option<&RouteAction>, bench: &mut Bench<'_, '_>) {
    let Some(RouteAction::Headers(_) | RouteAction::Redirect { .. }) = action else { return };
    for name in ["timeouts", "limits"] {
        if let Some(child) = node.child(name) {
            let message = format!("`{name}` does nothing in a route without `to-app`");
            bench.report.warning(child.span, &child.path, message, "leave it out");
        }
    }
}

/// The action, and header changes beside it.
fn action(
    node: &Checked,
    apps: &BTreeSet<String>,
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
                let hint = "give it { to-app \"NAME\" } or { redirect \"/…\" }";
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
        "to-app" => to_app(first, apps, bench),
        "redirect" => redirect(first, pattern, bench),
        // It is not served, which has been told.
        _ => None,
    };
    (action, headers)
}

fn to_app(
    node: &Checked,
    apps: &BTreeSet<String>,
    bench: &mut Bench<'_, '_>,
) -> Option<RouteAction> {
    let given = node.argument()?;
    let name = given.text()?;
    if apps.contains(name) {
        return Some(RouteAction::ToApp { app_id: AppId::new(name) });
    }
    let hint =
        if let Some(meant) = nearest(name, apps.iter().take(MOST_COMPARED).map(String::as_str)) {
            format!("did you mean \"{meant}\"?")
        } else if apps.is_empty() {
            format!("the file has no app: app \"{name}\" {{ entry \"…\" }}")
        } else {
            let mut known: Vec<String> =
                apps.iter().take(MOST_SHOWN).map(|app| format!("\"{app}\"")).collect();
            if apps.len() > MOST_SHOWN {
                known.push("…".to_owned());
            }
            format!("the apps are {}", known.join(", "))
        };
    let message = format!("there is no app \"{}\"", shown(name));
    bench.report.error(given.span, &node.path, message, hint);
    None
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
