//! Taking a server over from the master that runs it: what it leaves, and when this one serves.
//!
//! ```text
//!                                          ┌──── a worker is missing ─────┐
//!                                          ▼                              │
//!  Booting ── every worker is ready ──▶ Adding ── added hosts are ──▶ Proving ── a second without a loss ──▶ Ready
//!     │                                   │                              │                                    │ TakeOver
//!     └── a worker fails ─────────────────┴── the predecessor ends ──────┴──▶ exit 1: nothing happened        ▼
//!                      a master like any other ◀── the predecessor ends ── Known ◀── Relieved ────────── Serving
//! ```
//!
//! Until it serves this master belongs to its predecessor: it accepts nobody, tells nobody but that
//! one, and ends with it. From then on the predecessor may end in any way.

use super::crew::News;
use super::listeners::{Listeners, Origin};
use super::master::Master;
use super::runtime_dir::RuntimeDir;
use super::start_error::StartError;
use super::verbs::WatchPages;
use crate::shared::diagnostics;
use crate::shared::mail::Listening;
use crate::sys::scm::{Channel, Message};
use nix::unistd::dup2_stderr;
use rip::contract::attempt::AttemptSource;
use rip::ids::PoolNumber;
use rip::limits;
use rip::time::Instant;
use rip::wire::upgrade::{
    FromPredecessor, FromSuccessor, HandedOn, MESSAGE_BYTES, PROTOCOL, Summons, VARIABLE, Will,
    understand,
};
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// Everything a predecessor leaves.
pub(super) struct Inheritance {
    channel: Channel,
    will: Will,
    control: UnixListener,
    pid_file: File,
    stderr: OwnedFd,
    listeners: Vec<(HandedOn, TcpListener)>,
}

/// What this process is summoned to, if it is started to succeed its parent.
/// Processes that help it to start are told as well.
pub fn summons() -> Option<Summons> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

impl Inheritance {
    /// Takes what the parent leaves, where this process is its successor. To be asked once, before
    /// descriptors of other origin are taken.
    ///
    /// # Errors
    /// The one who summons has ended. Or what it leaves cannot be understood, or it is of a version
    /// that hands over in another way.
    pub(super) fn receive() -> Result<Option<Self>, StartError> {
        let Some(summons) = summons() else { return Ok(None) };
        let failed = |what: String| {
            StartError::failed(format!("the running server cannot be taken over: {what}"))
                .hint("stop it, and start this one")
        };
        // What nobody hands over must not be seized: it would serve unheard by who has asked for it.
        if summons.predecessor != std::os::unix::process::parent_id() {
            let gone = format!("process {} has ended, or is no parent", summons.predecessor);
            return Err(failed(gone));
        }
        let channel = Channel::inherited(summons.fd).map_err(|error| failed(error.to_string()))?;
        let next = || match channel.wait(MESSAGE_BYTES, WILL_PATIENCE) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(failed("it has ended".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        };
        let Message { bytes, fds } = next()?;
        let said: Protocol = understand(&bytes).map_err(failed)?;
        if said.protocol != PROTOCOL {
            return Err(failed(format!(
                "it hands over in version {} of the protocol, this program takes over in version \
                 {PROTOCOL}",
                said.protocol
            )));
        }
        let FromPredecessor::Will { listeners: count, .. } = understand(&bytes).map_err(failed)?
        else {
            return Err(failed("it says something else first".to_owned()));
        };
        let fds: Result<[OwnedFd; 4], _> = fds.try_into();
        let Ok([will, control, pid_file, stderr]) = fds else {
            return Err(failed("descriptors are missing".to_owned()));
        };
        let mut text = Vec::new();
        File::from(will)
            .read_to_end(&mut text)
            .map_err(|error| failed(format!("its will cannot be read: {error}")))?;
        let will: Will = understand(&text).map_err(failed)?;
        let mut sockets = Vec::new();
        while sockets.len() < count {
            let Message { bytes, fds } = next()?;
            let said: FromPredecessor = understand(&bytes).map_err(failed)?;
            if said != FromPredecessor::Listeners || fds.is_empty() {
                return Err(failed("listening sockets are missing".to_owned()));
            }
            sockets.extend(fds.into_iter().map(TcpListener::from));
        }
        if sockets.len() != will.listeners.len() {
            return Err(failed("there are other listening sockets than it says".to_owned()));
        }
        let listeners = will.listeners.iter().copied().zip(sockets).collect();
        let (control, pid_file) = (control.into(), pid_file.into());
        Ok(Some(Self { channel, will, control, pid_file, stderr, listeners }))
    }

    /// Gives the sockets to `listeners`.
    ///
    /// # Errors
    /// One of them is none that listens.
    pub(super) fn bequeath(&mut self, listeners: &mut Listeners) -> Result<(), StartError> {
        for (HandedOn { address, of_init }, listener) in self.listeners.drain(..) {
            let origin = if of_init { Origin::Init } else { Origin::Predecessor };
            let listening = Listening { address, listener };
            listeners
                .inherit(origin, listening)
                .map_err(|error| StartError::system(format!("the listener {address}"), &error))?;
        }
        Ok(())
    }

    /// Our part of the runtime directory.
    ///
    /// # Errors
    /// As [`RuntimeDir::handed_on`].
    pub(super) fn runtime_dir(&self) -> Result<RuntimeDir, StartError> {
        let pid_file = self.pid_file.try_clone();
        let pid_file = pid_file.map_err(|error| StartError::system("the pid file", &error))?;
        RuntimeDir::handed_on(self.will.runtime_dir.clone().into(), pid_file)
    }

    /// Where errors are told; our standard error leads to the predecessor.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn stderr(&self) -> io::Result<OwnedFd> {
        self.stderr.try_clone()
    }

