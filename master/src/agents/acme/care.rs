//! The names in the agent's care, and its one loop: it does one thing at a time, so that an authority
//! is never asked two things at once.

use super::account::Accounts;
use super::handshake;
use super::inbox::{Inbox, Message};
use super::memory::Memory;
use super::order;
use super::race::{First, race};
use super::store::{Store, validity};
use super::trouble::{Remedy, Trouble};
use super::{Means, Wish};
use crate::shared::cert_files::Leaf;
use crate::shared::mail::CertTicket;
use crate::shared::renewals::RenewOrder;
use instant_acme::{Account, CertificateIdentifier, Error};
use rip::contract::config::AcmeConfig;
use rip::contract::event::Event;
use rip::contract::public_name;
use rip::entropy::Xoshiro;
use rip::time::Civil;
use rip::tls::challenge::{self, Challenge};
use rip::tls::renew::{Renewal, Step};
use rip::tls::window::{Offer, Window};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

struct Keeper {
    means: Means,
    store: Store,
    accounts: Accounts,
    wish: Wish,
    cares: BTreeMap<String, Care>,
    entropy: Xoshiro,
}

/// One name.
struct Care {
    renewal: Renewal,
    memory: Memory,
    /// Who waits for the next one.
    waiting: Vec<CertTicket>,
}

/// What came of an order.
enum Outcome {
    /// A certificate, and clients get it.
    Served(Leaf, Option<Challenge>),
    /// A certificate, and clients get another one, or none.
    Unserved(Leaf, Option<Challenge>, String),
    /// None.
    Failed(Trouble),
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
        let memory = Memory::read(&self.means.certs, name);
        if let (Some(at), Some(result)) = (memory.past.attempted, &memory.result) {
            (self.means.note)(name, at, result);
        }
        let now = wall();
        let held = self.own_leaf(name, &memory).as_ref().map(validity);
        let renewal = Renewal::new(held, memory.past.clone(), now, &mut self.entropy);
        Care { renewal, memory, waiting: Vec::new() }
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
            self.look(&name, now);
            let Some(care) = self.cares.get_mut(&name) else { continue };
            match care.renewal.poll(now) {
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

    /// Before something is ordered: somebody else may have done it, another server of this user.
    fn look(&mut self, name: &str, now: u64) {
        let Some(care) = self.cares.get(name) else { return };
        if care.renewal.next_order() > now || !care.waiting.is_empty() {
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
            }
            None => care.renewal.lost(),
            Some(_) => {}
        }
    }

    /// Asks the authority what it thinks of the certificate of `name`.
    async fn ask(&mut self, name: &str) {
        let asked = tokio::time::timeout(ANSWER_TIME, self.offer(name)).await;
        let offer = asked.unwrap_or(Offer::Unknown);
        log::debug!("renewal of {name}: {offer:?}");
        if let Some(care) = self.cares.get_mut(name) {
            care.renewal.told(offer, wall(), &mut self.entropy);
        }
    }

    async fn offer(&mut self, name: &str) -> Offer {
        let (Some(acme), Some(leaf)) = (&self.wish.acme, self.store.read(name)) else {
            return Offer::Unknown;
        };
        // Whoever brought the certificate: no account is made only to ask.
        if !self.accounts.has(acme) {
            return Offer::Unknown;
        }
        let Some(id) = identifier(&leaf) else { return Offer::None };
        let account = match self.accounts.open(acme).await {
            Ok(account) => account,
            Err(trouble) => {
                log::debug!("{}: {}", acme.directory, trouble.reason);
                return Offer::Unknown;
            }
        };
        match account.renewal_info(&id).await {
            Ok((info, retry_after)) => {
                let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
                let window = Window {
                    start: seconds(info.suggested_window.start.unix_timestamp()),
                    end: seconds(info.suggested_window.end.unix_timestamp()),
                };
                Offer::Window(window, retry_after.as_secs())
            }
            Err(Error::Unsupported(_)) => Offer::None,
            Err(error) => {
                log::debug!("{}: {error}", acme.directory);
                self.accounts.close();
                Offer::Unknown
            }
        }
    }

