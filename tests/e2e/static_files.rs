//! Files of a directory, as real clients get them.

use crate::harness::{Client, Setup, eventually, tools};
use nix::sys::stat::{Mode, SFlag};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Content that shows where it is from.
fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

/// Writes a file as if that had been long ago: its tag is a strong one.
fn old_file(path: &Path, content: &[u8]) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(content).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

/// Runs curl against a server; what it wrote to its standard output.
fn curl(port: u16, target: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--path-as-is"]).args(arguments);
    command.arg(format!("http://127.0.0.1:{port}{target}"));
    let output = tools::finish(&mut command);
    assert!(output.status.success(), "{}", tools::both(&output));
    output.stdout
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn curl_gets_whole_files_parts_and_heads() {
    let content = pattern(5, 5_000_000);
    let server = Setup::files(|site| old_file(&site.join("data.bin"), &content)).start();
    let port = server.port();
    assert!(curl(port, "/data.bin", &[]) == content);
    let head = text(curl(port, "/data.bin", &["--head"]));
    assert!(head.contains("Content-Length: 5000000\r\n"), "{head}");
    assert!(head.contains("Accept-Ranges: bytes\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/octet-stream\r\n"), "{head}");
    assert!(curl(port, "/data.bin", &["--range", "100-199"]) == content[100..200]);
    assert!(curl(port, "/data.bin", &["--range", "4999990-"]) == content[4_999_990..]);
    assert!(curl(port, "/data.bin", &["--range", "-10"]) == content[4_999_990..]);
    let parts = curl(port, "/data.bin", &["--range", "0-9,1000000-2000000", "--include"]);
    let shown = String::from_utf8_lossy(&parts).into_owned();
    assert!(shown.starts_with("HTTP/1.1 206"), "{}", &shown[..200]);
    assert!(shown.contains("Content-Type: multipart/byteranges; boundary="));
    assert!(shown.contains("Content-Range: bytes 1000000-2000000/5000000\r\n"));
    assert!(
        parts.windows(1_000_001).step_by(1).any(|window| window == &content[1_000_000..2_000_001])
    );
    let none = text(curl(port, "/data.bin", &["--range", "9000000-", "--include"]));
    assert!(none.starts_with("HTTP/1.1 416"), "{none}");
    assert!(none.contains("Content-Range: bytes */5000000\r\n"), "{none}");
}

#[test]
fn a_broken_download_is_resumed_and_the_whole_is_right() {
    let content = pattern(6, 3_000_000);
    let server = Setup::files(|site| old_file(&site.join("data.bin"), &content)).start();
    let partial = server.path("partial");
    fs::write(&partial, &content[..1_234_567]).unwrap();
    let output = partial.to_str().unwrap();
    curl(server.port(), "/data.bin", &["--continue-at", "-", "--output", output]);
    assert!(fs::read(&partial).unwrap() == content);
}

#[test]
fn conditions_are_kept_to() {
    let server = Setup::files(|site| old_file(&site.join("a.txt"), b"0123456789")).start();
    let whole = server.get("/a.txt");
    let (tag, date) = (whole.field("ETag").to_owned(), whole.field("Last-Modified").to_owned());
    assert!(tag.starts_with('"') && tag.ends_with("-10\""), "{tag}");
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status, body) in [
        (format!("If-None-Match: {tag}"), 304, ""),
        (format!("If-None-Match: \"x\", W/{tag}"), 304, ""),
        ("If-None-Match: *".to_owned(), 304, ""),
        ("If-None-Match: \"x\"".to_owned(), 200, "0123456789"),
        (format!("If-Modified-Since: {date}"), 304, ""),
        (format!("If-Modified-Since: {long_ago}"), 200, "0123456789"),
        (format!("If-Match: {tag}"), 200, "0123456789"),
        (format!("If-Unmodified-Since: {date}"), 200, "0123456789"),
        (format!("If-Range: {tag}\r\nRange: bytes=2-3"), 206, "23"),
        (format!("If-Range: {date}\r\nRange: bytes=2-3"), 206, "23"),
        ("If-Range: \"x\"\r\nRange: bytes=2-3".to_owned(), 200, "0123456789"),
    ] {
        let response = server.request("GET", "/a.txt", &format!("{fields}\r\n"), b"");
        assert_eq!((response.status, response.text()), (status, body.to_owned()), "{fields}");
        assert_eq!(response.field("ETag"), tag);
    }
    for fields in ["If-Match: \"x\"".to_owned(), format!("If-Unmodified-Since: {long_ago}")] {
        let response = server.request("GET", "/a.txt", &format!("{fields}\r\n"), b"");
        assert_eq!(response.status, 412, "{fields}");
    }
}

