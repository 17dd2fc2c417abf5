//! Bounds of the app's processes. They are checked here and take effect when a process is started:
//! the shim is not bounded, so that it can relay, reap and report whatever the app has used up.

use crate::report::Failure;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use rip::contract::app::ProcessLimits;
use rip::wire::boot::BootStage;

/// A bound of each process; soft and hard, so that the app cannot lift it.
pub(crate) type Bound = (Resource, u64);

/// The bounds that were asked for.
///
/// # Errors
/// When one is above the hard limit the master was started with: it would not bound anything.
pub(crate) fn check(limits: &ProcessLimits) -> Result<Vec<Bound>, Failure> {
    let asked = [
        (limits.memory_bytes, Resource::RLIMIT_AS, "memory", "LimitAS"),
        (limits.files, Resource::RLIMIT_NOFILE, "files", "LimitNOFILE"),
        (limits.processes, Resource::RLIMIT_NPROC, "processes", "LimitNPROC"),
        (limits.core_bytes, Resource::RLIMIT_CORE, "core", "LimitCORE"),
    ];
    let mut bounds = Vec::new();
    for (value, resource, name, setting) in asked {
        let Some(value) = value else { continue };
        let (_, hard) = getrlimit(resource).map_err(|errno| {
            Failure::system(BootStage::Limits, &format!("the limit {name} cannot be read"), errno)
        })?;
        if hard != RLIM_INFINITY && value > hard {
            return Err(Failure {
                stage: BootStage::Limits,
                errno: Some(Errno::EPERM),
                message: format!(
                    "{name} {value} is above the hard limit {hard} that the master was started \
                     with; ask for less, or raise that ({setting}= in a systemd unit)"
                ),
            });
        }
        bounds.push((resource, value));
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_bounded_and_nothing_above_the_hard_limit() {
        let core_bytes = Some(0);
        let limits = ProcessLimits { core_bytes, ..ProcessLimits::default() };
        assert_eq!(check(&limits), Ok(vec![(Resource::RLIMIT_CORE, 0)]));
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it has one");
        let limits = ProcessLimits { files: Some(hard), ..limits };
        assert_eq!(check(&limits).map(|bounds| bounds.len()), Ok(2));
        let limits = ProcessLimits { files: Some(hard + 1), ..limits };
        let failure = check(&limits).expect_err("it is above");
        assert_eq!((failure.stage, failure.errno), (BootStage::Limits, Some(Errno::EPERM)));
        let expected = format!("files {} is above the hard limit {hard} ", hard + 1);
        assert!(failure.message.starts_with(&expected), "{}", failure.message);
    }
}
