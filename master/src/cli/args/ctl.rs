//! The verbs under `ctl`.

use super::{Ask, Drain, Events, ListCerts, OnApp, Order, PlanReload, Scale, Stop, Upgrade};
use clap::{Args, Subcommand};

/// The verbs under `ctl`.
#[derive(Debug, Subcommand)]
pub enum CtlVerb {
    /// Show apps and workers
    List(Ask),
    /// Show workers
    Workers(Ask),
    /// Say whether the master is healthy
    Status(Ask),
    /// Show how everything is: requests, apps, workers, certificates, configuration
    Diagnostics(Ask),
    /// Print what is counted and measured, as Prometheus reads it
    Metrics(Ask),
    /// Stop the master; returns when its process is gone
    Stop(Stop),
    /// Replace every worker by a fresh one, without losing a request
    Restart(OnApp),
    /// Take up the Edgefile as it is now; without one roll the app, as restart does
    Reload(Order),
    /// Make the configuration before this one the active one again
    Rollback(Order),
    /// Say what a reload would do, without doing it
    Plan(PlanReload),
    /// Show the active configuration
    Config(Ask),
    /// Show the last attempts to change the configuration
    History(Ask),
    /// Say what became of a request, and why
    Explain(Explain),
    /// Show what the server does, as it does it; q ends
    Top(Top),
    /// Show which hosts are served, and by whom
    Hosts(Ask),
    /// Show the certificates that are served, or load or renew them
    Certs(ListCerts),
    /// Show sessions, their store and their running turns
    Sessions(Ask),
    /// Let the program that is on disk now take over, without losing a request
    Upgrade(Upgrade),
    /// Print a link that logs in to the dashboard, once and within five minutes
    DashboardLogin(Ask),
    /// Run this many workers
    Scale(Scale),
    /// Let the app's requests wait
    Pause(OnApp),
    /// Let the app's requests go on
    Resume(OnApp),
    /// Replace one worker and let it end
    Drain(Drain),
    /// Show what happened last, or what happens
    Events(Events),
}

/// `explain`.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// The request's id: the answer's X-Request-Id, the word behind the worker in its access line
    #[arg(value_name = "REQUEST-ID")]
    pub id: String,
    #[command(flatten)]
    pub ask: Ask,
}

/// `top`.
#[derive(Args, Clone, Debug)]
pub struct Top {
    /// Print what there is to be shown once, as without a terminal
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub ask: Ask,
}
