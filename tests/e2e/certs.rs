//! Certificates are served from where they lie, and followed there: whatever becomes of them, no
//! connection ends, and what was good is served until something better is there.

use crate::harness::port::Port;
use crate::harness::tls::{Identity, Secure, identity, leaf};
use crate::harness::{Server, Setup, eventually, tools, until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A server with a pair of files `a` of the flags, and the port of its HTTPS.
fn with_pair(identity: &Identity, words: &[&str]) -> (Server, Port) {
    let port = Port::free();
    let setup = Setup::builtin("hello").workers(1).flag("--https-port", port.number);
    let stem = setup.path("a");
    identity.write(&stem);
    let file = |extension| stem.with_extension(extension).display().to_string();
    let setup = setup.flag("--cert", file("crt")).flag("--key", file("key"));
    let server = words.iter().fold(setup, |setup, word| setup.word(word)).start();
    (server, port)
}

/// A server whose Edgefile has `edge` in its block of that name, and `rest` behind it.
fn with_edgefile(https: u16, edge: &str, rest: &str, prepare: impl FnOnce(&Path)) -> Server {
    let setup = Setup::edgefile(&file(https, edge, rest)).word("--no-watch");
    prepare(&setup.path(""));
    setup.start()
}

fn file(https: u16, edge: &str, rest: &str) -> String {
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\"; https \"127.0.0.1:{https}\"\n{edge} }}\n\
         app \"api\" {{ entry \"builtin:hello\"; workers 1 }}\n{rest}\n"
    )
}

fn site(hosts: &str, tls: &str) -> String {
    format!("site {hosts} {{ {tls}\nroute \"/*\" {{ to-app \"api\" }} }}\n")
}

#[track_caller]
fn wait_for_leaf(port: u16, name: &str, identity: &Identity) {
    eventually("the new leaf", || leaf(port, Some(name)) == identity.fingerprint);
}

/// How often the log says this.
fn count(server: &Server, text: &str) -> usize {
    server.stderr().matches(text).count()
}

#[track_caller]
fn certs(server: &Server) -> Value {
    let (code, text) = server.cli(&["ctl", "certs", "--json"]);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).expect("an answer")
}

#[test]
fn new_handshakes_get_the_new_leaf_and_old_connections_live_on() {
    for words in [&[][..], &["--watch-poll"]] {
        let first = identity(&["localhost", "a.test"], 100);
        let (server, port) = with_pair(&first, words);
        let mut old = Secure::connect(port.number, Some("a.test")).unwrap();
        assert_eq!(old.fingerprint(), first.fingerprint);
        assert_eq!(old.get("a.test").unwrap(), 200);
        let next = identity(&["localhost", "a.test"], 200);
        next.write(&server.path("a"));
        wait_for_leaf(port.number, "a.test", &next);
        assert_eq!(old.get("a.test").unwrap(), 200, "it has not noticed");
        let shown = tools::finish(Command::new("sh").arg("-c").arg(format!(
            "openssl s_client -connect 127.0.0.1:{} -servername a.test </dev/null 2>/dev/null \
             | openssl x509 -noout -fingerprint -sha256",
            port.number
        )));
        let shown = String::from_utf8_lossy(&shown.stdout).replace(':', "").to_ascii_lowercase();
        assert!(shown.contains(&next.fingerprint), "{shown}");
        server.wait_for_log(&format!("fingerprint={}", next.fingerprint));
        assert_eq!(certs(&server)["certs"][0]["fingerprint"], next.fingerprint.as_str());
    }
}