    /// Orders a certificate for `name`, and sees to what follows.
    async fn order(&mut self, name: &str) {
        let began = Instant::now();
        let outcome = match self.attempt(name).await {
            Ok((leaf, challenge)) => self.put_in_use(name, leaf, challenge),
            Err(trouble) => Outcome::Failed(trouble),
        };
        let now = wall();
        let kept = self.store.read(name).is_some_and(|leaf| leaf.doubt(now).is_none());
        let Some(care) = self.cares.get_mut(name) else { return };
        let (result, event) = match outcome {
            Outcome::Served(leaf, challenge) => {
                care.take(&leaf, challenge, authority(&self.wish), now, &mut self.entropy);
                let event = Event::CertRenewed {
                    domain: name.to_owned(),
                    authority: authority(&self.wish).unwrap_or_default().to_owned(),
                    challenge: challenge.map_or("none", Challenge::as_str),
                    not_after: leaf.not_after,
                    took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                };
                (Ok(()), event)
            }
            Outcome::Unserved(leaf, challenge, reason) => {
                // It is there and good: another one would not be served either.
                care.take(&leaf, challenge, authority(&self.wish), now, &mut self.entropy);
                (Err(reason.clone()), failed(name, reason, kept, None))
            }
            Outcome::Failed(Trouble { how, reason, .. }) => {
                let until = care.renewal.failed(how, now, &mut self.entropy);
                let retry_ms = until.saturating_sub(now).saturating_mul(1000);
                (Err(reason.clone()), failed(name, reason, kept, Some(retry_ms)))
            }
        };
        let said = result.as_ref().map_or_else(String::clone, |()| "ok".to_owned());
        (self.means.note)(name, care.renewal.past().attempted.unwrap_or(now), &said);
        care.memory.result = Some(said);
        care.memory.past = care.renewal.past().clone();
        if let Err(error) = care.memory.write(&self.means.certs, name) {
            log::error!("{error}");
        }
        (self.means.tell)(event);
        for ticket in std::mem::take(&mut care.waiting) {
            (self.means.answer)(ticket, result.clone());
        }
    }

    /// A certificate on the disk.
    async fn attempt(&mut self, name: &str) -> Result<(Leaf, Option<Challenge>), Trouble> {
        let gone = || Trouble::unreached("the configuration has changed meanwhile");
        let acme = self.wish.acme.clone().ok_or_else(gone)?;
        let care = self.cares.get_mut(name).ok_or_else(gone)?;
        care.memory.past = care.renewal.past().clone();
        // Who cannot write down that something was ordered, or store what comes, orders nothing.
        care.memory.write(&self.means.certs, name).map_err(Trouble::unreached)?;
        let last = care.memory.challenge;
        let replaces = match care.memory.authority.as_deref() == Some(&acme.directory) {
            true => self.store.read(name).as_ref().and_then(identifier),
            false => None,
        };
        let challenges = challenge::in_order(&self.wish.plain, &self.wish.secure, last);
        if challenges.is_empty() {
            return Err(Trouble::unreached("there is no listener where an authority could look"));
        }
        let mut left = challenges.as_slice();
        let mut reasons: Vec<String> = Vec::new();
        loop {
            let order = self.begin(&acme, name, replaces.clone()).await?;
            let mut tried = None;
            let work = order::complete(order, &self.means.tls, name, left, &mut tried);
            let done = match tokio::time::timeout(ORDER_TIME, work).await {
                Ok(done) => done,
                Err(_) => Err(Trouble::refused("the authority takes too long")),
            };
            let trouble = match done {
                Ok(obtained) => {
                    let leaf = self.store.write(name, &obtained.chain, &obtained.key);
                    return leaf.map(|leaf| (leaf, obtained.challenge)).map_err(Trouble::refused);
                }
                Err(trouble) => trouble,
            };
            self.accounts.close();
            let way = tried.map_or("order", Challenge::as_str);
            reasons.push(format!("{way}: {}", trouble.reason));
            // What was tried is behind us, and what stands before it is not offered.
            let behind =
                left.iter().position(|one| Some(*one) == tried).map_or(left.len(), |at| at + 1);
            left = left.get(behind..).unwrap_or_default();
            if trouble.remedy != Some(Remedy::Challenge) || left.is_empty() {
                return Err(Trouble { reason: reasons.join("; "), ..trouble });
            }
        }
    }

