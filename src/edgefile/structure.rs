//! Tokens in nodes: which of them are names, values and blocks, and which are put aside by `/-`.
//!
//! The grammar of KDL 2 without its values, checked without recursion, so that the parser sees only
//! documents it takes:
//!
//! ```text
//!   Between ──name──▶ Within ──name, value, name = value──▶ Within
//!      ▲ ▲               │ └──── { ────▶ Between (one deeper)
//!      │ └── newline ; ──┘                  │ }
//!      └──────── newline ; ───── Behind ◀───┘
//! ```

use super::lexer::{Fault, Kind, Token, Tokens, shown};
use super::span::Span;
use super::suggest::nearest;
use crate::limits;

/// How a text is divided.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// Names, and values with their names if they have one, of each node in the order in which they
    /// begin; without what is put aside.
    pub nodes: Vec<NodeSpans>,
    /// What does not count: comments, and all that is behind `/-`.
    pub aside: Vec<Span>,
}

/// Where the parts of one node are.
#[derive(Debug, Default)]
pub(super) struct NodeSpans {
    pub name: Span,
    pub entries: Vec<EntrySpans>,
}

/// Where an argument or a property is.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntrySpans {
    pub name: Option<Span>,
    pub value: Span,
}

/// Divides `tokens`.
///
/// # Errors
/// What is wrong, by its place; those of the tokens themselves among them.
pub(super) fn divide(text: &str, tokens: Tokens) -> Result<Structure, Vec<Fault>> {
    let Tokens { list, faults, is_cut } = tokens;
    let mut divider = Divider {
        text,
        tokens: list,
        at: 0,
        open: Vec::new(),
        node: None,
        odd_indent: None,
        is_doubtful: !faults.is_empty(),
        faults,
        count: 0,
        structure: Structure::default(),
    };
    let whole = divider.run();
    if whole.is_some() && !is_cut {
        divider.end();
    }
    let Divider { mut faults, structure, .. } = divider;
    if faults.is_empty() {
        return Ok(structure);
    }
    faults.sort_by_key(|fault| fault.span);
    faults.dedup_by_key(|fault| fault.span.start);
    faults.truncate(limits::DIAGNOSTIC_COUNT);
    Err(faults)
}

/// Texts of `env` nodes, and those that fields are set to, as far as tokens tell them, for a text that is not whole.
pub(super) fn secrets(text: &str, tokens: &[Token]) -> Vec<Span> {
    let mut found = Vec::new();
    let mut is_start = true;
    // Blocks that are open within `env`; `None` outside of it.
    let mut within: Option<usize> = None;
    for (index, token) in tokens.iter().enumerate() {
        match (token.kind, within) {
            (Kind::Word, None) if is_start && has_secrets(token.span.of(text)) => within = Some(0),
            (Kind::Newline | Kind::Semicolon, Some(0)) => within = None,
            (Kind::Open, Some(depth)) => within = Some(depth + 1),
            (Kind::Close, Some(depth)) => within = depth.checked_sub(1),
            (Kind::Word | Kind::Quoted | Kind::Number, Some(_)) if !is_start => {
                let rest = tokens.get(index + 1..).unwrap_or_default();
                let next = rest.iter().find(|next| next.kind != Kind::Space);
                if next.is_none_or(|next| next.kind != Kind::Equals) {
                    found.push(token.span);
                }
            }
            _ => {}
        }
        let keeps = matches!(token.kind, Kind::Space | Kind::BlockComment);
        let starts = matches!(
            token.kind,
            Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close | Kind::Slashdash
        );
        is_start = starts || is_start && keeps;
    }
    found
}

fn has_secrets(name: &str) -> bool {
    is_env(name) || name.eq_ignore_ascii_case("set")
}

/// Whether a node of this name most likely sets variables.
pub(super) fn is_env(name: &str) -> bool {
    name.to_ascii_lowercase().contains("env") || nearest(name, ["env"]).is_some()
}

