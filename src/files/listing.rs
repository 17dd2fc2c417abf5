//! The page of a directory: one document without anything outside it.
//!
//! Names come from whoever can write files. In text they are escaped and isolated, so that none can
//! be markup or turn the direction of its surroundings; in links every byte that could mean something
//! is percent-encoded, and the link begins with `./`, so that no name can be a scheme or a host.

use super::conditional::Modified;
use crate::limits;
use crate::time::Civil;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io::Write;

/// What the page needs: its own style and nothing else. For `Content-Security-Policy`.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                          form-action 'none'";
/// `Content-Type` of the page.
pub const MEDIA_TYPE: &str = "text/html; charset=utf-8";

/// One name in a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its bytes.
    pub name: Vec<u8>,
    /// It is a directory, or a link to one.
    pub is_directory: bool,
    /// In bytes; not shown for directories.
    pub size: u64,
    /// When it changed.
    pub modified: Modified,
}

/// The names of a directory, gathered in any order: the first [`limits::LISTING_COUNT`] in the order
/// of the page are kept, so that memory is bounded and the page always the same.
#[derive(Debug, Default)]
pub struct Listing {
    kept: BinaryHeap<Row>,
    left_out: u64,
    dotfiles: bool,
    limit: usize,
}

impl Listing {
    /// No names yet. Those that begin with a dot are shown only with `dotfiles`.
    pub fn new(dotfiles: bool) -> Self {
        Self::with_limit(dotfiles, limits::LISTING_COUNT)
    }

    fn with_limit(dotfiles: bool, limit: usize) -> Self {
        Self { kept: BinaryHeap::new(), left_out: 0, dotfiles, limit }
    }

    /// Whether an entry of this name would be shown. Names that no request can ask for are not: those
    /// with a slash or a backslash. Ask before looking at the entry itself.
    pub fn shows(&self, name: &[u8]) -> bool {
        let is_plain = !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0));
        let is_hidden = name.first().is_none_or(|first| *first == b'.');
        let is_self = matches!(name, b"" | b"." | b"..");
        is_plain && !is_self && (self.dotfiles || !is_hidden)
    }

    /// Adds an entry; one that is not shown is forgotten.
    pub fn push(&mut self, entry: Entry) {
        if !self.shows(&entry.name) {
            return;
        }
        self.kept.push(Row::new(entry));
        if self.kept.len() > self.limit {
            self.kept.pop();
            self.left_out += 1;
        }
    }

    /// Appends the page. `mount` is the decoded path of the mount, with or without slashes at its
    /// ends; `relative` is the directory's path beneath it, empty for the mount itself. The page is
    /// to be sent for a path that ends in a slash.
    pub fn write_page(self, mount: &[u8], relative: &[u8], out: &mut Vec<u8>) {
        let rows = self.kept.into_sorted_vec();
        let mount = mount.trim_slashes();
        let crumbs: Vec<_> = relative.split(|byte| *byte == b'/').collect();
        let crumbs = if relative.is_empty() { &[][..] } else { &crumbs };
        out.reserve(2048 + rows.len() * 192);
        out.extend_from_slice(b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
        out.extend_from_slice(HEAD);
        out.extend_from_slice(b"<title>Index of /");
        for part in [mount, relative].into_iter().filter(|part| !part.is_empty()) {
            text(part, out);
            out.push(b'/');
        }
        out.extend_from_slice(b"</title>\n<nav aria-label=\"Breadcrumbs\"><ol>\n");
        write_crumbs(mount, crumbs, out);
        let folders = rows.iter().filter(|row| row.entry.is_directory).count();
        let files = rows.len() - folders;
        out.extend_from_slice(b"</ol></nav>\n<main>\n<table>\n");
        push(out, format_args!("<caption>Folders: {folders}, files: {files}</caption>\n"));
        out.extend_from_slice(b"<thead><tr><th scope=\"col\">Name</th>");
        out.extend_from_slice(b"<th scope=\"col\" class=\"n\">Size</th>");
        out.extend_from_slice(b"<th scope=\"col\">Changed (UTC)</th></tr></thead>\n<tbody>\n");
        if !crumbs.is_empty() {
            out.extend_from_slice(b"<tr><th scope=\"row\"><a href=\"../\">../</a></th>");
            out.extend_from_slice(b"<td></td><td></td></tr>\n");
        }
        rows.iter().for_each(|row| write_row(&row.entry, out));
        out.extend_from_slice(b"</tbody>\n</table>\n");
        if rows.is_empty() {
            out.extend_from_slice(b"<p>Nothing here.</p>\n");
        }
        if self.left_out > 0 {
            push(out, format_args!("<p>{} more are not shown.</p>\n", self.left_out));
        }
        out.extend_from_slice(b"</main>\n</html>\n");
    }
}

/// An entry with what it is sorted by: folders first, then names as people read them.
#[derive(Debug)]
struct Row {
    folded: String,
    entry: Entry,
}

