//! The order of rules, example by example. Each set is tried in every rotation of its declaration:
//! where it stands must not matter unless nothing else decides.

use crate::rules::{ask, headers, prior, rule, rules};
use rip::contract::route::RouteRule;
use rip::route::{Found, Scratch, Table};

#[track_caller]
fn check(set: &[RouteRule], expected: &[(&str, &str)]) {
    let mut set = set.to_vec();
    for _ in 0..set.len() {
        let table = Table::new(&set);
        for (request, winner) in expected {
            assert_eq!(ask(&table, &set, request), *winner, "{request}");
        }
        set.rotate_left(1);
    }
}

#[test]
fn exact_host_before_wildcard_before_every_host() {
    check(
        &rules(&["*/*", "*.example.com/*", "a.example.com/*"]),
        &[
            ("GET a.example.com/", "a.example.com/*"),
            ("GET A.Example.com.:8080/", "a.example.com/*"),
            ("GET b.example.com/", "*.example.com/*"),
            ("GET a.b.example.com/", "*/*"),
            ("GET example.com/", "*/*"),
            ("GET /", "*/*"),
        ],
    );
}

#[test]
fn exact_path_before_prefix_and_the_longer_prefix_first() {
    check(
        &rules(&["*/*", "*/a/*", "*/a/b/*", "*/a/b/c", "*/a/b/", "*/"]),
        &[
            ("GET x/", "*/"),
            ("GET x/z", "*/*"),
            ("GET x/a", "*/*"),
            ("GET x/a/", "*/a/*"),
            ("GET x/a/b", "*/a/*"),
            ("GET x/a/b/", "*/a/b/"),
            ("GET x/a/b/c", "*/a/b/c"),
            ("GET x/a/b/c/", "*/a/b/*"),
            ("GET x/a/b/d", "*/a/b/*"),
        ],
    );
}

#[test]
fn a_literal_before_a_star_from_the_left() {
    check(
        &rules(&["*/*/b/c", "*/a/*/c", "*/a/b/*", "*/*/b/*", "*/*/*", "*/a/*/*"]),
        &[
            ("GET x/a/b/c", "*/a/*/c"),
            ("GET x/z/b/c", "*/*/b/c"),
            ("GET x/a/b/z", "*/a/b/*"),
            ("GET x/a/z/z", "*/a/*/*"),
            ("GET x/z/b/z", "*/*/b/*"),
            ("GET x/z/z", "*/*/*"),
            ("GET x//z", "404"),
        ],
    );
}

#[test]
fn a_more_specific_path_wins_whatever_the_priority() {
    check(
        &[prior("*/*", 0), prior("*/a/*", 1), rule("*/a/b")],
        &[("GET x/a/b", "*/a/b"), ("GET x/a/c", "*/a/*"), ("GET x/c", "*/*")],
    );
}

#[test]
fn explicit_priorities_decide_low_first_and_before_implicit_ones() {
    check(
        &[rule("GET,PUT */a"), prior("GET,POST */a", 7), prior("GET,DELETE */a", 3)],
        &[("GET x/a", "GET,DELETE */a"), ("POST x/a", "GET,POST */a"), ("PUT x/a", "GET,PUT */a")],
    );
}

#[test]
fn the_earlier_declaration_decides_at_last() {
    let set = rules(&["GET,POST */a", "GET,PUT */a"]);
    assert_eq!(ask(&Table::new(&set), &set, "GET x/a"), "GET,POST */a");
    let set = rules(&["GET,PUT */a", "GET,POST */a"]);
    assert_eq!(ask(&Table::new(&set), &set, "GET x/a"), "GET,PUT */a");
}

#[test]
fn the_first_rule_that_takes_path_and_method_wins() {
    check(
        &rules(&["GET */a", "POST */a/*", "POST,GET */*", "PUT x.test/*", "TRACK */b"]),
        &[
            ("GET y/a", "GET */a"),
            ("HEAD y/a", "GET */a"),
            ("POST y/a", "POST,GET */*"),
            ("GET y/a/b", "POST,GET */*"),
            ("HEAD x.test/a", "GET */a"),
            ("PUT y/a", "405 GET, HEAD, POST"),
            ("get y/a", "405 GET, HEAD, POST"),
            ("DELETE x.test/a", "405 GET, HEAD, POST, PUT"),
            ("DELETE y/b", "405 GET, HEAD, POST, TRACK"),
        ],
    );
}

#[test]
fn a_site_without_a_match_falls_through() {
    check(
        &rules(&["a.example.com/a", "*.example.com/b", "GET */c"]),
        &[
            ("GET a.example.com/a", "a.example.com/a"),
            ("GET a.example.com/b", "*.example.com/b"),
            ("GET a.example.com/c", "GET */c"),
            ("PUT a.example.com/c", "405 GET, HEAD"),
            ("GET a.example.com/d", "404"),
            ("GET b.example.com/a", "404"),
        ],
    );
}

#[test]
fn a_host_is_known_when_some_rule_is_for_it() {
    let set = [rule("a.test/x"), rule("*.b.test/x"), headers("c.test/*")];
    let table = Table::new(&set);
    for (host, known) in [
        ("a.test", true),
        ("z.b.test", true),
        ("c.test", true),
        ("b.test", false),
        ("y.z.b.test", false),
        ("test", false),
        ("", false),
    ] {
        assert_eq!(table.knows_host(host.as_bytes()), known, "{host}");
        let said = ask(&table, &set, &format!("GET {host}/none"));
        assert_eq!(said, if known { "404" } else { "host" }, "{host}");
    }
    assert!(!Table::new(&[]).knows_host(b"a"));
    assert!(Table::new(&[rule("*/x")]).knows_host(b""));
}

#[test]
fn headers_apply_from_the_least_to_the_most_specific_whatever_wins() {
    let set = [
        headers("a.test/api/*"),
        headers("*/*"),
        headers("a.test/*"),
        headers("*/api/x"),
        headers("POST */api/*"),
        headers("a.test/other"),
        rule("a.test/api/*"),
        prior("*/*", 1),
        headers("a.test/*"),
        headers("*.test/*"),
        RouteRule { action: headers("a/").action, ..prior("a.test/*", 9) },
    ];
    let table = Table::new(&set);
    let mut scratch = Scratch::new();
    let found = table.find(b"a.test", b"/api/x", b"GET", &mut scratch);
    assert_eq!(found, Found::Rule(6));
    assert_eq!(scratch.headers(), [1, 3, 9, 8, 2, 10, 0]);
    let found = table.find(b"b", b"/api/y", b"POST", &mut scratch);
    assert_eq!((found, scratch.headers()), (Found::Rule(7), &[1, 4][..]));
    let found = Table::new(&set[..3]).find(b"a.test", b"/", b"GET", &mut scratch);
    assert_eq!((found, scratch.headers()), (Found::NoRoute, &[1, 2][..]));
}

#[test]
fn the_target_of_options_for_the_server_meets_rules_for_everything() {
    check(&rules(&["*/*", "*/a", "*/*/b"]), &[("OPTIONS x/", "*/*")]);
    let set = rules(&["*/*", "*/*/b"]);
    let found = Table::new(&set).find(b"x", b"*", b"OPTIONS", &mut Scratch::new());
    assert_eq!(found, Found::Rule(0));
}
