//! The command line: what was typed becomes [`Settings`] for a master that starts, or a question
//! to one that runs; what comes of it becomes an exit code.

pub mod answer;
pub mod args;
pub mod authorities;
mod certs;
mod changes;
pub mod check;
mod check_worker;
pub mod client;
pub mod compile;
pub mod compiler;
pub mod completions;
pub mod credential;
pub mod ctl;
mod dashboard;
pub mod diagnostics;
pub mod entry;
pub mod env;
pub mod events;
pub mod exit;
mod explain;
pub mod inherited;
pub mod listing;
pub mod manual;
pub mod masters;
pub mod order;
pub mod plain;
pub mod port;
pub mod progress;
pub mod registry;
pub mod reload;
pub mod sessions;
mod start;
pub mod suggest;
pub mod surroundings;
pub mod table;
pub mod token;
mod top;
pub mod upgrade;
pub mod value;
pub mod why;

use crate::shared::diagnostics as logging;
use args::{Cli, CtlVerb, Start, Unread, Verb};
use exit::{Exit, Failure};
use rip::contract::listen::FreePorts;
use rip::contract::settings::Settings;
use std::ffi::OsString;
use std::path::Path;

/// Runs the program with the arguments after its name; `serve` is what `start` comes down to.
/// Failures are told on stderr.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    serve: impl FnOnce(Settings) -> Result<Exit, Failure>,
) -> Exit {
    let cli = match texts(arguments).and_then(|arguments| Cli::read(&arguments)) {
        Ok(cli) => cli,
        // Help and version are asked for and go to stdout; a closed stdout has nobody to tell.
        Err(Unread::Grammar(error)) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
        Err(Unread::Token(failure)) => return told(&failure),
    };
    match perform(cli.verb, serve) {
        Ok(exit) => exit,
        Err(failure) => told(&failure),
    }
}

fn perform(
    verb: Verb,
    serve: impl FnOnce(Settings) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    match verb {
        Verb::Start(flags) => {
            let settings = settings(&flags)?;
            logging::begin(settings.debug, settings.config.edge.log.json);
            serve(settings)
        }
        Verb::Stop(flags) | Verb::Ctl { verb: CtlVerb::Stop(flags) } => ctl::stop(&flags),
        Verb::Status(flags) | Verb::Ctl { verb: CtlVerb::Status(flags) } => ctl::status(&flags),
        Verb::List(flags) | Verb::Ctl { verb: CtlVerb::List(flags) } => ctl::list(&flags),
        Verb::Ctl { verb: CtlVerb::Workers(flags) } => ctl::workers(&flags),
        Verb::Restart(flags) | Verb::Ctl { verb: CtlVerb::Restart(flags) } => {
            order::restart(&flags)
        }
        Verb::Reload(flags) | Verb::Ctl { verb: CtlVerb::Reload(flags) } => reload::reload(&flags),
        Verb::Ctl { verb: CtlVerb::Rollback(flags) } => reload::rollback(&flags),
        Verb::Plan(flags) | Verb::Ctl { verb: CtlVerb::Plan(flags) } => reload::plan(&flags),
        Verb::Ctl { verb: CtlVerb::History(flags) } => reload::history(&flags),
        Verb::Ctl { verb: CtlVerb::Top(flags) } => top::top(&flags),
        Verb::Ctl { verb: CtlVerb::Explain(flags) } => explain::explain(&flags),
        Verb::Ctl { verb: CtlVerb::Diagnostics(flags) } => diagnostics::diagnostics(&flags),
        Verb::Ctl { verb: CtlVerb::Metrics(flags) } => diagnostics::metrics(&flags),
        Verb::Ctl { verb: CtlVerb::Config(flags) } => reload::config(&flags),
        Verb::Ctl { verb: CtlVerb::Certs(flags) } => certs::certs(&flags),
        Verb::Ctl { verb: CtlVerb::Sessions(flags) } => sessions::sessions(&flags),
        Verb::Ctl { verb: CtlVerb::DashboardLogin(flags) } => dashboard::login(&flags),
        Verb::Ctl { verb: CtlVerb::Hosts(flags) } => registry::hosts(&flags),
        Verb::Add(flags) => registry::add(&flags),
        Verb::Remove(flags) => registry::remove(&flags),
        Verb::Check(flags) => check::check(&flags),
        Verb::CheckWorker(flags) => check_worker::check_worker(&flags),
        Verb::Fmt(flags) => check::fmt(&flags),
        Verb::Schema(flags) => check::schema(&flags),
        Verb::Why(flags) => why::why(&flags),
        Verb::Ctl { verb: CtlVerb::Scale(flags) } => order::scale(&flags),
        Verb::Ctl { verb: CtlVerb::Pause(flags) } => order::pause(&flags),
        Verb::Ctl { verb: CtlVerb::Resume(flags) } => order::resume(&flags),
        Verb::Ctl { verb: CtlVerb::Drain(flags) } => order::drain(&flags),
        Verb::Ctl { verb: CtlVerb::Events(flags) } => events::events(&flags),
        Verb::Upgrade(flags) | Verb::Ctl { verb: CtlVerb::Upgrade(flags) } => {
            upgrade::upgrade(&flags)
        }
        Verb::Completions(flags) => completions::completions(&flags),
        Verb::Man(flags) => manual::manual(&flags),
        Verb::Version(flags) => ctl::version(&flags),
    }
}

/// What `start` stands for: what its words and flags say, or an Edgefile below them.
fn settings(flags: &Start) -> Result<Settings, Failure> {
    let world = start::World::look()?;
    let Some(path) = start::edgefile::named(flags, &world)? else {
        return start::settings(flags, &world);
    };
    let overrides = start::edgefile::overrides(flags, &world)?;
    let path = start::edgefile::absolute(&path)?;
    let free = if port::are_given() { FreePorts::ALL } else { overrides.free_ports() };
    let config = check::accepted(Path::new(&path), free)?;
    start::edgefile::settings(flags, &world, &path, overrides, config)
}

fn texts(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, Unread> {
    let text = |argument: OsString| {
        argument.into_string().map_err(|argument| {
            let shown = argument.to_string_lossy().into_owned();
            Unread::Token(Failure::usage(format!("the argument '{shown}' is not valid UTF-8")))
        })
    };
    arguments.into_iter().map(text).collect()
}

fn told(failure: &Failure) -> Exit {
    eprint!("{failure}");
    failure.exit
}
