//! The environment of an app's process: the master's own (with the names of the user the app runs
//! as), then `.env` beside the entry (which never overrides), then the app's, then ours.

use crate::env_file::EnvFile;
use crate::identity::Identity;
use rip::contract::app::Reload;
use rip::wire::spec::WorkerSpec;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The environment, sorted by name.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Meant for the master, or secret: never the app's.
const WITHHELD: [&str; 11] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "MAINPID",
    "NOTIFY_SOCKET",
    "RIP_PUBLISH_SECRET",
    "RIP_STATUS_FD",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "RIP_WORKER_SOCKET",
];

/// Where the master's user keeps things: no other user has a right to them.
const OF_THE_MASTERS_USER: &str = "XDG_RUNTIME_DIR";

/// What an environment is made from besides the spec and the master's.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The user it runs as, if the operator named one.
    pub identity: Option<&'a Identity>,
    /// Its `.env`.
    pub env_file: &'a EnvFile,
}

/// Builds the environment. `port` is set where the app listens on one; `inherits_listener` says that
/// descriptor 3 is the listener.
pub(crate) fn environment(
    spec: &WorkerSpec,
    inherited: impl Iterator<Item = (OsString, OsString)>,
    around: Surroundings<'_>,
    port: Option<u16>,
    inherits_listener: bool,
) -> Environment {
    let mut env: Environment = inherited.collect();
    if let Some(identity) = around.identity {
        env.extend(identity.login().map(|(name, value)| (name.into(), value)));
        if identity.changes() {
            env.remove(OsStr::new(OF_THE_MASTERS_USER));
        }
    }
    // Of two assignments of the file the later is meant; neither overrides.
    for (name, value) in around.env_file.assignments().into_iter().rev() {
        env.entry(name.into()).or_insert_with(|| value.into());
    }
    env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.into())));
    env.retain(|name, value| passes(name) && !value.as_encoded_bytes().contains(&0));

    let mut set = |name: &str, value: String| env.insert(name.into(), value.into());
    set("RIP_APP_ID", spec.app_id.to_string());
    set("RIP_WORKER_ID", spec.worker_id.0.to_string());
    set("RIP_GENERATION", spec.generation.0.to_string());
    set("RIP_WORKER_SOCKET", spec.socket.clone());
    set("RIP_URLS", spec.urls.join(","));
    set("RIP_RELOAD", reload_text(spec.reload).to_owned());
    set("RIP_STATUS_FD", crate::host::STATUS_FD.to_string());
    if inherits_listener {
        set("LISTEN_FDS", "1".to_owned());
        set("LISTEN_FDNAMES", "http".to_owned());
    }
    if let Some(port) = port {
        set("PORT", port.to_string());
    }
    env
}

fn reload_text(reload: Reload) -> &'static str {
    match reload {
        Reload::Module => "module",
        Reload::None => "none",
        Reload::Process => "process",
    }
}

/// Not withheld, and a name that exec can carry.
fn passes(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    !bytes.is_empty()
        && !bytes.contains(&b'=')
        && !bytes.contains(&0)
        && !WITHHELD.iter().any(|withheld| name == *withheld)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;
    use std::path::Path;

    fn built(inherited: &[(&str, &str)], port: Option<u16>, fd: bool) -> Environment {
        let mut spec = spec();
        spec.env.insert("APP".to_owned(), "app".to_owned());
        spec.env.insert("NOTIFY_SOCKET".to_owned(), "app".to_owned());
        spec.env.insert("BAD=NAME".to_owned(), "x".to_owned());
        let inherited = inherited.iter().map(|(name, value)| (name.into(), value.into()));
        let env_file = EnvFile::beside(Path::new("/nonexistent"));
        let around = Surroundings { identity: None, env_file: &env_file };
        environment(&spec, inherited, around, port, fd)
    }

    fn value<'a>(env: &'a Environment, name: &str) -> Option<&'a str> {
        env.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    #[test]
    fn the_apps_settings_win_and_ours_win_over_them() {
        let env = built(&[("APP", "master"), ("HOME", "/h"), ("RIP_APP_ID", "x")], None, true);
        assert_eq!(value(&env, "APP"), Some("app"));
        assert_eq!(value(&env, "HOME"), Some("/h"));
        assert_eq!(value(&env, "RIP_APP_ID"), Some("api"));
        assert_eq!(value(&env, "RIP_WORKER_ID"), Some("3"));
        assert_eq!(value(&env, "RIP_URLS"), Some("http://a/,http://b/"));
        assert_eq!(value(&env, "LISTEN_FDS"), Some("1"));
        assert_eq!(value(&env, "PORT"), None);
    }

    #[test]
    fn what_is_the_masters_stays_with_the_master() {
        let inherited = [
            ("NOTIFY_SOCKET", "/n"),
            ("RIP_PUBLISH_SECRET", "s"),
            ("LISTEN_FDS", "3"),
            ("LISTEN_PID", "9"),
            ("WATCHDOG_USEC", "9"),
        ];
        let env = built(&inherited, Some(8), false);
        for (name, _) in inherited {
            assert_eq!(value(&env, name), None, "{name}");
        }
        assert_eq!(value(&env, "BAD=NAME"), None);
        assert_eq!(value(&env, "PORT"), Some("8"));
        assert!(!env.values().any(|value| value == "secret-token"));
    }
}
