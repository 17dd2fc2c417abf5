//! Rules in few words.

use rip::contract::route::{HeaderRules, Methods, RouteAction, RouteRule};
use rip::ids::AppId;
use rip::route::host;
use rip::route::{Found, Scratch, Table};

/// `[METHODS ]host/pattern`, as ids are written, to an app.
pub fn rule(id: &str) -> RouteRule {
    let (methods, place) = id.split_once(' ').map_or((Methods::Any, id), |(methods, place)| {
        (Methods::Only(methods.split(',').map(str::to_owned).collect()), place)
    });
    let (host, _) = place.split_once('/').expect("a rule has a path");
    RouteRule {
        id: id.to_owned(),
        host: host.to_owned(),
        path_pattern: place[host.len()..].to_owned(),
        methods,
        action: RouteAction::ToApp { app_id: AppId::new("app") },
        priority: 0,
        explicit: false,
        headers: None,
        timeouts: None,
        body_limit: None,
        line: None,
    }
}

/// The same with an explicit priority.
pub fn prior(id: &str, priority: u32) -> RouteRule {
    RouteRule { priority, explicit: true, ..rule(id) }
}

/// A rule that only changes headers.
pub fn headers(id: &str) -> RouteRule {
    RouteRule { action: RouteAction::Headers(HeaderRules::default()), ..rule(id) }
}

pub fn rules(ids: &[&str]) -> Vec<RouteRule> {
    let mut rules: Vec<RouteRule> = ids.iter().map(|id| rule(id)).collect();
    for (index, rule) in rules.iter_mut().enumerate() {
        rule.priority = index as u32;
    }
    rules
}

/// What the table says of `METHOD host/path`: the winner's id, `405 Allow`, `404` or `host`.
pub fn ask(table: &Table, rules: &[RouteRule], request: &str) -> String {
    let (method, place) = request.split_once(' ').expect("a method");
    let (authority, _) = place.split_once('/').expect("a path");
    let mut normal = Vec::new();
    host::normalize(authority.as_bytes(), &mut normal);
    let mut scratch = Scratch::new();
    let path = &place.as_bytes()[authority.len()..];
    match table.find(&normal, path, method.as_bytes(), &mut scratch) {
        Found::Rule(index) => rules[index].id.clone(),
        Found::MethodNotAllowed => format!("405 {}", String::from_utf8_lossy(scratch.allow())),
        Found::NoRoute => "404".to_owned(),
        Found::UnknownHost => "host".to_owned(),
    }
}
