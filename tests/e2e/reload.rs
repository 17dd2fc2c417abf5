//! Changes of an app's files are followed while it serves.

use crate::harness::http::Client;
use crate::harness::{Server, Setup, eventually};
use std::fs;

/// An app that answers with `version` and its worker's id.
fn app(version: &str) -> String {
    format!(
        "import os\n\n\ndef application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'{version} ' + os.environ['RIP_WORKER_ID'].encode() + b' %d' % os.getpid()]\n"
    )
}

fn save(server: &Server, name: &str, content: &str) {
    fs::write(server.path("app").join(name), content).expect("a file of the app");
}

/// The way careful editors save: the whole file beside it, then a rename.
fn save_by_rename(server: &Server, name: &str, content: &str) {
    let beside = server.path("app").join(format!(".{name}.new"));
    fs::write(&beside, content).expect("a file beside it");
    fs::rename(beside, server.path("app").join(name)).expect("a rename");
}

/// What the app answers; every request must be.
#[track_caller]
fn answer(server: &Server) -> Vec<String> {
    let response = server.get("/");
    assert_eq!(response.status, 200, "{response:?}");
    response.text().split(' ').map(str::to_owned).collect()
}

#[track_caller]
fn wait_for_version(server: &Server, version: &str) {
    eventually(&format!("{version} is served"), || answer(server)[0] == version);
}