    /// What is left to do; `waiting` are the sockets of the listeners.
    pub(super) fn succession(self, waiting: Vec<Listening>) -> Succession {
        let Self { channel, will, control, stderr, .. } = self;
        let (control, stderr) = (Some(control), Some(stderr));
        Succession { channel, will, control, stderr, waiting, phase: Phase::Booting }
    }
}

/// The part of the first message that every version understands.
#[derive(serde::Deserialize)]
struct Protocol {
    protocol: u32,
}

/// A master on its way to take another one's place.
pub(super) struct Succession {
    channel: Channel,
    will: Will,
    /// Until it is ours.
    control: Option<UnixListener>,
    stderr: Option<OwnedFd>,
    /// Nobody is accepted there yet.
    waiting: Vec<Listening>,
    phase: Phase,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Adding,
    Booting,
    /// To the init system as well.
    Known,
    Proving(Instant),
    Ready,
    Serving,
}

impl Phase {
    fn serves(self) -> bool {
        matches!(self, Self::Known | Self::Serving)
    }
}

impl Succession {
    /// When [`Master::drive_succession`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Proving(until) => Some(until),
            _ => None,
        }
    }

    fn say(&self, message: &FromSuccessor) -> io::Result<()> {
        self.channel.send(&serde_json::to_vec(message)?, &[])
    }
}

impl AsRawFd for Succession {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

impl Master {
    /// Clients are this master's: neither its predecessor's still nor its successor's already.
    pub(super) fn is_serving(&self) -> bool {
        let is_waiting =
            (self.succession.as_ref()).is_some_and(|succession| !succession.phase.serves());
        !is_waiting && !self.upgrade.is_over()
    }

    /// The init system still takes another process for the service.
    pub(super) fn is_unknown_to_init(&self) -> bool {
        self.succession.as_ref().is_some_and(|succession| succession.phase != Phase::Known)
    }

    /// Lets the loops accept at one more address, as soon as any is accepted at.
    pub(super) fn open_listener(&mut self, listening: Listening) {
        match &mut self.succession {
            Some(succession) if !succession.phase.serves() => {
                succession.waiting.push(listening);
            }
            _ => {
                if let Some(edges) = &self.edges {
                    edges.open(listening);
                }
            }
        }
    }

