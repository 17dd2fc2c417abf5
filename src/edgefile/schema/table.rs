//! The whole language: every node, where it may stand, and what it takes. What is not here is an
//! error; what is here and not served by this version is one as well, of its own.

use super::rule::{Free, NodeRule, PropertyRule, node, property};
use crate::edgefile::kind::Kind;
use crate::limits;

/// The nodes of a file.
pub(in crate::edgefile) const FILE: &[NodeRule] = &[
    node("version", "the version of the language; must be the number 1")
        .one("NUMBER", Kind::Number { least: 1, most: 1 })
        .required(),
    node("edge", "the server's own side: where it listens, its bounds and deadlines")
        .children(EDGE),
    node("app", "a program that answers requests, and the pool of its processes")
        .one("NAME", Kind::AppName)
        .many()
        .children(APP),
    node("upstream", "servers elsewhere that `proxy` hands requests to")
        .one("NAME", Kind::AppName)
        .many()
        .children(UPSTREAM),
    node("site", "host names, and what is done with requests for them")
        .list("HOST", Kind::Host)
        .many()
        .children(SITE),
];

const EDGE: &[NodeRule] = &[
    node("http", "an address for plain HTTP; \"off\" where there is `https`")
        .list("ADDRESS", Kind::Address)
        .many()
        .properties(&[PROXY_PROTOCOL])
        .default("\":80\""),
    node("https", "an address for HTTPS; \"off\" for none")
        .list("ADDRESS", Kind::Address)
        .many()
        .properties(&[PROXY_PROTOCOL])
        .default("\":443\" where there is a certificate, or something that makes one"),
    node(
        "admin",
        "an address for who operates the server: its endpoints alone, for all who connect",
    )
    .list("ADDRESS", Kind::Address)
    .many()
    .default("none"),
    node("acme", "an authority that makes certificates for public hosts, over ACME").properties(&[
        property("email", Kind::Text, "who is told of trouble").default("nobody"),
        property("directory", Kind::HttpsUrl, "the URL of the authority's directory")
            .default("that of Let's Encrypt"),
        property("ca", Kind::Path, "the certificates, in PEM, that its own is verified against")
            .default("those of the system"),
        property("staging", Kind::Bool, "the test system of Let's Encrypt, whom nobody trusts")
            .default("#false"),
        property(
            "fallback",
            Kind::words(&["self-signed", "refuse"]),
            "what a host gets that has no certificate yet: one that nobody trusts, or none",
        )
        .default("self-signed"),
    ]),
    node("certs", "a directory of certificates: each NAME.crt or NAME.pem with its NAME.key")
        .list("DIRECTORY", Kind::Path)
        .many(),
    node("timeouts", "deadlines of connections and, for all apps, of requests").properties(&[
        CONNECT.default("2s"),
        READ.default("30s"),
        QUEUE.default("30s"),
        property("head", Kind::Duration, "until a request's head is complete, else 408")
            .default("10s"),
        property("body", Kind::Duration, "the longest silence inside a request's body, else 408")
            .default("30s"),
        property("idle", Kind::Duration, "a connection between two requests").default("75s"),
        property("write", Kind::Duration, "an answer without progress").default("60s"),
    ]),
    node("limits", "bounds of the server").properties(&[
        BODY.default("100MiB"),
        property(
            "connections",
            Kind::Number { least: 1, most: 100_000_000 },
            "client connections at once",
        )
        .default("follows from the limit of open files"),
        property(
            "per-address",
            Kind::Number { least: 1, most: 100_000_000 },
            "client connections of one address at once, loopback excepted",
        )
        .default("no limit"),
        property("spool-memory", Kind::Size { least: 0 }, "request bodies in memory, all together")
            .default("256MiB"),
        property("spool-disk", Kind::Size { least: 0 }, "request bodies in files, all together")
            .default("4GiB"),
    ]),
    node("spool", "the directory of request bodies that outgrow memory; read at start only")
        .one("DIRECTORY", Kind::Path)
        .default("\"/var/tmp\""),
    node("trusted-proxies", "peers that are believed when they say for whom they ask")
        .list("NETWORK", Kind::Network)
        .many()
        .default("nobody"),
    node("rate-limit", "requests of one client address in a window of time, else 429")
        .one("REQUESTS", POSITIVE)
        .properties(&[WINDOW])
        .default("no limit"),
    node("underscores", "client fields whose names contain _ reach the apps")
        .one("ON", Kind::Bool)
        .default("#false"),
    node("user", "who the server, started as root, becomes when it listens; read at start only")
        .one("USER", Kind::User)
        .default("it stays who it is"),
    node("loops", "event loops; read at start only")
        .one("LOOPS", Kind::NumberOr { least: 1, most: 1024, words: &["auto"] })
        .default("\"auto\", one per core"),
    node("verify", "what must be true of a changed file for the change to stay").properties(&[
        property("healthy-apps", Kind::Bool, "every app has a ready worker").default("#true"),
        property("healthy-upstreams", Kind::Bool, "every upstream has a healthy target")
            .default("#true"),
        property("within", Kind::Duration, "how soon").default("10s"),
    ]),
    node("hsts", "browsers are told to come back over HTTPS only").properties(&[
        property("max-age", Kind::Duration, "for how long").default("365d"),
        property("include-subdomains", Kind::Bool, "to every subdomain as well").default("#false"),
        property("preload", Kind::Bool, "and browsers may know before they come").default("#false"),
    ]),
    node("log", "what is told; read at start only").properties(&[
        property("format", Kind::words(&["text", "json"]), "lines for people or for programs")
            .default("text"),
        property("access", Kind::Bool, "one line per request").default("#true"),
    ]),
    node("mdns", "hosts that end in .local are told to the local network")
        .maybe("ON", Kind::Bool)
        .default("#true"),
    node(
        "dashboard",
        "the page that shows the server, at http://rip.local/ and where `admin` says",
    )
    .maybe("ON", Kind::Bool)
    .default("#true"),
    node(
        "store",
        "the file where sessions are kept, or \":memory:\"; read when they are served first",
    )
    .one("FILE", Kind::Path)
    .default("sessions.db in $STATE_DIRECTORY, else in ~/.rip"),
    node("publish", "who may publish to the groups of WebSocket clients, with POST /publish")
        .properties(&[
            property("secret-file", Kind::Path, "the file with the secret they present")
                .default("no secret: only from this machine"),
            property("open", Kind::Bool, "everybody may, without a secret").default("#false"),
        ]),
    node("builtin", "the paths of the server's own endpoints, or \"off\" for none of them")
        .maybe("OFF", Kind::words(&["off"]))
        .properties(&[
            property("server", Kind::UrlPathOr(&["off"]), "answers `ok`").default("/server"),
            property("status", Kind::UrlPathOr(&["off"]), "says whether the server is well")
                .default("/status"),
            property("livez", Kind::UrlPathOr(&["off"]), "answers `ok` while the server runs")
                .default("/livez"),
            property("readyz", Kind::UrlPathOr(&["off"]), "200 while every app has a worker")
                .default("/readyz"),
            property("healthz", Kind::UrlPathOr(&["off"]), "the same").default("/healthz"),
            property("metrics", Kind::UrlPathOr(&["off"]), "counters for Prometheus")
                .default("/metrics"),
            property("diagnostics", Kind::UrlPathOr(&["off"]), "everything about the server")
                .default("/diagnostics"),
            property("open", Kind::Bool, "those two are for everybody, not for this machine alone")
                .default("#false"),
        ]),
];

