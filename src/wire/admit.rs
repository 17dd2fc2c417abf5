//! Whether a join or quit is believed.

use crate::ids::{AppId, Generation, WorkerId};

/// What the master knows of a living worker.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Its app.
    pub app_id: &'a AppId,
    /// The code it runs.
    pub generation: Generation,
    /// The secret of its spawn.
    pub token: &'a str,
}

/// What somebody claims on the control socket.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The worker they speak for.
    pub worker_id: WorkerId,
    /// Its app.
    pub app_id: &'a AppId,
    /// The code it runs.
    pub generation: Generation,
    /// The value of `Authorization`, if sent.
    pub authorization: Option<&'a [u8]>,
}

/// Why a claim is refused (403).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No living worker has this id: it is left over from an earlier life.
    #[error("no such worker: it belongs to an earlier master or has been replaced")]
    UnknownWorker,
    /// The app or generation differs from what was spawned.
    #[error("app or generation does not match the worker that was spawned")]
    WrongIdentity,
    /// The secret is missing or wrong.
    #[error("the worker's token is missing or wrong")]
    WrongToken,
}

/// Compares a claim with what was spawned; the token in constant time.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn admit(expected: Option<Expected<'_>>, claim: Claim<'_>) -> Result<(), Refusal> {
    let expected = expected.ok_or(Refusal::UnknownWorker)?;
    let token = claim.authorization.and_then(|value| value.strip_prefix(b"Bearer "));
    if !token.is_some_and(|token| same(token, expected.token.as_bytes())) {
        return Err(Refusal::WrongToken);
    }
    if expected.app_id != claim.app_id || expected.generation != claim.generation {
        return Err(Refusal::WrongIdentity);
    }
    Ok(())
}

/// Equality whose time depends on the lengths only.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && std::hint::black_box(left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_needs_the_living_workers_token_app_and_generation() {
        let app = AppId::new("api");
        let other = AppId::new("web");
        let expected = Expected { app_id: &app, generation: Generation(3), token: "secret" };
        let claim = Claim {
            worker_id: WorkerId(1),
            app_id: &app,
            generation: Generation(3),
            authorization: Some(b"Bearer secret"),
        };
        assert_eq!(admit(Some(expected), claim), Ok(()));
        assert_eq!(admit(None, claim), Err(Refusal::UnknownWorker));
        for authorization in [None, Some(&b"secret"[..]), Some(b"Bearer secreT"), Some(b"Bearer ")]
        {
            let claim = Claim { authorization, ..claim };
            assert_eq!(admit(Some(expected), claim), Err(Refusal::WrongToken));
        }
        let stale = Claim { generation: Generation(2), ..claim };
        assert_eq!(admit(Some(expected), stale), Err(Refusal::WrongIdentity));
        let foreign = Claim { app_id: &other, ..claim };
        assert_eq!(admit(Some(expected), foreign), Err(Refusal::WrongIdentity));
    }
}
