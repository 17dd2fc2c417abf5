//! Paths: of requests, of patterns they are compared with, of files, of redirects.

use super::Wrong;
use crate::edgefile::lexer::shown;
use crate::edgefile::suggest::nearest;
use crate::limits;

/// A file below a directory: it leads nowhere else.
pub(super) fn file_path(text: &str) -> Result<(), Wrong> {
    let seen = shown(text);
    let wrong = |why: &str, hint: String| {
        Err(Wrong::new(format!("\"{seen}\" is no file below the directory: {why}"), hint))
    };
    if let Some(odd) = text.chars().find(|char| char.is_control()) {
        let message =
            format!("the character U+{:04X} may not stand in the name of a file", u32::from(odd));
        return Err(Wrong::new(message, "leave it out"));
    }
    if text.contains('\\') {
        return wrong("it has a backslash in it", "paths are divided by /".to_owned());
    }
    if text.starts_with('/') {
        let hint = match text.trim_start_matches('/') {
            "" => "write \"index.html\"".to_owned(),
            rest => format!("write \"{}\"", shown(rest)),
        };
        return wrong("it begins with /", hint);
    }
    if text.ends_with('/') {
        return wrong("it ends with /", format!("write \"{seen}index.html\""));
    }
    match text.split('/').find(|part| matches!(*part, "" | "." | "..") || part.len() > NAME_BYTES) {
        None if text.len() > limits::FILE_PATH_BYTES => wrong("it is too long", String::new()),
        None => Ok(()),
        Some("") => wrong("it has an empty name in it", "one / divides two names".to_owned()),
        Some("..") => wrong("`..` leads out of it", "name a file in the directory".to_owned()),
        Some(".") => {
            let rest: Vec<&str> = text.split('/').filter(|part| *part != ".").collect();
            wrong("`.` says nothing", format!("write \"{}\"", shown(&rest.join("/"))))
        }
        Some(_) => wrong("a name in it is too long", format!("names have {NAME_BYTES} bytes")),
    }
}

/// A path pattern, as it stands: what it is compared with is decoded and has no dot segments.
pub(super) fn pattern(text: &str) -> Result<(), Wrong> {
    clean_path(text)?;
    for segment in text.split('/') {
        if segment.contains('*') && segment != "*" {
            let hint = match segment.trim_matches('*') {
                "" => "write one `*`; at the end it stands for all that follows".to_owned(),
                _ => "`*` stands for one whole segment, at the end for all that follows".to_owned(),
            };
            return Err(Wrong::new(
                format!("`{}` is no segment of a pattern", shown(segment)),
                hint,
            ));
        }
    }
    Ok(())
}

