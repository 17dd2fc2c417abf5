//! Bun's apps, and Node's under Bun, as they are, under the preload.

use crate::harness::{Directory, Shim, read_reply, spec, until};
use nix::sys::signal::Signal;
use rip::contract::app::Runtime;
use rip::wire::boot::BootStage;
use std::io::Write;

fn start(name: &str, text: &str) -> Shim {
    let directory = Directory::new();
    let entry = directory.write(name, text);
    let mut spec = spec(&directory, Runtime::Bun, &[&entry]);
    let bun =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/node/node_modules/@oven/bun-linux-x64/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    spec.env.insert("PATH".to_owned(), format!("{bun}:{path}"));
    Shim::start(directory, spec)
}

fn joined(name: &str, text: &str) -> Shim {
    let mut shim = start(name, text);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true, "{name}");
    shim
}

#[test]
fn apps_of_every_kind_are_served() {
    let answers = [
        (
            "a.ts",
            "const server = Bun.serve({ port: 3000, fetch(request: Request, server) {\n\
             const { address } = server.requestIP(request);\n\
             return new Response([server.port, address, import.meta.main].join()) } });\n\
             if (server.hostname !== 'localhost' || server.url.port !== '8080') throw server.url",
            "3000,127.0.0.1,true",
        ),
        (
            "b.ts",
            "class App { port = 3000; fetch(request) { return new Response(new URL(request.url).pathname) } }\n\
             export default new App()",
            "/where",
        ),
        (
            "c.cjs",
            "const server = require('http').createServer((q, s) =>\n\
             s.end([q.url, server.address().port, q.socket.remoteAddress].join()));\n\
             if (require.main === module) server.listen(process.env.NOPORT || 3000, '0.0.0.0')",
            "/where,3000,127.0.0.1",
        ),
        (
            "d.mjs",
            "import http from 'node:http'; await new Promise(r => setTimeout(r, 60));\n\
             http.createServer((q, s) => s.end(q.method)).listen({ port: 3000 })",
            "GET",
        ),
        ("e.ts", "export default (req: unknown, res: any) => res.end('here')", "here"),
        ("f.cjs", "module.exports = (req, res) => res.end('here')", "here"),
        (
            "g.ts",
            "Bun.serve({ fetch: () => new Response('first') });\n\
             const other = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('other') });\n\
             if (!(other.port > 0)) throw other.port",
            "first",
        ),
    ];
    for (name, text, answer) in answers {
        let shim = joined(name, text);
        assert_eq!(shim.get("/where").text(), answer, "{name}");
        shim.stop();
    }
}

#[test]
fn a_request_in_progress_is_finished() {
    for way in ["Bun.serve({ fetch })", "require('http').createServer(listener).listen(3000)"] {
        let text = format!(
            "const fs = require('fs');
             const work = async () => {{
               fs.writeFileSync('slow', '');
               while (!fs.existsSync('go')) await Bun.sleep(5);
             }};
             const fetch = async (request) => {{
               if (request.url.endsWith('/slow')) await work();
               return new Response('slow');
             }};
             const listener = async (req, res) => {{
               if (req.url === '/slow') await work();
               res.end('slow');
             }};
             {way}"
        );
        let mut shim = joined("server.js", &text);
        let mut stream = shim.connect();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let begun = shim.directory.path().join("slow");
        until("it works", || begun.exists());
        shim.signal(Signal::SIGTERM);
        shim.verb().accept();
        shim.directory.write("go", "");
        assert_eq!(read_reply(&mut stream, false).text(), "slow", "{way}");
        assert_eq!(shim.exit().code(), Some(0));
        shim.assert_nothing_left();
    }
}

#[test]
fn what_is_wrong_with_an_entry_is_said_in_one_line() {
    let refused = |name: &str, text: &str| {
        let (stage, message) = start(name, text).failed();
        assert_eq!(stage == BootStage::Ready, text.contains("database"), "{stage}: {message}");
        message
    };
    for (name, text) in [("a.cjs", "require('no-such-one/x')"), ("a.ts", "import 'no-such-one';")] {
        assert_eq!(
            refused(name, text),
            format!(
                "{name} needs the package no-such-one, which is not installed; \
                 install it with `bun add no-such-one`"
            )
        );
    }
    let message = refused("a.ts", "throw new Error('no database')");
    assert_eq!(message, "a.ts cannot be loaded: Error: no database");
    let message = refused("a.ts", "const x: number = 1");
    assert!(message.starts_with("a.ts ended without a server: "), "{message}");
    let message = refused("a.ts", "Bun.serve({ tls: { key: '', cert: '' }, fetch() {} })");
    assert!(message.starts_with("a.ts listens with TLS of its own; "), "{message}");
}
