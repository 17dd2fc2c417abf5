use super::*;
use crate::cli::args::{Cli, Verb};
use crate::cli::entry::tests::Tree;
use crate::cli::port::Rights;
use rip::contract::app::{AppDescriptor, Reload};
use rip::contract::https_flags::HttpsFlags;
use rip::contract::route::{RouteAction, RouteRule};
use rip::ids::AppId;
use std::time::Duration;

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

fn start(line: &str) -> Start {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match Cli::read(&arguments).unwrap().verb {
        Verb::Start(start) => *start,
        other => panic!("{other:?}"),
    }
}

fn tree(name: &str) -> Tree {
    Tree::new(name, &["Edgefile", "app.py", "shop/Edgefile", "shop/app.py", "plain/app.py"])
}

#[test]
fn a_directory_with_an_edgefile_means_it() {
    let tree = tree("edgefile-named");
    let world = world(&tree);
    let place = |inside: &str| Some(tree.places().cwd.join(inside));
    for (line, path) in [
        ("start", place("./Edgefile")),
        ("start w:2 8080", place("./Edgefile")),
        ("start .", place("./Edgefile")),
        ("start shop", place("shop/Edgefile")),
        ("start shop/Edgefile", place("shop/Edgefile")),
        ("start --file shop/Edgefile", place("shop/Edgefile")),
        ("start --file shop", place("shop/Edgefile")),
        ("start --file elsewhere.kdl", place("elsewhere.kdl")),
        ("start plain", None),
        ("start app.py", None),
        ("start shop/app.py", None),
        ("start builtin:hello", None),
        ("start shop -- serve", None),
        ("start nothing", None),
    ] {
        assert_eq!(named(&start(line), &world).unwrap(), path, "{line}");
    }
    for (line, said) in [
        ("start shop --file Edgefile", "'shop' stands beside --file Edgefile"),
        ("start --file Edgefile -- serve", "a command stands beside --file Edgefile"),
        ("start shop myname", "the name 'myname' stands beside the Edgefile"),
        ("start shop@a", "'@a' stands beside the Edgefile"),
    ] {
        let failure = named(&start(line), &world).unwrap_err();
        assert_eq!(failure.exit.code(), 2, "{line}");
        assert!(failure.message.starts_with(said), "{line}: {}", failure.message);
    }
}

#[test]
fn a_directory_called_edgefile_is_none_and_a_broken_link_is_one() {
    let tree = Tree::new("edgefile-odd", &["a/Edgefile/", "b/app.py"]);
    let root = tree.places().cwd;
    std::os::unix::fs::symlink("gone", root.join("b/Edgefile")).unwrap();
    assert_eq!(named(&start("start a"), &world(&tree)).unwrap(), None);
    let path = root.join("b/Edgefile");
    assert_eq!(named(&start("start b"), &world(&tree)).unwrap(), Some(path));
}