const APP: &[NodeRule] = &[
    node("entry", "a file, a directory, pkg.module:attr or builtin:NAME; this or `command`")
        .one("ENTRY", Kind::Text),
    node("command", "an HTTP server with its arguments; this or `entry`")
        .list("ARGUMENT", Kind::Argument),
    node("cwd", "the directory it runs in")
        .one("DIRECTORY", Kind::Path)
        .default("that of the entry; for a command that of the Edgefile"),
    node("runtime", "what runs the entry")
        .one(
            "RUNTIME",
            Kind::words(&["python", "node", "bun", "ruby", "php", "cgi", "command", "builtin"]),
        )
        .default("follows from the entry"),
    node("listen", "how a command gets its socket: descriptor 3, a path it binds, or a port")
        .one("HOW", Kind::words(&["fd", "path", "port"]))
        .default("\"fd\""),
    node("ready", "what counts as ready: an HTTP answer, or a successful connect")
        .one("BY", Kind::words(&["http", "listen"]))
        .default("\"http\""),
    node("setup", "a command that runs before the first worker of each generation")
        .list("ARGUMENT", Kind::Argument),
    node("workers", "how many processes")
        .one("WORKERS", Kind::NumberOr { least: 1, most: 4096, words: &["auto", "half"] })
        .default("\"auto\", one per core, at least 2"),
    node("concurrency", "requests one worker may have in flight")
        .one("REQUESTS", Kind::Number { least: 1, most: 65_535 })
        .default("1"),
    node("select", "which of the workers that are equally busy")
        .one("HOW", Kind::words(&["lifo", "least-inflight"]))
        .default("\"lifo\" when `concurrency` is 1, else \"least-inflight\""),
    node("max-queue", "requests that may wait for a worker, else 503")
        .one("REQUESTS", Kind::Number { least: 0, most: 1_000_000 })
        .default("1000"),
    node("max-inflight", "requests in flight over all workers")
        .one("REQUESTS", POSITIVE)
        .default("workers × concurrency, which is also the most"),
    node("timeouts", "deadlines of the app's requests and processes").properties(&[
        CONNECT.default("that of `edge`"),
        READ.default("that of `edge`"),
        QUEUE.default("that of `edge`"),
        property("start", Kind::Duration, "from spawn to ready").default("30s"),
        property(
            "stuck",
            Kind::Duration,
            "until a worker that goes on with a request that was given up is aborted",
        )
        .default("30s"),
        property("drain", Kind::Duration, "for the last requests of a worker that is retired")
            .default("30s"),
        property("kill", Kind::Duration, "from the stop signal to SIGKILL").default("5s"),
        property(
            "turn",
            Kind::Duration,
            "a whole turn of a session, else 504; `read` does not count",
        )
        .default("10m"),
    ]),
    node("keepalive", "how long an idle connection to a worker is kept")
        .one("DURATION", Kind::DurationOr(&["forever"]))
        .default("1s for a command, bun and ruby, else \"forever\""),
    node("stop-signal", "the signal that asks the app to stop")
        .one("SIGNAL", Kind::words(&["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"]))
        .default("\"TERM\""),
    node(
        "stream-request",
        "request bodies are passed on as they arrive, and hold a worker that long",
    )
    .maybe("ON", Kind::Bool)
    .default("#false"),
    node("spool-response", "answers of this size wait in a file for slow clients")
        .one("SIZE", Kind::Size { least: 0 })
        .later(),
    node("surge", "fresh workers beyond the wanted number while all are replaced")
        .one("WORKERS", Kind::Surge)
        .default("1"),
    node("recycle", "when a worker is replaced although nothing is wrong").properties(&[
        property("requests", Kind::Number { least: 1, most: 1_000_000_000_000 }, "after so many"),
        property("seconds", Kind::Number { least: 1, most: 31_622_400 }, "after so long"),
        property("reloads", Kind::Number { least: 1, most: 1_000_000 }, "after so many reloads"),
        property("max-rss", Kind::Size { least: 1 << 20 }, "when it holds more memory"),
    ]),
    node("reload", "what a change of the app's files does").properties(&[
        property(
            "mode",
            Kind::words(&["none", "process", "module"]),
            "nothing, fresh workers, or a reload inside the worker (Python, Node)",
        )
        .default("none"),
        property(
            "max",
            Kind::Number { least: 1, most: 1_000_000 },
            "reloads inside one worker before it is replaced; with mode=\"module\"",
        )
        .default("10"),
    ]),
    node("watch", "names of the files that matter to `reload`")
        .list("GLOB", Kind::Glob)
        .many()
        .default("follows from the runtime: \"*.py\" \"*.html\" for Python, none for a command"),
    node("env", "variables of the app's environment; as properties, or as nodes of a block")
        .many()
        .free(Free {
            name: "NAME",
            names: Kind::Variable,
            values: Kind::VariableValue,
            as_children: true,
        }),
    node("restart-policy", "how often a crashed worker is started again").properties(&[
        property(
            "max-restarts",
            Kind::Number { least: 0, most: 1_000_000 },
            "more crashes within the window give the worker up",
        )
        .default("10"),
        property("backoff", Kind::Duration, "the first pause; it doubles up to 30s").default("1s"),
        property("window", Kind::Duration, "the window").default("60s"),
    ]),
    node("health-check", "how the app is asked whether it is ready and well").properties(&[
        property("path", Kind::UrlPath, "then only 2xx is well; without, anything below 500")
            .default("/ready"),
        INTERVAL,
        TIMEOUT,
        property(
            "unhealthy-threshold",
            Kind::Number { least: 1, most: 1_000_000 },
            "failures in a row that replace a worker",
        )
        .default("3"),
    ]),
    node("hosts", "host names whose requests all go to this app; shorthand for a site")
        .list("HOST", Kind::Host)
        .many(),
    node("prefixes", "of `hosts` only these paths and what is below them; without `hosts` of all")
        .list("PREFIX", Kind::Prefix)
        .many(),
    node("user", "who the app runs as").one("USER", Kind::User).default("the server's own user"),
    node("limits", "what the kernel grants each of its processes").properties(&[
        property("memory", Kind::Size { least: 1 << 20 }, "address space"),
        property("files", Kind::Number { least: 8, most: 1 << 30 }, "open files"),
        property("processes", Kind::Number { least: 1, most: 1 << 30 }, "processes of its user"),
        property("core", Kind::Size { least: 0 }, "a core dump"),
    ]),
    node("realtime-path", "where the app hears of WebSockets; from outside it is 404")
        .one("PATH", Kind::Place)
        .default("\"/v1/realtime\""),
    node("turn-path", "where the app runs turns of sessions; from outside it is 404 then")
        .one("PATH", Kind::Place)
        .default("\"/v1/turn\""),
];

