use super::*;
use crate::cli::args::{Cli, Unread, Verb};
use crate::cli::entry::tests::Tree;
use crate::cli::exit::Exit;
use rip::contract::app::Surge;
use rip::contract::listen::ListenAddress;
use std::net::IpAddr;

fn world(tree: &Tree) -> World {
    World {
        places: tree.places(),
        cores: 4,
        rights: Rights { unprivileged_from: 1024, bind_service: false, change_user: false },
        executable: "/opt/rip-master".to_owned(),
        port: None,
        web_concurrency: None,
        cache_directory: None,
        state_dir: "/state".into(),
        is_state_at_home: false,
    }
}

fn run(line: &str, world: &World) -> Result<Settings, Failure> {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match Cli::read(&arguments) {
        Ok(Cli { verb: Verb::Start(start) }) => settings(&start, world),
        Ok(other) => panic!("{other:?}"),
        Err(Unread::Grammar(error)) => Err(Failure::usage(error.to_string())),
        Err(Unread::Token(failure)) => Err(failure),
    }
}

#[test]
fn where_no_low_port_is_free_the_way_around_is_one_to_https() {
    let tree = Tree::new("low-ports", &["app.py"]);
    for (line, tip) in [
        ("start app.py", "use another port: http:8080"),
        ("start app.py --auto-tls", "use another port: https:8443"),
        ("start app.py --auto-tls https:8443", ""),
    ] {
        let failure = run(line, &world(&tree)).err();
        let tips = failure.map(|failure| failure.tips).unwrap_or_default();
        assert_eq!(tips.first().map_or("", String::as_str), tip, "{line}");
    }
}

#[test]
fn defaults_follow_the_machine() {
    let tree = Tree::new("defaults", &["blog/app.py"]);
    let settings = run("start blog 8080", &world(&tree)).unwrap();
    assert_eq!(settings.name, "blog");
    assert_eq!(settings.config.apps[0].id.as_str(), "blog");
    assert_eq!(settings.config.apps[0].workers, 4);
    assert_eq!((settings.config.apps[0].concurrency, settings.config.apps[0].max_inflight), (1, 4));
    assert_eq!(settings.config.apps[0].select, Select::Lifo);
    assert_eq!(settings.config.apps[0].timeouts, AppTimeouts::default());
    assert_eq!(settings.config.apps[0].health_check, HealthCheck::default());
    assert_eq!(settings.config.apps[0].recycle, Recycle::default());
    assert_eq!(settings.config.apps[0].surge, Surge::Count(1));
    assert_eq!(settings.config.edge.http, [ListenAddress { ip: None, port: 8080 }]);
    assert_eq!(settings.config.urls(), ["http://localhost:8080/"]);
    assert_eq!(settings.config.edge.limits, EdgeLimits::default());
    assert_eq!(settings.config.edge.phases, Phases::default());
    assert!(
        settings.config.edge.log.access
            && !settings.config.edge.log.json
            && !settings.quiet
            && !settings.debug
    );
    assert_eq!(settings.config.edge.spool_dir, None);
}

