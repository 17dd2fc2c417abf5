//! For apps that listen on a port: the worker's socket relayed to `127.0.0.1:PORT`.
//!
//! Each connection has two threads, one a direction; the end of one direction is passed on as a
//! half-close, a broken one ends both, so that the app notices a master that gave up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A loopback port that nobody listens on now.
pub(crate) fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}

/// Relays from now on, in threads of its own, for as long as the process lives.
pub(crate) fn start(listener: UnixListener, port: u16) -> io::Result<()> {
    named("relay").spawn(move || {
        loop {
            match listener.accept() {
                // Without a thread for it the connection is closed: the master tries again.
                Ok((near, _)) => drop(named("relay-out").spawn(move || relay(near, port))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Out of descriptors: wait for connections to end.
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    })?;
    Ok(())
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024)
}

fn relay(near: UnixStream, port: u16) {
    let Ok(far) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) else { return };
    let _ = far.set_nodelay(true);
    let ends = Arc::new((near, far));
    let back = Arc::clone(&ends);
    let coming = named("relay-in").spawn(move || {
        let (near, far) = &*back;
        if pass(far, near).is_err() {
            sever(near, far);
        }
    });
    let (near, far) = &*ends;
    if coming.is_err() || pass(near, far).is_err() {
        sever(near, far);
    }
    if let Ok(coming) = coming {
        let _ = coming.join();
    }
}

fn sever(near: &UnixStream, far: &TcpStream) {
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
}

/// Copies until the end, then passes the end on.
fn pass<'a, A, B>(from: &'a A, to: &'a B) -> io::Result<()>
where
    &'a A: Read,
    &'a B: Write,
    B: HalfClose,
{
    let (mut reader, mut writer) = (from, to);
    let mut block = [0; 32 * 1024];
    loop {
        match reader.read(&mut block) {
            Ok(0) => return to.half_close(),
            Ok(count) => writer.write_all(&block[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

trait HalfClose {
    fn half_close(&self) -> io::Result<()>;
}

impl HalfClose for UnixStream {
    fn half_close(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl HalfClose for TcpStream {
    fn half_close(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
