//! Servers that are not ours, shared by all loops and the control loop.
//!
//! What is known about an upstream's servers is a pure core behind a mutex that is held for
//! nanoseconds. It outlives reloads: a configuration that has an upstream of the same name goes on
//! with the same core, and becoming active gives it that configuration's settings.

use super::mail::ControlMessage;
use super::target::Target;
use super::upstream_tls;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::Sender;
use rip::contract::config::{Config, UpstreamDescriptor};
use rip::contract::event::Event;
use rip::entropy::Xoshiro;
use rip::limits;
use rip::time::Instant;
use rip::upstream::{
    ActiveCheck, Check, Choice, Claim, Outcome, Output, TargetId, TargetUrl, Tries,
    UpstreamSettings, Verdict,
};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One upstream of one configuration.
pub struct Upstream {
    /// Its name.
    pub id: Arc<str>,
    /// `Host` of requests to it, unless a rule says otherwise; `None` keeps the client's.
    pub host: Option<String>,
    /// Connecting to a target.
    pub connect: Duration,
    /// Response head, then each gap between bytes.
    pub read: Duration,
    settings: UpstreamSettings,
    targets: Vec<Arc<Target>>,
    core: Arc<Core>,
}

/// What is known, whatever configuration is active.
struct Core {
    known: Mutex<Known>,
    control: Sender<ControlMessage>,
}

struct Known {
    upstream: rip::upstream::Upstream,
    targets: Vec<Arc<Target>>,
    random: Xoshiro,
    /// Checks that are over; told by the next [`Upstream::settle`].
    cancelled: Vec<TargetId>,
    /// Those that are known to be down, as it was told.
    down: Vec<TargetId>,
}

/// What the loop that makes the checks has to do.
pub enum CheckOrder {
    /// Ask how a target is.
    Begin(Check, Arc<Target>),
    /// Ask it no more.
    Cancel(TargetId),
}

/// The upstreams of `config`, in its order. Those that `former` has as well go on with what is known
/// about them. Reads files: not for a loop.
///
/// # Errors
/// The first that cannot be made, in words.
pub fn prepare(
    config: &Config,
    former: &[Arc<Upstream>],
    control: &Sender<ControlMessage>,
) -> Result<Vec<Arc<Upstream>>, String> {
    let of_former = |id: &str| former.iter().find(|old| &*old.id == id);
    let make = |descriptor: &UpstreamDescriptor| {
        Upstream::new(descriptor, of_former(&descriptor.id), control)
            .map(Arc::new)
            .map_err(|why| format!("upstream '{}': {why}", descriptor.id))
    };
    config.upstreams.iter().map(make).collect()
}

impl Upstream {
    fn new(
        descriptor: &UpstreamDescriptor,
        former: Option<&Arc<Self>>,
        control: &Sender<ControlMessage>,
    ) -> Result<Self, String> {
        let mut config = None;
        let ca = descriptor.ca.as_deref();
        let mut tls = || match &config {
            Some(made) => Ok(Arc::clone(made)),
            None => Ok(Arc::clone(config.insert(upstream_tls::client_config(ca)?))),
        };
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for name in &descriptor.targets {
            let same = |old: &&Arc<Target>| &*old.name == name.as_str() && old.ca.as_deref() == ca;
            let kept = former.and_then(|former| former.targets.iter().find(same));
            let target = match kept {
                Some(kept) => Arc::clone(kept),
                None => {
                    let url = TargetUrl::parse(name).map_err(|why| format!("'{name}': {why}"))?;
                    let target = Target::new(&name.as_str().into(), &url, ca, &mut tls);
                    Arc::new(target.map_err(|why| format!("'{name}': {why}"))?)
                }
            };
            targets.push(target);
        }
        let settings = settings_of(descriptor, &targets);
        let core = match former {
            Some(former) => Arc::clone(&former.core),
            None => Arc::new(Core::new(&settings, &targets, control)),
        };
        Ok(Self {
            id: descriptor.id.as_str().into(),
            host: descriptor.host.clone(),
            connect: descriptor.connect,
            read: descriptor.read,
            settings,
            targets,
            core,
        })
    }

