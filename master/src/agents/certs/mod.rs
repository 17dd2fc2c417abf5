//! Certificates from where they lie to the set that handshakes choose from.
//!
//! One thread watches files and directories and follows what changes in them; the thread that makes
//! a configuration reads what that one needs; whoever gets certificates itself says when there is
//! another one. They all read through one [`Gatherer`], one after the other. The control loop never
//! waits for any of them: it swaps sets that are ready.
//!
//! ```text
//! compile ── stage ──▶ StagedCerts ──▶ control: activate ─┐            what is served is also what
//! thread ── inotify, time, asked ──▶ gather ──────────────┼──▶ Certs   is remembered: a pair that
//! acme   ── refresh ───────────────▶ gather ──────────────┘            breaks is kept from there
//! ```
//!
//! A set that was gathered for a configuration that is not active any more is thrown away.

mod authority;
mod choice;
mod directory;
mod gather;
mod issue;
mod readings;
mod told;
mod watch;

pub use authority::trust;

use crate::reactor::mailbox::Sender;
use crate::shared::cert_files;
use crate::shared::certs::{CertSet, CertSources, Certs, StagedCerts};
use crate::shared::mail::{CertTicket, ControlMessage};
use crate::shared::tls::prepare_random;
use gather::{Gathered, Gatherer};
use mio::{Poll, Token, Waker};
use rip::contract::attempt::AttemptCode;
use rip::contract::cert::{CertSource, TlsCertRecord};
use rip::contract::config::Config;
use rip::contract::event::Event;
use rip::reload::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use told::{Fault, Told};

/// Keeps the certificates that are served what they should be. Clones are handles of the same one.
#[derive(Clone)]
pub struct CertKeeper {
    desk: Arc<Desk>,
}

struct Desk {
    live: Arc<Certs>,
    control: Sender<ControlMessage>,
    /// Held for moments only: the control loop takes it.
    active: Mutex<Active>,
    /// Held while files are read: never taken by a loop.
    reader: Mutex<Reader>,
    waker: Waker,
}

#[derive(Default)]
struct Active {
    sources: Arc<CertSources>,
    /// Counts the configurations: a set is good for that one only which it was gathered for.
    epoch: u64,
    /// The thread shall look now.
    is_wanted: bool,
    is_stopped: bool,
    tickets: Vec<CertTicket>,
    /// What is wrong, as of the last look.
    faults: Vec<String>,
    /// The file of the local authority's certificate, where it makes any.
    authority: Option<String>,
    /// By domain: when another one was last asked for, and what came of it.
    renewals: BTreeMap<String, (u64, String)>,
}

struct Reader {
    gatherer: Gatherer,
    told: Told,
    /// The authority that was told of last, by its file.
    authority: Option<String>,
    /// Names that no certificate is for, as of the last look.
    bare: BTreeSet<String>,
}

/// Where certificates are that the server has got itself, below what outlives it.
pub fn directory(state_dir: &str) -> PathBuf {
    Path::new(state_dir).join("certs")
}

impl CertKeeper {
    /// Gathers what `config` needs, and serves it at `live`; files of the server's own are in `dir`.
    /// Nothing is watched before the [`Watch`] has begun. Reads files.
    ///
    /// # Errors
    /// Files that the configuration names cannot be used, or the local authority cannot make what it
    /// should, each in a line.
    pub fn load(
        live: Arc<Certs>,
        dir: PathBuf,
        config: &Config,
        control: Sender<ControlMessage>,
    ) -> Result<(Self, Watch), LoadError> {
        for dir in [dir.clone(), dir.join("renewals")] {
            cert_files::sweep(&dir);
        }
        Self::load_with(live, Gatherer::new(dir), config, control)
    }

    fn load_with(
        live: Arc<Certs>,
        gatherer: Gatherer,
        config: &Config,
        control: Sender<ControlMessage>,
    ) -> Result<(Self, Watch), LoadError> {
        let poll = Poll::new().map_err(LoadError::System)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(LoadError::System)?;
        let (told, bare) = (Told::default(), BTreeSet::new());
        let reader = Reader { gatherer, told, authority: None, bare };
        let desk =
            Desk { live, control, active: Mutex::default(), reader: Mutex::new(reader), waker };
        let keeper = Self { desk: Arc::new(desk) };
        let staged =
            keeper.stage(config).map_err(|failure| LoadError::Unusable(failure.details))?;
        keeper.activate(&staged);
        let watch = Watch { poll, keeper: keeper.clone() };
        Ok((keeper, watch))
    }

