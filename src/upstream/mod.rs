//! Which server of an upstream gets a request, and which are left alone because they fail.
//!
//! An upstream is several targets that answer the same. They are not ours: nobody tells us when one
//! is busy, begins or ends. So there are no leases and no queue, as in a pool of workers, but a count
//! of what is in flight to each, and two opinions about its health: that of checks we make ourselves
//! ([`ActiveCheck`]), and that of the exchanges that clients make anyway. Both must be good, and
//! neither corrects the other.
//!
//! ```text
//!              ┌── NoneHealthy                     ┌── Finished │ Failed ──▶ a sample of its health
//!   choose ────┤                                   │
//!              └── Target(claim) ──── exchange ────┤
//!                                                  └── Unknown ──▶ no sample
//!   settle ──── Check(check) ──── asked, answered ───▶ checked
//!          └─── Cancel: its time is over
//! ```
//!
//! What always holds: the target chosen has the fewest requests in flight of all that may be chosen,
//! and is the one among equals that was chosen longest ago; a target that is unhealthy or ejected
//! gets none; one whose ejection is over gets a single one until that has shown how it is.
//!
//! [`Tries`] says whether a request that failed is sent again. Every call may make outputs: drain
//! [`Upstream::poll_output`] after each. Time is what the callers say it is; a moment earlier than
//! one heard before counts as that one.

mod balance;
mod circuit;
mod health;
mod retry;
mod target;
#[cfg(test)]
mod tests;
#[allow(clippy::module_inception)]
mod upstream;
mod url;

pub use health::{ActiveCheck, Check, Verdict};
pub use retry::{Failure, Tries};
pub use target::{Claim, Outcome, TargetId, TargetView};
pub use upstream::{Choice, Output, Upstream, UpstreamSettings};
pub use url::{Place, TargetUrl, UrlError};
