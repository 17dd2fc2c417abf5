//! What is asked of sessions over HTTP.
//!
//! A request to a mount is an exchange without a pool. Its body is read first; then it begins a turn,
//! becomes a reader, or is an order to the store, and what comes of it is the answer:
//!
//! ```text
//!  begin_session ─ body ─▶ session_asked ─▶ claim_turn ────────▶ post_…, stream_…
//!        │                       ├────────▶ open_session_view ─▶ view_…
//!        ▼ refused               └────────▶ order ─────────────▶ request_stored
//! ```

use super::exchange::State;
use super::routing::Way;
use super::session::Mark;
use super::session_turn::{Origin, Wanted};
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::store::StoreOrder;
use rip::contract::sessions::{OnDisconnect, SessionsConfig};
use rip::http1::head::{BodyLength, RequestHead};
use rip::http1::upgrade;
use rip::limits;
use rip::observe::note::Handler;
use rip::session::access::check_query;
use rip::session::claim::{MessageOrder, Right, StartOrder, WakeOrder};
use rip::session::look::{CancelOrder, DeleteOrder, LookOrder};
use rip::session::{
    Ask, AskFields, Asked, Client, Endpoint, Epoch, Form, ReadFields, Reading, Refusal, key,
    request,
};
use std::sync::Arc;

/// A request to a mount of sessions: what an exchange has of it, which goes to no pool.
pub(super) struct Asking {
    pub(super) place: Arc<SessionsConfig>,
    /// What is asked, until its body has come.
    endpoint: Option<Endpoint>,
    /// The same.
    said: Said,
    /// It is a POST that wants a turn run.
    pub(super) begins_turn: bool,
    /// What has come of its body.
    pub(super) body: Vec<u8>,
    /// How it wants its answer.
    pub(super) form: Form,
    /// If its client leaves, be it only in part, its turn is cancelled.
    cancels_by_leaving: bool,
    /// The turn that it began, until it was answered.
    pub(super) turn: Option<Key>,
    /// It reads events.
    pub(super) view: Option<Key>,
}

/// What a request's head says that is looked at when its body has come. There are secrets in it: it is
/// not printed.
#[derive(Default)]
struct Said {
    path: String,
    query: String,
    accept: Vec<u8>,
    prefer: Vec<u8>,
    key: Option<Vec<u8>>,
    token: Option<Vec<u8>>,
    resume: Option<Vec<u8>>,
    last_event_id: Option<Vec<u8>>,
    authorization: Vec<u8>,
    /// The client's own fields for the app.
    lasting: Vec<u8>,
}

/// What a head asks for.
struct Wish {
    path: String,
    /// It is a POST that wants a turn run, be it refused.
    begins_turn: bool,
    found: Result<Endpoint, Refusal>,
}

impl Said {
    fn read(head: &RequestHead, buf: &[u8], path: String, lasting: Vec<u8>) -> Self {
        let values = |name: &'static str| {
            head.fields()
                .iter()
                .filter(move |field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))
                .map(|field| field.value.of(buf))
        };
        let first = |name| values(name).next().map(<[u8]>::to_vec);
        // Lists may come in several fields (RFC 9110 §5.3).
        let list = |name| values(name).collect::<Vec<_>>().join(&b", "[..]);
        Self {
            path,
            query: String::from_utf8_lossy(head.path().query.of(buf)).into_owned(),
            accept: list("accept"),
            prefer: list("prefer"),
            key: first("idempotency-key"),
            token: first("x-continuation-token"),
            resume: first("rip-resume-token"),
            last_event_id: first("last-event-id"),
            authorization: first("authorization").unwrap_or_default(),
            lasting,
        }
    }

    fn ask(&self, body: &[u8]) -> Result<Ask, Refusal> {
        let fields = AskFields {
            accept: &self.accept,
            key: self.key.as_deref(),
            prefer: &self.prefer,
            token: self.token.as_deref(),
        };
        Ask::read(&fields, body)
    }

    /// The token of a request whose body means nothing else.
    fn right(&self, body: &[u8]) -> Result<Right, Refusal> {
        let fields = AskFields { token: self.token.as_deref(), ..AskFields::default() };
        Ok(Right::Token(Ask::read(&fields, body)?.token))
    }

    fn reading(&self) -> Result<Reading, Refusal> {
        let fields = ReadFields {
            token: self.token.as_deref(),
            resume: self.resume.as_deref(),
            last_event_id: self.last_event_id.as_deref(),
        };
        Reading::read(&fields, &self.query)
    }

    /// What the request's idempotency key stands for in `scope`.
    fn asked(&self, ask: &Ask, scope: &str) -> Option<Asked> {
        let fingerprint = || key::fingerprint("POST", &self.path, &ask.input, &self.authorization);
        let asked = |key: &key::Key| Asked { key: key.digest(scope), fingerprint: fingerprint() };
        ask.key.as_ref().map(asked)
    }
}

