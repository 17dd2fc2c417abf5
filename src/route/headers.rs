//! Header changes, compiled: which names a rule touches, and the lines it sets.

use crate::contract::route::{HeaderChanges, HeaderRules, RouteAction, RouteRule};
use crate::http1::changes::{self, Changes};
use crate::http1::encode;

/// The header changes of every rule, by the rule's index.
#[derive(Debug, Default)]
pub struct Headers {
    rules: Vec<Option<Box<Change>>>,
}

/// What one rule changes.
#[derive(Debug, Default)]
struct Change {
    request: Lines,
    response: Lines,
}

/// Changes of one head.
#[derive(Debug, Default)]
struct Lines {
    /// The lines that are set, each with its CRLF.
    text: Vec<u8>,
    /// What is set, and where its line ends in the text: it begins where the one before ends.
    set: Vec<(Box<[u8]>, usize)>,
    /// What is set or removed.
    touched: Vec<Box<[u8]>>,
}

impl Headers {
    /// The changes of `rules`. What would change a field that the edge is answerable for, or break a
    /// head, is left out.
    pub fn new(rules: &[RouteRule]) -> Self {
        let change = |rule: &RouteRule| {
            let own = match &rule.action {
                RouteAction::Headers(own) => Some(own),
                RouteAction::Redirect { .. } | RouteAction::ToApp { .. } => None,
            };
            let of_all = own.into_iter().chain(&rule.headers);
            let change = of_all.fold(Change::default(), Change::and);
            (!change.is_empty()).then(|| Box::new(change))
        };
        Self { rules: rules.iter().map(change).collect() }
    }

    /// Appends the rules that change anything, in their order: of those in `headers`, then `winner`.
    /// It is what an exchange remembers; empty wherever nothing is to be changed.
    pub fn collect(&self, headers: &[usize], winner: Option<usize>, list: &mut Vec<usize>) {
        let all = headers.iter().copied().chain(winner);
        list.extend(all.filter(|rule| self.change(*rule).is_some()));
    }

    /// The changes of a request by the rules of a [`Self::collect`]ed list; `None` by none.
    pub fn request<'a>(&'a self, list: &'a [usize]) -> Option<InForce<'a>> {
        self.in_force(list, Side::Request)
    }

    /// The changes of the answer by the rules of a [`Self::collect`]ed list; `None` by none.
    pub fn response<'a>(&'a self, list: &'a [usize]) -> Option<InForce<'a>> {
        self.in_force(list, Side::Response)
    }

    fn in_force<'a>(&'a self, list: &'a [usize], side: Side) -> Option<InForce<'a>> {
        let all = InForce { headers: self, list, side };
        all.lines(list).any(|lines| !lines.touched.is_empty()).then_some(all)
    }

    fn change(&self, rule: usize) -> Option<&Change> {
        self.rules.get(rule)?.as_deref()
    }
}

impl Change {
    fn and(mut self, rules: &HeaderRules) -> Self {
        self.request.add(&rules.request, changes::may_change_request, fold);
        self.response.add(&rules.response, changes::may_change_response, |byte| byte);
        self
    }

    fn is_empty(&self) -> bool {
        self.request.touched.is_empty() && self.response.touched.is_empty()
    }
}

impl Lines {
    fn add(&mut self, changes: &HeaderChanges, may_change: fn(&[u8]) -> bool, fold: fn(u8) -> u8) {
        let compiled = |name: &str| -> Box<[u8]> {
            name.bytes().map(|byte| fold(byte.to_ascii_lowercase())).collect()
        };
        let is_fit = |name: &str| is_token(name) && may_change(name.as_bytes());
        for (name, value) in &changes.set {
            if is_fit(name) && encode::is_clean(value.as_bytes()) && !value.contains('\x7f') {
                encode::line(name.as_bytes(), value.as_bytes(), &mut self.text);
                self.set.push((compiled(name), self.text.len()));
                self.touched.push(compiled(name));
            }
        }
        let removed = changes.remove.iter().filter(|name| is_fit(name));
        self.touched.extend(removed.map(|name| compiled(name)));
    }

