//! A file of environment variables, such as `.env`: `NAME=value` lines.
//!
//! Blank lines and lines beginning with `#` are skipped, `export ` is tolerated. A value in single
//! quotes is taken as it is; in double quotes `\n \t \r \" \\ \$` are understood; both may go on over
//! several lines, as keys and certificates do. An unquoted one ends with its line, or before a `#`
//! that follows a space, and is trimmed. Nothing is expanded.

/// The assignments of a file in order (of two with one name the later is meant), and the numbers of
/// lines that are none. A quote that is never closed makes its first line one of these.
pub fn parse(text: &str) -> (Vec<(String, String)>, Vec<usize>) {
    let mut pairs = Vec::new();
    let mut odd = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut number = 1;
    while !rest.is_empty() {
        let (line, mut after) = rest.split_once('\n').unwrap_or((rest, ""));
        let begin = line.trim();
        if !begin.is_empty() && !begin.starts_with('#') {
            match assignment(rest.trim_start()) {
                Some((name, value, end)) => {
                    pairs.push((name.to_owned(), value));
                    after = end;
                }
                None => odd.push(number),
            }
        }
        let read = rest.len() - after.len();
        number += rest.get(..read).map_or(0, |read| read.matches('\n').count());
        rest = after;
    }
    (pairs, odd)
}

/// The assignment that `text` begins with, and what follows the last line of it.
fn assignment(text: &str) -> Option<(&str, String, &str)> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let (name, value) = line.split_once('=')?;
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let named = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if !starts_well || !name.chars().all(named) {
        return None;
    }
    let value = value.trim();
    let (value, after) = if let Some(quote @ ('\'' | '"')) = value.chars().next() {
        let (_, quoted) = text.split_once(quote)?;
        let (inside, end) =
            if quote == '"' { double_quoted(quoted)? } else { single_quoted(quoted)? };
        let (comment, after) = end.split_once('\n').unwrap_or((end, ""));
        if !only_comment(comment) {
            return None;
        }
        (inside, after)
    } else {
        (unquoted(value).to_owned(), after)
    };
    (!value.contains('\0')).then_some((name, value, after))
}

/// What stands before a comment.
fn unquoted(value: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| {
        value.get(..*at).is_some_and(|before| {
            before.is_empty() || before.ends_with(|letter: char| letter.is_whitespace())
        })
    };
    let comment = value.match_indices('#').find(begins);
    comment.and_then(|(at, _)| value.get(..at)).unwrap_or(value).trim_end()
}

/// What stands before the closing quote, and what after it. A line ends with `\n` wherever it was
/// written.
fn single_quoted(text: &str) -> Option<(String, &str)> {
    let (inside, after) = text.split_once('\'')?;
    Some((inside.replace("\r\n", "\n"), after))
}

fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '"' => return Some((inside, letters.as_str())),
            '\r' if letters.as_str().starts_with('\n') => {}
            '\\' => match letters.next()? {
                'n' => inside.push('\n'),
                'r' => inside.push('\r'),
                't' => inside.push('\t'),
                same @ ('"' | '\\' | '$') => inside.push(same),
                other => inside.extend(['\\', other]),
            },
            letter => inside.push(letter),
        }
    }
}

fn only_comment(rest: &str) -> bool {
    let rest = rest.trim();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_people_write_them() {
        let (pairs, odd) = parse(concat!(
            "# comment\n\nA=1\nexport B = two words  # why\nC='it is # $literal'\n",
            "D=\"a\\nb \\\"q\\\" \\\\ \\x\" # c\nE=\nF=a=b\r\nG=#none\nH=x#y\n",
        ));
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "it is # $literal"),
            ("D", "a\nb \"q\" \\ \\x"),
            ("E", ""),
            ("F", "a=b"),
            ("G", ""),
            ("H", "x#y"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(pairs, expected);
        assert!(odd.is_empty());
    }

    #[test]
    fn quoted_values_go_on_over_several_lines() {
        let (pairs, odd) = parse(concat!(
            "\u{feff}KEY=\"-----BEGIN KEY-----\r\nab+/=\r\n-----END KEY-----\" # mine\r\n",
            "ODD=\"never closed\n  export B='one\n\n# no comment\nthree'\nnone\nC=1\t# why\nC='it''s'\nC=2",
        ));
        let expected = [
            ("KEY", "-----BEGIN KEY-----\nab+/=\n-----END KEY-----"),
            ("B", "one\n\n# no comment\nthree"),
            ("C", "1"),
            ("C", "2"),
        ];
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expected);
        assert_eq!(odd, [4, 9, 11]);
    }

    #[test]
    fn lines_that_are_no_assignment_are_named() {
        let (pairs, odd) = parse("A\n1X=2\nB='open\nC=\"open\nD=\"x\" y\n=v\nok=1\nA B=2\n");
        assert_eq!(pairs, [("ok".to_owned(), "1".to_owned())]);
        assert_eq!(odd, [1, 2, 3, 4, 5, 6, 8]);
    }
}
