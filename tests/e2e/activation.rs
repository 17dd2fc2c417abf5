//! Sockets that the init system has opened: they are taken, matched, kept and never bound again.

use crate::harness::port::Port;
use crate::harness::{Client, Setup, eventually, processes, tools};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Starts `command` as `systemd` starts a service with sockets: they are its descriptors from 3 on.
fn activated(command: &Command, sockets: Vec<OwnedFd>, names: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    // The shell is replaced: what follows has its pid.
    shell.arg("-c").arg("LISTEN_PID=$$ exec \"$@\"").arg("sh");
    shell.arg(command.get_program()).args(command.get_args());
    shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    pass(&mut shell, sockets);
    shell
}

#[allow(unsafe_code)]
fn pass(command: &mut Command, sockets: Vec<OwnedFd>) {
    let place = move || {
        // Far away first: none of them stands where another one goes.
        for (at, socket) in (100..).zip(&sockets) {
            // SAFETY: plain numbers of open descriptors.
            if unsafe { libc::dup2(socket.as_raw_fd(), at) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        for (at, _) in (0..).zip(&sockets) {
            // SAFETY: as above.
            if unsafe { libc::dup2(100 + at, 3 + at) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
            // SAFETY: as above.
            unsafe { libc::close(100 + at) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec nothing but system calls on numbers is done.
    unsafe { command.pre_exec(place) };
}

fn listener() -> (TcpListener, Port) {
    let port = Port::free();
    (TcpListener::bind(("127.0.0.1", port.number)).unwrap(), port)
}

/// `systemd-socket-activate` with sockets at `places`, and `names` for them.
fn socket_activate(command: &Command, places: &[String], names: &str) -> Command {
    let mut activate = Command::new("systemd-socket-activate");
    for place in places {
        activate.args(["-l", place]);
    }
    activate.arg(format!("--fdname={names}"));
    // Else the program would begin with an empty environment.
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_some()) {
        activate.arg("-E").arg(name);
    }
    activate.arg(command.get_program()).args(command.get_args());
    activate
}

#[test]
fn the_init_systems_socket_is_served_and_nobody_binds_its_port() {
    let setup = Setup::recorder()
        .workers(1)
        .env("NOTIFY_SOCKET", "@rip-nobody-listens")
        .env("WATCHDOG_USEC", "60000000")
        .wrapped(|command, port| {
            socket_activate(command, &[format!("127.0.0.1:{port}")], "x.socket")
        });
    let server = setup.start();
    assert_eq!(server.get("/").status, 200);
    let inode = listening_inode(server.port());
    let below = processes::below(server.pid());
    assert!(below.len() >= 2, "a shim and an app");
    for pid in below {
        let its = descriptors(pid);
        assert!(!its.contains(&format!("socket:[{inode}]")), "{its:?}");
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        for name in ["NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_FDNAMES=x"] {
            assert!(!environment.contains(name), "{environment}");
        }
    }
}

#[test]
fn two_sockets_are_told_apart_by_their_names_however_they_are_ordered() {
    let (one, two) = (Port::free(), Port::free());
    let (http, https) = (one.number, two.number);
    let text = "version 1\n\
         edge {\n http \":80\"\n https \":443\"\n mdns #false\n}\n\
         site \"localhost\" {\n tls \"auto\"\n route \"/*\" { to-app \"a\" }\n}\n\
         app \"a\" {\n entry \"builtin:echo\"\n workers 1\n hosts \"plain.test\"\n}\n";
    let places = [format!("127.0.0.1:{https}"), format!("127.0.0.1:{http}")];
    let setup = Setup::edgefile(text).names_ports().unawaited();
    let server = setup
        .at(one)
        .wrapped(move |command, _| socket_activate(command, &places, "https:http"))
        .start();
    // Plain HTTP sends clients on, HTTPS serves them.
    eventually("plain HTTP", || server.get("/server").status == 301);
    let hello = tools::finish(Command::new("curl").args([
        "-sk",
        "--resolve",
        &format!("localhost:{https}:127.0.0.1"),
        &format!("https://localhost:{https}/server"),
    ]));
    assert_eq!(tools::both(&hello).trim(), "ok");
}

#[test]
fn a_socket_stays_open_through_reloads_that_give_it_up_and_want_it_again() {
    let (socket, held) = listener();
    let kept = socket.try_clone().unwrap();
    let free = Port::free();
    let (given, other) = (held.number, free.number);
    let text = |ports: &str| {
        format!(
            "version 1\nedge {{\n http {ports}\n mdns #false\n}}\n\
             app \"a\" {{\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n}}\n"
        )
    };
    let both = text(&format!("\"127.0.0.1:{given}\" \"127.0.0.1:{other}\""));
    let socket = std::cell::RefCell::new(Some(socket));
    let server = Setup::edgefile(&both)
        .names_ports()
        .at(held)
        .wrapped(move |command, _| {
            let socket = socket.borrow_mut().take().expect("it is started once");
            activated(command, vec![socket.into()], "x.socket")
        })
        .start();
    let reload = |text: &str| {
        std::fs::write(server.path("app/Edgefile"), text).unwrap();
        let (code, said) = server.cli(&["reload", "--wait"]);
        assert_eq!(code, 0, "{said}");
    };
    assert_eq!(Client::connect(other).ask("GET", "/server").status, 200, "it was bound");
    reload(&text(&format!("\"127.0.0.1:{other}\"")));
    // Who connects meanwhile waits for a configuration that listens there.
    let mut waiting = Client::connect(given);
    waiting.send("GET /server HTTP/1.1\r\nHost: a.test\r\n\r\n");
    reload(&both);
    assert_eq!(waiting.response_to("GET").status, 200);
    drop(kept);
}

#[test]
fn what_cannot_be_served_is_refused_by_its_name() {
    let datagram = || OwnedFd::from(UnixDatagram::unbound().unwrap());
    let tcp = || OwnedFd::from(listener().0);
    for (name, sockets, said) in [
        (
            "http",
            vec![datagram()],
            "descriptor 3 ('http'), which the init system handed over, is not a stream socket",
        ),
        ("http:metrics", vec![tcp(), tcp()], "'metrics' at 127.0.0.1:"),
        (
            "",
            vec![std::fs::File::open("/dev/null").unwrap().into()],
            "descriptor 3, which the init system handed over, is no socket",
        ),
    ] {
        let sockets = std::cell::RefCell::new(sockets);
        let setup = Setup::builtin("hello")
            .workers(1)
            .wrapped(move |command, _| activated(command, sockets.take(), name));
        let (code, text) = setup.fails();
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(said), "{text}");
    }
    let path = std::env::temp_dir().join(format!("rip-activation-{}", std::process::id()));
    let unix = std::cell::RefCell::new(vec![OwnedFd::from(UnixListener::bind(&path).unwrap())]);
    let setup =
        Setup::builtin("hello").wrapped(move |command, _| activated(command, unix.take(), "http"));
    let (code, text) = setup.fails();
    // It is not ours to remove.
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("a Unix socket"), "{text}");
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let (socket, port) = listener();
    let socket = std::cell::RefCell::new(vec![OwnedFd::from(socket.try_clone().unwrap())]);
    let server = Setup::builtin("hello")
        .workers(1)
        .wrapped(move |command, _| {
            let mut direct = Command::new(command.get_program());
            direct.args(command.get_args());
            direct.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").env("LISTEN_FDNAMES", "http");
            pass(&mut direct, socket.take());
            direct
        })
        .start();
    assert_ne!(server.port(), port.number);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn clients_that_came_before_the_server_and_after_its_end_are_not_lost() {
    let (socket, port) = listener();
    let kept = socket.try_clone().unwrap();
    let number = port.number;
    let mut early = Client::connect(number);
    early.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let socket = std::cell::RefCell::new(vec![OwnedFd::from(socket)]);
    let mut server = Setup::builtin("hello")
        .workers(1)
        .at(port)
        .wrapped(move |command, _| activated(command, socket.take(), "http"))
        .start();
    assert_eq!(early.response_to("GET").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0);
    let late = Client::try_connect(number);
    assert!(late.is_ok(), "the init system still listens");
    drop(kept);
}

fn descriptors(pid: u32) -> Vec<String> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string()))
        .collect()
}

fn listening_inode(port: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = format!("0100007F:{port:04X}");
    let line = table.lines().find(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(wanted.as_str()) && words.nth(1) == Some("0A")
    });
    line.and_then(|line| line.split_whitespace().nth(9)).expect("it listens").to_owned()
}