#[test]
fn every_flag_arrives() {
    let tree = Tree::new("flags", &["bin/serve*", "spool/"]);
    let line = "start . shop@a --name edge1 --workers half --concurrency 8 --select lifo --listen \
                port --ready listen --host 127.0.0.1 --host ::1 --port 8080 --loops 2 \
                --max-connections 500 --max-connections-per-address 20 --max-queue 0 --max-body 1k \
                --spool spool --head-timeout-ms 1 --body-timeout-ms 2 --idle-timeout-ms 3 \
                --write-timeout-ms 4 --queue-timeout-ms 5 --connect-timeout-ms 6 \
                --read-timeout-ms 7 --start-timeout-ms 8 --drain-timeout-ms 9 --kill-timeout-ms 10 \
                --max-restarts 3 --restart-backoff-ms 11 --restart-window-ms 12 --env A=1 --env B=2 \
                r:20,60s,3r --max-rss 512M --surge 25% --stuck-timeout-ms 13 \
                --health-interval-ms 14 --health-timeout-ms 15 --unhealthy-threshold 5 \
                --json-logging --rate-limit 30 --rate-limit-window 2m \
                --no-access-log --quiet --debug -- serve --quiet";
    // The alias belongs to the path.
    let line = line.replace(". shop@a", ".@a shop");
    let settings = run(&line, &world(&tree)).unwrap();
    let millis = Duration::from_millis;
    let two: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(settings.name, "edge1");
    assert_eq!(settings.config.apps[0].id.as_str(), "shop");
    assert_eq!(settings.config.apps[0].entry, "serve --quiet");
    assert_eq!(settings.config.apps[0].hosts, ["a.local"]);
    assert_eq!((settings.config.apps[0].workers, settings.config.apps[0].concurrency), (2, 8));
    assert_eq!(settings.config.apps[0].max_inflight, 16);
    assert_eq!(settings.config.apps[0].select, Select::Lifo);
    assert_eq!(settings.config.apps[0].launch.listen, Listen::Port);
    assert_eq!(settings.config.apps[0].launch.ready, Ready::Listen);
    assert_eq!(settings.config.edge.http.len(), 2);
    for (address, ip) in settings.config.edge.http.iter().zip(two) {
        assert_eq!(*address, ListenAddress { ip: Some(ip), port: 8080 });
    }
    assert_eq!(settings.config.apps[0].env["B"], "2");
    assert_eq!(settings.config.edge.loops, Some(2));
    assert_eq!(settings.config.edge.limits.connections, Some(500));
    assert_eq!(settings.config.edge.limits.per_address, Some(20));
    assert_eq!(settings.config.apps[0].max_queue, 0);
    assert_eq!(settings.config.edge.limits.body_bytes, 1024);
    assert!(settings.config.edge.spool_dir.unwrap().ends_with("/spool"));
    let phases = settings.config.edge.phases;
    assert_eq!((phases.head, phases.body), (millis(1), millis(2)));
    assert_eq!((phases.idle, phases.write), (millis(3), millis(4)));
    let timeouts = settings.config.apps[0].timeouts;
    assert_eq!((timeouts.queue, timeouts.connect), (millis(5), millis(6)));
    assert_eq!((timeouts.read, timeouts.start), (millis(7), millis(8)));
    assert_eq!((timeouts.drain, timeouts.kill), (millis(9), millis(10)));
    assert_eq!(timeouts.keepalive, Some(limits::LINK_KEEPALIVE));
    let restarts = settings.config.apps[0].restart_policy;
    assert_eq!((restarts.max_restarts, restarts.backoff_ms, restarts.window_ms), (3, 11, 12));
    let recycle = settings.config.apps[0].recycle;
    assert_eq!((recycle.requests, recycle.seconds, recycle.reloads), (Some(20), Some(60), Some(3)));
    assert_eq!(recycle.max_rss_bytes, Some(512 << 20));
    assert_eq!(settings.config.apps[0].surge, Surge::Percent(25));
    assert_eq!(timeouts.stuck, millis(13));
    let health = &settings.config.apps[0].health_check;
    assert_eq!((health.interval_ms, health.timeout_ms, health.unhealthy_threshold), (14, 15, 5));
    assert!(!health.explicit, "no path was given");
    let rate = settings.config.edge.rate_limit.unwrap();
    assert_eq!((rate.limit, rate.window), (30, Duration::from_secs(120)));
    assert!(
        !settings.config.edge.log.access
            && settings.config.edge.log.json
            && settings.quiet
            && settings.debug
    );
}

#[test]
fn path_and_name_are_told_apart() {
    let tree = Tree::new("words", &["blog/app.py", "at@home/app.py", "app.py", "pkg.py"]);
    for (words, entry, name, hosts) in [
        ("blog", "blog", "blog", &[][..]),
        ("blog shop", "blog", "shop", &[]),
        ("shop blog", "blog", "shop", &[]),
        ("shop ./blog", "./blog", "shop", &[]),
        ("pkg:app shop", "pkg:app", "shop", &[]),
        ("shop pkg:app", "pkg:app", "shop", &[]),
        ("shop builtin:hello", "builtin:hello", "shop", &[]),
        ("blog@a,B.example.com,a", "blog", "blog", &["a.local", "b.example.com"]),
        ("shop blog@a", "blog", "shop", &["a.local"]),
        ("@a", ".", "", &["a.local"]),
        ("at@home", "at@home", "at-home", &[]),
    ] {
        let settings = run(&format!("start {words} 8080"), &world(&tree)).unwrap();
        assert_eq!(settings.config.apps[0].entry, entry, "{words}");
        if !name.is_empty() {
            assert_eq!(settings.config.apps[0].id.as_str(), name, "{words}");
        }
        assert_eq!(settings.config.apps[0].hosts, hosts, "{words}");
    }
    let hosts = run("start blog@a 8080", &world(&tree)).unwrap().config.urls();
    assert_eq!(hosts, ["http://a.local:8080/", "http://localhost:8080/"]);
}

