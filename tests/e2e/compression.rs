//! Answers are compressed on their way to clients that take it, and nothing else about them changes.

use crate::harness::{Server, Setup, tools};
use std::process::Command;
use std::time::{Duration, Instant};

const APP: &str = r##"
import gzip, os, time

TEXT = "".join("<li>line %d of a page</li>\n" % line for line in range(20000)).encode()
NOISE = b"".join(b"%x" % (number * 2654435761 % 2**32) for number in range(40000))

def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    headers = [("Content-Type", "text/html; charset=utf-8")]
    body = {"/noise": NOISE, "/small": TEXT[:1024], "/just": TEXT[:1025]}.get(path, TEXT)
    status = "200 OK"
    if path == "/image":
        headers = [("Content-Type", "image/png")]
    if path == "/encoded":
        body = gzip.compress(TEXT)
        headers += [("Content-Encoding", "gzip")]
    if path == "/kept":
        headers += [("Cache-Control", "public, no-transform")]
    if path == "/tagged":
        headers += [("ETag", '"v1"'), ("Vary", "Cookie"), ("Accept-Ranges", "bytes")]
        tags = [tag.strip() for tag in environ.get("HTTP_IF_NONE_MATCH", "").split(",")]
        if any(tag.removeprefix("W/") == '"v1"' for tag in tags):
            start_response("304 Not Modified", [("ETag", '"v1"'), ("Vary", "Cookie")])
            return []
    if path == "/part":
        status = "206 Partial Content"
        headers += [("Content-Range", "bytes 0-%d/%d" % (len(body) - 1, len(body)))]
    if path == "/slow":
        start_response(status, headers)
        return slow(query)
    if path == "/pieces":
        start_response(status, headers)
        return (body[at:at + 7777] for at in range(0, len(body), 7777))
    if path == "/events":
        start_response(status, [("Content-Type", "text/event-stream")])
        return [TEXT]
    headers += [("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

def slow(gate):
    yield b"<p>first</p>\n"
    while not os.path.exists(gate):
        time.sleep(0.005)
    yield b"<p>last</p>\n"
"##;

const ALL: [&str; 3] = ["gzip", "br", "zstd"];

fn text() -> Vec<u8> {
    (0..20000).flat_map(|line| format!("<li>line {line} of a page</li>\n").into_bytes()).collect()
}

fn noise() -> Vec<u8> {
    (0..40000_u64)
        .flat_map(|number| format!("{:x}", number * 2_654_435_761 % (1 << 32)).into_bytes())
        .collect()
}

/// What curl makes of an answer: its head, and its body, decoded if asked for.
fn curl(server: &Server, path: &str, options: &[&str]) -> (String, Vec<u8>) {
    let head = server.path("curl-head");
    let url = format!("http://127.0.0.1:{}{path}", server.port());
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30", "-D"]).arg(&head).args(options).arg(url);
    let output = tools::finish(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (std::fs::read_to_string(head).expect("a head"), output.stdout)
}

fn coding(name: &str) -> String {
    format!("Accept-Encoding: {name}")
}

/// The head without what differs from answer to answer.
fn lasting(head: &str) -> Vec<&str> {
    let passing = ["Date:", "X-Request-Id:", "Transfer-Encoding:"];
    head.lines().filter(|line| !passing.iter().any(|name| line.starts_with(name))).collect()
}

#[test]
fn curl_decodes_every_coding_to_the_same_bytes() {
    let server = Setup::python(APP).workers(2).start();
    for name in ALL {
        let field = coding(name);
        let options = ["--compressed", "-H", field.as_str()];
        for (path, expected) in [("/", text()), ("/noise", noise()), ("/pieces", text())] {
            let (head, body) = curl(&server, path, &options);
            assert!(head.contains(&format!("Content-Encoding: {name}\r\n")), "{path}: {head}");
            assert!(head.contains("Vary: Accept-Encoding\r\n"), "{path}: {head}");
            assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{path}: {head}");
            assert!(!head.contains("Content-Length"), "{path}: {head}");
            assert!(body == expected, "{path} by {name}");
            let (_, encoded) = curl(&server, path, &["-H", field.as_str()]);
            let bound = if path == "/noise" { expected.len() * 7 / 10 } else { expected.len() / 5 };
            assert!(encoded.len() < bound, "{path} by {name}: {} bytes", encoded.len());
        }
    }
    let (head, body) =
        curl(&server, "/", &["-H", "Accept-Encoding: gzip;q=0.5, br;q=0.7, zstd;q=0"]);
    assert!(head.contains("Content-Encoding: br\r\n") && body.len() < 100_000, "{head}");
}

#[test]
fn what_is_not_to_be_compressed_passes_as_it_is() {
    let server = Setup::python(APP).workers(1).start();
    let take_all = "Accept-Encoding: gzip, br, zstd";
    for path in ["/small", "/image", "/kept", "/part", "/events"] {
        let (head, body) = curl(&server, path, &["-H", take_all]);
        assert!(!head.contains("Content-Encoding"), "{path}: {head}");
        assert!(!head.contains("Vary"), "{path}: {head}");
        assert!(text().starts_with(&body) && body.len() >= 1024, "{path}");
        assert!(head.contains("Content-Length"), "{path}: {head}");
    }
    let (head, _) = curl(&server, "/just", &["-H", take_all]);
    assert!(head.contains("Content-Encoding: zstd"), "{head}");
    // Never twice: the app's own gzip is the only one.
    let (head, body) = curl(&server, "/encoded", &["--compressed", "-H", take_all]);
    assert_eq!(head.matches("Content-Encoding").count(), 1, "{head}");
    assert!(head.contains("Content-Encoding: gzip") && body == text(), "{head}");
}

#[test]
fn who_takes_nothing_gets_it_plain_and_caches_are_told() {
    let server = Setup::python(APP).workers(1).start();
    for options in
        [&[][..], &["-H", "Accept-Encoding: identity"], &["-0", "-H", "Accept-Encoding: gzip"]]
    {
        let (head, body) = curl(&server, "/", options);
        assert!(!head.contains("Content-Encoding"), "{head}");
        assert!(head.contains("Vary: Accept-Encoding\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", text().len())), "{head}");
        assert!(body == text());
    }
}

#[test]
fn a_tag_is_weakened_and_the_client_can_revalidate_by_it() {
    let server = Setup::python(APP).workers(1).start();
    let (head, _) = curl(&server, "/tagged", &["-H", "Accept-Encoding: gzip"]);
    assert!(head.contains("ETag: W/\"v1\"\r\n"), "{head}");
    assert!(head.contains("Vary: Cookie, Accept-Encoding\r\n"), "{head}");
    assert!(!head.contains("Accept-Ranges"), "{head}");
    let again = ["-H", "Accept-Encoding: gzip", "-H", "If-None-Match: W/\"v1\""];
    let (head, body) = curl(&server, "/tagged", &again);
    assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
    assert!(head.contains("ETag: W/\"v1\"\r\n"), "{head}");
    assert!(head.contains("Vary: Cookie, Accept-Encoding\r\n"), "{head}");
    let (head, _) = curl(&server, "/tagged", &[]);
    assert!(head.contains("ETag: \"v1\"\r\n") && head.contains("Accept-Ranges"), "{head}");
}

#[test]
fn head_says_what_get_says() {
    let server = Setup::python(APP).workers(1).start();
    for path in ["/", "/small", "/tagged", "/encoded", "/image", "/kept"] {
        for name in ALL.iter().chain(&["identity"]) {
            let field = coding(name);
            let (get, _) = curl(&server, path, &["-H", &field]);
            let (head, body) = curl(&server, path, &["-I", "-H", &field]);
            assert_eq!(lasting(&head), lasting(&get), "{path} by {name}");
            assert!(body.starts_with(b"HTTP/1.1 200"), "-I shows the head: {path}");
        }
    }
}

#[test]
fn a_slow_page_is_not_stuck_in_the_encoder() {
    let server = Setup::python(APP).workers(1).start();
    for name in ALL {
        let gate = server.path(&format!("gate-{name}"));
        let seen = server.path(&format!("seen-{name}"));
        let url = format!("http://127.0.0.1:{}/slow?{}", server.port(), gate.display());
        let field = coding(name);
        let mut command = Command::new("curl");
        command.args(["-sSN", "--compressed", "--max-time", "30", "-H", &field, "-o"]);
        let mut child = command.arg(&seen).arg(url).spawn().expect("curl");
        let began = Instant::now();
        let first = b"<p>first</p>\n";
        while std::fs::read(&seen).unwrap_or_default() != first {
            assert!(began.elapsed() < Duration::from_secs(10), "{name}: it is stuck");
            std::thread::yield_now();
        }
        std::fs::write(&gate, "").expect("a gate");
        assert!(child.wait().expect("curl").success());
        assert_eq!(std::fs::read(&seen).unwrap(), b"<p>first</p>\n<p>last</p>\n", "{name}");
    }
}

#[test]
fn many_at_a_time_come_out_whole() {
    let server = Setup::python(APP).workers(4).start();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let field = coding(ALL[client % 3]);
                let head = server.path(&format!("head-{client}"));
                for _ in 0..5 {
                    let url = format!("http://127.0.0.1:{}/pieces", server.port());
                    let mut command = Command::new("curl");
                    command.args(["-sS", "--compressed", "-H", &field, "-D"]).arg(&head).arg(url);
                    let output = tools::finish(&mut command);
                    assert!(output.stdout == text(), "{client}");
                }
            });
        }
    });
}
