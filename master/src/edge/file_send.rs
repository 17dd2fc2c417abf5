//! The answer with a file, and the file on its way to the client.
//!
//! ```text
//!  head ─▶ part ── its last byte ─▶ next part's head ─▶ part … ─▶ (end of the answer)
//!           │ ▲
//!           │ └── writable again · the next turn · in memory at last
//!           └──── the client is slow · enough for this turn · it would have to be read from a disk
//! ```
//!
//! Small files are in memory and leave with their heads. Larger ones go from the kernel's memory to
//! the socket; what is not there yet is read by the files agent first. A file that became shorter
//! than its head said ends the connection: what is missing is never made up. What is compressed goes
//! through an encoder in pieces (file_compress.rs).

use super::answer::{Refusal, output};
use super::encoder::Encoder;
use super::exchange::Record;
use super::file_search::FileWork;
use super::secure::{add_hsts, hsts};
use super::transport::Transport;
use super::turn::Edge;
use crate::reactor::outbox::Flush;
use crate::reactor::slab::Key;
use crate::shared::disk_file::DiskFile;
use crate::shared::files::{Beneath, Search, SearchJob};
use crate::shared::sites::Site;
use crate::shared::snapshot::Snapshot;
use crate::shared::stored::{Body, StoredFile};
use crate::sys::beneath::{self, Wait};
use mio::net::TcpStream;
use rip::contract::reason::Reason;
use rip::files::answer::Answer;
use rip::files::range::Multipart;
use rip::files::{fields, listing};
use rip::guard::phase::Phase;
use rip::guard::request_id::RequestId;
use rip::http1::ResponseLength;
use rip::http1::changes::Changes;
use rip::http1::head::RequestHead;
use rip::http1::known::Known;
use rip::http1::method::Method;
use rip::limits;
use rip::time::Instant;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

/// A request that is about to be answered.
pub(super) struct FileAnswer<'a> {
    pub(super) key: Key,
    pub(super) head: &'a RequestHead,
    pub(super) buf: &'a [u8],
    pub(super) began: Instant,
    pub(super) snapshot: &'a Snapshot,
    pub(super) site: &'a Site,
    /// The rules that change the answer's head.
    pub(super) changes: &'a [usize],
    /// The rule that asks for it.
    pub(super) rule: usize,
}

/// A file on its way to a client.
pub(super) struct FileSend {
    pub(super) source: Source,
    /// What it is compressed with.
    pub(super) encoder: Option<Encoder>,
    /// Where the present part goes on.
    pub(super) offset: u64,
    /// Bytes of it that are still to be sent.
    pub(super) left: u64,
    parts: Option<Multipart>,
    /// The part that comes after the present one.
    next_part: usize,
    /// Up to here the file is in memory, or nearly so.
    warm_until: u64,
    /// The agent reads it.
    is_warming: bool,
    /// The kernel cannot send this file by itself.
    is_copied: bool,
    pub(super) id: RequestId,
    pub(super) record: Record,
}

/// Where the bytes are.
pub(super) enum Source {
    Bytes(Arc<[u8]>),
    File(Arc<DiskFile>),
}

impl FileSend {
    /// The agent has read what was asked for, or could not: then sending will tell.
    pub(super) fn warmed(&mut self, result: &io::Result<Beneath>) {
        if let Err(error) = result {
            log::debug!("a file could not be read ahead: {error}");
        }
        self.is_warming = false;
        self.warm_until = self.offset.saturating_add(WARM_BYTES);
    }

    /// Goes on to the next part. False when there is none.
    fn enter_part(&mut self, framing: &mut Vec<u8>) -> bool {
        let Some(parts) = &self.parts else { return false };
        match parts.ranges().get(self.next_part) {
            Some(range) => {
                parts.head(self.next_part, framing);
                (self.offset, self.left) = (range.first, range.length());
                self.warm_until = 0;
                self.next_part += 1;
                true
            }
            None => {
                parts.end(framing);
                self.parts = None;
                false
            }
        }
    }
}