fn count(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

#[test]
fn a_saved_file_puts_fresh_workers_in_place_without_a_failed_request() {
    let server = Setup::python(&app("one")).workers(2).start();
    server.wait_for_workers(2);
    assert_eq!(answer(&server)[0], "one");
    save(&server, "app.py", &app("two"));
    wait_for_version(&server, "two");
    save_by_rename(&server, "app.py", &app("three"));
    wait_for_version(&server, "three");
    server.wait_for_log("roll_done");
    let log = server.log();
    let roll = log.lines().find(|line| line.contains("roll_start")).expect("a roll");
    assert!(roll.contains("watch") && roll.contains("app.py"), "{roll}");
}

#[test]
fn many_files_at_once_are_one_roll() {
    let server = Setup::python(&app("one")).workers(1).flag("--restart-backoff-ms", 10).start();
    for number in 0..50 {
        save(&server, &format!("module{number}.py"), "x = 1\n");
    }
    save(&server, "app.py", &app("two"));
    wait_for_version(&server, "two");
    server.wait_for_log("roll_done");
    // A second one would be answered by a third worker.
    assert!(count(&server, "roll_start") <= 2, "{}", server.log());
}

#[test]
fn files_in_a_new_directory_are_seen_and_those_of_tools_are_not() {
    let server = Setup::python(&app("one")).workers(1).start();
    for name in [".app.py.swp", "app.py~", "notes.txt", "#app.py#"] {
        save(&server, name, "noise");
    }
    fs::create_dir(server.path("app/__pycache__")).expect("a directory");
    save(&server, "__pycache__/app.py", "noise");
    let part = "def application(environ, start_response):\n    \
                start_response('200 OK', [])\n    return [b'nested']\n";
    fs::create_dir_all(server.path("app/deep/part")).expect("directories");
    save(&server, "deep/part/views.py", part);
    save(&server, "app.py", "from deep.part.views import application\n");
    eventually("the nested view", || server.get("/").text() == "nested");
    let log = server.log();
    let roll = log.lines().find(|line| line.contains("roll_start")).expect("a roll");
    assert!(roll.contains("deep/part/views.py") || roll.contains("app.py"), "{roll}");
    save(&server, "deep/part/views.py", &part.replace("nested", "changed"));
    eventually("the changed view", || server.get("/").text() == "changed");
}

#[test]
fn a_change_that_does_not_start_leaves_the_old_workers_serving_and_says_why() {
    let server = Setup::python(&app("good")).workers(2).start();
    server.wait_for_workers(2);
    save(&server, "app.py", "def application(:\n");
    server.wait_for_log("roll_aborted");
    server.wait_for_log("SyntaxError");
    assert_eq!(answer(&server)[0], "good");
    server.wait_for_workers(2);
    save(&server, "app.py", &app("mended"));
    wait_for_version(&server, "mended");
}

#[test]
fn nothing_is_followed_where_nothing_shall_be() {
    for flag in ["--static", "--reload=none"] {
        let server = Setup::python(&app("one")).workers(1).word(flag).start();
        assert_eq!(server.app()["reload"], "none");
        assert_eq!(server.app()["watch"].as_array().map(Vec::len), Some(0));
    }
    let (code, text) = Setup::python(&app("one")).word("--static").word("--reload=process").fails();
    assert_eq!(code, 2, "{text}");
}

#[test]
fn a_command_is_followed_by_the_globs_it_is_given() {
    let setup = Setup::recorder().workers(1).flag("--watch", "*.conf");
    let server = setup.start();
    save(&server, "app.conf", "changed");
    server.wait_for_log("roll_done");
}

#[test]
fn changes_are_found_by_looking_where_the_kernel_is_not_asked() {
    let server = Setup::python(&app("one")).workers(1).word("--watch-poll").start();
    // The first look may come after the first save.
    let mut version = 0;
    eventually("another version", || {
        version += 1;
        save(&server, "app.py", &format!("{}# {version}\n", app("two")));
        answer(&server)[0] == "two" && server.log().contains("roll_start")
    });
}

#[test]
fn modules_are_reloaded_inside_the_worker() {
    let source = "import part\n\n\ndef application(environ, start_response):\n    \
                  start_response('200 OK', [])\n    return [part.answer()]\n";
    let part = |version: &str| {
        format!("import os\n\n\ndef answer():\n    return b'{version} %d' % os.getpid()\n")
    };
    let server = Setup::python(source)
        .with_file("part.py", &part("one"))
        .workers(1)
        .word("--reload=module")
        .start();
    let first = answer(&server);
    save(&server, "part.py", &part("two"));
    wait_for_version(&server, "two");
    assert_eq!(answer(&server)[1], first[1], "the same process");
    save(&server, "part.py", "def answer(:\n");
    server.wait_for_log("the last good version goes on serving");
    server.wait_for_log("SyntaxError");
    assert_eq!(answer(&server), ["two", &first[1]]);
    save(&server, "part.py", &part("three"));
    wait_for_version(&server, "three");
    assert_eq!(answer(&server)[1], first[1]);
    assert_eq!(server.ready_workers()[0]["workerId"], 1);
    assert_eq!(count(&server, "roll_start"), 0);
}

#[test]
fn a_worker_that_reloaded_often_enough_is_replaced() {
    let server = Setup::python(&app("v0"))
        .workers(1)
        .word("--reload=module")
        .env("RIP_MAX_RELOADS", "2")
        .start();
    for version in ["v1", "v2"] {
        save(&server, "app.py", &app(version));
        wait_for_version(&server, version);
    }
    eventually("a fresh worker", || answer(&server)[1] == "2");
    assert_eq!(answer(&server)[0], "v2");
    server.wait_for_log("worker_recycle");
}

#[test]
fn the_setup_runs_once_before_the_first_worker_of_each_generation() {
    let script =
        "echo \"setup of g$RIP_GENERATION\"\necho run >> runs\necho \"$FROM_DOTENV\" > said\n";
    let mut setup = Setup::python(&app("one")).workers(3);
    setup = setup.with_file("setup.sh", script).with_file(".env", "FROM_DOTENV=yes\n");
    let server = setup.start();
    server.wait_for_workers(3);
    let runs = || fs::read_to_string(server.path("app/runs")).unwrap_or_default().lines().count();
    assert_eq!(runs(), 1);
    assert_eq!(fs::read_to_string(server.path("app/said")).expect("what it said"), "yes\n");
    server.wait_for_log("setup of g1");
    save(&server, "app.py", &app("two"));
    wait_for_version(&server, "two");
    server.wait_for_log("roll_done");
    assert_eq!(runs(), 2);
}

#[test]
fn a_setup_that_writes_what_is_watched_starts_no_further_roll() {
    let server = Setup::python(&app("one"))
        .workers(1)
        .with_file("setup.sh", "date +%s%N > made.html\necho run >> runs\n")
        .start();
    save(&server, "app.py", &app("two"));
    wait_for_version(&server, "two");
    server.wait_for_log("roll_done");
    save(&server, "app.py", &app("three"));
    wait_for_version(&server, "three");
    eventually("two rolls", || count(&server, "roll_done") == 2);
    let runs = fs::read_to_string(server.path("app/runs")).expect("the runs");
    assert_eq!(runs.lines().count(), 3);
}

#[test]
fn a_setup_that_fails_fails_the_start_with_its_output() {
    let (code, text) = Setup::python(&app("one"))
        .workers(2)
        .with_file("setup.sh", "echo nothing works today >&2\nexit 3\n")
        .fails();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("nothing works today"), "{text}");
    assert!(text.contains("setup.sh` exited with status 3"), "{text}");
}

