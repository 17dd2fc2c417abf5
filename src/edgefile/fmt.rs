//! The one way an Edgefile is laid out: four spaces a level, one node a line, blocks that stood on
//! one line stay there, comments stay where they are.

use super::diagnostic::Diagnostic;
use super::lexer::{self, Kind, Token};
use super::{document, refused, unreadable};

/// `text`, laid out. What it says does not change, and laying it out again changes nothing.
///
/// # Errors
/// It is not a document; whether it is a right one is not asked.
pub fn format(text: &[u8]) -> Result<String, Vec<Diagnostic>> {
    let text = document::text(text).map_err(|fault| unreadable(text, fault))?;
    document::parse(text).map_err(|faults| refused(text, faults))?;
    let tokens = lexer::tokens(text).list;
    let mut layout = Layout { text, on_line: on_line(text, &tokens), ..Layout::default() };
    for (index, token) in tokens.iter().enumerate() {
        layout.take(index, *token);
    }
    layout.end_line();
    Ok(layout.join())
}

/// Of each brace whether its whole block stands on one line.
fn on_line(text: &str, tokens: &[Token]) -> Vec<bool> {
    let mut on_line = vec![false; tokens.len()];
    // Open braces, and whether their lines have ended since.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let ends = matches!(token.kind, Kind::Newline | Kind::LineComment | Kind::Continuation)
            || token.span.of(text).contains(lexer::is_newline);
        match token.kind {
            Kind::Open => open.push((index, false)),
            Kind::Close => {
                let Some((start, ended)) = open.pop() else { continue };
                for at in [start, index] {
                    if let Some(place) = on_line.get_mut(at) {
                        *place = !ended;
                    }
                }
            }
            _ if ends => open.iter_mut().for_each(|(_, ended)| *ended = true),
            _ => {}
        }
    }
    on_line
}

/// What has been laid out so far.
#[derive(Default)]
struct Layout<'a> {
    text: &'a str,
    /// Of each token, if it is a brace: its block stands on one line.
    on_line: Vec<bool>,
    lines: Vec<Line>,
    /// What is on the line that has not ended.
    line: String,
    /// An empty line stands before it.
    after_gap: bool,
    depth: usize,
    /// Blocks around that stand on this line.
    depth_on_line: usize,
    /// Ends of lines since the last token.
    breaks: usize,
    /// The line goes on from the one before.
    continues: bool,
    /// What follows stands right at what is there.
    glue: bool,
}

#[derive(Default)]
struct Line {
    depth: usize,
    after_gap: bool,
    text: String,
    /// What stands behind it.
    comment: String,
}

