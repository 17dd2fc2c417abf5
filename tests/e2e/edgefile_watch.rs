//! The Edgefile is followed however it is changed, and nothing else is.

use crate::harness::{Server, Setup, until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

fn text(count: u32) -> String {
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
         app \"api\" {{ entry \"builtin:hello\"; workers 1; max-queue {count}; hosts \"a.test\" }}\n"
    )
}

fn with_port(server: &Server, count: u32) -> String {
    text(count).replace("PORT", &server.port().to_string())
}

/// The attempt with this number, once it has ended.
#[track_caller]
fn attempt(server: &Server, id: u64) -> Value {
    until("the attempt", || server.attempts().into_iter().find(|attempt| attempt["id"] == id))
}

/// Waits until the queue is as long as the file says, by one attempt more than before.
#[track_caller]
fn follows(server: &Server, count: u32, id: u64) {
    let attempt = attempt(server, id);
    assert_eq!((&attempt["source"], &attempt["result"]), (&json!("watch"), &json!("applied")));
    assert_eq!(server.app_called("api")["maxQueue"], count, "{attempt}");
    assert_eq!(server.attempts()[0]["id"], id, "one attempt for one change");
}

fn saved_in_every_way(server: &Server) {
    let path = server.path("app/Edgefile");
    let write = |name: &str, count| {
        fs::write(server.path("app").join(name), with_port(server, count)).unwrap();
    };
    fs::write(&path, with_port(server, 2)).unwrap();
    follows(server, 2, 2);
    write("Edgefile.new", 3);
    fs::rename(server.path("app/Edgefile.new"), &path).unwrap();
    follows(server, 3, 3);
    fs::remove_file(&path).unwrap();
    write("Edgefile", 4);
    follows(server, 4, 4);
    // Directories of versions, swapped as a whole.
    for (version, count) in [("..1", 5), ("..2", 6)] {
        fs::create_dir(server.path("app").join(version)).unwrap();
        write(&format!("{version}/Edgefile"), count);
    }
    let point = |target: &str, name: &str| {
        let new = server.path("app/..new");
        symlink(target, &new).unwrap();
        fs::rename(&new, server.path("app").join(name)).unwrap();
    };
    point("..1", "..data");
    point("..data/Edgefile", "Edgefile");
    follows(server, 5, 5);
    point("..2", "..data");
    follows(server, 6, 6);
    // In place, where the links lead.
    write("..2/Edgefile", 7);
    follows(server, 7, 7);
}

#[test]
fn every_way_of_saving_is_seen_once() {
    let server = Setup::edgefile(&text(1)).start();
    saved_in_every_way(&server);
    for name in ["app.py", "Edgefile~", ".Edgefile.swp", "Edgefile.bak"] {
        fs::write(server.path("app").join(name), "noise").unwrap();
    }
    fs::create_dir(server.path("app/below")).unwrap();
    fs::write(server.path("app/below/Edgefile"), "noise").unwrap();
    // What has been read on request is no change any more.
    fs::write(server.path("app/..2/Edgefile"), with_port(&server, 8)).unwrap();
    let reloaded = server.control_post("/control/reload", "", "{}").json();
    fs::write(server.path("app/..2/Edgefile"), with_port(&server, 9)).unwrap();
    let last = until("the last change", || {
        let queue = server.app_called("api")["maxQueue"] == 9;
        queue.then(|| server.attempts())
    });
    assert_eq!(reloaded["source"], "api");
    assert!(last[0]["id"].as_u64().is_some_and(|id| id <= 9), "{last:?}");
}

#[test]
fn polling_sees_the_same() {
    let server = Setup::edgefile(&text(1)).word("--watch-poll").start();
    // The first look may come after the first change.
    let mut count = 100;
    until("the first look", || {
        count += 1;
        fs::write(server.path("app/Edgefile"), with_port(&server, count)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        (server.attempts().len() > 1).then_some(())
    });
    until("it is read", || (server.app_called("api")["maxQueue"] == count).then_some(()));
    let path = server.path("app/Edgefile");
    fs::remove_file(&path).unwrap();
    fs::write(server.path("app/other"), with_port(&server, 4)).unwrap();
    symlink("other", &path).unwrap();
    until("the link is followed", || (server.app_called("api")["maxQueue"] == 4).then_some(()));
}

#[test]
fn a_file_that_is_wrong_is_tried_when_it_is_saved_and_not_again() {
    let server = Setup::edgefile(&text(1)).start();
    fs::write(server.path("app/Edgefile"), "version 1\napp {").unwrap();
    let wrong = attempt(&server, 2);
    assert_eq!((&wrong["result"], &wrong["code"]), (&json!("rejected"), &json!("parse_error")));
    fs::write(server.path("app/noise"), "").unwrap();
    fs::write(server.path("app/Edgefile"), with_port(&server, 5)).unwrap();
    follows(&server, 5, 3);
}

#[test]
fn nobody_watches_when_told_not_to() {
    let server = Setup::edgefile(&text(1)).word("--no-watch").start();
    fs::write(server.path("app/Edgefile"), with_port(&server, 5)).unwrap();
    let reloaded = server.control_post("/control/reload", "", "{}").json();
    assert_eq!((&reloaded["id"], &reloaded["source"]), (&json!(2), &json!("api")));
}
