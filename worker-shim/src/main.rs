//! The stand-alone shim; the same as `rip-master worker-shim`.

fn main() {
    let args = std::env::args_os().skip(1).skip_while(|word| word == "worker-shim");
    std::process::exit(rip_worker::shim_main(args));
}
