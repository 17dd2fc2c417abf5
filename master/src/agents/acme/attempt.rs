//! One attempt at a certificate: from what is remembered before it to what is told after it.

use super::handshake;
use super::keeper::{ANSWER_TIME, Care, Keeper, authority, failed, identifier, wall};
use super::order;
use super::store::validity;
use super::trouble::{Remedy, Trouble};
use crate::shared::cert_files::Leaf;
use instant_acme::{Account, CertificateIdentifier};
use rip::contract::config::AcmeConfig;
use rip::contract::event::Event;
use rip::entropy::Xoshiro;
use rip::tls::challenge::{self, Challenge};
use std::time::{Duration, Instant};

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
    /// Orders a certificate for `name`, and sees to what follows.
    pub(super) async fn order(&mut self, name: &str) {
        let began = Instant::now();
        let outcome = match self.attempt(name).await {
            Ok((leaf, challenge)) => self.put_in_use(name, leaf, challenge),
            Err(trouble) => Outcome::Failed(trouble),
        };
        let now = wall();
        let kept = self.store.read(name).is_some_and(|leaf| leaf.doubt(now).is_none());
        let Some(care) = self.cares.get_mut(name) else { return };
        let turn = care.turn.take();
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
            log::error!("what happened with {name} cannot be remembered: {error}");
        }
        drop(turn);
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
        care.memory.asked = Some(acme.directory.clone());
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
                Err(trouble) => trouble.of(&acme.directory),
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
            let begun = order::begin(&account, name, replaces).await;
            begun.map_err(|trouble| trouble.of(&acme.directory))
        };
        let begun = tokio::time::timeout(ANSWER_TIME, work).await;
        let begun = begun.unwrap_or_else(|_| {
            Err(Trouble::unreached("the authority does not answer").of(&acme.directory))
        });
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

/// What an order may take in all once it is begun.
const ORDER_TIME: Duration = Duration::from_secs(300);
