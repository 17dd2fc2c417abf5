//! What may be asked on the control socket: requests become verbs, refusals become statuses.

use super::server::{Answer, Request};
use rip::http1::Method;
use rip::supervise::supervisor;
use rip::wire::admit;
use rip::wire::verb::WorkerVerb;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Something the master is asked to do or tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verb {
    /// The apps and how they are doing.
    Apps,
    /// What happens from now on, as it happens.
    Events,
    /// Which host leads to which app.
    Registry,
    /// How the server is doing.
    Status,
    /// End.
    Stop {
        /// Without waiting for what is in flight.
        now: bool,
    },
    /// A worker joins or quits.
    Worker {
        /// Which, and what it says of itself.
        verb: WorkerVerb,
        /// What it shows for it.
        authorization: Option<Vec<u8>>,
    },
    /// The workers and what they are doing.
    Workers,
}

impl Verb {
    /// Understands a request.
    ///
    /// # Errors
    /// The answer to a request that is not understood.
    pub fn of(request: &mut Request) -> Result<Self, Answer> {
        let route = ROUTES.iter().find(|route| route.path == request.path);
        let Some(route) = route else {
            let paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
            return Err(Answer::refused(
                404,
                format!("there is no {}", request.path),
                format!("there are {}", paths.join(", ")),
            ));
        };
        let fits = match route.allow {
            "POST" => request.method == Method::Post,
            _ => matches!(request.method, Method::Get | Method::Head),
        };
        if !fits {
            let mut answer =
                Answer::refused(405, format!("{} takes {} only", route.path, route.allow), "");
            answer.allow = Some(route.allow);
            return Err(answer);
        }
        (route.understand)(request)
    }
}

/// A join or quit that is not believed.
pub fn refusal(refusal: admit::Refusal) -> Answer {
    let hint = match refusal {
        admit::Refusal::UnknownWorker => "the worker should end: nobody will use it",
        admit::Refusal::WrongIdentity | admit::Refusal::WrongToken => {
            "only the shim that the master started may speak for its worker"
        }
    };
    Answer::refused(403, refusal.to_string(), hint)
}

/// A join or quit that is believed and comes too late.
pub fn too_late(refusal: supervisor::Refusal) -> Answer {
    Answer::refused(403, refusal.to_string(), "the worker should end: nobody will use it")
}

struct Route {
    path: &'static str,
    allow: &'static str,
    understand: fn(&mut Request) -> Result<Verb, Answer>,
}

const ROUTES: [Route; 7] = [
    Route { path: "/apps", allow: "GET", understand: |_| Ok(Verb::Apps) },
    Route { path: "/control/stop", allow: "POST", understand: stop },
    Route { path: "/events", allow: "GET", understand: events },
    Route { path: "/registry", allow: "GET", understand: |_| Ok(Verb::Registry) },
    Route { path: "/status", allow: "GET", understand: |_| Ok(Verb::Status) },
    Route { path: "/worker", allow: "POST", understand: worker },
    Route { path: "/workers", allow: "GET", understand: |_| Ok(Verb::Workers) },
];

fn events(request: &mut Request) -> Result<Verb, Answer> {
    match request.method {
        Method::Get => Ok(Verb::Events),
        _ => Err(Answer::refused(405, "/events takes GET only", "")),
    }
}

fn worker(request: &mut Request) -> Result<Verb, Answer> {
    let verb = body(request)?;
    Ok(Verb::Worker { verb, authorization: request.authorization.take() })
}

fn stop(request: &mut Request) -> Result<Verb, Answer> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Stop {
        #[serde(default)]
        now: bool,
    }
    let Stop { now } = if request.body.is_empty() { Stop::default() } else { body(request)? };
    Ok(Verb::Stop { now })
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Answer> {
    serde_json::from_slice(&request.body).map_err(|error| {
        Answer::refused(400, format!("the body is not what {} takes: {error}", request.path), "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::server::ConnectionId;
    use crate::sys::peer::Peer;
    use rip::wire::verb::Refused;

    fn ask(method: Method, path: &str, body: &str) -> Result<Verb, (u16, Refused)> {
        let mut request = Request {
            from: ConnectionId(1),
            method,
            path: path.to_owned(),
            authorization: None,
            body: body.as_bytes().to_vec(),
            peer: Peer { uid: 0, gid: 0, pid: 1 },
        };
        Verb::of(&mut request).map_err(|answer| {
            let body = serde_json::from_slice(&answer.body).expect("every refusal is one");
            (answer.status, body)
        })
    }

    fn status(method: Method, path: &str, body: &str) -> u16 {
        ask(method, path, body).expect_err("it is refused").0
    }

    #[test]
    fn paths_methods_and_bodies_are_checked_in_that_order() {
        assert_eq!(ask(Method::Get, "/apps", ""), Ok(Verb::Apps));
        assert_eq!(ask(Method::Head, "/workers", ""), Ok(Verb::Workers));
        assert_eq!(ask(Method::Post, "/control/stop", ""), Ok(Verb::Stop { now: false }));
        let now = ask(Method::Post, "/control/stop", r#"{"now":true}"#);
        assert_eq!(now, Ok(Verb::Stop { now: true }));
        assert_eq!(ask(Method::Get, "/events", ""), Ok(Verb::Events));
        assert_eq!(status(Method::Head, "/events", ""), 405);
        assert_eq!(status(Method::Get, "/nothing", ""), 404);
        assert_eq!(status(Method::Get, "/control/stop", ""), 405);
        assert_eq!(status(Method::Post, "/apps", "{"), 405);
        assert_eq!(status(Method::Post, "/worker", "{"), 400);
        assert_eq!(status(Method::Post, "/worker", r#"{"op":"dance"}"#), 400);
        assert_eq!(status(Method::Post, "/control/stop", r#"{"nwo":true}"#), 400);
    }

    #[test]
    fn a_join_is_understood() {
        let body = r#"{"op":"join","workerId":3,"generation":7,"version":7,"pid":10,"appPid":11,
            "socket":"/w3.sock","appId":"api","keepAlive":true}"#;
        let verb = ask(Method::Post, "/worker", body).expect("it is a join");
        assert!(matches!(
            verb,
            Verb::Worker { verb: WorkerVerb::Join(join), .. } if join.app_pid == 11
        ));
    }
}
