use super::*;
use crate::cli::args::{Cli, Unread, Verb};
use crate::cli::entry::tests::Tree;
use crate::cli::port::Rights;
use rcgen::generate_simple_self_signed;

fn world(tree: &Tree) -> World {
    World {
        places: tree.places(),
        rights: Rights { unprivileged_from: 0, bind_service: true, change_user: false },
        port: None,
        ..World::seen_from(tree.places().cwd)
    }
}

fn start(line: &str) -> Result<Start, Failure> {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match Cli::read(&arguments) {
        Ok(Cli { verb: Verb::Start(start) }) => Ok(*start),
        Ok(other) => panic!("{other:?}"),
        Err(Unread::Grammar(error)) => Err(Failure::usage(error.to_string())),
        Err(Unread::Token(failure)) => Err(failure),
    }
}

/// A pair of files for `name`.
fn put_pair(tree: &Tree, stem: &str) {
    let pair = generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let place = |end: &str| tree.places().cwd.join(format!("{stem}.{end}"));
    std::fs::write(place("crt"), pair.cert.pem()).unwrap();
    std::fs::write(place("key"), pair.signing_key.serialize_pem()).unwrap();
}

#[test]
fn https_is_tried_where_there_is_something_to_serve_it_with() {
    let tree = Tree::new("https-ports", &["app.py"]);
    let mut world = world(&tree);
    let choose = |line: &str, has_source: bool, world: &World| {
        let found = Ports::choose(&start(line)?, world, has_source)?;
        Ok::<_, Failure>((found.http, found.https))
    };
    for (line, plain, secure) in [
        ("start", (Some(80), None), (Some(80), Some(443))),
        ("start http", (Some(80), None), (Some(80), None)),
        ("start http:8080", (Some(8080), None), (Some(8080), None)),
        ("start 8443", (Some(8443), None), (None, Some(8443))),
        ("start 443", (Some(443), None), (Some(80), Some(443))),
        ("start http 8443", (Some(8443), None), (Some(8443), None)),
        ("start --port 8080", (Some(8080), None), (Some(8080), Some(443))),
    ] {
        assert_eq!(choose(line, false, &world).unwrap(), plain, "{line}");
        assert_eq!(choose(line, true, &world).unwrap(), secure, "{line}");
    }
    for (line, secure) in [
        ("start https", (Some(80), Some(443))),
        ("start https:8443", (None, Some(8443))),
        ("start https 8443", (None, Some(8443))),
        ("start --https-port 8443", (None, Some(8443))),
        ("start http:8080 https:8443", (Some(8080), Some(8443))),
        ("start http:8080 https", (Some(8080), Some(443))),
    ] {
        assert_eq!(choose(line, true, &world).unwrap(), secure, "{line}");
        let failure = choose(line, false, &world).unwrap_err();
        assert_eq!((failure.exit.code(), failure.tips.len()), (2, 3), "{line}");
        assert!(failure.message.starts_with("https needs a certificate"), "{line}");
    }
    for line in ["start http:8080 9000", "start https:8443 9000", "start https:8443 http:8443"] {
        assert_eq!(choose(line, true, &world).unwrap_err().exit.code(), 2, "{line}");
    }
    world.port = Some("5000".to_owned());
    for (line, has_source, expected) in [
        ("start", false, (Some(5000), None)),
        ("start", true, (Some(5000), Some(443))),
        ("start http", true, (Some(5000), None)),
        ("start https:8443", true, (Some(5000), Some(8443))),
        ("start 8443", true, (None, Some(8443))),
        ("start http:8080", true, (Some(8080), None)),
    ] {
        assert_eq!(choose(line, has_source, &world).unwrap(), expected, "{line}");
    }
}

#[test]
fn the_right_that_is_missing_is_named() {
    let tree = Tree::new("https-rights", &["app.py"]);
    let rights = Rights { unprivileged_from: 1024, bind_service: false, change_user: false };
    let world = World { rights, ..world(&tree) };
    let start = start("start").unwrap();
    let failure = addresses(Some(443), Protocol::Https, &start, &world).unwrap_err();
    assert_eq!(failure.exit.code(), 77);
    assert!(failure.message.starts_with("port 443 needs CAP_NET_BIND_SERVICE"));
    assert_eq!(failure.tips[0], "use another port: https:8443");
    assert!(addresses(Some(8443), Protocol::Https, &start, &world).is_ok());
}

#[test]
fn a_pair_of_files_is_looked_at() {
    let tree = Tree::new("https-pair", &["app.py", "directory/"]);
    let world = world(&tree);
    put_pair(&tree, "one");
    put_pair(&tree, "two");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(tree.places().cwd.join("secret.key"), encrypted).unwrap();
    let flags = |line: &str| flags(&start(line)?, &world);
    let found = flags("start --cert one.crt --key one.key --no-redirect-http --hsts").unwrap();
    let cert = found.cert.clone().unwrap();
    let cwd = tree.places().cwd;
    assert_eq!(cert.cert_path, cwd.join("one.crt").to_str().unwrap());
    assert_eq!(cert.key_path, cwd.join("one.key").to_str().unwrap());
    assert_eq!(found.redirect_http, Some(false));
    assert_eq!(found.hsts.unwrap().max_age, Hsts::MAX_AGE);
    assert_eq!(found.mdns, None);
    assert!(found.has_source());
    for (line, code, said) in [
        ("start --cert one.crt", 2, "--cert needs --key as well"),
        ("start --key one.key", 2, "--key needs --cert as well"),
        ("start --cert no.crt --key one.key", 78, "--cert 'no.crt' cannot be read: "),
        ("start --cert directory --key one.key", 78, "--cert 'directory' cannot be read: "),
        ("start --cert one.crt --key two.key", 78, "one.crt: "),
        ("start --cert one.key --key one.crt", 78, "one.key: "),
        ("start --cert one.crt --key secret.key", 78, "secret.key: the key is encrypted"),
    ] {
        let failure = flags(line).unwrap_err();
        assert_eq!(failure.exit.code(), code, "{line}");
        assert!(failure.message.starts_with(said), "{line}: {}", failure.message);
    }
}

