//! Node apps, as they are, under the preload.

use crate::harness::{Directory, Shim, ask, read_reply, spec, until};
use nix::sys::signal::Signal;
use rip::contract::app::{Reload, Runtime};
use rip::wire::boot::BootStage;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

fn start(files: &[(&str, &str)], entry: &str, reload: Reload) -> Shim {
    let directory = Directory::new();
    for (name, text) in files {
        directory.write(name, text);
    }
    let entry = directory.join(entry);
    let mut spec = spec(&directory, Runtime::Node, &[&entry]);
    spec.reload = reload;
    spec.env.insert("PORT".to_owned(), "3000".to_owned());
    Shim::start(directory, spec)
}

fn joined(name: &str, text: &str) -> Shim {
    joined_with(name, text, None)
}

/// The same with a script that runs before all else.
fn joined_with(name: &str, text: &str, first: Option<&str>) -> Shim {
    let directory = Directory::new();
    let entry = directory.write(name, text);
    let mut spec = spec(&directory, Runtime::Node, &[&entry]);
    if let Some(first) = first {
        let first = directory.write("first.cjs", first);
        spec.env.insert("NODE_OPTIONS".to_owned(), format!("--require={first}"));
    }
    spec.env.insert("PORT".to_owned(), "3000".to_owned());
    let mut shim = Shim::start(directory, spec);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    shim
}

/// What another start may mend.
fn refused(name: &str, text: &str) -> String {
    let (stage, message) = start(&[(name, text)], name, Reload::None).failed();
    assert_eq!(stage, BootStage::Ready, "{message}");
    message
}

/// What no other start would mend.
fn hopeless(name: &str, text: &str) -> String {
    let (stage, message) = start(&[(name, text)], name, Reload::None).failed();
    assert_eq!(stage, BootStage::Find, "{message}");
    message
}

/// Listens in the way that stands in the place of LISTEN, and answers with what it was told.
const PLAIN: &str = r#"
const http = require('http');
let said = '';
const server = http.createServer((req, res) => {
  if (req.url === '/about') {
    const { remoteAddress } = req.socket;
    const main = require.main === module;
    const { argv, execArgv } = process;
    res.end(JSON.stringify({ said, address: server.address(), remoteAddress, main, argv, execArgv }));
  } else res.end(`${req.method} ${req.url}`);
});
server.keepAliveTimeout = 1;
server.headersTimeout = 1;
LISTEN
server.keepAliveTimeout = 1;
"#;

#[test]
fn the_first_server_gets_the_socket_however_it_listens() {
    let call = "() => { said = 'called' }";
    let ways = [
        (format!("server.listen(process.env.PORT, {call})"), 3000),
        (format!("server.listen(3001, '0.0.0.0', {call})"), 3001),
        (format!("server.listen(3002, '::', 511, {call})"), 3002),
        (format!("server.listen({{ port: 3003, host: 'localhost' }}, {call})"), 3003),
        (format!("server.listen({call})"), 8080),
        (format!("server.once('listening', {call}).listen(0)"), 8080),
        (format!("setTimeout(() => server.listen('3004', {call}), 200)"), 3004),
    ];
    for (way, port) in ways {
        let shim = joined("server.js", &PLAIN.replace("LISTEN", &way));
        let about: serde_json::Value = serde_json::from_str(shim.get("/about").text()).unwrap();
        assert_eq!(about["said"], "called", "{way}");
        assert_eq!(about["address"]["port"], port, "{way}");
        assert_eq!(about["remoteAddress"], "127.0.0.1", "{way}");
        assert_eq!(about["main"], true, "{way}");
        assert_eq!(about["argv"].as_array().map(Vec::len), Some(2), "{about}");
        assert_eq!(about["execArgv"].as_array().map(Vec::len), Some(0), "{about}");
        assert_eq!(shim.stop(), "");
    }
    let shim = joined("server.js", &PLAIN.replace("LISTEN", "server.listen('/tmp/x.sock')"));
    let about: serde_json::Value = serde_json::from_str(shim.get("/about").text()).unwrap();
    assert_eq!(about["address"], shim.spec.socket.as_str());
    shim.stop();
}

