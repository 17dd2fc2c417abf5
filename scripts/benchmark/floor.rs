//! The floor: what a loop costs that does only this. One thread, mio and httparse, no deadlines, no
//! limits, no bodies of requests, no pipelining: nothing that a server on the internet could leave out.
//!
//! ```text
//! floor hello PORT              a tiny answer
//! floor file PORT FILE          one file, by sendfile; a small one from memory
//! floor proxy PORT SOCKET       to a Unix socket, over links that are kept
//! … --threads N                 beside N threads that do nothing, but share the table of descriptors
//! ```

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::SetSockOpt;
use nix::sys::socket::sockopt::SetBool;
use socket2::SockRef;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::{self, MaybeUninit};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: floor hello PORT | file PORT FILE | proxy PORT SOCKET [--threads N]";
const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
const READ_BYTES: usize = 64 * 1024;
/// A file that is no larger is kept in memory.
const SMALL_BYTES: u64 = 16 * 1024;
/// As many requests at once as the server that is measured gives its one worker.
const LINKS_MAX: usize = 32;
const FIELDS_MAX: usize = 64;
const LISTENER: Token = Token(0);

/// Connections are taken in with their first words.
#[derive(Clone)]
struct DeferAccept;
nix::setsockopt_impl!(DeferAccept, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, bool, SetBool);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = words.iter().position(|word| word == "--threads") {
        let idle: usize = words.get(at + 1).and_then(|word| word.parse().ok()).ok_or_else(usage)?;
        words.truncate(at);
        for _ in 0..idle {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (work, port) = match words.as_slice() {
        ["hello", port] => (Work::Hello, port),
        ["file", port, path] => (Work::file(path)?, port),
        ["proxy", port, path] => (Work::Proxy { path: PathBuf::from(path) }, port),
        _ => return Err(usage()),
    };
    let port: u16 = port.parse().map_err(|_| usage())?;
    Floor::new(work, port)?.serve()
}

fn usage() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, USAGE)
}

/// What is done for a request.
enum Work {
    Hello,
    /// An answer that is in memory, head and body.
    Small(Vec<u8>),
    File {
        head: Vec<u8>,
        file: File,
        length: usize,
    },
    Proxy {
        path: PathBuf,
    },
}

impl Work {
    fn file(path: &str) -> io::Result<Work> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        if length <= SMALL_BYTES {
            file.read_to_end(&mut head)?;
            return Ok(Work::Small(head));
        }
        Ok(Work::File { head, file, length: length as usize })
    }
}

struct Client {
    stream: TcpStream,
    /// The first part of a head that is not all there.
    unread: Vec<u8>,
    /// How much of the file has been sent, while it is.
    sent: Option<usize>,
    /// The link that has its request.
    link: Option<usize>,
    closes: bool,
    registered: bool,
}

struct Link {
    stream: UnixStream,
    unread: Vec<u8>,
    client: Option<usize>,
}

/// What becomes of a connection after an event.
#[derive(PartialEq)]
enum Then {
    Stay,
    Close,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    work: Work,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Places of links: one that the worker has ended leaves its own free.
    links: Vec<Option<Link>>,
    idle: Vec<usize>,
    /// Clients whose request, kept in `unread`, waits for a link.
    waiting: VecDeque<usize>,
    buffer: Vec<u8>,
}

