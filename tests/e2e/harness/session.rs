//! Durable sessions: a client that keeps its token, streams of events read strictly, and what the app
//! of turns wrote down.

use super::http::{Client, Head, Response, wrong};
use super::server::{Server, Setup};
use super::tools;
use super::wait::{self, until};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// Where sessions are mounted unless a test says otherwise.
pub const MOUNT: &str = "/v1";

/// A session as its client knows it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name: `s_` and 32 hexadecimal digits.
    pub id: String,
    /// The continuation token of its next turn.
    pub token: String,
    /// The token that reads.
    pub resume: String,
}

/// A request about a session, to be sent as often as one likes.
#[derive(Clone, Debug)]
pub struct Ask {
    host: String,
    method: &'static str,
    target: String,
    fields: String,
    body: Vec<u8>,
}

/// A stream of events that is being read.
pub struct Stream {
    /// The head of the answer.
    pub head: Head,
    /// Heartbeats that came.
    pub heartbeats: usize,
    client: Client,
    patience: Duration,
    unread: Vec<u8>,
    has_begun: bool,
    is_over: bool,
}

/// One event of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its name; an error that is not stored has none.
    pub id: Option<String>,
    /// The JSON.
    pub data: Value,
    /// The block as it came, with the empty line behind it.
    pub block: String,
}

/// One line of what the app of turns wrote down.
#[derive(Clone, Debug)]
pub struct Asked(pub Value);

impl Session {
    /// A new session whose first turn commits, and the answer.
    #[track_caller]
    pub fn start(server: &Server, input: &Value) -> (Self, Value) {
        let response = Ask::start(input).answer(server);
        assert_eq!(response.status, 200, "{response:?}");
        (Self::of(&response), response.json())
    }

    /// The session that an answer to a turn tells of.
    #[track_caller]
    pub fn of(response: &Response) -> Self {
        let body = response.json();
        let text = |name: &str| match body[name].as_str() {
            Some(text) => text.to_owned(),
            None => panic!("no {name} in {response:?}"),
        };
        let (id, token) = (text("sessionId"), text("continuationToken"));
        assert_id(&id);
        assert_token(&token, "ct_");
        assert_eq!(response.field("Rip-Session-Id"), id, "{response:?}");
        let resume = response.field("Rip-Resume-Token").to_owned();
        assert_token(&resume, "rt_");
        Self { id, token, resume }
    }

    /// The session of a stream whose outcome (or error with a token) is this event.
    #[track_caller]
    pub fn of_stream(head: &Head, last: &Event) -> Self {
        let text = |name: &str| match last.data[name].as_str() {
            Some(text) => text.to_owned(),
            None => panic!("no {name} in {last:?}"),
        };
        let (id, token) = (text("sessionId"), text("continuationToken"));
        assert_token(&token, "ct_");
        assert_eq!(field(head, "Rip-Session-Id"), [&id], "{head:?}");
        let resume = field(head, "Rip-Resume-Token");
        assert_eq!(resume.len(), 1, "{head:?}");
        Self { resume: resume[0].to_owned(), id, token }
    }

    /// One more turn, which must be answered 200; the answer. Its token is the session's from here on.
    #[track_caller]
    pub fn message(&mut self, server: &Server, input: &Value) -> Value {
        let response = Ask::message(self, input).answer(server);
        assert_eq!(response.status, 200, "{response:?}");
        self.learn(&response)
    }

    /// Takes the token of an answer; the body.
    #[track_caller]
    pub fn learn(&mut self, response: &Response) -> Value {
        let told = Self::of(response);
        assert_eq!((&told.id, &told.resume), (&self.id, &self.resume), "{response:?}");
        self.token = told.token;
        response.json()
    }

    /// `…/session/{id}` and `rest`.
    pub fn path(&self, rest: &str) -> String {
        format!("{MOUNT}/session/{}{rest}", self.id)
    }

    /// `GET …/session/{id}` by its resume token; the body.
    #[track_caller]
    pub fn status(&self, server: &Server) -> Value {
        let response = Ask::status(self).answer(server);
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// `GET …/events` as JSON by its resume token: every event from the earliest on.
    #[track_caller]
    pub fn history(&self, server: &Server) -> Vec<Value> {
        let ask = Ask::events(self, "?last_event_id=earliest&limit=1000");
        let response = ask.field("Accept", "application/json").answer(server);
        assert_eq!(response.status, 200, "{response:?}");
        let body = response.json();
        assert_eq!(body["upToDate"], true, "{body}");
        body["events"].as_array().expect("events").clone()
    }
}

impl Ask {
    /// Any request; no body.
    pub fn to(method: &'static str, target: impl Into<String>) -> Self {
        let host = "a.test".to_owned();
        Self { host, method, target: target.into(), fields: String::new(), body: Vec::new() }
    }

