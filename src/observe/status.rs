//! The short answer to "is it well?".

use crate::ids::AppId;
use serde::{Deserialize, Serialize};

/// What `/status` shows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Status {
    /// Whether all is well.
    #[serde(rename = "status")]
    pub health: Health,
    /// Every app has a worker that is ready.
    #[serde(skip)]
    pub serves: bool,
    /// The server's version.
    pub version: String,
    /// The app; the first of several, null where there is none.
    pub app: Option<AppId>,
    /// Workers that are ready, of all apps.
    pub workers: u32,
    /// Ports clients can use.
    pub ports: Vec<u16>,
    /// Whole seconds since the start.
    pub uptime: u64,
    /// Host names that are answered; empty means every host.
    pub hosts: Vec<String>,
}

impl Status {
    /// 200 when every app has a worker that is ready, else 503.
    pub fn status_code(&self) -> u16 {
        if self.serves { 200 } else { 503 }
    }

    /// Appends the answer's body.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Neither the writer nor the data can fail.
        let _ = serde_json::to_writer(out, self);
    }
}

/// Whether all is well.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Some app has no worker that is ready, or has given up one of them.
    #[default]
    Degraded,
    /// Every app has one, and none is given up.
    Healthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_promised() {
        let mut status = Status {
            health: Health::Healthy,
            serves: true,
            version: "0.1.0".into(),
            app: Some(AppId::new("api")),
            workers: 2,
            ports: vec![8080],
            uptime: 12,
            hosts: vec!["example.org".into()],
        };
        let mut body = Vec::new();
        status.write(&mut body);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"status\":\"healthy\",\"version\":\"0.1.0\",\"app\":\"api\",\"workers\":2,\
             \"ports\":[8080],\"uptime\":12,\"hosts\":[\"example.org\"]}"
        );
        assert_eq!(status.status_code(), 200);
        (status.health, status.serves) = (Health::Degraded, false);
        assert_eq!(status.status_code(), 503);
    }
}
