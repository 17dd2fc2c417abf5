// --- the app anew, in the same process --------------------------------------------------------

const Module = require('node:module');

const DIRECTORY = path.dirname(ENTRY);
// The version of ES modules that is loaded: part of their URLs from the second one on.
const version = new Int32Array(new SharedArrayBuffer(4));
let hooked = false;
let loading = false;
let again = false;

// Whether a file is the app's, and not an installed package's.
function isOwn(file) {
  const below = path.relative(DIRECTORY, file).split(path.sep);
  return below[0] !== '..' && !below.includes('node_modules');
}

// Gives the app's ES modules a version, so that they are loaded again. It runs in Node's thread for
// such hooks.
const HOOKS = `
let directory, version;
export function initialize(data) { ({ directory, version } = data); }
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  if (!found.url.startsWith(directory) || found.url.includes('/node_modules/')) return found;
  if (/[?#]/.test(found.url)) return found;
  const of = /[?]version=(\\d+)$/.exec(context.parentURL ?? '')?.[1] ?? Atomics.load(version, 0);
  return { ...found, url: found.url + '?version=' + of };
}
//# sourceURL=rip-master`;

function hook() {
  hooked = true;
  const directory = `${pathToFileURL(fs.realpathSync(DIRECTORY)).href}/`;
  Module.register(`data:text/javascript,${encodeURIComponent(HOOKS)}`, {
    data: { directory, version },
  });
}

// Loads the entry as the module that `require.main` is.
function mainAnew(file) {
  const module = new Module(file, null);
  module.id = '.';
  process.mainModule = module;
  Module._cache[file] = module;
  module.load(file);
  return module.exports;
}

// Loads the app's modules again. If that fails, the last good ones go on serving.
async function reload() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  const main = process.mainModule;
  const before = Object.entries(Module._cache).filter(([file]) => isOwn(file));
  for (const [file] of before) delete Module._cache[file];
  const own = process.exit;
  process.exit = (code) => {
    throw new Error(`it ended itself (exit status ${code ?? process.exitCode ?? 0})`);
  };
  place.vacant = true;
  place.taken = () => {
    place.taken = null;
    log(`reloaded ${NAME}`);
  };
  try {
    if (!hooked) hook();
    Atomics.add(version, 0, 1);
    let value;
    if (main) {
      value = exported({ default: mainAnew(main.filename) });
    } else {
      value = exported(await load(pathToFileURL(fs.realpathSync(ENTRY)).href));
    }
    if (place.vacant) serve(value);
    later(() => {
      if (!place.vacant) return;
      serveLate(value);
      if (place.vacant) log(`${NAME} has not called listen(); the last good version serves`);
    }, LATE_MS).unref();
  } catch (error) {
    place.vacant = false;
    place.taken = null;
    for (const file of Object.keys(Module._cache)) {
      if (isOwn(file)) delete Module._cache[file];
    }
    for (const [file, module] of before) Module._cache[file] = module;
    process.mainModule = main;
    log(`${error?.stack ?? error}\n${fault(error)}; the last good version goes on serving`);
  }
  process.exit = own;
  loading = false;
  if (again) {
    again = false;
    await reload();
  }
}
