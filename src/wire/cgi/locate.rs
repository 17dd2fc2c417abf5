//! Which file a path leads to, and what of the path is left for it (RFC 3875 §3.3, §4.1.5).
//!
//! The walk goes segment by segment and asks at each what is there, so that the first file on the way
//! decides. It never looks for a file by the whole of the path first: `/picture.png/x.php` leads
//! nowhere, and not to a picture that is then run as a script.

/// What is at a place below the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum There {
    /// Nothing that can be served.
    Absent,
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// Where a path leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Located {
    /// To a script.
    Script {
        /// Its path below the root, without a slash in front.
        file: Vec<u8>,
        /// What of the path named it, decoded; with the index's name where that was left out.
        name: Vec<u8>,
        /// What is left of the path, decoded; empty, or begins with a slash.
        path_info: Vec<u8>,
    },
    /// To a file that is no script, by its path below the root.
    File(Vec<u8>),
    /// To a directory, whose path lacks the slash at its end: relative links of its index would lead
    /// astray.
    Slash,
    /// Nowhere.
    Absent,
}

/// Walks along `path` (a target's, up to its query, still encoded). `look` is asked what is at a path
/// relative to the root, which itself is the empty one; `is_script` is asked by a file's name. A
/// directory asked for with its slash leads to the first of `indexes` that is a file in it.
///
/// No segment leads on that is empty, begins with a dot (but for a first `.well-known`, RFC 8615) or
/// contains an encoded slash or NUL: whatever the path, what `look` is asked for lies below the root
/// as far as names can tell. Symbolic links are for `look` to judge.
pub fn locate(
    path: &[u8],
    indexes: &[&str],
    is_script: impl Fn(&[u8]) -> bool,
    mut look: impl FnMut(&[u8]) -> There,
) -> Located {
    let Some(mut rest) = path.strip_prefix(b"/") else { return Located::Absent };
    let mut file: Vec<u8> = Vec::new();
    loop {
        if rest.is_empty() {
            return index(file, indexes, is_script, look);
        }
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let segment = decoded(&rest[..end]);
        let is_hidden = segment.first() == Some(&b'.');
        let is_known = file.is_empty() && segment == b".well-known";
        if segment.is_empty()
            || (is_hidden && !is_known)
            || segment.iter().any(|byte| matches!(byte, b'/' | 0))
        {
            return Located::Absent;
        }
        if !file.is_empty() {
            file.push(b'/');
        }
        file.extend_from_slice(&segment);
        let left = &rest[end..];
        match look(&file) {
            There::Absent => return Located::Absent,
            There::Directory if left.is_empty() => return Located::Slash,
            There::Directory => rest = &left[1..],
            There::File if is_script(&segment) => {
                let name = [b"/", file.as_slice()].concat();
                return Located::Script { file, name, path_info: decoded(left) };
            }
            There::File if left.is_empty() => return Located::File(file),
            There::File => return Located::Absent,
        }
    }
}

fn index(
    directory: Vec<u8>,
    indexes: &[&str],
    is_script: impl Fn(&[u8]) -> bool,
    mut look: impl FnMut(&[u8]) -> There,
) -> Located {
    for name in indexes {
        let mut file = directory.clone();
        if !file.is_empty() {
            file.push(b'/');
        }
        file.extend_from_slice(name.as_bytes());
        if look(&file) == There::File {
            if !is_script(name.as_bytes()) {
                return Located::File(file);
            }
            let name = [b"/", file.as_slice()].concat();
            return Located::Script { file, name, path_info: Vec::new() };
        }
    }
    Located::Absent
}

/// `path` with every `%XX` decoded, slashes too, as `PATH_INFO` is told (RFC 3875 §4.1.5). What is no
/// such escape stays as it is.
pub fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORIES: [&str; 4] = ["", "sub", "sub/empty", ".well-known"];
    const FILES: [&str; 8] = [
        "index.php",
        "a b.php",
        "picture.png",
        "sub/index.html",
        "sub/x.php",
        "sub/.secret",
        ".env",
        ".well-known/x",
    ];

    fn find(path: &str) -> Located {
        locate(
            path.as_bytes(),
            &["index.php", "index.html"],
            |name| name.ends_with(b".php"),
            |at| {
                let at = std::str::from_utf8(at).expect("text");
                assert!(!at.starts_with('/') && !at.contains("..") && !at.contains("//"), "{at}");
                if DIRECTORIES.contains(&at) {
                    There::Directory
                } else if FILES.contains(&at) {
                    There::File
                } else {
                    There::Absent
                }
            },
        )
    }

    fn script(file: &str, path_info: &str) -> Located {
        Located::Script {
            file: file.into(),
            name: format!("/{file}").into(),
            path_info: path_info.into(),
        }
    }

    #[test]
    fn paths_lead_to_scripts_files_and_indexes() {
        for (path, expected) in [
            ("/", script("index.php", "")),
            ("/index.php", script("index.php", "")),
            ("/index.php/", script("index.php", "/")),
            ("/index.php/caf%C3%A9/a%2Fb//", script("index.php", "/café/a/b//")),
            ("/a%20b.php", script("a b.php", "")),
            ("/sub/x.php/.env", script("sub/x.php", "/.env")),
            ("/sub/", Located::File("sub/index.html".into())),
            ("/sub", Located::Slash),
            ("/picture.png", Located::File("picture.png".into())),
            ("/.well-known/x", Located::File(".well-known/x".into())),
        ] {
            assert_eq!(find(path), expected, "{path}");
        }
    }

    #[test]
    fn nothing_else_leads_anywhere() {
        for path in [
            "",
            "*",
            "x",
            "/nothing",
            "/picture.png/x.php",
            "/picture.png/",
            "/sub/empty/",
            "//index.php",
            "/sub//x.php",
            "/sub%2Fx.php",
            "/sub/%2e%2e/index.php",
            "/sub/../index.php",
            "/./index.php",
            "/.env",
            "/%2eenv",
            "/sub/.secret",
            "/sub/.well-known/x",
            "/index.php%00.png",
            "/index%2Ephp%2f",
        ] {
            assert_eq!(find(path), Located::Absent, "{path}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decoded(b"/%2541%41%2f%zz%4"), b"/%41A/%zz%4");
        assert_eq!(decoded(b""), b"");
    }
}
