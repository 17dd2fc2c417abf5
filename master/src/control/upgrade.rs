//! Handing the server over: carries out what [`rip::supervise::Upgrade`] decides.
//!
//! The successor is a child in a process group of its own, and knows what to do from what was put
//! into a pair of sockets before it was started (`rip::wire::upgrade`). Its standard error is a pipe
//! until it serves: what it says last is why it failed.

use super::master::Master;
use super::program::{Program, is_roots_alone, text};
use super::reload::longest;
use super::server::{Answer, Asker, Request};
use super::source::{Source, Successor};
use crate::shared::mail::Farewell;
use crate::sys::child::{Child, ExitStatus};
use crate::sys::fd::{memfd, pipe_cloexec, set_nonblocking};
use crate::sys::privilege::{self, Capability};
use crate::sys::scm::Channel;
use crate::sys::spawn::{self, Spawn};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::sys::signal::Signal;
use rip::contract::event::{Event, UpgradeResult};
use rip::contract::listen::ListenAddress;
use rip::limits;
use rip::reload::overlay::Target;
use rip::supervise::upgrade::{Failure, Order, Refusal, Upgrade};
use rip::time::Instant;
use rip::wire::upgrade::{
    AddedHost, Chosen, FromPredecessor, FromSuccessor, LISTENERS_AT_ONCE, MESSAGE_BYTES, PROTOCOL,
    SUCCESSOR_FD, Summons, VARIABLE, WatchedPages, Will, understand,
};
use serde::Serialize;
use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The hand-over, and who takes part in it.
pub(super) struct Handover {
    core: Upgrade,
    program: Program,
    registry: Registry,
    asked: Option<Asked>,
    successor: Option<Next>,
    /// What is configured has changed, or may have, and was not taken up.
    reload: bool,
    /// The first request to end that comes after another one serves is only repeated politeness.
    was_asked_to_end: bool,
}

/// What was asked for.
struct Asked {
    /// Who waits.
    from: Option<Asker>,
    since: Instant,
    binary: PathBuf,
}

/// The successor.
struct Next {
    child: Child,
    /// It is reaped.
    ended: Option<ExitStatus>,
    channel: Option<Channel>,
    words: Words,
    version: Option<String>,
    listeners: Vec<ListenAddress>,
}

/// What it says on its standard error.
struct Words {
    pipe: Option<File>,
    /// There may be more to read, of which nobody will tell.
    has_more: bool,
    line: Vec<u8>,
    last: VecDeque<String>,
}

/// How an upgrade is wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UpgradeOrder {
    /// Another program than our own.
    pub binary: Option<String>,
    /// How long it may take to become ready.
    pub within: Option<Duration>,
}

impl Handover {
    /// Nobody has asked. What is watched is watched with `registry`; `program` is ours.
    pub(super) fn new(registry: Registry, program: Program, now: Instant) -> Self {
        Self {
            core: Upgrade::new(now),
            program,
            registry,
            asked: None,
            successor: None,
            reload: false,
            was_asked_to_end: false,
        }
    }

    /// Another master serves.
    pub(super) fn is_over(&self) -> bool {
        self.core.is_over()
    }

    /// What serves must stay as it is.
    pub(super) fn is_under_way(&self) -> bool {
        self.core.is_under_way()
    }

    /// When [`Master::drive_upgrade`] is due.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.has_more_words() { Some(now) } else { self.core.next_deadline() }
    }

    /// The successor has said more than was read.
    fn has_more_words(&self) -> bool {
        self.successor.as_ref().is_some_and(|next| next.words.has_more)
    }

    /// Whether `pid` is the successor, which nobody but this may reap or kill.
    pub(super) fn owns(&self, pid: u32) -> bool {
        self.successor.as_ref().is_some_and(|next| next.ended.is_none() && next.child.pid() == pid)
    }

    /// What was asked for now is asked for again when the hand-over has failed, or of who takes over.
    /// True when it is under way.
    pub(super) fn puts_off_reload(&mut self) -> bool {
        let puts_off = self.core.is_under_way() || self.core.is_over();
        self.reload |= puts_off;
        puts_off
    }

    /// True for the first request to end after somebody else serves: that end is under way.
    pub(super) fn absorbs_end(&mut self) -> bool {
        self.core.is_over() && !std::mem::replace(&mut self.was_asked_to_end, true)
    }
}

