//! Ruby: a Rack app under puma, which `puma.rb` starts; it reaches the interpreter through a memory
//! file, so that nothing of ours has to be installed.

use crate::host::{Program, SCRIPT_FD, check_file};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;
use std::ffi::OsString;

/// What starts puma.
const SOURCE: &str = include_str!("ruby/puma.rb");

/// What the interpreter is told to run.
fn command() -> String {
    format!("eval(IO.for_fd({SCRIPT_FD}).read, TOPLEVEL_BINDING, '(rip-master)')")
}

/// Finds the interpreter, and what it is to run: `entry` is a `config.ru`, or the directory of one.
pub(crate) fn prepare(
    program: &mut Program,
    spec: &WorkerSpec,
    entry: &str,
) -> Result<(), Failure> {
    let mut rackup = program.cwd().join(entry);
    if rackup.is_dir() {
        rackup.push("config.ru");
    }
    check_file(&rackup)?;
    let interpreter = program.need("ruby")?;
    let threads = spec.concurrency.max(1).to_string();
    let args: [OsString; 4] =
        ["-e".into(), command().into(), rackup.into_os_string(), threads.into()];
    program.run(interpreter, args);
    program.hand_over("rip-puma", SOURCE)
}