impl Floor {
    fn new(work: Work, port: u16) -> io::Result<Floor> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
        // mio listens with room for 1 024; nobody is to be turned away here.
        SockRef::from(&listener).listen(4096)?;
        DeferAccept.set(&listener, &true)?;
        // Those that come inherit it.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (clients, free, idle) = (Vec::new(), Vec::new(), Vec::new());
        let links = (0..LINKS_MAX).map(|_| None).collect();
        let (waiting, buffer) = (VecDeque::new(), vec![0; READ_BYTES]);
        Ok(Floor { poll, listener, work, clients, free, links, idle, waiting, buffer })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(token) if token % 2 == 1 => self.client_ready(token / 2, event),
                    Token(token) => self.link_ready(token / 2 - 1, event)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let client = Client {
                stream,
                unread: Vec::new(),
                sent: None,
                link: None,
                closes: false,
                registered: false,
            };
            let at = self.free.pop().unwrap_or(self.clients.len());
            if at == self.clients.len() {
                self.clients.push(None);
            }
            self.clients[at] = Some(client);
            // The request may be there already: then a client of one request is never registered.
            let then = self.read(at);
            self.settle(at, then);
            if let Some(client) = &mut self.clients[at]
                && !client.registered
            {
                client.registered = true;
                let interest = Interest::READABLE | Interest::WRITABLE;
                let token = Token(2 * at + 1);
                self.poll.registry().register(&mut client.stream, token, interest)?;
            }
        }
    }

    fn client_ready(&mut self, at: usize, event: &Event) {
        let Some(client) = self.clients.get(at).and_then(Option::as_ref) else { return };
        let then = if client.sent.is_some() {
            self.send_file(at)
        } else if event.is_readable() {
            self.read(at)
        } else {
            Then::Stay
        };
        self.settle(at, then);
    }

    fn settle(&mut self, at: usize, then: Then) {
        if then == Then::Close
            && let Some(client) = self.clients[at].take()
        {
            if let Some(link) = client.link.and_then(|number| self.links[number].as_mut()) {
                link.client = None;
            }
            self.waiting.retain(|waiting| *waiting != at);
            self.free.push(at);
        }
    }

    /// Reads once: what comes later says so by another event.
    fn read(&mut self, at: usize) -> Then {
        let Some(client) = &mut self.clients[at] else { return Then::Stay };
        let count = match client.stream.read(&mut self.buffer) {
            Ok(0) => return Then::Close,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Then::Stay,
            Err(_) => return Then::Close,
        };
        if client.link.is_some() {
            return Then::Close;
        }
        let mut whole = mem::take(&mut client.unread);
        let request = if whole.is_empty() {
            &self.buffer[..count]
        } else {
            whole.extend_from_slice(&self.buffer[..count]);
            &whole
        };
        match request_head(request) {
            Some(Head::Partial) => {
                client.unread = request.to_vec();
                return Then::Stay;
            }
            Some(Head::Whole { closes }) => client.closes = closes,
            None => return Then::Close,
        }
        match &self.work {
            Work::Hello => answer(client, HELLO),
            Work::Small(bytes) => answer(client, bytes),
            Work::File { head, .. } => {
                if !client.stream.write(head).is_ok_and(|count| count == head.len()) {
                    return Then::Close;
                }
                client.sent = Some(0);
                self.send_file(at)
            }
            Work::Proxy { path } => {
                if self.idle.is_empty()
                    && let Some(place) = self.links.iter().position(Option::is_none)
                {
                    let Ok(mut stream) = UnixStream::connect(path) else { return Then::Close };
                    let (token, registry) = (Token(2 * place + 2), self.poll.registry());
                    if registry.register(&mut stream, token, Interest::READABLE).is_err() {
                        return Then::Close;
                    }
                    self.links[place] = Some(Link { stream, unread: Vec::new(), client: None });
                    self.idle.push(place);
                }
                let Some(number) = self.idle.pop() else {
                    client.unread = request.to_vec();
                    self.waiting.push_back(at);
                    return Then::Stay;
                };
                let Some(link) = &mut self.links[number] else { return Then::Close };
                client.link = Some(number);
                link.client = Some(at);
                if link.stream.write(request).is_ok_and(|count| count == request.len()) {
                    Then::Stay
                } else {
                    Then::Close
                }
            }
        }
    }

    fn send_file(&mut self, at: usize) -> Then {
        let Some(client) = &mut self.clients[at] else { return Then::Stay };
        let Work::File { file, length, .. } = &self.work else { return Then::Close };
        while let Some(sent) = client.sent {
            let Some(left) = NonZeroUsize::new(length - sent) else {
                client.sent = None;
                return if client.closes { Then::Close } else { Then::Stay };
            };
            match SockRef::from(&client.stream).sendfile(file, sent, Some(left)) {
                Ok(0) => return Then::Close,
                Ok(count) => client.sent = Some(sent + count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Then::Stay,
                Err(_) => return Then::Close,
            }
        }
        Then::Stay
    }

    /// An answer, or a part of one: passed on when it is whole.
    fn link_ready(&mut self, number: usize, event: &Event) -> io::Result<()> {
        let Some(link) = &mut self.links[number] else { return Ok(()) };
        let count = match link.stream.read(&mut self.buffer) {
            Ok(0) if link.client.is_none() => {
                self.idle.retain(|idle| *idle != number);
                self.links[number] = None;
                return Ok(());
            }
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the worker hangs up")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut whole = mem::take(&mut link.unread);
        let bytes = if whole.is_empty() {
            &self.buffer[..count]
        } else {
            whole.extend_from_slice(&self.buffer[..count]);
            &whole
        };
        if !answer_is_whole(bytes)? {
            link.unread = bytes.to_vec();
            return Ok(());
        }
        let client = link.client.take();
        if event.is_read_closed() {
            self.links[number] = None;
        } else {
            self.idle.push(number);
        }
        if let Some(at) = client
            && let Some(client) = &mut self.clients[at]
        {
            client.link = None;
            let then = answer(client, bytes);
            self.settle(at, then);
        }
        self.next_waiting()
    }

    fn next_waiting(&mut self) -> io::Result<()> {
        while let (Some(&at), Some(&number)) = (self.waiting.front(), self.idle.last()) {
            self.waiting.pop_front();
            let Some(client) = &mut self.clients[at] else { continue };
            self.idle.pop();
            let Some(link) = &mut self.links[number] else { continue };
            let request = mem::take(&mut client.unread);
            link.client = Some(at);
            client.link = Some(number);
            link.stream.write_all(&request)?;
        }
        Ok(())
    }
}

fn answer(client: &mut Client, bytes: &[u8]) -> Then {
    match client.stream.write(bytes) {
        Ok(count) if count == bytes.len() && !client.closes => Then::Stay,
        _ => Then::Close,
    }
}

enum Head {
    Partial,
    Whole { closes: bool },
}

/// Nothing when it is no request.
fn request_head(bytes: &[u8]) -> Option<Head> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    if request.parse_with_uninit_headers(bytes, &mut fields).ok()?.is_partial() {
        return Some(Head::Partial);
    }
    let closes = request.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"close")
    });
    Some(Head::Whole { closes })
}

/// Answers that say their length only.
fn answer_is_whole(bytes: &[u8]) -> io::Result<bool> {
    let wrong = |text: &str| io::Error::new(ErrorKind::InvalidData, text.to_owned());
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut fields)
        .map_err(|error| wrong(&error.to_string()))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(false) };
    let length: usize = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| str::from_utf8(field.value).ok()?.parse().ok())
        .ok_or_else(|| wrong("the worker does not say how long its answer is"))?;
    Ok(bytes.len() >= head + length)
}
