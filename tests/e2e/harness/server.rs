//! One server of one test: started, watched, ended, and everything it leaves is noticed.

use super::http::{Client, Response};
use super::port::Port;
use super::processes::{self, MARK};
use super::tools;
use super::wait::{self, eventually, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How a server is to be started.
pub struct Setup {
    entry: Option<String>,
    arguments: Vec<String>,
    command: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    directory: Directory,
    is_awaited: bool,
    is_read: bool,
    outputs: [Option<Stdio>; 2],
    descriptors: Option<u32>,
    /// It is started from a copy of the program in the test's directory.
    has_own_program: bool,
    port: Option<Port>,
    /// The Edgefile says where to listen.
    names_port: bool,
    /// How the port is said otherwise.
    manner: PortManner,
    /// Makes the command that starts it one of somebody else's.
    wrapper: Option<Wrapper>,
}

/// From the master's command and its port to the command of who starts it.
type Wrapper = Box<dyn Fn(&Command, u16) -> Command>;

/// How a master is told its port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PortManner {
    /// `http:PORT`.
    Plain,
    /// `PORT`.
    Bare,
    /// `$PORT`.
    Environment,
}

/// Where a copy of the program is, in the test's directory.
pub const OWN_PROGRAM: &str = "bin/rip-master";

/// Lines of each log that a failure shows.
const TAIL_LINES: usize = 25;

/// What masters are called unless a test says otherwise.
const NAME: &str = "t";

/// A running server; ends with its test.
pub struct Server {
    child: Child,
    /// The process that has taken its place.
    successor: Option<u32>,
    command: Command,
    status: Option<ExitStatus>,
    port: Port,
    name: String,
    runtime_base: PathBuf,
    directory: Directory,
}

/// A directory of one test. Short, because socket paths are.
struct Directory {
    path: PathBuf,
    mark: String,
}

/// One line of what the recorder saw.
pub struct Seen(pub Value);

impl Setup {
    /// A built-in app.
    pub fn builtin(name: &str) -> Self {
        let mut setup = Self::bare();
        setup.entry = Some(format!("builtin:{name}"));
        setup
    }

    /// The app that writes down what it sees and does what the query says.
    pub fn recorder() -> Self {
        Self::command(&[&tools::python(), "-S", "-I", &tools::app("recorder.py")]).with_record()
    }

    /// The app that writes down every execution, under the built-in adapter. Its files are not
    /// watched.
    pub fn ledger() -> Self {
        Self::watched_ledger("none")
    }

    /// The same; this is what a change of its files does.
    pub fn watched_ledger(mode: &str) -> Self {
        let source = fs::read_to_string(tools::app("ledger.py")).expect("the app's source");
        Self::python(&source).with_record().flag("--reload", mode)
    }

    /// The same as a program of its own that serves several requests at once.
    pub fn ledger_command() -> Self {
        Self::command(&[&tools::python(), "-S", "-I", &tools::app("ledger.py")]).with_record()
    }

    /// Tells the app where to write down what it sees.
    pub fn with_record(self) -> Self {
        let record = self.path("record");
        fs::create_dir_all(&record).expect("the directory of records");
        self.env("RECORD", record)
    }

    /// Any program that serves HTTP.
    pub fn command(argv: &[&str]) -> Self {
        let mut setup = Self::bare();
        setup.command = argv.iter().map(|word| (*word).to_owned()).collect();
        setup.entry = Some(setup.text("app"));
        setup
    }

    /// A Python app of one file.
    pub fn python(source: &str) -> Self {
        let mut setup = Self::bare();
        setup.file("app.py", source);
        setup.entry = Some(setup.text("app/app.py"));
        setup
    }

    /// What an Edgefile describes. `PORT` in it is a port of the test's own, and `$DIR` the test's
    /// directory; without a `PORT` the flag stands above the file.
    pub fn edgefile(text: &str) -> Self {
        let mut setup = Self::bare().with_record().with_file("Edgefile", text);
        setup.names_port = text.contains("PORT");
        setup
    }

    /// Whatever this path, module or directory is; relative to the test's own `app`.
    pub fn entry(entry: impl AsRef<Path>) -> Self {
        let mut setup = Self::bare();
        setup.entry = Some(entry.as_ref().to_str().expect("a path in UTF-8").to_owned());
        setup
    }