    /// Does with the apps what the operator has done with those of the predecessor.
    pub(super) fn execute_will(&mut self) {
        let Some(succession) = &self.succession else { return };
        let will = succession.will.clone();
        let now = self.clock.now();
        for pool in self.active_pools() {
            let Some(crew) = self.crews.get_mut(pool) else { continue };
            let app = crew.descriptor();
            let (id, configured) = (app.id.clone(), app.workers);
            if let Some(chosen) = will.workers.get(&id)
                && chosen.configured == configured
                && let Err(refusal) = crew.scale(chosen.chosen as usize, now)
            {
                log::warn!("{id} has the number of workers that is configured: {refusal}");
            }
            if will.paused.contains(&id) {
                crew.pool.hold(true, now);
            }
        }
        for pages in will.pages {
            let dirs = pages.dirs.into_iter().map(Into::into).collect();
            let answer = self.watch_pages(&WatchPages { prefix: pages.prefix.clone(), dirs });
            if answer.status != 200 {
                log::warn!("pages of {} are not told of changes any more", pages.prefix);
            }
        }
    }

    /// Goes on towards serving. True when something was begun that others have to follow.
    pub(super) fn drive_succession(&mut self) -> bool {
        let now = self.clock.now();
        let Some(phase) = self.succession.as_ref().map(|succession| succession.phase) else {
            return false;
        };
        if self.shutdown.is_asked() {
            return false;
        }
        let next = match phase {
            Phase::Booting if self.is_complete() => {
                let hosts = self.succession.as_mut().map(|own| std::mem::take(&mut own.will.hosts));
                let hosts = self.inherit_hosts(hosts.unwrap_or_default());
                if let Some(succession) = &mut self.succession {
                    succession.will.hosts = hosts;
                }
                Phase::Adding
            }
            Phase::Adding if !self.reload.is_busy() && self.is_complete() => {
                match self.missing_host() {
                    Some(why) => {
                        self.fail_succession(why, Vec::new());
                        return false;
                    }
                    None => Phase::Proving(now + limits::VERIFY_PROBATION),
                }
            }
            // One is being replaced. The second begins anew with the one that comes.
            Phase::Proving(_) if !self.is_complete() => Phase::Adding,
            Phase::Proving(until) if now >= until => Phase::Ready,
            _ => return false,
        };
        if let Some(succession) = &mut self.succession {
            succession.phase = next;
        }
        if next == Phase::Ready {
            self.say_ready();
        }
        true
    }

    /// Removes what predecessors have left, once they are no more.
    pub(super) fn tidy_up(&mut self) {
        if self.state.tidy_at.is_some_and(|due| self.clock.now() >= due) {
            self.state.tidy_at = None;
            self.shop.runtime.forget_the_dead();
        }
    }

    /// Every app has as many ready workers as it shall have.
    fn is_complete(&self) -> bool {
        let crews = self.active_pools().into_iter().filter_map(|pool| self.crews.get(pool));
        crews.map(|crew| crew.summary()).all(|summary| summary.ready >= summary.wanted)
    }

    /// Why an added host is not served.
    fn missing_host(&self) -> Option<String> {
        let wanted = self.succession.as_ref()?.will.hosts.iter();
        let active = self.shared.current.load();
        let is_there = |host: &str| active.config.routes.iter().any(|rule| rule.host == host);
        let missing = wanted.map(|added| &added.host).find(|host| !is_there(host))?;
        let last = self.reload.history.last();
        let details = last.map(|attempt| attempt.details.join("; ")).unwrap_or_default();
        Some(format!("the added host {missing} cannot be served: {details}"))
    }

    fn say_ready(&mut self) {
        let listeners = self.shared.current.load().config.edge.listeners();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let ready = FromSuccessor::Ready { protocol: PROTOCOL, version, listeners };
        let said = self.succession.as_ref().map(|succession| succession.say(&ready));
        if let Some(Err(error)) = said {
            self.fail_succession(
                format!("the running server does not listen: {error}"),
                Vec::new(),
            );
        }
    }

    /// A crew has told something. Before this master serves, a worker that fails ends it.
    pub(super) fn succession_hears(&mut self, pool: PoolNumber, news: &News) {
        if self.is_serving() || self.upgrade.is_over() || self.shutdown.is_asked() {
            return;
        }
        let News::Failed { reason, stderr } = news else { return };
        let app = self.crews.get(pool).map(|crew| crew.descriptor().id.to_string());
        let reason = format!("app {}: {reason}", app.unwrap_or_default());
        self.fail_succession(reason, stderr.clone());
    }