impl Edge {
    /// Begins what is asked of a mount of sessions. False when the request is for none.
    pub(super) fn begin_session(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(place) = self.session_mount(head, buf) else { return false };
        let (path, found) = self.session_endpoint(&place.mount, head, buf);
        let begins_turn = begins_turn(&found);
        let found = found.and_then(|endpoint| {
            check_query(&String::from_utf8_lossy(head.path().query.of(buf)))?;
            match (&endpoint, head.body()) {
                (Endpoint::Socket, _) if !place.websockets => Err(Refusal::UpgradeRequired),
                (Endpoint::Socket, _) if !upgrade::wants_websocket(head, buf) => {
                    Err(Refusal::NoUpgrade)
                }
                (_, BodyLength::Length(length)) if length > limits::TURN_INPUT_BYTES as u64 => {
                    Err(Refusal::TooLarge)
                }
                _ => Ok(endpoint),
            }
        });
        if let Ok(Endpoint::Wake(_)) = found {
            let config = self.realtime_of_host();
            if self.refuse_unless_told(key, (head, buf), config.as_deref()) {
                return true;
            }
        }
        let rule = self.rule_of(head, buf);
        match found {
            Ok(Endpoint::Socket) => self.open_talk(key, (head, buf), place, rule),
            found => {
                let wish = Wish { path, begins_turn, found };
                self.begin_asking(key, (head, buf), place, rule, wish);
            }
        }
        true
    }

    /// Refuses a request whose head says that its body is larger than any may be, if it is for a mount of
    /// sessions.
    pub(super) fn refuse_large_asking(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
    ) -> bool {
        self.look_at_configuration();
        self.note_host(head, buf);
        self.note_come_back(key);
        let Some(place) = self.session_mount(head, buf) else { return false };
        let (path, found) = self.session_endpoint(&place.mount, head, buf);
        let begins_turn = begins_turn(&found);
        let wish = Wish { path, begins_turn, found: found.and(Err(Refusal::TooLarge)) };
        let rule = self.rule_of(head, buf);
        self.begin_asking(key, (head, buf), place, rule, wish);
        true
    }

