//! The certificates clients get, swapped as a whole: a handshake takes what is there at that moment,
//! and connections that are there already keep what they have.

use rip::contract::cert::TlsCertRecord;
use rip::contract::config::{CertFiles, Config, Fallback};
use rip::tls::select::ByName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The certificates of one moment. It never changes.
#[derive(Debug, Default)]
pub struct CertSet {
    /// Each certificate with its key.
    pub served: Vec<Served>,
    /// Which one is for whom, by position in `served`.
    pub by_name: ByName,
}

/// A certificate that can be served.
#[derive(Clone, Debug)]
pub struct Served {
    /// What an operator is told of it.
    pub record: TlsCertRecord,
    /// The chain and its key.
    pub key: Arc<CertifiedKey>,
}

impl CertSet {
    /// The certificate for a client that names `name`, or nobody.
    pub fn select(&self, name: Option<&str>) -> Option<&Served> {
        self.served.get(self.by_name.select(name)?)
    }
}

/// The current set.
#[derive(Debug, Default)]
pub struct Certs {
    set: Mutex<Arc<CertSet>>,
}

impl Certs {
    /// The current one.
    pub fn load(&self) -> Arc<CertSet> {
        Arc::clone(&self.lock())
    }

    /// Puts `set` in its place: every handshake from now on takes it.
    pub fn replace(&self, set: CertSet) {
        self.swap(Arc::new(set));
    }

    /// [`Self::replace`]; what was served before is returned.
    pub fn swap(&self, set: Arc<CertSet>) -> Arc<CertSet> {
        std::mem::replace(&mut *self.lock(), set)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<CertSet>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the certificates of a configuration come from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertSources {
    /// Files that it names.
    pub files: Vec<CertFiles>,
    /// Directories of pairs, absolute.
    pub dirs: Vec<String>,
    /// Hosts whose certificates an ACME authority makes.
    pub acme_hosts: Vec<String>,
    /// What those get that have none yet.
    pub fallback: Fallback,
    /// Hosts whose certificates the local authority makes.
    pub auto_hosts: Vec<String>,
    /// Names that are served over HTTPS.
    pub names: Vec<String>,
}

impl CertSources {
    /// Those of `config`.
    pub fn of(config: &Config) -> Self {
        let tls = &config.edge.tls;
        Self {
            files: config.certs.clone(),
            dirs: tls.cert_dirs.clone(),
            acme_hosts: config.acme_hosts.clone(),
            fallback: tls.acme.as_ref().map(|acme| acme.fallback).unwrap_or_default(),
            auto_hosts: config.auto_hosts.clone(),
            names: secure_names(config),
        }
    }
}

/// Hosts of `config` that are served over HTTPS, and that clients name when they connect: addresses they
/// do not (RFC 6066 §3).
fn secure_names(config: &Config) -> Vec<String> {
    if config.edge.https.is_empty() {
        return Vec::new();
    }
    let is_name = |host: &String| !host.starts_with('[') && host.parse::<IpAddr>().is_err();
    let hosts = config.hosts().into_iter();
    hosts.filter(|host| is_name(host) && !config.plain_hosts.contains(host)).collect()
}

/// The certificates of a configuration that may become the active one.
#[derive(Debug, Default)]
pub struct StagedCerts {
    /// Where they come from.
    pub sources: Arc<CertSources>,
    /// Themselves, as they were found.
    pub set: Arc<CertSet>,
}

impl ResolvesServerCert for Certs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.load();
        Some(Arc::clone(&set.select(hello.server_name())?.key))
    }
}
