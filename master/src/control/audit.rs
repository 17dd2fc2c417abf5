//! Who has ordered what: every request that changes something is an event, also one that was refused.

use super::certs::CertOrder;
use super::master::Master;
use super::orders::Order;
use super::reload::HostChange;
use super::server::{Answer, By, Request};
use super::verbs::Verb;
use rip::contract::event::{Door, Event, Ordered};

/// An order, by the words that it is told with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audit {
    verb: &'static str,
    target: String,
    /// Its answer says that it has begun, not that it is done.
    begins: bool,
}

impl Audit {
    /// What is to be told of `verb`; `None` when it changes nothing, or is a worker's own.
    pub fn of(verb: &Verb) -> Option<Self> {
        let audit = |verb, target: &dyn ToString| {
            Some(Self { verb, target: target.to_string(), begins: false })
        };
        match verb {
            Verb::CertOrder { order: CertOrder::Reload, .. } => audit("certs/reload", &""),
            Verb::CertOrder { order: CertOrder::Renew(name), .. } => audit("certs/renew", name),
            Verb::DashboardLogin => audit("dashboard-login", &""),
            Verb::Host { change: HostChange { host, target: Some(_) }, .. } => audit("add", host),
            Verb::Host { change: HostChange { host, target: None }, .. } => audit("remove", host),
            Verb::Order { order, .. } => match order {
                Order::Drain(worker) => audit("drain", worker),
                Order::Pause(app) => audit("pause", &app.as_deref().unwrap_or_default()),
                Order::Reload => audit("reload", &""),
                Order::Restart(app) => audit("restart", &app.as_deref().unwrap_or_default()),
                Order::Resume(app) => audit("resume", &app.as_deref().unwrap_or_default()),
                Order::Scale { app: Some(app), workers } => {
                    audit("scale", &format_args!("{app} {workers}"))
                }
                Order::Scale { app: None, workers } => audit("scale", workers),
            },
            Verb::Rollback { .. } => audit("rollback", &""),
            Verb::Stop { now } => {
                let target = if *now { "now" } else { "" };
                Some(Self { verb: "stop", target: target.to_owned(), begins: true })
            }
            Verb::Upgrade { order, .. } => {
                audit("upgrade", &order.binary.as_deref().unwrap_or_default())
            }
            Verb::Watch(watch) => audit("watch", &watch.prefix),
            Verb::Apps
            | Verb::Certs
            | Verb::Config
            | Verb::Diagnostics
            | Verb::Events { .. }
            | Verb::Explain { .. }
            | Verb::History
            | Verb::Metrics { .. }
            | Verb::Plan { .. }
            | Verb::RecentEvents
            | Verb::Registry
            | Verb::Sessions
            | Verb::Status
            | Verb::Upstreams
            | Verb::Worker { .. }
            | Verb::Workers => None,
        }
    }

    /// The event, by who asked and the answer as far as there is one.
    fn event(self, request: &Request, answer: Option<&Answer>) -> Event {
        let result = match answer.map(|answer| answer.status) {
            None | Some(202) => Ordered::Taken,
            Some(200..300) if self.begins => Ordered::Taken,
            Some(200..300) => Ordered::Done,
            Some(_) => Ordered::Refused,
        };
        let (by, uid, pid, ip) = match request.by {
            By::Process(peer) => (Door::Control, Some(peer.uid), Some(peer.pid), None),
            By::Client(ip) => (Door::Dashboard, None, None, ip.map(|ip| ip.to_string())),
        };
        Event::Control {
            verb: self.verb,
            target: self.target,
            by,
            uid,
            pid: pid.filter(|pid| *pid != 0),
            ip,
            result,
        }
    }
}

impl Master {
    /// Tells of an order that was carried out, has begun or was refused.
    pub(super) fn audit(&mut self, audit: Audit, request: &Request, answer: Option<&Answer>) {
        let event = audit.event(request, answer);
        self.tell(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::server::{Asker, ConnectionId};
    use crate::sys::peer::Peer;
    use rip::http1::Method;

    fn told(verb: &Verb, status: Option<u16>) -> String {
        let request = Request {
            from: Asker::Connection(ConnectionId(1)),
            method: Method::Post,
            path: String::new(),
            query: String::new(),
            last_event_id: None,
            authorization: None,
            accept: Vec::new(),
            body: Vec::new(),
            by: By::Process(Peer { uid: 1000, gid: 0, pid: 42 }),
        };
        let answer = status.map(|status| Answer::json(status, &()));
        let event = Audit::of(verb).expect("an order").event(&request, answer.as_ref());
        let mut out = Vec::new();
        rip::observe::line::write_human(&event, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_order_says_who_gave_it_and_what_became_of_it() {
        let scale = Order::Scale { app: Some("api".to_owned()), workers: 8 };
        assert_eq!(
            told(&Verb::Order { order: scale, wait: true }, None),
            "rip: control verb=scale target=\"api 8\" by=control uid=1000 pid=42 result=taken\n"
        );
        let pause = Verb::Order { order: Order::Pause(None), wait: true };
        assert_eq!(
            told(&pause, Some(200)),
            "rip: control verb=pause by=control uid=1000 pid=42 result=done\n"
        );
        assert!(told(&pause, Some(404)).ends_with("result=refused\n"));
        assert!(told(&Verb::Rollback { wait: false }, Some(202)).ends_with("result=taken\n"));
        let stop = told(&Verb::Stop { now: true }, Some(200));
        assert!(stop.contains("verb=stop target=now "), "{stop}");
        assert!(stop.ends_with("result=taken\n"), "{stop}");
    }

    #[test]
    fn questions_are_no_orders() {
        for verb in [Verb::Apps, Verb::Config, Verb::Plan { file: None }, Verb::Workers] {
            assert_eq!(Audit::of(&verb), None);
        }
    }
}
