//! What people read of a decision.

use crate::rules::{headers, prior, rule, rules};
use rip::contract::route::RouteRule;
use rip::route::why::{Aspect, Verdict, explain};

fn verdicts(set: &[RouteRule], host: &str, path: &str, method: &str) -> Vec<Verdict> {
    let why = explain(set, host.as_bytes(), path.as_bytes(), method.as_bytes());
    why.rules.into_iter().map(|rule| rule.verdict).collect()
}

#[test]
fn every_rule_is_told_what_decided_against_it() {
    let set = [
        rule("*/*"),
        rule("a.test/api/*"),
        prior("a.test/api/x", 9),
        prior("GET a.test/api/x", 3),
        rule("POST a.test/api/x"),
        rule("GET,POST a.test/api/x"),
        rule("b.test/*"),
        rule("a.test/other"),
        headers("a.test/*"),
        headers("PUT a.test/*"),
    ];
    let lost = |by| Verdict::Lost { by };
    let got = verdicts(&set, "a.test", "/api/x", "GET");
    assert_eq!(
        got,
        [
            lost(Aspect::Host),
            lost(Aspect::Path),
            lost(Aspect::Priority),
            Verdict::Wins,
            Verdict::OtherMethod { takes: set[4].methods.clone() },
            lost(Aspect::Priority),
            Verdict::OtherHost,
            Verdict::OtherPath,
            Verdict::ChangesHeaders,
            Verdict::OtherMethod { takes: set[9].methods.clone() },
        ]
    );
    let set = rules(&["GET,PUT */a", "GET,POST */a"]);
    assert_eq!(verdicts(&set, "x", "/a", "GET"), [Verdict::Wins, lost(Aspect::Declaration)]);
}

#[test]
fn an_explanation_is_read_by_people_and_programs() {
    let mut set = vec![rule("GET a.test/api/*"), headers("a.test/*"), rule("POST */*")];
    for (line, rule) in (7..).zip(&mut set) {
        rule.line = Some(line);
    }
    let why = explain(&set, b"a.test", b"/api/x", b"GET");
    assert_eq!(
        why.to_string(),
        "GET a.test/api/x → app app, by GET a.test/api/* (line 7)\n  \
         headers changed by a.test/* (line 8)\n\
         the others:\n  POST */* (line 9): takes only POST\n"
    );
    let json = serde_json::to_value(&why).unwrap();
    assert_eq!(json["winner"], 0);
    assert_eq!(json["headers"], serde_json::json!([1]));
    assert_eq!(json["rules"][0]["verdict"]["kind"], "wins");
    assert_eq!(
        json["rules"][2],
        serde_json::json!({"id": "POST */*", "line": 9, "action": "app app",
            "verdict": {"kind": "otherMethod", "takes": ["POST"]}})
    );
    let why = explain(&set, b"a.test", b"/api/x", b"PUT");
    assert!(why.to_string().starts_with("PUT a.test/api/x → 405, Allow: GET, HEAD, POST\n"));
    assert_eq!((why.status, why.winner), (Some(405), None));
    let why = explain(&set[..2], b"a.test", b"/x", b"GET");
    assert!(why.to_string().starts_with("GET a.test/x → 404, no rule takes the path\n"));
    let why = explain(&set[..2], b"b.test", b"/x", b"GET");
    assert!(why.to_string().starts_with("GET b.test/x → 404, no rule is for this host\n"));
}
