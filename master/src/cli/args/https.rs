//! The flags about HTTPS.

use crate::cli::value;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// What HTTPS is served with.
#[derive(Args, Clone, Debug, Default)]
pub struct HttpsFlags {
    /// The certificate with its chain, in PEM; with --key
    #[arg(long, value_name = "FILE", value_parser = NonEmptyStringValueParser::new())]
    pub cert: Option<String>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", value_parser = NonEmptyStringValueParser::new())]
    pub key: Option<String>,
    /// Certificates of a local authority, made here: for development
    #[arg(long)]
    pub auto_tls: bool,
    /// Certificates of Let's Encrypt for public hosts
    #[arg(long)]
    pub acme: bool,
    /// One for this host; repeatable [default: public aliases]
    #[arg(long, value_name = "HOST", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub acme_domain: Vec<String>,
    /// Whom the authority tells of trouble
    #[arg(long, value_name = "ADDRESS", value_parser = value::email)]
    pub acme_email: Option<String>,
    /// Let's Encrypt's test system, whom nobody trusts
    #[arg(long)]
    pub acme_staging: bool,
    /// Another authority: the URL of its directory
    #[arg(long, value_name = "URL", value_parser = value::directory_url)]
    pub acme_directory: Option<String>,
    /// Its own certificate is verified against this PEM
    #[arg(long, value_name = "FILE", value_parser = NonEmptyStringValueParser::new())]
    pub acme_ca: Option<String>,
    /// Port of HTTPS; the token https:PORT [default: 443]
    #[arg(long, value_name = "PORT", value_parser = value::port)]
    pub https_port: Option<u16>,
    /// Plain HTTP answers instead of sending clients on to HTTPS
    #[arg(long)]
    pub no_redirect_http: bool,
    /// Browsers are told to come back over HTTPS only, for a year
    #[arg(long)]
    pub hsts: bool,
    /// Hosts that end in .local are not told to the local network
    #[arg(long)]
    pub no_mdns: bool,
    /// The token https: HTTPS is a must.
    #[arg(long, hide = true)]
    pub https: bool,
    /// The token http: plain HTTP alone, whatever there is to serve HTTPS with.
    #[arg(long, hide = true)]
    pub plain: bool,
    /// A bare number: the port of HTTPS where it is served, else of plain HTTP.
    #[arg(long, hide = true, value_name = "PORT", value_parser = value::port)]
    pub bare_port: Vec<u16>,
}
