//! The verbs and their flags, as the flag parser and `--help` know them.

mod edgefile;
mod https;
mod realtime;
mod sessions;

pub use edgefile::{
    AddHost, Check, EdgefileFlags, Fmt, PlanReload, RemoveHost, ReportForm, Schema, Why,
};
pub use https::HttpsFlags;
pub use realtime::RealtimeFlags;
pub use sessions::SessionFlags;

use super::exit::Failure;
use super::token::expand;
use super::value::{self, Workers};
use clap::builder::{
    BoolishValueParser, NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser,
};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use rip::contract::app::{Listen, Ready, Recycle, Reload, Select, Surge};
use rip::ids::WorkerId;
use std::net::IpAddr;
use std::time::Duration;

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
            .map_err(|error| Unread::Grammar(explain(error, &line)))?;
        Self::from_arg_matches(&matches).map_err(Unread::Grammar)
    }

    /// The command line as the parser knows it: every flag of `start`, and `--name` everywhere, has
    /// its `RIP_…` in the environment (flag before environment before default).
    pub fn grammar() -> Command {
        Self::command()
            .mut_subcommand("start", |start| start.mut_args(from_environment))
            .mut_subcommands(|verb| match verb.get_name() {
                "start" => verb,
                _ => with_name(verb),
            })
    }
}

/// `verb` and what is below it, with `--name` from the environment.
fn with_name(verb: Command) -> Command {
    verb.mut_args(named_from_environment).mut_subcommands(with_name)
}

/// Why arguments did not become a verb.
#[derive(Debug)]
pub enum Unread {
    /// The flag parser's word: wrong usage, or the help that was asked for.
    Grammar(clap::Error),
    /// A token is wrong.
    Token(Failure),
}

/// Says where a wrong value came from when it was not typed, and does not advise to make a mistyped
/// flag part of the command.
fn explain(mut error: clap::Error, line: &[String]) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(shown)) => shown.split([' ', '=']).next().unwrap_or_default(),
        _ => return error,
    };
    let was_typed = line.iter().any(|word| word.split('=').next() == Some(flag));
    let is_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    if is_value && !was_typed && flag.starts_with("--") {
        let tip = format!("the value is that of {} in the environment", variable(&flag[2..]));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The name of a flag's variable.
fn variable(long: &str) -> String {
    format!("RIP_{}", long.to_uppercase().replace('-', "_"))
}

fn takes_value(grammar: &Command, flag: &str) -> bool {
    let flags = grammar.find_subcommand("start").into_iter().flat_map(Command::get_arguments);
    let named =
        |arg: &&Arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
    flags.into_iter().find(named).is_some_and(|arg| arg.get_action().takes_values())
}

fn from_environment(flag: Arg) -> Arg {
    let Some(long) = flag.get_long() else { return flag };
    let variable = variable(long);
    let on_or_off = matches!(flag.get_action(), ArgAction::SetTrue);
    let flag = flag.env(variable).hide_env(true);
    if on_or_off { flag.value_parser(BoolishValueParser::new()) } else { flag }
}

fn named_from_environment(flag: Arg) -> Arg {
    if flag.get_long() == Some("name") { from_environment(flag) } else { flag }
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
    /// Take up the Edgefile as it is now; without one the app is rolled, as restart does
    Reload(Order),
    /// Serve one more host: by an app that is there, or by one that is started for it
    Add(AddHost),
    /// Serve a host no longer that was added
    Remove(RemoveHost),
    /// Say what is wrong with an Edgefile
    Check(Check),
    /// Format an Edgefile
    Fmt(Fmt),
    /// Say what a reload would do, without doing it
    Plan(PlanReload),
    /// Say where a request would go, and why
    Why(Why),
    /// Print what can stand in an Edgefile
    Schema(Schema),
    /// Print the version
    Version,
    /// Ask a running master over its control socket
    Ctl {
        /// What to ask.
        #[command(subcommand)]
        verb: CtlVerb,
    },
}

/// The verbs under `ctl`.
#[derive(Debug, Subcommand)]
pub enum CtlVerb {
    /// Show apps and workers
    List(Ask),
    /// Show workers
    Workers(Ask),
    /// Say whether the master is healthy
    Status(Ask),
    /// Stop the master; returns when its process is gone
    Stop(Stop),
    /// Replace every worker by a fresh one, without losing a request
    Restart(OnApp),
    /// Take up the Edgefile as it is now; without one the app is rolled, as restart does
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
    /// Show which hosts are served, and by whom
    Hosts(Ask),
    /// Show the certificates that are served, or load or renew them
    Certs(ListCerts),
    /// Show sessions, their store and their running turns
    Sessions(Ask),
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
    /// The request's id: the answer's X-Request-Id, the last word of its access line
    #[arg(value_name = "REQUEST-ID")]
    pub id: String,
    #[command(flatten)]
    pub ask: Ask,
}

/// A question to a running master.
#[derive(Args, Clone, Debug, Default)]
pub struct Ask {
    /// Print the answer of the control socket as it is
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = value::seconds)]
    pub timeout: Duration,
}