    /// `POST <mount>/session`
    pub fn start(input: &Value) -> Self {
        Self::to("POST", format!("{MOUNT}/session")).json(input)
    }

    /// `POST …/message` with the session's token in the body.
    pub fn message(session: &Session, input: &Value) -> Self {
        let mut body = input.clone();
        body["continuationToken"] = json!(session.token);
        Self::to("POST", session.path("/message")).json(&body)
    }

    /// `POST …/cancel` with the session's token in a field.
    pub fn cancel(session: &Session) -> Self {
        Self::to("POST", session.path("/cancel")).token(&session.token)
    }

    /// `DELETE …/session/{id}` with the session's token in a field.
    pub fn delete(session: &Session) -> Self {
        Self::to("DELETE", session.path("")).token(&session.token)
    }

    /// `GET …/session/{id}` by its resume token.
    pub fn status(session: &Session) -> Self {
        Self::to("GET", session.path("")).field("Rip-Resume-Token", &session.resume)
    }

    /// `GET …/events` and this query (with its `?`) by its resume token.
    pub fn events(session: &Session, query: &str) -> Self {
        let target = session.path(&format!("/events{query}"));
        Self::to("GET", target).field("Rip-Resume-Token", &session.resume)
    }

    /// With this body.
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    /// With this body, whatever it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With one more field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields += &format!("{name}: {value}\r\n");
        self
    }

    /// With `x-continuation-token`.
    pub fn token(self, token: &str) -> Self {
        self.field("x-continuation-token", token)
    }

    /// With `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.field("Idempotency-Key", key)
    }

    /// Wants a stream.
    pub fn sse(self) -> Self {
        self.field("Accept", "text/event-stream")
    }

    /// With `Prefer`.
    pub fn prefer(self, what: &str) -> Self {
        self.field("Prefer", what)
    }

    /// At another host.
    pub fn at(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Sends it on a connection of its own.
    pub fn send(&self, server: &Server) -> Client {
        let mut client = server.connect();
        self.send_on(&mut client);
        client
    }

    /// Sends it on this connection.
    pub fn send_on(&self, client: &mut Client) {
        let fields = match self.body.is_empty() {
            true => self.fields.clone(),
            false => format!("Content-Type: application/json\r\n{}", self.fields),
        };
        client.request_at(&self.host, self.method, &self.target, &fields, &self.body);
    }

    /// Sends it and reads the whole answer.
    #[track_caller]
    pub fn answer(&self, server: &Server) -> Response {
        self.send(server).response_to(self.method)
    }

    /// Sends it to this port and reads the whole answer, or tells why there is none.
    pub fn try_answer(&self, port: u16) -> io::Result<Response> {
        self.try_send(port)?.try_response(self.method)
    }

    /// Sends it to this port, or tells why not.
    pub fn try_send(&self, port: u16) -> io::Result<Client> {
        let mut client = Client::try_connect(port)?;
        let length = match self.body.len() {
            0 => String::new(),
            length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        let (Self { method, target, host, fields, body, .. }, crlf) = (self, "\r\n");
        let head =
            format!("{method} {target} HTTP/1.1{crlf}Host: {host}{crlf}{length}{fields}{crlf}");
        client.try_send([head.as_bytes(), body].concat())?;
        Ok(client)
    }

    /// Sends it and reads the beginning of a stream, which must be the answer.
    #[track_caller]
    pub fn stream(&self, server: &Server) -> Stream {
        match Stream::of(self.send(server)) {
            Ok(stream) => stream,
            Err(response) => panic!("no stream: {response:?}"),
        }
    }
}

impl Stream {
    /// The stream that is the next answer on this connection, or the answer if it is another one.
    pub fn of(mut client: Client) -> Result<Self, Box<Response>> {
        let head = client.head();
        Self::after(client, head)
    }

    /// The stream that begins with this head, or the answer if it is another one.
    pub fn after(mut client: Client, head: Head) -> Result<Self, Box<Response>> {
        if head.status != 200 || field(&head, "Content-Type") != ["text/event-stream"] {
            let body = client.body("GET", &head).expect("the body of the answer");
            let Head { version, status, fields } = head;
            return Err(Box::new(Response {
                version,
                status,
                fields,
                body,
                informational: Vec::new(),
            }));
        }
        // One that is over before it begins may say how long it is.
        let is_whole = !field(&head, "Content-Length").is_empty();
        let unread = match is_whole {
            true => client.body("GET", &head).expect("the whole stream"),
            false => {
                assert_eq!(field(&head, "Transfer-Encoding"), ["chunked"], "{head:?}");
                Vec::new()
            }
        };
        Ok(Self {
            head,
            heartbeats: 0,
            client,
            patience: wait::SOON,
            unread,
            has_begun: false,
            is_over: is_whole,
        })
    }

    /// The only value of a field of the head.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        match field(&self.head, name).as_slice() {
            [value] => value,
            other => panic!("{name} is {other:?} in {:?}", self.head),
        }
    }

    /// Longest wait for an event from here on.
    pub fn patience(&mut self, limit: Duration) {
        self.patience = limit;
        self.client.patience(limit);
    }

    /// The next event; none after the stream's end, which must be a proper one.
    #[track_caller]
    pub fn next(&mut self) -> Option<Event> {
        match self.try_next() {
            Ok(event) => event,
            Err(error) => panic!("{error} behind {:?}", String::from_utf8_lossy(&self.unread)),
        }
    }

    /// The next event, or how the stream broke. Heartbeats are no events: they make nobody wait longer.
    pub fn try_next(&mut self) -> io::Result<Option<Event>> {
        let deadline = Instant::now() + self.patience;
        loop {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let Some(block) = self.try_block()? else { return Ok(None) };
            if !std::mem::replace(&mut self.has_begun, true) {
                if block != "retry: 1000\n\n" {
                    return Err(wrong(format!("a stream begins with {block:?}")));
                }
            } else if block == ": hb\n\n" {
                self.heartbeats += 1;
            } else {
                return read(block).map(Some);
            }
        }
    }

    /// The next block as it is, be it a sign of life.
    #[track_caller]
    pub fn block(&mut self) -> String {
        self.try_block().expect("a stream in good order").expect("another block")
    }

    /// The next block, whatever it is; none after the end.
    fn try_block(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                return String::from_utf8(block).map(Some).map_err(wrong);
            }
            if self.is_over {
                return match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(wrong("a stream ends within a block")),
                };
            }
            match self.client.try_chunk()? {
                Some(chunk) => self.unread.extend_from_slice(&chunk),
                None => self.is_over = true,
            }
        }
    }

    /// The next event, which there must be.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        self.next().expect("another event")
    }

    /// Every event up to the end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next() {
            events.push(event);
        }
        events
    }

    /// The last event, which must be an outcome; what came before it is left out.
    #[track_caller]
    pub fn outcome(&mut self) -> Event {
        let last = self.rest().pop().expect("an event");
        assert_eq!(last.kind(), "outcome", "{last:?}");
        last
    }

    /// The connection, for what follows or to end it.
    pub fn into_client(self) -> Client {
        self.client
    }
}

