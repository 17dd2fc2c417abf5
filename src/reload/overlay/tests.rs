use super::*;
use crate::contract::config::AcmeConfig;
use crate::edgefile::plan::tests::{app, config};

fn to(app: &str) -> Target {
    Target::App(AppId::new(app))
}

fn path(path: &str) -> Target {
    Target::Path { path: path.to_owned(), app: None }
}

/// Hosts and the apps they lead to, by rule.
fn leads(config: &Config) -> Vec<(&str, &str)> {
    let rules = config.routes.iter().map(|rule| match &rule.action {
        RouteAction::ToApp { app_id } => (rule.host.as_str(), app_id.as_str()),
        other => panic!("{other:?}"),
    });
    rules.collect()
}

#[test]
fn a_host_leads_to_an_app_of_the_configuration() {
    let mut overlay = Overlay::default();
    let base = config("api");
    overlay.add("New.Test.", to("api"), &base).unwrap();
    let mut with = base.clone();
    overlay.apply(&mut with).unwrap();
    let [_, rule] = with.routes.as_slice() else { panic!("{:?}", with.routes) };
    assert_eq!((rule.id.as_str(), rule.host.as_str()), ("new.test/*", "new.test"));
    assert_eq!((rule.path_pattern.as_str(), rule.explicit), ("/*", false));
    assert_eq!(rule.action, RouteAction::ToApp { app_id: AppId::new("api") });
    assert_eq!(with.apps, base.apps);

    let removed = overlay.remove("NEW.test").unwrap();
    assert_eq!(removed, Entry { host: "new.test".to_owned(), target: to("api") });
    let mut without = base.clone();
    overlay.apply(&mut without).unwrap();
    assert_eq!(without, base);
}

#[test]
fn what_cannot_be_added_or_removed_is_said() {
    let mut overlay = Overlay::default();
    let mut base = config("api");
    base.routes[0].host = "own.test".to_owned();
    let refused = |overlay: &mut Overlay, host: &str, target| {
        overlay.add(host, target, &base).unwrap_err().to_string()
    };
    let error = refused(&mut overlay, "own.test", to("api"));
    assert_eq!(error, "host 'own.test' is configured already");
    let error = refused(&mut overlay, "new.test", to("web"));
    assert_eq!(error, "there is no app 'web'; there is 'api'");
    let error = refused(&mut overlay, "new.test:80", to("api"));
    assert_eq!(error, "\"new.test:80\" is no host name: it has neither port nor scheme");
    overlay.add("new.test", to("api"), &base).unwrap();
    let error = refused(&mut overlay, "new.test", to("api"));
    assert_eq!(error, "host 'new.test' is added already; remove it first");
    let error = overlay.remove("own.test").unwrap_err().to_string();
    assert_eq!(error, "host 'own.test' was not added while the server runs");
    assert_eq!(overlay.entries().count(), 1);
    let none = overlay.add("b.test", to("web"), &Config::default()).unwrap_err().to_string();
    assert_eq!(none, "there is no app 'web'; there is none");
}

#[test]
fn a_path_brings_its_app_once_for_all_its_hosts() {
    let mut overlay = Overlay::default();
    let base = config("api");
    overlay.add("a.test", path("./shop"), &base).unwrap();
    overlay.add("b.test", path("./shop"), &base).unwrap();
    assert_eq!(overlay.unresolved(), ["./shop"]);
    let mut early = base.clone();
    let idle = overlay.apply(&mut early).unwrap_err();
    assert_eq!(idle[0], "added host 'a.test' has no effect: it is not known what is at './shop'");
    assert_eq!((idle.len(), &early), (2, &base));

    overlay.resolve("./shop", &app("shop"));
    assert!(overlay.unresolved().is_empty());
    overlay.add("c.test", to("shop"), &base).unwrap();
    let mut with = base.clone();
    overlay.apply(&mut with).unwrap();
    assert_eq!(leads(&with)[1..], [("a.test", "shop"), ("b.test", "shop"), ("c.test", "shop")]);
    let ids: Vec<_> = with.apps.iter().map(|app| app.id.as_str()).collect();
    assert_eq!(ids, ["api", "shop"]);
    assert_eq!(with.apps[1].hosts, ["a.test", "b.test"]);

    // Removed and added again it comes last, and is there for the others all the same.
    for host in ["a.test", "b.test"] {
        overlay.remove(host).unwrap();
    }
    overlay.add("d.test", path("./shop"), &base).unwrap();
    overlay.resolve("./shop", &app("shop"));
    let mut with = base.clone();
    overlay.apply(&mut with).unwrap();
    assert_eq!(leads(&with)[1..], [("d.test", "shop"), ("c.test", "shop")]);
}

