//! Files of a whole loop on a loopback socket.

use super::tests::{House, PATIENCE, head, wait_until};
use crate::sys::test_dir::TestDir;
use rip::contract::config::Config;
use rip::contract::reason::Reason;
use rip::contract::route::{HeaderChanges, HeaderRules, RouteAction, RouteRule, StaticFiles};
use rip::observe::counter::Counter;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A loop that serves one directory.
struct Site {
    dir: TestDir,
    house: House,
}

impl Site {
    fn new(files: &[(&str, &[u8])], adjust: impl FnOnce(&mut StaticFiles, &mut Config)) -> Self {
        let dir = TestDir::make();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let mut files = StaticFiles {
            dir: dir.path().to_str().unwrap().to_owned(),
            index: "index.html".to_owned(),
            spa_fallback: None,
            browse: false,
            dotfiles: false,
            cache_control: None,
        };
        let house = House::new(
            |config| {
                config.routes = vec![RouteRule::new(
                    "*",
                    "/*",
                    RouteAction::Redirect { to: String::new(), status: 302 },
                )];
                adjust(&mut files, config);
                if let Some(rule) = config.routes.first_mut() {
                    rule.action = RouteAction::Static(files);
                }
            },
            |_, _| {},
        );
        Self { dir, house }
    }

