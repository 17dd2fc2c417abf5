//! Every way to say which app is meant.

use crate::harness::{Server, Setup, tools};
use std::os::unix::fs::PermissionsExt;

const SAYS: &str = "def says(text):
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [text.encode()]
    return application
";

#[test]
fn the_example_is_served_as_the_readme_says() {
    let server = Setup::entry(tools::repository().join("examples/hello")).start();
    let response = server.get("/");
    assert_eq!(response.status, 200);
    assert!(response.field("content-type").starts_with("text/html"));
    assert!(response.text().contains("Hello, 127.0.0.1"), "{}", response.text());
    assert_eq!(server.app()["id"], "hello");
    let (code, output) = server.cli(&["ctl", "list"]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("w1") && output.contains("examples/hello"), "{output}");
    assert!(server.workers().len() >= 2, "one for each core, and two at least");
}

#[test]
fn the_worker_written_in_rust_is_served() {
    let server =
        Setup::command(&[&tools::rust_example("rust-worker")]).workers(2).concurrency(4).start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/").text(), "Hello from Rust\n");
    assert_eq!(client.ask("GET", "/count").text(), "1\n2\n3\n");
    client.request("POST", "/shout", "", b"quietly");
    assert_eq!(client.response().text(), "QUIETLY");
    assert_eq!(client.ask("GET", "/nowhere").status, 404);
    assert_eq!(client.ask("DELETE", "/").status, 405);
}

#[test]
fn python_apps_have_many_names() {
    for (entry, expected) in [
        ("app.py", "the usual one"),
        ("app.py:other", "the other one"),
        ("app.py:make()", "made to order"),
        ("wsgi:application", "imported"),
        ("pkg.web:app", "deep inside"),
        (".", "the usual one"),
    ] {
        let server = python_app(entry);
        assert_eq!(server.get("/").text(), expected, "{entry}");
    }
}

fn python_app(entry: &str) -> Server {
    let setup = Setup::entry(entry).workers(1);
    std::fs::create_dir(setup.path("app/pkg")).unwrap();
    setup
        .with_file("says.py", SAYS)
        .with_file(
            "app.py",
            "from says import says\napplication = says('the usual one')\n\
             other = says('the other one')\ndef make():\n    return says('made to order')\n",
        )
        .with_file("wsgi.py", "from says import says\napplication = says('imported')\n")
        .with_file("pkg/__init__.py", "")
        .with_file("pkg/web.py", "from says import says\napp = says('deep inside')\n")
        .start()
}

#[test]
fn an_attribute_that_is_not_there_is_named() {
    let setup = Setup::entry("app.py:missing").with_file("app.py", "application = None\n");
    let (code, output) = setup.workers(1).fails();
    assert_eq!(code, 1, "{output}");
    let error = output.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.ends_with("/app/app.py has no missing"), "{output}");
}

#[test]
fn a_directory_with_nothing_to_start_is_served_as_files() {
    let mut server = Setup::entry(".").with_file("notes.txt", "nothing").start();
    assert_eq!(server.get("/notes.txt").text(), "nothing");
    assert_eq!(server.cli(&["list"]).0, 0);
    let (code, status) = server.cli(&["status"]);
    assert!(code == 0 && status.contains("healthy") && status.contains("no app"), "{status}");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    assert_eq!(server.get("/status").json()["app"], serde_json::Value::Null);
    assert_eq!(server.stop(), 0);
    let setup = Setup::entry(".").with_file("notes.txt", "nothing").workers(2);
    let (code, output) = setup.fails();
    assert!(code == 78 && output.contains("there is none") && output.contains("tip:"), "{output}");
}

#[test]
fn source_is_never_published_by_mistake() {
    let setup = Setup::entry(".")
        .with_file("pyproject.toml", "[project]\nname = \"blog\"\n")
        .with_file("config.py", "SECRET_KEY = 'x'\n")
        .with_file("microblog.py", "from blog import app\n");
    let (code, output) = setup.fails();
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("error: 'config.py' in "), "{output}");
    assert!(output.contains("tip: name it: rip-master start microblog.py"), "{output}");
}

