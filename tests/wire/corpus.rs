//! The request corpus that gunicorn publishes with its source: what it holds valid is accepted,
//! what it holds invalid is refused, and where we differ there is a section of an RFC that says so.
//!
//! The corpus is not ours and is not kept here: `scripts/setup` fetches it.
#![allow(clippy::disallowed_methods, reason = "a test may read files")]

use crate::reading::{Seen, body, read_every_way};
use rip::http1::Limits;
use std::path::{Path, PathBuf};

/// Valid there, refused here.
const STRICTER: &[(&str, &str)] = &[
    ("005", FRAGMENT),
    ("009", "RFC 9112 §6.1: Content-Length with Transfer-Encoding is how requests are smuggled"),
    ("025", CODING),
    ("025_line", CODING),
    (
        "028",
        "RFC 9112 §5.1: white space before the colon is answered 400 (accepted there by option)",
    ),
    ("029", CODING),
    ("030", CODING),
    ("compat_obs_fold", FOLDING),
    ("compat_obs_fold_huge", FOLDING),
    ("pp_01", PROXY),
    ("pp_02", PROXY),
];

/// Valid there, accepted here, and then waited for: the file ends before its request does.
const UNFINISHED: &[(&str, &str)] = &[(
    "099",
    "RFC 9112 §6.3: the body has as many bytes as Content-Length says, and they are missing",
)];

const CODING: &str = "RFC 9112 §6.1: a transfer coding that is not understood is answered 501";
const FOLDING: &str = "RFC 9112 §5.2: obs-fold is answered 400 (accepted there by option)";
const FRAGMENT: &str = "RFC 9112 §3.2: no form of a request target has a fragment";
const LIMIT: &str =
    "RFC 9110 §5.4: how large fields may be is the server's choice; theirs is set lower";
const PROXY: &str = "RFC 9112 §3: a PROXY line is not a request line (accepted there by option)";
const UNDERSCORE: &str =
    "RFC 9110 §5.6.2: _ is a character of names; the field is dropped (refused there by option)";

/// Invalid there, accepted here.
const MORE_LENIENT: &[(&str, &str)] = &[
    (
        "001",
        "RFC 9112 §8: the head is not complete; nothing is served, and it waits for its deadline",
    ),
    ("003c", "RFC 9110 §9.1: a method is a token, however short (limited there by convention)"),
    ("006", "RFC 9112 §3: 8000 bytes of request line are to be accepted; theirs is set lower"),
    ("007", LIMIT),
    ("008", LIMIT),
    ("010", LIMIT),
    ("011", LIMIT),
    ("012", LIMIT),
    ("017", LIMIT),
    ("019", "RFC 9110 §5.1: two X-Forwarded fields are not malformed; neither is believed here"),
    ("040", UNDERSCORE),
    ("chunked_07", UNDERSCORE),
];

