//! What is found beneath a directory of files: looked up by an event loop as far as that needs no
//! disk, and by the files agent otherwise.

use super::disk_file::DiskFile;
use crate::sys::beneath::{self, Facts, Kind, Names, Wait};
use rip::files::answer::{File as Found, Meta};
use rip::files::conditional::Modified;
use rip::files::listing::{Entry, Listing};
use rip::files::{Encoding, Found as Place};
use rip::limits;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What is at a path.
#[derive(Clone, Debug)]
pub enum Looked {
    /// A directory.
    Directory,
    /// A regular file that can be read.
    File(Arc<StoredFile>),
    /// Nothing that is served.
    Missing,
}

impl Looked {
    /// The same as answers are decided upon.
    pub fn place(&self) -> Place {
        match self {
            Self::Directory => Place::Directory,
            Self::File(file) => Place::File(file.metas()),
            Self::Missing => Place::Missing,
        }
    }
}

/// A file and its encoded siblings, as they were when they were looked at: an open file keeps its
/// bytes when another one takes its name.
#[derive(Debug)]
pub struct StoredFile {
    own: Part,
    siblings: [Option<Part>; Encoding::SIBLINGS.len()],
}

impl StoredFile {
    /// What is sent in `encoding`.
    pub fn part(&self, encoding: Encoding) -> Option<&Part> {
        match Encoding::SIBLINGS.iter().position(|sibling| *sibling == encoding) {
            Some(at) => self.siblings.get(at)?.as_ref(),
            None => Some(&self.own),
        }
    }

    /// What it costs to keep it: open files, and bytes in memory.
    pub fn cost(&self) -> (usize, usize) {
        let parts = std::iter::once(&self.own).chain(self.siblings.iter().flatten());
        parts.fold((0, 0), |(files, bytes), part| match &part.body {
            Body::Bytes(content) => (files, bytes + content.len()),
            Body::File(_) => (files + 1, bytes),
        })
    }

    /// Nothing that is open was changed in place since it was looked at.
    pub fn is_unchanged(&self) -> bool {
        let mut parts = std::iter::once(&self.own).chain(self.siblings.iter().flatten());
        parts.all(|part| match &part.body {
            Body::Bytes(_) => true,
            Body::File(file) => {
                beneath::facts(&***file).is_ok_and(|facts| facts.is_same_content(&part.facts))
            }
        })
    }

    fn metas(&self) -> Found {
        let meta = |encoding| self.part(encoding).map(Part::meta);
        Found {
            own: self.own.meta(),
            br: meta(Encoding::Br),
            gzip: meta(Encoding::Gzip),
            zstd: meta(Encoding::Zstd),
        }
    }
}

/// One of the files that belong together.
#[derive(Clone, Debug)]
pub struct Part {
    facts: Facts,
    /// What it holds.
    pub body: Body,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it: it is small.
    Bytes(Arc<[u8]>),
    /// To be read when it is sent.
    File(Arc<DiskFile>),
}

impl Part {
    fn meta(&self) -> Meta {
        let Facts { size, modified: (secs, nanos), .. } = self.facts;
        Meta { size, modified: Modified { secs, nanos } }
    }
}

/// Looks at what `path` names beneath `root`. What is still the same file as in `known` is taken
/// from there.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] with [`Wait::Never`] where a disk must be asked; otherwise only
/// what says nothing about the path: no descriptor left, a disk that fails.
pub fn look(
    root: BorrowedFd<'_>,
    path: &[u8],
    known: Option<&StoredFile>,
    wait: Wait,
) -> io::Result<Looked> {
    let own = match open(root, path, known.map(|known| &known.own), wait)? {
        Opened::Directory => return Ok(Looked::Directory),
        Opened::Missing => return Ok(Looked::Missing),
        Opened::Part(part) => part,
    };
    let mut siblings = [const { None }; Encoding::SIBLINGS.len()];
    let mut name = path.to_vec();
    for (at, (slot, encoding)) in siblings.iter_mut().zip(Encoding::SIBLINGS).enumerate() {
        name.truncate(path.len());
        name.extend_from_slice(encoding.extension().as_bytes());
        let known = known.and_then(|known| known.siblings.get(at)?.as_ref());
        if let Opened::Part(part) = open(root, &name, known, wait)? {
            *slot = Some(part);
        }
    }
    Ok(Looked::File(Arc::new(StoredFile { own, siblings })))
}

enum Opened {
    Directory,
    Missing,
    Part(Part),
}

