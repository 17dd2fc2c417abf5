//! Giving up everything that a process which only reads and computes has no need of.

use super::checked;
use libc::{c_int, c_long, c_ulong, rlim_t, sock_filter, sock_fprog};
use std::io;

/// How far a confined process may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Address space in bytes.
    pub memory: u64,
    /// Processor time in whole seconds; then the kernel kills it.
    pub seconds: u64,
}

/// Confines the calling process, for ever: it can gain no rights, has no capability but the one to
/// read any file, writes no file, starts no process, speaks to no network, leaves no core, and is
/// killed with the thread that started it. Descriptors that are open stay as they are, and so do
/// pipes.
///
/// Call it before there are other threads: the capabilities and the filter are the thread's own.
///
/// # Errors
/// What the kernel refused. Where it knows no system call filters, the rest has to do.
pub fn confine(bounds: Bounds) -> io::Result<()> {
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong)?;
    control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    bound(libc::RLIMIT_CORE, 0)?;
    bound(libc::RLIMIT_FSIZE, 0)?;
    bound(libc::RLIMIT_NPROC, 0)?;
    bound(libc::RLIMIT_CPU, bounds.seconds)?;
    bound(libc::RLIMIT_AS, bounds.memory)?;
    drop_capabilities()?;
    match forbid_calls() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

fn control(option: c_int, value: c_ulong) -> io::Result<()> {
    let none: c_ulong = 0;
    // SAFETY: the options used here take numbers.
    checked(unsafe { libc::prctl(option, value, none, none, none) }).map(drop)
}

/// Lowers a limit, both the one that counts and the one it may be raised to.
fn bound(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it fills in the structure.
    checked(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    let most: rlim_t = limit.rlim_max.min(most);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: it reads the structure.
    checked(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}

/// The header of `capget(2)` and `capset(2)`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// Capabilities by their lower and upper 32 bits.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn drop_capabilities() -> io::Result<()> {
    // Kernels before 4.3 have none to clear.
    let _ = control(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong);
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [Capabilities::default(); 2];
    // SAFETY: version 3 fills in two sets.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    let [low, _] = sets;
    let kept = low.permitted & (1 << CAP_DAC_READ_SEARCH);
    let low = Capabilities { effective: kept & low.effective, permitted: kept, inheritable: 0 };
    let sets = [low, Capabilities::default()];
    // SAFETY: version 3 reads two sets.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) }).map(drop)
}

/// Installs a filter under which the calls in [`FORBIDDEN`] and sockets other than local ones fail
/// with `EPERM`. Local ones are left for the databases of users.
fn forbid_calls() -> io::Result<()> {
    let mut program = filter();
    let program = sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_mut_ptr(),
    };
    let none: c_ulong = 0;
    // SAFETY: the kernel copies the program, which lives until then.
    let installed = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
            none,
            none,
        )
    };
    checked(installed).map(drop)
}

fn filter() -> Vec<sock_filter> {
    let load = |at| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0);
    let end = |with| step(libc::BPF_RET | libc::BPF_K, with, 0, 0);
    let equal = |to, yes, no| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to, yes, no);
    let denied = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut program = vec![
        load(OFFSET_OF_ARCHITECTURE),
        equal(ARCHITECTURE, 1, 0),
        end(libc::SECCOMP_RET_KILL_PROCESS),
        load(OFFSET_OF_NUMBER),
        // The other table of calls of the same architecture.
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, OTHER_TABLE, 0, 1),
        end(libc::SECCOMP_RET_KILL_PROCESS),
    ];
    for call in FORBIDDEN {
        program.extend([equal(*call as u32, 0, 1), end(denied)]);
    }
    program.extend([
        equal(libc::SYS_socket as u32, 0, 3),
        load(OFFSET_OF_FIRST_ARGUMENT),
        equal(libc::AF_UNIX as u32, 1, 0),
        end(denied),
        end(libc::SECCOMP_RET_ALLOW),
    ]);
    program
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Every code of the machine fits.
    sock_filter { code: code as u16, jt, jf, k }
}

const FORBIDDEN: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_kill,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
];

/// `AUDIT_ARCH_…` of what this was built for.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Numbers from here on are those of x32.
const OTHER_TABLE: u32 = 0x4000_0000;

// Places in `struct seccomp_data`; both architectures are little-endian, so the lower half of an
// argument comes first.
const OFFSET_OF_NUMBER: u32 = 0;
const OFFSET_OF_ARCHITECTURE: u32 = 4;
const OFFSET_OF_FIRST_ARGUMENT: u32 = 16;

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const CAP_DAC_READ_SEARCH: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_of_the_filter_lands_in_it() {
        let program = filter();
        for (at, step) in program.iter().enumerate() {
            let furthest = at + 1 + usize::from(step.jt.max(step.jf));
            let is_end = u32::from(step.code) & 7 == libc::BPF_RET;
            assert!(is_end || furthest < program.len(), "step {at}");
        }
        let last = program.last().unwrap();
        assert_eq!(last.k, libc::SECCOMP_RET_ALLOW);
        // What is asked of the call's number is asked before the accumulator holds an argument.
        assert_eq!(program.iter().filter(|step| step.k == OFFSET_OF_FIRST_ARGUMENT).count(), 1);
    }
}
