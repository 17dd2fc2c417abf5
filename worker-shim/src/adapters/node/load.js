// --- what the entry exports -------------------------------------------------------------------

const { pathToFileURL } = require('node:url');
const { isModuleNamespaceObject } = require('node:util/types');

const HERE_MS = 25;
const LATE_MS = 2000;
const { setTimeout: later } = globalThis;

// What a module exports by default, through what compilers make of it.
function exported(namespace) {
  let value = namespace?.default;
  if (isModuleNamespaceObject(value)) value = value.default;
  return value?.__esModule && value.default !== undefined ? value.default : value;
}

// Serves a handler that was exported in place of a server that listens.
function serve(value) {
  if (typeof value?.fetch === 'function') {
    http.createServer(fetched(value)).listen();
  } else if (typeof value === 'function' && typeof value.listen !== 'function') {
    if (!/^class\b/.test(Function.prototype.toString.call(value))) {
      http.createServer(guarded(value)).listen();
    }
  }
}

// An app such as Express's is often exported for tests and listens some time later: it is only
// taken for the handler when it has had its time.
function serveLate(value) {
  if (!place.vacant || typeof value?.listen !== 'function') return;
  log(`${NAME} has not called listen(): the app it exports is served`);
  value.listen({ port: 0 });
}

// Notes whether the app asks another server for something before it listens. One that then ends may
// only have missed its database, which comes back.
const network = { asked: false, leave() {} };
{
  const { connect } = net.Socket.prototype;
  const noted = function (...args) {
    network.asked = true;
    return connect.apply(this, args);
  };
  net.Socket.prototype.connect = noted;
  network.leave = () => {
    if (net.Socket.prototype.connect === noted) net.Socket.prototype.connect = connect;
  };
}

// Sees to it that something listens, once the entry was loaded.
function start() {
  let value;
  let looked = false;
  const look = () => {
    if (looked || !place.vacant) return;
    looked = true;
    load(pathToFileURL(fs.realpathSync(ENTRY)).href).then(
      (namespace) => {
        value = exported(namespace);
        if (place.vacant) serve(value);
      },
      () => {}, // told by whoever loaded it first
    );
  };
  // To ask for the entry before it is on its way would be to load it in another's place.
  const early = later(look, hasLoaders() ? 40 * HERE_MS : HERE_MS);
  early.unref();
  const late = later(() => {
    serveLate(value);
    if (place.vacant) say(`${NAME} has not called listen() of an HTTP server`);
  }, LATE_MS);
  late.unref();

  // The entry has been loaded and nothing is left to do.
  const idle = () => {
    if (!place.vacant) return;
    if (!looked) {
      look();
      setImmediate(() => {}); // one more turn, for the answer
      return;
    }
    serveLate(value);
    if (place.vacant) {
      refuse(
        `${NAME} ended without a server: let it call listen(), ` +
          'or export a handler: `export default { fetch(request) {…} }`',
        network.asked ? 'STATUS' : 'MISSING',
      );
    }
  };
  process.on('beforeExit', idle);
  // Why it never came to that, in the case that it does not.
  let heard = false;
  process.on('uncaughtExceptionMonitor', (error) => {
    if (error?.code === 'EADDRINUSE' && error.syscall === 'listen') {
      const where = error.port > 0 ? `port ${error.port}` : error.address;
      const sentence =
        `${NAME} listens on ${where} as well, which is taken: another worker may have it, ` +
        'for only the first HTTP server of an app gets a socket in every worker';
      log(sentence);
      if (!heard) say(sentence);
    } else if (!heard) {
      const lacked = lack(error);
      // Where the interpreter looked says nothing more.
      if (lacked && process.listenerCount('uncaughtException') === 0) refuse(lacked);
      say(lacked ?? fault(error), lacked ? 'MISSING' : 'STATUS');
    }
    heard = true;
  });
  process.on('exit', (status) => {
    if (!heard) say(`${NAME} ended itself before it listened (exit status ${status})`);
  });
  place.taken = () => {
    clearTimeout(early);
    clearTimeout(late);
    process.off('beforeExit', idle);
    place.taken = null;
    network.leave();
    // It has only listened once the next turn of the loop comes.
    setImmediate(() => (heard = true)).unref();
  };
}
