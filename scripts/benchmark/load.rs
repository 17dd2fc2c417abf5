//! Clients by the thousand: some ask again as soon as they have an answer, the rest stay and say nothing.
//!
//! ```text
//! load PORT PATH CLIENTS SECONDS [--active N] [--body BYTES] [--paths N]
//! ```
//!
//! With `--body` requests are POSTs of so many bytes. With `--paths` the `{}` in PATH is a number below N, another
//! one for each request. Says `there` when all have had an answer, waits for a line, and says what it counted. A
//! request that is not answered by 2xx or 3xx, with a length, on a connection that goes on, ends it all.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: load PORT PATH CLIENTS SECONDS [--active N] [--body BYTES] [--paths N]";
const READ_BYTES: usize = 256 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// An address has some 28 000 ports: clients are spread over several.
const CLIENTS_AN_ADDRESS: usize = 5_000;
/// Requests differ in no more than so many ways.
const REQUESTS_MAX: usize = 20_000;
/// So many connect at a time: no more than a server's backlog holds.
const CONNECTING_MAX: usize = 500;
const SILENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be done.
struct Order {
    port: u16,
    clients: usize,
    active: usize,
    seconds: f64,
    /// Heads of requests.
    requests: Vec<Vec<u8>>,
    body: Vec<u8>,
}

impl Order {
    fn read() -> io::Result<Self> {
        let mut words: Vec<String> = std::env::args().skip(1).collect();
        let active = option(&mut words, "--active")?;
        let body = option(&mut words, "--body")?;
        let paths = option(&mut words, "--paths")?.unwrap_or(1);
        let [port, path, clients, seconds] = words.as_slice() else { return Err(usage()) };
        let clients = clients.parse().map_err(|_| usage())?;
        let request = |number: usize| {
            let path = path.replace("{}", &number.to_string());
            let rest = "HTTP/1.1\r\nHost: 127.0.0.1\r\n";
            match body {
                Some(bytes) => {
                    format!("POST {path} {rest}Content-Length: {bytes}\r\n\r\n").into_bytes()
                }
                None => format!("GET {path} {rest}\r\n").into_bytes(),
            }
        };
        // Further on in steps that come to every number, so that neighbours are not asked for in turn.
        let step = 7919;
        Ok(Self {
            port: port.parse().map_err(|_| usage())?,
            clients,
            active: active.unwrap_or(clients).min(clients),
            seconds: seconds.parse().map_err(|_| usage())?,
            requests: (0..paths.clamp(1, REQUESTS_MAX))
                .map(|number| request(number.wrapping_mul(step) % paths.max(1)))
                .collect(),
            body: vec![b'x'; body.unwrap_or(0)],
        })
    }
}

fn option(words: &mut Vec<String>, name: &str) -> io::Result<Option<usize>> {
    let Some(at) = words.iter().position(|word| word == name) else { return Ok(None) };
    let value = words.get(at + 1).and_then(|word| word.parse().ok()).ok_or_else(usage)?;
    words.drain(at..at + 2);
    Ok(Some(value))
}

fn usage() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, USAGE)
}

fn run() -> io::Result<()> {
    let order = Order::read()?;
    let mut load = Load::new(&order)?;
    load.gather()?;
    println!("there");
    io::stdin().read_line(&mut String::new())?;
    let began = Instant::now();
    load.ask_until(began + Duration::from_secs_f64(order.seconds))?;
    let spent = began.elapsed().as_secs_f64();
    load.took.sort_unstable();
    let count = load.took.len();
    let quantile = |share: f64| {
        let at = ((count as f64 * share) as usize).min(count.saturating_sub(1));
        f64::from(load.took.get(at).copied().unwrap_or(0)) / 1e6
    };
    println!(
        "{{\"requests\":{count},\"requestsPerSecond\":{:.1},\"p50Seconds\":{:.6},\"p99Seconds\":{:.6}}}",
        count as f64 / spent,
        quantile(0.5),
        quantile(0.99)
    );
    // Who measures looks first, and then they leave.
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// ```text
///  Quiet ── ask ──▶ Asking: the request leaves, then the answer's head comes, then its body ── all of it ──▶ Quiet
/// ```
struct Client {
    stream: TcpStream,
    began: Instant,
    /// Which request, and how much of its head and body has left.
    request: usize,
    sent: usize,
    /// An answer's head as far as it is there.
    head: Vec<u8>,
    /// What is still owed of a body.
    left: usize,
    is_asking: bool,
}

struct Load<'a> {
    order: &'a Order,
    poll: Poll,
    clients: Vec<Client>,
    /// Microseconds of each request.
    took: Vec<u32>,
    next: usize,
    buffer: Vec<u8>,
}

