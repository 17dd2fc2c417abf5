//! The shim's side of the control socket: join when the app is ready, quit before it is stopped.

use crate::connection::{Connection, Target};
use rip::wire::spec::WorkerSpec;
use rip::wire::verb::{Accepted, Join, Quit, Refused, WorkerVerb};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The connection opened at boot, and who speaks on it.
pub(crate) struct Control {
    connection: Connection,
    waiting: bool,
}

/// What the master answered.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    Accepted,
    /// Refused, and why.
    Refused(String),
    /// The connection ended without an answer.
    Lost,
}

impl Control {
    /// Connects; the master takes the peer's credentials now.
    pub(crate) fn open(spec: &WorkerSpec) -> io::Result<Self> {
        Ok(Self { connection: Connection::open(&target(spec))?, waiting: false })
    }

    /// Tells the master that the worker may get requests.
    pub(crate) fn join(&mut self, spec: &WorkerSpec, app_pid: u32, keep_alive: bool) {
        let verb = WorkerVerb::Join(Join {
            worker_id: spec.worker_id,
            generation: spec.generation,
            version: spec.generation,
            pid: std::process::id(),
            app_pid,
            socket: spec.socket.clone(),
            app_id: spec.app_id.clone(),
            keep_alive,
        });
        self.say(spec, &verb);
    }

    /// Asks the master to let the worker go; answered when its last lease has ended. A connection
    /// that was lost meanwhile is opened once more.
    pub(crate) fn quit(&mut self, spec: &WorkerSpec) {
        self.connection.turn();
        if self.connection.is_closed()
            && let Ok(connection) = Connection::open(&target(spec))
        {
            self.connection = connection;
        }
        let verb = WorkerVerb::Quit(Quit {
            worker_id: spec.worker_id,
            generation: spec.generation,
            app_id: spec.app_id.clone(),
        });
        self.say(spec, &verb);
    }

    /// The answer to what was said last, once.
    pub(crate) fn turn(&mut self) -> Option<Reply> {
        if self.connection.is_closed() && !self.waiting {
            return None;
        }
        self.connection.turn();
        let reply = match self.connection.answer() {
            Some(answer) if answer.ended() => understand(answer.status(), answer.body()),
            _ if self.connection.is_closed() => Reply::Lost,
            _ => return None,
        };
        std::mem::take(&mut self.waiting).then_some(reply)
    }

    /// The connection to wait for, and whether it also wants to write.
    pub(crate) fn waits_for(&self) -> Option<(BorrowedFd<'_>, bool)> {
        let connection = &self.connection;
        (!connection.is_closed()).then(|| (connection.as_fd(), connection.is_writing()))
    }

    fn say(&mut self, spec: &WorkerSpec, verb: &WorkerVerb) {
        let body = serde_json::to_string(verb).unwrap_or_default();
        let question = format!(
            "POST /worker HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            spec.token,
            body.len()
        );
        self.waiting = true;
        self.connection.ask(question.as_bytes());
    }
}

fn target(spec: &WorkerSpec) -> Target {
    Target::Unix(spec.control_socket.clone().into())
}

fn understand(status: Option<u16>, body: &[u8]) -> Reply {
    if status == Some(200) && serde_json::from_slice::<Accepted>(body).is_ok_and(|said| said.ok) {
        return Reply::Accepted;
    }
    Reply::Refused(match serde_json::from_slice::<Refused>(body) {
        Ok(refused) if refused.hint.is_empty() => refused.error,
        Ok(refused) => format!("{}; {}", refused.error, refused.hint),
        Err(_) => format!("status {}", status.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_accepted_only_when_it_says_so() {
        assert_eq!(understand(Some(200), br#"{"ok":true}"#), Reply::Accepted);
        assert_eq!(understand(Some(200), br#"{"ok":true,"drained":true}"#), Reply::Accepted);
        let refused = understand(Some(403), br#"{"ok":false,"error":"no","hint":"go"}"#);
        assert_eq!(refused, Reply::Refused("no; go".to_owned()));
        assert_eq!(understand(Some(500), b"oops"), Reply::Refused("status 500".to_owned()));
    }
}
