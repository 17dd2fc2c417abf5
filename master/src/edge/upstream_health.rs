//! Checks of upstreams: the first loop asks their servers how they are, on connections of their own.

use super::link::{Duty, Place};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use crate::shared::target::Target;
use crate::shared::upstreams::{CheckOrder, Upstream};
use rip::http1::client::ClientRead;
use rip::limits;
use rip::time::Instant;
use rip::upstream::{Check, TargetId};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// A check under way.
pub(super) struct Checking {
    upstream: Arc<Upstream>,
    check: Check,
    request: Vec<u8>,
    sent: usize,
}

/// When the loop looks at the upstreams again, and the checks it has begun.
#[derive(Default)]
pub(super) struct Checks {
    armed: Option<Instant>,
    links: Vec<(Arc<Upstream>, TargetId, Key)>,
}

impl Edge {
    /// Makes the checks that are due. To be called when another configuration is active, and by its
    /// own timer; nothing to do for any loop but the first.
    pub(super) fn settle_checks(&mut self) {
        if self.index.0 > 0 || self.drain.is_some() {
            return;
        }
        let now = self.clock.now();
        let snapshot = Arc::clone(self.snapshots.active());
        let mut next: Option<Instant> = None;
        let mut orders = Vec::new();
        for upstream in &snapshot.upstreams {
            if upstream.next_deadline().is_some_and(|at| at <= now) {
                upstream.settle(now, &mut orders);
                for order in orders.drain(..) {
                    match order {
                        CheckOrder::Begin(check, target) => {
                            self.begin_check(upstream, check, &target);
                        }
                        CheckOrder::Cancel(target) => self.cancel_check(upstream, target),
                    }
                }
            }
            next = [next, upstream.next_deadline()].into_iter().flatten().min();
        }
        let Some(at) = next else { return };
        if self.checks.armed.is_none_or(|armed| at < armed || armed <= now) {
            self.checks.armed = Some(at);
            self.wheel.schedule(Timer::Checks, at);
        }
    }

    /// The timer of the checks went off.
    pub(super) fn checks_due(&mut self) {
        let now = self.clock.now();
        // An earlier look took this one's place.
        if self.checks.armed.is_some_and(|armed| armed > now) {
            return;
        }
        self.checks.armed = None;
        self.settle_checks();
    }

    fn begin_check(&mut self, upstream: &Arc<Upstream>, check: Check, target: &Arc<Target>) {
        let host = upstream.host.as_deref().unwrap_or(&target.authority);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rip-master\r\nConnection: close\r\n\r\n",
            check.path
        );
        let (id, until) = (check.target, check.until);
        let upstream = Arc::clone(upstream);
        let checking = Checking {
            upstream: Arc::clone(&upstream),
            check,
            request: request.into_bytes(),
            sent: 0,
        };
        match self.connect_to_target(target, Duty::Checking(Box::new(checking))) {
            Ok((link, _)) => {
                self.checks.links.push((upstream, id, link));
                self.link_deadline(link, until);
                if self.links.slab.get(link).is_some_and(|link| !link.opening) {
                    self.send_check(link);
                }
            }
            // Its time ends without an answer, which counts as none.
            Err(_) => target.unreached(),
        }
    }

    fn cancel_check(&mut self, upstream: &Arc<Upstream>, target: TargetId) {
        let found =
            self.checks.links.iter().position(|(of, id, _)| of.is_same(upstream) && *id == target);
        if let Some(position) = found {
            let (_, _, link) = self.checks.links.swap_remove(position);
            self.close_link(link);
        }
    }

    /// The link of a check stands, or takes more.
    pub(super) fn send_check(&mut self, key: Key) {
        loop {
            let Some(link) = self.links.slab.get_mut(key) else { return };
            let Duty::Checking(checking) = &mut link.duty else { return };
            let rest = checking.request.get(checking.sent..).unwrap_or_default();
            if rest.is_empty() {
                link.client.request(false);
                return self.read_check(key);
            }
            match link.wire.write(rest) {
                Ok(count) => checking.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A few hundred bytes always fit into the socket of a peer that is well.
                Err(_) => return self.check_answered(key, false),
            }
        }
    }

    /// Something of a check's answer may have come.
    pub(super) fn read_check(&mut self, key: Key) {
        loop {
            let Some(link) = self.links.slab.get_mut(key) else { return };
            let Duty::Checking(checking) = &link.duty else { return };
            if checking.sent < checking.request.len() {
                return;
            }
            let mut input = link.input.take().unwrap_or_else(|| self.blocks.take());
            if input.space().is_empty() && !input.grow(limits::HEAD_BYTES + 4) {
                self.blocks.give(input);
                return self.check_answered(key, false);
            }
            let result = link.wire.read(input.space());
            let count = *result.as_ref().unwrap_or(&0);
            input.filled_by(count);
            let ended = matches!(result, Ok(0));
            let verdict = loop {
                match link.client.read(input.filled(), ended, &mut self.answer_head) {
                    Ok(ClientRead::Informational { consumed }) => input.consume(consumed),
                    Ok(ClientRead::Head { .. }) => {
                        break Some((200..400).contains(&self.answer_head.status()));
                    }
                    Ok(ClientRead::More) => break None,
                    Ok(_) | Err(_) => break Some(false),
                }
            };
            link.input = Some(input);
            if let Some(good) = verdict {
                return self.check_answered(key, good);
            }
            match result {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.check_answered(key, false),
            }
        }
    }

    /// A check has its answer.
    pub(super) fn check_answered(&mut self, key: Key, good: bool) {
        let now = self.clock.now();
        let Some(link) = self.links.slab.get_mut(key) else { return };
        if let Place::Target(target) = &link.place
            && link.opening
        {
            target.unreached();
        }
        let Duty::Checking(checking) = std::mem::replace(&mut link.duty, Duty::Idle) else {
            return;
        };
        self.checks.links.retain(|(_, _, link)| *link != key);
        self.close_link(key);
        let Checking { upstream, check, .. } = *checking;
        upstream.checked(check, good, now);
        self.settle_checks();
    }
}
