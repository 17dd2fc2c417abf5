//! A PHP app behind the FastCGI gateway.

use crate::harness::{DEADLINE, Directory, Shim, ask, read_reply, spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use rip::contract::app::Runtime;
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;

const INDEX: &str = r#"<?php
// As php.ini says on servers; an unpacked php-fpm has none.
ini_set('display_errors', '0');
ini_set('log_errors', '1');
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
switch ($path) {
case '/echo':
    header('Content-Type: ' . ($_SERVER['CONTENT_TYPE'] ?? 'none'));
    readfile('php://input');
    break;
case '/unread':
    echo str_repeat('y', 300000);
    break;
case '/pid':
    echo getmypid();
    break;
case '/stream':
    while (ob_get_level()) ob_end_clean();
    echo "one\n";
    flush();
    for ($i = 0; !file_exists(__DIR__ . '/go') && $i < 2000; $i++) usleep(10000);
    echo "two\n";
    break;
case '/endless':
    register_shutdown_function(function () {
        file_put_contents(__DIR__ . '/status', (string) connection_status());
    });
    while (ob_get_level()) ob_end_clean();
    for (;;) { echo str_repeat('x', 1000); flush(); usleep(5000); }
case '/stubborn':
    ignore_user_abort(true);
    while (ob_get_level()) ob_end_clean();
    echo "one\n"; flush();
    for ($i = 0; !file_exists(__DIR__ . '/go') && $i < 2000; $i++) usleep(10000);
    break;
case '/boom':
    function deep() { throw new RuntimeException('it broke'); }
    deep();
case '/die':
    // Without the extension `posix`, which an unpacked php-fpm has not.
    exec('kill -11 ' . getmypid());
    sleep(10);
case '/whose':
    preg_match('/^Uid:\s+\d+\s+(\d+)/m', file_get_contents('/proc/self/status'), $uid);
    echo $uid[1], ' ', getcwd() === __DIR__ ? 'here' : getcwd();
    break;
case '/quit':
    http_response_code(204);
    break;
case '/long':
    header('Content-Length: 5');
    echo 'four and more';
    break;
case '/short':
    header('Content-Length: 50');
    echo 'four';
    break;
default:
    header('Content-Type: text/plain;charset=UTF-8');
    header('X-A: 1');
    header('X-A: 2', false);
    foreach (['SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'PATH_TRANSLATED', 'PHP_SELF', 'REQUEST_URI',
              'QUERY_STRING', 'REMOTE_ADDR', 'HTTPS', 'SERVER_PORT', 'SERVER_NAME', 'HTTP_COOKIE', 'DOCUMENT_ROOT',
              'RIP_APP_ID', 'LISTEN_FDS', 'RIP_STATUS_FD'] as $name)
        echo $name, '=', $_SERVER[$name] ?? 'none', "\n";
}
"#;

const TURNS: &str = r#"<?php
header('Content-Type: text/plain');
echo "begun\n";
flush();
$body = fopen('php://input', 'r');
while (($line = fgets($body)) !== false) { echo 'got ', $line; flush(); }
"#;

fn start(entry: &str, change: impl FnOnce(&mut WorkerSpec)) -> Shim {
    let directory = Directory::new();
    directory.write("index.php", INDEX);
    directory.write(
        "page.php",
        "<?php echo 'page ', $_SERVER['PATH_INFO'] ?? '', $_SERVER['PHP_SELF'];",
    );
    directory.write("style.css", "body { color: red }");
    directory.write("up/evil.jpg", "<?php echo 'run';");
    directory.write("sub/index.html", "<p>sub</p>");
    directory.write(".user.ini", "post_max_size = 64M\n");
    directory.write("lib.php.bak", "<?php secret();");
    directory.write("turns/.user.ini", "output_buffering = 0\n");
    directory.write("turns/index.php", TURNS);
    let entry = directory.join(entry);
    let mut spec = spec(&directory, Runtime::Php, &[&entry]);
    change(&mut spec);
    Shim::start(directory, spec)
}

fn joined(change: impl FnOnce(&mut WorkerSpec)) -> (Shim, u32) {
    let mut shim = start("", change);
    let (app, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    (shim, app)
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.example:81\r\nX-Request-Id: r7\r\n\r\n")
        .into_bytes()
}

/// A `PATH` on which there is no php-cgi, but whatever else there is.
fn only_fpm(spec: &mut WorkerSpec) {
    let bin = format!("{}/bin", spec.launch.cwd);
    std::fs::create_dir_all(&bin).unwrap();
    symlink(fpm(), format!("{bin}/php-fpm8.2")).unwrap();
    spec.env.insert("PATH".to_owned(), bin);
}

/// Debian's php-fpm, installed or as `scripts/setup` has unpacked it.
fn fpm() -> PathBuf {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/php-fpm/usr/sbin");
    let found = ["/usr/sbin", unpacked].iter().find_map(|directory| {
        let mut names =
            std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        names.find(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"php-fpm"))
        })
    });
    found.expect("scripts/setup was run")
}

