//! Looking a database through, beside those who use it.
//!
//! It takes as long as the database is large: seconds for a gigabyte that is in memory, many more from
//! a cold disk. Opening waits for the verdict for a moment only, which is enough for some hundred
//! megabytes. What is wrong with a larger one is found while it serves already, as if it had become so
//! in that moment: it is moved aside then. The first pages, the tables and the length are looked at by
//! SQLite at once in any case.

use super::open;
use super::trouble::Trouble;
use rusqlite::{ErrorCode, InterruptHandle};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A database that is being looked through. It ends when it is dropped.
pub struct Check {
    verdict: Receiver<Result<(), Trouble>>,
    interrupt: InterruptHandle,
    thread: Option<JoinHandle<()>>,
}

impl Check {
    /// Looks through the database at `path`, which somebody has opened.
    ///
    /// # Errors
    /// When it cannot be read at all, or no thread can be started.
    pub fn start(path: &Path) -> Result<Self, Trouble> {
        let conn = open::connect_reader(path)?;
        let interrupt = conn.get_interrupt_handle();
        let (tell, verdict) = sync_channel(1);
        let thread = Builder::new().name("store-check".to_owned()).spawn(move || {
            let result = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
            let result = match result {
                Ok(text) if text == "ok" => Ok(()),
                Ok(text) => Err(Trouble::broken(text)),
                // Nobody wants to know any more.
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) =>
                {
                    return;
                }
                Err(error) => Err(error.into()),
            };
            let _ = tell.send(result);
        })?;
        Ok(Self { verdict, interrupt, thread: Some(thread) })
    }

    /// Waits for the verdict, but not beyond `pause`; `None`: it takes longer.
    pub fn wait(&self, pause: Duration) -> Option<Result<(), Trouble>> {
        match self.verdict.recv_timeout(pause) {
            Ok(verdict) => Some(verdict),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Ok(())),
        }
    }
}

impl Check {
    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // An interruption before it has begun is none.
        while !thread.is_finished() {
            self.interrupt.interrupt();
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.join().is_err() {
            log::error!("looking the store of sessions through ended by a panic");
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::TryRecvError;

    #[test]
    fn it_ends_when_nobody_wants_to_know_any_more() {
        let dir = crate::sys::test_dir::TestDir::make();
        let path = dir.path().join("large.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t(x TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)
             INSERT INTO t SELECT hex(randomblob(500)) FROM n",
        )
        .unwrap();
        let check = Check::start(&path).unwrap();
        assert_eq!(check.wait(Duration::from_secs(20)), Some(Ok(())));
        let is_cut = |mut check: Check| {
            check.end();
            check.verdict.try_recv() == Err(TryRecvError::Disconnected)
        };
        // One that was as fast as the interruption proves nothing.
        assert!((0..20).any(|_| is_cut(Check::start(&path).unwrap())), "it was waited for");
    }
}