#[test]
fn flags_stand_above_the_file() {
    let tree = tree("edgefile-flags");
    let line = "start w:half c:8 http:8080 --host 127.0.0.1 --loops 2 --max-connections 5 \
                --max-connections-per-address 6 --max-queue 0 --max-body 1k --spool shop \
                --head-timeout-ms 1 --body-timeout-ms 2 --idle-timeout-ms 3 --write-timeout-ms 4 \
                --queue-timeout-ms 5 --connect-timeout-ms 6 --read-timeout-ms 7 \
                --start-timeout-ms 8 --drain-timeout-ms 9 --kill-timeout-ms 10 \
                --stuck-timeout-ms 11 --json-logging --no-access-log --static --quiet --debug \
                --watch-poll --name edge1 --sessions-db /var/lib/shop.db --rate-limit 9 --rate-limit-window 12ms";
    let (start, world) = (start(line), world(&tree));
    let found = overrides(&start, &world).unwrap();
    let millis = |millis| Some(Duration::from_millis(millis));
    let here = ListenAddress { ip: Some("127.0.0.1".parse().unwrap()), port: 8080 };
    let expected = Overrides {
        http: Some(vec![here]),
        https: Some(Vec::new()),
        only: None,
        tls: HttpsFlags::default(),
        user: None,
        loops: Some(2),
        dashboard: None,
        body_bytes: Some(1024),
        connections: Some(5),
        per_address: Some(6),
        rate_limit: Some(9),
        rate_window: millis(12),
        spool_dir: Some(tree.places().cwd.join("shop").to_str().unwrap().to_owned()),
        store: Some("/var/lib/shop.db".to_owned()),
        head_timeout: millis(1),
        body_timeout: millis(2),
        idle_timeout: millis(3),
        write_timeout: millis(4),
        access_log: Some(false),
        json: Some(true),
        workers: Some(2),
        concurrency: Some(8),
        max_queue: Some(0),
        connect_timeout: millis(6),
        read_timeout: millis(7),
        queue_timeout: millis(5),
        start_timeout: millis(8),
        drain_timeout: millis(9),
        kill_timeout: millis(10),
        stuck_timeout: millis(11),
        static_apps: true,
    };
    assert_eq!(found, expected);
    let path = "/srv/My Shop/Edgefile";
    let settings = settings(&start, &world, path, found, config()).unwrap();
    assert_eq!(settings.name, "edge1");
    assert_eq!(settings.config.edge.http, [here]);
    let app = &settings.config.apps[0];
    assert_eq!((app.workers, app.concurrency, app.max_inflight, app.max_queue), (2, 8, 16, 0));
    assert_eq!((app.reload, app.watch.len()), (Reload::None, 0));
    assert!(settings.quiet && settings.debug && settings.watch_poll);
    let overrides = Box::new(expected);
    let path = path.to_owned();
    assert_eq!(settings.source, Source::Edgefile { path, overrides, watch: false });
}

#[test]
fn without_flags_the_file_has_its_way() {
    let tree = tree("edgefile-plain");
    let world = world(&tree);
    let with = |line: &str, world: &World| {
        let start = start(line);
        let overrides = overrides(&start, world)?;
        settings(&start, world, "/srv/My Shop/Edgefile", overrides, config())
    };
    let found = with("start", &world).unwrap();
    assert_eq!(found.name, "my-shop");
    assert_eq!(found.config, config());
    let Source::Edgefile { overrides, watch, .. } = found.source else { panic!("{found:?}") };
    assert_eq!((*overrides, watch), (Overrides::default(), true));
    let found = with("start --no-watch", &world).unwrap();
    assert!(matches!(found.source, Source::Edgefile { watch: false, .. }));

    let every = |port| vec![ListenAddress { ip: None, port }];
    let heroku = World { port: Some("5000".to_owned()), ..world.clone() };
    assert_eq!(with("start", &heroku).unwrap().config.edge.http, every(5000));
    let cache = tree.places().cwd.to_str().unwrap().to_owned();
    let service = World { cache_directory: Some(cache.clone()), ..world.clone() };
    assert_eq!(with("start", &service).unwrap().config.edge.spool_dir, Some(cache));

    for (line, code, said) in [
        ("start --host 127.0.0.1", 2, "--host needs a port"),
        ("start http:80", 77, "port 80 needs CAP_NET_BIND_SERVICE"),
        ("start --name Bad!", 2, "'Bad!' cannot be a name"),
        ("start r:20", 2, "--recycle is about one app"),
        ("start --env A=1", 2, "--env is about one app"),
        ("start --listen port", 2, "--listen is about one app"),
        ("start --ready listen", 2, "--ready is about one app"),
        ("start --health-path /x", 2, "--health-path is about one app"),
        ("start --setup make", 2, "--setup is about one app"),
        ("start --watch *.js", 2, "--watch is about one app"),
        ("start --reload none", 2, "--reload is about one app"),
    ] {
        let failure = with(line, &world).unwrap_err();
        assert_eq!(failure.exit.code(), code, "{line}");
        assert!(failure.message.starts_with(said), "{line}: {}", failure.message);
    }
}

