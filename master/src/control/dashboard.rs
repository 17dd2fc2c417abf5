//! Links into the dashboard.

use super::master::Master;
use super::server::Answer;
use crate::sys::random::random;
use rip::guard::login::{Key, LINK_KEEP};
use serde::Serialize;
use std::io;

/// What `POST /control/dashboard-login` is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    ok: bool,
    urls: Vec<String>,
    expires_in_seconds: u64,
}

impl Master {
    /// A link that is good once, for each place where the dashboard is.
    pub(super) fn dashboard_login(&mut self) -> Answer {
        let places = self.shared.current.load().config.dashboard_urls();
        if places.is_empty() {
            return Answer::refused(
                409,
                "no dashboard is served",
                "the Edgefile says `dashboard #false`, or an app has taken rip.local: \
                 --dashboard HOST serves it at another host",
            );
        }
        let key = match draw() {
            Ok(random) => Key::new(random),
            Err(error) => {
                log::error!("the kernel gives no random numbers: {error}");
                return Answer::refused(503, "the kernel gives no random numbers", "");
            }
        };
        self.shared.logins.offer(&key, self.clock.now());
        // What stands behind the # is sent to nobody.
        let urls = places.iter().map(|place| format!("{place}login#{}", key.expose())).collect();
        Answer::ok(&Offered { ok: true, urls, expires_in_seconds: LINK_KEEP.as_secs() })
    }
}

fn draw() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    Ok(bytes)
}
