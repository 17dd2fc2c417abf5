//! WebSocket endpoints whose app speaks plain HTTP, and who may publish to them.

use super::millis;
use crate::ids::AppId;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One realtime endpoint of a site.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeConfig {
    /// The hosts of its site, as in rules; `*` is every host.
    pub hosts: Vec<String>,
    /// Where clients upgrade.
    pub path: String,
    /// Who hears of them.
    pub app_id: AppId,
    /// Where it does: the app's own `realtimePath`.
    pub app_path: String,
    /// It was asked for: what is no upgrade is answered 426. Otherwise only upgrades are taken, and
    /// the app keeps its own page of that path.
    #[serde(default)]
    pub explicit: bool,
    /// Pages of other hosts that may connect: origins (`https://example.com`), hosts
    /// (`*.example.com`), or `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Groups whose messages are numbered and kept; the first rule for a group counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryRule>,
    /// Groups whose slow members lose the oldest messages instead of their connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lossy: Vec<String>,
    /// A client's message in bytes: closed with 1009 beyond.
    #[serde(default = "max_message_bytes")]
    pub max_message_bytes: u64,
    /// How often one client may send.
    #[serde(default)]
    pub rate: MessageRate,
    /// The file with the secret of who publishes at this site; `None` is that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_secret_file: Option<String>,
}

impl RealtimeConfig {
    /// An endpoint of the app on every host, the rest by default.
    pub fn new(path: &str, app_id: AppId, app_path: &str) -> Self {
        Self {
            hosts: vec!["*".to_owned()],
            path: path.to_owned(),
            app_id,
            explicit: true,
            app_path: app_path.to_owned(),
            origins: Vec::new(),
            history: Vec::new(),
            lossy: Vec::new(),
            max_message_bytes: max_message_bytes(),
            rate: MessageRate::default(),
            publish_secret_file: None,
        }
    }

    /// A client's message in bytes, as far as memory can hold one.
    pub fn message_bytes(&self) -> usize {
        usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX)
    }

    /// Whether it is for the clients of `earlier` as well, of another configuration: the same app at the
    /// same path, for the hosts that it was for, or more.
    pub fn takes_over(&self, earlier: &Self) -> bool {
        self.app_id == earlier.app_id
            && self.path == earlier.path
            && earlier.hosts.iter().all(|host| self.hosts.contains(host))
    }

    /// What an app has that did not ask for it, wherever [`PATH`] leads to it.
    pub fn unasked(app_id: AppId, app_path: &str) -> Self {
        Self { hosts: Vec::new(), explicit: false, ..Self::new(PATH, app_id, app_path) }
    }
}

/// `HOST, HOST PATH → APP`; without hosts where the app has it unasked.
impl fmt::Display for RealtimeConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.join(", ");
        let gap = if hosts.is_empty() { "" } else { " " };
        write!(out, "{hosts}{gap}{} → {}", self.path, self.app_id)
    }
}

/// Which messages of which groups are kept for those who come back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRule {
    /// A group, or with `/*` at its end that one and all beneath it.
    pub pattern: String,
    /// So many of each group at most; 0 counts as 1.
    pub messages: u32,
    /// For so long at most.
    #[serde(rename = "ttlMs", with = "millis")]
    pub ttl: Duration,
}

/// How often one WebSocket client may send a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageRate {
    /// In a second, over time; 0 counts as 1.
    pub per_sec: u32,
    /// At once; 0 counts as 1.
    pub burst: u32,
}

impl Default for MessageRate {
    fn default() -> Self {
        Self { per_sec: limits::WS_RATE_PER_SEC, burst: limits::WS_BURST_COUNT }
    }
}

/// Who may publish to the groups of an app from outside of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishConfig {
    /// Where to; `None` is nowhere.
    pub path: Option<String>,
    /// The file with the secret; without one only requests from this machine may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// Without a secret everybody may.
    pub open: bool,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self { path: Some("/publish".to_owned()), secret_file: None, open: false }
    }
}

impl PublishConfig {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where clients upgrade unless said otherwise.
pub const PATH: &str = "/realtime";

fn max_message_bytes() -> u64 {
    limits::WS_MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_documented() {
        let json = r#"{"hosts":["a.test"],"path":"/realtime","appId":"a","appPath":"/hear",
            "history":[{"pattern":"/lobby/*","messages":10,"ttlMs":300000}]}"#;
        let config: RealtimeConfig = serde_json::from_str(json).expect("a configuration");
        assert_eq!((config.max_message_bytes, config.explicit), (1 << 20, false));
        assert_eq!(config.rate, MessageRate { per_sec: 100, burst: 200 });
        assert_eq!(config.history[0].ttl, Duration::from_secs(300));
        let written = serde_json::to_string(&config).expect("JSON");
        assert_eq!(serde_json::from_str::<RealtimeConfig>(&written).expect("the same"), config);
        let publish: PublishConfig = serde_json::from_str("{}").expect("defaults");
        assert_eq!(publish, PublishConfig::default());
        assert_eq!(publish.path.as_deref(), Some("/publish"));
    }
}