    /// An order, with an account that the authority knows.
    async fn begin(
        &mut self,
        acme: &AcmeConfig,
        name: &str,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<instant_acme::Order, Trouble> {
        match self.try_begin(acme, name, replaces.clone()).await {
            Err(trouble) if trouble.remedy == Some(Remedy::Account) => {
                log::warn!(
                    "{} does not know our account any more: {}",
                    acme.directory,
                    trouble.reason
                );
                self.accounts.forget(acme)?;
                self.try_begin(acme, name, replaces).await
            }
            other => other,
        }
    }

    async fn try_begin(
        &mut self,
        acme: &AcmeConfig,
        name: &str,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<instant_acme::Order, Trouble> {
        let work = async {
            let account: Account = self.accounts.open(acme).await?;
            order::begin(&account, name, replaces).await
        };
        let begun = tokio::time::timeout(ANSWER_TIME, work).await;
        let begun =
            begun.unwrap_or_else(|_| Err(Trouble::unreached("the authority does not answer")));
        if begun.is_err() {
            self.accounts.close();
        }
        begun
    }

    /// Has what is on disk served, and makes sure that it is.
    fn put_in_use(&self, name: &str, leaf: Leaf, challenge: Option<Challenge>) -> Outcome {
        (self.means.load)();
        match handshake::served(&self.means.tls.site, name) {
            Ok(served) if leaf.key.cert.first() == Some(&served) => {
                Outcome::Served(leaf, challenge)
            }
            Ok(_) => {
                let why = "the new certificate is stored, and clients get another one";
                Outcome::Unserved(leaf, challenge, why.to_owned())
            }
            Err(error) => {
                let why = format!("the new certificate is stored, and clients get none: {error}");
                Outcome::Unserved(leaf, challenge, why)
            }
        }
    }
}

impl Care {
    fn take(
        &mut self,
        leaf: &Leaf,
        challenge: Option<Challenge>,
        authority: Option<&str>,
        now: u64,
        entropy: &mut Xoshiro,
    ) {
        self.renewal.issued(validity(leaf), now, entropy);
        self.memory.authority = authority.map(str::to_owned);
        self.memory.challenge = challenge.or(self.memory.challenge);
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

fn authority(wish: &Wish) -> Option<&str> {
    wish.acme.as_ref().map(|acme| acme.directory.as_str())
}

/// What an authority calls a certificate (RFC 9773 §4.1).
fn identifier(leaf: &Leaf) -> Option<CertificateIdentifier<'static>> {
    let id: CertificateIdentifier<'_> = leaf.key.cert.first()?.try_into().ok()?;
    Some(id.into_owned())
}

/// It is also the name of a directory and of a file.
fn is_name(host: &str) -> bool {
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=200).contains(&host.len()) && !host.starts_with('.') && host.bytes().all(is_ours)
}

fn failed(name: &str, reason: String, kept: bool, retry_ms: Option<u64>) -> Event {
    Event::CertFailed { domains: vec![name.to_owned()], path: None, reason, kept, retry_ms }
}

/// Seconds since 1970.
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2026-03-14 15:09 UTC`.
fn moment(secs: u64) -> String {
    let Civil { year, month, day, hour, minute, .. } = Civil::from_unix(secs);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// The longest sleep, in seconds.
const NAP: u64 = 600;
/// What an authority has for one answer, an account and its directory included.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// What an order may take in all once it is begun.
const ORDER_TIME: Duration = Duration::from_secs(300);
