//! KDL 2 in tokens: the one place that knows which byte belongs to what.
//!
//! It runs before the parser, on input nobody has looked at: no recursion, one pass, time and memory
//! linear in the text. It keeps every token, white space and comments included, so that what is made
//! of tokens can be put together again.

use super::span::Span;
use crate::limits;

/// A piece of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Span,
}

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// White space within a line.
    Space,
    Newline,
    /// `\`, what follows on its line, and the line's end.
    Continuation,
    LineComment,
    BlockComment,
    /// `/-`.
    Slashdash,
    Semicolon,
    Open,
    Close,
    TypeOpen,
    TypeClose,
    Equals,
    /// An identifier without quotes.
    Word,
    /// A quoted string of any kind.
    Quoted,
    Number,
    /// `#true` and its like.
    Keyword,
}

/// What keeps the text from being tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub span: Span,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A text in tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    /// In order and without gaps. What is faulty is the token it was probably meant to be.
    pub list: Vec<Token>,
    /// What is wrong among them, at most [`limits::DIAGNOSTIC_COUNT`] and a few.
    pub faults: Vec<Fault>,
    /// They end before the text does: of what follows nothing can be told.
    pub is_cut: bool,
}

/// The tokens of `text`.
pub(super) fn tokens(text: &str) -> Tokens {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), faults: Vec::new() };
    // A byte order mark may stand first, and nowhere else.
    if text.starts_with(BOM) {
        lexer.at = BOM.len_utf8();
        lexer.push(Kind::Space, 0);
    }
    while lexer.at < text.len() && lexer.faults.len() < limits::DIAGNOSTIC_COUNT {
        if lexer.step().is_none() {
            break;
        }
    }
    Tokens { list: lexer.tokens, faults: lexer.faults, is_cut: lexer.at < text.len() }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    faults: Vec<Fault>,
}

