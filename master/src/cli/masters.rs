//! Which masters run, and which one is meant.

use super::exit::{Exit, Failure};
use crate::control::is_trusted;
use crate::sys::lock::PidFile;
use nix::unistd::geteuid;
use rip::wire::runtime_dir::{CONTROL_SOCKET, PID_FILE, Places, Search};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A master that runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Master {
    /// What it is called.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Its runtime directory.
    pub directory: PathBuf,
    /// It is the service this very command belongs to (`$RUNTIME_DIRECTORY`).
    own: bool,
}

impl Master {
    /// Where it answers.
    pub fn control_socket(&self) -> PathBuf {
        self.directory.join(CONTROL_SOCKET)
    }

    /// Whether it is still this process that holds the name.
    pub fn is_alive(&self) -> bool {
        holder(&self.directory) == Some(self.pid)
    }
}

/// The master called `name`, or without a name the only one that runs.
///
/// # Errors
/// None runs (exit 1), or several do (exit 2).
pub fn select(name: Option<&str>) -> Result<Master, Failure> {
    let variable = |name| std::env::var(name).ok();
    let (given, user) = (variable("RUNTIME_DIRECTORY"), variable("XDG_RUNTIME_DIR"));
    let places = Places {
        runtime_directory: given.as_deref(),
        xdg_runtime_dir: user.as_deref(),
        uid: geteuid().as_raw(),
    };
    let search = places.search();
    choose(name, running(&search), &search)
}

/// Every living master in the given places.
fn running(search: &[Search]) -> Vec<Master> {
    let mut found: Vec<Master> = Vec::new();
    for place in search {
        let (directories, own) = match place {
            Search::Exactly(path) => (vec![PathBuf::from(path)], true),
            Search::Children(path) => (subdirectories(Path::new(path)), false),
        };
        for directory in directories.into_iter().filter(|directory| is_ours(directory)) {
            let Some(pid) = holder(&directory) else { continue };
            let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
            if found.iter().all(|master| master.pid != pid) {
                found.push(Master { name: name.unwrap_or_default(), pid, directory, own });
            }
        }
    }
    found
}

