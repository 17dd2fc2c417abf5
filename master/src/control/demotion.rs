//! Becoming the user that the configuration names, once everything is open that takes more rights.
//!
//! ```text
//!  plan ──▶ (claim, bind, load) ──▶ hand_over ──▶ drop_rights ──▶ look ──▶ threads, workers, clients
//!  may we?      as who we were       what it        for good      can it do
//!                                  must write                     what comes?
//! ```
//!
//! What is left of root's rights afterwards: with apps that have users of their own, what it takes to
//! start and end their processes; with an Edgefile, the right to low ports, which a reload may name.
//! Processes that are started get none of them, but for the shims of those apps, which give them up
//! before they start anything.

use super::runtime_dir::RuntimeDir;
use super::start_error::StartError;
use crate::sys::privilege::{self, Capability, FOR_OTHERS, Identity};
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, access, fchownat};
use rip::contract::config::Config;
use rip::contract::settings::{Settings, Source};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Who the server becomes.
pub struct Demotion {
    identity: Identity,
    kept: Vec<Capability>,
}

impl Demotion {
    /// What `settings` ask for; `None` when the server stays who it is.
    ///
    /// # Errors
    /// There is no such user (exit 78), or this process may not do that for the server or for an app
    /// (exit 77).
    pub fn plan(settings: &Settings) -> Result<Option<Self>, StartError> {
        privilege::keep_to_ourselves()
            .map_err(|error| StartError::system("our own capabilities", &error))?;
        let user = settings.config.edge.user.as_deref().map(find).transpose()?;
        let user = user.filter(|user| !user.is_own());
        let (becomes, _) = user.as_ref().map_or(privilege::own_ids(), |user| (user.uid, user.gid));
        let mut others = false;
        for app in &settings.config.apps {
            let Some(name) = &app.user else { continue };
            if find(name)?.uid != becomes {
                others = true;
                let what = format!("app {} has the user {name}", app.id);
                require(&FOR_OTHERS, &what)?;
            }
        }
        let Some(identity) = user else { return Ok(None) };
        let needed = [Capability::Chown, Capability::SetGid, Capability::SetUid];
        if !privilege::has(&needed) {
            let (own, _) = privilege::own_ids();
            return Err(StartError::permission(format!(
                "to become {} takes root, and this process is user {own}",
                identity.name
            ))
            .hint("start it as root, or start it as that user and leave `user` out"));
        }
        let mut kept = Vec::new();
        if others {
            kept.extend(FOR_OTHERS);
        }
        if matches!(settings.source, Source::Edgefile { .. }) {
            kept.push(Capability::NetBindService);
        }
        Ok(Some(Self { identity, kept }))
    }

