//! The certificates of a running master: what is served, and what can be ordered of them.

use super::answer::Certs;
use super::args::{Ask, CertVerb, ListCerts, Order};
use super::client::Reply;
use super::ctl::{Question, accepted, say, understood};
use super::exit::{Exit, Failure};
use super::order::What;
use super::table::{Align, Paint, Table, Tone};
use crate::agents::certs::trust;
use crate::shared::cert_files::day;
use rip::contract::cert::{CertSource, TlsCertRecord};
use serde_json::Map;
use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

/// Shows the certificates, or carries out what is ordered of them.
///
/// # Errors
/// No master, one that does not answer, or one that refuses.
pub fn certs(flags: &ListCerts) -> Result<Exit, Failure> {
    match &flags.verb {
        None => show(&Question::new(&flags.ask)?.get("/certs")?, flags.ask.json),
        Some(CertVerb::Reload(order)) => {
            let what = What::new("reload of certificates", "/control/certs/reload", order);
            let reply = what.give(Map::new())?;
            done(&reply, order, "certificates are being loaded")?;
            match order.no_wait || understood::<Certs>(&reply)?.faults.is_empty() {
                true => Ok(Exit::Done),
                false => Err(Failure::new(Exit::Failed, "not everything that is there is served")),
            }
        }
        Some(CertVerb::Renew(renew)) => {
            let what = What::new("renewal", "/control/certs/renew", &renew.order);
            let body = Map::from_iter([("name".to_owned(), renew.host.as_str().into())]);
            let begun = format!("a certificate for {} is asked for", renew.host);
            done(&what.give(body)?, &renew.order, &begun)
        }
        Some(CertVerb::Trust(ask)) => how_to_trust(ask),
    }
}

fn done(reply: &Reply, order: &Order, begun: &str) -> Result<Exit, Failure> {
    let reply = Reply { status: reply.status, body: reply.body.clone() };
    let reply = accepted(reply)?;
    match order.no_wait && !order.json {
        true => say(begun),
        false => show(&reply, order.json),
    }
}

fn show(reply: &Reply, json: bool) -> Result<Exit, Failure> {
    if json {
        return say(&reply.body);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    say(&told(&understood(reply)?, now.as_secs(), Paint::for_stdout()))
}

fn how_to_trust(ask: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(ask)?.get("/certs")?;
    if ask.json {
        return say(&reply.body);
    }
    let certs: Certs = understood(&reply)?;
    let Some(path) = certs.authority else {
        let none = Failure::new(Exit::Failed, "no certificate is made by a local authority");
        return Err(none.tip("start with --auto-tls, or say tls \"auto\" of a site"));
    };
    say(&trust(Path::new(&path)).join("\n"))
}

/// The table, and below it what is wrong.
fn told(certs: &Certs, now: u64, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("NAMES", Align::Left),
        ("SOURCE", Align::Left),
        ("ENDS", Align::Left),
        ("LEFT", Align::Right),
        ("FINGERPRINT", Align::Left),
        ("LAST RENEWAL", Align::Left),
    ]);
    for record in &certs.certs {
        let usual = |text: String| (text, Tone::Usual);
        table.row([
            usual(names(record)),
            usual(source(record).to_owned()),
            usual(day(record.not_after)),
            left(record, now),
            usual(record.fingerprint.chars().take(FINGERPRINT_LETTERS).collect()),
            renewal(record),
        ]);
    }
    let mut text = table.render(paint);
    for fault in &certs.faults {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {fault}", paint.tint("wrong:", Tone::Bad));
    }
    if let Some(path) = &certs.authority {
        let _ = writeln!(text, "the local authority is {path}: rip-master ctl certs trust");
    }
    text
}

/// The first names, and how many more there are.
fn names(record: &TlsCertRecord) -> String {
    let shown = record.domains.iter().take(NAME_COUNT).cloned().collect::<Vec<_>>().join(",");
    match record.domains.len().saturating_sub(NAME_COUNT) {
        0 => shown,
        more => format!("{shown} +{more}"),
    }
}

fn source(record: &TlsCertRecord) -> &'static str {
    match record.source {
        CertSource::Manual => "files",
        CertSource::Acme => "acme",
        CertSource::Auto => "auto",
        CertSource::Shipped => "shipped",
    }
}

fn left(record: &TlsCertRecord, now: u64) -> (String, Tone) {
    let Some(left) = record.not_after.checked_sub(now) else {
        return ("expired".to_owned(), Tone::Bad);
    };
    if now < record.not_before {
        return ("not yet".to_owned(), Tone::Bad);
    }
    let days = left / (24 * 60 * 60);
    let tone = match days {
        0..=6 => Tone::Bad,
        7..=13 => Tone::Waiting,
        _ => Tone::Good,
    };
    (format!("{days}d"), tone)
}

fn renewal(record: &TlsCertRecord) -> (String, Tone) {
    let Some(at) = record.last_renew_attempt else { return (String::new(), Tone::Usual) };
    let result = record.last_renew_result.as_deref().unwrap_or_default();
    let tone = if result == "ok" { Tone::Good } else { Tone::Bad };
    (format!("{} {result}", day(at)), tone)
}

const NAME_COUNT: usize = 2;
/// Enough to tell it from others.
const FINGERPRINT_LETTERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_is_a_line_and_so_is_what_is_wrong() {
        let answer = r#"{"ok":true,"certs":[
            {"id":"a.x","domains":["a.x"],"notBefore":0,"notAfter":8640000,
             "fingerprint":"0123456789abcdef0123","certPath":"/a.crt","keyPath":"/a.key",
             "source":"manual"},
            {"id":"b.x","domains":["b.x","c.x","d.x"],"notBefore":0,"notAfter":950400,
             "fingerprint":"ff","certPath":"","keyPath":"","source":"acme",
             "lastRenewAttempt":86400,"lastRenewResult":"ok"},
            {"id":"e.x","domains":["e.x"],"notBefore":0,"notAfter":10,"fingerprint":"ee",
             "certPath":"","keyPath":"","source":"auto"}],
            "faults":["/a.crt: it is half"],"authority":"/ca.pem"}"#;
        let certs: Certs = serde_json::from_str(answer).unwrap();
        let golden = "\
NAMES       SOURCE  ENDS           LEFT  FINGERPRINT       LAST RENEWAL
a.x         files   1970-04-11      99d  0123456789abcdef  -
b.x,c.x +1  acme    1970-01-12      10d  ff                1970-01-02 ok
e.x         auto    1970-01-01  expired  ee                -
wrong: /a.crt: it is half
the local authority is /ca.pem: rip-master ctl certs trust
";
        assert_eq!(told(&certs, 86_400, Paint::Plain), golden);
        let nothing: Certs = serde_json::from_str("{}").unwrap();
        assert!(told(&nothing, 0, Paint::Plain).starts_with("NAMES"));
    }
}
