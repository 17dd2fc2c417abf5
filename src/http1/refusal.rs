//! The words of an error: plain text, a small page for browsers, or a problem document
//! (RFC 9457), as the client's `Accept` prefers. Nothing internal is told.

use super::status;
use super::weight::{FULL, weight};
use crate::contract::reason::Reason;

/// How an error is worded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// `text/html`
    Html,
    /// `text/plain`
    #[default]
    Plain,
    /// `application/problem+json`
    Problem,
}

impl Form {
    /// The form that `accept`, the value of `Accept`, prefers; plain text when it names none of
    /// them (`*/*` included) or is empty. Between equals the first named wins.
    pub fn preferred(accept: &[u8]) -> Self {
        let mut best = (0, Self::Plain);
        for range in accept.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let form = match parts.next().unwrap_or_default() {
                media if is(media, "text/html") || is(media, "application/xhtml+xml") => Self::Html,
                media if is(media, "text/plain") => Self::Plain,
                media if is(media, "application/json") => Self::Problem,
                media if is(media, "application/problem+json") => Self::Problem,
                _ => continue,
            };
            let quality = parts.find_map(weight).unwrap_or(FULL);
            if quality > best.0 {
                best = (quality, form);
            }
        }
        best.1
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Plain => "text/plain; charset=utf-8",
            Self::Problem => "application/problem+json",
        }
    }
}

/// Appends the body of the answer to `reason` and returns its `Content-Type`. `accept` is the value
/// of the request's `Accept`, empty when there is none; `request_id` is the one on the answer.
pub fn error_body(
    reason: Reason,
    accept: &[u8],
    request_id: &[u8],
    out: &mut Vec<u8>,
) -> &'static str {
    let form = Form::preferred(accept);
    let status = reason.status();
    let title = match status::phrase(status) {
        "" => "Error",
        phrase => phrase,
    };
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let number = [
        b'0' + (status / 100 % 10) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
    ];
    let (title, sentence) = (title.as_bytes(), reason.sentence().as_bytes());
    let id = if is_plain(request_id) { request_id } else { b"" };
    match form {
        Form::Plain => {
            write(&[&number, b" ", title, b"\n", sentence, b"\n"]);
            if !id.is_empty() {
                write(&[b"Request: ", id, b"\n"]);
            }
        }
        Form::Html => {
            write(&[PAGE_HEAD, b"<title>", &number, b" ", title, b"</title>\n<h1>", title]);
            write(&[b"</h1>\n<p>", sentence, b"</p>\n"]);
            if !id.is_empty() {
                write(&[b"<p><small>", id, b"</small></p>\n"]);
            }
        }
        Form::Problem => {
            write(&[b"{\"type\":\"about:blank\",\"title\":\"", title, b"\",\"status\":", &number]);
            write(&[b",\"detail\":\"", sentence, b"\",\"code\":\"", reason.code().as_bytes()]);
            if !id.is_empty() {
                write(&[b"\",\"requestId\":\"", id]);
            }
            write(&[b"\"}\n"]);
        }
    }
    form.content_type()
}

fn is(media: &[u8], name: &str) -> bool {
    media.eq_ignore_ascii_case(name.as_bytes())
}

/// Safe to stand in every form without escaping.
fn is_plain(id: &[u8]) -> bool {
    id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

const PAGE_HEAD: &[u8] = b"<!doctype html>\n<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width\">\n\
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;\
max-width:32rem;padding:0 1rem}</style>\n";

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    #[test]
    fn the_form_follows_accept() {
        for (accept, form) in [
            ("", Form::Plain),
            ("*/*", Form::Plain),
            (BROWSER, Form::Html),
            ("application/json", Form::Problem),
            ("application/problem+json, text/html;q=0.9", Form::Problem),
            ("application/json;q=0.1, text/html;q=0.2", Form::Html),
            ("application/json, text/plain, */*", Form::Problem),
            ("text/html;q=0", Form::Plain),
            ("TEXT/HTML; level=1; q=1.0", Form::Html),
            ("text/html;q=x", Form::Plain),
            ("image/png", Form::Plain),
        ] {
            assert_eq!(Form::preferred(accept.as_bytes()), form, "{accept}");
        }
    }

    #[test]
    fn every_reason_has_words_in_every_form() {
        for reason in Reason::ALL {
            for accept in ["", BROWSER, "application/json"] {
                let mut out = Vec::new();
                let media = error_body(reason, accept.as_bytes(), b"req-1", &mut out);
                let text = String::from_utf8(out).unwrap();
                assert!(text.contains("req-1"), "{text}");
                if media == "application/problem+json" {
                    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(value["status"], reason.status());
                    assert_eq!(value["detail"], reason.sentence());
                    assert_eq!(value["code"], reason.code());
                } else {
                    assert!(text.contains(reason.sentence()), "{text}");
                }
            }
        }
    }

    #[test]
    fn an_id_that_needs_escaping_is_left_out() {
        let mut out = Vec::new();
        error_body(Reason::Malformed, BROWSER.as_bytes(), b"<script>", &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("script"));
    }
}
