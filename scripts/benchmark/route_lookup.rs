//! Nanoseconds per lookup in the route table, as a Markdown table:
//! `cargo run --release -p rip --example route_lookup`.

#![allow(clippy::disallowed_methods, reason = "it measures")]

use rip::contract::route::{Methods, RouteAction, RouteRule};
use rip::entropy::{Entropy, Xoshiro};
use rip::ids::AppId;
use rip::route::path::{PathRoom, resolve};
use rip::route::{Found, Scratch, Table, host};
use std::time::{Duration, Instant};

const ROUTES: [usize; 4] = [1, 100, 1_000, 10_000];
const HOSTS: [usize; 3] = [1, 200, 1_000];
const REQUEST_COUNT: usize = 4096;
const TURN_COUNT: usize = 50;
const ROUND_COUNT: usize = 7;

fn main() {
    println!("| routes | hosts | found, ns | not found, ns | from the wire, ns | built in, ms |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for routes in ROUTES {
        for hosts in HOSTS.into_iter().filter(|hosts| *hosts <= routes) {
            let rules: Vec<RouteRule> = (0..routes).map(|index| rule(index, hosts)).collect();
            let began = Instant::now();
            let table = Table::new(&rules);
            let built = began.elapsed();
            let mut random = Xoshiro::new(1);
            let mut below = |bound: usize| random.below(bound as u64) as usize;
            let found: Vec<_> = (0..REQUEST_COUNT)
                .map(|_| below(routes))
                .map(|index| (host_name(index, hosts), path(index), Some(index)))
                .collect();
            let missed: Vec<_> = (0..REQUEST_COUNT)
                .map(|_| {
                    (host_name(below(routes), hosts), format!("/none/{}", below(routes)), None)
                })
                .collect();
            println!(
                "| {routes} | {hosts} | {:.0} | {:.0} | {:.0} | {:.1} |",
                per_request(&found, |request, scratch, _| find(&table, request, scratch)),
                per_request(&missed, |request, scratch, _| find(&table, request, scratch)),
                per_request(&found, |request, scratch, room| {
                    let (normal, path) = room;
                    host::normalize(request.0.as_bytes(), normal);
                    let path = resolve(request.1.as_bytes(), path).unwrap_or_default();
                    table.find(normal, path, b"GET", scratch)
                }),
                built.as_secs_f64() * 1e3,
            );
        }
    }
}

/// Host, path, and the rule that must win.
type Request = (String, String, Option<usize>);

fn find(table: &Table, request: &Request, scratch: &mut Scratch) -> Found {
    table.find(request.0.as_bytes(), request.1.as_bytes(), b"GET", scratch)
}

fn per_request(
    requests: &[Request],
    look: impl Fn(&Request, &mut Scratch, &mut (Vec<u8>, PathRoom)) -> Found,
) -> f64 {
    let (mut scratch, mut room) = (Scratch::new(), (Vec::new(), PathRoom::new()));
    let mut best = Duration::MAX;
    for _ in 0..ROUND_COUNT {
        let began = Instant::now();
        for _ in 0..TURN_COUNT {
            for request in requests {
                let expected = request.2.map_or(Found::NoRoute, Found::Rule);
                assert_eq!(look(request, &mut scratch, &mut room), expected);
            }
        }
        best = best.min(began.elapsed());
    }
    best.as_nanos() as f64 / (TURN_COUNT * requests.len()) as f64
}

/// Exact paths, prefixes, stars and methods in turn.
fn rule(index: usize, hosts: usize) -> RouteRule {
    let path_pattern = match index % 4 {
        0 => format!("/service-{index}"),
        1 => format!("/service-{index}/*"),
        2 => format!("/service-{index}/users/*/items"),
        _ => format!("/api/v1/service-{index}/*"),
    };
    RouteRule {
        id: index.to_string(),
        host: host_name(index, hosts),
        path_pattern,
        methods: match index % 2 {
            0 => Methods::Any,
            _ => Methods::Only(vec!["GET".to_owned(), "POST".to_owned()]),
        },
        action: RouteAction::ToApp { app_id: AppId::new("app") },
        priority: index as u32,
        explicit: false,
        headers: None,
        timeouts: None,
        body_limit: None,
        line: None,
    }
}

fn path(index: usize) -> String {
    match index % 4 {
        0 => format!("/service-{index}"),
        1 => format!("/service-{index}/pages/17"),
        2 => format!("/service-{index}/users/17/items"),
        _ => format!("/api/v1/service-{index}/things/17"),
    }
}

fn host_name(index: usize, hosts: usize) -> String {
    format!("site-{}.example.com", index % hosts)
}
