//! `tls`, `acme`, `certs` and `hsts`: which hosts get their certificates from where, and what browsers
//! are told.

use super::Bench;
use super::hosts::once;
use crate::contract::attempt::AttemptCode;
use crate::contract::config::{AcmeConfig, CertFiles, Fallback, Hsts, TlsConfig};
use crate::contract::https_flags::OWN_NAMES;
use crate::contract::public_name;
use crate::edgefile::span::Span;
use crate::edgefile::surroundings::Trouble;
use crate::edgefile::validate::{Checked, Given};
use std::time::Duration;

/// Hosts by where their certificates come from.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    pub certs: Vec<CertFiles>,
    pub acme: Vec<String>,
    pub auto: Vec<String>,
    pub plain: Vec<String>,
    /// The first thing that HTTPS can be served with.
    pub origin: Option<Origin>,
}

/// A place in the file.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub span: Span,
    pub path: String,
}

/// What `edge` says of it.
pub(super) fn tls(
    edge: Option<&Checked>,
    hosts: &mut Hosts,
    bench: &mut Bench<'_, '_>,
) -> TlsConfig {
    let mut tls = TlsConfig::default();
    let Some(edge) = edge else { return tls };
    for list in edge.all("certs") {
        hosts.origin.get_or_insert_with(|| Origin::of(list));
        for given in &list.arguments {
            let found = given.text().and_then(|path| bench.directory(path, Some(given), list));
            let Some(found) = found else { continue };
            if tls.cert_dirs.contains(&found) {
                let hint = "leave one of them out";
                bench.report.warning(given.span, &list.path, "the directory is named twice", hint);
                continue;
            }
            tls.cert_dirs.push(found);
        }
    }
    tls.acme = edge.child("acme").and_then(|acme| self::acme(acme, bench));
    tls.hsts = edge.child("hsts").map(|hsts| self::hsts(hsts, bench));
    tls
}

/// Nodes that do nothing, or too much: nobody gets a certificate from the authority; HSTS without HTTPS,
/// or for a site that is to stay plain. `all` hosts are known.
pub(super) fn check_used(
    edge: Option<&Checked>,
    hosts: &Hosts,
    all: &[&str],
    is_secure: bool,
    bench: &mut Bench<'_, '_>,
) {
    let Some(edge) = edge.filter(|_| !bench.report.has_errors()) else { return };
    if let Some(acme) = edge.child("acme").filter(|_| hosts.acme.is_empty()) {
        let message = "no host gets a certificate from the authority";
        let hint = "public hosts of apps and sites do: names that anybody can look up";
        bench.report.warning(acme.span, &acme.path, message, hint);
    }
    if let Some(hsts) = edge.child("hsts")
        && let Some((plain, above)) = hosts.plain_below(hsts, all)
    {
        let message = format!("browsers that were at {above} do not come to {plain} in the clear");
        let hint = "leave include-subdomains out, or serve that site over HTTPS as well";
        bench.report.warning(hsts.span, &hsts.path, message, hint);
    }
    if let Some(hsts) = edge.child("hsts").filter(|_| !is_secure) {
        let message = "`hsts` does nothing without HTTPS";
        bench.report.warning(hsts.span, &hsts.path, message, "leave it out, or add `https`");
    }
}

impl Hosts {
    /// A plain site below another host that tells browsers to come to it, and to what is below it,
    /// over HTTPS only (RFC 6797 §8.2).
    fn plain_below<'a>(&'a self, hsts: &Checked, all: &[&'a str]) -> Option<(&'a str, &'a str)> {
        hsts.property("include-subdomains").and_then(Given::flag).filter(|on| *on)?;
        let is_plain = |host: &str| self.plain.iter().any(|plain| plain == host);
        let is_above = |above: &str, plain: &str| {
            plain.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
        };
        self.plain.iter().find_map(|plain| {
            let above = all.iter().find(|above| is_above(above, plain) && !is_plain(above))?;
            Some((plain.as_str(), *above))
        })
    }

    /// Takes up what `site` says of its hosts, or what goes without saying.
    pub(super) fn add_site(
        &mut self,
        site: &Checked,
        hosts: &[String],
        has_acme: bool,
        bench: &mut Bench<'_, '_>,
    ) {
        let Some(tls) = site.child("tls") else {
            if has_acme {
                self.add_public(site, hosts.iter().map(String::as_str));
            }
            return;
        };
        if tls.has_gaps {
            return;
        }
        let files = tls.property("cert").or(tls.property("key"));
        let Some(word) = tls.argument().and_then(Given::text) else {
            if let Some(files) = certificate(tls, hosts, bench) {
                self.certs.push(files);
                self.origin.get_or_insert_with(|| Origin::of(tls));
            }
            return;
        };
        if let Some(files) = files {
            let message = format!("\"{word}\" and files contradict");
            bench.report.error(files.span, &tls.path, message, "leave one of them out");
            return;
        }
        match word {
            "acme" => self.add_acme(site, tls, has_acme, bench),
            "auto" => {
                for host in hosts {
                    match host.as_str() {
                        // Whoever comes by another name does so on this machine.
                        "*" => self.auto.extend(OWN_NAMES.map(str::to_owned)),
                        host => self.auto.push(host.to_owned()),
                    }
                }
                self.origin.get_or_insert_with(|| Origin::of(tls));
            }
            _ => self.plain.extend_from_slice(hosts),
        }
    }

    /// Takes up the hosts of an app: they are sites that say nothing of it.
    pub(super) fn add_app(&mut self, app: &Checked) {
        let hosts = once(app, "hosts");
        self.add_public(app, hosts.into_iter().map(|(host, _)| host));
    }

