//! What a value may be: one reader for each kind, which says what is wrong and how it is written.

use super::document::Value;
use super::lexer::shown;
use super::suggest::nearest;
use crate::contract::app::Surge;
use crate::contract::listen::ListenAddress;
use crate::contract::route::Methods;
use std::time::Duration;

mod names;
mod paths;
mod quantity;
mod url;

/// A kind of value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `:80`, `127.0.0.1:80`, `[::1]:80`; `off`.
    Address,
    /// A name of an app.
    AppName,
    /// `example.com`, `example.com:8080`, `[::1]:8080`.
    Authority,
    /// A word of an argument vector: may be empty.
    Argument,
    Bool,
    /// `500ms`, `2s`, `5m`, `1h`, `365d`.
    Duration,
    DurationOr(&'static [&'static str]),
    /// Of a file below a directory, as URLs have it: `assets/app.html`.
    FilePath,
    Glob,
    /// Of WebSocket clients: `/lobby`, `/lobby/*`.
    Group,
    /// A header field's name that may be changed.
    Header,
    HeaderValue,
    /// `example.com`, `*.example.com`, `*`.
    Host,
    /// `https://ca.example.com/directory`.
    HttpsUrl,
    /// A route's own name.
    Id,
    Methods,
    /// Below which something is served: `/v1`; `/` for all.
    Mount,
    /// `10.0.0.0/8`.
    Network,
    Number {
        least: u64,
        most: u64,
    },
    /// Of pages: `https://example.com`, `*.example.com`, `*`; several with commas.
    Origins,
    NumberOr {
        least: u64,
        most: u64,
        words: &'static [&'static str],
    },
    /// Of a file or directory.
    Path,
    /// `/a`, `/a/*`, `/a/*/b`.
    Pattern,
    /// Where something is served, and nothing below it: `/realtime`.
    Place,
    /// `/a`.
    Prefix,
    RedirectStatus,
    /// `512MiB`.
    Size {
        least: u64,
    },
    /// `2`, `25%`.
    Surge,
    /// Where a redirect leads.
    Template,
    Text,
    /// The name of an upstream, or a URL.
    Upstream,
    /// Of a server: `http://10.0.0.7:8080/base`, `unix:/run/app.sock`.
    Url,
    UrlPath,
    UrlPathOr(&'static [&'static str]),
    User,
    Variable,
    VariableValue,
    Words(&'static [&'static str]),
}

/// A value that is of its kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Typed {
    Address(ListenAddress),
    Bool(bool),
    Duration(Duration),
    Methods(Methods),
    Number(u64),
    Surge(Surge),
    Text(String),
    Texts(Vec<String>),
    /// One of the words that a kind knows.
    Word(&'static str),
}

/// Why a value is not of its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wrong {
    /// What is wrong, without the name of the field.
    pub message: String,
    pub hint: String,
}

impl Wrong {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl Kind {
    /// One of these words.
    pub(super) const fn words(words: &'static [&'static str]) -> Self {
        Self::Words(words)
    }

