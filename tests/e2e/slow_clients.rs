//! Clients that are slow on purpose hold no worker and nobody else up, and are sent away.
//!
//! The attacks are those of `slowhttptest`. How long somebody else waits meanwhile is compared with
//! how long it waits in peace, in the same run.

use crate::harness::{Client, Server, Setup, eventually, processes};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[test]
fn heads_that_drip_hold_nobody_up() {
    let _alone = alone();
    let server = server(&["--head-timeout-ms"]);
    let mut attack = Attack::start(&server, &["-H", "-i", "1", "-x", "8"], "/slow");
    assert_undisturbed(&server, &mut attack);
    attack.gives_up();
    server.wait_for_log("head-timeout");
    assert_only_probes_came_by(&server);
}

#[test]
fn bodies_that_stall_hold_nobody_up() {
    let _alone = alone();
    let server = server(&["--body-timeout-ms"]);
    let mut attack = Attack::start(&server, &["-B", "-i", "60", "-s", "8192", "-x", "8"], "/slow");
    assert_undisturbed(&server, &mut attack);
    attack.gives_up();
    server.wait_for_log("body-timeout");
    assert_only_probes_came_by(&server);
}

#[test]
fn answers_that_are_not_taken_hold_nobody_up() {
    let _alone = alone();
    // What the kernel takes of an answer is out of our hands: then the connection idles.
    let server = server(&["--write-timeout-ms", "--idle-timeout-ms"]);
    let flags = ["-X", "-w", "8", "-y", "16", "-n", "60", "-z", "1"];
    let mut attack = Attack::start(&server, &flags, "/slow?size=200000");
    assert_undisturbed(&server, &mut attack);
    assert!(server.seen().len() >= CONNECTIONS * 3 / 4, "the worker has answered the slow ones");
}

/// Slow clients at work.
struct Attack {
    tool: Child,
    output: std::path::PathBuf,
    master: u32,
    descriptors_before: usize,
    /// How long others waited before it began.
    quiet: Duration,
}

impl Attack {
    /// Goes on for longer than a test, or until the server has closed every connection.
    fn start(server: &Server, flags: &[&str], target: &str) -> Self {
        // What the server opens once in its life, it has open.
        assert_eq!(server.get(FINE).status, 200);
        let (quiet, _) = slowest(server, || false);
        let descriptors_before = processes::descriptor_count(server.pid());
        let output = server.path("attack.log");
        let mut tool = Command::new("slowhttptest");
        let count = CONNECTIONS.to_string();
        tool.args(flags).args(["-c", &count, "-r", &count, "-l", "120", "-p", "10"]);
        tool.arg("-u").arg(format!("http://127.0.0.1:{}{target}", server.port()));
        tool.stdin(Stdio::null()).stdout(File::create(&output).expect("a file"));
        let tool = tool.spawn().expect("slowhttptest, which scripts/setup installs");
        let attack = Self { tool, output, master: server.pid(), descriptors_before, quiet };
        eventually("most of the slow clients", || attack.is_on());
        attack
    }

    /// Most of the slow clients are there.
    fn is_on(&self) -> bool {
        self.descriptors() >= self.descriptors_before + CONNECTIONS * 3 / 4
    }

    fn descriptors(&self) -> usize {
        processes::descriptor_count(self.master)
    }

    fn has_ended(&mut self) -> bool {
        self.tool.try_wait().expect("the state of the tool").is_some()
    }

    /// The tool itself sees that it has lost every connection.
    fn gives_up(&mut self) {
        eventually("the end of the tool", || self.has_ended());
        let text = fs::read_to_string(&self.output).expect("what the tool said");
        assert!(text.contains("No open connections left"), "{text}");
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}

/// One worker that takes one request at a time: whoever holds it holds up everybody. It has this
/// patience with slow clients.
fn server(flags: &[&str]) -> Server {
    let setup = Setup::recorder().workers(1);
    flags.iter().fold(setup, |setup, flag| setup.flag(flag, PATIENCE.as_millis())).start()
}

/// Somebody else is served as it is in peace and the worker is free, until the server has sent
/// every slow client away.
#[track_caller]
fn assert_undisturbed(server: &Server, attack: &mut Attack) {
    let (disturbed, was_on) = slowest(server, || attack.is_on());
    assert!(was_on, "the attack was over before it was measured");
    eventually("a free worker", || server.inflight() == 0);
    eventually("the end of every slow connection", || {
        let ended = attack.descriptors() <= attack.descriptors_before + 2;
        assert!(ended || !attack.has_ended(), "the server did not end them, the tool did");
        ended
    });
    let (quiet, _) = slowest(server, || false);
    let quiet = quiet.max(attack.quiet);
    println!("{disturbed:?} with slow clients, {quiet:?} without");
    // Whoever waits for a slow client waits for seconds. A machine that does something else meanwhile
    // is told from that; how fast the server is, its measurements say.
    let most = (quiet * 5).max(PATIENCE / 100);
    assert!(disturbed <= most, "{disturbed:?} with slow clients, {quiet:?} without");
}

/// How long 99 of 100 answers take at most, and whether `holds` at the end of them.
fn slowest(server: &Server, holds: impl Fn() -> bool) -> (Duration, bool) {
    let mut client: Client = server.connect();
    let mut waits: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(client.ask("GET", FINE).status, 200);
            begin.elapsed()
        })
        .collect();
    let held = holds();
    waits.sort_unstable();
    (waits[SAMPLES * 99 / 100], held)
}

/// Of the tool only the clients that look whether the server still answers were served.
#[track_caller]
fn assert_only_probes_came_by(server: &Server) {
    let others = server.seen().iter().filter(|line| line.target() != FINE).count();
    assert!(others < CONNECTIONS / 10, "{others} of {CONNECTIONS} slow requests came by");
    let posts = server.seen().iter().filter(|line| line.method() == "POST").count();
    assert_eq!(posts, 0);
}

/// These tests measure: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const FINE: &str = "/fine?text=fine";
const CONNECTIONS: usize = 300;
const SAMPLES: usize = 1000;
/// What slow clients are given.
const PATIENCE: Duration = Duration::from_secs(8);
