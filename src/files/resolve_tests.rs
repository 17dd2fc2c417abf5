use super::*;

fn resolved(path: &[u8], mount: &str, dotfiles: bool) -> Result<(Vec<u8>, bool), Refusal> {
    let mut out = b"left over".to_vec();
    let resolved = resolve(path, &Mount::of_pattern(mount), dotfiles, &mut out)?;
    Ok((out, resolved.wants_directory))
}

/// `/…` for what is found, with a final slash for a directory, or the status.
fn told(path: &str, mount: &str, dotfiles: bool) -> String {
    match resolved(path.as_bytes(), mount, dotfiles) {
        Ok((relative, false)) => String::from_utf8_lossy(&relative).into_owned(),
        Ok((relative, true)) => format!("{}/", String::from_utf8_lossy(&relative)),
        Err(Refusal::NotFound) => "404".to_owned(),
        Err(Refusal::BadRequest(_)) => "400".to_owned(),
    }
}

#[test]
fn paths_are_decoded_once_and_keep_their_meaning() {
    for (path, expected) in [
        ("/", "/"),
        ("/a", "a"),
        ("/a/", "a/"),
        ("/a/b.txt", "a/b.txt"),
        ("/a%20b/%C3%A9", "a b/é"),
        ("/a..b", "a..b"),
        ("/a../b", "a../b"),
        ("/a/./b", "a/b"),
        ("/a/../b", "b"),
        ("/a/%2E%2e/b", "b"),
        ("/a/.", "a/"),
        ("/a/..", "/"),
        ("/a/b/..", "a/"),
        ("/.", "/"),
        ("/%2561", "%61"),
        ("/%252e%252e/a", "%2e%2e/a"),
        ("/a;v=1/b", "a;v=1/b"),
        ("/a%3Fb%23c", "a?b#c"),
        ("/100%25", "100%"),
        ("/a+b", "a+b"),
        ("/c:/d", "c:/d"),
        ("//", "404"),
        ("//a", "404"),
        ("/a//b", "404"),
        ("/a//", "404"),
        ("/a//../b", "a/b"),
        ("", "400"),
        ("*", "400"),
        ("a", "400"),
        ("/..", "400"),
        ("/../a", "400"),
        ("/a/../../b", "400"),
        ("/a%2fb", "400"),
        ("/a%2Fb", "400"),
        ("/a%5cb", "400"),
        ("/a%5Cb", "400"),
        ("/a\\b", "400"),
        ("/a%00", "400"),
        ("/a\0", "400"),
        ("/a\nb", "400"),
        ("/a%", "400"),
        ("/a%4", "400"),
        ("/a%zz", "400"),
        ("/a%+1", "400"),
    ] {
        assert_eq!(told(path, "/*", false), expected, "{path}");
    }
}

#[test]
fn mounts_are_stripped_segment_by_segment() {
    for (mount, path, expected) in [
        ("/assets/*", "/assets/", "/"),
        ("/assets/*", "/assets", ""),
        ("/assets/*", "/assets/a/b", "a/b"),
        ("/assets/*", "/assets//a", "404"),
        ("/assets/*", "/%61ssets/a", "a"),
        ("/assets/*", "/Assets/a", "404"),
        ("/assets/*", "/assetsx/a", "404"),
        ("/assets/*", "/asset", "404"),
        ("/assets/*", "/", "404"),
        ("/assets/*", "/x/../assets/a", "a"),
        ("/assets/*", "/assets/../a", "404"),
        ("/assets/*", "/assets/../assets/a", "a"),
        ("/assets/*", "/assets/../../a", "400"),
        ("/assets/*", "/assets/a/../..", "404"),
        ("/a/b/*", "/a/b/c", "c"),
        ("/a/b/*", "/a/c", "404"),
        ("/u/*/files/*", "/u/ann/files/x", "x"),
        ("/u/*/files/*", "/u//files/x", "404"),
        ("/u/*/files/*", "/u/ann/other/x", "404"),
        ("/caf%C3%A9/*", "/caf%c3%a9/x", "x"),
        ("/café/*", "/caf%c3%a9/x", "x"),
        ("/100%/*", "/100%25/x", "x"),
        ("/.hidden/*", "/.hidden/x", "x"),
        ("/.hidden/*", "/.hidden/.x", "404"),
        ("/*", "/a", "a"),
        ("*", "/a", "a"),
        ("/", "/", "/"),
        ("/robots.txt", "/robots.txt", "robots.txt"),
        ("/docs/a.txt", "/docs/a.txt", "docs/a.txt"),
    ] {
        assert_eq!(told(path, mount, false), expected, "{path} at {mount}");
    }
}

