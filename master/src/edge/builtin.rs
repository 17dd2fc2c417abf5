//! Endpoints of the edge itself: `/server` and `/status`.

use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::http1::head::RequestHead;
use rip::http1::method::Method;

impl Edge {
    /// Answers a request to one of the edge's own paths. False when it is none of them.
    pub(super) fn answer_builtin(&mut self, front: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let answer = match head.path().path(buf) {
            b"/server" => Edge::server,
            b"/status" => Edge::status,
            _ => return false,
        };
        if !matches!(head.method_kind(), Method::Get | Method::Head) {
            self.refuse(front, Reason::MethodNotAllowed, "", Some((head, buf)));
            return true;
        }
        let id = self.request_id(head, buf);
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        if self.shared.access_log {
            record.begin(head, buf, self.clock.now(), self.clock.wall());
        }
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        let (status, content_type) = answer(self, &mut body);
        record.status = status;
        record.media_type.extend_from_slice(content_type.as_bytes());
        let answered = self.write_answer(front, status, &id, content_type, &body, |_| {});
        if let Some((after, body_bytes)) = answered {
            record.bytes_out = body_bytes;
            self.tell(front, &id, "", &record, None);
            self.answer_ended(front, after);
        }
        self.scratch = body;
        self.record = record;
        true
    }

    /// The server answers: nothing is looked up.
    fn server(&mut self, body: &mut Vec<u8>) -> (u16, &'static str) {
        body.extend_from_slice(b"ok");
        (200, "text/plain; charset=utf-8")
    }

    /// Every app has a worker, or not.
    fn status(&mut self, body: &mut Vec<u8>) -> (u16, &'static str) {
        let status = self.shared.status(self.clock.now());
        status.write(body);
        (status.status_code(), "application/json")
    }
}
