//! PHP, unmodified, by the program for FastCGI that there is.

use crate::harness::Setup;
use crate::harness::conformance::{Can, conform};

const MISTAKE: &str = "a mistake made on purpose";

/// Sessions are files: where the test can clear them away.
fn php() -> Setup {
    let setup = Setup::framework("php");
    let place = setup.path("sessions");
    std::fs::create_dir(&place).expect("a directory for sessions");
    let settings = format!("session.save_path = {:?}\n", place.to_str().expect("a path in UTF-8"));
    std::fs::write(place.join("test.ini"), settings).expect("PHP's settings");
    setup.env("PHP_INI_SCAN_DIR", format!(":{}", place.display()))
}

#[test]
fn php_is_served() {
    conform(php().workers(2).start(), &Can::web(MISTAKE));
}

#[test]
fn php_has_a_process_for_each_request_at_once() {
    conform(php().workers(2).concurrency(3).start(), &Can::web(MISTAKE));
}