    /// What is written, for the schema and for messages: a noun phrase.
    pub(super) fn told(self) -> String {
        let either = |first: String, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let all: Vec<String> =
                std::iter::once(first).filter(|first| !first.is_empty()).chain(words).collect();
            match all.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                None => String::new(),
            }
        };
        let number = |least, most| match (least, most) {
            (1, 1) => "the number 1".to_owned(),
            (least, most) => format!("a number from {least} to {most}"),
        };
        match self {
            Self::Address => "an address such as \":80\" or \"127.0.0.1:8080\"".to_owned(),
            Self::AppName => "a name such as \"api\"".to_owned(),
            Self::Authority => "a host such as \"example.com\" or \"example.com:8080\"".to_owned(),
            Self::FilePath => "the path of a file such as \"index.html\"".to_owned(),
            Self::Argument | Self::HeaderValue | Self::VariableValue => "a text".to_owned(),
            Self::Bool => "#true or #false".to_owned(),
            Self::Duration => DURATION.to_owned(),
            Self::DurationOr(words) => either(DURATION.to_owned(), words),
            Self::Glob => "a name with * and ?, such as \"*.py\"".to_owned(),
            Self::Group => "a group such as \"/lobby\" or \"/lobby/*\"".to_owned(),
            Self::Header => "the name of a header field".to_owned(),
            Self::Host => "a host such as \"example.com\", \"*.example.com\" or \"*\"".to_owned(),
            Self::HttpsUrl => "a URL such as \"https://ca.example.com/directory\"".to_owned(),
            Self::Id => "a name for the route".to_owned(),
            Self::Methods => "methods such as \"GET,POST\"".to_owned(),
            Self::Network => "an address or network such as \"10.0.0.0/8\"".to_owned(),
            Self::Number { least, most } => number(least, most),
            Self::NumberOr { least, most, words } => either(number(least, most), words),
            Self::Origins => "origins such as \"https://example.com\" or \"*\"".to_owned(),
            Self::Path => "a path such as \"certs/site.pem\"".to_owned(),
            Self::Pattern => "a path such as \"/a\", \"/a/*\" or \"/a/*/b\"".to_owned(),
            Self::Mount => "a path such as \"/v1\"".to_owned(),
            Self::Place => "a path such as \"/realtime\"".to_owned(),
            Self::Prefix => "a path such as \"/v2\"".to_owned(),
            Self::RedirectStatus => "301, 302, 303, 307 or 308".to_owned(),
            Self::Size { .. } => "a size such as \"512MiB\" or \"64KiB\"".to_owned(),
            Self::Surge => "a number such as 2 or a share such as \"25%\"".to_owned(),
            Self::Template => "a path or URL such as \"/new/{path}\"".to_owned(),
            Self::Text => "a text in quotes".to_owned(),
            Self::Url => "a URL such as \"http://10.0.0.7:8080\"".to_owned(),
            Self::Upstream => {
                "the name of an upstream or a URL such as \"http://10.0.0.7:8080\"".to_owned()
            }
            Self::UrlPath => "a path such as \"/ready\"".to_owned(),
            Self::UrlPathOr(words) => either("a path such as \"/ready\"".to_owned(), words),
            Self::User => "the name of a user".to_owned(),
            Self::Variable => "the name of a variable".to_owned(),
            Self::Words(words) => either(String::new(), words),
        }
    }

    /// What is written, in a word or two, for tables.
    pub(super) fn brief(self) -> String {
        let words = |first: &str, words: &[&str]| {
            let words = words.iter().map(|word| format!("\"{word}\""));
            let first = Some(first.to_owned()).filter(|first| !first.is_empty());
            first.into_iter().chain(words).collect::<Vec<_>>().join(", ")
        };
        let range = |least: u64, most: u64| match (least, most) {
            (least, most) if least == most => least.to_string(),
            (least, most) if most >= 1_000_000 => format!("number from {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        match self {
            Self::Address => "address",
            Self::AppName => "name",
            Self::Argument
            | Self::Header
            | Self::HeaderValue
            | Self::Id
            | Self::Text
            | Self::Variable
            | Self::VariableValue => "text",
            Self::Bool => "#true, #false",
            Self::Duration => "duration",
            Self::DurationOr(found) => return words("duration", found),
            Self::Glob => "glob",
            Self::Group => "group",
            Self::Origins => "origins",
            Self::Authority | Self::Host => "host",
            Self::Methods => "methods",
            Self::Network => "network",
            Self::Number { least, most } => return range(least, most),
            Self::NumberOr { least, most, words: found } => {
                return words(&range(least, most), found);
            }
            Self::FilePath
            | Self::Mount
            | Self::Path
            | Self::Place
            | Self::Prefix
            | Self::UrlPath => "path",
            Self::Pattern => "pattern",
            Self::RedirectStatus => "301, 302, 303, 307, 308",
            Self::Size { .. } => "size",
            Self::Surge => "number, \"25%\"",
            Self::Template => "path or URL",
            Self::HttpsUrl | Self::Url => "URL",
            Self::Upstream => "name or URL",
            Self::UrlPathOr(found) => return words("path", found),
            Self::User => "user",
            Self::Words(found) => return words("", found),
        }
        .to_owned()
    }

    /// One of this kind as it is written, for hints.
    pub(super) fn example(self) -> String {
        let text = match self {
            Self::Bool => return "#true".to_owned(),
            Self::Number { least, most } | Self::NumberOr { least, most, .. } => {
                return 4.clamp(least, most).to_string();
            }
            Self::RedirectStatus => return "308".to_owned(),
            Self::Surge => return "2".to_owned(),
            Self::Address => ":8080",
            Self::AppName => "api",
            Self::Argument | Self::Text | Self::VariableValue => "…",
            Self::Duration | Self::DurationOr(_) => "30s",
            Self::Glob => "*.py",
            Self::Group => "/lobby/*",
            Self::Origins => "https://example.com",
            Self::Header => "X-Frame-Options",
            Self::HeaderValue => "DENY",
            Self::Authority | Self::Host => "example.com",
            Self::FilePath => "index.html",
            Self::Id => "api",
            Self::Methods => "GET,POST",
            Self::Mount => "/v1",
            Self::Network => "10.0.0.0/8",
            Self::Path => "path/to/it",
            Self::Pattern => "/*",
            Self::Place => "/realtime",
            Self::Prefix => "/v2",
            Self::Size { .. } => "64MiB",
            Self::Template => "/new/{path}",
            Self::HttpsUrl => "https://ca.example.com/directory",
            Self::Upstream | Self::Url => "http://10.0.0.7:8080",
            Self::UrlPath | Self::UrlPathOr(_) => "/ready",
            Self::User => "www-data",
            Self::Variable => "NAME",
            Self::Words(words) => words.first().copied().unwrap_or_default(),
        };
        format!("\"{text}\"")
    }

    /// `value` as one of this kind.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(self, value: &Value) -> Result<Typed, Wrong> {
        match self {
            Self::Bool => return self.bool(value),
            Self::Number { least, most } => return self.number(value, least, most),
            Self::NumberOr { least, most, words } => {
                if let Some(word) = known_word(value, words) {
                    return Ok(Typed::Word(word));
                }
                return self.number(value, least, most);
            }
            Self::RedirectStatus => {
                let wrong = || self.mismatch(value);
                return match self.number(value, 100, 999).map_err(|_| wrong())? {
                    Typed::Number(status @ (301 | 302 | 303 | 307 | 308)) => {
                        Ok(Typed::Number(status))
                    }
                    _ => Err(wrong()),
                };
            }
            Self::Size { least } => return quantity::size(self, value, least),
            Self::Surge => return quantity::surge(self, value),
            Self::Duration => return quantity::duration(self, value, &[]),
            Self::DurationOr(words) => return quantity::duration(self, value, words),
            _ => {}
        }
        let Value::Text(text) = value else { return Err(self.mismatch(value)) };
        let may_be_empty = matches!(self, Self::Argument | Self::HeaderValue | Self::VariableValue);
        if text.is_empty() && !may_be_empty {
            return Err(self.mismatch(value));
        }
        if text.contains('\0') {
            return Err(Wrong::new("a NUL may not stand here", "remove it"));
        }
        let own = |text: &str| Typed::Text(text.to_owned());
        match self {
            Self::Address => names::address(text),
            Self::AppName => names::app(text).map(Typed::Text),
            Self::Authority => url::authority(text).map(|()| own(text)),
            Self::FilePath => paths::file_path(text).map(|()| own(text)),
            Self::Glob => names::glob(text).map(|()| own(text)),
            Self::Group => names::group(text).map(|()| own(text)),
            Self::Header => names::header(text).map(|()| own(text)),
            Self::HeaderValue => names::header_value(text).map(|()| own(text)),
            Self::Host => names::host(text).map(Typed::Text),
            Self::Methods => names::methods(text).map(Typed::Methods),
            Self::Network => names::network(text).map(Typed::Text),
            Self::Origins => names::origins(text).map(Typed::Texts),
            Self::Pattern => paths::pattern(text).map(|()| own(text)),
            Self::Mount => paths::mount(text).map(Typed::Text),
            Self::Place => paths::place(text).map(|()| own(text)),
            Self::Prefix => paths::prefix(text).map(Typed::Text),
            Self::Template => paths::template(text).map(|()| own(text)),
            Self::Upstream if text.contains([':', '/']) => url::url(text).map(|()| own(text)),
            Self::HttpsUrl => url::https_url(text).map(|()| own(text)),
            Self::Url => url::url(text).map(|()| own(text)),
            Self::UrlPath => paths::url_path(text).map(|()| own(text)),
            Self::UrlPathOr(words) => match known_word(value, words) {
                Some(word) => Ok(Typed::Word(word)),
                None => paths::url_path(text).map(|()| own(text)),
            },
            Self::Variable => names::variable(text).map(|()| own(text)),
            Self::Words(words) => self.word(text, words),
            Self::Id | Self::Path | Self::Text | Self::Upstream | Self::User => {
                match text.chars().any(char::is_control) {
                    true => Err(Wrong::new(
                        "a control character may not stand here",
                        "write it without line ends and tabs",
                    )),
                    false => Ok(own(text)),
                }
            }
            _ => Ok(own(text)),
        }
    }

    /// A value that may have a password in it, though this kind of value should have none.
    pub(super) fn may_hold_password(self, value: &Value) -> bool {
        let is_url = matches!(self, Self::HttpsUrl | Self::Upstream | Self::Url | Self::Template);
        is_url && matches!(value, Value::Text(text) if url::names_user(text))
    }

    /// It is something else altogether.
    fn mismatch(self, value: &Value) -> Wrong {
        if matches!(self, Self::VariableValue) {
            // It may be a secret.
            return Wrong::new("the value of a variable is a text", "put it in quotes");
        }
        if matches!(self, Self::HeaderValue) {
            // So may this.
            return Wrong::new("the value of a field is a text", "put it in quotes");
        }
        let message = format!("expected {}, not {}", self.told(), value.told());
        let hint = match (self, value) {
            (Self::Bool, Value::Text(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => "write #true, without quotes".to_owned(),
                "false" | "no" | "off" | "0" => "write #false, without quotes".to_owned(),
                _ => "write #true or #false, without quotes".to_owned(),
            },
            (Self::Bool, _) => "write #true or #false".to_owned(),
            (Self::Number { .. } | Self::NumberOr { .. }, Value::Text(text))
                if text.parse::<u64>().is_ok() =>
            {
                format!("write {text}, without quotes")
            }
            (Self::Duration | Self::DurationOr(_), Value::Number(number)) => {
                format!("say the unit: \"{number}s\" or \"{number}ms\"")
            }
            (Self::Address, Value::Number(number)) => format!("write \":{number}\""),
            (kind, Value::Number(number)) if kind.is_text() => format!("write \"{number}\""),
            (kind, Value::Bool(value)) if kind.is_text() => format!("write \"{value}\""),
            _ => String::new(),
        };
        Wrong::new(message, hint)
    }

    fn is_text(self) -> bool {
        matches!(
            self,
            Self::Argument
                | Self::AppName
                | Self::Authority
                | Self::FilePath
                | Self::HeaderValue
                | Self::Id
                | Self::Path
                | Self::Text
                | Self::User
                | Self::VariableValue
        )
    }

    fn bool(self, value: &Value) -> Result<Typed, Wrong> {
        match value {
            Value::Bool(value) => Ok(Typed::Bool(*value)),
            _ => Err(self.mismatch(value)),
        }
    }

    fn number(self, value: &Value, least: u64, most: u64) -> Result<Typed, Wrong> {
        let Value::Number(number) = value else { return Err(self.mismatch(value)) };
        match u64::try_from(*number) {
            Ok(number) if (least..=most).contains(&number) => Ok(Typed::Number(number)),
            _ => Err(Wrong::new(
                format!("{number} is out of range: expected {}", self.told()),
                if least == most { format!("write {least}") } else { String::new() },
            )),
        }
    }

    fn word(self, text: &str, words: &'static [&'static str]) -> Result<Typed, Wrong> {
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Ok(Typed::Word(word));
        }
        let bare = text.strip_prefix("SIG").unwrap_or(text);
        let hint = match nearest(bare, words.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => String::new(),
        };
        Err(Wrong::new(format!("expected {}, not \"{}\"", self.told(), shown(text)), hint))
    }
}

fn known_word(value: &Value, words: &'static [&'static str]) -> Option<&'static str> {
    match value {
        Value::Text(text) => words.iter().find(|word| *word == text).copied(),
        _ => None,
    }
}

const DURATION: &str = "a duration such as \"500ms\", \"30s\" or \"5m\"";
