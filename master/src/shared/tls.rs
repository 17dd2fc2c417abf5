//! TLS as clients meet it: one configuration for all sites, and what an ACME authority is shown while
//! it asks whether a name is ours.

use super::certs::Certs;
use crate::reactor::tls_stream::Handshakes;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    ServerSessionMemoryCache,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, Error, ServerConfig};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What all loops serve HTTPS with.
#[derive(Debug)]
pub struct Tls {
    /// The certificates that `site` chooses from.
    pub certs: Arc<Certs>,
    /// What ordinary handshakes are made with. It never changes; its certificates do.
    pub site: Arc<ServerConfig>,
    /// What an authority asks for.
    pub challenges: Challenges,
}

impl Tls {
    /// HTTPS without any certificate yet. Nothing is computed before there is one:
    /// [`prepare_random`].
    ///
    /// # Errors
    /// When the cryptography has none of the protocol's versions.
    pub fn new() -> Result<Self, Error> {
        let certs = Arc::new(Certs::default());
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&certs) as _;
        let mut provider = default_provider();
        provider.cipher_suites.sort_by_key(|suite| !is_preferred(suite.suite()));
        let mut site = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        site.ignore_client_order = true;
        site.alpn_protocols = vec![b"http/1.1".to_vec()];
        site.ticketer = Arc::new(Tickets::default());
        // Who takes no tickets resumes by number (TLS 1.2).
        site.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        // A second ticket serves clients that open several connections at once; each costs a
        // handshake about a tenth.
        site.send_tls13_tickets = 1;
        Ok(Self { certs, site: Arc::new(site), challenges: Challenges::default() })
    }
}

impl Handshakes for Tls {
    /// While an authority asks, hellos are looked at first: its own gets an answer of its own.
    fn for_all(&self) -> Option<Arc<ServerConfig>> {
        (!self.challenges.has_alpn()).then(|| Arc::clone(&self.site))
    }

    /// Who speaks [`ACME_TLS`] alone, for a name that is asked for, is an authority (RFC 8737 §3).
    fn for_one(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let is_asked = hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS]));
        let asked = hello.server_name().filter(|_| is_asked);
        let asked = asked.and_then(|name| self.challenges.alpn(name));
        asked.unwrap_or_else(|| Arc::clone(&self.site))
    }
}

/// Makes the cryptography's random numbers ready. The first of a process takes it 20 ms and more: that
/// is for a thread that may wait, before there are handshakes, and not for a server without HTTPS.
pub fn prepare_random() {
    // Who gets none now gets none in a handshake, which says so.
    let _ = default_provider().secure_random.fill(&mut [0]);
}

/// Tickets that sessions are resumed with (RFC 5077, RFC 8446 §4.6.1), sealed with keys of this process
/// that are made for the first of them. Where they cannot be made nothing is resumed.
#[derive(Debug, Default)]
struct Tickets(OnceLock<Option<Arc<dyn ProducesTickets>>>);

impl Tickets {
    fn sealed(&self) -> Option<&dyn ProducesTickets> {
        self.0.get_or_init(|| Ticketer::new().ok()).as_deref()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.sealed().is_some_and(ProducesTickets::enabled)
    }

    fn lifetime(&self) -> u32 {
        self.sealed().map_or(0, ProducesTickets::lifetime)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.sealed()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.sealed()?.decrypt(cipher)
    }
}

/// What an authority is shown while it asks whether a name is ours (RFC 8555 §8). A challenge is
/// there for as long as its authorization takes.
#[derive(Debug, Default)]
pub struct Challenges {
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Key authorizations by token: HTTP-01.
    http: HashMap<String, String>,
    /// Configurations by name: TLS-ALPN-01 (RFC 8737).
    alpn: HashMap<String, Arc<ServerConfig>>,
}

impl Challenges {
    /// The text that answers `/.well-known/acme-challenge/<token>` (RFC 8555 §8.3).
    pub fn http(&self, token: &str) -> Option<String> {
        self.lock().http.get(token).cloned()
    }

    /// Some name is asked for by TLS-ALPN-01.
    fn has_alpn(&self) -> bool {
        !self.lock().alpn.is_empty()
    }

    /// What a client is answered with that speaks `acme-tls/1` alone and names `name`.
    pub fn alpn(&self, name: &str) -> Option<Arc<ServerConfig>> {
        self.lock().alpn.get(&name.to_ascii_lowercase()).cloned()
    }

    /// `token` is answered with `authorization` until it is [taken back](Self::forget_http).
    pub fn show_http(&self, token: &str, authorization: &str) {
        self.lock().http.insert(token.to_owned(), authorization.to_owned());
    }

    /// `token` is not answered any more.
    pub fn forget_http(&self, token: &str) {
        self.lock().http.remove(token);
    }

    /// Handshakes of the authority for `name` are made with `certificate` (RFC 8737 §3) until it is
    /// [taken back](Self::forget_alpn). They get no ticket: nothing is to be resumed.
    ///
    /// # Errors
    /// What the cryptography says.
    pub fn show_alpn(&self, name: &str, certificate: CertifiedKey) -> Result<(), Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        self.lock().alpn.insert(name.to_ascii_lowercase(), Arc::new(config));
        Ok(())
    }

    /// `name` is not asked for any more.
    pub fn forget_alpn(&self, name: &str) {
        self.lock().alpn.remove(&name.to_ascii_lowercase());
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Processors hash with SHA-256 many times as fast as with SHA-384, and a handshake hashes a lot. What
/// browsers ask for first is this as well; some libraries put larger numbers first.
fn is_preferred(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// The protocol of TLS-ALPN-01 (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";
/// Sessions that clients without tickets can resume.
const SESSIONS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::observe::note::Suite;

    #[test]
    fn every_suite_that_is_spoken_has_its_name() {
        for suite in default_provider().cipher_suites {
            let number = u16::from(suite.suite());
            assert_eq!(Some(Suite(number).name()), suite.suite().as_str(), "{number:#x}");
        }
    }

    #[test]
    fn tickets_are_sealed_with_keys_that_nobody_had_to_make_before() {
        let tickets = Tickets::default();
        assert!(tickets.0.get().is_none());
        let sealed = tickets.encrypt(b"session").expect("there are random numbers");
        assert_eq!(tickets.decrypt(&sealed).as_deref(), Some(&b"session"[..]));
        assert!(tickets.enabled() && tickets.lifetime() > 0);
        assert_eq!(Tickets::default().decrypt(&sealed), None, "others have other keys");
    }
}
