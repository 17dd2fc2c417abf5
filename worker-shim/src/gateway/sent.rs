//! Files of an app that are sent as they are: with a type, validators and ranges, as the edge sends
//! its own.

use super::beneath::Beneath;
use crate::exchange::Exchange;
use nix::sys::stat::FileStat;
use rip::entropy::Xoshiro;
use rip::files::answer::{Answer, File as Stored, Meta, Next, Search};
use rip::files::{Found, Modified, Options, fields};
use rip::time::UnixMillis;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Answers with the file at `path`, which the request's path leads to, or which is the index of its
/// directory.
///
/// # Errors
/// When the client has left, or the file has become shorter on the way.
pub(super) fn send(exchange: &mut Exchange<'_>, beneath: &Beneath, path: &[u8]) -> io::Result<()> {
    let Some((file, stat)) = beneath.file(path) else {
        return exchange.refuse(404, "there is no such file\n");
    };
    match decide(exchange, path, &stat) {
        Answer::Whole(whole) => {
            let answer = Answer::Whole(whole);
            begin(exchange, &answer);
            copy(exchange, &file, 0, whole.size)
        }
        Answer::Partial(whole, range) => {
            begin(exchange, &Answer::Partial(whole, range));
            copy(exchange, &file, range.first, range.length())
        }
        Answer::Multi(whole, parts) => {
            begin(exchange, &Answer::Multi(whole, parts.clone()));
            let mut framing = Vec::new();
            for (at, range) in parts.ranges().iter().enumerate() {
                parts.head(at, &mut framing);
                exchange.write(&framing)?;
                framing.clear();
                copy(exchange, &file, range.first, range.length())?;
            }
            parts.end(&mut framing);
            exchange.write(&framing)
        }
        answer => {
            begin(exchange, &answer);
            Ok(())
        }
    }
}

/// What is sent, by the rules of all static answers.
fn decide(exchange: &Exchange<'_>, path: &[u8], stat: &FileStat) -> Answer {
    let modified = Modified {
        secs: stat.st_mtime,
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    };
    let meta = Meta { size: u64::try_from(stat.st_size).unwrap_or_default(), modified };
    let found = Found::File(Stored { own: meta, ..Stored::default() });
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // Only asked where the path ends in a slash.
    let options = Options {
        index: String::from_utf8_lossy(name).into_owned(),
        dotfiles: true,
        ..Options::default()
    };
    let request = exchange.for_file();
    let mut search = Search::new(Vec::new());
    match search.begin(&request, &options) {
        Next::Answer(answer) => answer,
        Next::Look => {
            let mut chance = Xoshiro::new(RandomState::new().hash_one(path));
            match search.found(found, &request, &options, now(), &mut chance) {
                Next::Answer(answer) => answer,
                Next::Look => Answer::NotFound,
            }
        }
    }
}

fn begin(exchange: &mut Exchange<'_>, answer: &Answer) {
    let length = match answer {
        // RFC 9110 §8.6: 0 would speak of the body that was not sent.
        Answer::NotModified(_) => None,
        answer => Some(answer.length().unwrap_or(0)),
    };
    exchange.begin_with(answer.status(), length, |head| fields::write(answer, None, head));
}

/// Sends a part of the file; to `HEAD` nothing.
fn copy(exchange: &mut Exchange<'_>, file: &File, mut at: u64, length: u64) -> io::Result<()> {
    if exchange.method() == b"HEAD" {
        return Ok(());
    }
    let end = at.saturating_add(length);
    let mut block = vec![0; BLOCK_BYTES];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        let into = block.get_mut(..wanted).unwrap_or_default();
        let count = match file.read_at(into, at) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        exchange.write(into.get(..count).unwrap_or_default())?;
        at = at.saturating_add(count as u64);
    }
    Ok(())
}

const BLOCK_BYTES: usize = 64 * 1024;

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or_default())
}