struct Divider<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// Blocks around, outermost first.
    open: Vec<Block>,
    /// The node that has begun and not ended.
    node: Option<Begun>,
    /// The first block whose end is indented unlike its beginning.
    odd_indent: Option<Span>,
    faults: Vec<Fault>,
    /// The tokens themselves are faulty.
    is_doubtful: bool,
    /// Nodes so far.
    count: usize,
    structure: Structure,
}

/// A block that has not ended, and its node.
struct Block {
    brace: Span,
    /// Where its own `/-` is.
    aside: Option<Span>,
    node: Begun,
}

/// A node that has not ended.
struct Begun {
    /// Where its own `/-` is.
    aside: Option<Span>,
    /// It, or something around it, does not count.
    is_aside: bool,
    /// The end of its last token.
    last: Span,
    /// A block of it has ended.
    behind: bool,
}

impl Divider<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// Skips white space; whether there was any.
    fn spaces(&mut self, lines: bool) -> bool {
        let before = self.at;
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Space | Kind::Continuation => {}
                Kind::BlockComment => self.structure.aside.push(token.span),
                Kind::LineComment if lines => self.structure.aside.push(token.span),
                Kind::Newline if lines => {}
                _ => break,
            }
            self.at += 1;
        }
        self.at > before
    }

    fn fault(&mut self, span: Span, message: impl Into<String>, hint: &str) {
        self.faults.push(Fault::new(span, message).hint(hint));
    }

    /// Nodes until the text ends; `None` when it is given up.
    fn run(&mut self) -> Option<()> {
        while self.faults.len() < limits::DIAGNOSTIC_COUNT {
            match self.node.take() {
                Some(node) => self.within(node)?,
                None => {
                    self.spaces(true);
                    let Some(token) = self.peek() else { return Some(()) };
                    self.between(token)?;
                }
            }
        }
        None
    }

    /// Between two nodes; `token` is not white space.
    fn between(&mut self, token: Token) -> Option<()> {
        let around = self.open.last().is_some_and(|block| block.is_aside());
        let (aside, token) = if token.kind == Kind::Slashdash {
            self.at += 1;
            self.spaces(true);
            let Some(next) = self.peek() else {
                self.fault(token.span, "nothing follows this `/-`", DASH_HINT);
                return Some(());
            };
            (Some(token.span), next)
        } else {
            (None, token)
        };
        let begun =
            Begun { aside, is_aside: around || aside.is_some(), last: token.span, behind: false };
        self.at += 1;
        match token.kind {
            Kind::Word | Kind::Quoted => {
                self.count += 1;
                if self.count > limits::EDGEFILE_NODE_COUNT {
                    let message =
                        format!("the file has more than {} nodes", limits::EDGEFILE_NODE_COUNT);
                    self.fault(token.span, message, "is it the right file?");
                    return None;
                }
                if !begun.is_aside {
                    let node = NodeSpans { name: token.span, entries: Vec::new() };
                    self.structure.nodes.push(node);
                }
                if let (Some(mark), "kdl-version") = (aside, token.span.of(self.text)) {
                    self.check_marker(mark);
                }
                self.node = Some(begun);
                self.check_type_like();
            }
            Kind::Close | Kind::Slashdash if aside.is_some() => {
                self.at -= 1;
                self.fault(token.span, "nothing follows this `/-`", DASH_HINT);
                self.skip_dash();
            }
            Kind::Close => self.close(token.span),
            Kind::Open => {
                let hint = "the { stands on the same line as the node it belongs to";
                self.fault(token.span, "this block belongs to no node", hint);
                return self.push_block(token.span, None, Begun { is_aside: true, ..begun });
            }
            Kind::Semicolon => {
                self.fault(token.span, "nothing stands before this `;`", "remove it");
            }
            Kind::TypeOpen => {
                self.fault(token.span, TYPE, "remove the parentheses and what is in them");
                self.skip_node(begun);
            }
            _ => {
                let found = shown(token.span.of(self.text));
                let message = format!("expected the name of a node, not `{found}`");
                self.fault(token.span, message, "a line begins with a word: workers 4");
                self.skip_node(begun);
            }
        }
        Some(())
    }

    /// `name: value` and `name(value)` of other languages.
    fn check_type_like(&mut self) {
        if let Some(Token { kind: Kind::TypeOpen, span }) = self.peek() {
            self.fault(span, TYPE, "remove the parentheses; arguments follow a space: workers 4");
            self.skip_entries();
        }
    }

    fn check_marker(&mut self, mark: Span) {
        let rest = self.text.get(mark.start as usize..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        if line.split_whitespace().last() == Some("1") {
            let span = Span::new(mark.start as usize, mark.start as usize + line.len());
            self.fault(
                span,
                "this document says that it is KDL 1",
                "an Edgefile is KDL 2: #true instead of true, #\"…\"# instead of r\"…\"",
            );
        }
    }

    /// Within a node: its next part, or its end.
    fn within(&mut self, mut node: Begun) -> Option<()> {
        let spaced = self.spaces(false);
        let Some(token) = self.peek() else {
            self.end_node(&node);
            return Some(());
        };
        match token.kind {
            Kind::LineComment => {
                self.structure.aside.push(token.span);
                self.at += 1;
                self.node = Some(node);
                return Some(());
            }
            Kind::Newline | Kind::Semicolon => {
                self.at += 1;
                self.end_node(&node);
                return Some(());
            }
            Kind::Close => {
                self.end_node(&node);
                return Some(());
            }
            Kind::Open => {
                self.at += 1;
                if node.behind {
                    let hint = "put all of it into one block";
                    self.fault(token.span, "this node has a block already", hint);
                    node.is_aside = true;
                }
                return self.push_block(token.span, None, node);
            }
            _ => {}
        }
        if node.behind && token.kind != Kind::Slashdash {
            let hint = "put it before the {, or on a line of its own";
            self.fault(token.span, "nothing may follow a block on its line", hint);
            self.skip_node(node);
            return Some(());
        }
        if !spaced && token.kind != Kind::Equals {
            let found = shown(token.span.of(self.text));
            let message = format!("a space is missing before `{found}`");
            self.fault(token.span, message, "names and values stand apart");
            self.skip_node(node);
            return Some(());
        }
        let mut aside = None;
        if token.kind == Kind::Slashdash {
            self.at += 1;
            self.spaces(true);
            aside = Some(token.span);
            match self.peek() {
                Some(Token { kind: Kind::Open, span }) => {
                    self.at += 1;
                    return self.push_block(span, aside, node);
                }
                Some(Token { kind: Kind::Close | Kind::Semicolon, .. }) | None => {
                    self.fault(token.span, "nothing follows this `/-`", DASH_HINT);
                    self.node = Some(node);
                    return Some(());
                }
                Some(_) if node.behind => {
                    let hint = "put it before the {, or on a line of its own";
                    self.fault(token.span, "nothing may follow a block on its line", hint);
                    self.skip_node(node);
                    return Some(());
                }
                Some(_) => {}
            }
        }
        match self.entry() {
            Some(entry) => {
                node.last = entry.value;
                if let Some(mark) = aside {
                    self.structure.aside.push(mark.to(entry.value));
                } else if !node.is_aside
                    && let Some(last) = self.structure.nodes.last_mut()
                {
                    last.entries.push(entry);
                }
                self.node = Some(node);
            }
            None => self.skip_node(node),
        }
        Some(())
    }

    /// An argument or a property; `None` when it is neither, which has been told.
    fn entry(&mut self) -> Option<EntrySpans> {
        let first = self.next()?;
        match first.kind {
            Kind::Word | Kind::Quoted | Kind::Number | Kind::Keyword => {}
            Kind::Equals => {
                let hint = "the value of a node follows its name without `=`: workers 4";
                self.fault(
                    first.span,
                    "a `=` stands only between name and value of a property",
                    hint,
                );
                return None;
            }
            Kind::TypeOpen => {
                self.fault(first.span, TYPE, "remove the parentheses and what is in them");
                return None;
            }
            _ => {
                let found = shown(first.span.of(self.text));
                let hint = "a text stands in quotes, a block in { and }";
                self.fault(first.span, format!("`{found}` is no value"), hint);
                return None;
            }
        }
        let back = (self.at, self.structure.aside.len());
        self.spaces(false);
        if self.peek().is_none_or(|token| token.kind != Kind::Equals) {
            self.at = back.0;
            self.structure.aside.truncate(back.1);
            return Some(EntrySpans { name: None, value: first.span });
        }
        let equals = self.next()?.span;
        if !matches!(first.kind, Kind::Word | Kind::Quoted) {
            let found = shown(first.span.of(self.text));
            let message = format!("`{found}` cannot be the name of a property");
            self.fault(first.span, message, "names are words: methods=\"GET\"");
            return None;
        }
        self.spaces(false);
        match self.peek() {
            Some(Token {
                kind: Kind::Word | Kind::Quoted | Kind::Number | Kind::Keyword,
                span,
            }) => {
                self.at += 1;
                Some(EntrySpans { name: Some(first.span), value: span })
            }
            Some(Token { kind: Kind::TypeOpen, span }) => {
                self.fault(span, TYPE, "remove the parentheses and what is in them");
                None
            }
            _ => {
                let name = shown(first.span.of(self.text));
                let hint = format!("write {name}=\"…\"");
                self.fault(equals, format!("`{name}` has no value"), &hint);
                None
            }
        }
    }

    fn push_block(&mut self, brace: Span, aside: Option<Span>, node: Begun) -> Option<()> {
        if self.open.len() >= limits::EDGEFILE_DEPTH {
            let message = format!("blocks are nested more than {} deep", limits::EDGEFILE_DEPTH);
            self.fault(brace, message, "nothing in an Edgefile needs more than five");
            return None;
        }
        self.open.push(Block { brace, aside, node });
        Some(())
    }

    fn close(&mut self, brace: Span) {
        let Some(Block { brace: opening, aside, mut node }) = self.open.pop() else {
            let hint = "remove it, or look for a block above that ends too early";
            self.fault(brace, "this `}` closes nothing", hint);
            return;
        };
        if let Some(indent) = self.indent_before(brace)
            && indent != self.indent_of_line(opening)
        {
            self.odd_indent.get_or_insert(opening);
        }
        if let Some(mark) = aside {
            self.structure.aside.push(mark.to(brace));
        } else {
            node.behind = true;
        }
        node.last = brace;
        self.node = Some(node);
    }

    fn end_node(&mut self, node: &Begun) {
        if let Some(mark) = node.aside {
            self.structure.aside.push(mark.to(node.last));
        }
    }

    /// Skips the rest of a faulty node up to a block, which is looked into.
    fn skip_node(&mut self, node: Begun) {
        self.skip_entries();
        self.node = Some(node);
    }

    /// Gets past a `/-` that another one puts aside.
    fn skip_dash(&mut self) {
        if self.peek().is_some_and(|token| token.kind == Kind::Slashdash) {
            self.at += 1;
        }
    }

    fn skip_entries(&mut self) {
        while let Some(token) = self.peek() {
            if matches!(token.kind, Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close) {
                break;
            }
            self.at += 1;
        }
    }

    /// What is wrong at the end of the text.
    fn end(&mut self) {
        // A text without an end may have taken the brace with it.
        let Some(block) = self.open.last().filter(|_| !self.is_doubtful) else { return };
        let brace = self.odd_indent.unwrap_or(block.brace);
        let hint = if self.odd_indent.is_some() {
            "add a }; by the indentation this is the block that lacks one"
        } else {
            "add a }"
        };
        self.fault(brace, "this block is never closed", hint);
    }

    /// The white space before what stands first on its line; `None` for what does not.
    fn indent_before(&self, span: Span) -> Option<&str> {
        let before = self.text.get(..span.start as usize)?;
        let line = before.rsplit('\n').next()?;
        line.trim().is_empty().then_some(line)
    }

    fn indent_of_line(&self, span: Span) -> &str {
        let before = self.text.get(..span.start as usize).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.get(..line.len() - line.trim_start().len()).unwrap_or_default()
    }
}

