//! The lives of processes: when a worker is started, retired, terminated, killed, given up.
//!
//! [`supervisor::Supervisor`] keeps one app's slots occupied by workers ([`worker`] is the life of
//! one) and puts fresh ones in the place of others: all of them in a [`roll`], one by one when they
//! reach a limit. [`restart`] decides what follows a failure, [`exit`] says what an exit meant,
//! [`health`] finds out who does not answer, [`shutdown::Shutdown`] is the end of the whole server, and
//! [`upgrade::Upgrade`] hands it over to another one of itself. None of them touches a process: facts come
//! in with the moment they became known, orders are polled, and [`oversleep`] keeps a loop that was
//! itself asleep from killing anybody for it. [`changes`] says when an app's files have changed.

pub mod changes;
pub mod exit;
pub mod health;
pub mod output;
pub mod oversleep;
mod recycle;
pub mod restart;
pub mod roll;
pub mod shutdown;
mod slot;
pub mod supervisor;
pub mod upgrade;
pub mod worker;

pub use exit::Exit;
pub use output::Output;
pub use recycle::Wish;
pub use roll::{Cause, RollProgress};
pub use shutdown::{Order, Shutdown};
pub use supervisor::{Policy, Supervisor, WorkerIds};
pub use upgrade::Upgrade;
pub use worker::Stage;
