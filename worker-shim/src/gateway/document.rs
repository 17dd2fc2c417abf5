//! The files of a PHP app: which script answers a request, and which file is sent as it is.
//!
//! ```text
//!  /a/b.php/c      the first file on the way is a script: it answers, PATH_INFO is /c
//!  /style.css      a file that is no script: sent
//!  /a/             index.php or index.html in it      /a ─▶ /a/
//!  anything else   index.php of the root: the front controller, which gets the path as REQUEST_URI
//! ```

use super::beneath::Beneath;
use rip::wire::cgi::{self, Located, There};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An app's directory.
#[derive(Debug)]
pub(super) struct Documents {
    root: PathBuf,
    beneath: Beneath,
    /// Answers what nothing else does: a script's name in the root.
    front: Vec<u8>,
    /// It answers everything.
    is_alone: bool,
}

/// Where a path leads.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Leads {
    /// To a script.
    Script {
        /// Its path below the root.
        file: Vec<u8>,
        /// What of the path is left for it.
        path_info: Vec<u8>,
    },
    /// To a file that is sent, by its path below the root.
    File(Vec<u8>),
    /// To a directory, but for a slash at its end.
    Slash,
    /// Nowhere.
    Nowhere,
}

const INDEX: &str = "index.php";
/// What answers for a directory, the first that is there.
const INDEXES: [&str; 2] = [INDEX, "index.html"];

impl Documents {
    /// Those of `entry`, an absolute path: a directory, its `index.php`, which stands for it, or another
    /// script, which answers everything. The directory is the one that links lead to now: a release
    /// that is put in its place later comes with the workers that are started then.
    pub(super) fn new(entry: &Path) -> io::Result<Self> {
        let is_directory = entry.is_dir();
        let (directory, front) = match (entry.parent(), entry.file_name()) {
            (Some(parent), Some(name)) if !is_directory => (parent, name.as_bytes()),
            _ => (entry, INDEX.as_bytes()),
        };
        let root = directory.canonicalize()?;
        let beneath = Beneath::new(&root)?;
        let is_alone = front != INDEX.as_bytes();
        Ok(Self { root, beneath, front: front.to_vec(), is_alone })
    }

    /// The directory, without a slash at its end.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What is opened of it.
    pub(super) fn beneath(&self) -> &Beneath {
        &self.beneath
    }

    /// The absolute path of a file below the root.
    pub(super) fn path_of(&self, file: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(file))
    }

    /// Where `path` leads: a target's, up to its query, still encoded.
    pub(super) fn find(&self, path: &[u8]) -> Leads {
        if self.is_alone {
            return self.front();
        }
        let look = |below: &[u8]| self.beneath.look(below);
        match cgi::locate(path, &INDEXES, is_script, look) {
            Located::Script { file, path_info, .. } if self.leads_to(&file, is_script) => {
                Leads::Script { file, path_info }
            }
            Located::File(file) if !may_hold_source(&file) && self.leads_to(&file, is_sent) => {
                Leads::File(file)
            }
            Located::Slash if self.has_index(path) => Leads::Slash,
            _ => self.front(),
        }
    }

    /// Whether `file` is, links followed, one that may be reached by that name, and that `may`: a link
    /// publishes nothing that its target's own name does not, and as a script it would print it.
    fn leads_to(&self, file: &[u8], may: impl Fn(&[u8]) -> bool) -> bool {
        let target = self.beneath.resolved(file);
        target.is_some_and(|target| !is_hidden(&target) && may(&target))
    }

    fn front(&self) -> Leads {
        match self.beneath.look(&self.front) {
            There::File => Leads::Script { file: self.front.clone(), path_info: Vec::new() },
            _ => Leads::Nowhere,
        }
    }

    /// Whether something answers for the directory at `path`.
    fn has_index(&self, path: &[u8]) -> bool {
        let directory = cgi::decoded(path.strip_prefix(b"/").unwrap_or(path));
        INDEXES.iter().any(|index| {
            let file = [directory.as_slice(), b"/", index.as_bytes()].concat();
            self.beneath.look(&file) == There::File
        })
    }
}

/// Only what is called so is run, whatever the rest of the path looks like.
fn is_script(name: &[u8]) -> bool {
    name.ends_with(b".php")
}

fn is_sent(file: &[u8]) -> bool {
    !may_hold_source(file)
}

/// Whether a name on the way begins with a dot, but for a first `.well-known`. Directories that begin
/// with two are what a cluster's volumes lead through (`..data`).
fn is_hidden(file: &[u8]) -> bool {
    let mut names = file.split(|byte| *byte == b'/').enumerate().peekable();
    while let Some((at, name)) = names.next() {
        let is_way = names.peek().is_some();
        let is_known = (at == 0 && name == b".well-known") || (is_way && name.starts_with(b".."));
        if name.starts_with(b".") && !is_known {
            return true;
        }
    }
    false
}