const UPSTREAM: &[NodeRule] = &[
    node("target", "a server; of several the one with the fewest requests in flight gets the next")
        .list("URL", Kind::Url)
        .many()
        .required(),
    node("host", "the Host that targets get").one("HOST", Kind::Authority).default("the client's"),
    node("ca", "the certificates, in PEM, that those of https targets are verified against")
        .one("FILE", Kind::Path)
        .default("those of the system"),
    node("health-check", "targets are asked whether they are well; only 2xx is").properties(&[
        property("path", Kind::UrlPath, "what is asked for, below the target's own path")
            .default("/ready"),
        INTERVAL,
        TIMEOUT,
        property(
            "unhealthy-threshold",
            Kind::Number { least: 1, most: 1_000_000 },
            "failures in a row until a target gets nothing",
        )
        .default("3"),
    ]),
    node("retry", "requests that failed and may be sent again").properties(&[property(
        "attempts",
        Kind::Number { least: 1, most: limits::UPSTREAM_ATTEMPT_COUNT_MAX as u64 },
        "how often one is sent at most, the first time included",
    )
    .default("2")]),
    node("timeouts", "deadlines of its requests").properties(&[
        property("connect", Kind::Duration, "connecting to a target, else 502")
            .default("that of `edge`"),
        READ.default("that of `edge`"),
    ]),
];

