//! Becoming somebody with fewer rights, for good.

use super::checked;
use libc::{c_int, c_ulong};
use nix::sys::prctl;
use nix::unistd::{
    Gid, Uid, User, getegid, geteuid, getresgid, getresuid, initgroups, setresgid, setresuid,
};
use std::ffi::CString;
use std::fs;
use std::io;

/// A right of the superuser's (capabilities(7)), by its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capability {
    /// Giving files to others.
    Chown = 0,
    /// Signalling processes of others.
    Kill = 5,
    /// Being of any group.
    SetGid = 6,
    /// Being any user.
    SetUid = 7,
    /// Ports below 1024.
    NetBindService = 10,
}

/// What it takes to start a process as somebody else, and to end it.
pub const FOR_OTHERS: [Capability; 4] =
    [Capability::Chown, Capability::Kill, Capability::SetGid, Capability::SetUid];

/// Every capability that is known here: none of them is meant for a process that we start.
const OWN: [Capability; 5] = [
    Capability::Chown,
    Capability::Kill,
    Capability::SetGid,
    Capability::SetUid,
    Capability::NetBindService,
];

/// A user of this system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// As the system spells it.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its first group.
    pub gid: Gid,
}

impl Identity {
    /// The user called `name`, or with that number; `None` when there is none.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let found = match (User::from_name(name)?, name.parse()) {
            (None, Ok(number)) => User::from_uid(Uid::from_raw(number))?,
            (found, _) => found,
        };
        Ok(found.map(|user| Self { name: user.name, uid: user.uid, gid: user.gid }))
    }

    /// Whether this process is that user already.
    pub fn is_own(&self) -> bool {
        self.uid == geteuid()
    }
}

/// Becomes `identity` with its groups and keeps `kept` of the capabilities it has, for itself alone:
/// no process that it executes gets them, and none of them gains rights by what it executes in turn.
///
/// Call it before there are other threads: capabilities are the thread's own.
///
/// # Errors
/// The step that was refused. The process is then of both worlds and must end.
pub fn become_user(identity: &Identity, kept: &[Capability]) -> io::Result<()> {
    if thread_count()? != 1 {
        return Err(io::Error::other("other threads run already"));
    }
    let name = CString::new(identity.name.as_str())?;
    let (uid, gid) = (identity.uid, identity.gid);
    prctl::set_no_new_privs()?;
    initgroups(&name, gid)?;
    setresgid(gid, gid, gid)?;
    // Without it the kernel takes all of them from who ceases to be root.
    prctl::set_keepcaps(true)?;
    setresuid(uid, uid, uid)?;
    let mut sets = Sets::of_this_thread()?;
    let low = &mut sets.halves[0];
    low.permitted &= mask(kept);
    low.effective = low.permitted;
    sets.halves[1] = Half::default();
    sets.halves.iter_mut().for_each(|half| half.inheritable = 0);
    sets.set()?;
    prctl::set_keepcaps(false)?;
    let (users, groups) = (getresuid()?, getresgid()?);
    let is_done = [users.real, users.effective, users.saved].iter().all(|own| *own == uid)
        && [groups.real, groups.effective, groups.saved].iter().all(|own| *own == gid);
    if is_done { Ok(()) } else { Err(io::Error::other("the kernel did not change the user")) }
}

/// Keeps the capabilities of this process from those it executes: an init system that hands them
/// over for it to use hands them over for everything below it as well (`AmbientCapabilities=`).
pub fn keep_to_ourselves() -> io::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let mut sets = Sets::of_this_thread()?;
    // What is not inheritable is not ambient either.
    sets.halves[0].inheritable &= !mask(&OWN);
    sets.set()
}

/// Whether this process may make use of all these.
pub fn has(needed: &[Capability]) -> bool {
    let mask = mask(needed);
    Sets::of_this_thread().is_ok_and(|sets| sets.halves[0].effective & mask == mask)
}

/// What this process has of the capabilities that are known here, unless it is the superuser, whose
/// children have them anyway.
pub fn held() -> Vec<Capability> {
    if is_root() {
        return Vec::new();
    }
    OWN.into_iter().filter(|capability| has(&[*capability])).collect()
}

/// Whether this process is the superuser, whose children need no capabilities to be handed over.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Our own user and group.
pub fn own_ids() -> (Uid, Gid) {
    (geteuid(), getegid())
}

/// Has the calling thread hand `capabilities` over to what it executes next, as far as it has them.
/// Nothing but system calls: it may stand between fork and exec.
///
/// # Errors
/// The error number of the call that was refused.
pub(super) fn hand_over(capabilities: u32, sets: &Sets) -> Result<(), c_int> {
    let mut sets = sets.clone();
    sets.halves[0].inheritable |= capabilities;
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EPERM);
    sets.set().map_err(errno)?;
    let none: c_ulong = 0;
    for number in (0..u32::BITS).filter(|number| capabilities & (1 << number) != 0) {
        let (raise, number) = (libc::PR_CAP_AMBIENT_RAISE as c_ulong, c_ulong::from(number));
        // SAFETY: the option takes numbers.
        checked(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, number, none, none) })
            .map_err(errno)?;
    }
    Ok(())
}

/// The bits of these.
pub(super) fn mask(capabilities: &[Capability]) -> u32 {
    capabilities.iter().fold(0, |mask, capability| mask | 1 << *capability as u32)
}

fn thread_count() -> io::Result<usize> {
    // One that has done its work may take a moment to be gone.
    for _ in 0..PATIENCE {
        if fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(1);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// The header of `capget(2)` and `capset(2)`.
#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

/// Capabilities, 32 of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Capabilities by their lower and upper 32 bits.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    halves: [Half; 2],
}

impl Sets {
    /// Those of the calling thread.
    pub(super) fn of_this_thread() -> io::Result<Self> {
        let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
        let mut halves = [Half::default(); 2];
        // SAFETY: version 3 reads and writes the header and fills in two halves.
        checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
        Ok(Self { halves })
    }

    fn set(&self) -> io::Result<()> {
        let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
        // SAFETY: version 3 reads two halves, and may correct the header.
        let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, self.halves.as_ptr()) };
        checked(set).map(drop)
    }
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Milliseconds that a thread has to be gone.
const PATIENCE: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let root = Identity::find("root").unwrap().unwrap();
        assert_eq!((root.uid.as_raw(), root.gid.as_raw()), (0, 0));
        assert_eq!(Identity::find("0").unwrap(), Some(root));
        assert_eq!(Identity::find("nobody-has-this-name").unwrap(), None);
        assert_eq!(Identity::find("").unwrap(), None);
    }

    #[test]
    fn capabilities_are_bits_of_their_numbers() {
        assert_eq!(mask(&FOR_OTHERS), 1 | 1 << 5 | 1 << 6 | 1 << 7);
        assert_eq!(mask(&[Capability::NetBindService]), 1 << 10);
        // The superuser has them; who runs the tests otherwise has none.
        assert_eq!(has(&FOR_OTHERS), is_root());
    }

    #[test]
    fn a_process_of_several_threads_stays_who_it_is() {
        // The test harness runs this in a thread beside its own.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        let nobody = Identity::find("nobody").unwrap().unwrap();
        let before = own_ids();
        assert!(become_user(&nobody, &[]).is_err());
        assert_eq!(own_ids(), before);
        drop(stop);
        let _ = other.join();
    }
}