impl Row {
    fn new(entry: Entry) -> Self {
        Self { folded: String::from_utf8_lossy(&entry.name).to_lowercase(), entry }
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.entry.is_directory.cmp(&self.entry.is_directory))
            .then_with(|| natural(self.folded.as_bytes(), other.folded.as_bytes()))
            .then_with(|| self.folded.cmp(&other.folded))
            .then_with(|| self.entry.name.cmp(&other.entry.name))
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Row {}

/// Numbers inside names compare as numbers: `a2` before `a10`.
fn natural(mut left: &[u8], mut right: &[u8]) -> Ordering {
    loop {
        let order = match (left.first(), right.first()) {
            (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (first, second) = (take_number(&mut left), take_number(&mut right));
                first.len().cmp(&second.len()).then_with(|| first.cmp(second))
            }
            (Some(a), Some(b)) => {
                let order = a.cmp(b);
                left = left.get(1..).unwrap_or_default();
                right = right.get(1..).unwrap_or_default();
                order
            }
            (a, b) => return a.cmp(&b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes the digits off the front and returns them without leading zeros.
fn take_number<'t>(text: &mut &'t [u8]) -> &'t [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or_default();
    *text = rest;
    let zeros = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    digits.get(zeros..).unwrap_or_default()
}

trait TrimSlashes {
    fn trim_slashes(&self) -> &Self;
}

impl TrimSlashes for [u8] {
    fn trim_slashes(&self) -> &Self {
        let mut rest = self;
        while let Some(less) = rest.strip_prefix(b"/") {
            rest = less;
        }
        while let Some(less) = rest.strip_suffix(b"/") {
            rest = less;
        }
        rest
    }
}

fn write_crumbs(mount: &[u8], crumbs: &[&[u8]], out: &mut Vec<u8>) {
    let names = std::iter::once(None).chain(crumbs.iter().map(|name| Some(*name)));
    for (depth, name) in names.enumerate() {
        let up = crumbs.len().saturating_sub(depth);
        out.extend_from_slice(b"<li><a href=\"");
        match up {
            0 => out.extend_from_slice(b"./\" aria-current=\"page"),
            up => (0..up).for_each(|_| out.extend_from_slice(b"../")),
        }
        out.extend_from_slice(b"\">");
        match name {
            Some(name) => isolated(name, out),
            None if mount.is_empty() => out.push(b'/'),
            None => isolated(mount, out),
        }
        out.extend_from_slice(b"</a></li>\n");
    }
}

fn write_row(entry: &Entry, out: &mut Vec<u8>) {
    let slash: &[u8] = if entry.is_directory { b"/" } else { b"" };
    out.extend_from_slice(b"<tr><th scope=\"row\"><a href=\"./");
    link(&entry.name, out);
    out.extend_from_slice(slash);
    out.extend_from_slice(b"\">");
    isolated(&entry.name, out);
    out.extend_from_slice(slash);
    out.extend_from_slice(b"</a></th><td class=\"n\">");
    if !entry.is_directory {
        write_size(entry.size, out);
    }
    out.extend_from_slice(b"</td><td>");
    if let Ok(secs) = u64::try_from(entry.modified.secs) {
        let Civil { year, month, day, hour, minute, second, .. } =
            Civil::from_unix(secs.min(LAST_SECOND));
        push(
            out,
            format_args!(
                "<time datetime=\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z\">\
                 {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}</time>"
            ),
        );
    }
    out.extend_from_slice(b"</td></tr>\n");
}

/// The end of the year 9999, the last that `datetime` can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// `17 B`, `1.4 KiB`, `12 MiB`: two digits at least, rounded down, so that nothing is told larger
/// than it is.
fn write_size(size: u64, out: &mut Vec<u8>) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return push(out, format_args!("{size} B"));
    }
    let mut tenths = u128::from(size) * 10 / 1024;
    let mut unit = UNITS[0];
    for larger in UNITS.into_iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, tenth) => push(out, format_args!("{whole}.{tenth} {unit}")),
        (whole, _) => push(out, format_args!("{whole} {unit}")),
    }
}

/// A name among other text: its direction of writing is its own.
fn isolated(name: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<bdi>");
    text(name, out);
    out.extend_from_slice(b"</bdi>");
}

/// Bytes as HTML text. What is not UTF-8, commands, and what turns the direction of writing become
/// U+FFFD.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    for letter in String::from_utf8_lossy(bytes).chars() {
        match letter {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\'' => out.extend_from_slice(b"&#39;"),
            _ => {
                let shown = if is_disruptive(letter) { '\u{fffd}' } else { letter };
                out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

fn is_disruptive(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{61c}' | '\u{feff}'
        )
}

/// One segment of a URL: all but unreserved characters are percent-encoded (RFC 3986 §2.3).
fn link(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            push(out, format_args!("%{byte:02X}"));
        }
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

const HEAD: &[u8] = b"<meta name=\"viewport\" content=\"width=device-width\">\n\
<meta name=\"robots\" content=\"noindex\">\n\
<style>\n\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d8dee4;--link:#0550ae;--soft:#57606a}\n\
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;--link:#79c0ff;\
--soft:#9198a1}}\n\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;\
color:var(--ink);background:var(--paper)}\n\
a{color:var(--link);text-decoration:none;overflow-wrap:anywhere}a:hover,a:focus{text-decoration:underline}\n\
nav ol{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;padding:0;font-size:1.25rem}\n\
nav li+li::before{content:\"/\";margin-right:.5rem;color:var(--soft)}\n\
[aria-current]{color:var(--ink)}\n\
table{border-collapse:collapse;width:100%}\n\
caption{text-align:left;color:var(--soft);padding:.3rem .6rem}\n\
th,td{text-align:left;font-weight:normal;padding:.3rem .6rem;border-bottom:1px solid var(--line)}\n\
thead th,td{color:var(--soft)}td{white-space:nowrap}\
.n{text-align:right;font-variant-numeric:tabular-nums}\n\
</style>\n";

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
