//! CGI/1.1 (RFC 3875): a program that is run once for every request, by the gateway.

use super::shebang;
use crate::host::{Program, absent, check_file, is_program};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;
use std::ffi::OsString;

/// Finds what runs `entry`: a script, or a directory of scripts.
pub(crate) fn prepare(
    program: &mut Program,
    spec: &WorkerSpec,
    entry: &str,
) -> Result<(), Failure> {
    let path = program.cwd().join(entry);
    if !path.is_dir() {
        check_file(&path)?;
        if !is_program(&path) {
            return Err(absent(path.as_os_str(), program.cwd()));
        }
        shebang::check(program, &path)?;
    }
    let mut args = vec![OsString::from("cgi"), path.into_os_string()];
    if !spec.health_check.explicit {
        args.push("--probes".into());
    }
    program.run_own(args);
    Ok(())
}
