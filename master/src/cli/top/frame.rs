//! One screen of `ctl top`: a report and the one before it become lines.

use crate::cli::table::{Align, Paint, Table, Tone, age, size};
use rip::observe::report::{AppReport, Report, WorkerReport};
use rip::observe::status::Health;
use std::collections::BTreeMap;

/// How the screen is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct View {
    /// Columns; no line is longer.
    pub width: usize,
    /// Lines; there are no more.
    pub height: usize,
    /// Which workers come first.
    pub sort: Sort,
    /// With colours.
    pub paint: Paint,
    /// Keys are listened to.
    pub has_keys: bool,
}

/// Which workers come first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// By app and id.
    #[default]
    Id,
    /// Those with most requests a second.
    Rate,
    /// Those that are busiest at this moment.
    Inflight,
    /// Those with most memory.
    Memory,
    /// The oldest.
    Age,
}

impl Sort {
    /// What a key chooses.
    pub const fn of_key(key: u8) -> Option<Self> {
        Some(match key {
            b'n' => Self::Id,
            b'r' => Self::Rate,
            b'i' => Self::Inflight,
            b'm' => Self::Memory,
            b'a' => Self::Age,
            _ => return None,
        })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Id => "name",
            Self::Rate => "requests/s",
            Self::Inflight => "in flight",
            Self::Memory => "memory",
            Self::Age => "age",
        }
    }
}

/// What was counted between two reports.
struct Rates {
    seconds: f64,
    /// By worker.
    requests: BTreeMap<u64, u64>,
    whole: f64,
    errors: f64,
}

impl Rates {
    fn between(before: Option<&Report>, now: &Report) -> Self {
        let before = before.filter(|before| before.at < now.at && before.uptime <= now.uptime);
        let Some(before) = before else {
            let recent = now.recent;
            let (whole, errors) = (recent.requests_per_second, recent.errors_per_second);
            return Self { seconds: 0.0, requests: BTreeMap::new(), whole, errors };
        };
        let seconds = (now.at - before.at) as f64 / 1e3;
        let workers = |report: &Report| -> BTreeMap<u64, u64> {
            let all = report.apps.iter().flat_map(|app| &app.processes);
            all.map(|worker| (worker.id.0, worker.requests)).collect()
        };
        let earlier = workers(before);
        let grown = |(worker, count): (u64, u64)| {
            (worker, count.saturating_sub(earlier.get(&worker).copied().unwrap_or_default()))
        };
        let failed = |report: &Report| report.metrics.responses.get("5xx").copied();
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Self {
            seconds,
            requests: workers(now).into_iter().map(grown).collect(),
            whole: since(now.metrics.requests, before.metrics.requests),
            errors: since(failed(now).unwrap_or_default(), failed(before).unwrap_or_default()),
        }
    }

    fn of(&self, worker: &WorkerReport) -> Option<f64> {
        let count = self.requests.get(&worker.id.0)?;
        Some(*count as f64 / self.seconds)
    }

    fn of_app(&self, app: &AppReport) -> Option<f64> {
        let rates = app.processes.iter().map(|worker| self.of(worker));
        rates.sum::<Option<f64>>().filter(|_| self.seconds > 0.0)
    }
}

/// The screen that shows `report`, which followed `before`.
pub fn frame(report: &Report, before: Option<&Report>, name: &str, view: &View) -> Vec<String> {
    let rates = Rates::between(before, report);
    let mut lines = head(report, &rates, name, view.paint);
    lines.push(String::new());
    lines.extend(apps(report, &rates).render(view.paint).lines().map(str::to_owned));
    lines.push(String::new());
    lines.extend(workers(report, &rates, view.sort).render(view.paint).lines().map(str::to_owned));
    let footer = view.has_keys.then(|| {
        format!(
            "q quit   sorted by {}: n name  r requests/s  i in flight  m memory  a age",
            view.sort.word()
        )
    });
    let room = view.height.saturating_sub(footer.iter().len());
    if lines.len() > room {
        let hidden = lines.len() - room + 1;
        lines.truncate(room.saturating_sub(1));
        lines.push(format!("… and {hidden} more"));
    }
    lines.truncate(room);
    lines.extend(footer);
    lines.iter().map(|line| cut(line, view.width)).collect()
}

