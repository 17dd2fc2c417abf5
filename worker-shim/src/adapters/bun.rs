//! Bun: an app with a preload of ours that leads its first server to the worker's socket. It binds
//! that socket itself: Bun's servers take no descriptor.

use crate::host::{Program, SCRIPT_FD, check_file};
use crate::report::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rip::wire::spec::WorkerSpec;

/// The preload's source text: one function's body.
const SOURCE: &str = concat!(
    include_str!("node/say.js"),
    include_str!("bun/place.js"),
    include_str!("node/fetch.js"),
    include_str!("node/load.js"),
    include_str!("bun/main.js"),
);

/// What Bun imports before the app: a module that is its own address, which Bun takes in no other
/// form than this. Threads of the app do not import it.
fn bootstrap() -> String {
    let text = format!(
        "import{{readFileSync,closeSync}}from'node:fs';\
         import{{createRequire}}from'node:module';\
         const text=readFileSync({SCRIPT_FD},'utf8');closeSync({SCRIPT_FD});\
         new Function('require','load',text)(createRequire('/'),(url)=>import(url));"
    );
    format!("data:text/javascript;base64,{}", STANDARD.encode(text))
}

/// Finds the interpreter, and what it is to run.
pub(crate) fn prepare(
    program: &mut Program,
    _spec: &WorkerSpec,
    entry: &str,
) -> Result<(), Failure> {
    let file = program.cwd().join(entry);
    check_file(&file)?;
    let interpreter = program.need("bun")?;
    // Left to itself Bun fetches what is not installed, while the app starts.
    let words = ["--no-install".into(), "--preload".into(), bootstrap().into()];
    program.run(interpreter, words.into_iter().chain([file.into_os_string()]));
    program.hand_over("rip-bun", SOURCE)
}
