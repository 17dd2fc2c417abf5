// --- where the app listens --------------------------------------------------------------------

const net = require('node:net');
const http = require('node:http');
const { EventEmitter } = require('node:events');

// Longer than any worker lives; within what a timer can count.
const FOREVER_MS = 1e9;
// What a server does with requests, and so what goes to the version of the app that serves now.
const REQUESTS = new Set([
  'request',
  'upgrade',
  'connect',
  'checkContinue',
  'checkExpectation',
  'clientError',
  'dropRequest',
]);
const listen = net.Server.prototype.listen;

// The server that has the socket, and the one whose handlers answer: another one once the app was
// loaded anew. `vacant` says that the next server to listen takes the place.
const place = { server: null, current: null, vacant: true, port: 0, taken: null };
let working = 0;
let stopping = false;

net.Server.prototype.listen = function (...args) {
  // Known by what they have, because loading their modules takes longer than most apps.
  const speaks2 = typeof this.updateSettings === 'function';
  const secure = typeof this.setSecureContext === 'function';
  if (speaks2 || (secure && 'requestTimeout' in this)) {
    const what = speaks2 ? 'HTTP/2' : 'TLS';
    refuse(
      `${NAME} listens with ${what} of its own; rip-master does that in front of it: ` +
        'let it listen with http.createServer',
    );
  }
  if (!(this instanceof http.Server) || this.listening) return listen.apply(this, args);
  const asked = wishes(args);
  if (!place.vacant) {
    const again = asked.port > 0 && asked.port === place.port;
    return again ? stand(this, asked) : listen.apply(this, args);
  }
  place.vacant = false;
  place.current = this;
  place.port = asked.port;
  place.taken?.();
  return place.server ? stand(this, asked) : take(this, asked);
};

// What was asked of listen().
function wishes(args) {
  const last = args.findLast((arg) => typeof arg === 'function');
  const first = args[0];
  let options = {};
  if (typeof first === 'object' && first !== null) options = first;
  else if (typeof first === 'number' || /^\d+$/.test(first)) options = { port: first };
  else if (typeof first === 'string') options = { path: first };
  if (typeof args[1] === 'string' && options !== first) options.host = args[1];
  return {
    port: Number(options.port) || 0,
    host: options.host,
    path: options.path,
    signal: options.signal,
    callback: last,
  };
}

// The app's first server gets the socket.
function take(server, asked) {
  place.server = server;
  limitless(server);
  addressed(server, asked);
  lead(server);
  if (asked.callback) server.once('listening', asked.callback);
  listen.call(server, { fd: LISTENER_FD, signal: asked.signal });
  return server;
}

// One more server for what the first already has: it believes that it listens.
function stand(server, asked) {
  addressed(server, asked);
  if (asked.callback) server.once('listening', asked.callback);
  const nothing = () => {};
  server._handle = { close: nothing, ref: nothing, unref: nothing, getAsyncId: () => 0 };
  process.nextTick(() => server._handle && server.emit('listening'));
  asked.signal?.addEventListener('abort', () => server.close(), { once: true });
  return server;
}

// Whoever connects has already bounded how long a client may take, and keeps its connections: none
// is ever closed first. A `timeout` the app sets is for its requests; it must not end an idle
// connection, on which the next request may be on its way.
function limitless(server) {
  const fixed = (name, get) =>
    Object.defineProperty(server, name, { get, set() {}, configurable: true, enumerable: true });
  fixed('keepAliveTimeout', () => (server.timeout ? FOREVER_MS : 0));
  fixed('headersTimeout', () => 0);
  fixed('requestTimeout', () => 0);
}

// The answer of server.address(): what the app asked for, as far as it can be true.
function addressed(server, asked) {
  let address = process.env.RIP_WORKER_SOCKET;
  if (asked.path === undefined) {
    const family = net.isIP(asked.host ?? '');
    address = {
      address: family ? asked.host : '127.0.0.1',
      family: family === 6 ? 'IPv6' : 'IPv4',
      port: asked.port || publicPort(),
    };
  }
  server.address = () => (server.listening ? address : null);
}

function publicPort() {
  try {
    const url = new URL((process.env.RIP_URLS ?? '').split(',')[0]);
    return Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
  } catch {
    return 80;
  }
}

// The edge is on this machine; where it has its requests from is in X-Forwarded-For.
const PEER = {};
for (const [name, value] of Object.entries({
  remoteAddress: '127.0.0.1',
  remoteFamily: 'IPv4',
  remotePort: 0,
  localAddress: '127.0.0.1',
  localPort: 0,
})) {
  PEER[name] = { value, writable: true, configurable: true, enumerable: true };
}

// What the socket's server hears goes to the handlers that serve now, and is counted.
function lead(server) {
  const emit = server.emit;
  server.emit = function (event, first, second) {
    if (event === 'request' || event === 'checkContinue') {
      working += 1;
      second.once('close', done);
    } else if (event === 'connection') {
      Object.defineProperties(first, PEER);
    }
    if (place.current !== server && REQUESTS.has(event)) {
      return place.current.emit.apply(place.current, arguments);
    }
    return emit.apply(this, arguments);
  };
  server.listenerCount = function (event, ...rest) {
    const asked = REQUESTS.has(event) ? place.current : this;
    return EventEmitter.prototype.listenerCount.call(asked, event, ...rest);
  };
}

function done() {
  working -= 1;
  if (stopping && working === 0) exit.call(process, 0);
}

// An app with its own way to stop goes it; any other finishes the requests it has.
function stop(signal) {
  process.off(signal, stop);
  if (loading) process.exit = exit;
  const server = place.server;
  if (process.listenerCount(signal) > 0) {
    // Before Node 19 a server that is closed waits for connections that nobody uses.
    setInterval(() => server?.listening === false && server.closeIdleConnections(), 50).unref();
    return;
  }
  if (!server) {
    process.kill(process.pid, signal);
    return;
  }
  stopping = true;
  if (server.listening) server.close();
  if (working === 0) exit.call(process, 0);
}

process.on('SIGTERM', stop);
process.on('SIGINT', stop);
