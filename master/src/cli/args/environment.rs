//! Flags in the environment: `RIP_` and the flag's name.

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// `verb` and what is below it, with `--name` from the environment.
pub(super) fn with_name(verb: Command) -> Command {
    verb.mut_args(named_from_environment).mut_subcommands(with_name)
}

fn named_from_environment(flag: Arg) -> Arg {
    if flag.get_long() == Some("name") { from_environment(flag) } else { flag }
}

/// `flag` with its variable.
pub(super) fn from_environment(flag: Arg) -> Arg {
    let Some(long) = flag.get_long() else { return flag };
    let variable = variable(long);
    let on_or_off = matches!(flag.get_action(), ArgAction::SetTrue);
    let flag = flag.env(variable).hide_env(true);
    if on_or_off { flag.value_parser(BoolishValueParser::new()) } else { flag }
}

/// The name of a flag's variable.
fn variable(long: &str) -> String {
    format!("RIP_{}", long.to_uppercase().replace('-', "_"))
}

/// Says where a wrong value came from when it was not typed, and does not advise to make a mistyped
/// flag part of the command.
pub(super) fn explain(mut error: clap::Error, line: &[String]) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(shown)) => shown.split([' ', '=']).next().unwrap_or_default(),
        _ => return error,
    };
    let was_typed = line.iter().any(|word| word.split('=').next() == Some(flag));
    let is_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    if is_value && !was_typed && flag.starts_with("--") {
        let tip = format!("the value is that of {} in the environment", variable(&flag[2..]));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}
