//! The terse tokens of `start`, turned into flags before the flag parser sees them.
//!
//! `start examples/hello w:2 8080 blog` becomes `start --workers=2 --bare-port=8080 -- …` with the
//! words `examples/hello` and `blog`. Tokens may stand in any order, also between flags. Whatever
//! has the shape of a token and is none is an error with the token that was probably meant: it is
//! never taken for a path or a name.

use super::exit::Failure;
use super::suggest::nearest;
use super::value;

/// The arguments of `start`, sorted.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Expanded {
    /// Flags for the flag parser: those given, and those that tokens stand for.
    pub flags: Vec<String>,
    /// What is neither a flag nor a token: the entry and the name.
    pub words: Vec<String>,
    /// What follows `--`; `None` without it.
    pub command: Option<Vec<String>>,
}

/// Sorts the arguments after `start`. `takes_value` says of a long flag whether the next argument
/// belongs to it; unknown flags are left for the flag parser to refuse.
///
/// # Errors
/// The first token that is wrong, with a suggestion.
pub fn expand(
    arguments: &[String],
    takes_value: impl Fn(&str) -> bool,
) -> Result<Expanded, Failure> {
    let mut expanded = Expanded::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            expanded.command = Some(rest.as_slice().to_vec());
            break;
        }
        if argument.starts_with('-') && argument.len() > 1 {
            expanded.flags.push(argument.clone());
            if takes_value(argument) {
                expanded.flags.extend(rest.next().cloned());
            }
            continue;
        }
        match token(argument)? {
            Token::Flags(flags) => {
                for flag in flags {
                    // `http http:8080` says one thing in two words.
                    let is_said = matches!(&*flag, "--plain" | "--https");
                    if !is_said || !expanded.flags.contains(&flag) {
                        expanded.flags.push(flag);
                    }
                }
            }
            Token::Word => expanded.words.push(argument.clone()),
        }
    }
    Ok(expanded)
}

#[derive(Debug, Eq, PartialEq)]
enum Token {
    /// Stands for these flags.
    Flags(Vec<String>),
    /// An entry or a name.
    Word,
}

fn token(text: &str) -> Result<Token, Failure> {
    if text.is_empty() {
        return Err(Failure::usage("an empty argument is neither a path nor a token"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return port(text, text, &[], "--bare-port", "http:8080");
    }
    let Some((key, value)) = text.split_once(':') else {
        return match text {
            "http" => Ok(Token::Flags(vec!["--plain".to_owned()])),
            "https" => Ok(Token::Flags(vec!["--https".to_owned()])),
            _ => Ok(Token::Word),
        };
    };
    match key {
        "w" => value::workers(value)
            .map(|_| Token::Flags(vec![format!("--workers={value}")]))
            .map_err(|why| bad(text, &why, "w:4, w:auto or w:half")),
        "c" => value::concurrency(value)
            .map(|_| Token::Flags(vec![format!("--concurrency={value}")]))
            .map_err(|why| bad(text, &why, "c:1")),
        "http" => port(text, value, &["--plain"], "--port", "http:8080"),
        "https" => port(text, value, &[], "--https-port", "https:8443"),
        "r" => value::recycle(value)
            .map(|_| Token::Flags(vec![format!("--recycle={value}")]))
            .map_err(|why| bad(text, &why, "r:1000 or r:1000,3600s")),
        "builtin" => Ok(Token::Word),
        _ if key.contains('/') || is_module(key, value) => Ok(Token::Word),
        _ => Err(unknown(text, key, value)),
    }
}

/// `pkg.module:attr` names a Python app. What could also be a mistyped token (`ww:auto`) does not.
fn is_module(key: &str, value: &str) -> bool {
    let dotted = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|first: char| first.is_alphabetic() || first == '_')
                && part.chars().all(|character| character.is_alphanumeric() || character == '_')
        })
    };
    dotted(key) && dotted(value.trim_end_matches("()")) && !matches!(value, "auto" | "half")
}

/// The flags `beside`, and `flag` with the port that `value` is.
fn port(
    text: &str,
    value: &str,
    beside: &[&str],
    flag: &str,
    example: &str,
) -> Result<Token, Failure> {
    let port = value::port(value).map_err(|why| bad(text, &why, example))?;
    let mut flags: Vec<String> = beside.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("{flag}={port}"));
    Ok(Token::Flags(flags))
}

fn bad(text: &str, why: &str, example: &str) -> Failure {
    Failure::usage(format!("invalid token '{text}': {why}")).tip(format!("for example {example}"))
}

fn unknown(text: &str, key: &str, value: &str) -> Failure {
    let failure = Failure::usage(format!("unknown token '{text}'"));
    // Long names of short tokens, and what they are called elsewhere.
    let meant = match key.to_lowercase().as_str() {
        "worker" | "workers" | "processes" => Some("w"),
        "concurrency" | "threads" => Some("c"),
        "port" | "listen" | "bind" => Some("http"),
        "tls" | "ssl" => Some("https"),
        "recycle" | "max-requests" => Some("r"),
        _ if matches!(value, "auto" | "half") => Some("w"),
        other => nearest(other, KEYS),
    };
    match meant {
        Some(meant) => failure.tip(format!("did you mean '{meant}:{value}'?")),
        None => failure.tip(
            "tokens are w:N, c:N, r:N, http:PORT, https:PORT or a bare port; an entry is a path, \
             builtin:NAME or pkg.module:attr",
        ),
    }
}

