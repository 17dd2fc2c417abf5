//! A flag wins over its variable, that over the Edgefile, and that over the default: for every flag
//! that the active configuration tells of.

use crate::harness::{Server, Setup, tools};
use serde_json::{Value, json};
use std::fs;

/// What one flag is about.
struct Row {
    flag: &'static str,
    /// Where the configuration has it.
    at: &'static str,
    /// Without anybody saying anything; null where that depends on the machine, or is nothing.
    default: Value,
    /// In the Edgefile below.
    file: Value,
    /// What the variable says, and what comes of it.
    variable: (&'static str, Value),
    /// What the flag says, and what comes of it; an empty word where it takes none.
    said: (&'static str, Value),
}

fn number(flag: &'static str, at: &'static str, default: impl Into<Value>, file: u64) -> Row {
    let (variable, said) = (("7001", json!(7001)), ("7002", json!(7002)));
    Row { flag, at, default: default.into(), file: json!(file), variable, said }
}

fn row(
    flag: &'static str,
    at: &'static str,
    default: impl Into<Value>,
    file: impl Into<Value>,
    variable: (&'static str, Value),
    said: (&'static str, Value),
) -> Row {
    Row { flag, at, default: default.into(), file: file.into(), variable, said }
}

const FILE: &str = r#"version 1
edge {
    http "127.0.0.1:PORT"
    loops 2
    limits connections=6000 per-address=6001 body="6002B"
    rate-limit 6003 window="6004ms"
    timeouts head="6005ms" body="6006ms" idle="6007ms" write="6008ms"
    store "/var/tmp/file.db"
    spool "/var/tmp"
    log format="text" access=#true
}
app "hello" {
    entry "builtin:hello"
    workers 2
    concurrency 3
    max-queue 6009
    timeouts queue="6010ms" connect="6011ms" read="6012ms" start="6013ms" drain="6014ms" stuck="6015ms"
    hosts "*"
}
"#;

/// Those that stand above an Edgefile.
fn of_all() -> Vec<Row> {
    vec![
        row("workers", "/apps/0/workers", Value::Null, 2, ("1", json!(1)), ("3", json!(3))),
        row("concurrency", "/apps/0/concurrency", 1, 3, ("4", json!(4)), ("5", json!(5))),
        row("loops", "/edge/loops", Value::Null, 2, ("1", json!(1)), ("3", json!(3))),
        number("max-connections", "/edge/limits/connections", Value::Null, 6000),
        number("max-connections-per-address", "/edge/limits/perAddress", Value::Null, 6001),
        number("max-body", "/edge/limits/bodyBytes", 100 << 20, 6002),
        number("rate-limit", "/edge/rateLimit/limit", Value::Null, 6003),
        number("rate-limit-window", "/edge/rateLimit/windowMs", Value::Null, 6004),
        number("head-timeout-ms", "/edge/phases/headMs", 10_000, 6005),
        number("body-timeout-ms", "/edge/phases/bodyMs", 30_000, 6006),
        number("idle-timeout-ms", "/edge/phases/idleMs", 75_000, 6007),
        number("write-timeout-ms", "/edge/phases/writeMs", 60_000, 6008),
        number("max-queue", "/apps/0/maxQueue", 1000, 6009),
        number("queue-timeout-ms", "/apps/0/timeouts/queueMs", 30_000, 6010),
        number("connect-timeout-ms", "/apps/0/timeouts/connectMs", 2000, 6011),
        number("read-timeout-ms", "/apps/0/timeouts/readMs", 30_000, 6012),
        number("start-timeout-ms", "/apps/0/timeouts/startMs", 30_000, 6013),
        number("drain-timeout-ms", "/apps/0/timeouts/drainMs", 30_000, 6014),
        number("stuck-timeout-ms", "/apps/0/timeouts/stuckMs", 30_000, 6015),
        number("kill-timeout-ms", "/apps/0/timeouts/killMs", 5000, 5000),
        row(
            "json-logging",
            "/edge/log/json",
            false,
            false,
            ("yes", true.into()),
            ("", true.into()),
        ),
        row(
            "no-access-log",
            "/edge/log/access",
            true,
            true,
            ("1", false.into()),
            ("", false.into()),
        ),
        row(
            "spool",
            "/edge/spoolDir",
            Value::Null,
            "/var/tmp",
            ("/tmp", "/tmp".into()),
            ("/dev/shm", "/dev/shm".into()),
        ),
        row(
            "sessions-db",
            "/edge/store",
            Value::Null,
            "/var/tmp/file.db",
            ("/tmp/variable.db", "/tmp/variable.db".into()),
            ("/tmp/flag.db", "/tmp/flag.db".into()),
        ),
    ]
}

/// Those that are about one app and are said in its block where there is an Edgefile.
fn of_one_app() -> Vec<Row> {
    let none = || Value::Null;
    vec![
        row(
            "select",
            "/apps/0/select",
            "lifo",
            none(),
            ("lifo", "lifo".into()),
            ("least-inflight", "least-inflight".into()),
        ),
        row(
            "health-path",
            "/apps/0/healthCheck/path",
            "/ready",
            none(),
            ("/variable", "/variable".into()),
            ("/flag", "/flag".into()),
        ),
        number("max-restarts", "/apps/0/restartPolicy/maxRestarts", 10, 0),
        number("restart-backoff-ms", "/apps/0/restartPolicy/backoffMs", 1000, 0),
        number("restart-window-ms", "/apps/0/restartPolicy/windowMs", 60_000, 0),
        number("health-interval-ms", "/apps/0/healthCheck/intervalMs", 5000, 0),
        number("health-timeout-ms", "/apps/0/healthCheck/timeoutMs", 2000, 0),
        number("unhealthy-threshold", "/apps/0/healthCheck/unhealthyThreshold", 3, 0),
        row(
            "recycle",
            "/apps/0/recycle/requests",
            none(),
            none(),
            ("7001,60s", 7001.into()),
            ("7002", 7002.into()),
        ),
        row(
            "max-rss",
            "/apps/0/recycle/maxRssBytes",
            none(),
            none(),
            ("1GiB", (1 << 30).into()),
            ("2G", (2_u64 << 30).into()),
        ),
        row(
            "surge",
            "/apps/0/surge",
            json!({"count": 1}),
            none(),
            ("2", json!({"count": 2})),
            ("50%", json!({"percent": 50})),
        ),
        row(
            "reload",
            "/apps/0/reload",
            "process",
            none(),
            ("module", "module".into()),
            ("none", "none".into()),
        ),
        row(
            "sessions",
            "/sessions/0/mount",
            none(),
            none(),
            ("yes", "/v1".into()),
            ("", "/v1".into()),
        ),
        row(
            "env",
            "/apps/0/env",
            json!({}),
            none(),
            ("A=1", json!({"A": "***"})),
            ("B=2", json!({"B": "***"})),
        ),
    ]
}

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_edgefile() {
    let rows = of_all();
    agree(&Setup::edgefile(FILE).start(), &rows, |row| &row.file);
    agree(&with_variables(Setup::edgefile(FILE), &rows).start(), &rows, |row| &row.variable.1);
    let both = with_flags(with_variables(Setup::edgefile(FILE), &rows), &rows);
    agree(&both.start(), &rows, |row| &row.said.1);
}

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_default() {
    let app = || Setup::python(APP).word("--static");
    let mut rows = of_all();
    agree(&app().start(), &rows, |row| &row.default);
    rows.extend(of_one_app());
    // `--static` would stand above `--reload`.
    let app = || Setup::python(APP);
    agree(&with_variables(app(), &rows).start(), &rows, |row| &row.variable.1);
    agree(&with_flags(with_variables(app(), &rows), &rows).start(), &rows, |row| &row.said.1);
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let rows = of_all();
    for row in rows.iter().chain(&of_one_app()) {
        if ["spool", "sessions-db", "env"].contains(&row.flag) {
            continue;
        }
        let (code, output) = Setup::builtin("hello").env(&variable(row.flag), "?!").fails();
        assert_eq!(code, 2, "{}: {output}", row.flag);
        assert!(output.contains(&variable(row.flag)), "{}: {output}", row.flag);
    }
}

/// Whoever adds a flag shows somewhere here what it does.
#[test]
fn no_flag_of_start_is_without_a_promise() {
    let output = tools::finish(tools::rip_master().args(["start", "--help"]));
    let help = String::from_utf8(output.stdout).expect("text");
    let of_help = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags: Vec<&str> = of_help.filter_map(|rest| rest.split([' ', ',', '.']).next()).collect();
    assert!(flags.len() > 60, "{flags:?}");
    let rows: Vec<_> = of_all().into_iter().chain(of_one_app()).map(|row| row.flag).collect();
    let mut promises = String::new();
    for place in ["tests/e2e", "tests/e2e/harness", "master/src/cli/start"] {
        for entry in fs::read_dir(tools::repository().join(place)).expect("the promises") {
            promises += &fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        }
    }
    let without = |flag: &&str| {
        let ends = ["\"", " ", "="].map(|end| format!("--{flag}{end}"));
        let is_used = promises.contains(&format!("\"{}\"", variable(flag)))
            || ends.iter().any(|words| promises.contains(words));
        !is_used && !rows.contains(flag)
    };
    let without: Vec<_> = flags.into_iter().filter(without).collect();
    assert!(without.is_empty(), "nothing is promised of {without:?}");
}

const APP: &str = "\
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'fine']
";

fn variable(flag: &str) -> String {
    format!("RIP_{}", flag.to_uppercase().replace('-', "_"))
}

fn with_variables(setup: Setup, rows: &[Row]) -> Setup {
    rows.iter().fold(setup, |setup, row| setup.env(&variable(row.flag), row.variable.0))
}

fn with_flags(setup: Setup, rows: &[Row]) -> Setup {
    rows.iter().fold(setup, |setup, row| {
        let flag = format!("--{}", row.flag);
        if row.said.0.is_empty() { setup.word(&flag) } else { setup.flag(&flag, row.said.0) }
    })
}

#[track_caller]
fn agree(server: &Server, rows: &[Row], expected: impl Fn(&Row) -> &Value) {
    let config = server.control_get("/config").json();
    for row in rows {
        let expected = expected(row);
        if !expected.is_null() {
            assert_eq!(config.pointer(row.at), Some(expected), "--{} in {config}", row.flag);
        }
    }
}
