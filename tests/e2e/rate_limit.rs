//! A client that asks too often is told so, whoever else asks, and a reload forgets nobody.

use crate::harness::{Server, Setup};

fn file(limit: u32) -> String {
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\"; trusted-proxies \"127.0.0.1\"\n\
         rate-limit {limit} window=\"600s\" }}\n\
         app \"api\" {{ entry \"builtin:hello\"; workers 1; hosts \"a.test\" }}\n"
    )
}

/// The status for a client of this address.
fn ask(server: &Server, target: &str, client: &str) -> u16 {
    let fields = format!("X-Forwarded-For: {client}\r\n");
    server.request("GET", target, &fields, b"").status
}

#[test]
fn each_client_has_its_own_limit_over_all_loops_and_connections() {
    let server = Setup::edgefile(&file(5)).flag("--loops", 2).word("--no-watch").start();
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        let statuses: Vec<_> = (0..7).map(|_| ask(&server, "/", client)).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429], "{client}");
    }
    assert_eq!(ask(&server, "/", "2001:db8::2"), 429, "the same network of 64 bits");
    assert_eq!(ask(&server, "/status", "192.0.2.1"), 200);
    let response = server.request("GET", "/", "X-Forwarded-For: 192.0.2.1\r\n", b"");
    let seconds: u64 = response.field("retry-after").parse().expect("seconds");
    assert!((1..=1200).contains(&seconds));
    assert_eq!(response.field("ratelimit"), format!("\"default\";r=0;t={seconds}"));
    assert_eq!(response.field("ratelimit-policy"), "\"default\";q=5;w=600");
    assert!(!response.says_close());
    server.wait_for_log("rate-limited");
}

#[test]
fn a_reload_forgets_nobody_and_takes_up_another_limit() {
    let server = Setup::edgefile(&file(2)).word("--no-watch").start();
    let client = "192.0.2.1";
    assert_eq!([(); 3].map(|()| ask(&server, "/", client)), [200, 200, 429]);
    for (limit, status) in [(2, 429), (3, 200), (3, 429)] {
        server.write_edgefile(&file(limit));
        assert_eq!(server.control_post("/control/reload", "", "{}").status, 200);
        assert_eq!(ask(&server, "/", client), status, "{limit}");
    }
}
