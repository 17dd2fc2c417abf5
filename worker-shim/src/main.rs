//! The stand-alone shim; the same as `rip-master worker-shim`.

fn main() {}