/// The answer to whoever waits for the end of an upgrade.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Upgraded<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    result: UpgradeResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    binary: String,
    old_pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    duration_ms: u64,
    /// What the new server said last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stderr: Vec<String>,
}

#[derive(Serialize)]
struct Begun {
    ok: bool,
}

impl Master {
    /// SIGUSR2.
    pub(super) fn upgrade_on_signal(&mut self) {
        if let Err(refused) = self.ask_for_upgrade(UpgradeOrder::default(), None) {
            log::warn!("USR2: {refused}");
        }
    }

    /// Begins an upgrade for a request. `None` when the answer comes later.
    pub(super) fn upgrade_on_request(
        &mut self,
        request: &Request,
        order: UpgradeOrder,
        wait: bool,
    ) -> Option<Answer> {
        let is_by_root = request.by.process().is_some_and(|peer| peer.uid == 0);
        if order.binary.is_some() && !is_by_root && !privilege::held().is_empty() {
            // Our own user's processes are apps as well.
            let error =
                "the server holds rights of root: only root may name the program to succeed it";
            return Some(Answer::refused(403, error, "leave --binary out, or ask as root"));
        }
        match self.ask_for_upgrade(order, Some(request.from).filter(|_| wait)) {
            Err(refused) => Some(Answer::refused(409, refused, "the server goes on as it is")),
            Ok(()) if wait => None,
            Ok(()) => Some(Answer::json(202, &Begun { ok: true })),
        }
    }

    fn ask_for_upgrade(&mut self, order: UpgradeOrder, from: Option<Asker>) -> Result<(), String> {
        if std::process::id() == 1 {
            return Err("process 1 cannot be replaced: everything would end with it".to_owned());
        }
        if !self.is_serving() || self.is_unknown_to_init() {
            return Err("the server has not wholly taken over yet".to_owned());
        }
        if self.shutdown.is_asked() {
            return Err("the server is stopping".to_owned());
        }
        let now = self.clock.now();
        let slowest = longest(&self.shared.current.load().config, |app| app.start);
        let patience = order.within.unwrap_or(slowest + limits::UPGRADE_SLACK);
        let asked = self.upgrade.core.ask(patience, now);
        asked.map_err(|refusal: Refusal| refusal.to_string())?;
        let binary = order.binary.map_or_else(|| self.upgrade.program.path.clone(), PathBuf::from);
        self.upgrade.asked = Some(Asked { from, since: now, binary });
        Ok(())
    }

    /// Goes on with the hand-over.
    pub(super) fn drive_upgrade(&mut self) {
        let now = self.clock.now();
        if self.upgrade.core.next_deadline().is_some_and(|deadline| now >= deadline) {
            self.hear_what_was_said();
        }
        if self.upgrade.has_more_words() {
            self.read_words();
        }
        let is_busy = self.reload.is_busy() || self.orders.is_reloading();
        self.upgrade.core.settle(is_busy, now);
        while let Some(order) = self.upgrade.core.poll_order() {
            match order {
                Order::Start => self.start_successor(now),
                Order::TakeOver => self.tell_successor(FromPredecessor::TakeOver),
                Order::Recover => self.recover(),
                Order::Kill => self.upgrade.kill(),
                Order::Leave => self.leave(now),
                Order::Report(failure) => self.report_failure(&failure, now),
            }
        }
    }

    /// What a successor may have taken that is no more is ours.
    fn recover(&self) {
        if let Err(error) = self.shop.runtime.take_over() {
            log::error!("the pid file cannot be written: {error}");
        }
    }

    fn start_successor(&mut self, now: Instant) {
        let Some(binary) = self.upgrade.asked.as_ref().map(|asked| asked.binary.clone()) else {
            return self.upgrade.core.not_started("nobody has asked".to_owned());
        };
        let shown = binary.display().to_string();
        self.tell(&Event::UpgradeStart { pid: std::process::id(), binary: shown.clone() });
        match self.spawn_successor(binary) {
            Ok(next) => {
                let pid = next.child.pid();
                self.upgrade.successor = Some(next);
                self.upgrade.core.started(now);
                self.notifier.tell(&format!("STATUS=upgrading: process {pid} is getting ready"));
            }
            Err(error) => self.upgrade.core.not_started(format!("{shown}: {error}")),
        }
    }

