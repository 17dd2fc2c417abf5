//! The units for systemd: they are right, hold what they should, and say what the server needs.

use crate::harness::tools;
use std::path::{Path, PathBuf};
use std::process::Command;

fn unit(name: &str) -> String {
    let path = tools::repository().join("scripts/systemd").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The units as they would be installed, of a program that exists here.
fn installed(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("rip-units-{}-{name}", std::process::id()));
    std::fs::create_dir_all(directory.join("rip-master.service.d")).unwrap();
    let service = unit("rip-master.service").replace("/usr/bin/rip-master", "/bin/true");
    std::fs::write(directory.join("rip-master.service"), service).unwrap();
    std::fs::write(directory.join("rip-master.socket"), unit("rip-master.socket")).unwrap();
    directory
}

fn analyze(arguments: &[&str], files: &[&Path]) -> (bool, String) {
    let output = tools::finish(Command::new("systemd-analyze").args(arguments).args(files));
    (output.status.success(), tools::both(&output))
}

fn values<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let directory = installed("verify");
    let (service, socket) =
        (directory.join("rip-master.service"), directory.join("rip-master.socket"));
    let (is_right, said) = analyze(&["verify", "--man=no"], &[&service, &socket]);
    assert!(is_right && said.trim().is_empty(), "{said}");
    // With what it takes to have apps of other users.
    let users = directory.join("rip-master.service.d/users.conf");
    std::fs::write(users, unit("rip-master.service.d/users.conf")).unwrap();
    let (is_right, said) = analyze(&["verify", "--man=no"], &[&service]);
    assert!(is_right && said.trim().is_empty(), "{said}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_walls_are_as_high_as_ordinary_apps_can_live_with() {
    let directory = installed("security");
    let service = directory.join("rip-master.service");
    // Out of 100: more exposed than this is an error.
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=22"];
    let (is_held, said) = analyze(&arguments, &[&service]);
    assert!(is_held, "{said}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_times_and_codes_of_the_unit_are_those_of_the_server() {
    let service = unit("rip-master.service");
    assert_eq!(values(&service, "Type"), ["notify"]);
    let seconds: u64 = values(&service, "TimeoutStopSec")[0].parse().unwrap();
    // Drain, kill, and what is added before the end is forced.
    assert!(seconds > 40, "{seconds}");
    assert_eq!(values(&service, "RestartPreventExitStatus"), ["2", "77", "78"]);
    let reload = values(&service, "ExecReload").join(" ");
    assert_eq!(reload, "/usr/bin/rip-master reload --wait --name rip-master");
    for forbidden in ["MemoryDenyWriteExecute", "PrivateUsers", "ProcSubset", "UMask"] {
        assert!(values(&service, forbidden).is_empty(), "{forbidden}");
    }
    let users = unit("rip-master.service.d/users.conf");
    let needed = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"];
    assert_eq!(values(&users, "AmbientCapabilities"), needed);
    assert_eq!(values(&users, "CapabilityBoundingSet"), needed);
}