    fn begin_asking(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        place: Arc<SessionsConfig>,
        rule: Option<usize>,
        wish: Wish,
    ) {
        let Wish { path, begins_turn, found } = wish;
        let mut exchange = self.poolless(key, head, buf);
        exchange.record.trail.handler = Handler::Session;
        self.note_rule(&mut exchange.record, rule);
        self.collect_changes_of(rule, &mut exchange.changes);
        // There may be a token in it.
        let query = exchange.record.path.iter().position(|byte| *byte == b'?');
        exchange.record.path.truncate(query.unwrap_or(usize::MAX));
        exchange.body_limit = limits::TURN_INPUT_BYTES as u64;
        let lasting = match found {
            Ok(Endpoint::Start | Endpoint::Message(_) | Endpoint::Wake(_)) => {
                let fields = self.fields_of_client(key, (head, buf), rule);
                without(&fields, request::is_kept_back)
            }
            _ => Vec::new(),
        };
        let said = Said::read(head, buf, path, lasting);
        let (endpoint, refusal) = match found {
            Ok(endpoint) => (Some(endpoint), None),
            Err(refusal) => (None, Some(refusal)),
        };
        exchange.asking = Some(Box::new(Asking {
            place,
            endpoint,
            said,
            begins_turn,
            body: Vec::new(),
            form: Form::Json,
            cancels_by_leaving: false,
            turn: None,
            view: None,
        }));
        let Some(refusal) = refusal else {
            self.enter(key, head, exchange);
            return;
        };
        let exchange = self.exchanges.insert(exchange);
        if let Some(front) = self.fronts.get_mut(key) {
            front.exchange = Some(exchange);
        }
        self.refuse_asking(exchange, &refusal);
    }

    /// The body of what is asked has come.
    pub(super) fn session_asked(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.state = State::Answering;
        // What becomes of it counts where it goes: it is not the spool's any more.
        exchange.spool.settle_budgets(&self.shared);
        let Some(asking) = &mut exchange.asking else { return };
        let Some(endpoint) = asking.endpoint.take() else { return };
        let (said, body) = (std::mem::take(&mut asking.said), std::mem::take(&mut asking.body));
        let place = Arc::clone(&asking.place);
        if let Err(refusal) = self.do_asked(key, &place, endpoint, said, &body) {
            self.refuse_asking(key, &refusal);
        }
    }

    fn do_asked(
        &mut self,
        key: Key,
        place: &Arc<SessionsConfig>,
        endpoint: Endpoint,
        said: Said,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let scope = place.scope();
        let order = match endpoint {
            Endpoint::Start => {
                let ask = said.ask(body)?;
                let drawn = self.sessions.draw_session().map_err(|error| {
                    log::error!("the kernel gives no random numbers: {error}");
                    Refusal::Store("no random numbers")
                });
                let (session, token, resume) = drawn?;
                let order = StoreOrder::Start(StartOrder {
                    owner: Epoch::default(),
                    session,
                    asked: said.asked(&ask, &scope),
                    scope,
                    token,
                    resume,
                    is_told: ask.prefer.respond_async || ask.form == Form::Sse,
                });
                let cancels_by_leaving =
                    place.on_disconnect == OnDisconnect::Cancel || ask.prefer.cancel_on_disconnect;
                self.claim_asked(key, order, ask, said.lasting, cancels_by_leaving);
                return Ok(());
            }
            Endpoint::Message(session) => {
                let ask = said.ask(body)?;
                let order = StoreOrder::Message(MessageOrder {
                    owner: Epoch::default(),
                    session,
                    asked: said.asked(&ask, &scope),
                    scope,
                    right: Right::Token(ask.token.clone()),
                    is_told: ask.prefer.respond_async,
                });
                let cancels_by_leaving =
                    place.on_disconnect == OnDisconnect::Cancel || ask.prefer.cancel_on_disconnect;
                self.claim_asked(key, order, ask, said.lasting, cancels_by_leaving);
                return Ok(());
            }
            Endpoint::Wake(session) => {
                // Who wakes has a secret of its own, which is not the app's to know.
                let lasting = without(&said.lasting, |name| name == b"authorization");
                let mut ask = Said { key: None, ..said }.ask(body)?;
                let wake = std::mem::replace(&mut ask.input, "{}".to_owned());
                let order = StoreOrder::Wake(WakeOrder {
                    owner: Epoch::default(),
                    session,
                    scope: Some(scope),
                    wake: Some(wake),
                    is_told: ask.prefer.respond_async,
                });
                let cancels_by_leaving = ask.prefer.cancel_on_disconnect;
                self.claim_asked(key, order, ask, lasting, cancels_by_leaving);
                return Ok(());
            }
            Endpoint::Events(session) => {
                let form = Form::accepted_of_events(&said.accept);
                let reading = said.reading()?;
                self.open_session_view(key, session, reading, form);
                return Ok(());
            }
            Endpoint::Status(session) => {
                let access = said.reading()?.access;
                StoreOrder::Look(LookOrder { session, scope, access, turn: None })
            }
            Endpoint::Cancel(session) => {
                let right = said.right(body)?;
                StoreOrder::Cancel(CancelOrder { session, scope, right })
            }
            Endpoint::Delete(session) => {
                let right = said.right(body)?;
                StoreOrder::Delete(DeleteOrder { session, scope, right })
            }
            // It has no body and no exchange.
            Endpoint::Socket => return Ok(()),
        };
        self.order(Mark::Request(key), order);
        Ok(())
    }