    /// A directory of files, `site` in the test's own; `make` fills it.
    pub fn files(make: impl FnOnce(&Path)) -> Self {
        let mut setup = Self::bare();
        let site = setup.path("site");
        fs::create_dir(&site).expect("the directory of files");
        make(&site);
        setup.entry = Some(setup.text("site"));
        setup
    }

    fn bare() -> Self {
        let directory = Directory::new();
        for name in ["run", "app", "cache"] {
            fs::create_dir(directory.path.join(name)).expect("a directory of the test");
        }
        Self {
            entry: None,
            arguments: Vec::new(),
            command: Vec::new(),
            environment: Vec::new(),
            directory,
            is_awaited: true,
            is_read: true,
            outputs: [None, None],
            descriptors: None,
            has_own_program: false,
            port: None,
            names_port: false,
            manner: PortManner::Plain,
            wrapper: None,
        }
    }

    /// Is started by the command that `wrap` makes of its own and its port, which must execute it.
    /// The environment is added to that command.
    pub fn wrapped(mut self, wrap: impl Fn(&Command, u16) -> Command + 'static) -> Self {
        self.wrapper = Some(Box::new(wrap));
        self
    }

    /// Its port is a bare number.
    pub fn bare_port(mut self) -> Self {
        self.manner = PortManner::Bare;
        self
    }

    /// Its port is that of the environment.
    pub fn environment_port(mut self) -> Self {
        self.manner = PortManner::Environment;
        self
    }

    /// Worker processes.
    pub fn workers(self, count: usize) -> Self {
        self.word(&format!("w:{count}"))
    }

    /// Requests at once per worker.
    pub fn concurrency(self, count: usize) -> Self {
        self.word(&format!("c:{count}"))
    }

