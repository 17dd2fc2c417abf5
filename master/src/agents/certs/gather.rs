//! From where certificates lie to a set that can be served.

use super::authority::{self, Places};
use super::choice::{Choice, choose, is_current};
use super::directory;
use super::issue;
use super::readings::Readings;
use super::told::Fault;
use crate::shared::cert_files::{CHAIN_FILE, KEY_FILE, Leaf, Wrong};
use crate::shared::certs::{CertSet, CertSources, Served};
use crate::sys::places::places;
use rip::contract::cert::{CertSource, covers};
use rip::contract::config::Fallback;
use rip::contract::event::Event;
use rip::tls::claim::{Claim, Origin, arrange};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Gathers certificates. It reads files, and makes what is to be made.
pub struct Gatherer {
    authorities: Places,
    /// ACME certificates lie below it, in a directory for each host.
    dir: PathBuf,
    readings: Readings,
    /// What the authority has made, by its fingerprint and the hosts, oldest first.
    leaves: Vec<((String, Vec<String>), Leaf)>,
}

/// What was found.
#[derive(Default)]
pub struct Gathered {
    /// What can be served.
    pub set: CertSet,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What keeps files that the configuration names, or what the local authority should make, from
    /// being served.
    pub fatal: Vec<String>,
    /// The authority that certificates are made with.
    pub authority: Option<Event>,
    /// Directories in which a change can change the set.
    pub places: BTreeSet<PathBuf>,
}

/// The search under way.
struct Search<'g> {
    gatherer: &'g mut Gatherer,
    /// What is served now, by its files.
    live: HashMap<(&'g str, &'g str), &'g Served>,
    now: u64,
    found: Vec<Found>,
    /// The files that [`Self::found`] came from.
    chains: HashSet<PathBuf>,
    gathered: Gathered,
}

struct Found {
    origin: Origin,
    hosts: Vec<String>,
    served: Served,
}

impl Gatherer {
    /// Nothing is read yet. `dir` is where certificates are that the server has got itself.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            authorities: Places::new(dir.clone()),
            dir,
            readings: Readings::default(),
            leaves: Vec::new(),
        }
    }

    /// What `sources` have at `now`, in seconds. What is in `live` stays where its files have become
    /// unusable.
    pub fn gather(&mut self, sources: &CertSources, live: &CertSet, now: u64) -> Gathered {
        let by_files = |served: &'_ Served| !served.record.cert_path.is_empty();
        let live_by_files = live.served.iter().filter(|served| by_files(served)).map(|served| {
            ((served.record.cert_path.as_str(), served.record.key_path.as_str()), served)
        });
        let mut search = Search {
            live: live_by_files.collect(),
            now,
            found: Vec::new(),
            chains: HashSet::new(),
            gathered: Gathered::default(),
            gatherer: self,
        };
        search.files(sources);
        search.directories(sources, live);
        search.acme(sources);
        search.local(sources, live);
        let refused = search.temporary(sources, live);
        let gathered = search.finish(&refused);
        self.readings.forget_others();
        gathered
    }

    #[cfg(test)]
    pub(super) fn without_mkcert(mut self) -> Self {
        self.authorities.mkcert = None;
        self
    }
}

impl<'g> Search<'g> {
    fn files(&mut self, sources: &CertSources) {
        for files in &sources.files {
            let is_same = |found: &&mut Found| {
                let record = &found.served.record;
                (&record.cert_path, &record.key_path) == (&files.cert_path, &files.key_path)
            };
            if let Some(known) = self.found.iter_mut().find(is_same) {
                known.hosts.extend(files.hosts.iter().cloned());
                continue;
            }
            let (cert, key) = (Path::new(&files.cert_path), Path::new(&files.key_path));
            if let Err(wrong) = self.take(Origin::Files, cert, key, &files.hosts) {
                let files = format!("certificate {}, key {}", cert.display(), key.display());
                self.gathered.fatal.push(format!("{files}: {wrong}"));
            }
        }
    }

    fn directories(&mut self, sources: &CertSources, live: &CertSet) {
        for dir in &sources.dirs {
            let dir = Path::new(dir);
            self.watch(&dir.join(CHAIN_FILE));
            let pairs = directory::pairs(dir);
            for pair in pairs.iter().flatten() {
                if !self.is_found(&pair.cert) {
                    // What is wrong with it is told as a fault.
                    let _ = self.take(Origin::Directory, &pair.cert, &pair.key, &[]);
                }
            }
            if let Err(error) = &pairs {
                let message = format!("the directory cannot be read: {error}");
                let kept = live.served.iter().any(|served| is_in(dir, served));
                self.fault(dir, Vec::new(), Wrong::new(message, ""), kept);
            }
            for served in live.served.iter().filter(|served| is_in(dir, served)) {
                let (cert, key) = (&served.record.cert_path, &served.record.key_path);
                let (has_cert, has_key) = (Path::new(cert).exists(), Path::new(key).exists());
                // Who takes both away wants it gone.
                let is_gone = pairs.is_ok() && !has_cert && !has_key;
                if is_gone || self.is_found(Path::new(cert)) {
                    continue;
                }
                if pairs.is_ok() {
                    let missing =
                        if has_cert { "its key is gone" } else { "it is gone, its key is not" };
                    let wrong = Wrong::new(missing, "remove both, or put both back");
                    self.fault(Path::new(cert), served.record.domains.clone(), wrong, true);
                }
                self.keep(Origin::Directory, &[], served);
            }
        }
    }

