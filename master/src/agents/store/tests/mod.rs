//! The store against its promises.

mod agent;
mod broken;
mod chores;
mod commands;
mod crash;
mod full;
mod masters;
mod rig;
