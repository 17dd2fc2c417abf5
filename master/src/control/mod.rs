//! The one mind: processes, control socket, shutdown.
//!
//! [`run`] boots a [`master::Master`] and lets it run: [`master`] is the main loop, [`crews`]
//! keeps each app's processes ([`crew`]) with what [`workshop`] makes and asks them how they are
//! ([`health`]), [`reload`] puts other configurations in the place of the active one, which
//! [`compiler`] has made, [`watcher`] sees changes of files ([`source_file`] those of the Edgefile)
//! and [`follow`] acts on them.
//!
//! [`server`], [`verbs`] and [`orders`] are the control socket, [`audit`] tells who ordered what,
//! [`listing`], [`report`], [`numbers`], [`explain`] and [`feed`] are what it tells, [`door`] lets
//! clients of the edge ask as well, and [`dashboard`] those of them in who operate the server.
//!
//! [`upgrade`] hands the server over to another master of the same [`program`], which is on its way
//! to it in [`successor`]. [`init`] and [`notify`] are what the init system hears, [`watchdog`] whether
//! every loop lives, [`demotion`] gives up being root.
//!
//! [`sessions`] has the store of sessions, [`listeners`] are where clients connect, [`runtime_dir`] is
//! where it lives, [`capacity`] how many clients it has room for, [`orphans`] ends what outlives its
//! worker.

mod acme;
mod audit;
mod boot;
mod boot_pipe;
mod capacity;
mod certs;
mod compiler;
mod crew;
mod crews;
mod dashboard;
mod demotion;
mod door;
mod explain;
mod feed;
mod follow;
mod health;
mod init;
mod listeners;
mod listing;
mod master;
mod notify;
mod numbers;
mod orders;
mod orphans;
mod outcome;
mod program;
mod reload;
mod report;
mod runtime_dir;
mod server;
mod sessions;
mod source;
mod source_file;
mod start_error;
mod successor;
mod upgrade;
mod verbs;
mod watchdog;
mod watcher;
mod workshop;

pub use outcome::Outcome;
pub use runtime_dir::is_trusted;
pub use start_error::StartError;
pub use successor::summons;

use rip::contract::settings::Settings;

/// Runs a master in this thread, which must be the process's main thread, until it is told to end.
///
/// # Errors
/// When it could not start; nothing is left behind then.
pub fn run(settings: Settings) -> Result<Outcome, StartError> {
    boot::boot(settings)?.run()
}
