//! The verbs and flags about Edgefiles and about a running master's hosts.

use super::{Ask, Order};
use crate::cli::value;
use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};

/// The order to serve one more host.
#[derive(Args, Clone, Debug)]
pub struct AddHost {
    /// The host: a name, *.NAME for one label more, or an address
    #[arg(value_name = "HOST", value_parser = NonEmptyStringValueParser::new())]
    pub host: String,
    /// An app, or a path or builtin:NAME to start one for it [default: the only app]
    #[arg(value_name = "PATH|APP", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The order to serve a host no longer.
#[derive(Args, Clone, Debug)]
pub struct RemoveHost {
    /// The host, as `ctl hosts` shows it
    #[arg(value_name = "HOST", value_parser = NonEmptyStringValueParser::new())]
    pub host: String,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The question what is wrong with a file.
#[derive(Args, Clone, Debug, Default)]
pub struct Check {
    /// The file, or its directory [default: Edgefile]
    #[arg(value_name = "FILE", value_parser = NonEmptyStringValueParser::new())]
    pub file: Option<String>,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How it is told
    #[arg(long, value_name = "human|json|github", hide_possible_values = true, default_value = "human", value_parser = report_forms())]
    pub format: ReportForm,
}

/// How diagnostics are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReportForm {
    /// To people, on stderr.
    #[default]
    Human,
    /// One JSON object.
    Json,
    /// Annotations of GitHub's workflows.
    Github,
}

/// The order to format a file.
#[derive(Args, Clone, Debug, Default)]
pub struct Fmt {
    /// The file, or its directory [default: Edgefile]
    #[arg(value_name = "FILE", value_parser = NonEmptyStringValueParser::new())]
    pub file: Option<String>,
    /// Change nothing; exit 1 if the file is not formatted
    #[arg(long, conflicts_with = "stdout")]
    pub check: bool,
    /// Print the formatted file instead of writing it
    #[arg(long)]
    pub stdout: bool,
    /// Say as JSON what was done
    #[arg(long, conflicts_with = "stdout")]
    pub json: bool,
}

/// The question what a reload would do.
#[derive(Args, Clone, Debug, Default)]
pub struct PlanReload {
    /// With this file in the place of the master's own
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub file: Option<String>,
    /// How it is asked.
    #[command(flatten)]
    pub ask: Ask,
}

/// The question where a request would go.
#[derive(Args, Clone, Debug)]
pub struct Why {
    /// The URL: http://HOST/PATH, HOST/PATH or /PATH
    #[arg(value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub url: String,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = value::method)]
    pub method: String,
    /// The Edgefile, or its directory [default: Edgefile]
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub file: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// The question what can stand in a file.
#[derive(Args, Clone, Debug, Default)]
pub struct Schema {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// The file that says all of it.
#[derive(Args, Clone, Debug, Default)]
pub struct EdgefileFlags {
    /// Start what this file describes [default: Edgefile, if there is one]
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub file: Option<String>,
    /// Do not reload by itself when the file has changed
    #[arg(long)]
    pub no_watch: bool,
}

fn report_forms() -> impl TypedValueParser<Value = ReportForm> {
    PossibleValuesParser::new(["human", "json", "github"]).map(|text| match text.as_str() {
        "human" => ReportForm::Human,
        "json" => ReportForm::Json,
        _ => ReportForm::Github,
    })
}