#[test]
fn a_project_with_its_app_in_a_package_is_started() {
    let setup = Setup::entry(".").workers(1);
    std::fs::create_dir(setup.path("app/app")).unwrap();
    let server = setup
        .with_file("requirements.txt", "")
        .with_file("app/__init__.py", "")
        .with_file("app/says.py", SAYS)
        .with_file("app/main.py", "from .says import says\napp = says('of the package')\n")
        .start();
    assert_eq!(server.get("/").text(), "of the package");
}

#[test]
fn node_is_served_on_a_port() {
    let server = Setup::command(&["node", "server.js"])
        .with_file(
            "server.js",
            "require('http').createServer((request, response) => {
               let size = 0;
               request.on('data', (piece) => { size += piece.length; });
               request.on('end', () => response.end(`node ${request.url} ${size}`));
             }).listen(process.env.PORT, '127.0.0.1');",
        )
        .flag("--listen", "port")
        .workers(1)
        .start();
    let mut client = server.connect();
    for number in 0..20 {
        client.request("POST", &format!("/{number}"), "", &vec![b'n'; number * 1000]);
        assert_eq!(client.response().text(), format!("node /{number} {}", number * 1000));
    }
}

#[test]
fn node_is_served_on_the_inherited_listener() {
    let server = Setup::command(&["node", "server.js"])
        .with_file(
            "server.js",
            "require('http').createServer((request, response) => response.end('inherited'))
               .listen({ fd: 3 });",
        )
        .workers(1)
        .start();
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "inherited");
    }
}

#[test]
fn words_in_braces_are_filled_in() {
    let uvicorn = tools::venv("uvicorn");
    let app = "async def app(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'filled in'})
";
    for (listen, words) in
        [("fd", ["--fd", "{fd}"]), ("path", ["--uds", "{socket}"]), ("port", ["--port", "{port}"])]
    {
        let argv = [&[uvicorn.as_str(), "app:app", "--log-level", "warning"][..], &words].concat();
        let server = Setup::command(&argv)
            .with_file("app.py", app)
            .flag("--listen", listen)
            .workers(1)
            .start();
        assert_eq!(server.get("/").text(), "filled in", "{listen}");
    }
}

#[test]
fn the_environment_has_its_order() {
    let server = Setup::entry("app.py")
        .with_file(
            "app.py",
            "import os\ndef application(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             names = environ['QUERY_STRING'].split(',')\n    \
             return [','.join(os.environ.get(name, '-') for name in names).encode()]\n",
        )
        .with_file(".env", "A=file\nB=file\nC=file\n")
        .env("A", "master")
        .env("B", "master")
        .env("NOTIFY_SOCKET", "/nowhere")
        .flag("--env", "B=flag")
        .flag("--env", "D=flag")
        .workers(1)
        .start();
    assert_eq!(server.get("/?A,B,C,D").text(), "master,flag,file,flag");
    assert_eq!(server.get("/?RIP_WORKER_ID,RIP_GENERATION,NOTIFY_SOCKET").text(), "1,1,-");
    let urls = server.get("/?RIP_URLS").text();
    assert!(urls.contains(&server.port().to_string()), "{urls}");
}

/// A server of any language, as its package or its Procfile starts it: on `$PORT`, and ended by a
/// signal that it hears.
const SERVER: &str = "\
const server = require('http').createServer((_, answer) => answer.end(process.env.GREETING || 'hi'));
server.listen(process.env.PORT, '127.0.0.1');
process.on('SIGTERM', () => { console.log('heard of the end'); server.close(); });
";

