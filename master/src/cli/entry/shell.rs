//! Lines that others run by a shell: the script `start` of a package, a process of a Procfile.
//!
//! A line of plain words is started without one, so that the app is the process that is watched and
//! signalled. What takes a shell is given one that gives way to the app where that can be told.

use super::{Directory, command, is_executable, text};
use crate::cli::exit::Failure;
use std::path::{Path, PathBuf};

/// The words of `line`, with `{port}` for `$PORT`; `None` if it takes a shell. An `exec` before the
/// program is left out: there is no shell to give way.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = line.split_whitespace().map(filled).collect::<Option<Vec<_>>>()?;
    let program = words.iter().position(|word| !is_assignment(word));
    if let Some(at) = program.filter(|at| words.get(*at).is_some_and(|word| word == "exec")) {
        let is_plain = words.get(at + 1).is_some_and(|word| !word.starts_with('-'));
        if !is_plain {
            return None;
        }
        words.remove(at);
    }
    if words.iter().find(|word| !is_assignment(word)).is_some_and(|word| is_of_shell(word)) {
        return None;
    }
    (!words.is_empty()).then_some(words)
}

/// `word` with `{port}` for `$PORT`; `None` if it takes a shell.
fn filled(word: &str) -> Option<String> {
    let is_plain = |text: &str| !text.contains(|sign: char| SIGNS.contains(sign));
    let mut filled = String::new();
    let mut rest = word;
    while let Some((before, behind)) = rest.split_once('$') {
        let braced = behind.strip_prefix("{PORT}");
        // `$PORTAL` is another variable.
        let bare = || behind.strip_prefix("PORT").filter(|rest| !rest.starts_with(is_of_name));
        rest = braced.or_else(bare)?;
        if !is_plain(before) {
            return None;
        }
        filled.push_str(before);
        filled.push_str("{port}");
    }
    filled.push_str(rest);
    is_plain(rest).then_some(filled)
}

/// Whether `sign` may be part of the name of a variable.
fn is_of_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}

/// Whether `word`, where a program's name stands, is for the shell itself.
fn is_of_shell(word: &str) -> bool {
    OF_SHELL.contains(&word)
}

/// What a shell does itself, and what its grammar is made of, as far as it is no program as well.
const OF_SHELL: &[&str] = &[
    ".", ":", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else", "esac",
    "eval", "exec", "exit", "export", "fi", "for", "function", "if", "local", "read", "readonly",
    "return", "set", "shift", "source", "then", "trap", "type", "ulimit", "umask", "unset",
    "until", "wait", "while",
];
/// What means something to a shell.
const SIGNS: &str = "\"'\\$&|;<>()*?#~{}[]`!";

/// Whether `word` sets a variable for the command behind it.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.chars().all(is_of_name)
    })
}

/// What starts the line `line`, which `file` in the directory says.
///
/// # Errors
/// Its program is not there.
pub(super) fn argv(place: &Directory<'_>, line: &str, file: &str) -> Result<Vec<String>, Failure> {
    let Some(mut words) = words(line) else {
        return Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), script(place, line)]);
    };
    let Some(at) = words.iter().position(|word| !is_assignment(word)) else {
        return Err(Failure::configuration(format!("'{line}' in {file} starts nothing")));
    };
    let program = match own(place.path, &words[at]) {
        Some(path) => text(&path)?,
        None => {
            let program = words[at].clone();
            command::find_program(&program, place.path, &place.places.programs).map_err(
                |failure| Failure { message: format!("{file}: {}", failure.message), ..failure },
            )?;
            program
        }
    };
    words[at] = program;
    if at > 0 {
        words.insert(0, "env".to_owned());
    }
    Ok(words)
}

/// Whether the program that `words` start is there.
pub(super) fn is_there(place: &Directory<'_>, words: &[String]) -> bool {
    let Some(program) = words.iter().find(|word| !is_assignment(word)) else { return false };
    own(place.path, program).is_some()
        || command::find_program(program, place.path, &place.places.programs).is_ok()
}

/// The program `name` among those that are installed for the app alone.
fn own(directory: &Path, name: &str) -> Option<PathBuf> {
    let paths = OWN.iter().map(|own| directory.join(own).join(name));
    if name.contains('/') { None } else { paths.into_iter().find(|path| is_executable(path)) }
}

/// Where programs are installed for one app alone.
const OWN: &[&str] = &[".venv/bin", "node_modules/.bin"];

