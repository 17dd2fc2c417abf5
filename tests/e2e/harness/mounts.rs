//! Disks of a test's own, which nobody else of this machine sees: small ones, and ones that may not
//! be written.

use super::tools;
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk in memory, at a directory of a test's.
pub struct Disk {
    path: PathBuf,
}

/// Runs a test whose mounts are its own, and those of what it starts.
///
/// # Panics
/// Where that cannot be, which takes the rights of root. And when the test does.
pub fn alone(test: impl FnOnce() + Send + 'static) {
    let here = std::thread::current().name().unwrap_or("mounts").to_owned();
    let thread = std::thread::Builder::new().name(here).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS)
            .expect("a mount namespace: run this test as root, where it may make them");
        mount(&["--make-rprivate", "/"]);
        test();
    });
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

impl Disk {
    /// A disk of so many kilobytes at `path`, a directory that is made.
    #[track_caller]
    pub fn at(path: PathBuf, kilobytes: usize) -> Self {
        fs::create_dir_all(&path).expect("a directory");
        let size = format!("size={kilobytes}k,mode=0700");
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs", shown(&path)]);
        Self { path }
    }

    /// From here on it may be written, or not. Nobody has a file of it open to write.
    #[track_caller]
    pub fn is_writable(&self, is_writable: bool) {
        let how = if is_writable { "remount,rw" } else { "remount,ro" };
        mount(&["-o", how, shown(&self.path)]);
    }

    /// Fills it to the last byte.
    #[track_caller]
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("a file on it");
        loop {
            match file.write(&[0x5a; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes away what it was filled with.
    #[track_caller]
    pub fn clear(&self) {
        fs::remove_file(self.ballast()).expect("what it was filled with");
    }

    /// Takes the disk away, with all that is on it. Nobody uses it.
    #[track_caller]
    pub fn remove(self) {
        let output = tools::finish(Command::new("umount").arg(&self.path));
        assert!(output.status.success(), "{}", tools::both(&output));
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[track_caller]
fn mount(words: &[&str]) {
    let output = tools::finish(Command::new("mount").args(words));
    assert!(output.status.success(), "mount {words:?}: {}", tools::both(&output));
}
