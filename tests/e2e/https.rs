//! HTTPS as an operator asks for it, by flags and in an Edgefile, as curl sees it.

use crate::harness::curl::{Answer, curl};
use crate::harness::port::Port;
use crate::harness::tls::{Identity, Secure, identity};
use crate::harness::{Client, Server, Setup, eventually, tools};
use std::path::PathBuf;

/// Tells by which scheme it was asked, and says HSTS itself below `/own`.
const APP: &str = r#"
def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    told = [environ["REQUEST_METHOD"], environ["wsgi.url_scheme"],
            environ.get("HTTP_X_FORWARDED_PROTO", "-"), environ["wsgi.input"].read(length).decode()]
    fields = [("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/own":
        fields.append(("strict-transport-security", "max-age=5"))
    start_response("200 OK", fields)
    return [" ".join(told).encode()]
"#;

/// A server with a certificate for `a.test` and `localhost`.
struct House {
    server: Server,
    https: Port,
    trusted: PathBuf,
}

impl House {
    fn new(words: &[&str]) -> Self {
        let https = Port::free();
        let setup = Setup::python(APP).workers(1).flag("--https-port", https.number);
        let stem = setup.path("a");
        identity(&["a.test", "localhost"], 100).write(&stem);
        let file = |extension| stem.with_extension(extension).display().to_string();
        let setup = setup.flag("--cert", file("crt")).flag("--key", file("key"));
        let server = words.iter().fold(setup, |setup, word| setup.word(word)).start();
        let trusted = server.path("a.crt");
        Self { server, https, trusted }
    }

    fn secure(&self, target: &str) -> String {
        format!("https://a.test:{}{target}", self.https.number)
    }

    fn plain(&self, target: &str) -> String {
        format!("http://a.test:{}{target}", self.server.port())
    }

    #[track_caller]
    fn curl(&self, words: &[&str]) -> Answer {
        curl(&self.trusted, words)
    }
}

#[test]
fn a_pair_of_files_is_served_and_plain_requests_are_sent_on() {
    let house = House::new(&[]);
    let answer = house.curl(&[&house.secure("/")]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "GET https https "), "{answer:?}");
    assert!(answer.values("strict-transport-security").is_empty(), "nobody asked for it");

    let sent = house.curl(&[&house.plain("/a/b?c=d&e=%20f")]);
    let expected = house.secure("/a/b?c=d&e=%20f");
    assert_eq!((sent.status, sent.field("location")), (301, expected.as_str()), "{sent:?}");
    assert_eq!(house.curl(&["-I", &house.plain("/")]).status, 301);
    let sent = house.curl(&["-d", "body", &house.plain("/x")]);
    assert_eq!((sent.status, sent.field("location")), (308, house.secure("/x").as_str()));
    let sent = house.curl(&["-X", "DELETE", &house.plain("/x")]);
    assert_eq!(sent.status, 308);

    let followed = house.curl(&["-L", "-d", "body", &house.plain("/x")]);
    assert_eq!((followed.status, followed.body.as_str()), (200, "POST https https body"));
    let followed = house.curl(&["-L", &house.plain("/x")]);
    assert_eq!(followed.body, "GET https https ");

    let nobody = house.server.connect().ask_at("127.0.0.1", "GET", "/server");
    assert_eq!((nobody.status, nobody.text().as_str()), (200, "ok"), "asked by address");
    let mut old = house.server.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.response().status, 400, "there is no host to be sent to");
}

#[test]
fn nobody_else_is_believed_and_the_versions_are_those_of_today() {
    let house = House::new(&[]);
    for (words, is_served) in [
        (&["--tlsv1.2", "--tls-max", "1.2"][..], true),
        (&["--tlsv1.3"], true),
        (&["--tls-max", "1.1"], false),
    ] {
        let url = house.secure("/");
        let words = [words, &[url.as_str()]].concat();
        assert_eq!(house.curl(&words).status == 200, is_served, "{words:?}");
    }
    let stranger = house.curl(&[&format!("https://b.test:{}/", house.https.number)]);
    assert_eq!((stranger.code, stranger.status), (60, 0), "{stranger:?}");
}

