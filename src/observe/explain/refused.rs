//! Requests that the edge itself refused.

use super::cause::Cause;
use super::finding::{Evidence, Finding};
use crate::contract::reason::Reason;

impl Evidence<'_> {
    pub(super) fn file_missing(&self) -> Finding {
        let dir = self.rule().and_then(|rule| rule.dir.clone()).unwrap_or_default();
        let rule = self.by_rule();
        if self.escapes {
            return Finding::new(
                Cause::FileEscapes,
                format!(
                    "a symbolic link on the way to it leads out of {dir}, and is not followed, {rule}"
                ),
                "put the file itself into the directory, or serve the directory it is in with a rule \
                 of its own",
            );
        }
        Finding::new(
            Cause::FileNotFound,
            format!("there is no such file below {dir}, {rule}"),
            "is the name right, letter for letter? Names that begin with a dot are served with \
             `dotfiles #true` only; directories without an index with `browse #true`",
        )
    }

    pub(super) fn refused(&self, reason: Reason) -> Finding {
        let (note, detail) = (self.note, self.detail());
        let (host, path, method) = (note.host(), note.path(), note.method());
        let why = format!(
            "`rip-master why --method {method} http://{host}{path}` shows what each rule says"
        );
        match reason {
            Reason::Malformed => Finding::new(
                Cause::HeadMalformed,
                format!("the request is not valid HTTP{detail}"),
                "the client, or a proxy before this server, has to be mended: what is ambiguous is \
                 never repaired",
            ),
            Reason::HeadTooLarge => Finding::new(
                Cause::HeadTooLarge,
                format!("the head is over 64 KiB or 100 fields{detail}"),
                "most often cookies that have grown: have the client send fewer",
            ),
            Reason::HeadTimeout => Finding::new(
                Cause::HeadTooSlow,
                "the head was not complete in time",
                "a slow or stuck client; --head-timeout-ms, `timeouts head=` of `edge`",
            ),
            Reason::TargetTooLong => Finding::new(
                Cause::TargetTooLong,
                "the target is over 8 KiB",
                "what is that long belongs into a body",
            ),
            Reason::VersionUnsupported => Finding::new(
                Cause::VersionUnsupported,
                format!("HTTP/1.0 and HTTP/1.1 are spoken here{detail}"),
                "",
            ),
            Reason::UnknownCoding => Finding::new(
                Cause::UnknownCoding,
                format!("of transfer codings only chunked is known{detail}"),
                "",
            ),
            Reason::ExpectationFailed => Finding::new(
                Cause::ExpectationFailed,
                "of expectations only 100-continue is met",
                "",
            ),
            Reason::TlsPlain => Finding::new(
                Cause::PlainOnTls,
                "the client spoke plain HTTP to a port that speaks HTTPS",
                "ask https://",
            ),
            Reason::HostNotFound => Finding::new(
                Cause::HostNotFound,
                format!("no site is for the host {host}"),
                format!(
                    "`rip-master add {host}` adds it while the server runs; else as a `site`, or an alias of the app"
                ),
            ),
            Reason::Misdirected => Finding::new(
                Cause::Misdirected,
                format!("no site is for the host {host}, and this connection is for another one"),
                format!(
                    "`rip-master add {host}`, or a `site` for it; is the client told the right name?"
                ),
            ),
            Reason::NotFound => Finding::new(
                Cause::NoRoute,
                format!("the host {host} is served, but no rule takes {path}"),
                why,
            ),
            Reason::MethodNotAllowed => Finding::new(
                Cause::MethodNotAllowed,
                format!("{path} is served, but not for {method}"),
                format!("{why}; the answer's Allow names what is taken"),
            ),
            Reason::RateLimited => Finding::new(
                Cause::RateLimited,
                format!(
                    "{} asked more often than one address may",
                    note.client
                        .map_or_else(|| "the client".to_owned(), |client| client.to_string())
                ),
                "--rate-limit, `rate-limit` of `edge` or the site; where a proxy asks for many, name \
                 it in `trusted-proxies`",
            ),
            Reason::NoSecret => {
                Finding::new(Cause::NoSecret, reason.sentence(), "RIP_PUBLISH_SECRET")
            }
            Reason::Unauthorized => Finding::new(
                Cause::Unauthorized,
                reason.sentence(),
                "publishers send `Authorization: Bearer` with what RIP_PUBLISH_SECRET is here",
            ),
            Reason::OriginRefused => Finding::new(
                Cause::OriginRefused,
                reason.sentence(),
                "pages of other origins are let in by `origins` of `realtime` or `sessions`",
            ),
            Reason::UpgradeRequired => Finding::new(
                Cause::UpgradeRequired,
                reason.sentence(),
                "connect with ws:// or wss://",
            ),
            Reason::RecoverMalformed => {
                Finding::new(Cause::RecoverMalformed, reason.sentence(), "")
            }
            Reason::GroupMalformed => Finding::new(Cause::GroupMalformed, reason.sentence(), ""),
            Reason::GroupRefused => Finding::new(
                Cause::GroupRefused,
                "the app's answer did not join the group that was to be read",
                "docs/REALTIME.md says what the app is asked: `subscribe`",
            ),
            Reason::BadPath => Finding::new(Cause::BadPath, reason.sentence(), ""),
            Reason::FileFailed => Finding::new(
                Cause::FileFailed,
                reason.sentence(),
                "the server's log has the system's own words; a file that shrinks while it is sent \
                 is replaced by renaming, not written over",
            ),
            Reason::PreconditionFailed => {
                Finding::new(Cause::PreconditionFailed, reason.sentence(), "")
            }
            Reason::RangeNotSatisfiable => {
                Finding::new(Cause::RangeNotSatisfiable, reason.sentence(), "")
            }
            Reason::EncodeFailed => Finding::new(
                Cause::EncodeFailed,
                reason.sentence(),
                "`compress off` on the route goes round it; the server's log has the details",
            ),
            _ => Finding::new(Cause::ConnectionRefused, reason.sentence(), ""),
        }
    }
}
