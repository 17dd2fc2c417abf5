//! What plain HTTP has to do with HTTPS: requests are sent on to it, and browsers told to come back
//! there.

use super::answer::OwnAnswer;
use super::front::Front;
use super::snapshots::Snapshots;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::cert::CertSource;
use rip::contract::reason::Reason;
use rip::guard::client_ip::Scheme;
use rip::http1::FieldWriter;
use rip::http1::head::{RequestHead, ResponseHead};
use rip::observe::note::Handler;
use rip::route::{host, secure};

impl Edge {
    /// Looks whether answers for the host noted last tell browsers to come back over HTTPS only.
    pub(super) fn note_come_back(&mut self, key: Key) {
        if let Some(come_back) = &self.snapshots.active().come_back
            && let Some(front) = self.fronts.get_mut(key).filter(|front| front.is_secure())
        {
            front.is_to_come_back = come_back.is_for(Some(self.routing.host()));
        }
    }

    /// Sends a request that came in the clear on to HTTPS, where that is wished. False when it is
    /// answered here: the edge's own endpoints are, where they are asked by address, because who
    /// balances load over several machines asks each of them that way.
    pub(super) fn send_to_https(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let snapshot = self.snapshots.active();
        let Some(to_https) = &snapshot.to_https else { return false };
        let Some(front) = self.fronts.get(key).filter(|front| !front.is_secure()) else {
            return false;
        };
        // A proxy in front may have taken the seal off.
        let client = front.client(head, buf, snapshot);
        let noted = self.routing.host();
        if client.scheme == Scheme::Https || !to_https.takes(noted) {
            return false;
        }
        if self.is_builtin(head, buf) && self.routing.is_address() {
            return false;
        }
        if to_https.is_ordered(noted) && !self.has_certificate(noted) {
            return false;
        }
        // Where nobody has made one for it, whoever operates the server is not sent before a warning.
        if self.is_dashboard() && !self.is_named(noted) {
            return false;
        }
        let asked = match client.is_proxied {
            true => {
                let mut asked = Vec::new();
                host::normalize(client.host, &mut asked);
                asked
            }
            false => noted.to_vec(),
        };
        if asked.is_empty() {
            // HTTP/1.0 need not name a host, and then there is nowhere to be sent to.
            let detail = "no host to be sent to over HTTPS";
            self.refuse(key, Reason::Malformed, detail, Some((head, buf)));
            return true;
        }
        let location = to_https.location(&asked, head, buf);
        let own = OwnAnswer {
            status: secure::status(head.method_kind()),
            content_type: "text/plain; charset=utf-8",
            body: b"",
            changes: None,
            handler: Handler::ToHttps,
            rule: None,
        };
        self.answer_whole(key, (head, buf), &own, |fields| {
            fields.field(b"Location", &location);
        });
        true
    }
}

impl Edge {
    /// Whether `host` has a certificate of its own that somebody else made. While it waits for one,
    /// nobody is sent where browsers warn, for good: they remember a 301.
    fn has_certificate(&self, host: &[u8]) -> bool {
        let certs = self.shared.tls.certs.load();
        let named = str::from_utf8(host).ok().and_then(|host| certs.by_name.named(host));
        let served = named.and_then(|position| certs.served.get(position));
        served.is_some_and(|served| served.record.source != CertSource::Auto)
    }
}

impl Edge {
    /// Whether there is a certificate for `host` by its name.
    fn is_named(&self, host: &[u8]) -> bool {
        let certs = self.shared.tls.certs.load();
        str::from_utf8(host).is_ok_and(|host| certs.by_name.named(host).is_some())
    }
}

/// The line that tells a browser at `front` to come back over HTTPS only; empty where none is said.
pub(super) fn hsts<'s>(front: &Front, snapshots: &'s Snapshots) -> &'s [u8] {
    match &snapshots.active().come_back {
        Some(come_back) if front.is_secure() && front.is_to_come_back => come_back.line(),
        _ => b"",
    }
}

/// Adds the line to an answer whose own fields, if it has some, are those of `head`: an app that says
/// it itself has its way.
pub(super) fn add_hsts(
    line: &[u8],
    head: Option<(&ResponseHead, &[u8])>,
    to: &mut FieldWriter<'_>,
) {
    if line.is_empty() {
        return;
    }
    let says_it = head.is_some_and(|(head, buf)| {
        head.fields().iter().any(|field| field.name.of(buf).eq_ignore_ascii_case(HSTS))
    });
    if !says_it {
        to.line(HSTS, line);
    }
}

const HSTS: &[u8] = b"Strict-Transport-Security";
