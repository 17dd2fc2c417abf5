//! Where durable sessions are served, and by which app their turns are run.

use crate::ids::AppId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A mount of sessions: `<mount>/session`, `<mount>/session/…` and `<mount>/ws` are the edge's own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsConfig {
    /// The hosts of its site, as in rules; `*` is every host.
    pub hosts: Vec<String>,
    /// What its paths begin with, without a `/` at its end; empty at the root.
    pub mount: String,
    /// Who runs the turns, at its own `turnPath`.
    pub app_id: AppId,
    /// What becomes of a turn whose client leaves.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// `<mount>/ws` is served; otherwise it is answered 426.
    #[serde(default = "yes")]
    pub websockets: bool,
    /// Pages of other hosts that may open WebSockets: origins (`https://example.com`), hosts
    /// (`*.example.com`), or `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

impl SessionsConfig {
    /// Sessions of the app at `mount` of every host, the rest by default.
    pub fn new(mount: &str, app_id: AppId) -> Self {
        Self {
            hosts: vec!["*".to_owned()],
            mount: mount.to_owned(),
            app_id,
            on_disconnect: OnDisconnect::default(),
            websockets: true,
            origins: Vec::new(),
        }
    }

    /// Whether `path`, decoded, is one of its own: `<mount>/session`, one below it, or `<mount>/ws` and
    /// below.
    pub fn owns(&self, path: &str) -> bool {
        owns(&self.mount, path.as_bytes())
    }

    /// What its sessions belong to in the store: the same after every reload that leaves the first
    /// host, the mount and the app as they are. Sessions of another scope are unknown here.
    pub fn scope(&self) -> String {
        let host = self.hosts.first().map_or("*", String::as_str);
        format!("{host} {} {}", self.mount, self.app_id)
    }
}

/// Whether `path` is `<mount>/session`, below it, or `<mount>/ws` and below.
pub fn owns(mount: &str, path: &[u8]) -> bool {
    let Some(below) = path.strip_prefix(mount.as_bytes()) else { return false };
    let is = |name: &[u8]| {
        below.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    };
    is(b"/session") || is(b"/ws")
}

/// `HOST, HOST MOUNT → APP`
impl fmt::Display for SessionsConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mount = if self.mount.is_empty() { "/" } else { &self.mount };
        write!(out, "{} {mount} → {}", self.hosts.join(", "), self.app_id)
    }
}

/// What becomes of a turn whose client leaves before its end.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It runs on.
    #[default]
    Continue,
    /// It is cancelled.
    Cancel,
}

fn yes() -> bool {
    true
}

/// Where sessions are served unless something else is said.
pub const MOUNT: &str = "/v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_owns_sessions_and_the_socket_and_nothing_else() {
        for path in ["/v1/session", "/v1/session/", "/v1/session/s_1/x", "/v1/ws", "/v1/ws/x"] {
            assert!(owns("/v1", path.as_bytes()), "{path}");
        }
        for path in ["/v1", "/v1/", "/v1/sessions", "/v1/wsx", "/v1/turn", "/session", "/v2/ws"] {
            assert!(!owns("/v1", path.as_bytes()), "{path}");
        }
        assert!(owns("", b"/session") && owns("", b"/ws"));
    }
}
