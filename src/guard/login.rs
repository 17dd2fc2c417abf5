//! Who may order something from a web page: links that are good once, and the sessions they begin.
//!
//! ```text
//!  offer ──▶ link ── log_in ──▶ session ── log_out, 12 h ──▶ gone
//!             └── 5 minutes, or used ──▶ gone
//! ```
//!
//! Both are keys: 256 random bits that whoever holds them has a right by. Only their digests are kept,
//! compared in a time that does not depend on where they differ, and nothing outlives the process.

use crate::time::Instant;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::time::Duration;

/// 256 bits of the kernel's randomness, as whoever holds them presents them. They are never printed.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// The key of `random` bits.
    pub fn new(random: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// Its text, for whom it belongs to: 43 letters, digits, `-` and `_`.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(…)")
    }
}

/// A session as long as it lives; the number is no secret and is never used again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LoginId(pub u64);

/// A session that lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Login {
    /// Which.
    pub id: LoginId,
    /// Until then, unless it is ended before.
    pub until: Instant,
}

/// Links that were given out, and sessions that live.
#[derive(Debug, Default)]
pub struct Logins {
    links: Vec<Link>,
    sessions: Vec<Session>,
    last_id: u64,
}

#[derive(Debug)]
struct Link {
    digest: Digest,
    until: Instant,
}

#[derive(Debug)]
struct Session {
    digest: Digest,
    login: Login,
}

impl Logins {
    /// Whoever presents `key` within [`LINK_KEEP`] may log in, once. Of more than [`LINK_COUNT`] links
    /// the oldest are not good any more.
    pub fn offer(&mut self, key: &Key, now: Instant) {
        self.expire(now);
        let excess = (self.links.len() + 1).saturating_sub(LINK_COUNT);
        self.links.drain(..excess);
        self.links.push(Link { digest: Digest::of(key.0.as_bytes()), until: now + LINK_KEEP });
    }

    /// Begins a session whose holder presents `session`, if `link` was offered, is not too old, and was
    /// not used before. Of more than [`LOGIN_COUNT`] sessions the oldest end.
    pub fn log_in(&mut self, link: &[u8], session: &Key, now: Instant) -> Option<Login> {
        self.expire(now);
        let digest = Digest::of(link);
        let mut found = None;
        for (index, offered) in self.links.iter().enumerate() {
            // Every one is looked at: how long it takes says nothing.
            if offered.digest == digest {
                found = Some(index);
            }
        }
        self.links.remove(found?);
        let excess = (self.sessions.len() + 1).saturating_sub(LOGIN_COUNT);
        self.sessions.drain(..excess);
        self.last_id += 1;
        let login = Login { id: LoginId(self.last_id), until: now + LOGIN_KEEP };
        self.sessions.push(Session { digest: Digest::of(session.0.as_bytes()), login });
        Some(login)
    }

    /// The session whose holder presents `key`.
    pub fn session(&self, key: &[u8], now: Instant) -> Option<Login> {
        let digest = Digest::of(key);
        let mut found = None;
        for session in &self.sessions {
            if session.digest == digest && session.login.until > now {
                found = Some(session.login);
            }
        }
        found
    }

    /// Whether a session has neither ended nor been ended.
    pub fn lives(&self, id: LoginId, now: Instant) -> bool {
        self.sessions.iter().any(|session| session.login.id == id && session.login.until > now)
    }

    /// Ends a session.
    pub fn log_out(&mut self, id: LoginId) {
        self.sessions.retain(|session| session.login.id != id);
    }

    fn expire(&mut self, now: Instant) {
        self.links.retain(|link| link.until > now);
        self.sessions.retain(|session| session.login.until > now);
    }
}

/// The name of the cookie that carries a session's key. Over TLS no other host can set one of that name
/// (RFC 6265bis §4.1.3.2).
pub const fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-rip-dashboard" } else { "rip-dashboard" }
}

/// What `Set-Cookie` says to begin a session whose holder presents `key`; without one, to end it.
pub fn set_cookie(key: Option<&Key>, is_secure: bool) -> String {
    let name = cookie_name(is_secure);
    let secure = if is_secure { "; Secure" } else { "" };
    let (value, age) = match key {
        Some(key) => (key.expose(), LOGIN_KEEP.as_secs()),
        None => ("", 0),
    };
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

/// The values that a `Cookie` field has for a session; there may be several, set by whoever can.
pub fn cookies(field: &[u8], is_secure: bool) -> impl Iterator<Item = &[u8]> {
    let name = cookie_name(is_secure).as_bytes();
    field.split(|byte| *byte == b';').filter_map(move |pair| {
        let rest = pair.trim_ascii().strip_prefix(name)?;
        let value = rest.strip_prefix(b"=")?.trim_ascii();
        Some(value).filter(|value| value.len() == KEY_BYTES)
    })
}

/// A SHA-256.
#[derive(Clone, Copy)]
struct Digest([u8; 32]);

impl Digest {
    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |sum, (left, right)| {
            // Keeps the compiler from leaving early.
            std::hint::black_box(sum | (left ^ right))
        });
        differing == 0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Digest(…)")
    }
}

