//! Event streams of the edge's own: pages that are told of changed files, and watchers of the server.
//!
//! `GET <prefix>/watch`, where the prefix was registered on the control socket, is an event stream:
//! `connected` at its beginning, then `reload` with `page` or `styles` whenever files have changed. A
//! watcher's gets the frames that the control loop makes: `report` once a second, `event` as one happens.
//! A stream needs no worker and is no exchange: its front holds it. It ends when the client leaves or the
//! server drains.

use super::answer::output;
use super::exchange::Record;
use super::secure::{add_hsts, hsts};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use crate::shared::mail::ControlMessage;
use rip::contract::reason::Reason;
use rip::guard::login::LoginId;
use rip::guard::request_id::RequestId;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;
use rip::http1::{ResponseLength, encode};
use std::sync::Arc;
use std::time::Duration;

/// What a stream tells of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// Changes of the files of this prefix.
    Files(Arc<str>),
    /// How the server is, as long as this session lives; `None` is somebody who needs none.
    Server(Option<LoginId>),
}

impl Subject {
    fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}

/// A client that wants to hear of something as it happens.
pub(super) struct LiveStream {
    subject: Subject,
    id: RequestId,
    record: Record,
}

/// The streams of one loop.
#[derive(Default)]
pub(super) struct LiveStreams {
    fronts: Vec<Key>,
    beats: bool,
    /// Those of them whose subject is the server; while there are any, frames come.
    watchers: usize,
}

impl Edge {
    /// Begins a stream if the request asks for one. False when it asks for something else.
    pub(super) fn begin_live_stream(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(prefix) = self.shared.pages.watched_by(head.path().path(buf)) else {
            return false;
        };
        self.begin_live(key, (head, buf), Subject::Files(prefix));
        true
    }

    /// Answers a request with a stream that tells of `subject`. Whether the client may hear of it is known
    /// already.
    pub(super) fn begin_live(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        subject: Subject,
    ) {
        let method = head.method_kind();
        if !matches!(method, Method::Get | Method::Head) {
            self.routing.set_allow(b"GET, HEAD");
            return self.refuse(key, Reason::MethodNotAllowed, "", Some((head, buf)));
        }
        let id = self.request_id(head, buf);
        let mut record = Record::default();
        record.begin(head, buf, self.clock.now(), self.clock.wall());
        record.status = 200;
        record.media_type.extend_from_slice(EVENT_STREAM);
        record.peer = self.client_ip(key, Some((head, buf)));
        let date = self.date.line(self.clock.wall());
        let Some(front) = self.fronts.get_mut(key) else { return };
        // Nothing the client sends behind this request is read any more.
        front.server.close_after_this();
        let hsts = hsts(front, &self.snapshots);
        let out = output(&mut front.output, &mut self.blocks);
        let mut fields = front.server.respond(200, b"", ResponseLength::Unknown, out);
        fields.raw(encode::SERVER_LINE);
        fields.raw(date);
        fields.field(b"X-Request-Id", id.as_bytes());
        fields.field(b"Content-Type", EVENT_STREAM);
        fields.field(b"Cache-Control", b"no-store");
        add_hsts(hsts, None, &mut fields);
        fields.finish();
        let watches = subject.is_server();
        front.live = Some(Box::new(LiveStream { subject, id, record }));
        self.live.fronts.push(key);
        self.count_watchers(watches, true);
        self.write_live(key, CONNECTED);
        if method == Method::Head || self.drain.is_some() {
            self.end_live_stream(key);
        } else if !std::mem::replace(&mut self.live.beats, true) {
            self.wheel.schedule(Timer::Heartbeat, self.clock.now() + HEARTBEAT);
        }
    }