impl Event {
    /// `delta`, `record`, `outcome`, `error` or `reset`.
    #[track_caller]
    pub fn kind(&self) -> &str {
        kind(&self.data)
    }

    /// Its number within the session.
    #[track_caller]
    pub fn seq(&self) -> u64 {
        self.data["seq"].as_u64().unwrap_or_else(|| panic!("no seq in {self:?}"))
    }

    /// Its turn.
    #[track_caller]
    pub fn turn(&self) -> u64 {
        self.data["turn"].as_u64().unwrap_or_else(|| panic!("no turn in {self:?}"))
    }

    /// Its name.
    #[track_caller]
    pub fn name(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id of {self:?}"))
    }
}

/// The `type` of an event.
#[track_caller]
pub fn kind(data: &Value) -> &str {
    data["type"].as_str().unwrap_or_else(|| panic!("no type in {data}"))
}

/// The texts of the deltas among these, put together.
pub fn text_of<'e>(events: impl IntoIterator<Item = &'e Value>) -> String {
    let deltas = events.into_iter().filter(|data| data["type"] == "delta");
    deltas.map(|data| data["text"].as_str().expect("a text")).collect()
}

/// A block that is an event: an `id` or none, and one `data`; nothing else.
fn read(block: String) -> io::Result<Event> {
    let lines: Vec<_> = block.trim_end_matches('\n').split('\n').collect();
    let (id, data) = match lines.as_slice() {
        [id, data] => (Some(*id), *data),
        [data] => (None, *data),
        _ => return Err(wrong(format!("an event of {block:?}"))),
    };
    let data = data.strip_prefix("data: ").ok_or_else(|| wrong(&block))?;
    let data: Value =
        serde_json::from_str(data).map_err(|error| wrong(format!("{error}: {block}")))?;
    let id = match id {
        Some(id) => Some(id.strip_prefix("id: ").ok_or_else(|| wrong(&block))?.to_owned()),
        None => None,
    };
    if let Some(id) = &id {
        // Its number is in its name: epoch and seq, so that names sort as text.
        let is_hex =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let parts = id.split_once('-').filter(|(epoch, seq)| {
            epoch.len() == 4 && seq.len() == 12 && is_hex(epoch) && is_hex(seq)
        });
        let seq = parts.and_then(|(_, seq)| u64::from_str_radix(seq, 16).ok());
        if seq.is_none() || data["type"] != "reset" && data["seq"].as_u64() != seq {
            return Err(wrong(format!("the name of {block:?}")));
        }
    }
    Ok(Event { id, data, block })
}

