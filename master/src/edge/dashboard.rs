//! The page that shows the server, at hosts of its own and where the operator is served.
//!
//! ```text
//!  GET  /          the page; for whom it is not, how to log in (401)
//!  GET  /feed      the session, then reports and events as they come
//!  GET  /events    what happened last, of the control loop
//!  GET  /session   whether somebody is logged in
//!  GET  /login     a page that turns the secret behind the `#` of a link into a session …
//!  POST /login     … by presenting it here, once
//!  POST /logout
//!  POST /actions/{reload,restart,scale}   what they are on the control socket
//! ```
//!
//! Whoever asks from this machine may look on. Everybody else needs a session, and so do orders: those
//! come from this very page alone, which a browser's `Origin` says. The whole host is the dashboard's,
//! because a page of an app at the same host would be as good as this one.

use super::answer::OwnAnswer;
use super::door::Errand;
use super::live_reload::Subject;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::mail::ControlMessage;
use rip::contract::event::{Door, Event, Ordered};
use rip::contract::reason::Reason;
use rip::guard::client_ip::is_same_origin;
use rip::guard::login::{self, Login};
use rip::guard::policy::content_policy;
use rip::http1::FieldWriter;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;
use rip::limits;
use std::net::IpAddr;
use std::sync::LazyLock;

impl Edge {
    /// Answers a request to the dashboard: to one of its hosts, or by a listener for the operator. False
    /// when it is neither.
    pub(super) fn begin_dashboard(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let is_admin = self.fronts.get(key).is_some_and(|front| front.is_admin);
        let is_on = self.snapshots.active().config.edge.dashboard.on;
        if !(is_admin && is_on || self.is_dashboard()) {
            return false;
        }
        let asked = (head, buf);
        let place = head.path().path(buf).strip_prefix(b"/").and_then(Place::of);
        let Some(place) = place else {
            self.refuse(key, Reason::NotFound, "", Some(asked));
            return true;
        };
        let is_reading = matches!(head.method_kind(), Method::Get | Method::Head);
        match place {
            Place::Login if is_reading => self.answer_page(key, asked, 200, &LOGIN),
            Place::Login | Place::Logout | Place::Action(_)
                if head.method_kind() == Method::Post =>
            {
                self.take_order(key, asked, place);
            }
            Place::Page | Place::Feed | Place::Events | Place::Session if is_reading => {
                self.show(key, asked, place);
            }
            _ => {
                self.routing.set_allow(place.methods());
                self.refuse(key, Reason::MethodNotAllowed, "", Some(asked));
            }
        }
        true
    }

    /// The host noted last is the dashboard's.
    pub(super) fn is_dashboard(&self) -> bool {
        let host = self.routing.host();
        self.snapshots.active().dashboard.iter().any(|own| own == host)
    }

    /// What whoever may look on is shown.
    fn show(&mut self, key: Key, asked: (&RequestHead, &[u8]), place: Place) {
        let (head, buf) = asked;
        let login = self.login(key, asked);
        let is_local = self.is_local(key, head, buf);
        if login.is_none() && !is_local {
            return match place {
                Place::Page => self.answer_page(key, asked, 401, &LOGIN),
                _ => self.refuse_with(key, Reason::Unauthorized, asked, CHALLENGE),
            };
        }
        match place {
            Place::Page => self.answer_page(key, asked, 200, &PAGE),
            Place::Events => {
                let errand = Errand { query: "follow=false", ..Errand::question("/events") };
                self.knock(key, asked, &errand);
            }
            Place::Feed if self.watcher_count() >= limits::WATCHER_COUNT => {
                self.refuse(key, Reason::ControlBusy, "", Some(asked));
            }
            Place::Feed => {
                let needed = login.filter(|_| !is_local).map(|login| login.id);
                self.begin_live(key, asked, Subject::Server(needed));
                let frame = format!("event: session\ndata: {}\n\n", self.session_json(login));
                self.write_live(key, frame.as_bytes());
            }
            _ => {
                let body = self.session_json(login);
                self.answer_briefly(key, asked, 200, &body, |_| {});
            }
        }
    }