/// The rest cannot be told.
type Lost = Option<()>;

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, span: Span::new(start, self.at) });
    }

    fn fault(&mut self, start: usize, end: usize, message: impl Into<String>, hint: &str) {
        self.faults.push(Fault::new(Span::new(start, end), message).hint(hint));
    }

    /// Takes what `wanted` takes.
    fn run(&mut self, wanted: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        let length = rest.find(|char| !wanted(char)).unwrap_or(rest.len());
        self.at += length;
        length
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn newline(&mut self) -> bool {
        if self.take("\r\n") {
            return true;
        }
        match self.peek() {
            Some(char) if is_newline(char) => {
                self.at += char.len_utf8();
                true
            }
            _ => false,
        }
    }

    fn step(&mut self) -> Lost {
        let start = self.at;
        if self.run(is_space) > 0 {
            self.push(Kind::Space, start);
            return Some(());
        }
        if self.newline() {
            self.push(Kind::Newline, start);
            return Some(());
        }
        if self.take("//") {
            self.run(|char| !is_newline(char));
            self.push(Kind::LineComment, start);
            self.check_hidden(start);
            return Some(());
        }
        if self.take("/*") {
            return self.block_comment(start);
        }
        if self.take("/-") {
            self.push(Kind::Slashdash, start);
            return Some(());
        }
        match self.peek()? {
            ';' => self.single(Kind::Semicolon),
            '{' => self.single(Kind::Open),
            '}' => self.single(Kind::Close),
            '(' => self.single(Kind::TypeOpen),
            ')' => self.single(Kind::TypeClose),
            '=' => self.single(Kind::Equals),
            '\\' => self.continuation(),
            '"' => self.quoted(start, 0),
            '#' => self.hash(),
            _ => self.word(),
        }
    }

    fn single(&mut self, kind: Kind) -> Lost {
        let start = self.at;
        self.at += 1;
        self.push(kind, start);
        Some(())
    }

    fn block_comment(&mut self, start: usize) -> Lost {
        let mut depth = 1;
        while depth > 0 {
            let Some(next) = self.rest().find(['/', '*']) else {
                self.fault(
                    start,
                    start + 2,
                    "this comment is never closed",
                    "end it with */; comments within comments need an end of their own",
                );
                return None;
            };
            self.at += next;
            if self.take("/*") {
                depth += 1;
                if depth > limits::EDGEFILE_DEPTH {
                    self.fault(
                        self.at - 2,
                        self.at,
                        format!("comments are nested more than {} deep", limits::EDGEFILE_DEPTH),
                        "close some of them with */",
                    );
                    return None;
                }
            } else if self.take("*/") {
                depth -= 1;
            } else {
                self.at += 1;
            }
        }
        self.push(Kind::BlockComment, start);
        self.check_hidden(start);
        Some(())
    }

    fn continuation(&mut self) -> Lost {
        let start = self.at;
        self.at += 1;
        self.run(is_space);
        if self.take("//") {
            self.run(|char| !is_newline(char));
        }
        if self.newline() || self.rest().is_empty() {
            self.push(Kind::Continuation, start);
        } else {
            self.fault(
                start,
                start + 1,
                "a \\ here must be the last thing on its line",
                "it carries a node on to the next line; in a path or a text it needs quotes",
            );
            self.push(Kind::Space, start);
        }
        Some(())
    }

    fn hash(&mut self) -> Lost {
        let start = self.at;
        let hashes = self.run(|char| char == '#');
        if self.rest().starts_with('"') {
            return self.quoted(start, hashes);
        }
        self.word_end();
        let word = self.text.get(start..self.at).unwrap_or_default();
        match word {
            "#true" | "#false" | "#null" | "#inf" | "#-inf" | "#nan" => {
                self.push(Kind::Keyword, start);
            }
            "#" => {
                let hint = "comments begin with //; a text with # in it stands in quotes";
                self.fault(start, self.at, "`#` begins no comment", hint);
                self.run(|char| !is_newline(char));
                self.push(Kind::Space, start);
            }
            _ => {
                let hint = match word.to_ascii_lowercase().as_str() {
                    "#true" | "#yes" | "#on" => "the words are #true and #false",
                    "#false" | "#no" | "#off" => "the words are #true and #false",
                    _ => "comments begin with //; a text with # in it stands in quotes",
                };
                let message = format!("`{}` is no word of KDL", shown(word));
                self.fault(start, self.at, message, hint);
                self.push(Kind::Keyword, start);
            }
        }
        Some(())
    }

    /// A string from its first `#` or quote; `at` is at the quote.
    fn quoted(&mut self, start: usize, hashes: usize) -> Lost {
        let is_multi = self.take("\"\"\"");
        if is_multi && !matches!(self.peek(), Some(char) if is_newline(char)) {
            // `""` and nothing more is an empty string; `"""` begins one of several lines.
            self.fault(
                start,
                self.at,
                "the text of a string in \"\"\" begins on the next line",
                "a string on one line has one quote at each end",
            );
            // It most likely ends where it should not have begun.
            let rest = self.rest();
            let line = rest.split(is_newline).next().unwrap_or_default();
            self.at += line.find("\"\"\"").map_or(line.len(), |at| at + 3);
            self.push(Kind::Quoted, start);
            return Some(());
        }
        if !is_multi {
            self.at += 1;
        }
        let body = self.at;
        let end =
            if hashes > 0 { self.raw_end(is_multi, hashes) } else { self.string_end(is_multi) };
        let Some(body_end) = end else {
            let hint = match (is_multi, hashes) {
                (true, _) => "end it with \"\"\" on a line of its own",
                (false, 0) => "end it with \" on the same line; longer texts stand in \"\"\"",
                _ => "a raw string ends with as many # as it begins with, on the same line",
            };
            self.fault(start, body, "this string is never closed", hint);
            if is_multi {
                return None;
            }
            // The line's end is the likeliest end.
            self.at = body;
            self.run(|char| !is_newline(char));
            self.push(Kind::Quoted, start);
            return Some(());
        };
        if is_multi {
            self.check_lines(start, body, body_end, hashes > 0);
        }
        if hashes == 0 {
            self.check_escapes(body, body_end);
        }
        self.check_hidden(start);
        self.push(Kind::Quoted, start);
        Some(())
    }

    /// Moves behind the closing quote; where the text before it ends.
    fn string_end(&mut self, is_multi: bool) -> Option<usize> {
        loop {
            let end = self.at;
            if is_multi && self.take("\"\"\"") {
                return Some(end);
            }
            match self.peek()? {
                '"' if !is_multi => {
                    self.at += 1;
                    return Some(end);
                }
                '\\' => {
                    self.at += 1;
                    // White space after a backslash belongs to it, line ends included.
                    if self.run(|char| is_space(char) || is_newline(char)) == 0 {
                        self.at += self.peek()?.len_utf8();
                    }
                }
                char if is_newline(char) && !is_multi => return None,
                char => self.at += char.len_utf8(),
            }
        }
    }

    fn raw_end(&mut self, is_multi: bool, hashes: usize) -> Option<usize> {
        let quotes = if is_multi { "\"\"\"" } else { "\"" };
        loop {
            let rest = self.rest();
            let next = rest.find('"')?;
            if !is_multi && rest.get(..next)?.contains(is_newline) {
                return None;
            }
            self.at += next;
            let end = self.at;
            if self.take(quotes) {
                let mut closing = self.rest().bytes();
                if (0..hashes).all(|_| closing.next() == Some(b'#')) {
                    self.at += hashes;
                    return Some(end);
                }
                self.at = end;
            }
            self.at += 1;
        }
    }

    /// The lines of a string of several lines all begin as its last line does.
    fn check_lines(&mut self, start: usize, body: usize, body_end: usize, is_raw: bool) {
        let body = self.text.get(body..body_end).unwrap_or_default().to_owned();
        let lines: Vec<&str> = split_lines(&body);
        let last = lines.last().copied().unwrap_or_default();
        let hint = "the closing quotes say how far the text is indented";
        // An escaped line end joins lines before they are looked at: that is left to the parser.
        if !is_raw && body.contains('\\') {
            return;
        }
        if !last.chars().all(is_space) {
            let message = "the closing \"\"\" must stand on a line of its own";
            self.fault(start, start + 3, message, hint);
            return;
        }
        let odd = lines.iter().any(|line| !line.starts_with(last) && !line.chars().all(is_space));
        if odd {
            let message = "a line of this text is indented less than its closing quotes";
            self.fault(start, start + 3, message, hint);
        }
    }

    fn check_escapes(&mut self, body: usize, body_end: usize) {
        let mut at = body;
        while let Some(next) = self.text.get(at..body_end).and_then(|rest| rest.find('\\')) {
            let escape = at + next;
            let rest = self.text.get(escape + 1..body_end).unwrap_or_default();
            let Some(char) = rest.chars().next() else { return };
            at = escape + 1 + char.len_utf8();
            let is_known = match char {
                'n' | 'r' | 't' | '\\' | '"' | 'b' | 'f' | 's' => true,
                'u' => {
                    let code = rest.strip_prefix("u{").and_then(|rest| rest.split_once('}'));
                    code.is_some_and(|(digits, _)| {
                        (1..=6).contains(&digits.len())
                            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
                            && u32::from_str_radix(digits, 16)
                                .is_ok_and(|code| char::from_u32(code).is_some())
                    })
                }
                char => is_space(char) || is_newline(char),
            };
            if !is_known {
                let message = format!("`\\{}` is no escape", shown(&char.to_string()));
                let hint = "a backslash is written \\\\, or the text stands raw: #\"…\"#";
                self.fault(escape, at, message, hint);
            }
        }
    }

    /// Characters that an editor does not show, in the token from `start`.
    fn check_hidden(&mut self, start: usize) {
        let token = self.text.get(start..self.at).unwrap_or_default();
        if let Some((at, char)) = token.char_indices().find(|(_, char)| is_hidden(*char)) {
            self.fault(
                start + at,
                start + at + char.len_utf8(),
                format!("the invisible character U+{:04X} may not stand here", u32::from(char)),
                "remove it; in a string it can be written \\u{…}",
            );
        }
    }

    fn word_end(&mut self) {
        self.run(is_word);
    }

    fn word(&mut self) -> Lost {
        let start = self.at;
        self.word_end();
        if self.at == start {
            // Nothing else takes it: a lone slash, or a control character.
            let char = self.peek()?;
            self.at += char.len_utf8();
            if is_hidden(char) {
                self.check_hidden(start);
                return Some(());
            }
            self.run(|char| is_word(char) || matches!(char, '/' | '[' | ']'));
            let word = shown(self.text.get(start..self.at).unwrap_or_default());
            let message = format!("`{word}` needs quotes");
            self.fault(start, self.at, message, &format!("write \"{word}\""));
            self.push(Kind::Word, start);
            return Some(());
        }
        // What stands at a slash or a quote without a space is one word that lacks its quotes.
        let is_raw = self.at == start + 1
            && self.text.get(start..self.at) == Some("r")
            && self.rest().starts_with(['"', '#']);
        if is_raw {
            self.run(|char| char == '#');
            let hint = "raw strings are written #\"…\"# (KDL 2)";
            self.fault(start, self.at, "`r` before a string is KDL 1", hint);
            self.at += usize::from(self.rest().starts_with('"'));
            self.run(|char| !is_newline(char) && char != '"');
            self.take("\"");
            self.run(|char| char == '#');
            self.push(Kind::Quoted, start);
            return Some(());
        }
        if self.rest().starts_with('/') && !self.rest().starts_with("//") {
            let is_comment = self.rest().starts_with("/*") || self.rest().starts_with("/-");
            if !is_comment {
                while self.take("/") {
                    self.word_end();
                }
                let word = shown(self.text.get(start..self.at).unwrap_or_default());
                let message = format!("`{word}` needs quotes");
                self.fault(start, self.at, message, &format!("write \"{word}\""));
                self.push(Kind::Word, start);
                return Some(());
            }
        }
        self.check_hidden(start);
        let word = self.text.get(start..self.at).unwrap_or_default();
        match classify(word) {
            Ok(kind) => self.push(kind, start),
            Err((message, hint)) => {
                self.fault(start, self.at, message, &hint);
                self.push(Kind::Word, start);
            }
        }
        Some(())
    }
}

