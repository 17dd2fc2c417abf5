//! Looks at processes through `/proc`: a server's whole family carries its test's mark.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

/// The environment variable that marks every process of one test.
pub const MARK: &str = "RIP_TEST_ID";

/// Living processes that carry the mark.
pub fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    numbers("/proc")
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
            })
        })
        .filter(|pid| is_alive(*pid))
        .collect()
}

/// What these processes are, for a failure's message.
pub fn describe(pids: &[u32]) -> String {
    pids.iter().fold(String::new(), |text, pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let state = state(*pid).unwrap_or('-');
        format!("{text}\n  {pid} [{state}] {command}")
    })
}

/// True unless the process is gone or only waits to be reaped.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// True when the process is gone or only waits to be reaped, and so is each of its threads: the
/// kernel has closed what it had open.
pub fn has_ended(pid: u32) -> bool {
    !is_alive(pid) && numbers(&format!("/proc/{pid}/task")).count() <= 1
}

/// The parent's pid.
pub fn parent(pid: u32) -> Option<u32> {
    after_name(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// The process group.
pub fn group(pid: u32) -> Option<u32> {
    after_name(pid)?.split_whitespace().nth(2)?.parse().ok()
}

/// Every descendant of a process, those included that only wait to be reaped.
pub fn below(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(up) = found.get(next).copied() {
        found.extend(numbers("/proc").filter(|pid| parent(*pid) == Some(up)));
        next += 1;
    }
    found.split_off(1)
}

/// Open descriptors of a process.
pub fn descriptor_count(pid: u32) -> usize {
    numbers(&format!("/proc/{pid}/fd")).count()
}

/// User and system time of a process, in ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = after_name(pid).expect("a living process");
    stat.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum()
}

/// Memory of a process that is really there.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("a number") * 1024
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a pid");
    kill(Pid::from_raw(pid), signal).expect("a signal to a living process");
}

/// Sends a signal to one process that may be gone.
pub fn signal_if_alive(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn state(pid: u32) -> Option<char> {
    after_name(pid)?.chars().next()
}

/// `/proc/<pid>/stat` behind the name, which may itself hold spaces and parentheses.
fn after_name(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

fn numbers(directory: &str) -> impl Iterator<Item = u32> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
