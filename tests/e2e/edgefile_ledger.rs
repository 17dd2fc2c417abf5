//! Configurations change under clients that number every request: none is lost, none is doubled,
//! and none comes to another app than the one that answers there.

use crate::harness::edgefile::{Manner, ledger as ledger_app};
use crate::harness::ledger::{ALL_KINDS, NOBODY};
use crate::harness::{Kind, Ledger, Server, Setup, eventually, processes};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What an Edgefile describes.
#[derive(Clone)]
struct World {
    apps: BTreeMap<&'static str, App>,
    /// Host, beginning of the path, and the app there.
    places: BTreeMap<(&'static str, &'static str), &'static str>,
    /// Rules that no client asks for.
    noise: usize,
}

#[derive(Clone)]
struct App {
    workers: usize,
    release: u32,
    max_queue: u32,
}

impl World {
    fn new(apps: &[(&'static str, usize)]) -> Self {
        let app = |(name, workers): &(&'static str, usize)| {
            (*name, App { workers: *workers, release: 1, max_queue: 1000 })
        };
        Self { apps: apps.iter().map(app).collect(), places: BTreeMap::new(), noise: 0 }
    }

    fn with(mut self, host: &'static str, path: &'static str, app: &'static str) -> Self {
        self.places.insert((host, path), app);
        self
    }

    fn app(&mut self, name: &'static str) -> &mut App {
        self.apps.get_mut(name).expect("the app")
    }

    /// As the ledger names who answers at a place.
    fn who(&self, app: &str) -> String {
        format!("{app}@{}", self.apps[app].release)
    }

    fn text(&self) -> String {
        let mut text = "version 1\nedge {\n    http \"127.0.0.1:PORT\"\n    \
                        verify within=\"500ms\"\n}\n"
            .to_owned();
        for (name, App { workers, release, max_queue }) in &self.apps {
            let more =
                format!("workers {workers}\nmax-queue {max_queue}\nenv RELEASE=\"{release}\"");
            text.push_str(&ledger_app(name, &more));
        }
        let hosts: BTreeSet<_> = self.places.keys().map(|(host, _)| host).collect();
        for host in hosts {
            text.push_str(&format!("site \"{host}\" {{\n"));
            for ((_, path), app) in self.places.iter().filter(|((own, _), _)| own == host) {
                text.push_str(&format!("    route \"{path}/*\" {{ to-app \"{app}\" }}\n"));
            }
            text.push_str("}\n");
        }
        text.push_str("site \"noise.test\" {\n");
        for number in 0..=self.noise {
            text.push_str(&format!("    route \"/{number}\" {{ redirect \"/at/{number}\" }}\n"));
        }
        text + "}\n"
    }

    fn started(&self, loops: usize) -> Server {
        let setup = Setup::edgefile(&self.text()).word("--no-watch").flag("--loops", loops);
        let server = setup.start();
        self.assert_settled(&server);
        server
    }

    fn open(&self, server: &Server, kinds: &[Kind]) -> Ledger {
        let whos: Vec<_> = self.places.values().map(|app| self.who(app)).collect();
        let places: Vec<_> = self
            .places
            .keys()
            .zip(&whos)
            .map(|((host, path), who)| (*host, *path, who.as_str()))
            .collect();
        Ledger::aimed(server, kinds, &places)
    }

    /// Takes the place of `before` while the ledger's clients are at work; the attempt.
    #[track_caller]
    fn replaces(&self, before: &Self, server: &Server, ledger: &Ledger) -> Value {
        for ((host, path), app) in &self.places {
            let old = before.places.get(&(host, path)).map(|app| before.who(app));
            if old.as_ref() != Some(&self.who(app)) {
                ledger.changing(host, path, &self.who(app));
            }
        }
        for (host, path) in before.places.keys() {
            if !self.places.contains_key(&(host, path)) {
                ledger.changing(host, path, NOBODY);
            }
        }
        let attempt = server.take_up(&self.text());
        ledger.changed();
        ledger.assert_no_failure(server);
        attempt
    }

    /// Each app has the workers it shall have, all of them ready, and nothing else is left.
    #[track_caller]
    fn assert_settled(&self, server: &Server) {
        for (name, app) in &self.apps {
            eventually(&format!("{} ready workers of {name}", app.workers), || {
                server.app_called(name)["ready"] == app.workers
            });
        }
        let wanted = 1 + 2 * self.apps.values().map(|app| app.workers).sum::<usize>();
        eventually(&format!("{wanted} processes"), || server.processes().len() == wanted);
    }
}

#[test]
fn apps_and_hosts_come_and_go_and_move_under_load() {
    let mut world = World::new(&[("one", 2), ("two", 1)]);
    world = world.with("a.test", "", "one").with("a.test", "/api", "two").with("b.test", "", "two");
    let mut server = world.started(1);
    let ledger = world.open(&server, &ALL_KINDS);
    ledger.wait_for(&server, 30);
    let mut change = |server: &Server, what: &dyn Fn(&mut World)| {
        let before = world.clone();
        what(&mut world);
        let attempt = world.replaces(&before, server, &ledger);
        ledger.wait_for(server, 25);
        attempt
    };

    let ones = server.family("one");
    change(&server, &|world| {
        world.apps.insert("three", App { workers: 2, release: 1, max_queue: 1000 });
        world.places.insert(("c.test", ""), "three");
    });
    change(&server, &|world| {
        world.places.insert(("b.test", ""), "one");
    });
    change(&server, &|world| world.app("one").workers = 4);
    eventually("four workers", || server.family("one").len() == 4);
    assert!(ones.iter().all(|(worker, own)| server.family("one").get(worker) == Some(own)));
    change(&server, &|world| world.app("one").workers = 2);
    change(&server, &|world| world.app("one").max_queue = 900);
    let threes = server.family("three");
    let twos = server.family("two");
    change(&server, &|world| world.app("two").release = 2);
    assert_eq!(server.family("three"), threes, "another app was replaced");
    eventually("fresh processes", || {
        let fresh = server.family("two");
        fresh.len() == 1 && fresh.keys().all(|worker| !twos.contains_key(worker))
    });
    change(&server, &|world| {
        world.places.insert(("a.test", "/api"), "one");
        world.apps.remove("two");
    });
    change(&server, &|world| {
        world.places.remove(&("c.test", ""));
        world.apps.remove("three");
    });
    change(&server, &|world| {
        world.apps.insert("two", App { workers: 1, release: 3, max_queue: 1000 });
        world.apps.insert("three", App { workers: 1, release: 1, max_queue: 1000 });
        world.places.insert(("c.test", ""), "two");
        world.places.insert(("d.test", ""), "three");
        world.places.insert(("b.test", ""), "three");
    });
    ledger.wait_for_round(&server);
    world.assert_settled(&server);
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    for app in ["one", "two", "three", NOBODY] {
        assert!(totals.apps.contains_key(app), "{app} in {totals:?}");
    }
}

/// What a reload of the long row changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Nothing,
    Noise,
    Moved,
    Scaled,
    Tuned,
    Replaced,
    Invalid,
}

/// Mostly what is cheap; an app is replaced now and then.
const ROW: [Change; 20] = [
    Change::Noise,
    Change::Moved,
    Change::Nothing,
    Change::Invalid,
    Change::Moved,
    Change::Scaled,
    Change::Noise,
    Change::Nothing,
    Change::Moved,
    Change::Tuned,
    Change::Invalid,
    Change::Moved,
    Change::Noise,
    Change::Nothing,
    Change::Moved,
    Change::Scaled,
    Change::Invalid,
    Change::Moved,
    Change::Noise,
    Change::Replaced,
];

const MISTAKES: [(&str, &str); 4] = [
    ("site \"a.test\" {", "parse_error"),
    ("app \"four\" { entry \"./nowhere.py\"; hosts \"four.test\" }", "entry_missing"),
    ("site \"x.test\" { route \"/*\" { to-app \"nobody\" } }", "invalid"),
    ("wrokers 3", "invalid"),
];

#[test]
fn two_hundred_reloads_in_a_row_lose_double_and_misroute_nothing() {
    let mut world = World::new(&[("one", 2), ("two", 1), ("still", 1)]);
    world = world.with("a.test", "", "one").with("a.test", "/api", "two");
    world = world.with("b.test", "", "two").with("still.test", "", "still");
    let mut server = world.started(3);
    let still = server.family("still");
    let ledger = world.open(&server, &ALL_KINDS);
    ledger.wait_for(&server, 20);
    let descriptors = processes::descriptor_count(server.pid());
    let places: Vec<_> =
        world.places.keys().copied().filter(|(host, _)| *host != "still.test").collect();
    let (mut version, mut rejected) = (1, 0);
    for turn in 0..200_usize {
        let change = ROW[turn % ROW.len()];
        let before = world.clone();
        match change {
            Change::Nothing | Change::Invalid => {}
            Change::Noise => world.noise = turn % 13,
            Change::Moved => {
                let place = places[turn % places.len()];
                let app = ["one", "two"][(turn / places.len()) % 2];
                world.places.insert(place, app);
            }
            Change::Scaled => world.app("one").workers = 1 + turn % 3,
            Change::Tuned => world.app("two").max_queue = 1000 + turn as u32,
            Change::Replaced => world.app(["one", "two"][turn / 20 % 2]).release += 1,
        }
        if change == Change::Invalid {
            let (mistake, code) = MISTAKES[turn % MISTAKES.len()];
            // Whatever else it says is not to be taken up either.
            let mut wrong = world.clone();
            wrong.places.values_mut().for_each(|app| *app = "still");
            let attempt = server.refuses_up(&format!("{}{mistake}\n", wrong.text()), code);
            assert_eq!(attempt["result"], "rejected", "{attempt}");
            rejected += 1;
            ledger.assert_no_failure(&server);
        } else {
            let attempt = world.replaces(&before, &server, &ledger);
            assert_eq!(attempt["oldVersion"], version, "turn {turn}: {attempt}");
            assert_eq!(attempt["id"], turn + 2, "turn {turn}: {attempt}");
            version = attempt["newVersion"].as_u64().expect("a version");
        }
        if turn % 25 == 24 {
            ledger.wait_for(&server, 20);
        }
    }
    let history = server.history();
    assert_eq!(history["version"], version);
    assert_eq!(history["counts"]["applied"], 201 - rejected, "{history}");
    assert_eq!(history["counts"]["rejected"], rejected, "{history}");
    assert_eq!(history["counts"]["rolled_back"], 0, "{history}");
    assert_eq!(server.family("still"), still, "nothing was changed in this app");
    ledger.wait_for_round(&server);
    world.assert_settled(&server);
    // A pipe and a descriptor more or less for workers that are more or fewer now.
    let now = processes::descriptor_count(server.pid());
    assert!(now < descriptors + 40, "{descriptors} descriptors have become {now}");
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    assert!(totals.releases.len() > 4, "{totals:?}");
}

/// The serial number that the active configuration carries.
fn serial(server: &Server) -> u64 {
    let answer = server.get_at("serial.test", "/");
    let location = answer.field("location").to_owned();
    location.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a serial number")
}

#[test]
fn signals_changes_of_the_file_and_orders_at_once_are_answered_truthfully() {
    let mut world = World::new(&[("one", 2), ("two", 1)]);
    world = world.with("a.test", "", "one").with("b.test", "", "two");
    let text = |number: u64| {
        let site = format!("site \"serial.test\" {{ route \"/\" {{ redirect \"/{number}\" }} }}\n");
        world.text() + &site
    };
    let server = Setup::edgefile(&text(0)).start();
    world.assert_settled(&server);
    let ledger = world.open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Upload, Kind::Stream]);
    ledger.wait_for(&server, 10);
    let written = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let (asked, signalled) = (AtomicU64::new(0), AtomicU64::new(0));
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let known = written.load(Ordering::SeqCst);
                        asked.fetch_add(1, Ordering::Relaxed);
                        let attempt = server.reload_by_api();
                        assert_eq!(attempt["result"], "applied", "{attempt}");
                        let active = serial(&server);
                        assert!(
                            active >= known,
                            "{known} was written and {active} serves: {attempt}"
                        );
                        answers.push(attempt);
                    }
                    answers
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let before = server.last_attempt();
                signalled.fetch_add(1, Ordering::Relaxed);
                server.signal(Signal::SIGHUP);
                eventually("another attempt", || server.last_attempt() > before);
            }
        });
        for number in 1..=25 {
            let manner = if number % 2 == 0 { Manner::Renamed } else { Manner::Swapped };
            server.save_edgefile(&text(number), manner);
            written.store(number, Ordering::SeqCst);
            eventually("the change", || {
                ledger.assert_no_failure(&server);
                serial(&server) >= number
            });
        }
        is_over.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
    });
    // All at once, and nobody of them waits for an attempt of its own.
    let gate = Barrier::new(16);
    let crowd: Vec<Value> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    gate.wait();
                    server.reload_by_api()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller")).collect()
    });
    let ids: BTreeSet<_> = crowd.iter().map(|answer| answer["id"].as_u64()).collect();
    assert!(ids.len() < 12, "{} attempts for 16 orders", ids.len());
    eventually("rest", || {
        let before = server.last_attempt();
        std::thread::sleep(std::time::Duration::from_millis(300));
        server.last_attempt() == before
    });

    let told = attempts_told(&server);
    let numbers: Vec<_> = told.iter().map(|attempt| attempt["attempt"].clone()).collect();
    let expected: Vec<_> = (1..=told.len()).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected, "each attempt is told once, in its order");
    let mut version = "0";
    for attempt in &told {
        assert_eq!(attempt["oldVersion"], version, "{attempt:?}");
        assert_eq!(attempt["result"], "applied", "{attempt:?}");
        version = &attempt["newVersion"];
    }
    for answer in answers.iter().chain(&crowd) {
        let id = usize::try_from(answer["id"].as_u64().expect("an id")).expect("a number");
        let own = &told[id - 1];
        assert_eq!(own["source"], "api", "it bears the name of who waits for it: {own:?}");
        assert_eq!(own["newVersion"], answer["newVersion"].to_string());
    }
    let triggers = asked.into_inner() + signalled.into_inner() + 25 + 16;
    assert!((told.len() as u64 - 1) < triggers, "{} of {triggers} became one", told.len());
    let of = |source: &str| told.iter().filter(|attempt| attempt["source"] == source).count();
    assert!(of("api") > 3, "{told:?}");
    assert_eq!(serial(&server), 25);
    world.assert_settled(&server);
    let totals = ledger.balance(&server);
    assert_eq!(totals.repeated, 0, "{totals:?}");
}

/// Every attempt as the log tells it, from the first on.
fn attempts_told(server: &Server) -> Vec<BTreeMap<String, String>> {
    let log = server.stderr();
    let lines =
        log.lines().filter_map(|line| line.split_once("rip: config-").map(|(_, rest)| rest));
    let fields = |line: &str| {
        let pairs = line.split(' ').filter_map(|word| word.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    lines.map(fields).collect()
}
