//! The verbs and their flags, as the flag parser and `--help` know them.

mod app;
mod ask;
mod certs;
mod changes;
mod check_worker;
mod ctl;
mod deadlines;
mod edge;
mod edgefile;
mod environment;
mod https;
mod output;
mod realtime;
mod replacing;
mod sessions;
mod shell;
mod start;
mod upgrade;

pub use app::AppFlags;
pub use ask::{Ask, Drain, Events, OnApp, Order, Scale, Stop};
pub use certs::{CertVerb, ListCerts, RenewCert};
pub use changes::ChangeFlags;
pub use check_worker::CheckWorker;
pub use ctl::{CtlVerb, Explain, Top};
pub use deadlines::DeadlineFlags;
pub use edge::EdgeFlags;
pub use edgefile::{
    AddHost, Check, EdgefileFlags, Fmt, PlanReload, RemoveHost, ReportForm, Schema, Why,
};
pub use https::HttpsFlags;
pub use output::OutputFlags;
pub use realtime::RealtimeFlags;
pub use replacing::{ReplacingFlags, RestartFlags};
pub use sessions::SessionFlags;
pub use shell::{Completions, Manual, Version};
pub use start::Start;
pub use upgrade::Upgrade;

use super::exit::Failure;
use super::token::expand;
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

/// A prefork application server: one binary in front of your app
#[derive(Debug, Parser)]
#[command(
    name = "rip-master",
    version,
    disable_help_subcommand = false,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 69 port busy, 77 permission, \
                  78 configuration."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// [`Unread`], which is also how `--help` and `--version` come out.
    pub fn read(arguments: &[String]) -> Result<Self, Unread> {
        let mut grammar = Self::grammar();
        let mut line = vec!["rip-master".to_owned()];
        match arguments.split_first() {
            Some((verb, rest)) if verb == "start" => {
                let expanded =
                    expand(rest, |flag| takes_value(&grammar, flag)).map_err(Unread::Token)?;
                line.push(verb.clone());
                line.extend(expanded.flags);
                line.extend(expanded.words);
                if let Some(command) = expanded.command {
                    line.push("--".to_owned());
                    line.extend(command);
                }
            }
            _ => line.extend_from_slice(arguments),
        }
        let matches = grammar
            .try_get_matches_from_mut(&line)
            .map_err(|error| Unread::Grammar(environment::explain(error, &line)))?;
        Self::from_arg_matches(&matches).map_err(Unread::Grammar)
    }

    /// The command line as the parser knows it: every flag of `start`, and `--name` everywhere, has
    /// its `RIP_…` in the environment (flag before environment before default).
    pub fn grammar() -> Command {
        Self::command()
            .mut_subcommand("start", |start| start.mut_args(environment::from_environment))
            .mut_subcommands(|verb| match verb.get_name() {
                "start" => verb,
                _ => environment::with_name(verb),
            })
    }
}

/// Why arguments did not become a verb.
#[derive(Debug)]
pub enum Unread {
    /// The flag parser's word: wrong usage, or the help that was asked for.
    Grammar(clap::Error),
    /// A token is wrong.
    Token(Failure),
}

fn takes_value(grammar: &Command, flag: &str) -> bool {
    let flags = grammar.find_subcommand("start").into_iter().flat_map(Command::get_arguments);
    let named =
        |arg: &&Arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
    flags.into_iter().find(named).is_some_and(|arg| arg.get_action().takes_values())
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve an app, in the foreground
    Start(Box<Start>),
    /// Stop a running master; returns when its process is gone
    Stop(Stop),
    /// Say whether a running master is healthy
    Status(Ask),
    /// Show apps and workers of a running master
    List(Ask),
    /// Replace every worker by a fresh one, without losing a request
    Restart(OnApp),
    /// Take up the Edgefile as it is now; without one roll the app, as restart does
    Reload(Order),
    /// Serve one more host: by an app that is there, or by one that is started for it
    Add(AddHost),
    /// Serve a host no longer that was added
    Remove(RemoveHost),
    /// Say what is wrong with an Edgefile
    Check(Check),
    /// Say whether a server can be a worker, by trying it
    CheckWorker(CheckWorker),
    /// Format an Edgefile
    Fmt(Fmt),
    /// Say what a reload would do, without doing it
    Plan(PlanReload),
    /// Say where a request would go, and why
    Why(Why),
    /// Print what can stand in an Edgefile
    Schema(Schema),
    /// Let the program that is on disk now take over, without losing a request
    Upgrade(Upgrade),
    /// Print what completes command lines in a shell
    Completions(Completions),
    /// Print the manual, or the page of a verb
    Man(Manual),
    /// Print the version
    Version(Version),
    /// Ask a running master over its control socket
    Ctl {
        /// What to ask.
        #[command(subcommand)]
        verb: CtlVerb,
    },
}

#[cfg(test)]
pub mod tests;
