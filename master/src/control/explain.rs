//! `GET /explain/{id}`: what became of a request, and why.
//!
//! ```text
//!  asked ─▶ each loop is asked by mail ─▶ all have answered ─▶ what is to blame is known ─▶ told
//!                  │ a loop does not, in time                    │ a worker's last words come in a
//!                  └──▶ told without it                          │ moment
//!                                                                └──▶ told without them
//! ```

use super::master::Master;
use super::server::{Answer, Asker};
use crate::edge::Edges;
use crate::shared::mail::EdgeMessage;
use rip::ids::LoopIndex;
use rip::observe::chronicle::{Chronicle, RuleTale};
use rip::observe::explain::{Evidence, Stories, Story};
use rip::observe::note::{Handler, Note};
use rip::observe::notes::NOTE_COUNT;
use rip::route::path::{PathRoom, resolve};
use rip::time::{Instant, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Who wants to know of requests, and what the server's life says about them.
#[derive(Default)]
pub(super) struct Explains {
    pub(super) chronicle: Chronicle,
    waiting: BTreeMap<u64, Waiting>,
    asked: u64,
}

/// Somebody who waits for what the loops know.
struct Waiting {
    from: Asker,
    id: Arc<[u8]>,
    /// Loops that have not answered.
    silent: BTreeSet<LoopIndex>,
    /// Those that have not ended.
    notes: Vec<Note>,
    /// Then it is told as far as it is known.
    until: Instant,
}

impl Explains {
    /// When [`Master::settle_explains`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// A loop has answered.
    pub(super) fn recalled(&mut self, ticket: u64, index: LoopIndex, notes: Vec<Note>) {
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            waiting.silent.remove(&index);
            waiting.notes.extend(notes);
        }
    }

    fn is_ready(&self, waiting: &Waiting, ended: &[Note], now: Instant, wall: UnixMillis) -> bool {
        let unsettled = |note| Evidence::new(note, &self.chronicle).is_unsettled(wall);
        now >= waiting.until || (waiting.silent.is_empty() && !ended.iter().any(unsettled))
    }

    fn answer(&self, waiting: &mut Waiting, ended: Vec<Note>) -> Answer {
        let notes = &mut waiting.notes;
        // It may have ended since its loop was asked.
        notes.retain(|running| !ended.iter().any(|ended| ended.is_same(running)));
        notes.extend(ended);
        notes.sort_by_key(|note| (!note.running, std::cmp::Reverse(note.at)));
        notes.truncate(TOLD_COUNT);
        let silent: Vec<String> = waiting.silent.iter().map(ToString::to_string).collect();
        if notes.is_empty() {
            let id = String::from_utf8_lossy(&waiting.id);
            let hint = match &*silent {
                [] => format!(
                    "the last {NOTE_COUNT} requests are kept, since the server was started; the id is \
                     the answer's X-Request-Id, and the word behind the worker in its access line"
                ),
                silent => format!("{} did not answer in time; try again", silent.join(", ")),
            };
            return Answer::refused(404, format!("there is no request {id}"), hint);
        }
        let story = |note: &Note| {
            let mut evidence = Evidence::new(note, &self.chronicle);
            let is_missing = note.trail.handler == Handler::File && note.status == 404;
            evidence.escapes =
                is_missing && evidence.rule().is_some_and(|rule| escapes(rule, note));
            Story::of(&evidence)
        };
        let requests = notes.iter().map(story).collect();
        Answer::ok(&Stories { ok: true, requests, silent })
    }
}

impl Master {
    /// Asks the loops for what they know of the requests called `id`; the answer follows.
    pub(super) fn explain(&mut self, from: Asker, id: &str) {
        let explains = &mut self.explains;
        explains.asked += 1;
        let (ticket, id): (u64, Arc<[u8]>) = (explains.asked, id.as_bytes().into());
        let mut silent = BTreeSet::new();
        // What has ended is known even when nobody serves any more.
        if let Some(edges) = &self.edges {
            edges.tell(|| EdgeMessage::Recall { ticket, id: Arc::clone(&id) });
            silent = (0..loops(edges)).map(LoopIndex).collect();
        }
        let until = self.clock.now() + PATIENCE;
        let waiting = Waiting { from, id, silent, notes: Vec::new(), until };
        self.explains.waiting.insert(ticket, waiting);
    }

