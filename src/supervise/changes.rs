//! Which changes of an app's files matter, and when they have come to rest.
//!
//! A save is many events: an editor writes a temporary file, renames it over the old one, touches
//! its directory; a checkout changes hundreds of files. They become one [`Batch`]: [`REST`] after
//! the last change, and at most [`PATIENCE`] after the first, so that a file which never rests does
//! not hold up the others.
//!
//! ```text
//!  Quiet ── a change that matters ──▶ Gathering ── REST without another, or PATIENCE over ──▶ Quiet
//! ```

use crate::time::Instant;
use std::time::Duration;

/// Changes that belong together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The first file that changed, below the watched directory; empty when nobody can tell.
    pub path: String,
    /// Only style sheets changed: a page can take them over without being loaded again.
    pub styles_only: bool,
}

/// Gathers the changes of one watched directory.
#[derive(Clone, Debug)]
pub struct Changes {
    globs: Vec<String>,
    gathering: Option<Gathering>,
}

#[derive(Clone, Debug)]
struct Gathering {
    batch: Batch,
    first: Instant,
    last: Instant,
}

impl Changes {
    /// Only files that match one of `globs` matter. `*` stands for any characters but `/`, `?` for
    /// one of them, `**` for any characters; a glob without `/` is compared with the file's name,
    /// another one with its path below the watched directory.
    pub fn new(globs: Vec<String>) -> Self {
        Self { globs, gathering: None }
    }

    /// The file at `path`, relative to the watched directory, was written, moved or removed.
    pub fn changed(&mut self, path: &str, now: Instant) {
        if self.matters(path) {
            self.gather(path, path.ends_with(".css"), now);
        }
    }

    /// Changes were missed: any file may be another now.
    pub fn everything(&mut self, now: Instant) {
        self.gather("", false, now);
    }

    /// Forgets what was gathered.
    pub fn forget(&mut self) {
        self.gathering = None;
    }

    /// The batch, once its changes have come to rest.
    pub fn poll(&mut self, now: Instant) -> Option<Batch> {
        let ready = self.next_deadline().is_some_and(|due| now >= due);
        self.gathering.take_if(|_| ready).map(|gathering| gathering.batch)
    }

    /// When [`Self::poll`] has something, if nothing else changes before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let gathering = self.gathering.as_ref()?;
        Some((gathering.last + REST).min(gathering.first + PATIENCE))
    }

    fn matters(&self, path: &str) -> bool {
        let mut parts = path.split('/').rev();
        let name = parts.next().unwrap_or_default();
        !is_editors(name)
            && !parts.any(is_ignored_directory)
            && self.globs.iter().any(|glob| {
                let whole = if glob.contains('/') { path } else { name };
                matches(glob.as_bytes(), whole.as_bytes())
            })
    }

    fn gather(&mut self, path: &str, is_style: bool, now: Instant) {
        match &mut self.gathering {
            Some(gathering) => {
                gathering.last = now.max(gathering.last);
                gathering.batch.styles_only &= is_style;
            }
            None => {
                let batch = Batch { path: path.to_owned(), styles_only: is_style };
                self.gathering = Some(Gathering { batch, first: now, last: now });
            }
        }
    }
}

/// Directories of this name hold what tools make or fetch, not what people write.
pub fn is_ignored_directory(name: &str) -> bool {
    IGNORED.contains(&name)
}

/// A file that an editor makes for itself while another one is edited.
fn is_editors(name: &str) -> bool {
    name.ends_with('~')
        || name == "4913"
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || (name.starts_with('.') && is_swap(name))
}

/// `.name.swp`, and `.swo`, `.swn` … where that one was there already.
fn is_swap(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| {
        let bytes = extension.as_bytes();
        bytes.len() == 3 && bytes.starts_with(b"sw") && bytes[2].is_ascii_lowercase()
    })
}

/// Whether `text` is one that `glob` stands for. Only the last star is ever tried again, and the
/// last double star behind it: the time is bounded by the product of the lengths, not by a power.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where to go on when what follows a star does not match: the glob behind it, and the text that
    // was tried with it.
    let (mut star, mut stars) = (None, None);
    loop {
        match glob.get(at) {
            Some(b'*') if glob.get(at + 1) == Some(&b'*') => {
                // `**/` stands for any directories, also for none.
                let parts = glob.get(at + 2) == Some(&b'/') && is_part_start(text, place);
                at += if parts { 3 } else { 2 };
                stars = Some((at, place, parts));
                star = None;
                continue;
            }
            Some(b'*') => {
                at += 1;
                star = Some((at, place));
                continue;
            }
            Some(wanted) => {
                let found = text.get(place);
                let fits = match wanted {
                    b'?' => found.is_some_and(|byte| *byte != b'/'),
                    _ => found == Some(wanted),
                };
                if fits {
                    (at, place) = (at + 1, place + 1);
                    continue;
                }
            }
            None if place == text.len() => return true,
            None => {}
        }
        if let Some((behind, began)) = star
            && text.get(began).is_some_and(|byte| *byte != b'/')
        {
            star = Some((behind, began + 1));
            (at, place) = (behind, began + 1);
        } else if let Some((behind, began, parts)) = stars
            && let Some(next) =
                (began + 1..=text.len()).find(|next| !parts || is_part_start(text, *next))
        {
            stars = Some((behind, next, parts));
            star = None;
            (at, place) = (behind, next);
        } else {
            return false;
        }
    }
}

