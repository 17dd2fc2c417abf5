//! A request from its head to its end, as it is told: to programs as JSON, to people as lines.

use super::finding::{Evidence, Finding};
use super::words::{bytes, ordinal, time};
use crate::contract::app::Select;
use crate::contract::reason::Reason;
use crate::ids::{Generation, WorkerId};
use crate::observe::note::{Handler, Note, Stage};
use crate::observe::text;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The answer to `GET /explain/{id}`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stories {
    /// Always true.
    pub ok: bool,
    /// Requests of that name, those that have not ended first, then the newest first.
    pub requests: Vec<Story>,
    /// Loops that did not answer in time: what they know is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// One request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Story {
    /// Its id.
    pub id: String,
    /// When its head was complete, in milliseconds since 1970.
    pub at: u64,
    /// It has not ended.
    pub running: bool,
    /// The edge itself asked, on behalf of a client of that name.
    #[serde(rename = "own")]
    pub is_own: bool,
    /// Its method.
    pub method: String,
    /// The authority it asked for.
    pub host: String,
    /// Its path, without its query.
    pub path: String,
    /// Who asked.
    pub client: Option<String>,
    /// Who connected, with the port.
    pub peer: Option<String>,
    /// The listener it came by.
    pub listener: Option<String>,
    /// Which request of its connection it was.
    pub connection_request: u32,
    /// How the connection is sealed.
    pub tls: Option<Tls>,
    /// The configuration it was born with.
    pub config: u64,
    /// The rule that took it.
    pub rule: Option<Rule>,
    /// `edge`, `app`, `upstream`, `file`, `redirect`, `to-https`, `realtime`, `session`.
    pub handler: String,
    /// The app or the upstream.
    pub app: Option<String>,
    /// The upstream's server that got it last.
    pub server: Option<String>,
    /// How its worker was found.
    pub scheduling: Option<Scheduling>,
    /// Who has it, or had it last.
    pub worker: Option<Worker>,
    /// Tries that did not become the answer; of many not all.
    pub tries: Vec<Tried>,
    /// How many there were.
    pub try_count: u32,
    /// What the client got; null while it has nothing.
    pub status: Option<u16>,
    /// What the worker or the server behind answered.
    pub answered: Option<u16>,
    /// Of the body.
    pub bytes_in: u64,
    /// Of the answer's body.
    pub bytes_out: u64,
    /// From its head to its end.
    pub total_seconds: f64,
    /// Of that, waiting for a worker.
    pub queue_seconds: Option<f64>,
    /// Of that, with the worker or the server behind.
    pub service_seconds: Option<f64>,
    /// From its head to the answer's first byte.
    pub first_byte_seconds: Option<f64>,
    /// Why the edge ended it: the code of access lines and counters.
    pub reason: Option<String>,
    /// How far it came: `edge`, `receiving`, `waiting`, `linking`, `sending`, `answering`,
    /// `tunnelling`.
    pub stage: String,
    /// Who ended it: `client`, `edge`, `worker`, `upstream`; null where it came to its own end.
    pub ended_by: Option<String>,
    /// What its worker marked it with.
    pub mark: Option<String>,
    /// The cause: a code of `docs/EXPLAIN.md`.
    pub cause: String,
    /// The cause in a sentence.
    pub because: String,
    /// What to do; empty where nothing is.
    pub what_to_do: String,
    /// What the worker wrote last to stderr that is to blame.
    pub last_words: Vec<String>,
    /// What happened when.
    pub timeline: Vec<Step>,
}

/// How a connection is sealed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Tls {
    /// `TLS 1.3`.
    pub version: String,
    /// The suite.
    pub suite: String,
    /// An earlier session was taken up again.
    pub resumed: bool,
    /// The name that the client asked for, where it is another than the request's host and the server
    /// had to look at it.
    pub sni: Option<String>,
}

