//! `--sessions` and `--sessions-db`.

use super::World;
use crate::cli::args::Start;
use crate::cli::entry;
use crate::cli::exit::Failure;
use rip::contract::config::Config;
use rip::contract::sessions::{MOUNT, SessionsConfig};

/// Where the flags say that sessions are kept.
///
/// # Errors
/// The path is not UTF-8.
pub(super) fn store(start: &Start, world: &World) -> Result<Option<String>, Failure> {
    match start.sessions.sessions_db.as_deref() {
        Some(MEMORY) => Ok(Some(MEMORY.to_owned())),
        Some(path) => entry::text(&world.places.cwd.join(path)).map(Some),
        None => Ok(None),
    }
}

/// Serves sessions of the only app on every host, if that is asked for.
///
/// # Errors
/// What is said has no sense without sessions, or beside them.
pub(super) fn serve(start: &Start, config: &mut Config) -> Result<(), Failure> {
    if !start.sessions.sessions {
        return match start.sessions.sessions_db {
            Some(_) => {
                Err(Failure::usage("--sessions-db says where sessions are kept that nobody serves")
                    .tip("add --sessions, or leave it out"))
            }
            None => Ok(()),
        };
    }
    let Some(app) = config.apps.first() else { return Ok(()) };
    let sessions = SessionsConfig::new(MOUNT, app.id.clone());
    if let Some(taken) = config.realtime.iter().find(|place| sessions.owns(&place.path)) {
        let message = format!("--realtime-path {} is a place of --sessions", taken.path);
        return Err(Failure::usage(message).tip("choose another one"));
    }
    config.sessions.push(sessions);
    Ok(())
}

const MEMORY: &str = ":memory:";
