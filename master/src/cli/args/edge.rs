//! The flags about where clients connect, and about the bounds.

use crate::cli::value;
use clap::Args;
use std::net::IpAddr;
use std::time::Duration;

/// Where clients connect, and the bounds.
#[derive(Args, Clone, Debug, Default)]
pub struct EdgeFlags {
    /// Port of plain HTTP; the token http:PORT [default: $PORT, else 80]
    #[arg(long, value_name = "PORT", value_parser = value::port)]
    pub port: Option<u16>,
    /// Address to listen on; repeatable [default: every address]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub host: Vec<IpAddr>,
    /// The next free port from 5000 in the place of one that cannot be had
    #[arg(long)]
    pub port_fallback: bool,
    /// Event loops [default: one per core]
    #[arg(long, value_name = "N", value_parser = value::loops)]
    pub loops: Option<u16>,
    /// Client connections at once [default: what the descriptor limit allows]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub max_connections: Option<u32>,
    /// The same of one client address, loopback excepted [default: no limit]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub max_connections_per_address: Option<u32>,
    /// Requests that may wait for a worker; more get 503 [default: 1000]
    #[arg(long, value_name = "N", value_parser = value::count)]
    pub max_queue: Option<u32>,
    /// Largest request body; more gets 413 [default: 100MiB]
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub max_body: Option<u64>,
    /// A host where the dashboard is, beside rip.local; repeatable
    #[arg(long, value_name = "HOST", value_delimiter = ',', value_parser = value::host)]
    pub dashboard: Vec<String>,
    /// Requests of one client address within the window; more get 429 [default: no limit]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub rate_limit: Option<u32>,
    /// That window: milliseconds, or 60s, 5m, 1h [default: 60s]
    #[arg(long, value_name = "WINDOW", value_parser = value::window)]
    pub rate_limit_window: Option<Duration>,
    /// Who the server, started as root, becomes when it listens
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// For bodies that outgrow memory [default: $CACHE_DIRECTORY, else /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<String>,
}
