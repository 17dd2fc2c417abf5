//! Faults on purpose: how tests have the store fail, or its master die, at a step of their choice.
//!
//! Each time the store is about to do something that could be the last thing it does, it passes a
//! step. In a release build there is nothing here.

#[cfg(any(test, debug_assertions))]
use super::trouble::Kind;
use super::trouble::Trouble;
#[cfg(any(test, debug_assertions))]
use std::ops::RangeInclusive;
#[cfg(any(test, debug_assertions))]
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The faults that are wanted. None by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    #[cfg(any(test, debug_assertions))]
    plan: Option<Arc<Plan>>,
}

#[cfg(any(test, debug_assertions))]
#[derive(Debug)]
struct Plan {
    what: Fault,
    steps: Mutex<Steps>,
}

#[cfg(any(test, debug_assertions))]
#[derive(Debug)]
struct Steps {
    passed: u64,
    at: RangeInclusive<u64>,
}

/// What happens at a step.
#[cfg(any(test, debug_assertions))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The step fails for this reason.
    Fail(Kind),
    /// The process is killed.
    Kill,
    /// None; but whether the database is whole is known only after it serves.
    LateCheck,
}

impl Faults {
    /// `what` happens at the step numbered `at`, from 1.
    #[cfg(any(test, debug_assertions))]
    pub fn at(what: Fault, at: u64) -> Self {
        Self::within(what, at..=at)
    }

    /// `what` happens at each of these steps.
    #[cfg(any(test, debug_assertions))]
    pub fn within(what: Fault, at: RangeInclusive<u64>) -> Self {
        Self { plan: Some(Arc::new(Plan { what, steps: Mutex::new(Steps { passed: 0, at }) })) }
    }

    /// It happens at the next step as well.
    #[cfg(test)]
    pub fn again(&self) {
        if let Some(plan) = &self.plan {
            let mut steps = plan.steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.at = steps.passed + 1..=steps.passed + 1;
        }
    }

    /// The faults that `text` asks for: `kill:7`, `full:7-30`, `unreachable:7`, `broken:7`,
    /// `late-check:0`. `None`: it makes no sense.
    #[cfg(any(test, debug_assertions))]
    pub fn parse(text: &str) -> Option<Self> {
        let (what, at) = text.split_once(':')?;
        let what = match what {
            "kill" => Fault::Kill,
            "full" => Fault::Fail(Kind::Full),
            "unreachable" => Fault::Fail(Kind::Unreachable),
            "broken" => Fault::Fail(Kind::Broken),
            "late-check" => Fault::LateCheck,
            _ => return None,
        };
        let (first, last) = at.split_once('-').unwrap_or((at, at));
        Some(Self::within(what, first.parse().ok()?..=last.parse().ok()?))
    }

    /// How many steps were passed.
    #[cfg(any(test, debug_assertions))]
    pub fn passed(&self) -> u64 {
        let steps = self.plan.as_ref().map(|plan| plan.steps.lock());
        steps.map_or(0, |steps| steps.unwrap_or_else(PoisonError::into_inner).passed)
    }

    /// How long a store that is opened waits until it was looked through.
    pub fn check_pause(&self) -> Duration {
        #[cfg(any(test, debug_assertions))]
        if self.plan.as_ref().is_some_and(|plan| plan.what == Fault::LateCheck) {
            return Duration::ZERO;
        }
        CHECK_PAUSE
    }

    /// The store is about to do the next thing.
    ///
    /// # Errors
    /// When the step is to fail.
    #[inline]
    pub fn step(&self) -> Result<(), Trouble> {
        #[cfg(any(test, debug_assertions))]
        if let Some(plan) = &self.plan {
            let is_hit = {
                let mut steps = plan.steps.lock().unwrap_or_else(PoisonError::into_inner);
                steps.passed += 1;
                steps.at.contains(&steps.passed)
            };
            match plan.what {
                Fault::Kill if is_hit => {
                    let own = nix::unistd::Pid::this();
                    let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
                }
                Fault::Fail(kind) if is_hit => {
                    return Err(Trouble { kind, detail: "it was to fail here".to_owned() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Some hundred megabytes are looked through in this time.
const CHECK_PAUSE: Duration = Duration::from_secs(1);
