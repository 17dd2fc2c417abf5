//! For apps that listen on a port: the worker's socket relayed to `127.0.0.1:PORT`, or to `[::1]:PORT`
//! where nobody listens on the former.
//!
//! One thread waits for all connections: a WebSocket that says nothing costs two descriptors. Events
//! are level-triggered, and a side is only watched for what it can do next.

mod pair;

use crate::port::Port;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pair::{Pair, Side};
use std::io::{self, ErrorKind};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;
/// Events taken, and connections accepted, at once.
const AT_ONCE: usize = 64;
/// How long nothing is accepted when descriptors have run out.
const PAUSE_MILLIS: u16 = 20;
/// The listener's mark among those of pairs.
const LISTENER: u64 = u64::MAX;

/// Relays from now on, in a thread of its own, for as long as the process lives; the port stays claimed
/// as long.
pub(crate) fn start(listener: UnixListener, port: Port) -> io::Result<()> {
    let mut relay = Relay::new(listener, port)?;
    thread::Builder::new()
        .name("relay".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || relay.run())?;
    Ok(())
}

struct Relay {
    epoll: Epoll,
    listener: UnixListener,
    port: Port,
    pairs: Vec<Option<Pair>>,
    /// Places in `pairs` that nobody has.
    free: Vec<usize>,
    block: Box<[u8]>,
    accepts: bool,
}

impl Relay {
    fn new(listener: UnixListener, port: Port) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let block = vec![0; BLOCK].into_boxed_slice();
        Ok(Self {
            epoll,
            listener,
            port,
            pairs: Vec::new(),
            free: Vec::new(),
            block,
            accepts: true,
        })
    }

    fn run(&mut self) {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        loop {
            let patience =
                if self.accepts { EpollTimeout::NONE } else { EpollTimeout::from(PAUSE_MILLIS) };
            let count = match self.epoll.wait(&mut events, patience) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => {
                    // Only a lack of memory is left.
                    thread::sleep(Duration::from_millis(PAUSE_MILLIS.into()));
                    0
                }
            };
            if !self.accepts {
                self.accept_again();
            }
            let mut is_called = false;
            let mut ended = Vec::new();
            for event in events.iter().take(count) {
                match place(event.data()) {
                    None => is_called = true,
                    Some((index, side)) => {
                        if !self.turn(index, side) {
                            ended.push(index);
                        }
                    }
                }
            }
            // Only now: an event of a pair that has ended must not meet its successor.
            self.free.append(&mut ended);
            if is_called {
                self.accept();
            }
        }
    }

    /// Does what this pair can do; false when that was its end.
    fn turn(&mut self, index: usize, side: Side) -> bool {
        let Some(place) = self.pairs.get_mut(index) else { return true };
        let Some(pair) = place else { return true };
        let goes_on = pair.turn(side, &mut self.block).is_ok()
            && !pair.is_over()
            && pair.watch(&self.epoll, |side| mark(index, side)).is_ok();
        if !goes_on {
            // Its descriptors leave the epoll as they are closed.
            *place = None;
        }
        goes_on
    }

    fn accept(&mut self) {
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((near, _)) => self.begin(near),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // Out of descriptors: others have to end first.
                    self.accepts = self.epoll.delete(&self.listener).is_err();
                    return;
                }
            }
        }
    }

    fn accept_again(&mut self) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
        self.accepts = self.epoll.add(&self.listener, event).is_ok();
    }

    /// A connection of the master's; closed at once where there is none for it, and the master tries
    /// again.
    fn begin(&mut self, near: UnixStream) {
        let Ok(mut pair) = Pair::connect(near, self.port.number()) else { return };
        let index = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() - 1
        });
        let watched = pair.watch(&self.epoll, |side| mark(index, side));
        match self.pairs.get_mut(index) {
            Some(place) if watched.is_ok() => *place = Some(pair),
            _ => self.free.push(index),
        }
    }
}

fn mark(index: usize, side: Side) -> u64 {
    (index as u64) << 1 | u64::from(side == Side::Far)
}