#[test]
fn dotfiles_are_hidden_but_for_the_well_known() {
    for (path, mount, hidden, shown) in [
        ("/.git/config", "/*", "404", ".git/config"),
        ("/a/.env", "/*", "404", "a/.env"),
        ("/%2eenv", "/*", "404", ".env"),
        ("/...", "/*", "404", "..."),
        ("/..a", "/*", "404", "..a"),
        ("/. ", "/*", "404", ". "),
        ("/.well-known", "/*", ".well-known", ".well-known"),
        ("/.well-known/", "/*", ".well-known/", ".well-known/"),
        ("/.well-known/security.txt", "/*", ".well-known/security.txt", ".well-known/security.txt"),
        ("/%2Ewell-known/a", "/*", ".well-known/a", ".well-known/a"),
        ("/.well-known/.env", "/*", "404", ".well-known/.env"),
        ("/.well-known/../.env", "/*", "404", ".env"),
        ("/.well-knownx/a", "/*", "404", ".well-knownx/a"),
        ("/.Well-Known/a", "/*", "404", ".Well-Known/a"),
        ("/a/.well-known/b", "/*", "404", "a/.well-known/b"),
        ("/a/.well-known/b", "/a/*", "404", ".well-known/b"),
        ("/.well-known/a/b", "/.well-known/*", "a/b", "a/b"),
    ] {
        assert_eq!(told(path, mount, false), hidden, "{path} at {mount}");
        assert_eq!(told(path, mount, true), shown, "{path} at {mount} with dotfiles");
    }
}

#[test]
fn names_longer_than_a_file_system_takes_are_not_found() {
    let name = |length: usize| "n".repeat(length);
    assert_eq!(told(&format!("/{}", name(255)), "/*", false), name(255));
    assert_eq!(told(&format!("/{}", name(256)), "/*", false), "404");
    // 255 encoded bytes, then one more.
    assert_eq!(told(&format!("/{}", "%41".repeat(255)), "/*", false), "A".repeat(255));
    assert_eq!(told(&format!("/{}", "%41".repeat(256)), "/*", false), "404");
    let path = |bytes: usize| format!("/{}", "a/".repeat(bytes / 2) + &name(bytes % 2));
    assert!(told(&path(4095), "/*", false).len() == 4095);
    assert_eq!(told(&path(4097), "/*", false), "404");
}

/// Spellings of `.`, `..`, `/` and `\` that some server, library or file system has taken for them.
fn corpus() -> Vec<Vec<u8>> {
    let dots = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "%252e.",
        "%25252e%25252e",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "%f0%80%80%ae%f0%80%80%ae",
        "%c0%2e%c0%2e",
        "%ef%bc%8e%ef%bc%8e",
        "．．",
        "․․",
        "%u002e%u002e",
        "%uff0e%uff0e",
        "0x2e0x2e",
        "&#46;&#46;",
        "..%00",
        "..%20",
        ".. ",
        "...",
        "....",
        "..;",
        "..;a=b",
        "..%3b",
        "..%09",
        "..%0a",
        "..%0d",
        ".%00.",
        "..:",
        "..~",
        "%2e%2e%2e",
        "..%c0",
        "%c0%ae.",
        "\u{2025}",
        "%e2%80%a5",
        "..%ff",
        ".%0d.",
        "..%23",
        "..%3f",
        "..*",
        "..\u{200b}",
        "%2e%2e;x",
    ];
    let slashes = [
        "/",
        "%2f",
        "%2F",
        "\\",
        "%5c",
        "%5C",
        "%252f",
        "%255c",
        "%c0%af",
        "%c1%9c",
        "%e0%80%af",
        "%ef%bc%8f",
        "／",
        "∕",
        "%u2215",
        "%u2216",
        "//",
        "/./",
        "\\/",
        "%2f/",
        "/%2e/",
        "%bg%qf",
        "¥",
        "%c2%a5",
        ";/",
    ];
    let mut corpus = Vec::new();
    for dots in dots {
        for slash in slashes {
            corpus.push(format!("/{}etc/passwd", format!("{dots}{slash}").repeat(3)));
            corpus.push(format!("/a{slash}{dots}{slash}{dots}{slash}etc/passwd"));
            corpus.push(format!("/assets{slash}{dots}{slash}etc{slash}passwd"));
            corpus.push(format!("/assets/{dots}{slash}"));
        }
        corpus.push(format!("/{dots}"));
        corpus.push(format!("/a/{dots}"));
    }
    for whole in [
        "/file:///etc/passwd",
        "/c:\\windows\\win.ini",
        "/c:/windows",
        "/etc/passwd%00.html",
        "/etc/passwd%2500.html",
        "/%00/../etc",
        "/a/%2e%2e%2fb",
        "/..%252f..%252fetc",
        "/aux",
        "/a.",
        "/a...",
        "/a%20",
        "/a::$DATA",
        "/a%3a%3a%24DATA",
        "/~root/.bashrc",
        "/~",
        "/%7eroot",
        "/proc/self/environ",
        "/dev/fd/0",
        "/./././",
        "/.//",
        "/.//..//a",
        "/a/b/c/../../../..",
        "/\\\\host\\share",
        "//host/share",
        "/%2f%2fhost",
        "/http://h/",
        "/?a",
        "/%3f/../..",
        "/%",
        "/%%32%65%%32%65/a",
        "/%%2e",
        "/%2",
        "/%e",
        "/a/b/..;/..;/c",
        "/;/../a",
        "/a;/..;b/",
        "/*",
        "/**/..",
        "/$(pwd)/..",
        "/`id`/../../..",
    ] {
        corpus.push(whole.to_owned());
    }
    let mut corpus: Vec<_> = corpus.into_iter().map(String::into_bytes).collect();
    for raw in [
        &b"/\xc0\xae\xc0\xae/etc"[..],
        b"/\xc0\xae\xc0\xae\xc0\xafetc",
        b"/\xe0\x80\xae/a",
        b"/\xff/..",
        b"/..\xff/..",
        b"/.\xc0.\xae/a",
        b"/\x80",
        b"/..\x00/a",
        b"/\x7f",
        b"/a\r\n/..",
        b"/..\t/a",
        b"/\xef\xbc\x8e\xef\xbc\x8e\xef\xbc\x8fetc",
    ] {
        corpus.push(raw.to_vec());
    }
    corpus.sort();
    corpus.dedup();
    corpus
}

