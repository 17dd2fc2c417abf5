//! What is wrong with an Edgefile, where, and how to mend it.

use crate::contract::attempt::AttemptCode;
use serde::{Deserialize, Serialize};

/// One thing that is wrong, or odd.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// Whether it keeps the file from being used.
    pub severity: Severity,
    /// What kind of wrong it is, for the attempt that fails of it.
    pub code: AttemptCode,
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
    /// How many characters are meant, at least 1, not beyond the line.
    pub length: u32,
    /// The line, as it stands in the file; values of `env` are masked, and of a very long line only
    /// the beginning is there.
    pub excerpt: String,
    /// Which field: `site "example.com" › route "/api/*" › to-app`; empty for the whole file.
    pub path: String,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a diagnostic keeps the file from being used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// `diagnostics` of the file called `file` for people, a paragraph each. With `colour` for a terminal.
///
/// ```text
/// Edgefile:12:5: error: `wrokers` is not known in `app`
///   12 |     wrokers 4
///      |     ^^^^^^^
///   in:  app "api" › wrokers
///   tip: did you mean `workers`?
/// ```
pub fn render(diagnostics: &[Diagnostic], file: &str, colour: bool) -> String {
    let mut out = String::new();
    for found in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        paragraph(found, file, &Paint { on: colour }, &mut out);
    }
    out
}

/// `diagnostics` as annotations of GitHub's workflows, a line each.
pub fn github(diagnostics: &[Diagnostic], file: &str) -> String {
    let mut out = String::new();
    for found in diagnostics {
        let kind = found.severity.told();
        let message = match (found.path.as_str(), &found.hint) {
            ("", None) => found.message.clone(),
            ("", Some(hint)) => format!("{}\n{hint}", found.message),
            (path, None) => format!("{path}: {}", found.message),
            (path, Some(hint)) => format!("{path}: {}\n{hint}", found.message),
        };
        let (line, column) = (found.line, found.column);
        let end = column.saturating_add(found.length);
        out.push_str(&format!(
            "::{kind} file={},line={line},col={column},endColumn={end}::{}\n",
            escaped(file, true),
            escaped(&message, false)
        ));
    }
    out
}

/// `diagnostics` as one JSON object: `{"ok":…,"file":…,"diagnostics":[…]}`.
pub fn json(diagnostics: &[Diagnostic], file: &str) -> String {
    let ok = diagnostics.iter().all(|found| found.severity == Severity::Warning);
    serde_json::json!({ "ok": ok, "file": file, "diagnostics": diagnostics }).to_string()
}

/// How many there are of each severity: `2 errors, 1 warning`; empty when there are none.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let told = |severity: Severity| {
        let count = diagnostics.iter().filter(|found| found.severity == severity).count();
        match count {
            0 => None,
            1 => Some(format!("1 {}", severity.told())),
            count => Some(format!("{count} {}s", severity.told())),
        }
    };
    let parts: Vec<String> =
        [Severity::Error, Severity::Warning].into_iter().filter_map(told).collect();
    parts.join(", ")
}

