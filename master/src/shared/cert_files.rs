//! Certificates and their keys as files: whether they can be served, and what is in them.
//!
//! This reads and writes files: not for a loop.

use crate::sys::regular;
use rip::contract::cert::{CertSource, TlsCertRecord};
use rip::time::Civil;
use rip::tls::fingerprint::fingerprint;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pemfile::Item;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A certificate that belongs to its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// It and its issuers, and the key.
    pub key: Arc<CertifiedKey>,
    /// Its subject alternative names in lower case, addresses as text; where it has none, its common
    /// name.
    pub names: Vec<String>,
    /// Good from then on, in seconds since 1970.
    pub not_before: u64,
    /// Good until then.
    pub not_after: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub fingerprint: String,
}

impl Leaf {
    /// What is odd about it at `now`, in seconds since 1970: it can be served, but nobody will believe
    /// it today.
    pub fn doubt(&self, now: u64) -> Option<Wrong> {
        if now > self.not_after {
            let message = format!("the certificate expired on {}", day(self.not_after));
            return Some(Wrong::new(message, "renew it"));
        }
        if now < self.not_before {
            return Some(Wrong::new(
                format!("the certificate is valid from {} on only", day(self.not_before)),
                "is the clock of this machine right?",
            ));
        }
        None
    }

    /// What an operator is told of it; it has no id yet. Without paths it is in memory only.
    pub fn record(&self, source: CertSource, cert_path: &str, key_path: &str) -> TlsCertRecord {
        TlsCertRecord {
            id: String::new(),
            domains: self.names.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
            fingerprint: self.fingerprint.clone(),
            cert_path: cert_path.to_owned(),
            key_path: key_path.to_owned(),
            source,
            last_renew_attempt: None,
            last_renew_result: None,
        }
    }
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// What is wrong, one clause.
    pub message: String,
    /// How to mend it; empty where nothing can be said.
    pub hint: String,
    /// It is the key that is wrong, and not the certificate.
    pub is_keys: bool,
}

impl Wrong {
    /// `message` is wrong, and `hint` mends it.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), is_keys: false }
    }

    /// The same, of the key.
    fn of_key(self) -> Self {
        Self { is_keys: true, ..self }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hint.is_empty() {
            true => out.write_str(&self.message),
            false => write!(out, "{} ({})", self.message, self.hint),
        }
    }
}

/// A certificate with its issuers, and its key, both PEM. Whether today is one of its days is another
/// question: [`Leaf::doubt`].
///
/// # Errors
/// What is wrong.
pub fn parse(chain: &[u8], key: &[u8]) -> Result<Leaf, Wrong> {
    let certificates = certificates(chain)
        .map_err(|error| Wrong::new(format!("the certificate is no PEM: {error}"), HALF))?;
    let Some(own) = certificates.first().cloned() else {
        let hint = match private_key(chain) {
            Ok(_) => "it holds a private key: certificate and key are the wrong way round",
            Err(_) => "a chain begins with -----BEGIN CERTIFICATE-----, the server's own first",
        };
        return Err(Wrong::new("the file has no certificate in it", hint));
    };
    let key = default_provider()
        .key_provider
        .load_private_key(private_key(key).map_err(Wrong::of_key)?)
        .map_err(|error| Wrong::new(format!("the key cannot be used: {error}"), KEYS).of_key())?;
    let key = CertifiedKey::new(certificates, key);
    match key.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(Wrong::new(
                "certificate and key do not belong together",
                "the server's own certificate must come first in its file",
            ));
        }
        Err(error) => {
            return Err(Wrong::new(format!("the certificate cannot be read: {error}"), "renew it"));
        }
    }
    let (_, parsed) = X509Certificate::from_der(&own).map_err(|error| {
        Wrong::new(format!("the certificate cannot be read: {error}"), "renew it")
    })?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok(Leaf {
        names: names(&parsed),
        not_before: seconds(parsed.validity().not_before.timestamp()),
        not_after: seconds(parsed.validity().not_after.timestamp()),
        fingerprint: fingerprint(&own),
        key: Arc::new(key),
    })
}

