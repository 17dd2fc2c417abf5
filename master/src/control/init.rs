//! What the init system is told in the course of a master's life.

use super::master::Master;
use super::notify::status_line;
use super::reload::longest;
use rip::contract::config::Config;
use rip::limits;
use std::time::Duration;

impl Master {
    /// How the apps are, in one line.
    pub(super) fn status_line(&self) -> String {
        let crews = self.active_pools().into_iter().filter_map(|pool| self.crews.get(pool));
        status_line(crews.map(|crew| {
            let summary = crew.summary();
            (crew.descriptor().id.as_str(), summary.ready, summary.wanted)
        }))
    }

    /// Workers are started now: that may take a while.
    pub(super) fn tell_init_of_the_start(&mut self) {
        let now = self.clock.now();
        let until = now + time_to_start(&self.settings.config);
        self.notifier.ask_for_time(now, until);
    }

    /// Another configuration is to be put in place.
    pub(super) fn tell_init_of_a_reload(&mut self) {
        let now = self.clock.now();
        let active = self.shared.current.load();
        let verify = active.config.edge.verify.within;
        let until = now + time_to_start(&active.config) + verify + limits::COMPILE_TIMEOUT;
        self.notifier.tell_reloading(now, until);
    }

    /// The server was told to end.
    pub(super) fn tell_init_of_the_end(&mut self) {
        let now = self.clock.now();
        let active = self.shared.current.load();
        let (drain, kill) =
            (longest(&active.config, |app| app.drain), longest(&active.config, |app| app.kill));
        self.notifier.tell_stopping(now, now + drain + kill + limits::SHUTDOWN_SLACK);
    }

    /// Tells what is due.
    pub(super) fn keep_init_told(&mut self) {
        let now = self.clock.now();
        self.notifier.plead(now);
        if self.is_announced() && !self.shutdown.is_asked() && !self.reload.is_announced {
            let mut notifier = std::mem::take(&mut self.notifier);
            notifier.keep_status(now, || self.status_line());
            self.notifier = notifier;
        }
        let accepts = !self.shutdown.is_asked();
        let edges = self.edges.as_ref();
        let asked = self.notifier.watchdog.as_mut().and_then(|watchdog| {
            let round = watchdog.due(now)?;
            Some(watchdog.asked(edges.map_or(0, |edges| edges.ask_alive(round, accepts))))
        });
        if asked == Some(true) {
            self.notifier.tell(ALIVE);
        }
    }

    /// Somebody who serves clients is there.
    pub(super) fn loop_lives(&mut self, round: u64) {
        if self.notifier.watchdog.as_mut().is_some_and(|watchdog| watchdog.answered(round)) {
            self.notifier.tell(ALIVE);
        }
    }
}

/// How long the first workers of `config` may take, and what must be done before.
fn time_to_start(config: &Config) -> Duration {
    let has_setup = config.apps.iter().any(|app| app.launch.setup.is_some());
    let setup = if has_setup { limits::SETUP_TIMEOUT } else { Duration::ZERO };
    longest(config, |app| app.start) + setup + limits::SHUTDOWN_SLACK
}

const ALIVE: &str = "WATCHDOG=1";
