use super::*;
use crate::contract::app::{
    AppDescriptor, AppTimeouts, HealthCheck, Launch, Listen, ProcessLimits, Ready, Recycle, Reload,
    RestartPolicy, Runtime, Select, Surge,
};
use crate::contract::config::{EdgeConfig, RateLimit};
use crate::contract::route::{
    HeaderChanges, HeaderRules, Methods, RouteAction, RouteRule, StaticFiles,
};
use crate::contract::settings::single_app;
use crate::limits;
use std::time::Duration;

/// An app that is a command, two workers.
pub(crate) fn app(id: &str) -> AppDescriptor {
    AppDescriptor {
        id: AppId::new(id),
        entry: "serve --now".to_owned(),
        hosts: Vec::new(),
        prefixes: Vec::new(),
        workers: 2,
        concurrency: 1,
        max_queue: 1000,
        max_inflight: 2,
        select: Select::Lifo,
        env: BTreeMap::new(),
        restart_policy: RestartPolicy::default(),
        health_check: HealthCheck::default(),
        recycle: Recycle::default(),
        surge: Surge::default(),
        reload: Reload::None,
        watch: Vec::new(),
        timeouts: AppTimeouts::default(),
        stream_request: false,
        realtime_path: crate::contract::app::REALTIME_PATH.to_owned(),
        turn_path: crate::contract::app::TURN_PATH.to_owned(),
        spool_response_bytes: None,
        user: None,
        limits: ProcessLimits::default(),
        launch: Launch {
            runtime: Runtime::Command,
            argv: vec!["serve".to_owned(), "--now".to_owned()],
            cwd: "/srv".to_owned(),
            listen: Listen::Fd,
            ready: Ready::Http,
            stop_signal: "TERM".to_owned(),
            setup: None,
        },
    }
}

/// A configuration of that app alone, on `127.0.0.1:8080`.
pub(crate) fn config(id: &str) -> Config {
    let http = vec!["127.0.0.1:8080".parse().unwrap()];
    single_app(app(id), EdgeConfig { http, ..EdgeConfig::default() })
}

fn rule(id: &str, host: &str, pattern: &str) -> RouteRule {
    let [everything] = config("api").routes.try_into().unwrap();
    let (host, path_pattern) = (host.to_owned(), pattern.to_owned());
    RouteRule { id: id.to_owned(), host, path_pattern, ..everything }
}