/// The rule that took a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Rule {
    /// Its position in the configuration.
    pub index: u32,
    /// Its name; null when that configuration is not remembered any more.
    pub id: Option<String>,
    /// Whose requests it takes.
    pub host: Option<String>,
    /// Which of them.
    pub pattern: Option<String>,
    /// The Edgefile's line.
    pub line: Option<u32>,
    /// What it does.
    pub action: Option<String>,
}

/// How a worker was found: the decision of the scheduler.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Scheduling {
    /// Who was chosen last.
    pub selected_worker: Option<WorkerId>,
    /// `lifo` or `least-inflight`.
    pub algorithm: Option<String>,
    /// Why the first choice was not simply taken: `queued`, `bounced`, `retried`, `shed`.
    pub fallback: Option<String>,
    /// Where it stood in the queue, from 1.
    pub queue_position: Option<u32>,
}

/// A worker, as far as it is remembered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// The code it runs.
    pub generation: Option<Generation>,
    /// The shim's pid.
    pub pid: Option<u32>,
    /// The app's own pid.
    pub app_pid: Option<u32>,
    /// How it ended, be it because of this request or long after it.
    pub exit: Option<String>,
}

/// A try that did not become the answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tried {
    /// The worker; null for a server of an upstream.
    pub worker: Option<WorkerId>,
    /// `busy`, `draining`, `connect`, `gone`, `stale`, `timeout`, `malformed`.
    pub end: String,
    /// The same in words, with what became of the worker.
    pub told: String,
    /// When, after the request's head was complete.
    pub after_seconds: f64,
}

/// Something that happened to a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Step {
    /// When, after the request's head was complete.
    pub after_seconds: f64,
    /// What.
    pub what: String,
}

impl Story {
    /// The story of what is noted, with its cause.
    pub fn of(evidence: &Evidence<'_>) -> Self {
        let note = evidence.note;
        let Finding { cause, because, remedy, last_words } = Finding::of(evidence);
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let seconds = |time: Duration| time.as_secs_f64();
        let connection = note.trail.connection;
        let until = note.leased.unwrap_or(note.total);
        let is_app = note.trail.handler == Handler::App;
        let tries = note.trail.tries().zip(evidence.tries()).map(|(tried, told)| Tried {
            worker: is_app.then_some(WorkerId(u64::from(tried.whom))),
            end: tried.end.as_str().to_owned(),
            told,
            after_seconds: seconds(tried.after.duration()),
        });
        Self {
            id: String::from_utf8_lossy(note.id()).into_owned(),
            at: note.at.0,
            running: note.running,
            is_own: note.trail.own,
            method: note.method(),
            host: note.host(),
            path: note.path(),
            client: note.client.map(|client| client.to_canonical().to_string()),
            peer: connection.peer.map(|peer| peer.to_string()),
            listener: connection.listener.map(|at| at.to_string()),
            connection_request: connection.request,
            tls: connection.tls.map(|tls| Tls {
                version: tls_version(tls.version),
                suite: tls.suite.name().to_owned(),
                resumed: tls.resumed,
                sni: some(note.sni()),
            }),
            config: note.trail.config,
            rule: note.trail.rule.map(|index| {
                let rule = evidence.rule();
                Rule {
                    index,
                    id: rule.map(|rule| rule.id.clone()),
                    host: rule.map(|rule| rule.host.clone()),
                    pattern: rule.map(|rule| rule.pattern.clone()),
                    line: rule.and_then(|rule| rule.line),
                    action: rule.map(|rule| rule.action.clone()),
                }
            }),
            handler: handler_name(note.trail.handler).to_owned(),
            app: some(note.app()),
            server: some(note.server()),
            scheduling: note.queued.filter(|_| is_app).map(|_| Scheduling {
                selected_worker: note.worker,
                algorithm: note.trail.select.map(|select| select_name(select).to_owned()),
                fallback: note.trail.fallback(note.reason).map(str::to_owned),
                queue_position: Some(note.trail.position).filter(|place| *place > 0),
            }),
            worker: note.worker.map(|id| {
                let tale = evidence.chronicle.worker(id);
                Worker {
                    id,
                    generation: tale.map(|tale| tale.generation),
                    pid: tale.map(|tale| tale.pid),
                    app_pid: tale.and_then(|tale| tale.app_pid),
                    exit: tale.and_then(|tale| tale.end.as_ref()).map(|end| end.status.clone()),
                }
            }),
            tries: tries.collect(),
            try_count: note.trail.try_count(),
            status: Some(note.status).filter(|status| *status > 0),
            answered: Some(note.trail.answered).filter(|status| *status > 0),
            bytes_in: note.bytes_in,
            bytes_out: note.bytes_out,
            total_seconds: seconds(note.total),
            queue_seconds: note.queued.map(|queued| seconds(until.saturating_sub(queued))),
            service_seconds: note.leased.map(|leased| seconds(note.total.saturating_sub(leased))),
            first_byte_seconds: note.first_byte.map(seconds),
            reason: note.reason.map(|reason| reason.code().to_owned()),
            stage: stage_name(note.trail.stage).to_owned(),
            ended_by: note.reason.map(|reason| ended_by(reason).to_owned()),
            mark: some(note.mark()),
            cause: cause.code().to_owned(),
            because,
            what_to_do: remedy,
            last_words,
            timeline: timeline(evidence),
        }
    }
}