    fn plain(files: &[(&str, &[u8])]) -> Self {
        Self::new(files, |_, _| {})
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// One answer on a connection of its own.
    fn get(&self, path: &str, fields: &str) -> Answer {
        let mut client = self.house.client();
        ask(&mut client, "GET", path, fields);
        Answer::read(&mut client, "GET")
    }
}

fn ask(client: &mut TcpStream, method: &str, path: &str, fields: &str) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    client.write_all(request.as_bytes()).unwrap();
}

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(client: &mut impl Read, method: &str) -> Self {
        let head = head(client).expect("an answer");
        let mut answer = Self { head, body: Vec::new() };
        let length = answer.field("Content-Length").map_or(0, |text| text.parse().unwrap());
        if method != "HEAD" {
            answer.body = vec![0; length];
            client.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Content that shows where it is from.
fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

#[test]
fn a_mount_is_not_part_of_the_files_path() {
    let site = Site::new(&[("a.txt", b"a"), ("assets/b.txt", b"b")], |_, config| {
        config.routes[0].path_pattern = "/assets/*".to_owned();
    });
    assert_eq!(site.get("/assets/a.txt", "").body, b"a");
    assert_eq!(site.get("/assets/assets/b.txt", "").body, b"b");
    assert_eq!(site.get("/assets/b.txt", "").status(), 404);
    assert_eq!(site.get("/a.txt", "").status(), 404);
    let redirect = site.get("/assets/assets?q=1", "");
    assert_eq!((redirect.status(), redirect.field("Location")), (308, Some("/assets/assets/?q=1")));
}

#[test]
fn a_page_stands_in_for_what_does_not_exist_where_html_is_wanted() {
    let files: [(&str, &[u8]); 2] = [("index.html", b"<app>"), ("app.js", b"js")];
    let site = Site::new(&files, |files, _| files.spa_fallback = Some("/index.html".to_owned()));
    let page = site.get("/any/where", "Accept: text/html\r\n");
    assert_eq!((page.status(), page.body.as_slice()), (200, &b"<app>"[..]));
    assert_eq!(page.field("Vary"), Some("Accept"));
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(site.get("/missing.js", "Accept: */*\r\n").status(), 404);
    assert_eq!(site.get("/missing.js", "").status(), 404);
    let script = site.get("/app.js", "Accept: text/html\r\n");
    assert_eq!((script.body.as_slice(), script.field("Vary")), (&b"js"[..], None));
    let mut client = site.house.client();
    ask(&mut client, "POST", "/any", "Accept: text/html\r\nContent-Length: 0\r\n");
    assert_eq!(Answer::read(&mut client, "POST").status(), 405);
}

#[test]
fn names_with_a_leading_dot_are_served_only_where_that_is_said() {
    let files: [(&str, &[u8]); 3] =
        [(".env", b"secret"), (".git/config", b"secret"), (".well-known/acme", b"key")];
    for dotfiles in [false, true] {
        let site = Site::new(&files, |files, _| files.dotfiles = dotfiles);
        let status = if dotfiles { 200 } else { 404 };
        assert_eq!(site.get("/.env", "").status(), status);
        assert_eq!(site.get("/%2eenv", "").status(), status);
        assert_eq!(site.get("/.git/config", "").status(), status);
        assert_eq!(site.get("/.well-known/acme", "").body, b"key");
    }
}

#[test]
fn the_routes_words_are_on_what_is_found_and_its_changes_on_every_answer() {
    let site = Site::new(&[("a.txt", b"0123456789")], |files, config| {
        files.cache_control = Some("public, max-age=60".to_owned());
        let response = HeaderChanges {
            set: vec![("X-Site".to_owned(), "mine".to_owned())],
            remove: vec!["Server".to_owned(), "Last-Modified".to_owned()],
        };
        config.routes[0].headers = Some(HeaderRules { response, ..HeaderRules::default() });
    });
    let whole = site.get("/a.txt", "");
    let tag = whole.field("ETag").unwrap().to_owned();
    let fresh = format!("If-None-Match: {tag}\r\n");
    for (path, fields, status, is_found) in [
        ("/a.txt", "", 200, true),
        ("/a.txt", "Range: bytes=1-2\r\n", 206, true),
        ("/a.txt", fresh.as_str(), 304, true),
        ("/a.txt", "Range: bytes=99-\r\n", 416, false),
        ("/a.txt", "If-Match: \"no\"\r\n", 412, false),
        ("/none", "", 404, false),
        ("/a%2fb", "", 400, false),
    ] {
        let answer = site.get(path, fields);
        assert_eq!(answer.status(), status, "{path} {fields}");
        assert_eq!(answer.field("X-Site"), Some("mine"), "{}", answer.head);
        assert_eq!((answer.field("Server"), answer.field("Last-Modified")), (None, None));
        let cached = answer.field("Cache-Control") == Some("public, max-age=60");
        assert_eq!(cached, is_found, "{}", answer.head);
        assert!(answer.field("X-Request-Id").is_some() && answer.field("Date").is_some());
    }
    let none = site.get("/a.txt", "Range: bytes=99-\r\n");
    assert_eq!(none.field("Content-Range"), Some("bytes */10"));
}

#[test]
fn pipelined_requests_are_answered_in_order_whatever_their_size() {
    let large = pattern(3, 3_000_000);
    let site = Site::plain(&[("small", b"small"), ("large", &large), ("dir/index.html", b"dir")]);
    let mut client = site.house.client();
    let mut sender = client.try_clone().unwrap();
    let rounds = 20;
    let writer = std::thread::spawn(move || {
        for _ in 0..rounds {
            for (method, path, fields) in [
                ("GET", "/small", ""),
                ("GET", "/large", ""),
                ("HEAD", "/large", ""),
                ("GET", "/dir/", ""),
                ("GET", "/none", ""),
                ("GET", "/large", "Range: bytes=1000000-1000009,2999990-\r\n"),
            ] {
                ask(&mut sender, method, path, fields);
            }
        }
    });
    for _ in 0..rounds {
        assert_eq!(Answer::read(&mut client, "GET").body, b"small");
        assert!(Answer::read(&mut client, "GET").body == large);
        let empty = Answer::read(&mut client, "HEAD");
        assert_eq!(empty.field("Content-Length"), Some("3000000"));
        assert_eq!(Answer::read(&mut client, "GET").body, b"dir");
        assert_eq!(Answer::read(&mut client, "GET").status(), 404);
        let parts = Answer::read(&mut client, "GET");
        let text = String::from_utf8_lossy(&parts.body).into_owned();
        assert!(text.contains("bytes 1000000-1000009/3000000"), "{text}");
        assert!(text.trim_end().ends_with("--"), "{text}");
        let has = |part: &[u8]| parts.body.windows(part.len()).any(|window| window == part);
        assert!(has(&large[1_000_000..1_000_010]) && has(&large[2_999_990..]));
    }
    writer.join().unwrap();
}

#[test]
fn a_file_that_shrinks_ends_the_connection_and_is_not_padded() {
    let content = pattern(7, 40_000_000);
    let site = Site::plain(&[("big", &content)]);
    let mut client = site.house.client();
    ask(&mut client, "GET", "/big", "");
    let head = head(&mut client).unwrap();
    assert!(head.contains("Content-Length: 40000000\r\n"), "{head}");
    site.house.turn();
    let file = fs::File::options().write(true).open(site.dir.path().join("big")).unwrap();
    // All of it: of a piece of memory that is cut the kernel clears the rest, also on its way.
    file.set_len(0).unwrap();
    let mut body = Vec::new();
    let _ = client.read_to_end(&mut body);
    assert!(body.len() < content.len(), "{}", body.len());
    assert!(content.starts_with(&body), "bytes that the file never had");
    wait_until("the connection stays", || site.house.shared.connections.open() == 0);
    assert_eq!(site.house.count(Counter::Refusal(Reason::FileFailed)), 1);
    // It is served as it is now.
    assert!(site.get("/big", "").body.is_empty());
}

#[test]
fn a_client_that_takes_nothing_is_let_go_and_one_that_takes_a_little_is_not() {
    let content = pattern(1, 30_000_000);
    let site = Site::new(&[("big", &content)], |_, config| {
        config.edge.phases.write = Duration::from_millis(400);
    });
    let mut idle = site.house.client();
    ask(&mut idle, "GET", "/big", "");
    let mut slow = site.house.client();
    ask(&mut slow, "GET", "/big", "");
    head(&mut slow).unwrap();
    let mut body = vec![0; content.len()];
    let mut taken = 0;
    let began = Instant::now();
    // Slower in all than the deadline, but never without progress for so long.
    while taken < content.len() {
        let end = content.len().min(taken + 500_000);
        slow.read_exact(&mut body[taken..end]).unwrap();
        taken = end;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(body == content && began.elapsed() > Duration::from_millis(800));
    wait_until("the idle one stays", || {
        site.house.count(Counter::Refusal(Reason::WriteTimeout)) == 1
    });
    site.house.turn();
}

#[test]
fn clients_that_leave_cost_nothing_and_others_are_served_meanwhile() {
    let content = pattern(9, 20_000_000);
    let site = Site::plain(&[("big", &content), ("small", b"small")]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = site.house.client();
        ask(&mut client, "GET", "/big", "");
        head(&mut client).unwrap();
        clients.push(client);
        assert_eq!(site.get("/small", "").body, b"small");
    }
    drop(clients);
    wait_until("they stay", || site.house.shared.connections.open() == 0);
    assert_eq!(site.house.count(Counter::Refusal(Reason::ClientGone)), 20);
    assert!(site.get("/big", "").body == content);
}

#[test]
fn a_tag_never_stands_before_other_bytes_than_its_own() {
    let site = Site::plain(&[("file", b"0")]);
    let path = site.dir.path().join("file");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn({
        let (path, next) = (path.clone(), site.dir.path().join("next"));
        move || {
            let mut version = 0_usize;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                version += 1;
                // Each version has a length of its own, small and large ones in turn.
                let length = if version.is_multiple_of(2) { version } else { 100_000 + version };
                fs::write(&next, vec![b'0' + (version % 10) as u8; length]).unwrap();
                fs::rename(&next, &path).unwrap();
            }
        }
    });
    let mut client = site.house.client();
    let mut seen = std::collections::HashMap::new();
    let began = Instant::now();
    while seen.len() < 12 {
        assert!(began.elapsed() < 3 * PATIENCE, "{} versions", seen.len());
        ask(&mut client, "GET", "/file", "");
        let answer = Answer::read(&mut client, "GET");
        assert_eq!(answer.status(), 200);
        let first = answer.body[0];
        assert!(answer.body.iter().all(|byte| *byte == first), "mixed bytes");
        let tag = answer.field("ETag").unwrap().trim_start_matches("W/").to_owned();
        assert!(tag.ends_with(&format!("-{}\"", answer.body.len())), "{}", answer.head);
        assert_eq!(*seen.entry(tag).or_insert(first), first);
    }
    drop(stop);
    writer.join().unwrap();
}

#[test]
fn a_change_is_seen_within_a_moment() {
    let site = Site::plain(&[("a", b"first")]);
    assert_eq!(site.get("/a", "").body, b"first");
    site.write("a", b"second one");
    let began = Instant::now();
    wait_until("the old content", || site.get("/a", "").body == b"second one");
    assert!(began.elapsed() < Duration::from_secs(2));
    fs::remove_file(site.dir.path().join("a")).unwrap();
    wait_until("a file that is gone", || site.get("/a", "").status() == 404);
}

#[test]
fn a_directory_that_comes_and_goes_is_noticed() {
    let site = Site::plain(&[("a", b"a")]);
    let (dir, away) = (site.dir.path().to_owned(), site.dir.path().with_extension("away"));
    assert_eq!(site.get("/a", "").status(), 200);
    fs::rename(&dir, &away).unwrap();
    wait_until("it is still served", || site.get("/a", "").status() == 404);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), "new").unwrap();
    wait_until("it is not served again", || site.get("/a", "").body == b"new");
    fs::remove_dir_all(&away).unwrap();
}

