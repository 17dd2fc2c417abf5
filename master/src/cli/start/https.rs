//! HTTPS as flags, tokens and the environment say it: what it is served with, and at which ports.

use super::{Start, World};
use crate::cli::entry;
use crate::cli::exit::Failure;
use crate::cli::port::Protocol;
use crate::cli::value;
use crate::cli::{authorities, credential};
use crate::shared::cert_files;
use rip::contract::config::{AcmeConfig, CertFiles, Config, Fallback, Hsts};
use rip::contract::https_flags::{HttpsFlags, OWN_NAMES};
use rip::contract::listen::ListenAddress;
use rip::contract::public_name;
use rip::contract::route::RouteRule;
use rip::time::UnixMillis;
use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is said of certificates. Files are looked at; what is odd about them is told on stderr.
///
/// # Errors
/// Flags that lack another one, contradict, or name what cannot be used.
pub(super) fn flags(start: &Start, world: &World) -> Result<HttpsFlags, Failure> {
    let said = &start.https;
    let acme = acme(start, world)?;
    let (cert, cert_names) = cert(start, world)?.unzip();
    Ok(HttpsFlags {
        cert,
        cert_names: cert_names.unwrap_or_default(),
        auto: said.auto_tls,
        acme_hosts: domains(start)?,
        acme,
        redirect_http: said.no_redirect_http.then_some(false),
        hsts: said.hsts.then_some(Hsts {
            max_age: Hsts::MAX_AGE,
            include_subdomains: false,
            preload: false,
        }),
        mdns: said.no_mdns.then_some(false),
    })
}

/// The ports that clients connect to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Ports {
    /// Of plain HTTP.
    pub http: Option<u16>,
    /// Of HTTPS.
    pub https: Option<u16>,
}

impl Ports {
    /// The ports of a master without an Edgefile: HTTPS where there is something to serve it with
    /// (`has_source`) and nothing says otherwise. Beside HTTPS at its usual port plain HTTP is
    /// served at its own; beside another port, where one is named.
    ///
    /// # Errors
    /// Words that contradict, and HTTPS that there is nothing for.
    pub(super) fn choose(start: &Start, world: &World, has_source: bool) -> Result<Self, Failure> {
        let said = Said::read(start, world)?;
        let is_secure = match said.mode {
            Mode::Plain => false,
            Mode::Secure if !has_source => return Err(no_source()),
            Mode::Secure => true,
            Mode::Either => has_source,
        };
        if !is_secure {
            return Ok(Self {
                http: Some(said.http.or(said.bare).or(said.env).unwrap_or(80)),
                https: None,
            });
        }
        let https = said.https.or(said.bare).unwrap_or(443);
        let usual = (https == 443).then_some(80);
        let ports = Self { http: said.http.or(said.env).or(usual), https: Some(https) };
        match ports.http == ports.https {
            true => Err(same_port(https)),
            false => Ok(ports),
        }
    }
}

/// What is said of ports, token or flag.
pub(super) struct Said {
    pub mode: Mode,
    pub http: Option<u16>,
    pub https: Option<u16>,
    /// A bare number.
    pub bare: Option<u16>,
    /// `$PORT`: of plain HTTP.
    pub env: Option<u16>,
}

/// What is to be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// `http`, and nothing of `https`.
    Plain,
    /// `https`.
    Secure,
    /// What there is something for.
    Either,
}

impl Said {
    /// # Errors
    /// Two ports for one protocol, and a `$PORT` that is none.
    pub(super) fn read(start: &Start, world: &World) -> Result<Self, Failure> {
        let tls = &start.https;
        let is_secure = tls.https || tls.https_port.is_some();
        let mode = match (is_secure, tls.plain) {
            (true, _) => Mode::Secure,
            (false, true) => Mode::Plain,
            (false, false) => Mode::Either,
        };
        let mut said = Self {
            mode,
            http: start.edge.port,
            https: tls.https_port,
            bare: tls.bare_port.first().copied(),
            env: None,
        };
        if let [first, second, ..] = tls.bare_port.as_slice() {
            return Err(Failure::usage(format!("both {first} and {second} say where to listen"))
                .tip(format!("say of each what it is: http:{first} https:{second}")));
        }
        if let Some(bare) = said.bare {
            let twice = |other: &str, port| {
                Failure::usage(format!("both {bare} and {other}:{port} say where to listen"))
                    .tip(format!("say of each what it is: http:{bare} or https:{bare}"))
            };
            match (mode, said.http, said.https) {
                (_, Some(port), _) => return Err(twice("http", port)),
                (_, _, Some(port)) => return Err(twice("https", port)),
                (Mode::Plain, ..) => (said.http, said.bare) = (Some(bare), None),
                (Mode::Secure, ..) => (said.https, said.bare) = (Some(bare), None),
                (Mode::Either, ..) => {}
            }
        }
        if said.http.is_none() && said.bare.is_none() {
            said.env = port_of_environment(world)?;
        }
        Ok(said)
    }
}

