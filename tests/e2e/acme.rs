//! Certificates from a real ACME authority: Pebble, on this machine.

use crate::harness::pebble::Pebble;
use crate::harness::port::Port;
use crate::harness::renewal_stub::RenewalStub;
use crate::harness::tls::Secure;
use crate::harness::{Server, Setup, eventually, tools, until, within};
use instant_acme::{Account, AccountCredentials, RevocationRequest};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer, X509Certificate};

const HOST: &str = "shop.test";
const DAYS: Duration = Duration::from_secs(90 * 24 * 3600);
/// The first retry of who finds no authority comes after ten seconds, the second twenty later.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_certificate_is_got_over_tls_alone_and_clients_believe_it() {
    let mut world = World::new(DAYS);
    world.pebble.start();
    let server = world.serve(&[HOST]);
    let seen = world.wait_for_certificate(HOST);
    world.curl(HOST);
    let told = cert_renewed(&server, HOST);
    assert!(told.contains("challenge=tls-alpn-01"), "{told}");
    // What is on the disk, and who may read it.
    let certs = world.path("state/certs");
    for (name, mode) in
        [("account.json", 0o600), ("shop.test/key.pem", 0o600), ("shop.test/cert.pem", 0o644)]
    {
        let found = fs::metadata(certs.join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let (code, text) = server.cli(&["ctl", "certs", "--json"]);
    assert_eq!(code, 0, "{text}");
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let told = told["certs"].as_array().expect("certificates").first().expect("one").clone();
    assert_eq!(told["source"], "acme", "{told}");
    assert_eq!(told["lastRenewResult"], "ok", "{told}");
    assert_eq!(told["notAfter"], seen.not_after, "{told}");
    // What was shown is taken back.
    let gone = server.get("/.well-known/acme-challenge/anything");
    assert_ne!(gone.status, 200);
}

#[test]
fn where_tls_cannot_be_reached_plain_http_shows_the_name_and_is_remembered() {
    let closed = Port::free();
    let mut world = World::with_ports(DAYS, |_| closed.number);
    world.pebble.start();
    let server = world.serve(&[HOST]);
    world.wait_for_certificate(HOST);
    let told = cert_renewed(&server, HOST);
    assert!(told.contains("challenge=http-01"), "{told}");
    let orders = world.orders();
    assert_eq!(orders, 2, "one for each challenge");
    // The next one begins with what worked.
    renew(&server, HOST);
    assert_eq!(world.orders(), orders + 1);
}

#[test]
fn a_certificate_is_renewed_in_its_last_third_and_old_connections_live_on() {
    let mut world = World::new(Duration::from_secs(45));
    world.pebble.start();
    let server = world.serve(&[HOST]);
    let first = world.wait_for_certificate(HOST);
    let mut old = Secure::connect(world.secure.number, Some(HOST)).expect("a connection");
    assert_eq!(old.get(HOST).expect("an answer"), 200);
    let second = world.wait_for_other(HOST, &first);
    assert!(second.not_after > first.not_after);
    let now = i64::try_from(unix_now()).expect("seconds");
    assert!(now < first.not_after, "the old one was still good");
    assert_eq!(Seen::of(&old.certificate()), first);
    assert_eq!(old.get(HOST).expect("an answer"), 200, "the old connection lives on");
    assert!(!server.log().contains("cert_failed"), "{}", server.log());
    assert_eq!(world.orders(), 2);
}

#[test]
fn a_revoked_certificate_is_replaced_when_it_is_asked_for() {
    let mut world = World::new(DAYS);
    world.pebble.start();
    let server = world.serve(&[HOST]);
    let first = world.wait_for_certificate(HOST);
    world.revoke(&first);
    assert_eq!(world.pebble.status_of(&first.serial)["Status"], "Revoked");
    renew(&server, HOST);
    let second = world.seen(HOST).expect("a certificate");
    assert_ne!(first.serial, second.serial);
    assert_eq!(world.pebble.status_of(&second.serial)["Status"], "Valid");
    world.curl(HOST);
}

#[test]
fn an_authority_that_refuses_good_nonces_is_asked_again() {
    let mut world = World::new(DAYS);
    world.pebble.env("PEBBLE_WFE_NONCEREJECT", 80);
    world.pebble.start();
    let server = world.serve(&[HOST]);
    world.wait_for_certificate(HOST);
    // One each is needed; four of five are refused.
    let needed = ["/sign-me-up", "/order-plz", "/authZ/", "/chalZ/", "/finalize-order/", "/certZ/"];
    let asked: usize = needed.iter().map(|path| world.pebble.asked(path)).sum();
    assert!(asked > needed.len(), "{asked} posts");
    assert_eq!((world.pebble.accounts(), world.orders()), (1, 1));
    assert!(!server.log().contains("cert_failed"), "{}", server.log());
}

#[test]
fn without_the_authority_the_server_starts_serves_and_gets_its_certificate_later() {
    let mut world = World::new(DAYS);
    let server = world.serve(&[HOST]);
    assert!(server.get_at(HOST, "/").status < 400);
    let temporary = world.seen(HOST).expect("a certificate of its own");
    assert!(!is_pebbles(&temporary), "{temporary:?}");
    server.wait_for_log("cert_failed");
    world.pebble.start();
    world.wait_for_certificate(HOST);
    cert_renewed(&server, HOST);
}

#[test]
fn an_authority_that_is_gone_at_renewal_is_waited_for_while_the_old_one_is_served() {
    let mut world = World::new(Duration::from_secs(45));
    world.pebble.start();
    let server = world.serve(&[HOST]);
    let first = world.wait_for_certificate(HOST);
    world.pebble.stop();
    within(PATIENCE, || server.log().contains("cert_failed").then_some(()))
        .expect("a failure told");
    assert!(server.log().contains("kept=true"), "{}", server.log());
    assert_eq!(world.seen(HOST).as_ref(), Some(&first));
    // It comes back and has forgotten everything, our account as well.
    world.pebble.start();
    let second = world.wait_for_other(HOST, &first);
    let now = i64::try_from(unix_now()).expect("seconds");
    assert!(now < first.not_after, "in time");
    world.curl(HOST);
    assert_ne!(first.issuer, second.issuer, "another root");
}

#[test]
fn a_name_that_is_not_ours_is_told_of_in_the_authoritys_own_words() {
    let mut world = World::new(DAYS);
    world.pebble.start();
    let server = world.serve(&[HOST, "shop.nowhere.test"]);
    world.wait_for_certificate(HOST);
    let line = until("a failure told", || {
        let log = server.stderr();
        log.lines().find(|line| line.contains("cert_failed")).map(str::to_owned)
    });
    assert!(line.contains("shop.nowhere.test") && !line.contains("\"shop.test\""), "{line}");
    assert!(line.contains("tls-alpn-01: ") && line.contains("http-01: "), "both: {line}");
    assert!(line.contains("nowhere.test") && line.contains("kept=false"), "{line}");
    let retry = line.split("retryMs=").nth(1).expect("the pause").trim();
    let retry: u64 = retry.parse().expect("a number");
    assert!((3_600_000..4_000_000).contains(&retry), "{line}");
    // It is not tried again before that, not by a restart either.
    let orders = world.orders();
    assert_eq!(orders, 3);
    drop(server);
    let server = world.serve(&[HOST, "shop.nowhere.test"]);
    world.wait_for_first_check();
    assert_eq!(world.orders(), orders);
    // Asking for it by hand goes before the pause, twice an hour in all.
    let (code, text) = server.cli(&["ctl", "certs", "renew", "shop.nowhere.test"]);
    assert!(code != 0 && text.contains("nowhere.test"), "{code}: {text}");
    assert_eq!(world.orders(), orders + 2);
    let (code, text) = server.cli(&["ctl", "certs", "renew", "shop.nowhere.test"]);
    assert!(code != 0 && text.contains("too many orders"), "{code}: {text}");
    assert_eq!(world.orders(), orders + 2);
}

#[test]
fn an_account_is_used_again_and_a_good_certificate_is_not_ordered_again() {
    let mut world = World::new(DAYS);
    world.pebble.start();
    let server = world.serve(&[HOST]);
    let first = world.wait_for_certificate(HOST);
    drop(server);
    let server = world.serve(&[HOST]);
    assert_eq!(world.seen(HOST).as_ref(), Some(&first), "from the first moment");
    world.wait_for_first_check();
    assert_eq!(world.orders(), 1);
    drop(server);
    // Without its certificate it orders one, with the account it has.
    fs::remove_dir_all(world.path("state/certs/shop.test")).expect("the certificate goes");
    let _server = world.serve(&[HOST]);
    world.wait_for_other(HOST, &first);
    assert_eq!((world.orders(), world.pebble.accounts()), (2, 1));
}

#[test]
fn what_the_authority_suggests_is_followed() {
    let mut world = World::new(DAYS);
    world.pebble.start();
    let stub = RenewalStub::start(&world.pebble);
    world.directory = Some(stub.directory());
    let server = world.serve(&[HOST]);
    let first = world.wait_for_certificate(HOST);
    let second = world.wait_for_other(HOST, &first);
    // It asks about the new one as well, and is content.
    within(PATIENCE, || (stub.asked().len() == 2).then_some(())).expect("a second question");
    assert_eq!(world.seen(HOST), Some(second));
    assert_eq!(world.orders_that_came_through(&server), 2);
}

#[test]
fn an_authority_that_says_nothing_keeps_nobody_from_serving_or_stopping() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = silent.local_addr().expect("its address").port();
    let mut world = World::new(DAYS);
    world.directory = Some(format!("https://127.0.0.1:{port}/dir"));
    let mut server = world.serve(&[HOST]);
    let (_asked, _) = silent.accept().expect("a question");
    assert!(!is_pebbles(&world.seen(HOST).expect("a certificate of its own")));
    let began = Instant::now();
    assert_eq!(server.stop(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_server_that_dies_over_and_over_in_the_middle_of_an_order_does_not_order_over_and_over() {
    let mut world = World::new(DAYS);
    // It takes its time to look.
    world.pebble.env("PEBBLE_VA_NOSLEEP", "");
    world.pebble.env("PEBBLE_VA_SLEEPTIME", 10_000);
    world.pebble.start();
    for turn in 0..3 {
        let mut server = world.serve(&[HOST]);
        if turn > 0 {
            // There is a pause of a minute; who asks by hand does not wait for it.
            server.cli(&["ctl", "certs", "renew", HOST, "--no-wait"]);
        }
        let due = (turn + 1).min(2);
        within(PATIENCE, || (world.orders() == due).then_some(())).expect("an order");
        let memory = world.path("state/certs/renewals/shop.test.json");
        let text = fs::read_to_string(&memory).expect("what is remembered");
        assert!(text.contains("attempted"), "noted before it was ordered: {text}");
        server.kill();
    }
    let server = world.serve(&[HOST]);
    let (code, text) = server.cli(&["ctl", "certs", "renew", HOST]);
    assert!(code != 0 && text.contains("too many orders"), "{code}: {text}");
    assert_eq!((world.orders(), world.pebble.accounts()), (2, 1));
}

#[test]
fn a_host_that_a_reload_brings_gets_a_certificate_and_one_that_goes_is_forgotten() {
    let mut world = World::new(DAYS);
    world.pebble.start();
    let server = world.serve(&[HOST]);
    world.wait_for_certificate(HOST);
    server.take_up(&world.edgefile(&["other.test"]));
    world.wait_for_certificate("other.test");
    assert_eq!(world.orders(), 2);
    let (code, text) = server.cli(&["ctl", "certs", "renew", HOST]);
    assert_ne!(code, 0, "{text}");
}

/// An authority, and what outlives the servers that use it.
struct World {
    pebble: Pebble,
    dir: PathBuf,
    plain: u16,
    ports: Option<Port>,
    secure: Port,
    /// Instead of the authority's own.
    directory: Option<String>,
}

impl World {
    fn new(validity: Duration) -> Self {
        Self::with_ports(validity, |secure| secure)
    }

    /// The authority looks for TLS where `secure_for` says.
    fn with_ports(validity: Duration, secure_for: impl FnOnce(u16) -> u16) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rip-acme-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("a directory");
        let (plain, secure) = (Port::free(), Port::free());
        let seen = secure_for(secure.number);
        let pebble = Pebble::new(dir.join("pebble"), plain.number, seen, validity);
        let number = plain.number;
        Self { pebble, dir, plain: number, ports: Some(plain), secure, directory: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn edgefile(&self, hosts: &[&str]) -> String {
        let directory = self.directory.clone().unwrap_or_else(|| self.pebble.directory());
        let hosts: Vec<_> = hosts.iter().map(|host| format!("{host:?}")).collect();
        format!(
            "version 1\nedge {{\n    http \"127.0.0.1:{}\"\n    https \"127.0.0.1:{}\"\n    \
             acme email=\"ops@shop.test\" directory={directory:?} ca={:?}\n}}\n\
             app \"shop\" {{\n    entry \"builtin:hello\"\n    hosts {}\n}}\n",
            self.plain,
            self.secure.number,
            self.pebble.ca(),
            hosts.join(" ")
        )
    }

    /// A server for these hosts; its state outlives it.
    fn serve(&mut self, hosts: &[&str]) -> Server {
        let port = self.ports.take().unwrap_or_else(|| Port::again(self.plain));
        let setup = Setup::edgefile(&self.edgefile(hosts)).names_ports().at(port);
        setup.env("STATE_DIRECTORY", self.path("state")).start()
    }

    /// What who names `host` is shown.
    fn seen(&self, host: &str) -> Option<Seen> {
        let client = Secure::connect(self.secure.number, Some(host)).ok()?;
        Some(Seen::of(&client.certificate()))
    }

    #[track_caller]
    fn wait_for_certificate(&self, host: &str) -> Seen {
        let found = within(PATIENCE, || self.seen(host).filter(is_pebbles));
        found.unwrap_or_else(|| panic!("no certificate for {host}"))
    }

    #[track_caller]
    fn wait_for_other(&self, host: &str, than: &Seen) -> Seen {
        let is_other = |seen: &Seen| is_pebbles(seen) && seen != than;
        let found = within(PATIENCE, || self.seen(host).filter(is_other));
        found.unwrap_or_else(|| panic!("no other certificate for {host}"))
    }

    /// Waits until a server that has just started has asked what the authority thinks.
    #[track_caller]
    fn wait_for_first_check(&self) {
        let before = self.pebble.asked("/dir");
        within(PATIENCE, || (self.pebble.asked("/dir") > before).then_some(())).expect("a check");
    }

    fn orders(&self) -> usize {
        self.pebble.orders()
    }

    fn orders_that_came_through(&self, server: &Server) -> usize {
        server.log().matches("cert_renewed").count()
    }

    /// A client that believes the authority's root only.
    #[track_caller]
    fn curl(&self, host: &str) {
        let root = self.path("root.pem");
        fs::write(&root, self.pebble.root()).expect("a file");
        let mut curl = Command::new("curl");
        let port = self.secure.number;
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "10", "--cacert"])
            .arg(&root)
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .arg(format!("https://{host}:{port}/"));
        let output = tools::finish(&mut curl);
        assert!(output.status.success(), "{}", tools::both(&output));
    }

    /// Has the authority revoke a certificate, with our account.
    fn revoke(&self, seen: &Seen) {
        let text = fs::read(self.path("state/certs/account.json")).expect("the account");
        let mut stored: Value = serde_json::from_slice(&text).expect("JSON");
        let stored = stored[self.pebble.directory()].take();
        let credentials: AccountCredentials = serde_json::from_value(stored).expect("credentials");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let builder = Account::builder_with_root(self.pebble.ca()).expect("a client");
            let account = builder.from_credentials(credentials).await.expect("the account");
            let der = CertificateDer::from(seen.der.clone());
            let request = RevocationRequest { certificate: &der, reason: None };
            let mut last = Ok(());
            for _ in 0..20 {
                last = account.revoke(&request).await;
                if last.is_ok() {
                    return;
                }
            }
            panic!("it is not revoked: {last:?}");
        });
    }
}