#[test]
fn an_entry_at_odds_with_a_later_configuration_waits_for_another() {
    let mut overlay = Overlay::default();
    let base = config("api");
    overlay.add("a.test", to("api"), &base).unwrap();
    overlay.add("b.test", path("./shop"), &base).unwrap();
    overlay.add("c.test", to("api"), &base).unwrap();
    overlay.resolve("./shop", &app("shop"));

    let gone = config("web");
    let mut with = gone.clone();
    let idle = overlay.apply(&mut with).unwrap_err();
    let expected = ["a.test", "c.test"]
        .map(|host| format!("added host '{host}' has no effect: there is no app 'api'"));
    assert_eq!(idle, expected);
    assert_eq!(leads(&with), [("*", "web"), ("b.test", "shop")]);

    let mut with = base.clone();
    with.routes[0].host = "a.test".to_owned();
    with.apps.push(app("shop"));
    let mut other = base.routes[0].clone();
    (other.id, other.host) = ("c.test/*".to_owned(), "x.test".to_owned());
    with.routes.push(other);
    let before = with.clone();
    let idle = overlay.apply(&mut with).unwrap_err();
    let expected = [
        "added host 'b.test' has no effect: the configuration has an app 'shop' of its own",
        "added host 'a.test' has no effect: it is configured",
        "added host 'c.test' has no effect: another rule is called 'c.test/*'",
    ];
    assert_eq!((idle.as_slice(), &with), (expected.map(String::from).as_slice(), &before));

    let mut with = base;
    assert_eq!(overlay.apply(&mut with), Ok(()));
    assert_eq!(with.routes.len(), 4);
}

#[test]
fn hosts_are_names_wildcards_or_addresses() {
    let long = format!("{}.test", "a".repeat(63));
    for (text, expected) in [
        ("a", "a"),
        ("LOCALHOST", "localhost"),
        ("a-b.x_y.Test.", "a-b.x_y.test"),
        ("*.a.test", "*.a.test"),
        ("10.0.0.1", "10.0.0.1"),
        ("[0:0::1]", "[::1]"),
        (&long, &long),
    ] {
        assert_eq!(host(text).as_deref(), Ok(expected));
    }
    let longer = "a".repeat(64);
    let longest = ["a".repeat(62).as_str(); 5].join(".");
    for text in [
        "", ".", "*", "*.", "a..b", ".a", "a*.b", "*.*.a", "a.*.b", "a:80", "http://a", "[::1",
        "[a]", "[::1]:80", "::1", "a b", "a/b", "é.test", "-a.b", "a-.b", "a\0b", "a\r\nb",
        &longer, &longest,
    ] {
        assert!(matches!(host(text), Err(Refusal::Malformed { .. })), "{text:?}");
    }
}

#[test]
fn a_host_gets_its_certificate_as_its_neighbours_do() {
    let mut overlay = Overlay::default();
    let base = config("api");
    let app = || Target::App(AppId::new("api"));
    overlay.add("added.example.com", app(), &base).unwrap();
    overlay.add("added.local", app(), &base).unwrap();
    let made = |config: &Config| {
        let mut config = config.clone();
        overlay.apply(&mut config).unwrap();
        (config.acme_hosts, config.auto_hosts)
    };
    let mut secure = base.clone();
    secure.edge.tls.acme = Some(AcmeConfig {
        email: None,
        directory: AcmeConfig::LETS_ENCRYPT.to_owned(),
        ca: None,
        fallback: Default::default(),
    });
    assert_eq!(made(&secure), (vec![], vec![]), "nothing is served over HTTPS");
    secure.edge.https.push(":443".parse().unwrap());
    let acme = vec!["added.example.com".to_owned()];
    assert_eq!(made(&secure), (acme, vec![]));
    secure.edge.tls.acme = None;
    secure.auto_hosts.push("a.local".to_owned());
    let auto = ["a.local", "added.example.com", "added.local"].map(str::to_owned).to_vec();
    assert_eq!(made(&secure), (vec![], auto));
    secure.auto_hosts.push("added.local".to_owned());
    assert_eq!(made(&secure).1.len(), 3, "none is asked for twice");
}
