//! Field names the edge looks at. Each name is classified once, while a head is read, by its
//! length and a case-insensitive comparison; nothing is copied.

/// What a field's name means to the edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Known {
    /// `Accept`
    Accept,
    /// `Accept-Encoding`
    AcceptEncoding,
    /// `Connection`
    Connection,
    /// `Content-Encoding`
    ContentEncoding,
    /// `Content-Length`
    ContentLength,
    /// `Content-Type`
    ContentType,
    /// `Date`
    Date,
    /// `Expect`
    Expect,
    /// `Forwarded`
    Forwarded,
    /// `Host`
    Host,
    /// `HTTP2-Settings`
    Http2Settings,
    /// `Keep-Alive`
    KeepAlive,
    /// `Origin`
    Origin,
    /// A name without a meaning here.
    Other,
    /// `Proxy`
    Proxy,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Referer`
    Referer,
    /// `Retry-After`
    RetryAfter,
    /// Any other name that begins with `Rip-`
    Rip,
    /// `Rip-Worker-Busy`
    RipBusy,
    /// `Rip-Worker-Draining`
    RipDraining,
    /// `Rip-Mark`
    RipMark,
    /// `Rip-No-Log`
    RipNoLog,
    /// `Sec-WebSocket-Frame`
    SecWebSocketFrame,
    /// `Server`
    Server,
    /// `TE`
    Te,
    /// `traceparent`
    Traceparent,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `User-Agent`
    UserAgent,
    /// `Via`
    Via,
    /// `X-Accel-Buffering`
    XAccelBuffering,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Real-IP`
    XRealIp,
    /// `X-Request-Id`
    XRequestId,
    /// `X-Request-Start`
    XRequestStart,
}

impl Known {
    /// How many kinds there are; every `self as usize` is below.
    pub const COUNT: usize = Self::XRequestStart as usize + 1;

    /// The kind of the field called `name`, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        // Most names have no meaning here, and nearly all of those no length and first letter that go
        // together in one that has.
        let Some(first) = name.first() else { return Self::Other };
        let beginnings = BEGINNINGS.get(name.len()).copied().unwrap_or(BEGINNING_OF_RIP);
        if beginnings >> (first & 0x1f) & 1 == 0 { Self::Other } else { Self::of_candidate(name) }
    }

    fn of_candidate(name: &[u8]) -> Self {
        // One candidate per length and first letter, or a few: then one comparison settles it.
        let Some(first) = name.first() else { return Self::Other };
        match (name.len(), first | 0x20) {
            (2, b't') => is(name, b"te", Self::Te),
            (3, b'v') => is(name, b"via", Self::Via),
            (4, b'd') => is(name, b"date", Self::Date),
            (4, b'h') => is(name, b"host", Self::Host),
            (5, b'p') => is(name, b"proxy", Self::Proxy),
            (6, b'a') => is(name, b"accept", Self::Accept),
            (6, b'e') => is(name, b"expect", Self::Expect),
            (6, b'o') => is(name, b"origin", Self::Origin),
            (6, b's') => is(name, b"server", Self::Server),
            (7, b'r') => is(name, b"referer", Self::Referer).or_internal(name),
            (7, b't') => is(name, b"trailer", Self::Trailer),
            (7, b'u') => is(name, b"upgrade", Self::Upgrade),
            (8, b'r') => is(name, b"rip-mark", Self::RipMark).or_internal(name),
            (9, b'f') => is(name, b"forwarded", Self::Forwarded),
            (9, b'x') => is(name, b"x-real-ip", Self::XRealIp),
            (10, b'c') => is(name, b"connection", Self::Connection),
            (10, b'k') => is(name, b"keep-alive", Self::KeepAlive),
            (10, b'r') => is(name, b"rip-no-log", Self::RipNoLog).or_internal(name),
            (10, b'u') => is(name, b"user-agent", Self::UserAgent),
            (11, b'r') => is(name, b"retry-after", Self::RetryAfter).or_internal(name),
            (11, b't') => is(name, b"traceparent", Self::Traceparent),
            (12, b'c') => is(name, b"content-type", Self::ContentType),
            (12, b'x') => is(name, b"x-request-id", Self::XRequestId),
            (14, b'c') => is(name, b"content-length", Self::ContentLength),
            (14, b'h') => is(name, b"http2-settings", Self::Http2Settings),
            (15, b'a') => is(name, b"accept-encoding", Self::AcceptEncoding),
            (15, b'r') => is(name, b"rip-worker-busy", Self::RipBusy).or_internal(name),
            (15, b'x') => match is(name, b"x-forwarded-for", Self::XForwardedFor) {
                Self::Other => is(name, b"x-request-start", Self::XRequestStart),
                known => known,
            },
            (16, b'c') => is(name, b"content-encoding", Self::ContentEncoding),
            (16, b'p') => is(name, b"proxy-connection", Self::ProxyConnection),
            (16, b'x') => is(name, b"x-forwarded-host", Self::XForwardedHost),
            (17, b't') => is(name, b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => match is(name, b"x-forwarded-proto", Self::XForwardedProto) {
                Self::Other => is(name, b"x-accel-buffering", Self::XAccelBuffering),
                known => known,
            },
            (19, b'r') => is(name, b"rip-worker-draining", Self::RipDraining).or_internal(name),
            (19, b's') => is(name, b"sec-websocket-frame", Self::SecWebSocketFrame),
            (_, b'r') => Self::Other.or_internal(name),
            _ => Self::Other,
        }
    }

    /// True for fields that are about one connection and never pass to the next (RFC 9110 §7.6.1).
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// True for every field whose name begins with `Rip-`.
    pub const fn is_internal(self) -> bool {
        matches!(
            self,
            Self::Rip | Self::RipBusy | Self::RipDraining | Self::RipMark | Self::RipNoLog
        )
    }

    fn or_internal(self, name: &[u8]) -> Self {
        let internal = self == Self::Other
            && name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"rip-"));
        if internal { Self::Rip } else { self }
    }
}

