//! Commands: HTTP servers that are started as they are.

use super::{
    Entry, Places, absolute, is_executable, launch, name_of_directory, name_of_file, text,
};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use rip::wire::runtime_dir::sanitise_name;
use std::path::{Path, PathBuf};

/// The command `argv`, run in the directory `word`.
pub(super) fn run(word: Option<&str>, argv: &[String], places: &Places) -> Result<Entry, Failure> {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(Failure::usage("nothing follows '--'")
            .tip("for example rip-master start . http:8080 -- gunicorn app:app"));
    };
    let cwd = places.cwd.join(word.unwrap_or("."));
    if !cwd.is_dir() {
        let shown = word.unwrap_or(".");
        return Err(Failure::configuration(format!(
            "'{shown}' is not a directory; before '-- {program}' stands the directory it runs in"
        ))
        .tip(format!("to name the app: rip-master start . {shown} -- {program} …")));
    }
    let cwd = absolute(&cwd)?;
    find_program(program, &cwd, &places.programs)?;
    Ok(Entry {
        shown: argv.join(" "),
        name: name_of_directory(&cwd)
            .or_else(|| sanitise_name(program.rsplit('/').next().unwrap_or_default()))
            .unwrap_or_else(|| "app".to_owned()),
        launch: launch(Runtime::Command, argv.to_vec(), &cwd)?,
    })
}

/// The program at `path`, an entry that was said to be a command.
pub(super) fn file(shown: &str, path: &Path, places: &Places) -> Result<Entry, Failure> {
    let program = text(path)?;
    find_program(&program, &places.cwd, &[])?;
    Ok(Entry {
        shown: shown.to_owned(),
        name: name_of_file(path, false),
        launch: launch(Runtime::Command, vec![program], &places.cwd)?,
    })
}

/// That `program` is one, seen from `cwd`.
pub(super) fn find_program(program: &str, cwd: &Path, programs: &[PathBuf]) -> Result<(), Failure> {
    if program.contains('/') {
        let path = cwd.join(program);
        return match (is_executable(&path), path.exists()) {
            (true, _) => Ok(()),
            (false, true) => Err(Failure::configuration(format!(
                "'{}' is not an executable file",
                path.display()
            ))
            .tip(format!("chmod +x {}", path.display()))),
            (false, false) => {
                Err(Failure::configuration(format!("'{}' not found", path.display())))
            }
        };
    }
    if programs.iter().any(|directory| is_executable(&directory.join(program))) {
        return Ok(());
    }
    let searched: Vec<String> =
        programs.iter().map(|directory| directory.display().to_string()).collect();
    let failure = Failure::configuration(format!(
        "program '{program}' not found in PATH ({})",
        searched.join(":")
    ));
    Err(if cwd.join(program).exists() {
        failure.tip(format!("for the file in {}: ./{program}", cwd.display()))
    } else {
        failure.tip(format!("install {program}, or give its path"))
    })
}
