//! `ctl sessions`: sessions of a running master, their store, and the turns that run.

use super::answer::{Sessions, Turn};
use super::args::Ask;
use super::ctl::{Question, say, understood};
use super::exit::{Exit, Failure};
use super::table::{Align, Paint, Table, Tone, age};
use std::fmt::Write;

/// Shows them.
///
/// # Errors
/// No master, or one that does not answer.
pub fn sessions(flags: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(flags)?.get("/sessions")?;
    match flags.json {
        true => say(&reply.body),
        false => say(&told(&understood(&reply)?, Paint::for_stdout())),
    }
}

fn told(sessions: &Sessions, paint: Paint) -> String {
    let Some(store) = &sessions.store else { return "no sessions are served\n".to_owned() };
    let mut out = String::new();
    let tone = match store.state.as_str() {
        "open" => Tone::Good,
        "failing" => Tone::Waiting,
        _ => Tone::Bad,
    };
    let state = match &store.reason {
        Some(reason) => format!("{}: {reason}", store.state),
        None => store.state.clone(),
    };
    let count = sessions.sessions.map_or("unknown".to_owned(), |count| count.to_string());
    // Writing to a string cannot fail.
    let _ = writeln!(out, "sessions {count}, in {} ({})", store.path, paint.tint(&state, tone));
    let Sessions { running, readers, turns, committed, failed, refused, .. } = sessions;
    let _ = writeln!(
        out,
        "turns {turns}: {running} running, {committed} committed, {failed} failed; {refused} refused"
    );
    let _ = writeln!(out, "readers {readers}");
    if sessions.newest.is_empty() {
        return out;
    }
    let mut table = Table::new(&[
        ("SESSION", Align::Left),
        ("TURN", Align::Right),
        ("ATTEMPT", Align::Right),
        ("APP", Align::Left),
        ("AGE", Align::Right),
    ]);
    let usual = |text: String| (text, Tone::Usual);
    for Turn { id, turn, attempt, app, age_ms } in &sessions.newest {
        table.row([
            usual(id.clone()),
            usual(turn.to_string()),
            usual(attempt.to_string()),
            usual(app.clone()),
            usual(age(*age_ms)),
        ]);
    }
    let _ = write!(out, "\n{}", table.render(paint));
    let more = running.saturating_sub(sessions.newest.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "and {more} more");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_a_few_lines_and_the_turns_that_run() {
        let answer = r#"{"ok":true,"store":{"path":"/var/lib/x/sessions.db","state":"failing",
            "reason":"full"},"sessions":null,"running":3,"readers":2,"turns":9,"committed":5,
            "failed":1,"refused":4,"newest":[{"id":"s_01","turn":4,"attempt":2,"app":"api",
            "ageMs":61000},{"id":"s_02","turn":1,"attempt":1,"app":"api","ageMs":5}]}"#;
        let golden = "\
sessions unknown, in /var/lib/x/sessions.db (failing: full)
turns 9: 3 running, 5 committed, 1 failed; 4 refused
readers 2

SESSION  TURN  ATTEMPT  APP  AGE
s_01        4        2  api   1m
s_02        1        1  api  5ms
and 1 more
";
        assert_eq!(told(&serde_json::from_str(answer).unwrap(), Paint::Plain), golden);
        let none = serde_json::from_str(r#"{"ok":true,"store":null}"#).unwrap();
        assert_eq!(told(&none, Paint::Plain), "no sessions are served\n");
    }
}