fn text(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn fate(change: impl FnOnce(&mut AppDescriptor)) -> Fate {
    let old = config("api");
    let mut new = old.clone();
    change(&mut new.apps[0]);
    let plan = plan(&old, &new);
    assert_eq!(plan.apps.len(), 1);
    assert_eq!(plan.is_empty(), plan.apps[0].fate == Fate::Same);
    plan.apps[0].fate.clone()
}

#[test]
fn equal_configurations_need_nothing() {
    let mut one = config("api");
    one.certs.push(CertFiles {
        hosts: text(&["a.test"]),
        cert_path: "/c".to_owned(),
        key_path: "/k".to_owned(),
    });
    let plan = plan(&one, &one.clone());
    assert!(plan.is_empty());
    assert_eq!(plan.to_string(), "nothing changes");
    assert_eq!(plan.fate_of(&AppId::new("api")), Some(&Fate::Same));
    assert_eq!(plan.fate_of(&AppId::new("web")), None);
    assert_eq!(plan.listeners.keep, one.edge.http);
}

#[test]
fn what_a_process_is_born_with_replaces_its_pool() {
    let replaced = |because: &[&str]| Fate::Replaced { because: text(because) };
    assert_eq!(fate(|app| app.entry.push('!')), replaced(&["entry"]));
    assert_eq!(fate(|app| app.launch.runtime = Runtime::Python), replaced(&["runtime"]));
    assert_eq!(fate(|app| app.launch.argv.reverse()), replaced(&["argv"]));
    assert_eq!(fate(|app| app.launch.cwd.push('x')), replaced(&["cwd"]));
    assert_eq!(fate(|app| app.launch.listen = Listen::Port), replaced(&["listen"]));
    assert_eq!(fate(|app| app.launch.ready = Ready::Listen), replaced(&["readyBy"]));
    assert_eq!(fate(|app| app.launch.stop_signal = "INT".to_owned()), replaced(&["stopSignal"]));
    assert_eq!(fate(|app| app.launch.setup = Some(text(&["a"]))), replaced(&["setup"]));
    assert_eq!(fate(|app| app.reload = Reload::Module), replaced(&["reload"]));
    assert_eq!(fate(|app| app.user = Some("www".to_owned())), replaced(&["user"]));
    assert_eq!(fate(|app| app.limits.files = Some(64)), replaced(&["limits"]));
    assert_eq!(fate(|app| app.health_check.path.push('y')), replaced(&["healthCheck.path"]));
    assert_eq!(fate(|app| app.health_check.explicit = true), replaced(&["healthCheck.explicit"]));
    let both = fate(|app| {
        app.workers = 3;
        app.max_queue = 1;
        app.entry.push('!');
        app.user = Some("www".to_owned());
    });
    assert_eq!(both, replaced(&["entry", "user"]));
}

#[test]
fn what_the_pool_alone_knows_is_changed_under_the_workers() {
    let retuned = |name: &str, change: fn(&mut AppDescriptor)| {
        assert_eq!(fate(change), Fate::Retuned { what: text(&[name]), scaled: None });
    };
    retuned("hosts", |app| app.hosts.push("a.test".to_owned()));
    retuned("prefixes", |app| app.prefixes.push("/v2".to_owned()));
    retuned("maxQueue", |app| app.max_queue = 7);
    retuned("maxInflight", |app| app.max_inflight = 7);
    retuned("select", |app| app.select = Select::LeastInflight);
    retuned("restartPolicy", |app| app.restart_policy.max_restarts = 7);
    retuned("healthCheck.intervalMs", |app| app.health_check.interval_ms = 7);
    retuned("healthCheck.timeoutMs", |app| app.health_check.timeout_ms = 7);
    retuned("healthCheck.unhealthyThreshold", |app| app.health_check.unhealthy_threshold = 7);
    retuned("recycle", |app| app.recycle.requests = Some(7));
    retuned("surge", |app| app.surge = Surge::Percent(50));
    retuned("watch", |app| app.watch.push("*.py".to_owned()));
    retuned("timeouts.connectMs", |app| app.timeouts.connect *= 2);
    retuned("timeouts.readMs", |app| app.timeouts.read *= 2);
    retuned("timeouts.queueMs", |app| app.timeouts.queue *= 2);
    retuned("timeouts.startMs", |app| app.timeouts.start *= 2);
    retuned("timeouts.drainMs", |app| app.timeouts.drain *= 2);
    retuned("timeouts.killMs", |app| app.timeouts.kill *= 2);
    retuned("timeouts.stuckMs", |app| app.timeouts.stuck *= 2);
    retuned("timeouts.keepaliveMs", |app| app.timeouts.keepalive = Some(Duration::from_secs(1)));
    retuned("concurrency", |app| app.concurrency = 2);
    let wider = fate(|app| (app.concurrency, app.max_inflight) = (4, 8));
    assert_eq!(wider, Fate::Retuned { what: text(&["concurrency", "maxInflight"]), scaled: None });
}

#[test]
fn another_number_of_workers_scales() {
    let scale = Scale { from: 2, to: 5 };
    assert_eq!(fate(|app| (app.workers, app.max_inflight) = (5, 5)), Fate::Scaled(scale));
    let bounded = fate(|app| app.workers = 5);
    assert_eq!(bounded, Fate::Scaled(scale), "the bound has not changed");
    let tuned = fate(|app| (app.workers, app.max_inflight, app.max_queue) = (5, 4, 9));
    let what = text(&["maxQueue", "maxInflight"]);
    assert_eq!(tuned, Fate::Retuned { what, scaled: Some(scale) });
}

#[test]
fn a_variable_is_told_by_its_name_and_never_by_its_value() {
    let mut old = config("api");
    old.apps[0].env.insert("GONE".to_owned(), "hush-1".to_owned());
    old.apps[0].env.insert("KEY".to_owned(), "hush-2".to_owned());
    old.apps[0].env.insert("SAME".to_owned(), "hush-3".to_owned());
    let mut new = old.clone();
    new.apps[0].env.remove("GONE");
    new.apps[0].env.insert("KEY".to_owned(), "hush-4".to_owned());
    new.apps[0].env.insert("NEW".to_owned(), "hush-5".to_owned());
    let plan = plan(&old, &new);
    let because = text(&["env.GONE", "env.KEY", "env.NEW"]);
    assert_eq!(plan.apps[0].fate, Fate::Replaced { because });
    assert!(!plan.to_string().contains("hush"));
    assert!(!serde_json::to_string(&plan).unwrap().contains("hush"));
}

#[test]
fn apps_and_listeners_come_and_go_in_any_order() {
    let mut old = config("a");
    old.apps.extend([app("b"), app("c")]);
    old.edge.http.push("*:81".parse().unwrap());
    let mut new = config("d");
    new.apps.extend([app("c"), app("a")]);
    new.edge.http = ["*:81", "*:82"].map(|at| at.parse().unwrap()).to_vec();
    let plan = plan(&old, &new);
    let fates = plan.apps.iter().map(|change| (change.app.as_str(), &change.fate));
    let expected =
        [("d", &Fate::Started), ("c", &Fate::Same), ("a", &Fate::Same), ("b", &Fate::Removed)];
    assert_eq!(fates.collect::<Vec<_>>(), expected);
    let ListenerChanges { open, close, keep, https, admin: _ } = &plan.listeners;
    assert!(https.is_empty());
    assert_eq!(open, &["*:82".parse().unwrap()]);
    assert_eq!(close, &["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(keep, &["*:81".parse().unwrap()]);
    assert!(Fate::Started.starts_pool() && !Fate::Started.ends_pool());
    assert!(Fate::Removed.ends_pool() && !Fate::Removed.starts_pool());
    let replaced = Fate::Replaced { because: Vec::new() };
    assert!(replaced.starts_pool() && replaced.ends_pool());
    assert!(!Fate::Same.starts_pool() && !Fate::Same.ends_pool());
}

#[test]
fn order_is_no_change_where_it_means_nothing() {
    let mut old = config("api");
    old.apps.push(app("web"));
    old.apps[0].hosts = text(&["a.test", "b.test"]);
    old.apps[0].prefixes = text(&["/a", "/b"]);
    old.apps[0].watch = text(&["*.a", "*.b"]);
    old.edge.http.push("*:81".parse().unwrap());
    let names = text(&["a.test", "b.test"]);
    let (cert_path, key_path) = ("/c".to_owned(), "/k".to_owned());
    old.certs.push(CertFiles { hosts: names, cert_path, key_path });
    let mut bare = rule("bare", "a.test", "/bare");
    bare.methods = Methods::Only(text(&["GET", "PUT"]));
    let remove = HeaderChanges { set: Vec::new(), remove: text(&["A", "B"]) };
    bare.headers = Some(HeaderRules { response: remove, ..HeaderRules::default() });
    old.routes = vec![rule("one", "a.test", "/1"), bare, rule("two", "b.test", "/*")];
    for (index, rule) in old.routes.iter_mut().enumerate() {
        (rule.priority, rule.line) = (index as u32, Some(10 + index as u32));
    }
    let mut new = old.clone();
    new.apps.reverse();
    for app in &mut new.apps {
        app.hosts.reverse();
        app.prefixes.reverse();
        app.watch.reverse();
    }
    new.edge.http.reverse();
    new.certs[0].hosts.reverse();
    new.routes.reverse();
    for (index, rule) in new.routes.iter_mut().enumerate() {
        (rule.priority, rule.line) = (index as u32, None);
        if let Methods::Only(names) = &mut rule.methods {
            names.reverse();
        }
        if let Some(headers) = &mut rule.headers {
            headers.response.remove.reverse();
        }
    }
    assert_eq!(plan(&old, &new).to_string(), "nothing changes");
}

#[test]
fn rules_are_added_removed_changed_and_moved() {
    let mut old = config("api");
    let mut get = rule("get", "a.test", "/x");
    get.methods = Methods::Only(text(&["GET"]));
    let mut put = rule("put", "a.test", "/x");
    put.methods = Methods::Only(text(&["PUT"]));
    old.routes = vec![get.clone(), put.clone(), rule("gone", "*", "/g"), rule("y", "*", "/y")];
    let mut new = old.clone();
    let mut other = rule("y", "*", "/y");
    other.body_limit = Some(1);
    new.routes = vec![rule("new", "a.test", "/x/*"), put.clone(), other, get.clone()];
    let changes = plan(&old, &new).routes;
    assert_eq!(changes.added, ["new"]);
    assert_eq!(changes.removed, ["gone"]);
    assert_eq!(changes.changed, ["y"]);
    assert_eq!(changes.moved, ["put", "get"]);

    // With priorities the place in the declaration decides nothing.
    (get.explicit, get.priority) = (true, 5);
    old.routes = vec![get.clone(), put.clone()];
    new.routes = vec![put.clone(), get.clone()];
    assert!(plan(&old, &new).is_empty());
    (put.explicit, put.priority) = (true, 5);
    old.routes = vec![get.clone(), put.clone()];
    new.routes = vec![put.clone(), get.clone()];
    assert_eq!(plan(&old, &new).routes.moved, ["put", "get"]);
    // Another priority is another rule, and the one beside it stays where it is.
    get.priority = 6;
    new.routes = vec![put, get];
    let changes = plan(&old, &new).routes;
    assert_eq!((changes.changed, changes.moved), (text(&["get"]), Vec::new()));
}

#[test]
fn the_order_of_header_fields_is_part_of_a_rule() {
    let mut old = config("api");
    let set = ["1", "2"].map(|value| ("A".to_owned(), value.to_owned())).to_vec();
    let response = HeaderChanges { set, remove: Vec::new() };
    old.routes[0].action = RouteAction::Headers(HeaderRules { response, ..HeaderRules::default() });
    let mut new = old.clone();
    if let RouteAction::Headers(headers) = &mut new.routes[0].action {
        headers.response.set.reverse();
    }
    assert_eq!(plan(&old, &new).routes.changed, ["*/*"]);
}

#[test]
fn certificates_are_told_by_their_hosts() {
    let cert = |hosts: &[&str], path: &str| CertFiles {
        hosts: text(hosts),
        cert_path: path.to_owned(),
        key_path: "/key".to_owned(),
    };
    let (mut old, mut new) = (config("api"), config("api"));
    old.certs = vec![cert(&["a", "b"], "/1"), cert(&["c"], "/2"), cert(&["d"], "/3")];
    new.certs = vec![cert(&["d"], "/3"), cert(&["b", "a"], "/4"), cert(&["e"], "/5")];
    let NamedChanges { added, removed, changed } = plan(&old, &new).certs;
    assert_eq!((added, removed, changed), (text(&["e"]), text(&["c"]), text(&["a, b"])));
}

#[test]
fn the_edge_changes_at_once_or_after_a_restart() {
    let old = config("api");
    let change = |change: fn(&mut EdgeConfig)| {
        let mut new = old.clone();
        change(&mut new.edge);
        let plan = plan(&old, &new);
        assert!(!plan.is_empty());
        (plan.edge, plan.restart_needed)
    };
    let live = |name: &str| (text(&[name]), Vec::new());
    let late = |name: &str| (Vec::new(), text(&[name]));
    assert_eq!(change(|edge| edge.loops = Some(3)), late("loops"));
    assert_eq!(change(|edge| edge.user = Some("www".to_owned())), late("user"));
    assert_eq!(change(|edge| edge.log.json = true), late("log.json"));
    assert_eq!(change(|edge| edge.log.access = false), late("log.access"));
    assert_eq!(change(|edge| edge.spool_dir = Some("/x".to_owned())), late("spoolDir"));
    assert_eq!(change(|edge| edge.store = Some("/x".to_owned())), live("store"));
    assert_eq!(change(|edge| edge.limits.body_bytes = 1), live("limits.bodyBytes"));
    assert_eq!(change(|edge| edge.limits.connections = Some(1)), live("limits.connections"));
    assert_eq!(change(|edge| edge.limits.per_address = Some(1)), live("limits.perAddress"));
    assert_eq!(change(|edge| edge.limits.spool_memory_bytes = 1), live("limits.spoolMemoryBytes"));
    assert_eq!(change(|edge| edge.limits.spool_disk_bytes = 1), live("limits.spoolDiskBytes"));
    assert_eq!(change(|edge| edge.phases.head *= 2), live("phases.headMs"));
    assert_eq!(change(|edge| edge.phases.body *= 2), live("phases.bodyMs"));
    assert_eq!(change(|edge| edge.phases.idle *= 2), live("phases.idleMs"));
    assert_eq!(change(|edge| edge.phases.write *= 2), live("phases.writeMs"));
    assert_eq!(change(|edge| edge.phases.linger *= 2), live("phases.lingerMs"));
    let listeners = change(|edge| edge.proxy_protocol = edge.http.clone());
    assert_eq!(listeners, live("proxyProtocol"));
    let trusted = change(|edge| edge.trusted_proxies = text(&["10.0.0.0/8"]));
    assert_eq!(trusted, live("trustedProxies"));
    let limited = change(|edge| edge.rate_limit = Some(RateLimit::UNLIMITED));
    assert_eq!(limited, live("rateLimit"));
    assert_eq!(change(|edge| edge.underscores = true), live("underscores"));
    assert_eq!(change(|edge| edge.verify.healthy_apps = false), live("verify.healthyApps"));
    let upstreams = change(|edge| edge.verify.healthy_upstreams = false);
    assert_eq!(upstreams, live("verify.healthyUpstreams"));
    assert_eq!(change(|edge| edge.verify.within *= 2), live("verify.withinMs"));
    assert_eq!(change(|edge| edge.builtin.server = None), live("builtin.server"));
    assert_eq!(change(|edge| edge.builtin.status = None), live("builtin.status"));
}

#[test]
fn every_field_of_files_upstreams_and_site_limits_is_compared() {
    let files = StaticFiles {
        dir: "/srv".to_owned(),
        index: "index.html".to_owned(),
        spa_fallback: None,
        browse: false,
        dotfiles: false,
        cache_control: None,
    };
    let with = |files: StaticFiles| {
        let mut config = config("api");
        config.routes = vec![RouteRule::new("*", "/*", RouteAction::Static(files))];
        config
    };
    let old = with(files.clone());
    for other in [
        StaticFiles { dir: "/x".to_owned(), ..files.clone() },
        StaticFiles { index: "x".to_owned(), ..files.clone() },
        StaticFiles { spa_fallback: Some("x".to_owned()), ..files.clone() },
        StaticFiles { browse: true, ..files.clone() },
        StaticFiles { dotfiles: true, ..files.clone() },
        StaticFiles { cache_control: Some("x".to_owned()), ..files },
    ] {
        assert_eq!(plan(&old, &with(other)).routes.changed, ["*/*"]);
    }
    for change in [
        |rule: &mut RouteRule| rule.compress.enabled = false,
        |rule: &mut RouteRule| rule.compress.streams = true,
        |rule: &mut RouteRule| rule.stream_request = Some(true),
    ] {
        let mut new = old.clone();
        change(&mut new.routes[0]);
        assert_eq!(plan(&old, &new).routes.changed, ["*/*"]);
    }

    let mut old = old;
    old.upstreams = vec![UpstreamDescriptor {
        id: "a".to_owned(),
        targets: text(&["http://a"]),
        host: None,
        ca: None,
        health_check: None,
        attempts: 2,
        connect: limits::CONNECT_TIMEOUT,
        read: limits::READ_TIMEOUT,
    }];
    for change in [
        |it: &mut UpstreamDescriptor| it.targets.push("http://b".to_owned()),
        |it: &mut UpstreamDescriptor| it.host = Some("x".to_owned()),
        |it: &mut UpstreamDescriptor| it.ca = Some("/x".to_owned()),
        |it: &mut UpstreamDescriptor| it.health_check = Some(HealthCheck::default()),
        |it: &mut UpstreamDescriptor| it.attempts = 3,
        |it: &mut UpstreamDescriptor| it.connect *= 2,
        |it: &mut UpstreamDescriptor| it.read *= 2,
    ] {
        let mut new = old.clone();
        change(&mut new.upstreams[0]);
        assert_eq!(plan(&old, &new).upstreams.changed, ["a"]);
    }
    let mut new = old.clone();
    new.upstreams[0].id = "b".to_owned();
    let NamedChanges { added, removed, changed } = plan(&old, &new).upstreams;
    assert_eq!((added, removed, changed), (text(&["b"]), text(&["a"]), Vec::new()));
    let mut new = old.clone();
    new.rate_limits.insert("a.test".to_owned(), RateLimit::UNLIMITED);
    assert_eq!(plan(&old, &new).edge, ["rateLimits"]);
}

#[test]
fn a_plan_is_one_line_for_each_change_and_travels_as_json() {
    let mut old = config("api");
    old.apps.extend([app("cron"), app("old"), app("web")]);
    let mut new = old.clone();
    new.apps.retain(|app| app.id.as_str() != "old");
    new.apps.push(app("new"));
    (new.apps[0].workers, new.apps[0].max_inflight) = (4, 4);
    (new.apps[1].workers, new.apps[1].max_queue) = (1, 5);
    new.apps[2].user = Some("www".to_owned());
    new.edge.http = vec!["*:81".parse().unwrap()];
    new.edge.loops = Some(1);
    new.edge.underscores = true;
    new.routes = vec![rule("a.test/*", "a.test", "/*")];
    let plan = plan(&old, &new);
    let expected = "\
listener added: http *:81
listener removed: http 127.0.0.1:8080
app api scaled: 2 to 4 workers
app cron scaled: 2 to 1 workers; retuned: maxQueue
app web replaced: user
app new started
app old removed
route added: a.test/*
route removed: */*
edge changed: underscores
edge changed, after a restart only: loops";
    assert_eq!(plan.to_string(), expected);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "listeners": { "open": ["*:81"], "close": ["127.0.0.1:8080"], "keep": [] },
            "apps": [
                { "app": "api", "fate": "scaled", "from": 2, "to": 4 },
                {
                    "app": "cron", "fate": "retuned", "what": ["maxQueue"],
                    "scaled": { "from": 2, "to": 1 },
                },
                { "app": "web", "fate": "replaced", "because": ["user"] },
                { "app": "new", "fate": "started" },
                { "app": "old", "fate": "removed" },
            ],
            "routes": { "added": ["a.test/*"], "removed": ["*/*"], "changed": [], "moved": [] },
            "certs": { "added": [], "removed": [], "changed": [] },
            "upstreams": { "added": [], "removed": [], "changed": [] },
            "realtime": { "added": [], "removed": [], "changed": [] },
            "sessions": { "added": [], "removed": [], "changed": [] },
            "edge": ["underscores"],
            "restartNeeded": ["loops"],
        })
    );
    assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);
}