/// What came of one step of sending.
pub(super) enum Step {
    /// So many bytes were taken, by the client or by the encoder.
    Sent(usize),
    /// The client takes no more now.
    Blocked,
    /// The agent is asked to read first.
    Cold,
    /// The file is shorter than it was.
    Shrunk,
    /// The client is gone, or the file cannot be read.
    Failed,
}

impl Edge {
    /// Answers with what a search came to. `file` is what it found last.
    pub(super) fn send_found(
        &mut self,
        ask: &FileAnswer<'_>,
        answer: Answer,
        file: Option<Arc<StoredFile>>,
    ) {
        let encoding = match &answer {
            Answer::BadRequest(why) => {
                log::debug!("refused for its path: {why}");
                return self.refuse_file(ask, Reason::BadPath, None);
            }
            Answer::NotFound | Answer::Listing => {
                return self.refuse_file(ask, Reason::NotFound, None);
            }
            Answer::MethodNotAllowed => {
                self.routing.say_allow(fields::ALLOW.as_bytes());
                return self.refuse_file(ask, Reason::MethodNotAllowed, None);
            }
            Answer::PreconditionFailed => {
                return self.refuse_file(ask, Reason::PreconditionFailed, None);
            }
            Answer::RangeNotSatisfiable { size } => {
                return self.refuse_file(ask, Reason::RangeNotSatisfiable, Some(*size));
            }
            Answer::NotModified(_) | Answer::Options | Answer::RedirectToSlash { .. } => {
                return self.answer_bodiless(ask, &answer);
            }
            Answer::Whole(found) | Answer::Partial(found, _) | Answer::Multi(found, _) => {
                found.encoding
            }
            Answer::Compressed { plain, .. } => plain.encoding,
        };
        let Some(body) = file.as_ref().and_then(|file| file.part(encoding)).map(|part| &part.body)
        else {
            return self.refuse_file(ask, Reason::FileFailed, None);
        };
        let source = match body {
            Body::Bytes(bytes) => Source::Bytes(Arc::clone(bytes)),
            Body::File(file) => Source::File(Arc::clone(file)),
        };
        self.send_body(ask, answer, source);
    }

    /// Answers with the page of a directory.
    pub(super) fn send_page(&mut self, ask: &FileAnswer<'_>, page: &Arc<[u8]>) {
        self.send_body(ask, Answer::Listing, Source::Bytes(Arc::clone(page)));
    }

    fn send_body(&mut self, ask: &FileAnswer<'_>, answer: Answer, source: Source) {
        let is_head = ask.head.method_kind() == Method::Head;
        let (answer, encoder) = self.lend_encoder(answer, is_head);
        let length = match (&answer, &source) {
            (Answer::Compressed { plain, .. }, _) => plain.size,
            (Answer::Listing, Source::Bytes(page)) => page.len() as u64,
            _ => answer.length().unwrap_or_default(),
        };
        let id = self.request_id(ask.head, ask.buf);
        let mut record = std::mem::take(&mut self.record);
        self.begin_file_record(ask, &answer, &mut record);
        let framing = match &answer {
            Answer::Compressed { .. } => ResponseLength::Unknown,
            _ => ResponseLength::Known(length),
        };
        if !self.write_file_head(ask, &answer, &id, framing) {
            self.record = record;
            return self.take_encoder_back(encoder);
        }
        let (offset, left, parts) = match answer {
            Answer::Partial(_, range) => (range.first, range.length(), None),
            Answer::Multi(_, parts) => (0, 0, Some(parts)),
            _ => (0, length, None),
        };
        let Some(front) = self.fronts.get_mut(ask.key) else {
            return self.take_encoder_back(encoder);
        };
        let whole = match &source {
            Source::Bytes(bytes)
                if parts.is_none() && encoder.is_none() && bytes.len() <= INLINE_BYTES =>
            {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let to = usize::try_from(offset.saturating_add(left)).unwrap_or(usize::MAX);
                bytes.get(from..to)
            }
            _ => None,
        };
        let whole = if is_head || length == 0 { Some(&[][..]) } else { whole };
        if let Some(bytes) = whole {
            front.server.body(bytes, front.output.bytes_mut());
            record.bytes_out = bytes.len() as u64;
            let after = front.server.end(front.output.bytes_mut());
            self.tell(ask.key, &id, "", &record, None);
            self.record = record;
            return self.answer_ended(ask.key, after);
        }
        front.file = Some(FileWork::Sending(Box::new(FileSend {
            source,
            encoder,
            offset,
            left,
            parts,
            next_part: 0,
            warm_until: 0,
            is_warming: false,
            is_copied: false,
            id,
            record,
        })));
    }