/// By the length of a name: the letters that one of this length begins with, each a bit at its place in
/// the alphabet.
static BEGINNINGS: [u32; 20] = {
    let mut beginnings = [BEGINNING_OF_RIP; 20];
    let names: [(usize, &[u8]); 15] = [
        (2, b"t"),
        (3, b"v"),
        (4, b"dh"),
        (5, b"p"),
        (6, b"aeos"),
        (7, b"tu"),
        (9, b"fx"),
        (10, b"cku"),
        (11, b"t"),
        (12, b"cx"),
        (14, b"ch"),
        (15, b"ax"),
        (16, b"cpx"),
        (17, b"tx"),
        (19, b"s"),
    ];
    let mut at = 0;
    while at < names.len() {
        let (length, letters) = names[at];
        let mut letter = 0;
        while letter < letters.len() {
            beginnings[length] |= 1 << (letters[letter] & 0x1f);
            letter += 1;
        }
        at += 1;
    }
    beginnings
};

/// `Rip-` begins names of any length.
const BEGINNING_OF_RIP: u32 = 1 << (b'r' & 0x1f);

/// One comparison for eight letters: what is asked of every field of every head. Always inlined, so
/// that what is known of `lower` is computed beforehand.
#[inline(always)]
fn is<const N: usize>(name: &[u8], lower: &[u8; N], known: Known) -> Known {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return Known::Other };
    let mut differing = 0;
    for at in (0..N).step_by(8) {
        // The last eight may overlap those before.
        let at = at.min(N.saturating_sub(8));
        let (word, same, mask) = (word(name, at), word(lower, at), word(&mask(lower), at));
        differing |= (word ^ same) & mask;
    }
    if differing == 0 { known } else { Known::Other }
}

/// Up to eight bytes from `at` on.
#[inline(always)]
fn word<const N: usize>(text: &[u8; N], at: usize) -> u64 {
    let bytes = std::array::from_fn(|place| text.get(at + place).copied().unwrap_or_default());
    u64::from_le_bytes(bytes)
}

/// The bits in which names are compared: all but that which makes a letter a capital one.
#[inline(always)]
fn mask<const N: usize>(lower: &[u8; N]) -> [u8; N] {
    lower.map(|byte| if byte.is_ascii_lowercase() { !0x20 } else { !0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[(&str, Known)] = &[
        ("Accept", Known::Accept),
        ("Accept-Encoding", Known::AcceptEncoding),
        ("Connection", Known::Connection),
        ("Content-Encoding", Known::ContentEncoding),
        ("Content-Length", Known::ContentLength),
        ("Content-Type", Known::ContentType),
        ("Date", Known::Date),
        ("Expect", Known::Expect),
        ("Forwarded", Known::Forwarded),
        ("Host", Known::Host),
        ("HTTP2-Settings", Known::Http2Settings),
        ("Keep-Alive", Known::KeepAlive),
        ("Origin", Known::Origin),
        ("Proxy", Known::Proxy),
        ("Proxy-Connection", Known::ProxyConnection),
        ("Referer", Known::Referer),
        ("Retry-After", Known::RetryAfter),
        ("Rip-Anything", Known::Rip),
        ("Rip-", Known::Rip),
        ("Rip-Own", Known::Rip),
        ("Rip-Worker-Busy", Known::RipBusy),
        ("Rip-Worker-Draining", Known::RipDraining),
        ("Rip-Mark", Known::RipMark),
        ("Rip-No-Log", Known::RipNoLog),
        ("Sec-WebSocket-Frame", Known::SecWebSocketFrame),
        ("Server", Known::Server),
        ("TE", Known::Te),
        ("traceparent", Known::Traceparent),
        ("Trailer", Known::Trailer),
        ("Transfer-Encoding", Known::TransferEncoding),
        ("Upgrade", Known::Upgrade),
        ("User-Agent", Known::UserAgent),
        ("Via", Known::Via),
        ("X-Accel-Buffering", Known::XAccelBuffering),
        ("X-Forwarded-For", Known::XForwardedFor),
        ("X-Forwarded-Host", Known::XForwardedHost),
        ("X-Forwarded-Proto", Known::XForwardedProto),
        ("X-Real-IP", Known::XRealIp),
        ("X-Request-Id", Known::XRequestId),
        ("X-Request-Start", Known::XRequestStart),
    ];

    #[test]
    fn every_name_is_known_in_every_case_and_nothing_near_it_is() {
        for &(name, known) in NAMES {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
            assert_eq!(Known::of(name.to_uppercase().as_bytes()), known, "{name}");
            assert_eq!(Known::of(name.to_lowercase().as_bytes()), known, "{name}");
            assert!((known as usize) < Known::COUNT);
            if !known.is_internal() {
                let near = format!("{}~", &name[..name.len() - 1]);
                assert_eq!(Known::of(near.as_bytes()), Known::Other, "{near}");
            }
        }
        assert_eq!(Known::of(b""), Known::Other);
        assert_eq!(Known::of(b"Rip"), Known::Other);
        assert_eq!(Known::of(b"Ripe-Fruit"), Known::Other);
    }
}
