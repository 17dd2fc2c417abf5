use super::*;
use crate::contract::reason::Reason;
use crate::http1::method::Method;
use crate::ids::{AppId, WorkerId};
use crate::observe::numbers::{AppNumbers, Decided, TargetNumbers, WorkerNumbers};
use crate::observe::tally::Done;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something of everything.
fn numbers() -> Numbers {
    let mut numbers = Numbers { started: 1.5e9, rss_bytes: Some(1), ..Numbers::default() };
    let app = AppId::new("a\"pi\\\n");
    for (app, status) in [("", 404), (app.as_str(), 200), (app.as_str(), 503)] {
        let took = Some(Duration::from_micros(1234));
        let waited = (status == 503).then_some(Duration::from_secs(2));
        numbers.tally.add(&Done { app, method: Method::Post, status, took, waited });
    }
    numbers.counters.add(Counter::Refusal(Reason::QueueFull), 1);
    numbers.counters.add(Counter::SocketClosed(4000), 1);
    let worker = WorkerNumbers { id: WorkerId(7), inflight: 1, rss_bytes: Some(1 << 20) };
    numbers.apps.push(AppNumbers {
        id: app.clone(),
        wanted: 2,
        ready: 1,
        inflight: 1,
        queue_depth: 0,
        is_paused: true,
        workers: vec![worker],
    });
    let decided = Decided { app: app.clone(), algorithm: "lifo", fallback: None, count: 3 };
    numbers.decisions.push(decided);
    numbers.certs.push(("a.example".to_owned(), 1_900_000_000));
    let lives = numbers.lives.apps.entry(app).or_default();
    lives.recycled.insert("rss", 1);
    numbers.lives.upstreams_down.insert("u".to_owned(), 2);
    numbers.targets.push(TargetNumbers {
        upstream: "u".to_owned(),
        url: "http://127.0.0.1:1".to_owned(),
        is_up: true,
        inflight: 0,
        requests: 9,
        failures: 1,
    });
    numbers
}

fn page(numbers: &Numbers, format: Format) -> String {
    let mut out = Vec::new();
    numbers.exposition(format, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_family_is_written_once_with_samples_of_its_own() {
    for format in [Format::Text, Format::OpenMetrics] {
        let page = page(&numbers(), format);
        let mut types = Vec::new();
        let mut samples: BTreeMap<&str, usize> = BTreeMap::new();
        for line in page.lines() {
            match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with("TYPE ") => {
                    types.push(rest["TYPE ".len()..].split(' ').next().unwrap());
                }
                Some(_) => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    let last = types.last().unwrap();
                    assert!(name.starts_with(last), "{name} stands below {last}");
                    *samples.entry(last).or_default() += 1;
                }
            }
        }
        assert_eq!(types.len(), FAMILIES.len());
        assert_eq!(samples.len(), FAMILIES.len(), "some have none");
        let base = |name: &'static str| match format {
            Format::OpenMetrics => name.trim_end_matches("_total").trim_end_matches("_info"),
            Format::Text => name,
        };
        let expected: Vec<_> = FAMILIES.iter().map(|family| base(family.name)).collect();
        assert_eq!(types, expected);
    }
}

#[test]
fn no_sample_stands_twice_and_lines_are_lines() {
    let page = page(&numbers(), Format::Text);
    let mut seen = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(series), "{series}");
        assert!(series.starts_with("rip_"), "{series}");
    }
    assert!(page.contains(r#"rip_workers_ready{app="a\"pi\\\n"} 1"#));
    assert!(page.contains("rip_http_requests_total{app=\"\",code=\"404\",method=\"POST\"} 1\n"));
    assert!(page.contains("rip_ws_closes_total{code=\"other\"} 1\n"));
    assert!(page.contains("rip_rejects_total{reason=\"queue-full\"} 1\n"));
}

#[test]
fn the_page_says_what_the_report_says() {
    let numbers = numbers();
    let page = page(&numbers, Format::Text);
    let sum: u64 = page
        .lines()
        .filter(|line| line.starts_with("rip_http_requests_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, numbers.metrics().requests);
}

/// docs/METRICS.md has a row `| name | type | labels | meaning |` for each.
#[test]
fn the_documentation_names_every_metric_and_no_other() {
    let rows = include_str!("../../docs/METRICS.md").lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let kind = cells.next()?;
        let labels = cells
            .next()?
            .split([' ', ','])
            .filter_map(|label| label.strip_prefix('`').and_then(|label| label.strip_suffix('`')));
        name.starts_with("rip_").then(|| (name, kind, labels.collect::<Vec<_>>()))
    });
    let documented: BTreeSet<_> = rows.collect();
    let written: BTreeSet<_> = FAMILIES
        .iter()
        .map(|family| (family.name, family.kind.as_str(), family.labels.to_vec()))
        .collect();
    let missing: Vec<_> = written.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&written).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

/// What promtool would complain of, as far as names tell.
#[test]
fn names_are_as_prometheus_wants_them() {
    for family in FAMILIES {
        let is_total = family.name.ends_with("_total");
        assert_eq!(is_total, family.kind == Kind::Counter, "{}", family.name);
        assert_eq!(family.name.ends_with("_info"), family.kind == Kind::Info, "{}", family.name);
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(family.name.bytes().all(is_plain), "{}", family.name);
        assert!(family.help.ends_with('.'), "{}", family.name);
    }
}