    /// Tells whom it can be told what became of requests.
    pub(super) fn settle_explains(&mut self) {
        if self.explains.waiting.is_empty() {
            return;
        }
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let tickets: Vec<u64> = self.explains.waiting.keys().copied().collect();
        for ticket in tickets {
            let explains = &mut self.explains;
            let Some(waiting) = explains.waiting.get(&ticket) else { continue };
            let ended = self.shared.notes.find(&waiting.id, TOLD_COUNT);
            if !explains.is_ready(waiting, &ended, now, wall) {
                continue;
            }
            let Some(mut waiting) = explains.waiting.remove(&ticket) else { continue };
            let answer = explains.answer(&mut waiting, ended);
            self.answer(waiting.from, &answer);
        }
    }

    /// The rules of the active configuration are those of requests from now on.
    pub(super) fn note_configuration(&mut self) {
        let (active, at) = (self.shared.current.load(), self.clock.wall());
        self.explains.chronicle.activated(active.version, &active.config, at);
    }
}

fn loops(edges: &Edges) -> u16 {
    u16::try_from(edges.count()).unwrap_or(u16::MAX)
}

/// Whether a symbolic link on the way to the file that `note` asked for leads out of the rule's
/// directory. It is looked for now: it may have been another one then.
fn escapes(rule: &RuleTale, note: &Note) -> bool {
    let Some(dir) = &rule.dir else { return false };
    let path = note.path();
    let mut room = PathRoom::new();
    let Ok(path) = resolve(path.as_bytes(), &mut room) else { return false };
    let mount = rule.pattern.trim_end_matches('*').as_bytes();
    let below = path.strip_prefix(mount).unwrap_or(path);
    let Ok(below) = std::str::from_utf8(below) else { return false };
    let Ok(root) = Path::new(dir).canonicalize() else { return false };
    let mut place = PathBuf::from(&root);
    for part in below.split('/').filter(|part| !part.is_empty()) {
        if part == ".." {
            return false;
        }
        place.push(part);
        match std::fs::read_link(&place) {
            Ok(target) if target.is_absolute() => return true,
            Ok(_) => {}
            Err(_) => continue,
        }
        match place.canonicalize() {
            Ok(real) if !real.starts_with(&root) => return true,
            Ok(real) => place = real,
            Err(_) => return false,
        }
    }
    false
}

/// Requests of one name that are told of.
const TOLD_COUNT: usize = 10;
/// A loop answers in its next turn; the last words of a worker are known after a second.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use rip::observe::note::{Entry, Trail};
    use std::os::unix::fs::symlink;

    fn asked(target: &str) -> Note {
        let trail = Trail::default();
        Note::of(&Entry { target: target.as_bytes(), status: 404, ..Entry::of(b"a", &trail) })
    }

    #[test]
    fn a_link_that_leads_out_of_the_directory_is_told_from_a_file_that_is_not_there() {
        let test = TestDir::make();
        let root = test.path().join("site");
        std::fs::create_dir_all(root.join("inner")).unwrap();
        std::fs::write(test.path().join("secret"), "x").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("inner", root.join("in")).unwrap();
        symlink(root.join("inner"), root.join("absolute")).unwrap();
        let rule = RuleTale {
            id: String::new(),
            host: "*".to_owned(),
            pattern: "/files/*".to_owned(),
            line: None,
            action: String::new(),
            dir: Some(root.display().to_string()),
        };
        for (target, expected) in [
            ("/files/out", true),
            ("/files/o%75t", true),
            ("/files/absolute/a", true),
            ("/files/in/missing", false),
            ("/files/missing", false),
            ("/files/../../etc/passwd", false),
        ] {
            assert_eq!(escapes(&rule, &asked(target)), expected, "{target}");
        }
    }
}
