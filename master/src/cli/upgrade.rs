//! `upgrade`: another process of the program takes the place of the one that runs.

use super::args::Upgrade;
use super::ctl::{accepted, say, understood};
use super::exit::{Exit, Failure};
use super::order::{Goal, What, body, seconds};
use super::start::edgefile::absolute;
use serde::Deserialize;
use std::path::Path;

/// Has another master take the place of the one that runs, without losing a request.
///
/// # Errors
/// No master, one that cannot be succeeded now, a successor that fails, no answer in time or at all.
pub fn upgrade(flags: &Upgrade) -> Result<Exit, Failure> {
    let mut asked = body(None, &[]);
    if let Some(binary) = &flags.binary {
        asked.insert("binary".to_owned(), absolute(Path::new(binary))?.into());
    }
    if let Some(within) = flags.within {
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        asked.insert("withinMs".to_owned(), millis.into());
    }
    let what =
        What { goal: Goal::Succeeded, ..What::new("upgrade", "/control/upgrade", &flags.order) };
    let reply = what.give(asked)?;
    if flags.order.json {
        say(&reply.body)?;
        return accepted(reply).map(|_| Exit::Done);
    }
    say(&told(&understood(&accepted(reply)?)?))
}

/// What the master answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Upgraded {
    old_pid: u32,
    new_pid: Option<u32>,
    version: Option<String>,
    duration_ms: u64,
}

fn told(upgraded: &Upgraded) -> String {
    let Some(pid) = upgraded.new_pid else { return "the upgrade has begun".to_owned() };
    let version = upgraded.version.as_deref().unwrap_or("?");
    format!(
        "version {version} serves as process {pid} ({}); process {} finishes what it has",
        seconds(upgraded.duration_ms),
        upgraded.old_pid
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_is_told() {
        let answer = r#"{"ok":true,"oldPid":7,"newPid":9,"version":"1.2.3","durationMs":1500}"#;
        let upgraded = serde_json::from_str(answer).unwrap();
        let expected = "version 1.2.3 serves as process 9 (1.5s); process 7 finishes what it has";
        assert_eq!(told(&upgraded), expected);
        let begun = serde_json::from_str(r#"{"ok":true}"#).unwrap();
        assert_eq!(told(&begun), "the upgrade has begun");
    }
}
