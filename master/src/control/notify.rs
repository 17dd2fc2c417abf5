//! Telling the init system how we are, where it asked for it (`NOTIFY_SOCKET`, `sd_notify(3)`).
//!
//! What it is told of its own accord is bounded: the status line once a second at most and only when
//! it has changed, a plea for more time every [`PLEA_INTERVAL`] and only until the longest time that
//! what it waits for may take, a sign of life as often as it wants one.

use super::watchdog::Watchdog;
use crate::sys::proc::monotonic_micros;
use rip::time::Instant;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the init system, if there is one, and what it has been told.
#[derive(Default)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// When it shall hear that we live.
    pub watchdog: Option<Watchdog>,
    status: String,
    /// The status line may be told again then.
    status_at: Instant,
    /// It may have changed since it was looked at.
    is_doubtful: bool,
    plea: Option<Plea>,
}

/// It waits for something that takes its time.
struct Plea {
    next: Instant,
    /// What takes longer than this has gone wrong.
    until: Instant,
}

impl Notifier {
    /// Speaks to whoever the environment names.
    pub fn from_environment(now: Instant) -> Self {
        let named: Option<OsString> = std::env::var_os("NOTIFY_SOCKET");
        let to = named.filter(|name| !name.is_empty()).and_then(|name| {
            open(&name)
                .inspect_err(|error| log::warn!("the init system cannot be told: {error}"))
                .ok()
        });
        let watchdog = to.as_ref().and_then(|_| Watchdog::from_environment(now));
        Self { to, watchdog, ..Self::default() }
    }

    /// Says `state`, assignments on a line each: `READY=1`. It is never waited for.
    pub fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            log::warn!("the init system was not told {state:?}: {error}");
        }
    }

    /// Another process is the service from now on, and `pid` is its number: this one has nothing more
    /// to say.
    pub fn resign(&mut self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
        (self.to, self.plea, self.watchdog) = (None, None, None);
    }

    /// Says that it is ready, or is so again, and that it is this process.
    pub fn tell_ready(&mut self, status: String) {
        let pid = std::process::id();
        self.tell(&format!("READY=1\nMAINPID={pid}\nSTATUS={status}"));
        self.status = status;
        self.plea = None;
    }

    /// Says that the configuration is about to change, until the next `READY=1`, which may take
    /// until `until`.
    pub fn tell_reloading(&mut self, now: Instant, until: Instant) {
        let micros = monotonic_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
        "reloading".clone_into(&mut self.status);
        self.ask_for_time(now, until);
    }

    /// Says that the end has begun, which may take until `until`.
    pub fn tell_stopping(&mut self, now: Instant, until: Instant) {
        let status = "finishing what was accepted";
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
        status.clone_into(&mut self.status);
        self.ask_for_time(now, until);
    }

    /// Asks for patience from now on, until `until` at most.
    pub fn ask_for_time(&mut self, now: Instant, until: Instant) {
        self.plea = Some(Plea { next: now, until });
        self.plead(now);
    }

    /// Says that it goes on where that is due.
    pub fn plead(&mut self, now: Instant) {
        let Some(plea) = &mut self.plea else { return };
        if self.to.is_none() || now >= plea.until {
            self.plea = None;
            return;
        }
        if now >= plea.next {
            plea.next = now + PLEA_INTERVAL;
            let wanted = (PLEA_INTERVAL * 3).min(plea.until.since(now) + PLEA_INTERVAL);
            self.tell(&format!("EXTEND_TIMEOUT_USEC={}", wanted.as_micros()));
        }
    }

    /// Tells what `status` says by now, if that is something else than before and it is not too early
    /// to look.
    pub fn keep_status(&mut self, now: Instant, status: impl FnOnce() -> String) {
        self.is_doubtful = self.to.is_some() && now < self.status_at;
        if self.to.is_none() || self.is_doubtful {
            return;
        }
        self.status_at = now + STATUS_INTERVAL;
        let status = status();
        if status != self.status {
            self.tell(&format!("STATUS={status}"));
            self.status = status;
        }
    }

    /// When it must be looked at again, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let status = self.is_doubtful.then_some(self.status_at);
        let plea = self.plea.as_ref().map(|plea| plea.next.min(plea.until));
        let watchdog = self.watchdog.as_ref().map(Watchdog::next);
        [status, plea, watchdog].into_iter().flatten().min()
    }
}

