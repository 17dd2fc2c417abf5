//! The names in the agent's care, and its one loop: it does one thing at a time, so that an authority
//! is never asked two things at once.

use super::account::Accounts;
use super::inbox::{Inbox, Message};
use super::memory::Memory;
use super::race::{First, race};
use super::store::{Store, validity};
use super::turn::Turn;
use super::{Means, Wish};
use crate::shared::cert_files::Leaf;
use crate::shared::mail::CertTicket;
use crate::shared::renewals::RenewOrder;
use instant_acme::CertificateIdentifier;
use rip::contract::cert::CertSource;
use rip::contract::event::Event;
use rip::contract::public_name;
use rip::entropy::Xoshiro;
use rip::time::Civil;
use rip::tls::past::Past;
use rip::tls::renew::{Renewal, Step};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Keeps certificates until the end is wanted.
pub fn run(means: Means, inbox: &Inbox) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!("certificates cannot be ordered: {error}");
            return;
        }
    };
    runtime.block_on(Keeper::new(means).run(inbox));
    // A look-up of a name may take its time; nobody waits for it.
    runtime.shutdown_background();
}

pub(super) struct Keeper {
    pub(super) means: Means,
    pub(super) store: Store,
    pub(super) accounts: Accounts,
    pub(super) wish: Wish,
    pub(super) cares: BTreeMap<String, Care>,
    pub(super) entropy: Xoshiro,
}

/// One name.
pub(super) struct Care {
    pub(super) renewal: Renewal,
    pub(super) memory: Memory,
    /// Who waits for the next one.
    pub(super) waiting: Vec<CertTicket>,
    /// It is ours to order, while it is being ordered.
    pub(super) turn: Option<Turn>,
    /// Another server was ordering one when this was to be done here.
    others_ordered: bool,
}

impl Keeper {
    fn new(means: Means) -> Self {
        Self {
            store: Store::new(means.certs.clone()),
            accounts: Accounts::new(means.certs.join("account.json")),
            wish: Wish::default(),
            cares: BTreeMap::new(),
            entropy: Xoshiro::new(means.seed),
            means,
        }
    }

    async fn run(mut self, inbox: &Inbox) {
        self.keep(inbox).await;
        for ticket in self.cares.into_values().flat_map(|care| care.waiting) {
            (self.means.answer)(ticket, Err("the server ends".to_owned()));
        }
    }

    async fn keep(&mut self, inbox: &Inbox) {
        loop {
            for message in inbox.take() {
                match message {
                    Message::Follow(wish) => self.follow(wish),
                    Message::Renew(order) => self.want(order),
                    Message::Stop => return,
                }
            }
            let now = wall();
            match self.next(now) {
                Next::Sleep(until) => {
                    // Not for long: the machine may be suspended meanwhile, or its clock be set.
                    let pause = Duration::from_secs(until.saturating_sub(now).clamp(1, NAP));
                    race(inbox.filled(), tokio::time::sleep(pause)).await;
                }
                Next::Ask(name) => {
                    if let First::One(()) = race(inbox.stopped(), self.ask(&name)).await {
                        return;
                    }
                }
                Next::Order(name) => {
                    if let First::One(()) = race(inbox.stopped(), self.order(&name)).await {
                        return;
                    }
                }
            }
        }
    }

