//! Hosts that are added while the server runs. They outlive reloads, not the server.
//!
//! An entry is checked against the configuration when it is added. Later configurations may be at
//! odds with it: they may have the host themselves, or its app no more. Then they win, and the entry
//! is kept without effect until a configuration agrees with it again; whoever reloads is told.

use crate::contract::app::AppDescriptor;
use crate::contract::config::Config;
use crate::contract::public_name;
use crate::contract::route::{Methods, RouteAction, RouteRule};
use crate::ids::AppId;
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// The hosts, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    entries: Vec<Entry>,
}

/// A host that was added.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The host, as [`host`] has it.
    pub host: String,
    /// Where all its requests go.
    pub target: Target,
}

/// Where the requests of a host go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// To an app of the configuration.
    App(AppId),
    /// To an app of its own.
    Path {
        /// What the operator named.
        path: String,
        /// The app that is there, once that is known; no two paths have apps of the same name.
        app: Option<Box<AppDescriptor>>,
    },
}

/// Why a host is not added or removed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It was added before.
    #[error("host '{0}' is added already; remove it first")]
    Added(String),
    /// The configuration has rules for it.
    #[error("host '{0}' is configured already")]
    Configured(String),
    /// Its syntax.
    #[error("{text:?} is no host name: {problem}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It was not added.
    #[error("host '{0}' was not added while the server runs")]
    NotAdded(String),
    /// There is no such app.
    #[error("there is no app '{app}'; there is {known}")]
    UnknownApp {
        /// The name that was given.
        app: AppId,
        /// The names there are.
        known: String,
    },
}

impl Overlay {
    /// Adds a host. `config` is what the source has made last, without this overlay. The host has an
    /// effect with the next configuration that [`Self::apply`] is called with.
    ///
    /// # Errors
    /// The host is malformed, or has rules already, or its app does not exist.
    pub fn add(&mut self, text: &str, target: Target, config: &Config) -> Result<(), Refusal> {
        let host = host(text)?;
        if self.position(&host).is_some() {
            return Err(Refusal::Added(host));
        }
        if config.routes.iter().any(|rule| rule.host == host) {
            return Err(Refusal::Configured(host));
        }
        if let Target::App(app) = &target {
            let mut known = config.apps.iter().chain(self.brought());
            if !known.any(|known| known.id == *app) {
                let known = config.apps.iter().chain(self.brought());
                return Err(Refusal::UnknownApp { app: app.clone(), known: names(known) });
            }
        }
        self.entries.push(Entry { host, target });
        Ok(())
    }

    /// Removes a host that was added, with effect from the next configuration.
    ///
    /// # Errors
    /// It is malformed, or was not added.
    pub fn remove(&mut self, text: &str) -> Result<Entry, Refusal> {
        let host = host(text)?;
        match self.position(&host) {
            Some(index) => Ok(self.entries.remove(index)),
            None => Err(Refusal::NotAdded(host)),
        }
    }

    /// What is at `path` is known by now, or again.
    pub fn resolve(&mut self, path: &str, app: &AppDescriptor) {
        for entry in &mut self.entries {
            if let Target::Path { path: own, app: place } = &mut entry.target
                && own == path
            {
                *place = Some(Box::new(app.clone()));
            }
        }
    }

    /// Paths of which it is not known what is there, each once.
    pub fn unresolved(&self) -> Vec<&str> {
        let mut paths = Vec::new();
        for entry in &self.entries {
            if let Target::Path { path, app: None } = &entry.target
                && !paths.contains(&path.as_str())
            {
                paths.push(path);
            }
        }
        paths
    }

    /// Adds to `config`, which has none of this yet, a rule for each host, and the apps that are only
    /// here.
    ///
    /// # Errors
    /// For each entry that has no effect with this configuration, why. All others have.
    pub fn apply(&self, config: &mut Config) -> Result<(), Vec<String>> {
        let first_brought = config.apps.len();
        let mut idle = Vec::new();
        // Apps first: hosts of other entries may lead to them.
        let (bring, lead): (Vec<_>, Vec<_>) =
            self.entries.iter().partition(|entry| matches!(entry.target, Target::Path { .. }));
        for entry in bring.into_iter().chain(lead) {
            if let Err(why) = entry.apply(config, first_brought) {
                idle.push(format!("added host '{}' has no effect: {why}", entry.host));
            }
        }
        if idle.is_empty() { Ok(()) } else { Err(idle) }
    }

    /// The hosts, in the order in which they were added.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Apps of paths; one may come more than once.
    fn brought(&self) -> impl Iterator<Item = &AppDescriptor> {
        self.entries.iter().filter_map(|entry| match &entry.target {
            Target::App(_) | Target::Path { app: None, .. } => None,
            Target::Path { app: Some(app), .. } => Some(&**app),
        })
    }

