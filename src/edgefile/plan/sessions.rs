//! What becomes of the places where sessions are served.

use super::NamedChanges;
use crate::contract::sessions::SessionsConfig;
use std::collections::BTreeMap;

/// A mount is another one when its sessions are: they belong to its first host, its path and its app.
pub(super) fn session_changes(old: &[SessionsConfig], new: &[SessionsConfig]) -> NamedChanges {
    fn scopes(mounts: &[SessionsConfig]) -> BTreeMap<String, &SessionsConfig> {
        mounts.iter().map(|mount| (mount.scope(), mount)).collect()
    }
    let (before, after) = (scopes(old), scopes(new));
    let mut changes = NamedChanges::default();
    for (scope, mount) in &after {
        match before.get(scope) {
            None => changes.added.push(mount.to_string()),
            Some(old) if old != mount => changes.changed.push(mount.to_string()),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(scope, _)| !after.contains_key(*scope));
    changes.removed = gone.map(|(_, mount)| mount.to_string()).collect();
    changes
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::super::tests::config;
    use super::*;
    use crate::contract::sessions::OnDisconnect;
    use crate::ids::AppId;

    fn mount(hosts: &[&str], path: &str) -> SessionsConfig {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        SessionsConfig { hosts, ..SessionsConfig::new(path, AppId::new("api")) }
    }

    fn lines(before: &[SessionsConfig], after: &[SessionsConfig]) -> Vec<String> {
        let (mut old, mut new) = (config("api"), config("api"));
        (old.sessions, new.sessions) = (before.to_vec(), after.to_vec());
        let plan = plan(&old, &new);
        assert_eq!(plan.is_empty(), plan.lines().is_empty());
        plan.lines()
    }

    #[test]
    fn whose_sessions_are_served_no_longer_is_said() {
        let chat = || mount(&["a.test", "b.test"], "/v1");
        assert_eq!(lines(&[chat()], &[chat()]), [""; 0]);
        assert_eq!(lines(&[], &[chat()]), ["sessions added: a.test, b.test /v1 → api"]);
        let cancels = SessionsConfig { on_disconnect: OnDisconnect::Cancel, ..chat() };
        assert_eq!(lines(&[chat()], &[cancels]), ["sessions changed: a.test, b.test /v1 → api"]);
        assert_eq!(
            lines(&[chat()], &[mount(&["b.test", "a.test"], "/v1")]),
            [
                "sessions added: b.test, a.test /v1 → api",
                "sessions removed: a.test, b.test /v1 → api (its sessions are kept, and served no \
                 longer)",
            ]
        );
    }
}