/// One line on apps by their names, the workers that are ready, and how many there should be.
pub fn status_line<'a>(apps: impl Iterator<Item = (&'a str, usize, usize)>) -> String {
    let (mut count, mut ready, mut wanted) = (0, 0, 0);
    let mut without = Vec::new();
    for (app, its_ready, its_wanted) in apps {
        (count, ready, wanted) = (count + 1, ready + its_ready, wanted + its_wanted);
        if its_ready == 0 {
            without.push(app);
        }
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    match without.as_slice() {
        [] if count == 0 => "serving".to_owned(),
        [] if ready < wanted => {
            format!("serving {count} app{}, {ready} of {wanted} workers", plural(count))
        }
        [] => format!("serving {count} app{}, {ready} worker{}", plural(count), plural(ready)),
        [app] => format!("degraded: app {app} has no worker"),
        [app, rest @ ..] => {
            format!("degraded: app {app} and {} more have no worker", rest.len())
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(hidden) => SocketAddr::from_abstract_name(hidden)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// How often the status line is looked at.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How often more time is asked for, three times as much as until the next time.
const PLEA_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// An init system that listens, and a notifier that speaks to it.
    fn pair(name: &str) -> (UnixDatagram, Notifier) {
        let hidden = format!("rip-notify-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&hidden).expect("a short name");
        let ear = UnixDatagram::bind_addr(&address).expect("a free name");
        ear.set_nonblocking(true).expect("it is a socket");
        let to = open(OsStr::new(&format!("@{hidden}"))).ok();
        (ear, Notifier { to, ..Notifier::default() })
    }

    fn heard(ear: &UnixDatagram) -> Vec<String> {
        let mut letter = [0; 256];
        let next = || {
            let length = ear.recv(&mut letter).ok()?;
            Some(String::from_utf8_lossy(letter.get(..length)?).into_owned())
        };
        std::iter::from_fn(next).collect()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_init_system_hears_us_on_a_path_and_on_an_abstract_name() {
        let path = std::env::temp_dir().join(format!("rip-notify-{}", std::process::id()));
        let ear = UnixDatagram::bind(&path).expect("a free name");
        ear.set_nonblocking(true).expect("it is a socket");
        let (other, mut hidden) = pair("names");
        let to = open(path.as_os_str()).ok();
        Notifier { to, ..Notifier::default() }.tell("READY=1\nSTATUS=serving");
        assert_eq!(heard(&ear), ["READY=1\nSTATUS=serving"]);
        hidden.tell_ready("serving".to_owned());
        let pid = std::process::id();
        assert_eq!(heard(&other), [format!("READY=1\nMAINPID={pid}\nSTATUS=serving")]);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn the_status_is_told_when_it_changes_and_once_a_second_at_most() {
        let (ear, mut notifier) = pair("status");
        notifier.keep_status(at(0), || "one".to_owned());
        notifier.keep_status(at(10), || unreachable!("too early"));
        assert_eq!(notifier.next_deadline(), Some(at(1000)));
        notifier.keep_status(at(1000), || "one".to_owned());
        assert_eq!(notifier.next_deadline(), None, "nothing has happened since");
        notifier.keep_status(at(2000), || "two".to_owned());
        assert_eq!(heard(&ear), ["STATUS=one", "STATUS=two"]);
        Notifier::default().keep_status(at(0), || unreachable!("nobody listens"));
    }

    #[test]
    fn more_time_is_asked_for_again_and_again_but_not_for_ever() {
        let (ear, mut notifier) = pair("time");
        notifier.ask_for_time(at(0), at(8_000));
        notifier.plead(at(4_999));
        assert_eq!(notifier.next_deadline(), Some(at(5_000)));
        notifier.plead(at(5_000));
        assert_eq!(notifier.next_deadline(), Some(at(8_000)));
        notifier.plead(at(8_000));
        assert_eq!(notifier.next_deadline(), None);
        let wanted = ["EXTEND_TIMEOUT_USEC=13000000", "EXTEND_TIMEOUT_USEC=8000000"];
        assert_eq!(heard(&ear), wanted);
        notifier.ask_for_time(at(9_000), at(90_000));
        notifier.tell_ready("serving".to_owned());
        assert_eq!(notifier.next_deadline(), None, "what it waited for is there");
    }

    #[test]
    fn the_status_line_counts_and_names_who_lacks_workers() {
        let line = |apps: &[(&str, usize, usize)]| status_line(apps.iter().copied());
        assert_eq!(line(&[]), "serving");
        assert_eq!(line(&[("api", 1, 1)]), "serving 1 app, 1 worker");
        assert_eq!(line(&[("a", 4, 4), ("b", 4, 4), ("c", 4, 4)]), "serving 3 apps, 12 workers");
        assert_eq!(line(&[("a", 3, 4), ("b", 4, 4)]), "serving 2 apps, 7 of 8 workers");
        assert_eq!(line(&[("api", 0, 2), ("b", 1, 1)]), "degraded: app api has no worker");
        let several = [("api", 0, 2), ("b", 0, 1), ("c", 0, 1)];
        assert_eq!(line(&several), "degraded: app api and 2 more have no worker");
    }
}
