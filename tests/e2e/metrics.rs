//! What monitoring systems read: their own tools find nothing to complain of.

use crate::harness::tools::{self, both};
use crate::harness::{Server, Setup, eventually};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

/// The samples of `/metrics`, by name and labels as they are written. Asked on the control socket, so
/// that asking is no request.
pub fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let page = server.control_get("/metrics");
    assert_eq!(page.status, 200, "{page:?}");
    let text = page.text();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        (series.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

/// The sum of all samples of a metric whose labels have this in them.
pub fn sum(samples: &BTreeMap<String, f64>, name: &str, label: &str) -> u64 {
    let of_name = |series: &&String| series.split(['{', ' ']).next() == Some(name);
    let series = samples.keys().filter(of_name).filter(|series| series.contains(label));
    series.map(|series| samples[series] as u64).sum()
}

/// A server with something of most things that are counted.
fn busy() -> Server {
    let setup = Setup::edgefile(
        "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
         app \"api\" { entry \"builtin:hello\"; workers 2; hosts \"a.test\" }\n\
         upstream \"legacy\" { target \"http://127.0.0.1:1\" }\n\
         site \"b.test\" { route \"/*\" { proxy \"legacy\" } }\n",
    );
    let server = setup.word("--no-watch").start();
    server.wait_for_workers(2);
    for target in ["/", "/two", "/server", "/status"] {
        assert_eq!(server.connect().ask_at("a.test", "GET", target).status, 200, "{target}");
    }
    assert_eq!(server.connect().ask_at("a.test", "BREW", "/").status, 200);
    assert_eq!(server.connect().ask_at("b.test", "GET", "/").status, 502);
    assert_eq!(server.connect().ask_at("c.test", "GET", "/").status, 404);
    server
}

fn scraped(server: &Server, accept: &str, content_type: &str, name: &str) -> String {
    let mut client = server.connect();
    client.request_at("localhost", "GET", "/metrics", &format!("Accept: {accept}\r\n"), b"");
    let page = client.response();
    assert_eq!((page.status, page.field("content-type")), (200, content_type));
    fs::write(server.path(name), &page.body).expect("the page");
    page.text()
}

/// Runs a checker on a page that was scraped.
fn checked(command: &mut Command, page: &Path) -> Output {
    let page = File::open(page).expect("the page");
    let output = command.stdin(page).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/setup"))
}

#[test]
fn promtool_has_nothing_to_say() {
    let server = busy();
    let page = scraped(&server, "*/*", "text/plain; version=0.0.4; charset=utf-8", "page");
    assert!(page.contains("rip_http_requests_total{app=\"api\",code=\"200\",method=\"GET\"} 2\n"));
    assert!(
        page.contains("rip_http_requests_total{app=\"api\",code=\"200\",method=\"other\"} 1\n")
    );
    assert!(page.contains("rip_upstream_up{upstream=\"legacy\",target=\"http://127.0.0.1:1\"}"));
    let promtool = tools::cache().join("monitoring/usr/bin/promtool");
    let output = checked(Command::new(promtool).args(["check", "metrics"]), &server.path("page"));
    assert!(output.status.success() && both(&output).is_empty(), "{}", both(&output));
    let wrong = server.path("wrong");
    fs::write(&wrong, "rip_x 1\nrip_x 2\n").expect("a wrong page");
    let promtool = tools::cache().join("monitoring/usr/bin/promtool");
    let output = checked(Command::new(promtool).args(["check", "metrics"]), &wrong);
    assert!(!output.status.success(), "it looks");
}

/// The alerts that are recommended can be used as they stand, and are about metrics that exist.
#[test]
fn recommended_alerts_are_valid() {
    let text = fs::read_to_string(tools::repository().join("docs/METRICS.md")).expect("the page");
    let rules = text.split("```yaml\n").find(|block| block.starts_with("groups:"));
    let rules = rules.and_then(|block| block.split("```").next()).expect("the alerts");
    let server = Setup::builtin("hello").workers(1).start();
    let page = server.control_get("/metrics").text();
    let names = rules.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for name in names.filter(|name| name.starts_with("rip_")) {
        let family = name.trim_end_matches("_bucket");
        assert!(page.contains(&format!("# TYPE {family} ")), "{name}");
    }
    let path = server.path("rules.yml");
    fs::write(&path, rules).expect("the rules");
    let promtool = tools::cache().join("monitoring/usr/bin/promtool");
    let output = checked(Command::new(promtool).arg("check").arg("rules").arg(&path), &path);
    assert!(output.status.success(), "{}", both(&output));
}

/// The reference parser of the format, which is strict.
#[test]
fn the_newer_format_is_parsed_to_the_same_numbers() {
    const PARSE: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
        for family in text_string_to_metric_families(sys.stdin.read()):\n\
        \x20   for sample in family.samples: print(sample.name, sample.value)\n";
    let server = busy();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let page = scraped(&server, accept, content_type, "page");
    assert!(page.ends_with("\n# EOF\n"));
    let packages = tools::cache().join("monitoring/usr/lib/python3/dist-packages");
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PARSE]).env("PYTHONPATH", packages);
    let output = checked(&mut python, &server.path("page"));
    assert!(output.status.success(), "{}", both(&output));
    let parsed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(parsed.lines().count(), page.lines().filter(|line| !line.starts_with('#')).count());
    let requests = parsed.lines().filter_map(|line| line.strip_prefix("rip_http_requests_total "));
    let requests: f64 = requests.map(|count| count.parse::<f64>().expect("a count")).sum();
    assert_eq!(requests, 7.0);
}

#[test]
fn workers_and_configurations_are_counted_for_as_long_as_the_process_lives() {
    let file = |app: &str| {
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\"; verify within=\"500ms\" }}\n\
             app \"{app}\" {{ entry \"builtin:crash\"; workers 1; hosts \"a.test\" }}\n"
        )
    };
    let server = Setup::edgefile(&file("old")).word("--no-watch").start();
    server.wait_for_workers(1);
    let crash = || server.connect().ask_at("a.test", "POST", "/crash").status;
    assert_eq!(crash(), 502);
    eventually("the restart to be counted", || {
        sum(&metrics(&server), "rip_worker_restarts_total", "app=\"old\"") == 1
    });
    eventually("another worker", || server.app_called("old")["ready"] == 1);
    assert_eq!(server.app_called("old")["restarts"], 1);
    let before = metrics(&server);
    assert_eq!(before["rip_config_version"], 1.0);
    server.take_up(&file("new"));
    server.refuses_up("version 1\nnothing", "invalid");
    eventually("the old app to be gone", || {
        !metrics(&server).keys().any(|series| series.starts_with("rip_workers_ready{app=\"old\""))
    });
    let after = metrics(&server);
    assert_eq!(after["rip_config_version"], 2.0);
    assert_eq!(after["rip_config_reloads_total{result=\"applied\"}"], 1.0);
    assert_eq!(after["rip_config_reloads_total{result=\"rejected\"}"], 1.0);
    // What only grows has not shrunk, and is still there.
    for (series, count) in before.iter().filter(|(series, _)| series.contains("_total")) {
        assert!(after.get(series).is_some_and(|now| now >= count), "{series} was {count}");
    }
    let told = server.control_get("/diagnostics").json();
    assert_eq!(told["metrics"]["workers"]["restarts"], 1);
}