    fn touch(&self, name: &[u8], fold: fn(u8) -> u8) -> bool {
        self.touched.iter().any(|touched| {
            touched.len() == name.len()
                && touched
                    .iter()
                    .zip(name)
                    .all(|(own, byte)| *own == fold(byte.to_ascii_lowercase()))
        })
    }

    /// Each name that is set, with its line.
    fn set(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.set.iter().map(|(_, end)| *end));
        self.set
            .iter()
            .zip(starts)
            .filter_map(|((name, end), start)| Some((name.as_ref(), self.text.get(start..*end)?)))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Request,
    Response,
}

/// Changes of one head by several rules: of each name, the last rule that touches it has the word.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    headers: &'a Headers,
    list: &'a [usize],
    side: Side,
}

impl<'a> InForce<'a> {
    fn lines(&self, list: &'a [usize]) -> impl Iterator<Item = &'a Lines> {
        let (headers, side) = (self.headers, self.side);
        list.iter().filter_map(|rule| headers.change(*rule)).map(move |change| match side {
            Side::Request => &change.request,
            Side::Response => &change.response,
        })
    }

    /// A worker may take `_` for `-`; a client does not.
    fn fold(&self) -> fn(u8) -> u8 {
        match self.side {
            Side::Request => fold,
            Side::Response => |byte| byte,
        }
    }
}

impl Changes for InForce<'_> {
    fn touch(&self, name: &[u8]) -> bool {
        let fold = self.fold();
        self.lines(self.list).any(|lines| lines.touch(name, fold))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let fold = self.fold();
        let mut later = self.list;
        while let Some((rule, rest)) = later.split_first() {
            later = rest;
            for (name, line) in self.lines(std::slice::from_ref(rule)).flat_map(Lines::set) {
                if !self.lines(later).any(|lines| lines.touch(name, fold)) {
                    out.extend_from_slice(line);
                }
            }
        }
    }
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

/// A field name (RFC 9110 §5.1).
fn is_token(name: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::route::Methods;
    use crate::ids::AppId;

    fn changes(set: &[(&str, &str)], remove: &[&str]) -> HeaderChanges {
        HeaderChanges {
            set: set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            remove: remove.iter().map(|name| (*name).into()).collect(),
        }
    }

    fn rule(request: HeaderChanges, response: HeaderChanges) -> RouteRule {
        RouteRule {
            id: String::new(),
            host: "*".into(),
            path_pattern: "/*".into(),
            methods: Methods::Any,
            action: RouteAction::ToApp { app_id: AppId::new("a") },
            priority: 0,
            explicit: false,
            headers: Some(HeaderRules { response, request }),
            timeouts: None,
            body_limit: None,
            line: None,
        }
    }

    fn response(rules: &[HeaderChanges]) -> Headers {
        let rules: Vec<_> =
            rules.iter().map(|own| rule(HeaderChanges::default(), own.clone())).collect();
        Headers::new(&rules)
    }

    fn written(changes: &impl Changes) -> String {
        let mut out = Vec::new();
        changes.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_word_wins_name_by_name() {
        let headers = response(&[
            changes(&[("X-A", "1"), ("X-B", "1"), ("X-C", "1")], &[]),
            changes(&[("x-a", "2"), ("Link", "one"), ("link", "two")], &["X-B"]),
            changes(&[("X-B", "3")], &["x-c", "Link-2"]),
        ]);
        let all = headers.response(&[0, 1, 2]).unwrap();
        assert_eq!(written(&all), "x-a: 2\r\nLink: one\r\nlink: two\r\nX-B: 3\r\n");
        let back = headers.response(&[2, 1, 0]).unwrap();
        assert_eq!(written(&back), "Link: one\r\nlink: two\r\nX-A: 1\r\nX-B: 1\r\nX-C: 1\r\n");
        for name in ["X-A", "x-b", "X-C", "LINK", "link-2"] {
            assert!(all.touch(name.as_bytes()), "{name}");
        }
        for name in ["X", "X-AA", "X_A", ""] {
            assert!(!all.touch(name.as_bytes()), "{name}");
        }
        let both = response(&[changes(&[("A", "b")], &["a"])]);
        assert_eq!(written(&both.response(&[0]).unwrap()), "A: b\r\n");
    }

    #[test]
    fn what_the_edge_is_answerable_for_is_out_of_reach() {
        let names = [
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "Keep-Alive",
            "Upgrade",
            "TE",
            "Trailer",
            "X-Request-Id",
            "Rip-Mark",
        ];
        let asserted =
            ["X-Forwarded-For", "X_Forwarded_Host", "X-Forwarded-Proto", "Host", "Proxy"];
        let set: Vec<_> = names.iter().chain(&asserted).map(|name| (*name, "1")).collect();
        let remove: Vec<_> = names.iter().chain(&asserted).copied().collect();
        let own = Headers::new(&[rule(changes(&set, &remove), HeaderChanges::default())]);
        let mut list = Vec::new();
        own.collect(&[], Some(0), &mut list);
        assert!(list.is_empty() && own.request(&[0]).is_none());
        let set: Vec<_> = names.iter().chain(&["Date"]).map(|name| (*name, "1")).collect();
        let own = response(&[changes(&set, &names)]);
        assert!(own.response(&[0]).is_none());
        let server = response(&[changes(&[], &["Server"])]);
        assert!(server.response(&[0]).is_some_and(|changes| changes.touch(b"server")));
    }

    #[test]
    fn nothing_can_break_out_of_its_line() {
        let own = response(&[changes(
            &[
                ("A", "b\r\nC: d"),
                ("E\r\nF", "g"),
                ("H:", "i"),
                ("", "j"),
                ("K", "\0"),
                ("M", "\x7f"),
                ("O", "p\tq"),
            ],
            &["R\n", ""],
        )]);
        let all = own.response(&[0]).unwrap();
        assert_eq!(written(&all), "O: p\tq\r\n");
        assert!(!all.touch(b"") && !all.touch(b"A"));
    }

    #[test]
    fn a_name_with_an_underscore_is_the_same_to_a_worker() {
        let own = changes(&[("X_User", "edge")], &["X-Admin"]);
        let headers = Headers::new(&[rule(own.clone(), own)]);
        let request = headers.request(&[0]).unwrap();
        assert!(["x-user", "X_USER", "x_admin"].iter().all(|name| request.touch(name.as_bytes())));
        let answer = headers.response(&[0]).unwrap();
        assert!(answer.touch(b"x_user") && !answer.touch(b"x-user") && !answer.touch(b"x_admin"));
    }

    #[test]
    fn only_rules_that_change_something_are_remembered() {
        let mut rules = vec![
            rule(HeaderChanges::default(), changes(&[], &["A"])),
            rule(changes(&[("B", "c")], &[]), HeaderChanges::default()),
            rule(HeaderChanges::default(), HeaderChanges::default()),
        ];
        let headers_only =
            HeaderRules { response: changes(&[("D", "e")], &[]), ..Default::default() };
        rules.push(RouteRule {
            action: RouteAction::Headers(headers_only),
            headers: None,
            ..rule(HeaderChanges::default(), HeaderChanges::default())
        });
        let headers = Headers::new(&rules);
        let mut list = Vec::new();
        headers.collect(&[3, 0, 2, 9], Some(1), &mut list);
        assert_eq!(list, [3, 0, 1]);
        assert_eq!(headers.request(&list).map(|all| written(&all)).as_deref(), Some("B: c\r\n"));
        assert_eq!(headers.response(&list).map(|all| written(&all)).as_deref(), Some("D: e\r\n"));
        assert!(headers.request(&[3, 0]).is_none() && headers.response(&[]).is_none());
    }
}
