//! Asking for another configuration: signals, the watched file, the control socket. Whoever waits is
//! answered by an attempt that began after the request.

use super::answers::{Changed, Outcome, Planned, Promised, Unplanned};
use crate::control::compiler::Made;
use crate::control::master::Master;
use crate::control::server::{Answer, Asker, Request};
use rip::contract::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
use rip::contract::event::Event;
use rip::contract::settings::Source;
use rip::limits;
use rip::reload::overlay::{Refusal, Target};
use rip::reload::{Failure, Waiter, Wish};
use rip::time::Instant;
use rip::wire::upgrade::AddedHost;

/// A host to be added or removed while the server runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostChange {
    /// As it was given.
    pub host: String,
    /// Where its requests shall go; `None` removes it.
    pub target: Option<Destination>,
}

/// Where the requests of a host shall go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// There.
    Named(Target),
    /// To the only app there is.
    TheOnlyApp,
}

/// Somebody waits for an attempt.
pub(super) struct Waiting {
    to: Asker,
    /// What is said besides the attempt.
    host: Option<Changed>,
}

/// A change of hosts that an attempt shall make.
pub(super) struct Pending {
    waiter: Waiter,
    pub(super) change: Change,
}

pub(super) enum Change {
    Add { host: String, target: Target },
    Remove { host: String },
}

impl Master {
    /// The source has changed, or somebody without a connection wants it to be read again.
    pub(in crate::control) fn reload_for(&mut self, source: AttemptSource) {
        self.reload.pipeline.wish(Wish::Reload, source, None);
    }

    /// The configuration comes from a file that can be read again.
    pub(in crate::control) fn has_edgefile(&self) -> bool {
        matches!(self.settings.source, Source::Edgefile { .. })
    }

    /// Wants another configuration for a request. `None` when the answer comes later.
    pub(in crate::control) fn reload_on_request(
        &mut self,
        request: &Request,
        wish: Wish,
        wait: bool,
    ) -> Option<Answer> {
        if let Some(refused) = self.refused_by_upgrade() {
            return Some(refused);
        }
        let waiter = self.new_waiter();
        let id = self.reload.pipeline.wish(wish, AttemptSource::Api, Some(waiter));
        self.wait_for(waiter, request.from, None, wait, id)
    }

    /// Adds or removes a host. `None` when the answer comes later.
    pub(in crate::control) fn change_hosts(
        &mut self,
        request: &Request,
        change: HostChange,
        wait: bool,
    ) -> Option<Answer> {
        if let Some(refused) = self.refused_by_upgrade() {
            return Some(refused);
        }
        let HostChange { host, target } = change;
        let mut changed = Changed { host: host.clone(), app: None, note: ADDED_NOTE };
        let change = match target {
            None => {
                changed.note = "it is served no longer";
                Change::Remove { host: host.clone() }
            }
            Some(target) => {
                let target = match self.target(target) {
                    Ok(target) => target,
                    Err(answer) => return Some(answer),
                };
                if let Target::App(app) = &target {
                    changed.app = Some(app.clone());
                }
                Change::Add { host: host.clone(), target }
            }
        };
        if let Err(refusal) = self.check_hosts(&change) {
            return Some(refused(&refusal));
        }
        let waiter = self.new_waiter();
        self.reload.pending.push(Pending { waiter, change });
        let id = self.reload.pipeline.wish(Wish::Hosts, AttemptSource::Api, Some(waiter));
        self.wait_for(waiter, request.from, Some(changed), wait, id)
    }

    /// Adds the hosts that the master before this one had added. What a configuration does not take any
    /// more is told of and left out; the others are returned.
    pub(in crate::control) fn inherit_hosts(&mut self, hosts: Vec<AddedHost>) -> Vec<AddedHost> {
        let mut kept = Vec::new();
        for added in hosts {
            let AddedHost { host, app, path } = added.clone();
            let target = match (app, path) {
                (Some(app), _) => Target::App(app),
                (None, Some(path)) => Target::Path { path, app: None },
                (None, None) => continue,
            };
            let change = Change::Add { host: host.clone(), target };
            match self.check_hosts(&change) {
                Ok(()) => {
                    let waiter = self.new_waiter();
                    self.reload.pending.push(Pending { waiter, change });
                    self.reload.pipeline.wish(Wish::Hosts, AttemptSource::Api, Some(waiter));
                    kept.push(added);
                }
                Err(refusal) => log::warn!("the added host {host} is left out: {refusal}"),
            }
        }
        kept
    }

