//! A request that a file answers: from its head to what is found.
//!
//! ```text
//!  head ─▶ search ── found ─────────────────────────────▶ answer (file_send.rs)
//!             │  ▲
//!             │  └── known, or in the kernel's memory
//!             └───── a disk must be asked ─▶ the front waits ── the files agent's answer ─▶ search
//! ```
//!
//! No loop waits for a disk: what is not in memory the files agent looks up, and meanwhile the front
//! carries the search and a copy of the request's head.

use super::file_cache::{FileCache, Known, Root, Roots};
use super::file_send::{FileAnswer, FileSend};
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::files::{Beneath, Search as Question, SearchDone, SearchJob};
use crate::shared::sites::Site;
use crate::shared::snapshot::Snapshot;
use crate::shared::stored::{self, Looked, StoredFile};
use crate::sys::beneath::Wait;
use rip::contract::reason::Reason;
use rip::files::answer::{Answer, Next, Search};
use rip::files::compress::is_forbidden_by;
use rip::files::request::Request;
use rip::http1::head::RequestHead;
use rip::http1::target;
use rip::time::Instant;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What a loop knows of files.
#[derive(Default)]
pub(super) struct Files {
    cache: FileCache,
    pub(super) roots: Roots,
    /// Scratch: the path that is looked for, and its key in the cache.
    path: Vec<u8>,
    key: Vec<u8>,
    /// Scratch: the rules that change the answer's head.
    changes: Vec<usize>,
    /// The directory that was last told of as missing.
    told_missing: Option<Arc<str>>,
}

/// What a front is busy with that answers with a file.
pub(super) enum FileWork {
    /// The disk is asked.
    Waiting(Box<FileWait>),
    /// The file is on its way.
    Sending(Box<FileSend>),
}

/// A request that waits for the disk.
pub(super) struct FileWait {
    pub(super) head: RequestHead,
    /// What the head was read from.
    pub(super) buf: Vec<u8>,
    pub(super) began: Instant,
    snapshot: Arc<Snapshot>,
    site: Arc<Site>,
    changes: Vec<usize>,
    rule: usize,
    search: Search,
    root: Root,
}

/// How far a search came.
enum Outcome {
    /// To its end.
    Answer(Answer, Option<Arc<StoredFile>>),
    /// The agent must be asked.
    Ask(Question),
    /// Nothing can be said.
    Failed(io::Error),
}

impl Edge {
    /// Answers a request with a file, as the rule at `rule` says.
    pub(super) fn answer_with_file(
        &mut self,
        key: Key,
        head: &RequestHead,
        buf: &[u8],
        rule: usize,
    ) {
        let snapshot = Arc::clone(self.snapshots.active());
        let Some(site) = snapshot.site_of(rule) else {
            return self.refuse(key, Reason::NotFound, "", Some((head, buf)));
        };
        let mut changes = std::mem::take(&mut self.files.changes);
        changes.clear();
        self.collect_changes(rule, &mut changes);
        let began = self.clock.now();
        let answer = FileAnswer {
            key,
            head,
            buf,
            began,
            snapshot: &snapshot,
            site,
            changes: &changes,
            rule,
        };
        let request = request_of(&answer);
        let mut search = Search::new(std::mem::take(&mut self.files.path));
        let next = search.begin(&request, &site.options);
        match next {
            Next::Answer(found) => self.send_found(&answer, found, None),
            Next::Look => match self.files.roots.of(&site.dir, began) {
                Ok(root) => {
                    self.files.told_missing = None;
                    let found = self.search_on(&mut search, Next::Look, &request, &answer, &root);
                    match found {
                        Outcome::Answer(found, file) => self.send_found(&answer, found, file),
                        Outcome::Failed(error) => self.search_failed(&answer, &error),
                        Outcome::Ask(question) => {
                            let wait = Box::new(FileWait {
                                head: head.clone(),
                                buf: buf.to_vec(),
                                began,
                                snapshot: Arc::clone(&snapshot),
                                site: Arc::clone(site),
                                changes: changes.clone(),
                                rule,
                                search: search.clone(),
                                root,
                            });
                            self.ask_agent(key, wait, question);
                        }
                    }
                }
                Err(error) if stored::says_missing(&error) => {
                    self.tell_missing_root(&site.dir, &error);
                    self.send_found(&answer, Answer::NotFound, None);
                }
                Err(error) => self.search_failed(&answer, &error),
            },
        }
        self.files.path = search.into_buffer();
        self.files.changes = changes;
    }