fn head(report: &Report, rates: &Rates, name: &str, paint: Paint) -> Vec<String> {
    let (metrics, gauges) = (&report.metrics, &report.gauges);
    let health = match report.status {
        Health::Healthy => paint.tint("healthy", Tone::Good),
        Health::Degraded => paint.tint("degraded", Tone::Bad),
    };
    let up = age(report.uptime.saturating_mul(1000));
    let (version, config) = (&report.version.server, report.config.version);
    let class = |class: &str| metrics.responses.get(class).copied().unwrap_or_default();
    let errors = format!("{:.1}/s", rates.errors);
    let errors = match rates.errors > 0.0 {
        true => paint.tint(&errors, Tone::Bad),
        false => errors,
    };
    let latency = report.recent.latency;
    let queue = metrics.queue;
    let mut lines = vec![
        format!(
            "{}  {health}  up {up}  rip-master {version}  configuration {config}",
            paint.tint(name, Tone::Head)
        ),
        format!(
            "requests {:.1}/s  errors {errors}  in flight {}  queue {}  connections {}  websockets {}",
            rates.whole,
            gauges.inflight,
            gauges.queue_depth,
            gauges.connections,
            report.realtime.clients
        ),
        format!(
            "latency  p50 {}  p95 {}  p99 {}  (last {:.0} s)   queue wait p99 {}",
            millis(latency.p50),
            millis(latency.p95),
            millis(latency.p99),
            report.recent.seconds,
            millis(queue.wait_p99)
        ),
        format!(
            "total    {} requests: {} 2xx, {} 3xx, {} 4xx, {} 5xx; {} queued, {} shed, {} timed out",
            metrics.requests,
            class("2xx"),
            class("3xx"),
            class("4xx"),
            class("5xx"),
            queue.queued,
            queue.shed,
            queue.timeouts
        ),
    ];
    let mut rejects: Vec<_> = metrics.rejects.iter().filter(|(_, count)| **count > 0).collect();
    rejects.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), code.as_str().to_owned()));
    if !rejects.is_empty() {
        let told: Vec<String> =
            rejects.iter().take(REJECTS).map(|(code, count)| format!("{code} {count}")).collect();
        lines.push(format!("refused  {}", told.join("  ")));
    }
    lines
}

fn apps(report: &Report, rates: &Rates) -> Table {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("STATE", Align::Left),
        ("READY", Align::Right),
        ("REQ/S", Align::Right),
        ("IN FLIGHT", Align::Right),
        ("QUEUE", Align::Right),
        ("RESTARTS", Align::Right),
        ("GEN", Align::Right),
        ("LAST EXIT", Align::Left),
    ]);
    let usual = |text: String| (text, Tone::Usual);
    for app in &report.apps {
        let mut state = app.state.clone();
        if app.paused {
            state.push_str(", paused");
        }
        if app.rolling {
            state.push_str(", rolling");
        }
        let queue = if app.queue_depth > 0 { Tone::Waiting } else { Tone::Usual };
        table.row([
            usual(app.id.to_string()),
            (state, tone_of(&app.state)),
            usual(format!("{}/{}", app.ready, app.workers)),
            usual(rate(rates.of_app(app))),
            usual(app.inflight.to_string()),
            (app.queue_depth.to_string(), queue),
            usual(app.restarts.to_string()),
            usual(app.generation.to_string()),
            usual(app.last_exit.clone().unwrap_or_default()),
        ]);
    }
    table
}