#[test]
fn clients_notice_none_of_many_swaps() {
    let identities: Vec<_> = (0..12).map(|_| identity(&["a.test"], 100)).collect();
    let (server, port) = with_pair(&identities[0], &[]);
    let number = port.number;
    let is_over = AtomicBool::new(false);
    let patience = Instant::now() + Duration::from_secs(60);
    let known = |leaf: &str| identities.iter().any(|one| one.fingerprint == leaf);
    let client = |keeps: bool| {
        let mut asked = 0;
        let mut connection = Secure::connect(number, Some("a.test")).unwrap();
        while !is_over.load(Ordering::Relaxed) && Instant::now() < patience {
            if !keeps {
                connection = Secure::connect(number, Some("a.test")).unwrap();
            }
            assert!(known(&connection.fingerprint()));
            assert_eq!(connection.get("a.test").unwrap(), 200);
            asked += 1;
        }
        asked
    };
    let asked: u64 = std::thread::scope(|scope| {
        let clients = [scope.spawn(|| client(true)), scope.spawn(|| client(false))];
        for next in &identities[1..] {
            next.write(&server.path("a"));
            wait_for_leaf(number, "a.test", next);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.map(|client| client.join().unwrap()).into_iter().sum()
    });
    assert!(asked > 20, "{asked}");
}

#[test]
fn whatever_is_wrong_with_a_pair_the_last_good_one_stays_and_an_event_says_why() {
    let first = identity(&["a.test"], 100);
    let (server, port) = with_pair(&first, &[]);
    let (cert, key) = (server.path("a.crt"), server.path("a.key"));
    let other = identity(&["a.test"], 100);
    let expired = identity(&["a.test"], -5);
    let half = |text: &str| text.get(..text.len() / 2).unwrap().to_owned();
    let faults: [(&str, &dyn Fn()); 6] = [
        ("the certificate is no PEM", &|| fs::write(&cert, half(&other.cert)).unwrap()),
        ("certificate and key do not belong together", &|| {
            fs::write(&cert, &other.cert).unwrap();
        }),
        ("the file has no private key in it", &|| fs::write(&key, "").unwrap()),
        ("the certificate expired on", &|| expired.write(&cert.with_extension(""))),
        ("No such file or directory", &|| fs::remove_file(&key).unwrap()),
        ("it is a directory", &|| fs::create_dir(&key).unwrap()),
    ];
    for (said, spoil) in faults {
        spoil();
        eventually(said, || count(&server, said) == 1);
        assert_eq!(leaf(port.number, Some("a.test")), first.fingerprint, "{said}");
        // Once more looked at, it is no news.
        let (code, text) = server.cli(&["ctl", "certs", "reload"]);
        assert!(code == 1 && text.contains("wrong: ") && text.contains(said), "{text}");
        assert_eq!(count(&server, said), 1, "{said}");
    }
    fs::remove_dir(&key).unwrap();
    let next = identity(&["a.test"], 10);
    next.write(&server.path("a"));
    wait_for_leaf(port.number, "a.test", &next);
    server.wait_for_log("cert_expiring domains=a.test");
    let answer = certs(&server);
    assert!(answer["faults"].as_array().unwrap().is_empty(), "{answer}");
    assert_eq!(count(&server, "cert_failed"), 6, "{}", server.stderr());
    assert!(!server.stderr().contains("kept=false"), "{}", server.stderr());
}

#[test]
fn a_directory_of_pairs_is_followed() {
    let port = Port::free();
    let [one, two, three] = ["one.test", "*.two.test", "v.test"].map(|name| identity(&[name], 90));
    let rest = site("\"one.test\" \"*.two.test\" \"v.test\"", "");
    let server = with_edgefile(port.number, "certs \"$DIR/pairs\"", &rest, |dir| {
        fs::create_dir(dir.join("pairs")).unwrap();
        one.write(&dir.join("pairs/one"));
    });
    let pairs = server.path("pairs");
    assert_eq!(leaf(port.number, Some("one.test")), one.fingerprint);
    two.write(&pairs.join("two"));
    wait_for_leaf(port.number, "deep.two.test", &two);
    // As a cluster mounts secrets.
    fs::create_dir(pairs.join("..1")).unwrap();
    three.write(&pairs.join("..1/tls"));
    symlink("..1", pairs.join("..data")).unwrap();
    symlink("..data/tls.crt", pairs.join("tls.crt")).unwrap();
    symlink("..data/tls.key", pairs.join("tls.key")).unwrap();
    wait_for_leaf(port.number, "v.test", &three);
    let swapped = identity(&["v.test"], 90);
    fs::create_dir(pairs.join("..2")).unwrap();
    swapped.write(&pairs.join("..2/tls"));
    symlink("..2", pairs.join("..data_tmp")).unwrap();
    fs::rename(pairs.join("..data_tmp"), pairs.join("..data")).unwrap();
    fs::remove_dir_all(pairs.join("..1")).unwrap();
    wait_for_leaf(port.number, "v.test", &swapped);
    fs::remove_file(pairs.join("two.key")).unwrap();
    server.wait_for_log("its key is gone");
    assert_eq!(leaf(port.number, Some("deep.two.test")), two.fingerprint);
    fs::remove_file(pairs.join("two.crt")).unwrap();
    wait_for_leaf(port.number, "deep.two.test", &one);
    fs::write(pairs.join("broken.crt"), "").unwrap();
    fs::write(pairs.join("broken.key"), "").unwrap();
    server.wait_for_log("broken.crt reason=\"the file has no certificate in it");
    assert_eq!(leaf(port.number, Some("one.test")), one.fingerprint);
}

#[test]
fn the_name_that_a_client_asks_for_chooses() {
    let port = Port::free();
    let [exact, wild, first] =
        [identity(&["www.a.test"], 90), identity(&["*.a.test"], 90), identity(&["b.test"], 90)];
    let tls = |stem: &str| format!("tls cert=\"$DIR/{stem}.crt\" key=\"$DIR/{stem}.key\"");
    let sites = [
        site("\"b.test\"", &tls("first")),
        site("\"*.a.test\"", &tls("wild")),
        site("\"www.a.test\"", &tls("exact")),
    ];
    let server = with_edgefile(port.number, "", &sites.concat(), |dir| {
        exact.write(&dir.join("exact"));
        wild.write(&dir.join("wild"));
        first.write(&dir.join("first"));
    });
    for (name, expected) in [
        (Some("www.a.test"), &exact),
        (Some("WWW.A.TEST"), &exact),
        (Some("api.a.test"), &wild),
        (Some("x.api.a.test"), &first),
        (Some("else.test"), &first),
        (None, &first),
    ] {
        assert_eq!(leaf(port.number, name), expected.fingerprint, "{name:?}");
    }
    let (code, text) = server.cli(&["ctl", "certs"]);
    assert!(code == 0 && text.lines().count() == 4, "{text}");
    assert!(text.contains("*.a.test    files"), "{text}");
}

#[test]
fn a_reload_with_a_pair_that_cannot_be_used_changes_nothing() {
    let port = Port::free();
    let [one, two] = ["one.test", "two.test"].map(|name| identity(&[name], 90));
    let tls = |stem: &str| format!("tls cert=\"$DIR/{stem}.crt\" key=\"$DIR/{stem}.key\"");
    let first = site("\"one.test\"", &tls("one"));
    let both = format!("{first}{}", site("\"two.test\"", &tls("two")));
    let server = with_edgefile(port.number, "", &first, |dir| one.write(&dir.join("one")));
    let mut old = Secure::connect(port.number, Some("one.test")).unwrap();
    two.write(&server.path("two"));
    fs::write(server.path("two.key"), &one.key).unwrap();
    server.write_edgefile(&file(port.number, "", &both));
    let reloaded = server.reload();
    assert_eq!(reloaded.attempt["code"], "cert_unreadable", "{reloaded:?}");
    assert_eq!(reloaded.attempt["result"], "rejected");
    assert_eq!(leaf(port.number, Some("two.test")), one.fingerprint, "it is nobody's");
    two.write(&server.path("two"));
    let reloaded = server.reload();
    assert_eq!(reloaded.attempt["result"], "applied", "{reloaded:?}");
    assert_eq!(leaf(port.number, Some("two.test")), two.fingerprint, "at once");
    // What fails behind it takes its certificates with it.
    let dies = "app \"x\" { command \"sh\" \"-c\" \"exit 3\"; workers 1; hosts \"x.test\" }\n";
    let three = identity(&["three.test"], 90);
    three.write(&server.path("three"));
    let more = format!("{both}{}{dies}", site("\"three.test\"", &tls("three")));
    server.write_edgefile(&file(port.number, "", &more));
    let reloaded = server.reload();
    assert_eq!(reloaded.attempt["code"], "app_not_ready", "{reloaded:?}");
    assert_ne!(leaf(port.number, Some("three.test")), three.fingerprint);
    let (code, text) = server.cli(&["ctl", "rollback"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(leaf(port.number, Some("two.test")), one.fingerprint, "as it was");
    assert_eq!(old.get("one.test").unwrap(), 200, "it has lived through all of it");
}

#[test]
fn a_start_with_a_pair_that_cannot_be_used_exits_78_before_it_listens() {
    let port = Port::free();
    let setup = Setup::builtin("hello").flag("--https-port", port.number);
    let (one, other) = (identity(&["a.test"], 90), identity(&["a.test"], 90));
    one.write(&setup.path("a"));
    fs::write(setup.path("a.key"), &other.key).unwrap();
    let file = |name: &str| setup.path(name).display().to_string();
    let (cert, key) = (file("a.crt"), file("a.key"));
    let (code, text) = setup.flag("--cert", cert).flag("--key", key).fails();
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("certificate and key do not belong together"), "{text}");
}

#[test]
fn the_local_authority_is_believed_by_those_who_are_told_and_outlives_the_master() {
    let port = Port::free();
    let states = std::env::temp_dir().join(format!("rip-e2e-auto-{}", port.number));
    let start = || {
        let setup = Setup::builtin("hello").workers(1).flag("--https-port", port.number);
        setup.word("--auto-tls").env("STATE_DIRECTORY", &states).start()
    };
    let mut server = start();
    let ca = states.join("certs/rootCA.pem");
    let path = ca.display().to_string();
    server.wait_for_log(&format!("cert_authority path={path} made=true"));
    server.wait_for_log(&format!("curl --cacert {path}"));
    let mode =
        |name: &str| fs::metadata(ca.with_file_name(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("rootCA.pem"), mode("rootCA-key.pem")), (0o644, 0o600));
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/", port.number);
        let got = tools::finish(Command::new("curl").args(["-sS", "--cacert", &path, &url]));
        assert!(got.status.success(), "{}", tools::both(&got));
        let got = tools::finish(Command::new("curl").args(["-sS", &url]));
        assert!(!got.status.success(), "nobody else believes it");
        let program = format!("import urllib.request as u; print(u.urlopen('{url}').status)");
        let mut python = Command::new(tools::python());
        let got = tools::finish(python.args(["-c", &program]).env("SSL_CERT_FILE", &path));
        assert_eq!(tools::both(&got).trim(), "200", "{host}");
    }
    let (code, text) = server.cli(&["ctl", "certs", "trust"]);
    assert!(code == 0 && text.contains(&format!("curl --cacert {path}")), "{text}");
    let (code, text) = server.cli(&["ctl", "certs", "renew", "localhost"]);
    assert!(code == 1 && text.contains("made by the server itself"), "{text}");
    let (code, text) = server.cli(&["add", "shop.test"]);
    assert_eq!(code, 0, "{text}");
    let mut shop = Command::new("curl");
    shop.args(["-sS", "--cacert", &path, &format!("https://shop.test:{}/", port.number)]);
    let got =
        tools::finish(shop.arg("--resolve").arg(format!("shop.test:{}:127.0.0.1", port.number)));
    assert!(got.status.success(), "a host that is added has one too: {}", tools::both(&got));
    let before = fs::read(&ca).unwrap();
    assert_eq!(server.stop(), 0);
    let server = start();
    assert_eq!(fs::read(&ca).unwrap(), before, "those who believe it need not be told again");
    server.wait_for_log(&format!("cert_authority path={path} made=false"));
    let url = format!("https://localhost:{}/", port.number);
    let got = tools::finish(Command::new("curl").args(["-sS", "--cacert", &path, &url]));
    assert!(got.status.success(), "{}", tools::both(&got));
    drop(server);
    fs::remove_dir_all(&states).unwrap();
}

#[test]
fn the_authority_of_mkcert_is_used_where_there_is_one() {
    let port = Port::free();
    let setup = Setup::builtin("hello").workers(1).flag("--https-port", port.number);
    let root = setup.path("mkcert");
    fs::create_dir(&root).unwrap();
    // As mkcert makes it: an RSA key of 3072 bits.
    let made = tools::finish(Command::new("openssl").current_dir(&root).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:3072",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/O=mkcert development CA/CN=mkcert",
        "-addext",
        "basicConstraints=critical,CA:TRUE,pathlen:0",
        "-addext",
        "keyUsage=critical,keyCertSign",
        "-keyout",
        "rootCA-key.pem",
        "-out",
        "rootCA.pem",
    ]));
    assert!(made.status.success(), "{}", tools::both(&made));
    let server = setup.word("--auto-tls").start();
    let ca = root.join("rootCA.pem").display().to_string();
    server.wait_for_log(&format!("cert_authority path={ca} made=false"));
    let url = format!("https://localhost:{}/", port.number);
    let got = tools::finish(Command::new("curl").args(["-sS", "--cacert", &ca, &url]));
    assert!(got.status.success(), "{}", tools::both(&got));
    assert!(!server.path("state/certs/rootCA.pem").exists());
}