fn choose(
    name: Option<&str>,
    mut masters: Vec<Master>,
    search: &[Search],
) -> Result<Master, Failure> {
    let names = masters.iter().map(|master| master.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = match name {
        Some(name) => masters.iter().position(|master| master.name == name),
        None if masters.len() == 1 => Some(0),
        None => masters.iter().position(|master| master.own),
    };
    match (wanted, name) {
        (Some(index), _) => Ok(masters.swap_remove(index)),
        (None, None) if !masters.is_empty() => {
            Err(Failure::usage(format!("several masters run: {names}"))
                .tip("say which one: --name NAME"))
        }
        (None, name) => {
            let what = name.map_or_else(
                || "no master is running".to_owned(),
                |name| format!("no master called '{name}' is running"),
            );
            let failure = Failure::new(Exit::Failed, what);
            Err(if masters.is_empty() {
                let path = |place| match place {
                    &Search::Children(ref path) | &Search::Exactly(ref path) => path.as_str(),
                };
                let looked: Vec<_> = search.iter().map(path).collect();
                failure.tip(format!("looked in {}", looked.join(", ")))
            } else {
                failure.tip(format!("running: {names}"))
            })
        }
    }
}

fn holder(directory: &Path) -> Option<u32> {
    PidFile::holder(&directory.join(PID_FILE)).ok().flatten()
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// In a shared place such as `/tmp` anybody could have put a directory with a false master. Root also asks
/// the masters of others, where root alone can have made their directory: services run as users of their own.
fn is_ours(directory: &Path) -> bool {
    fs::symlink_metadata(directory)
        .is_ok_and(|found| found.is_dir() && is_trusted(directory, found.uid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Scene {
        root: PathBuf,
        claims: Vec<PidFile>,
    }

    impl Scene {
        fn new(name: &str, alive: &[&str], dead: &[&str]) -> Self {
            let root =
                std::env::temp_dir().join(format!("rip-masters-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            for directory in alive.iter().chain(dead) {
                fs::create_dir_all(root.join(directory)).unwrap();
                fs::write(root.join(directory).join(PID_FILE), "4711\n").unwrap();
            }
            let claim = |name: &&str| PidFile::acquire(&root.join(name).join(PID_FILE)).unwrap();
            let claims = alive.iter().map(claim).collect();
            Self { root, claims }
        }

        fn search(&self) -> [Search; 1] {
            [Search::Children(self.root.to_str().unwrap().to_owned())]
        }

        fn select(&self, name: Option<&str>) -> Result<Master, Failure> {
            let search = self.search();
            choose(name, self.all(&search), &search)
        }

        /// One process holds all of the locks here, so the same pid must count as often.
        fn all(&self, search: &[Search]) -> Vec<Master> {
            let Search::Children(root) = &search[0] else { return Vec::new() };
            subdirectories(Path::new(root))
                .into_iter()
                .flat_map(|path| running(&[Search::Exactly(path.to_str().unwrap().to_owned())]))
                .map(|master| Master { own: false, ..master })
                .collect()
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.claims.clear();
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn the_only_living_one_is_meant() {
        let scene = Scene::new("one", &["api"], &["old"]);
        let master = scene.select(None).unwrap();
        assert_eq!((master.name.as_str(), master.pid), ("api", std::process::id()));
        assert!(master.is_alive());
        assert_eq!(master.control_socket(), scene.root.join("api/ctl.sock"));
        assert_eq!(running(&scene.search()).len(), 1);
        let failure = scene.select(Some("old")).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.message, "no master called 'old' is running");
        assert_eq!(failure.tips, ["running: api"]);
    }

    #[test]
    fn none_is_a_failure_that_says_where_it_looked() {
        let scene = Scene::new("none", &[], &["old"]);
        let failure = scene.select(None).unwrap_err();
        assert_eq!((failure.exit.code(), failure.message.as_str()), (1, "no master is running"));
        assert!(failure.tips[0].contains(scene.root.to_str().unwrap()));
    }

    #[test]
    fn several_must_be_told_apart() {
        let scene = Scene::new("several", &["api", "web"], &[]);
        let failure = scene.select(None).unwrap_err();
        assert_eq!(
            (failure.exit.code(), failure.message.as_str()),
            (2, "several masters run: api, web")
        );
        assert_eq!(scene.select(Some("web")).unwrap().name, "web");
        let search = scene.search();
        let mut masters = scene.all(&search);
        masters[1].own = true;
        assert_eq!(choose(None, masters, &search).unwrap().name, "web");
    }

    #[test]
    fn root_asks_masters_of_others_where_root_alone_can_have_made_their_place() {
        if !geteuid().is_root() {
            return;
        }
        let scene = Scene::new("others", &["service"], &[]);
        let other = Some(nix::unistd::Uid::from_raw(65_534));
        nix::unistd::chown(&scene.root.join("service"), other, None).unwrap();
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(&scene.root, mode(0o755)).unwrap();
        assert_eq!(scene.select(None).unwrap().name, "service");
        for shared in [0o777, 0o775, 0o1777] {
            fs::set_permissions(&scene.root, mode(shared)).unwrap();
            assert_eq!(running(&scene.search()), [], "{shared:o}");
        }
        fs::set_permissions(&scene.root, mode(0o755)).unwrap();
        nix::unistd::chown(&scene.root, other, None).unwrap();
        assert_eq!(running(&scene.search()), [], "whoever owns the place makes what he likes");
    }

    #[test]
    fn a_place_that_is_not_there_holds_nobody() {
        assert!(running(&[Search::Children("/nowhere/at/all".to_owned())]).is_empty());
        assert!(running(&[Search::Exactly("/nowhere/at/all".to_owned())]).is_empty());
    }
}
