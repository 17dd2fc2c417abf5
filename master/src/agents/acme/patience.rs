//! Asking again where an authority wants another nonce (RFC 8555 §6.5).

use super::trouble::is_problem;
use instant_acme::Error;

/// Asks until the answer is about the question. The client asks three times by itself; an authority
/// that refuses many good nonces, to see who can stand it, needs more.
///
/// # Errors
/// Every other one, and that one in the end.
pub async fn patient<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..ATTEMPTS {
        match ask().await {
            Err(error) if is_problem(&error, "badNonce") => {}
            other => return other,
        }
    }
    ask().await
}

const ATTEMPTS: u32 = 20;