#[test]
fn a_young_file_has_a_weak_tag() {
    let server = Setup::files(|_| {}).start();
    fs::write(server.path("site/new"), "new").unwrap();
    assert!(server.get("/new").field("ETag").starts_with("W/\""));
    eventually("a strong tag", || server.get("/new").field("ETag").starts_with('"'));
}

#[test]
fn only_reading_is_allowed() {
    let server = Setup::files(|site| fs::write(site.join("a.txt"), "a").unwrap()).start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"] {
        let response = server.request(method, "/a.txt", "", b"");
        assert_eq!((response.status, response.field("Allow")), (405, "GET, HEAD, OPTIONS"));
    }
    for target in ["/a.txt", "*"] {
        let response = server.request("OPTIONS", target, "", b"");
        assert_eq!((response.status, response.field("Allow")), (204, "GET, HEAD, OPTIONS"));
        assert!(response.body.is_empty());
    }
    let mut client = server.connect();
    client.request("HEAD", "/a.txt", "", b"");
    let head = client.response_to("HEAD");
    assert_eq!((head.status, head.field("Content-Length")), (200, "1"));
    assert_eq!(client.ask("GET", "/a.txt").text(), "a");
}

#[test]
fn a_directory_without_its_slash_is_somewhere_else() {
    let server = Setup::files(|site| {
        fs::create_dir_all(site.join("docs/ü b")).unwrap();
        fs::write(site.join("docs/index.html"), "<p>docs").unwrap();
    })
    .start();
    for (target, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=1&b=%20", "/docs/?a=1&b=%20"),
        ("/docs/%C3%BC%20b", "/docs/%C3%BC%20b/"),
        ("/x/../docs", "/docs/"),
    ] {
        let response = server.get(target);
        assert_eq!((response.status, response.field("Location")), (308, location), "{target}");
    }
    // Never to another host.
    assert_ne!(server.get("//docs").status, 308);
    assert_eq!(text(curl(server.port(), "/docs", &["--location"])), "<p>docs");
    assert_eq!(server.get("/docs/index.html/").status, 404);
}

#[test]
fn precompressed_files_are_sent_to_those_who_take_them() {
    let page = "<p>hello</p>\n".repeat(500);
    let server = Setup::files(|site| {
        old_file(&site.join("page.html"), page.as_bytes());
        let program = "import gzip,sys; p=sys.argv[1]; \
                       open(p+'.gz','wb').write(gzip.compress(open(p,'rb').read()))";
        let mut python = Command::new(tools::python());
        let output = tools::finish(python.args(["-c", program]).arg(site.join("page.html")));
        assert!(output.status.success(), "{}", tools::both(&output));
    })
    .start();
    let port = server.port();
    assert_eq!(text(curl(port, "/page.html", &["--compressed"])), page);
    let raw = curl(port, "/page.html", &["--header", "Accept-Encoding: gzip"]);
    assert!(raw.starts_with(&[0x1f, 0x8b]) && raw.len() < page.len() / 5);
    let plain = server.get("/page.html");
    assert_eq!((plain.text(), plain.field("Vary")), (page.clone(), "Accept-Encoding"));
    let encoded = server.request("GET", "/page.html", "Accept-Encoding: gzip\r\n", b"");
    assert_eq!(encoded.field("Content-Encoding"), "gzip");
    assert_ne!(encoded.field("ETag"), plain.field("ETag"));
    assert_eq!(encoded.field("Content-Type"), "text/html; charset=utf-8");
}

/// Makes a tree of directories, small and large files, and names that must be encoded.
fn make_tree(site: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (number, dir) in ["", "a", "a/b", "a/b/c", "ünï cödé", "with space/deep"].iter().enumerate()
    {
        fs::create_dir_all(site.join(dir)).unwrap();
        for (index, name) in
            ["one.txt", "two.bin", "q&a=1.html", "100%.txt", "ä.txt"].iter().enumerate()
        {
            let path = PathBuf::from(dir).join(name);
            let length = [0, 1, 17, 5_000, 300_000][(number + index) % 5];
            fs::write(site.join(&path), pattern((number * 7 + index) as u8, length)).unwrap();
            files.push(path);
        }
    }
    files
}