    /// One more word of the command line.
    pub fn word(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    /// A flag with a value.
    pub fn flag(self, name: &str, value: impl ToString) -> Self {
        self.word(name).word(&value.to_string())
    }

    /// A variable of the master's environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Another file beside the app.
    pub fn with_file(self, name: &str, content: &str) -> Self {
        self.file(name, content);
        self
    }

    /// Does not wait for the first worker.
    pub fn unawaited(mut self) -> Self {
        self.is_awaited = false;
        self
    }

    /// Writes its standard output to a pipe that nobody reads.
    pub fn unread(mut self) -> Self {
        self.is_read = false;
        self
    }

    /// Writes its standard output and its standard error there, as far as it is said.
    pub fn writing_to(mut self, stdout: Option<Stdio>, stderr: Option<Stdio>) -> Self {
        self.outputs = [stdout, stderr];
        self
    }

    /// Its Edgefile says where to listen, in numbers.
    pub fn names_ports(mut self) -> Self {
        self.names_port = true;
        self
    }

    /// Listens there.
    pub fn at(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// Is started from a copy of the program, `bin/rip-master` in the test's directory.
    pub fn own_program(mut self) -> Self {
        tools::copy_program(&self.path(OWN_PROGRAM));
        self.has_own_program = true;
        self
    }

    /// May have so many descriptors and no more.
    pub fn descriptors(mut self, count: u32) -> Self {
        self.descriptors = Some(count);
        self
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }

    /// Starts it; returns when it listens and (unless [`Self::unawaited`]) a worker has joined.
    pub fn start(mut self) -> Server {
        let port = self.port.take().unwrap_or_else(Port::free);
        self.fill_in(&port);
        let mut command = self.master(&port);
        let [stdout, stderr] = std::mem::take(&mut self.outputs);
        let log = |name: &str| File::create(self.path(name)).expect("a log file");
        let own = || if self.is_read { log("stdout.log").into() } else { Stdio::piped() };
        command.stdout(stdout.unwrap_or_else(own));
        command.stderr(stderr.unwrap_or_else(|| log("stderr.log").into()));
        let child = command.spawn().expect("the master starts");
        let name = self.name().to_owned();
        let runtime_base = self.runtime_base();
        let directory = self.directory;
        let (status, successor) = (None, None);
        let mut server =
            Server { successor, child, command, status, port, name, runtime_base, directory };
        server.wait_until_listening();
        if self.is_awaited {
            server.wait_until_ready();
        }
        server
    }

    /// Runs it where it is expected to end by itself; its output and exit code.
    pub fn fails(self) -> (i32, String) {
        let port = Port::free();
        self.fill_in(&port);
        let mut command = self.master(&port);
        let output = tools::finish_within(&mut command, wait::SOON);
        let left = processes::marked(&self.directory.mark);
        assert!(left.is_empty(), "left behind: {}", processes::describe(&left));
        let text = tools::both(&output);
        fs::remove_dir_all(&self.directory.path).expect("the test's directory");
        (output.status.code().expect("an exit code"), text)
    }

    fn runtime_base(&self) -> PathBuf {
        let given = self.environment.iter().find(|(name, _)| name == "XDG_RUNTIME_DIR");
        given.map_or_else(|| self.path("run"), |(_, path)| path.into())
    }

    fn name(&self) -> &str {
        let mut words = self.arguments.iter().skip_while(|word| *word != "--name");
        words.nth(1).map_or(NAME, |name| name)
    }

    fn master(&self, port: &Port) -> Command {
        let mut command = match self.descriptors {
            Some(count) => tools::rip_master_with_descriptors(count),
            None if self.has_own_program => tools::program(&self.path(OWN_PROGRAM)),
            None => tools::rip_master(),
        };
        command.arg("start").args(&self.entry);
        if !self.names_port {
            if !self.arguments.iter().any(|word| word.starts_with("http")) {
                match self.manner {
                    PortManner::Plain => command.arg(format!("http:{}", port.number)),
                    PortManner::Bare => command.arg(port.number.to_string()),
                    PortManner::Environment => command.env("PORT", port.number.to_string()),
                };
            }
            command.args(["--host", "127.0.0.1"]);
        }
        command.args(&self.arguments);
        if !self.arguments.iter().any(|word| word == "--name") {
            command.args(["--name", NAME]);
        }
        if !self.command.is_empty() {
            command.arg("--").args(&self.command);
        }
        command
            .env(MARK, &self.directory.mark)
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("CACHE_DIRECTORY", self.path("cache"))
            .env("STATE_DIRECTORY", self.path("state"))
            .env("CAROOT", self.path("mkcert"))
            .env("PATH", tools::search_path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(wrap) = &self.wrapper {
            let mut wrapped = wrap(&command, port.number);
            let own: Vec<_> = wrapped.get_envs().map(|(name, _)| name.to_owned()).collect();
            for (name, value) in
                command.get_envs().filter(|(name, _)| !own.contains(&(*name).to_owned()))
            {
                match value {
                    Some(value) => wrapped.env(name, value),
                    None => wrapped.env_remove(name),
                };
            }
            command = wrapped;
        }
        command.current_dir(self.path("app")).stdin(Stdio::null()).process_group(0);
        command
    }

    fn file(&self, name: &str, content: &str) {
        let path = self.path("app").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("the file's directory");
        fs::write(path, content).expect("a file of the app");
    }

    /// Puts what is known by now into the Edgefile.
    fn fill_in(&self, port: &Port) {
        let path = self.path("app/Edgefile");
        if let Ok(text) = fs::read_to_string(&path) {
            let text = filled_in(&text, port.number, &self.directory.path);
            fs::write(path, text).expect("the Edgefile");
        }
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Server {
    /// Its public port.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The master's pid.
    pub fn pid(&self) -> u32 {
        self.successor.unwrap_or_else(|| self.child.id())
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }

    /// The master's runtime directory.
    pub fn runtime(&self) -> PathBuf {
        self.runtime_base.join("rip").join(&self.name)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.port())
    }

    /// One GET on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.connect().ask("GET", target)
    }

    /// The text of an Edgefile with what is known by now in the place of `PORT` and `$DIR`.
    pub fn filled_in(&self, text: &str) -> String {
        filled_in(text, self.port(), &self.directory.path)
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, target: &str, fields: &str, body: &[u8]) -> Response {
        let mut client = self.connect();
        client.request(method, target, fields, body);
        client.response_to(method)
    }

    /// A command line of the same program that means this server and no other of the machine.
    pub fn cli(&self, arguments: &[&str]) -> (i32, String) {
        self.command_line(arguments, Some(&self.name))
    }

    /// A command line of the same program that names no server.
    pub fn cli_without_name(&self, arguments: &[&str]) -> (i32, String) {
        self.command_line(arguments, None)
    }

    fn command_line(&self, arguments: &[&str], name: Option<&str>) -> (i32, String) {
        let mut command = tools::rip_master();
        command.args(arguments).env("XDG_RUNTIME_DIR", &self.runtime_base);
        command.envs(name.map(|name| ("RIP_NAME", name)));
        let output = tools::finish(&mut command);
        (output.status.code().expect("an exit code"), tools::both(&output))
    }

    #[track_caller]
    fn wait_until_listening(&mut self) {
        eventually("a listening port", || {
            self.assert_running();
            Client::try_connect(self.port()).is_ok() && self.try_control().is_ok()
        });
    }

    /// Waits until the app has a ready worker.
    #[track_caller]
    fn wait_until_ready(&mut self) {
        until("the first ready worker", || {
            self.assert_running();
            let mut client = self.try_control().ok()?;
            client.try_send("GET /status HTTP/1.1\r\nHost: a.test\r\n\r\n").ok()?;
            let response = client.try_response("GET").ok()?;
            (response.status == 200).then_some(())
        });
    }

    /// Waits until exactly this many workers are ready.
    #[track_caller]
    pub fn wait_for_workers(&self, count: usize) {
        eventually("that number of ready workers", || self.ready_workers().len() == count);
    }

    /// Waits until the log holds this.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// Both outputs of the master.
    pub fn log(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// What it wrote to its standard output.
    pub fn stdout(&self) -> String {
        read(&self.path("stdout.log"))
    }

    /// What it wrote to its standard error.
    pub fn stderr(&self) -> String {
        read(&self.path("stderr.log"))
    }

    /// What the recorder wrote down, requests only.
    pub fn seen(&self) -> Vec<Seen> {
        self.records().into_iter().filter(|line| line.0["event"] == "request").collect()
    }

    /// Everything the recorder wrote down.
    pub fn records(&self) -> Vec<Seen> {
        read(&self.path("record/seen"))
            .lines()
            .map(|line| Seen(serde_json::from_str(line).expect("a line of the record")))
            .collect()
    }

    /// True when the recorder has seen this target.
    pub fn has_seen(&self, target: &str) -> bool {
        self.seen().iter().any(|line| line.target() == target)
    }

    /// Waits until the recorder has seen this target.
    #[track_caller]
    pub fn wait_for_seen(&self, target: &str) {
        eventually(&format!("{target} at a worker"), || self.has_seen(target));
    }

    /// Opens a gate the recorder waits at.
    pub fn open_gate(&self, name: &str) {
        fs::write(self.path("record").join(name), "").expect("the gate opens");
    }

    /// Closes a gate.
    pub fn close_gate(&self, name: &str) {
        fs::remove_file(self.path("record").join(name)).expect("the gate closes");
    }

    /// Every living process of the server: the master, shims, apps.
    pub fn processes(&self) -> Vec<u32> {
        processes::marked(&self.directory.mark)
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    /// Starts it once more with this variable of the environment; whether it got ready. It may end
    /// before.
    #[track_caller]
    pub fn starts_again_with(&mut self, name: &str, value: &str) -> bool {
        self.command.env(name, value);
        self.wait_for_exit();
        self.child = self.command.spawn().expect("the master starts");
        self.status = None;
        self.command.env_remove(name);
        until("a ready worker or the master's end", || {
            if !self.is_running() {
                return Some(false);
            }
            let mut client = self.try_control().ok()?;
            client.try_send("GET /status HTTP/1.1\r\nHost: a.test\r\n\r\n").ok()?;
            let is_ready = client.try_response("GET").ok()?.status == 200;
            (is_ready && Client::try_connect(self.port()).is_ok()).then_some(true)
        })
    }

    /// Waits for the end of a master that somebody killed; its processes must follow.
    #[track_caller]
    pub fn was_killed(&mut self) {
        let status = self.wait_for_exit();
        assert_eq!(status.signal(), Some(9), "the master ended by {status}");
        self.assert_no_process_left();
    }

    /// Asks it to stop and returns its exit code; everything it had must be gone.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.exit_code()
    }

    /// Waits for its end, which somebody asked for; everything it had must be gone.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait_for_exit();
        self.assert_nothing_left();
        status.code().unwrap_or_else(|| panic!("the master ended by {status}"))
    }

    /// Kills the master at once; its processes must follow.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_exit();
        self.assert_no_process_left();
    }

    /// Starts it once more as it was, in the same directory and at the same port; it must have ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.wait_for_exit();
        self.child = self.command.spawn().expect("the master starts");
        self.status = None;
        self.wait_until_listening();
        self.wait_until_ready();
    }

    #[track_caller]
    fn wait_for_exit(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        if self.successor.is_some() {
            return self.end_of_successor();
        }
        let status =
            until("the master's end", || self.child.try_wait().expect("the state of the master"));
        self.status = Some(status);
        status
    }

    /// True while the master runs.
    pub fn is_running(&mut self) -> bool {
        if let Some(pid) = self.successor {
            return processes::is_alive(pid);
        }
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the state of the master");
        }
        self.status.is_none()
    }