    fn answer_bodiless(&mut self, ask: &FileAnswer<'_>, answer: &Answer) {
        let id = self.request_id(ask.head, ask.buf);
        let mut record = std::mem::take(&mut self.record);
        self.begin_file_record(ask, answer, &mut record);
        if self.write_file_head(ask, answer, &id, ResponseLength::None)
            && let Some(front) = self.fronts.get_mut(ask.key)
        {
            let after = front.server.end(front.output.bytes_mut());
            self.tell(ask.key, &id, "", &record, None);
            self.answer_ended(ask.key, after);
        }
        self.record = record;
    }

    /// Refuses a request for a file. `size` is that of the file none of whose bytes was asked for.
    pub(super) fn refuse_file(&mut self, ask: &FileAnswer<'_>, reason: Reason, size: Option<u64>) {
        let id = self.request_id(ask.head, ask.buf);
        let mut record = Record::default();
        record.begin(ask.head, ask.buf, ask.began, self.clock.wall());
        record.peer = self.fronts.get(ask.key).map(|front| front.peer().ip());
        self.note_file(ask, &mut record);
        let changes = ask.snapshot.table.headers().response(ask.changes);
        let refusal = Refusal {
            fields: b"",
            reason,
            accept: ask.head.find(Known::Accept).unwrap_or_default().of(ask.buf),
            retry_after_secs: None,
            size,
            changes: changes.as_ref().map(|changes| changes as &dyn Changes),
        };
        self.write_refusal(ask.key, &id, &refusal, &mut record);
        self.tell(ask.key, &id, "", &record, Some(reason));
    }

    fn begin_file_record(&self, ask: &FileAnswer<'_>, answer: &Answer, record: &mut Record) {
        record.clear();
        record.status = answer.status();
        record.began = ask.began;
        record.peer = self.fronts.get(ask.key).map(|front| front.peer().ip());
        record.begin(ask.head, ask.buf, ask.began, self.clock.wall());
        self.note_file(ask, record);
        let media_type = match answer {
            Answer::Whole(found) | Answer::Partial(found, _) => found.media_type,
            Answer::Compressed { plain, .. } => plain.media_type,
            Answer::Multi(..) => "multipart/byteranges",
            Answer::Listing => listing::MEDIA_TYPE,
            _ => "",
        };
        record.media_type.extend_from_slice(media_type.as_bytes());
    }

    /// Writes the head of the answer. False when the client is gone.
    fn write_file_head(
        &mut self,
        ask: &FileAnswer<'_>,
        answer: &Answer,
        id: &RequestId,
        length: ResponseLength,
    ) -> bool {
        let date = self.date.line(self.clock.wall());
        let Some(front) = self.fronts.get_mut(ask.key) else { return false };
        let changes = ask.snapshot.table.headers().response(ask.changes);
        let changes = changes.as_ref().map(|changes| changes as &dyn Changes);
        let hsts = hsts(front, &self.snapshots);
        let out = output(&mut front.output, &mut self.blocks);
        let mut head = front.server.respond(answer.status(), b"", length, out).changed_by(changes);
        head.server();
        head.raw(date);
        head.field(b"X-Request-Id", id.as_bytes());
        add_hsts(hsts, None, &mut head);
        fields::write(answer, ask.site.options.cache_control.as_deref(), &mut head);
        head.finish();
        true
    }

