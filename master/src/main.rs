//! The `rip-master` program.

use rip_master::cli::{self, compiler, exit};
use rip_master::control;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    // No verb of the command line: it is what a master starts this program as, for each worker.
    if arguments.next_if(|first| first == "worker-shim").is_some() {
        std::process::exit(rip_worker::shim_main(arguments));
    }
    // Nor is this: a process that reads an Edgefile for others.
    if let Some(task) = arguments.peek().and_then(|first| compiler::Task::of(first)) {
        return compiler::run(task);
    }
    let serve =
        |settings| control::run(settings).map(exit::Exit::from).map_err(exit::Failure::from);
    ExitCode::from(cli::run(arguments, serve).code())
}