    /// The files agent has answered.
    pub(super) fn beneath_done(&mut self, done: SearchDone) {
        let key = Key::from_u64(done.key);
        let Some(front) = self.fronts.get_mut(key) else { return };
        let mut wait = match front.file.take() {
            Some(FileWork::Waiting(wait)) => wait,
            Some(FileWork::Sending(mut send)) => {
                send.warmed(&done.result);
                front.file = Some(FileWork::Sending(send));
                self.flush_front(key);
                return;
            }
            None => return,
        };
        let FileWait { head, buf, began, snapshot, site, changes, rule, search, root } = &mut *wait;
        let (began, rule) = (*began, *rule);
        let answer = FileAnswer { key, head, buf, began, snapshot, site, changes, rule };
        let outcome = match done.result {
            Ok(Beneath::Looked(looked)) => {
                let now = self.clock.now();
                self.files.remember(root, search.path(), &looked, now);
                let request = request_of(&answer);
                let file = match &looked {
                    Looked::File(file) => Some(Arc::clone(file)),
                    Looked::Directory | Looked::Missing => None,
                };
                let (wall, chance) = (self.clock.wall(), &mut self.entropy);
                let next = search.found(looked.place(), &request, &site.options, wall, chance);
                match next {
                    Next::Look => self.search_on(search, next, &request, &answer, root),
                    Next::Answer(Answer::Listing) => {
                        Outcome::Ask(page_of(search, &request, site, root))
                    }
                    Next::Answer(found) => Outcome::Answer(found, file),
                }
            }
            Ok(Beneath::Page(Some(page))) => {
                self.send_page(&answer, &page);
                self.go_on_after_answer(key);
                return;
            }
            Ok(Beneath::Page(None) | Beneath::Warm) => Outcome::Answer(Answer::NotFound, None),
            Err(error) => Outcome::Failed(error),
        };
        match outcome {
            Outcome::Answer(found, file) => {
                self.send_found(&answer, found, file);
                self.go_on_after_answer(key);
            }
            Outcome::Failed(error) => self.search_failed(&answer, &error),
            Outcome::Ask(question) => self.ask_agent(key, wait, question),
        }
    }

    /// Looks on until there is an answer, or somebody else must look.
    fn search_on(
        &mut self,
        search: &mut Search,
        mut next: Next,
        request: &Request<'_>,
        answer: &FileAnswer<'_>,
        root: &Root,
    ) -> Outcome {
        let site = answer.site;
        let mut file = None;
        loop {
            match next {
                Next::Answer(Answer::Listing) => {
                    return Outcome::Ask(page_of(search, request, site, root));
                }
                Next::Answer(found) => return Outcome::Answer(found, file),
                Next::Look => {}
            }
            let looked = match self.files.look(root, search.path(), self.clock.now()) {
                Ok(looked) => looked,
                Err(Refused::Wait(known)) => {
                    let (root, path) = (Arc::clone(&root.dir), search.path().to_vec());
                    return Outcome::Ask(Question::Look { root, path, known });
                }
                Err(Refused::Failed(error)) => return Outcome::Failed(error),
            };
            let place = looked.place();
            if let Looked::File(found) = looked {
                file = Some(found);
            }
            next =
                search.found(place, request, &site.options, self.clock.wall(), &mut self.entropy);
        }
    }

