//! The thread that waits for the disk, so that no event loop does.

use super::beneath::Searcher;
use crate::shared::files::{FileJob, FileQueue, Task, Work};
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// The files agent: one thread, jobs in the order they came.
pub struct FileAgent {
    queue: FileQueue,
    thread: Option<JoinHandle<()>>,
}

impl FileAgent {
    /// Starts it.
    pub fn start() -> io::Result<Self> {
        let queue = FileQueue::new();
        let served = queue.clone();
        let thread =
            std::thread::Builder::new().name("files".to_owned()).spawn(move || serve(&served))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Where its jobs go.
    pub fn queue(&self) -> FileQueue {
        self.queue.clone()
    }

    /// Does and answers what was submitted, then ends.
    pub fn stop(self) {}
}

impl Drop for FileAgent {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the files agent ended by a panic");
        }
    }
}

fn serve(queue: &FileQueue) {
    let mut beneath = Searcher::default();
    while let Some(task) = queue.next() {
        match task {
            Task::Close(file) => drop(file),
            Task::Search(job) => {
                let result = beneath.find(&job.search);
                job.answer(result);
            }
            Task::Job(mut job) => {
                let result = carry_out(&mut job, queue);
                job.answer(result);
            }
        }
    }
}

fn carry_out(job: &mut FileJob, queue: &FileQueue) -> io::Result<Vec<u8>> {
    match &mut job.work {
        Work::Read { offset, length, into } => {
            let mut bytes = std::mem::take(into);
            let file = job.file.file().ok_or(io::ErrorKind::NotFound)?;
            read_at(file, *offset, *length, &mut bytes)?;
            Ok(bytes)
        }
        Work::Write { offset, bytes } => {
            let mut bytes = std::mem::take(bytes);
            let file = match job.file.file() {
                Some(file) => file,
                None => job.file.opened(nameless(job.file.dir())?, queue),
            };
            file.write_all_at(&bytes, *offset)?;
            bytes.clear();
            Ok(bytes)
        }
    }
}

fn read_at(file: &File, offset: u64, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    bytes.resize(length, 0);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(())
}

/// A new file in `dir` that has no name, or where the file system cannot do that, has it no
/// longer.
fn nameless(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(OFlag::O_TMPFILE.bits()).open(dir) {
        Err(error) if lacks_tmpfile(&error) => unlinked(dir, &mut options),
        other => other,
    }
}

fn unlinked(dir: &Path, options: &mut OpenOptions) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".rip-spool-{}-{number}", std::process::id()));
        match options.create_new(true).open(&path) {
            // An earlier process with our number left it behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
}

