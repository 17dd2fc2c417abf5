//! Seeded simulations: whole lives of the cores in virtual time.
//!
//! A failure prints its seed; `RIP_SIM_SEED=… cargo test --test sim` replays it.

mod pool;
mod rate;
mod realtime;
mod reload;
mod renew;
mod seed;
mod session;
mod supervise;
mod upgrade;
mod upstream;