#[test]
fn wrong_words_and_flags_end_with_usage() {
    let tree = Tree::new("wrong", &["blog/app.py"]);
    for (line, message) in [
        ("start blog shop extra 8080", "unexpected 'extra': 'blog' is the entry"),
        ("start blog Shop 8080", "'Shop' cannot be a name"),
        ("start blog 8080 --name ../x", "'../x' cannot be a name"),
        ("start blog@ 8080", "'' is not a host name"),
        ("start blog@a_b 8080", "'a_b' is not a host name"),
        ("start blog 8080 --listen port", "--listen is for a command after --"),
        ("start blog 8080 --ready listen --health-path /x", "--health-path is never asked"),
        ("start . 8080 -- /bin/true -p {port}", "{port} in the command needs --listen port"),
        (
            "start . 8080 --listen port -- /bin/true {socket}",
            "{socket} in the command needs --listen path",
        ),
        ("start blog 8080 9090", "both 8080 and 9090 say where to listen"),
        ("start blog http:8080 http:9090", "'--port <PORT>' cannot be used multiple times"),
        ("start blog w:2 --workers 3 8080", "cannot be used multiple times"),
        ("start blog 8080 r:1 --recycle 2", "cannot be used multiple times"),
        ("start blog 8080 --surge 0", "must be between 1 and 4096"),
        ("start blog 8080 --max-rss 1k", "must be at least 1MiB"),
        ("start blog 8080 --unhealthy-threshold 0", "must be between 1 and"),
        ("ctl drain three", "not a worker such as w3"),
        ("ctl drain", "<WORKER>"),
        ("ctl scale", "<N>"),
        ("restart a b", "unexpected argument 'b'"),
        ("ctl events --json --wait", "unexpected argument '--wait'"),
        ("start blog 8080 --wrkers 3", "a similar argument exists: '--workers'"),
        ("start blog 8080 --workers=x", "not a number, auto or half"),
        ("start blog 8080 --host nowhere", "invalid value 'nowhere'"),
        ("start blog 8080 --quiet=yes", "unexpected value 'yes'"),
        ("start blog 8080 --max-body lots", "not a size"),
        ("start blog 8080 --select best", "possible values: lifo, least-inflight"),
        ("stat", "similar subcommands exist"),
        ("ctl lst", "unrecognized subcommand 'lst'"),
        ("stop --force", "unexpected argument '--force'"),
    ] {
        let failure = run(line, &world(&tree)).unwrap_err();
        assert!(failure.message.contains(message), "{line}: {}", failure.message);
        assert_eq!(failure.exit, Exit::Usage, "{line}");
    }
}

#[test]
fn a_mistyped_flag_is_not_advised_to_be_part_of_a_command() {
    let tree = Tree::new("advice", &["app.py"]);
    let failure = run("start . 8080 --wrkers 3", &world(&tree)).unwrap_err();
    assert!(!failure.message.contains("-- --wrkers"), "{}", failure.message);
}