    /// Where a host shall lead. Where there is one app only it need not be named.
    fn target(&self, asked: Destination) -> Result<Target, Answer> {
        match asked {
            Destination::Named(target) => Ok(target),
            Destination::TheOnlyApp => {
                let active = self.shared.current.load();
                match active.config.apps.as_slice() {
                    [app] => Ok(Target::App(app.id.clone())),
                    apps => {
                        let names: Vec<_> = apps.iter().map(|app| app.id.as_str()).collect();
                        let hint = format!("say which of {}, or a path", names.join(", "));
                        Err(Answer::refused(400, "there are several apps", hint))
                    }
                }
            }
        }
    }

    /// Whether the change can be made after those that wait already.
    fn check_hosts(&self, change: &Change) -> Result<(), Refusal> {
        let active = self.shared.current.load();
        let mut overlay = self.reload.overlay().cloned().unwrap_or_default();
        let waiting = self.reload.pending.iter().map(|pending| &pending.change);
        for (change, is_last) in waiting.map(|own| (own, false)).chain([(change, true)]) {
            let changed = match change {
                Change::Add { host, target } => overlay.add(host, target.clone(), &active.config),
                Change::Remove { host } => overlay.remove(host).map(drop),
            };
            if is_last {
                return changed;
            }
        }
        Ok(())
    }

    fn wait_for(
        &mut self,
        waiter: Waiter,
        to: Asker,
        host: Option<Changed>,
        wait: bool,
        id: u64,
    ) -> Option<Answer> {
        if !wait {
            return Some(Answer::json(202, &Promised::new(id)));
        }
        self.reload.waiting.insert(waiter, Waiting { to, host });
        None
    }

    fn new_waiter(&mut self) -> Waiter {
        self.reload.last_waiter += 1;
        Waiter(self.reload.last_waiter)
    }

    /// What a reload would do, for a request. `None` when the answer comes later.
    /// `file` is another one than the master's.
    pub(in crate::control) fn plan_on_request(
        &mut self,
        request: &Request,
        file: Option<String>,
    ) -> Option<Answer> {
        if !self.has_edgefile() && file.is_none() {
            return Some(Answer::ok(&Planned::roll(self.reload.pipeline.version())));
        }
        match self.begin_question(request.from, file) {
            Ok(()) => None,
            Err(failure) => Some(self.not_planned(&failure)),
        }
    }

    fn not_planned(&self, failure: &Failure) -> Answer {
        Answer::json(409, &Unplanned::new(failure, self.reload.pipeline.version()))
    }

    pub(super) fn answer_question(&mut self, from: Asker, made: Made) {
        let answer = match made {
            Ok(draft) => {
                let version = self.reload.pipeline.version();
                let warnings = draft.work.details.iter();
                let warnings = warnings.filter_map(|line| line.strip_prefix("warning: "));
                let warnings = warnings.map(str::to_owned).collect();
                Answer::ok(&Planned::new(version, &draft.plan, warnings))
            }
            Err(failure) => self.not_planned(&failure),
        };
        self.answer(from, &answer);
    }

    /// An attempt has ended.
    pub(super) fn report(&mut self, mut attempt: Attempt, waiters: &[Waiter], now: Instant) {
        let is_applied = attempt.result == AttemptResult::Applied;
        if is_applied {
            self.settle_switch(now);
        }
        self.reload.fresh.clear();
        let stderr = std::mem::take(&mut self.reload.stderr);
        if matches!(attempt.code, AttemptCode::AppDied | AttemptCode::AppNotReady) {
            let last = stderr.iter().rev().take(limits::STDERR_LINE_COUNT).rev();
            attempt.details.extend(last.map(|line| format!("stderr: {line}")));
        }
        self.reload.pending.retain(|pending| !waiters.contains(&pending.waiter));
        self.record(attempt.clone());
        for waiter in waiters {
            if let Some(Waiting { to, host }) = self.reload.waiting.remove(waiter) {
                let status = if is_applied { 200 } else { 409 };
                let answer = Answer::json(status, &Outcome::new(&attempt, host.as_ref()));
                self.answer(to, &answer);
            }
        }
    }

    /// Keeps an attempt that has ended, and tells of it.
    pub(in crate::control) fn record(&mut self, attempt: Attempt) {
        self.tell(&Event::from(&attempt));
        self.reload.history.record(attempt, self.clock.wall());
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let (status, hint) = match refusal {
        Refusal::Added(_) => (409, "`rip-master remove HOST` removes it"),
        Refusal::Configured(_) => {
            (409, "its rules are in the Edgefile, or come with what `start` was given")
        }
        Refusal::Malformed { .. } => (400, "for example shop.example.com"),
        Refusal::NotAdded(_) => (404, "only hosts that were added while the server runs can go"),
        Refusal::UnknownApp { .. } => (404, "a path starts an app of its own"),
    };
    Answer::refused(status, refusal.to_string(), hint)
}

const ADDED_NOTE: &str = "it survives a reload, until the master restarts";