    fn acme(&mut self, sources: &CertSources) {
        for host in &sources.acme_hosts {
            let dir = self.gatherer.dir.join(host);
            let (cert, key) = (dir.join(CHAIN_FILE), dir.join(KEY_FILE));
            self.watch(&cert);
            let is_known = self.live_of(&cert, &key).is_some();
            // Until the first one has come there is nothing to complain of.
            if !self.is_found(&cert) && (is_known || cert.exists() || key.exists()) {
                // What is wrong with it is told as a fault.
                let _ = self.take(Origin::Acme, &cert, &key, std::slice::from_ref(host));
            }
        }
    }

    fn local(&mut self, sources: &CertSources, live: &CertSet) {
        if sources.auto_hosts.is_empty() {
            return;
        }
        let mut hosts: Vec<String> = Vec::new();
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        for host in sources.auto_hosts.iter().filter(|host| *host != "*").chain(&own) {
            // Hosts of URLs have brackets around an address that certificates do not.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if !hosts.iter().any(|known| known == host) {
                hosts.push(host.to_owned());
            }
        }
        let Err(wrong) = self.issue(&hosts, &sources.auto_hosts) else { return };
        let is_its = |served: &&Served| {
            served.record.source == CertSource::Auto && served.record.domains == hosts
        };
        let before = live.served.iter().find(is_its);
        match before {
            Some(served) => self.keep(Origin::Local, &sources.auto_hosts, served),
            None => self.gathered.fatal.push(wrong.to_string()),
        }
        // What is in memory only goes by its first name.
        let place = PathBuf::from(hosts.first().cloned().unwrap_or_default());
        self.fault(&place, hosts, wrong, before.is_some());
    }

    /// A certificate of the local authority for `names`, which the configuration wants for `hosts`.
    fn issue(&mut self, names: &[String], hosts: &[String]) -> Result<(), Wrong> {
        let authority = authority::find(&self.gatherer.authorities, self.now)?;
        let path = authority.path.display().to_string();
        self.watch(&authority.path);
        let trust = if authority.made { authority::trust(&authority.path) } else { Vec::new() };
        self.gathered.authority = Some(Event::CertAuthority { path, made: authority.made, trust });
        let name = (authority.fingerprint.clone(), names.to_vec());
        let leaves = &mut self.gatherer.leaves;
        let now = self.now;
        leaves.retain(|(_, leaf)| !issue::is_due(leaf.not_before, leaf.not_after, now));
        let leaf = match leaves.iter().find(|(known, _)| *known == name) {
            Some((_, leaf)) => leaf.clone(),
            None => {
                let made = issue::leaf(names, &authority.issuer, authority.not_after, now);
                let made = made.map_err(|error| {
                    let message =
                        format!("no certificate can be made for {}: {error}", names.join(", "));
                    Wrong::new(message, "names are written in ASCII: xn--…")
                })?;
                let leaf = made.leaf()?;
                if leaves.len() >= LEAF_COUNT {
                    leaves.remove(0);
                }
                leaves.push((name, leaf.clone()));
                leaf
            }
        };
        self.push(Origin::Local, hosts, &leaf, "", "");
        Ok(())
    }

    /// Sees that hosts without a certificate of an authority get a temporary one; those that are to
    /// get none are returned.
    fn temporary(&mut self, sources: &CertSources, live: &CertSet) -> Vec<String> {
        let mut refused = Vec::new();
        for host in &sources.acme_hosts {
            let is_for = |found: &Found| {
                let names = found.hosts.iter().chain(&found.served.record.domains);
                names.into_iter().any(|name| covers(name, host))
            };
            if self.found.iter().any(is_for) {
                continue;
            }
            if sources.fallback == Fallback::Refuse {
                refused.push(host.clone());
                continue;
            }
            let is_its = |served: &&Served| {
                let record = &served.record;
                record.source == CertSource::Auto
                    && record.domains == [host.as_str()]
                    && !issue::is_due(record.not_before, record.not_after, self.now)
            };
            if let Some(served) = live.served.iter().find(is_its) {
                self.keep(Origin::Temporary, std::slice::from_ref(host), served);
                continue;
            }
            let made = issue::temporary(host, self.now);
            let made = made.map_err(|error| Wrong::new(error.to_string(), ""));
            match made.and_then(|made| made.leaf()) {
                Ok(leaf) => self.push(Origin::Temporary, std::slice::from_ref(host), &leaf, "", ""),
                Err(wrong) => self.fault(Path::new(host), vec![host.clone()], wrong, false),
            }
        }
        refused
    }

    /// Takes up a pair of files, or what was served of it before; tells what keeps the files
    /// themselves from being served.
    fn take(
        &mut self,
        origin: Origin,
        cert: &Path,
        key: &Path,
        hosts: &[String],
    ) -> Result<(), Wrong> {
        self.watch(cert);
        self.watch(key);
        let mut fresh = self.gatherer.readings.read(cert, key);
        if origin == Origin::Acme
            && let Ok(leaf) = &fresh
            && let Some(host) =
                hosts.iter().find(|host| !leaf.names.iter().any(|name| covers(name, host)))
        {
            fresh =
                Err(Wrong::new(format!("it is not for {host}"), "remove it: another one is got"));
        }
        let before = self.live_of(cert, key);
        let (choice, doubt) = choose(&fresh, before.map(|served| &served.record), self.now);
        if let Some(wrong) = doubt {
            let own = fresh.as_ref().map(|leaf| leaf.names.clone()).ok();
            let known = || before.map(|served| served.record.domains.clone());
            let domains = own.or_else(known).unwrap_or_else(|| hosts.to_vec());
            self.fault(cert, domains, wrong, choice == Choice::Kept);
        }
        match (choice, &fresh, before) {
            (Choice::Fresh, Ok(leaf), _) => {
                self.push(origin, hosts, leaf, &cert.to_string_lossy(), &key.to_string_lossy());
            }
            (Choice::Kept, _, Some(served)) => self.keep(origin, hosts, served),
            _ => {}
        }
        fresh.map(drop)
    }

    fn push(&mut self, origin: Origin, hosts: &[String], leaf: &Leaf, cert: &str, key: &str) {
        let source = match origin {
            Origin::Files | Origin::Directory => CertSource::Manual,
            Origin::Acme => CertSource::Acme,
            Origin::Local | Origin::Temporary => CertSource::Auto,
        };
        let served = Served { record: leaf.record(source, cert, key), key: leaf.key.clone() };
        self.add(origin, hosts, served);
    }

    fn keep(&mut self, origin: Origin, hosts: &[String], served: &Served) {
        self.add(origin, hosts, served.clone());
    }

    fn add(&mut self, origin: Origin, hosts: &[String], served: Served) {
        self.chains.insert(PathBuf::from(&served.record.cert_path));
        self.found.push(Found { origin, hosts: hosts.to_vec(), served });
    }

    fn fault(&mut self, place: &Path, domains: Vec<String>, wrong: Wrong, kept: bool) {
        let place = place.to_string_lossy().into_owned();
        self.gathered.faults.push(Fault { place, domains, wrong, kept });
    }

    fn watch(&mut self, file: &Path) {
        self.gathered.places.extend(places(file));
    }

    fn is_found(&self, cert: &Path) -> bool {
        self.chains.contains(cert)
    }

    fn live_of(&self, cert: &Path, key: &Path) -> Option<&'g Served> {
        self.live.get(&(&*cert.to_string_lossy(), &*key.to_string_lossy())).copied()
    }

    fn finish(self, refused: &[String]) -> Gathered {
        let Self { found, mut gathered, now, .. } = self;
        let claims: Vec<_> = found
            .iter()
            .map(|found| Claim {
                origin: found.origin,
                is_current: is_current(&found.served.record, now),
                hosts: &found.hosts,
                names: &found.served.record.domains,
            })
            .collect();
        let by_name = arrange(&claims, refused);
        let mut taken: HashMap<String, u32> = HashMap::new();
        let served = found.into_iter().map(|Found { mut served, .. }| {
            let name = served.record.domains.first();
            let name = name.cloned().unwrap_or_else(|| "certificate".to_owned());
            let count = taken.entry(name.clone()).or_default();
            *count += 1;
            served.record.id = if *count == 1 { name } else { format!("{name}-{count}") };
            served
        });
        gathered.set = CertSet { served: served.collect(), by_name };
        gathered
    }
}

/// `served` comes from a file in `dir` itself.
fn is_in(dir: &Path, served: &Served) -> bool {
    served.record.source == CertSource::Manual
        && Path::new(&served.record.cert_path).parent() == Some(dir)
}

/// Certificates of the authority that are kept: for the configuration that is active, and for those
/// that are tried.
const LEAF_COUNT: usize = 4;
