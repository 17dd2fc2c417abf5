//! The page that shows the server, as a browser shows it.

use crate::harness::{Setup, tools};
use std::fs;
use std::process::Command;
use std::time::Duration;

#[test]
fn the_dashboard_is_looked_at_and_used_in_a_browser() {
    let server = Setup::builtin("crash")
        .workers(2)
        .flag("--dashboard", "panel.localhost")
        .flag("--restart-backoff-ms", 20)
        .start();
    server.wait_for_workers(2);
    let pictures = server.path("pictures");
    fs::create_dir(&pictures).expect("a directory for pictures");
    let mut node = Command::new("node");
    node.arg(tools::repository().join("tests/browser/dashboard.cjs"))
        .arg(format!("http://rip.local:{}/", server.port()))
        .arg(format!("http://panel.localhost:{}/", server.port()))
        .arg(server.pid().to_string())
        .arg(&pictures)
        .env("NODE_PATH", tools::cache().join("node/node_modules"))
        .env("HOME", server.path("app"))
        .env("RIP_MASTER", env!("CARGO_BIN_EXE_rip-master"))
        .env("RIP_NAME", server.name())
        .env("RIP_RUNTIME", server.path("run"));
    let output = tools::finish_within(&mut node, Duration::from_secs(240));
    assert!(output.status.success(), "{}\n{}", tools::both(&output), server.log());
    if let Ok(kept) = std::env::var("RIP_KEEP_PICTURES") {
        for picture in fs::read_dir(&pictures).expect("the pictures").flatten() {
            let _ = fs::copy(picture.path(), std::path::Path::new(&kept).join(picture.file_name()));
        }
    }
    assert!(!server.log().contains("planted-8d2f"), "{}", server.log());
}
