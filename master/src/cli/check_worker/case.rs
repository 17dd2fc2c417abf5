//! What is asked of a server: each case is a list of steps, and says how what came is judged. Nothing
//! here touches a socket.

use std::time::Duration;

/// One thing that is tried.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name for programs.
    pub id: &'static str,
    /// What is true when it goes well.
    pub title: &'static str,
    /// The rule it belongs to: a heading of `docs/WORKERS.md`.
    pub rule: &'static str,
    /// What it costs when it does not.
    pub weight: Weight,
    /// What is done, in order.
    pub plan: Plan,
}

/// What it means that a case does not go well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weight {
    /// The server cannot be a worker.
    Must,
    /// It can, and this is what it costs.
    Costs(&'static str),
}

/// What is done for a case.
#[derive(Clone, Debug)]
pub enum Plan {
    /// These steps.
    Steps(Vec<Step>),
    /// Nothing, for this reason.
    Skip(&'static str),
}

/// One thing done to the server. Connections are called by number, and open with the first thing done on
/// them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// These bytes are sent, as far as they are taken.
    Send(usize, Vec<u8>),
    /// An answer to what was sent, whose method was `HEAD` or not, is read to its end.
    Answer(usize, Wanted),
    /// The connection that the next request goes to: this one if its last answer left it open, else
    /// a fresh one.
    Next(usize),
    /// For so long nothing comes. The connection may end: what was asked is answered.
    Quiet(usize, Duration),
    /// For so long nothing comes, and the connection stays open.
    Stays(usize, Duration),
    /// The server ends the connection.
    End(usize),
    /// Our side of the connection ends; what still comes is read and thrown away until it is over, for a
    /// second at most, and then refused. As the edge does it when a client has left.
    Abandon(usize),
    /// The connection is gone, whatever is on its way.
    Drop(usize),
    /// Nothing is done for so long.
    Pause(Duration),
}

/// What an answer must be like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// It answers `HEAD`.
    pub to_head: bool,
    /// Which statuses.
    pub status: Status,
    /// Exactly this body.
    pub body: Option<Vec<u8>>,
}

/// Which statuses an answer may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Whatever the app says, short of a failure.
    NoFailure,
    /// The same, and 501 and 505: it knows what it does not do.
    NoFailureOrUnknown,
    /// Success.
    Success,
}

impl Status {
    fn holds(self, status: u16) -> bool {
        match self {
            Self::NoFailure => status < 500,
            Self::NoFailureOrUnknown => status < 500 || matches!(status, 501 | 505),
            Self::Success => (200..300).contains(&status),
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::NoFailure => "a status below 500",
            Self::NoFailureOrUnknown => "a status below 500, or 501",
            Self::Success => "a status from 200 to 299",
        }
    }
}

/// An answer that was read to its end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// `ETag` as it came.
    pub etag: Option<String>,
    /// `Last-Modified` as it came.
    pub last_modified: Option<String>,
    /// The beginning of its body, which is kept to [`KEPT_BYTES`].
    pub body: Vec<u8>,
    /// How long the body was.
    pub length: u64,
    /// The connection can be used again.
    pub reusable: bool,
    /// Bytes that came behind its end.
    pub surplus: Vec<u8>,
}

/// So much of a body is kept: more than is ever sent.
pub const KEPT_BYTES: usize = 2 << 20;

/// What was not as it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// What was wanted.
    pub expected: String,
    /// What came.
    pub came: String,
}

impl Mismatch {
    /// Wanted was one thing and another came.
    pub fn new(expected: impl Into<String>, came: impl Into<String>) -> Self {
        Self { expected: expected.into(), came: came.into() }
    }
}

impl Wanted {
    /// To anything but `HEAD`.
    pub fn status(status: Status) -> Self {
        Self { to_head: false, status, body: None }
    }

    /// Whether `answer` is what is wanted.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn judge(&self, answer: &Answer) -> Result<(), Mismatch> {
        if !answer.surplus.is_empty() {
            let end = if self.to_head { "the head of the answer" } else { "the answer" };
            return Err(Mismatch::new(
                format!("nothing behind the end of {end}"),
                format!(
                    "{} more, which begin {}",
                    bytes(answer.surplus.len()),
                    shown(&answer.surplus)
                ),
            ));
        }
        if !self.status.holds(answer.status) {
            let came = match answer.body.is_empty() {
                true => answer.status.to_string(),
                false => {
                    format!("{}, with a body that begins {}", answer.status, shown(&answer.body))
                }
            };
            return Err(Mismatch::new(self.status.shown(), came));
        }
        match &self.body {
            Some(body) if *body != answer.body => {
                let at = body.iter().zip(&answer.body).take_while(|(left, right)| left == right);
                Err(Mismatch::new(
                    format!("the {} that were sent", bytes(body.len())),
                    format!("{}, alike up to byte {}", bytes_of(answer.length), at.count()),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn bytes(count: usize) -> String {
    bytes_of(count as u64)
}

fn bytes_of(count: u64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

/// The beginning of what came, on one line.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let mut begun: String = text.chars().take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        begun.push('…');
    }
    format!("{begun:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        let length = body.len() as u64;
        Answer { status, body: body.to_vec(), length, reusable: true, ..Answer::default() }
    }

    #[test]
    fn what_comes_behind_an_answer_is_told() {
        let mut answer = answer(200, b"");
        let wanted = Wanted { to_head: true, ..Wanted::status(Status::NoFailure) };
        assert_eq!(wanted.judge(&answer), Ok(()));
        answer.surplus = b"Hello\n".to_vec();
        let mismatch = wanted.judge(&answer).unwrap_err();
        assert_eq!(mismatch.expected, "nothing behind the end of the head of the answer");
        assert_eq!(mismatch.came, r#"6 bytes more, which begin "Hello\n""#);
    }

    #[test]
    fn statuses_are_told_with_what_was_said() {
        let wanted = Wanted::status(Status::NoFailure);
        for good in [200, 302, 404, 405, 431] {
            assert_eq!(wanted.judge(&answer(good, b"")), Ok(()), "{good}");
        }
        let mismatch = wanted.judge(&answer(500, b"oh no")).unwrap_err();
        assert_eq!(mismatch.came, r#"500, with a body that begins "oh no""#);
        assert_eq!(Wanted::status(Status::NoFailureOrUnknown).judge(&answer(501, b"")), Ok(()));
        assert!(Wanted::status(Status::Success).judge(&answer(404, b"")).is_err());
    }

    #[test]
    fn bodies_are_compared() {
        let wanted = Wanted { body: Some(b"abc".to_vec()), ..Wanted::status(Status::Success) };
        assert_eq!(wanted.judge(&answer(200, b"abc")), Ok(()));
        let mismatch = wanted.judge(&answer(200, b"ab")).unwrap_err();
        assert_eq!(mismatch.expected, "the 3 bytes that were sent");
        assert_eq!(mismatch.came, "2 bytes, alike up to byte 2");
    }

    #[test]
    fn what_came_is_shown_on_one_line() {
        assert_eq!(shown(b"a\nb\xff"), "\"a\\nb\u{fffd}\"");
        assert_eq!(shown(&[b'x'; 100]).chars().count(), 63);
    }
}