#[test]
fn browsers_are_told_to_come_back_unless_the_app_says_it() {
    let house = House::new(&["--hsts"]);
    let answer = house.curl(&[&house.secure("/")]);
    assert_eq!(answer.field("strict-transport-security"), "max-age=31536000");
    let answer = house.curl(&[&house.secure("/own")]);
    assert_eq!(answer.field("strict-transport-security"), "max-age=5");
    let answer = house.curl(&[&house.secure("/server")]);
    assert_eq!(answer.field("strict-transport-security"), "max-age=31536000");
    let answer = house.curl(&["-H", "Content-Length: x", &house.secure("/")]);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.field("strict-transport-security"), "max-age=31536000");
    let sent = house.curl(&[&house.plain("/own")]);
    assert!(sent.values("strict-transport-security").is_empty(), "{sent:?}");
}

#[test]
fn both_are_served_where_nobody_is_sent_on() {
    let house = House::new(&["--no-redirect-http"]);
    assert_eq!(house.curl(&[&house.plain("/")]).body, "GET http http ");
    assert_eq!(house.curl(&[&house.secure("/")]).body, "GET https https ");
}

#[test]
fn what_is_told_of_a_server_names_https_first() {
    let house = House::new(&[]);
    let (plain, secure) = (house.server.port(), house.https.number);
    house.server.wait_for_log("server_ready");
    let urls = format!("urls=https://127.0.0.1:{secure}/,http://127.0.0.1:{plain}/");
    assert!(house.server.stderr().contains(&urls), "{}", house.server.stderr());
    let (_, text) = house.server.cli(&["ctl", "config"]);
    let listening = format!("listening on https 127.0.0.1:{secure}, http 127.0.0.1:{plain}");
    assert!(text.contains(&listening), "{text}");
    let (_, text) = house.server.cli(&["status", "--json"]);
    assert!(text.contains(&format!("\"ports\":[{plain},{secure}]")), "{text}");
}

#[test]
fn with_names_only_those_are_served_over_https() {
    let https = Port::free();
    let setup = Setup::entry("app.py@a.test,b").with_file("app.py", APP).workers(1);
    let stem = setup.path("a");
    identity(&["a.test", "b.local", "c.test"], 100).write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    let server = setup
        .flag("--https-port", https.number)
        .flag("--cert", file("crt"))
        .flag("--key", file("key"))
        .word("--no-mdns")
        .start();
    let trusted = server.path("a.crt");
    for (host, status) in [("a.test", 200), ("b.local", 200), ("c.test", 421)] {
        let answer = curl(&trusted, &[&format!("https://{host}:{}/", https.number)]);
        assert_eq!(answer.status, status, "{host}: {answer:?}");
    }
    // A known host on a connection for another one is served.
    let header = ["-H", "Host: b.local"];
    let url = format!("https://a.test:{}/", https.number);
    assert_eq!(curl(&trusted, &[header[0], header[1], &url]).status, 200);
}

/// An Edgefile with an app `api`, that has `edge` in its block of that name, and `rest` behind it.
fn file(edge: &str, rest: &str) -> String {
    format!(
        "version 1\nedge {{\n{edge}\nmdns #false\n}}\n\
         app \"api\" {{ entry \"builtin:hello\"; workers 1 }}\n{rest}"
    )
}

fn site(hosts: &str, tls: &str) -> String {
    format!("site {hosts} {{\n{tls}\nroute \"/*\" {{ to-app \"api\" }}\n}}\n")
}

fn write(setup: &Setup, stem: &str, names: &[&str]) -> Identity {
    let made = identity(names, 100);
    made.write(&setup.path(stem));
    made
}