    fn spawn_successor(&self, binary: PathBuf) -> io::Result<Next> {
        let capabilities = rights_for(&binary)?;
        let handed = self.listeners.to_hand_on();
        let (near, far) = Channel::pair()?;
        self.write_will(&near, &handed)?;
        let listeners = handed.iter().map(|(handed, _)| handed.address).collect();
        let summons = Summons { predecessor: std::process::id(), fd: SUCCESSOR_FD, listeners };
        let (words, words_end) = pipe_cloexec()?;
        set_nonblocking(&words)?;
        let argv = self.upgrade.program.arguments(&binary)?;
        let env = environment(&summons)?;
        let path = text(binary.into_os_string().into_vec())?;
        let fds = [(2, words_end.as_fd()), (SUCCESSOR_FD, far.as_fd())];
        let exe = spawn::Program::At(&path);
        let capabilities = &capabilities;
        let spawn = Spawn { exe, argv: &argv, env: &env, fds: &fds, own_group: true, capabilities };
        let child = spawn.spawn()?;
        let words = Words::of(words);
        let (version, listeners) = (None, Vec::new());
        let mut next = Next { child, ended: None, channel: Some(near), words, version, listeners };
        if let Err(error) = self.upgrade.watch(&mut next) {
            // A process that nobody hears must not be.
            let _gone_already = next.child.kill_group(Signal::SIGKILL);
            next.child.wait()?;
            return Err(error);
        }
        Ok(next)
    }

    fn write_will(
        &self,
        to: &Channel,
        handed: &[(rip::wire::upgrade::HandedOn, BorrowedFd<'_>)],
    ) -> io::Result<()> {
        let missing = || io::Error::other("the control socket is another's");
        let mut will = self.will();
        will.listeners = handed.iter().map(|(handed, _)| *handed).collect();
        let will = memfd(c"will", &serde_json::to_vec(&will)?)?;
        let stderr = io::stderr();
        let control = self.server.public().ok_or_else(missing)?;
        let first = [will.as_fd(), control, self.shop.runtime.lock().as_fd(), stderr.as_fd()];
        let said = FromPredecessor::Will { protocol: PROTOCOL, listeners: handed.len() };
        to.send(&serde_json::to_vec(&said)?, &first)?;
        let said = serde_json::to_vec(&FromPredecessor::Listeners)?;
        for some in handed.chunks(LISTENERS_AT_ONCE) {
            let fds: Vec<_> = some.iter().map(|(_, fd)| *fd).collect();
            to.send(&said, &fds)?;
        }
        Ok(())
    }

    /// What was done to this server since it runs that is not configured.
    fn will(&self) -> Will {
        let hosts = self.reload.overlay().into_iter().flat_map(|overlay| overlay.entries());
        let hosts = hosts.map(|entry| {
            let (app, path) = match &entry.target {
                Target::App(app) => (Some(app.clone()), None),
                Target::Path { path, .. } => (None, Some(path.clone())),
            };
            AddedHost { host: entry.host.clone(), app, path }
        });
        let mut will = Will {
            name: self.settings.name.clone(),
            runtime_dir: self.shop.runtime.path().to_string_lossy().into_owned(),
            hosts: hosts.collect(),
            ..Will::default()
        };
        for crew in self.active_pools().into_iter().filter_map(|pool| self.crews.get(pool)) {
            let app = crew.descriptor();
            let (configured, wanted) = (app.workers, crew.wanted());
            let chosen = u32::try_from(wanted).unwrap_or(configured);
            if chosen != configured {
                will.workers.insert(app.id.clone(), Chosen { configured, chosen });
            }
            if crew.pool.view(|pool| pool.is_held()) {
                will.paused.push(app.id.clone());
            }
        }
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        will.pages = (self.state.watched.iter())
            .map(|(prefix, dirs)| {
                let dirs = dirs.iter().map(text).collect();
                WatchedPages { prefix: prefix.clone(), dirs }
            })
            .collect();
        will
    }

    fn tell_successor(&mut self, said: FromPredecessor) {
        let channel = self.upgrade.successor.as_ref().and_then(|next| next.channel.as_ref());
        let told = serde_json::to_vec(&said)
            .map_err(io::Error::from)
            .and_then(|said| channel.ok_or(io::ErrorKind::NotConnected)?.send(&said, &[]));
        if let Err(error) = told {
            // Its end is being told as well, and is the better reason.
            log::debug!("the next server does not hear {said:?}: {error}");
        }
    }

    /// Something of the successor is there to be seen.
    pub(super) fn hear_successor(&mut self, what: Successor) {
        match what {
            Successor::Channel => self.read_channel(),
            Successor::Words => self.read_words(),
            Successor::Process => self.reap_successor(),
        }
    }

    /// A successor that has said that it serves must not be killed because it was not listened to.
    pub(super) fn hear_what_was_said(&mut self) {
        if self.upgrade.is_under_way() {
            self.read_channel();
        }
    }

    fn read_channel(&mut self) {
        let now = self.clock.now();
        loop {
            let Some(next) = &mut self.upgrade.successor else { return };
            let Some(channel) = &next.channel else { return };
            let said = match channel.receive(MESSAGE_BYTES) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Some(message)) => understand::<FromSuccessor>(&message.bytes),
                // It is reset where something was left unread.
                Ok(None) | Err(_) => {
                    next.channel = None;
                    return self.upgrade.core.silent(now);
                }
            };
            match said {
                Err(what) => self.upgrade.core.garbled(&what),
                Ok(FromSuccessor::Ready { protocol, .. }) if protocol != PROTOCOL => {
                    let what = format!("it speaks version {protocol}, and we {PROTOCOL}");
                    self.upgrade.core.garbled(&what);
                }
                Ok(FromSuccessor::Ready { version, listeners, .. }) => {
                    (next.version, next.listeners) = (Some(version), listeners);
                    self.upgrade.core.ready(now);
                }
                // One that has just died is no server.
                Ok(FromSuccessor::Taken) if matches!(next.child.exit_peek(), Ok(Some(_))) => {}
                Ok(FromSuccessor::Taken) => self.upgrade.core.taken(),
            }
        }
    }

