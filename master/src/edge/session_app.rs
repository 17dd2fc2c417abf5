//! A turn and its app: the request, the answer as it comes, and how a worker is let go.
//!
//! The answer is taken as fast as the store takes events: what the turn does not want yet waits at the
//! worker. A refusal of the app is the client's as it is, so it is gathered here until all of it has come
//! and the store knows of it.

use super::answer::field_of;
use super::session_turn::{Claiming, Origin};
use super::subrequest::{Ask, OwnAnswer, Owner, Unanswered};
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::contract::sessions::SessionsConfig;
use rip::entropy::Entropy;
use rip::http1::encode;
use rip::session::answer::Answer;
use rip::session::{Failure, request};

/// A refusal of the app's on its way to the client.
pub(super) struct Passing {
    answer: OwnAnswer,
    /// All of it is here.
    is_whole: bool,
    /// The store knows that the turn has ended so.
    is_due: bool,
}

impl Passing {
    /// The app's own words cannot be had, or not all of them.
    fn spoil(&mut self) {
        let message = Failure::Refused(self.answer.status).message();
        self.answer.fields = b"Content-Type: application/json\r\n".to_vec();
        self.answer.body = format!("{{\"error\":\"{message}\",\"code\":\"refused\"}}").into_bytes();
        self.is_whole = true;
    }
}

impl Edge {
    /// Asks the app to run a turn that has begun.
    pub(super) fn ask_app(&mut self, key: Key, claiming: Claiming, state: Option<&str>) {
        let Claiming { input, fields, ip, request_id, .. } = claiming;
        let random = [(); 3].map(|()| self.entropy.next_u64().to_le_bytes());
        let Some(turn) = self.sessions.turns.get(key) else { return };
        let app = turn.place.app_id.clone();
        let Some(running) = self.running_turn(key) else { return };
        if !running.turn.is_asking() {
            // It was cancelled before it began.
            return;
        }
        let run = running.turn.run();
        let body = request::body(&input, state, run.wake.as_deref());
        let own = field_of(&fields, b"traceparent");
        let mut random_bytes = [0; 24];
        random_bytes.copy_from_slice(random.as_flattened());
        let added = request::fields(run, &request::traceparent(random_bytes));
        self.look_at_configuration();
        let config = &self.snapshots.active().config;
        let index = config.app_index(&app);
        let target = index.and_then(|index| Some(config.apps.get(index)?.turn_path.clone()));
        let asked = target.and_then(|target| {
            let mut head = format!("POST {target} HTTP/1.1\r\n").into_bytes();
            head.extend_from_slice(&fields);
            encode::line(b"X-Request-Id", request_id.as_bytes(), &mut head);
            head.extend_from_slice(b"X-Request-Start: t=");
            encode::decimal(self.clock.wall().0, &mut head);
            head.extend_from_slice(b"\r\n");
            for (name, value) in added {
                // A trace that the client is part of goes on.
                if name != "traceparent" || own.is_empty() {
                    encode::line(name.as_bytes(), value.as_bytes(), &mut head);
                }
            }
            let ask = Ask {
                owner: Owner::Turn(key),
                pool: None,
                request_id,
                client: ip,
                method: "POST",
                target: &target,
                head: &head,
                body,
                answer_bytes: WAITING_BYTES,
                mark: "turn",
            };
            self.ask(&app, ask)
        });
        let Some(running) = self.running_turn(key) else { return };
        match asked {
            Some(asked) => running.asked = Some(asked.key),
            None => running.turn.fail(failure_of(Reason::RouteRemoved)),
        }
    }

    /// What stands for a client's own fields where a session's timer began the turn.
    pub(super) fn fields_of_nobody(&self, place: &SessionsConfig) -> Box<[u8]> {
        let is_name = |host: &&String| !host.contains('*');
        let host = place.hosts.iter().find(is_name).map_or("localhost", String::as_str);
        let is_secure = !self.snapshots.active().config.edge.https.is_empty();
        let scheme = if is_secure { "https" } else { "http" };
        let mut fields = Vec::new();
        encode::line(b"Host", host.as_bytes(), &mut fields);
        encode::line(b"X-Forwarded-Proto", scheme.as_bytes(), &mut fields);
        encode::line(b"X-Forwarded-Host", host.as_bytes(), &mut fields);
        fields.into()
    }

    /// Gives a turn what it wants of what has come of the answer, and reads on: at once, or when others had
    /// their turn. False when there is nothing more just now.
    pub(super) fn hear_more(&mut self, key: Key, at_once: bool) -> bool {
        let Some(running) = self.running_turn(key) else { return false };
        let Some(asked) = running.asked else { return false };
        let wants_bytes = running.turn.wants_bytes()
            || running.passing.as_ref().is_some_and(|passing| !passing.is_whole);
        let Some(piece) = self.take_piece(asked, wants_bytes) else { return false };
        self.hear_piece(key, piece);
        if self.running_turn(key).is_some_and(|running| running.asked == Some(asked)) {
            if at_once {
                self.read_on(asked);
            } else {
                self.own_deadline(asked, self.clock.now());
            }
        }
        at_once
    }

