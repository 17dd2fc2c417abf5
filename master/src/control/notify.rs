//! Telling the init system how we are, where it asked for it (`NOTIFY_SOCKET`).

use crate::sys::proc::monotonic_micros;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the init system, if there is one.
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// Speaks to whoever the environment names.
    pub fn from_environment() -> Self {
        let named: Option<OsString> = std::env::var_os("NOTIFY_SOCKET");
        let to = named.filter(|name| !name.is_empty()).and_then(|name| {
            open(&name)
                .inspect_err(|error| log::warn!("the init system cannot be told: {error}"))
                .ok()
        });
        Self { to }
    }

    /// Says `state`, assignments on a line each: `READY=1`. It is never waited for.
    pub fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            log::warn!("the init system was not told {state:?}: {error}");
        }
    }
}

impl Notifier {
    /// Another process is the service from now on, and `pid` is its number: this one has nothing more
    /// to say.
    pub fn resign(&mut self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
        self.to = None;
    }

    /// Says that the configuration is about to change, until the next `READY=1`.
    pub fn tell_reloading(&self) {
        let micros = monotonic_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_init_system_hears_us_on_a_path_and_on_an_abstract_name() {
        let path = std::env::temp_dir().join(format!("rip-notify-{}", std::process::id()));
        let hidden = format!("rip-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&hidden).expect("a short name");
        let listeners = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (format!("@{hidden}").into(), UnixDatagram::bind_addr(&abstract_address)),
        ];
        for (name, listener) in listeners {
            let listener = listener.expect("a free name");
            listener.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            Notifier { to: open(&name).ok() }.tell("READY=1\nSTATUS=serving");
            let mut heard = [0; 64];
            let length = listener.recv(&mut heard).expect("it was told");
            assert_eq!(&heard[..length], b"READY=1\nSTATUS=serving");
        }
        let _ = std::fs::remove_file(path);
    }
}