fn port_of_environment(world: &World) -> Result<Option<u16>, Failure> {
    let Some(text) = &world.port else { return Ok(None) };
    value::port(text).map(Some).map_err(|why| {
        Failure::usage(format!("PORT is '{text}' in the environment: {why}"))
            .tip("unset it, or name the port: http:8080")
    })
}

/// Those of `hosts` at `port`, every address where there are none; the right is checked.
///
/// # Errors
/// The right is missing (exit 77).
pub(super) fn addresses(
    port: Option<u16>,
    protocol: Protocol,
    start: &Start,
    world: &World,
) -> Result<Vec<ListenAddress>, Failure> {
    let Some(port) = port else { return Ok(Vec::new()) };
    if !start.edge.port_fallback {
        world.rights.check(port, protocol, &world.executable)?;
    }
    Ok(match start.edge.host.as_slice() {
        [] => vec![ListenAddress { ip: None, port }],
        hosts => hosts.iter().map(|ip| ListenAddress { ip: Some(*ip), port }).collect(),
    })
}

/// Tells of flags that do nothing, because HTTPS is not served.
pub(super) fn warn_of_idle(start: &Start, flags: &HttpsFlags, ports: Ports) {
    if ports.https.is_some() {
        return;
    }
    let given = [
        ("--cert", start.https.cert.is_some()),
        ("--auto-tls", start.https.auto_tls),
        ("--acme", flags.acme.is_some()),
        ("--hsts", start.https.hsts),
    ];
    if let Some((flag, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        let port = ports.http.map_or_else(String::new, |port| format!(" http:{port}"));
        eprintln!("warning: {flag} does nothing: plain HTTP alone is served");
        match flags.has_source() {
            true => eprintln!("  tip: name a port for HTTPS as well: https:8443{port}"),
            false => eprintln!("  tip: HTTPS needs a certificate: --auto-tls, --acme or --cert"),
        }
    }
}

/// HTTPS that there is nothing for.
pub(super) fn no_source() -> Failure {
    Failure::usage("https needs a certificate, and nothing says which")
        .tip("one of your own: --cert FILE --key FILE")
        .tip("for development, of a local authority: --auto-tls")
        .tip("for public hosts, of Let's Encrypt: --acme --acme-domain=HOST")
}

pub(super) fn same_port(port: u16) -> Failure {
    Failure::usage(format!("port {port} cannot be that of HTTPS and of plain HTTP"))
        .tip("name another one for one of them: http:8080 https:8443")
}

/// The files that are named, and the names in the certificate.
fn cert(start: &Start, world: &World) -> Result<Option<(CertFiles, Vec<String>)>, Failure> {
    let (cert, key) = match (&start.https.cert, &start.https.key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return Err(pair("--cert", "--key")),
        (None, Some(_)) => return Err(pair("--key", "--cert")),
    };
    let (cert_path, chain) = pem("--cert", cert, world)?;
    let (key_path, private) = pem("--key", key, world)?;
    let leaf = cert_files::parse(&chain, &private).map_err(|wrong| {
        let file = if wrong.is_keys { key } else { cert };
        Failure::configuration(format!("{file}: {}", wrong.message)).tip(wrong.hint)
    })?;
    if cert_files::others_may_read(Path::new(&key_path)) {
        eprintln!("warning: others may read the key {key}\n  tip: chmod o-r {key}");
    }
    if let Some(doubt) = leaf.doubt(now().as_secs()) {
        eprintln!("warning: {cert}: {}\n  tip: {}", doubt.message, doubt.hint);
    }
    let files = CertFiles { hosts: Vec::new(), cert_path, key_path };
    Ok(Some((files, leaf.names)))
}

fn pair(given: &str, missing: &str) -> Failure {
    Failure::usage(format!("{given} needs {missing} as well"))
        .tip("a certificate and its key are a pair")
}

/// The absolute path of a file, and what is in it.
fn pem(flag: &str, path: &str, world: &World) -> Result<(String, Vec<u8>), Failure> {
    let place = credential::place(&world.places.cwd, path);
    let place = std::path::absolute(&place).unwrap_or(place);
    let content = cert_files::read_pem(&place).map_err(|error| {
        let failure = Failure::configuration(format!("{flag} '{path}' cannot be read: {error}"));
        match credential::hint(path) {
            Some(hint) => failure.tip(hint),
            None => failure,
        }
    })?;
    Ok((entry::text(&place)?, content))
}

fn acme(start: &Start, world: &World) -> Result<Option<AcmeConfig>, Failure> {
    let said = &start.https;
    if !said.acme && said.acme_domain.is_empty() {
        let given = [
            ("--acme-email", said.acme_email.is_some()),
            ("--acme-staging", said.acme_staging),
            ("--acme-directory", said.acme_directory.is_some()),
            ("--acme-ca", said.acme_ca.is_some()),
        ];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(None),
            Some((flag, _)) => Err(Failure::usage(format!("{flag} needs --acme as well"))
                .tip("--acme --acme-domain=HOST asks an authority for certificates")),
        };
    }
    let directory = match (&said.acme_directory, said.acme_staging) {
        (Some(_), true) => {
            return Err(Failure::usage(
                "--acme-staging and --acme-directory contradict: both say which authority",
            )
            .tip("leave one of them out"));
        }
        (Some(url), false) => url.clone(),
        (None, true) => AcmeConfig::LETS_ENCRYPT_STAGING.to_owned(),
        (None, false) => AcmeConfig::LETS_ENCRYPT.to_owned(),
    };
    let ca = match &said.acme_ca {
        None => None,
        Some(path) => {
            let (place, content) = pem("--acme-ca", path, world)?;
            authorities::check(&content).map_err(|wrong| {
                Failure::configuration(format!("{path}: {}", wrong.message)).tip(wrong.hint)
            })?;
            Some(place)
        }
    };
    let email = said.acme_email.clone();
    Ok(Some(AcmeConfig { email, directory, ca, fallback: Fallback::default() }))
}

