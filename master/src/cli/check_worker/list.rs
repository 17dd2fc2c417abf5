//! The list of what is asked, made from what is known of the server by then.

use super::case::{Case, Plan, Status, Step, Wanted, Weight};
use super::rule;
use rip::limits;
use std::time::Duration;

/// What is known of a server that has joined and has answered once.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// It answers on a second connection while one is idle.
    pub keep_alive: bool,
    /// Links to it are kept as long as it lives.
    pub keeps_links: bool,
    /// What is asked for.
    pub path: String,
    /// What answers with the body it got.
    pub echo: Option<String>,
    /// A field that says what is had already, made from its first answer.
    pub validator: Option<String>,
}

/// Beyond the time after which the master closes idle links to servers that are not ours.
const IDLE: Duration = Duration::from_millis(1500);
/// Beyond the time after which servers usually close them.
const LONG_IDLE: Duration = Duration::from_secs(6);
/// What is to come on its own has come by then.
const MOMENT: Duration = Duration::from_millis(100);

/// Everything that is asked once the first answer is there.
pub fn cases(known: &Known) -> Vec<Case> {
    let asked = Asking { known };
    [asked.framing(), asked.bodies(), asked.connections(), asked.requests(), asked.leaving()]
        .concat()
}

/// The first request of all.
pub fn first(known: &Known) -> Case {
    let asked = Asking { known };
    case("get", "GET is answered", rule::ANSWER, asked.once("GET", &known.path, "", b""))
}

fn case(id: &'static str, title: &'static str, rule: &'static str, steps: Vec<Step>) -> Case {
    Case { id, title, rule, weight: Weight::Must, plan: Plan::Steps(steps) }
}

impl Case {
    /// The same, when without it the server can still be a worker.
    fn costs(self, what: &'static str) -> Self {
        Self { weight: Weight::Costs(what), ..self }
    }

    /// The same, done only if `done`.
    fn only_if(self, done: bool, else_because: &'static str) -> Self {
        if done { self } else { Self { plan: Plan::Skip(else_because), ..self } }
    }
}

/// How this server is asked.
struct Asking<'a> {
    known: &'a Known,
}