/// A certificate as a client saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    /// In lower-case hexadecimal.
    serial: String,
    issuer: String,
    /// Seconds since 1970.
    not_after: i64,
    der: Vec<u8>,
}

impl Seen {
    fn of(der: &[u8]) -> Self {
        let (_, parsed) = X509Certificate::from_der(der).expect("a certificate");
        let serial = parsed.tbs_certificate.raw_serial();
        Self {
            serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            issuer: parsed.issuer().to_string(),
            not_after: parsed.validity().not_after.timestamp(),
            der: der.to_vec(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.pebble.stop();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn is_pebbles(seen: &Seen) -> bool {
    seen.issuer.contains("Pebble")
}

/// The line that tells of a certificate.
#[track_caller]
fn cert_renewed(server: &Server, host: &str) -> String {
    until("a certificate told", || {
        let log = server.stderr();
        let is_it = |line: &&str| line.contains("cert_renewed") && line.contains(host);
        log.lines().find(is_it).map(str::to_owned)
    })
}

#[track_caller]
fn renew(server: &Server, host: &str) {
    let (code, text) = server.cli(&["ctl", "certs", "renew", host]);
    assert_eq!(code, 0, "{text}");
    eventually("the event", || server.log().matches("cert_renewed").count() >= 2);
}

fn unix_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("a clock").as_secs()
}