/// The question which certificates are served, or an order that concerns them.
#[derive(Args, Clone, Debug, Default)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ListCerts {
    /// The question.
    #[command(flatten)]
    pub ask: Ask,
    /// The order.
    #[command(subcommand)]
    pub verb: Option<CertVerb>,
}

/// What can be ordered of certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum CertVerb {
    /// Serve what is on disk now; changed files are taken up by themselves as well
    Reload(Order),
    /// Ask the ACME authority for another certificate now
    Renew(RenewCert),
    /// Say how the local authority of --auto-tls is made to be believed
    Trust(Ask),
}

/// The order to renew a certificate.
#[derive(Args, Clone, Debug)]
pub struct RenewCert {
    /// The host it is for
    #[arg(value_name = "HOST", value_parser = NonEmptyStringValueParser::new())]
    pub host: String,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The order to stop.
#[derive(Args, Clone, Debug, Default)]
pub struct Stop {
    /// Cut what is in flight instead of finishing it
    #[arg(long)]
    pub now: bool,
    /// Return when its process is gone [the default]
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return when it has begun to stop
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// Print the answer of the control socket as it is
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = value::seconds)]
    pub timeout: Duration,
}

/// How an order is given.
#[derive(Args, Clone, Debug, Default)]
pub struct Order {
    /// Print the answer of the control socket as it is
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Return when it is done [the default]
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return when it has begun
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// Wait no longer than so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = value::seconds)]
    pub timeout: Duration,
}

/// An order that concerns one app.
#[derive(Args, Clone, Debug, Default)]
pub struct OnApp {
    /// Which app; by default the only one
    #[arg(value_name = "APP", value_parser = NonEmptyStringValueParser::new())]
    pub app: Option<String>,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The order to run so many workers.
#[derive(Args, Clone, Debug, Default)]
#[command(override_usage = "rip-master ctl scale [APP] N [OPTIONS]")]
pub struct Scale {
    /// The number of workers, behind the app where there are several
    #[arg(value_name = "N", num_args = 1..=2, required = true)]
    pub words: Vec<String>,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The order to drain a worker.
#[derive(Args, Clone, Debug)]
pub struct Drain {
    /// The worker, as `list` shows it: w3
    #[arg(value_name = "WORKER", value_parser = value::worker_id)]
    pub worker: WorkerId,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The question what happens.
#[derive(Args, Clone, Debug, Default)]
pub struct Events {
    /// Go on with what happens from now on, until the master stops
    #[arg(long)]
    pub follow: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up, or follow no longer, after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds)]
    pub timeout: Option<Duration>,
}

/// Everything `start` understands once tokens have become flags.
#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "rip-master start [PATH[@ALIAS,…]] [NAME] [TOKENS] [FLAGS] [-- ARGV…]",
    after_help = AFTER_START
)]
pub struct Start {
    /// A directory, a .py file, pkg.module:attr or builtin:NAME [default: .]
    #[arg(value_name = "PATH", num_args = 0..)]
    pub words: Vec<String>,
    /// An HTTP server of your own to run in each worker, in the directory PATH
    #[arg(value_name = "ARGV", last = true, num_args = 0..)]
    pub command: Option<Vec<String>>,
    /// The file that says all of it.
    #[command(flatten, next_help_heading = "Edgefile")]
    pub edgefile: EdgefileFlags,
    /// What runs and how many.
    #[command(flatten, next_help_heading = "App")]
    pub app: AppFlags,
    /// Where clients connect, and the bounds.
    #[command(flatten, next_help_heading = "Edge")]
    pub edge: EdgeFlags,
    /// What HTTPS is served with.
    #[command(flatten, next_help_heading = "HTTPS")]
    pub https: HttpsFlags,
    /// WebSockets whose app hears of them by HTTP.
    #[command(flatten, next_help_heading = "Realtime")]
    pub realtime: RealtimeFlags,
    /// Sessions that outlive the server.
    #[command(flatten, next_help_heading = "Sessions")]
    pub sessions: SessionFlags,
    /// How long each step may take.
    #[command(flatten, next_help_heading = "Deadlines")]
    pub deadlines: DeadlineFlags,
    /// What happens after crashes.
    #[command(flatten, next_help_heading = "Restarts")]
    pub restarts: RestartFlags,
    /// When and how fresh workers take the place of others.
    #[command(flatten, next_help_heading = "Replacing workers")]
    pub replacing: ReplacingFlags,
    /// What a change of the app's files does.
    #[command(flatten, next_help_heading = "Changes")]
    pub changes: ChangeFlags,
    /// What is told.
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputFlags,
}

