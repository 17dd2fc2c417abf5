//! What the system knows about processes.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

/// Orphans among our descendants become our children, not those of init.
pub fn set_child_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Lets this process open as many descriptors as the system permits; returns how many. Processes
/// it starts get the limit it was started with: programs that count up to theirs suffer from a
/// large one.
pub fn raise_nofile() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return FEW_DESCRIPTORS };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        FIRST_NOFILE.get_or_init(|| (soft, hard));
        return hard;
    }
    soft
}

/// The limits (soft, hard) before [`raise_nofile`], if it raised anything.
pub fn first_nofile() -> Option<(u64, u64)> {
    FIRST_NOFILE.get().copied()
}

/// The system's monotonic clock in microseconds, as other processes read it.
pub fn monotonic_micros() -> u64 {
    u64::try_from(clock(libc::CLOCK_MONOTONIC).as_micros()).unwrap_or(u64::MAX)
}

/// How long the calling thread has been computing, the kernel's part included.
pub fn thread_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(which: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a structure that lives in this frame; both clocks always exist.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(time.tv_sec.cast_unsigned(), nanos)
}

/// The memory `pid` holds, if it lives and we may know.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    pages.checked_mul(u64::try_from(page).ok()?)
}

/// Whether `pid` is a process that has not ended. One that was not waited for has.
pub fn is_alive(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.bytes().next());
    state.is_some_and(|state| !matches!(state, b'Z' | b'X' | b'x'))
}

/// The parent of `pid`, if it lives and we may know.
pub fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; then follow state and parent.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Our children, as far as the kernel tells.
pub fn children() -> Vec<u32> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|pids| pids.split_ascii_whitespace().flat_map(str::parse).collect::<Vec<u32>>())
        .collect()
}

/// Who listens on `address` or on every address at its port: `nginx, pid 123`. `None` when nobody
/// does or when it is somebody whose descriptors we may not see.
pub fn port_holder(address: SocketAddr) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let pid = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| holds_any(*pid, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim_end() {
        "" => Some(format!("pid {pid}")),
        name => Some(format!("{name}, pid {pid}")),
    }
}

fn holds_any(pid: u32, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// The inodes of the sockets in a kernel table that listen where `address` would.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let local = words.nth(1)?;
            let state = words.nth(1)?;
            let inode = words.nth(5)?.parse().ok()?;
            let (ip, port) = local.split_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            let conflicts = port == address.port() && overlap(table_ip(ip)?, address.ip());
            (state == LISTENING && conflicts).then_some(inode)
        })
        .collect()
}

/// The kernel prints addresses as 32-bit words in its own byte order.
fn table_ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}

fn overlap(held: IpAddr, wanted: IpAddr) -> bool {
    held == wanted.to_canonical() || held.is_unspecified() || wanted.is_unspecified()
}

static FIRST_NOFILE: OnceLock<(u64, u64)> = OnceLock::new();
const LISTENING: &str = "0A";
/// What can be counted on when the system does not say.
const FEW_DESCRIPTORS: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn our_own_memory_is_known_and_nobodys_is_not() {
        assert!(rss_bytes(std::process::id()).unwrap() > 100_000);
        assert_eq!(rss_bytes(u32::MAX), None);
        assert!(is_alive(std::process::id()) && !is_alive(u32::MAX));
        assert!(raise_nofile() >= FEW_DESCRIPTORS.min(256));
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let own = format!("pid {}", std::process::id());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(port_holder(address).unwrap().ends_with(&own));
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        assert!(port_holder(everywhere).unwrap().ends_with(&own));
        drop(listener);
        assert_eq!(port_holder(address), None);
    }

    #[test]
    fn a_kernel_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0\n   \
            1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0\n   \
            2: broken\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(listening_inodes(table, at("127.0.0.1:8080")), [777]);
        assert_eq!(listening_inodes(table, at("0.0.0.0:8080")), [777]);
        assert_eq!(listening_inodes(table, at("[::ffff:127.0.0.1]:8080")), [777]);
        assert!(listening_inodes(table, at("127.0.0.2:8080")).is_empty());
        assert!(listening_inodes(table, at("127.0.0.1:8081")).is_empty());
        let mapped = "0000000000000000FFFF00000100007F";
        assert_eq!(table_ip(mapped), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(table_ip("zz"), None);
    }
}
