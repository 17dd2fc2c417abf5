//! Node: an app with a preload of ours that leads its first server to the worker's socket. The
//! preload reaches the interpreter through a memory file, so that nothing has to be installed.

use crate::drain::Fate;
use crate::host::{Program, SCRIPT_FD, check_file};
use crate::report::Failure;
use rip::contract::app::Runtime;
use rip::wire::spec::WorkerSpec;

/// The preload's source text: one function's body.
const SOURCE: &str = concat!(
    include_str!("node/say.js"),
    include_str!("node/place.js"),
    include_str!("node/fetch.js"),
    include_str!("node/load.js"),
    include_str!("node/reload.js"),
    include_str!("node/main.js"),
);

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
    let file = program.cwd().join(entry);
    check_file(&file)?;
    let interpreter = program.need("node")?;
    program.run(interpreter, ["--import".into(), bootstrap().into(), file.into_os_string()]);
    program.hand_over("rip-node", SOURCE)
}

/// What is told of a process that ended as Node does when it does not know an option, before it said
/// anything: no other start would end otherwise.
pub(crate) fn refusal(runtime: Runtime, fate: Fate) -> Option<&'static str> {
    (runtime == Runtime::Node && fate == Fate::Exited(UNKNOWN_OPTION)).then_some(
        "node does not know an option it was given: it is too old for --import, which takes node \
         18.19 or newer, from nodejs.org, or NODE_OPTIONS is wrong",
    )
}

/// Node's exit status for arguments it cannot use.
const UNKNOWN_OPTION: i32 = 9;
