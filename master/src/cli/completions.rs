//! `completions SHELL`: scripts that complete command lines, drawn from the grammar.

use super::args::{Cli, Completions};
use super::ctl::say;
use super::exit::{Exit, Failure};
use clap::{Arg, Command, ValueHint};
use clap_complete::aot::{Shell, generate};
use rip_worker::BUILTINS;

/// Prints the script for a shell.
///
/// # Errors
/// None but a stdout that cannot be written.
pub fn completions(flags: &Completions) -> Result<Exit, Failure> {
    say(&script(flags.shell))
}

/// The script for `shell`: every verb and flag, and for bash and fish the tokens of `start`.
pub fn script(shell: Shell) -> String {
    let mut grammar = shown(&Cli::grammar());
    let mut out = Vec::new();
    generate(shell, &mut grammar, NAME, &mut out);
    let mut script = String::from_utf8_lossy(&out).into_owned();
    match shell {
        Shell::Bash => {
            // A dash in the program's name is written in two ways by the generator, and only verbs
            // of the first level would be found.
            script = script.replace("rip__subcmd__master", "rip__master");
            // Its own registration comes last: it takes the place of the one above.
            script.push_str(&TERSE_IN_BASH.replace("{tokens}", &tokens()));
        }
        Shell::Fish => script.push_str(&TERSE_IN_FISH.replace("{tokens}", &tokens())),
        _ => {}
    }
    script
}

const NAME: &str = "rip-master";

/// `verb` and what is below it, as far as help shows it.
fn shown(verb: &Command) -> Command {
    let flags = verb.get_arguments().filter(|flag| !flag.is_hide_set()).cloned().map(hinted);
    let below = verb.get_subcommands().filter(|verb| !verb.is_hide_set()).map(shown);
    let mut shown = Command::new(verb.get_name().to_owned()).args(flags).subcommands(below);
    if let Some(about) = verb.get_about() {
        shown = shown.about(about.clone());
    }
    if verb.get_name() == NAME {
        shown = shown.version(env!("CARGO_PKG_VERSION"));
    }
    shown
}

/// `flag` with what a shell may offer as its value.
fn hinted(flag: Arg) -> Arg {
    let name = flag.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
    match name.as_deref() {
        Some("FILE" | "KEY=VALUE|FILE") => flag.value_hint(ValueHint::FilePath),
        Some("DIR") => flag.value_hint(ValueHint::DirPath),
        Some("PATH" | "PATH|APP" | "PATH|:memory:") => flag.value_hint(ValueHint::AnyPath),
        Some("HOST") => flag.value_hint(ValueHint::Hostname),
        Some("URL") => flag.value_hint(ValueHint::Url),
        Some("COMMAND") => flag.value_hint(ValueHint::CommandString),
        _ => flag,
    }
}

/// The words `start` understands beside paths, as far as they can be listed.
fn tokens() -> String {
    let builtins = BUILTINS.iter().map(|name| format!("builtin:{name}"));
    let tokens = ["w:auto", "w:half", "http", "http:8080", "https", "https:8443"];
    tokens.map(str::to_owned).into_iter().chain(builtins).collect::<Vec<_>>().join(" ")
}

const TERSE_IN_BASH: &str = r#"
# Tokens of `start`. To readline a word with a colon is several: what it has of it already stays out
# of the answer.
_rip__master__terse() {
    local word="${COMP_LINE:0:COMP_POINT}" found
    word="${word##* }"
    if [[ "${COMP_WORDS[1]}" == start && "$word" != -* && "$3" != -* ]]; then
        found="$(compgen -W "{tokens}" -- "$word")"
        if [[ -n "$word" && -n "$found" ]]; then
            COMPREPLY=()
            while IFS= read -r found; do
                [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]] && found="${found#"${word%:*}:"}"
                COMPREPLY+=("$found")
            done <<<"$found"
            COMPREPLY+=($(compgen -f -- "$word"))
            return 0
        fi
    fi
    _rip__master "$@"
}

complete -F _rip__master__terse -o bashdefault -o default rip-master
"#;

const TERSE_IN_FISH: &str = "
complete -c rip-master -n '__fish_seen_subcommand_from start' -a '{tokens}'
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::tests::each_verb;

    #[test]
    fn every_verb_and_flag_is_in_every_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell);
            each_verb(&Cli::grammar(), &mut |path, verb| {
                let name = path.last().unwrap();
                assert!(script.contains(name), "{shell}: {path:?}");
                for flag in verb.get_arguments() {
                    let Some(long) = flag.get_long() else { continue };
                    let (long, is_hidden) = (format!("{long} "), flag.is_hide_set());
                    let lines = || script.lines().map(|line| format!("{line} "));
                    let is_there =
                        lines().any(|line| line.contains(&long) || line.contains(long.trim_end()));
                    assert!(is_hidden || is_there, "{shell}: {path:?} --{long}");
                }
            });
            for hidden in ["bare-port", "--plain"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
        }
    }
}