/// What happened when.
fn timeline(evidence: &Evidence<'_>) -> Vec<Step> {
    let note = evidence.note;
    let mut steps = Vec::new();
    let mut step = |after: Duration, what: String| {
        steps.push((after, Step { after_seconds: after.as_secs_f64(), what }));
    };
    step(Duration::ZERO, "its head was complete".to_owned());
    if let Some(queued) = note.queued {
        let app = note.app();
        if note.bytes_in > 0 && !note.trail.own {
            step(queued, format!("its body was complete: {}", bytes(note.bytes_in)));
        }
        if note.trail.position > 0 {
            let place = note.trail.position;
            step(queued, format!("no worker of {app} was free: number {place} of the queue"));
        }
    }
    for (tried, told) in note.trail.tries().zip(evidence.tries()) {
        step(tried.after.duration(), told);
    }
    if let Some(leased) = note.leased {
        let server = note.server();
        let what = match note.worker {
            Some(worker) => {
                let how = note.trail.select.map(|select| format!(" ({})", select_name(select)));
                format!("worker {worker} got it{}", how.unwrap_or_default())
            }
            None if server.is_empty() => format!("a server of {} was looked for", note.app()),
            None => format!("it went to {server}"),
        };
        step(leased, what);
    }
    if let Some(first) = note.first_byte {
        step(first, format!("the answer began: {}", note.trail.answered));
    }
    if !note.running {
        let sent = bytes(note.bytes_out);
        let what = match note.reason {
            None => format!("it ended with {}, {sent} of a body", note.status),
            Some(reason) => {
                let by = ended_by(reason);
                format!("it ended with {}, {sent} of a body: {} ({by})", note.status, reason.code())
            }
        };
        step(note.total, what);
    }
    // A later try of many may have been kept in place of earlier ones.
    steps.sort_by_key(|(after, _)| *after);
    steps.into_iter().map(|(_, step)| step).collect()
}

impl fmt::Display for Stories {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, story) in self.requests.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{story}")?;
        }
        for silent in &self.silent {
            writeln!(out, "{silent} did not answer in time: what it knows is missing")?;
        }
        Ok(())
    }
}