#[test]
fn orders_that_concern_certificates_are_answered_when_they_are_done() {
    let first = identity(&["a.test"], 100);
    let (server, port) = with_pair(&first, &["--watch-poll"]);
    let next = identity(&["a.test"], 100);
    next.write(&server.path("a"));
    let (code, text) = server.cli(&["ctl", "certs", "reload", "--json"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(leaf(port.number, Some("a.test")), next.fingerprint, "at once");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let record = &answer["certs"][0];
    assert_eq!(record["source"], "manual");
    assert_eq!(record["domains"], serde_json::json!(["a.test"]));
    assert_eq!(record["certPath"], server.path("a.crt").to_str().unwrap());
    let (code, text) = server.cli(&["ctl", "certs", "renew", "a.test"]);
    assert!(code == 1 && text.contains("comes from files"), "{text}");
    let (code, text) = server.cli(&["ctl", "certs", "renew", "b.test"]);
    assert!(code == 1 && text.contains("there is no certificate for 'b.test'"), "{text}");
    let (code, text) = server.cli(&["ctl", "certs", "trust"]);
    assert!(code == 1 && text.contains("no certificate is made by a local authority"), "{text}");
    let (code, text) = server.cli(&["ctl", "certs"]);
    assert!(code == 0 && text.contains("99d") || text.contains("100d"), "{text}");
    until("the event", || {
        let (_, text) = server.cli(&["ctl", "events"]);
        text.contains("cert_loaded").then_some(())
    });
}
