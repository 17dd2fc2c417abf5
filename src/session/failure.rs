//! Why a turn failed. The token stays usable after each of them.

use super::id::SessionId;
use super::json::Object;

/// Why a turn came to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The app ended its stream with an `error`.
    App {
        /// Its words.
        message: String,
        /// Its name for it.
        code: Option<String>,
        /// It says that another attempt may help.
        is_retryable: bool,
    },
    /// The app's answer is not what a turn's answer must be; what is wrong.
    BadAnswer(String),
    /// The app's answer ended before its outcome.
    Incomplete,
    /// The master that ran it is gone.
    Interrupted,
    /// A refusal of the app that came too late to be one; its status.
    Refused(u16),
    /// The app answered with this status.
    Status(u16),
    /// The store did not take it; why.
    Store(&'static str),
    /// The app took too long.
    Timeout,
    /// No worker was to be had: the status and name of the edge's own refusal.
    Unavailable {
        /// 503 or 504.
        status: u16,
        /// Its name.
        code: &'static str,
    },
}

impl Failure {
    /// The status of the answer when nothing has been sent yet.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Timeout => 504,
            Self::Interrupted | Self::Store(_) => 503,
            Self::Unavailable { status, .. } => *status,
            _ => 502,
        }
    }

    /// Its name for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::App { code: Some(code), .. } => code,
            Self::App { .. } => "app-error",
            Self::BadAnswer(_) => "bad-answer",
            Self::Incomplete => "incomplete",
            Self::Interrupted => "interrupted",
            Self::Refused(_) => "refused",
            Self::Status(_) => "app-status",
            Self::Store(_) => "store",
            Self::Timeout => "timeout",
            Self::Unavailable { code, .. } => code,
        }
    }

    /// Its words. Nothing internal is told.
    pub fn message(&self) -> String {
        match self {
            Self::App { message, .. } => message.clone(),
            Self::BadAnswer(what) => format!("the app's answer is malformed: {what}"),
            Self::Incomplete => "the app's answer ended before its outcome".to_owned(),
            Self::Interrupted => "the turn was interrupted".to_owned(),
            Self::Refused(status) => format!("the app refused the turn with {status}"),
            Self::Status(status) => format!("the app answered {status}"),
            Self::Store(reason) => format!("session store: {reason}"),
            Self::Timeout => "the app took too long".to_owned(),
            Self::Unavailable { .. } => "no worker is available".to_owned(),
        }
    }

    /// The same request may succeed later without a change.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::App { is_retryable, .. } => *is_retryable,
            Self::BadAnswer(_) | Self::Refused(_) => false,
            _ => true,
        }
    }

    /// Adds what an error event says: `message`, `code`, `retryable`.
    pub(super) fn write_event(&self, object: Object) -> Object {
        let object = object.text("message", &self.message()).text("code", self.code());
        object.plain("retryable", self.is_retryable())
    }

    /// The body of the answer, but for the token and the closing brace.
    pub(super) fn answer(&self, session: SessionId) -> String {
        let body = Object::new().text("error", &self.message()).text("code", self.code());
        let body = body.plain("retryable", self.is_retryable());
        body.plain("sessionId", format_args!("\"{session}\"")).open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_a_status_a_name_and_words() {
        let app = |code: Option<&str>| Failure::App {
            message: "no \"credit\"".into(),
            code: code.map(str::to_owned),
            is_retryable: false,
        };
        for (failure, status, code, retryable) in [
            (app(None), 502, "app-error", false),
            (app(Some("credit")), 502, "credit", false),
            (Failure::BadAnswer("x".into()), 502, "bad-answer", false),
            (Failure::Incomplete, 502, "incomplete", true),
            (Failure::Interrupted, 503, "interrupted", true),
            (Failure::Refused(401), 502, "refused", false),
            (Failure::Status(500), 502, "app-status", true),
            (Failure::Store("full"), 503, "store", true),
            (Failure::Timeout, 504, "timeout", true),
            (Failure::Unavailable { status: 503, code: "queue-full" }, 503, "queue-full", true),
        ] {
            assert_eq!((failure.status(), failure.code()), (status, code));
            assert_eq!(failure.is_retryable(), retryable, "{code}");
            let body = failure.answer(SessionId::new([0; 16])) + "}";
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["error"], failure.message());
            let event = failure.write_event(Object::new()).end();
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            assert_eq!(event["message"], failure.message());
            assert_eq!((&event["code"], &event["retryable"]), (&code.into(), &retryable.into()));
        }
    }
}