impl fmt::Display for Story {
    /// Several lines: what it was, where it went, when what happened, why it ended so, what to do.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = time(Duration::try_from_secs_f64(self.total_seconds).unwrap_or_default());
        let url = format!("{}{}", self.host, self.path);
        let what = if self.method.is_empty() { "(no request line)" } else { &self.method };
        match self.status {
            _ if self.running => writeln!(out, "{} {what} {url} is running for {took}", self.id)?,
            Some(status) => writeln!(out, "{} {what} {url} → {status} after {took}", self.id)?,
            None => writeln!(out, "{} {what} {url} ended after {took}", self.id)?,
        }
        let mut moment = Vec::new();
        text::push_human_time(&mut moment, UnixMillis(self.at));
        let moment = String::from_utf8_lossy(&moment).into_owned();
        let mut from = String::new();
        if let Some(peer) = &self.peer {
            from = format!(", from {peer}");
        }
        if let (Some(client), Some(peer)) = (&self.client, &self.peer)
            && !peer.contains(client.as_str())
        {
            from = format!("{from} for {client}");
        }
        if let Some(listener) = &self.listener {
            from = format!("{from}, at {listener}");
        }
        if self.connection_request > 0 {
            from = format!("{from}, the {} of its connection", ordinal(self.connection_request));
        }
        if self.is_own {
            from = format!("{from}, asked by the server itself on behalf of a client");
        }
        writeln!(out, "  when   {moment}{from}")?;
        if let Some(tls) = &self.tls {
            let resumed = if tls.resumed { ", resumed" } else { "" };
            let sni = tls.sni.as_ref().map(|sni| format!(", asked for {sni}")).unwrap_or_default();
            writeln!(out, "  tls    {} {}{resumed}{sni}", tls.version, tls.suite)?;
        }
        match &self.rule {
            Some(Rule { id: Some(id), line, action: Some(action), .. }) => {
                let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
                writeln!(out, "  rule   {id}{line} → {action}, configuration {}", self.config)?;
            }
            Some(rule) => writeln!(
                out,
                "  rule   number {} of configuration {}, which is not remembered any more",
                rule.index, self.config
            )?,
            None => writeln!(out, "  rule   none, configuration {}", self.config)?,
        }
        if let Some(worker) = &self.worker {
            let generation = worker.generation.map(|code| format!(" {code}")).unwrap_or_default();
            let pid = worker.app_pid.or(worker.pid).map(|pid| format!(", pid {pid}"));
            let exit = worker.exit.as_ref().map(|exit| format!(", {exit}")).unwrap_or_default();
            let app = self.app.as_deref().unwrap_or_default();
            let pid = pid.unwrap_or_default();
            writeln!(out, "  worker {} of {app}{generation}{pid}{exit}", worker.id)?;
        }
        if let Some(mark) = &self.mark {
            writeln!(out, "  mark   {mark}")?;
        }
        for Step { after_seconds, what } in &self.timeline {
            writeln!(out, "  {:>10.1} ms  {what}", after_seconds * 1e3)?;
        }
        writeln!(out, "cause: {} ({})", self.because, self.cause)?;
        if self.last_words.len() > 1 {
            writeln!(out, "last words:")?;
            for line in &self.last_words {
                writeln!(out, "    │ {line}")?;
            }
        }
        if !self.what_to_do.is_empty() {
            writeln!(out, "what to do: {}", self.what_to_do)?;
        }
        Ok(())
    }
}

fn tls_version(version: u16) -> String {
    match version {
        0x0303 => "TLS 1.2".to_owned(),
        0x0304 => "TLS 1.3".to_owned(),
        other => format!("TLS {other:#06x}"),
    }
}

const fn handler_name(handler: Handler) -> &'static str {
    match handler {
        Handler::Edge => "edge",
        Handler::App => "app",
        Handler::Upstream => "upstream",
        Handler::File => "file",
        Handler::Redirect => "redirect",
        Handler::ToHttps => "to-https",
        Handler::Realtime => "realtime",
        Handler::Session => "session",
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Edge => "edge",
        Stage::Receiving => "receiving",
        Stage::Waiting => "waiting",
        Stage::Linking => "linking",
        Stage::Sending => "sending",
        Stage::Answering => "answering",
        Stage::Tunnelling => "tunnelling",
    }
}

const fn select_name(select: Select) -> &'static str {
    match select {
        Select::LeastInflight => "least-inflight",
        Select::Lifo => "lifo",
    }
}

const fn ended_by(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientGone | Reason::TlsGone | Reason::TlsRefused => "client",
        Reason::WorkerGone | Reason::WorkerMalformed => "worker",
        Reason::UpstreamGone | Reason::UpstreamMalformed | Reason::UpstreamConnect => "upstream",
        _ => "edge",
    }
}