/// [`parse`], of files.
///
/// # Errors
/// What is wrong.
pub fn read(cert: &Path, key: &Path) -> Result<Leaf, Wrong> {
    let content = |path: &Path| {
        read_pem(path).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "let the server's user read it",
                _ => "",
            };
            Wrong::new(format!("{} cannot be read: {error}", path.display()), hint)
        })
    };
    parse(&content(cert)?, &content(key)?).map_err(|wrong| match wrong.is_keys {
        true => Wrong { message: format!("{}: {}", key.display(), wrong.message), ..wrong },
        false => wrong,
    })
}

/// Others than the owner and the group may read the file: for a private key, too many.
pub fn others_may_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

/// Removes what servers that were killed have left in `dir` of files they were about to put there:
/// private keys may be in them. Those of the last minutes may still be written by somebody.
pub fn sweep(dir: &Path) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let is_staged = name.to_str().is_some_and(is_staged);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_staged
            && age().is_some_and(|age| age > STAGED_TIME)
            && let Err(error) = fs::remove_file(entry.path())
        {
            log::warn!("{} cannot be removed: {error}", entry.path().display());
        }
    }
}

/// `.name.pid`, as [`stage`] calls them.
fn is_staged(name: &str) -> bool {
    let parts = name.strip_prefix('.').and_then(|name| name.rsplit_once('.'));
    parts.is_some_and(|(name, pid)| !name.is_empty() && pid.parse::<u32>().is_ok())
}

/// What is in a file of certificates or keys, which has to be a regular one.
///
/// # Errors
/// Those of the system, in words.
pub fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    let (file, _) = regular::open(path)?;
    let mut content = Vec::new();
    file.take(PEM_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// Puts `content` into the file `path` as a whole, for those that `mode` says.
///
/// # Errors
/// Those of the system; then what was there is there.
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    fs::rename(stage(path, content, mode)?, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Writes `content` beside `path`, and to the disk; where it is.
fn stage(path: &Path, content: &[u8], mode: u32) -> io::Result<std::path::PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(&beside)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // Nobody else knows of it.
        let _ = fs::remove_file(&beside);
    }
    written.map(|()| beside)
}

/// The certificates in `pem`, whatever else is in it.
///
/// # Errors
/// What is no PEM.
pub fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    rustls_pemfile::certs(&mut &*pem).collect()
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Wrong> {
    let has = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
    if has("ENCRYPTED") {
        return Err(Wrong::new(
            "the key is encrypted",
            "write it down without a passphrase: openssl pkey -in KEY -out PLAIN",
        ));
    }
    for item in rustls_pemfile::read_all(&mut &*pem) {
        let item = item.map_err(|error| Wrong::new(format!("the key is no PEM: {error}"), HALF))?;
        match item {
            Item::Pkcs1Key(key) => return Ok(key.into()),
            Item::Pkcs8Key(key) => return Ok(key.into()),
            Item::Sec1Key(key) => return Ok(key.into()),
            _ => {}
        }
    }
    Err(Wrong::new(
        "the file has no private key in it",
        "it begins with -----BEGIN PRIVATE KEY-----",
    ))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let mut names: Vec<String> = Vec::new();
    for name in alternatives.filter_map(named) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().next();
        let common = common.and_then(|name| name.as_str().ok()).map(str::to_ascii_lowercase);
        names.extend(common);
    }
    names
}

fn named(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// `2026-03-14`.
pub fn day(secs: u64) -> String {
    let Civil { year, month, day, .. } = Civil::from_unix(secs);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The chain of a pair that the server has written itself.
pub const CHAIN_FILE: &str = "cert.pem";
/// Its key.
pub const KEY_FILE: &str = "key.pem";
const KEYS: &str = "keys are RSA, ECDSA (P-256, P-384, P-521) or Ed25519";
const HALF: &str = "was it written to its end? Other formats are exported as PEM";
/// A file is written in much less.
const STAGED_TIME: Duration = Duration::from_secs(10 * 60);
/// More than any chain has.
const PEM_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