#[test]
fn an_authority_is_asked_for_public_hosts() {
    let tree = Tree::new("https-acme", &["app.py"]);
    let world = world(&tree);
    put_pair(&tree, "ca");
    let flags = |line: &str| flags(&start(line)?, &world);
    let found = flags(
        "start --acme-domain A.example.com,b.example.com --acme-domain a.example.com. \
         --acme-email you@example.com --acme-directory https://ca.test/dir --acme-ca ca.crt",
    );
    let found = found.unwrap();
    assert_eq!(found.acme_hosts, ["a.example.com", "b.example.com"]);
    let acme = found.acme.clone().unwrap();
    assert_eq!(acme.email.as_deref(), Some("you@example.com"));
    assert_eq!(acme.directory, "https://ca.test/dir");
    assert!(acme.ca.unwrap().ends_with("/ca.crt"));
    assert!(check_acme(&found, &found.acme_hosts).is_ok());
    assert_eq!(check_acme(&found, &[]).unwrap_err().exit.code(), 2);
    let directory = |line| flags(line).unwrap().acme.unwrap().directory;
    assert_eq!(directory("start --acme"), AcmeConfig::LETS_ENCRYPT);
    assert_eq!(directory("start --acme --acme-staging"), AcmeConfig::LETS_ENCRYPT_STAGING);
    assert_eq!(flags("start").unwrap(), HttpsFlags::default());
    for (line, said) in [
        ("start --acme-staging", "--acme-staging needs --acme"),
        ("start --acme-email a@b.c", "--acme-email needs --acme"),
        ("start --acme --acme-staging --acme-directory https://x.test/", "--acme-staging and"),
        ("start --acme-domain localhost", "no authority makes a certificate for 'localhost'"),
        ("start --acme-domain *.example.com", "no authority makes"),
        ("start --acme-domain a_b.example.com", "--acme-domain 'a_b.example.com' is not"),
        ("start --acme --acme-directory http://x.test/", "error: invalid value"),
        ("start --acme --acme-email you", "error: invalid value"),
    ] {
        let failure = flags(line).unwrap_err();
        assert_eq!(failure.exit.code(), 2, "{line}");
        assert!(failure.message.starts_with(said), "{line}: {}", failure.message);
    }
}

#[test]
fn names_that_are_said_are_served_over_https_and_no_others() {
    let tree = Tree::new("https-names", &["app.py"]);
    put_pair(&tree, "a");
    let world = world(&tree);
    let hosts = |line: &str| {
        let settings = crate::cli::start::settings(&start(line).unwrap(), &world).unwrap();
        let config = settings.config;
        let hosts: Vec<String> = config.routes.iter().map(|rule| rule.host.clone()).collect();
        (hosts, config.acme_hosts, config.auto_hosts, config.certs.len())
    };
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let own = ["localhost", "127.0.0.1", "[::1]"];
    let pair = "--cert a.crt --key a.key";
    assert_eq!(hosts(&format!("start . {pair}")), (of(&["*"]), vec![], vec![], 1));
    let line = format!("start .@a.example.com,b {pair}");
    assert_eq!(hosts(&line), (of(&["a.example.com", "b.local"]), vec![], vec![], 1));
    let line = format!("start .@a.example.com {pair} http:8080");
    assert_eq!(hosts(&line), (of(&["*"]), vec![], vec![], 0), "plain HTTP is not about names");
    assert_eq!(hosts("start . --auto-tls"), (of(&["*"]), vec![], of(&own), 0));
    let names = [&["b.local"][..], &own].concat();
    assert_eq!(hosts("start .@b --auto-tls"), (of(&names), vec![], of(&names), 0));
    let line = format!("start .@b {pair} --auto-tls");
    let names = [&["b.local"][..], &own, &["a.test"]].concat();
    assert_eq!(hosts(&line), (of(&names), vec![], of(&names[..4]), 1), "each has its own");
    let line = "start .@a.example.com,b --acme-domain c.example.com --acme";
    let names = ["a.example.com", "b.local", "c.example.com"];
    assert_eq!(hosts(line), (of(&names), of(&["c.example.com"]), vec![], 0));
    let line = "start .@a.example.com,b --acme";
    assert_eq!(hosts(line), (of(&names[..2]), of(&names[..1]), vec![], 0));
    let settings = crate::cli::start::settings(&start("start . --acme").unwrap(), &world);
    assert!(settings.unwrap_err().message.starts_with("--acme has no public host"));
    let nothing = start("start . https:8443").unwrap();
    let failure = crate::cli::start::settings(&nothing, &world).unwrap_err();
    assert!(failure.message.starts_with("https needs a certificate"));
}
