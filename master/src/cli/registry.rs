//! The hosts that a running master serves, and those that are added to them for as long as it runs.

use super::answer::{AddedHost, Addition, Attempt, Registry};
use super::args::{AddHost, Ask, RemoveHost};
use super::client::Reply;
use super::ctl::{Question, accepted, say, understood};
use super::entry;
use super::exit::{Exit, Failure};
use super::order::What;
use super::plain;
use super::reload::attempted;
use super::table::{Align, Paint, Table, Tone};
use serde_json::{Map, Value};
use std::path::Path;

/// Shows which hosts are served.
///
/// # Errors
/// No master, or one that does not answer.
pub fn hosts(flags: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(flags)?.get("/registry")?;
    if flags.json {
        return say(&reply.body);
    }
    let registry: Registry = understood(&reply)?;
    say(&table(&registry, Paint::for_stdout()))
}

/// Serves one more host.
///
/// # Errors
/// No master or app, a host that is served already, a path that cannot be started.
pub fn add(flags: &AddHost) -> Result<Exit, Failure> {
    let what = What::new("addition", "/registry", &flags.order);
    let body = asked(&flags.host, flags.target.as_deref())?;
    let reply = what.give(body)?;
    told(&what, &reply, |added| {
        let until = added.until.as_deref().unwrap_or("the master restarts");
        let mut text = format!("{} is served until {until}\n", flags.host);
        for detail in &added.details {
            text.push_str(&format!("  {detail}\n"));
        }
        text
    })
}

/// Serves a host no longer that was added.
///
/// # Errors
/// No master, or a host that was not added.
pub fn remove(flags: &RemoveHost) -> Result<Exit, Failure> {
    let what = What { method: "DELETE", ..What::new("removal", "/registry", &flags.order) };
    let body = Map::from_iter([("host".to_owned(), flags.host.as_str().into())]);
    let reply = what.give(body)?;
    told(&what, &reply, |_| format!("{} is served no longer", flags.host))
}

/// Says what the master answered: of an attempt that failed what failed, else what is true now.
fn told(
    what: &What<'_>,
    reply: &Reply,
    done: impl FnOnce(&Addition) -> String,
) -> Result<Exit, Failure> {
    let result = plain::read::<Attempt>(&reply.body).unwrap_or_default().result;
    let is_attempt = !matches!(result.as_str(), "" | "applied");
    if what.flags.json || what.flags.no_wait || is_attempt {
        return attempted(what, reply);
    }
    say(&done(&understood(&accepted(reply.clone())?)?))
}

/// The body of the order: a path is made absolute, because the master runs elsewhere.
fn asked(host: &str, target: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::from_iter([("host".to_owned(), host.into())]);
    let Some(target) = target else { return Ok(body) };
    let is_path = target.contains('/') || target.starts_with('.') || Path::new(target).is_file();
    let (name, value) = if target.starts_with("builtin:") {
        ("path", target.to_owned())
    } else if is_path {
        let path = std::path::absolute(target).unwrap_or_else(|_| target.into());
        ("path", entry::text(&path)?)
    } else if target.contains(':') {
        return Err(Failure::usage(format!("'{target}' is neither a path nor an app"))
            .tip("a module is found from its directory only: name the file, ./pkg/module.py:app"));
    } else {
        ("app", target.to_owned())
    };
    body.insert(name.to_owned(), value.into());
    Ok(body)
}

fn table(registry: &Registry, paint: Paint) -> String {
    let mut table =
        Table::new(&[("HOST", Align::Left), ("APP", Align::Left), ("ADDED", Align::Left)]);
    let idle = registry.added.iter().map(|added| &added.host);
    let idle = idle.filter(|host| !registry.hosts.contains(host));
    for host in registry.hosts.iter().chain(idle) {
        let apps: Vec<String> = registry
            .apps
            .iter()
            .filter(|(_, hosts)| hosts.contains(host))
            .map(|(app, _)| app.to_string())
            .collect();
        let added = registry.added.iter().find(|added| added.host == *host);
        // The Edgefile goes before what was added, and may have other apps by now.
        let is_idle = |added: &AddedHost| {
            added.app.as_ref().is_some_and(|app| !apps.contains(&app.to_string()))
        };
        let how = match added {
            Some(added) if is_idle(added) => "without effect".to_owned(),
            Some(AddedHost { path: Some(path), .. }) => format!("from {path}"),
            Some(_) => "yes".to_owned(),
            None => String::new(),
        };
        let usual = |text: String| (text, Tone::Usual);
        table.row([usual(host.clone()), usual(apps.join(", ")), usual(how)]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_an_app_or_a_path() {
        let body = |target| Value::Object(asked("a.local", target).unwrap()).to_string();
        assert_eq!(body(None), r#"{"host":"a.local"}"#);
        assert_eq!(body(Some("api")), r#"{"app":"api","host":"a.local"}"#);
        let here = std::env::current_dir().unwrap();
        let path = here.join("shop/app.py:make");
        let expected = format!(r#"{{"host":"a.local","path":"{}"}}"#, path.display());
        assert_eq!(body(Some("./shop/app.py:make")), expected);
        let builtin = r#"{"host":"a.local","path":"builtin:hello"}"#;
        assert_eq!(body(Some("builtin:hello")), builtin);
        assert_eq!(asked("a.local", Some("pkg.mod:app")).unwrap_err().exit.code(), 2);
    }

    #[test]
    fn hosts_are_a_table() {
        let registry: Registry = serde_json::from_str(
            r#"{"ok":true,"hosts":["a.example.com","b.local","c.local"],
                "apps":{"api":["a.example.com"],"shop":["b.local"]},
                "added":[{"host":"b.local","app":"shop","path":"/srv/shop"},
                         {"host":"c.local","app":"hello","path":"builtin:hello"},
                         {"host":"d.local","app":"gone"}]}"#,
        )
        .unwrap();
        let golden = "\
HOST           APP   ADDED
a.example.com  api   -
b.local        shop  from /srv/shop
c.local        -     without effect
d.local        -     without effect
";
        assert_eq!(table(&registry, Paint::Plain), golden);
        assert_eq!(table(&Registry::default(), Paint::Plain), "HOST  APP  ADDED\n");
    }
}
