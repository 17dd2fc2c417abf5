//! Reading one answer as its bytes arrive: of the app to a probe, of the master to a verb.

use rip::http1::{Client, ClientRead, Malformed, ResponseHead};
use rip::limits;

/// An answer being read.
pub(crate) struct Answer {
    client: Client,
    head: ResponseHead,
    input: Vec<u8>,
    status: Option<u16>,
    body: Vec<u8>,
    ended: bool,
    reusable: bool,
}

impl Answer {
    /// The answer to a request that is being sent.
    pub(crate) fn new() -> Self {
        let mut client = Client::new();
        client.request(false);
        Self {
            client,
            head: ResponseHead::new(),
            input: Vec::new(),
            status: None,
            body: Vec::new(),
            ended: false,
            reusable: false,
        }
    }

    /// The status, once the head is complete.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// The body so far, up to [`limits::CONTROL_BODY_BYTES`].
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole answer was read.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The whole answer was read and its connection can be asked again.
    pub(crate) fn reusable(&self) -> bool {
        self.reusable
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are not an answer, or come after its end.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.input.extend_from_slice(bytes);
        self.advance(false)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When the answer had not, or when no question is open.
    pub(crate) fn close(&mut self) -> Result<(), Malformed> {
        self.reusable = false;
        self.advance(true)
    }

    fn advance(&mut self, eof: bool) -> Result<(), Malformed> {
        loop {
            let consumed = match self.client.read(&self.input, eof, &mut self.head)? {
                ClientRead::More => return Ok(()),
                // Nothing here asks for another protocol.
                ClientRead::Informational { consumed } | ClientRead::Switched { consumed } => {
                    consumed
                }
                ClientRead::Head { consumed } => {
                    self.status = Some(self.head.status());
                    consumed
                }
                ClientRead::Body { consumed, data } => {
                    let room = limits::CONTROL_BODY_BYTES.saturating_sub(self.body.len());
                    let data = &self.input[data];
                    self.body.extend_from_slice(&data[..data.len().min(room)]);
                    consumed
                }
                ClientRead::End { consumed, reusable } => {
                    self.ended = true;
                    self.reusable = reusable;
                    self.input.drain(..consumed);
                    return Ok(());
                }
            };
            self.input.drain(..consumed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let bytes =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        for step in [1, 7, bytes.len()] {
            let mut answer = Answer::new();
            for piece in bytes.chunks(step) {
                assert!(!answer.ended());
                assert_eq!(answer.read(piece), Ok(()));
            }
            assert_eq!((answer.status(), answer.body()), (Some(404), &b"no"[..]));
            assert!(answer.ended() && answer.reusable());
        }
    }

    #[test]
    fn a_close_ends_only_what_has_no_other_end() {
        let mut answer = Answer::new();
        assert_eq!(answer.read(b"HTTP/1.0 200 OK\r\n\r\nbody"), Ok(()));
        assert!(!answer.ended());
        assert_eq!(answer.close(), Ok(()));
        assert!(answer.ended() && !answer.reusable());
        let mut answer = Answer::new();
        assert_eq!(answer.read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody"), Ok(()));
        assert!(answer.close().is_err());
        assert!(!answer.ended());
        let mut answer = Answer::new();
        assert!(answer.read(b"SSH-2.0-OpenSSH_9\r\n\r\n").is_err());
    }
}