/// What runs and how many.
#[derive(Args, Clone, Debug, Default)]
pub struct AppFlags {
    /// Worker processes [default: auto]
    #[arg(long, value_name = "N|auto|half", value_parser = value::workers)]
    pub workers: Option<Workers>,
    /// Requests one worker may have in flight [default: 1]
    #[arg(long, value_name = "N", value_parser = value::concurrency)]
    pub concurrency: Option<u32>,
    /// How a worker is chosen [default: lifo when c:1]
    #[arg(long, value_name = "lifo|least-inflight", hide_possible_values = true, value_parser = selects())]
    pub select: Option<Select>,
    /// What a command after -- listens on, see below [default: fd]
    #[arg(long, value_name = "fd|path|port", hide_possible_values = true, value_parser = listens())]
    pub listen: Option<Listen>,
    /// Ready by an HTTP answer or by a connect [default: http]
    #[arg(long, value_name = "http|listen", hide_possible_values = true, value_parser = readies())]
    pub ready: Option<Ready>,
    /// Asked for readiness; if given, 2xx only [default: /ready]
    #[arg(long, value_name = "PATH", value_parser = value::path)]
    pub health_path: Option<String>,
    /// Environment of the app, or a file of such lines; repeatable
    #[arg(long, value_name = "KEY=VALUE|FILE", value_parser = NonEmptyStringValueParser::new())]
    pub env: Vec<String>,
    /// This master's name for other verbs [default: the app's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Where clients connect, and the bounds.
#[derive(Args, Clone, Debug, Default)]
pub struct EdgeFlags {
    /// Port of plain HTTP; the token http:PORT [default: $PORT, else 80]
    #[arg(long, value_name = "PORT", value_parser = value::port)]
    pub port: Option<u16>,
    /// Address to listen on; repeatable [default: every address]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub host: Vec<IpAddr>,
    /// The next free port from 5000 in the place of one that cannot be had
    #[arg(long)]
    pub port_fallback: bool,
    /// Event loops [default: one per core]
    #[arg(long, value_name = "N", value_parser = value::loops)]
    pub loops: Option<u16>,
    /// Client connections at once [default: what the descriptor limit allows]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub max_connections: Option<u32>,
    /// The same of one client address, loopback excepted [default: no limit]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub max_connections_per_address: Option<u32>,
    /// Requests that may wait for a worker; more get 503 [default: 1000]
    #[arg(long, value_name = "N", value_parser = value::count)]
    pub max_queue: Option<u32>,
    /// Largest request body; more gets 413 [default: 100MiB]
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub max_body: Option<u64>,
    /// For bodies that outgrow memory [default: $CACHE_DIRECTORY, else /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<String>,
}

/// How long each step may take.
#[derive(Args, Clone, Debug, Default)]
pub struct DeadlineFlags {
    /// A whole request head must arrive within this [default: 10000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub head_timeout_ms: Option<Duration>,
    /// Longest silence inside a request body [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub body_timeout_ms: Option<Duration>,
    /// An idle keep-alive connection is closed after this [default: 75000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub idle_timeout_ms: Option<Duration>,
    /// A response may stand still for this long [default: 60000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub write_timeout_ms: Option<Duration>,
    /// A request waits this long for a worker; then 504 [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub queue_timeout_ms: Option<Duration>,
    /// Connecting to a worker [default: 2000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub connect_timeout_ms: Option<Duration>,
    /// A worker's answer, then each gap in it; then 504 [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub read_timeout_ms: Option<Duration>,
    /// A worker must be ready within this [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub start_timeout_ms: Option<Duration>,
    /// A leaving worker may finish; then SIGTERM [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub drain_timeout_ms: Option<Duration>,
    /// From SIGTERM to SIGKILL [default: 5000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub kill_timeout_ms: Option<Duration>,
    /// A request that was given up must end; then SIGABRT [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub stuck_timeout_ms: Option<Duration>,
}

/// What happens after crashes.
#[derive(Args, Clone, Debug, Default)]
pub struct RestartFlags {
    /// Crashes within the window before a worker is given up [default: 10]
    #[arg(long, value_name = "N", value_parser = value::count)]
    pub max_restarts: Option<u32>,
    /// First pause before a restart; doubles up to 30 s [default: 1000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub restart_backoff_ms: Option<Duration>,
    /// The window in which crashes are counted [default: 60000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub restart_window_ms: Option<Duration>,
}

/// When and how fresh workers take the place of others.
#[derive(Args, Clone, Debug, Default)]
pub struct ReplacingFlags {
    /// Replaced after so much; the token r:, see below [default: never]
    #[arg(long, value_name = "N[,Ss][,Rr]", value_parser = value::recycle)]
    pub recycle: Option<Recycle>,
    /// A worker that holds more memory is replaced [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = value::memory)]
    pub max_rss: Option<u64>,
    /// Fresh workers started at once while all are replaced [default: 1]
    #[arg(long, value_name = "N|P%", value_parser = value::surge)]
    pub surge: Option<Surge>,
    /// A running worker's health is asked this often [default: 5000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub health_interval_ms: Option<Duration>,
    /// It must answer within this [default: 2000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub health_timeout_ms: Option<Duration>,
    /// Failures in a row before it is replaced [default: 3]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub unhealthy_threshold: Option<u32>,
}

/// What a change of the app's files does.
#[derive(Args, Clone, Debug, Default)]
pub struct ChangeFlags {
    /// Replace the workers, or reload inside them [default: process]
    #[arg(long, value_name = "none|process|module", hide_possible_values = true, value_parser = reloads())]
    pub reload: Option<Reload>,
    /// The app's files do not change: nothing is watched
    #[arg(long = "static")]
    pub is_static: bool,
    /// Files that matter; repeatable [default: *.py and *.html]
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub watch: Vec<String>,
    /// Look for changes where the kernel cannot tell of them
    #[arg(long)]
    pub watch_poll: bool,
    /// Reloads inside a worker before it is replaced [default: 10]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub max_reloads: Option<u32>,
    /// Run by the shell before the workers [default: a file setup.*]
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub setup: Option<String>,
}

/// What is told.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputFlags {
    /// Access lines, events and worker output as JSON
    #[arg(long)]
    pub json_logging: bool,
    /// No line per request
    #[arg(long)]
    pub no_access_log: bool,
    /// Tell only of trouble
    #[arg(long)]
    pub quiet: bool,
    /// Diagnostics in detail; RIP_LOG=TARGET=LEVEL selects them
    #[arg(long)]
    pub debug: bool,
}

