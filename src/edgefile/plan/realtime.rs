//! What becomes of the places where WebSocket clients come.

use super::NamedChanges;
use crate::contract::config::Config;
use crate::contract::realtime::RealtimeConfig;

/// A place has gone when no other takes its clients over: the same app at the same path, for its hosts
/// or more. What an app has without asking is told of only where clients lose it.
pub(super) fn realtime_changes(old: &Config, new: &Config) -> NamedChanges {
    let (before, after) = (Places::of(old), Places::of(new));
    let mut changes = NamedChanges::default();
    let mut heirs: Vec<&RealtimeConfig> = Vec::new();
    for place in before.all() {
        match after.heir_of(place) {
            Some(heir) => {
                if heir != place && !heirs.contains(&heir) {
                    changes.changed.push(heir.to_string());
                }
                heirs.push(heir);
            }
            // That an app is gone is told as such.
            None if place.explicit || new.apps.iter().any(|app| app.id == place.app_id) => {
                changes.removed.push(place.to_string());
            }
            None => {}
        }
    }
    let added = after.named.iter().filter(|place| !heirs.contains(place));
    changes.added.extend(added.map(ToString::to_string));
    changes
}

/// The places of one configuration.
struct Places<'c> {
    named: &'c [RealtimeConfig],
    /// What every other app has.
    unasked: Vec<RealtimeConfig>,
}

impl<'c> Places<'c> {
    fn of(config: &'c Config) -> Self {
        let is_named = |app| config.realtime.iter().any(|place| place.app_id == app);
        let unasked = (config.apps.iter())
            .filter(|app| !is_named(app.id.clone()))
            .map(|app| RealtimeConfig::unasked(app.id.clone(), &app.realtime_path))
            .collect();
        Self { named: &config.realtime, unasked }
    }

    fn all(&self) -> impl Iterator<Item = &RealtimeConfig> {
        self.named.iter().chain(&self.unasked)
    }

    fn heir_of(&self, earlier: &RealtimeConfig) -> Option<&RealtimeConfig> {
        let takes_over = |place: &&RealtimeConfig| place.takes_over(earlier);
        self.named.iter().find(takes_over).or_else(|| {
            let is_it = |place: &&RealtimeConfig| {
                place.app_id == earlier.app_id && place.path == earlier.path
            };
            self.unasked.iter().find(is_it)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::super::tests::{app, config};
    use super::*;

    fn place(hosts: &[&str], path: &str, app: &str) -> RealtimeConfig {
        let mut place = RealtimeConfig::new(path, crate::ids::AppId::new(app), "/v1/realtime");
        place.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        place
    }

    /// The lines of a plan from these places to those, of the apps `api` and `web`.
    fn lines(before: &[RealtimeConfig], after: &[RealtimeConfig]) -> Vec<String> {
        let mut old = config("api");
        old.apps.push(app("web"));
        let mut new = old.clone();
        (old.realtime, new.realtime) = (before.to_vec(), after.to_vec());
        let plan = plan(&old, &new);
        assert_eq!(plan.is_empty(), plan.lines().is_empty());
        plan.lines()
    }

    #[test]
    fn whose_clients_are_closed_is_said() {
        let live = || place(&["a.test"], "/live", "api");
        assert_eq!(lines(&[live()], &[live()]), [""; 0]);
        assert_eq!(
            lines(&[live()], &[place(&["a.test"], "/other", "api")]),
            [
                "realtime added: a.test /other → api",
                "realtime removed: a.test /live → api (its clients are closed)",
            ]
        );
        assert_eq!(
            lines(&[live()], &[place(&["b.test", "a.test"], "/live", "api")]),
            ["realtime changed: b.test, a.test /live → api"]
        );
        let mut open = live();
        open.origins.push("*".to_owned());
        assert_eq!(lines(&[live()], &[open]), ["realtime changed: a.test /live → api"]);
        assert_eq!(
            lines(&[live()], &[place(&["a.test"], "/live", "web")]),
            [
                "realtime added: a.test /live → web",
                "realtime removed: a.test /live → api (its clients are closed)",
                "realtime removed: /realtime → web (its clients are closed)",
            ]
        );
    }

    #[test]
    fn what_an_app_has_unasked_is_told_of_where_it_matters() {
        let asked = || place(&["a.test"], "/realtime", "api");
        assert_eq!(lines(&[], &[asked()]), ["realtime changed: a.test /realtime → api"]);
        assert_eq!(lines(&[asked()], &[]), ["realtime changed: /realtime → api"]);
        let (old, mut new) = (config("api"), config("api"));
        new.apps.push(app("web"));
        for (before, after) in [(&old, &new), (&new, &old)] {
            assert_eq!(realtime_changes(before, after), NamedChanges::default());
        }
    }
}