/// The pair and its side that a mark stands for.
fn place(mark: u64) -> Option<(usize, Side)> {
    if mark == LISTENER {
        return None;
    }
    let side = if mark & 1 == 1 { Side::Far } else { Side::Near };
    usize::try_from(mark >> 1).ok().map(|index| (index, side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    const SOON: Duration = Duration::from_secs(20);

    /// A relay to a listener of the test's own.
    struct Place {
        path: PathBuf,
        app: TcpListener,
    }

    impl Place {
        fn new(name: &str, address: &str) -> Self {
            let name = format!("rip-relay-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).expect("a socket");
            let port = Port::claim().expect("a port");
            let app = TcpListener::bind((address, port.number())).expect("an app");
            start(listener, port).expect("a relay");
            Self { path, app }
        }

        fn connect(&self) -> UnixStream {
            let near = UnixStream::connect(&self.path).expect("the relay");
            near.set_read_timeout(Some(SOON)).expect("a timeout");
            near.set_write_timeout(Some(SOON)).expect("a timeout");
            near
        }

        /// A connection and what the app gets of it.
        fn pair(&self) -> (UnixStream, TcpStream) {
            let near = self.connect();
            let (far, _) = self.app.accept().expect("it arrives");
            far.set_read_timeout(Some(SOON)).expect("a timeout");
            (near, far)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..251).map(|index| (index * 7 % 251) as u8).cycle().take(count).collect()
    }

    fn sending<W: Write + Send + 'static>(mut to: W, count: usize) -> JoinHandle<io::Result<W>> {
        thread::spawn(move || to.write_all(&bytes(count)).map(|()| to))
    }

    fn all(mut from: impl Read) -> Vec<u8> {
        let mut got = Vec::new();
        from.read_to_end(&mut got).expect("all of it, and the end");
        got
    }

    #[test]
    fn much_goes_both_ways_at_once_and_each_end_is_passed_on() {
        const MUCH: usize = 4_000_000;
        let place = Place::new("much", "127.0.0.1");
        let (near, far) = place.pair();
        let up = sending(near.try_clone().unwrap(), MUCH);
        let down = sending(far.try_clone().unwrap(), MUCH);
        let app = thread::spawn(move || all(far));
        let mut begin = vec![0; MUCH / 2];
        (&near).read_exact(&mut begin).unwrap();
        up.join().unwrap().unwrap().shutdown(Shutdown::Write).unwrap();
        assert!(app.join().unwrap() == bytes(MUCH), "what went up");
        // The way back is still open.
        let rest = thread::spawn(move || all(near));
        down.join().unwrap().unwrap().shutdown(Shutdown::Write).unwrap();
        begin.extend(rest.join().unwrap());
        assert!(begin == bytes(MUCH), "what came down");
    }

    #[test]
    fn the_app_may_end_first() {
        let place = Place::new("first", "127.0.0.1");
        let (mut near, mut far) = place.pair();
        far.write_all(b"answer").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all(&near), b"answer");
        near.write_all(b"more").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all(&far), b"more");
    }

    #[test]
    fn an_answer_comes_through_although_the_app_reads_no_further() {
        let place = Place::new("early", "127.0.0.1");
        let (near, mut far) = place.pair();
        let up = sending(near.try_clone().unwrap(), 8_000_000);
        far.read_exact(&mut [0; 1000]).unwrap();
        far.write_all(b"too large").unwrap();
        far.shutdown(Shutdown::Both).unwrap();
        let mut got = [0; 9];
        (&near).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"too large");
        drop(far);
        assert!(up.join().unwrap().is_err(), "the rest is taken by nobody");
    }

    #[test]
    fn who_no_longer_reads_is_told_to_the_app_by_its_next_write() {
        let place = Place::new("gone", "127.0.0.1");
        for leaves in [Shutdown::Read, Shutdown::Both] {
            let (near, mut far) = place.pair();
            near.shutdown(leaves).unwrap();
            if leaves == Shutdown::Both {
                drop(near);
            }
            let failed = (0..2000).any(|_| far.write_all(&[0; 65536]).is_err());
            assert!(failed, "{leaves:?}");
        }
    }

    #[test]
    fn slow_ones_hold_nobody_up() {
        let place = Place::new("slow", "127.0.0.1");
        let (stuck, _unread) = place.pair();
        let up = sending(stuck.try_clone().unwrap(), 20_000_000);
        // So full is the way of the first by now that the relay has something left over.
        for _ in 0..200 {
            let (mut near, mut far) = place.pair();
            near.write_all(b"question").unwrap();
            let mut got = [0; 8];
            far.read_exact(&mut got).unwrap();
            far.write_all(&got).unwrap();
            near.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"question");
        }
        stuck.shutdown(Shutdown::Both).unwrap();
        assert!(up.join().unwrap().is_err());
    }

    #[test]
    fn the_other_localhost_is_found() {
        let place = Place::new("six", "::1");
        let (mut near, mut far) = place.pair();
        near.write_all(b"?").unwrap();
        far.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn where_nobody_listens_the_connection_ends_at_once() {
        let path = std::env::temp_dir().join(format!("rip-relay-{}-nobody", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let port = Port::claim().unwrap();
        start(listener, port).unwrap();
        let mut near = UnixStream::connect(&path).unwrap();
        near.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
        std::fs::remove_file(path).unwrap();
    }
}
