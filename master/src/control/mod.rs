//! The one mind: processes, control socket, shutdown.
//!
//! [`run`] boots a [`master::Master`] and lets it run: [`master`] is the main loop, [`supervisor`]
//! keeps the app's processes with what [`workshop`] makes, [`server`] and [`verbs`] are the control
//! socket, [`listing`] is what it tells, [`runtime_dir`] is where it lives,
//! [`orphans`] ends what outlives its worker.

mod boot;
mod boot_pipe;
mod listing;
mod master;
mod notify;
mod orphans;
mod outcome;
mod runtime_dir;
mod server;
mod source;
mod start_error;
mod supervisor;
mod verbs;
mod workshop;

pub use outcome::Outcome;
pub use start_error::StartError;

use rip::contract::settings::Settings;

/// Runs a master in this thread, which must be the process's main thread, until it is told to end.
///
/// # Errors
/// When it could not start; nothing is left behind then.
pub fn run(settings: Settings) -> Result<Outcome, StartError> {
    boot::boot(settings)?.run()
}