    /// Something is to change: whoever wants it must be this very page.
    fn take_order(&mut self, key: Key, asked: (&RequestHead, &[u8]), place: Place) {
        if !self.is_own_page(key, asked) {
            return self.refuse(key, Reason::OriginRefused, "", Some(asked));
        }
        if let Place::Login = place {
            return self.begin_login(key, asked);
        }
        let Some(login) = self.login(key, asked) else {
            return self.refuse_with(key, Reason::Unauthorized, asked, CHALLENGE);
        };
        match place {
            Place::Action(path) => self.knock(key, asked, &Errand::question(path)),
            _ => {
                self.shared.logins.log_out(login.id);
                self.tell_of_session("logout", self.client_ip(key, Some(asked)));
                let cookie = login::set_cookie(None, self.is_sealed(key, asked));
                self.answer_briefly(key, asked, 200, "{\"ok\":true}", |fields| {
                    fields.field(b"Set-Cookie", cookie.as_bytes());
                });
            }
        }
    }

    /// A link's secret becomes a session.
    fn begin_login(&mut self, key: Key, asked: (&RequestHead, &[u8])) {
        let session = match self.sessions.draw() {
            Ok(random) => login::Key::new(random),
            Err(error) => {
                log::error!("the kernel gives no random numbers: {error}");
                return self.refuse(key, Reason::ControlBusy, "", Some(asked));
            }
        };
        let now = self.clock.now();
        let begun =
            bearer(asked).and_then(|secret| self.shared.logins.log_in(secret, &session, now));
        let peer = self.client_ip(key, Some(asked));
        if begun.is_none() {
            if let Some(untold) = self.shared.logins.fail(now) {
                let peer = peer.map_or_else(|| "somewhere".to_owned(), |ip| ip.to_string());
                log::warn!(
                    "dashboard: {peer} has presented no link that is good; {untold} more before"
                );
            }
            return self.refuse_with(key, Reason::Unauthorized, asked, CHALLENGE);
        }
        self.tell_of_session("login", peer);
        let cookie = login::set_cookie(Some(&session), self.is_sealed(key, asked));
        self.answer_briefly(key, asked, 200, "{\"ok\":true}", |fields| {
            fields.field(b"Set-Cookie", cookie.as_bytes());
        });
    }

    /// A session has begun or ended, by the client at `ip`.
    fn tell_of_session(&self, verb: &'static str, ip: Option<IpAddr>) {
        let event = Event::Control {
            verb,
            target: String::new(),
            by: Door::Dashboard,
            uid: None,
            pid: None,
            ip: ip.map(|ip| ip.to_string()),
            result: Ordered::Done,
        };
        self.shared.control.send(ControlMessage::Tell(Box::new(event)));
    }

    /// The session whose cookie comes with a request.
    fn login(&self, key: Key, (head, buf): (&RequestHead, &[u8])) -> Option<Login> {
        let is_sealed = self.is_sealed(key, (head, buf));
        let fields = head.fields().iter();
        let cookies = fields.filter(|field| field.name.of(buf).eq_ignore_ascii_case(b"cookie"));
        let keys = cookies.flat_map(|field| login::cookies(field.value.of(buf), is_sealed));
        self.shared.logins.session(keys, self.clock.now())
    }

    /// The request is one of a page of this very place.
    fn is_own_page(&self, key: Key, (head, buf): (&RequestHead, &[u8])) -> bool {
        let Some(front) = self.fronts.get(key) else { return false };
        let client = front.client(head, buf, self.snapshots.active());
        let mut sites = head
            .fields()
            .iter()
            .filter(|field| field.name.of(buf).eq_ignore_ascii_case(b"sec-fetch-site"));
        is_same_origin(head, buf, client.scheme, client.host)
            && sites.all(|site| site.value.of(buf) == b"same-origin")
    }

    /// The client speaks TLS, to us or to a proxy that is believed.
    fn is_sealed(&self, key: Key, (head, buf): (&RequestHead, &[u8])) -> bool {
        self.fronts.get(key).is_some_and(|front| {
            let client = front.client(head, buf, self.snapshots.active());
            client.scheme == rip::guard::client_ip::Scheme::Https
        })
    }

    fn session_json(&self, login: Option<Login>) -> String {
        let left = login.map_or(0, |login| login.until.since(self.clock.now()).as_secs());
        format!("{{\"loggedIn\":{},\"secondsLeft\":{left}}}", login.is_some())
    }

