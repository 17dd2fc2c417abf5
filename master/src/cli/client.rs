//! One question to a master: HTTP over its control socket, blocking, until a deadline.

use super::exit::{Exit, Failure};
use rip::http1::{Client, ClientRead, ResponseHead};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a master answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body as it came.
    pub body: String,
}

/// Why an order got no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The time was over: what was ordered goes on.
    Late,
    /// The connection ended: whether it was done is not known.
    Lost,
    /// It did not reach the master.
    Unsent(Failure),
}

/// Sends `method target` with the JSON `body` to the master that listens on `socket`.
///
/// # Errors
/// Nobody answers there, not in time, or not in HTTP (exit 1); or it is not allowed (exit 77).
pub fn ask(
    socket: &Path,
    method: &str,
    target: &str,
    body: Option<&str>,
    deadline: Instant,
) -> Result<Reply, Failure> {
    let attempt = || {
        send(socket, method, target, body, deadline)
            .and_then(|mut incoming| incoming.reply(deadline))
    };
    let mut reply = attempt();
    let is_moved = match &reply {
        Ok(reply) => reply.status == MOVED,
        Err(error) => method == "GET" && has_left(error),
    };
    if is_moved {
        reply = attempt();
    }
    reply.map_err(|error| no_answer(socket, &error))
}

/// The same for an order that is carried out whether its answer arrives or not.
///
/// # Errors
/// What is known of the order without its answer.
pub fn order(
    socket: &Path,
    (method, target): (&str, &str),
    body: &str,
    deadline: Instant,
) -> Result<Reply, Unanswered> {
    let attempt = || {
        let sent = match send(socket, method, target, Some(body), deadline) {
            Err(error) if has_left(&error) => send(socket, method, target, Some(body), deadline),
            sent => sent,
        };
        let mut incoming = sent.map_err(|error| Unanswered::Unsent(no_answer(socket, &error)))?;
        incoming.reply(deadline).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Unanswered::Late,
            _ => Unanswered::Lost,
        })
    };
    match attempt() {
        Ok(reply) if reply.status == MOVED => attempt(),
        reply => reply,
    }
}

/// A master that another one has just taken the place of may end before it was asked.
fn has_left(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Opens the stream that `GET target` is answered with.
///
/// # Errors
/// As [`ask`].
pub fn follow(socket: &Path, target: &str, deadline: Instant) -> Result<Incoming, Failure> {
    send(socket, "GET", target, None, deadline).map_err(|error| no_answer(socket, &error))
}

/// What it means that a question got no answer.
pub fn no_answer(socket: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Failed,
    };
    let why = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "no answer in time (see --timeout)".to_owned()
        }
        _ => error.to_string(),
    };
    Failure::new(exit, format!("the master at {} does not answer: {why}", socket.display()))
}

/// What one answers that another one has taken the place of.
const MOVED: u16 = 421;

fn send(
    socket: &Path,
    method: &str,
    target: &str,
    body: Option<&str>,
    deadline: Instant,
) -> io::Result<Incoming> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    if let Some(body) = body {
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    request.push_str("Connection: close\r\n\r\n");
    request.push_str(body.unwrap_or_default());
    stream.write_all(request.as_bytes())?;
    Ok(Incoming::new(stream))
}

/// An answer on its way.
#[derive(Debug)]
pub struct Incoming {
    stream: UnixStream,
    client: Client,
    head: ResponseHead,
    input: Vec<u8>,
    eof: bool,
}

impl Incoming {
    fn new(stream: UnixStream) -> Self {
        let mut client = Client::new();
        client.request(false);
        Self { stream, client, head: ResponseHead::new(), input: Vec::new(), eof: false }
    }

    /// The next piece of the body; `None` when it is complete. Waits for ever without a deadline.
    ///
    /// # Errors
    /// The answer ended too early or is not one, or the time is over.
    pub fn next(&mut self, deadline: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
        loop {
            let read =
                self.client.read(&self.input, self.eof, &mut self.head).map_err(|malformed| {
                    io::Error::new(io::ErrorKind::InvalidData, malformed.detail)
                })?;
            let (consumed, piece) = match read {
                ClientRead::More => {
                    let left = deadline.map(left).transpose()?;
                    self.stream.set_read_timeout(left)?;
                    let mut block = [0; 16 * 1024];
                    let count = read_some(&mut self.stream, &mut block)?;
                    self.eof = count == 0;
                    self.input.extend_from_slice(&block[..count]);
                    continue;
                }
                ClientRead::Body { consumed, data } => (consumed, self.input[data].to_vec()),
                ClientRead::Head { consumed }
                | ClientRead::Informational { consumed }
                | ClientRead::Switched { consumed } => (consumed, Vec::new()),
                ClientRead::End { .. } => return Ok(None),
            };
            self.input.drain(..consumed);
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// The status, once a piece of the body was read.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    fn reply(&mut self, deadline: Instant) -> io::Result<Reply> {
        let mut body = Vec::new();
        while let Some(piece) = self.next(Some(deadline))? {
            body.extend_from_slice(&piece);
            if body.len() > BODY_BYTES {
                return Err(io::Error::other("the answer is too long"));
            }
        }
        let body =
            String::from_utf8(body).map_err(|_| io::Error::other("the answer is not text"))?;
        Ok(Reply { status: self.status(), body })
    }
}

fn read_some(stream: &mut UnixStream, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// More than any master says; a bound so that a false one cannot fill the memory.
const BODY_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    /// Answers one connection with `pieces`, each written by itself, after one request has come.
    fn master(name: &str, pieces: &'static [&'static str]) -> (PathBuf, JoinHandle<String>) {
        let path =
            std::env::temp_dir().join(format!("rip-client-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let place = path.clone();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::fs::remove_file(place).unwrap();
            let mut request = String::new();
            let mut block = [0; 1024];
            while !request.contains("\r\n\r\n") {
                let count = stream.read(&mut block).unwrap();
                request.push_str(std::str::from_utf8(&block[..count]).unwrap());
            }
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
            }
            request
        });
        (path, thread)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_question_gets_its_answer() {
        let (path, thread) = master(
            "answer",
            &[
                "HTTP/1.1 503 Service Unav",
                "ailable\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                "lo\r\n3\r\n{}\n\r\n0\r\n\r\n",
            ],
        );
        let reply = ask(&path, "POST", "/control/stop", Some("{}"), soon()).unwrap();
        assert_eq!(reply, Reply { status: 503, body: "hello{}\n".to_owned() });
        let request = thread.join().unwrap();
        assert!(request.starts_with("POST /control/stop HTTP/1.1\r\nHost: localhost\r\n"));
        assert!(request.ends_with("Content-Length: 2\r\nConnection: close\r\n\r\n{}"));
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        for (name, pieces) in [
            ("cut", &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell"][..]),
            ("nothing", &[]),
            ("noise", &["hello\r\n\r\n"]),
        ] {
            let (path, thread) = master(name, pieces);
            let failure = ask(&path, "GET", "/status", None, soon()).unwrap_err();
            assert_eq!(failure.exit, Exit::Failed, "{name}");
            thread.join().unwrap();
        }
        let failure = ask(Path::new("/nowhere/ctl.sock"), "GET", "/", None, soon()).unwrap_err();
        assert!(failure.message.contains("/nowhere/ctl.sock does not answer"));
    }

    #[test]
    fn a_silent_master_is_given_up() {
        let path = std::env::temp_dir().join(format!("rip-client-{}-mute", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _listener = UnixListener::bind(&path).unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        let failure = ask(&path, "GET", "/status", None, deadline).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(failure.message.ends_with("no answer in time (see --timeout)"));
    }
}
