//! What is under way when the configuration changes: streams, downloads, uploads, connections.

use crate::harness::edgefile::{is_refused, recorder, told};
use crate::harness::port::Port;
use crate::harness::{Client, Server, Setup, eventually, processes, within};
use std::time::Duration;

/// An Edgefile of these listeners, apps and sites, quick to be believed.
fn file(listeners: &[u16], rest: &str) -> String {
    let more: String = listeners.iter().map(|port| format!(" \"127.0.0.1:{port}\"")).collect();
    format!(
        "version 1\nedge {{\n    http \"127.0.0.1:PORT\"{more}\n    verify within=\"400ms\"\n}}\n{rest}\n"
    )
}

fn started(text: &str) -> Server {
    let server = Setup::edgefile(text).word("--no-watch").start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    server
}

/// A stream whose next piece comes when its gate is opened.
struct Stream {
    client: Client,
    gate: String,
    next: usize,
}

impl Stream {
    #[track_caller]
    fn open(port: u16, host: &str, target: &str, gate: &str, pieces: usize) -> Self {
        let mut client = Client::connect(port);
        let query = format!("count={pieces}&gate_between={gate}&type=text/event-stream");
        client.request_at(host, "GET", &format!("{target}?{query}"), "", b"");
        assert_eq!(client.head().status, 200);
        let mut stream = Self { client, gate: gate.to_owned(), next: 1 };
        stream.read_piece();
        stream
    }

    /// Lets the app write one more piece and reads it.
    #[track_caller]
    fn go_on(&mut self, server: &Server) {
        server.open_gate(&format!("{}{}", self.gate, self.next));
        self.next += 1;
        self.read_piece();
    }

    #[track_caller]
    fn read_piece(&mut self) {
        let chunk = self.client.chunk().expect("one more piece");
        let text = String::from_utf8(chunk).expect("text");
        let stamp = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n"));
        let is_one = stamp.is_some_and(|stamp| stamp.bytes().all(|byte| byte.is_ascii_digit()));
        assert!(is_one, "one whole piece and nothing else: {text:?}");
    }

    /// Reads the end of the stream, which must be a whole one.
    #[track_caller]
    fn end(mut self) {
        assert!(self.client.chunk().is_none(), "the end");
        self.client.request_at("steady.test", "GET", "/after", "", b"");
        assert_eq!(self.client.response().status, 200, "its connection goes on");
    }
}

/// A large answer that is read slowly.
struct Download {
    client: Client,
    at: usize,
    size: usize,
}

impl Download {
    fn begin(server: &Server, host: &str, size: usize) -> Self {
        let mut client = server.connect();
        client.request_at(host, "GET", &format!("/download?size={size}"), "", b"");
        let head = client.head();
        assert_eq!(head.status, 200);
        Self { client, at: 0, size }
    }

    /// Reads so many bytes more, each of which must be the right one.
    #[track_caller]
    fn read(&mut self, count: usize) {
        let count = count.min(self.size - self.at);
        let bytes = self.client.exactly(count).expect("what was promised");
        let wrong = bytes.iter().enumerate().find(|(index, byte)| {
            // Blocks of the app are whole rounds of 256 values.
            **byte != u8::try_from((self.at + index) % 256).expect("a byte")
        });
        assert!(wrong.is_none(), "byte {} is {wrong:?}", self.at);
        self.at += count;
    }
}

/// A large request that is sent slowly.
struct Upload {
    client: Client,
    size: usize,
    sent: usize,
}

impl Upload {
    fn begin(server: &Server, host: &str, target: &str, size: usize) -> Self {
        let mut client = server.connect();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n");
        client.send(head);
        Self { client, size, sent: 0 }
    }

    fn send(&mut self, count: usize) {
        let count = count.min(self.size - self.sent);
        self.client.send(vec![b'u'; count]);
        self.sent += count;
    }

    #[track_caller]
    fn finish(mut self) -> serde_json::Value {
        self.send(self.size);
        let told = told(&self.client.response());
        assert_eq!(told["bodyBytes"], self.size);
        told
    }
}

const RELOADS: usize = 50;
const DOWNLOAD: usize = 30_000_000;

