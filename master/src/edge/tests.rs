//! Whole loops on loopback sockets, with threads for workers.

mod clients;
mod compression;
mod dashboard;
mod proxy;
mod publish;
mod secure;
mod secure_files;
mod session_http;
mod session_socket;
mod session_view;
mod socket;
mod tls;
mod to_https;
mod tunnel;
mod turns;

use super::Edges;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::{Receiver, mailbox};
use crate::shared::Shared;
use crate::shared::budget::Budget;
use crate::shared::connections::Connections;
use crate::shared::files::{Beneath, FileQueue, Search, Task, Work};
use crate::shared::log::{Batch, LogSettings, LogSource, log_channel};
use crate::shared::mail::{ControlMessage, Listening};
use crate::shared::pools::{Address, AppPool};
use crate::shared::snapshot::{Current, Snapshot};
use crate::shared::stats::Stats;
use crate::shared::stored;
use crate::shared::tls::Tls;
use crate::shared::upstreams::prepare;
use crate::sys::beneath::Wait;
use mio::{Poll, Token, Waker};
use rip::contract::app::{
    AppDescriptor, AppTimeouts, HealthCheck, Launch, Listen, ProcessLimits, Ready, Recycle, Reload,
    RestartPolicy, Runtime, Select, Surge,
};
use rip::contract::config::Config;
use rip::contract::listen::ListenAddress;
use rip::contract::reason::Reason;
use rip::contract::settings::Settings;
use rip::guard::caps::Caps;
use rip::ids::{AppId, Generation, PoolNumber, WorkerId};
use rip::observe::counter::Counter;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A loop with one app, whose only worker is a thread.
pub(crate) struct House {
    pub(crate) shared: Arc<Shared>,
    pub(crate) edges: Mutex<Option<Edges>>,
    address: SocketAddr,
    dir: PathBuf,
    /// One for each part of a spool file that may be read.
    permits: mpsc::Sender<()>,
    log: LogSource,
    mail: Mutex<Receiver<ControlMessage>>,
    _poll: Poll,
}

