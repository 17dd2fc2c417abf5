//! The first line of a script, which names its interpreter: one that is not there is told when the app
//! starts, not by every request.

use crate::host::{Program, missing};
use crate::report::Failure;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// That the interpreter of the script at `path` is there for `program`; a file that is no script, or
/// that cannot be read, needs none.
///
/// # Errors
/// The interpreter that is not there, and how to get it.
pub(crate) fn check(program: &Program, path: &Path) -> Result<(), Failure> {
    let mut first = Vec::new();
    // What the kernel looks at.
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut first));
    match (read, interpreter(&first)) {
        (Ok(_), Some(Interpreter::Named(name))) => {
            program.need(&String::from_utf8_lossy(name)).map(|_| ())
        }
        (Ok(_), Some(Interpreter::At(interpreter))) => {
            let interpreter = Path::new(OsStr::from_bytes(interpreter));
            if interpreter.exists() {
                return Ok(());
            }
            let name = interpreter.file_name().unwrap_or_default();
            Err(missing(format!(
                "{}, which the first line of {} names, does not exist; {}",
                interpreter.display(),
                path.display(),
                crate::host::how_to_get(&name.to_string_lossy())
            )))
        }
        _ => Ok(()),
    }
}

/// How a script names what runs it.
#[derive(Debug, Eq, PartialEq)]
enum Interpreter<'a> {
    /// By its path.
    At(&'a [u8]),
    /// To be found on `PATH`, through `env`.
    Named(&'a [u8]),
}

fn interpreter(text: &[u8]) -> Option<Interpreter<'_>> {
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words =
        line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty());
    let first = words.next()?;
    if !first.ends_with(b"/env") {
        return Some(Interpreter::At(first));
    }
    // `env -S` splits what follows; a variable may be set before the name.
    words.find(|word| !word.starts_with(b"-") && !word.contains(&b'=')).map(Interpreter::Named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_named_by_its_path_or_through_env() {
        for (text, expected) in [
            ("#!/bin/sh\necho", Some(Interpreter::At(b"/bin/sh"))),
            ("#! /usr/bin/perl -w\n", Some(Interpreter::At(b"/usr/bin/perl"))),
            ("#!/usr/bin/env python3", Some(Interpreter::Named(b"python3"))),
            ("#!/usr/bin/env -S A=b node --x\n", Some(Interpreter::Named(b"node"))),
            ("#!/usr/bin/env\n", None),
            ("#!\n", None),
            ("\u{7f}ELF", None),
            ("", None),
        ] {
            assert_eq!(interpreter(text.as_bytes()), expected, "{text:?}");
        }
    }
}