#[test]
fn what_is_under_way_on_an_unchanged_route_lives_through_fifty_reloads() {
    let steady = recorder("steady", "workers 4\nhosts \"steady.test\"");
    let text = |turn: usize| {
        let release = turn / 12;
        let mut rest = steady.clone();
        rest += &recorder("other", &format!("workers {}\nenv MODE=\"{release}\"", 1 + turn % 3));
        if turn % 10 >= 5 {
            rest += "app \"guest\" { entry \"builtin:hello\"; workers 1; hosts \"guest.test\" }\n";
        }
        rest += "site \"other.test\" {\n    route \"/*\" { to-app \"other\" }\n";
        for number in 0..turn % 7 {
            rest += &format!("    route \"/r{number}\" {{ redirect \"/{turn}\" }}\n");
        }
        file(&[], &(rest + "}\n"))
    };
    let server = started(&text(0));
    server.wait_for_workers(5);
    let family = server.family("steady");
    let mut stream = Stream::open(server.port(), "steady.test", "/events", "g", RELOADS + 1);
    let mut download = Download::begin(&server, "steady.test", DOWNLOAD);
    let mut upload = Upload::begin(&server, "steady.test", "/up?tell=1", 2_000_000);
    let mut kept = server.connect();
    for turn in 1..=RELOADS {
        server.take_up(&text(turn));
        stream.go_on(&server);
        download.read(DOWNLOAD / RELOADS);
        upload.send(2_000_000 / (RELOADS + 5));
        let (host, app) = [("steady.test", "steady"), ("other.test", "other")][turn % 2];
        let answer = kept.ask_at(host, "GET", "/kept?tell=1");
        assert!(!answer.says_close(), "{answer:?}");
        let answer = told(&answer);
        assert_eq!(answer["app"], app);
        if app == "other" {
            assert_eq!(answer["mode"], (turn / 12).to_string(), "turn {turn}");
        }
    }
    stream.end();
    download.read(DOWNLOAD);
    assert!(!download.client.has_unread());
    assert_eq!(upload.finish()["app"], "steady");
    assert_eq!(server.family("steady"), family, "the same processes of the same generation");
    assert_eq!(server.history()["counts"]["applied"], RELOADS + 1);
}

/// Waits until the stream is cut: not ended, cut.
#[track_caller]
fn assert_cut(stream: &mut Stream) {
    let error = stream.client.try_chunk().expect_err("a cut and no whole end");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
}

#[test]
fn a_stream_of_a_removed_route_goes_on_until_the_deadline_and_is_then_ended() {
    let apps = recorder("steady", "workers 4\ntimeouts drain=\"2s\"");
    let with = |more: &str| {
        let site = format!(
            "site \"steady.test\" {{ route \"/*\" {{ to-app \"steady\" }}\n {} }}\n",
            more.replace('|', "\n")
        );
        file(
            &[],
            &format!(
                "{apps}{site}site \"gone.test\" {{ route \"/own/*\" {{ to-app \"steady\" }} {more} }}\n"
            ),
        )
    };
    let server = started(&with("\n route \"/gone/*\" { to-app \"steady\" }\n"));
    server.wait_for_workers(4);
    let mut stays = Stream::open(server.port(), "steady.test", "/events", "s", 50);
    let mut goes = Stream::open(server.port(), "gone.test", "/gone/events", "g", 50);
    // Its place is taken by a wider rule of the same app: it is another one all the same.
    let mut covered = Stream::open(server.port(), "steady.test", "/gone/events", "c", 50);
    server.take_up(&with(""));
    for _ in 0..3 {
        goes.go_on(&server);
        covered.go_on(&server);
        stays.go_on(&server);
    }
    assert_eq!(server.get_at("gone.test", "/gone/x").status, 404);
    assert_eq!(server.get_at("steady.test", "/gone/x").status, 200);
    assert_cut(&mut goes);
    assert_cut(&mut covered);
    for _ in 0..3 {
        stays.go_on(&server);
    }
    // Their workers notice when they write on, and are free then.
    let mut gate = 4;
    eventually("one request in flight", || {
        server.open_gate(&format!("g{gate}"));
        server.open_gate(&format!("c{gate}"));
        gate += 1;
        server.app_called("steady")["inflight"] == 1
    });
    stays.go_on(&server);
}

#[test]
fn a_removed_app_finishes_what_it_has_until_its_deadline() {
    let steady = recorder("steady", "workers 1\nhosts \"steady.test\"");
    let gone =
        recorder("gone", "workers 2\nhosts \"gone.test\"\ntimeouts drain=\"2s\" kill=\"500ms\"");
    let server = started(&file(&[], &format!("{steady}{gone}")));
    server.wait_for_workers(3);
    let mut quick = Stream::open(server.port(), "gone.test", "/quick", "q", 3);
    let mut slow = Stream::open(server.port(), "gone.test", "/slow", "s", 50);
    server.take_up(&file(&[], &steady));
    assert_eq!(server.get_at("gone.test", "/").status, 404);
    slow.go_on(&server);
    quick.go_on(&server);
    quick.go_on(&server);
    quick.end();
    assert_cut(&mut slow);
    eventually("no process of the app", || server.processes().len() == 3);
}