    /// Gives the user what it must be able to change: the runtime directory, what is in the state
    /// directory, and the directory that the init system made for this service's cache.
    ///
    /// # Errors
    /// What cannot be given away.
    pub fn hand_over(&self, runtime: &RuntimeDir, settings: &Settings) -> Result<(), StartError> {
        let (uid, gid) = (self.identity.uid, self.identity.gid);
        runtime
            .hand_over(uid, gid)
            .map_err(|error| self.cannot("be given the runtime directory", &error))?;
        let state = Path::new(&settings.state_dir);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE)
            .create(state)
            .and_then(|()| self.own_state(state))
            .map_err(|error| self.cannot(&format!("be given {}", state.display()), &error))?;
        if let Some(cache) = super::boot::cache_directory() {
            self.own(&cache)
                .map_err(|error| self.cannot(&format!("be given {}", cache.display()), &error))?;
        }
        Ok(())
    }

    /// Becomes the user.
    ///
    /// # Errors
    /// The kernel refuses, or the user cannot reach what the server lives by.
    pub fn drop_rights(self, runtime: &RuntimeDir) -> Result<(), StartError> {
        privilege::become_user(&self.identity, &self.kept)
            .map_err(|error| self.cannot("be taken on", &error))?;
        runtime.reach().map_err(|error| {
            self.cannot("reach the runtime directory", &error).hint(
                "unset XDG_RUNTIME_DIR, or set RUNTIME_DIRECTORY to a directory whose parents \
                 everybody may pass",
            )
        })
    }

    fn cannot(&self, what: &str, error: &io::Error) -> StartError {
        StartError::permission(format!("the user {} cannot {what}: {error}", self.identity.name))
    }

    /// The directory, and what a master keeps in it: somebody may have named one that holds more.
    fn own_state(&self, state: &Path) -> io::Result<()> {
        self.own(state)?;
        for entry in fs::read_dir(state)? {
            let entry = entry?;
            let name = entry.file_name();
            // The database with its companions, and the key of its tokens.
            if name == "certs" || name.as_encoded_bytes().starts_with(b"session") {
                self.own_tree(&entry.path(), 0)?;
            }
        }
        Ok(())
    }

    /// Everything below `path` that is ours, links themselves and not where they lead.
    fn own_tree(&self, path: &Path, depth: usize) -> io::Result<()> {
        self.own(path)?;
        if depth == DEPTH || !fs::symlink_metadata(path)?.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            self.own_tree(&entry?.path(), depth + 1)?;
        }
        Ok(())
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        // A file with several names may be somebody else's under another one.
        if found.uid() != privilege::own_ids().0.as_raw() || (!found.is_dir() && found.nlink() > 1)
        {
            return Ok(());
        }
        let (uid, gid) = (Some(self.identity.uid), Some(self.identity.gid));
        Ok(fchownat(nix::fcntl::AT_FDCWD, path, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }
}

/// Tells of files that were read with rights which are gone, and which the next reload will need.
pub fn warn_of_unreadable(settings: &Settings) {
    let user = settings.config.edge.user.as_deref().unwrap_or_default();
    for path in needed_files(settings) {
        if let Err(errno) = access(&path, AccessFlags::R_OK) {
            log::warn!(
                "{} cannot be read by {user} ({}): it was before its rights were given up, and no \
                 reload will be able to",
                path.display(),
                errno.desc()
            );
        }
    }
}

/// What a reload reads again.
fn needed_files(settings: &Settings) -> Vec<PathBuf> {
    let Config { certs, edge, upstreams, realtime, .. } = &settings.config;
    let mut files: Vec<PathBuf> = Vec::new();
    if let Source::Edgefile { path, .. } = &settings.source {
        files.push(path.into());
    }
    files.extend(certs.iter().flat_map(|cert| [(&cert.cert_path).into(), (&cert.key_path).into()]));
    files.extend(edge.tls.cert_dirs.iter().map(PathBuf::from));
    files.extend(edge.tls.acme.iter().filter_map(|acme| acme.ca.as_ref()).map(PathBuf::from));
    files.extend(upstreams.iter().filter_map(|upstream| upstream.ca.as_ref()).map(PathBuf::from));
    files.extend(edge.publish.secret_file.iter().map(PathBuf::from));
    files.extend(
        realtime.iter().filter_map(|it| it.publish_secret_file.as_ref()).map(PathBuf::from),
    );
    files
}

fn find(name: &str) -> Result<Identity, StartError> {
    let found = Identity::find(name)
        .map_err(|error| StartError::system(format!("the user {name}"), &error))?;
    found.ok_or_else(|| {
        StartError::configuration(format!("there is no user {name} on this system"))
            .hint(format!("make it: useradd --system {name}"))
    })
}

fn require(needed: &[Capability], what: &str) -> Result<(), StartError> {
    if privilege::has(needed) {
        return Ok(());
    }
    Err(StartError::permission(format!(
        "{what}: a user of its own needs a master that stays root, or `edge {{ user }}` that keeps \
         CAP_SETUID, CAP_SETGID, CAP_KILL and CAP_CHOWN"
    ))
    .hint("start it as root, or leave the app's `user` out"))
}

const PRIVATE: u32 = 0o700;
/// Nothing that a master keeps lies deeper.
const DEPTH: usize = 6;