    /// Gathers what `config` needs. Blocks, and is for the thread that makes configurations.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub fn stage(&self, config: &Config) -> Result<StagedCerts, Failure> {
        if !config.edge.https.is_empty() {
            prepare_random();
        }
        let sources = CertSources::of(config);
        let live = self.desk.live.load();
        let mut reader = self.desk.reader();
        let Gathered { set, fatal, authority, .. } =
            reader.gatherer.gather(&sources, &live, unix_now());
        // Whoever makes an authority must say so: the next one only finds it.
        self.desk.introduce(&mut reader, authority);
        if !fatal.is_empty() {
            return Err(Failure { code: AttemptCode::CertUnreadable, details: fatal });
        }
        Ok(StagedCerts { sources: Arc::new(sources), set: Arc::new(set) })
    }

    /// Serves what was staged from now on, and follows its sources. Never blocks. What was served
    /// before is returned: activated again, it is back.
    pub fn activate(&self, staged: &StagedCerts) -> StagedCerts {
        let mut active = self.desk.active();
        let sources = std::mem::replace(&mut active.sources, Arc::clone(&staged.sources));
        let set = self.desk.live.swap(Arc::clone(&staged.set));
        active.epoch += 1;
        active.is_wanted = true;
        drop(active);
        self.desk.wake();
        StagedCerts { sources, set }
    }

    /// Looks at every source now, and serves what is there. Blocks; what is served by then is
    /// returned.
    pub fn refresh(&self) -> Arc<CertSet> {
        self.desk.look();
        self.desk.live.load()
    }

    /// Has every source looked at soon; [`ControlMessage::CertsDone`] follows. Never blocks.
    pub fn ask(&self, ticket: CertTicket) {
        let mut active = self.desk.active();
        active.tickets.push(ticket);
        active.is_wanted = true;
        drop(active);
        self.desk.wake();
    }

    /// What is served, and what is wrong with what should be, one line each.
    pub fn report(&self) -> Report {
        let set = self.desk.live.load();
        let active = self.desk.active();
        let with_renewal = |record: &TlsCertRecord| {
            let mut record = record.clone();
            let renewal = record.domains.iter().find_map(|domain| active.renewals.get(domain));
            if record.source != CertSource::Manual
                && let Some((at, result)) = renewal
            {
                record.last_renew_attempt = Some(*at);
                record.last_renew_result = Some(result.clone());
            }
            record
        };
        Report {
            records: set.served.iter().map(|served| with_renewal(&served.record)).collect(),
            faults: active.faults.clone(),
            authority: active.authority.clone(),
        }
    }

    /// What is served.
    pub fn records(&self) -> Vec<TlsCertRecord> {
        self.report().records
    }

    /// An authority was asked for a certificate for `domain` at `at`, in seconds, and `result` came of
    /// it: `ok`, or what was in the way.
    pub fn note_renewal(&self, domain: &str, at: u64, result: &str) {
        self.desk.active().renewals.insert(domain.to_owned(), (at, result.to_owned()));
    }

    /// Has the thread end that watches. It is not waited for: a disk may hold it.
    pub fn stop(&self) {
        self.desk.active().is_stopped = true;
        self.desk.wake();
    }
}

/// How certificates are.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is served.
    pub records: Vec<TlsCertRecord>,
    /// What is wrong with what should be, one line each.
    pub faults: Vec<String>,
    /// The file of the local authority's certificate, where it makes any.
    pub authority: Option<String>,
}

/// The thread that watches, before it is one.
pub struct Watch {
    poll: Poll,
    keeper: CertKeeper,
}

/// Why there are no certificates to begin with.
#[derive(Debug)]
pub enum LoadError {
    /// A system call failed.
    System(io::Error),
    /// What the configuration names cannot be used: why, one line each.
    Unusable(Vec<String>),
}

impl Desk {
    fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the thread of the certificates cannot be woken: {error}");
        }
    }

    /// Gathers for the active configuration, serves that, and tells what is new. The directories in
    /// which a change can change it are returned.
    fn look(&self) -> BTreeSet<PathBuf> {
        let mut reader = self.reader();
        loop {
            let (sources, epoch) = {
                let mut active = self.active();
                active.is_wanted = false;
                (Arc::clone(&active.sources), active.epoch)
            };
            let now = unix_now();
            let live = self.live.load();
            let Gathered { set, faults, authority, places, .. } =
                reader.gatherer.gather(&sources, &live, now);
            let set = Arc::new(set);
            let mut active = self.active();
            if active.epoch != epoch {
                continue;
            }
            self.live.swap(Arc::clone(&set));
            active.faults = faults.iter().map(Fault::to_string).collect();
            active.authority = match &authority {
                Some(Event::CertAuthority { path, .. }) => Some(path.clone()),
                _ => None,
            };
            drop(active);
            self.introduce(&mut reader, authority);
            let records: Vec<_> = set.served.iter().map(|served| &served.record).collect();
            for event in reader.told.tell(&records, &faults, now) {
                warn_of_key(&event, &records, &sources.dirs);
                self.control.send(ControlMessage::Tell(Box::new(event)));
            }
            let bare = bare(&sources, &set);
            for name in bare.difference(&reader.bare) {
                log::warn!(
                    "no certificate is for {name}, and clients get another one that they refuse: give it \
                     one, or keep it plain (tls \"off\")"
                );
            }
            reader.bare = bare;
            return places;
        }
    }

    /// Tells which authority certificates are made with, once.
    fn introduce(&self, reader: &mut Reader, authority: Option<Event>) {
        if let Some(event) = authority
            && let Event::CertAuthority { path, made, .. } = &event
            && (*made || reader.authority.as_ref() != Some(path))
        {
            reader.authority = Some(path.clone());
            self.control.send(ControlMessage::Tell(Box::new(event)));
        }
    }
}

/// The names that are served over HTTPS with a certificate that is not for them.
fn bare(sources: &CertSources, set: &CertSet) -> BTreeSet<String> {
    // Who is refused is told so by the handshake.
    let is_bare = |name: &&String| {
        set.by_name.named(name).is_none() && set.by_name.select(Some(name)).is_some()
    };
    sources.names.iter().filter(is_bare).cloned().collect()
}

/// A key in one of `dirs` that others may read is warned of when it is taken up. Of files that are named
/// one by one it is said where they are named.
fn warn_of_key(event: &Event, records: &[&TlsCertRecord], dirs: &[String]) {
    let Event::CertLoaded { path: Some(path), .. } = event else { return };
    let Some(record) = records.iter().find(|record| record.cert_path == *path) else { return };
    let key = Path::new(&record.key_path);
    let is_in = |dir: &String| key.parent() == Some(Path::new(dir));
    if dirs.iter().any(is_in) && cert_files::others_may_read(key) {
        log::warn!("others may read the key {0}: chmod o-r {0}", key.display());
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

const WAKER: Token = Token(0);

#[cfg(test)]
mod tests;