    /// What it says is told as if we said it, and kept for a moment.
    fn read_words(&mut self) {
        if let Some(next) = &mut self.upgrade.successor {
            let heard = next.words.listen();
            if !heard.is_empty() {
                self.shared.log.diagnostic(&heard);
            }
        }
    }

    fn reap_successor(&mut self) {
        self.read_words();
        let Some(next) = &mut self.upgrade.successor else { return };
        match next.child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => next.ended = Some(status),
            Err(error) => {
                log::error!("the next server cannot be waited for: {error}");
                next.ended = Some(ExitStatus::Exited(-1));
            }
        }
        let how = next.ended.map(|status| match status {
            ExitStatus::Exited(_) => status.to_string(),
            ExitStatus::Signaled(..) => format!("was {status}"),
        });
        self.upgrade.core.ended(&how.unwrap_or_default());
        self.end_orphans();
    }

    /// Ends processes that nobody owns. Once none is left of a successor that failed, that is over.
    pub(super) fn end_orphans(&mut self) {
        let (crews, compiler, upgrade) = (&self.crews, &self.reload.compiler, &self.upgrade);
        let owned = |pid| crews.owns(pid) || compiler.owns(pid) || upgrade.owns(pid);
        let were_some = self.orphans.end(owned);
        if !were_some && self.upgrade.successor.as_ref().is_some_and(|next| next.ended.is_some()) {
            self.upgrade.core.gone();
        }
    }

    fn report_failure(&mut self, failure: &Failure, now: Instant) {
        let reason = failure.to_string();
        let next = self.upgrade.successor.take();
        if let Some(next) = &next {
            self.upgrade.unwatch(next);
            self.shop.runtime.forget(next.child.pid());
        }
        let Some(asked) = self.upgrade.asked.take() else { return };
        let took_ms = millis(now.since(asked.since));
        let (old_pid, new_pid) = (std::process::id(), next.as_ref().map(|next| next.child.pid()));
        self.tell(&Event::UpgradeDone {
            result: UpgradeResult::Failed,
            old_pid,
            new_pid,
            reason: Some(reason.clone()),
            took_ms,
        });
        if !self.shutdown.is_asked() {
            self.notifier.tell(&format!("STATUS=serving; the upgrade failed: {reason}"));
        }
        if let Some(from) = asked.from {
            let answer = Upgraded {
                ok: false,
                error: Some(format!("the upgrade failed: {reason}")),
                hint: Some("the server goes on as if nothing had been asked"),
                result: UpgradeResult::Failed,
                code: Some(failure.code()),
                binary: asked.binary.display().to_string(),
                old_pid,
                new_pid,
                version: next.as_ref().and_then(|next| next.version.as_deref()),
                duration_ms: took_ms,
                stderr: next.as_ref().map(|next| next.words.all()).unwrap_or_default(),
            };
            self.answer(from, &Answer::json(409, &answer));
        }
        if std::mem::take(&mut self.upgrade.reload) && !self.shutdown.is_asked() {
            self.hang_up();
        }
    }

    /// Another master serves: what is here is finished, and nothing is begun.
    fn leave(&mut self, now: Instant) {
        let Some(next) = &self.upgrade.successor else { return };
        let new_pid = next.child.pid();
        let left_to: Arc<[ListenAddress]> = next.listeners.as_slice().into();
        let version = next.version.clone();
        self.notifier.resign(new_pid);
        let reload = std::mem::take(&mut self.upgrade.reload);
        self.tell_successor(FromPredecessor::Relieved { reload });
        if let Some(asked) = self.upgrade.asked.take() {
            let took_ms = millis(now.since(asked.since));
            let old_pid = std::process::id();
            let result = UpgradeResult::Applied;
            let (new, reason) = (Some(new_pid), None);
            self.tell(&Event::UpgradeDone { result, old_pid, new_pid: new, reason, took_ms });
            if let Some(from) = asked.from {
                let answer = Upgraded {
                    ok: true,
                    error: None,
                    hint: None,
                    result,
                    code: None,
                    binary: asked.binary.display().to_string(),
                    old_pid,
                    new_pid: Some(new_pid),
                    version: version.as_deref(),
                    duration_ms: took_ms,
                    stderr: Vec::new(),
                };
                self.answer(from, &Answer::json(200, &answer));
            }
        }
        self.server.hand_on();
        self.mdns.hand_on();
        self.orphans.resign(self.shop.runtime.sockets());
        self.begin_end("upgrade", now);
        self.farewell = Some(left_to);
        self.shutdown.ask(now);
    }

    /// How clients are sent away.
    pub(super) fn farewell(&self, idle_until: Instant) -> Farewell {
        Farewell { idle_until, left_to: self.farewell.clone() }
    }

    /// This server ends: a successor that does not serve yet ends first.
    pub(super) fn stop_upgrade(&mut self) {
        self.upgrade.core.stop();
        self.drive_upgrade();
    }

    /// The end has come: a successor that does not serve is waited for.
    pub(super) fn end_upgrade(&mut self) {
        if self.upgrade.is_over() {
            return;
        }
        if let Some(next) = &mut self.upgrade.successor
            && next.ended.is_none()
        {
            let _gone_already = next.child.kill_group(Signal::SIGKILL);
            next.ended = next.child.wait().ok().or(Some(ExitStatus::Exited(-1)));
        }
        if let Some(next) = &self.upgrade.successor {
            self.shop.runtime.forget(next.child.pid());
            self.recover();
        }
    }
}

