//! Serving the socket a worker was given: one thread a connection, blocking reads and writes.

use crate::boot;
use crate::exchange::{Connection, Exchange};
use crate::host::LISTENER_FD;
use crate::request::Request;
use crate::response::Response;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Answers requests on the inherited socket until SIGTERM or SIGINT; then finishes those that have
/// begun and returns. Requests come from the master only, on one or more keep-alive connections;
/// `handler` runs on the connection's thread. Call it once, from the main thread, before others are
/// started: it takes over the two signals for every thread that comes later.
///
/// ```no_run
/// use rip_worker::Response;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// fn main() -> std::io::Result<()> {
///     let count = AtomicU64::new(0);
///     rip_worker::serve(move |request| {
///         let number = count.fetch_add(1, Ordering::Relaxed) + 1;
///         Response::text(format!("{} {}, number {number}\n", request.method(), request.target()))
///     })
/// }
/// ```
///
/// # Errors
/// When the process was not given a listener (descriptor 3, `LISTEN_FDS`), or signals cannot be
/// received.
pub fn serve<H>(handler: H) -> io::Result<()>
where
    H: Fn(&mut Request<'_>) -> Response + Send + Sync + 'static,
{
    serve_connections(listener()?, move |connection| connection.answer(&handler))
}

/// As [`serve`], for a gateway, which reads the request's body while it writes the answer. An error of
/// `gateway` cuts the connection.
pub(crate) fn serve_gateway<G>(gateway: G) -> io::Result<()>
where
    G: Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync + 'static,
{
    serve_gateway_on(listener()?, gateway)
}

/// The same on a listener that was taken before.
pub(crate) fn serve_gateway_on<G>(listener: UnixListener, gateway: G) -> io::Result<()>
where
    G: Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync + 'static,
{
    serve_connections(listener, move |connection| connection.pass(&gateway))
}

/// `answer` answers one request of a connection; an error ends that connection.
fn serve_connections<A>(listener: UnixListener, answer: A) -> io::Result<()>
where
    A: Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let set = hold_stop_signals()?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let answer = Arc::new(answer);
    let busy = Arc::new(Busy::default());
    loop {
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if matches!(signals.read_signal(), Ok(Some(_))) {
            busy.wait_until_idle();
            return Ok(());
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(false)?;
        let (answer, busy) = (Arc::clone(&answer), Arc::clone(&busy));
        // Without a thread for it the connection is closed: the master tries again.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let mut connection = Connection::new(stream);
            while connection.next_request().is_ok_and(|came| came) {
                let _working = busy.begin();
                if answer(&mut connection).is_err() {
                    break;
                }
            }
        });
    }
}

const STACK_BYTES: usize = 512 * 1024;

/// From here on the signals that ask for an end wait, in this thread and in those it starts.
pub(crate) fn hold_stop_signals() -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block()?;
    Ok(set)
}

/// The listener that the process was given, for servers that are not [`serve`]. It does not block
/// ([`UnixListener::set_nonblocking`]), and is closed on exec. It is given out once.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// let listener = rip_worker::listener()?;
/// listener.set_nonblocking(false)?;
/// for stream in listener.incoming() {
///     // Speak HTTP/1.1 here, on a thread of its own.
///     drop(stream?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When the process was not given a listener (descriptor 3), or it was taken before.
pub fn listener() -> io::Result<UnixListener> {
    let listener = boot::take_inherited(LISTENER_FD).map_err(|error| {
        let message = format!("no listener on descriptor {LISTENER_FD}: start it with rip-master");
        io::Error::new(error.kind(), message)
    })?;
    let listener = UnixListener::from(listener);
    // Whoever inherited it too may accept first; then the accept must not wait.
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED | Errno::EMFILE | Errno::ENFILE)
    )
}

/// How many requests are being answered.
#[derive(Default)]
struct Busy {
    count: Mutex<usize>,
    idle: Condvar,
}

impl Busy {
    fn begin(&self) -> Working<'_> {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Working(self)
    }

    fn wait_until_idle(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = self.idle.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Working<'a>(&'a Busy);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if *count == 0 {
            self.0.idle.notify_all();
        }
    }
}