impl Block {
    fn is_aside(&self) -> bool {
        self.aside.is_some() || self.node.is_aside
    }
}

const TYPE: &str = "annotations of types have no meaning in an Edgefile";
const DASH_HINT: &str = "`/-` puts the node, value or block that follows aside";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edgefile::lexer::tokens;

    /// The names and values of each node, as they are written.
    fn read(text: &str) -> Vec<String> {
        let structure = divide(text, tokens(text)).unwrap();
        let entry = |entry: &EntrySpans| match entry.name {
            Some(name) => format!("{}={}", name.of(text), entry.value.of(text)),
            None => entry.value.of(text).to_owned(),
        };
        structure
            .nodes
            .iter()
            .map(|node| {
                let entries: Vec<String> = node.entries.iter().map(entry).collect();
                format!("{} {}", node.name.of(text), entries.join(" ")).trim_end().to_owned()
            })
            .collect()
    }

    fn faults(text: &str) -> Vec<String> {
        let faults = divide(text, tokens(text)).map(|_| Vec::new()).unwrap_or_else(|faults| faults);
        faults.into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn nodes_are_in_the_order_of_their_beginnings() {
        assert_eq!(read("a 1 b=2 { c; d \"x\" { e } }\nf"), ["a 1 b=2", "c", "d \"x\"", "e", "f"]);
        assert_eq!(read("a b = 1 \\\n c\n"), ["a b=1 c"]);
        assert_eq!(read("a{b}"), ["a", "b"]);
    }

    #[test]
    fn what_is_put_aside_does_not_count() {
        assert_eq!(read("/-a 1 { b }\nc"), ["c"]);
        assert_eq!(read("a /-1 /-b=2 3 /-{ c } { d } /-{ e }"), ["a 3", "d"]);
        assert_eq!(read("a { /-b { /-c; d }; e }"), ["a", "e"]);
        assert_eq!(read("/-\n\na\nb"), ["b"]);
        assert_eq!(read("a /* 1 */ 2 // 3\n"), ["a 2"]);
    }

    #[test]
    fn faults_are_told_together() {
        let text = "a = 1\nb 2s\nc {\n  d }}\n}\n";
        assert_eq!(faults(text).len(), 4, "{:?}", faults(text));
        assert_eq!(faults("a {\n  b {\n  c\n}\n"), ["this block is never closed"]);
        assert_eq!(faults("a } b"), ["this `}` closes nothing"]);
    }

    #[test]
    fn variables_are_found_without_a_whole_text() {
        let text = "app {\n env A=1 B=\"2\" { C \"3\"; D 4 }\n e 5\n env 6\n";
        let secrets = secrets(text, &tokens(text).list);
        let found: Vec<&str> = secrets.iter().map(|span| span.of(text)).collect();
        assert_eq!(found, ["1", "\"2\"", "\"3\"", "4", "6"]);
        for text in
            ["set X=\"7\"\n", "env:\"7\"\n", "env: A=\"7\"\n", "ENV A \"7\"\n", "evn A=\"7\"\n"]
        {
            let secrets = super::secrets(text, &tokens(text).list);
            assert!(secrets.iter().any(|span| span.of(text) == "\"7\""), "{text}");
        }
        assert!(["edge", "entry", "set", "hosts", "user"].iter().all(|name| !is_env(name)));
    }
}
