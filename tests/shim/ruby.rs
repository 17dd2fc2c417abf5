//! A Rack app under puma.

use crate::harness::{Directory, Shim, ask, read_reply, spec};
use rip::contract::app::Runtime;
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::io::{Read, Write};

const APP: &str = r##"
run lambda { |env|
  case env["PATH_INFO"]
  when "/slow"
    File.read(ENV["GATE"])
    [200, {"Content-Type" => "text/plain"}, ["slow\n"]]
  when "/boom" then raise "it broke"
  when "/retire"
    Process.kill("USR2", Process.pid)
    [200, {"Content-Type" => "text/plain"}, ["soon\n"]]
  else
    body = %w[REMOTE_ADDR rack.url_scheme SCRIPT_NAME PATH_INFO QUERY_STRING SERVER_NAME]
      .map { |name| "#{name}=#{env[name]}\n" }.join
    threads = Puma.stats_hash[:max_threads]
    [200, {"Content-Type" => "text/plain"}, [body, "threads=#{threads} cwd=#{Dir.pwd}\n"]]
  end
}
"##;

fn app(directory: &Directory, change: impl Fn(&mut WorkerSpec)) -> WorkerSpec {
    let path = directory.write("config.ru", APP);
    let mut spec = spec(directory, Runtime::Ruby, &[&path]);
    spec.env.insert("GATE".to_owned(), directory.join("gate"));
    change(&mut spec);
    spec
}

#[test]
fn a_rack_app_is_served_and_told_who_asks() {
    let directory = Directory::new();
    let spec = app(&directory, |spec| spec.concurrency = 3);
    let mut shim = Shim::start(directory, spec);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    let mut stream = shim.connect();
    let request = b"GET /caf%C3%A9?a=b HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.7\r\n\
        X-Forwarded-Proto: https\r\n\r\n";
    let reply = ask(&mut stream, request);
    assert!(reply.reusable, "{reply:?}");
    for line in ["REMOTE_ADDR=192.0.2.7", "SCRIPT_NAME=", "QUERY_STRING=a=b", "SERVER_NAME=a.test"]
    {
        assert!(reply.text().lines().any(|told| told == line), "{line} in {}", reply.text());
    }
    let here = std::fs::canonicalize(shim.directory.path()).unwrap();
    assert!(reply.text().contains(&format!("threads=3 cwd={}\n", here.display())), "{reply:?}");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.7\r\n\
        Rip-Client: 192.0.2.8\r\n\r\n";
    let reply = ask(&mut stream, request);
    assert!(reply.text().starts_with("REMOTE_ADDR=192.0.2.8\n"), "{reply:?}");
    assert_eq!(shim.get("/boom").status, 500);
    let log = shim.stop();
    assert!(log.contains("it broke"), "{log}");
}

#[test]
fn what_its_configuration_says_of_sockets_and_processes_is_not_heard() {
    let directory = Directory::new();
    directory.write(
        "config/puma.rb",
        "workers 2\nthreads 5, 5\nport 1\nbind \"unix:///nowhere/puma.sock\"\nenvironment \"qa\"\n",
    );
    let spec = app(&directory, |_| {});
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    assert!(shim.get("/").text().contains("threads=1 "), "{:?}", shim.get("/"));
    shim.stop();
}

#[test]
fn a_request_that_runs_ends_before_the_worker_does() {
    let directory = Directory::new();
    let gate = directory.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let spec = app(&directory, |_| {});
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    let mut stream = shim.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // Opening it waits for the app to read.
    let mut gate = std::fs::OpenOptions::new().write(true).open(gate).unwrap();
    shim.signal(nix::sys::signal::Signal::SIGTERM);
    let mut quit = shim.verb();
    assert_eq!(quit.op(), "quit");
    quit.accept();
    gate.write_all(b"go\n").unwrap();
    drop(gate);
    assert_eq!(read_reply(&mut stream, false).text(), "slow\n");
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn a_restart_is_a_fresh_worker() {
    let directory = Directory::new();
    let spec = app(&directory, |_| {});
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    assert_eq!(shim.get("/retire").status, 200);
    let mut quit = shim.verb();
    assert_eq!(quit.op(), "quit");
    quit.accept();
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn what_is_missing_is_named() {
    for (file, text, expected) in [
        (
            "config.ru",
            "require \"no_such_gem/part\"\n",
            "install it with `gem install no_such_gem`",
        ),
        ("Gemfile", "gem \"no_such_gem_at_all\"\n", "run `bundle install` in "),
        ("Gemfile", "nonsense!\n", "Gemfile"),
        ("Gemfile", "gem \"rack\"\n", "puma is not in "),
    ] {
        let directory = Directory::new();
        let spec = app(&directory, |_| {});
        directory.write(file, text);
        let (stage, message) = Shim::start(directory, spec).failed();
        assert_eq!(stage, BootStage::Find, "{message}");
        assert!(message.contains(expected), "{expected} in {message}");
    }
    let directory = Directory::new();
    let mut spec = app(&directory, |_| {});
    spec.env.insert("PATH".to_owned(), directory.join("bin"));
    let (stage, message) = Shim::start(directory, spec).failed();
    assert_eq!(stage, BootStage::Find);
    assert!(message.starts_with("ruby was not found on PATH; install it"), "{message}");
}

#[test]
fn an_app_with_a_gemfile_has_its_gems() {
    let directory = Directory::new();
    directory.write("Gemfile", "gem \"puma\"\ngem \"rack\"\n");
    let spec = app(&directory, |_| {});
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    assert_eq!(shim.get("/").status, 200);
    shim.stop();
}

/// Its one thread waits at no connection for a request while another's is there.
#[test]
fn an_idle_connection_holds_nobody_up() {
    let directory = Directory::new();
    let spec = app(&directory, |_| {});
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    let mut links: Vec<_> = (0..4).map(|_| shim.connect()).collect();
    let began = std::time::Instant::now();
    for _ in 0..10 {
        for link in &mut links {
            assert_eq!(ask(link, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        }
    }
    // Puma of itself waits 200 ms at each of them.
    assert!(began.elapsed().as_secs_f64() < 4.0, "{:?}", began.elapsed());
    drop(links);
    let mut stream = shim.connect();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(" 200 "), "{text}");
    shim.stop();
}