fn workers(report: &Report, rates: &Rates, sort: Sort) -> Table {
    let mut table = Table::new(&[
        ("WORKER", Align::Left),
        ("APP", Align::Left),
        ("PID", Align::Right),
        ("STATE", Align::Left),
        ("REQ/S", Align::Right),
        ("IN FLIGHT", Align::Right),
        ("REQUESTS", Align::Right),
        ("MEMORY", Align::Right),
        ("AGE", Align::Right),
        ("GEN", Align::Right),
    ]);
    let mut rows: Vec<(&AppReport, &WorkerReport)> = report
        .apps
        .iter()
        .flat_map(|app| app.processes.iter().map(move |row| (app, row)))
        .collect();
    match sort {
        Sort::Id => {}
        Sort::Rate => rows.sort_by(|(_, left), (_, right)| {
            let of = |worker| rates.of(worker).unwrap_or_default();
            of(right).total_cmp(&of(left))
        }),
        Sort::Inflight => rows.sort_by_key(|(_, worker)| std::cmp::Reverse(worker.inflight)),
        Sort::Memory => rows.sort_by_key(|(_, worker)| std::cmp::Reverse(worker.rss_bytes)),
        Sort::Age => rows.sort_by_key(|(_, worker)| std::cmp::Reverse(worker.age)),
    }
    let usual = |text: String| (text, Tone::Usual);
    for (app, worker) in rows {
        table.row([
            usual(worker.id.to_string()),
            usual(app.id.to_string()),
            usual(worker.pid.map(|pid| pid.to_string()).unwrap_or_default()),
            (worker.state.clone(), tone_of(&worker.state)),
            usual(rate(rates.of(worker))),
            usual(worker.inflight.to_string()),
            usual(worker.requests.to_string()),
            usual(worker.rss_bytes.map(size).unwrap_or_default()),
            usual(age(worker.age.saturating_mul(1000))),
            usual(worker.generation.to_string()),
        ]);
    }
    table
}

fn tone_of(state: &str) -> Tone {
    match state {
        "ready" => Tone::Good,
        "starting" | "draining" | "stopping" | "degraded" => Tone::Waiting,
        "down" | "abandoned" => Tone::Bad,
        _ => Tone::Usual,
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map(|rate| format!("{rate:.1}")).unwrap_or_default()
}

/// Seconds as milliseconds, three digits or so.
fn millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    match millis {
        _ if millis < 10.0 => format!("{millis:.2} ms"),
        _ if millis < 1000.0 => format!("{millis:.0} ms"),
        _ => format!("{seconds:.1} s"),
    }
}

/// `line` without what stands beyond `width` columns. Colours take none, and end with it.
fn cut(line: &str, width: usize) -> String {
    let (mut out, mut count, mut is_dressed) = (String::new(), 0, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            out.push(letter);
            let code: String = letters.by_ref().take_while(|letter| *letter != 'm').collect();
            is_dressed = code != "[0";
            out.push_str(&code);
            out.push('m');
            continue;
        }
        // What an app is called may hold anything; a screen is not commanded by it.
        let letter = if letter.is_control() { '?' } else { letter };
        if count == width {
            break;
        }
        count += 1;
        out.push(letter);
    }
    if is_dressed {
        out.push_str("\x1b[0m");
    }
    out
}