    /// Gives a frame to every stream that tells of the server; whose session is over hears no more.
    pub(super) fn tell_watchers(&mut self, frame: &[u8]) {
        let now = self.clock.now();
        for key in self.live.fronts.clone() {
            let Some(stream) = self.fronts.get(key).and_then(|front| front.live.as_ref()) else {
                continue;
            };
            match stream.subject {
                Subject::Server(Some(login)) if !self.shared.logins.lives(login, now) => {
                    self.end_live_stream(key);
                }
                Subject::Server(_) => self.write_live(key, frame),
                Subject::Files(_) => {}
            }
        }
    }

    /// How many streams of this loop tell of the server.
    pub(super) fn watcher_count(&self) -> usize {
        self.live.watchers
    }

    /// The control loop makes frames while there is a loop with watchers. One more gets a report at once.
    fn count_watchers(&mut self, watches: bool, comes: bool) {
        if !watches {
            return;
        }
        let watchers = &mut self.live.watchers;
        *watchers = if comes { *watchers + 1 } else { watchers.saturating_sub(1) };
        if comes || *watchers == 0 {
            let message = ControlMessage::Watching { index: self.index, on: comes };
            self.shared.control.send(message);
        }
    }

    /// Tells the streams of `prefix` that its files have changed.
    pub(super) fn tell_of_changes(&mut self, prefix: &str, styles_only: bool) {
        let event = if styles_only { RELOAD_STYLES } else { RELOAD_PAGE };
        self.write_streams(
            event,
            |subject| matches!(subject, Subject::Files(watched) if &**watched == prefix),
        );
    }

    fn write_streams(&mut self, event: &[u8], is_meant: impl Fn(&Subject) -> bool) {
        for key in self.live.fronts.clone() {
            let stream = self.fronts.get(key).and_then(|front| front.live.as_ref());
            if stream.is_some_and(|stream| is_meant(&stream.subject)) {
                self.write_live(key, event);
            }
        }
    }

    /// Says something to every stream, so that proxies between do not take them for dead.
    pub(super) fn heartbeat(&mut self) {
        for key in self.live.fronts.clone() {
            self.write_live(key, BEAT);
        }
        self.live.beats = !self.live.fronts.is_empty();
        if self.live.beats {
            self.wheel.schedule(Timer::Heartbeat, self.clock.now() + HEARTBEAT);
        }
    }

    /// Ends every stream; the clients are told to come back.
    pub(super) fn end_live_streams(&mut self) {
        for key in self.live.fronts.clone() {
            self.write_live(key, RETRY);
            self.end_live_stream(key);
        }
    }

    /// The stream of a front that is gone, or answered to its end.
    pub(super) fn forget_live_stream(&mut self, key: Key, stream: &LiveStream) {
        self.live.fronts.retain(|other| *other != key);
        self.count_watchers(stream.subject.is_server(), false);
        self.tell(key, &stream.id, "", &stream.record, None);
    }

    fn end_live_stream(&mut self, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Some(stream) = front.live.take() else { return };
        let after = front.server.end(output(&mut front.output, &mut self.blocks));
        self.forget_live_stream(key, &stream);
        self.answer_ended(key, after);
        self.flush_front(key);
    }

    /// Writes to a stream; one that is behind is closed.
    pub(super) fn write_live(&mut self, key: Key, event: &[u8]) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Some(stream) = &mut front.live else { return };
        stream.record.bytes_out += event.len() as u64;
        front.server.body(event, output(&mut front.output, &mut self.blocks));
        if front.is_behind() {
            // It does not take what it is told; it will come again when it can.
            return self.close_front(key);
        }
        self.flush_front(key);
    }
}

const EVENT_STREAM: &[u8] = b"text/event-stream";
const CONNECTED: &[u8] = b"event: connected\ndata: {}\n\n";
const RELOAD_PAGE: &[u8] = b"event: reload\ndata: page\n\n";
const RELOAD_STYLES: &[u8] = b"event: reload\ndata: styles\n\n";
const RETRY: &[u8] = b"retry: 1000\n\n";
const BEAT: &[u8] = b":\n\n";
/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(20);
