//! Node: an app with a preload of ours that leads its first server to the worker's socket. The
//! preload reaches the interpreter through a memory file, so that nothing has to be installed.

use crate::host::{Program, SCRIPT_FD, check_file, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;
use std::path::{Path, PathBuf};

/// The preload's source text: one function's body.
const SOURCE: &str = concat!(
    include_str!("node/say.js"),
    include_str!("node/place.js"),
    include_str!("node/fetch.js"),
    include_str!("node/load.js"),
    include_str!("node/reload.js"),
    include_str!("node/main.js"),
);

/// The names that an entry has in a directory that does not name it, by their importance.
const STEMS: [&str; 4] = ["server", "index", "app", "main"];
const ENDINGS: [&str; 7] = ["js", "mjs", "cjs", "ts", "mts", "cts", "tsx"];

/// What Node imports before the app: a module that is its own address, because only such a one can
/// be given without a file. Threads of the app import it as well, and it does nothing for them.
fn bootstrap() -> String {
    format!(
        "data:text/javascript,\
         import{{isMainThread as m}}from'node:worker_threads';\
         import{{readFileSync as r,closeSync as c}}from'node:fs';\
         import{{compileFunction as f}}from'node:vm';\
         import{{createRequire as q}}from'node:module';\
         if(m){{const t=r({SCRIPT_FD},'utf8');c({SCRIPT_FD});\
         f(t,['require','load'],{{filename:'rip-master'}})(q('file:///'),u=>import(u))}}"
    )
}

/// Finds the interpreter, and what it is to run.
pub(crate) fn prepare(
    program: &mut Program,
    _spec: &WorkerSpec,
    entry: &str,
) -> Result<(), Failure> {
    let file = file_of(program.cwd(), entry)?;
    let interpreter = program.need("node")?;
    program.run(interpreter, ["--import".into(), bootstrap().into(), file.into_os_string()]);
    program.hand_over("rip-node", SOURCE)
}

/// The file that `entry`, a file or a directory, is about.
pub(crate) fn file_of(cwd: &Path, entry: &str) -> Result<PathBuf, Failure> {
    let path = cwd.join(entry);
    if !path.is_dir() {
        check_file(&path)?;
        return Ok(path);
    }
    if let Some(main) = main_of(&path) {
        check_file(&main)?;
        return Ok(main);
    }
    let names =
        STEMS.iter().flat_map(|stem| ENDINGS.iter().map(move |end| format!("{stem}.{end}")));
    names.map(|name| path.join(name)).find(|file| file.is_file()).ok_or_else(|| {
        missing(format!(
            "there is no server.js, index.js, app.js or main.js in {}, and no package.json that \
             names its `main`",
            path.display()
        ))
    })
}

/// What a directory's `package.json` names as its `main`.
fn main_of(directory: &Path) -> Option<PathBuf> {
    let text = std::fs::read(directory.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let main = directory.join(package.get("main")?.as_str()?);
    // It may be named as `require` takes it.
    let with_ending = PathBuf::from(format!("{}.js", main.display()));
    let found = [main.clone(), with_ending, main.join("index.js")];
    Some(found.into_iter().find(|file| file.is_file()).unwrap_or(main))
}
