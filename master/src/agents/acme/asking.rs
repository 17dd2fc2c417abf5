//! Asking an authority when it wants a certificate renewed (RFC 9773).

use super::keeper::{ANSWER_TIME, Keeper, identifier, wall};
use instant_acme::Error;
use rip::tls::window::{Offer, Window};

impl Keeper {
    /// Asks the authority what it thinks of the certificate of `name`.
    pub(super) async fn ask(&mut self, name: &str) {
        let asked = tokio::time::timeout(ANSWER_TIME, self.offer(name)).await;
        let offer = asked.unwrap_or(Offer::Unknown);
        log::debug!("renewal of {name}: {offer:?}");
        if let Some(care) = self.cares.get_mut(name) {
            care.renewal.told(offer, wall(), &mut self.entropy);
        }
    }

    async fn offer(&mut self, name: &str) -> Offer {
        let (Some(acme), Some(leaf)) = (&self.wish.acme, self.store.read(name)) else {
            return Offer::Unknown;
        };
        // Whoever brought the certificate: no account is made only to ask.
        if !self.accounts.has(acme) {
            return Offer::Unknown;
        }
        let Some(id) = identifier(&leaf) else { return Offer::None };
        let account = match self.accounts.open(acme).await {
            Ok(account) => account,
            Err(trouble) => {
                log::debug!("{}: {}", acme.directory, trouble.reason);
                return Offer::Unknown;
            }
        };
        match account.renewal_info(&id).await {
            Ok((info, retry_after)) => {
                let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
                let window = Window {
                    start: seconds(info.suggested_window.start.unix_timestamp()),
                    end: seconds(info.suggested_window.end.unix_timestamp()),
                };
                Offer::Window(window, retry_after.as_secs())
            }
            Err(Error::Unsupported(_)) => Offer::None,
            Err(error) => {
                log::debug!("{}: {error}", acme.directory);
                self.accounts.close();
                Offer::Unknown
            }
        }
    }
}