/// Every value of a field of a head.
pub fn field<'h>(head: &'h Head, name: &str) -> Vec<&'h str> {
    let own = head.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    own.map(|(_, value)| value.as_str()).collect()
}

#[track_caller]
fn assert_id(id: &str) {
    let hex = id.strip_prefix("s_").unwrap_or_default();
    let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(hex.len() == 32 && is_hex, "{id}");
}

#[track_caller]
fn assert_token(token: &str, kind: &str) {
    let secret = token.strip_prefix(kind).unwrap_or_default();
    // 256 bits need 43 letters of base64, more of anything plainer.
    assert!(secret.len() >= 43, "{token}");
}

impl Asked {
    /// The session.
    pub fn session(&self) -> &str {
        self.0["session"].as_str().expect("a session")
    }

    /// Turn and attempt.
    pub fn attempt(&self) -> (u64, u64) {
        let number = |name: &str| self.0[name].as_u64().expect("a number");
        (number("turn"), number("attempt"))
    }

    /// Every value of a field as the app got it.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.0["fields"].as_array().into_iter().flatten();
        let fields = fields.map(|field| (field[0].as_str(), field[1].as_str()));
        let own = fields.filter(|(found, _)| found.is_some_and(|f| f.eq_ignore_ascii_case(name)));
        own.map(|(_, value)| value.expect("a value")).collect()
    }
}

/// An Edgefile with the app of turns on every host, eight turns at once at each of two workers.
/// `sessions` is the node of its site and may be empty; `app` stands in the app's block.
pub fn turns(sessions: &str, app: &str) -> String {
    let (python, program) = (tools::python(), tools::app("turns.py"));
    format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
         app \"turns\" {{\n    command {python:?} \"-S\" \"-I\" {program:?}\n    workers 2\n    \
         concurrency 8\n    {app}\n}}\n\
         site \"*\" {{\n    route \"/*\" {{ to-app \"turns\" }}\n    {sessions}\n}}\n"
    )
}

/// The node of a site that mounts its sessions at [`MOUNT`].
pub const SESSIONS: &str = "sessions \"/v1\" app=\"turns\"";

impl Setup {
    /// The app of turns with sessions at [`MOUNT`].
    pub fn turns() -> Self {
        Self::edgefile(&turns(SESSIONS, "")).word("--no-watch")
    }

    /// The same without an Edgefile: eight turns at once at each worker.
    pub fn turns_command() -> Self {
        let setup = Self::command(&[&tools::python(), "-S", "-I", &tools::app("turns.py")]);
        setup.with_record().word("--sessions").concurrency(8)
    }
}

impl Server {
    /// A server with sessions at [`MOUNT`] whose app is `turns.py`, both workers ready.
    #[track_caller]
    pub fn of_turns() -> Self {
        let server = Setup::turns().start();
        server.wait_for_workers(2);
        server
    }

    /// What the app of turns wrote down, of this event (`turn`, `ended` or `cut`).
    pub fn turns(&self, event: &str) -> Vec<Asked> {
        let text = fs::read_to_string(self.path("record/turns")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let line = |line| Asked(serde_json::from_str(line).expect("a line of the record"));
        let mut lines: Vec<_> = whole.lines().map(line).collect();
        lines.retain(|line| line.0["event"] == event);
        lines
    }

    /// What it wrote down of a session's turns.
    pub fn turns_of(&self, session: &str) -> Vec<Asked> {
        self.turns("turn").into_iter().filter(|line| line.session() == session).collect()
    }

    /// Waits until it has been asked so many turns in all; the last of them.
    #[track_caller]
    pub fn wait_for_turns(&self, count: usize) -> Asked {
        let turns = until(&format!("{count} turns at the app"), || {
            let turns = self.turns("turn");
            (turns.len() >= count).then_some(turns)
        });
        assert_eq!(turns.len(), count, "{turns:?}");
        turns.into_iter().next_back().expect("a turn")
    }
}