    /// The process whose pid this is has taken the server's place.
    pub fn is_succeeded_by(&mut self, pid: u32) {
        self.successor = Some(pid);
    }

    /// Waits for the end of the process that was started first, which another one has taken the place
    /// of; its exit code.
    #[track_caller]
    pub fn first_exit_code(&mut self) -> i32 {
        assert!(self.successor.is_some(), "nobody has taken its place");
        let ended = || self.child.try_wait().expect("the state of the first master");
        until("the end of the first master", ended).code().expect("an exit code")
    }

    /// It is nobody's child here: how it ended is what it told last.
    #[track_caller]
    fn end_of_successor(&mut self) -> ExitStatus {
        let pid = self.pid();
        eventually("the end of the master", || !processes::is_alive(pid));
        let told = self.told("server_stop");
        let last = told.last().cloned().unwrap_or_default();
        let status = ExitStatus::from_raw(i32::from(!last.ends_with(" cut=0")) << 8);
        self.status = Some(status);
        status
    }

    #[track_caller]
    fn assert_running(&mut self) {
        assert!(self.is_running(), "the master ended early: {:?}", self.status);
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        self.assert_no_process_left();
        let files = files_below(&self.path("run"));
        assert!(files.is_empty(), "left behind: {files:?}");
        let files = files_below(&self.path("cache"));
        assert!(files.is_empty(), "left behind: {files:?}");
    }