    fn ask_agent(&mut self, key: Key, wait: Box<FileWait>, search: Question) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.file = Some(FileWork::Waiting(wait));
        let reply = self.own.clone();
        self.shared.files.search(SearchJob { search, reply, key: key.as_u64() });
    }

    fn search_failed(&mut self, answer: &FileAnswer<'_>, error: &io::Error) {
        log::error!("a file cannot be looked up: {error}");
        self.refuse_file(answer, Reason::FileFailed, None);
    }

    fn tell_missing_root(&mut self, dir: &Arc<str>, error: &io::Error) {
        if self.files.told_missing.as_ref() != Some(dir) {
            self.files.told_missing = Some(Arc::clone(dir));
            log::error!("the directory {dir} cannot be served: {error}");
        }
    }

    /// What was answered out of turn goes out, and the request behind it gets its turn.
    fn go_on_after_answer(&mut self, key: Key) {
        if self.fronts.get(key).is_some() {
            self.flush_and_go_on(key);
        }
    }
}

/// Why a loop does not know what is at a path.
enum Refused {
    /// It would have to wait; this was there a moment ago.
    Wait(Option<Arc<StoredFile>>),
    Failed(io::Error),
}

impl Files {
    /// What is at `path`, if that can be told without a disk.
    fn look(&mut self, root: &Root, path: &[u8], now: Instant) -> Result<Looked, Refused> {
        self.note_key(root, path);
        let known = match self.cache.get(&self.key, now) {
            // What is in memory cannot change; what is open can.
            Known::Good(Looked::File(file)) if !file.is_unchanged() => None,
            Known::Good(looked) => return Ok(looked),
            Known::Stale(known) => known,
        };
        match stored::look(root.dir.as_fd(), path, known.as_deref(), Wait::Never) {
            Ok(looked) => {
                self.cache.put(&self.key, &looked, now);
                Ok(looked)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Refused::Wait(known)),
            Err(error) => Err(Refused::Failed(error)),
        }
    }

    /// The agent found this at `path`.
    fn remember(&mut self, root: &Root, path: &[u8], looked: &Looked, now: Instant) {
        self.note_key(root, path);
        self.cache.put(&self.key, looked, now);
    }

    fn note_key(&mut self, root: &Root, path: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(&root.number.to_ne_bytes());
        self.key.extend_from_slice(path);
    }

    /// Another configuration is active: what it does not serve is let go.
    pub(super) fn take_up(&mut self, snapshot: &Snapshot) {
        self.roots.retain(|dir| snapshot.sites().any(|site| &*site.dir == dir));
        self.told_missing = None;
        self.cache.clear();
    }
}

fn request_of<'b>(ask: &FileAnswer<'b>) -> Request<'b> {
    let mut request = Request::read(ask.head, ask.buf);
    if request.may_compress
        && let Some(changes) = ask.snapshot.table.headers().response(ask.changes)
    {
        request.may_compress = !is_forbidden_by(&changes);
    }
    if request.path == b"*" {
        // A question about the server as a whole is one about its root.
        request.path = b"/";
    }
    request
}

/// The page of the directory that was found. What stands before it in the address is what is left of
/// the request's path without it.
fn page_of(search: &Search, request: &Request<'_>, site: &Site, root: &Root) -> Question {
    let mut normal = Vec::new();
    let normal = match target::normalize(request.path, &mut normal) {
        Ok(()) => normal,
        Err(_) => request.path.to_vec(),
    };
    let is_part = |part: &&[u8]| !part.is_empty();
    let below = search.path().split(|byte| *byte == b'/').filter(is_part).count();
    let parts: Vec<_> = normal.split(|byte| *byte == b'/').filter(is_part).collect();
    let mut mount = Vec::new();
    for part in parts.iter().take(parts.len().saturating_sub(below)) {
        mount.push(b'/');
        if target::decode(part, &mut mount).is_err() {
            mount.extend_from_slice(part);
        }
    }
    let (root, path) = (Arc::clone(&root.dir), search.path().to_vec());
    Question::Page { root, path, mount, dotfiles: site.options.dotfiles }
}