#[test]
fn a_mirror_of_a_tree_is_the_same_tree() {
    for loops in [1, 2] {
        let mut files = Vec::new();
        let server = Setup::files(|site| files = make_tree(site)).flag("--loops", loops).start();
        let mirror = server.path("mirror");
        fs::create_dir(&mirror).unwrap();
        let mut wget = Command::new("wget");
        wget.args(["--mirror", "--no-parent", "--no-host-directories", "--no-proxy", "--quiet"])
            .args(["--restrict-file-names=nocontrol", "--local-encoding=UTF-8", "--tries=1"])
            .arg("--directory-prefix")
            .arg(&mirror)
            .arg(format!("http://127.0.0.1:{}/", server.port()));
        let output = tools::finish_within(&mut wget, Duration::from_secs(120));
        assert!(output.status.success(), "{}", tools::both(&output));
        for file in &files {
            let copy = fs::read(mirror.join(file));
            let copy = copy.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(
                copy == fs::read(server.path("site").join(file)).unwrap(),
                "{}",
                file.display()
            );
        }
    }
}

#[test]
fn a_listing_shows_what_there_is_and_nothing_else() {
    let server = Setup::files(|site| {
        fs::create_dir(site.join("folder")).unwrap();
        fs::write(site.join("<script>alert(1).txt"), "x").unwrap();
        fs::write(site.join("b.txt"), vec![b'b'; 2000]).unwrap();
        fs::write(site.join(".hidden"), "h").unwrap();
        fs::write(site.join("folder/inner.txt"), "inner").unwrap();
        symlink("/etc", site.join("etc")).unwrap();
    })
    .start();
    let page = server.get("/");
    assert_eq!(page.field("Content-Type"), "text/html; charset=utf-8");
    assert!(page.field("Content-Security-Policy").contains("default-src 'none'"));
    let text = page.text();
    assert!(text.contains("href=\"./folder/\"") && text.contains("href=\"./b.txt\""), "{text}");
    assert!(text.contains("1.9 KiB") && !text.contains("<script>"), "{text}");
    assert!(!text.contains("hidden") && !text.contains("etc"), "{text}");
    assert!(text.find("folder").unwrap() < text.find("b.txt").unwrap(), "folders first");
    let inner = server.get("/folder/").text();
    assert!(inner.contains("inner.txt") && inner.contains("href=\"../\""), "{inner}");
    let mut client = server.connect();
    client.request("HEAD", "/", "", b"");
    let head = client.response_to("HEAD");
    assert_eq!(head.field("Content-Length"), page.body.len().to_string());
    assert_eq!(client.ask("GET", "/folder/").text(), inner);
}

#[test]
fn ten_thousand_names_are_listed_and_others_are_served_meanwhile() {
    let server = Setup::files(|site| {
        fs::create_dir(site.join("many")).unwrap();
        for number in 0..10_050 {
            fs::File::create(site.join(format!("many/file-{number:05}.txt"))).unwrap();
        }
        fs::write(site.join("small"), "small").unwrap();
    })
    .flag("--loops", 1)
    .start();
    let mut lister = server.connect();
    lister.request("GET", "/many/", "", b"");
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/server").text(), "ok");
    let page = lister.response();
    let text = page.text();
    assert_eq!(page.status, 200);
    assert_eq!(text.matches("href=\"./file-").count(), 10_000);
    assert!(text.contains("file-00000") && text.contains("50 more are not shown"));
    assert_eq!(client.ask("GET", "/small").text(), "small");
}

