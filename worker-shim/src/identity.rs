//! Who the app runs as, when that is not whoever the master is.
//!
//! The shim itself becomes that user before it starts anything: below the master nothing runs with
//! the master's rights, and what the app says is read by nobody who has them. What the shim still
//! needs was opened before (its pipes, the control connection, the worker's socket); it signals and
//! reaps processes of its own user. What it may not do any more is to open the control socket anew
//! and to remove the worker's socket from the master's directory: the master does the latter.
//!
//! App and shim are then of one user, but the connection that the master trusts and the token stay
//! out of the app's reach: a process that changed its user cannot be traced, nor its descriptors or
//! memory be read, except by root.

use crate::boot::{self, Capability};
use crate::report::Failure;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Gid, Uid, User, fchown, geteuid, initgroups, setresgid, setresuid};
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The user that the operator named.
pub(crate) struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
    home: PathBuf,
    /// The user is another than the shim's.
    changes: bool,
}

/// What it takes to become somebody else: the shim's part and, with KILL, the master's.
const NEEDED: [Capability; 4] =
    [Capability::Chown, Capability::Kill, Capability::SetGid, Capability::SetUid];

impl Identity {
    /// Looks the user up, by name or number; `None` when the operator named none.
    ///
    /// # Errors
    /// When there is no such user, and when it is another than ours and we may not become it.
    pub(crate) fn find(spec: &WorkerSpec) -> Result<Option<Self>, Failure> {
        let Some(name) = &spec.user else { return Ok(None) };
        let found = User::from_name(name).and_then(|found| match (found, name.parse()) {
            (None, Ok(number)) => User::from_uid(Uid::from_raw(number)),
            (found, _) => Ok(found),
        });
        let user = found
            .map_err(|errno| {
                Failure::system(BootStage::User, &format!("{name} cannot be looked up"), errno)
            })?
            .ok_or_else(|| Failure {
                stage: BootStage::User,
                errno: Some(Errno::ENOENT),
                message: format!(
                    "there is no user {name} on this system; create it with \
                     `useradd --system {name}`, or name another"
                ),
            })?;
        let own = geteuid();
        let changes = user.uid != own;
        if changes && !boot::has_capabilities(&NEEDED) {
            return Err(Failure {
                stage: BootStage::User,
                errno: Some(Errno::EPERM),
                message: format!(
                    "running the app as {} needs root, or the capabilities CHOWN, KILL, SETGID \
                     and SETUID; the master runs as uid {own} without them",
                    user.name
                ),
            });
        }
        let User { name, uid, gid, dir: home, .. } = user;
        Ok(Some(Self { name, uid, gid, home, changes }))
    }

    /// The user as the system spells it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is another than the master's.
    pub(crate) fn changes(&self) -> bool {
        self.changes
    }

    /// What a login tells a process about its user.
    pub(crate) fn login(&self) -> [(&'static str, OsString); 3] {
        let name = || OsString::from(&self.name);
        [("HOME", self.home.clone().into()), ("LOGNAME", name()), ("USER", name())]
    }

    /// Gives the user the worker's socket, which stays in the master's group.
    pub(crate) fn own_socket(&self, socket: &Path) -> Result<(), Errno> {
        nix::unistd::chown(socket, Some(self.uid), None)
    }

    /// Becomes the user, for good: its groups, no capability, and closed to others of the same user.
    ///
    /// # Errors
    /// At the step that was refused; the process must end then.
    pub(crate) fn assume(&self) -> Result<(), Failure> {
        if !self.changes {
            return Ok(());
        }
        self.own_output();
        let fail = |what: &'static str| {
            move |errno| {
                let what = format!("{what} of {} cannot be taken on", self.name);
                Failure::system(BootStage::User, &what, errno)
            }
        };
        let name = CString::new(self.name.as_str()).map_err(|_| fail("the name")(Errno::EINVAL))?;
        initgroups(&name, self.gid).map_err(fail("the groups"))?;
        setresgid(self.gid, self.gid, self.gid).map_err(fail("the group"))?;
        setresuid(self.uid, self.uid, self.uid).map_err(fail("the user id"))?;
        // The kernel takes them from one who was root, not from one who only had these.
        boot::drop_capabilities().map_err(fail("the rights"))?;
        // The kernel has done it unless the system is set up to dump such processes.
        prctl::set_dumpable(false).map_err(fail("the privacy"))
    }

    /// Output pipes belong to who made them, and `/dev/stdout` opens them anew: for the app to do
    /// that they must be its user's. An app that only writes does without.
    fn own_output(&self) {
        for output in [std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
            let is_pipe = fstat(output).is_ok_and(|stat| {
                SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
            });
            if is_pipe {
                let _ = fchown(output, Some(self.uid), None);
            }
        }
    }
}