const AFTER_START: &str = "\
Tokens, in any order:
  w:N w:auto w:half   workers: a number, one per core (at least 2), half of that
  c:N                 requests one worker may have in flight
  r:N[,Ss][,Rr]       replace a worker after N requests, S seconds, R reloads
  https:PORT          port of HTTPS; `https` alone is 443
  http:PORT           port of plain HTTP, without HTTPS unless that is said as well;
                      `http` alone is $PORT, else 80
  PORT                that of HTTPS where there is a certificate, else of plain HTTP

A command after -- listens on descriptor 3 (--listen fd, as in socket activation), on the Unix
socket $RIP_WORKER_SOCKET (path), or on 127.0.0.1:$PORT (port). In its arguments {fd}, {socket}
and {port} are replaced.

A directory with an Edgefile is started as that says. Flags stand above it; those that are about
one app are said there.

PATH@ALIAS,… adds host names. Every flag has a variable, RIP_ and its name: RIP_MAX_QUEUE is
--max-queue. A flag wins over its variable, and that over the default.

Examples:
  rip-master start examples/hello http:8080
  rip-master start w:4 8080 shop.wsgi:application
  rip-master start shop@www.example.com --acme
  rip-master start . https:8443 http:8080 --auto-tls
  rip-master start . http:8080 -- gunicorn app:app
  rip-master start . http:8080 --listen port -- node server.js";