impl House {
    /// `serve` is the worker: it is called with each connection and its number, one at a time.
    pub(crate) fn new(
        adjust: impl FnOnce(&mut Config),
        mut serve: impl FnMut(usize, UnixStream) + Send + 'static,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rip-edge-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let at = ListenAddress { ip: Some(address.ip()), port: address.port() };
        let mut config = Settings::new(app(), vec![at]).config;
        adjust(&mut config);
        let poll = Poll::new().unwrap();
        let (control, mail) = mailbox(Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let log_poll = Poll::new().unwrap();
        let log_waker = Waker::new(log_poll.registry(), Token(0)).unwrap();
        let (log, source) = log_channel(LogSettings::default(), log_waker);
        let files = FileQueue::new();
        let (permits, permitted) = mpsc::channel();
        thread::spawn({
            let (files, path) = (files.clone(), dir.join("spool"));
            move || serve_files(&files, &path, &permitted)
        });
        let pool = Arc::new(AppPool::new(PoolNumber(0), &config.apps[0], control.clone()));
        let limits = config.edge.limits;
        let upstreams = prepare(&config, &[], &control).unwrap();
        let secrets = crate::shared::secrets::Secrets::read(&config).unwrap_or_default();
        let snapshot =
            Snapshot::new(1, config, vec![pool]).with_upstreams(upstreams).with_secrets(secrets);
        let shared = Arc::new(Shared {
            tls: Arc::new(Tls::new().unwrap()),
            current: Current::new(Arc::new(snapshot)),
            access_log: true,
            json: true,
            stats: Stats::new(1),
            notes: crate::shared::notes::LoopNotes::new(1),
            connections: Connections::new(Caps::new(100, None), 1),
            spool_memory: Budget::new(limits.spool_memory_bytes),
            spool_disk: Budget::new(limits.spool_disk_bytes),
            spool_dir: dir.clone(),
            renewals: Default::default(),
            pages: Default::default(),
            publish_secret: None,
            hubs: Default::default(),
            sessions: Default::default(),
            logins: Default::default(),
            files,
            log,
            control,
        });
        let at = listener.local_addr().unwrap();
        let at = ListenAddress { ip: Some(at.ip()), port: at.port() };
        let listening = Listening { address: at, listener };
        let edges = Edges::start(&shared, vec![listening], 1, 7).unwrap();
        let socket_path = dir.join("worker.sock");
        let workers = UnixListener::bind(&socket_path).unwrap();
        thread::spawn(move || {
            for (number, stream) in workers.incoming().enumerate() {
                serve(number, stream.unwrap());
            }
        });
        let worker = Address { worker: WorkerId(1), socket_path, keep_alive: true, idle: None };
        shared.current.load().pools[0].join(Generation(1), worker, Clock::read());
        let edges = Mutex::new(Some(edges));
        Self {
            shared,
            edges,
            address,
            dir,
            permits,
            log: source,
            mail: Mutex::new(mail),
            _poll: poll,
        }
    }

    pub(crate) fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The loop still turns.
    pub(super) fn turn(&self) {
        let mut client = self.client();
        client.write_all(b"GET /server HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(response(&mut client).ends_with("ok"));
    }

    /// The access lines that were written since the last call.
    fn lines(&self) -> String {
        let mut batch = Batch::default();
        self.log.take(&mut batch);
        String::from_utf8(batch.out.lines).unwrap()
    }

    pub(crate) fn inflight(&self) -> u32 {
        self.shared.current.load().pools[0].view(rip::pool::Pool::inflight)
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.shared.stats.read().value(counter)
    }

    /// Exchanges that ended with this status.
    pub(super) fn answers(&self, status: u16) -> u64 {
        let tally = self.shared.stats.read_tallies(Clock::read());
        let answers = tally.apps.values().flat_map(|app| &app.answers);
        answers.filter(|((_, found), _)| *found == status).map(|(_, count)| count).sum()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Ok(Some(edges)) = self.edges.get_mut().map(Option::take) {
            edges.stop();
        }
        self.shared.files.close();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn app() -> AppDescriptor {
    AppDescriptor {
        id: AppId::new("app"),
        entry: "app".to_owned(),
        hosts: Vec::new(),
        prefixes: Vec::new(),
        workers: 1,
        concurrency: 1,
        max_queue: 10,
        max_inflight: 10,
        select: Select::Lifo,
        env: Default::default(),
        restart_policy: RestartPolicy::default(),
        health_check: HealthCheck::default(),
        recycle: Recycle::default(),
        surge: Surge::default(),
        reload: Reload::default(),
        watch: Vec::new(),
        timeouts: AppTimeouts::default(),
        stream_request: false,
        realtime_path: rip::contract::app::REALTIME_PATH.to_owned(),
        turn_path: rip::contract::app::TURN_PATH.to_owned(),
        spool_response_bytes: None,
        user: None,
        limits: ProcessLimits::default(),
        launch: Launch {
            runtime: Runtime::Builtin,
            argv: Vec::new(),
            cwd: "/".to_owned(),
            listen: Listen::Fd,
            ready: Ready::Http,
            stop_signal: "TERM".to_owned(),
            setup: None,
        },
    }
}

/// A files agent that reads only when it is permitted to.
fn serve_files(files: &FileQueue, path: &std::path::Path, permitted: &mpsc::Receiver<()>) {
    while let Some(task) = files.next() {
        let mut job = match task {
            Task::Job(job) => job,
            Task::Search(job) => {
                let result = beneath(&job.search);
                job.answer(result);
                continue;
            }
            Task::Close(_) => continue,
        };
        let file = match job.file.file() {
            Some(file) => file,
            None => {
                let mut options = std::fs::File::options();
                let file = options.read(true).write(true).create(true).truncate(true).open(path);
                job.file.opened(file.unwrap(), files)
            }
        };
        let result = match &mut job.work {
            Work::Write { offset, bytes } => file.write_all_at(bytes, *offset).map(|()| Vec::new()),
            Work::Read { offset, length, .. } => {
                if permitted.recv().is_err() {
                    return;
                }
                let mut bytes = vec![0; *length];
                file.read_exact_at(&mut bytes, *offset).map(|()| bytes)
            }
        };
        job.answer(result);
    }
}

fn beneath(search: &Search) -> std::io::Result<Beneath> {
    match search {
        Search::Look { root, path, known } => {
            stored::look(root.as_fd(), path, known.as_deref(), Wait::Disk).map(Beneath::Looked)
        }
        Search::Page { root, path, mount, dotfiles } => {
            let page = stored::page(root.as_fd(), path, mount, *dotfiles)?;
            Ok(Beneath::Page(page.map(Into::into)))
        }
        Search::Warm { .. } => Ok(Beneath::Warm),
    }
}

/// Reads up to and including the empty line.
pub(crate) fn head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        head.extend(byte);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads one answer with a `Content-Length`.
pub(crate) fn response(stream: &mut impl Read) -> String {
    let mut text = head(stream).expect("an answer");
    let length = text.split("Content-Length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text.push_str(&String::from_utf8(body).unwrap());
    text
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n";

#[test]
fn a_lease_lasts_until_the_worker_of_an_abandoned_stream_ends() {
    let (failed, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let house = House::new(
        |_| {},
        move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(STREAM).unwrap();
            wait_until("writes never fail", || stream.write_all(b"data: 2\n\n").is_err());
            failed.send(()).unwrap();
            let _ = gone.recv();
        },
    );
    let mut client = house.client();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    head(&mut client).unwrap();
    drop(client);
    told.recv_timeout(PATIENCE).unwrap();
    for _ in 0..3 {
        house.turn();
    }
    assert_eq!(house.inflight(), 1, "the worker is still busy");
    drop(go);
    wait_until("the lease never ends", || house.inflight() == 0);
}

#[test]
fn a_worker_that_writes_for_ever_to_nobody_stops_no_loop() {
    let (failed, told) = mpsc::channel();
    let house = House::new(
        |_| {},
        move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
            drop(stream);
            failed.send(()).unwrap();
        },
    );
    // Its end and ours are often one event: it is not to be missed.
    for _ in 0..30 {
        let mut client = house.client();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        head(&mut client).unwrap();
        drop(client);
        told.recv_timeout(PATIENCE).expect("its writes fail");
        house.turn();
        let ended = Instant::now();
        wait_until("the lease never ends", || house.inflight() == 0);
        assert!(ended.elapsed() < Duration::from_secs(2), "the lease ends late");
    }
}

#[test]
fn a_link_that_ended_with_its_answer_is_not_used_again() {
    let (ended, told) = mpsc::channel();
    let house = House::new(
        |_| {},
        move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
            drop(stream);
            ended.send(()).unwrap();
        },
    );
    let mut client = house.client();
    for _ in 0..50 {
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        assert!(response(&mut client).ends_with("hi"));
    }
    let retried = house.shared.current.load().pools[0].view(|pool| pool.counters().retried);
    assert_eq!(retried, 0);
}

#[test]
fn what_a_worker_says_beyond_its_answer_answers_nothing() {
    let house = House::new(
        |_| {},
        |_, mut stream| {
            while let Some(asked) = head(&mut stream) {
                let path = asked.split(' ').nth(1).unwrap();
                // The first answer fills what is read at once to its last byte.
                let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16342\r\n\r\n".to_vec();
                answer.resize(16384, b'x');
                if path == "/1" {
                    answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
                }
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        },
    );
    let mut client = house.client();
    client.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with('x'));
    client.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with('x'));
}

#[test]
fn pipelined_requests_go_on_when_their_answers_were_taken() {
    let house = House::new(|_| {}, |_, _| {});
    let mut client = house.client();
    let count = 5000;
    let asks = b"GET /server HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count);
    client.write_all(&asks).unwrap();
    let mut client = std::io::BufReader::new(client);
    for _ in 0..count {
        assert!(response(&mut client).ends_with("ok"));
    }
}

#[test]
fn a_refused_head_is_not_refused_again_for_its_slowness() {
    let house = House::new(
        |config| {
            config.edge.phases.head = Duration::from_millis(200);
            config.edge.phases.linger = Duration::from_millis(500);
        },
        |_, _| {},
    );
    let mut client = house.client();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    house.turn();
    client.write_all(b"not a field\r\n\r\n").unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 400"));
    wait_until("it lingers for ever", || house.shared.connections.open() == 0);
    house.turn();
    assert_eq!(house.count(Counter::Refusal(Reason::Malformed)), 1);
    assert_eq!(house.count(Counter::Refusal(Reason::HeadTimeout)), 0);
}

#[test]
fn a_part_read_for_an_earlier_try_is_not_sent() {
    const MEMORY_BYTES: usize = rip::limits::SPOOL_MEMORY_PER_REQUEST_BYTES;
    const PART_BYTES: usize = 256 * 1024;
    let body: Vec<u8> = (0..1_000_000_u32).map(|at| (at / 251) as u8).collect();
    let expected = body.clone();
    let (began, told) = mpsc::channel();
    let house = House::new(
        |_| {},
        move |number, mut stream| {
            head(&mut stream).unwrap();
            if number == 0 {
                stream.read_exact(&mut vec![0; MEMORY_BYTES + PART_BYTES]).unwrap();
                let busy = b"HTTP/1.1 503 Busy\r\nRip-Worker-Busy: 1\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(busy).unwrap();
                return;
            }
            began.send(()).unwrap();
            let mut got = vec![0; expected.len()];
            stream.read_exact(&mut got).unwrap();
            let verdict = if got == expected { "same" } else { "lost" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{verdict}");
            stream.write_all(answer.as_bytes()).unwrap();
        },
    );
    let mut client = house.client();
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&body).unwrap();
    house.permits.send(()).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    for _ in 0..10 {
        house.permits.send(()).unwrap();
    }
    assert!(response(&mut client).ends_with("same"));
}

#[test]
fn a_busy_answer_that_is_cut_short_still_means_busy() {
    let house = House::new(
        |_| {},
        |number, mut stream| {
            head(&mut stream).unwrap();
            let answer: &[u8] = match number {
                0 => b"HTTP/1.1 503 Busy\r\nRip-Worker-Busy: 1\r\nContent-Length: 9\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            };
            stream.write_all(answer).unwrap();
        },
    );
    let mut client = house.client();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with("hi"));
}

#[test]
fn a_stream_whose_client_ended_is_over() {
    let (failed, told) = mpsc::channel();
    let house = House::new(
        |_| {},
        move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(STREAM).unwrap();
            // It says nothing more: only the end of what it reads can tell it.
            failed.send(head(&mut stream)).unwrap();
        },
    );
    let mut client = house.client();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    head(&mut client).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None);
    wait_until("the lease never ends", || house.inflight() == 0);
}