#[test]
fn an_upload_is_answered_by_the_app_it_was_meant_for() {
    let apps = |release: u32, has_two: bool| {
        let one = recorder("one", &format!("workers 1\nenv MODE=\"{release}\""));
        let two = recorder("two", "workers 1\nhosts \"two.test\"");
        if has_two { format!("{one}{two}") } else { one }
    };
    let site = |app: &str| format!("site \"up.test\" {{ route \"/*\" {{ to-app \"{app}\" }} }}\n");
    let begun = file(&[], &(apps(1, true) + &site("one")));
    let server = started(&begun);
    let begin = |host: &str| {
        let mut upload = Upload::begin(&server, host, "/up?tell=1", 900_000);
        upload.send(300_000);
        upload
    };
    // The host moves to another app.
    let upload = begin("up.test");
    server.take_up(&file(&[], &(apps(1, true) + &site("two"))));
    assert_eq!(server.told_at("up.test", "/?tell=1")["app"], "two");
    assert_eq!(upload.finish()["app"], "one");
    // The app's processes are replaced.
    server.take_up(&begun);
    let upload = begin("up.test");
    server.take_up(&file(&[], &(apps(2, true) + &site("one"))));
    assert_eq!(server.told_at("up.test", "/?tell=1")["mode"], "2");
    let answer = upload.finish();
    assert_eq!((&answer["app"], &answer["mode"]), (&"one".into(), &"1".into()));
    // The app goes, and its host.
    let upload = begin("two.test");
    server.take_up(&file(&[], &(apps(2, false) + &site("one"))));
    assert_eq!(server.get_at("two.test", "/").status, 404);
    assert_eq!(upload.finish()["app"], "two");
    eventually("no process of the app", || server.processes().len() == 3);
}

#[test]
fn a_request_that_waits_for_a_worker_is_served_by_the_app_it_waits_for() {
    let with = |release: u32, host: &str| {
        let one = recorder("one", &format!("workers 1\nenv MODE=\"{release}\"\nhosts \"{host}\""));
        file(&[], &one)
    };
    let server = started(&with(1, "one.test"));
    let mut holder = server.connect();
    holder.request_at("one.test", "GET", "/hold?gate=go&tell=1", "", b"");
    server.wait_for_seen("/hold?gate=go&tell=1");
    let mut queued = server.connect();
    queued.request_at("one.test", "GET", "/queued?tell=1", "", b"");
    eventually("a queued request", || server.app_called("one")["queueDepth"] == 1);
    server.take_up(&with(2, "else.test"));
    assert_eq!(server.told_at("else.test", "/?tell=1")["mode"], "2");
    assert_eq!(server.get_at("one.test", "/").status, 404);
    server.open_gate("go");
    for client in [&mut holder, &mut queued] {
        assert_eq!(told(&client.response())["mode"], "1");
    }
    eventually("no process of the old workers", || server.processes().len() == 3);
}

#[test]
fn listeners_come_and_go_without_a_word_to_the_connections_of_others() {
    let steady = recorder("steady", "workers 4\nhosts \"steady.test\"");
    let (first, second) = (Port::free(), Port::free());
    let server = started(&file(&[first.number], &steady));
    server.wait_for_workers(4);
    let family = server.family("steady");
    let mut stream = Stream::open(first.number, "steady.test", "/events", "f", 8);
    let mut kept = Client::connect(first.number);
    // Who has said nothing yet is nobody's client.
    assert_eq!(kept.ask_at("steady.test", "GET", "/kept").status, 200);
    let mut other = server.connect();
    assert!(is_refused(second.number));
    server.take_up(&file(&[second.number], &steady));
    assert!(is_refused(first.number));
    let mut fresh = Stream::open(second.number, "steady.test", "/fresh", "s", 8);
    for _ in 0..3 {
        stream.go_on(&server);
        fresh.go_on(&server);
        for client in [&mut kept, &mut other] {
            let answer = client.ask_at("steady.test", "GET", "/kept");
            assert!(answer.status == 200 && !answer.says_close(), "{answer:?}");
        }
    }
    server.take_up(&file(&[first.number, second.number], &steady));
    assert_eq!(Client::connect(first.number).ask_at("steady.test", "GET", "/").status, 200);
    for _ in 0..4 {
        stream.go_on(&server);
        fresh.go_on(&server);
    }
    stream.end();
    fresh.end();
    assert_eq!(server.family("steady"), family);
    // Nothing is kept of listeners that are gone.
    server.take_up(&file(&[], &steady));
    let sockets = || processes::descriptor_count(server.pid());
    let before = sockets();
    for _ in 0..5 {
        assert!(is_refused(first.number));
        server.take_up(&file(&[first.number], &steady));
        server.take_up(&file(&[], &steady));
    }
    assert!(is_refused(first.number));
    let came = within(Duration::from_secs(10), || (sockets() <= before + 4).then_some(()));
    assert!(came.is_some(), "{before} descriptors have become {}", sockets());
}