#[test]
fn listeners_of_https_are_told_apart() {
    let mut old = config("api");
    let mut new = old.clone();
    let at = |text: &str| text.parse::<ListenAddress>().unwrap();
    old.edge.http = vec![at(":80"), at(":8080")];
    old.edge.https = vec![at(":443")];
    new.edge.http = vec![at(":80")];
    new.edge.https = vec![at(":8443"), at(":8080")];
    let plan = plan(&old, &new);
    let expected =
        ["listener added: https *:8443", "listener removed: https *:443", "edge changed: https"];
    assert_eq!(plan.lines(), expected);
    assert_eq!(plan.listeners.keep, [at(":80"), at(":8080")]);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn hosts_whose_certificates_come_from_elsewhere_are_named() {
    let files = |host: &str| CertFiles {
        hosts: vec![host.to_owned()],
        cert_path: "/a.crt".to_owned(),
        key_path: "/a.key".to_owned(),
    };
    let mut old = config("api");
    old.acme_hosts = text(&["a.test", "b.test", "c.test"]);
    old.plain_hosts = text(&["d.test"]);
    let mut new = old.clone();
    new.acme_hosts = text(&["c.test", "f.test"]);
    new.auto_hosts = text(&["a.test", "d.test"]);
    new.plain_hosts = Vec::new();
    new.certs = vec![files("b.test"), files("e.test")];
    let plan = plan(&old, &new);
    let expected = [
        "certificate added: b.test",
        "certificate added: e.test",
        "certificate source of a.test: acme → auto",
        "certificate source of b.test: acme → files",
        "certificate source of d.test: off → auto",
        "certificate source of f.test: the default → acme",
    ];
    assert_eq!(plan.lines(), expected);
    let json = serde_json::to_value(&plan).unwrap();
    let first = serde_json::json!({ "host": "a.test", "from": ["acme"], "to": ["auto"] });
    assert_eq!(json["sources"][0], first);
    assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);
    assert!(super::plan(&new, &new).is_empty());
}
