//! Lookups allocate nothing, and hostile paths are not walked to their end.

#![allow(clippy::disallowed_methods, reason = "it measures")]

use crate::rules::{headers, rules};
use rip::http1::{Limits, Read, RequestHead, Server};
use rip::route::path::{PathRoom, routing_path};
use rip::route::{Found, Scratch, Table, host};
use std::time::{Duration, Instant};

#[test]
fn a_warm_lookup_allocates_nothing() {
    let mut set = rules(&[
        "GET,POST a.test/api/*",
        "a.test/users/*/posts",
        "*.test/*/b/*",
        "PUT */api/*",
        "a.test/caf%C3%A9",
    ]);
    set.extend([headers("*/*"), headers("a.test/api/*"), headers("*.test/api/*")]);
    let table = Table::new(&set);
    let requests = [
        "GET /api/x HTTP/1.1\r\nHost: A.test:80\r\n\r\n",
        "DELETE /api/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /x/../users/1/posts?a=b HTTP/1.1\r\nHost: a.test.\r\n\r\n",
        "GET /a/b/%63/d HTTP/1.1\r\nHost: b.test\r\n\r\n",
        "GET /caf%c3%a9 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    ];
    let (mut head, limits) = (RequestHead::new(), Limits::default());
    let (mut normal, mut room, mut scratch) = (Vec::new(), PathRoom::new(), Scratch::new());
    let mut turn = || {
        requests.map(|request| {
            let buf = request.as_bytes();
            let read = Server::new().read(buf, &mut head, &limits);
            assert_eq!(read, Ok(Read::Head { consumed: buf.len() }));
            host::normalize(head.authority(buf), &mut normal);
            let path = routing_path(head.path(), buf, &mut room);
            table.find(&normal, path, head.method(buf), &mut scratch)
        })
    };
    let expected = [
        Found::Rule(0),
        Found::MethodNotAllowed,
        Found::Rule(1),
        Found::Rule(2),
        Found::Rule(4),
        Found::NoRoute,
    ];
    assert_eq!(turn(), expected);
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert_eq!(turn(), expected);
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_hostile_path_is_walked_no_deeper_than_the_rules_go() {
    let set = rules(&["*/*", "*/a/*", "*/a/*/c/*", "*/*/*/*/*/z", "*//x"]);
    let table = Table::new(&set);
    let mut scratch = Scratch::new();
    // A long path, and one that is like it for as long as the rules go.
    for (long, short, expected) in [
        ("/".repeat(8192), "///////", 0),
        ("/a".repeat(4096), "/a/a/a/a/a/a/a", 1),
        ("/a/b/c".repeat(1365), "/a/b/c/a/b/c/a", 2),
    ] {
        let mut cost = |path: &str| {
            let began = Instant::now();
            for _ in 0..2000 {
                let found = table.find(b"a", path.as_bytes(), b"GET", &mut scratch);
                assert_eq!(found, Found::Rule(expected));
            }
            began.elapsed()
        };
        // The best of a few turns: another process may have been in the way.
        let best = |costs: [Duration; 5]| costs.into_iter().min().unwrap_or_default();
        let (short, long) =
            (best([(); 5].map(|()| cost(short))), best([(); 5].map(|()| cost(&long))));
        assert!(long < short * 10, "{long:?} against {short:?}");
    }
}
