//! Why a request ended as it did: one code for each cause, as `explain` shows it and
//! `docs/EXPLAIN.md` describes it.

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident $code:literal $meaning:literal;)*) => {
        /// Why a request ended as it did.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Cause {
            $(#[doc = $meaning] $name,)*
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its code: what programs compare.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// One sentence about it.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

causes! {
    Answered "answered" "It was answered; nothing was wrong.";
    AnsweredAfterRetry "answered-after-retry" "It was answered, by another worker or server than the first.";
    AppError "app-error" "The application itself answered with 5xx.";
    UpstreamError "upstream-error" "The server behind itself answered with 5xx.";
    Redirected "redirected" "A rule sends it elsewhere.";
    RedirectedToHttps "redirected-to-https" "It came in the clear and was sent on to HTTPS.";
    Running "running" "It has not ended.";

    WorkerKilled "worker-killed" "The worker that had it was killed by a signal.";
    WorkerExited "worker-exited" "The worker that had it ended by itself.";
    WorkerClosed "worker-closed" "The worker that had it closed the connection before its answer was complete, and lives.";
    WorkerTimeout "worker-timeout" "The worker said nothing for as long as it may.";
    WorkerMalformed "worker-malformed" "What the worker answered was not HTTP.";
    WorkerUnreachable "worker-unreachable" "No worker could be connected to.";
    WorkerBusy "worker-busy" "Every worker that was tried said that it is busy.";
    AnswerTooLarge "answer-too-large" "The application's answer to a question of the server's own was too large.";

    QueueTimeout "queue-timeout" "It waited for a free worker for as long as it may: all of them were busy.";
    NoWorkerReady "no-worker-ready" "It waited for a worker, and none of the app was ready.";
    AppPaused "app-paused" "It waited because the app was paused.";
    QueueFull "queue-full" "The app's queue was full.";
    AppAbandoned "app-abandoned" "The app's workers crashed too often, and were given up for a while.";
    StartFailed "start-failed" "The app's workers do not start.";

    ClientGoneSending "client-gone-sending" "The client left before it had sent its whole body.";
    ClientGoneWaiting "client-gone-waiting" "The client left while its request waited for a worker.";
    ClientGoneWorking "client-gone-working" "The client left before the answer began.";
    ClientGoneAnswering "client-gone-answering" "The client left in the middle of the answer.";
    ClientTooSlow "client-too-slow" "The client did not take the answer in time.";

    BodyTooLarge "body-too-large" "The request's body is larger than it may be.";
    BodyTooSlow "body-too-slow" "The request's body came too slowly.";
    SpoolFull "spool-full" "Bodies that wait for workers took all the room there is for them.";
    SpoolFailed "spool-failed" "The request's body could not be stored.";
    HeadMalformed "head-malformed" "The request was not valid HTTP.";
    HeadTooLarge "head-too-large" "The request's head was too large.";
    HeadTooSlow "head-too-slow" "The request's head came too slowly.";
    TargetTooLong "target-too-long" "The request's target was too long.";
    VersionUnsupported "version-unsupported" "The request was in a version of HTTP that is not spoken here.";
    UnknownCoding "unknown-coding" "The request's body was in a transfer coding that is not known.";
    ExpectationFailed "expectation-failed" "The request expected something other than 100-continue.";
    PlainOnTls "plain-on-tls" "Plain HTTP was spoken to a port that speaks HTTPS.";
    ConnectionRefused "connection-refused" "The connection was ended before it carried a request.";

    HostNotFound "host-not-found" "No site is for the host that was asked for.";
    Misdirected "misdirected" "No site is for the host that was asked for, on a connection for another one.";
    NoRoute "no-route" "No rule takes the path.";
    MethodNotAllowed "method-not-allowed" "The path is served, but not with this method.";
    RateLimited "rate-limited" "The client asked more often than it may.";
    RouteRemoved "route-removed" "A reload removed the rule that had taken it, and it did not end in time.";
    Stopping "stopping" "The server was stopping, and it did not end in time.";

    ProxyLoop "proxy-loop" "It came back to this server through the servers it was handed to.";
    UpstreamUnreachable "upstream-unreachable" "The server behind could not be connected to.";
    UpstreamTimeout "upstream-timeout" "The server behind did not answer in time.";
    UpstreamClosed "upstream-closed" "The server behind closed the connection before its answer was complete.";
    UpstreamMalformed "upstream-malformed" "What the server behind answered was not HTTP.";
    UpstreamUnavailable "upstream-unavailable" "No server of the upstream was well, so none was asked.";

    FileNotFound "file-not-found" "There is no such file.";
    FileEscapes "file-escapes" "A symbolic link leads out of the directory, and is not followed.";
    BadPath "bad-path" "The path is none that a file could have.";
    FileFailed "file-failed" "The file could not be read, or not to its end.";
    PreconditionFailed "precondition-failed" "A precondition of the request does not hold for the file.";
    RangeNotSatisfiable "range-not-satisfiable" "The file has none of the bytes that were asked for.";
    EncodeFailed "encode-failed" "The answer could not be compressed.";

    WebsocketRefused "websocket-refused" "The application refused the WebSocket.";
    OriginRefused "origin-refused" "A page of another site asked for WebSocket, or for an event stream.";
    UpgradeRequired "upgrade-required" "Only WebSocket is spoken there.";
    RecoverMalformed "recover-malformed" "What a WebSocket client says to have had is no list of positions.";
    GroupMalformed "group-malformed" "The query names no group to be read.";
    GroupRefused "group-refused" "The application did not allow to read the group.";
    Unauthorized "unauthorized" "The secret for publishing was missing or wrong.";
    NoSecret "no-secret" "Who publishes does not ask from this machine, and there is no secret to tell it by.";
    SessionRefused "session-refused" "What was asked of a session was refused before anything ran.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_cause_and_no_other() {
        let table = include_str!("../../../docs/EXPLAIN.md").split("## Causes").nth(1).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let told: Vec<(&str, &str)> = rows.filter(|(code, _)| *code != "cause").collect();
        let codes: Vec<&str> = told.iter().map(|(code, _)| *code).collect();
        let own: Vec<&str> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        assert_eq!(codes, own, "in the order of the code");
        for (cause, (code, rest)) in Cause::ALL.iter().zip(told) {
            let mut cells = rest.trim_end_matches(" |").split(" | ");
            assert_eq!(cells.next(), Some(cause.meaning()), "{code}");
            assert!(cells.next().is_some_and(|remedy| !remedy.is_empty()), "{code}");
        }
    }

    #[test]
    fn every_cause_has_a_code_of_its_own_and_a_sentence() {
        let mut codes = std::collections::HashSet::new();
        for cause in Cause::ALL {
            assert!(codes.insert(cause.code()), "{}", cause.code());
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(cause.code().bytes().all(plain), "{}", cause.code());
            assert!(cause.meaning().ends_with('.'), "{}", cause.code());
        }
    }
}