#[test]
fn sites_have_their_own_certificates_and_some_stay_plain() {
    let https = Port::free();
    let edge = format!(
        "http \"127.0.0.1:PORT\"\nhttps \"127.0.0.1:{}\"\n\
         hsts max-age=\"2h\" include-subdomains=#true",
        https.number
    );
    let own = |stem: &str| format!("tls cert=\"$DIR/{stem}.crt\" key=\"$DIR/{stem}.key\"");
    let rest = [
        site("\"a.test\"", &own("a")),
        site("\"b.test\" \"*.b.test\"", &own("b")),
        site("\"plain.test\"", "tls \"off\""),
    ];
    let setup = Setup::edgefile(&file(&edge, &rest.concat()));
    write(&setup, "a", &["a.test"]);
    write(&setup, "b", &["b.test", "*.b.test"]);
    let server = setup.start();
    let url = |scheme: &str, host: &str| {
        let port = if scheme == "https" { https.number } else { server.port() };
        format!("{scheme}://{host}:{port}/x")
    };
    for (stem, host) in [("a", "a.test"), ("b", "b.test"), ("b", "x.b.test")] {
        let trusted = server.path(&format!("{stem}.crt"));
        let answer = curl(&trusted, &[&url("https", host)]);
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
        let told = answer.field("strict-transport-security");
        assert_eq!(told, "max-age=7200; includeSubDomains");
        let sent = curl(&trusted, &[&url("http", host)]);
        assert_eq!((sent.status, sent.field("location")), (301, url("https", host).as_str()));
    }
    let trusted = server.path("a.crt");
    assert_eq!(curl(&trusted, &[&url("https", "b.test")]).code, 60, "another's certificate");
    assert_eq!(curl(&trusted, &[&url("http", "plain.test")]).status, 200);
    let plain = curl(&trusted, &["-H", "Host: plain.test", &url("https", "a.test")]);
    assert_eq!(plain.status, 200);
    assert!(plain.values("strict-transport-security").is_empty(), "{plain:?}");
    let unknown = ["-H", "Host: unknown.test"];
    let answer = curl(&trusted, &[unknown[0], unknown[1], &url("https", "a.test")]);
    assert_eq!(answer.status, 421, "{answer:?}");
}

#[test]
fn a_reload_adds_and_removes_https_and_old_connections_live_on() {
    let https = Port::free();
    let plain = file("http \"127.0.0.1:PORT\"", &site("\"a.test\"", ""));
    let setup = Setup::edgefile(&plain).word("--no-watch");
    write(&setup, "a", &["a.test"]);
    let server = setup.start();
    assert_eq!(server.get_at("a.test", "/").status, 200);
    let mut kept = server.connect();
    assert_eq!(kept.ask_at("a.test", "GET", "/").status, 200);

    let edge = format!("http \"127.0.0.1:PORT\"\nhttps \"127.0.0.1:{}\"", https.number);
    let without = file(&edge, &site("\"a.test\"", ""));
    let refused = server.refuses_up(&without, "invalid");
    assert!(refused.to_string().contains("nothing to serve HTTPS with"), "{refused}");
    let pair = site("\"a.test\"", "tls cert=\"$DIR/a.crt\" key=\"$DIR/a.key\"");
    let secure = file(&edge, &pair);
    server.save_edgefile(&secure, crate::harness::edgefile::Manner::Renamed);
    let (code, plan) = server.cli(&["plan"]);
    let line = format!("listener added: https 127.0.0.1:{}", https.number);
    assert!(code == 0 && plan.contains(&line) && plan.contains("certificate added"), "{plan}");
    server.take_up(&secure);
    let trusted = server.path("a.crt");
    let url = format!("https://a.test:{}/", https.number);
    assert_eq!(curl(&trusted, &[&url]).status, 200);
    let sent = kept.ask_at("a.test", "GET", "/x");
    assert_eq!(sent.status, 301, "the old connection is sent on as well");
    let mut tls = Secure::connect(https.number, Some("a.test")).unwrap();
    assert_eq!(tls.get("a.test").unwrap(), 200);

    server.take_up(&plain);
    eventually("no HTTPS", || Client::try_connect(https.number).is_err());
    assert_eq!(tls.get("a.test").unwrap(), 200, "who was there is served");
    assert_eq!(kept.ask_at("a.test", "GET", "/").status, 200);
}

