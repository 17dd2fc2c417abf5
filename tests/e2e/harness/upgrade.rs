//! Servers that are replaced by another process of the program while they run, and programs that are
//! none.

use super::server::{OWN_PROGRAM, Server};
use super::wait::{eventually, until};
use super::{processes, tools};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What must not change when nothing happens.
#[derive(Debug, Eq, PartialEq)]
pub struct State {
    pid: u32,
    pid_file: u32,
    workers: Vec<(u64, u64)>,
    processes: BTreeSet<u32>,
    files: Vec<String>,
}

/// The beginning of a program that speaks with the server: `say` and `hear` are messages.
const SPEAKER: &str = r#"#!/usr/bin/env -S python3 -S -I
import json, os, socket, sys, time
pair = socket.socket(fileno=3)
def hear():
    return json.loads(pair.recvmsg(65536, 4096)[0])
def say(**message):
    pair.send(json.dumps(message).encode())
def ready(**more):
    say(**{"say": "ready", "protocol": 1, "version": "9.9.9", "listeners": [], **more})
"#;

impl Server {
    /// Replaces it by another process of the program; its pid is that one's from now on. The answer.
    #[track_caller]
    pub fn upgrade(&mut self) -> Value {
        self.upgrade_with(&[])
    }

    /// The same with more words.
    #[track_caller]
    pub fn upgrade_with(&mut self, words: &[&str]) -> Value {
        let (code, answer) = self.try_upgrade(words);
        assert_eq!(code, 0, "{answer:#}");
        assert_eq!((&answer["ok"], &answer["result"]), (&true.into(), &"applied".into()));
        assert_eq!(answer["oldPid"], self.pid(), "{answer:#}");
        let pid = answer["newPid"].as_u64().expect("a pid");
        self.is_succeeded_by(u32::try_from(pid).expect("a pid"));
        assert_eq!(self.pid_in_file(), self.pid(), "the pid file is the new one's");
        let (code, status) = self.cli(&["ctl", "status"]);
        assert_eq!(code, 0, "{status}");
        answer
    }

    /// Tries to; the exit code and the answer.
    #[track_caller]
    pub fn try_upgrade(&self, words: &[&str]) -> (i32, Value) {
        let words = [&["upgrade", "--json"], words].concat();
        let (code, output) = self.cli(&words);
        let first = output.lines().next().unwrap_or_default();
        let answer = serde_json::from_str(first);
        (code, answer.unwrap_or_else(|error| panic!("{error}: {output}")))
    }

    /// Asks for it by a signal; its pid is the new one's when this returns.
    #[track_caller]
    pub fn upgrade_by_signal(&mut self) {
        let before = self.pid();
        self.signal(Signal::SIGUSR2);
        let pid = until("another pid in the pid file", || {
            let pid = self.try_pid_in_file()?;
            (pid != before).then_some(pid)
        });
        self.is_succeeded_by(pid);
    }

    /// Waits until nothing is left of the one before.
    #[track_caller]
    pub fn wait_for_predecessors(&self) {
        let own = self.pid();
        let subdirectories = || self.runtime_entries().into_iter().filter(|name| is_pid(name));
        eventually("the end of every predecessor", || {
            subdirectories().collect::<Vec<_>>() == [own.to_string()]
                && self.processes().iter().filter(|pid| is_master(**pid)).count() == 1
        });
    }

    /// The pid in the pid file.
    #[track_caller]
    pub fn pid_in_file(&self) -> u32 {
        self.try_pid_in_file().expect("a pid in the pid file")
    }

    fn try_pid_in_file(&self) -> Option<u32> {
        let text = fs::read_to_string(self.runtime().join("master.pid")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    fn runtime_entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.runtime()).expect("the runtime directory").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What must stay as it is.
    pub fn state(&self) -> State {
        let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
        let workers = self.workers();
        State {
            pid: self.pid(),
            pid_file: self.pid_in_file(),
            workers: workers
                .iter()
                .map(|row| (number(row, "workerId"), number(row, "pid")))
                .collect(),
            processes: self.processes().into_iter().collect(),
            files: self.runtime_entries(),
        }
    }

    /// A new file takes the place of the program.
    pub fn replace_program(&self) {
        tools::copy_program(&self.path(OWN_PROGRAM));
    }

    /// A program of the test's: this shell script.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        self.executable(name, &format!("#!/bin/sh\n{text}\n"))
    }

    /// A program of the test's that speaks with the server.
    pub fn speaker(&self, name: &str, text: &str) -> PathBuf {
        self.executable(name, &format!("{SPEAKER}{text}\n"))
    }

    fn executable(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        path
    }
}

fn is_pid(name: &str) -> bool {
    name.parse::<u32>().is_ok()
}

/// Whether a process of a server is a master, and neither a shim nor an app.
pub fn is_master(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).collect();
    words.get(1) == Some(&b"start".as_slice()) && processes::is_alive(pid)
}