    /// The configuration this belongs to is the active one.
    pub fn apply(&self) {
        let now = Clock::read();
        let (settings, targets) = (self.settings.clone(), self.targets.clone());
        self.with(now, |known| {
            known.upstream.configure(settings, now);
            known.targets = targets;
        });
    }

    // --- for an edge loop ---------------------------------------------------------------------

    /// The tries of a request that was not sent yet.
    pub fn tries(&self) -> Tries {
        Tries::new(self.settings.attempts)
    }

    /// Where a request goes; `None` when no server is well. The claim must be given to
    /// [`Self::end`].
    pub fn choose(&self, tries: &mut Tries, now: Instant) -> Option<(Claim, Arc<Target>)> {
        self.with(now, |known| match known.upstream.choose(tries, now) {
            Choice::NoneHealthy => None,
            Choice::Target(claim) => match known.target(claim.name()) {
                Some(target) => Some((claim, target)),
                None => {
                    known.upstream.end(claim, Outcome::Unknown, &mut known.random, now);
                    None
                }
            },
        })
    }

    /// The exchange ended so.
    pub fn end(&self, claim: Claim, outcome: Outcome, now: Instant) {
        self.with(now, |known| known.upstream.end(claim, outcome, &mut known.random, now));
    }

    /// When a client that found nobody well may come again, in seconds.
    pub fn retry_after_secs(&self, now: Instant) -> u32 {
        let known = self.lock();
        let pauses = known.upstream.targets(now).filter_map(|target| target.ejected_until);
        let pause = pauses.map(|until| until.since(now)).min();
        let check = known.upstream.settings().check.as_ref().map(|check| check.interval);
        let wait = pause.or(check).unwrap_or_default();
        u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    // --- for the loop that makes the checks -----------------------------------------------------

    /// What is due; each check must be given to [`Self::checked`] or be cancelled.
    pub fn settle(&self, now: Instant, orders: &mut Vec<CheckOrder>) {
        let mut checks = Vec::new();
        let mut known = self.lock();
        let Known { upstream, random, .. } = &mut *known;
        upstream.settle(random, now);
        let news = known.drain(&mut checks);
        orders.extend(known.cancelled.drain(..).map(CheckOrder::Cancel));
        for check in checks {
            // One that is not known any more is asked by nobody, and its time ends.
            if let Some(target) = known.target(&check.name) {
                orders.push(CheckOrder::Begin(check, target));
            }
        }
        drop(known);
        self.tell(news, now);
    }

    /// A check was answered; `good` when the answer was.
    pub fn checked(&self, check: Check, good: bool, now: Instant) {
        self.with(now, |known| known.upstream.checked(check, good, &mut known.random, now));
    }

    /// When [`Self::settle`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let known = self.lock();
        if !known.cancelled.is_empty() {
            return Some(Instant::default());
        }
        known.upstream.next_deadline()
    }

    // --- for the control loop -----------------------------------------------------------------

    /// Whether one of its servers is known to be well, as far as that can be known.
    pub fn is_proven(&self, now: Instant) -> bool {
        self.lock().upstream.is_proven(now)
    }

