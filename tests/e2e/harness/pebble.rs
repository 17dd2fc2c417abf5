//! A real ACME authority on this machine: Pebble, with certificates, names and ports of the test's own.

use super::dns::Dns;
use super::port::Port;
use super::tools;
use super::wait::{self, until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running authority, or one that could run; it ends with its test.
pub struct Pebble {
    dir: PathBuf,
    api: Port,
    management: Port,
    dns: Dns,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Pebble {
    /// An authority in the directory `dir` that looks at names at the port `plain` over HTTP and
    /// at `secure` over TLS, and whose certificates are good for `validity`. It does not run yet.
    pub fn new(dir: PathBuf, plain: u16, secure: u16, validity: Duration) -> Self {
        fs::create_dir_all(&dir).expect("a directory for the authority");
        let (api, management) = (Port::free(), Port::free());
        write_certificates(&dir);
        let place = |name: &str| dir.join(name).to_str().expect("a path in UTF-8").to_owned();
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", api.number),
            "managementListenAddress": format!("127.0.0.1:{}", management.number),
            "certificate": place("own.pem"),
            "privateKey": place("own.key"),
            "httpPort": plain,
            "tlsPort": secure,
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity.as_secs(),
        }});
        fs::write(dir.join("config.json"), config.to_string()).expect("its configuration");
        let environment = vec![
            // It looks at once instead of after a while.
            ("PEBBLE_VA_NOSLEEP", "1".to_owned()),
            // It always looks, instead of remembering what it saw.
            ("PEBBLE_AUTHZREUSE", "0".to_owned()),
        ];
        Self { dir, api, management, dns: Dns::start(), environment, child: None }
    }

    /// One of its settings, from its next start on.
    pub fn env(&mut self, name: &'static str, value: impl ToString) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.to_string()));
    }

    /// Starts it, with nothing that it knew before.
    #[track_caller]
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        // It ends with the test, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "pebble", "-strict=false", "-config"])
            .arg(self.dir.join("config.json"))
            .args(["-dnsserver", &self.dns.address().to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("the log twice"))
            .stdout(log);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("setpriv: {error}"),
        };
        self.child = Some(child);
        until("the authority", || {
            let child = self.child.as_mut().expect("a child");
            let ended = child.try_wait().expect("its state");
            assert!(ended.is_none(), "pebble ended ({ended:?}); run scripts/setup: {}", self.log());
            self.try_get(&self.directory())
        });
    }

    /// Ends it: nobody answers any more.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().expect("its end");
        }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.api.number)
    }

    /// What its own certificate is verified against.
    pub fn ca(&self) -> String {
        self.dir.join("ca.pem").to_str().expect("a path in UTF-8").to_owned()
    }

    /// Its own certificate and key.
    pub fn own_files(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("own.pem"), self.dir.join("own.key"))
    }

    /// Its directory.
    #[track_caller]
    pub fn directory_document(&self) -> Value {
        let text = self.try_get(&self.directory()).expect("its directory");
        serde_json::from_str(&text).expect("JSON")
    }

    /// What it says of a certificate.
    #[track_caller]
    pub fn status_of(&self, serial: &str) -> Value {
        let at = format!("https://127.0.0.1:{}/cert-status-by-serial", self.management.number);
        let text = self.try_get(&format!("{at}/{serial}")).expect("an answer of the authority");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The certificate that its chains end in.
    #[track_caller]
    pub fn root(&self) -> String {
        let at = format!("https://127.0.0.1:{}/roots/0", self.management.number);
        self.try_get(&at).expect("its root")
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// How often it was asked for something at `path`.
    pub fn asked(&self, path: &str) -> usize {
        let told = format!(" {path} ->");
        self.log().lines().filter(|line| line.contains(&told)).count()
    }

    /// The orders it took; those it refused are not among them.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    /// The accounts it made.
    pub fn accounts(&self) -> usize {
        self.log().matches(" accounts in memory").count()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("pebble.log")
    }

    fn try_get(&self, url: &str) -> Option<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--max-time", "5", "--cacert", &self.ca(), url]);
        let output = tools::finish_within(&mut curl, wait::SOON);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("-- pebble, the last of {} lines:\n{}", lines.len(), tail.join("\n"));
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A certificate of the authority itself, and what it is verified against: not what it makes
/// certificates with.
pub fn write_certificates(dir: &Path) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "what the authority itself is known by");
    let ca = params.self_signed(&key).expect("a certificate");
    fs::write(dir.join("ca.pem"), ca.pem()).expect("a file");
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "the authority itself");
    params.subject_alt_names.push(rcgen::SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
    let cert = params.signed_by(&own, &issuer).expect("a certificate");
    fs::write(dir.join("own.pem"), cert.pem()).expect("a file");
    fs::write(dir.join("own.key"), own.serialize_pem()).expect("a file");
}
