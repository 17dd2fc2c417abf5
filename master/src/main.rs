//! The `rip-master` program.

fn main() {}
