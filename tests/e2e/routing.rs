//! Which app gets a request, and what is done with it on the way, through the real server.

use crate::harness::edgefile::{recorder, told, values_told};
use crate::harness::http::chunked;
use crate::harness::{Client, Response, Server, Setup, eventually, tools};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const EDGE: &str = "version 1\nedge { http \"127.0.0.1:PORT\" }\n";

/// A server of an Edgefile with one worker of each of these recorders.
fn started(apps: &[&str], rest: &str) -> Server {
    let apps: String = apps.iter().map(|name| recorder(name, "workers 1")).collect();
    let server = Setup::edgefile(&format!("{EDGE}{apps}{rest}")).start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    server
}

/// The app that answers, or the status of another answer.
fn answered_by(response: &Response) -> String {
    match response.status {
        200 => response.json()["app"].as_str().expect("an app").to_owned(),
        status => status.to_string(),
    }
}

/// Asks on one connection for each of these and compares who answers.
#[track_caller]
fn assert_ways(server: &Server, ways: &[(&str, &str, &str, &str)]) {
    let mut client = server.connect();
    let mut wrong = Vec::new();
    for (host, method, path, expected) in ways {
        let response = client.ask_at(host, method, &format!("{path}?tell=1"));
        if answered_by(&response) != *expected {
            wrong.push(format!("{method} {host}{path}: {response:?} and not {expected}"));
        }
        if response.says_close() {
            client = server.connect();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_most_specific_host_and_path_win() {
    let sites = r#"
        site "a.test" {
            route "/*" { to-app "one" }
            route "/api/*" { to-app "two" }
            route "/api/v1/*" { to-app "one" }
            route "/api/exact" { to-app "three" }
            route "/u/*/x" { to-app "two" }
            route "/u/me/x" { to-app "three" }
            route "/u/*/*" { to-app "three" }
        }
        site "*.a.test" { route "/*" { to-app "two" } }
        site "x.a.test" { route "/only" { to-app "one" } }
        site "*" {
            route "/*" { to-app "three" }
            route "/only/*" { to-app "one" }
        }"#;
    let server = started(&["one", "two", "three"], sites);
    assert_ways(
        &server,
        &[
            ("a.test", "GET", "/", "one"),
            ("a.test", "GET", "/x", "one"),
            ("a.test", "GET", "/api", "one"),
            ("a.test", "GET", "/api/", "two"),
            ("a.test", "GET", "/api/x/y", "two"),
            ("a.test", "GET", "/api/v1/x", "one"),
            ("a.test", "GET", "/api/v1", "two"),
            ("a.test", "GET", "/api/exact", "three"),
            ("a.test", "GET", "/api/exact/", "two"),
            ("a.test", "GET", "/apis/", "one"),
            ("a.test", "GET", "/API/", "one"),
            ("a.test", "GET", "//api/x", "one"),
            ("a.test", "GET", "/u/7/x", "two"),
            ("a.test", "GET", "/u/me/x", "three"),
            ("a.test", "GET", "/u/7/y", "three"),
            ("a.test", "GET", "/u/7", "one"),
            ("a.test", "GET", "/u//x", "one"),
            ("A.Test.:8080", "POST", "/api/x", "two"),
            ("b.a.test", "GET", "/api/exact", "two"),
            ("b.b.a.test", "GET", "/", "three"),
            ("x.a.test", "GET", "/only", "one"),
            // A site without a match falls through, to the wildcard before every host.
            ("x.a.test", "GET", "/other", "two"),
            ("x.a.test", "GET", "/only/x", "two"),
            ("else.test", "GET", "/only/x", "one"),
            ("else.test", "GET", "/only", "three"),
            ("127.0.0.1", "GET", "/", "three"),
        ],
    );
    // The authority of an absolute target stands above Host.
    let mut client = server.connect();
    client.send("GET http://a.test/api/x?tell=1 HTTP/1.1\r\nHost: b.a.test\r\n\r\n");
    let answer = told(&client.response());
    assert_eq!(answer["app"], "two");
    assert_eq!(values_told(&answer, "host"), ["a.test"]);
    client.send("GET /api/exact?tell=1 HTTP/1.0\r\n\r\n");
    assert_eq!(answered_by(&client.response()), "three", "without a Host: that of every host");
    // Requests behind each other on one connection, each for another app.
    let mut client = server.connect();
    let ask =
        |host: &str, path: &str| format!("GET {path}?tell=1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let turns = [("a.test", "/", "one"), ("b.a.test", "/", "two"), ("c.test", "/", "three")];
    let all: String =
        turns.iter().cycle().take(12).map(|(host, path, _)| ask(host, path)).collect();
    client.send(all);
    for (_, _, app) in turns.iter().cycle().take(12) {
        assert_eq!(answered_by(&client.response()), *app);
    }
}

#[test]
fn priorities_decide_between_rules_for_the_same_paths_and_only_there() {
    let sites = r#"
        site "a.test" {
            route "/p/*" priority=9 { to-app "one" }
            route "/p/*" priority=3 { to-app "two" }
            route "/p/*" { to-app "three" }
            route "/p/deep/*" priority=100 { to-app "three" }
            route "/m" methods="GET" { to-app "one" }
            route "/m" methods="POST,PUT" { to-app "two" }
            route "/n" { to-app "one" }
            route "/n" priority=1 methods="POST" { to-app "two" }
        }"#;
    let server = started(&["one", "two", "three"], sites);
    assert_ways(
        &server,
        &[
            ("a.test", "GET", "/p/x", "two"),
            ("a.test", "GET", "/p/deep/x", "three"),
            ("a.test", "GET", "/m", "one"),
            ("a.test", "POST", "/m", "two"),
            ("a.test", "PUT", "/m", "two"),
            ("a.test", "GET", "/n", "one"),
            ("a.test", "POST", "/n", "two"),
        ],
    );
    let head = server.ask_at("a.test", "HEAD", "/m");
    assert_eq!((head.status, head.body.len()), (200, 0), "GET takes HEAD");
    let refused = server.ask_at("a.test", "DELETE", "/m");
    assert_eq!(refused.status, 405);
    let mut allowed: Vec<_> = refused.field("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST", "PUT"]);
    assert!(!server.seen().iter().any(|seen| seen.method() == "DELETE"));
}

#[test]
fn a_method_that_no_rule_takes_is_405_unless_a_wider_site_takes_it() {
    let sites = r#"
        site "a.test" {
            route "/m" methods="POST" { to-app "one" }
            route "/w" methods="POST" { to-app "one" }
        }
        site "*.test" { route "/w" methods="GET" { to-app "two" } }"#;
    let server = started(&["one", "two"], sites);
    assert_ways(
        &server,
        &[
            ("a.test", "POST", "/m", "one"),
            ("a.test", "GET", "/m", "405"),
            ("a.test", "GET", "/w", "two"),
            ("a.test", "PUT", "/w", "405"),
            ("a.test", "GET", "/none", "404"),
            ("b.test", "POST", "/m", "404"),
        ],
    );
    assert_eq!(server.ask_at("a.test", "GET", "/m").field("allow"), "POST");
    assert_eq!(server.ask_at("a.test", "PUT", "/w").field("allow"), "GET, HEAD, POST");
    // A body on its way to nobody does not become the next request.
    let mut client = server.connect();
    client.request_at(
        "a.test",
        "PUT",
        "/m",
        "",
        b"GET /w?smuggled HTTP/1.1\r\nHost: b.test\r\n\r\n",
    );
    assert_eq!(client.response().status, 405);
    assert_eq!(server.get_at("b.test", "/w").status, 200);
    assert!(!server.has_seen("/w?smuggled"));
}

#[test]
fn an_unknown_host_reaches_nobody_and_is_told_so() {
    let server =
        started(&["one"], "site \"a.test\" \"*.b.test\" { route \"/*\" { to-app \"one\" } }");
    for host in ["evil.test", "b.test", "x.y.b.test", "a.test.evil.test", "127.0.0.1", "[::1]"] {
        let answer = server.get_at(host, "/");
        assert_eq!(answer.status, 404, "{host}: {answer:?}");
        assert!(answer.text().contains("Host not found"), "{host}: {answer:?}");
    }
    assert_eq!(server.seen().len(), 0);
    assert_ways(&server, &[("x.b.test", "GET", "/", "one"), ("a.test", "GET", "/x", "one")]);
    for host in ["a.test", "x.b.test", "127.0.0.1", "127.0.0.1:80", "[::1]:9", "localhost"] {
        assert_eq!(server.get_at(host, "/server").text(), "ok", "{host}");
        assert_eq!(server.get_at(host, "/status").status, 200, "{host}");
    }
    for host in ["evil.test", "x.y.b.test", "localhost.evil.test", "1.2.3"] {
        assert_eq!(server.get_at(host, "/server").status, 404, "{host}");
        assert_eq!(server.get_at(host, "/status").status, 404, "{host}");
    }
    assert_eq!(server.ask_at("a.test", "POST", "/server").status, 405);
    let problem = {
        let mut client = server.connect();
        client.request_at("evil.test", "GET", "/", "Accept: application/json\r\n", b"");
        client.response().json()
    };
    assert_eq!((&problem["status"], &problem["code"]), (&404.into(), &"host-not-found".into()));
}

#[test]
fn built_in_endpoints_stand_where_the_file_says_or_nowhere() {
    let with = |builtin: &str| {
        let edge = format!("version 1\nedge {{ http \"127.0.0.1:PORT\"; {builtin} }}\n");
        let site = "site \"a.test\" { route \"/*\" { to-app \"one\" } }";
        Setup::edgefile(&format!("{edge}{}{site}", recorder("one", "workers 1"))).start()
    };
    let server = with("builtin \"off\"");
    for path in ["/server", "/status"] {
        assert_ways(&server, &[("a.test", "GET", path, "one"), ("127.0.0.1", "GET", path, "404")]);
    }
    let server = with("builtin server=\"/up/here\" status=\"off\"");
    assert_eq!(server.get_at("a.test", "/up/here").text(), "ok");
    assert_eq!(server.get_at("localhost", "/up/here").text(), "ok");
    assert_ways(
        &server,
        &[
            ("a.test", "GET", "/server", "one"),
            ("a.test", "GET", "/status", "one"),
            ("a.test", "GET", "/up/here/", "one"),
        ],
    );
}

#[test]
fn hosts_and_prefixes_of_apps_stand_for_rules() {
    let apps = [
        recorder("one", "workers 1\nhosts \"one.test\" \"*.one.test\""),
        recorder(
            "two",
            "workers 1\nhosts \"one.two.test\" \"two.test\"\nprefixes \"/v2\" \"/v3/deep\"",
        ),
        recorder("three", "workers 1\nprefixes \"/all\""),
    ];
    let server = Setup::edgefile(&format!("{EDGE}{}", apps.concat())).start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    assert_ways(
        &server,
        &[
            ("one.test", "GET", "/", "one"),
            ("one.test", "DELETE", "/v2/x", "one"),
            ("x.one.test", "GET", "/any", "one"),
            ("two.test", "GET", "/v2", "two"),
            ("two.test", "GET", "/v2/", "two"),
            ("two.test", "GET", "/v2/x/y", "two"),
            ("two.test", "GET", "/v3/deep", "two"),
            ("two.test", "GET", "/v3/deeper", "404"),
            ("two.test", "GET", "/v3", "404"),
            ("two.test", "GET", "/", "404"),
            ("one.two.test", "GET", "/v2/x", "two"),
            ("two.test", "GET", "/all/x", "three"),
            ("else.test", "GET", "/all", "three"),
            ("else.test", "GET", "/v2", "404"),
        ],
    );
}

#[test]
fn redirects_send_clients_where_the_file_says() {
    let site = r#"
        site "r.test" "*.r.test" {
            route "/old/*" { redirect "/new/{path}?{query}" status=308 }
            route "/whole/*" { redirect "https://{host}/{path}?{query}" status=301 }
            route "/naive/*" { redirect "/{path}" }
            route "/glued/*" { redirect "https://safe.test{path}" status=303 }
            route "/fixed" { redirect "https://else.test/x" status=307 }
            route "/*" { to-app "one" }
        }"#;
    let server = started(&["one"], site);
    let mut client = server.connect();
    for (target, status, location) in [
        ("/old/a/b", 308, "/new/a/b"),
        ("/old/a%2Fb%20c?x=1&y", 308, "/new/a%2Fb%20c?x=1&y"),
        ("/old/", 308, "/new/"),
        ("/old/x/../y", 308, "/new/y"),
        ("/whole/a?b", 301, "https://r.test/a?b"),
        ("/fixed?ignored", 307, "https://else.test/x"),
        // Nobody is sent to a host of the client's choice.
        ("/naive//evil.test/x", 302, "/evil.test/x"),
        ("/naive///evil.test", 302, "/evil.test"),
        ("/naive/https://evil.test", 302, "/https://evil.test"),
        ("/naive/\\\\evil.test", 302, "/%5C%5Cevil.test"),
        ("/naive/%2F%2Fevil.test", 302, "/%2F%2Fevil.test"),
        ("/naive/javascript:alert(1)", 302, "/javascript:alert(1)"),
        ("/glued/.evil.test", 303, "https://safe.test/.evil.test"),
        ("/glued/@evil.test", 303, "https://safe.test/@evil.test"),
        ("/old/%0d%0aSet-Cookie:a=b", 308, "/new/%0d%0aSet-Cookie:a=b"),
    ] {
        let answer = client.ask_at("r.test", "GET", target);
        assert_eq!((answer.status, answer.field("location")), (status, location), "{target}");
        assert!(answer.values("set-cookie").is_empty(), "{answer:?}");
        assert!(!answer.field("x-request-id").is_empty());
    }
    let answer = client.ask_at("X.R.test:8443", "HEAD", "/whole/a");
    assert_eq!((answer.status, answer.field("location")), (301, "https://x.r.test/a"));
    // A body that nobody reads does not become the next request.
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: r.test\r\n\r\n";
    client.request_at("r.test", "POST", "/old/x", "", smuggled);
    assert_eq!(client.response().status, 308);
    assert_eq!(server.get_at("r.test", "/after").status, 200);
    assert!(!server.has_seen("/smuggled"));
    assert_eq!(server.seen().len(), 1, "no redirect reached the app");
}

#[test]
fn header_rules_change_requests_and_answers_and_compose() {
    let site = r#"
        site "h.test" {
            route "/*" {
                headers {
                    request {
                        set X-From="edge" X-Depth="outer"
                        remove "X-Secret"
                    }
                    response {
                        set X-Frame-Options="DENY" X-Depth="outer"
                        remove "X-Powered-By"
                    }
                }
            }
            route "/in/*" {
                headers {
                    request { set X-Depth="inner" }
                    response { set X-Depth="inner" }
                }
                to-app "one"
            }
            route "/get/*" methods="GET" {
                headers { response { set X-Method="get" } }
            }
            route "/moved" {
                headers { response { set Cache-Control="no-store" } }
                redirect "/in/" status=302
            }
            route "/slow" {
                timeouts read="300ms"
                headers { response { set X-Route="slow" } }
                to-app "two"
            }
            route "/small" {
                limits body="10"
                headers { response { set X-Route="small" } }
                to-app "one"
            }
            route "/*" { to-app "one" }
        }
        site "plain.test" { route "/*" { to-app "one" } }"#;
    let server = started(&["one", "two"], site);
    let mut client = server.connect();
    let asked = "X-From: client\r\nX-From: twice\r\nX-Secret: s\r\nX-Kept: k\r\n";
    let given = "field=X-Powered-By:%20php&field=X-Frame-Options:%20ALLOW&field=X-Own:%20o";
    let mut ask = |host: &str, path: &str| {
        client.request_at(host, "GET", &format!("{path}?tell=1&{given}"), asked, b"");
        let answer = client.response();
        (told(&answer), answer)
    };

    let (told, answer) = ask("h.test", "/x");
    assert_eq!(values_told(&told, "x-from"), ["edge"]);
    assert_eq!(values_told(&told, "x-depth"), ["outer"]);
    assert_eq!(values_told(&told, "x-kept"), ["k"]);
    assert!(values_told(&told, "x-secret").is_empty(), "{told}");
    assert_eq!(answer.values("x-frame-options"), ["DENY"]);
    assert_eq!(answer.values("x-depth"), ["outer"]);
    assert_eq!(answer.values("x-own"), ["o"]);
    assert!(answer.values("x-powered-by").is_empty(), "{answer:?}");

    let (told, answer) = ask("h.test", "/in/x");
    assert_eq!(
        values_told(&told, "x-depth"),
        ["inner"],
        "the most specific rule has the last word"
    );
    assert_eq!(answer.values("x-depth"), ["inner"]);
    assert_eq!(values_told(&told, "x-from"), ["edge"]);
    assert_eq!(answer.values("x-frame-options"), ["DENY"]);

    let (_, answer) = ask("h.test", "/get/x");
    assert_eq!(answer.values("x-method"), ["get"]);
    let (told, answer) = ask("plain.test", "/in/x");
    assert_eq!(values_told(&told, "x-from"), ["client", "twice"]);
    assert_eq!(values_told(&told, "x-secret"), ["s"]);
    assert_eq!(answer.values("x-powered-by"), ["php"]);
    assert_eq!(answer.values("x-frame-options"), ["ALLOW"]);

    let answer = server.ask_at("h.test", "POST", "/get/x");
    assert!(answer.values("x-method").is_empty(), "its methods are those of GET");
    let answer = server.get_at("h.test", "/moved");
    assert_eq!((answer.status, answer.field("cache-control")), (302, "no-store"));
    assert_eq!(answer.field("x-frame-options"), "DENY");
    // Errors of the edge on these routes are changed as well.
    let answer = server.get_at("h.test", "/slow?gate=go");
    assert_eq!((answer.status, answer.field("x-route")), (504, "slow"));
    assert_eq!(answer.field("x-frame-options"), "DENY");
    server.open_gate("go");
    for is_chunked in [false, true] {
        let mut client = server.connect();
        if is_chunked {
            client
                .send("POST /small HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            client.send(chunked(&[b'x'; 11], 4));
        } else {
            client.request_at("h.test", "POST", "/small", "", &[b'x'; 11]);
        }
        let answer = client.response();
        assert_eq!((answer.status, answer.values("x-route")), (413, vec!["small"]), "{is_chunked}");
    }
}

#[test]
fn deadlines_are_inherited_from_edge_to_app_to_site_to_route() {
    let edge = "version 1\nedge { http \"127.0.0.1:PORT\"; timeouts read=\"400ms\" }\n";
    let apps =
        [recorder("plain", "workers 4"), recorder("patient", "workers 4\ntimeouts read=\"20s\"")];
    let sites = r#"
        site "plain.test" {
            route "/plain/*" { to-app "plain" }
            route "/patient/*" { to-app "patient" }
        }
        site "hasty.test" {
            timeouts read="400ms"
            route "/patient/*" { to-app "patient" }
            route "/waits/*" { timeouts read="20s"; to-app "plain" }
        }"#;
    let server = Setup::edgefile(&format!("{edge}{}{sites}", apps.concat())).start();
    server.wait_for_workers(8);
    let mut asked: Vec<(Client, u16, &str, &str)> = Vec::new();
    for (host, path, status) in [
        ("plain.test", "/plain/x", 504),
        ("plain.test", "/patient/x", 200),
        ("hasty.test", "/patient/x", 504),
        ("hasty.test", "/waits/x", 200),
    ] {
        let mut client = server.connect();
        client.request_at(host, "GET", &format!("{path}?sleep=1.5"), "", b"");
        asked.push((client, status, host, path));
    }
    for (client, status, host, path) in &mut asked {
        assert_eq!(client.response().status, *status, "{host}{path}");
    }
}

#[test]
fn a_route_says_how_long_its_requests_wait_for_a_worker() {
    let site = r#"
        site "a.test" {
            route "/hasty" { timeouts queue="200ms"; to-app "one" }
            route "/*" { to-app "one" }
        }"#;
    let server = started(&["one"], site);
    let mut holder = server.connect();
    holder.request("GET", "/hold?gate=go", "", b"");
    server.wait_for_seen("/hold?gate=go");
    let mut patient = server.connect();
    patient.request("GET", "/patient", "", b"");
    eventually("a queued request", || server.app_called("one")["queueDepth"] == 1);
    let begin = Instant::now();
    assert_eq!(server.get("/hasty").status, 504);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
    assert_eq!(patient.response().status, 200);
    assert!(!server.has_seen("/hasty"));
}

#[test]
fn bodies_are_bounded_by_route_site_and_edge() {
    let edge = "version 1\nedge { http \"127.0.0.1:PORT\"; limits body=\"2KiB\" }\n";
    let sites = r#"
        site "a.test" {
            limits body="1KiB"
            route "/small" { limits body="16"; to-app "one" }
            route "/large" { limits body="64KiB"; to-app "one" }
            route "/*" { to-app "one" }
        }
        site "b.test" { route "/*" { to-app "one" } }"#;
    let app = recorder("one", "workers 1");
    let server = Setup::edgefile(&format!("{edge}{app}{sites}")).start();
    for (host, path, most) in [
        ("a.test", "/small", 16),
        ("a.test", "/other", 1024),
        ("a.test", "/large", 65_536),
        ("b.test", "/small", 2048),
    ] {
        for (size, status) in [(most, 200), (most + 1, 413)] {
            let body = vec![b'x'; size];
            let mut client = server.connect();
            let target = format!("{path}?tell=1&by=length");
            client.request_at(host, "POST", &target, "", &body);
            let answer = client.response();
            assert_eq!(answer.status, status, "{host}{path} by length, {size}");
            let mut client = server.connect();
            let head = format!("POST {path}?tell=1&by=chunks HTTP/1.1\r\nHost: {host}\r\n");
            client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
            client.send(chunked(&body, 1000));
            let answer = client.response();
            assert_eq!(answer.status, status, "{host}{path} in chunks, {size}");
            if status == 200 {
                assert_eq!(told(&answer)["bodyBytes"], size);
            } else {
                assert!(answer.says_close());
            }
        }
    }
    assert_eq!(server.seen().len(), 8, "nothing of what is too large reached the app");
    // One that is announced too large is refused before it is sent.
    let mut client = server.connect();
    client.send("POST /small HTTP/1.1\r\nHost: a.test\r\nContent-Length: 17\r\n");
    client.send("Expect: 100-continue\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.informational.len()), (413, 0));
}

const WSGI: &str = "import json, os\n\
    def application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Type', 'application/json')])\n    \
    told = {'app': os.environ['RIP_APP_ID'], 'file': os.path.basename(__file__),\n        \
    'mode': os.environ.get('MODE'), 'other': os.environ.get('OTHER'), 'path': environ['PATH_INFO']}\n    \
    return [json.dumps(told).encode()]\n";

#[test]
fn python_apps_stand_beside_each_other_with_their_own_entries_and_environments() {
    let text = format!(
        "{EDGE}{}",
        r#"
        app "shop" { entry "./shop/app.py"; workers 1; env MODE="sells" OTHER="x"; hosts "shop.test" }
        app "blog" { entry "./blog"; workers 1; env { MODE "writes" }; hosts "blog.test" }
        app "made" { entry "./made/web.py:make()"; workers 1; cwd "./shop"; hosts "made.test" }
        app "told" { entry "builtin:hello"; workers 1; hosts "hello.test" }
        site "all.test" {
            route "/shop/*" { to-app "shop" }
            route "/blog/*" { to-app "blog" }
        }"#
    );
    let server = Setup::edgefile(&text)
        .env("OTHER", "master's")
        .with_file("shop/app.py", WSGI)
        .with_file("blog/main.py", WSGI)
        .with_file("made/web.py", &format!("{WSGI}\ndef make():\n    return application\n"))
        .start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    for (host, path, app, file, mode, other) in [
        ("shop.test", "/x", "shop", "app.py", Some("sells"), "x"),
        ("blog.test", "/", "blog", "main.py", Some("writes"), "master's"),
        ("made.test", "/", "made", "web.py", None, "master's"),
        ("all.test", "/shop/a", "shop", "app.py", Some("sells"), "x"),
        ("all.test", "/blog/a", "blog", "main.py", Some("writes"), "master's"),
    ] {
        let answer = server.get_at(host, path).json();
        assert_eq!(answer["app"], app, "{host}{path}");
        assert_eq!((&answer["file"], &answer["path"]), (&file.into(), &path.into()), "{answer}");
        assert_eq!((&answer["mode"], &answer["other"]), (&mode.into(), &other.into()), "{answer}");
    }
    assert_eq!(server.get_at("hello.test", "/").status, 200);
    assert_eq!(server.get_at("all.test", "/made/a").status, 404);
}

#[test]
fn a_full_queue_of_one_app_does_not_touch_another() {
    let apps = [
        recorder("full", "workers 1\nmax-queue 1\nhosts \"full.test\""),
        recorder("free", "workers 1\nmax-queue 1\nhosts \"free.test\""),
    ];
    let server = Setup::edgefile(&format!("{EDGE}{}", apps.concat())).start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    let ask = |target: &str| {
        let mut client = server.connect();
        client.request_at("full.test", "GET", target, "", b"");
        client
    };
    let mut holder = ask("/hold?gate=go");
    server.wait_for_seen("/hold?gate=go");
    let mut queued = ask("/queued");
    eventually("a queued request", || server.app_called("full")["queueDepth"] == 1);
    for _ in 0..20 {
        let refused = server.get_at("full.test", "/shed");
        assert_eq!(refused.status, 503);
        assert!(!refused.field("retry-after").is_empty());
        assert_eq!(answered_by(&server.get_at("free.test", "/?tell=1")), "free");
    }
    assert_eq!(server.app_called("free")["queueDepth"], 0);
    server.open_gate("go");
    assert_eq!((holder.response().status, queued.response().status), (200, 200));
    assert!(!server.has_seen("/shed"));
}

#[test]
fn each_app_runs_as_its_user_and_within_its_limits() {
    let own = recorder("own", "workers 1\nhosts \"own.test\"");
    if !nix::unistd::geteuid().is_root() {
        // Nobody else's processes can be started: that is refused before anything is.
        let other = recorder("other", "workers 1\nuser \"root\"\nhosts \"other.test\"");
        let (code, output) = Setup::edgefile(&format!("{EDGE}{own}{other}")).fails();
        assert!(code != 0 && output.contains("root"), "{code}: {output}");
        return;
    }
    let bound =
        "user \"nobody\"\nlimits files=77 memory=\"1GiB\" core=\"0\"\nenv RECORD=\"$DIR/other\"";
    let other = recorder("other", &format!("workers 1\n{bound}\nhosts \"other.test\""));
    let setup = Setup::edgefile(&format!("{EDGE}{own}{other}"));
    let record = setup.path("other");
    fs::create_dir(&record).expect("a directory for the records");
    fs::set_permissions(&record, fs::Permissions::from_mode(0o777)).expect("its rights");
    let server = setup.start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    let nobody = nix::unistd::User::from_name("nobody").expect("users").expect("nobody");
    let other = server.told_at("other.test", "/?tell=1");
    assert_eq!(
        (&other["uid"], &other["gid"]),
        (&nobody.uid.as_raw().into(), &nobody.gid.as_raw().into())
    );
    let limits = &other["limits"];
    assert_eq!((&limits["nofile"], &limits["as"]), (&77.into(), &(1_u64 << 30).into()), "{limits}");
    assert_eq!(limits["core"], 0);
    let own = server.told_at("own.test", "/?tell=1");
    assert_eq!((&own["uid"], &own["gid"]), (&0.into(), &0.into()));
    assert_ne!(own["limits"]["nofile"], 77);
    assert_ne!(own["limits"]["as"], 1_u64 << 30);
}

#[test]
fn what_was_routed_is_what_the_app_gets() {
    let site = r#"
        site "a.test" {
            route "/*" { to-app "one" }
            route "/admin/*" { to-app "two" }
            route "/café" { to-app "two" }
        }"#;
    let server = started(&["one", "two"], site);
    let mut client = server.connect();
    for (sent, app, got) in [
        ("/%61dmin/x", "two", "/%61dmin/x"),
        ("/admin%2Fx", "one", "/admin%2Fx"),
        ("/admin/%2e%2e/x", "one", "/x"),
        ("/x/../admin/y", "two", "/admin/y"),
        ("/x/%2E%2e/admin/./y", "two", "/admin/y"),
        ("/public/..%2fadmin/x", "one", "/public/..%2fadmin/x"),
        ("/public/..%5cadmin/x", "one", "/public/..%5cadmin/x"),
        ("/%2561dmin/x", "one", "/%2561dmin/x"),
        ("/%252e%252e/admin/x", "one", "/%252e%252e/admin/x"),
        ("//admin/x", "one", "//admin/x"),
        ("/Admin/x", "one", "/Admin/x"),
        ("/admin", "one", "/admin"),
        ("/admin/", "two", "/admin/"),
        ("/admin;x/y", "one", "/admin;x/y"),
        ("/caf%c3%a9", "two", "/caf%c3%a9"),
        ("/a%2Fb", "one", "/a%2Fb"),
        ("/a/b", "one", "/a/b"),
        ("/a..b", "one", "/a..b"),
    ] {
        let answer = told(&client.ask_at("a.test", "GET", &format!("{sent}?tell=1&q=/../%2e")));
        assert_eq!(answer["app"], app, "{sent}");
        assert_eq!(answer["target"], format!("{got}?tell=1&q=/../%2e"), "{sent}");
    }
    for bad in ["/..", "/a/../../b", "/%2e%2e/x", "/%00", "/a%"] {
        let answer = server.get_at("a.test", bad);
        let expected = if bad == "/a%" { [200, 400] } else { [400, 400] };
        assert!(expected.contains(&answer.status), "{bad}: {answer:?}");
    }
}

#[test]
fn the_command_line_explains_the_way_that_is_taken() {
    let site = r#"
        site "a.test" {
            route "/*" { to-app "one" }
            route "/api/*" methods="POST" { to-app "two" }
            route "/old/*" { redirect "/{path}" }
        }
        site "*.a.test" { route "/api/*" { to-app "two" } }"#;
    let server = started(&["one", "two"], site);
    let file = server.path("app/Edgefile");
    for (method, host, path) in [
        ("GET", "a.test", "/"),
        ("GET", "a.test", "/api/x"),
        ("POST", "a.test", "/api/x"),
        ("GET", "a.test", "/old/x"),
        ("GET", "b.a.test", "/api/%2e%2e/api/x"),
        ("GET", "b.a.test", "/x"),
        ("GET", "c.test", "/"),
    ] {
        let mut why = tools::rip_master();
        let url = format!("http://{host}{path}");
        why.args(["why", &url, "--method", method, "--file"]).arg(&file);
        let output = tools::finish(&mut why);
        let explained = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = explained.lines().next().unwrap_or_default();
        let answer = server.ask_at(host, method, &format!("{path}?tell=1"));
        let expected = match answer.status {
            200 => format!("→ app {}", answered_by(&answer)),
            302 => "→ redirect".to_owned(),
            status => format!("→ {status}"),
        };
        assert!(first.contains(&expected), "{method} {url}: {expected} and {explained}");
    }
}
