//! Browser live reload: streams that tell pages of changed files.
//!
//! `GET <prefix>/watch`, where the prefix was registered on the control socket, is an event stream:
//! `connected` at its beginning, then `reload` with `page` or `styles` whenever files have changed.
//! It needs no worker and is no exchange: its front holds it. It ends when the client leaves or the
//! server drains.

use super::answer::output;
use super::exchange::Record;
use super::secure::{add_hsts, hsts};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::guard::request_id::RequestId;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;
use rip::http1::{ResponseLength, encode};
use std::sync::Arc;
use std::time::Duration;

/// A client that wants to hear of changed files.
pub(super) struct LiveStream {
    prefix: Arc<str>,
    id: RequestId,
    record: Record,
}

/// The streams of one loop.
#[derive(Default)]
pub(super) struct LiveStreams {
    fronts: Vec<Key>,
    beats: bool,
}

impl Edge {
    /// Begins a stream if the request asks for one. False when it asks for something else.
    pub(super) fn begin_live_stream(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let Some(prefix) = self.shared.pages.watched_by(head.path().path(buf)) else {
            return false;
        };
        let method = head.method_kind();
        if !matches!(method, Method::Get | Method::Head) {
            self.routing.set_allow(b"GET, HEAD");
            self.refuse(key, Reason::MethodNotAllowed, "", Some((head, buf)));
            return true;
        }
        let id = self.request_id(head, buf);
        let mut record = Record::default();
        record.begin(head, buf, self.clock.now(), self.clock.wall());
        record.status = 200;
        record.media_type.extend_from_slice(EVENT_STREAM);
        record.peer = self.client_ip(key, Some((head, buf)));
        let date = self.date.line(self.clock.wall());
        let Some(front) = self.fronts.get_mut(key) else { return true };
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
        front.live = Some(Box::new(LiveStream { prefix, id, record }));
        self.live.fronts.push(key);
        self.write_live(key, CONNECTED);
        if method == Method::Head || self.drain.is_some() {
            self.end_live_stream(key);
        } else if !std::mem::replace(&mut self.live.beats, true) {
            self.wheel.schedule(Timer::Heartbeat, self.clock.now() + HEARTBEAT);
        }
        true
    }

    /// Tells the streams of `prefix` that its files have changed.
    pub(super) fn tell_of_changes(&mut self, prefix: &str, styles_only: bool) {
        let event = if styles_only { RELOAD_STYLES } else { RELOAD_PAGE };
        for key in self.live.fronts.clone() {
            let stream = self.fronts.get(key).and_then(|front| front.live.as_ref());
            if stream.is_some_and(|stream| &*stream.prefix == prefix) {
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

    fn write_live(&mut self, key: Key, event: &[u8]) {
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
