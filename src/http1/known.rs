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
    pub fn of(name: &[u8]) -> Self {
        // One candidate per length and first letter, or a few: then one comparison settles it.
        let Some(first) = name.first() else { return Self::Other };
        match (name.len(), first | 0x20) {
            (2, b't') => is(name, "te", Self::Te),
            (3, b'v') => is(name, "via", Self::Via),
            (4, b'd') => is(name, "date", Self::Date),
            (4, b'h') => is(name, "host", Self::Host),
            (5, b'p') => is(name, "proxy", Self::Proxy),
            (6, b'a') => is(name, "accept", Self::Accept),
            (6, b'e') => is(name, "expect", Self::Expect),
            (6, b'o') => is(name, "origin", Self::Origin),
            (6, b's') => is(name, "server", Self::Server),
            (7, b'r') => is(name, "referer", Self::Referer).or_internal(name),
            (7, b't') => is(name, "trailer", Self::Trailer),
            (7, b'u') => is(name, "upgrade", Self::Upgrade),
            (8, b'r') => is(name, "rip-mark", Self::RipMark).or_internal(name),
            (9, b'f') => is(name, "forwarded", Self::Forwarded),
            (9, b'x') => is(name, "x-real-ip", Self::XRealIp),
            (10, b'c') => is(name, "connection", Self::Connection),
            (10, b'k') => is(name, "keep-alive", Self::KeepAlive),
            (10, b'r') => is(name, "rip-no-log", Self::RipNoLog).or_internal(name),
            (10, b'u') => is(name, "user-agent", Self::UserAgent),
            (11, b'r') => is(name, "retry-after", Self::RetryAfter).or_internal(name),
            (11, b't') => is(name, "traceparent", Self::Traceparent),
            (12, b'c') => is(name, "content-type", Self::ContentType),
            (12, b'x') => is(name, "x-request-id", Self::XRequestId),
            (14, b'c') => is(name, "content-length", Self::ContentLength),
            (14, b'h') => is(name, "http2-settings", Self::Http2Settings),
            (15, b'a') => is(name, "accept-encoding", Self::AcceptEncoding),
            (15, b'r') => is(name, "rip-worker-busy", Self::RipBusy).or_internal(name),
            (15, b'x') => match is(name, "x-forwarded-for", Self::XForwardedFor) {
                Self::Other => is(name, "x-request-start", Self::XRequestStart),
                known => known,
            },
            (16, b'c') => is(name, "content-encoding", Self::ContentEncoding),
            (16, b'p') => is(name, "proxy-connection", Self::ProxyConnection),
            (16, b'x') => is(name, "x-forwarded-host", Self::XForwardedHost),
            (17, b't') => is(name, "transfer-encoding", Self::TransferEncoding),
            (17, b'x') => match is(name, "x-forwarded-proto", Self::XForwardedProto) {
                Self::Other => is(name, "x-accel-buffering", Self::XAccelBuffering),
                known => known,
            },
            (19, b'r') => is(name, "rip-worker-draining", Self::RipDraining).or_internal(name),
            (19, b's') => is(name, "sec-websocket-frame", Self::SecWebSocketFrame),
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

fn is(name: &[u8], lower: &str, known: Known) -> Known {
    if name.eq_ignore_ascii_case(lower.as_bytes()) { known } else { Known::Other }
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