#[test]
fn siblings_are_sent_to_those_who_take_them() {
    let site = Site::plain(&[
        ("a.css", b"plain"),
        ("a.css.br", b"brotli"),
        ("a.css.gz", b"gzip"),
        ("b.css", b"plain"),
    ]);
    for (accepted, body, encoding) in [
        ("gzip, br, zstd", &b"brotli"[..], Some("br")),
        ("gzip, zstd", b"gzip", Some("gzip")),
        ("zstd", b"plain", None),
        ("br;q=0, gzip;q=0.5, identity", b"plain", None),
    ] {
        let answer = site.get("/a.css", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!(answer.body, body, "{accepted}");
        assert_eq!(answer.field("Content-Encoding"), encoding);
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
        assert_eq!(answer.field("Content-Type"), Some("text/css; charset=utf-8"));
        let tag = answer.field("ETag").unwrap();
        assert!(encoding.is_none_or(|encoding| tag.ends_with(&format!("-{encoding}\""))), "{tag}");
    }
    assert_eq!(site.get("/b.css", "Accept-Encoding: br\r\n").field("Vary"), None);
    let part = site.get("/a.css", "Accept-Encoding: br\r\nRange: bytes=0-1\r\n");
    assert_eq!(
        (part.body.as_slice(), part.field("Content-Range")),
        (&b"br"[..], Some("bytes 0-1/6"))
    );
}

#[test]
fn a_request_with_a_body_is_answered_and_the_body_not_taken_for_a_request() {
    let site = Site::plain(&[("a", b"a")]);
    let mut client = site.house.client();
    ask(&mut client, "GET", "/a", "Content-Length: 40\r\n");
    let answer = Answer::read(&mut client, "GET");
    assert_eq!((answer.body.as_slice(), answer.field("Connection")), (&b"a"[..], Some("close")));
    client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn an_old_client_gets_its_length_and_its_end() {
    let site = Site::plain(&[("a", b"abc")]);
    let mut client = site.house.client();
    client.write_all(b"GET /a HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.contains("Content-Length: 3\r\n") && text.ends_with("\r\n\r\nabc"), "{text}");
}

/// Text of this many bytes.
fn page(bytes: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("<li>line {line}</li>\n").into_bytes()).take(bytes).collect()
}

/// The head and the whole of what is sent on a connection of its own.
fn raw(site: &Site, method: &str, path: &str, fields: &str) -> (String, Vec<u8>) {
    let mut client = site.house.client();
    ask(&mut client, method, path, &format!("Connection: close\r\n{fields}"));
    let head = head(&mut client).expect("an answer");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    (head, rest)
}

/// What chunks of gzip come to.
fn gunzipped(mut chunks: &[u8]) -> Vec<u8> {
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    loop {
        let line = chunks.windows(2).position(|pair| pair == b"\r\n").expect("a chunk");
        let size = std::str::from_utf8(&chunks[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        decoder.write_all(&chunks[line + 2..][..size]).unwrap();
        chunks = &chunks[line + size + 4..];
        if size == 0 {
            assert!(chunks.is_empty(), "more than the answer");
            return decoder.finish().unwrap();
        }
    }
}

const GZIP: &str = "Accept-Encoding: gzip\r\n";

#[test]
fn text_is_compressed_on_its_way_and_comes_out_whole() {
    let (short, long) = (page(20_000), page(3_000_000));
    let files: [(&str, &[u8]); 3] = [("a.html", &short), ("b.html", &long), ("c.png", &short)];
    let site = Site::plain(&files);
    for (path, content) in [("/a.html", &short), ("/b.html", &long)] {
        let (head, body) = raw(&site, "GET", path, GZIP);
        for line in
            ["Content-Encoding: gzip", "Vary: Accept-Encoding", "Transfer-Encoding: chunked"]
        {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
        }
        assert!(!head.contains("Content-Length") && !head.contains("Accept-Ranges"), "{head}");
        assert!(body.len() < content.len() / 4, "{}", body.len());
        assert!(&gunzipped(&body) == content, "{path}");
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        assert!(tag.starts_with("W/\"") && tag.ends_with("-gzip\""), "{tag}");
        // The answer to HEAD says the same.
        let lasting = |head: &str| {
            let passing = ["Date:", "X-Request-Id:", "Transfer-Encoding:"];
            let lasts = |line: &&str| !passing.iter().any(|name| line.starts_with(name));
            head.lines().filter(lasts).map(str::to_owned).collect::<Vec<_>>()
        };
        let (only_head, nothing) = raw(&site, "HEAD", path, GZIP);
        assert_eq!((lasting(&only_head), nothing.as_slice()), (lasting(&head), &b""[..]));
        // Its tag is good, by GET and HEAD.
        let condition = format!("{GZIP}If-None-Match: {tag}\r\n");
        for method in ["GET", "HEAD"] {
            let (head, body) = raw(&site, method, path, &condition);
            assert!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{head}");
            assert!(head.contains(tag) && head.contains("Vary: Accept-Encoding\r\n"), "{head}");
        }
        let plain = site.get(path, "");
        assert!(plain.body == *content && plain.field("Vary") == Some("Accept-Encoding"));
        let part = site.get(path, &format!("{GZIP}Range: bytes=5-9\r\n"));
        assert_eq!((part.status(), part.body.as_slice()), (206, &content[5..10]));
        assert_eq!(part.field("Content-Encoding"), None);
    }
    let image = site.get("/c.png", GZIP);
    assert!(image.body == short && image.field("Vary").is_none());
    site.write("a.html.gz", b"sibling");
    let stood_in = || site.get("/a.html", GZIP).body == b"sibling";
    wait_until("the sibling is not sent", || {
        site.house.turn();
        let (head, _) = raw(&site, "HEAD", "/a.html", GZIP);
        head.contains("Content-Length: 7\r\n")
    });
    assert!(stood_in());
}

#[test]
fn encoders_of_files_come_back_from_clients_that_leave() {
    let content = page(1_000_000);
    let site = Site::plain(&[("a.html", &content)]);
    for _ in 0..=rip::limits::ENCODER_COUNT {
        let mut client = site.house.client();
        ask(&mut client, "GET", "/a.html", GZIP);
        head(&mut client).unwrap();
    }
    wait_until("connections stay", || site.house.shared.connections.open() == 0);
    let (_, body) = raw(&site, "GET", "/a.html", GZIP);
    assert!(gunzipped(&body) == content);
}

#[test]
fn who_may_not_compress_a_file_says_nothing_of_it() {
    let content = page(5000);
    let site = Site::new(&[("a.html", &content)], |_, config| {
        config.routes[0].compress.enabled = false;
    });
    let answer = site.get("/a.html", GZIP);
    assert!(answer.body == content && answer.field("Vary").is_none());
    let site = Site::new(&[("a.html", &content)], |files, _| {
        files.cache_control = Some("public, no-transform".to_owned());
    });
    let answer = site.get("/a.html", GZIP);
    assert!(answer.body == content && answer.field("Vary").is_none());
}

#[test]
fn who_takes_a_compressed_file_slowly_gets_all_of_it() {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    let content: Vec<u8> = noise.take(20_000_000).collect();
    let site = Site::new(&[("a.txt", &content)], |_, config| {
        config.edge.phases.write = Duration::from_millis(400);
    });
    let mut client = site.house.client();
    ask(&mut client, "GET", "/a.txt", &format!("Connection: close\r\n{GZIP}"));
    head(&mut client).unwrap();
    let (mut body, mut piece) = (Vec::new(), vec![0; 400_000]);
    let began = Instant::now();
    loop {
        match client.read(&mut piece).unwrap() {
            0 => break,
            count => body.extend_from_slice(&piece[..count]),
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    assert!(gunzipped(&body) == content && began.elapsed() > Duration::from_millis(600));
}