#[test]
fn nothing_climbs_in_any_spelling() {
    let corpus = corpus();
    assert!(corpus.len() >= 150, "{}", corpus.len());
    let (mut accepted, mut refused) = (0, 0);
    for path in &corpus {
        let lower = path.to_ascii_lowercase();
        let has = |text: &[u8]| lower.windows(text.len()).any(|window| window == text);
        if [&b"%2f"[..], b"%5c", b"%00", b"\\", b"\0"].into_iter().any(has) {
            let answer = resolved(path, "/*", true);
            assert!(matches!(answer, Err(Refusal::BadRequest(_))), "{}", path.escape_ascii());
        }
        for mount in ["/*", "/assets/*", "/*/*", "/a/*"] {
            for dotfiles in [false, true] {
                match resolved(path, mount, dotfiles) {
                    Ok((relative, _)) => {
                        accepted += 1;
                        assert_clean(&relative, path);
                        if !dotfiles {
                            assert_no_dotfile(&relative, path);
                        }
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    // The corpus is of both kinds, else it proves nothing.
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
}

#[test]
fn nothing_climbs_out_of_random_bytes() {
    use crate::entropy::{Entropy, Xoshiro};
    let mut random = Xoshiro::new(3);
    let alphabet = [
        "/",
        "/",
        "/",
        ".",
        ".",
        "..",
        "%2e",
        "%2E",
        "%252e",
        "%2f",
        "%5c",
        "\\",
        "a",
        "b",
        "%",
        "%00",
        "\0",
        ";",
        "%c0%ae",
        "é",
        "assets",
        ".well-known",
        "%61",
        " ",
    ];
    let mut accepted = 0;
    for _ in 0..200_000 {
        let mut path = b"/".to_vec();
        for _ in 0..random.below(9) {
            let at = random.below(alphabet.len() as u64) as usize;
            path.extend_from_slice(alphabet[at].as_bytes());
        }
        for mount in ["/*", "/assets/*"] {
            if let Ok((relative, _)) = resolved(&path, mount, true) {
                accepted += 1;
                assert_clean(&relative, &path);
            }
        }
    }
    assert!(accepted > 10_000, "{accepted}");
}

#[track_caller]
fn assert_clean(relative: &[u8], path: &[u8]) {
    let path = path.escape_ascii();
    assert!(!relative.starts_with(b"/") && !relative.ends_with(b"/"), "{path}");
    assert!(!relative.contains(&0) && !relative.contains(&b'\\'), "{path}");
    assert!(relative.len() <= limits::FILE_PATH_BYTES, "{path}");
    if relative.is_empty() {
        return;
    }
    for name in relative.split(|byte| *byte == b'/') {
        assert!(!matches!(name, b"" | b"." | b".."), "{path}");
        assert!(name.len() <= limits::FILE_NAME_BYTES, "{path}");
    }
    // The file system's own reading agrees.
    use std::os::unix::ffi::OsStrExt;
    let read = std::path::Path::new(std::ffi::OsStr::from_bytes(relative));
    let is_plain = |part| matches!(part, std::path::Component::Normal(_));
    assert!(read.is_relative() && read.components().all(is_plain), "{path}");
}

#[track_caller]
fn assert_no_dotfile(relative: &[u8], path: &[u8]) {
    let mut names = relative.split(|byte| *byte == b'/').enumerate();
    let hidden =
        |(at, name): (usize, &[u8])| name.starts_with(b".") && !(at == 0 && name == b".well-known");
    assert!(!names.any(hidden), "{}", path.escape_ascii());
}