#[test]
fn only_more_listening_on_the_same_port_is_absorbed() {
    let text = "
        const http = require('http'), net = require('net');
        const answer = (text) => http.createServer((req, res) => res.end(text()));
        let heard = [];
        const first = answer(() => JSON.stringify({ heard, port: second.address().port,
          other: other.address().port, raw: typeof raw.address().port }));
        const second = answer(() => 'second');
        const other = answer(() => 'other');
        const raw = net.createServer().listen(0, '127.0.0.1');
        first.listen(4000, '127.0.0.1', () => {
          second.listen(4000, '::1', () => {
            heard.push(second.listening);
            second.close((error) => heard.push(error === undefined, second.listening));
            second.listen(4000, '::1');
            other.listen(0, '127.0.0.1');
          });
        });";
    let shim = joined("server.js", text);
    let mut about = serde_json::Value::Null;
    until("all of them listen", || {
        about = serde_json::from_str(shim.get("/").text()).unwrap_or_default();
        about["heard"].as_array().is_some_and(|heard| heard.len() == 3)
    });
    assert_eq!(about["heard"], serde_json::json!([true, true, true]), "{about}");
    assert_eq!(about["port"], 4000);
    assert_ne!(about["other"], 4000);
    assert_eq!(about["raw"], "number");
    shim.stop();
}

#[test]
fn modules_of_either_kind_are_apps() {
    let answers = [
        (
            "server.mjs",
            "import http from 'node:http'; await new Promise(r => setTimeout(r, 60));\n\
                        http.createServer((q, s) => s.end('here')).listen(3000)",
        ),
        ("app.mjs", "export default (req, res) => res.end('here')"),
        ("app.cjs", "module.exports = async (req, res) => res.end('here')"),
        ("a.cjs", "exports.__esModule = true; exports.default = (req, res) => res.end('here')"),
        ("b.mjs", "export default { fetch: async () => new Response('here') }"),
        (
            "c.mjs",
            "setInterval(() => {}, 1000); export default { fetch: () => new Response('here') }",
        ),
        // Exported as well as started, some time later.
        (
            "d.cjs",
            "const http = require('http');\n\
                   const app = (q, s) => s.end(app.listening ? 'here' : 'too early');\n\
                   app.listen = () => { throw new Error('not by us') };\n\
                   setTimeout(() => { app.listening = true; http.createServer(app).listen(1) }, 400);\n\
                   module.exports = app",
        ),
        // Exported, and never started.
        (
            "e.cjs",
            "const app = (q, s) => s.end('here');\n\
                   app.listen = (...a) => require('http').createServer(app).listen(...a);\n\
                   module.exports = app",
        ),
        (
            "main.test.mjs",
            "import { pathToFileURL } from 'node:url'; import http from 'node:http';\n\
                      if (import.meta.url === pathToFileURL(process.argv[1]).href)\n\
                      http.createServer((q, s) => s.end('here')).listen(3000)",
        ),
    ];
    for (name, text) in answers {
        let shim = joined(name, text);
        assert_eq!(shim.get("/").text(), "here", "{name}");
        shim.stop();
    }
}

