//! The way to a file: the directories in which a change can make it another one.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The directory of the file at `path`, absolute, and that of each symbolic link on the way to it.
pub fn places(path: &Path) -> Vec<PathBuf> {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components().map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut places = Vec::new();
    let mut real = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = parts(path).into();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match Path::new(&part).components().next() {
            None | Some(Component::CurDir) => continue,
            Some(Component::ParentDir) => {
                real.pop();
                continue;
            }
            Some(Component::RootDir | Component::Prefix(_)) => {
                real = PathBuf::from("/");
                continue;
            }
            Some(Component::Normal(_)) => {}
        }
        let next = real.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < LINK_COUNT => {
                links += 1;
                places.push(real.clone());
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
            }
            _ => real = next,
        }
    }
    places.extend(real.parent().map(Path::to_owned));
    places.sort();
    places.dedup();
    places
}

/// Links that are followed, as many as the kernel does.
const LINK_COUNT: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_directory_that_leads_to_it_is_named() {
        let dir = TestDir::make();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("..1")).unwrap();
        fs::write(root.join("..1/Edgefile"), "").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/Edgefile", root.join("Edgefile")).unwrap();
        assert_eq!(places(&root.join("Edgefile")), [root.clone(), root.join("..1")]);
        assert_eq!(places(&root.join("..1/Edgefile")), [root.join("..1")]);
        fs::create_dir(root.join("srv")).unwrap();
        symlink(root.join("..1"), root.join("srv/current")).unwrap();
        assert_eq!(
            places(&root.join("srv/current/Edgefile")),
            [root.join("..1"), root.join("srv")]
        );
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(places(&root.join("loop")), [root]);
    }
}