    /// How it is.
    pub fn view(&self, now: Instant) -> UpstreamView {
        let known = self.lock();
        let row = |target: rip::upstream::TargetView<'_>| TargetRow {
            url: target.name.to_owned(),
            serving: target.may_be_chosen,
            health: target.verdict.map(|verdict| match verdict {
                Verdict::Healthy => "healthy",
                Verdict::Unhealthy => "unhealthy",
                Verdict::Untested => "untested",
            }),
            ejected_ms: target
                .ejected_until
                .map(|until| u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX)),
            inflight: target.inflight,
            requests: target.requests,
            failures: target.failures,
        };
        let targets = known.upstream.targets(now).map(row).collect();
        UpstreamView { id: self.id.to_string(), targets }
    }

    /// Whether both stand for the same, in two configurations.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// Runs `change` under the lock, then tells what it led to.
    fn with<T>(&self, now: Instant, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.lock();
        let result = change(&mut known);
        let mut checks = Vec::new();
        let news = known.drain(&mut checks);
        drop(known);
        debug_assert!(checks.is_empty(), "only settling makes checks");
        self.tell(news, now);
        result
    }

    fn tell(&self, news: Vec<News>, now: Instant) {
        for News { target, how } in news {
            let (upstream, target) = (self.id.to_string(), target.to_string());
            let event = match how {
                How::Up => Event::UpstreamUp { upstream, target },
                How::Unhealthy => {
                    Event::UpstreamDown { upstream, target, reason: "checks", for_ms: None }
                }
                How::Ejected(until) => Event::UpstreamDown {
                    upstream,
                    target,
                    reason: "failures",
                    for_ms: u64::try_from(until.since(now).as_millis()).ok(),
                },
            };
            self.core.control.send(ControlMessage::Tell(Box::new(event)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.core.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that became of a target.
struct News {
    target: Arc<str>,
    how: How,
}

enum How {
    Up,
    Unhealthy,
    Ejected(Instant),
}

impl Core {
    fn new(
        settings: &UpstreamSettings,
        targets: &[Arc<Target>],
        control: &Sender<ControlMessage>,
    ) -> Self {
        let now = Clock::read();
        // It spreads checks and trials: that two masters differ in it is enough.
        let seed = u64::from(std::process::id()) << 32 ^ now.as_nanos();
        let known = Known {
            upstream: rip::upstream::Upstream::new(settings.clone(), now),
            targets: targets.to_vec(),
            random: Xoshiro::new(seed),
            cancelled: Vec::new(),
            down: Vec::new(),
        };
        Self { known: Mutex::new(known), control: control.clone() }
    }
}

impl Known {
    fn target(&self, name: &str) -> Option<Arc<Target>> {
        self.targets.iter().find(|target| &*target.name == name).cloned()
    }

    /// Takes the core's outputs: checks to be made, and news to be told.
    fn drain(&mut self, checks: &mut Vec<Check>) -> Vec<News> {
        let mut news = Vec::new();
        while let Some(output) = self.upstream.poll_output() {
            let (id, how) = match output {
                Output::Check(check) => {
                    checks.push(check);
                    continue;
                }
                Output::Cancel(id) => {
                    self.cancelled.push(id);
                    continue;
                }
                Output::Ejected { target, until } => (target, How::Ejected(until)),
                Output::Unhealthy(target) => (target, How::Unhealthy),
                Output::Healthy(target) | Output::Restored(target) => (target, How::Up),
            };
            let mut views = self.upstream.targets(Instant::default());
            let Some(view) = views.find(|view| view.id == id) else { continue };
            // It may be down for two reasons at once.
            let is_up = view.verdict != Some(Verdict::Unhealthy) && view.ejected_until.is_none();
            let target: Arc<str> = view.name.into();
            drop(views);
            let was_down = self.down.contains(&id);
            match how {
                // The first good check of a target is no news.
                How::Up if !was_down || !is_up => continue,
                How::Up => self.down.retain(|down| *down != id),
                How::Ejected(_) | How::Unhealthy if was_down => {}
                How::Ejected(_) | How::Unhealthy => self.down.push(id),
            }
            news.push(News { target, how });
        }
        news
    }
}

fn settings_of(descriptor: &UpstreamDescriptor, targets: &[Arc<Target>]) -> UpstreamSettings {
    let check = descriptor.health_check.as_ref().map(|check| ActiveCheck {
        path: check.path.as_str().into(),
        interval: Duration::from_millis(check.interval_ms),
        timeout: Duration::from_millis(check.timeout_ms),
        failures: check.unhealthy_threshold,
        successes: limits::CHECK_SUCCESS_COUNT,
    });
    UpstreamSettings {
        targets: targets.iter().map(|target| Arc::clone(&target.name)).collect(),
        check,
        attempts: descriptor.attempts,
    }
}

/// How an upstream is.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamView {
    /// Its name.
    pub id: String,
    /// Its servers, by declaration.
    pub targets: Vec<TargetRow>,
}

/// How one server of an upstream is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRow {
    /// As it was configured.
    pub url: String,
    /// It gets requests.
    pub serving: bool,
    /// What checks say: `healthy`, `unhealthy`, `untested`; null where none are made.
    pub health: Option<&'static str>,
    /// It failed too often, and gets nothing for this long; null when it did not.
    pub ejected_ms: Option<u64>,
    /// Requests there now.
    pub inflight: u32,
    /// Requests that ended.
    pub requests: u64,
    /// Those among them that failed.
    pub failures: u64,
}