    fn position(&self, host: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.host == host)
    }
}

impl Entry {
    /// The apps from `first_brought` on are those that paths have brought.
    fn apply(&self, config: &mut Config, first_brought: usize) -> Result<(), String> {
        if config.routes.iter().any(|rule| rule.host == self.host) {
            return Err("it is configured".to_owned());
        }
        let id = format!("{}/*", self.host);
        if config.routes.iter().any(|rule| rule.id == id) {
            return Err(format!("another rule is called '{id}'"));
        }
        let app_id = match &self.target {
            Target::App(app) if config.app_index(app).is_none() => {
                return Err(format!("there is no app '{app}'"));
            }
            Target::App(app) => app.clone(),
            Target::Path { path, app: None } => {
                return Err(format!("it is not known what is at '{path}'"));
            }
            Target::Path { app: Some(app), .. } => {
                self.bring(app, config, first_brought)?;
                app.id.clone()
            }
        };
        config.routes.push(RouteRule {
            id,
            host: self.host.clone(),
            path_pattern: "/*".to_owned(),
            methods: Methods::Any,
            action: RouteAction::ToApp { app_id },
            priority: u32::try_from(config.routes.len()).unwrap_or(u32::MAX),
            explicit: false,
            headers: None,
            timeouts: None,
            body_limit: None,
            line: None,
            compress: Default::default(),
            stream_request: None,
        });
        self.certify(config);
        Ok(())
    }

    /// Its host gets a certificate from whoever makes those of hosts that say nothing of it.
    fn certify(&self, config: &mut Config) {
        let is_it = |host: &String| *host == self.host;
        let has_one = config.certs.iter().flat_map(|cert| &cert.hosts).any(is_it)
            || config.acme_hosts.iter().chain(&config.auto_hosts).any(is_it);
        if config.edge.https.is_empty() || has_one {
            return;
        }
        let is_public = public_name::refusal(&self.host).is_none();
        if config.edge.tls.acme.is_some() && is_public {
            config.acme_hosts.push(self.host.clone());
        } else if !config.auto_hosts.is_empty() {
            config.auto_hosts.push(self.host.clone());
        }
    }

    /// The app of a path, which serves each host that was added with that path.
    fn bring(
        &self,
        app: &AppDescriptor,
        config: &mut Config,
        first_brought: usize,
    ) -> Result<(), String> {
        match config.app_index(&app.id) {
            None => {
                config.apps.push(AppDescriptor { hosts: vec![self.host.clone()], ..app.clone() })
            }
            Some(index) if index < first_brought => {
                return Err(format!("the configuration has an app '{}' of its own", app.id));
            }
            Some(index) => {
                if let Some(own) = config.apps.get_mut(index) {
                    own.hosts.push(self.host.clone());
                }
            }
        }
        Ok(())
    }
}

/// A host as rules have it: lower case, without the root's dot; a name, `*.` before a name, an IPv4
/// address, or an IPv6 address in brackets.
///
/// # Errors
/// It is none of these.
pub fn host(text: &str) -> Result<String, Refusal> {
    let refuse = |problem| Refusal::Malformed { text: text.to_owned(), problem };
    if let Some(six) = text.strip_prefix('[') {
        let six = six.strip_suffix(']').and_then(|six| six.parse::<Ipv6Addr>().ok());
        let six = six.ok_or_else(|| refuse("an IPv6 address stands alone in brackets"))?;
        return Ok(format!("[{six}]"));
    }
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    if name.contains(':') {
        return Err(refuse("it has neither port nor scheme"));
    }
    if name.contains('*') {
        return Err(refuse("a `*` is the whole first label, before a name"));
    }
    if name.len() > NAME_BYTES {
        return Err(refuse("it is longer than 253 characters"));
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_BYTES {
            return Err(refuse("each part between dots has 1 to 63 characters"));
        }
        let is_ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !label.bytes().all(is_ok) {
            return Err(refuse("it has letters a to z, digits, `-`, `_` and dots"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(refuse("no part begins or ends with `-`"));
        }
    }
    Ok(lower)
}

fn names<'a>(apps: impl Iterator<Item = &'a AppDescriptor>) -> String {
    let names: BTreeSet<_> = apps.map(|app| format!("'{}'", app.id)).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => Vec::from_iter(names).join(", "),
    }
}

/// The longest name of the DNS.
const NAME_BYTES: usize = 253;
/// The longest part of one.
const LABEL_BYTES: usize = 63;

#[cfg(test)]
mod tests;