fn selects() -> impl TypedValueParser<Value = Select> {
    PossibleValuesParser::new(["lifo", "least-inflight"]).map(|text| match text.as_str() {
        "lifo" => Select::Lifo,
        _ => Select::LeastInflight,
    })
}

fn reloads() -> impl TypedValueParser<Value = Reload> {
    PossibleValuesParser::new(["none", "process", "module"]).map(|text| match text.as_str() {
        "none" => Reload::None,
        "process" => Reload::Process,
        _ => Reload::Module,
    })
}

fn listens() -> impl TypedValueParser<Value = Listen> {
    PossibleValuesParser::new(["fd", "path", "port"]).map(|text| match text.as_str() {
        "fd" => Listen::Fd,
        "path" => Listen::Path,
        _ => Listen::Port,
    })
}

fn readies() -> impl TypedValueParser<Value = Ready> {
    PossibleValuesParser::new(["http", "listen"]).map(|text| match text.as_str() {
        "http" => Ready::Http,
        _ => Ready::Listen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Help is part of the product: a change of it shows up as a change of these files.
    /// `RIP_BLESS=1 cargo test` writes them anew.
    #[test]
    fn help_reads_as_agreed() {
        for (line, golden) in [
            ("--help", "help.txt"),
            ("start --help", "start.txt"),
            ("stop --help", "stop.txt"),
            ("ctl --help", "ctl.txt"),
            ("list --help", "list.txt"),
            ("restart --help", "restart.txt"),
            ("ctl scale --help", "scale.txt"),
            ("ctl drain --help", "drain.txt"),
            ("ctl certs --help", "certs.txt"),
            ("ctl events --help", "events.txt"),
            ("add --help", "add.txt"),
            ("check --help", "check.txt"),
            ("fmt --help", "fmt.txt"),
            ("plan --help", "plan.txt"),
            ("why --help", "why.txt"),
        ] {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let text = match Cli::read(&arguments) {
                Err(Unread::Grammar(help)) => help.to_string(),
                other => panic!("{line}: {other:?}"),
            };
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/golden").join(golden);
            if std::env::var_os("RIP_BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{line}");
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{line} is too wide");
        }
    }

    #[test]
    fn every_flag_of_start_has_its_variable() {
        let grammar = Cli::grammar();
        let start = grammar.find_subcommand("start").unwrap();
        for flag in start.get_arguments().filter(|flag| flag.get_long() != Some("help")) {
            let Some(long) = flag.get_long() else { continue };
            let variable = format!("RIP_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env().unwrap(), variable.as_str());
        }
        grammar.debug_assert();
    }

    #[test]
    fn every_verb_hears_of_the_name_in_the_environment() {
        fn check(verb: &Command) {
            for flag in verb.get_arguments().filter(|flag| flag.get_long() == Some("name")) {
                assert_eq!(flag.get_env().unwrap(), "RIP_NAME", "{}", verb.get_name());
            }
            verb.get_subcommands().for_each(check);
        }
        check(&Cli::grammar());
    }
}
