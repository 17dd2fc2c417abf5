//! What an operator was told of certificates, so that each thing is told once.

use super::choice::is_current;
use crate::shared::cert_files::Wrong;
use rip::contract::cert::{CertSource, TlsCertRecord};
use rip::contract::event::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Something that is wrong with a certificate, or with where it should come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Its file, or its directory, or the host it is for.
    pub place: String,
    /// The names it is for, as far as they are known.
    pub domains: Vec<String>,
    /// What it is.
    pub wrong: Wrong,
    /// The one before it is served on.
    pub kept: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = if self.kept { "; the one before it is served on" } else { "" };
        write!(out, "{}: {}{kept}", self.place, self.wrong)
    }
}

/// What was told.
#[derive(Debug, Default)]
pub struct Told {
    /// What is wrong, by place.
    faults: BTreeMap<String, String>,
    /// What is served: its file or id, and its fingerprint.
    loaded: BTreeSet<(String, String)>,
    /// Which warning was given last, by fingerprint.
    expiring: BTreeMap<String, u64>,
}

impl Told {
    /// The news: `records` are served by now, and `faults` are all that is wrong. `now` in seconds.
    pub fn tell(&mut self, records: &[&TlsCertRecord], faults: &[Fault], now: u64) -> Vec<Event> {
        let mut events = Vec::new();
        let faults_before = std::mem::take(&mut self.faults);
        for fault in faults {
            let reason = fault.wrong.to_string();
            if faults_before.get(&fault.place) != Some(&reason) {
                events.push(Event::CertFailed {
                    domains: fault.domains.clone(),
                    path: fault.place.starts_with('/').then(|| fault.place.clone()),
                    reason: reason.clone(),
                    kept: fault.kept,
                    retry_ms: None,
                });
            }
            self.faults.insert(fault.place.clone(), reason);
        }
        let loaded_before = std::mem::take(&mut self.loaded);
        for record in records {
            let place = place_of(record);
            let is_mended = faults_before.contains_key(place) && !self.faults.contains_key(place);
            let name = (place.to_owned(), record.fingerprint.clone());
            if is_mended || !loaded_before.contains(&name) {
                events.push(loaded(record));
            }
            self.loaded.insert(name);
        }
        let manual = |record: &&&TlsCertRecord| record.source == CertSource::Manual;
        let expiring_before = std::mem::take(&mut self.expiring);
        for record in records.iter().filter(manual) {
            let Some(mark) = mark(record, now) else { continue };
            let told = expiring_before.get(&record.fingerprint);
            if told.is_none_or(|told| mark < *told)
                && !self.expiring.contains_key(&record.fingerprint)
            {
                events.push(expiring(record, now));
            }
            self.expiring.insert(record.fingerprint.clone(), mark);
        }
        events
    }
}

/// The smallest number of days that it is warned of and that is not left any more; `None` while there
/// is time, and when it is too late.
fn mark(record: &TlsCertRecord, now: u64) -> Option<u64> {
    let left = record.not_after.checked_sub(now)?;
    let is_past = |days: &u64| left <= days * DAY_SECS;
    is_current(record, now).then(|| WARNING_DAYS.into_iter().find(is_past)).flatten()
}

fn loaded(record: &TlsCertRecord) -> Event {
    Event::CertLoaded {
        domains: record.domains.clone(),
        source: record.source,
        not_after: record.not_after,
        fingerprint: record.fingerprint.clone(),
        path: Some(record.cert_path.clone()).filter(|path| !path.is_empty()),
    }
}

fn expiring(record: &TlsCertRecord, now: u64) -> Event {
    Event::CertExpiring {
        domains: record.domains.clone(),
        path: record.cert_path.clone(),
        not_after: record.not_after,
        days: record.not_after.saturating_sub(now) / DAY_SECS,
    }
}

fn place_of(record: &TlsCertRecord) -> &str {
    match record.cert_path.is_empty() {
        true => &record.id,
        false => &record.cert_path,
    }
}

/// So many days before its end a certificate is warned of.
const WARNING_DAYS: [u64; 3] = [1, 7, 14];
const DAY_SECS: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str, fingerprint: &str, until_day: u64) -> TlsCertRecord {
        TlsCertRecord {
            id: "a.x".to_owned(),
            domains: vec!["a.x".to_owned()],
            not_before: 0,
            not_after: until_day * DAY_SECS,
            fingerprint: fingerprint.to_owned(),
            cert_path: path.to_owned(),
            key_path: String::new(),
            source: CertSource::Manual,
            last_renew_attempt: None,
            last_renew_result: None,
        }
    }

    fn fault(place: &str, message: &str) -> Fault {
        let wrong = Wrong::new(message, "");
        Fault { place: place.to_owned(), domains: Vec::new(), wrong, kept: true }
    }

    /// What is told, in short.
    fn told(
        told: &mut Told,
        records: &[&TlsCertRecord],
        faults: &[Fault],
        day: u64,
    ) -> Vec<String> {
        let events = told.tell(records, faults, day * DAY_SECS);
        let short = |event| match event {
            Event::CertLoaded { fingerprint, .. } => format!("loaded {fingerprint}"),
            Event::CertFailed { reason, .. } => format!("failed {reason}"),
            Event::CertExpiring { days, .. } => format!("expiring {days}"),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(short).collect()
    }

    #[test]
    fn each_fault_is_told_once_and_so_is_its_end() {
        let mut state = Told::default();
        let served = record("/a.crt", "one", 1000);
        assert_eq!(told(&mut state, &[&served], &[], 1), ["loaded one"]);
        assert!(told(&mut state, &[&served], &[], 1).is_empty());
        let half = [fault("/a.crt", "half")];
        assert_eq!(told(&mut state, &[&served], &half, 1), ["failed half"]);
        assert!(told(&mut state, &[&served], &half, 2).is_empty());
        let other = [fault("/a.crt", "other key")];
        assert_eq!(told(&mut state, &[&served], &other, 2), ["failed other key"]);
        assert_eq!(told(&mut state, &[&served], &[], 2), ["loaded one"], "it is mended");
        let next = record("/a.crt", "two", 1000);
        assert_eq!(told(&mut state, &[&next], &[], 2), ["loaded two"]);
        assert!(told(&mut state, &[], &[], 2).is_empty());
        assert_eq!(told(&mut state, &[&next], &[], 2), ["loaded two"], "it is back");
    }

    #[test]
    fn the_end_is_warned_of_three_times() {
        let mut state = Told::default();
        let served = record("/a.crt", "one", 100);
        told(&mut state, &[&served], &[], 1);
        let warned: Vec<_> =
            (80..=101).flat_map(|day| told(&mut state, &[&served, &served], &[], day)).collect();
        assert_eq!(warned, ["expiring 14", "expiring 7", "expiring 1"]);
        let late = record("/b.crt", "two", 103);
        let of_late = told(&mut state, &[&late], &[], 100);
        assert_eq!(of_late, ["loaded two", "expiring 3"], "once, however late it came");
        assert!(told(&mut state, &[&late], &[], 100).is_empty());
        let acme = TlsCertRecord { source: CertSource::Acme, ..record("/c", "three", 103) };
        assert_eq!(told(&mut state, &[&acme], &[], 100), ["loaded three"], "it is renewed anyway");
    }
}
