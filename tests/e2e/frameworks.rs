//! Apps of real frameworks, unmodified: one list of promises for all of them.

use crate::harness::conformance::{Can, conform};
use crate::harness::{Setup, tools};

/// What the Python apps say when they fail on purpose.
const MISTAKE: &str = "a mistake made on purpose";

/// What the asynchronous ones can.
const WEBSOCKET: Can = Can { websocket: true, ..Can::web(MISTAKE) };

#[test]
fn flask() {
    conform(Setup::framework("flask").workers(2).start(), &Can::web(MISTAKE));
}

#[test]
fn flask_by_its_file() {
    let setup = Setup::framework_entry("flask", "app.py:app").workers(2);
    conform(setup.start(), &Can::web(MISTAKE));
}

#[test]
fn flask_under_gunicorn() {
    let gunicorn = tools::venv("gunicorn");
    let argv = [&gunicorn, "--threads", "4", "app:app"];
    let can = Can { origin: false, ..Can::web(MISTAKE) };
    conform(Setup::framework_command("flask", &argv).workers(2).start(), &can);
}

/// By its own development server, on a port of its own.
#[test]
fn flask_on_a_port() {
    let argv = [&tools::venv("flask"), "run", "--port", "{port}"];
    let can = Can { origin: false, ..Can::web(MISTAKE) };
    let setup = Setup::framework_command("flask", &argv).flag("--listen", "port");
    conform(setup.workers(2).start(), &can);
}

#[test]
fn flask_in_threads() {
    let setup = Setup::framework("flask").workers(2).concurrency(8);
    conform(setup.start(), &Can::web(MISTAKE));
}

#[test]
fn django() {
    conform(Setup::framework("django").workers(2).start(), &Can::web(MISTAKE));
}

#[test]
fn django_in_threads() {
    let setup = Setup::framework("django").workers(2).concurrency(8);
    conform(setup.start(), &Can::web(MISTAKE));
}

#[test]
fn fastapi() {
    conform(Setup::framework("fastapi").workers(2).start(), &WEBSOCKET);
}

#[test]
fn fastapi_with_several_requests_at_once() {
    let setup = Setup::framework_entry("fastapi", "app:app").workers(2).concurrency(8);
    conform(setup.start(), &WEBSOCKET);
}

#[test]
fn starlette() {
    conform(Setup::framework("starlette").workers(2).start(), &WEBSOCKET);
}

/// Its own server, on the descriptor and on the path.
#[test]
fn aiohttp() {
    let python = tools::python();
    let can = Can { websocket: true, session: false, origin: false, ..Can::web(MISTAKE) };
    conform(Setup::framework_command("aiohttp", &[&python, "app.py"]).workers(2).start(), &can);
    let argv = [&python, "-m", "aiohttp.web", "-U", "{socket}", "app:make"];
    let setup = Setup::framework_command("aiohttp", &argv).flag("--listen", "path");
    conform(setup.workers(2).start(), &can);
}

#[test]
fn sinatra() {
    conform(Setup::framework("sinatra").workers(2).start(), &Can::web(MISTAKE));
}

#[test]
fn rack_in_threads() {
    conform(Setup::framework("rack").workers(2).concurrency(4).start(), &Can::web(MISTAKE));
}

#[test]
fn perl_as_cgi() {
    let setup = Setup::framework_entry("perl-cgi", "app.cgi");
    let can = Can { session: false, ..Can::web(MISTAKE) };
    conform(setup.workers(2).start(), &can);
}

#[test]
fn a_shell_as_cgi() {
    let setup = Setup::framework_entry("shell-cgi", "app.cgi");
    let can = Can { forms: false, session: false, ..Can::web(MISTAKE) };
    conform(setup.workers(2).start(), &can);
}

/// The example in Rust, which takes its listener as any server does that knows socket activation.
#[test]
fn axum() {
    let can = Can { websocket: true, session: false, ..Can::web(MISTAKE) };
    conform(Setup::command(&[&tools::rust_example("axum")]).workers(2).start(), &can);
}