impl Handover {
    fn watch(&self, next: &mut Next) -> io::Result<()> {
        let watched = |part| Source::Successor(part).into();
        let readable = Interest::READABLE;
        self.registry.register(&mut next.child, watched(Successor::Process), readable)?;
        if let Some(channel) = &next.channel {
            let fd = channel.as_raw_fd();
            self.registry.register(&mut SourceFd(&fd), watched(Successor::Channel), readable)?;
        }
        if let Some(pipe) = &next.words.pipe {
            let fd = pipe.as_raw_fd();
            self.registry.register(&mut SourceFd(&fd), watched(Successor::Words), readable)?;
        }
        Ok(())
    }

    /// What it has open another process may have as well.
    fn unwatch(&self, next: &Next) {
        let channel = next.channel.as_ref().map(AsRawFd::as_raw_fd);
        let pipe = next.words.pipe.as_ref().map(AsRawFd::as_raw_fd);
        for fd in channel.into_iter().chain(pipe) {
            if let Err(error) = self.registry.deregister(&mut SourceFd(&fd)) {
                log::debug!("a descriptor of the next server was not watched: {error}");
            }
        }
    }

    fn kill(&mut self) {
        if let Some(next) = &self.successor
            && let Err(error) = next.child.kill_group(Signal::SIGKILL)
        {
            log::error!("the next server cannot be killed: {error}");
        }
    }
}

