//! The Debian package: what is in it, and what installing, upgrading and removing it does, by dpkg
//! itself, in a root of its own.

use crate::harness::port::Port;
use crate::harness::{Client, eventually, processes, tools};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A directory of the test, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rip-package-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory of the test");
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn build(place: &Place) -> PathBuf {
    let script = tools::repository().join("scripts/package");
    let mut build = Command::new(script);
    build.args(["--built", env!("CARGO_BIN_EXE_rip-master")]).arg(&place.0);
    let output = tools::finish_within(&mut build, Duration::from_secs(300));
    assert!(output.status.success(), "{}", tools::both(&output));
    let entries = fs::read_dir(&place.0).expect("the package");
    let found = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_one = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    found.into_iter().find(is_one).expect("a package")
}

fn done(program: &str, arguments: &[&str], package: &Path) -> String {
    let output = tools::finish(Command::new(program).args(arguments).arg(package));
    assert!(output.status.success(), "{program}: {}", tools::both(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_package_is_whole_and_is_installed_upgraded_and_removed_without_a_restart() {
    let place = Place::new();
    let package = build(&place);
    holds_what_it_should(&package);
    pleases_lintian(&package);
    serves_from_where_it_is_unpacked(&place, &package);
    is_handed_over_on_upgrade(&place, &package);
}

fn holds_what_it_should(package: &Path) {
    let control = done("dpkg-deb", &["--info"], package);
    for words in ["Package: rip-master", "Depends: adduser, libc6 (>= 2.", "Section: httpd"] {
        assert!(control.contains(words), "{words}: {control}");
    }
    let list = Command::new("dpkg-deb").arg("--contents").arg(package).output().expect("dpkg-deb");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for (mode, path) in [
        ("-rwxr-xr-x", "usr/bin/rip-master"),
        ("-rw-r--r--", "etc/rip-master/Edgefile"),
        ("-rw-r--r--", "usr/lib/systemd/system/rip-master.service"),
        ("-rw-r--r--", "usr/lib/systemd/system/rip-master.socket"),
        ("-rw-r--r--", "usr/share/man/man1/rip-master.1.gz"),
        ("-rw-r--r--", "usr/share/man/man1/rip-master-ctl-scale.1.gz"),
        ("-rw-r--r--", "usr/share/bash-completion/completions/rip-master"),
        ("-rw-r--r--", "usr/share/zsh/vendor-completions/_rip-master"),
        ("-rw-r--r--", "usr/share/fish/vendor_completions.d/rip-master.fish"),
        ("-rw-r--r--", "usr/share/doc/rip-master/copyright"),
        ("-rw-r--r--", "usr/share/doc/rip-master/changelog.Debian.gz"),
        ("-rw-r--r--", "usr/share/doc/rip-master/README.md"),
        ("-rw-r--r--", "usr/share/doc/rip-master/EDGEFILE.md"),
    ] {
        let line = list.lines().find(|line| line.ends_with(&format!("./{path}")));
        let line = line.unwrap_or_else(|| panic!("{path} is missing: {list}"));
        assert!(line.starts_with(mode), "{line}");
    }
}

fn pleases_lintian(package: &Path) {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error", "--tag-display-limit", "0"]).arg(package);
    let output = tools::finish_within(&mut lintian, Duration::from_secs(120));
    assert!(output.status.success(), "{}", tools::both(&output));
}

fn serves_from_where_it_is_unpacked(place: &Place, package: &Path) {
    let root = place.at("unpacked");
    let output = tools::finish(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root));
    assert!(output.status.success(), "{}", tools::both(&output));
    let program = root.join("usr/bin/rip-master");
    let version = tools::finish(Command::new(&program).arg("version"));
    let version = tools::both(&version);
    assert_eq!(version.trim(), format!("rip-master {}", env!("CARGO_PKG_VERSION")));
    let edgefile = root.join("etc/rip-master/Edgefile");
    let check = tools::finish(Command::new(&program).arg("check").arg(&edgefile).arg("--json"));
    let told = tools::both(&check);
    // Whoever may not bind port 80 is told so, and of nothing else.
    let is_right = check.status.success() || told.matches("\"code\"").count() == 1;
    assert!(is_right && (check.status.success() || told.contains(":80")), "{told}");
    let formatted = tools::finish(Command::new(&program).args(["fmt", "--check"]).arg(&edgefile));
    assert!(formatted.status.success(), "{}", tools::both(&formatted));
    let port = Port::free();
    let mut start = Command::new(&program);
    start.arg("start").arg("--file").arg(&edgefile).arg(format!("http:{}", port.number));
    start.args(["--host", "127.0.0.1", "--name", "packaged", "--no-mdns"]);
    start.env("XDG_RUNTIME_DIR", place.at("run")).env("STATE_DIRECTORY", place.at("state"));
    start.env("CACHE_DIRECTORY", place.at("cache"));
    fs::create_dir_all(place.at("cache")).expect("a directory");
    let log = fs::File::create(place.at("log")).expect("a log");
    let mut master = start.stdout(Stdio::null()).stderr(log).spawn().expect("the program starts");
    eventually("an answer", || {
        Client::try_connect(port.number).is_ok_and(|mut client| {
            client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").is_ok()
                && client.try_response("GET").is_ok_and(|response| response.status == 200)
        })
    });
    processes::signal_if_alive(master.id(), Signal::SIGTERM);
    let status = master.wait().expect("its end");
    assert!(status.success(), "{}", fs::read_to_string(place.at("log")).unwrap_or_default());
}

/// dpkg runs the scripts of the package with what they call replaced by what writes it down.
fn is_handed_over_on_upgrade(place: &Place, package: &Path) {
    let (root, tools_dir, calls) = (place.at("root"), place.at("bin"), place.at("calls"));
    for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "run/systemd/system", "tmp"] {
        fs::create_dir_all(root.join(directory)).expect("a directory of the root");
    }
    fs::write(root.join("var/lib/dpkg/status"), "").expect("dpkg's list");
    fs::create_dir_all(&tools_dir).expect("a directory");
    let fake = |name: &str, more: &str| {
        let path = tools_dir.join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{more}\n", calls.display());
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its rights");
    };
    fake("systemctl", "exit 0");
    fake("adduser", "exit 0");
    fake("getent", "exit 2");
    fake("rip-master", "exit 0");
    let dpkg = |arguments: &[&str]| {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.display()));
        dpkg.args(["--force-script-chrootless", "--force-not-root", "--force-depends"]);
        dpkg.args(["--force-bad-path", "--log=/dev/null"]).args(arguments);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools_dir.display());
        let _ = fs::remove_file(&calls);
        let output = tools::finish_within(dpkg.env("PATH", path), Duration::from_secs(120));
        assert!(output.status.success(), "{arguments:?}: {}", tools::both(&output));
        (fs::read_to_string(&calls).unwrap_or_default(), tools::both(&output))
    };
    let package = package.to_str().expect("a path");
    // The first time there is a user to make, and nothing to hand over; nobody is served unasked.
    let (called, told) = dpkg(&["--install", package]);
    assert!(called.contains("adduser --system --group"), "{called}");
    assert!(!called.contains("rip-master upgrade") && !called.contains("start"), "{called}");
    assert!(told.contains("systemctl enable --now rip-master"), "{told}");
    let conffile = root.join("etc/rip-master/Edgefile");
    fs::write(&conffile, "version 1 // mine\n").expect("the operator's own");
    // Again: the one that runs hands over. It is never stopped, and the operator's file stays.
    fake("getent", "exit 0");
    let (called, _) = dpkg(&["--force-confold", "--install", package]);
    assert!(called.contains("rip-master upgrade --name rip-master"), "{called}");
    for word in ["stop", "restart", "kill", "adduser"] {
        assert!(!called.contains(word), "{word}: {called}");
    }
    assert_eq!(fs::read_to_string(&conffile).expect("it"), "version 1 // mine\n");
    // A handover that does not succeed is told; what runs goes on, and the package is installed.
    fake("rip-master", "exit 1");
    let (called, told) = dpkg(&["--force-confold", "--install", package]);
    assert!(!called.contains("stop") && told.contains("goes on serving"), "{called}{told}");
    // One that does not run is not started.
    fake("systemctl", "[ \"$1\" != is-active ]");
    let (called, _) = dpkg(&["--force-confold", "--install", package]);
    assert!(!called.contains("upgrade") && !called.contains("start "), "{called}");
    let (called, _) = dpkg(&["--remove", "rip-master"]);
    assert!(called.contains("stop rip-master.service"), "{called}");
    assert!(!root.join("usr/bin/rip-master").exists() && conffile.exists());
    let state = root.join("var/lib/rip-master");
    fs::create_dir_all(&state).expect("what was kept");
    fs::create_dir_all(root.join("var/cache/rip-master/x")).expect("what was not");
    fs::write(state.join("sessions.db"), "").expect("sessions");
    let (_, told) = dpkg(&["--purge", "rip-master"]);
    assert!(!conffile.exists() && !root.join("var/cache/rip-master").exists());
    assert!(state.join("sessions.db").exists() && told.contains("are left in"), "{told}");
}