#[test]
fn the_port_is_the_tokens_then_the_environments_then_80() {
    let tree = Tree::new("ports", &["app.py"]);
    let mut world = world(&tree);
    let port = |line: &str, world: &World| {
        run(line, world).map(|settings| settings.config.edge.http[0].port)
    };
    let denied = port("start", &world).unwrap_err();
    assert_eq!((denied.exit, denied.exit.code()), (Exit::Permission, 77));
    assert_eq!(port("start http:80", &world).unwrap_err().exit, Exit::Permission);
    world.port = Some("5000".to_owned());
    assert_eq!(port("start", &world).unwrap(), 5000);
    assert_eq!(port("start http", &world).unwrap(), 5000);
    assert_eq!(port("start 6000", &world).unwrap(), 6000);
    for wrong in ["0", "70000", "http"] {
        world.port = Some(wrong.to_owned());
        let failure = port("start", &world).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("in the environment"), "{}", failure.message);
    }
    world.port = None;
    world.rights.bind_service = true;
    assert_eq!(port("start", &world).unwrap(), 80);
}

#[test]
fn web_concurrency_is_what_auto_means() {
    let tree = Tree::new("auto", &["app.py"]);
    let mut world = world(&tree);
    world.web_concurrency = Some("7".to_owned());
    for (line, workers) in [
        ("start 8080", 7),
        ("start 8080 w:auto", 7),
        ("start 8080 w:half", 2),
        ("start 8080 w:3", 3),
    ] {
        assert_eq!(run(line, &world).unwrap().config.apps[0].workers, workers, "{line}");
    }
    world.web_concurrency = Some("many".to_owned());
    assert!(run("start 8080 w:3", &world).is_ok());
    let failure = run("start 8080", &world).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.message.contains("WEB_CONCURRENCY is 'many'"));
}

#[test]
fn a_command_is_looked_for_on_the_apps_own_path() {
    let tree = Tree::new("path", &["own/serve*"]);
    let own = tree.places().cwd.join("own");
    let line = format!("start . 8080 --env PATH={} -- serve", own.display());
    assert!(run(&line, &world(&tree)).is_ok());
    let failure = run("start . 8080 -- serve", &world(&tree)).unwrap_err();
    assert_eq!(failure.exit, Exit::Configuration);
}

#[test]
fn concurrency_over_one_prefers_the_least_busy() {
    let tree = Tree::new("select", &["app.py"]);
    let settings = run("start 8080 c:4", &world(&tree)).unwrap();
    assert_eq!(settings.config.apps[0].select, Select::LeastInflight);
    assert_eq!(settings.config.apps[0].max_inflight, 16);
}

#[test]
fn the_spool_is_the_flags_then_the_init_systems() {
    let tree = Tree::new("spool", &["app.py", "cache/"]);
    let mut world = world(&tree);
    let cache = world.places.cwd.join("cache").to_str().unwrap().to_owned();
    world.cache_directory = Some(format!("/nowhere/at/all:{cache}"));
    assert_eq!(run("start 8080", &world).unwrap().config.edge.spool_dir, Some(cache));
    let failure = run("start 8080 --spool gone", &world).unwrap_err();
    assert_eq!(failure.exit, Exit::Configuration);
}

#[test]
fn sessions_are_served_where_they_are_asked_for() {
    let tree = Tree::new("sessions", &["app.py", "files/index.html"]);
    let config = |line: &str| run(line, &world(&tree)).map(|settings| settings.config);
    let plain = config("start app.py 8080").unwrap();
    assert_eq!((plain.sessions.len(), plain.edge.store), (0, None));
    let with = config("start app.py 8080 --sessions").unwrap();
    let scope = with.sessions[0].scope();
    assert_eq!((with.sessions.len(), with.edge.store), (1, None));
    assert_eq!(scope, format!("* /v1 {}", with.apps[0].id));
    let store = |line| config(line).unwrap().edge.store.unwrap();
    let cwd = tree.places().cwd;
    let there = cwd.join("data/s.db").to_str().unwrap().to_owned();
    assert_eq!(store("start app.py 8080 --sessions --sessions-db data/s.db"), there);
    assert_eq!(store("start app.py 8080 --sessions --sessions-db :memory:"), ":memory:");
    for (line, said) in [
        ("start app.py 8080 --sessions-db s.db", "--sessions-db says where sessions are kept"),
        (
            "start app.py 8080 --sessions --realtime-path /v1/ws",
            "--realtime-path /v1/ws is a place of --sessions",
        ),
        ("start files 8080 --sessions", "--sessions is about an app"),
    ] {
        let failure = config(line).unwrap_err();
        assert!(failure.message.starts_with(said), "{line}: {}", failure.message);
    }
}