/// An app of the standard's requests and responses.
const FETCH: &str = r#"
import { writeFileSync, existsSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
const TWICE = new Response('once');
export default {
  async fetch(request) {
    const url = new URL(request.url);
    const headers = { 'content-type': 'text/plain' };
    switch (url.pathname) {
      case '/echo': return new Response(request.body, { headers: request.headers });
      case '/form': return new Response((await request.formData()).get('name'));
      case '/cookies': {
        const all = new Headers();
        all.append('Set-Cookie', 'a=1'); all.append('Set-Cookie', 'b=2');
        return new Response('ok', { headers: all });
      }
      case '/nothing': return new Response(null, { status: 204 });
      case '/empty': return new Response();
      case '/redirect': return Response.redirect('http://else.example/', 303);
      case '/json': return Response.json({ url: request.url, method: request.method });
      case '/boom': throw new Error('it broke');
      case '/passed': {
        const answer = await globalThis.fetch('data:text/plain,elsewhere');
        const headers = { connection: 'close', 'transfer-encoding': 'chunked' };
        return new Response(answer.body, { headers });
      }
      case '/wrong': return 'text';
      case '/bytes': return new Response(new Uint8Array([111, 107]).buffer);
      case '/long': return new Response('longer', { headers: { 'content-length': '4' } });
      case '/twice': return TWICE;
      case '/signal': {
        const { signal } = request;
        const again = [new Request(request).signal, request.clone().signal];
        return Response.json([
          signal === request.signal && again.every((one) => one instanceof AbortSignal),
          signal.aborted,
        ]);
      }
      case '/error': return Response.error();
      case '/late': return new Response(new ReadableStream({
        start(c) { c.enqueue(new TextEncoder().encode('half')); },
        async pull() { await wait(20); throw new Error('it broke late'); },
      }));
      case '/stream': return new Response(new ReadableStream({
        async pull(c) {
          this.n = (this.n ?? 0) + 1;
          if (this.n > 3) { c.close(); return; }
          c.enqueue(new TextEncoder().encode(`line ${this.n}\n`));
          while (!existsSync(`go${this.n}`)) await wait(5);
        },
      }), { headers });
      case '/endless': {
        request.signal.addEventListener('abort', () => writeFileSync('aborted', ''));
        return new Response(new ReadableStream({
          async pull(c) { await wait(5); c.enqueue(new Uint8Array(1000)); },
          cancel() { writeFileSync('cancelled', ''); },
        }));
      }
      default: return new Response('plain');
    }
  },
};
"#;

#[test]
fn a_fetch_handler_is_served() {
    serves_fetch(joined_with("app.mjs", FETCH, None));
}

/// Nothing of what is not the standard's has to be there.
#[test]
fn a_fetch_handler_is_served_where_requests_and_responses_hide_what_they_keep() {
    let hiding = "Object.getOwnPropertySymbols = () => []";
    serves_fetch(joined_with("app.mjs", FETCH, Some(hiding)));
}

fn serves_fetch(shim: Shim) {
    let mut stream = shim.connect();
    let get = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\n\r\n")
    };
    let reply = ask(&mut stream, get("/").as_bytes());
    assert_eq!((reply.text(), reply.field("Content-Length")), ("plain", Some("5")));
    let body = "x".repeat(300_000);
    for (length, field) in [(0, "0"), (1, "1"), (300_000, "300000")] {
        let request = format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: {field}\r\n\
             \r\n{}",
            &body[..length]
        );
        let reply = ask(&mut stream, request.as_bytes());
        assert_eq!((reply.body.len(), reply.field("Content-Type")), (length, Some("text/x")));
    }
    // What the app leaves of a body does not disturb the next request.
    for _ in 0..2 {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n";
        let request = [head, &body.repeat(10)].concat();
        assert_eq!(ask(&mut stream, request.as_bytes()).text(), "plain");
    }
    let form = "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\nname=Zo%C";
    assert_eq!(ask(&mut stream, form.replace("Zo%C", "Zoot").as_bytes()).text(), "Zoot");
    let reply = ask(&mut stream, get("/cookies").as_bytes());
    let cookies = reply.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(cookies.count(), 2);
    let reply = ask(&mut stream, get("/nothing").as_bytes());
    assert_eq!((reply.status, reply.field("Content-Length")), (204, None));
    assert_eq!(ask(&mut stream, get("/empty").as_bytes()).field("Content-Length"), Some("0"));
    let reply = ask(&mut stream, get("/redirect").as_bytes());
    assert_eq!((reply.status, reply.field("Location")), (303, Some("http://else.example/")));
    assert_eq!(
        ask(&mut stream, get("/json?a=%C3%A9").as_bytes()).text(),
        r#"{"url":"https://a.example/json?a=%C3%A9","method":"GET"}"#
    );
    let reply = ask(&mut stream, get("/passed").as_bytes());
    assert_eq!((reply.text(), reply.field("Content-Length")), ("elsewhere", Some("9")));
    let reply = ask(&mut stream, b"HEAD /json HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.body.len(), reply.reusable), (200, 0, true));
    assert_eq!(ask(&mut stream, get("/bytes").as_bytes()).text(), "ok");
    assert_eq!(ask(&mut stream, get("/long").as_bytes()).text(), "long");
    assert_eq!(ask(&mut stream, get("/signal").as_bytes()).text(), "[true,false]");
    assert_eq!(ask(&mut stream, get("/twice").as_bytes()).text(), "once");
    for target in ["/boom", "/wrong", "/error", "/twice"] {
        let reply = ask(&mut stream, get(target).as_bytes());
        assert_eq!((reply.status, reply.reusable), (500, true), "{target}");
    }
    // Piece by piece: the next one is only made when the one before was seen.
    stream.write_all(get("/stream").as_bytes()).unwrap();
    let mut text = String::new();
    for line in 1..=3 {
        while !text.contains(&format!("line {line}\n")) {
            let mut block = [0; 4096];
            let count = stream.read(&mut block).unwrap();
            text.push_str(std::str::from_utf8(&block[..count]).unwrap());
        }
        shim.directory.write(&format!("go{line}"), "");
    }
    assert!(!text.contains("Content-Length"), "{text}");
    while !text.ends_with("0\r\n\r\n") {
        let mut block = [0; 4096];
        let count = stream.read(&mut block).unwrap();
        text.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
    // What cannot be completed does not look complete.
    let mut late = shim.connect();
    late.write_all(get("/late").as_bytes()).unwrap();
    let mut text = Vec::new();
    let _ = late.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("half") && !text.ends_with("0\r\n\r\n"), "{text}");
    // A client that leaves.
    let mut leaves = shim.connect();
    leaves.write_all(get("/endless").as_bytes()).unwrap();
    leaves.read_exact(&mut [0; 500]).unwrap();
    drop(leaves);
    for name in ["aborted", "cancelled"] {
        let file = shim.directory.path().join(name);
        until(name, || file.exists());
    }
    assert_eq!(ask(&mut stream, get("/").as_bytes()).text(), "plain");
    let stderr = shim.stop();
    assert!(stderr.contains("request without id failed: GET /boom\nError: it broke\n"), "{stderr}");
    assert!(stderr.contains("it broke late"), "{stderr}");
    assert!(stderr.contains("answered with no Response"), "{stderr}");
}