fn domains(start: &Start) -> Result<Vec<String>, Failure> {
    let mut hosts = Vec::new();
    for domain in &start.https.acme_domain {
        let host = domain.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        if let Some(why) = public_name::refusal(&host) {
            let failure = Failure::usage(format!(
                "no authority makes a certificate for '{domain}': it {why}"
            ));
            return Err(failure.tip("for such a name: --auto-tls, or --cert FILE --key FILE"));
        }
        if !super::is_host(&host) {
            return Err(Failure::usage(format!("--acme-domain '{domain}' is not a host name")));
        }
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

/// With HTTPS the names that were said are served, and no others; where none were, every one is. A
/// certificate of the local authority is for this machine's own names as well, and one that is given
/// beside it for those in it.
pub(super) fn serve_names(config: &mut Config, aliases: &[String], flags: &HttpsFlags) {
    let mut names = [aliases, &flags.acme_hosts].concat();
    if names.is_empty() {
        return;
    }
    if flags.auto {
        names.extend(OWN_NAMES.map(str::to_owned));
        names.extend(flags.cert_names.iter().filter_map(|name| host_of(name)));
    }
    let Some(place) = config.routes.iter().position(|rule| rule.host == "*") else { return };
    let every = config.routes.remove(place);
    for name in names {
        if config.routes.iter().all(|rule| rule.host != name) {
            config.routes.push(RouteRule::new(&name, "/*", every.action.clone()));
        }
    }
}

/// A name in a certificate as a host of rules, if it can be one.
fn host_of(name: &str) -> Option<String> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Some(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
    }
    super::is_host(name.strip_prefix("*.").unwrap_or(name)).then(|| name.to_owned())
}

/// `--acme` that is for nobody.
///
/// # Errors
/// No host gets a certificate from the authority.
pub(super) fn check_acme(flags: &HttpsFlags, acme_hosts: &[String]) -> Result<(), Failure> {
    match flags.acme.is_some() && acme_hosts.is_empty() {
        false => Ok(()),
        true => Err(Failure::usage("--acme has no public host to ask for")
            .tip("name it: --acme-domain=www.example.com")
            .tip("for names of this machine or network: --auto-tls")),
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