/// Whether a file is never sent: PHP under another name, as editors and packagers leave it.
fn may_hold_source(file: &[u8]) -> bool {
    const OTHERS: [&[u8]; 6] = [b".phtml", b".phar", b".phps", b".pht", b".inc", b".module"];
    let name = file.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_ascii_lowercase();
    name.windows(4).any(|four| four == b".php") || OTHERS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Tree(PathBuf);

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn tree(name: &str) -> Tree {
        let top = std::env::temp_dir().join(format!("rip-php-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        for directory in
            ["app/sub", "app/pages", "app/css", "app/.git", "app/..2024", "app/x.php.d"]
        {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        for file in [
            "secret.php",
            "app/index.php",
            "app/other.php",
            "app/style.css",
            "app/.env",
            "app/.user.ini",
            "app/sub/index.php",
            "app/sub/evil.jpg",
            "app/pages/index.html",
            "app/css/a.css",
            "app/.git/config",
            "app/config.php.bak",
            "app/index.php~",
            "app/A.PHP",
            "app/lib.inc",
            "app/x.php.d/y.css",
            "app/..2024/map.css",
            "app/..2024/map.php",
        ] {
            fs::write(top.join(file), "").unwrap();
        }
        symlink("../secret.php", top.join("app/out.php")).unwrap();
        symlink("other.php", top.join("app/in.php")).unwrap();
        symlink("/etc/passwd", top.join("app/passwd.txt")).unwrap();
        for (target, link) in [
            ("other.php", "source.txt"),
            ("config.php.bak", "backup.txt"),
            (".env", "env.txt"),
            (".env", "env.php"),
            ("env.txt", "twice.txt"),
            (".git", "git"),
            ("lib.inc", "lib.php"),
            ("css", "looks"),
            ("style.css", "again.css"),
            ("..2024", "..data"),
            ("..data/map.css", "map.css"),
            ("..data/map.php", "map.php"),
        ] {
            symlink(target, top.join("app").join(link)).unwrap();
        }
        Tree(top)
    }

    fn script(file: &str, path_info: &str) -> Leads {
        Leads::Script { file: file.into(), path_info: path_info.into() }
    }

    #[test]
    fn paths_lead_to_scripts_files_and_the_front() {
        let tree = tree("find");
        let front = || script("index.php", "");
        for entry in ["app", "app/index.php"] {
            let documents = Documents::new(&tree.0.join(entry)).unwrap();
            for (path, expected) in [
                ("/", front()),
                ("/index.php", front()),
                ("/index.php/a%20b/c", script("index.php", "/a b/c")),
                ("/other.php", script("other.php", "")),
                ("/in.php", script("in.php", "")),
                ("/sub/", script("sub/index.php", "")),
                ("/sub", Leads::Slash),
                ("/pages/", Leads::File("pages/index.html".into())),
                ("/style.css", Leads::File("style.css".into())),
                ("/x.php.d/y.css", Leads::File("x.php.d/y.css".into())),
                // Unknown: the front decides.
                ("/blog/2024/hello", front()),
                ("/css", front()),
                ("/css/", front()),
                ("/style.css/", front()),
                ("/no.php", front()),
                ("/a%2Fb", front()),
                ("//style.css", front()),
                ("*", front()),
                // Not run, not sent.
                ("/sub/evil.jpg/x.php", front()),
                ("/sub/evil.jpg%00.php", front()),
                ("/.env", front()),
                ("/.user.ini", front()),
                ("/.git/config", front()),
                ("/sub/../../secret.php", front()),
                ("/%2e%2e/secret.php", front()),
                ("/out.php", front()),
                ("/passwd.txt", front()),
                ("/config.php.bak", front()),
                ("/index.php~", front()),
                ("/A.PHP", front()),
                ("/lib.inc", front()),
                // Links that lead to what is sent or run by its own name, and others.
                ("/looks/a.css", Leads::File("looks/a.css".into())),
                ("/again.css", Leads::File("again.css".into())),
                ("/map.css", Leads::File("map.css".into())),
                ("/map.php/a", script("map.php", "/a")),
                ("/source.txt", front()),
                ("/backup.txt", front()),
                ("/env.txt", front()),
                ("/env.php", front()),
                ("/twice.txt", front()),
                ("/git/config", front()),
                ("/lib.php", front()),
                ("/..data/map.css", front()),
            ] {
                assert_eq!(documents.find(path.as_bytes()), expected, "{path}");
            }
        }
    }

    #[test]
    fn another_script_answers_everything() {
        let tree = tree("alone");
        let documents = Documents::new(&tree.0.join("app/other.php")).unwrap();
        for path in ["/", "/style.css", "/index.php", "/sub", "/x"] {
            assert_eq!(documents.find(path.as_bytes()), script("other.php", ""), "{path}");
        }
        fs::remove_file(tree.0.join("app/other.php")).unwrap();
        assert_eq!(documents.find(b"/"), Leads::Nowhere);
        assert_eq!(documents.path_of(b"a/b"), documents.root().join("a/b"));
    }
}