impl Layout<'_> {
    fn take(&mut self, index: usize, token: Token) {
        let text = token.span.of(self.text);
        let on_line = self.on_line.get(index).copied().unwrap_or_default();
        match token.kind {
            Kind::Space => return,
            Kind::Newline => {
                // What `/-` puts aside may stand on the next line.
                if !self.line.ends_with("/-") {
                    self.end_node();
                }
                self.breaks += 1;
                return;
            }
            Kind::Continuation => {
                if !self.line.is_empty() {
                    self.push("\\");
                    self.end_line();
                    self.continues = true;
                    self.breaks = 0;
                }
                if let Some((_, comment)) = text.split_once("//") {
                    self.comment(&format!("//{comment}"));
                }
                self.breaks = 1;
                return;
            }
            Kind::LineComment => self.comment(text),
            Kind::Semicolon if self.depth_on_line > 0 => self.line.push(';'),
            Kind::Semicolon => self.end_node(),
            Kind::Equals => {
                self.line.push('=');
                self.glue = true;
            }
            Kind::Slashdash => {
                self.push(text);
                self.glue = true;
            }
            Kind::Open => {
                self.push("{");
                if on_line {
                    self.depth_on_line += 1;
                } else {
                    self.end_node();
                    self.depth += 1;
                }
            }
            Kind::Close if on_line => {
                self.depth_on_line = self.depth_on_line.saturating_sub(1);
                let kept = self.line.trim_end_matches(';').len();
                self.line.truncate(kept);
                self.glue = self.line.ends_with('{');
                self.push("}");
            }
            Kind::Close => {
                self.end_node();
                self.depth = self.depth.saturating_sub(1);
                self.breaks = self.breaks.min(1);
                self.push("}");
            }
            _ => self.push(text),
        }
        self.breaks = 0;
    }

    fn push(&mut self, text: &str) {
        if self.line.is_empty() {
            self.after_gap = self.breaks > 1;
        } else if !self.glue {
            self.line.push(' ');
        }
        self.glue = false;
        self.line.push_str(text);
    }

    fn comment(&mut self, text: &str) {
        let text = text.trim_end();
        if !self.line.is_empty() {
            self.end_line();
        } else if self.breaks > 0 || self.lines.last().is_none_or(|last| !last.comment.is_empty()) {
            self.push(text);
            self.end_line();
            return;
        }
        if let Some(last) = self.lines.last_mut() {
            text.clone_into(&mut last.comment);
        }
    }

    fn end_node(&mut self) {
        self.end_line();
        self.continues = false;
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.line);
        let opens = self.lines.last().is_none_or(|last| last.text.ends_with('{'));
        let depth = self.depth + usize::from(self.continues);
        let after_gap = self.after_gap && !opens;
        self.lines.push(Line { depth, after_gap, text, comment: String::new() });
        self.glue = false;
    }

    /// The lines, comments behind neighbours in one column.
    fn join(self) -> String {
        let mut out = String::new();
        let mut lines = self.lines.as_slice();
        while let Some(first) = lines.first() {
            let alike = |line: &&Line| {
                line.depth == first.depth && !line.comment.is_empty() && !line.text.contains('\n')
            };
            let run =
                1 + lines.iter().skip(1).take_while(|line| alike(line) && !line.after_gap).count();
            let run = if alike(&first) { run } else { 1 };
            let (here, rest) = lines.split_at_checked(run).unwrap_or((lines, &[]));
            let widest = here.iter().map(Line::width).max().unwrap_or_default();
            for line in here {
                if line.after_gap {
                    out.push('\n');
                }
                out.push_str(&" ".repeat(INDENT * line.depth));
                out.push_str(&line.text);
                if !line.comment.is_empty() {
                    out.push_str(&" ".repeat(1 + widest.saturating_sub(line.width())));
                    out.push_str(&line.comment);
                }
                out.push('\n');
            }
            lines = rest;
        }
        out
    }
}

impl Line {
    fn width(&self) -> usize {
        INDENT * self.depth + self.text.chars().count()
    }
}

const INDENT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(text: &str, expected: &str) {
        let laid_out = format(text.as_bytes()).unwrap();
        assert_eq!(laid_out, expected);
        assert_eq!(format(laid_out.as_bytes()).unwrap(), expected, "not idempotent");
    }

    #[test]
    fn blocks_are_indented_and_lines_kept() {
        becomes(
            "version   1\n\n\n\nedge{\n\n http \":80\" ;timeouts  read = \"1s\"\n\n}\n",
            "version 1\n\nedge {\n    http \":80\"\n    timeouts read=\"1s\"\n}\n",
        );
        becomes(
            "site \"a\" {\n route \"/*\" {to-app \"x\";}\n  route \"/b\" { a { b; c } ; d }}",
            "site \"a\" {\n    route \"/*\" { to-app \"x\" }\n    route \"/b\" { a { b; c }; d }\n}\n",
        );
        becomes("a {}\r\nb {\r\n}", "a {}\nb {\n}\n");
    }

    #[test]
    fn comments_stay() {
        becomes(
            "// one\n\n// two\nedge { // three\nhttp \":80\" // four\n  user \"long\"   // five\n}// six",
            "// one\n\n// two\nedge { // three\n    http \":80\"  // four\n    user \"long\" // five\n} // six\n",
        );
        becomes(
            "a /* b */ c /* d\n e */\n/- f {\n g\n}\nh /-i /-{\n}",
            "a /* b */ c /* d\n e */\n/-f {\n    g\n}\nh /-i /-{\n}\n",
        );
        becomes("a; // one\nb; c // two\n", "a // one\nb\nc // two\n");
        becomes("/-\n// x\n a b\n", "/- // x\na b\n");
    }

    #[test]
    fn lines_that_go_on_are_indented() {
        becomes("a b \\ // why\n c \\\n   d\ne\n", "a b \\ // why\n    c \\\n    d\ne\n");
        becomes("a \"\"\"\n  text\n  \"\"\"\nb\n", "a \"\"\"\n  text\n  \"\"\"\nb\n");
    }

    #[test]
    fn what_is_no_document_is_told() {
        assert_eq!(format(b"a {").unwrap_err().len(), 1);
        assert_eq!(format(b"").unwrap(), "");
    }
}
