//! Where a running master is found: the rules that master and command line share.
//!
//! A master owns one directory (mode 0700), called after it, that holds [`PID_FILE`] (locked while
//! the master lives), [`CONTROL_SOCKET`], and one subdirectory named by the master's pid with a
//! socket per worker.

use crate::ids::WorkerId;

/// The master's pid in decimal and a newline; locked (`flock`) while the master lives.
pub const PID_FILE: &str = "master.pid";
/// The control socket, mode 0600.
pub const CONTROL_SOCKET: &str = "ctl.sock";

/// What the environment says about places. An empty variable counts as absent.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// `$RUNTIME_DIRECTORY`: made by the init system for this very service.
    pub runtime_directory: Option<&'a str>,
    /// `$XDG_RUNTIME_DIR`: the user's own.
    pub xdg_runtime_dir: Option<&'a str>,
    /// The effective user id.
    pub uid: u32,
}

/// Where masters may be found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Search {
    /// The directories in this one, each called after its master.
    Children(String),
    /// This very directory.
    Exactly(String),
}

impl<'a> Places<'a> {
    /// The directory of the master called `name` that starts here and now.
    pub fn directory(&self, name: &str) -> String {
        if let Some(given) = self.given() {
            return given.to_owned();
        }
        format!("{}/{name}", self.parents().swap_remove(0))
    }

    /// Every place a master of this user may have chosen, also under another environment, in the
    /// order in which [`Self::directory`] prefers them.
    pub fn search(&self) -> Vec<Search> {
        let mut found: Vec<Search> =
            self.given().map(|given| Search::Exactly(given.to_owned())).into_iter().collect();
        found.extend(self.parents().into_iter().map(Search::Children));
        found
    }

    /// The first of `$RUNTIME_DIRECTORY`, which may list several, separated by colons.
    fn given(&self) -> Option<&'a str> {
        self.runtime_directory?.split(':').find(|path| !path.is_empty())
    }

    fn parents(&self) -> Vec<String> {
        let mut parents = Vec::new();
        if let Some(own) = self.xdg_runtime_dir.filter(|path| !path.is_empty()) {
            parents.push(format!("{}/rip", own.trim_end_matches('/')));
        }
        if self.uid == 0 {
            parents.push("/run/rip".to_owned());
        }
        parents.push(format!("/tmp/rip-{}", self.uid));
        parents
    }
}

/// The file name of a worker's socket.
pub fn worker_socket(worker: WorkerId) -> String {
    format!("{worker}.sock")
}

/// `text` as a name for an app or a master: lower-case letters, digits, `.`, `_` and `-`, at most
/// 40 of them, beginning with a letter or digit. `None` when nothing is left.
pub fn sanitise_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        let kept = match character {
            'a'..='z' | '0'..='9' => character,
            '.' | '_' | '-' if !name.is_empty() => character,
            _ if name.is_empty() || name.ends_with('-') => continue,
            _ => '-',
        };
        name.push(kept);
        if name.len() == NAME_BYTES {
            break;
        }
    }
    let trimmed = name.trim_end_matches(['.', '-', '_']);
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Whether `text` can be a name as it stands.
pub fn is_name(text: &str) -> bool {
    sanitise_name(text).as_deref() == Some(text)
}

/// Longest name: leaves room for the rest of a worker's socket path.
const NAME_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Places<'_> =
        Places { runtime_directory: None, xdg_runtime_dir: None, uid: 1000 };

    #[test]
    fn the_first_place_that_applies_is_taken() {
        let by_init = Places {
            runtime_directory: Some("/run/web:/run/other"),
            xdg_runtime_dir: Some("/run/user/1000/"),
            uid: 1000,
        };
        assert_eq!(by_init.directory("api"), "/run/web");
        let by_user = Places { runtime_directory: Some(""), ..by_init };
        assert_eq!(by_user.directory("api"), "/run/user/1000/rip/api");
        assert_eq!(Places { uid: 0, ..NOWHERE }.directory("api"), "/run/rip/api");
        assert_eq!(NOWHERE.directory("api"), "/tmp/rip-1000/api");
    }

    #[test]
    fn every_place_is_searched() {
        let root = Places {
            runtime_directory: Some("/run/web"),
            xdg_runtime_dir: Some("/run/user/0"),
            uid: 0,
        };
        assert_eq!(
            root.search(),
            [
                Search::Exactly("/run/web".to_owned()),
                Search::Children("/run/user/0/rip".to_owned()),
                Search::Children("/run/rip".to_owned()),
                Search::Children("/tmp/rip-0".to_owned()),
            ]
        );
        assert_eq!(NOWHERE.search(), [Search::Children("/tmp/rip-1000".to_owned())]);
    }

    #[test]
    fn names_are_fit_for_paths_and_hosts() {
        for (text, name) in [
            ("hello", Some("hello")),
            ("My App", Some("my-app")),
            ("../../etc", Some("etc")),
            ("..", None),
            ("", None),
            ("a//b", Some("a-b")),
            ("v1.2_x", Some("v1.2_x")),
            ("Größe", Some("gr-e")),
            ("end.", Some("end")),
        ] {
            assert_eq!(sanitise_name(text).as_deref(), name, "{text:?}");
        }
        assert_eq!(sanitise_name(&"x".repeat(100)).map(|name| name.len()), Some(NAME_BYTES));
        assert!(is_name("api") && !is_name("Api") && !is_name("a/b"));
        assert_eq!(worker_socket(WorkerId(12)), "w12.sock");
    }
}