#[test]
fn a_setup_that_fails_later_leaves_the_old_workers_serving() {
    let server = Setup::python(&app("one"))
        .workers(1)
        .flag("--setup", "test ! -e broken || { echo it is broken >&2; exit 7; }")
        .start();
    save(&server, "broken", "");
    save(&server, "app.py", &app("two"));
    server.wait_for_log("roll_aborted");
    server.wait_for_log("it is broken");
    assert_eq!(answer(&server)[0], "one");
    fs::remove_file(server.path("app/broken")).expect("it was there");
    save(&server, "app.py", &app("three"));
    wait_for_version(&server, "three");
}

#[test]
fn a_setup_that_hangs_does_not_hold_up_the_end() {
    let mut server = Setup::python(&app("one"))
        .workers(1)
        .flag("--setup", "echo it hangs; sleep 1000")
        .unawaited()
        .start();
    server.wait_for_log("it hangs");
    assert_eq!(server.control_get("/workers").status, 200, "the control loop goes on");
    assert_eq!(server.stop(), 0);
}

/// The next event of a stream: its name and its data.
fn event(client: &mut Client) -> (String, String) {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text.push_str(&String::from_utf8(client.chunk().expect("an event")).expect("text"));
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    (value("event:"), value("data:"))
}

#[test]
fn pages_hear_of_changed_files() {
    let mut server = Setup::builtin("echo").workers(1).start();
    fs::create_dir(server.path("app/static")).expect("a directory");
    assert_eq!(server.get("/site/watch").status, 200, "the app's own until it is registered");
    let watch = r#"{"prefix":"/site/","dirs":["static"]}"#;
    let answer = server.control_post("/watch", "", watch);
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut client = server.connect();
    client.send("GET /site/watch HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status, 200);
    let stream = ("content-type".to_owned(), "text/event-stream".to_owned());
    let found = head
        .fields
        .iter()
        .any(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()) == stream);
    assert!(found, "{head:?}");
    assert_eq!(event(&mut client).0, "connected");
    save(&server, "static/a.css", "a {}");
    assert_eq!(event(&mut client), ("reload".to_owned(), "styles".to_owned()));
    save(&server, "static/a.html", "<p>");
    assert_eq!(event(&mut client), ("reload".to_owned(), "page".to_owned()));
    for other in ["/site", "/site/watch/x", "/watch", "/other/watch"] {
        assert_eq!(
            server.get(other).values("content-type"),
            ["application/octet-stream"],
            "{other}"
        );
    }
    assert_eq!(server.request("POST", "/site/watch", "", b"x").status, 405);
    assert_eq!(server.control_post("/watch", "", r#"{"prefix":"/x","dirs":["no"]}"#).status, 400);
    // The end is one that the client can tell from a cut, and nothing was cut.
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let mut rest = Vec::new();
    while let Some(chunk) = client.chunk() {
        rest.extend(chunk);
    }
    assert_eq!(rest, b"retry: 1000\n\n");
    assert_eq!(server.exit_code(), 0);
}