fn open(root: BorrowedFd<'_>, path: &[u8], known: Option<&Part>, wait: Wait) -> io::Result<Opened> {
    let file = match beneath::open_beneath(root, path, wait) {
        Ok(file) => file,
        Err(error) if says_missing(&error) => return Ok(Opened::Missing),
        Err(error) => return Err(error),
    };
    let facts = beneath::facts(&file)?;
    match facts.kind {
        Kind::Directory => return Ok(Opened::Directory),
        Kind::File => {}
        Kind::Link | Kind::Other => return Ok(Opened::Missing),
    }
    if let Some(known) = known
        && known.facts == facts
    {
        return Ok(Opened::Part(known.clone()));
    }
    let file = File::from(file);
    let part = match small(&file, facts, wait)? {
        Some(part) => part,
        None => Part { facts, body: Body::File(Arc::new(DiskFile::new(file, facts.size))) },
    };
    Ok(Opened::Part(part))
}

/// All of a small file. Nothing when it is large, or changes while it is read.
fn small(file: &File, mut facts: Facts, wait: Wait) -> io::Result<Option<Part>> {
    for _ in 0..READ_COUNT {
        let Some(size) = usize::try_from(facts.size).ok().filter(|size| *size <= SMALL_BYTES)
        else {
            return Ok(None);
        };
        let mut bytes = vec![0; size];
        let count = beneath::read_at(file, &mut bytes, 0, wait)?;
        let after = beneath::facts(file)?;
        if count == size && after == facts {
            return Ok(Some(Part { facts, body: Body::Bytes(bytes.into()) }));
        }
        facts = after;
    }
    Ok(None)
}

/// Whether the path names nothing that is served. Everything else is our own trouble.
pub fn says_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOENT
                | libc::ENOTDIR
                | libc::ELOOP
                | libc::EXDEV
                | libc::EACCES
                | libc::EPERM
                | libc::ENAMETOOLONG
                | libc::ENXIO
                | libc::ENODEV
                | libc::EINVAL
                | libc::EOVERFLOW
                | libc::ETXTBSY
        )
    )
}

/// The page of the directory that `path` names beneath `root`, or nothing when it is none. Waits for
/// the disk. `mount` is what stands before `path` in the address.
///
/// # Errors
/// What says nothing about the path.
pub fn page(
    root: BorrowedFd<'_>,
    path: &[u8],
    mount: &[u8],
    dotfiles: bool,
) -> io::Result<Option<Vec<u8>>> {
    let dir = match beneath::open_beneath(root, path, Wait::Disk) {
        Ok(dir) => dir,
        Err(error) if says_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if beneath::facts(&dir)?.kind != Kind::Directory {
        return Ok(None);
    }
    let mut names = Names::of(dir)?;
    let mut listing = Listing::new(dotfiles);
    let mut looked_at = 0;
    while let Some(name) = names.next() {
        let name = name?;
        if !listing.shows(name.to_bytes()) {
            continue;
        }
        looked_at += 1;
        if looked_at > limits::LISTING_LOOK_COUNT {
            break;
        }
        if let Some(entry) = entry(root, path, names.dir(), &name) {
            listing.push(entry);
        }
    }
    let mut page = Vec::new();
    listing.write_page(mount, path, &mut page);
    Ok(Some(page))
}

/// What a request for `name` would find; nothing where it would find nothing.
fn entry(root: BorrowedFd<'_>, path: &[u8], dir: BorrowedFd<'_>, name: &CStr) -> Option<Entry> {
    let mut facts = beneath::facts_of(dir, name).ok()?;
    if facts.kind == Kind::Link {
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        let target = [path, slash, name.to_bytes()].concat();
        let target: OwnedFd = beneath::open_beneath(root, &target, Wait::Disk).ok()?;
        facts = beneath::facts(target.as_fd()).ok()?;
    }
    let is_directory = match facts.kind {
        Kind::Directory => true,
        Kind::File => false,
        Kind::Link | Kind::Other => return None,
    };
    let (secs, nanos) = facts.modified;
    let modified = Modified { secs, nanos };
    Some(Entry { name: name.to_bytes().to_vec(), is_directory, size: facts.size, modified })
}

/// A file of this size or less is kept in memory: beside the head of its answer it still fits into
/// one block.
const SMALL_BYTES: usize = limits::BLOCK_BYTES - 2048;
/// How often a file that changes while it is read is read again.
const READ_COUNT: usize = 3;

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