    fn answer_briefly(
        &mut self,
        key: Key,
        asked: (&RequestHead, &[u8]),
        status: u16,
        body: &str,
        more: impl FnOnce(&mut FieldWriter<'_>),
    ) {
        let content_type = "application/json";
        let own = OwnAnswer::of_edge(status, content_type, body.as_bytes());
        self.answer_whole(key, asked, &own, |fields| {
            fields.field(b"Cache-Control", b"no-store");
            more(fields);
        });
    }

    fn answer_page(
        &mut self,
        key: Key,
        asked: (&RequestHead, &[u8]),
        status: u16,
        page: &LazyLock<OwnPage>,
    ) {
        let content_type = "text/html; charset=utf-8";
        let is_sealed = self.is_sealed(key, asked);
        let own = OwnAnswer::of_edge(status, content_type, page.text.as_bytes());
        self.answer_whole(key, asked, &own, |fields| {
            fields.field(b"Content-Security-Policy", page.policy.as_bytes());
            fields.raw(PAGE_FIELDS);
            if is_sealed {
                fields.raw(SEALED_FIELDS);
            }
            if status == 401 {
                fields.raw(CHALLENGE);
            }
        });
    }
}

/// The value of `Authorization: Bearer`; empty where there is none.
fn bearer<'b>((head, buf): (&RequestHead, &'b [u8])) -> Option<&'b [u8]> {
    let mut fields = head.fields().iter();
    let field = fields.find(|field| field.name.of(buf).eq_ignore_ascii_case(b"authorization"))?;
    let (scheme, secret) = field.value.of(buf).split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| secret.trim_ascii())
}

/// What there is at the dashboard's host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Page,
    Feed,
    Events,
    Session,
    Login,
    Logout,
    /// With its path on the control socket.
    Action(&'static str),
}

impl Place {
    /// `path` is without its first slash.
    fn of(path: &[u8]) -> Option<Self> {
        Some(match path {
            b"" => Self::Page,
            b"feed" => Self::Feed,
            b"events" => Self::Events,
            b"session" => Self::Session,
            b"login" => Self::Login,
            b"logout" => Self::Logout,
            b"actions/reload" => Self::Action("/control/reload"),
            b"actions/restart" => Self::Action("/control/restart"),
            b"actions/scale" => Self::Action("/control/scale"),
            _ => return None,
        })
    }

    const fn methods(self) -> &'static [u8] {
        match self {
            Self::Page | Self::Feed | Self::Events | Self::Session => b"GET, HEAD",
            Self::Login => b"GET, HEAD, POST",
            Self::Logout | Self::Action(_) => b"POST",
        }
    }
}

/// A page, and what may run in it.
struct OwnPage {
    text: &'static str,
    policy: String,
}

impl OwnPage {
    fn new(text: &'static str) -> Self {
        Self { text, policy: content_policy(text) }
    }
}

static PAGE: LazyLock<OwnPage> =
    LazyLock::new(|| OwnPage::new(include_str!("dashboard/page.html")));
static LOGIN: LazyLock<OwnPage> =
    LazyLock::new(|| OwnPage::new(include_str!("dashboard/login.html")));

/// A page that acts is shown in no frame, kept by nobody, and named to nobody.
const PAGE_FIELDS: &[u8] = b"Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
    X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n";
/// Over plain HTTP browsers do not want to hear of it.
const SEALED_FIELDS: &[u8] = b"Cross-Origin-Opener-Policy: same-origin\r\n";
const CHALLENGE: &[u8] = b"WWW-Authenticate: Bearer\r\n";
const BEARER: &[u8] = b"bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_pages_is_somewhere_else() {
        for page in [&PAGE, &LOGIN] {
            let text = page.text.replace("http://www.w3.org/2000/svg", "");
            for foreign in
                ["http:/", "https:/", "//cdn", "@import", "url(", " src=", " on", "innerHTML"]
            {
                let found = text.match_indices(foreign).map(|(at, _)| at).find(|at| {
                    // `on` begins words of the text as well.
                    foreign != " on"
                        || text[at + 3..].starts_with(|it: char| it.is_ascii_lowercase())
                            && text[at + 3..]
                                .trim_start_matches(|it: char| it.is_ascii_lowercase())
                                .starts_with('=')
                });
                assert_eq!(found.map(|at| &text[at..at + 40]), None, "{foreign}");
            }
            assert!(!page.text.contains("style=\""), "what the policy does not let in");
            assert_eq!(page.policy.matches("sha256-").count(), 2);
        }
    }
}
