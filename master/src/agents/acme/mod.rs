//! Certificates from an ACME authority (RFC 8555): ordered, stored, put in use, renewed.
//!
//! `rip::tls::renew` decides when; this thread asks, orders and stores. The client of the protocol
//! wants a runtime: it has one here, in a thread that is there only while names are to be kept, and
//! nowhere else.

mod account;
mod asking;
mod attempt;
mod handshake;
mod inbox;
mod keeper;
mod memory;
mod order;
mod patience;
mod proof;
mod race;
mod store;
mod trouble;
mod turn;

use crate::shared::mail::CertTicket;
use crate::shared::renewals::RenewOrder;
use crate::shared::tls::Tls;
use inbox::{Inbox, Message};
use rip::contract::config::{AcmeConfig, Config};
use rip::contract::event::Event;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Takes a name, a moment and a result.
pub type Note = Box<dyn Fn(&str, u64, &str) + Send>;
/// Takes who waits, and what came of it.
pub type Answer = Box<dyn Fn(CertTicket, Result<(), String>) + Send>;

/// What the agent can do to the rest of the server.
pub struct Means {
    /// The directory of certificates.
    pub certs: PathBuf,
    /// What HTTPS is served with, and what authorities are shown.
    pub tls: Arc<Tls>,
    /// Loads what is on disk; when it returns, that is served.
    pub load: Box<dyn Fn() + Send>,
    /// A certificate of this name was asked for at this moment, in seconds since 1970, with this
    /// result.
    pub note: Note,
    /// Tells what happened.
    pub tell: Box<dyn Fn(Event) + Send>,
    /// Answers who wanted a certificate renewed.
    pub answer: Answer,
    /// Chance.
    pub seed: u64,
}

/// The certificates to keep.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wish {
    /// The authority; without one there is nothing to keep.
    acme: Option<AcmeConfig>,
    /// The names, in lower case.
    hosts: Vec<String>,
    /// Ports where plain HTTP is spoken.
    plain: Vec<u16>,
    /// Ports where TLS is spoken.
    secure: Vec<u16>,
}

impl Wish {
    /// What `config` wants.
    pub fn of(config: &Config) -> Self {
        let mut hosts: Vec<String> =
            config.acme_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        hosts.sort();
        hosts.dedup();
        Self {
            acme: config.edge.tls.acme.clone(),
            hosts,
            plain: config.edge.http.iter().map(|at| at.port).collect(),
            secure: config.edge.https.iter().map(|at| at.port).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.acme.is_none() || self.hosts.is_empty()
    }
}

/// The ACME agent.
pub struct AcmeAgent {
    inbox: Inbox,
    /// Until the thread takes them.
    means: Option<Means>,
    thread: Option<JoinHandle<()>>,
}

impl AcmeAgent {
    /// An agent that keeps nothing yet and has no thread.
    pub fn new(means: Means) -> Self {
        Self { inbox: Inbox::default(), means: Some(means), thread: None }
    }

    /// Keeps the certificates that `config` wants from now on. Never waits for an authority.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn follow(&mut self, config: &Config) -> io::Result<()> {
        let wish = Wish::of(config);
        if self.thread.is_none() {
            if wish.is_empty() {
                return Ok(());
            }
            let Some(means) = self.means.take() else { return Ok(()) };
            let inbox = self.inbox.clone();
            let run = move || keeper::run(means, &inbox);
            self.thread = Some(std::thread::Builder::new().name("acme".to_owned()).spawn(run)?);
        }
        self.inbox.send(Message::Follow(wish));
        Ok(())
    }

    /// What takes orders to renew a certificate now: each is answered once, if there is a thread.
    pub fn taker(&self) -> impl Fn(RenewOrder) + Send + 'static {
        let inbox = self.inbox.clone();
        move |order| inbox.send(Message::Renew(order))
    }

    /// Orders nothing any more: the listeners where an authority would look are about to close. Does
    /// not wait for it.
    pub fn stop(&self) {
        self.inbox.send(Message::Stop);
    }

    /// Whether it keeps certificates.
    pub fn is_awake(&self) -> bool {
        self.thread.is_some()
    }
}

impl Drop for AcmeAgent {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the ACME agent ended by a panic");
        }
    }
}
