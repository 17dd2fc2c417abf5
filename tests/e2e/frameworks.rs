//! Apps of real frameworks, unmodified: one list of promises for all of them.

use crate::harness::conformance::{Can, conform};
use crate::harness::{Setup, tools};

/// What the Python apps say when they fail on purpose.
const MISTAKE: &str = "a mistake made on purpose";

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
