//! CGI/1.1 (RFC 3875): a program that is run once for every request, by the gateway.

use crate::host::{Program, absent, check_file, is_program, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

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
        if let Some(interpreter) = interpreter(&path).filter(|interpreter| !interpreter.exists()) {
            return Err(missing(format!(
                "{} does not exist; the first line of {} names it",
                interpreter.display(),
                path.display()
            )));
        }
    }
    let mut args = vec![OsString::from("cgi"), path.into_os_string()];
    if !spec.health_check.explicit {
        args.push("--probes".into());
    }
    program.run_own(args);
    Ok(())
}

/// What the script's first line names, if it is one of those lines.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    std::fs::File::open(script).ok()?.take(256).read_to_end(&mut line).ok()?;
    let named = line.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let end = named.iter().position(u8::is_ascii_whitespace).unwrap_or(named.len());
    let text = std::str::from_utf8(&named[..end]).ok()?;
    // A name that is no path is looked for where the script runs: too far to see from here.
    text.starts_with('/').then(|| PathBuf::from(OsStr::new(text)))
}