    /// Sends on what a front has on its way, as much as the client and this turn take. False when
    /// the connection is gone.
    pub(super) fn send_file(&mut self, key: Key) -> bool {
        let mut budget_bytes = self.file_go_bytes(key, BYTES_PER_GO);
        loop {
            let Some(front) = self.fronts.get_mut(key) else { return false };
            let Some(FileWork::Sending(send)) = &mut front.file else { return true };
            if !front.output.is_empty() {
                let before = front.output.len() + front.transport.unsent();
                match front.transport.gather(&mut front.output, &mut self.tls) {
                    // What was compressed only ever leaves by here.
                    Ok(Flush::Done) => front.deadlines.clear(Phase::Write),
                    // It is tried again, and its deadline set, by who called.
                    Ok(Flush::Blocked) => {
                        if front.output.len() + front.transport.unsent() < before {
                            front.deadlines.clear(Phase::Write);
                        }
                        return true;
                    }
                    Err(_) => {
                        self.close_front(key);
                        return false;
                    }
                }
            }
            if send.left == 0 {
                let mut framing = Vec::new();
                let goes_on = send.enter_part(&mut framing);
                send.record.bytes_out += framing.len() as u64;
                front.server.body(&framing, output(&mut front.output, &mut self.blocks));
                if goes_on {
                    continue;
                }
                self.end_file(key, None);
                return true;
            }
            if budget_bytes == 0 {
                self.run_later(key);
                return true;
            }
            match self.send_piece(key, budget_bytes) {
                Step::Sent(count) => budget_bytes = budget_bytes.saturating_sub(count),
                Step::Blocked => {
                    if self
                        .fronts
                        .get(key)
                        .is_some_and(|front| front.deadlines.at(Phase::Write).is_none())
                    {
                        let at = self.clock.now() + self.phases().write;
                        self.front_deadline(key, Phase::Write, at);
                    }
                    return true;
                }
                Step::Cold => return true,
                Step::Shrunk => {
                    self.end_file(key, Some(Reason::FileFailed));
                    return true;
                }
                Step::Failed => {
                    self.close_front(key);
                    return false;
                }
            }
        }
    }