/// What a word without quotes is.
fn classify(word: &str) -> Result<Kind, (String, String)> {
    match word {
        "true" | "false" => {
            return Err((
                format!("`{word}` is written `#{word}` (KDL 2)"),
                format!("write #{word}, or \"{word}\" where a text is meant"),
            ));
        }
        "null" | "inf" | "-inf" | "nan" => {
            return Err((
                format!("`{word}` without quotes is a reserved word"),
                format!("write \"{word}\" where a text is meant"),
            ));
        }
        _ => {}
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let numeric = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if !numeric.starts_with(|char: char| char.is_ascii_digit()) {
        return Ok(Kind::Word);
    }
    if is_number(unsigned) {
        return Ok(Kind::Number);
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return Err((format!("the number {} is too large", shown(word)), String::new()));
    }
    Err((
        format!("`{}` is neither a number nor a text", shown(word)),
        format!("a text that begins with a digit stands in quotes: \"{}\"", shown(word)),
    ))
}

fn is_number(unsigned: &str) -> bool {
    let digits = |text: &str, radix: u32| {
        text.starts_with(|char: char| char.is_digit(radix))
            && text.chars().all(|char| char.is_digit(radix) || char == '_')
    };
    let fits = |text: &str, radix| {
        digits(text, radix) && i128::from_str_radix(&text.replace('_', ""), radix).is_ok()
    };
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = unsigned.strip_prefix(prefix) {
            return fits(rest, radix);
        }
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits =
        exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text), 10));
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole, 10) && digits(part, 10),
        None if exponent.is_some() => digits(mantissa, 10),
        None => fits(mantissa, 10),
    };
    exponent_fits && mantissa_fits
}

/// `text` in one line, not too long to be shown.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .map(|char| if is_hidden(char) { '\u{fffd}' } else { char })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// The lines of the body of a string of several lines, without the empty one it begins with.
fn split_lines(body: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = body;
    while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_newline(*char)) {
        lines.push(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + char.len_utf8()..).unwrap_or_default();
        if char == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
    lines.push(rest);
    lines.drain(..1.min(lines.len()));
    lines
}

/// Ends a line.
pub(super) fn is_newline(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// White space within a line.
pub(super) fn is_space(char: char) -> bool {
    matches!(
        char,
        '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// May not stand in a document at all: controls, marks of writing direction, a stray byte order mark.
pub(super) fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\0'..='\u{8}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | BOM
    )
}

fn is_word(char: char) -> bool {
    !matches!(char, '\\' | '/' | '(' | ')' | '{' | '}' | '[' | ']' | ';' | '"' | '#' | '=')
        && !is_space(char)
        && !is_newline(char)
        && !is_hidden(char)
}

const BOM: char = '\u{feff}';
