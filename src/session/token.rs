//! Tokens: what their holder may do with a session.
//!
//! A token is a keyed hash (HMAC-SHA-256) of what it is for and of a nonce. The store keeps the nonce
//! and the token's SHA-256, which is enough to recognise it, and to say it again with the key, but
//! not to make it out of a stolen store.

use super::id::SessionId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// What a token allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// To run the next turn, once. `ct_…`
    Continuation,
    /// To read the session, as long as it lives. `rt_…`
    Resume,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Continuation => "ct_",
            Self::Resume => "rt_",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Continuation => b'c',
            Self::Resume => b'r',
        }
    }
}

/// The key of one store's tokens: 32 secret bytes that are kept beside it.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key of `secret`, which comes from the kernel's randomness.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The token that `seed` stands for in `session`.
    pub fn token(&self, session: SessionId, seed: &Seed) -> Token {
        // A block of 64 bytes holds the key, so no length of it is refused.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        // Each part has a fixed length: no two tokens have the same text below them.
        mac.update(&[seed.kind.code()]);
        mac.update(session.as_bytes());
        mac.update(&seed.turn.to_be_bytes());
        mac.update(&seed.nonce.0);
        let mut text = String::with_capacity(TOKEN_LENGTH);
        text.push_str(seed.kind.prefix());
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), &mut text);
        Token(text)
    }

    /// The token of `kind` for `turn` of `session` that `nonce` makes, and what the store keeps of
    /// it. A nonce comes from the kernel's randomness and is used once.
    pub fn mint(&self, kind: Kind, session: SessionId, turn: u64, nonce: Nonce) -> Stamp {
        let seed = Seed { kind, turn, nonce };
        let digest = self.token(session, &seed).digest();
        Stamp { seed, digest }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenKey(…)")
    }
}

/// A token as text: one of ours, or what a client says is one. It is never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// What a client presents.
    pub fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the client it belongs to and for nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its SHA-256.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

/// Random bytes that make a token one of a kind.
#[derive(Clone, Copy)]
pub struct Nonce(pub [u8; 16]);

impl fmt::Debug for Nonce {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Nonce(…)")
    }
}

/// What a token is made of, but for the key.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    /// What it allows.
    pub kind: Kind,
    /// The turn that it runs; 0 for a resume token.
    pub turn: u64,
    /// What makes it one of a kind.
    pub nonce: Nonce,
}

/// What the store keeps of a token.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// What it is made of.
    pub seed: Seed,
    /// Its SHA-256.
    pub digest: Digest,
}

/// A SHA-256. Two are compared in a time that does not depend on where they differ.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |sum, (left, right)| {
            // Keeps the compiler from leaving early.
            std::hint::black_box(sum | (left ^ right))
        });
        differing == 0
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Digest(…)")
    }
}

/// A prefix and 256 bits in base64url without padding.
const TOKEN_LENGTH: usize = 3 + 43;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SESSION: SessionId = SessionId::new([7; 16]);

    fn key() -> TokenKey {
        TokenKey::new([1; 32])
    }

    #[test]
    fn a_token_is_the_hmac_of_what_it_is_for() {
        // Python: hmac.digest(bytes([1])*32, b"c" + bytes([7])*16 + (5).to_bytes(8, "big")
        // + bytes([9])*16, "sha256"), base64.urlsafe_b64encode, without "=".
        let stamp = key().mint(Kind::Continuation, SESSION, 5, Nonce([9; 16]));
        let token = key().token(SESSION, &stamp.seed);
        assert_eq!(token.expose(), "ct_WXUNhoyT0LoUjnAITJ5baFVda0AxhUnJ-Cpr8gH8eII");
        assert_eq!(token.expose().len(), TOKEN_LENGTH);
        assert!(token.digest() == stamp.digest);
        assert!(Token::presented(token.expose()).digest() == stamp.digest);
    }

    #[test]
    fn each_part_makes_another_token() {
        let other_key = TokenKey::new([2; 32]);
        let other_session = SessionId::new([8; 16]);
        let token = |key: &TokenKey, session, kind, turn, nonce| {
            key.token(session, &Seed { kind, turn, nonce: Nonce([nonce; 16]) }).0
        };
        let tokens = [
            token(&key(), SESSION, Kind::Continuation, 1, 1),
            token(&other_key, SESSION, Kind::Continuation, 1, 1),
            token(&key(), other_session, Kind::Continuation, 1, 1),
            token(&key(), SESSION, Kind::Resume, 1, 1),
            token(&key(), SESSION, Kind::Continuation, 2, 1),
            token(&key(), SESSION, Kind::Continuation, 1, 2),
        ];
        let bodies: HashSet<_> = tokens.iter().map(|token| &token[3..]).collect();
        assert_eq!(bodies.len(), tokens.len());
        assert!(tokens.iter().all(|token| {
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        }));
    }

    #[test]
    fn digests_differ_by_any_bit() {
        let digest = Digest([0x55; 32]);
        for bit in 0..256 {
            let mut other = digest;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(digest != other, "{bit}");
        }
        assert!(digest == Digest([0x55; 32]));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let stamp = key().mint(Kind::Resume, SESSION, 0, Nonce([9; 16]));
        let token = key().token(SESSION, &stamp.seed);
        let printed = format!("{:?} {stamp:?} {token:?}", key());
        assert!(!printed.contains(&token.expose()[3..]), "{printed}");
        assert!(!printed.contains("9, 9") && !printed.contains("1, 1"), "{printed}");
    }
}
