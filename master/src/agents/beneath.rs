//! What the files agent is asked about directories of files.

use crate::shared::files::{Beneath, Search};
use crate::shared::stored;
use crate::sys::beneath::{self, Wait};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks at files, and remembers the pages it made last: many who ask for the same directory at
/// once get the same page.
#[derive(Default)]
pub(super) struct Searcher {
    pages: Vec<Page>,
}

struct Page {
    made: Instant,
    /// Which directory of which root, under which address.
    inode: (u64, u64),
    path: Vec<u8>,
    mount: Vec<u8>,
    dotfiles: bool,
    content: Arc<[u8]>,
}

impl Searcher {
    /// Answers a question.
    pub(super) fn find(&mut self, search: &Search) -> io::Result<Beneath> {
        match search {
            Search::Look { root, path, known } => {
                stored::look(root.as_fd(), path, known.as_deref(), Wait::Disk).map(Beneath::Looked)
            }
            Search::Page { root, path, mount, dotfiles } => {
                let inode = beneath::facts(root)?.inode;
                self.pages.retain(|page| page.made.elapsed() < PAGE_AGE);
                let same = self.pages.iter().find(|page| {
                    (page.inode, &page.path, &page.mount, page.dotfiles)
                        == (inode, path, mount, *dotfiles)
                });
                if let Some(page) = same {
                    return Ok(Beneath::Page(Some(Arc::clone(&page.content))));
                }
                let Some(content) = stored::page(root.as_fd(), path, mount, *dotfiles)? else {
                    return Ok(Beneath::Page(None));
                };
                let content: Arc<[u8]> = content.into();
                if self.pages.len() >= PAGE_COUNT {
                    self.pages.remove(0);
                }
                self.pages.push(Page {
                    made: Instant::now(),
                    inode,
                    path: path.clone(),
                    mount: mount.clone(),
                    dotfiles: *dotfiles,
                    content: Arc::clone(&content),
                });
                Ok(Beneath::Page(Some(content)))
            }
            Search::Warm { file, offset, length } => {
                warm(file, *offset, *length)?;
                Ok(Beneath::Warm)
            }
        }
    }
}

/// Reads a part of a file, so that it is in memory.
fn warm(file: &File, mut offset: u64, mut length: u64) -> io::Result<()> {
    let mut scratch = vec![0; STEP_BYTES];
    while length > 0 {
        let wanted = usize::try_from(length).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        let into = scratch.get_mut(..wanted).unwrap_or_default();
        let count = beneath::read_at(file, into, offset, Wait::Disk)? as u64;
        if count == 0 {
            break;
        }
        offset = offset.saturating_add(count);
        length = length.saturating_sub(count);
    }
    Ok(())
}

/// A page of a directory is shown this long without looking again.
const PAGE_AGE: Duration = Duration::from_millis(500);
/// Pages remembered at a time.
const PAGE_COUNT: usize = 4;
const STEP_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::fs;

    #[test]
    fn who_asks_together_gets_the_same_page_and_who_asks_later_a_new_one() {
        let dir = TestDir::make();
        fs::write(dir.path().join("first"), "").unwrap();
        let root = Arc::new(beneath::root(dir.path()).unwrap());
        let mut searcher = Searcher::default();
        let mut page = |dotfiles| {
            let (root, path, mount) = (Arc::clone(&root), Vec::new(), Vec::new());
            match searcher.find(&Search::Page { root, path, mount, dotfiles }).unwrap() {
                Beneath::Page(Some(page)) => page,
                other => panic!("{other:?}"),
            }
        };
        let (one, two, other) = (page(false), page(false), page(true));
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        fs::write(dir.path().join("second"), "").unwrap();
        let asked = Instant::now();
        loop {
            let text = String::from_utf8(page(false).to_vec()).unwrap();
            if text.contains("./second") {
                break;
            }
            assert!(asked.elapsed() < PAGE_AGE * 4, "an old page");
            std::thread::yield_now();
        }
    }

    #[test]
    fn warming_ends_where_the_file_does() {
        let dir = TestDir::make();
        let path = dir.path().join("file");
        fs::write(&path, vec![1; 600_000]).unwrap();
        let file = File::open(&path).unwrap();
        warm(&file, 0, u64::MAX).unwrap();
        warm(&file, 1_000_000, 10).unwrap();
    }
}