const SITE: &[NodeRule] = &[
    node("tls", "the site's certificate: files, who makes it, or \"off\" for plain HTTP")
        .maybe("SOURCE", Kind::words(&["acme", "auto", "off"]))
        .properties(&[
            property("cert", Kind::Path, "the chain, in PEM"),
            property("key", Kind::Path, "its key, in PEM"),
        ])
        .default("\"acme\" where `edge` has `acme` and the hosts are public"),
    node("timeouts", "deadlines of the site's requests").properties(&REQUEST_TIMEOUTS),
    node("limits", "bounds of the site's requests").properties(&[BODY.default("that of `edge`")]),
    node("rate-limit", "requests of one client address to each of the site's hosts, else 429")
        .one("REQUESTS", Kind::NumberOr { least: 1, most: 100_000_000, words: &["off"] })
        .properties(&[WINDOW])
        .default("that of `edge`"),
    COMPRESS.default("\"on\""),
    node("route", "what is done with requests for a path")
        .one("PATTERN", Kind::Pattern)
        .many()
        .properties(&[
            property("methods", Kind::Methods, "only these: \"GET,POST\"").default("all"),
            property(
                "priority",
                Kind::Number { least: 0, most: 1_000_000 },
                "between routes for the same paths the lower one wins",
            )
            .default("after those that have one, in the order of the file"),
            property("id", Kind::Id, "its name in logs and listings")
                .default("methods, host and pattern"),
        ])
        .children(ROUTE),
    node("realtime", "where clients open WebSockets whose app hears of them by HTTP")
        .one("PATH", Kind::Place)
        .many()
        .properties(&[
            property("app", Kind::AppName, "who hears of them").default("the only app there is"),
            property("publish-secret-file", Kind::Path, "the file with the publishers' secret")
                .default("that of `edge`"),
            property("origins", Kind::Origins, "pages of other hosts that may connect")
                .default("none: only pages of the site's own hosts"),
            property("max-message", Kind::Size { least: 1 }, "a client's message, else 1009")
                .default("1MiB"),
            property("rate", POSITIVE, "messages of one client in a second, else 1008")
                .default("100"),
            property("burst", POSITIVE, "messages of one client at once, else 1008").default("200"),
        ])
        .children(&[
            node("history", "messages of these groups are numbered and kept for who comes back")
                .list("GROUP", Kind::Group)
                .many()
                .properties(&[
                    property(
                        "messages",
                        Kind::Number { least: 1, most: 1_000_000 },
                        "so many of each group",
                    )
                    .default("1000"),
                    property("ttl", Kind::Duration, "for so long").default("5m"),
                ]),
            node("lossy", "slow members of these groups lose the oldest messages, else 1013")
                .list("GROUP", Kind::Group)
                .many(),
        ]),
    node("sessions", "durable sessions at PATH/session and PATH/ws, whose turns an app runs")
        .one("PATH", Kind::Mount)
        .many()
        .properties(&[
            property("app", Kind::AppName, "who runs them").default("the only app there is"),
            property(
                "on-disconnect",
                Kind::words(&["continue", "cancel"]),
                "what becomes of a turn whose client leaves",
            )
            .default("continue"),
            property("websockets", Kind::Bool, "PATH/ws is served, else 426").default("#true"),
            property("origins", Kind::Origins, "pages of other hosts that may open WebSockets")
                .default("none: only pages of the site's own hosts"),
        ]),
];

