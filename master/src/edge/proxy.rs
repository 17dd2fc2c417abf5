//! A request for a server that is not ours: which one gets it, and what happens when that fails.
//!
//! ```text
//!           choose            link           sent
//!  begun ──────────▶ Linking ──────▶ Sending ──────▶ Answering ──▶ as any other exchange
//!     │ none is well    │ refused, late   │ broken        │ broken, late, no HTTP
//!     ▼                 └─────────────────┴───────┬───────┘
//!    503                                          ▼
//!                              sent again (rip::upstream::Tries), or 502, 504
//! ```

use super::exchange::{Exchange, State};
use super::link::{ConnectError, Duty};
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::target::Target;
use crate::shared::upstreams::Upstream;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use rip::http1::Method;
use rip::observe::note::TryEnd;
use rip::time::Instant;
use rip::upstream::{Claim, Failure, Outcome, Tries};
use std::sync::Arc;
use std::time::Duration;

/// What an exchange with an upstream knows beside what every exchange does.
pub(super) struct Proxied {
    pub(super) upstream: Arc<Upstream>,
    method: Method,
    tries: Tries,
    claim: Option<Claim>,
    target: Option<Arc<Target>>,
    /// When the present try began.
    since: Instant,
    /// Addresses of the target that were not tried yet.
    addresses_left: Option<usize>,
    /// Only new links will do: an old one was dead.
    only_new: bool,
    /// How the last try failed.
    failed: Option<Reason>,
    /// Something that is not the answer went to the client.
    pub(super) said_interim: bool,
    /// Where the path begins in the request's head, and how much the target put before it.
    path_at: usize,
    prefix_bytes: usize,
}

impl Proxied {
    /// A request with `method` for `upstream`, whose path begins at `path_at`.
    pub(super) fn new(upstream: &Arc<Upstream>, method: Method, path_at: usize) -> Self {
        Self {
            tries: upstream.tries(),
            upstream: Arc::clone(upstream),
            method,
            claim: None,
            target: None,
            since: Instant::default(),
            addresses_left: None,
            only_new: false,
            failed: None,
            said_interim: false,
            path_at,
            prefix_bytes: 0,
        }
    }

    /// The number of the target that has it, or had it last.
    pub(super) fn target_number(&self) -> Option<u64> {
        self.target.as_ref().map(|target| target.number)
    }

    /// The exchange with the target ended so.
    pub(super) fn end(&mut self, outcome: Outcome, now: Instant) {
        if let Some(claim) = self.claim.take() {
            self.upstream.end(claim, outcome, now);
        }
    }
}

impl Exchange {
    /// Puts `prefix` before the path, in place of another target's.
    fn set_prefix(&mut self, prefix: &[u8]) {
        let Some(proxied) = &mut self.proxied else { return };
        let (at, old) = (proxied.path_at, proxied.prefix_bytes);
        // `*` asks about the server, wherever its paths begin.
        let is_path = self.request.get(at + old) == Some(&b'/');
        let new = if is_path { prefix } else { b"" };
        self.request.splice(at..at + old, new.iter().copied());
        proxied.prefix_bytes = new.len();
        self.request_fields_end = self.request_fields_end + new.len() - old;
    }

    /// Nothing of its body was taken by anybody.
    pub(super) fn is_at_hand(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| !upload.is_begun)
    }
}

impl Edge {
    /// Finds the server that gets the request.
    pub(super) fn choose_target(&mut self, key: Key) {
        let now = self.clock.now();
        self.rest_upload(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(proxied) = &mut exchange.proxied else { return };
        exchange.record.leased.get_or_insert(now);
        exchange.state = State::Linking;
        match proxied.upstream.choose(&mut proxied.tries, now) {
            Some((claim, target)) => {
                proxied.claim = Some(claim);
                proxied.target = Some(Arc::clone(&target));
                proxied.since = now;
                proxied.addresses_left = None;
                proxied.only_new = false;
                exchange.record.server.clear();
                exchange.record.server.extend_from_slice(target.name.as_bytes());
                exchange.set_prefix(target.prefix.as_bytes());
                self.link_to_target(key);
            }
            None => match proxied.failed {
                Some(reason) => self.fail(key, reason),
                None => {
                    let retry_after_secs = proxied.upstream.retry_after_secs(now);
                    self.shed(key, Reason::UpstreamUnavailable, retry_after_secs);
                }
            },
        }
    }

    /// Finds a connection to the exchange's target.
    pub(super) fn link_to_target(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let front = exchange.front;
        let is_patient = |since| now.since(since) < exchange.patience.connect;
        let Some(proxied) = &mut exchange.proxied else { return };
        let Some(target) = proxied.target.clone() else { return };
        if !proxied.only_new
            && let Some(link) = self.links.take_idle_to(&target)
            && let Some(entry) = self.links.slab.get_mut(link)
        {
            entry.duty = Duty::Busy { exchange: key };
            entry.deadline = None;
            exchange.link = Some(link);
            return self.target_linked(key, link);
        }
        let patient = is_patient(proxied.since);
        match self.connect_to_target(&target, Duty::Busy { exchange: key }) {
            Ok((link, addresses)) => {
                let Some(exchange) = self.exchanges.get_mut(key) else { return };
                exchange.link = Some(link);
                let mut at = now + exchange.patience.connect;
                if let Some(proxied) = &mut exchange.proxied {
                    proxied.addresses_left.get_or_insert(addresses.saturating_sub(1));
                    at = proxied.since + exchange.patience.connect;
                }
                self.link_deadline(link, at);
                let stands = self.links.slab.get(link).is_some_and(|link| !link.opening);
                if stands {
                    self.target_linked(key, link);
                }
            }
            Err(ConnectError::Full) if patient => {
                if let Some(front) = front {
                    self.front_deadline(front, Phase::Connect, now + CONNECT_PAUSE);
                }
            }
            Err(ConnectError::Full) => {
                self.upstream_failed(key, Failure::Connect, Reason::UpstreamTimeout);
            }
            Err(ConnectError::Failed(error)) => {
                log::debug!("cannot connect to {}: {error}", target.name);
                self.note_unreached(key, &error);
                self.upstream_failed(key, Failure::Connect, Reason::UpstreamConnect);
            }
        }
    }

    /// The exchange's link stands: the request is sent.
    pub(super) fn target_linked(&mut self, key: Key, link: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return self.close_link(link) };
        exchange.state = State::Sending;
        if let Some(link) = self.links.slab.get_mut(link) {
            link.deadline = None;
        }
        self.send_on(link, key);
    }