    /// The app's answer has ended: with this rest, and with its framing unless there is a reason why not.
    pub(super) fn turn_answered(
        &mut self,
        key: Key,
        rest: OwnAnswer,
        unanswered: Option<Unanswered>,
    ) {
        let wall = self.clock.wall();
        // Where nobody listens any more its end is nobody's business.
        if self.running_turn(key).is_none_or(|running| running.asked.is_none()) {
            return;
        }
        self.hear_piece(key, rest);
        let Some(running) = self.running_turn(key) else { return };
        running.asked = None;
        match &unanswered {
            None => running.turn.answer_end(true, wall),
            Some(unanswered) => {
                running.retry_after_secs = unanswered.retry_after_secs;
                running.turn.fail(failure_of(unanswered.reason));
            }
        }
        if let Some(passing) = &mut running.passing
            && !passing.is_whole
        {
            match unanswered {
                None => passing.is_whole = true,
                Some(_) => passing.spoil(),
            }
        }
        self.drive_turn(key);
    }

    /// Gives a turn a piece of the answer.
    fn hear_piece(&mut self, key: Key, piece: OwnAnswer) {
        let wall = self.clock.wall();
        let Some(turn) = self.sessions.turns.get(key) else { return };
        let is_told = matches!(turn.origin, Origin::Post(_));
        let Some(running) = self.running_turn(key) else { return };
        let OwnAnswer { status, fields, body } = piece;
        if status != 0 {
            let content_type = field_of(&fields, b"content-type");
            let content_type = Some(content_type).filter(|value| !value.is_empty());
            if is_told && matches!(Answer::of(status, content_type), Answer::Refusal) {
                let answer = OwnAnswer { status, fields: fields.clone(), body: Vec::new() };
                running.passing = Some(Passing { answer, is_whole: false, is_due: false });
            }
            running.turn.answer_head(status, content_type);
        }
        match &mut running.passing {
            Some(passing) if passing.answer.body.len() + body.len() > REFUSAL_BYTES => {
                passing.spoil();
                self.heard_enough(key);
            }
            Some(passing) if !passing.is_whole => passing.answer.body.extend_from_slice(&body),
            Some(_) => {}
            None => running.turn.answer_bytes(&body, wall),
        }
    }

    /// Nobody wants the rest of the answer.
    pub(super) fn heard_enough(&mut self, key: Key) {
        if let Some(asked) = self.running_turn(key).and_then(|running| running.asked.take()) {
            self.ignore_rest(asked);
        }
    }

    /// How the turn ends is known: the rest of the answer counts only if it is a refusal, for the client.
    pub(super) fn heard_enough_but_refusal(&mut self, key: Key) {
        if self.running_turn(key).is_some_and(|running| running.passing.is_none()) {
            self.heard_enough(key);
        }
    }

    /// The client does not get the app's refusal.
    pub(super) fn stop_passing(&mut self, key: Key) {
        if self.running_turn(key).is_some_and(|running| running.passing.take().is_some()) {
            self.heard_enough(key);
        }
    }

    /// The client gets the app's refusal, once it is there.
    pub(super) fn refusal_is_due(&mut self, key: Key) {
        if let Some(passing) = self.running_turn(key).and_then(|running| running.passing.as_mut()) {
            passing.is_due = true;
        }
    }

    /// The client gets the app's refusal if it is there, and due.
    pub(super) fn pass_refusal(&mut self, key: Key) {
        let Some(turn) = self.sessions.turns.get(key) else { return };
        let Origin::Post(exchange) = turn.origin else { return };
        let Some(running) = self.running_turn(key) else { return };
        let is_ready = |passing: &mut Passing| passing.is_whole && passing.is_due;
        if let Some(passing) = running.passing.take_if(is_ready)
            && let Some(run) = self.run_of(key)
        {
            self.post_passed(exchange, &run, &passing.answer);
        }
    }

    /// Nobody listens to the worker any more, which may be busy yet.
    pub(super) fn let_go(&mut self, key: Key) {
        let Some(running) = self.running_turn(key) else { return };
        running.passing = None;
        let left = running.asked.take().and_then(|asked| self.leave_worker(asked, key));
        let Some(running) = self.running_turn(key) else { return };
        match left {
            Some(link) => running.left = Some(link),
            None => running.turn.worker_done(),
        }
    }

    /// The worker that a turn let go is free, or gone.
    pub(super) fn worker_is_free(&mut self, key: Key) {
        if let Some(running) = self.running_turn(key) {
            running.left = None;
            running.turn.worker_done();
            self.drive_turn(key);
        }
    }
}

/// Why a turn came to nothing whose request had no whole answer.
fn failure_of(reason: Reason) -> Failure {
    match reason {
        Reason::WorkerTimeout => Failure::Timeout,
        Reason::WorkerGone => Failure::Incomplete,
        Reason::WorkerMalformed => Failure::BadAnswer("it is not HTTP".to_owned()),
        reason => Failure::Unavailable { status: reason.status(), code: reason.code() },
    }
}

/// What of an answer waits for its turn before the worker has to.
const WAITING_BYTES: usize = 64 * 1024;
/// A refusal that is longer than this is told in the edge's own words.
const REFUSAL_BYTES: usize = 1024 * 1024;
