//! What one master was asked to do: resolved once by the command line, read by everyone.

use super::app::AppDescriptor;
use super::config::{Config, EdgeConfig};
use super::listen::ListenAddress;
use super::overrides::Overrides;
use super::route::{RouteAction, RouteRule, StaticFiles};
use super::secret::Secret;

/// Everything a master needs to know to start. Plain values: nothing in here was looked up later
/// than the command line. The configuration in it is the first; a reload puts another in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The master's name: what `--name` selects and what its runtime directory is called.
    pub name: String,
    /// The configuration to start with, overrides applied.
    pub config: Config,
    /// Where it came from, and where the next one will.
    pub source: Source,
    /// Where what outlives the master is kept, absolute: `certs/` in it are certificates and the ACME
    /// account. `$STATE_DIRECTORY`, else `~/.rip`.
    pub state_dir: String,
    /// What publishers present where no file says another secret: `--publish-secret`.
    pub publish_secret: Option<Secret>,
    /// Only trouble is told: no access lines and no ordinary lifecycle events.
    pub quiet: bool,
    /// Diagnostics down to the debug level.
    pub debug: bool,
    /// Changed files are looked for now and then instead of being told of by the kernel.
    pub watch_poll: bool,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Words and flags: it does not change while the master lives.
    CommandLine,
    /// A file that is read again at every reload.
    Edgefile {
        /// Its path, absolute.
        path: String,
        /// What flags and the environment say stands above the file.
        overrides: Box<Overrides>,
        /// A change of the file is a reload.
        watch: bool,
    },
}

impl Settings {
    /// The settings of `app` alone listening on `http`, everything else by default.
    pub fn new(app: AppDescriptor, http: Vec<ListenAddress>) -> Self {
        let edge = EdgeConfig { http, ..EdgeConfig::default() };
        Self {
            name: app.id.as_str().to_owned(),
            config: single_app(app, edge),
            source: Source::CommandLine,
            quiet: false,
            debug: false,
            watch_poll: false,
            publish_secret: None,
            state_dir: ".".to_owned(),
        }
    }
}

/// The configuration that answers every request with a file of the directory `dir`, whatever its host,
/// and lists directories; `hosts` are those it is known by.
pub fn file_site(dir: &str, hosts: &[String], edge: EdgeConfig) -> Config {
    let files = StaticFiles {
        dir: dir.to_owned(),
        index: "index.html".to_owned(),
        spa_fallback: None,
        browse: true,
        dotfiles: false,
        cache_control: None,
    };
    let hosts = hosts.iter().map(String::as_str).chain(["*"]);
    let rule = |host| RouteRule::new(host, "/*", RouteAction::Static(files.clone()));
    Config { edge, routes: hosts.map(rule).collect(), ..Config::default() }
}

/// The configuration that hands every request to `app`.
pub fn single_app(app: AppDescriptor, edge: EdgeConfig) -> Config {
    let action = RouteAction::ToApp { app_id: app.id.clone() };
    let everything = RouteRule::new("*", "/*", action);
    Config { edge, apps: vec![app], routes: vec![everything], ..Config::default() }
}
