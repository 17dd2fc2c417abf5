//! The verbs about the configuration of a running master: taking up another one, going back, and
//! what there was.

use super::answer::{Active, Attempt, AttemptCounts, Carried, History, Planned};
use super::args::{Ask, Order, PlanReload};
use super::check::listeners;
use super::client::Reply;
use super::ctl::{self, Question, accepted, say, understood};
use super::exit::{Exit, Failure};
use super::order::{Goal, What, body, rolled, seconds};
use super::plain;
use super::start::edgefile::{absolute, file_in};
use super::table::{Align, Paint, Table, Tone, age};
use rip::contract::config::Config;
use rip::contract::sessions::OnDisconnect;
use rip::time::UnixMillis;
use std::path::Path;

/// Takes up what has changed.
///
/// # Errors
/// No master, a configuration that does not become the active one, no answer in time or at all.
pub fn reload(flags: &Order) -> Result<Exit, Failure> {
    let what = What { goal: Goal::Rolled, ..What::new("reload", "/control/reload", flags) };
    attempted(&what, &what.give(body(None, &[]))?)
}

/// Makes the configuration before the active one the active one again.
///
/// # Errors
/// As [`reload`].
pub fn rollback(flags: &Order) -> Result<Exit, Failure> {
    let what = What::new("rollback", "/control/rollback", flags);
    attempted(&what, &what.give(body(None, &[]))?)
}

/// Says what a reload would do.
///
/// # Errors
/// No master (exit 69), or a file that is wrong.
pub fn plan(flags: &PlanReload) -> Result<Exit, Failure> {
    let question = Question::new(&flags.ask).map_err(nobody)?;
    let asked = match &flags.file {
        Some(file) => {
            let path = absolute(&file_in(Path::new(file)))?;
            serde_json::json!({ "file": path }).to_string()
        }
        None => "{}".to_owned(),
    };
    let reply = question.ask("POST", "/control/plan", Some(&asked))?;
    if flags.ask.json {
        say(&reply.body)?;
    }
    if let Some(failure) = unplanned(&reply) {
        return Err(failure);
    }
    let reply = accepted(reply)?;
    if flags.ask.json {
        return Ok(Exit::Done);
    }
    say(&planned(&understood(&reply)?))
}

/// The failure that a reload would be.
fn unplanned(reply: &Reply) -> Option<Failure> {
    let attempt: Attempt = plain::read(&reply.body).ok()?;
    if reply.status != 409 || attempt.code.is_empty() {
        return None;
    }
    let message = format!("a reload would be rejected: {}", attempt.code);
    Some(Failure { lines: attempt.details, ..Failure::new(Exit::Failed, message) })
}

fn planned(answer: &Planned) -> String {
    let mut lines: Vec<_> =
        answer.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    match &answer.note {
        Some(note) => lines.push(note.clone()),
        None if answer.lines.is_empty() => lines.push("nothing changes".to_owned()),
        None => lines.extend(answer.lines.iter().cloned()),
    }
    lines.join("\n")
}

/// Shows the last attempts.
///
/// # Errors
/// No master, or one that does not answer.
pub fn history(flags: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(flags)?.get("/history")?;
    if flags.json {
        return say(&reply.body);
    }
    let history: History = understood(&reply)?;
    say(&attempts(&history, ctl::now(), Paint::for_stdout()))
}

/// Shows the active configuration.
///
/// # Errors
/// As [`history`].
pub fn config(flags: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(flags)?.get("/config")?;
    if flags.json {
        return say(&reply.body);
    }
    say(&configuration(&understood(&reply)?, &understood(&reply)?, Paint::for_stdout()))
}

/// Tells how an order to change the configuration ended.
pub(super) fn attempted(what: &What<'_>, reply: &Reply) -> Result<Exit, Failure> {
    if what.flags.json {
        say(&reply.body)?;
    }
    if let Some(failure) = failed(what.verb, reply) {
        return Err(failure);
    }
    let reply = accepted(reply.clone())?;
    if what.flags.json {
        return Ok(Exit::Done);
    }
    // That of a master without an Edgefile is a roll.
    let carried: Carried = understood(&reply)?;
    if !carried.app.is_empty() && carried.generation.is_some() {
        return say(&rolled(&carried));
    }
    let attempt: Attempt = understood(&reply)?;
    match attempt.result.as_str() {
        "" => say(&format!("the {} has begun", what.verb)),
        _ => say(&applied(&attempt)),
    }
}

/// The failure that an attempt is which did not change the configuration.
fn failed(verb: &str, reply: &Reply) -> Option<Failure> {
    let attempt: Attempt = plain::read(&reply.body).ok()?;
    let said = match attempt.result.as_str() {
        "rejected" => format!("the {verb} was rejected"),
        "rolled_back" => format!("the {verb} was taken back"),
        _ => return None,
    };
    let on = format!("version {} stays active", attempt.old_version);
    let mut failure = Failure::new(Exit::Failed, format!("{said}: {} ({on})", attempt.code));
    failure.lines = attempt.details.into_iter().chain(attempt.stderr).collect();
    Some(failure)
}

fn applied(attempt: &Attempt) -> String {
    let took = seconds(attempt.duration_ms);
    let mut text = match attempt.new_version {
        version if version == attempt.old_version => {
            format!("version {version} stays active ({took})\n")
        }
        version => format!("version {version} is active ({took})\n"),
    };
    for detail in &attempt.details {
        text.push_str(&format!("  {detail}\n"));
    }
    text
}

/// Whoever wants a plan without a master is told what can be had.
fn nobody(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Failed => Failure { exit: Exit::Unavailable, ..failure }
            .tip("rip-master check says what is wrong with an Edgefile without a master"),
        _ => failure,
    }
}

