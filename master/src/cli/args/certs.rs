//! The verbs about certificates.

use super::{Ask, Order};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// The question which certificates are served, or an order that concerns them.
#[derive(Args, Clone, Debug, Default)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ListCerts {
    /// The question.
    #[command(flatten)]
    pub ask: Ask,
    /// The order.
    #[command(subcommand)]
    pub verb: Option<CertVerb>,
}

/// What can be ordered of certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum CertVerb {
    /// Serve what is on disk now; changed files are taken up by themselves as well
    Reload(Order),
    /// Ask the ACME authority for another certificate now
    Renew(RenewCert),
    /// Say how the local authority of --auto-tls is made to be believed
    Trust(Ask),
}

/// The order to renew a certificate.
#[derive(Args, Clone, Debug)]
pub struct RenewCert {
    /// The host it is for
    #[arg(value_name = "HOST", value_parser = NonEmptyStringValueParser::new())]
    pub host: String,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}
