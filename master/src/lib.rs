//! The program: supervisor, event loops, agents, control socket, command line.
//!
//! Rooms, lowest layer first: [`sys`] (system calls; the only `unsafe`), [`reactor`] (the event
//! loop's parts), [`shared`] (what several threads may touch), [`agents`] (blocking work) and
//! [`edge`] (clients and workers), [`control`] (the one mind), [`cli`].
#![deny(unsafe_code)]

pub mod agents;
pub mod cli;
pub mod control;
pub mod edge;
pub mod reactor;
pub mod shared;
#[allow(unsafe_code)]
pub mod sys;
