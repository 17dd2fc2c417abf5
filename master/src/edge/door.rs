//! Requests that the control loop answers: it alone knows how everything is, and may change it.
//!
//! Such a request is an exchange without a pool. When its body has come it is mailed to the control
//! loop, and waits for the answer like others for a worker: it holds none, costs nobody else anything,
//! and is forgotten when its client leaves. An answer that comes too late finds nobody.

use super::answer::OwnAnswer;
use super::exchange::State;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::door::{Answer, Caller, DoorAsk};
use crate::shared::mail::ControlMessage;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use rip::http1::Method;
use rip::http1::head::{BodyLength, RequestHead};
use rip::http1::known::Known;
use rip::limits;
use rip::observe::note::Handler;
use std::time::Duration;

/// What is asked of the control loop for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The path on the control socket.
    pub(super) path: &'a str,
    /// What follows its `?`; empty without one.
    pub(super) query: &'a str,
    /// How long the answer may take, else 503.
    pub(super) patience: Duration,
}

impl<'a> Errand<'a> {
    /// A question, which takes no longer than the control loop is busy.
    pub(super) fn question(path: &'a str) -> Self {
        Self { path, query: "", patience: limits::DOOR_PATIENCE }
    }
}

/// What an exchange knows that the control loop answers.
pub(super) struct Knock {
    method: Method,
    path: String,
    query: String,
    accept: Vec<u8>,
    body: Vec<u8>,
    patience: Duration,
}

impl Knock {
    /// Takes in a piece of the body.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Reason> {
        if self.body.len() + data.len() > limits::DOOR_BODY_BYTES {
            return Err(Reason::BodyTooLarge);
        }
        self.body.extend_from_slice(data);
        Ok(())
    }
}

impl Edge {
    /// Has the control loop answer a request, with its method and its body. Whether the client may ask
    /// that is known already.
    pub(super) fn knock(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        errand: &Errand<'_>,
    ) {
        if let BodyLength::Length(length) = head.body()
            && length > limits::DOOR_BODY_BYTES as u64
        {
            return self.refuse(key, Reason::BodyTooLarge, "", Some((head, buf)));
        }
        let mut exchange = self.poolless(key, head, buf);
        exchange.body_limit = limits::DOOR_BODY_BYTES as u64;
        exchange.door = Some(Box::new(Knock {
            method: head.method_kind(),
            path: errand.path.to_owned(),
            query: errand.query.to_owned(),
            accept: head.find(Known::Accept).unwrap_or_default().of(buf).to_vec(),
            body: Vec::new(),
            patience: errand.patience,
        }));
        self.enter(key, head, exchange);
    }

    /// The request has come whole: the control loop gets it.
    pub(super) fn send_knock(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.state = State::Waiting;
        // Clients that ask, leave and come again would fill the control loop's mail while it is slow.
        if self.door_asks >= limits::DOOR_ASK_COUNT {
            return self.control_is_busy(key);
        }
        let (client, front) = (exchange.record.peer, exchange.front);
        let Some(knock) = &mut exchange.door else { return };
        let ask = DoorAsk {
            method: knock.method,
            path: std::mem::take(&mut knock.path),
            query: std::mem::take(&mut knock.query),
            accept: std::mem::take(&mut knock.accept),
            body: std::mem::take(&mut knock.body),
            client,
        };
        let at = self.clock.now() + knock.patience;
        if let Some(front) = front {
            self.front_deadline(front, Phase::Queue, at);
        }
        self.door_asks += 1;
        let from = Caller { index: self.index, key: key.as_u64() };
        self.shared.control.send(ControlMessage::Asked { from, ask });
    }

    /// The control loop has answered.
    pub(super) fn control_answered(&mut self, key: Key, answer: &Answer) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let Some(front) = exchange.front.filter(|_| exchange.door.is_some()) else { return };
        let id = exchange.request_id;
        let Answer { status, content_type, ref body, ref allow, retry_after_secs } = *answer;
        let own = OwnAnswer {
            status,
            content_type,
            body,
            changes: None,
            handler: Handler::Edge,
            rule: None,
        };
        let written = self.write_answer(front, &id, &own, |fields| {
            fields.field(b"Cache-Control", b"no-store");
            if let Some(allow) = allow {
                fields.field(b"Allow", allow.as_bytes());
            }
            if let Some(secs) = retry_after_secs {
                fields.field(b"Retry-After", secs.to_string().as_bytes());
            }
        });
        let Some((after, body_bytes)) = written else { return };
        if let Some(exchange) = self.exchanges.get_mut(key) {
            let record = &mut exchange.record;
            record.status = status;
            record.bytes_out = body_bytes;
            record.media_type.extend_from_slice(content_type.as_bytes());
        }
        self.forget(key, None);
        self.answer_ended(front, after);
        self.flush_and_go_on(front);
    }

    /// The control loop has not answered in time, or has too much to answer.
    pub(super) fn control_is_busy(&mut self, key: Key) {
        self.shed(key, Reason::ControlBusy, RETRY_AFTER_SECS);
    }
}

/// Nothing of the server waits for the control loop; it is worth another try soon.
const RETRY_AFTER_SECS: u32 = 1;
