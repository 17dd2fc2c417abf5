//! Files as a browser shows them.

use crate::harness::{Server, Setup, tools};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Runs a script of tests/browser against a server.
#[track_caller]
pub fn browse(script: &str, server: &Server) {
    let modules = tools::cache().join("node/node_modules");
    assert!(
        modules.join("playwright-core").exists(),
        "playwright-core is missing: run scripts/setup"
    );
    let mut node = Command::new("node");
    node.arg(tools::repository().join("tests/browser").join(script))
        .arg(format!("http://127.0.0.1:{}/", server.port()))
        .env("NODE_PATH", modules)
        .env("HOME", server.path("app"));
    let output = tools::finish_within(&mut node, Duration::from_secs(120));
    assert!(output.status.success(), "{}\n{}", tools::both(&output), server.log());
}

#[test]
fn a_listing_is_walked_through() {
    let server = Setup::files(|site| {
        fs::create_dir_all(site.join("folder/deep")).unwrap();
        fs::write(site.join("folder/inner.txt"), "inner").unwrap();
        fs::write(site.join("a&b #1?.txt"), "and").unwrap();
        fs::write(site.join("ä ö.txt"), "umlauts").unwrap();
        fs::write(site.join("<img src=x onerror=alert(1)>"), "x").unwrap();
    })
    .start();
    browse("listing.cjs", &server);
    // It asked whether a page that it had seen has changed.
    server.wait_for_log("│ 304");
}