#[test]
fn only_regular_files_that_can_be_read_are_served_and_nothing_blocks() {
    let server = Setup::files(|site| {
        nix::unistd::mkfifo(&site.join("pipe"), Mode::S_IRWXU).unwrap();
        drop(UnixListener::bind(site.join("socket")).unwrap());
        // Only root may, and not everywhere.
        let zero = nix::sys::stat::makedev(1, 5);
        let _ = nix::sys::stat::mknod(&site.join("device"), SFlag::S_IFCHR, Mode::S_IRWXU, zero);
        fs::write(site.join("locked"), "locked").unwrap();
        fs::set_permissions(site.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::write(site.join("fine"), "fine").unwrap();
    })
    .flag("--loops", 1)
    .start();
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/pipe").status, 404);
        assert_eq!(client.ask("GET", "/socket").status, 404);
        assert_eq!(client.ask("GET", "/device").status, 404);
        assert_eq!(client.ask("GET", "/fine").text(), "fine");
    }
    if !nix::unistd::geteuid().is_root() {
        assert_eq!(client.ask("GET", "/locked").status, 404);
    }
    let listing = client.ask("GET", "/").text();
    assert!(listing.contains("fine") && !listing.contains("./pipe"), "{listing}");
    assert!(!listing.contains("./socket") && !listing.contains("./device"), "{listing}");
}

#[test]
fn a_file_cut_short_on_its_way_ends_the_connection() {
    let content = pattern(8, 60_000_000);
    let mut server = Setup::files(|site| fs::write(site.join("big"), &content).unwrap()).start();
    let mut client = server.connect();
    client.request("GET", "/big", "", b"");
    let head = client.head();
    assert_eq!(head.status, 200);
    let first = client.exactly(100_000).unwrap();
    assert!(first == content[..100_000]);
    fs::File::options().write(true).open(server.path("site/big")).unwrap().set_len(0).unwrap();
    let mut got = first;
    // A reset is an end as well.
    while let Ok(more) = client.exactly(1) {
        got.extend(more);
        if got.len() >= content.len() {
            break;
        }
    }
    assert!(got.len() < content.len() && content.starts_with(&got), "{} bytes", got.len());
    server.wait_for_log("became shorter");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_download_is_finished_while_the_server_stops() {
    let content = pattern(2, 40_000_000);
    let mut server = Setup::files(|site| fs::write(site.join("big"), &content).unwrap()).start();
    let mut client = server.connect();
    client.request("GET", "/big", "", b"");
    assert_eq!(client.head().status, 200);
    let mut got = client.exactly(1_000_000).unwrap();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    eventually("a server that takes no more", || Client::try_connect(server.port()).is_err());
    got.extend(client.exactly(content.len() - got.len()).unwrap());
    assert!(got == content);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn each_answer_has_its_line() {
    let server = Setup::files(|site| fs::write(site.join("a.css"), "body{}").unwrap())
        .word("--json-logging")
        .start();
    server.get("/a.css");
    server.get("/none");
    let line = |path: &str| {
        let log = server.stdout();
        let line = log.lines().find(|line| line.contains(path)).map(str::to_owned);
        line.and_then(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
    };
    eventually("both lines", || line("/a.css").is_some() && line("/none").is_some());
    let (found, missing) = (line("/a.css").unwrap(), line("/none").unwrap());
    assert!(
        found.to_string().contains("text/css") && found.to_string().contains("\"bytesOut\":6"),
        "{found}"
    );
    assert!(missing.to_string().contains("not-found"), "{missing}");
}

#[test]
fn curl_decodes_what_is_compressed_on_its_way() {
    let page = (0..60_000).map(|line| format!("<p>line {line}</p>\n")).collect::<String>();
    let server = Setup::files(|site| old_file(&site.join("page.html"), page.as_bytes())).start();
    let port = server.port();
    for coding in ["gzip", "br", "zstd"] {
        let field = format!("Accept-Encoding: {coding}");
        let decoded = curl(port, "/page.html", &["--compressed", "--header", &field]);
        assert!(decoded == page.as_bytes(), "{coding}");
        let raw = curl(port, "/page.html", &["--header", &field]);
        assert!(raw.len() < page.len() / 4, "{coding}: {}", raw.len());
        let head = text(curl(port, "/page.html", &["--head", "--header", &field]));
        assert!(head.contains(&format!("Content-Encoding: {coding}\r\n")), "{head}");
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        let condition = format!("If-None-Match: {tag}");
        let again = ["--head", "--header", &field, "--header", &condition];
        let head = text(curl(port, "/page.html", &again));
        assert!(head.starts_with("HTTP/1.1 304 ") && head.contains(tag), "{head}");
    }
}