    /// Has a turn claimed and run for what is asked.
    fn claim_asked(
        &mut self,
        key: Key,
        order: StoreOrder,
        ask: Ask,
        lasting: Vec<u8>,
        cancels_by_leaving: bool,
    ) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(asking) = &mut exchange.asking else { return };
        asking.form = ask.form;
        asking.cancels_by_leaving = cancels_by_leaving;
        let place = Arc::clone(&asking.place);
        let (ip, request_id, front) = (exchange.record.peer, exchange.request_id, exchange.front);
        let is_async = ask.prefer.respond_async;
        let turn = self.claim_turn(
            order,
            Wanted {
                origin: Origin::Post(key),
                place,
                client: Client { form: ask.form, is_async, cancels_by_leaving },
                input: ask.input,
                fields: lasting.into_boxed_slice(),
                ip,
                request_id,
            },
        );
        if let Some(asking) = self.exchanges.get_mut(key).and_then(|found| found.asking.as_mut()) {
            asking.turn = Some(turn);
        }
        let has_left = |front| self.fronts.get(front).is_some_and(|front| front.read_closed);
        if cancels_by_leaving && let Some(front) = front.filter(|front| has_left(*front)) {
            self.close_front(front);
        }
    }

    /// The rule that would take a request, if it led to an app.
    fn rule_of(&mut self, head: &RequestHead, buf: &[u8]) -> Option<usize> {
        let way = self.way(head, buf);
        // Its methods are none of ours.
        self.routing.take_allow();
        match way {
            Way::App(errand) => Some(errand.rule),
            _ => None,
        }
    }

    /// Whether an exchange ends when its client stops sending, of which it is not known whether it still
    /// reads: a turn that it would cancel by leaving, and a reader who has everything there is and can
    /// come again.
    pub(super) fn asks_until_it_leaves(&self, key: Key) -> bool {
        let asking = self.exchanges.get(key).and_then(|exchange| exchange.asking.as_ref());
        asking.is_some_and(|asking| match (asking.turn, asking.view) {
            (Some(_), _) => asking.cancels_by_leaving,
            (None, Some(view)) => self.is_waiting_reader(view),
            (None, None) => false,
        })
    }

    /// The exchange of what was asked is over: it was answered, or its client is gone.
    pub(super) fn asker_left(&mut self, asking: &Asking) {
        if let Some(turn) = asking.turn {
            self.turn_client_left(turn);
        }
        if let Some(view) = asking.view {
            self.view_left(view);
        }
    }
}

fn begins_turn(found: &Result<Endpoint, Refusal>) -> bool {
    matches!(found, Ok(Endpoint::Start | Endpoint::Message(_) | Endpoint::Wake(_)))
}

/// `lines`, each a field with its end, without those whose names, in lower case, are `unwanted`.
pub(super) fn without(lines: &[u8], unwanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let name = |line: &[u8]| {
        let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        line[..end].to_ascii_lowercase()
    };
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !unwanted(&name(line)))
        .flatten()
        .copied()
        .collect()
}
