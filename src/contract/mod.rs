//! The data everyone speaks. Field names here are the JSON names everywhere.

pub mod app;
pub mod decision;
pub mod event;
pub mod reason;
pub mod settings;
pub mod worker;