#[test]
fn a_request_in_progress_is_finished() {
    let slow = "require('http').createServer((req, res) => {
        if (req.url !== '/slow') return res.end();
        const fs = require('fs');
        fs.writeFileSync('slow', '');
        const timer = setInterval(() => {
          if (fs.existsSync('go')) { clearInterval(timer); res.end('slow'); }
        }, 5);
      }).listen(3000);";
    let own = "process.on('SIGTERM', () => { server.close(() => { console.error('mine'); }) });";
    for text in [slow.to_owned(), format!("const server = {slow}{own}")] {
        let mut shim = joined("server.js", &text);
        let mut stream = shim.connect();
        let idle = shim.connect();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let begun = shim.directory.path().join("slow");
        until("it works", || begun.exists());
        shim.signal(Signal::SIGTERM);
        shim.verb().accept();
        shim.directory.write("go", "");
        assert_eq!(read_reply(&mut stream, false).text(), "slow");
        drop((stream, idle));
        assert_eq!(shim.exit().code(), Some(0));
        shim.assert_nothing_left();
        assert_eq!(shim.stderr().contains("mine"), text.contains("mine"));
    }
}

#[test]
fn what_is_wrong_with_an_entry_is_said_in_one_line() {
    assert_eq!(
        hopeless("server.js", "require('no-such-framework/deep')"),
        "server.js needs the package no-such-framework, which is not installed; \
         install it with `npm install no-such-framework`"
    );
    assert_eq!(
        hopeless("server.mjs", "import x from '@no/such';"),
        "server.mjs needs the package @no/such, which is not installed; \
         install it with `npm install @no/such`"
    );
    let package = r#"{"dependencies": {"no-such": "1"}}"#;
    let files = [("server.js", "require('no-such')"), ("package.json", package)];
    let shim = start(&files, "server.js", Reload::None);
    let how = format!("install it with `npm install` in {}", shim.directory.path().display());
    let (stage, message) = shim.failed();
    assert_eq!(stage, BootStage::Find);
    assert!(message.ends_with(&how), "{message}");
    // Not the entry's own, and one sentence for it: the interpreter's trace is not told.
    let files = [("server.mjs", "import './lib/a.mjs'"), ("lib/a.mjs", "import 'no-such'")];
    let mut shim = start(&files, "server.mjs", Reload::None);
    assert_ne!(shim.exit().code(), Some(0));
    assert_eq!(
        shim.stderr(),
        "lib/a.mjs needs the package no-such, which is not installed; \
         install it with `npm install no-such`\n"
    );
    // Whoever does without what is not there is not disturbed.
    joined(
        "server.js",
        "process.on('uncaughtException', () => require('http').createServer((q, s) => s.end()).listen());
         require('no-such')",
    )
    .stop();
    let message = hopeless("server.js", "require('./lib/nope')");
    assert_eq!(message, "server.js needs ./lib/nope, which does not exist");
    let message = refused("server.js", "no javascript");
    assert!(message.starts_with("server.js cannot be loaded: SyntaxError: "), "{message}");
    let message = refused("server.js", "setTimeout(() => { throw new Error('no database') }, 20)");
    assert_eq!(message, "server.js cannot be loaded: Error: no database");
    let message = refused("server.mjs", "await Promise.reject(new Error('no database'))");
    assert_eq!(message, "server.mjs cannot be loaded: Error: no database");
    let message = hopeless("server.js", "require('https').createServer().listen(443)");
    assert!(message.starts_with("server.js listens with TLS of its own; "), "{message}");
    let message = hopeless("server.js", "require('http2').createServer().listen(80)");
    assert!(message.starts_with("server.js listens with HTTP/2 of its own; "), "{message}");
    let cluster = "const c = require('cluster'); if (c.isPrimary) c.fork()";
    assert!(hopeless("server.js", cluster).contains("cluster.fork()"));
    for text in ["const x = 1", "module.exports = class A {}", "module.exports = { a: 1 }"] {
        let message = hopeless("server.js", text);
        assert!(message.starts_with("server.js ended without a server: "), "{message}");
    }
    let message = refused("server.js", "setTimeout(() => process.exit(3), 2500)");
    assert_eq!(message, "server.js ended itself before it listened (exit status 3)");
    // What it has asked, such as a database, may be back at the next start.
    let text = "const s = require('net').connect(1, '127.0.0.1'); s.on('error', console.error)";
    let message = refused("server.js", text);
    assert!(message.starts_with("server.js ended without a server: "), "{message}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = format!("require('net').createServer().listen({port}, '127.0.0.1')");
    let message = refused("server.js", &text);
    assert!(
        message.starts_with(&format!("server.js listens on port {port} as well, ")),
        "{message}"
    );
    let message = hopeless("server.mjs", "await new Promise(() => {})");
    assert!(message.starts_with("server.mjs ended without a server: "), "{message}");
    // Newer versions of Node run it.
    let message = hopeless("server.ts", "const x: number = 1");
    assert!(
        message.starts_with("server.ts is TypeScript, which node v")
            || message.starts_with("server.ts ended without a server: "),
        "{message}"
    );

    let directory = Directory::new();
    let entry = directory.write("server.js", "setInterval(() => {}, 1000)");
    let mut spec = spec(&directory, Runtime::Node, &[&entry]);
    spec.start_timeout_ms = 4_000;
    let (stage, message) = Shim::start(directory, spec).failed();
    assert_eq!(
        (stage, message.as_str()),
        (
            BootStage::Ready,
            "the app was not ready within 4000 ms: \
             server.js has not called listen() of an HTTP server"
        )
    );
}

#[test]
fn a_node_that_is_too_old_is_named() {
    let directory = Directory::new();
    let entry = directory.write("server.js", "");
    let old = directory.write("bin/node", "#!/bin/sh\necho \"$0: bad option: $1\" >&2\nexit 9\n");
    std::fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
    let mut spec = spec(&directory, Runtime::Node, &[&entry]);
    let path = std::env::var("PATH").unwrap_or_default();
    spec.env.insert("PATH".to_owned(), format!("{}:{path}", directory.join("bin")));
    let (stage, message) = Shim::start(directory, spec).failed();
    assert_eq!(stage, BootStage::Find, "{message}");
    assert!(message.contains("too old for --import, which takes node 18.19"), "{message}");
}

/// Bodies of another length than the response's own, and a long one.
const LENGTHS: &str = r#"
const pieces = (count, size) => new ReadableStream({
  pull(c) {
    if (count-- === 0) c.close(); else c.enqueue(new Uint8Array(size).fill(120));
  },
}, { highWaterMark: 0 });
export default {
  fetch(request) {
    const url = new URL(request.url);
    const asked = (name) => Number(url.searchParams.get(name));
    const headers = new Headers({ 'access-control-expose-headers': 'content-length' });
    if (url.searchParams.has('length')) headers.set('content-length', asked('length'));
    const body = url.pathname === '/none' ? null : pieces(asked('count'), asked('size'));
    return new Response(body, { headers });
  },
};
"#;

#[test]
fn a_response_is_as_long_as_it_says() {
    let shim = joined("app.mjs", LENGTHS);
    let mut stream = shim.connect();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = ask(&mut stream, get("/?count=3&size=2&length=6").as_bytes());
    assert_eq!((reply.text(), reply.field("Content-Length")), ("xxxxxx", Some("6")));
    let reply = ask(&mut stream, get("/?count=1&size=2").as_bytes());
    assert_eq!((reply.text(), reply.field("Content-Length")), ("xx", Some("2")));
    // Known to be wrong before anything was sent.
    for target in ["/none?length=9", "/?count=0&size=0&length=9", "/?count=1&size=5&length=9"] {
        let reply = ask(&mut stream, get(target).as_bytes());
        assert_eq!((reply.status, reply.reusable), (500, true), "{target}");
    }
    assert_eq!(ask(&mut stream, get("/?count=3&size=5&length=7").as_bytes()).text(), "xxxxxxx");
    assert_eq!(ask(&mut stream, get("/?count=1&size=5&length=3").as_bytes()).text(), "xxx");
    // Known when some of it may have been: the connection ends, and nobody waits for the rest.
    let mut cut = shim.connect();
    cut.write_all(get("/?count=3&size=3&length=20").as_bytes()).unwrap();
    let mut text = Vec::new();
    let _ = cut.read_to_end(&mut text);
    assert!(!text.ends_with(&[b'x'; 10]), "{}", String::from_utf8_lossy(&text));
    // As often as it has to wait for its reader, nothing is left of that.
    let reply = ask(&mut stream, get("/?count=200&size=300000").as_bytes());
    assert_eq!(reply.body.len(), 60_000_000);
    let stderr = shim.stop();
    assert!(stderr.contains("ended after 9 of the 20 bytes of its Content-Length"), "{stderr}");
    assert!(stderr.contains("with more than its Content-Length of 7 bytes: cut"), "{stderr}");
    assert!(!stderr.contains("Warning"), "{stderr}");
}

#[test]
fn an_exception_that_nobody_catches_is_a_crash() {
    let text = "require('http').createServer((req, res) => {
        if (req.url === '/boom') throw new Error('it broke');
        res.end();
      }).listen(3000);";
    let mut shim = joined("server.js", text);
    let mut stream = shim.connect();
    stream.write_all(b"GET /boom HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_ne!(shim.exit().code(), Some(0));
    let stderr = shim.stderr();
    assert!(stderr.contains("Error: it broke\n    at Server.<anonymous>"), "{stderr}");
    assert!(stderr.contains("server.js:2:"), "{stderr}");
}