    /// Takes up another configuration.
    fn follow(&mut self, wish: Wish) {
        let before = std::mem::replace(&mut self.wish, wish);
        if before.acme != self.wish.acme {
            self.accounts.close();
        }
        let same_authority = authority(&before) == authority(&self.wish);
        let hosts = match &self.wish.acme {
            Some(_) => self.public(&before),
            None => Vec::new(),
        };
        let kept = |name: &String| same_authority && hosts.contains(name);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.cares).into_iter().partition(|(name, _)| kept(name));
        self.cares = kept;
        for ticket in gone.into_values().flat_map(|care| care.waiting) {
            let why = "the configuration has changed meanwhile".to_owned();
            (self.means.answer)(ticket, Err(why));
        }
        for name in hosts {
            if !self.cares.contains_key(&name) {
                let care = self.take_up(&name);
                self.cares.insert(name, care);
            }
        }
    }

    /// The hosts that an authority can vouch for; of the others it is told once.
    fn public(&self, before: &Wish) -> Vec<String> {
        let mut hosts = Vec::new();
        for host in &self.wish.hosts {
            let why = match public_name::refusal(host) {
                None if is_name(host) => {
                    hosts.push(host.clone());
                    continue;
                }
                None => "is no name",
                Some(why) => why,
            };
            if before.acme.is_none() || !before.hosts.contains(host) {
                let reason = format!("no authority makes a certificate for it: it {why}");
                (self.means.tell)(failed(host, reason, false, None));
            }
        }
        hosts
    }

    fn take_up(&mut self, name: &str) -> Care {
        self.store.mend(name);
        let mut memory = Memory::read(&self.means.certs, name);
        if memory.asked.is_some() && memory.asked.as_deref() != authority(&self.wish) {
            // What another authority was asked costs nothing with this one.
            memory.past = Past::only_attempted(memory.past.attempted);
        }
        if let (Some(at), Some(result)) = (memory.past.attempted, &memory.result) {
            (self.means.note)(name, at, result);
        }
        let now = wall();
        let held = self.own_leaf(name, &memory).as_ref().map(validity);
        let renewal = Renewal::new(held, memory.past.clone(), now, &mut self.entropy);
        Care { renewal, memory, waiting: Vec::new(), turn: None, others_ordered: false }
    }

    /// What is on disk for `name`, unless another authority gave it.
    fn own_leaf(&self, name: &str, memory: &Memory) -> Option<Leaf> {
        let foreign =
            memory.authority.is_some() && memory.authority.as_deref() != authority(&self.wish);
        if foreign { None } else { self.store.read(name) }
    }

    /// Somebody wants a certificate renewed now.
    fn want(&mut self, RenewOrder { name, ticket }: RenewOrder) {
        match self.cares.get_mut(&name.to_ascii_lowercase()) {
            Some(care) => {
                care.renewal.want(wall());
                care.waiting.push(ticket);
            }
            None => {
                let why = format!("no certificate of an ACME authority is kept for {name}");
                (self.means.answer)(ticket, Err(why));
            }
        }
    }

    /// What is to be done at `now`. Who failed least comes first.
    fn next(&mut self, now: u64) -> Next {
        let mut names: Vec<(u32, String)> = self
            .cares
            .iter()
            .map(|(name, care)| {
                let past = care.renewal.past();
                (past.refused.saturating_add(past.unreached), name.clone())
            })
            .collect();
        names.sort();
        let mut wake = u64::MAX;
        for (_, name) in names {
            if let Some(until) = self.given(&name, now) {
                wake = wake.min(until);
                continue;
            }
            if !self.has_turn(&name, now) {
                wake = wake.min(now.saturating_add(OTHERS_PAUSE));
                continue;
            }
            self.look(&name, now);
            let Some(care) = self.cares.get_mut(&name) else { continue };
            let step = care.renewal.poll(now);
            if step != Step::Order {
                care.turn = None;
            }
            match step {
                Step::Ask => return Next::Ask(name),
                Step::Order => return Next::Order(name),
                Step::Wait(until) => {
                    wake = wake.min(until);
                    for ticket in std::mem::take(&mut care.waiting) {
                        let why = format!(
                            "too many orders for {name}: none before {}, authorities allow few",
                            moment(until)
                        );
                        (self.means.answer)(ticket, Err(why));
                    }
                }
            }
        }
        Next::Sleep(wake)
    }

    /// Until when nothing is to be done for `name`, because what an operator gave is served for it:
    /// files, or a directory. Another certificate would be served to nobody.
    fn given(&mut self, name: &str, now: u64) -> Option<u64> {
        let set = self.means.tls.certs.load();
        let record = &set.served.get(set.by_name.named(name)?)?.record;
        let is_current = (record.not_before..=record.not_after).contains(&now);
        if record.source != CertSource::Manual || !is_current {
            return None;
        }
        for ticket in self.cares.get_mut(name).iter_mut().flat_map(|care| care.waiting.drain(..)) {
            let path = &record.cert_path;
            let why = format!("{name} is served with {path}: whoever put it there renews it");
            (self.means.answer)(ticket, Err(why));
        }
        Some(record.not_after.saturating_add(1))
    }

    /// Before something is ordered: false while another server of this user orders the same.
    fn has_turn(&mut self, name: &str, now: u64) -> bool {
        let Some(care) = self.cares.get_mut(name) else { return true };
        if care.renewal.next_order() <= now && care.turn.is_none() {
            care.turn = Turn::take(&self.means.certs, name);
            care.others_ordered |= care.turn.is_none();
            return care.turn.is_some();
        }
        true
    }

    /// Before something is ordered: somebody else may have done it, another server of this user. Who
    /// wants another one now takes only one that was ordered meanwhile.
    fn look(&mut self, name: &str, now: u64) {
        let Some(care) = self.cares.get_mut(name) else { return };
        if care.renewal.next_order() > now {
            return;
        }
        let others_ordered = std::mem::take(&mut care.others_ordered);
        if !care.waiting.is_empty() && !others_ordered {
            return;
        }
        let memory = Memory::read(&self.means.certs, name);
        let leaf = self.own_leaf(name, &memory);
        let Some(care) = self.cares.get_mut(name) else { return };
        match leaf.as_ref().map(validity) {
            Some(found) if Some(found) != care.renewal.held() && now < found.last_third() => {
                care.memory.authority = memory.authority;
                care.renewal.found(found, now, &mut self.entropy);
                (self.means.load)();
                for ticket in std::mem::take(&mut care.waiting) {
                    (self.means.answer)(ticket, Ok(()));
                }
            }
            None => care.renewal.lost(),
            Some(_) => {}
        }
    }
}

enum Next {
    /// Nothing until then.
    Sleep(u64),
    /// Ask the authority of this name's certificate what it thinks.
    Ask(String),
    /// Order a certificate for this name.
    Order(String),
}

pub(super) fn authority(wish: &Wish) -> Option<&str> {
    wish.acme.as_ref().map(|acme| acme.directory.as_str())
}

/// What an authority calls a certificate (RFC 9773 §4.1).
pub(super) fn identifier(leaf: &Leaf) -> Option<CertificateIdentifier<'static>> {
    let id: CertificateIdentifier<'_> = leaf.key.cert.first()?.try_into().ok()?;
    Some(id.into_owned())
}

/// It is also the name of a directory and of a file.
fn is_name(host: &str) -> bool {
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=200).contains(&host.len()) && !host.starts_with('.') && host.bytes().all(is_ours)
}

pub(super) fn failed(name: &str, reason: String, kept: bool, retry_ms: Option<u64>) -> Event {
    Event::CertFailed { domains: vec![name.to_owned()], path: None, reason, kept, retry_ms }
}

/// Seconds since 1970.
pub(super) fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2026-03-14 15:09 UTC`.
fn moment(secs: u64) -> String {
    let Civil { year, month, day, hour, minute, .. } = Civil::from_unix(secs);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Between two looks whether another server has done with its order, in seconds.
const OTHERS_PAUSE: u64 = 60;
/// The longest sleep, in seconds.
const NAP: u64 = 600;
/// What an authority has for one answer, an account and its directory included.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