const ROUTE: &[NodeRule] = &[
    node("to-app", "hands the request to a worker of an app").one("APP", Kind::AppName),
    node("redirect", "sends the client elsewhere; {host}, {path} and {query} are filled in")
        .one("TO", Kind::Template)
        .properties(&[property(
            "status",
            Kind::RedirectStatus,
            "permanent: 301, 308; for now: 302, 303, 307",
        )
        .default("302")]),
    node("proxy", "hands the request to an upstream: its name, or the URL of a server")
        .one("UPSTREAM", Kind::Upstream)
        .properties(&[
            property("host", Kind::Authority, "the Host it gets").default("that of the upstream")
        ]),
    node(
        "static",
        "answers with files of a directory; what the final `*` stands for is their path",
    )
    .one("DIRECTORY", Kind::Path)
    .properties(&[
        property("spa", Kind::FilePath, "the file in it for pages that do not exist")
            .default("404"),
        property("index", Kind::FilePath, "the file that stands for a directory")
            .default("index.html"),
        property("browse", Kind::Bool, "directories without an index are listed").default("#false"),
        property("dotfiles", Kind::Bool, "names that begin with a dot are served")
            .default("#false, but for /.well-known"),
        property("cache-control", Kind::HeaderValue, "Cache-Control of what is found"),
    ]),
    node("headers", "changes header fields; a route with nothing else lets matching go on")
        .children(&[
            node("request", "of the request, before the app gets it").children(CHANGES),
            node("response", "of the answer").children(CHANGES),
        ]),
    COMPRESS.default("that of the site"),
    node("stream-request", "request bodies are passed on as they arrive; with `to-app`")
        .maybe("ON", Kind::Bool)
        .default("that of the app"),
    node("timeouts", "deadlines of the route's requests").properties(&REQUEST_TIMEOUTS),
    node("limits", "bounds of the route's requests")
        .properties(&[BODY.default("that of the site")]),
];

const COMPRESS: NodeRule =
    node("compress", "whether answers are compressed for clients that take it")
        .maybe("ON", Kind::words(&["on", "off"]))
        .properties(COMPRESSED);
const COMPRESSED: &[PropertyRule] =
    &[property("streams", Kind::Bool, "event streams as well").default("#false")];

const CHANGES: &[NodeRule] = &[
    node("set", "fields with these values, in place of what is there").many().free(Free {
        name: "FIELD",
        names: Kind::Header,
        values: Kind::HeaderValue,
        as_children: false,
    }),
    node("remove", "fields of these names").list("FIELD", Kind::Header).many(),
];

const REQUEST_TIMEOUTS: [PropertyRule; 3] = [
    CONNECT.default("that of what is around it, else of the app"),
    READ.default("that of what is around it, else of the app"),
    QUEUE.default("that of what is around it, else of the app"),
];

const CONNECT: PropertyRule =
    property("connect", Kind::Duration, "connecting to a worker, else 502");
const READ: PropertyRule =
    property("read", Kind::Duration, "until an answer begins, then between its bytes, else 504");
const QUEUE: PropertyRule = property("queue", Kind::Duration, "waiting for a worker, else 504");
const BODY: PropertyRule = property("body", Kind::Size { least: 0 }, "a request's body, else 413");
const WINDOW: PropertyRule = property("window", Kind::Duration, "the window").default("60s");
const INTERVAL: PropertyRule = property("interval", Kind::Duration, "how often").default("5s");
const TIMEOUT: PropertyRule =
    property("timeout", Kind::Duration, "how long an answer may take").default("2s");
const PROXY_PROTOCOL: PropertyRule = property(
    "proxy-protocol",
    Kind::Bool,
    "connections begin with a PROXY header of a trusted proxy",
)
.default("#false");
const POSITIVE: Kind = Kind::Number { least: 1, most: 100_000_000 };
