//! A request's body on its way to a worker: complete before a worker is asked for, so that a slow
//! client never holds one.
//!
//! The first part stays in memory, the rest goes to an unlinked file written by the files agent.
//! While the agent is behind, the client is not read.

use super::exchange::State;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::Shared;
use crate::shared::files::{FileDone, FileJob, SpoolFile, Work};
use rip::contract::reason::Reason;
use rip::limits;
use std::sync::Arc;

/// A request's body.
#[derive(Default)]
pub(super) struct Spool {
    /// Its beginning, or all of it.
    pub(super) memory: Vec<u8>,
    /// The file with the rest.
    pub(super) file: Option<Arc<SpoolFile>>,
    /// Bytes written to the file or on their way there.
    pub(super) file_bytes: u64,
    /// Bytes for the file that the agent has not got yet.
    pending: Vec<u8>,
    /// The agent is working for this body.
    pub(super) agent_busy: bool,
    /// Taken out of the process's budgets.
    memory_taken: u64,
    disk_taken: u64,
}

impl Spool {
    /// Bytes received.
    pub(super) fn total_bytes(&self) -> u64 {
        self.memory.len() as u64 + self.file_bytes + self.pending.len() as u64
    }

    /// The client has to wait for the agent.
    pub(super) fn is_full(&self) -> bool {
        self.agent_busy && self.pending.len() >= PENDING_BYTES
    }

    /// Takes in a piece of the body.
    fn push(&mut self, data: &[u8], shared: &Shared) -> Result<(), Reason> {
        let room = limits::SPOOL_MEMORY_PER_REQUEST_BYTES.saturating_sub(self.memory.len());
        let (head, rest) = data.split_at(data.len().min(room));
        if !head.is_empty() {
            if !self.reserve(head.len() as u64, shared) {
                return Err(Reason::SpoolFull);
            }
            self.memory.extend_from_slice(head);
        }
        if !rest.is_empty() {
            if !shared.spool_disk.take(rest.len() as u64) {
                return Err(Reason::SpoolFull);
            }
            self.disk_taken += rest.len() as u64;
            self.pending.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Takes room for bytes that are kept in memory. False when there is none.
    pub(super) fn reserve(&mut self, bytes: u64, shared: &Shared) -> bool {
        let has_room = shared.spool_memory.take(bytes);
        if has_room {
            self.memory_taken += bytes;
        }
        has_room
    }

    /// Gives what was taken back to the process's budgets.
    pub(super) fn settle_budgets(&mut self, shared: &Shared) {
        if self.memory_taken > 0 {
            shared.spool_memory.give(std::mem::take(&mut self.memory_taken));
        }
        if self.disk_taken > 0 {
            shared.spool_disk.give(std::mem::take(&mut self.disk_taken));
        }
    }
}

impl Edge {
    /// Takes in a piece of an exchange's body.
    pub(super) fn spool(&mut self, key: Key, data: &[u8]) -> Result<(), Reason> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(()) };
        if exchange.upload.is_some() {
            return self.upload(key, data);
        }
        let limit = exchange.body_limit;
        exchange.record.bytes_in += data.len() as u64;
        if let Some(publishing) = &mut exchange.publishing {
            return publishing.push(data);
        }
        if let Some(knock) = &mut exchange.door {
            return knock.push(data);
        }
        if let Some(asking) = &mut exchange.asking {
            if asking.body.len() + data.len() > limits::TURN_INPUT_BYTES {
                return Err(Reason::BodyTooLarge);
            }
            if !exchange.spool.reserve(data.len() as u64, &self.shared) {
                return Err(Reason::SpoolFull);
            }
            asking.body.extend_from_slice(data);
            return Ok(());
        }
        if exchange.spool.total_bytes() + data.len() as u64 > limit {
            return Err(Reason::BodyTooLarge);
        }
        exchange.spool.push(data, &self.shared)?;
        if exchange.spool.pending.len() >= WRITE_BYTES {
            self.write_spool(key);
        }
        Ok(())
    }

    /// Gives the agent what is waiting for the file. True when there was nothing left to write.
    pub(super) fn write_spool(&mut self, key: Key) -> bool {
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let spool = &mut exchange.spool;
        if spool.agent_busy {
            return false;
        }
        if spool.pending.is_empty() {
            return true;
        }
        let file = spool
            .file
            .get_or_insert_with(|| Arc::new(SpoolFile::new(self.shared.spool_dir.clone())))
            .clone();
        let bytes = std::mem::take(&mut spool.pending);
        let offset = spool.file_bytes;
        spool.file_bytes += bytes.len() as u64;
        spool.agent_busy = true;
        self.shared.files.submit(FileJob {
            file,
            work: Work::Write { offset, bytes },
            reply: self.own.clone(),
            key: key.as_u64(),
        });
        false
    }

    /// Asks the agent for the part of the file that the worker gets next.
    pub(super) fn read_spool(&mut self, key: Key, offset: u64) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let spool = &mut exchange.spool;
        let Some(file) = spool.file.clone() else { return };
        if spool.agent_busy {
            return;
        }
        spool.agent_busy = true;
        exchange.part_wanted = true;
        let length = usize::try_from(spool.file_bytes - offset).unwrap_or(READ_BYTES);
        self.shared.files.submit(FileJob {
            file,
            work: Work::Read {
                offset,
                length: length.min(READ_BYTES),
                into: std::mem::take(&mut exchange.part),
            },
            reply: self.own.clone(),
            key: key.as_u64(),
        });
    }

    /// The agent did a job.
    pub(super) fn file_done(&mut self, done: FileDone) {
        let key = Key::from_u64(done.key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.spool.agent_busy = false;
        let bytes = match done.result {
            Ok(bytes) => bytes,
            Err(error) => {
                log::error!("{}: cannot spool a request body: {error}", exchange.request_id);
                return self.fail(key, Reason::SpoolFailed);
            }
        };
        if done.wrote {
            let spool = &mut exchange.spool;
            if spool.pending.is_empty() {
                spool.pending = bytes;
                spool.pending.clear();
            }
            let front = exchange.front;
            let received = exchange.state == State::Storing;
            let written = self.write_spool(key);
            if received && written {
                self.ask_for_worker(key);
            } else if let Some(front) = front {
                self.run_later(front);
            }
        } else {
            if std::mem::take(&mut exchange.part_wanted) {
                if bytes.is_empty() {
                    log::error!("{}: a spool file is too short", exchange.request_id);
                    return self.fail(key, Reason::SpoolFailed);
                }
                exchange.part = bytes;
                exchange.part_sent = 0;
            }
            if let Some(link) = exchange.link {
                self.send_request(link, key);
            }
        }
    }
}

/// The agent gets pieces of at least this size, the last one excepted.
const WRITE_BYTES: usize = 128 * 1024;
/// A client is not read while this much waits for the agent.
const PENDING_BYTES: usize = 512 * 1024;
/// Parts of a file go to the worker in pieces of this size.
const READ_BYTES: usize = 256 * 1024;
