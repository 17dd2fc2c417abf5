//! What the ACME agent can do to the rest of the server, and what it is told.

use super::master::Master;
use crate::agents::acme::{AcmeAgent, Means};
use crate::agents::certs::{self, CertKeeper};
use crate::shared::Shared;
use crate::shared::mail::ControlMessage;
use rip::contract::config::Config;
use std::sync::Arc;

/// An agent for the server; `seed` is its chance.
pub(super) fn agent(
    shared: &Arc<Shared>,
    keeper: &CertKeeper,
    state_dir: &str,
    seed: u64,
) -> AcmeAgent {
    let (loads, notes) = (keeper.clone(), keeper.clone());
    let (tells, answers) = (shared.control.clone(), shared.control.clone());
    AcmeAgent::new(Means {
        certs: certs::directory(state_dir),
        tls: Arc::clone(&shared.tls),
        load: Box::new(move || drop(loads.refresh())),
        note: Box::new(move |domain, at, result| notes.note_renewal(domain, at, result)),
        tell: Box::new(move |event| tells.send(ControlMessage::Tell(Box::new(event)))),
        answer: Box::new(move |ticket, result| {
            answers.send(ControlMessage::CertsDone { ticket, result });
        }),
        seed,
    })
}

impl Master {
    /// The certificates that `config` wants are kept from now on.
    pub(super) fn keep_certs(&mut self, config: &Config) {
        if !self.is_serving() {
            // Two masters would order the same, and the authority asks only one of them.
            return;
        }
        if let Err(error) = self.acme.follow(config) {
            log::error!("certificates cannot be ordered: {error}");
        }
        if self.acme.is_awake() {
            self.shared.renewals.attach(self.acme.taker());
        }
    }
}