/// `line` for a shell that finds the app's own programs and, at the end, becomes the app.
fn script(place: &Directory<'_>, line: &str) -> String {
    let mut script = String::new();
    for own in OWN.iter().filter(|own| place.path.join(own).is_dir()) {
        script.push_str(&format!("PATH=\"$PWD/{own}:$PATH\"; export PATH; "));
    }
    let (first, last) = match line.rsplit_once("&&") {
        Some((first, last)) => (Some(first.trim()), last.trim()),
        None => (None, line.trim()),
    };
    // Of more than one command, or in quotes, it cannot be told without a shell which is the last.
    let is_single = !last.contains(['|', ';', '&', '\n', '(', ')', '"', '\'', '`']);
    let is_program = last
        .split_whitespace()
        .next()
        .is_some_and(|word| !is_assignment(word) && !is_of_shell(word));
    let exec = if is_single && is_program { "exec " } else { "" };
    if let Some(first) = first {
        script.push_str(&format!("{first} && "));
    }
    script.push_str(exec);
    script.push_str(last);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::entry::tests::Tree;

    #[test]
    fn plain_words_need_no_shell() {
        let split = |line| words(line).map(|words| words.join("|"));
        assert_eq!(
            split("gunicorn app:app  -b 127.0.0.1:$PORT").unwrap(),
            "gunicorn|app:app|-b|127.0.0.1:{port}"
        );
        assert_eq!(split("serve -p ${PORT}").unwrap(), "serve|-p|{port}");
        for line in ["a && b", "a 'b c'", "a $HOME", "a > b", "", "a {port}", "a ${PORT:-80}"] {
            assert_eq!(split(line), None, "{line}");
        }
        assert_eq!(split("a $PORT-$PORT,${PORT}_B").unwrap(), "a|{port}-{port},{port}_B");
        for line in ["a $PORT_B", "a $PORTAL", "a $PORT1", "a $PORT$HOME", "a $", "a ${PORT"] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn what_a_shell_does_itself_takes_one_and_exec_takes_none() {
        let split = |line| words(line).map(|words| words.join("|"));
        assert_eq!(
            split("exec gunicorn app:app -b :$PORT").unwrap(),
            "gunicorn|app:app|-b|:{port}"
        );
        assert_eq!(split("A=b exec node x").unwrap(), "A=b|node|x");
        assert_eq!(split("a exec").unwrap(), "a|exec");
        for line in
            ["exec", "A=b exec", "exec -a name a", ". ./run.sh", "cd x", "command a", "exec cd x"]
        {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn programs_of_the_app_go_before_those_of_the_system() {
        let tree = Tree::new("shell-own", &["bin/next*", "node_modules/.bin/next*", "bin/node*"]);
        let places = tree.places();
        let place = Directory { shown: ".", path: &places.cwd, places: &places };
        let argv = |line| argv(&place, line, "package.json");
        let own = text(&places.cwd.join("node_modules/.bin/next")).unwrap();
        assert_eq!(argv("next start").unwrap(), [own.as_str(), "start"]);
        assert_eq!(argv("A=b node x").unwrap(), ["env", "A=b", "node", "x"]);
        let failure = argv("nuxt start").unwrap_err();
        assert!(failure.message.starts_with("package.json: program 'nuxt' not found"));
        assert!(argv("A=b").is_err());
    }

    #[test]
    fn a_shell_gives_way_to_the_app() {
        let tree = Tree::new("shell-exec", &[".venv/bin/gunicorn*"]);
        let places = tree.places();
        let place = Directory { shown: ".", path: &places.cwd, places: &places };
        let path = "PATH=\"$PWD/.venv/bin:$PATH\"; export PATH; ";
        for (line, expected) in [
            ("gunicorn -b 127.0.0.1:${PORT:-80} a:b", "exec gunicorn -b 127.0.0.1:${PORT:-80} a:b"),
            ("./build && ./serve $X", "./build && exec ./serve $X"),
            ("./serve | tee log", "./serve | tee log"),
            ("A=\"b\" ./serve", "A=\"b\" ./serve"),
            ("exec ./serve $X", "exec ./serve $X"),
            ("test -d . && . ./run.sh", "test -d . && . ./run.sh"),
            ("a && cd x", "a && cd x"),
            ("source ./run.sh", "source ./run.sh"),
            ("command ./serve $X", "command ./serve $X"),
        ] {
            assert_eq!(script(&place, line), format!("{path}{expected}"));
        }
    }
}
