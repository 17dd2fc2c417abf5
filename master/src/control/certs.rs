//! What is told and asked of certificates on the control socket.

use super::master::Master;
use super::server::{Answer, Asker, Request};
use crate::agents::certs::Report;
use crate::shared::mail::CertTicket;
use crate::shared::renewals::RenewOrder;
use rip::contract::cert::{CertSource, TlsCertRecord};
use rip::wire::verb::Accepted;
use serde::Serialize;
use std::collections::BTreeMap;

/// Something that is wanted of certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertOrder {
    /// What is on disk is served.
    Reload,
    /// The authority is asked for another one for this name.
    Renew(String),
}

/// Who waits for certificates.
#[derive(Debug, Default)]
pub struct CertAsks {
    waiting: BTreeMap<CertTicket, Asker>,
    last: u64,
}

impl CertAsks {
    fn ticket(&mut self) -> CertTicket {
        self.last += 1;
        CertTicket(self.last)
    }
}

/// What is served, and what is wrong with what should be.
#[derive(Serialize)]
struct Certs {
    ok: bool,
    certs: Vec<TlsCertRecord>,
    faults: Vec<String>,
    authority: Option<String>,
}

impl Master {
    /// The certificates that are served.
    pub(super) fn certs_answer(&self) -> Answer {
        let Report { records, faults, authority } = self.certs.report();
        Answer::ok(&Certs { ok: true, certs: records, faults, authority })
    }

    /// Carries out `order`. `None` when the answer comes later.
    pub(super) fn order_certs(
        &mut self,
        request: &Request,
        order: CertOrder,
        wait: bool,
    ) -> Option<Answer> {
        let ticket = self.cert_asks.ticket();
        match order {
            CertOrder::Reload => self.certs.ask(ticket),
            CertOrder::Renew(name) => {
                let name = name.to_ascii_lowercase();
                if let Err(refused) = self.renewable(&name) {
                    return Some(refused);
                }
                if !self.shared.renewals.order(RenewOrder { name, ticket }) {
                    let error = "no authority can be asked now";
                    return Some(Answer::refused(503, error, "is `acme` configured?"));
                }
            }
        }
        if wait {
            self.cert_asks.waiting.insert(ticket, request.from);
            return None;
        }
        Some(Answer::json(202, &Accepted { ok: true, drained: None }))
    }

    /// Answers whoever waits for `ticket`.
    pub(super) fn certs_done(&mut self, ticket: CertTicket, result: Result<(), String>) {
        let Some(asker) = self.cert_asks.waiting.remove(&ticket) else { return };
        let answer = match result {
            Ok(()) => self.certs_answer(),
            Err(error) => Answer::refused(409, error, "what is served goes on being served"),
        };
        self.answer(asker, &answer);
    }

    /// An authority can be asked for `name`.
    fn renewable(&self, name: &str) -> Result<(), Answer> {
        let active = self.shared.current.load();
        let hosts = &active.config.acme_hosts;
        if hosts.iter().any(|host| host == name) {
            return Ok(());
        }
        let records = self.certs.records();
        let is_it = |record: &&TlsCertRecord| {
            record.id == name || record.domains.iter().any(|domain| domain == name)
        };
        Err(match records.iter().find(is_it) {
            None => {
                let known: Vec<_> = records.iter().map(|record| record.id.as_str()).collect();
                let known = match known.is_empty() {
                    true => "there is none at all".to_owned(),
                    false => format!("there is {}", known.join(", ")),
                };
                Answer::refused(404, format!("there is no certificate for '{name}'"), known)
            }
            Some(TlsCertRecord { source: CertSource::Auto, .. }) => {
                let error = format!("the certificate for {name} is made by the server itself");
                Answer::refused(409, error, "it is made anew in time, and with every start")
            }
            Some(record) => {
                let error = format!("the certificate for {name} comes from files");
                let hint = format!("put another one at {}: it is taken up", record.cert_path);
                Answer::refused(409, error, hint)
            }
        })
    }
}