/// How a note is told, for who has it at hand.
impl<'a> Evidence<'a> {
    /// What `note` is told by.
    pub fn new(note: &'a Note, chronicle: &'a crate::observe::chronicle::Chronicle) -> Self {
        Self { note, chronicle, escapes: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::event::Event;
    use crate::ids::AppId;
    use crate::observe::chronicle::Chronicle;
    use crate::observe::note::{Connection, Entry, Suite, TlsFacts, Trail, TryEnd};

    #[test]
    fn a_story_is_told_to_people_and_comes_back_from_json() {
        let mut chronicle = Chronicle::default();
        let (app, worker_id) = (AppId::new("shop"), WorkerId(3));
        let start =
            Event::WorkerStart { app: app.clone(), worker_id, generation: Generation(2), pid: 11 };
        chronicle.hear(&start, UnixMillis(0));
        let stderr = vec!["one".to_owned(), "two".to_owned()];
        let (status, expected) = ("exited 7".to_owned(), false);
        let exit = Event::WorkerExit { app, worker_id, pid: 11, status, expected, stderr };
        chronicle.hear(&exit, UnixMillis(1_000_100));
        let tls = TlsFacts { version: 0x0304, suite: Suite(0x1301), resumed: true };
        let mut trail = Trail {
            connection: Connection {
                peer: "192.0.2.7:40312".parse().ok(),
                listener: ":443".parse().ok(),
                tls: Some(tls),
                request: 3,
            },
            config: 4,
            handler: Handler::App,
            select: Some(Select::Lifo),
            position: 2,
            stage: Stage::Answering,
            ..Trail::default()
        };
        trail.tried(2, TryEnd::Busy, Duration::from_millis(1));
        let note = Note::of(&Entry {
            at: UnixMillis(1_000_000),
            method: b"POST",
            target: b"/orders?q",
            host: b"shop.example",
            app: b"shop",
            status: 502,
            bytes_in: 214,
            worker: Some(worker_id),
            reason: Some(Reason::WorkerGone),
            total: Duration::from_millis(5),
            queued: Some(Duration::from_micros(100)),
            leased: Some(Duration::from_millis(3)),
            ..Entry::of(b"req-1", &trail)
        });
        let story = Story::of(&Evidence::new(&note, &chronicle));
        let golden = "\
req-1 POST shop.example/orders → 502 after 5.0 ms
  when   1970-01-01 00:16:40.000 +0000, from 192.0.2.7:40312, at *:443, the 3rd of its connection
  tls    TLS 1.3 TLS13_AES_128_GCM_SHA256, resumed
  rule   none, configuration 4
  worker w3 of shop g2, pid 11, exited 7
         0.0 ms  its head was complete
         0.1 ms  its body was complete: 214 bytes
         0.1 ms  no worker of shop was free: number 2 of the queue
         1.0 ms  worker w2 said that it is busy
         3.0 ms  worker w3 got it (lifo)
         5.0 ms  it ended with 502, 0 bytes of a body: worker-gone (worker)
cause: worker w3 (pid 11) exited with status 7 2.0 ms after it got the request (before that, \
worker w2 said that it is busy); its last words: two (worker-exited)
last words:
    │ one
    │ two
what to do: the app ended its process inside a request: its last words say why; \
`rip-master ctl events` has all of them
";
        assert_eq!(story.to_string(), golden);
        let stories = Stories { ok: true, requests: vec![story], silent: Vec::new() };
        let json = serde_json::to_string(&stories).unwrap();
        assert!(json.contains("\"whatToDo\":") && json.contains("\"queuePosition\":2"), "{json}");
        assert_eq!(serde_json::from_str::<Stories>(&json).unwrap(), stories);
        // One of another version is understood as far as it goes.
        let other: Stories =
            serde_json::from_str(r#"{"ok":true,"requests":[{"id":"a"}]}"#).unwrap();
        assert!(other.to_string().starts_with("a (no request line)"), "{other}");
    }
}
