//! The files a CGI gateway serves: one script that answers everything, or a directory of scripts.

use rip::wire::cgi::{self, Located, There};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where scripts lie.
pub(super) enum Site {
    /// This script answers every path.
    One { script: PathBuf, root: PathBuf },
    /// The first file on the way of a path answers it.
    Directory(PathBuf),
}

/// Which script a request is for.
pub(super) struct Place {
    /// The script's file.
    pub file: PathBuf,
    /// The directory of the scripts.
    pub root: PathBuf,
    /// What of the path named it.
    pub name: Vec<u8>,
    /// What of the path is left.
    pub path_info: Vec<u8>,
}

/// Where a request's path leads.
pub(super) enum Leads {
    To(Box<Place>),
    /// To a directory, but for a slash at its end.
    Slash,
    Nowhere,
}

/// What answers for a directory, the first that is there.
const INDEXES: [&str; 5] = ["index.cgi", "index.sh", "index.pl", "index.py", "index.rb"];

impl Site {
    /// The site of `entry`, an absolute path.
    pub(super) fn new(entry: PathBuf) -> Self {
        if entry.is_dir() {
            return Self::Directory(entry);
        }
        let root = entry.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        Self::One { script: entry, root }
    }

    /// Where the path of `target` leads. Links are followed: whoever puts one among scripts wants it.
    pub(super) fn find(&self, target: &[u8]) -> Leads {
        match self {
            Self::One { script, root } => Leads::To(Box::new(Place {
                file: script.clone(),
                root: root.clone(),
                name: Vec::new(),
                path_info: cgi::decoded_path(target),
            })),
            Self::Directory(root) => {
                let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
                match cgi::locate(path, &INDEXES, |_| true, |below| look(root, below)) {
                    Located::Script { file, name, path_info } => Leads::To(Box::new(Place {
                        file: root.join(OsString::from_vec(file)),
                        root: root.clone(),
                        name,
                        path_info,
                    })),
                    Located::Slash => Leads::Slash,
                    Located::File(_) | Located::Absent => Leads::Nowhere,
                }
            }
        }
    }
}

fn look(root: &Path, below: &[u8]) -> There {
    match root.join(OsStr::from_bytes(below)).metadata() {
        Ok(meta) if meta.is_dir() => There::Directory,
        Ok(meta) if meta.is_file() => There::File,
        _ => There::Absent,
    }
}