#[test]
fn an_address_changes_from_plain_to_secure_and_back() {
    let plain = file("http \"127.0.0.1:PORT\"", &site("\"a.test\"", ""));
    let pair = site("\"a.test\"", "tls cert=\"$DIR/a.crt\" key=\"$DIR/a.key\"");
    let secure = file("http \"off\"\nhttps \"127.0.0.1:PORT\"", &pair);
    let setup = Setup::edgefile(&plain).word("--no-watch");
    write(&setup, "a", &["a.test"]);
    let server = setup.start();
    let mut kept = server.connect();
    let trusted = server.path("a.crt");
    let url = format!("https://a.test:{}/", server.port());
    for _ in 0..3 {
        assert_eq!(kept.ask_at("a.test", "GET", "/").status, 200);
        assert_eq!(curl(&trusted, &[&url]).code, 35, "no TLS is spoken there");
        server.take_up(&secure);
        assert_eq!(curl(&trusted, &[&url]).status, 200);
        assert_eq!(server.get_at("a.test", "/").status, 400, "plain HTTP is not spoken there");
        assert_eq!(kept.ask_at("a.test", "GET", "/").status, 301, "it was accepted as plain");
        server.take_up(&plain);
        assert_eq!(server.get_at("a.test", "/").status, 200);
    }
}

#[test]
fn an_edgefile_is_told_of_before_it_is_started() {
    let (code, output) =
        Setup::edgefile(&file("https \"127.0.0.1:PORT\"", &site("\"a.test\"", ""))).fails();
    assert!(code == 78 && output.contains("nothing to serve HTTPS with"), "{code} {output}");
    let pair = site("\"a.test\"", "tls cert=\"$DIR/a.crt\" key=\"$DIR/b.key\"");
    let setup = Setup::edgefile(&file("https \"127.0.0.1:PORT\"", &pair));
    write(&setup, "a", &["a.test"]);
    write(&setup, "b", &["a.test"]);
    let (code, output) = setup.fails();
    assert!(code == 78 && output.contains("do not belong together"), "{code} {output}");
}

#[test]
fn flags_stand_above_an_edgefile() {
    let https = Port::free();
    let plain = file("http \"127.0.0.1:PORT\"", &site("\"a.test\"", ""));
    let setup = Setup::edgefile(&plain).word("--no-watch");
    write(&setup, "a", &["a.test"]);
    let path = |end: &str| setup.path("a").with_extension(end).display().to_string();
    let (cert, key) = (path("crt"), path("key"));
    let setup = setup.flag("--cert", cert).flag("--key", key);
    let server = setup.flag("--https-port", https.number).start();
    let trusted = server.path("a.crt");
    let url = format!("https://a.test:{}/", https.number);
    assert_eq!(curl(&trusted, &[&url]).status, 200);
    assert_eq!(server.get_at("a.test", "/").status, 301);
    // And so they do after a reload.
    server.take_up(&plain.replace("workers 1", "workers 2"));
    assert_eq!(curl(&trusted, &[&url]).status, 200);
}

#[test]
fn a_machine_makes_its_own_certificates_for_development() {
    let https = Port::free();
    let setup = Setup::builtin("hello").workers(1).word("--auto-tls");
    let server = setup.flag("--https-port", https.number).start();
    let mut client = Secure::connect(https.number, Some("localhost")).unwrap();
    assert_eq!(client.get("localhost").unwrap(), 200);
    let url = format!("https://localhost:{}/", https.number);
    let state = server.path("state");
    let root = tools::finish(
        std::process::Command::new("find").arg(&state).args(["-name", "*.pem", "-path", "*root*"]),
    );
    let listed = String::from_utf8_lossy(&root.stdout).into_owned();
    let believes = listed.lines().any(|path| curl(path.as_ref(), &[&url]).status == 200);
    assert!(believes, "no authority in {listed:?} is believed");
}
