//! Hosts that are added and removed while the server runs.

use crate::harness::http::Response;
use crate::harness::{Server, Setup, eventually};
use serde_json::json;
use std::fs;

fn ask(server: &Server, host: &str) -> Response {
    let mut client = server.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.response()
}

fn add(server: &Server, body: &str) -> Response {
    server.control_post("/registry", "", body)
}

fn remove(server: &Server, host: &str) -> Response {
    server.control_delete("/registry", &format!("{{\"host\":{host:?}}}"))
}

const FILE: &str = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
    app \"api\" { entry \"builtin:hello\"; workers 1; hosts \"a.test\" }\n";

const APP: &str = "def app(environ, start_response):\n    start_response('200 OK', [])\n    \
    return [b'the blog']\n";

#[test]
fn a_host_is_added_to_an_app_survives_a_reload_and_is_removed() {
    let server = Setup::edgefile(FILE).word("--no-watch").start();
    assert_eq!(ask(&server, "new.test").status, 404);
    let added = add(&server, r#"{"host":"New.Test","app":"api"}"#);
    assert_eq!(added.status, 200, "{added:?}");
    let added = added.json();
    assert_eq!(
        (&added["ok"], &added["result"], &added["app"]),
        (&json!(true), &json!("applied"), &json!("api"))
    );
    assert!(added["note"].as_str().is_some_and(|note| note.contains("until the master restarts")));
    assert_eq!(ask(&server, "new.test").text(), "Hello from rip-master\n");
    assert_eq!(server.control_post("/control/reload", "", "{}").status, 200);
    assert_eq!(ask(&server, "new.test").status, 200);
    let registry = server.control_get("/registry").json();
    assert_eq!(registry["added"], json!([{"host": "new.test", "app": "api"}]), "{registry}");
    for (body, status) in [
        (r#"{"host":"new.test","app":"api"}"#, 409),
        (r#"{"host":"a.test","app":"api"}"#, 409),
        (r#"{"host":"x.test","app":"nope"}"#, 404),
        (r#"{"host":"no host","app":"api"}"#, 400),
    ] {
        assert_eq!(add(&server, body).status, status, "{body}");
    }
    assert_eq!(remove(&server, "a.test").status, 404, "that one is the file's");
    assert_eq!(remove(&server, "new.test").status, 200);
    assert_eq!(ask(&server, "new.test").status, 404);
    assert_eq!(server.control_get("/registry").json()["added"], json!([]));
}

#[test]
fn a_host_with_a_path_gets_an_app_of_its_own() {
    let server = Setup::edgefile(FILE).word("--no-watch").start();
    fs::create_dir(server.path("app/blog")).unwrap();
    fs::write(server.path("app/blog/app.py"), APP).unwrap();
    let path = server.path("app/blog/app.py");
    let body = format!("{{\"host\":\"blog.test\",\"path\":{path:?}}}");
    let added = add(&server, &body);
    assert_eq!(added.status, 200, "{added:?}");
    assert_eq!(ask(&server, "blog.test").text(), "the blog");
    assert_eq!(server.app_called("blog")["hosts"], json!(["blog.test"]));
    let pids = server.pids_of("blog");
    assert_eq!(server.control_post("/control/reload", "", "{}").status, 200);
    assert_eq!(server.pids_of("blog"), pids, "it is not touched by a reload");
    assert_eq!(remove(&server, "blog.test").status, 200);
    assert_eq!(ask(&server, "blog.test").status, 404);
    eventually("its app is gone", || server.pids_of("blog").is_empty());
    let missing = add(&server, r#"{"host":"x.test","path":"/nowhere/at/all"}"#);
    assert_eq!((missing.status, &missing.json()["code"]), (409, &json!("entry_missing")));
    assert_eq!(server.control_get("/registry").json()["added"], json!([]), "it was not added");
    assert_eq!(add(&server, r#"{"host":"x.test","app":"api"}"#).status, 200);
}

#[test]
fn a_master_without_an_edgefile_takes_hosts_too() {
    let server = Setup::builtin("hello").workers(1).start();
    let (code, output) = server.cli(&["add", "echo.test", "builtin:echo"]);
    assert_eq!(code, 0, "{output}");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: echo.test\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
    assert_eq!(server.get("/").text(), "Hello from rip-master\n");
    let (code, output) = server.cli(&["remove", "echo.test"]);
    assert_eq!(code, 0, "{output}");
    eventually("its app is gone", || server.pids_of("echo").is_empty());
    assert_eq!(ask(&server, "echo.test").text(), "Hello from rip-master\n");
}
