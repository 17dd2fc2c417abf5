//! Random rules against random requests: the table says what the reference says.
//!
//! A failure prints its seed; `RIP_ROUTE_SEED=… cargo test --test route` replays it.

use crate::rules::rule;
use rip::contract::route::{HeaderRules, Methods, RouteAction, RouteRule};
use rip::entropy::{Entropy, Xoshiro};
use rip::route::why::explain;
use rip::route::{Found, Scratch, Table};

const SEED_COUNT: u64 = 3000;
const REQUEST_COUNT: u64 = 24;

// Few names, so that rules meet.
const HOSTS: [&str; 6] = ["*", "*", "a.test", "b.test", "*.test", "*.a.test"];
const ASKED: [&str; 6] = ["a.test", "b.test", "c.test", "x.a.test", "test", ""];
const SEGMENTS: [&str; 6] = ["a", "b", "*", "*", "", "a%2fb"];
const SENT: [&str; 5] = ["a", "b", "c", "", "a%2fb"];
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "get"];

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed may be replayed")]
fn the_table_says_what_the_reference_says() {
    let replayed = std::env::var("RIP_ROUTE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = replayed.map_or(0..SEED_COUNT, |seed| seed..seed + 1);
    let mut met = [0_u32; 5];
    let mut scratch = Scratch::new();
    for seed in seeds {
        let mut random = Xoshiro::new(seed);
        let rules: Vec<RouteRule> =
            (0..=random.below(24)).map(|index| random_rule(index as u32, &mut random)).collect();
        let table = Table::new(&rules);
        for _ in 0..REQUEST_COUNT {
            let (host, method) = (pick(&ASKED, &mut random), pick(&METHODS, &mut random));
            let path = random_path(&SENT, &mut random);
            let name = format!("seed {seed}: {method} {host}{path}");
            let why = explain(&rules, host.as_bytes(), path.as_bytes(), method.as_bytes());
            let found =
                table.find(host.as_bytes(), path.as_bytes(), method.as_bytes(), &mut scratch);
            assert_eq!(found, why.found, "{name}\n{why}");
            assert_eq!(scratch.headers(), why.headers, "{name}\n{why}");
            assert_eq!(scratch.allow(), why.allow.join(", ").as_bytes(), "{name}\n{why}");
            assert_eq!(table.knows_host(host.as_bytes()), found != Found::UnknownHost, "{name}");
            met[kind(found)] += 1;
            met[4] += u32::from(why.headers.len() > 1);
        }
    }
    // Every kind of answer was tried, and often.
    assert!(replayed.is_some() || met.iter().all(|count| *count > 1000), "{met:?}");
}

fn kind(found: Found) -> usize {
    match found {
        Found::Rule(_) => 0,
        Found::MethodNotAllowed => 1,
        Found::NoRoute => 2,
        Found::UnknownHost => 3,
    }
}

fn random_rule(index: u32, random: &mut Xoshiro) -> RouteRule {
    let mut pattern = random_path(&SEGMENTS, random);
    if random.below(2) == 0 {
        pattern = format!("{}/*", pattern.trim_end_matches('/'));
    }
    let methods = match random.below(3) {
        0 => Methods::Any,
        _ => Methods::Only(
            (0..=random.below(2)).map(|_| pick(&METHODS[..4], random).to_owned()).collect(),
        ),
    };
    let explicit = random.below(3) == 0;
    let mut made = rule("*/");
    made.host = pick(&HOSTS, random).to_owned();
    made.priority = if explicit { random.below(3) as u32 } else { index };
    made.explicit = explicit;
    made.id = format!("{index}: {methods} {}{pattern}", made.host);
    made.path_pattern = pattern;
    made.methods = methods;
    if random.below(3) == 0 {
        made.action = RouteAction::Headers(HeaderRules::default());
    }
    made
}

fn random_path(segments: &[&str], random: &mut Xoshiro) -> String {
    (0..=random.below(4)).map(|_| format!("/{}", pick(segments, random))).collect()
}

fn pick<'a>(from: &[&'a str], random: &mut Xoshiro) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}
