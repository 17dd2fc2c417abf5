//! What flags and the environment say of HTTPS: certificates, and what goes with them.

use super::cert::covers;
use super::config::{AcmeConfig, CertFiles, Config, Hsts};
use super::public_name;

/// Where certificates come from besides those of the configuration, and what else is said;
/// what is `None` or empty leaves the configuration as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpsFlags {
    /// A certificate and its key. Without hosts it is for all that have none.
    pub cert: Option<CertFiles>,
    /// The names in that certificate.
    pub cert_names: Vec<String>,
    /// Hosts without a certificate get one of the machine's own local authority.
    pub auto: bool,
    /// Hosts without a certificate get one of this authority.
    pub acme: Option<AcmeConfig>,
    /// The hosts that do; none are all public ones.
    pub acme_hosts: Vec<String>,
    /// Requests at plain listeners are sent on to HTTPS.
    pub redirect_http: Option<bool>,
    /// Browsers are told to come back over HTTPS only.
    pub hsts: Option<Hsts>,
    /// Hosts that end in `.local` are told to the local network.
    pub mdns: Option<bool>,
}

impl HttpsFlags {
    /// There is something to serve HTTPS with.
    pub fn has_source(&self) -> bool {
        self.cert.is_some() || self.auto || self.acme.is_some()
    }

    /// The certificate that is given is one for `host`.
    fn is_covered(&self, host: &str) -> bool {
        self.cert_names.iter().any(|name| covers(name, host))
    }

    /// Puts it above what `config` says.
    pub fn apply(&self, config: &mut Config) {
        let tls = &mut config.edge.tls;
        tls.redirect_http = self.redirect_http.unwrap_or(tls.redirect_http);
        tls.hsts = self.hsts.or(tls.hsts);
        config.edge.mdns = self.mdns.unwrap_or(config.edge.mdns);
        if let Some(acme) = &self.acme {
            tls.acme = Some(acme.clone());
            let hosts = match self.acme_hosts.as_slice() {
                [] => bare(config).filter(|host| public_name::refusal(host).is_none()).collect(),
                hosts => hosts.to_vec(),
            };
            let new: Vec<_> =
                hosts.into_iter().filter(|host| !config.acme_hosts.contains(host)).collect();
            config.acme_hosts.extend(new);
        }
        if let Some(cert) = &self.cert {
            let hosts = match cert.hosts.as_slice() {
                // The others get one that is made for them.
                [] if self.auto => bare(config).filter(|host| self.is_covered(host)).collect(),
                [] => bare(config).collect(),
                hosts => hosts.to_vec(),
            };
            config.certs.push(CertFiles { hosts, ..cert.clone() });
        }
        if self.auto {
            let mut hosts: Vec<String> = bare(config).collect();
            if config.routes.iter().any(|rule| rule.host == "*") {
                let own = OWN_NAMES.into_iter().filter(|host| !self.is_covered(host));
                hosts.extend(own.map(str::to_owned));
            }
            let new: Vec<_> =
                hosts.into_iter().filter(|host| !has_certificate(config, host)).collect();
            config.auto_hosts.extend(new);
        }
    }
}

/// Hosts that have no certificate and are to have one.
fn bare(config: &Config) -> impl Iterator<Item = String> {
    let dashboard = config.edge.dashboard.hosts.iter().cloned();
    config.hosts().into_iter().chain(dashboard).filter(|host| {
        !has_certificate(config, host) && !config.plain_hosts.iter().any(|plain| plain == host)
    })
}

fn has_certificate(config: &Config, host: &str) -> bool {
    let is = |known: &String| known == host;
    config.certs.iter().any(|cert| cert.hosts.iter().any(is))
        || config.acme_hosts.iter().any(is)
        || config.auto_hosts.iter().any(is)
}

/// What a machine calls itself, as hosts of rules.
pub const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::route::{RouteAction, RouteRule};
    use crate::ids::AppId;

    #[test]
    fn the_dashboard_gets_a_certificate_like_every_other_host() {
        let mut config = config();
        config.edge.dashboard.hosts = vec!["panel.example.org".to_owned()];
        HttpsFlags { auto: true, ..HttpsFlags::default() }.apply(&mut config);
        assert!(config.auto_hosts.contains(&"panel.example.org".to_owned()), "{config:?}");
    }

    fn config() -> Config {
        let rule =
            |host: &str| RouteRule::new(host, "/*", RouteAction::ToApp { app_id: AppId::new("a") });
        let hosts = ["a.example.com", "*.example.com", "a.local", "plain.example.com", "*"];
        Config {
            routes: hosts.map(rule).to_vec(),
            plain_hosts: vec!["plain.example.com".to_owned()],
            ..Config::default()
        }
    }

    fn acme() -> Option<AcmeConfig> {
        let directory = AcmeConfig::LETS_ENCRYPT.to_owned();
        Some(AcmeConfig { email: None, directory, ca: None, fallback: Default::default() })
    }

    #[test]
    fn each_host_gets_one_certificate() {
        let mut config = config();
        let auto = HttpsFlags { acme: acme(), auto: true, ..HttpsFlags::default() };
        assert!(auto.has_source() && !HttpsFlags::default().has_source());
        auto.apply(&mut config);
        assert_eq!(config.acme_hosts, ["a.example.com"]);
        let expected = ["*.example.com", "a.local", "localhost", "127.0.0.1", "[::1]"];
        assert_eq!(config.auto_hosts, expected);
        let before = config.clone();
        auto.apply(&mut config);
        assert_eq!(config, before, "twice is once");
    }

    #[test]
    fn a_certificate_is_for_all_that_have_none_and_domains_may_be_others() {
        let mut config = config();
        let cert = CertFiles { hosts: Vec::new(), cert_path: "/c".into(), key_path: "/k".into() };
        let flags = HttpsFlags {
            cert: Some(cert),
            acme: acme(),
            acme_hosts: vec!["b.example.com".to_owned()],
            redirect_http: Some(false),
            mdns: Some(true),
            ..HttpsFlags::default()
        };
        flags.apply(&mut config);
        assert_eq!(config.acme_hosts, ["b.example.com"]);
        assert_eq!(config.certs[0].hosts, ["a.example.com", "*.example.com", "a.local"]);
        assert!(config.edge.mdns && !config.edge.tls.redirect_http);
        HttpsFlags::default().apply(&mut config);
        assert!(config.edge.mdns && !config.edge.tls.redirect_http);
    }
    #[test]
    fn beside_a_local_authority_a_certificate_is_for_its_own_names() {
        let cert = CertFiles { hosts: Vec::new(), cert_path: "/c".into(), key_path: "/k".into() };
        let flags = HttpsFlags {
            cert: Some(cert),
            cert_names: vec!["*.example.com".to_owned(), "::1".to_owned()],
            auto: true,
            ..HttpsFlags::default()
        };
        let mut config = config();
        flags.apply(&mut config);
        assert_eq!(config.certs[0].hosts, ["a.example.com", "*.example.com"]);
        assert_eq!(config.auto_hosts, ["a.local", "localhost", "127.0.0.1"]);
    }
}