impl Asking<'_> {
    /// A request as a worker gets it.
    fn request(&self, method: &str, target: &str, fields: &str, body: &[u8]) -> Vec<u8> {
        let close = if self.known.keep_alive { "" } else { "Connection: close\r\n" };
        let length = match method {
            "GET" | "HEAD" | "OPTIONS" if body.is_empty() => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut bytes =
            format!("{method} {target} HTTP/1.1\r\n{COMMON}{fields}{length}{close}\r\n")
                .into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// A request, its answer, and a moment in which nothing more comes.
    fn once(&self, method: &str, target: &str, fields: &str, body: &[u8]) -> Vec<Step> {
        let status = match method {
            "GET" | "HEAD" => Status::NoFailure,
            _ => Status::NoFailureOrUnknown,
        };
        let wanted = Wanted { to_head: method == "HEAD", ..Wanted::status(status) };
        self.once_with(self.request(method, target, fields, body), wanted)
    }

    fn once_with(&self, request: Vec<u8>, wanted: Wanted) -> Vec<Step> {
        vec![Step::Next(0), Step::Send(0, request), Step::Answer(0, wanted)]
    }

    /// The same, and then a request that shows whether the connection is still in order.
    fn and_again(&self, mut steps: Vec<Step>) -> Vec<Step> {
        if self.known.keep_alive {
            steps.push(Step::Quiet(0, MOMENT));
        }
        steps.extend(self.once("GET", &self.known.path, "", b""));
        steps
    }

    /// The same, told from what a server makes of a body of one byte that it has not read: `xHEAD` is
    /// none to it, and its answer has a body.
    fn and_head(&self, steps: Vec<Step>) -> Vec<Step> {
        [steps, self.once("HEAD", &self.known.path, "", b"")].concat()
    }

    fn get(&self, on: usize) -> Vec<Step> {
        let request = self.request("GET", &self.known.path, "", b"");
        let wanted = Wanted::status(Status::NoFailure);
        vec![Step::Next(on), Step::Send(on, request), Step::Answer(on, wanted)]
    }

    /// Where answers end.
    fn framing(&self) -> Vec<Case> {
        let path = &self.known.path;
        let validator = self.known.validator.as_deref().unwrap_or_default();
        let head = self.and_again(self.once("HEAD", path, "", b""));
        let options = self.and_again(self.once("OPTIONS", path, "", b""));
        let unchanged = self.and_again(self.once("GET", path, validator, b""));
        vec![
            case("length", "an answer ends where it says", rule::END, self.and_again(self.get(0))),
            case("head", "HEAD is answered without a body", rule::END, head),
            case("options", "OPTIONS is answered, with or without a body", rule::END, options),
            case("not-modified", "304 has no body", rule::END, unchanged)
                .only_if(!validator.is_empty(), "the answer has neither ETag nor Last-Modified"),
        ]
    }

    /// Bodies of requests.
    fn bodies(&self) -> Vec<Case> {
        let path = &self.known.path;
        let sized = |size: usize| self.and_again(self.once("POST", path, BINARY, &requests(size)));
        let slow = {
            let request = self.request("POST", path, BINARY, &requests(3000));
            let (head, body) = request.split_at(request.len() - 3000);
            let (begin, rest) = body.split_at(1000);
            let mut steps = vec![Step::Next(0)];
            for part in [head, begin, rest] {
                steps.extend([Step::Send(0, part.to_vec()), Step::Pause(MOMENT)]);
            }
            steps.push(Step::Answer(0, Wanted::status(Status::NoFailureOrUnknown)));
            self.and_again(steps)
        };
        let lower = {
            let text = String::from_utf8_lossy(&self.request("POST", path, BINARY, &requests(200)))
                .into_owned();
            let text = text.replace("Content-Length", "content-length").replace("Host", "hOST");
            let wanted = Wanted::status(Status::NoFailureOrUnknown);
            self.and_again(self.once_with(text.into_bytes(), wanted))
        };
        let chunked = {
            let target = self.known.echo.as_deref().unwrap_or(path);
            let fields = format!("{BINARY}Transfer-Encoding: chunked\r\n");
            let bare = self.request("GET", target, &fields, b"");
            let mut request = [b"POST", bare.get(3..).unwrap_or_default()].concat();
            request.extend_from_slice(b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
            let body = self.known.echo.as_ref().map(|_| b"hello0123456789abcdef".to_vec());
            let wanted = Wanted { body, ..Wanted::status(Status::NoFailureOrUnknown) };
            self.and_again(self.once_with(request, wanted))
        };
        let of_get = self.and_again(self.once("GET", path, BINARY, &requests(200)));
        let one = self.and_head(self.once("POST", path, BINARY, b"x"));
        vec![
            case("body-0", "a POST without a body is answered", rule::BODY, sized(0)),
            case("body-1", "a body of 1 byte is read", rule::BODY, one),
            case("body-64k", "a body of 64 KiB is read", rule::BODY, sized(64 << 10)),
            case("body-1m", "a body of 1 MiB is read", rule::BODY, sized(1 << 20)),
            case("body-slow", "a body that comes in pieces is waited for", rule::BODY, slow),
            case("body-of-get", "the body of a GET is read as well", rule::BODY, of_get),
            case("body-names", "names of fields are known in any case", rule::BODY, lower),
            case("body-chunked", "a body in chunks is read", rule::BODY, chunked).costs(
                "only for apps with `stream-request`, where bodies come as clients send them",
            ),
            self.echoes(),
        ]
    }

    fn echoes(&self) -> Case {
        let mut steps = Vec::new();
        let echo = self.known.echo.as_deref();
        for size in [0, 1, 64 << 10, 1 << 20] {
            let body = pattern(size);
            let request = self.request("POST", echo.unwrap_or("/"), BINARY, &body);
            let wanted = Wanted { body: Some(body), ..Wanted::status(Status::Success) };
            steps.extend(self.once_with(request, wanted));
        }
        case("body-echo", "bodies arrive as they were sent", rule::BODY, steps)
            .only_if(echo.is_some(), "no path that echoes is named: --echo PATH")
    }

    /// Connections, one and several.
    fn connections(&self) -> Vec<Case> {
        const FRESH: &str = "each request comes on a fresh connection";
        let keeps = self.known.keep_alive;
        let several = |turns: &[usize]| turns.iter().flat_map(|on| self.get(*on)).collect();
        let at_once = {
            let request = || self.request("GET", &self.known.path, "", b"");
            let wanted = || Wanted::status(Status::NoFailure);
            vec![
                Step::Send(0, request()),
                Step::Send(1, request()),
                Step::Answer(1, wanted()),
                Step::Answer(0, wanted()),
            ]
        };
        let closing = {
            let request = self.request("GET", &self.known.path, "Connection: close\r\n", b"");
            let text = String::from_utf8_lossy(&request).into_owned();
            let once =
                text.replace("Connection: close\r\nConnection: close\r\n", "Connection: close\r\n");
            let answer = Step::Answer(0, Wanted::status(Status::NoFailure));
            vec![Step::Send(0, once.into_bytes()), answer, Step::End(0)]
        };
        let idle = if self.known.keeps_links { LONG_IDLE } else { IDLE };
        let idle = [self.get(0), vec![Step::Quiet(0, idle)], self.get(0)].concat();
        let many = (0..50).flat_map(|_| [closing.clone(), vec![Step::Drop(0)]].concat()).collect();
        vec![
            case(
                "again",
                "a connection is used for several requests",
                rule::CONNECTIONS,
                several(&[0; 5]),
            )
            .only_if(keeps, FRESH),
            case(
                "two",
                "two connections are served in turn",
                rule::CONNECTIONS,
                several(&[0, 1, 1, 0, 1]),
            )
            .only_if(keeps, FRESH),
            case("at-once", "two requests at once are both answered", rule::CONNECTIONS, at_once),
            case("idle", "an idle connection stays open", rule::CONNECTIONS, idle)
                .only_if(keeps, FRESH),
            case("close", "Connection: close is obeyed", rule::CONNECTIONS, closing),
            case("many", "fifty connections come and go", rule::CONNECTIONS, many),
        ]
    }

    /// Requests that are seldom seen.
    fn requests(&self) -> Vec<Case> {
        let path = &self.known.path;
        let wanted = || Wanted::status(Status::NoFailureOrUnknown);
        let brew = self.once_with(self.request("BREW", path, "", b""), wanted());
        let join = if path.contains('?') { '&' } else { '?' };
        let room = limits::TARGET_BYTES.saturating_sub(path.len() + 3);
        let long = format!("{path}{join}q={}", "x".repeat(room));
        let encoded = "/caf%C3%A9/%2525/a%20b%2Fc?q=%26%3D%E2%82%AC+x&empty=&&=";
        // What the master adds, and what clients may send.
        let count = limits::HEAD_FIELD_COUNT - COMMON.lines().count() - 2;
        let fields: String = (0..count).map(|n| format!("X-Field-{n}: {n}\r\n")).collect();
        let large = format!("X-Large: {}\r\n", "x".repeat(32 << 10));
        let empty = "X-Empty:\r\nX-Commas: a,,b, c\r\nAccept: */*\r\nAccept: text/html\r\n";
        let asked = |target: &str, fields: &str| {
            let request = self.request("GET", target, fields, b"");
            self.and_again(self.once_with(request, wanted()))
        };
        vec![
            case("method", "an unknown method is answered", rule::ANY, self.and_again(brew)),
            case(
                "target-encoded",
                "a percent-encoded target is answered",
                rule::ANY,
                asked(encoded, ""),
            ),
            case("target-long", "a target of 8 KiB is answered", rule::ANY, asked(&long, "")),
            case(
                "fields-many",
                "a head of 100 fields is answered",
                rule::ANY,
                asked(path, &fields),
            ),
            case("field-large", "a field of 32 KiB is answered", rule::ANY, asked(path, &large)),
            case(
                "field-empty",
                "empty and repeated fields are answered",
                rule::ANY,
                asked(path, empty),
            ),
            case("field-bytes", "a field with UTF-8 in it is answered", rule::ANY, {
                asked(path, "X-Name: Zo\u{eb} \u{20ac}\r\n")
            }),
        ]
    }

    /// Clients that do not wait. Whatever is done with what they asked for, others are served.
    fn leaving(&self) -> Vec<Case> {
        let path = &self.known.path;
        let request = || self.request("GET", path, "", b"");
        let then = |mut steps: Vec<Step>| {
            steps.push(Step::Drop(0));
            steps.extend(self.get(1));
            steps
        };
        let half = |bytes: Vec<u8>| {
            let (begin, _) = bytes.split_at(bytes.len() / 2);
            vec![Step::Send(0, begin.to_vec()), Step::Pause(MOMENT)]
        };
        let at_once = (0..5).flat_map(|_| [Step::Send(0, request()), Step::Drop(0)]).collect();
        let in_body = half(self.request("POST", path, BINARY, &requests(100_000)));
        vec![
            case("leaves", "a client leaves before the answer", rule::LEAVING, {
                then(vec![Step::Send(0, request()), Step::Abandon(0)])
            }),
            case(
                "leaves-at-once",
                "clients leave with their requests",
                rule::LEAVING,
                then(at_once),
            ),
            case(
                "leaves-in-head",
                "a client leaves within a head",
                rule::LEAVING,
                then(half(request())),
            ),
            case("leaves-in-body", "a client leaves within a body", rule::LEAVING, then(in_body)),
            case("leaves-unsaid", "a connection says nothing and goes", rule::LEAVING, {
                then(vec![Step::Send(0, Vec::new()), Step::Pause(MOMENT)])
            }),
        ]
    }
}

/// What a worker gets with every request.
const COMMON: &str = "\
Host: localhost\r\nX-Request-Id: check-worker\r\nX-Forwarded-For: 127.0.0.1\r\n\
X-Forwarded-Proto: http\r\nX-Forwarded-Host: localhost\r\n";

const BINARY: &str = "Content-Type: application/octet-stream\r\n";

/// A body of this length that is nothing but requests to who has not read it: he answers them.
fn requests(size: usize) -> Vec<u8> {
    const REQUEST: &[u8] = b"GET /in-a-body HTTP/1.1\r\nHost: localhost\r\n\r\n";
    REQUEST.iter().copied().cycle().take(size).collect()
}

/// Bytes of every value.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::http1::{Limits, Read, RequestHead, Server};
    use std::collections::BTreeSet;

    fn known(keep_alive: bool) -> Known {
        Known {
            keep_alive,
            path: "/".to_owned(),
            echo: Some("/echo".to_owned()),
            validator: Some("If-None-Match: \"x\"\r\n".to_owned()),
            ..Known::default()
        }
    }

    /// What is sent is what the edge itself would take: the server cannot be blamed for it.
    #[test]
    fn every_request_is_right() {
        for keep_alive in [true, false] {
            for case in cases(&known(keep_alive)).into_iter().chain([first(&known(keep_alive))]) {
                let Plan::Steps(steps) = &case.plan else { continue };
                let mut sent = Vec::new();
                for step in steps {
                    match step {
                        Step::Send(0, bytes) => sent.extend_from_slice(bytes),
                        Step::Answer(0, _) => {
                            let mut head = RequestHead::new();
                            let read = Server::new().read(&sent, &mut head, &Limits::default());
                            assert!(matches!(read, Ok(Read::Head { .. })), "{}: {read:?}", case.id);
                            sent.clear();
                        }
                        Step::Drop(0) => sent.clear(),
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn cases_have_names_of_their_own_and_rules_that_are_there() {
        let manual = include_str!("../../../../docs/WORKERS.md");
        let mut names = BTreeSet::new();
        for case in cases(&known(true)) {
            assert!(names.insert(case.id), "{} is there twice", case.id);
        }
        for rule in rule::ALL {
            assert!(manual.contains(&format!("\n### {rule}\n")), "{rule}");
        }
    }

    #[test]
    fn without_keep_alive_every_request_says_that_it_is_the_last() {
        for case in cases(&known(false)) {
            let Plan::Steps(steps) = &case.plan else { continue };
            for step in steps {
                if let Step::Send(_, bytes) = step {
                    let text = String::from_utf8_lossy(bytes);
                    let is_whole = text.contains("X-Request-Id") && text.contains("\r\n\r\n");
                    let count = text.matches("Connection: close\r\n").count();
                    assert!(!is_whole || count == 1, "{}: {text}", case.id);
                }
            }
        }
    }
}