fn attempts(history: &History, now: UnixMillis, paint: Paint) -> String {
    let AttemptCounts { applied, rejected, rolled_back } = history.counts;
    let mut text = format!(
        "version {} is active; since the start {applied} applied, {rejected} rejected, {rolled_back} \
         taken back\n\n",
        history.version
    );
    let mut table = Table::new(&[
        ("ATTEMPT", Align::Right),
        ("AGO", Align::Right),
        ("SOURCE", Align::Left),
        ("VERSION", Align::Left),
        ("RESULT", Align::Left),
        ("CODE", Align::Left),
        ("TOOK", Align::Right),
        ("DETAILS", Align::Left),
    ]);
    for attempt in &history.attempts {
        let usual = |text: String| (text, Tone::Usual);
        let tone = if attempt.result == "applied" { Tone::Good } else { Tone::Bad };
        let more = match attempt.details.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let first = attempt.details.first().and_then(|text| text.lines().next());
        let ago = (attempt.at > 0).then(|| age(now.0.saturating_sub(attempt.at)));
        table.row([
            usual(attempt.id.to_string()),
            usual(ago.unwrap_or_default()),
            usual(attempt.source.clone()),
            usual(format!("{}→{}", attempt.old_version, attempt.new_version)),
            (attempt.result.clone(), tone),
            usual(attempt.code.clone()),
            usual(seconds(attempt.duration_ms)),
            usual(format!("{}{more}", first.unwrap_or_default())),
        ]);
    }
    text.push_str(&table.render(paint));
    let failed = history.attempts.iter().find(|attempt| attempt.result != "applied");
    if let Some(failed) = failed.filter(|failed| failed.details.len() > 1) {
        text.push_str(&format!("\nall of what attempt {} failed of:\n", failed.id));
        for detail in &failed.details {
            text.push_str(&format!("    │ {}\n", detail.replace('\n', "\n    │ ")));
        }
    }
    text
}

fn configuration(active: &Active, config: &Config, paint: Paint) -> String {
    let path = active.path.as_ref().map(|path| format!(" of {path}")).unwrap_or_default();
    let mut text =
        format!("version {}{path}, listening on {}\n\n", active.version, listeners(config));
    let usual = |text: String| (text, Tone::Usual);
    let mut apps = Table::new(&[
        ("APP", Align::Left),
        ("WORKERS", Align::Right),
        ("CONCURRENCY", Align::Right),
        ("USER", Align::Left),
        ("ENTRY", Align::Left),
    ]);
    for app in &config.apps {
        apps.row([
            usual(app.id.to_string()),
            usual(app.workers.to_string()),
            usual(app.concurrency.to_string()),
            usual(app.user.clone().unwrap_or_default()),
            usual(app.entry.clone()),
        ]);
    }
    let mut routes = Table::new(&[
        ("HOST", Align::Left),
        ("PATH", Align::Left),
        ("METHODS", Align::Left),
        ("ACTION", Align::Left),
        ("LINE", Align::Right),
    ]);
    for rule in &config.routes {
        routes.row([
            usual(rule.host.clone()),
            usual(rule.path_pattern.clone()),
            usual(rule.methods.to_string()),
            usual(rule.action.to_string()),
            usual(rule.line.map(|line| line.to_string()).unwrap_or_default()),
        ]);
    }
    text.push_str(&apps.render(paint));
    text.push('\n');
    text.push_str(&routes.render(paint));
    if !config.realtime.is_empty() {
        text.push('\n');
        text.push_str(&realtime(config, paint));
    }
    if !config.sessions.is_empty() {
        text.push('\n');
        text.push_str(&sessions(config, paint));
    }
    text
}

/// Where WebSocket clients come. That every app has `/realtime` unasked is not shown.
fn realtime(config: &Config, paint: Paint) -> String {
    let mut places = Table::new(&[
        ("HOST", Align::Left),
        ("REALTIME", Align::Left),
        ("APP", Align::Left),
        ("ORIGINS", Align::Left),
        ("SECRET", Align::Left),
    ]);
    let usual = |text: String| (text, Tone::Usual);
    let server = &config.edge.publish.secret_file;
    for place in &config.realtime {
        let secret = place.publish_secret_file.as_ref().or(server.as_ref());
        places.row([
            usual(place.hosts.join(", ")),
            usual(place.path.clone()),
            usual(place.app_id.to_string()),
            usual(place.origins.join(", ")),
            usual(secret.cloned().unwrap_or_default()),
        ]);
    }
    places.render(paint)
}

/// Where sessions are served.
fn sessions(config: &Config, paint: Paint) -> String {
    let mut mounts = Table::new(&[
        ("HOST", Align::Left),
        ("SESSIONS", Align::Left),
        ("APP", Align::Left),
        ("ON DISCONNECT", Align::Left),
        ("WEBSOCKETS", Align::Left),
        ("ORIGINS", Align::Left),
    ]);
    let usual = |text: &str| (text.to_owned(), Tone::Usual);
    for mount in &config.sessions {
        mounts.row([
            usual(&mount.hosts.join(", ")),
            usual(if mount.mount.is_empty() { "/" } else { &mount.mount }),
            usual(mount.app_id.as_str()),
            usual(match mount.on_disconnect {
                OnDisconnect::Cancel => "cancel",
                OnDisconnect::Continue => "continue",
            }),
            usual(if mount.websockets { "yes" } else { "no" }),
            usual(&mount.origins.join(", ")),
        ]);
    }
    mounts.render(paint)
}

#[cfg(test)]
mod tests;
