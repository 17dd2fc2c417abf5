//! Frameworks of Node and Bun, unmodified: the same promises as for all others.

use crate::harness::conformance::{Can, conform};
use crate::harness::wait::eventually;
use crate::harness::{Setup, tools};
use std::process::Command;

/// What the apps say when they fail on purpose.
const MISTAKE: &str = "a mistake made on purpose";
const EVERYTHING: Can = Can { websocket: true, ..Can::web(MISTAKE) };

#[test]
fn express() {
    conform(Setup::framework("express").workers(2).start(), &EVERYTHING);
}

#[test]
fn express_loaded_anew_in_its_workers() {
    let setup = Setup::framework_entry("express", "server.js").flag("--reload", "module");
    let server = setup.workers(2).start();
    server.wait_for_workers(2);
    let before = server.processes();
    let source = std::fs::read_to_string(server.path("app/forms.js")).expect("a part of the app");
    server.replace("forms.js", &source.replace("likes", "adores"));
    let adores = || server.get("/form?name=a&colour=b").text() == "a adores b";
    eventually("the new version in both workers", || (0..4).all(|_| adores()));
    server.replace("forms.js", "no javascript");
    server.wait_for_log("forms.js");
    server.wait_for_log("the last good version goes on serving");
    assert!(adores());
    server.replace("forms.js", &source);
    eventually("the version after that", || (0..4).all(|_| !adores()));
    assert_eq!(server.processes(), before, "no process was replaced");
    conform(server, &EVERYTHING);
}

#[test]
fn fastify() {
    conform(Setup::framework("fastify").workers(2).start(), &EVERYTHING);
}

#[test]
fn node_without_a_framework() {
    let can = Can { forms: false, ..EVERYTHING };
    conform(Setup::framework_entry("node-http", "index.js").workers(2).start(), &can);
}

#[test]
fn a_fetch_handler_under_node() {
    conform(Setup::framework_entry("fetch", "server.mjs").workers(2).start(), &Can::web(MISTAKE));
}

#[test]
fn a_fetch_handler_under_bun() {
    let setup = under_bun(Setup::framework_entry("fetch", "server.mjs"));
    conform(setup.flag("--runtime", "bun").workers(2).start(), &Can::web(MISTAKE));
}

#[test]
fn a_server_of_buns_own() {
    let setup = under_bun(Setup::framework_entry("fetch", "bun.ts"));
    conform(setup.workers(2).start(), &EVERYTHING);
}

#[test]
fn express_under_bun() {
    let setup = under_bun(Setup::framework("express"));
    conform(setup.flag("--runtime", "bun").workers(2).start(), &EVERYTHING);
}

/// With the Bun that scripts/setup fetches.
fn under_bun(setup: Setup) -> Setup {
    let mut path =
        tools::cache().join("node/node_modules/@oven/bun-linux-x64/bin").into_os_string();
    assert!(std::path::Path::new(&path).exists(), "bun is missing: run scripts/setup");
    path.push(":");
    path.push(tools::search_path());
    setup.env("PATH", path)
}

#[test]
fn a_site_that_vite_builds_with_an_api() {
    let text = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
                app \"api\" { entry \"$DIR/app/api.js\"; workers 1 }\n\
                site \"*\" {\n\
                route \"/api/*\" { to-app \"api\" }\n\
                route \"/assets/*\" { static \"$DIR/app/dist/assets\" \
                cache-control=\"public, max-age=31536000, immutable\" }\n\
                route \"/*\" { static \"$DIR/app/dist\" spa=\"index.html\" }\n}\n";
    let setup = Setup::edgefile(text).with_framework("vite");
    let mut build = Command::new("node");
    build.args(["node_modules/vite/bin/vite.js", "build"]).current_dir(setup.path("app"));
    let built = tools::finish(&mut build);
    assert!(built.status.success(), "{}", tools::both(&built));

    let mut server = setup.start();
    let page = server.get("/");
    assert!(page.text().contains("<h1>Notes</h1>"), "{page:?}");
    let view = server.request("GET", "/any/view", "Accept: text/html\r\n", b"");
    assert_eq!(view.text(), page.text());
    let text = page.text();
    let script = text.split('"').find(|word| word.ends_with(".js")).expect("a script");
    let script = server.get(script);
    assert_eq!(script.status, 200, "{script:?}");
    assert!(script.field("content-type").starts_with("text/javascript"), "{script:?}");
    assert!(script.field("cache-control").contains("immutable"), "{script:?}");
    assert!(script.text().contains("/api/notes"), "{script:?}");
    assert_eq!(server.get("/api/notes").json(), serde_json::json!([{ "text": "milk" }]));
    let note = br#"{"text": "bread"}"#;
    let made = server.request("POST", "/api/notes", "Content-Type: application/json\r\n", note);
    assert_eq!((made.status, made.json()), (201, serde_json::json!({ "count": 2 })));
    assert_eq!(server.get("/api/nothing").status, 404);
    assert_eq!(server.stop(), 0);
}