#[test]
fn scripts_and_files_are_served() {
    let (shim, _) = joined(|_| ());
    let root = std::fs::canonicalize(shim.directory.path()).unwrap().display().to_string();
    let mut stream = shim.connect();
    let request = "GET /caf%C3%A9/x?a=b%20c HTTP/1.1\r\nHost: app.example:81\r\nCookie: a=1\r\n\
                   Cookie: b=2\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n";
    for _ in 0..2 {
        let reply = ask(&mut stream, request.as_bytes());
        assert!(reply.status == 200 && reply.reusable);
        assert_eq!(reply.fields.iter().filter(|(name, _)| name == "X-A").count(), 2);
        let text = reply.text();
        for line in [
            "SCRIPT_NAME=/index.php",
            &format!("SCRIPT_FILENAME={root}/index.php"),
            "PATH_INFO=none",
            "PATH_TRANSLATED=none",
            "PHP_SELF=/index.php",
            "REQUEST_URI=/caf%C3%A9/x?a=b%20c",
            "QUERY_STRING=a=b%20c",
            "REMOTE_ADDR=192.0.2.7",
            "HTTPS=on",
            "SERVER_PORT=81",
            "SERVER_NAME=app.example",
            "HTTP_COOKIE=a=1; b=2",
            &format!("DOCUMENT_ROOT={root}"),
            "RIP_APP_ID=app",
            "LISTEN_FDS=none",
            "RIP_STATUS_FD=none",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is missing in\n{text}");
        }
    }
    assert_eq!(ask(&mut stream, &get("/page.php")).text(), "page /page.php");
    assert_eq!(ask(&mut stream, &get("/page.php/a/b")).text(), "page /a/b/page.php/a/b");
    let reply = ask(&mut stream, &get("/style.css"));
    assert_eq!(reply.text(), "body { color: red }");
    assert_eq!(reply.field("Content-Type"), Some("text/css; charset=utf-8"));
    let tag = reply.field("ETag").unwrap();
    let request = format!("GET /style.css HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(ask(&mut stream, request.as_bytes()).status, 304);
    let request = b"GET /style.css HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3\r\n\r\n";
    let reply = ask(&mut stream, request);
    assert_eq!((reply.status, reply.text()), (206, "body"));
    let reply = ask(&mut stream, b"HEAD /style.css HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.field("Content-Length"), reply.body.len()), (Some("19"), 0));
    assert_eq!(ask(&mut stream, b"DELETE /style.css HTTP/1.1\r\nHost: a\r\n\r\n").status, 405);
    assert_eq!(ask(&mut stream, &get("/sub/")).text(), "<p>sub</p>");
    let reply = ask(&mut stream, &get("/sub?a=b"));
    assert_eq!((reply.status, reply.field("Location")), (308, Some("/sub/?a=b")));

    // Not run, not shown: the front controller decides.
    symlink("/etc/passwd", shim.directory.path().join("passwd.txt")).unwrap();
    for target in ["/up/evil.jpg/x.php", "/.user.ini", "/lib.php.bak", "/passwd.txt", "/x.php"] {
        assert!(
            ask(&mut stream, &get(target)).text().starts_with("SCRIPT_NAME=/index.php"),
            "{target}"
        );
    }
    assert_eq!(ask(&mut stream, &get("/up/evil.jpg")).text(), "<?php echo 'run';");
    assert_eq!(shim.stop(), "");
}

#[test]
fn bodies_come_and_go_in_every_form() {
    let (shim, _) = joined(|_| ());
    let mut stream = shim.connect();
    for size in [0, 1, 8192, 70_000, 3_000_000] {
        let body: String = (0..size).map(|at: usize| char::from(b'a' + (at % 26) as u8)).collect();
        for target in ["/echo", "/unread"] {
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: {size}\r\n\r\n"
            );
            let mut writer = stream.try_clone().unwrap();
            let (sent, reply) = std::thread::scope(|scope| {
                let sending = scope.spawn(|| {
                    writer
                        .write_all(head.as_bytes())
                        .and_then(|()| writer.write_all(body.as_bytes()))
                });
                let reply = read_reply(&mut stream, false);
                (sending.join().unwrap(), reply)
            });
            sent.unwrap();
            assert!(reply.reusable, "{target} {size}");
            match target {
                "/echo" => assert!(reply.text() == body, "{size}"),
                _ => assert_eq!(reply.body.len(), 300_000),
            }
        }
    }
    let reply = ask(&mut stream, &get("/quit"));
    assert_eq!((reply.status, reply.field("Content-Length"), reply.reusable), (204, None, true));
    let reply = ask(&mut stream, b"HEAD /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.body.len(), reply.reusable), (200, 0, true));
    assert_eq!(ask(&mut stream, &get("/long")).text(), "four ");
    // What is in one piece has a length; what is still being made has none.
    assert!(ask(&mut stream, &get("/pid")).field("Content-Length").is_some());
    stream.write_all(&get("/stream")).unwrap();
    let mut begun = Vec::new();
    while !begun.ends_with(b"one\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        begun.extend(byte);
    }
    assert!(String::from_utf8_lossy(&begun).contains("Transfer-Encoding: chunked"));
    shim.directory.write("go", "");
    let mut rest = [0; 12];
    stream.read_exact(&mut rest[..9]).unwrap();
    assert_eq!(&rest[..9], b"4\r\ntwo\n\r\n");
    let mut stream = shim.connect();
    stream.write_all(&get("/short")).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("four"), "{text}");
    shim.stop();
}

#[test]
fn failures_are_answered_and_told_with_the_requests_id() {
    let (shim, _) = joined(|_| ());
    let reply = ask(&mut shim.connect(), &get("/boom?x"));
    assert_eq!((reply.status, reply.reusable), (500, true));
    let stderr = shim.stop();
    assert!(
        stderr.contains("request r7 (GET /boom?x): PHP Fatal error:  Uncaught RuntimeException"),
        "{stderr}"
    );
    assert!(stderr.contains("#1 {main}"), "{stderr}");
}

#[test]
fn who_leaves_ends_the_script_and_the_worker_is_free_only_then() {
    let (shim, _) = joined(|_| ());
    let pid = shim.get("/pid").text().to_owned();
    let mut stream = shim.connect();
    stream.write_all(&get("/endless")).unwrap();
    stream.read_exact(&mut [0; 3000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(std::fs::read_to_string(shim.directory.join("status")).unwrap(), "1", "aborted");
    assert_eq!(shim.get("/pid").text(), pid);

    // One that works on whatever becomes of its client holds the connection for as long.
    let mut stream = shim.connect();
    stream.write_all(&get("/stubborn")).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let directory = shim.directory.path().to_owned();
    let opens = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        std::fs::write(directory.join("go"), "").unwrap();
    });
    let before = Instant::now();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert!(before.elapsed() >= std::time::Duration::from_millis(250), "{:?}", before.elapsed());
    opens.join().unwrap();
    assert_eq!(shim.get("/pid").text(), pid);
    shim.stop();
}

/// Reads until `end` has come.
fn read_to(stream: &mut std::os::unix::net::UnixStream, end: &str) {
    let mut seen = String::new();
    while !seen.contains(end) {
        let mut block = [0; 1024];
        let count = stream.read(&mut block).unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
}

#[test]
fn a_script_answers_while_its_body_is_still_coming() {
    let (shim, _) = joined(|_| ());
    // The body of a PUT is left for the script to read.
    let head = b"PUT /turns/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n";
    let mut stream = shim.connect();
    stream.write_all(head).unwrap();
    read_to(&mut stream, "begun\n");
    // PHP reads its input in blocks.
    stream.write_all(&[[b'x'; 8191].as_slice(), b"\n"].concat()).unwrap();
    read_to(&mut stream, "xxx\n");
    stream.write_all(&[[b'y'; 807].as_slice(), b"\n"].concat()).unwrap();
    read_to(&mut stream, "yyy\n");
    stream.read_to_end(&mut Vec::new()).expect("its end");
    assert_eq!(shim.get("/quit").status, 204);

    // Who leaves amid the body is seen to, and the process is free again.
    let mut stream = shim.connect();
    stream.write_all(head).unwrap();
    read_to(&mut stream, "begun\n");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(shim.get("/quit").status, 204);
    shim.stop();
}

#[test]
fn requests_are_answered_at_once_as_many_as_were_promised() {
    let (shim, _) = joined(|spec| spec.concurrency = 2);
    let mut first = shim.connect();
    first.write_all(&get("/stream")).unwrap();
    first.read_exact(&mut [0; 20]).unwrap();
    let one = shim.get("/pid").text().to_owned();
    shim.directory.write("go", "");
    read_reply_rest(&mut first);
    assert!(one.parse::<u32>().is_ok());
    shim.stop();
}

fn read_reply_rest(stream: &mut std::os::unix::net::UnixStream) {
    let (mut text, mut block) = (Vec::new(), [0; 512]);
    while !text.ends_with(b"two\n\r\n0\r\n\r\n") {
        let count = stream.read(&mut block).unwrap();
        assert!(count > 0);
        text.extend_from_slice(&block[..count]);
    }
}

#[test]
fn a_request_in_progress_is_finished() {
    let (mut shim, _) = joined(|_| ());
    let mut stream = shim.connect();
    stream.write_all(&get("/stream")).unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    shim.directory.write("go", "");
    read_reply_rest(&mut stream);
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn the_death_of_php_is_the_workers() {
    let (mut shim, _) = joined(|_| ());
    let mut stream = shim.connect();
    stream.write_all(&get("/die")).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert_eq!(text, "");
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(shim.exit().signal(), Some(Signal::SIGSEGV as i32));
    shim.assert_nothing_left();
    assert!(shim.stderr().contains("php-cgi was killed by SIGSEGV"));
}

#[test]
fn nothing_is_left_of_a_gateway_that_was_killed() {
    let (mut shim, app) = joined(|spec| {
        spec.concurrency = 2;
        let temporary = format!("{}/tmp", spec.launch.cwd);
        std::fs::create_dir(&temporary).unwrap();
        spec.env.insert("TMPDIR".to_owned(), temporary);
    });
    let temporary = shim.directory.path().join("tmp");
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0, "of the sockets as well");
    kill(Pid::from_raw(app.cast_signed()), Signal::SIGKILL).unwrap();
    shim.exit();
    shim.assert_nothing_left();
}

#[test]
fn fpm_serves_where_there_is_no_cgi() {
    let (shim, _) = joined(only_fpm);
    let mut stream = shim.connect();
    let reply = ask(&mut stream, &get("/page.php/x"));
    assert_eq!((reply.text(), reply.reusable), ("page /x/page.php/x", true));
    assert_eq!(ask(&mut stream, &get("/boom")).status, 500);
    // A child that dies is replaced, and takes its own request along only.
    let mut dying = shim.connect();
    dying.write_all(&get("/die")).unwrap();
    let _ = dying.read_to_string(&mut String::new());
    let mut stream = shim.connect();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(ask(&mut stream, &get("/page.php")).text(), "page /page.php");
    stream.write_all(&get("/endless")).unwrap();
    stream.read_exact(&mut [0; 3000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(std::fs::read_to_string(shim.directory.join("status")).unwrap(), "1", "aborted");
    let stderr = shim.stop();
    let told = stderr.matches("Uncaught RuntimeException: it broke").count();
    assert_eq!(told, 1, "{stderr}");
}

/// Only root can start it so.
#[test]
fn php_is_the_apps_user() {
    if !geteuid().is_root() {
        return;
    }
    let nobody = User::from_name("nobody").unwrap().expect("every system has nobody").uid;
    for change in [|_: &mut WorkerSpec| (), only_fpm] {
        let (shim, _) = joined(|spec| {
            change(spec);
            spec.user = Some("nobody".to_owned());
        });
        assert_eq!(shim.get("/whose").text(), format!("{nobody} here"));
        assert_eq!(shim.get("/style.css").status, 200);
        shim.stop();
    }
}

#[test]
fn what_is_missing_is_said_in_one_line() {
    let failed = |change: &dyn Fn(&mut WorkerSpec)| {
        let (stage, message) = start("", |spec| change(spec)).failed();
        assert!(matches!(stage, BootStage::Find | BootStage::Ready), "{stage}");
        message
    };
    let message = failed(&|spec| spec.launch.argv[0].push_str("/nope.php"));
    assert!(message.ends_with("/nope.php does not exist"), "{message}");
    let message = failed(&|spec| drop(spec.env.insert("PATH".to_owned(), "/nowhere".to_owned())));
    assert_eq!(
        message,
        "PHP needs php-cgi or php-fpm, and neither was found on PATH; \
         install it with `apt install php-cgi`, or the like"
    );
}