    #[track_caller]
    fn assert_no_process_left(&self) {
        if wait::within(Duration::from_secs(10), || self.processes().is_empty().then_some(()))
            .is_none()
        {
            panic!("left behind: {}", processes::describe(&self.processes()));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
            for pid in std::iter::once(self.pid()).chain(self.processes()) {
                processes::signal_if_alive(pid, Signal::SIGKILL);
            }
            let _ = self.child.wait();
            return;
        }
        if self.is_running() {
            let code = self.stop();
            if code != 0 {
                self.show();
                panic!("the server stopped with {code}");
            }
        }
        let _ = fs::remove_dir_all(&self.directory.path);
    }
}

impl Server {
    /// Prints what helps to understand a failure.
    fn show(&self) {
        eprintln!("-- the test's directory is kept: {}", self.directory.path.display());
        for name in ["stdout.log", "stderr.log", "record/seen"] {
            let text = read(&self.path(name));
            let lines: Vec<_> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            eprintln!("-- {name}, the last of {} lines:\n{}", lines.len(), tail.join("\n"));
        }
    }
}

impl Seen {
    /// The request target as the worker got it.
    pub fn target(&self) -> &str {
        self.0["target"].as_str().expect("a target")
    }

    /// The method as the worker got it.
    pub fn method(&self) -> &str {
        self.0["method"].as_str().expect("a method")
    }

    /// The worker that got it.
    pub fn worker(&self) -> u64 {
        self.0["worker"].as_u64().expect("a worker's id")
    }

    /// Every value of a field as the worker got it.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|f| f.1).collect()
    }

    /// The fields as the worker got them.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| (field[0].as_str().expect("a name"), field[1].as_str().expect("a value")))
    }
}

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("rip-e2e-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(&mark);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory for the test");
        Self { path, mark }
    }
}

fn filled_in(text: &str, port: u16, directory: &Path) -> String {
    let directory = directory.to_str().expect("a path in UTF-8");
    text.replace("PORT", &port.to_string()).replace("$DIR", directory)
}

/// Files and sockets below a directory; directories do not count.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
