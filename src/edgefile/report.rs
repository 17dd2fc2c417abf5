//! Collecting what is wrong.

use super::diagnostic::{Diagnostic, Severity};
use super::lexer::Fault;
use super::span::Span;
use super::surroundings::Trouble;
use crate::contract::attempt::AttemptCode;
use crate::limits;

/// What was found in one text.
#[derive(Debug)]
pub(super) struct Report<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: Vec<Found>,
    has_errors: bool,
    /// Places that are not shown.
    secrets: Vec<Span>,
}

#[derive(Debug)]
struct Found {
    severity: Severity,
    code: AttemptCode,
    span: Span,
    path: String,
    message: String,
    hint: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, lines, found: Vec::new(), has_errors: false, secrets: Vec::new() }
    }

    pub(super) fn error(
        &mut self,
        span: Span,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, AttemptCode::Invalid, span, path, message.into(), hint.into());
    }

    pub(super) fn warning(
        &mut self,
        span: Span,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, AttemptCode::Invalid, span, path, message.into(), hint.into());
    }

    /// Of trouble that does not keep the file from being used.
    pub(super) fn doubt(&mut self, span: Span, path: &str, trouble: Trouble) {
        let hint = trouble.hint.unwrap_or_default();
        self.push(Severity::Warning, trouble.code, span, path, trouble.message, hint);
    }

    pub(super) fn trouble(&mut self, span: Span, path: &str, trouble: Trouble) {
        let hint = trouble.hint.unwrap_or_default();
        self.push(Severity::Error, trouble.code, span, path, trouble.message, hint);
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let hint = fault.hint.unwrap_or_default();
        let code = AttemptCode::ParseError;
        self.push(Severity::Error, code, fault.span, "", fault.message, hint);
    }

    /// What is at `span` is not shown.
    pub(super) fn hide(&mut self, span: Span) {
        self.secrets.push(span);
    }

    fn push(
        &mut self,
        severity: Severity,
        code: AttemptCode,
        span: Span,
        path: &str,
        message: String,
        hint: String,
    ) {
        self.has_errors |= severity == Severity::Error;
        // Far more than are kept: the first by place are not always the first to be found.
        if self.found.len() < MOST {
            let hint = Some(hint).filter(|hint| !hint.is_empty());
            let path = path.to_owned();
            self.found.push(Found { severity, code, span, path, message, hint });
        }
    }

    /// Something is wrong, not only odd.
    pub(super) fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// 1-based.
    pub(super) fn line(&self, span: Span) -> u32 {
        let line = self.lines.partition_point(|start| *start <= span.start as usize);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// By place; errors before warnings where not all can be kept.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        let mut found = std::mem::take(&mut self.found);
        self.secrets.sort();
        found.sort_by_key(|found| found.span.start);
        if found.len() > limits::DIAGNOSTIC_COUNT {
            found.sort_by_key(|found| found.severity == Severity::Warning);
            found.truncate(limits::DIAGNOSTIC_COUNT);
            found.sort_by_key(|found| found.span.start);
        }
        found.into_iter().map(|found| self.diagnostic(found)).collect()
    }

    /// The beginning of the line from byte `start`, with as many characters.
    fn masked(&self, line: &str, start: usize) -> String {
        line.char_indices()
            .take(EXCERPT_CHARS)
            .map(|(at, char)| match char {
                '"' | '#' => char,
                char if is_secret(&self.secrets, start + at) => match char {
                    char if char.is_whitespace() => char,
                    _ => '*',
                },
                char => char,
            })
            .collect()
    }

    fn diagnostic(&self, found: Found) -> Diagnostic {
        let Found { severity, code, span, path, message, hint } = found;
        let line = self.line(span);
        let start = self.lines.get(line.saturating_sub(1) as usize).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        // What is about the whole file has no line of its own.
        let rest = if span == Span::default() { "" } else { rest };
        let excerpt = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let count = |text: Option<&str>| text.unwrap_or_default().chars().count();
        let at = count(self.text.get(start..span.start as usize));
        let on_line = count(Some(excerpt)).saturating_sub(at);
        let length = count(Some(span.of(self.text))).min(on_line).max(1);
        let number = |value| u32::try_from(value).unwrap_or(u32::MAX);
        Diagnostic {
            severity,
            code,
            line,
            column: number(at + 1),
            length: number(length),
            excerpt: self.masked(excerpt, start),
            path,
            message,
            hint,
        }
    }
}

/// Whether byte `at` is in one of `secrets`, which are sorted and do not overlap.
fn is_secret(secrets: &[Span], at: usize) -> bool {
    let next = secrets.partition_point(|span| span.start as usize <= at);
    next.checked_sub(1)
        .and_then(|last| secrets.get(last))
        .is_some_and(|span| at < span.end as usize)
}

/// What is collected before the first by place are chosen.
const MOST: usize = 50 * limits::DIAGNOSTIC_COUNT;
/// Of a line that is longer only the beginning is shown.
const EXCERPT_CHARS: usize = 2000;