/// One app that is followed, on port 80.
fn config() -> Config {
    let app: AppDescriptor = serde_json::from_str(
        r#"{"id":"api","entry":"api","hosts":[],"prefixes":[],"workers":4,"concurrency":1,
            "maxQueue":1000,"maxInflight":4,"select":"lifo","env":{},"restartPolicy":
            {"maxRestarts":10,"backoffMs":1000,"windowMs":60000},"healthCheck":{"path":"/ready",
            "intervalMs":5000,"timeoutMs":2000,"unhealthyThreshold":3},"recycle":{},
            "surge":{"count":1},"reload":"process","watch":["*.py"],"timeouts":{"connectMs":1,
            "readMs":1,"queueMs":1,"startMs":1,"drainMs":1,"killMs":1,"stuckMs":1,
            "keepaliveMs":null},"runtime":"python","argv":["/srv/app.py"],"cwd":"/srv",
            "listen":"fd","readyBy":"http","stopSignal":"TERM"}"#,
    )
    .unwrap();
    let mut config = Config { apps: vec![app], ..Config::default() };
    config.edge.http = vec![ListenAddress { ip: None, port: 80 }];
    config
}

#[test]
fn https_stands_above_a_file_as_the_words_say() {
    let tree = tree("edgefile-https");
    let rights = Rights { unprivileged_from: 0, bind_service: true, change_user: false };
    let world = World { rights, ..world(&tree) };
    let every = |port| vec![ListenAddress { ip: None, port }];
    let with = |line: &str, config: Config| {
        let start = start(line);
        let overrides = overrides(&start, &world)?;
        let edge = settings(&start, &world, "/srv/Edgefile", overrides, config)?.config.edge;
        Ok::<_, Failure>((edge.http, edge.https))
    };
    let config = || {
        let action = RouteAction::ToApp { app_id: AppId::new("api") };
        Config { routes: vec![RouteRule::new("*", "/*", action)], ..config() }
    };
    let secure = || {
        let mut config = config();
        config.edge.https = every(4433);
        config.auto_hosts.push("a.test".to_owned());
        config
    };
    for (line, http, https) in [
        ("start", every(80), every(4433)),
        ("start https", every(80), every(4433)),
        ("start https:8443", every(80), every(8443)),
        ("start http:8080", every(8080), vec![]),
        ("start http:8080 https", every(8080), every(4433)),
        ("start http:8080 https:8443", every(8080), every(8443)),
        ("start 8443", vec![], every(8443)),
        ("start http", every(80), vec![]),
    ] {
        assert_eq!(with(line, secure()).unwrap(), (http, https), "{line}");
    }
    assert_eq!(with("start 8443", config()).unwrap(), (every(8443), vec![]));
    assert_eq!(with("start --auto-tls", config()).unwrap(), (every(80), every(443)));
    for (line, said) in [
        ("start https", "https needs a certificate"),
        ("start https:8443", "https needs a certificate"),
        ("start https:80 --auto-tls", "together with these flags *:80 cannot be that of HTTPS"),
        ("start --acme", "--acme has no public host"),
    ] {
        let failure = with(line, config()).unwrap_err();
        assert_eq!(failure.exit.code(), 2, "{line}");
        assert!(failure.message.starts_with(said), "{line}: {}", failure.message);
    }
    let plain = Rights { unprivileged_from: 1024, bind_service: false, change_user: false };
    let world = World { rights: plain, ..world.clone() };
    let start = start("start --auto-tls");
    let overrides = overrides(&start, &world).unwrap();
    let failure = settings(&start, &world, "/srv/Edgefile", overrides, config()).unwrap_err();
    assert_eq!(failure.exit.code(), 77);
    assert!(failure.message.starts_with("port 443 needs"), "{}", failure.message);
}