    fn add_public<'h>(&mut self, node: &Checked, hosts: impl Iterator<Item = &'h str>) {
        for host in hosts.filter(|host| public_name::refusal(host).is_none()) {
            self.origin.get_or_insert_with(|| Origin::of(node));
            if !self.acme.iter().any(|known| known == host) {
                self.acme.push(host.to_owned());
            }
        }
    }

    fn add_acme(
        &mut self,
        site: &Checked,
        tls: &Checked,
        has_acme: bool,
        bench: &mut Bench<'_, '_>,
    ) {
        self.origin.get_or_insert_with(|| Origin::of(tls));
        if !has_acme {
            let message = "\"acme\" needs an authority: `edge` has no `acme`";
            let hint = "write edge { acme email=\"you@example.com\" }";
            bench.report.error(tls.span, &tls.path, message, hint);
        }
        for (host, span) in site.texts() {
            let Some(why) = public_name::refusal(host) else {
                self.add_public(tls, std::iter::once(host));
                continue;
            };
            let message = format!("no authority makes a certificate for \"{host}\": it {why}");
            let hint = match host.starts_with('*') {
                true => "name the hosts, or name the files of a certificate: tls cert=… key=…",
                false => "write tls \"auto\" for a certificate of this machine's own authority",
            };
            bench.report.error(span, &tls.path, message, hint);
        }
    }
}

impl Origin {
    fn of(node: &Checked) -> Self {
        Self { span: node.span, path: node.path.clone() }
    }
}

fn acme(node: &Checked, bench: &mut Bench<'_, '_>) -> Option<AcmeConfig> {
    let email = node.property("email").and_then(|given| Some((given.text()?, given.span)));
    if let Some((email, span)) = email.filter(|(email, _)| !public_name::is_email(email)) {
        let message = format!("\"{email}\" is no mail address");
        let hint = "for example email=\"you@example.com\"";
        bench.report.error(span, &node.path_to("email"), message, hint);
    }
    let staging = node.property("staging").filter(|given| given.flag() == Some(true));
    let directory = match (node.property("directory"), staging) {
        (Some(directory), staging) => {
            if let Some(staging) = staging {
                let message = "`staging` and `directory` contradict: both say which authority";
                let hint = "leave one of them out";
                bench.report.error(staging.span, &node.path_to("staging"), message, hint);
            }
            directory.text()?
        }
        (None, Some(_)) => AcmeConfig::LETS_ENCRYPT_STAGING,
        (None, None) => AcmeConfig::LETS_ENCRYPT,
    };
    let ca = node.property("ca").and_then(|given| {
        let found = bench.machine.authorities(given.text()?);
        bench.taken(found, given.span, &node.path_to("ca"))
    });
    let refuses = node.property("fallback").and_then(Given::text) == Some("refuse");
    Some(AcmeConfig {
        email: email.map(|(email, _)| email.to_owned()),
        directory: directory.to_owned(),
        ca,
        fallback: if refuses { Fallback::Refuse } else { Fallback::SelfSigned },
    })
}

fn hsts(node: &Checked, bench: &mut Bench<'_, '_>) -> Hsts {
    let flag = |name| node.property(name).and_then(Given::flag).unwrap_or(false);
    let hsts = Hsts {
        max_age: node.property("max-age").and_then(Given::duration).unwrap_or(Hsts::MAX_AGE),
        include_subdomains: flag("include-subdomains"),
        preload: flag("preload"),
    };
    if hsts.preload && (!hsts.include_subdomains || hsts.max_age < Hsts::MAX_AGE) {
        let message = "no browser's list takes a host with this `preload`";
        let hint = "they ask for include-subdomains=#true and a max-age of at least 365d";
        bench.report.warning(node.span, &node.path_to("preload"), message, hint);
    }
    if hsts.max_age < Duration::from_secs(1) {
        let message = "`max-age` is told in whole seconds, and this would be none";
        bench.report.error(node.span, &node.path_to("max-age"), message, "write \"1s\" or more");
    }
    hsts
}

/// The files of `tls`.
fn certificate(tls: &Checked, hosts: &[String], bench: &mut Bench<'_, '_>) -> Option<CertFiles> {
    let (cert, key) = match (tls.property("cert"), tls.property("key")) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => {
            let message = "`tls` does not say where the certificate comes from";
            let hint = "write tls cert=\"site.crt\" key=\"site.key\", or tls \"acme\", \"auto\" or \"off\"";
            bench.report.error(tls.span, &tls.path, message, hint);
            return None;
        }
        (cert, _) => {
            let missing = if cert.is_some() { "key" } else { "cert" };
            let message = format!("`tls` needs {missing}= as well");
            let hint = "a certificate and its key are a pair";
            bench.report.error(tls.span, &tls.path, message, hint);
            return None;
        }
    };
    let chain = readable(tls, "cert", cert, bench);
    let private = readable(tls, "key", key, bench);
    let (chain, (private, by_others)) = (chain?.0, private?);
    let fits = bench.machine.certificate(&chain, &private);
    if let Some(doubt) = bench.taken(fits, cert.span, &tls.path)? {
        bench.report.doubt(cert.span, &tls.path_to("cert"), doubt);
    }
    if by_others {
        let message = format!("others may read the key {private}");
        let hint = format!("chmod o-r {private}");
        bench.report.warning(key.span, &tls.path_to("key"), message, hint);
    }
    Some(CertFiles { hosts: hosts.to_vec(), cert_path: chain, key_path: private })
}

fn readable(
    tls: &Checked,
    name: &str,
    given: &Given,
    bench: &mut Bench<'_, '_>,
) -> Option<(String, bool)> {
    let found = bench.machine.readable_file(given.text()?);
    let found = found.map_err(|trouble| Trouble { code: AttemptCode::CertUnreadable, ..trouble });
    bench.taken(found, given.span, &tls.path_to(name))
}