impl Severity {
    fn told(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Colours, if they are wanted.
struct Paint {
    on: bool,
}

impl Paint {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn paragraph(found: &Diagnostic, file: &str, paint: &Paint, out: &mut String) {
    let accent = match found.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
    };
    let place = format!("{file}:{}:{}:", found.line, found.column);
    let kind = paint.paint(accent, found.severity.told());
    let message = paint.paint("1", &visible(&found.message));
    out.push_str(&format!("{place} {kind}: {message}\n"));
    if !found.excerpt.trim().is_empty() {
        let number = found.line.to_string();
        let (line, before, length) = window(found);
        let bar = paint.paint("34", "|");
        out.push_str(&format!("  {} {bar} {line}\n", paint.paint("34", &number)));
        let gutter = " ".repeat(number.len());
        let caret = paint.paint(accent, &"^".repeat(length));
        out.push_str(&format!("  {gutter} {bar} {}{caret}\n", " ".repeat(before)));
    }
    if !found.path.is_empty() {
        out.push_str(&format!("  in:  {}\n", visible(&found.path)));
    }
    if let Some(hint) = &found.hint {
        out.push_str(&format!("  {} {}\n", paint.paint("36", "tip:"), visible(hint)));
    }
}

/// The part of the line that is shown, what is before the marks in it, and how many marks.
fn window(found: &Diagnostic) -> (String, usize, usize) {
    let at = found.column.saturating_sub(1) as usize;
    let line: Vec<char> = visible(&found.excerpt).chars().collect();
    let at = at.min(line.len());
    let skipped = if line.len() > WINDOW { at.saturating_sub(WINDOW / 3) } else { 0 };
    let shown = line.get(skipped..).unwrap_or_default();
    let is_cut = shown.len() > WINDOW;
    let mut text: String = shown.iter().take(WINDOW).collect();
    let mut before = at - skipped;
    if skipped > 0 {
        text.insert(0, '…');
        before += 1;
    }
    let room = text.chars().count().saturating_sub(before).max(1);
    if is_cut {
        text.push('…');
    }
    (text, before, (found.length as usize).clamp(1, room))
}

/// `text` on one line, without anything that a terminal would obey; as many characters.
fn visible(text: &str) -> String {
    let plain = |char: char| match char {
        '\t' => ' ',
        char if char.is_control()
            || matches!(char, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            '\u{fffd}'
        }
        char => char,
    };
    text.chars().map(plain).collect()
}

fn escaped(text: &str, is_property: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            ':' if is_property => out.push_str("%3A"),
            ',' if is_property => out.push_str("%2C"),
            char => out.push(char),
        }
    }
    out
}

/// Characters of a long line that are shown.
const WINDOW: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: AttemptCode::Invalid,
            line: 12,
            column: 5,
            length: 7,
            excerpt: "\t   wrokers 4".to_owned(),
            path: "app \"api\" › wrokers".to_owned(),
            message: "`wrokers` is not known in `app`".to_owned(),
            hint: Some("did you mean `workers`?".to_owned()),
        }
    }

    #[test]
    fn a_paragraph_points_at_the_place() {
        let text = "Edgefile:12:5: error: `wrokers` is not known in `app`\n\
                    \x20 12 |     wrokers 4\n\
                    \x20    |     ^^^^^^^\n\
                    \x20 in:  app \"api\" › wrokers\n\
                    \x20 tip: did you mean `workers`?\n";
        assert_eq!(render(&[found()], "Edgefile", false), text);
        let coloured = render(&[found()], "Edgefile", true);
        assert!(coloured.contains("\x1b[1;31merror\x1b[0m"), "{coloured:?}");
        assert_eq!(summary(&[found(), found()]), "2 errors");
    }

    #[test]
    fn nothing_of_a_file_reaches_the_terminal_as_an_order() {
        let hostile = Diagnostic { excerpt: "a\x1b[2Jb\u{202e}".to_owned(), ..found() };
        let text = render(&[hostile], "Edgefile", false);
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let long = Diagnostic { excerpt: "x".repeat(2000), column: 1500, length: 300, ..found() };
        let text = render(&[long], "Edgefile", false);
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
        let far = Diagnostic { excerpt: "x".repeat(10), column: 5000, length: 300, ..found() };
        assert!(render(&[far], "Edgefile", false).contains('^'));
    }

    #[test]
    fn annotations_are_escaped() {
        let text = github(&[found()], "a,b:Edgefile");
        let expected = "::error file=a%2Cb%3AEdgefile,line=12,col=5,endColumn=12::\
                        app \"api\" › wrokers: `wrokers` is not known in `app`%0Adid you mean \
                        `workers`?\n";
        assert_eq!(text, expected);
        assert!(json(&[found()], "Edgefile").starts_with("{\"diagnostics\":[{"));
    }
}
