//! Files as an Edgefile describes them.

use crate::harness::{Server, Setup};
use crate::static_browser::browse;
use std::fs;
use std::path::Path;

const PAGE: &str = r#"<!doctype html><title>app</title><link rel="stylesheet" href="/app.css">
<a href="/settings/profile">settings</a><p id="view"></p><script src="/app.js"></script>"#;
const SCRIPT: &str = r#"
const show = () => { document.getElementById("view").textContent = `at ${location.pathname}`; };
document.querySelector("a").addEventListener("click", (event) => {
  event.preventDefault();
  history.pushState(null, "", event.target.href);
  show();
});
addEventListener("popstate", show);
show();
"#;

/// A server whose directory `site` is filled by `make`, and described by the site's `routes`.
fn server(routes: &str, make: impl FnOnce(&Path)) -> Server {
    let text =
        format!("version 1\nedge {{ http \"127.0.0.1:PORT\" }}\nsite \"*\" {{\n{routes}\n}}\n");
    let setup = Setup::edgefile(&text);
    let site = setup.path("site");
    fs::create_dir_all(&site).unwrap();
    make(&site);
    setup.start()
}

#[test]
fn an_application_of_one_page_is_at_every_address() {
    let server = server("route \"/*\" { static \"$DIR/site\" spa=\"index.html\" }", |site| {
        fs::write(site.join("index.html"), PAGE).unwrap();
        fs::write(site.join("app.js"), SCRIPT).unwrap();
        fs::write(site.join("app.css"), "p { color: green }").unwrap();
    });
    browse("spa.cjs", &server);
}

#[test]
fn a_mount_and_its_words() {
    let routes = "route \"/assets/*\" { static \"$DIR/site\" cache-control=\"max-age=60\" dotfiles=#true\n\
                  headers { response { set X-Site=\"mine\" } } }\n\
                  route \"/list/*\" { static \"$DIR/site\" browse=#true index=\"none.html\" }";
    let server = server(routes, |site| {
        fs::write(site.join("a.txt"), "a").unwrap();
        fs::write(site.join(".dot"), "dot").unwrap();
    });
    let answer = server.get("/assets/a.txt");
    assert_eq!((answer.text().as_str(), answer.field("Cache-Control")), ("a", "max-age=60"));
    assert_eq!(answer.field("X-Site"), "mine");
    assert_eq!(server.get("/assets/.dot").text(), "dot");
    assert_eq!(server.get("/assets/").status, 404);
    assert_eq!(server.get("/list/.dot").status, 404);
    let page = server.get("/list/").text();
    assert!(page.contains("Index of /list/") && page.contains("a.txt"), "{page}");
    assert_eq!(server.get("/a.txt").status, 404);
}