/// The next version of what an app consists of, once it was told of it.
fn change(shim: &Shim, name: &str, text: &str) {
    shim.directory.write(name, text);
    shim.signal(Signal::SIGUSR1);
}

#[test]
fn modules_are_loaded_again_in_the_same_process() {
    let part = |ending: &str, version: &str| match ending {
        "cjs" => format!("exports.version = '{version}'"),
        _ => format!("export const version = '{version}'"),
    };
    let fetch = "export default { fetch: () => new Response(part.version) }";
    let apps = [
        (
            "cjs",
            "const http = require('http'), part = require('./part.cjs');\n\
             if (require.main === module)\n\
             http.createServer((q, s) => s.end(part.version)).listen(3000)"
                .to_owned(),
        ),
        ("mjs", format!("import * as part from './part.mjs';\n{fetch}")),
        (
            "mjs",
            "import http from 'node:http'; import * as part from './part.mjs';\n\
                 http.createServer((q, s) => s.end(part.version)).listen(3000)"
                .to_owned(),
        ),
        ("cjs", format!("import part from './part.cjs';\n{fetch}")),
    ];
    for (number, (ending, app)) in apps.into_iter().enumerate() {
        let entry = if app.starts_with("import") { "app.mjs" } else { "app.js" };
        let part_name = format!("part.{ending}");
        let files = [(entry, app.as_str()), (&*part_name, &*part(ending, "one"))];
        let mut shim = start(&files, entry, Reload::Module);
        let (pid, _, _) = shim.joined();
        let mut stream = shim.connect();
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut version = || ask(&mut stream, get).text().to_owned();
        assert_eq!(version(), "one", "{number}");
        change(&shim, &part_name, &part(ending, "two"));
        until("the second version, on the same connection", || version() == "two");
        // Whatever is wrong with the next version, the last good one goes on.
        let esm = entry == "app.mjs";
        let write = match esm {
            true => "import fs from 'node:fs'; fs.writeFileSync('tried', '');",
            false => "require('fs').writeFileSync('tried', '');",
        };
        for wrong in ["throw new Error('no')", "process.exit(3)", "nothing.of.this()", "{}"] {
            change(&shim, entry, &format!("{write} {wrong}"));
            let tried = shim.directory.path().join("tried");
            until(wrong, || tried.exists());
            std::fs::remove_file(tried).unwrap();
            assert_eq!(version(), "two", "{wrong}");
        }
        shim.directory.write(&part_name, &part(ending, "three"));
        change(&shim, entry, &app.replace("version)", "version + '!')"));
        until("the version after that", || version() == "three!");
        change(&shim, &part_name, "no javascript");
        change(&shim, &part_name, &part(ending, "four"));
        until("the last version", || version() == "four!");
        assert_eq!(crate::harness::session(shim.pid()).len(), 2);
        assert!(crate::harness::session(shim.pid()).contains(&(pid as i32)));
        let stderr = shim.stop();
        assert!(stderr.contains("the last good version goes on serving"), "{stderr}");
        assert!(stderr.contains(&format!("reloaded {entry}\n")), "{stderr}");
    }
}

