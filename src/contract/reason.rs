//! Why the edge itself refused or ended something: each reason is a code, a status and a counter.

/// A refusal or failure answered by the edge.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// The client's address had too many connections.
    AddressCap,
    /// The app's answer to a request of the edge's own was longer than such answers may be.
    AnswerTooLarge,
    /// Every worker slot was given up after crashes.
    AppAbandoned,
    /// The path is none that a file could have.
    BadPath,
    /// The body was larger than allowed.
    BodyTooLarge,
    /// The body stalled or dripped.
    BodyTimeout,
    /// The client went away before its answer.
    ClientGone,
    /// The one thread that knows how everything is did not get round to the question in time.
    ControlBusy,
    /// The answer could not be compressed.
    EncodeFailed,
    /// `Expect` named something other than `100-continue`.
    ExpectationFailed,
    /// A file could not be read, or not to its end.
    FileFailed,
    /// The query names no group to be read.
    GroupMalformed,
    /// The app did not allow to read the group.
    GroupRefused,
    /// The head did not arrive in time.
    HeadTimeout,
    /// No site is for the host.
    HostNotFound,
    /// A connection asked nothing for too long.
    IdleTimeout,
    /// The head was larger or had more fields than allowed.
    HeadTooLarge,
    /// The request was not valid HTTP/1.1.
    Malformed,
    /// `CONNECT` or `TRACE`.
    MethodNotAllowed,
    /// No site is for the host that was asked over TLS.
    Misdirected,
    /// Nothing is served at the path.
    NotFound,
    /// Who publishes does not ask from this machine, and there is no secret to tell it by.
    NoSecret,
    /// The request has come here before, through the servers it was handed to.
    ProxyLoop,
    /// The connection had to begin with a PROXY header, and did not, or not in time.
    ProxyHeader,
    /// Who connected to a listener for proxies is none that is trusted.
    ProxyUntrusted,
    /// A page of another site asked for WebSocket, or for an event stream.
    OriginRefused,
    /// A precondition of the request does not hold.
    PreconditionFailed,
    /// The app's queue was full.
    QueueFull,
    /// No worker was free in time.
    QueueTimeout,
    /// The client asked more often than it may.
    RateLimited,
    /// No byte of the ranges that were asked for exists.
    RangeNotSatisfiable,
    /// What a client says to have had is no list of positions.
    RecoverMalformed,
    /// The rule that took the request was removed, and it did not end in time.
    RouteRemoved,
    /// The server is stopping and the request could not be finished.
    Stopping,
    /// Spooled bytes reached the process's budget.
    SpoolFull,
    /// The spool file could not be written or read.
    SpoolFailed,
    /// The target was longer than allowed.
    TargetTooLong,
    /// TLS was broken: by garbage, by a record that cannot be opened.
    TlsBroken,
    /// The client left in the middle of its handshake.
    TlsGone,
    /// Client and server have no version, suite or protocol in common.
    TlsIncompatible,
    /// There is no certificate for the client.
    TlsName,
    /// A port that speaks HTTPS was spoken to in plain HTTP.
    TlsPlain,
    /// The client would not go on, and said so by an alert.
    TlsRefused,
    /// The handshake took too long.
    TlsTimeout,
    /// The secret was missing or wrong.
    Unauthorized,
    /// An unknown transfer coding.
    UnknownCoding,
    /// Only WebSocket is spoken there.
    UpgradeRequired,
    /// The upstream could not be connected.
    UpstreamConnect,
    /// The upstream closed or reset before its answer was complete.
    UpstreamGone,
    /// The upstream's answer was not valid HTTP.
    UpstreamMalformed,
    /// The upstream could not be connected or did not answer in time.
    UpstreamTimeout,
    /// No server of the upstream is well.
    UpstreamUnavailable,
    /// The HTTP version is not spoken here.
    VersionUnsupported,
    /// Every try was answered busy or draining.
    WorkerBusy,
    /// The worker could not be connected.
    WorkerConnect,
    /// The worker closed or reset before the answer was complete.
    WorkerGone,
    /// The worker's answer was not valid HTTP.
    WorkerMalformed,
    /// The worker did not answer in time.
    WorkerTimeout,
    /// The response was not taken by the client in time.
    WriteTimeout,
}

