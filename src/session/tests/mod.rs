//! The decisions and machines together, on rows kept in maps.

mod claims;
mod hostile;
mod keys;
mod rig;
mod turns;
mod viewing;