#[test]
fn upgrades_go_to_the_version_that_serves() {
    let app = |version: &str| {
        format!(
            "const server = require('http').createServer((q, s) => s.end('{version}'));\n\
             if ('{version}' !== 'one') server.on('upgrade', (req, socket) => {{\n\
             socket.end('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: x\\r\\n\
             Connection: upgrade\\r\\n\\r\\n{version}')}});\n\
             server.listen(3000)"
        )
    };
    let mut shim = start(&[("server.js", &app("one"))], "server.js", Reload::Module);
    shim.joined();
    let upgrade = |shim: &Shim| {
        let mut stream = shim.connect();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .unwrap();
        let mut block = [0; 4096];
        let mut text = String::new();
        while !["one", "two", "three"].iter().any(|version| text.contains(version)) {
            let count = stream.read(&mut block).unwrap();
            assert_ne!(count, 0, "{text}");
            text.push_str(std::str::from_utf8(&block[..count]).unwrap());
        }
        text
    };
    assert!(upgrade(&shim).starts_with("HTTP/1.1 200"), "nobody takes it");
    for version in ["two", "three"] {
        change(&shim, "server.js", &app(version));
        until(version, || shim.get("/").text() == version);
        let text = upgrade(&shim);
        assert!(text.starts_with("HTTP/1.1 101") && text.ends_with(version), "{text}");
    }
    shim.stop();
}

#[test]
fn children_and_threads_of_the_app_are_left_alone() {
    let text = "
        const { fork } = require('child_process'), { Worker } = require('worker_threads');
        if (process.send) { process.send(process.execArgv.length); return; }
        const said = [];
        fork(__filename).on('message', (m) => said.push(m));
        new Worker('require(\"worker_threads\").parentPort.postMessage(0)', { eval: true })
          .on('message', (m) => said.push(m));
        require('http').createServer((q, s) => s.end(said.join())).listen(3000);";
    let shim = joined("server.js", text);
    until("both have said something", || shim.get("/").text() == "0,0");
    assert_eq!(shim.stop(), "");
}
