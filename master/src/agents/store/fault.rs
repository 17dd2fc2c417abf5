//! Faults on purpose: how tests have the store fail, or its master die, at a step of their choice.
//!
//! Each time the store is about to do something that could be the last thing it does, it passes a
//! step. In a release build there is nothing here.

#[cfg(any(test, debug_assertions))]
use super::trouble::Kind;
use super::trouble::Trouble;
#[cfg(any(test, debug_assertions))]
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering};

/// The faults that are wanted. None by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    #[cfg(any(test, debug_assertions))]
    plan: Option<Arc<Plan>>,
}

#[cfg(any(test, debug_assertions))]
#[derive(Debug)]
struct Plan {
    passed: AtomicU64,
    at: u64,
    what: Fault,
}

/// What happens at a step.
#[cfg(any(test, debug_assertions))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The step fails for this reason.
    Fail(Kind),
    /// The process is killed.
    Kill,
}

impl Faults {
    /// `what` happens at the step numbered `at`, from 1.
    #[cfg(any(test, debug_assertions))]
    pub fn at(what: Fault, at: u64) -> Self {
        Self { plan: Some(Arc::new(Plan { passed: AtomicU64::new(0), at, what })) }
    }

    /// The faults that `text` asks for: `kill:7`, `full:7`, `unreachable:7`. `None`: it makes no sense.
    #[cfg(any(test, debug_assertions))]
    pub fn parse(text: &str) -> Option<Self> {
        let (what, at) = text.split_once(':')?;
        let what = match what {
            "kill" => Fault::Kill,
            "full" => Fault::Fail(Kind::Full),
            "unreachable" => Fault::Fail(Kind::Unreachable),
            _ => return None,
        };
        Some(Self::at(what, at.parse().ok()?))
    }

    /// How many steps were passed.
    #[cfg(any(test, debug_assertions))]
    pub fn passed(&self) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.passed.load(Ordering::SeqCst))
    }

    /// The store is about to do the next thing.
    ///
    /// # Errors
    /// When the step is to fail.
    #[inline]
    pub fn step(&self) -> Result<(), Trouble> {
        #[cfg(any(test, debug_assertions))]
        if let Some(plan) = &self.plan {
            let passed = plan.passed.fetch_add(1, Ordering::SeqCst) + 1;
            match plan.what {
                Fault::Kill if passed == plan.at => {
                    let own = nix::unistd::Pid::this();
                    let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
                }
                Fault::Fail(kind) if passed == plan.at => {
                    return Err(Trouble { kind, detail: "it was to fail here".to_owned() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