    /// Nobody was reached where the exchange's target was said to be.
    pub(super) fn target_unreached(&mut self, key: Key, link: Key) {
        self.close_link(link);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.link = None;
        let Some(proxied) = &mut exchange.proxied else { return };
        match proxied.addresses_left {
            Some(left) if left > 0 => {
                proxied.addresses_left = Some(left - 1);
                self.link_to_target(key);
            }
            _ => self.upstream_failed(key, Failure::Connect, Reason::UpstreamConnect),
        }
    }

    /// The link took nothing of the request, or ended without a word. True when it was an old one
    /// that the target closed, as servers do: a new one will tell.
    pub(super) fn links_anew(&mut self, link_key: Key, key: Key) -> bool {
        let seasoned = self.links.slab.get(link_key).is_some_and(|link| link.seasoned);
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let at_hand = exchange.is_at_hand();
        let Some(proxied) = &mut exchange.proxied else { return false };
        let harmless = exchange.sent == 0 || (proxied.method.is_idempotent() && at_hand);
        let is_silent = !exchange.answered && exchange.held_head.is_empty();
        if !(seasoned && harmless && is_silent && !proxied.said_interim) {
            return false;
        }
        proxied.only_new = true;
        exchange.note_try(TryEnd::Stale, self.clock.now());
        exchange.rewind();
        exchange.state = State::Linking;
        self.close_stale_links(link_key);
        self.link_to_target(key);
        true
    }

    /// A try has failed: the request is sent again where that is allowed, else answered.
    pub(super) fn upstream_failed(&mut self, key: Key, failure: Failure, reason: Reason) {
        let now = self.clock.now();
        self.take_back_head(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let at_hand = exchange.is_at_hand();
        let link = exchange.link.take();
        let answered = exchange.answered;
        let Some(proxied) = &mut exchange.proxied else { return };
        proxied.end(Outcome::Failed, now);
        proxied.failed = Some(reason);
        let again = proxied.tries.failed(
            failure,
            proxied.method,
            at_hand,
            answered || proxied.said_interim,
        );
        if again {
            exchange.note_try(
                match reason {
                    Reason::UpstreamConnect => TryEnd::Connect,
                    Reason::UpstreamTimeout => TryEnd::Timeout,
                    Reason::UpstreamMalformed => TryEnd::Malformed,
                    _ => TryEnd::Gone,
                },
                now,
            );
        }
        exchange.rewind();
        if let Some(link) = link {
            self.close_link(link);
        }
        if again {
            self.choose_target(key);
        } else {
            self.fail(key, reason);
        }
    }

    /// The connection to the target ended too early, or what came was not HTTP.
    pub(super) fn upstream_broke(&mut self, link_key: Key, key: Key, reason: Reason) {
        match reason {
            Reason::WorkerMalformed => {
                self.upstream_failed(key, Failure::Broken, Reason::UpstreamMalformed);
            }
            _ if self.links_anew(link_key, key) => {}
            _ => self.upstream_failed(key, Failure::Broken, Reason::UpstreamGone),
        }
    }

    /// The target said nothing for too long.
    pub(super) fn upstream_timed_out(&mut self, key: Key) {
        let linking =
            self.exchanges.get(key).is_some_and(|exchange| exchange.state == State::Linking);
        let failure = if linking { Failure::Connect } else { Failure::Timeout };
        if linking
            && let Some(exchange) = self.exchanges.get(key)
            && let Some(target) = exchange.proxied.as_ref().and_then(|found| found.target.as_ref())
        {
            target.unreached();
        }
        self.upstream_failed(key, failure, Reason::UpstreamTimeout);
    }
}

/// A full backlog, or a name that is being asked for, is tried again after this.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