/// A link is good for this long.
pub const LINK_KEEP: Duration = Duration::from_secs(300);
/// A session lives this long.
pub const LOGIN_KEEP: Duration = Duration::from_secs(12 * 3600);
/// Links that are good at once.
pub const LINK_COUNT: usize = 16;
/// Sessions that live at once.
pub const LOGIN_COUNT: usize = 64;
/// A key as text.
const KEY_BYTES: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::new([number; 32])
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    fn log_in(logins: &mut Logins, link: u8, session: u8, secs: u64) -> Option<Login> {
        logins.log_in(key(link).expose().as_bytes(), &key(session), at(secs))
    }

    fn session(logins: &Logins, number: u8, secs: u64) -> Option<Login> {
        logins.session(key(number).expose().as_bytes(), at(secs))
    }

    #[test]
    fn a_link_is_good_once_and_for_five_minutes() {
        let mut logins = Logins::default();
        logins.offer(&key(1), at(0));
        logins.offer(&key(2), at(0));
        assert_eq!(log_in(&mut logins, 9, 11, 1), None, "never offered");
        assert_eq!(logins.log_in(b"", &key(11), at(1)), None);
        let login = log_in(&mut logins, 1, 11, 299).expect("good");
        assert_eq!(login.until, at(299) + LOGIN_KEEP);
        assert_eq!(log_in(&mut logins, 1, 12, 299), None, "used");
        assert_eq!(log_in(&mut logins, 2, 12, 300), None, "too old");
        assert_eq!(session(&logins, 11, 300), Some(login));
        assert_eq!(session(&logins, 12, 300), None);
        assert_eq!(session(&logins, 1, 300), None, "a link is no session");
    }

    #[test]
    fn a_session_ends_by_itself_or_when_it_is_ended() {
        let mut logins = Logins::default();
        let end = LOGIN_KEEP.as_secs();
        for number in [1, 2, 3] {
            logins.offer(&key(number), at(0));
            log_in(&mut logins, number, 10 + number, 0).expect("good");
        }
        let first = session(&logins, 11, end - 1).expect("it lives");
        assert!(logins.lives(first.id, at(end - 1)) && !logins.lives(first.id, at(end)));
        assert_eq!(session(&logins, 11, end), None);
        logins.log_out(first.id);
        assert_eq!(session(&logins, 11, 1), None);
        assert!(!logins.lives(first.id, at(1)));
        assert!(session(&logins, 12, 1).is_some(), "the others go on");
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut logins = Logins::default();
        for number in 0..=LINK_COUNT as u8 {
            logins.offer(&key(number), at(0));
        }
        assert_eq!(log_in(&mut logins, 0, 200, 0), None, "the oldest is not good any more");
        for number in 0..=LOGIN_COUNT as u8 {
            logins.offer(&key(150), at(1));
            log_in(&mut logins, 150, number, 1).expect("good");
        }
        assert_eq!(session(&logins, 0, 1), None);
        assert!((1..=LOGIN_COUNT as u8).all(|number| session(&logins, number, 1).is_some()));
        assert_eq!(logins.sessions.len(), LOGIN_COUNT);
        assert!(logins.links.len() <= LINK_COUNT);
    }

    #[test]
    fn the_cookie_is_for_this_host_alone_and_no_scripts() {
        let plain = set_cookie(Some(&key(0)), false);
        let text = key(0).expose().to_owned();
        assert_eq!(
            plain,
            format!("rip-dashboard={text}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict")
        );
        assert!(set_cookie(Some(&key(0)), true).starts_with("__Host-rip-dashboard="));
        assert!(set_cookie(Some(&key(0)), true).ends_with("; SameSite=Strict; Secure"));
        assert!(set_cookie(None, false).starts_with("rip-dashboard=; Path=/; Max-Age=0;"));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |field: &str, is_secure| {
            cookies(field.as_bytes(), is_secure)
                .map(|value| String::from_utf8(value.to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        let (one, two) = (key(1).expose().to_owned(), key(2).expose().to_owned());
        let field = format!("a=b; rip-dashboard={one};rip-dashboard={two} ; x-rip-dashboard=3");
        assert_eq!(found(&field, false), [one.clone(), two]);
        assert_eq!(found(&field, true), [""; 0]);
        assert_eq!(found(&format!("__Host-rip-dashboard={one}"), true), [one]);
        for field in ["", "rip-dashboard", "rip-dashboard=", "rip-dashboard=short", ";;="] {
            assert_eq!(found(field, false), [""; 0], "{field}");
        }
    }

    #[test]
    fn no_key_is_printed_or_kept() {
        let mut logins = Logins::default();
        logins.offer(&key(7), at(0));
        let printed = format!("{:?} {logins:?}", key(7));
        assert!(!printed.contains(key(7).expose()), "{printed}");
    }
}