/// Old file systems say so; old kernels take the flag for an attempt to write to a directory.
fn lacks_tmpfile(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mailbox::{Receiver, Sender, mailbox};
    use crate::shared::files::{FileDone, SpoolFile};
    use crate::shared::mail::EdgeMessage;
    use crate::sys::test_dir::TestDir;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    struct Desk {
        poll: mio::Poll,
        sender: Sender<EdgeMessage>,
        receiver: Receiver<EdgeMessage>,
        read: VecDeque<FileDone>,
    }

    impl Desk {
        fn new() -> Self {
            let poll = mio::Poll::new().unwrap();
            let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
            let (sender, receiver) = mailbox(Arc::new(waker));
            Self { poll, sender, receiver, read: VecDeque::new() }
        }

        fn job(&self, file: &Arc<SpoolFile>, key: u64, work: Work) -> FileJob {
            FileJob { file: Arc::clone(file), work, reply: self.sender.clone(), key }
        }

        fn answer(&mut self) -> FileDone {
            let mut events = mio::Events::with_capacity(4);
            let mut mail = Vec::new();
            loop {
                self.receiver.drain(&mut mail);
                self.read.extend(mail.drain(..).filter_map(|message| match message {
                    EdgeMessage::File(done) => Some(done),
                    #[allow(unreachable_patterns)]
                    _ => None,
                }));
                if let Some(done) = self.read.pop_front() {
                    return done;
                }
                self.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                assert!(!events.is_empty(), "no answer");
            }
        }
    }

    #[test]
    fn what_was_written_is_read_in_order_and_the_file_has_no_name() {
        let dir = TestDir::make();
        let agent = FileAgent::start().unwrap();
        let mut desk = Desk::new();
        let file = Arc::new(SpoolFile::new(dir.path().to_owned()));
        let part = |byte| vec![byte; 1000];
        for key in 0..10_u64 {
            let work = Work::Write { offset: key * 1000, bytes: part(key as u8) };
            agent.queue().submit(desk.job(&file, key, work));
        }
        let read = Work::Read { offset: 2500, length: 1_000_000, into: vec![1, 2, 3] };
        agent.queue().submit(desk.job(&file, 10, read));
        for key in 0..10 {
            let done = desk.answer();
            assert_eq!((done.key, done.wrote, done.result.unwrap().len()), (key, true, 0));
        }
        let done = desk.answer();
        assert_eq!((done.key, done.wrote), (10, false));
        let bytes = done.result.unwrap();
        assert_eq!(bytes.len(), 7500);
        assert_eq!((bytes[0], bytes[499], bytes[500], bytes[7499]), (2, 2, 3, 9));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_error_is_an_answer() {
        let agent = FileAgent::start().unwrap();
        let mut desk = Desk::new();
        let nowhere = Arc::new(SpoolFile::new("/nonexistent/spool".into()));
        let write = Work::Write { offset: 0, bytes: vec![1] };
        agent.queue().submit(desk.job(&nowhere, 1, write));
        assert_eq!(desk.answer().result.unwrap_err().kind(), io::ErrorKind::NotFound);
        let read = Work::Read { offset: 0, length: 1, into: Vec::new() };
        agent.queue().submit(desk.job(&nowhere, 2, read));
        assert!(desk.answer().result.is_err());
        let queue = agent.queue();
        agent.stop();
        let late = Work::Write { offset: 0, bytes: vec![1] };
        queue.submit(desk.job(&nowhere, 3, late));
        let done = desk.answer();
        assert!(done.wrote && done.result.is_err());
    }

    #[test]
    fn what_waits_is_done_before_the_agent_ends() {
        let dir = TestDir::make();
        let agent = FileAgent::start().unwrap();
        let mut desk = Desk::new();
        let file = Arc::new(SpoolFile::new(dir.path().to_owned()));
        for key in 0..100 {
            let work = Work::Write { offset: 0, bytes: vec![0; 10_000] };
            agent.queue().submit(desk.job(&file, key, work));
        }
        agent.stop();
        assert!((0..100).all(|key| desk.answer().key == key));
    }

    #[test]
    fn the_agent_closes_what_nobody_uses() {
        let dir = TestDir::make();
        let agent = FileAgent::start().unwrap();
        let mut desk = Desk::new();
        let file = Arc::new(SpoolFile::new(dir.path().to_owned()));
        let work = Work::Write { offset: 0, bytes: vec![1] };
        agent.queue().submit(desk.job(&file, 0, work));
        desk.answer().result.unwrap();
        let in_use = Arc::downgrade(&file);
        let open = || {
            let of_ours = |entry: fs::DirEntry| {
                fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(dir.path()))
            };
            fs::read_dir("/proc/self/fd").unwrap().flatten().any(of_ours)
        };
        assert!(open());
        drop(file);
        agent.stop();
        assert!(in_use.upgrade().is_none() && !open());
    }

    #[test]
    fn without_nameless_files_a_name_is_taken_and_given_back() {
        let dir = TestDir::make();
        let mut options = OpenOptions::new();
        let file = unlinked(dir.path(), options.read(true).write(true).mode(0o600)).unwrap();
        file.write_all_at(b"kept", 10).unwrap();
        let mut bytes = Vec::new();
        read_at(&file, 10, 100, &mut bytes).unwrap();
        assert_eq!(bytes, b"kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