#[test]
fn valid_requests_are_accepted() {
    let mut wrong = Vec::new();
    for (name, text, expected) in requests("valid") {
        let seen = read_with_host(&text);
        let differs = STRICTER.iter().any(|(file, _)| *file == name);
        match &seen.last() {
            Some(Seen::Refused(fault)) => {
                if !differs {
                    wrong.push(format!("{name}: refused: {fault}"));
                }
            }
            _ if UNFINISHED.iter().any(|(file, _)| *file == name) => {
                if seen.contains(&Seen::End) {
                    wrong.push(format!("{name}: complete, but listed as unfinished"));
                }
            }
            _ if differs => wrong.push(format!("{name}: accepted, but listed as a difference")),
            _ => wrong.extend(expected.differences(&seen).map(|why| format!("{name}: {why}"))),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn invalid_requests_are_refused() {
    let mut wrong = Vec::new();
    for (name, text, _) in requests("invalid") {
        let seen = read_with_host(&text);
        let refused = matches!(seen.last(), Some(Seen::Refused(_)));
        let differs = MORE_LENIENT.iter().any(|(file, _)| *file == name);
        if refused == differs {
            wrong.push(format!("{name}: refused: {refused}, listed: {differs}: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Most of the corpus has no `Host`. RFC 9112 §3.2 has every HTTP/1.1 request refused that lacks
/// one; so that this does not hide what a file is about, it is given one then.
fn read_with_host(text: &[u8]) -> Vec<Seen> {
    let seen = read_every_way(text, &Limits::default());
    match seen.last() {
        Some(Seen::Refused(fault)) if fault.detail == "no Host in HTTP/1.1" => {
            let text = replace(text, b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: corpus.test\r\n");
            read_every_way(&text, &Limits::default())
        }
        _ => seen,
    }
}

/// What a file's companion says about it, as far as it can be read off its text.
struct Expected {
    request_lines: Vec<(String, String)>,
    body: Option<String>,
}

impl Expected {
    fn read(companion: &str) -> Self {
        let methods = companion.split("\"method\": \"").skip(1).filter_map(until_quote);
        let targets = companion.split("uri(\"").skip(1).filter_map(until_quote);
        let bodies: Vec<&str> = companion.split("\"body\": b\"").skip(1).collect();
        Self {
            request_lines: methods.zip(targets).collect(),
            body: match bodies.as_slice() {
                [one] if !one.starts_with('"') => {
                    until_quote(one).filter(|one| !one.contains('\\'))
                }
                _ => None,
            },
        }
    }

    fn differences(&self, seen: &[Seen]) -> impl Iterator<Item = String> {
        let mut wrong = Vec::new();
        let heads = seen.iter().filter_map(|event| match event {
            Seen::Head(head) => Some(head),
            _ => None,
        });
        for ((method, target), head) in self.request_lines.iter().zip(heads) {
            if !method.is_ascii() || !target.is_ascii() || target.contains('\\') {
                continue;
            }
            let line = format!("{method} {target} ");
            if !head.to_uppercase().starts_with(&line.to_uppercase()) {
                wrong.push(format!("{head} does not begin with {line}"));
            }
        }
        if let Some(expected) = &self.body
            && body(seen) != expected.as_bytes()
        {
            wrong.push(format!("the body is not {expected:?}"));
        }
        if !seen.contains(&Seen::End) {
            wrong.push("no request is complete".to_owned());
        }
        wrong.into_iter()
    }
}

fn until_quote(text: &str) -> Option<String> {
    text.split_once('"').map(|(inside, _)| inside.to_owned())
}

/// Every request of one kind: its file's name, its bytes, and what is expected of it.
fn requests(kind: &str) -> Vec<(String, Vec<u8>, Expected)> {
    let directory = corpus().join(kind);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|why| panic!("{}: {why}; run scripts/setup", directory.display()))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    files.sort();
    assert!(files.len() > 30, "{} holds too little; run scripts/setup", directory.display());
    let request = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read(&path).expect("a readable file");
        let companion = std::fs::read_to_string(path.with_extension("py")).unwrap_or_default();
        (name, decode(&text), Expected::read(&companion))
    };
    files.into_iter().map(request).collect()
}

/// The directory that holds `valid` and `invalid`.
fn corpus() -> PathBuf {
    let directory = match std::env::var_os("RIP_GUNICORN_CORPUS") {
        Some(named) => PathBuf::from(named),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/gunicorn-corpus"),
    };
    let places = [directory.clone(), directory.join("tests/requests")];
    places.into_iter().find(|place| place.join("valid").is_dir()).unwrap_or_else(|| {
        panic!(
            "gunicorn's request corpus is not in {}; run scripts/setup, which fetches it, or name \
             its directory in RIP_GUNICORN_CORPUS",
            directory.display()
        )
    })
}

/// The files write line ends, tabs and NULs as text, and break lines for the eye only.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = replace(text, b"\n", b"");
    for (written, meant) in
        [(&b"\\r\\n"[..], &b"\r\n"[..]), (b"\\0", b"\0"), (b"\\n", b"\n"), (b"\\t", b"\t")]
    {
        decoded = replace(&decoded, written, meant);
    }
    decoded
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(byte);
            rest = &rest[1..];
        }
    }
    out
}