#[test]
fn a_procfile_says_what_is_started() {
    for line in [
        "node serve.js",
        "GREETING=hi node serve.js",
        "exec node serve.js",
        "test -f serve.js && node 'serve.js'",
    ] {
        let mut server = Setup::entry(".")
            .with_file("Procfile", &format!("worker: none\nweb: {line}\n"))
            .with_file("serve.js", SERVER)
            .with_file("app.py", "no Python")
            .workers(2)
            .start();
        assert_eq!(server.get("/").text(), "hi", "{line}");
        assert_eq!(server.app()["restarts"], 0);
        assert_eq!(server.stop(), 0, "{line}");
        assert!(server.log().contains("heard of the end"), "{line}: {}", server.log());
    }
}

#[test]
fn a_package_is_started_as_npm_would_but_without_it() {
    let setup = Setup::entry(".")
        .with_file(
            "package.json",
            r#"{"scripts":{"start":"npm run serve","serve":"GREETING=tool tool --quiet"}}"#,
        )
        .with_file("node_modules/.bin/tool", &format!("#!/usr/bin/env node\n{SERVER}"));
    let tool = setup.path("app/node_modules/.bin/tool");
    std::fs::set_permissions(tool, PermissionsExt::from_mode(0o755)).unwrap();
    let mut server = setup.workers(1).start();
    assert_eq!(server.get("/").text(), "tool");
    assert_eq!(server.stop(), 0);
    assert!(server.log().contains("heard of the end"), "{}", server.log());
}

#[test]
fn an_edgefile_starts_directories_by_what_is_in_them() {
    let app = |name: &str, more: &str| {
        format!(
            "app \"{name}\" {{ entry \"./{name}\"; {more}; workers 1; hosts \"{name}.test\" }}\n"
        )
    };
    let text = format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n{}{}{}{}",
        app("proc", "env GREETING=\"by its Procfile\""),
        app("pack", "env GREETING=\"by its package\""),
        app("both", "runtime \"python\""),
        app("cgi", "runtime \"cgi\""),
    );
    let wsgi = "def application(environ, start_response):\n    start_response('200 OK', [])\n    \
                return [b'by its runtime']\n";
    let setup = Setup::edgefile(&text)
        .with_file("proc/Procfile", "web: node serve.js\n")
        .with_file("proc/serve.js", SERVER)
        .with_file("pack/package.json", r#"{"main":"src/index.js"}"#)
        .with_file("pack/src/index.js", SERVER)
        .with_file("both/app.py", wsgi)
        .with_file("both/server.js", "no JavaScript")
        .with_file("cgi/say", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nby its kind'\n");
    let say = setup.path("app/cgi/say");
    std::fs::set_permissions(say, PermissionsExt::from_mode(0o755)).unwrap();
    let server = setup.start();
    for (name, path, says) in [
        ("proc", "/", "by its Procfile"),
        ("pack", "/", "by its package"),
        ("both", "/", "by its runtime"),
        ("cgi", "/say", "by its kind"),
    ] {
        assert_eq!(server.get_at(&format!("{name}.test"), path).text(), says, "{name}");
    }
    let runtime = |name: &str| server.app_called(name)["runtime"].clone();
    assert_eq!(["proc", "pack", "both", "cgi"].map(runtime), ["command", "node", "python", "cgi"]);
}

#[test]
fn a_directory_of_two_apps_is_decided_by_the_operator() {
    let both = || {
        Setup::entry(".").with_file("app.py", "application = None\n").with_file("server.js", SERVER)
    };
    let (code, output) = both().fails();
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("'app.py' and 'server.js' in "), "{output}");
    assert!(output.contains("tip: or say what runs it: --runtime python"), "{output}");
    let server = both().flag("--runtime", "node").workers(1).start();
    assert_eq!(server.get("/").text(), "hi");
    let (code, output) = both().flag("--runtime", "nodejs").fails();
    assert!(code == 2 && output.contains("possible values: builtin, bun"), "{output}");
}
