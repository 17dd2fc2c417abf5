//! Files that are written and read for event loops, which must not wait for a disk.

use super::disk_file::DiskFile;
use crate::reactor::mailbox::Sender;
use crate::shared::mail::EdgeMessage;
use crate::shared::stored::{Looked, StoredFile};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Where jobs for the files agent go. Cheap to clone.
#[derive(Clone, Default)]
pub struct FileQueue {
    shared: Arc<Shared>,
}

impl FileQueue {
    /// A queue that nobody serves yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands a job to the agent. Jobs are done in the order they came; each is answered by
    /// [`EdgeMessage::File`], also when it fails or when the agent has ended.
    pub fn submit(&self, job: FileJob) {
        let mut tasks = self.shared.lock();
        if tasks.closed {
            drop(tasks);
            return job.answer(Err(io::ErrorKind::NotConnected.into()));
        }
        tasks.waiting.push_back(Task::Job(job));
        drop(tasks);
        self.shared.changed.notify_one();
    }

    /// Asks the agent what is beneath a directory. Jobs are done in the order they came; each is
    /// answered by [`EdgeMessage::Beneath`], also when it fails or when the agent has ended.
    pub fn search(&self, job: SearchJob) {
        let mut tasks = self.shared.lock();
        if tasks.closed {
            drop(tasks);
            return job.answer(Err(io::ErrorKind::NotConnected.into()));
        }
        tasks.waiting.push_back(Task::Search(job));
        drop(tasks);
        self.shared.changed.notify_one();
    }

    /// The next task, waited for; `None` when the queue is closed and everything is done. For the
    /// agent.
    pub fn next(&self) -> Option<Task> {
        let mut tasks = self.shared.lock();
        loop {
            match tasks.waiting.pop_front() {
                None if tasks.closed => return None,
                None => {
                    tasks = self.shared.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
                }
                task => return task,
            }
        }
    }

    /// No further job is taken; those that wait are done.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }

    /// Closes `file` in the agent: giving back the room of a large file can take its time.
    fn retire(&self, file: File) {
        let mut tasks = self.shared.lock();
        if !tasks.closed {
            tasks.waiting.push_back(Task::Close(file));
            drop(tasks);
            self.shared.changed.notify_one();
        }
    }
}

/// Something to be done with one file.
pub struct FileJob {
    /// The file.
    pub file: Arc<SpoolFile>,
    /// What to do.
    pub work: Work,
    /// Who gets the answer.
    pub reply: Sender<EdgeMessage>,
    /// What the answer is for.
    pub key: u64,
}

impl FileJob {
    /// Sends the answer.
    pub fn answer(self, result: io::Result<Vec<u8>>) {
        let wrote = matches!(self.work, Work::Write { .. });
        self.reply.send(EdgeMessage::File(FileDone { key: self.key, result, wrote }));
    }
}

/// What to do with a file.
pub enum Work {
    /// Read into `into`, whose content is replaced.
    Read {
        /// Where to begin.
        offset: u64,
        /// How many bytes.
        length: usize,
        /// The vector to be used.
        into: Vec<u8>,
    },
    /// Write all of it.
    Write {
        /// Where to begin.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// A job was done, or could not be.
#[derive(Debug)]
pub struct FileDone {
    /// What it was for.
    pub key: u64,
    /// After a write the vector, empty; after a read what was read: fewer bytes than were asked
    /// for only where the file ends.
    pub result: io::Result<Vec<u8>>,
    /// It was a write.
    pub wrote: bool,
}

/// A question about what is beneath a directory.
pub struct SearchJob {
    /// The question.
    pub search: Search,
    /// Who gets the answer.
    pub reply: Sender<EdgeMessage>,
    /// What the answer is for.
    pub key: u64,
}

impl SearchJob {
    /// Sends the answer.
    pub fn answer(self, result: io::Result<Beneath>) {
        self.reply.send(EdgeMessage::Beneath(SearchDone { key: self.key, result }));
    }
}

/// What is asked about a directory.
pub enum Search {
    /// What is at a path beneath it.
    Look {
        /// The directory.
        root: Arc<OwnedFd>,
        /// Beneath it.
        path: Vec<u8>,
        /// What was there before.
        known: Option<Arc<StoredFile>>,
    },
    /// The page of a directory beneath it.
    Page {
        /// The directory.
        root: Arc<OwnedFd>,
        /// Beneath it.
        path: Vec<u8>,
        /// What stands before the path in the address.
        mount: Vec<u8>,
        /// Names that begin with a dot are shown.
        dotfiles: bool,
    },
    /// Nothing: this part of a file shall be in memory.
    Warm {
        /// The file.
        file: Arc<DiskFile>,
        /// Where the part begins.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

/// The answer to a [`Search`].
#[derive(Debug)]
pub enum Beneath {
    /// What is there.
    Looked(Looked),
    /// The page; `None` when there is no directory.
    Page(Option<Arc<[u8]>>),
    /// It is in memory, as far as it exists.
    Warm,
}

/// A question about what is beneath a directory was answered, or could not be.
#[derive(Debug)]
pub struct SearchDone {
    /// What it was for.
    pub key: u64,
    /// The answer.
    pub result: io::Result<Beneath>,
}

/// What the agent has to do next.
pub enum Task {
    /// Close a file nobody uses any more.
    Close(File),
    /// Do a job and answer it.
    Job(FileJob),
    /// Look beneath a directory and answer.
    Search(SearchJob),
}

/// A file without a name, in a directory: gone with its last user. It is made by the agent when
/// something is first written to it, and closed there too.
#[derive(Debug)]
pub struct SpoolFile {
    dir: PathBuf,
    open: OnceLock<Open>,
}

impl SpoolFile {
    /// A file that will be in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, open: OnceLock::new() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file, once it was made.
    pub fn file(&self) -> Option<&File> {
        self.open.get().map(|open| &open.file)
    }

    /// `file` is the one; when nobody uses it any more `queue`'s agent closes it. The first call
    /// counts.
    pub fn opened(&self, file: File, queue: &FileQueue) -> &File {
        &self.open.get_or_init(|| Open { file, queue: queue.clone() }).file
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if let Some(Open { file, queue }) = self.open.take() {
            queue.retire(file);
        }
    }
}

struct Open {
    file: File,
    queue: FileQueue,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.file.fmt(out)
    }
}

#[derive(Default)]
struct Shared {
    tasks: Mutex<Tasks>,
    changed: Condvar,
}

#[derive(Default)]
struct Tasks {
    waiting: VecDeque<Task>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        // Nothing that can panic runs under this lock.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
