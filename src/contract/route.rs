//! Where a request goes: hosts, path patterns, and what is done there.

use super::millis;
use crate::ids::AppId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One rule of the route table.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// Its name, unique: what the operator called it, else made of methods, host and pattern, so that
    /// it is the same after a reload.
    pub id: String,
    /// A host name in lower case, `*.` and a name for one label more, or `*` for every host.
    pub host: String,
    /// `/a` exactly, `/a/*` for `/a/` and all below it, `*` between slashes for any one segment.
    pub path_pattern: String,
    /// What it takes.
    pub methods: Methods,
    /// What it does.
    pub action: RouteAction,
    /// Lower wins between rules for the same paths. Without an explicit one the position in
    /// the declaration.
    pub priority: u32,
    /// The operator chose the priority: it goes before every rule that has none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub explicit: bool,
    /// Header changes beside another action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderRules>,
    /// Deadlines of its requests, as far as they differ from the app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// Largest request body in bytes, where it differs from the edge's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<u64>,
    /// What is compressed.
    #[serde(default)]
    pub compress: Compress,
    /// The request's body is passed on as it comes, where it differs from the app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_request: Option<bool>,
    /// The line of the Edgefile that it comes from; `None` for one that comes from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl RouteRule {
    /// The rule that does `action` for every method at `host` and `path_pattern`, everything else by
    /// default.
    pub fn new(host: &str, path_pattern: &str, action: RouteAction) -> Self {
        Self {
            id: format!("{host}{path_pattern}"),
            host: host.to_owned(),
            path_pattern: path_pattern.to_owned(),
            methods: Methods::Any,
            action,
            priority: 0,
            explicit: false,
            headers: None,
            timeouts: None,
            body_limit: None,
            compress: Compress::default(),
            stream_request: None,
            line: None,
        }
    }
}

/// The methods a rule takes. JSON: a list of names, or `"*"`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Methods {
    /// Every one.
    #[default]
    Any,
    /// These, upper case; at least one. `GET` includes `HEAD`.
    Only(Vec<String>),
}

impl Methods {
    /// Whether `method`, as it was sent, is one of them.
    pub fn take(&self, method: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.iter().any(|name| {
                name.as_bytes() == method || (method == b"HEAD" && name.as_str() == "GET")
            }),
        }
    }

    /// Whether some method is taken by both.
    pub fn overlap(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Only(mine), Self::Only(_)) => {
                mine.iter().any(|name| other.take(name.as_bytes()))
                    || self.take(b"HEAD") && other.take(b"HEAD")
            }
        }
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("*"),
            Self::Only(names) => out.write_str(&names.join(",")),
        }
    }
}

impl Serialize for Methods {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => out.serialize_str("*"),
            Self::Only(names) => names.serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Star(String),
            Names(Vec<String>),
        }
        match Form::deserialize(from)? {
            Form::Star(text) if text == "*" => Ok(Self::Any),
            Form::Star(text) => {
                Err(serde::de::Error::custom(format!("'{text}' is neither \"*\" nor a list")))
            }
            Form::Names(names) => Ok(Self::Only(names)),
        }
    }
}

/// What a rule does with a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RouteAction {
    /// Changes header fields and looks for the next rule.
    Headers(HeaderRules),
    /// Hands the request to a server that is not ours.
    Proxy {
        /// The id of the upstream.
        upstream: String,
        /// `Host` of the request there; `None` keeps the client's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// The `Location`, with `{host}`, `{path}` and `{query}` to be filled in.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Answers with a file.
    Static(StaticFiles),
    /// Hands the request to a worker of an app.
    ToApp {
        /// The app.
        app_id: AppId,
    },
}

impl fmt::Display for RouteAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Values may be secrets, and names are in the file.
            Self::Headers(_) => out.write_str("changes headers"),
            Self::Proxy { upstream, .. } => write!(out, "proxy to {upstream}"),
            Self::Redirect { to, status } => write!(out, "redirect {status} to {to}"),
            Self::Static(files) => write!(out, "files of {}", files.dir),
            Self::ToApp { app_id } => write!(out, "app {app_id}"),
        }
    }
}

/// A directory whose files are served. What stands before the final `*` of the rule's pattern is not
/// part of a file's path.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticFiles {
    /// The directory, absolute.
    pub dir: String,
    /// The file that stands for a directory.
    pub index: String,
    /// The file, below the directory, that answers pages that do not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spa_fallback: Option<String>,
    /// Directories without an index are listed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub browse: bool,
    /// Names that begin with a dot are served.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dotfiles: bool,
    /// `Cache-Control` of what is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
}

/// What is compressed on its way to clients that take it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compress {
    /// Anything at all.
    pub enabled: bool,
    /// Event streams as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub streams: bool,
}

impl Default for Compress {
    fn default() -> Self {
        Self { enabled: true, streams: false }
    }
}

/// Header fields that a rule sets and removes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderRules {
    /// Changes of the answer.
    #[serde(flatten)]
    pub response: HeaderChanges,
    /// Changes of the request, before the app gets it.
    #[serde(default, skip_serializing_if = "HeaderChanges::is_empty")]
    pub request: HeaderChanges,
}

impl HeaderRules {
    /// The same without the values that are set.
    #[must_use]
    pub fn masked(&self) -> Self {
        Self { response: self.response.masked(), request: self.request.masked() }
    }
}

/// Changes of one head. Names are compared without regard to case.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderChanges {
    /// Set to this value, in place of every field of that name, in the declared order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// Removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl HeaderChanges {
    /// The same without the values that are set, which may be secrets.
    #[must_use]
    pub fn masked(&self) -> Self {
        let set = self.set.iter().map(|(name, _)| (name.clone(), "***".to_owned())).collect();
        Self { set, remove: self.remove.clone() }
    }

    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// Deadlines of a route's requests; `None` is inherited. Milliseconds in JSON.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct RouteTimeouts {
    /// Connecting to the worker.
    #[serde(
        rename = "connectMs",
        with = "millis::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub connect: Option<Duration>,
    /// Response head, then each gap between bytes.
    #[serde(rename = "readMs", with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub read: Option<Duration>,
    /// Waiting for a worker.
    #[serde(rename = "queueMs", with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub queue: Option<Duration>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}
