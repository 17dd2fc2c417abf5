//! What was found, for people and for programs.

use super::case::{Case, Mismatch, Weight};
use crate::cli::table::{Paint, Tone};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// What came of a case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Result {
    /// It went well.
    Ok,
    /// It did not, and the server cannot be a worker.
    Fail(Mismatch),
    /// It did not, and this is what it costs.
    Note(Mismatch, &'static str),
    /// It was not tried, and why.
    Skip(String),
}

/// A case that is over.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name for programs.
    pub id: &'static str,
    /// What is true when it goes well.
    pub title: &'static str,
    /// The rule it belongs to.
    pub rule: &'static str,
    /// What came of it.
    pub result: Result,
    /// How long it took.
    pub took: Duration,
}

impl Found {
    /// What came of `case`.
    pub fn of(case: &Case, done: std::result::Result<(), Mismatch>, took: Duration) -> Self {
        let result = match (done, case.weight) {
            (Ok(()), _) => Result::Ok,
            (Err(mismatch), Weight::Must) => Result::Fail(mismatch),
            (Err(mismatch), Weight::Costs(what)) => Result::Note(mismatch, what),
        };
        Self { id: case.id, title: case.title, rule: case.rule, result, took }
    }

    /// `case` was not tried.
    pub fn skipped(case: &Case, why: impl Into<String>) -> Self {
        let result = Result::Skip(why.into());
        Self { id: case.id, title: case.title, rule: case.rule, result, took: Duration::ZERO }
    }

    /// The server cannot be a worker.
    pub fn is_failure(&self) -> bool {
        matches!(self.result, Result::Fail(_))
    }

    /// As lines for people.
    pub fn lines(&self, paint: Paint) -> String {
        let (word, tone) = match self.result {
            Result::Ok => ("ok", Tone::Good),
            Result::Fail(_) => ("FAIL", Tone::Bad),
            Result::Note(..) => ("note", Tone::Waiting),
            Result::Skip(_) => ("-", Tone::Usual),
        };
        let mut out =
            format!("{}{}{}", paint.tint(word, tone), " ".repeat(6 - word.len()), self.title);
        match &self.result {
            Result::Ok => {}
            Result::Skip(why) => out = format!("{out} (not tried: {why})"),
            Result::Fail(mismatch) => {
                self.tell(&mut out, mismatch);
            }
            Result::Note(mismatch, what) => {
                self.tell(&mut out, mismatch);
                // Writing to a text cannot fail.
                let _ = write!(out, "\n        costs:     {what}");
            }
        }
        out
    }

    fn tell(&self, out: &mut String, mismatch: &Mismatch) {
        let Mismatch { expected, came } = mismatch;
        let _ = write!(out, "\n        expected:  {expected}\n        came:      {came}");
        let _ = write!(out, "\n        see:       WORKERS.md, {}", self.rule);
    }

    fn json(&self) -> Value {
        let word = match self.result {
            Result::Ok => "ok",
            Result::Fail(_) => "fail",
            Result::Note(..) => "note",
            Result::Skip(_) => "skip",
        };
        let mut value = json!({
            "id": self.id,
            "title": self.title,
            "result": word,
            "rule": self.rule,
            "durationMs": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        match &self.result {
            Result::Ok => {}
            Result::Skip(why) => value["reason"] = json!(why),
            Result::Fail(mismatch) | Result::Note(mismatch, _) => {
                value["expected"] = json!(mismatch.expected);
                value["came"] = json!(mismatch.came);
            }
        }
        if let Result::Note(_, costs) = &self.result {
            value["costs"] = json!(costs);
        }
        value
    }
}

/// Everything that was found, in one line: `31 ok, 1 note, 2 failed, 3 not tried`.
pub fn summary(found: &[Found]) -> String {
    let count = |is: fn(&Result) -> bool| found.iter().filter(|found| is(&found.result)).count();
    let counts = [
        (count(|result| matches!(result, Result::Ok)), "ok"),
        (count(|result| matches!(result, Result::Note(..))), "noted"),
        (count(|result| matches!(result, Result::Fail(_))), "failed"),
        (count(|result| matches!(result, Result::Skip(_))), "not tried"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

/// Everything that was found, as one object.
pub fn json(shown: &str, keep_alive: Option<bool>, found: &[Found]) -> String {
    let ok = !found.iter().any(Found::is_failure);
    let cases: Vec<Value> = found.iter().map(Found::json).collect();
    json!({"ok": ok, "worker": shown, "keepAlive": keep_alive, "cases": cases}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check_worker::case::Plan;

    fn case(weight: Weight) -> Case {
        let plan = Plan::Steps(Vec::new());
        Case { id: "head", title: "HEAD has no body", rule: "4. The end", weight, plan }
    }

    #[test]
    fn what_went_wrong_is_told_with_the_rule() {
        let wrong = || Err(Mismatch::new("nothing", "6 bytes"));
        let failed = Found::of(&case(Weight::Must), wrong(), Duration::ZERO);
        assert_eq!(
            failed.lines(Paint::Plain),
            "FAIL  HEAD has no body\n        expected:  nothing\n        came:      6 bytes\n        \
             see:       WORKERS.md, 4. The end"
        );
        let noted = Found::of(&case(Weight::Costs("time")), wrong(), Duration::ZERO);
        assert!(noted.lines(Paint::Plain).starts_with("note  HEAD has no body\n"));
        assert!(noted.lines(Paint::Plain).ends_with("\n        costs:     time"));
        let skipped = Found::skipped(&case(Weight::Must), "no reason");
        assert_eq!(skipped.lines(Paint::Plain), "-     HEAD has no body (not tried: no reason)");
        let fine = Found::of(&case(Weight::Must), Ok(()), Duration::ZERO);
        assert_eq!(fine.lines(Paint::Plain), "ok    HEAD has no body");
        let all = [failed, noted, skipped, fine];
        assert_eq!(summary(&all), "1 ok, 1 noted, 1 failed, 1 not tried");
        let told: Value = serde_json::from_str(&json("x", Some(true), &all)).unwrap();
        assert_eq!((&told["ok"], &told["keepAlive"]), (&json!(false), &json!(true)));
        assert_eq!(told["cases"][0]["came"], "6 bytes");
        assert_eq!(told["cases"][1]["costs"], "time");
        assert_eq!(told["cases"][2]["reason"], "no reason");
    }
}
