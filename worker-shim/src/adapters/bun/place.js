// --- where the app listens, under Bun ---------------------------------------------------------

const net = require('node:net');
const http = require('node:http');

// Bun's own servers and those of node:http begin with Bun.serve(), which takes no descriptor: the
// first of them binds the worker's socket, as Bun does it for any other. `vacant` says that none has.
const place = { vacant: true, taken: null, server: null };
const bind = Bun.serve;

Bun.serve = function (options, ...rest) {
  if (!place.vacant) return bind.call(this, options, ...rest);
  if (options?.tls) {
    refuse(
      `${NAME} listens with TLS of its own; rip-master does that in front of it: ` +
        'let it listen without',
    );
  }
  const own = (value) => ({ value, enumerable: true, writable: true });
  const asked = {
    port: own(undefined),
    hostname: own(undefined),
    reusePort: own(undefined),
    unix: own(process.env.RIP_WORKER_SOCKET),
  };
  // Whoever connects has bounded how long a request may take.
  if (options?.idleTimeout === undefined) asked.idleTimeout = own(0);
  place.vacant = false;
  const server = bind.call(this, Object.create(options ?? null, asked), ...rest);
  place.server = server;
  place.taken?.();
  // The edge is on this machine; where it has its requests from is in X-Forwarded-For.
  const known = { requestIP: () => ({ address: '127.0.0.1', family: 'IPv4', port: 0 }) };
  const address = publicAddress(options);
  for (const [name, value] of Object.entries({ ...known, ...address })) {
    Object.defineProperty(server, name, { value, configurable: true, enumerable: true });
  }
  return server;
};

// What the app asked for, as far as it can be true.
function publicAddress(options) {
  let url = new URL('http://localhost/');
  try {
    url = new URL((process.env.RIP_URLS ?? '').split(',')[0]);
  } catch {
    // There is none to tell.
  }
  const standard = url.protocol === 'https:' ? 443 : 80;
  const port = Number(options?.port) || Number(url.port) || standard;
  return { port, hostname: options?.hostname ?? 'localhost', url };
}

const { listen } = http.Server.prototype;
http.Server.prototype.listen = function (...args) {
  if (place.vacant) named(this, args);
  return listen.apply(this, args);
};

// Its requests come from this machine, and it listens where it was asked to.
function named(server, args) {
  const { emit, address } = server;
  const peer = { remoteAddress: '127.0.0.1', remoteFamily: 'IPv4', remotePort: 0 };
  server.emit = function (event, request) {
    if (event === 'request' && request?.socket && !request.socket.remoteAddress) {
      for (const [name, value] of Object.entries(peer)) {
        Object.defineProperty(request.socket, name, { value, configurable: true, writable: true });
      }
    }
    return emit.apply(this, arguments);
  };
  const first = typeof args[0] === 'object' && args[0] !== null ? args[0] : { port: args[0] };
  server.address = function () {
    if (address.call(this) === null) return null;
    const { port } = publicAddress({ port: Number(first.port) || undefined });
    return { address: '127.0.0.1', family: 'IPv4', port };
  };
}

// An app with its own way to stop goes it; any other finishes the requests it has.
function stop(signal) {
  process.off(signal, stop);
  const { server } = place;
  if (process.listenerCount(signal) > 0) return;
  if (!server) {
    process.kill(process.pid, signal);
    return;
  }
  server.stop();
  const end = () => (server.pendingRequests > 0 ? setTimeout(end, 10) : exit.call(process, 0));
  end();
}

process.on('SIGTERM', stop);
process.on('SIGINT', stop);
