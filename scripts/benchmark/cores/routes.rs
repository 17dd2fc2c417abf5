//! From a host, a path and a method to a rule.

use crate::Core;
use rip::contract::route::{Methods, RouteAction, RouteRule};
use rip::ids::AppId;
use rip::route::path::{PathRoom, resolve};
use rip::route::{Found, Scratch, Table, host};
use std::hint::black_box;

pub fn cores() -> Vec<Core> {
    let mut cores = Vec::new();
    for (routes, hosts) in [(1, 1), (100, 10), (10_000, 1000)] {
        let rules: Vec<RouteRule> = (0..routes).map(|index| rule(index, hosts)).collect();
        // Another request each time: all kinds of rules, and not the same lines of memory.
        let requests: Vec<(String, String)> = (0..64)
            .map(|turn| turn * 7919 % routes)
            .map(|index| (host_name(index, hosts).to_uppercase() + ":8080", path(index)))
            .collect();
        let table = Table::new(&rules);
        let (mut scratch, mut normal) = (Scratch::new(), Vec::new());
        let mut room = PathRoom::new();
        let mut turn = 0;
        cores.push(Core::new("route", format!("find one of {routes} rules"), move || {
            turn = (turn + 1) % requests.len();
            let (authority, path) = &requests[turn];
            host::normalize(authority.as_bytes(), &mut normal);
            let found = table.find(&normal, path.as_bytes(), b"GET", &mut scratch);
            assert!(matches!(black_box(found), Found::Rule(_)));
        }));
        if routes == 1 {
            cores.push(Core::new("route", "resolve and decode a path", move || {
                let path = resolve(black_box(b"/a/./b/../caf%C3%A9/page"), &mut room);
                black_box(path.is_ok());
            }));
        }
    }
    cores
}

/// Exact paths, prefixes, stars and methods in turn.
fn rule(index: usize, hosts: usize) -> RouteRule {
    let pattern = match index % 4 {
        0 => format!("/service-{index}/*"),
        1 => format!("/service-{index}"),
        2 => format!("/service-{index}/users/*/items"),
        _ => format!("/api/v1/service-{index}/*"),
    };
    let methods = match index % 2 {
        0 => Methods::Any,
        _ => Methods::Only(vec!["GET".to_owned(), "POST".to_owned()]),
    };
    let action = RouteAction::ToApp { app_id: AppId::new("app") };
    let rule = RouteRule::new(&host_name(index, hosts), &pattern, action);
    RouteRule { id: index.to_string(), methods, priority: index as u32, ..rule }
}

fn path(index: usize) -> String {
    match index % 4 {
        0 => format!("/service-{index}/pages/17"),
        1 => format!("/service-{index}"),
        2 => format!("/service-{index}/users/17/items"),
        _ => format!("/api/v1/service-{index}/things/17"),
    }
}

fn host_name(index: usize, hosts: usize) -> String {
    format!("site-{}.example.com", index % hosts)
}
