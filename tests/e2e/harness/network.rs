//! A local network of two machines that nobody else sees: network namespaces of this one, joined by
//! a cable.

use super::{tools, until};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The machine that a test has to itself, and its neighbour.
pub struct Network {
    /// Lives in the neighbour's namespace, and holds it.
    neighbour: Child,
}

/// What a neighbour runs, and what it says: one JSON object a line.
pub struct Neighbour {
    child: Child,
    output: PathBuf,
}

/// The address of the test's machine.
pub const OWN: &str = "192.0.2.1";
/// The address of its neighbour.
pub const OTHER: &str = "192.0.2.2";

impl Network {
    /// Runs a test on a machine of its own, whose neighbour cannot be reached before
    /// [`Self::plug_in`]. What the test starts is there as well.
    ///
    /// # Panics
    /// Where namespaces cannot be made, which takes the rights of root. And when the test does.
    pub fn run(test: impl FnOnce(&Self) + Send + 'static) {
        let here = std::thread::current().name().unwrap_or("network").to_owned();
        let thread = std::thread::Builder::new().name(here).spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network namespace: run this test as root, where it may make them");
            ip(&["link", "set", "lo", "up"]);
            test(&Self::new());
        });
        if let Err(panic) = thread.expect("a thread").join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let neighbour = holder.spawn().expect("util-linux is installed");
        let network = Self { neighbour };
        let own = fs::read_link("/proc/thread-self/ns/net").expect("our namespace");
        until("the neighbour's namespace", || {
            fs::read_link(network.namespace()).ok().filter(|other| *other != own)
        });
        network
    }

    /// Connects the two machines. IPv6 addresses are usable at once.
    pub fn plug_in(&self) {
        let pid = self.neighbour.id().to_string();
        ip(&["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &pid]);
        for (name, v4, v6) in [("near", OWN, "2001:db8::1"), ("far", OTHER, "2001:db8::2")] {
            let run = |words: &[&str]| match name {
                "near" => ip(words),
                _ => run(self.command("ip").args(words)),
            };
            run(&["address", "add", &format!("{v4}/24"), "dev", name]);
            run(&["address", "add", &format!("{v6}/64"), "dev", name, "nodad"]);
            run(&["link", "set", name, "up"]);
        }
        run(self.command("ip").args(["link", "set", "lo", "up"]));
    }

    /// Connects them once more, into the same network, where our machine has this address as well.
    pub fn plug_in_again(&self, address: &str) {
        let pid = self.neighbour.id().to_string();
        ip(&["link", "add", "near2", "type", "veth", "peer", "name", "far2", "netns", &pid]);
        ip(&["address", "add", &format!("{address}/24"), "dev", "near2"]);
        for words in [
            "link add switch type bridge",
            "link set far master switch",
            "link set far2 master switch",
            "address flush dev far",
            &format!("address add {OTHER}/24 dev switch"),
            "link set far2 up",
            "link set switch up",
        ] {
            run(self.command("ip").args(words.split(' ')));
        }
        ip(&["link", "set", "near2", "up"]);
    }

    /// A program at the neighbour's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace().display())).arg(program);
        command
    }

    /// A multicast DNS of the neighbour's, at work.
    #[track_caller]
    pub fn neighbour(&self, arguments: &[&str]) -> Neighbour {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let output = format!("rip-e2e-neighbour-{}-{number}", std::process::id());
        let output = std::env::temp_dir().join(output);
        let mut command = self.command(&tools::python());
        command.arg(tools::app("neighbour.py")).args(arguments).stdin(Stdio::piped());
        let child = command
            .stdout(File::create(&output).expect("a file for its output"))
            .spawn()
            .expect("the neighbour starts");
        let mut neighbour = Neighbour { child, output };
        until("a neighbour at work", || {
            let ended = neighbour.child.try_wait().expect("the neighbour's state");
            assert!(ended.is_none(), "the neighbour ended: is zeroconf there? run scripts/setup");
            neighbour.said().into_iter().find(|line| line["event"] == "ready")
        });
        neighbour
    }

    fn namespace(&self) -> PathBuf {
        Path::new("/proc").join(self.neighbour.id().to_string()).join("ns/net")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.neighbour.kill();
        let _ = self.neighbour.wait();
    }
}

impl Neighbour {
    /// Everything it said.
    pub fn said(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The last it said of a service, which is called `shop._http`.
    pub fn last(&self, service: &str) -> Option<Value> {
        let name = format!("{service}._tcp.local.");
        self.said().into_iter().rfind(|line| line["name"] == name.as_str())
    }

    /// Waits until a service is known, and known like this.
    #[track_caller]
    pub fn wait_for(&self, service: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{service} to be told"), || {
            self.last(service).filter(|line| line["event"] != "gone" && is_so(line))
        })
    }

    /// Waits until a service has been taken back.
    #[track_caller]
    pub fn wait_for_goodbye(&self, service: &str) {
        until(&format!("{service} to be taken back"), || {
            self.last(service).filter(|line| line["event"] == "gone")
        });
    }

    /// The addresses of a host, which it asks for unless it knows them; none when nobody answers.
    #[track_caller]
    pub fn resolve(&mut self, host: &str) -> Vec<String> {
        self.addresses("asked", host)
    }

    /// The addresses of a host that it has been told and has not forgotten.
    #[track_caller]
    pub fn knows(&mut self, host: &str) -> Vec<String> {
        self.addresses("known", host)
    }

    #[track_caller]
    fn addresses(&mut self, question: &str, host: &str) -> Vec<String> {
        let answers = |lines: Vec<Value>| {
            lines.into_iter().filter(|line| line["event"] == "host").collect::<Vec<_>>()
        };
        let count = answers(self.said()).len();
        let input = self.child.stdin.as_mut().expect("its standard input");
        writeln!(input, "{question} {host}.").expect("the neighbour listens");
        let found = until("its answer", || answers(self.said()).into_iter().nth(count));
        let texts = found["addresses"].as_array().expect("addresses").iter();
        texts.map(|text| text.as_str().expect("an address").to_owned()).collect()
    }

    /// Ends it as one that leaves the network.
    #[track_caller]
    pub fn leave(mut self) {
        drop(self.child.stdin.take());
        until("the neighbour's end", || self.child.try_wait().expect("its state"));
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- the neighbour said:");
            self.said().iter().for_each(|line| eprintln!("{line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.output);
    }
}

/// Changes the interfaces of the machine that the test runs on.
#[track_caller]
pub fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

#[track_caller]
fn run(command: &mut Command) {
    let output = tools::finish(command);
    assert!(output.status.success(), "{command:?}: {}", tools::both(&output));
}