fn is_part_start(text: &[u8], place: usize) -> bool {
    place == 0 || text.get(place - 1) == Some(&b'/')
}

/// A batch is complete when nothing changed for this long.
pub const REST: Duration = Duration::from_millis(150);
/// A batch is never older than this.
pub const PATIENCE: Duration = Duration::from_millis(300);
const IGNORED: [&str; 6] = [".git", "node_modules", "__pycache__", "target", "dist", ".venv"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn python() -> Changes {
        Changes::new(vec!["*.py".to_owned(), "*.html".to_owned()])
    }

    #[test]
    fn a_batch_comes_when_changes_rest_and_names_the_first() {
        let mut changes = python();
        changes.changed("b.py", at(0));
        changes.changed("a.py", at(100));
        assert_eq!(changes.poll(at(249)), None);
        let batch = Batch { path: "b.py".to_owned(), styles_only: false };
        assert_eq!(changes.poll(at(250)), Some(batch));
        assert_eq!((changes.poll(at(999)), changes.next_deadline()), (None, None));
    }

    #[test]
    fn a_batch_does_not_wait_for_a_file_that_never_rests() {
        let mut changes = python();
        for time in 0..3 {
            changes.changed("a.py", at(time * 100));
        }
        changes.changed("a.py", at(299));
        assert_eq!(changes.next_deadline(), Some(at(300)));
        assert!(changes.poll(at(300)).is_some());
    }

    #[test]
    fn what_does_not_matter_starts_nothing() {
        let mut changes = python();
        for path in [
            "a.txt",
            "a.pyc",
            "py",
            "a.py~",
            ".a.py.swp",
            ".a.py.swo",
            "4913",
            "#a.py#",
            ".#a.py",
            ".git/a.py",
            "x/node_modules/y/a.py",
            "__pycache__/a.py",
            "target/a.py",
            "dist/a.html",
            ".venv/lib/a.py",
        ] {
            changes.changed(path, at(0));
            assert_eq!(changes.next_deadline(), None, "{path}");
        }
        for path in ["a.py", "x/y/a.html", ".py", "distant/a.py", "a.git/b.py"] {
            let mut changes = python();
            changes.changed(path, at(0));
            assert!(changes.next_deadline().is_some(), "{path}");
        }
    }

    #[test]
    fn missed_changes_are_a_batch_of_everything() {
        let mut changes = Changes::new(Vec::new());
        changes.changed("a.py", at(0));
        assert_eq!(changes.next_deadline(), None);
        changes.everything(at(0));
        assert_eq!(changes.poll(at(150)).map(|batch| batch.path), Some(String::new()));
        changes.everything(at(200));
        changes.forget();
        assert_eq!(changes.poll(at(999)), None);
    }

    #[test]
    fn only_style_sheets_are_told_from_pages() {
        for (paths, styles_only) in
            [(&["a.css"][..], true), (&["a.css", "b.html"], false), (&["a.js", "a.css"], false)]
        {
            let mut changes = Changes::new(vec!["*".to_owned()]);
            paths.iter().for_each(|path| changes.changed(path, at(0)));
            assert_eq!(changes.poll(at(150)).map(|batch| batch.styles_only), Some(styles_only));
        }
    }

    #[test]
    fn globs_stand_for_what_they_say() {
        for (glob, text, expected) in [
            ("*.py", "app.py", true),
            ("*.py", "app.pyc", false),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("templates/*.html", "templates/a.html", true),
            ("templates/*.html", "templates/x/a.html", false),
            ("templates/**/*.html", "templates/x/y/a.html", true),
            ("templates/**/*.html", "templates/a.html", true),
            ("**/a.py", "a.py", true),
            ("**/a.py", "x/a.py", true),
            ("**/a.py", "xa.py", false),
            ("x/**", "x/y/z", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxxcx", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(glob.as_bytes(), text.as_bytes()), expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_malicious_glob_costs_no_time() {
        let glob = "**a*a".repeat(40) + "b";
        assert!(!matches(glob.as_bytes(), "a".repeat(4000).as_bytes()));
    }

    /// Whatever happens when: every change that matters is in a batch, no batch is earlier than the
    /// rest or later than the patience allows, and each names its first change.
    #[test]
    fn no_change_is_lost_in_any_order_of_events() {
        for seed in 0..500 {
            let mut dice = Xoshiro::new(seed);
            let mut changes = python();
            let (mut now, mut first, mut last) = (0, None, 0);
            for step in 0..200 {
                now += dice.below(120);
                if let Some(batch) = changes.poll(at(now)) {
                    let (path, began): (String, u64) = first.take().expect("something changed");
                    assert_eq!(batch.path, path, "seed {seed}");
                    assert!(now >= (last + 150).min(began + 300), "seed {seed}");
                }
                if let Some((_, began)) = &first {
                    assert!(now < began + 300, "seed {seed}: due and not polled");
                    assert!(now < last + 150, "seed {seed}: due and not polled");
                }
                match dice.below(4) {
                    0 => changes.changed("noise.txt", at(now)),
                    1 => {
                        let path = format!("{step}.py");
                        changes.changed(&path, at(now));
                        first.get_or_insert((path, now));
                        last = now;
                    }
                    _ => {}
                }
                let due = first.as_ref().map(|(_, began)| at((last + 150).min(began + 300)));
                assert_eq!(changes.next_deadline(), due, "seed {seed}");
            }
        }
    }
}