/// Reasons of refusals that are shown.
const REJECTS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::ids::{AppId, Generation, WorkerId};
    use rip::observe::report::{Gauges, Percentiles, Recent};

    fn worker(id: u64, requests: u64, rss_mib: u64) -> WorkerReport {
        WorkerReport {
            id: WorkerId(id),
            pid: Some(4000 + id as u32),
            state: "ready".to_owned(),
            generation: Generation(2),
            inflight: id as u32 % 2,
            requests,
            rss_bytes: Some(rss_mib << 20),
            age: 60 * id,
        }
    }

    fn report(at: u64, requests: u64) -> Report {
        let mut report = Report { at, uptime: at / 1000, ..Report::default() };
        report.status = Health::Healthy;
        report.version.server = "1.2.3".to_owned();
        report.config.version = 4;
        report.metrics.requests = requests;
        report.metrics.responses =
            [("2xx".to_owned(), requests - 3), ("5xx".to_owned(), 3)].into_iter().collect();
        report.metrics.rejects =
            [("worker-gone".to_owned(), 2), ("queue-full".to_owned(), 1)].into_iter().collect();
        let latency = Percentiles { p50: 0.002, p95: 0.02, p99: 1.5 };
        report.recent =
            Recent { seconds: 60.0, requests_per_second: 7.5, errors_per_second: 0.0, latency };
        report.gauges = Gauges { workers_active: 2, inflight: 1, queue_depth: 3, connections: 9 };
        report.apps = vec![AppReport {
            id: AppId::new("api"),
            state: "ready".to_owned(),
            workers: 2,
            ready: 2,
            inflight: 1,
            queue_depth: 3,
            generation: Generation(2),
            restarts: 1,
            last_exit: Some("w0 killed by SIGKILL".to_owned()),
            paused: false,
            rolling: false,
            processes: vec![worker(1, requests / 2, 30), worker(2, requests / 4, 90)],
        }];
        report
    }

    const VIEW: View =
        View { width: 120, height: 40, sort: Sort::Id, paint: Paint::Plain, has_keys: false };

    #[test]
    fn a_screen_is_what_it_is() {
        let lines = frame(&report(120_000, 400), Some(&report(118_000, 200)), "shop", &VIEW);
        let golden = "\
shop  healthy  up 2m  rip-master 1.2.3  configuration 4
requests 100.0/s  errors 0.0/s  in flight 1  queue 3  connections 9  websockets 0
latency  p50 2.00 ms  p95 20 ms  p99 1.5 s  (last 60 s)   queue wait p99 0.00 ms
total    400 requests: 397 2xx, 0 3xx, 0 4xx, 3 5xx; 0 queued, 0 shed, 0 timed out
refused  worker-gone 2  queue-full 1

APP  STATE  READY  REQ/S  IN FLIGHT  QUEUE  RESTARTS  GEN  LAST EXIT
api  ready    2/2   75.0          1      3         1   g2  w0 killed by SIGKILL

WORKER  APP   PID  STATE  REQ/S  IN FLIGHT  REQUESTS  MEMORY  AGE  GEN
w1      api  4001  ready   50.0          1       200   30.0M   1m   g2
w2      api  4002  ready   25.0          0       100   90.0M   2m   g2";
        assert_eq!(lines.join("\n"), golden);
    }

    #[test]
    fn the_first_screen_shows_the_last_minute() {
        let lines = frame(&report(120_000, 400), None, "shop", &VIEW);
        assert!(lines[1].starts_with("requests 7.5/s"), "{}", lines[1]);
        assert!(lines[11].contains("ready      -"), "{}", lines[11]);
        // A server that began anew has nothing to be compared with.
        let again = frame(&report(120_000, 400), Some(&report(121_000, 9)), "shop", &VIEW);
        assert_eq!(again, lines);
    }

    #[test]
    fn workers_come_in_the_order_that_is_wanted() {
        let (now, before) = (report(120_000, 400), report(118_000, 200));
        let first = |key| {
            let sort = Sort::of_key(key).unwrap();
            let lines = frame(&now, Some(&before), "shop", &View { sort, ..VIEW });
            lines[lines.len() - 2].split(' ').next().unwrap_or_default().to_owned()
        };
        assert_eq!([b'n', b'r', b'i', b'm', b'a'].map(first), ["w1", "w1", "w1", "w2", "w2"]);
        assert_eq!(Sort::of_key(b'x'), None);
    }

    #[test]
    fn no_screen_is_larger_than_the_terminal() {
        let mut now = report(120_000, 400);
        now.apps[0].processes = (1..100).map(|id| worker(id, id, id)).collect();
        now.apps[0].last_exit = Some("x\x1b[2J\ny".repeat(50));
        for paint in [Paint::Plain, Paint::Coloured] {
            for (width, height) in [(80, 24), (20, 5), (1, 1), (200, 200)] {
                let view = View { width, height, paint, has_keys: true, ..VIEW };
                let lines = frame(&now, None, "shop", &view);
                assert!(lines.len() <= height, "{width}×{height}: {}", lines.len());
                for line in &lines {
                    let mut plain = String::new();
                    let mut rest = line.as_str();
                    while let Some((before, after)) = rest.split_once('\x1b') {
                        plain.push_str(before);
                        rest = after.split_once('m').map_or("", |(_, rest)| rest);
                    }
                    plain.push_str(rest);
                    assert!(plain.chars().count() <= width, "{width}: {plain:?}");
                }
            }
        }
        let small = frame(&now, None, "shop", &View { height: 12, has_keys: true, ..VIEW });
        assert!(small[10].starts_with("… and ") && small[11].starts_with("q quit"), "{small:#?}");
    }
}
