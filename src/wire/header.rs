//! Names of the header fields that master and workers exchange.

/// On a 503: the worker cannot take the request now; the master tries another.
pub const WORKER_BUSY: &str = "Rip-Worker-Busy";
/// The worker wants to be retired; on a 503 the request is given to another.
pub const WORKER_DRAINING: &str = "Rip-Worker-Draining";
/// Suppresses the access line.
pub const NO_LOG: &str = "Rip-No-Log";
/// A word the app wants in the access line.
pub const MARK: &str = "Rip-Mark";
/// Fields beginning with this are internal: removed from clients' requests and workers' answers.
pub const INTERNAL_PREFIX: &str = "Rip-";
