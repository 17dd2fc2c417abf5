//! The verbs for shells and for readers of manuals.

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap_complete::aot::Shell;

/// The order to print what completes command lines.
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// The shell: bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true, value_parser = shells())]
    pub shell: Shell,
}

/// The order to print a page of the manual, or to write all of them.
#[derive(Args, Clone, Debug, Default)]
pub struct Manual {
    /// The page of this verb: start, ctl scale [default: rip-master itself]
    #[arg(value_name = "VERB", num_args = 0..=2, conflicts_with = "dir", value_parser = NonEmptyStringValueParser::new())]
    pub verb: Vec<String>,
    /// Write every page into this directory
    #[arg(long, value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    pub dir: Option<String>,
}

/// The question which version this is.
#[derive(Args, Clone, Debug, Default)]
pub struct Version {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "zsh", "fish", "elvish", "powershell"]).map(
        |text| match text.as_str() {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            "elvish" => Shell::Elvish,
            _ => Shell::PowerShell,
        },
    )
}