/// Without slashes at the end; nothing is left of `/`.
pub(super) fn prefix(text: &str) -> Result<String, Wrong> {
    clean_path(text)?;
    if text.contains('*') {
        let hint = format!("write \"{}\"", shown(text.trim_end_matches(['/', '*'])));
        return Err(Wrong::new("a prefix stands for all that is below it, without `*`", hint));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn clean_path(text: &str) -> Result<(), Wrong> {
    let wrong = |message: String, hint: String| Err(Wrong::new(message, hint));
    let seen = shown(text);
    if !text.starts_with('/') {
        let hint = match text.split_once("://") {
            Some((_, rest)) if rest.contains('/') => {
                let path = rest.split_once('/').map_or("", |(_, path)| path);
                format!("write \"/{}\"; hosts are for `site`", shown(path))
            }
            _ => format!("write \"/{seen}\""),
        };
        return wrong(format!("\"{seen}\" does not begin with /"), hint);
    }
    if let Some(at) = text.find(['?', '#']) {
        let path = text.get(..at).unwrap_or_default();
        return wrong(
            format!("\"{seen}\" has a query; only paths are compared"),
            format!("write \"{}\"", shown(path)),
        );
    }
    if let Some(odd) = text.chars().find(|char| char.is_control()) {
        let message = format!("\"{seen}\" has the character U+{:04X} in it", u32::from(odd));
        return wrong(message, "requests with it in their path are refused".to_owned());
    }
    if text.contains('\\') {
        return wrong(
            format!("\"{seen}\" has a backslash in it"),
            "paths are divided by /".to_owned(),
        );
    }
    let is_code = |code: &[u8]| matches!(code, [b'%', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
    if text.as_bytes().windows(3).any(is_code) {
        return wrong(
            format!("\"{seen}\" has %XX in it; paths are decoded before they are compared"),
            "write the character itself: a space for %20".to_owned(),
        );
    }
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if text.contains("//") {
        return wrong(
            format!("\"{seen}\" has an empty segment"),
            "one / divides two segments".to_owned(),
        );
    }
    if inner.split('/').any(|segment| segment == "." || segment == "..") {
        return wrong(
            format!("\"{seen}\" has dot segments; they are resolved before paths are compared"),
            "write the path without them".to_owned(),
        );
    }
    Ok(())
}

/// A path that is sent or compared as it stands.
pub(super) fn url_path(text: &str) -> Result<(), Wrong> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if text.starts_with('/') && clean {
        return Ok(());
    }
    let hint = if text.starts_with('/') {
        "write it as it is sent: without spaces, other characters as %XX".to_owned()
    } else {
        "it begins with /".to_owned()
    };
    Err(Wrong::new(format!("\"{}\" is no path", shown(text)), hint))
}

/// A path at which something is served.
pub(super) fn place(text: &str) -> Result<(), Wrong> {
    single(text, "/realtime")
}

fn single(text: &str, example: &str) -> Result<(), Wrong> {
    url_path(text)?;
    if text.contains(['*', '?', '%']) || text.len() == 1 {
        return Err(Wrong::new(
            format!("\"{}\" is no single path", shown(text)),
            format!("write one without * ? and %, such as \"{example}\""),
        ));
    }
    clean_path(text)
}

/// A path below which something is served, without a slash at its end; nothing is left of `/`.
pub(super) fn mount(text: &str) -> Result<String, Wrong> {
    if text != "/" {
        single(text, "/v1")?;
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `Location` of a redirect: what can be filled in is known, and it stays a path or a URL.
pub(super) fn template(text: &str) -> Result<(), Wrong> {
    let wrong = |message: String, hint: &str| Err(Wrong::new(message, hint));
    if let Some(odd) = text.chars().find(|char| !char.is_ascii_graphic()) {
        return wrong(
            format!("U+{:04X} may not stand in a Location", u32::from(odd)),
            "write it as %XX",
        );
    }
    if text.contains('\\') {
        return wrong("a backslash may not stand in a Location".to_owned(), "write / or %5C");
    }
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let found = rest.get(at..).unwrap_or_default();
        let Some((inner, after)) = found.strip_prefix('{').and_then(|text| text.split_once('}'))
        else {
            return wrong(
                "a brace without its other half".to_owned(),
                "write { as %7B and } as %7D where they are meant",
            );
        };
        if !PLACEHOLDERS.contains(&inner) {
            let hint = match nearest(inner, PLACEHOLDERS) {
                Some(meant) => format!("did you mean {{{meant}}}?"),
                None => "there are {host}, {path} and {query}".to_owned(),
            };
            return wrong(format!("{{{}}} is not filled in", shown(inner)), &hint);
        }
        rest = after;
    }
    if text.starts_with("//") {
        return wrong("a Location may not begin with //".to_owned(), "write https://");
    }
    let is_url = ["http://", "https://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    if !text.starts_with('/') && !is_url {
        return wrong(
            format!("\"{}\" is neither a path nor a URL", shown(text)),
            "begin with /, http:// or https://",
        );
    }
    Ok(())
}

const NAME_BYTES: usize = limits::FILE_NAME_BYTES;
const PLACEHOLDERS: [&str; 3] = ["host", "path", "query"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_wildcards_as_whole_segments() {
        for good in [
            "/",
            "/*",
            "/a",
            "/a/",
            "/a/*",
            "/*/b",
            "/u/*/posts/*",
            "/a b",
            "/größe",
            "/100%",
            "/...",
        ] {
            assert_eq!(pattern(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a", "*", "/a*", "/*a", "/**", "//", "/a//b", "/.", "/..", "/a/./b", "/a?b",
            "/a#b", "/%2f", "/\\",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
        assert_eq!(prefix("/").as_deref(), Ok(""));
        assert_eq!(prefix("/a/").as_deref(), Ok("/a"));
        assert!(prefix("/a/*").is_err());
    }

    #[test]
    fn a_location_is_a_path_or_a_url() {
        for good in [
            "/",
            "/{path}",
            "/{path}?{query}",
            "https://{host}/{path}",
            "http://a.example:1/x",
            "https://{host}",
        ] {
            assert_eq!(template(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "x",
            "//a",
            "{host}",
            "/{",
            "/}",
            "/{Path}",
            "/\r\n",
            "https:///x",
            "javascript:x",
            "/é",
        ] {
            assert!(template(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_below_a_directory_stays_there() {
        for good in ["index.html", "a/b.html", ".hidden", "a b", "größe.html", "..."] {
            assert_eq!(file_path(good), Ok(()), "{good}");
        }
        for bad in [
            "/a", "/", "a/", "..", "../a", "a/../b", "./a", "a/./b", "a//b", "a\\b", "a\0b", "a\nb",
        ] {
            assert!(file_path(bad).is_err(), "{bad:?}");
        }
        assert!(file_path(&"a".repeat(255)).is_ok() && file_path(&"a".repeat(256)).is_err());
        assert!(file_path(&"a/".repeat(2048)).is_err() && file_path(&"ab/".repeat(1366)).is_err());
    }
}