impl Words {
    /// Nothing was said yet at the other end of `pipe`, which does not block.
    fn of(pipe: OwnedFd) -> Self {
        let pipe = Some(pipe.into());
        Self { pipe, has_more: false, line: Vec::new(), last: VecDeque::new() }
    }

    /// Takes what has been said, at most [`WORDS_AT_ONCE`]; the same, to be told.
    fn listen(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        self.has_more = false;
        while let Some(pipe) = &mut self.pipe {
            if heard.len() >= WORDS_AT_ONCE {
                // Who writes as fast as we read must not keep us from everything else.
                self.has_more = true;
                break;
            }
            match pipe.read(&mut piece) {
                Ok(0) => self.pipe = None,
                Ok(length) => heard.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let mut whole = Vec::new();
        for byte in heard {
            self.line.push(byte);
            if byte == b'\n' || self.line.len() >= LINE_BYTES {
                whole.extend(self.end_line());
            }
        }
        if self.pipe.is_none() && !self.line.is_empty() {
            whole.extend(self.end_line());
        }
        whole
    }

    fn end_line(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() {
            if self.last.len() >= limits::STDERR_LINE_COUNT {
                self.last.pop_front();
            }
            self.last.push_back(text);
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        line
    }

    /// The last lines.
    fn all(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

/// What a successor takes over of the rights that we were left of root's. A program that others than
/// root can change gets none: it serves without a right to low ports of its own.
///
/// # Errors
/// The program is not there, or it could not do without.
fn rights_for(binary: &Path) -> io::Result<Vec<Capability>> {
    let held = privilege::held();
    if held.is_empty() || is_roots_alone(binary)? {
        return Ok(held);
    }
    if held.contains(&Capability::SetUid) {
        return Err(io::Error::other(
            "the server can become any user, and others than root can change this program or its \
             directory",
        ));
    }
    Ok(Vec::new())
}

/// Our environment less what was for this process alone.
fn environment(summons: &Summons) -> io::Result<Vec<CString>> {
    let own = std::env::vars_os().filter(|(name, _)| !NOT_HANDED_ON.iter().any(|own| name == own));
    let own = own.map(|(name, value)| {
        let mut assignment = name.into_vec();
        assignment.push(b'=');
        assignment.extend(value.into_vec());
        text(assignment)
    });
    own.chain([text(format!("{VARIABLE}={summons}").into_bytes())]).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// They name this process, or descriptors it was started with.
const NOT_HANDED_ON: [&str; 5] =
    [VARIABLE, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];
/// A longer line of the next server's is told in pieces.
const LINE_BYTES: usize = 4096;
/// As much as a pipe holds unless it is made larger: what one that has ended said last is read whole.
const WORDS_AT_ONCE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_lines_are_kept_and_all_are_told() {
        let (read, write) = pipe_cloexec().expect("a pipe");
        set_nonblocking(&read).expect("it is ours");
        let mut words = Words::of(read);
        let mut said = File::from(write);
        for number in 0..limits::STDERR_LINE_COUNT + 5 {
            writeln!(said, "line {number}").expect("there is room");
        }
        write!(said, "no end").expect("there is room");
        let told = words.listen();
        assert_eq!(told.iter().filter(|byte| **byte == b'\n').count(), words.last.len() + 5);
        assert_eq!(words.all().first().map(String::as_str), Some("line 5"));
        drop(said);
        assert_eq!(words.listen(), b"no end\n");
        assert_eq!(words.all().last().map(String::as_str), Some("no end"));
    }

    #[test]
    fn one_that_never_stops_talking_is_listened_to_for_a_moment_at_a_time() {
        let (read, write) = pipe_cloexec().expect("a pipe");
        set_nonblocking(&read).expect("it is ours");
        let mut words = Words::of(read);
        let said = vec![b'x'; 3 * WORDS_AT_ONCE];
        let talker = std::thread::spawn(move || File::from(write).write_all(&said));
        let mut told = 0;
        while words.pipe.is_some() {
            let heard = words.listen();
            let letters = heard.iter().filter(|byte| **byte == b'x').count();
            assert!(letters <= WORDS_AT_ONCE + LINE_BYTES, "{letters}");
            assert!(words.pipe.is_some() || !words.has_more);
            told += letters;
        }
        talker.join().expect("it ends").expect("everything is read");
        assert_eq!(told, 3 * WORDS_AT_ONCE);
    }
}
