//! Reading a `.env` file: `NAME=value` lines.
//!
//! Blank lines and lines beginning with `#` are skipped, `export ` is tolerated. A value in single
//! quotes is taken as it is; in double quotes `\n \t \r \" \\ \$` are understood; an unquoted one
//! ends before ` #` and is trimmed. Nothing is expanded.

/// The assignments of a file in order, and the numbers of lines that are none.
pub(crate) fn parse(text: &str) -> (Vec<(String, String)>, Vec<usize>) {
    let mut pairs = Vec::new();
    let mut odd = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line.strip_prefix("export ").unwrap_or(line)) {
            Some(pair) => pairs.push(pair),
            None => odd.push(index + 1),
        }
    }
    (pairs, odd)
}

fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let value = value.trim();
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let named = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if !starts_well || !name.chars().all(named) || value.contains('\0') {
        return None;
    }
    let value = match value.chars().next() {
        Some('\'') => until_quote(&value[1..])?.to_owned(),
        Some('"') => double_quoted(&value[1..])?,
        Some('#') | None => String::new(),
        Some(_) => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
    };
    Some((name.to_owned(), value))
}

/// What stands before the closing single quote; only a comment may follow it.
fn until_quote(value: &str) -> Option<&str> {
    let (inside, after) = value.split_once('\'')?;
    only_comment(after).then_some(inside)
}

fn double_quoted(value: &str) -> Option<String> {
    let mut inside = String::new();
    let mut letters = value.chars();
    loop {
        match letters.next()? {
            '"' => return only_comment(letters.as_str()).then_some(inside),
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
    fn lines_that_are_no_assignment_are_named() {
        let (pairs, odd) = parse("A\n1X=2\nB='open\nC=\"open\nD=\"x\" y\n=v\nok=1\nA B=2\n");
        assert_eq!(pairs, [("ok".to_owned(), "1".to_owned())]);
        assert_eq!(odd, [1, 2, 3, 4, 5, 6, 8]);
    }
}
