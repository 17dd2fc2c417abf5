//! Edgefiles: apps to put into them, ways to write them, and attempts to take them up.

use super::server::Server;
use super::tools;
use super::wait::until;
use super::{Client, Response};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// An order to reload, as its exit code and the attempt tell it.
#[derive(Debug)]
pub struct Reloaded {
    /// The exit code.
    pub code: i32,
    /// The answer.
    pub attempt: Value,
}

/// How an Edgefile is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// Beside it, then renamed over it.
    Renamed,
    /// Into the file that is there.
    InPlace,
    /// Into a directory of its own, which a link then leads to; as a cluster mounts configurations.
    Swapped,
}

/// An app of an Edgefile that is the recorder; `more` stands in its block.
pub fn recorder(name: &str, more: &str) -> String {
    command(name, "recorder.py", more)
}

/// An app of an Edgefile that writes down every execution; `more` stands in its block.
pub fn ledger(name: &str, more: &str) -> String {
    command(name, "ledger.py", more)
}

fn command(name: &str, program: &str, more: &str) -> String {
    let (python, program) = (tools::python(), tools::app(program));
    format!("app \"{name}\" {{\n    command {python:?} \"-S\" \"-I\" {program:?}\n    {more}\n}}\n")
}

impl Server {
    /// Exchanges the Edgefile for another one, as editors do.
    pub fn write_edgefile(&self, text: &str) {
        self.save_edgefile(text, Manner::Renamed);
    }

    /// Gives the Edgefile this text, without telling anybody. `PORT` and `$DIR` are filled in.
    pub fn save_edgefile(&self, text: &str, manner: Manner) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (path, text) = (self.edgefile(), self.filled_in(text));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!("beside{number}~"));
        match manner {
            Manner::InPlace => fs::write(&path, text).expect("the Edgefile"),
            Manner::Renamed => {
                fs::write(&beside, text).expect("a file beside the Edgefile");
                fs::rename(&beside, &path).expect("the Edgefile in its place");
            }
            Manner::Swapped => {
                let (held, link) = (format!("..{number}"), path.with_file_name("..data"));
                fs::create_dir(path.with_file_name(&held)).expect("a directory for the Edgefile");
                fs::write(path.with_file_name(&held).join("Edgefile"), text).expect("the Edgefile");
                std::os::unix::fs::symlink(&held, &beside).expect("a link");
                fs::rename(&beside, &link).expect("the link in its place");
                if !path.is_symlink() {
                    std::os::unix::fs::symlink("..data/Edgefile", &beside).expect("a link");
                    fs::rename(&beside, &path).expect("the Edgefile in its place");
                }
            }
        }
    }

    fn edgefile(&self) -> PathBuf {
        self.path("app/Edgefile")
    }

    /// Takes the Edgefile up by the command line.
    #[track_caller]
    pub fn reload(&self) -> Reloaded {
        let (code, output) = self.cli(&["reload", "--json"]);
        let first = output.lines().next().unwrap_or_default();
        let attempt = serde_json::from_str(first);
        Reloaded { code, attempt: attempt.unwrap_or_else(|error| panic!("{error}: {output}")) }
    }

    /// Takes the Edgefile up by the control socket; the attempt.
    pub fn reload_by_api(&self) -> Value {
        self.control_post("/control/reload", "", "{}").json()
    }

    /// Gives the Edgefile this text and takes it up, which must succeed; the attempt.
    #[track_caller]
    pub fn take_up(&self, text: &str) -> Value {
        self.save_edgefile(text, Manner::Renamed);
        let attempt = self.reload_by_api();
        assert_eq!(
            (&attempt["result"], &attempt["ok"]),
            (&"applied".into(), &true.into()),
            "{attempt}"
        );
        attempt
    }

    /// Gives the Edgefile this text and tries to take it up, which must be refused for this reason;
    /// the attempt.
    #[track_caller]
    pub fn refuses_up(&self, text: &str, code: &str) -> Value {
        self.save_edgefile(text, Manner::Renamed);
        let attempt = self.reload_by_api();
        assert_eq!((&attempt["code"], &attempt["ok"]), (&code.into(), &false.into()), "{attempt}");
        attempt
    }

    /// Sends a HUP and waits for the end of an attempt that began after it.
    #[track_caller]
    pub fn hup(&self) -> Value {
        let before = self.last_attempt();
        self.signal(Signal::SIGHUP);
        self.attempt_after(before, "signal")
    }

    /// Waits for an attempt behind this one that has this source.
    #[track_caller]
    pub fn attempt_after(&self, before: u64, source: &str) -> Value {
        until(&format!("an attempt after {before} by {source}"), || {
            let is_it = |attempt: &Value| {
                attempt["id"].as_u64() > Some(before) && attempt["source"] == source
            };
            self.attempts().into_iter().find(is_it)
        })
    }

    /// `GET /history`.
    #[track_caller]
    pub fn history(&self) -> Value {
        let response = self.control_get("/history");
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// The number of the last attempt that has ended.
    pub fn last_attempt(&self) -> u64 {
        self.attempts().first().map_or(0, |attempt| attempt["id"].as_u64().expect("an id"))
    }

    /// The version that serves.
    pub fn version(&self) -> u64 {
        self.history()["version"].as_u64().expect("a version")
    }

    /// One GET for this host on a connection of its own.
    pub fn get_at(&self, host: &str, target: &str) -> Response {
        self.ask_at(host, "GET", target)
    }

    /// One request without a body for this host on a connection of its own.
    pub fn ask_at(&self, host: &str, method: &str, target: &str) -> Response {
        self.connect().ask_at(host, method, target)
    }

    /// What the recorder that answers there tells of itself and of the request.
    #[track_caller]
    pub fn told_at(&self, host: &str, target: &str) -> Value {
        told(&self.get_at(host, target))
    }
}

/// What a recorder told in this answer.
#[track_caller]
pub fn told(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// The values of a field as a recorder told of it.
pub fn values_told(told: &Value, name: &str) -> Vec<String> {
    let fields = told["fields"].as_array().expect("fields");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let own = fields.iter().filter(|field| text(&field[0]).eq_ignore_ascii_case(name));
    own.map(|field| text(&field[1])).collect()
}

/// Another client at a port of this machine that may refuse it.
pub fn is_refused(port: u16) -> bool {
    Client::try_connect(port)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
