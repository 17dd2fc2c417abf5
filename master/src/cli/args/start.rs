//! What `start` understands.

use super::{
    AppFlags, ChangeFlags, DeadlineFlags, EdgeFlags, EdgefileFlags, HttpsFlags, OutputFlags,
    RealtimeFlags, ReplacingFlags, RestartFlags, SessionFlags,
};
use clap::Args;

/// Everything `start` understands once tokens have become flags.
#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "rip-master start [PATH[@ALIAS,…]] [NAME] [TOKENS] [FLAGS] [-- ARGV…]",
    after_help = AFTER_START
)]
pub struct Start {
    /// A directory, a file, pkg.module:attr or builtin:NAME [default: .]
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

const AFTER_START: &str = "\
Tokens, in any order:
  w:N w:auto w:half   workers: a number, one per core (at least 2), half of that
  c:N                 requests one worker may have in flight
  r:N[,Ss][,Rr]       replace a worker after N requests, S seconds, R reloads
  https:PORT          port of HTTPS; `https` alone is 443
  http:PORT           port of plain HTTP, without HTTPS unless that is said as well;
                      `http` alone is $PORT, else 80
  PORT                that of HTTPS where there is a certificate, else of plain HTTP

What runs an entry follows from its name: .py is python, .js .mjs .cjs .ts node or bun, config.ru
ruby, .php php, .cgi cgi; a directory is what the files in it say, or a site of files. --runtime
says it instead: python, node, bun, ruby, php, cgi (a program run once for every request, or a
directory of them), command (a program that serves, or the process web of a Procfile), builtin.

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
  rip-master start server.js http:8080
  rip-master start cgi-bin --runtime cgi http:8080
  rip-master start . http:8080 --listen port -- deno run -A main.ts";