const KEYS: &[&str] = &["http", "https", "w", "c", "r", "builtin"];

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Expanded, Failure> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        expand(&arguments, |flag| matches!(flag, "--workers" | "--env" | "--port"))
    }

    #[test]
    fn tokens_mean_the_same_in_any_order() {
        let tokens = ["examples/hello", "w:2", "c:3", "http:8080", "--quiet"];
        for order in permutations(&tokens) {
            let expanded = run(&order.join(" ")).unwrap();
            let mut flags = expanded.flags.clone();
            flags.sort();
            assert_eq!(
                flags,
                ["--concurrency=3", "--plain", "--port=8080", "--quiet", "--workers=2"]
            );
            assert_eq!(expanded.words, ["examples/hello"], "{order:?}");
        }
    }

    fn permutations<'a>(items: &[&'a str]) -> Vec<Vec<&'a str>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        (0..items.len())
            .flat_map(|first| {
                let mut others = items.to_vec();
                let head = others.remove(first);
                permutations(&others).into_iter().map(move |mut tail| {
                    tail.insert(0, head);
                    tail
                })
            })
            .collect()
    }

    #[test]
    fn every_token_becomes_its_flag() {
        for (token, flags, words) in [
            ("w:8", &["--workers=8"][..], &[][..]),
            ("w:auto", &["--workers=auto"], &[]),
            ("w:half", &["--workers=half"], &[]),
            ("c:16", &["--concurrency=16"], &[]),
            ("r:1000", &["--recycle=1000"], &[]),
            ("r:1000,3600s,10r", &["--recycle=1000,3600s,10r"], &[]),
            ("http:8080", &["--plain", "--port=8080"], &[]),
            ("https:8443", &["--https-port=8443"], &[]),
            ("http http:8080", &["--plain", "--port=8080"], &[]),
            ("8080", &["--bare-port=8080"], &[]),
            ("http", &["--plain"], &[]),
            ("https", &["--https"], &[]),
            ("builtin:hello", &[], &["builtin:hello"]),
            ("pkg.module:attr", &[], &["pkg.module:attr"]),
            ("app:create_app()", &[], &["app:create_app()"]),
            ("./odd:1/app.py", &[], &["./odd:1/app.py"]),
            ("app@a,b", &[], &["app@a,b"]),
            (".", &[], &["."]),
            ("-", &[], &["-"]),
        ] {
            let expanded = run(token).unwrap();
            assert_eq!(expanded.flags, flags, "{token}");
            assert_eq!(expanded.words, words, "{token}");
            assert_eq!(expanded.command, None, "{token}");
        }
    }

    #[test]
    fn a_flags_value_is_no_token_and_the_command_is_left_alone() {
        let expanded = run("--env w:2 app.py --port=70 --workers 3 -- gunicorn w:2 -b fd://3");
        let expanded = expanded.unwrap();
        assert_eq!(expanded.flags, ["--env", "w:2", "--port=70", "--workers", "3"]);
        assert_eq!(expanded.words, ["app.py"]);
        assert_eq!(expanded.command.unwrap(), ["gunicorn", "w:2", "-b", "fd://3"]);
        assert_eq!(run(". --").unwrap().command, Some(Vec::new()));
    }

    #[test]
    fn every_wrong_token_is_an_error_that_says_what_was_meant() {
        for (token, message, tip) in [
            ("htp:8080", "unknown token 'htp:8080'", "did you mean 'http:8080'?"),
            ("htps:443", "unknown token 'htps:443'", "did you mean 'https:443'?"),
            ("W:2", "unknown token 'W:2'", "did you mean 'w:2'?"),
            ("ww:auto", "unknown token 'ww:auto'", "did you mean 'w:auto'?"),
            ("workers:4", "unknown token 'workers:4'", "did you mean 'w:4'?"),
            ("port:8080", "unknown token 'port:8080'", "did you mean 'http:8080'?"),
            (
                "zzz:1",
                "unknown token 'zzz:1'",
                "tokens are w:N, c:N, r:N, http:PORT, https:PORT or a bare port; an entry is a \
                 path, builtin:NAME or pkg.module:attr",
            ),
            (
                "w:two",
                "invalid token 'w:two': not a number, auto or half",
                "for example w:4, w:auto or w:half",
            ),
            (
                "w:0",
                "invalid token 'w:0': must be between 1 and 4096",
                "for example w:4, w:auto or w:half",
            ),
            (
                "w:",
                "invalid token 'w:': not a number, auto or half",
                "for example w:4, w:auto or w:half",
            ),
            ("c:0", "invalid token 'c:0': must be between 1 and 65535", "for example c:1"),
            ("c:-1", "invalid token 'c:-1': not a whole number", "for example c:1"),
            (
                "http:0",
                "invalid token 'http:0': must be between 1 and 65535",
                "for example http:8080",
            ),
            (
                "70000",
                "invalid token '70000': must be between 1 and 65535",
                "for example http:8080",
            ),
            ("0", "invalid token '0': must be between 1 and 65535", "for example http:8080"),
            ("http:", "invalid token 'http:': not a whole number", "for example http:8080"),
            ("http:80a", "invalid token 'http:80a': not a whole number", "for example http:8080"),
            (
                "https:0",
                "invalid token 'https:0': must be between 1 and 65535",
                "for example https:8443",
            ),
            ("tls:443", "unknown token 'tls:443'", "did you mean 'https:443'?"),
            (
                "r:1h",
                "invalid token 'r:1h': '1h': not a whole number",
                "for example r:1000 or r:1000,3600s",
            ),
            (
                "r:",
                "invalid token 'r:': not a number of requests, with seconds and reloads: \
                 1000,3600s,10r",
                "for example r:1000 or r:1000,3600s",
            ),
            ("recycle:20", "unknown token 'recycle:20'", "did you mean 'r:20'?"),
        ] {
            let failure = run(token).unwrap_err();
            assert_eq!(failure.message, message);
            assert_eq!(failure.tips, [tip], "{token}");
            assert_eq!(failure.exit.code(), 2);
        }
    }
}