impl Reason {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 59] = [
        Self::AddressCap,
        Self::AnswerTooLarge,
        Self::AppAbandoned,
        Self::BadPath,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::ClientGone,
        Self::ControlBusy,
        Self::EncodeFailed,
        Self::ExpectationFailed,
        Self::FileFailed,
        Self::GroupMalformed,
        Self::GroupRefused,
        Self::HeadTimeout,
        Self::HostNotFound,
        Self::IdleTimeout,
        Self::HeadTooLarge,
        Self::Malformed,
        Self::MethodNotAllowed,
        Self::Misdirected,
        Self::NotFound,
        Self::NoSecret,
        Self::ProxyLoop,
        Self::ProxyHeader,
        Self::ProxyUntrusted,
        Self::OriginRefused,
        Self::PreconditionFailed,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::RateLimited,
        Self::RangeNotSatisfiable,
        Self::RecoverMalformed,
        Self::RouteRemoved,
        Self::Stopping,
        Self::SpoolFull,
        Self::SpoolFailed,
        Self::TargetTooLong,
        Self::TlsBroken,
        Self::TlsGone,
        Self::TlsIncompatible,
        Self::TlsName,
        Self::TlsPlain,
        Self::TlsRefused,
        Self::TlsTimeout,
        Self::Unauthorized,
        Self::UnknownCoding,
        Self::UpgradeRequired,
        Self::UpstreamConnect,
        Self::UpstreamGone,
        Self::UpstreamMalformed,
        Self::UpstreamTimeout,
        Self::UpstreamUnavailable,
        Self::VersionUnsupported,
        Self::WorkerBusy,
        Self::WorkerConnect,
        Self::WorkerGone,
        Self::WorkerMalformed,
        Self::WorkerTimeout,
        Self::WriteTimeout,
    ];

    /// The code shown in logs and counters.
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// The status the client gets. [`Self::ClientGone`] and [`Self::WriteTimeout`] are only logged,
    /// as 499 and 408; [`Self::AddressCap`], [`Self::IdleTimeout`], [`Self::ProxyHeader`],
    /// [`Self::ProxyUntrusted`] and what is wrong with TLS (but [`Self::TlsPlain`]) close a
    /// connection without a word of HTTP and are only counted.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// One sentence for the client: nothing internal.
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::AddressCap => {
                ("address-cap", 429, "There are too many connections from this address.")
            }
            Self::AnswerTooLarge => {
                ("answer-too-large", 502, "The application's answer is too large.")
            }
            Self::AppAbandoned => ("app-abandoned", 503, "The application does not start."),
            Self::BadPath => ("bad-path", 400, "The path is not one that a file could have."),
            Self::BodyTooLarge => ("body-too-large", 413, "The request body is too large."),
            Self::BodyTimeout => ("body-timeout", 408, "The request body arrived too slowly."),
            Self::ClientGone => ("client-gone", 499, "The client went away."),
            Self::ControlBusy => {
                ("control-busy", 503, "The server is busy with itself; try again in a moment.")
            }
            Self::EncodeFailed => ("encode-failed", 500, "The answer could not be compressed."),
            Self::ExpectationFailed => {
                ("expectation-failed", 417, "Only 100-continue can be expected.")
            }
            Self::FileFailed => ("file-failed", 500, "The file could not be read."),
            Self::GroupMalformed => (
                "group-malformed",
                400,
                "The query has to name one group, which begins with a slash: ?group=/lobby.",
            ),
            Self::GroupRefused => ("group-refused", 403, "This group is not yours to read."),
            Self::HeadTimeout => ("head-timeout", 408, "The request head arrived too slowly."),
            Self::HostNotFound => ("host-not-found", 404, "Host not found"),
            Self::IdleTimeout => ("idle-timeout", 408, "The connection was idle for too long."),
            Self::HeadTooLarge => ("head-too-large", 431, "The request head is too large."),
            Self::Malformed => ("malformed", 400, "The request is not valid HTTP."),
            Self::MethodNotAllowed => {
                ("method-not-allowed", 405, "The method is not allowed here.")
            }
            Self::Misdirected => ("misdirected", 421, "This server is not for that host."),
            Self::NotFound => ("not-found", 404, "Nothing is served here."),
            Self::NoSecret => (
                "no-secret",
                401,
                "No secret is set (RIP_PUBLISH_SECRET, or publish secret-file= in the Edgefile): \
                 only this machine may publish, asked at localhost.",
            ),
            Self::ProxyLoop => ("proxy-loop", 508, "The request goes in a circle."),
            Self::ProxyHeader => ("proxy-header", 400, "The connection has no PROXY header."),
            Self::ProxyUntrusted => {
                ("proxy-untrusted", 403, "The connection does not come from a trusted proxy.")
            }
            Self::OriginRefused => {
                ("origin-refused", 403, "Pages of another site are not served here.")
            }
            Self::Unauthorized => ("unauthorized", 401, "The secret is missing or wrong."),
            Self::UpgradeRequired => ("upgrade-required", 426, "Only WebSocket is spoken here."),
            Self::QueueFull => ("queue-full", 503, "The server is busy; try again in a moment."),
            Self::QueueTimeout => ("queue-timeout", 504, "No worker was free in time."),
            Self::RateLimited => ("rate-limited", 429, "Too many requests; try again in a moment."),
            Self::PreconditionFailed => {
                ("precondition-failed", 412, "The file is not in the state that was asked for.")
            }
            Self::RangeNotSatisfiable => (
                "range-not-satisfiable",
                416,
                "The file has none of the bytes that were asked for.",
            ),
            Self::RecoverMalformed => (
                "recover-malformed",
                400,
                "What was missed is asked for as ?recover=GROUP:EPOCH:OFFSET, several with commas.",
            ),
            Self::RouteRemoved => ("route-removed", 503, "The path is no longer served."),
            Self::Stopping => ("stopping", 503, "The server is stopping."),
            Self::SpoolFull => ("spool-full", 503, "The server has no room for the request body."),
            Self::SpoolFailed => ("spool-failed", 500, "The request body could not be stored."),
            Self::TargetTooLong => ("target-too-long", 414, "The request target is too long."),
            Self::TlsBroken => ("tls-broken", 400, "The TLS records are not valid."),
            Self::TlsGone => ("tls-gone", 499, "The client left during the TLS handshake."),
            Self::TlsIncompatible => {
                ("tls-incompatible", 400, "There is no TLS version, suite or protocol in common.")
            }
            Self::TlsName => ("tls-name", 421, "There is no certificate for that name."),
            Self::TlsPlain => ("tls-plain", 400, "This port speaks HTTPS."),
            Self::TlsRefused => ("tls-refused", 400, "The client ended the TLS handshake."),
            Self::TlsTimeout => ("tls-timeout", 408, "The TLS handshake took too long."),
            Self::UnknownCoding => ("unknown-coding", 501, "The transfer coding is not known."),
            Self::UpstreamConnect => {
                ("upstream-connect", 502, "The server behind cannot be reached.")
            }
            Self::UpstreamGone => {
                ("upstream-gone", 502, "The server behind ended before its answer was complete.")
            }
            Self::UpstreamMalformed => {
                ("upstream-malformed", 502, "The answer of the server behind is not valid HTTP.")
            }
            Self::UpstreamTimeout => {
                ("upstream-timeout", 504, "The server behind did not answer in time.")
            }
            Self::UpstreamUnavailable => {
                ("upstream-unavailable", 503, "No server behind is well; try again in a moment.")
            }
            Self::VersionUnsupported => {
                ("version-unsupported", 505, "The HTTP version is not supported.")
            }
            Self::WorkerBusy => ("worker-busy", 503, "Every worker is busy."),
            Self::WorkerConnect => ("worker-connect", 502, "The application cannot be reached."),
            Self::WorkerGone => {
                ("worker-gone", 502, "The application ended before its answer was complete.")
            }
            Self::WorkerMalformed => {
                ("worker-malformed", 502, "The application's answer is not valid HTTP.")
            }
            Self::WorkerTimeout => {
                ("worker-timeout", 504, "The application did not answer in time.")
            }
            Self::WriteTimeout => ("write-timeout", 408, "The response was not taken in time."),
        }
    }

    /// The reason's position in [`Self::ALL`], for arrays of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index_with_a_code_of_its_own() {
        let mut codes = std::collections::HashSet::new();
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(codes.insert(reason.code()));
            assert!((400..600).contains(&reason.status()));
        }
    }
}