impl<'a> Load<'a> {
    fn new(order: &'a Order) -> io::Result<Self> {
        Ok(Self {
            order,
            poll: Poll::new()?,
            clients: Vec::with_capacity(order.clients),
            took: Vec::new(),
            next: 0,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// All come, and each asks once.
    fn gather(&mut self) -> io::Result<()> {
        while self.clients.len() < self.order.clients {
            let first = self.clients.len();
            let last = (first + CONNECTING_MAX).min(self.order.clients);
            for number in first..last {
                let mut stream = connect(self.order.port, number)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, Token(number), both)?;
                self.clients.push(Client {
                    stream,
                    began: Instant::now(),
                    request: 0,
                    sent: 0,
                    head: Vec::new(),
                    left: 0,
                    is_asking: false,
                });
                self.ask(number)?;
            }
            self.serve(last - first, None)?;
        }
        self.took.clear();
        Ok(())
    }

    /// Those who are active ask again and again; every answer that is owed is waited for.
    fn ask_until(&mut self, until: Instant) -> io::Result<()> {
        for number in 0..self.order.active {
            self.ask(number)?;
        }
        self.serve(self.order.active, Some(until))
    }

    /// Until so many clients have their answers and do not ask again.
    fn serve(&mut self, mut waiting: usize, until: Option<Instant>) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while waiting > 0 {
            self.poll.poll(&mut events, Some(SILENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("{waiting} clients get no answer")));
            }
            for event in &events {
                let number = event.token().0;
                if event.is_writable() {
                    self.write(number)?;
                }
                if !event.is_readable() || !self.read(number)? {
                    continue;
                }
                let now = Instant::now();
                let client = &mut self.clients[number];
                client.is_asking = false;
                let micros = now.duration_since(client.began).as_micros();
                self.took.push(u32::try_from(micros).unwrap_or(u32::MAX));
                if until.is_some_and(|until| now < until) {
                    self.ask(number)?;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, number: usize) -> io::Result<()> {
        let request = self.next;
        self.next = (self.next + 1) % self.order.requests.len();
        let client = &mut self.clients[number];
        client.request = request;
        client.began = Instant::now();
        client.sent = 0;
        client.is_asking = true;
        self.write(number)
    }

    fn write(&mut self, number: usize) -> io::Result<()> {
        let client = &mut self.clients[number];
        let head = &self.order.requests[client.request];
        let body = &self.order.body;
        while client.is_asking && client.sent < head.len() + body.len() {
            let rest = match client.sent.checked_sub(head.len()) {
                Some(at) => &body[at..],
                None => &head[client.sent..],
            };
            match client.stream.write(rest) {
                Ok(count) => client.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Connecting is not over.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// True when an answer is there as a whole.
    fn read(&mut self, number: usize) -> io::Result<bool> {
        let client = &mut self.clients[number];
        loop {
            let count = match client.stream.read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::other("the server closes")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let mut piece = &self.buffer[..count];
            if client.left == 0 {
                client.head.extend_from_slice(piece);
                let Some((length, body)) = answer(&client.head)? else { continue };
                let there = client.head.len() - body;
                client.head.clear();
                client.left = length;
                piece = &self.buffer[count - there.min(count)..count];
            }
            client.left = client
                .left
                .checked_sub(piece.len())
                .ok_or_else(|| io::Error::other("more than was asked for"))?;
            if client.left == 0 {
                return Ok(true);
            }
        }
    }
}

fn connect(port: u16, number: usize) -> io::Result<TcpStream> {
    let address = u8::try_from(1 + number / CLIENTS_AN_ADDRESS).unwrap_or(u8::MAX);
    let at =
        |address, port| SockAddr::from(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, address), port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // They leave with a reset: ten thousands of connections that the kernel remembers for a minute would make
    // those slow that come next.
    socket.set_linger(Some(Duration::ZERO))?;
    if address > 1 {
        socket.set_reuse_address(true)?;
        socket.bind(&at(address, 0))?;
    }
    match socket.connect(&at(1, port)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// The length of an answer's body and where it begins, when the head is there.
fn answer(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let status = response.parse(bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let httparse::Status::Complete(body) = status else {
        let is_too_long = bytes.len() > HEAD_BYTES_MAX;
        return if is_too_long { Err(io::Error::other("a head without end")) } else { Ok(None) };
    };
    let code = response.code.unwrap_or(0);
    if !(200..400).contains(&code) {
        return Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(bytes))));
    }
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some((length, body)))
}