    fn fail_succession(&mut self, reason: String, lines: Vec<String>) {
        self.give_up(reason, lines);
        self.stop("the upgrade failed", true);
    }

    /// The predecessor has said something, or is gone.
    pub(super) fn hear_predecessor(&mut self) {
        while let Some(succession) = &self.succession {
            let said = match succession.channel.receive(MESSAGE_BYTES) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Some(message)) => understand::<FromPredecessor>(&message.bytes),
                Ok(None) => return self.predecessor_gone(),
                Err(error) => Err(error.to_string()),
            };
            match (said, succession.phase) {
                (Ok(FromPredecessor::TakeOver), Phase::Ready) => self.take_over(),
                (Ok(FromPredecessor::Relieved { reload }), Phase::Serving) => {
                    if let Some(succession) = &mut self.succession {
                        succession.phase = Phase::Known;
                    }
                    self.tell_init_of_us();
                    if reload && self.has_edgefile() {
                        self.reload_for(AttemptSource::Signal);
                    }
                }
                (Ok(other), phase) if phase.serves() => {
                    log::warn!("the predecessor says {other:?}");
                }
                (Ok(other), _) => {
                    let reason = format!("the running server says {other:?} when it should not");
                    return self.fail_succession(reason, Vec::new());
                }
                (Err(what), phase) if phase.serves() => {
                    log::warn!("the predecessor is not understood: {what}");
                    return self.predecessor_gone();
                }
                (Err(what), _) => {
                    let reason = format!("the running server is not understood: {what}");
                    return self.fail_succession(reason, Vec::new());
                }
            }
        }
    }

    fn predecessor_gone(&mut self) {
        let Some(succession) = self.succession.take_if(|own| own.phase.serves()) else {
            if !self.shutdown.is_asked() {
                self.fail_succession("the running server has ended".to_owned(), Vec::new());
            }
            return;
        };
        if succession.phase != Phase::Known {
            // It could not tell that it was ours to say.
            self.tell_init_of_us();
        }
        // It is not dead before it has closed what it had.
        self.state.tidy_at = Some(self.clock.now() + TIDY_PAUSE);
    }

    fn tell_init_of_us(&mut self) {
        if !self.shutdown.is_asked() {
            let status = self.status_line();
            self.notifier.tell_ready(status);
        }
    }

    /// The server is this master's from now on.
    fn take_over(&mut self) {
        let Some(succession) = &mut self.succession else { return };
        let (control, stderr) = (succession.control.take(), succession.stderr.take());
        // The name is last: whoever has it removes at its end what belongs to it.
        let opened = control.map_or(Ok(()), |control| self.server.open(control));
        if let Err(error) = opened.and_then(|()| self.shop.runtime.take_over()) {
            self.server.hand_on();
            let reason = format!("the server cannot be taken over: {error}");
            return self.fail_succession(reason, Vec::new());
        }
        let Some(succession) = &mut self.succession else { return };
        if let Err(error) = succession.say(&FromSuccessor::Taken) {
            // It has told us to, and is gone by now.
            log::debug!("the predecessor does not hear that we serve: {error}");
        }
        succession.phase = Phase::Serving;
        let waiting = std::mem::take(&mut succession.waiting);
        if let Some(stderr) = stderr
            && let Err(error) = dup2_stderr(&stderr)
        {
            log::error!("standard error is lost: {error}");
        }
        diagnostics::send_to(self.shared.log.clone());
        waiting.into_iter().for_each(|listening| self.open_listener(listening));
        let config = self.shared.current.load().config.clone();
        self.keep_certs(&config);
        self.announce();
    }
}

/// Between the last that is heard of a predecessor and a look at what it has left.
const TIDY_PAUSE: Duration = Duration::from_secs(1);
/// What is left was sent before this process was started.
const WILL_PATIENCE: Duration = Duration::from_secs(10);
