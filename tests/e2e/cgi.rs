//! CGI scripts behind the server: a process for each request, and none that outlives its request.

use crate::harness::{Setup, eventually};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const HEAD: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n";

/// Scripts below the app's directory, by name.
fn scripts(entry: &str, scripts: &[(&str, &str)]) -> Setup {
    let mut setup = Setup::entry(entry);
    for (name, text) in scripts {
        setup = setup.with_file(name, &format!("{HEAD}{text}\n"));
        let path = setup.path("app").join(name);
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    setup
}

/// Whether the process of this id lives.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, after)| !after.starts_with(" Z"))
}

#[test]
fn a_client_that_leaves_takes_its_script_along() {
    let script = "sleep 600 & echo $! >\"$DIR/child\"; echo $$; wait";
    let setup = scripts("app.cgi", &[("app.cgi", script)]);
    let directory = setup.path("app");
    let server = setup.workers(1).env("DIR", &directory).start();
    let mut client = server.connect();
    client.request("GET", "/", "", b"");
    client.head();
    let pid = String::from_utf8(client.chunk().expect("its id")).unwrap();
    let child = fs::read_to_string(directory.join("child")).unwrap();
    assert!(lives(&pid) && lives(&child));
    client.reset();
    eventually("both have ended", || !lives(&pid) && !lives(&child));
    eventually("the worker is free", || server.inflight() == 0);
    assert_eq!(server.app()["restarts"], 0);
}

#[test]
fn a_script_that_is_silent_too_long_is_ended() {
    let script = "case $PATH_INFO in /slow) echo $$ >\"$DIR/pid\"; sleep 600;; esac; echo ok";
    let setup = scripts("app.cgi", &[("app.cgi", script)]);
    let directory = setup.path("app");
    let setup = setup.workers(1).env("DIR", &directory).flag("--read-timeout-ms", 700);
    let server = setup.start();
    let began = Instant::now();
    let mut client = server.connect();
    client.request("GET", "/slow", "", b"");
    // Its head has been passed on; what is cut is the body.
    assert_eq!(client.head().status, 200);
    eventually("it has begun", || directory.join("pid").exists());
    let pid = fs::read_to_string(directory.join("pid")).unwrap();
    eventually("it has ended", || !lives(&pid));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(server.get("/").text(), "ok\n", "the worker goes on");
    assert_eq!(server.app()["restarts"], 0);
}

#[test]
fn one_worker_may_run_several() {
    let script = "echo begun; until [ -e \"$DIR/gate\" ]; do sleep 0.02; done; echo done";
    let setup = scripts("app.cgi", &[("app.cgi", script)]);
    let directory = setup.path("app");
    let server = setup.workers(1).concurrency(3).env("DIR", &directory).start();
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.request("GET", "/", "", b"");
    }
    // None of them ends before all have begun.
    for client in &mut clients {
        client.head();
        assert_eq!(client.chunk().as_deref(), Some(&b"begun\n"[..]));
    }
    fs::write(directory.join("gate"), "").unwrap();
    for client in &mut clients {
        assert_eq!(client.chunk().as_deref(), Some(&b"done\n"[..]));
    }
}

#[test]
fn a_directory_of_scripts_is_an_app() {
    let show = "echo \"$SCRIPT_NAME $PATH_INFO $QUERY_STRING\"";
    let setup = scripts("bin", &[("bin/show", show), ("bin/index.cgi", "echo index")])
        .with_file("bin/notes.txt", "a secret")
        .flag("--runtime", "cgi");
    let server = setup.workers(1).start();
    assert_eq!(server.get("/").text(), "index\n");
    assert_eq!(server.get("/show/caf%C3%A9?a=b").text(), "/show /café a=b\n");
    assert_eq!(server.get("/none").status, 404);
    let refused = server.get("/notes.txt");
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(!refused.text().contains("secret"));
    server.wait_for_log("notes.txt is not executable; run `chmod +x");
}

#[test]
fn a_script_that_is_changed_answers_as_changed() {
    let setup = scripts("app.cgi", &[("app.cgi", "echo one")]);
    let path = setup.path("app").join("app.cgi");
    let server = setup.workers(1).start();
    assert_eq!(server.get("/").text(), "one\n");
    let workers = server.workers();
    fs::write(&path, format!("{HEAD}echo two\n")).unwrap();
    assert_eq!(server.get("/").text(), "two\n");
    assert_eq!(server.workers()[0]["pid"], workers[0]["pid"], "by the same worker");
}