    fn send_piece(&mut self, key: Key, budget_bytes: usize) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Failed };
        let Some(FileWork::Sending(send)) = &mut front.file else { return Step::Failed };
        if send.is_warming {
            return Step::Cold;
        }
        let mut most = usize::try_from(send.left).unwrap_or(usize::MAX).min(budget_bytes);
        if let Source::File(file) = &send.source {
            if send.offset >= send.warm_until {
                let (window, now) = (send.left.min(WARM_BYTES), self.clock.now());
                if !file.was_warm(now) && !is_warm(file, send.offset, window, now) {
                    send.is_warming = true;
                    let file = Arc::clone(file);
                    let search = Search::Warm { file, offset: send.offset, length: window };
                    self.warm(key, search);
                    return Step::Cold;
                }
                send.warm_until = send.offset.saturating_add(window);
            }
            let ready = send.warm_until.saturating_sub(send.offset);
            most = most.min(usize::try_from(ready).unwrap_or(usize::MAX));
        }
        if send.encoder.is_some() {
            return self.compress_piece(key, most);
        }
        let result = match &send.source {
            Source::Bytes(bytes) => {
                let from = usize::try_from(send.offset).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                let rest = rest.get(..most).unwrap_or(rest);
                front.transport.write(rest, &mut self.tls)
            }
            Source::File(file) => match &mut front.transport {
                Transport::Plain(stream) if send.is_copied => copy(file, send.offset, most, stream),
                Transport::Plain(stream) => {
                    let mut offset = send.offset;
                    match beneath::send_file(&*stream, file, &mut offset, most) {
                        Err(error) if cannot_send(&error) => {
                            send.is_copied = true;
                            copy(file, send.offset, most, stream)
                        }
                        result => result,
                    }
                }
                // What is sealed has to pass through our own memory.
                Transport::Tls(stream) => stream.write_from(&mut self.tls, most, |piece| {
                    beneath::read_at(file, piece, send.offset, Wait::Disk)
                }),
            },
        };
        match result {
            Ok(0) => Step::Shrunk,
            Ok(count) => {
                let sent = count as u64;
                send.offset = send.offset.saturating_add(sent);
                send.left = send.left.saturating_sub(sent);
                send.record.bytes_out += sent;
                front.server.body_passed(sent);
                front.deadlines.clear(Phase::Write);
                Step::Sent(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Sent(0),
            Err(error) => {
                log::debug!("{}: {error}", send.id);
                Step::Failed
            }
        }
    }

    fn warm(&mut self, key: Key, search: Search) {
        let (reply, key) = (self.own.clone(), key.as_u64());
        self.shared.files.search(SearchJob { search, reply, key });
    }

    /// The file is sent, or, for `reason`, cannot be sent to its end.
    fn end_file(&mut self, key: Key, reason: Option<Reason>) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Some(work) = front.file.take() else { return };
        let FileWork::Sending(mut send) = work else { return };
        let encoder = send.encoder.take();
        front.deadlines.clear(Phase::Write);
        let after = match reason {
            None => front.server.end(front.output.bytes_mut()),
            Some(_) => front.abort(),
        };
        if reason.is_some() {
            log::error!("{}: the file became shorter while it was sent", send.id);
        }
        self.take_encoder_back(encoder);
        self.tell(key, &send.id, "", &send.record, reason);
        self.record = send.record;
        self.answer_ended(key, after);
        if self.fronts.get(key).is_some_and(super::front::Front::has_more_to_read) {
            self.run_later(key);
        }
    }

    /// The client of an answer that was not at its end is gone, or was sent away, for `reason`.
    pub(super) fn forget_file(&mut self, key: Key, work: FileWork, reason: Reason) {
        match work {
            FileWork::Sending(mut send) => {
                self.take_encoder_back(send.encoder.take());
                self.tell(key, &send.id, "", &send.record, Some(reason));
            }
            FileWork::Waiting(wait) => {
                let id = self.request_id(&wait.head, &wait.buf);
                let mut record = Record::default();
                record.begin(&wait.head, &wait.buf, wait.began, self.clock.wall());
                record.status = reason.status();
                self.tell(key, &id, "", &record, Some(reason));
            }
        }
    }
}

/// The end of a part is in memory, so most likely all of it is: files are read from their beginning,
/// and ahead.
fn is_warm(file: &DiskFile, offset: u64, length: u64, now: Instant) -> bool {
    let last = offset.saturating_add(length).saturating_sub(1);
    let read = beneath::read_at(file, &mut [0], last, Wait::Never);
    let is_warm = !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    if is_warm {
        file.note_warm(offset, length, now);
    }
    is_warm
}

/// Some file systems do not hand their pages to sockets.
fn cannot_send(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS))
}

/// Sends a piece of a file through our own memory.
fn copy(file: &File, offset: u64, count: usize, to: &mut TcpStream) -> io::Result<usize> {
    let mut piece = vec![0; count.min(COPY_BYTES)];
    let filled = beneath::read_at(file, &mut piece, offset, Wait::Disk)?;
    match piece.get(..filled) {
        None | Some([]) => Ok(0),
        Some(filled) => to.write(filled),
    }
}

/// What is in memory and has at most this size leaves with its head: both fit into one block.
const INLINE_BYTES: usize = limits::BLOCK_BYTES - 2048;
/// Bytes of one file before the others get their turn.
const BYTES_PER_GO: usize = 1024 * 1024;
/// So much of a file is looked after at a time.
const WARM_BYTES: u64 = 1024 * 1024;
const COPY_BYTES: usize = 64 * 1024;
