// --- handlers without a server ----------------------------------------------------------------

// The app failed to answer: a trace for the operator, 500 for the client if it is not too late.
function fail(req, res, error) {
  const id = req.headers['x-request-id'] ?? 'without id';
  log(`request ${id} failed: ${req.method} ${req.url}\n${error?.stack ?? error}`);
  if (res.headersSent) {
    res.destroy();
    return;
  }
  for (const name of res.getHeaderNames()) res.removeHeader(name);
  res.statusCode = 500;
  res.setHeader('Content-Type', 'text/plain; charset=utf-8');
  res.end('Internal Server Error\n');
}

// A handler of `(req, res)`, whose failure is its request's and not the process's.
function guarded(handler) {
  return async (req, res) => {
    try {
      await handler(req, res);
    } catch (error) {
      fail(req, res, error);
    }
  };
}

// A handler for an app of `fetch(request)`.
function fetched(app) {
  const { once } = require('node:events');
  return async (req, res) => {
    const gone = new AbortController();
    let reader;
    res.once('close', () => {
      if (res.writableFinished) return;
      gone.abort();
      reader?.cancel().catch(() => {});
    });
    try {
      const request = requestOf(req, res, gone.signal);
      if (!request) {
        res.writeHead(501).end();
        return;
      }
      const response = await app.fetch(request);
      if (!(response?.headers instanceof Headers)) {
        throw new TypeError(`fetch() of ${NAME} answered with no Response`);
      }
      if (response.status < 200) throw new TypeError(`a response of status ${response.status}`);
      if (res.destroyed) {
        await response.body?.cancel();
        return;
      }
      const fields = fieldsOf(response);
      reader = response.body?.getReader();
      const bare = response.status === 204 || response.status === 304 || req.method === 'HEAD';
      const first = bare || !reader ? { done: true } : await reader.read();
      let next;
      let length;
      if (first.done) {
        if (!bare) length = 0;
      } else {
        // A body that ends with its first piece gets a length; a stream does not wait for that.
        next = reader.read();
        next.catch(() => {});
        const ended = await Promise.race([next, new Promise(setImmediate)]).catch(() => {});
        if (ended?.done) length = first.value.byteLength;
      }
      if (length !== undefined && !fields.includes('content-length')) {
        fields.push('Content-Length', String(length));
      }
      if (response.statusText) res.writeHead(response.status, response.statusText, fields);
      else res.writeHead(response.status, fields);
      if (!next) {
        res.end();
        await reader?.cancel();
        return;
      }
      for (let piece = first; !piece.done; ) {
        if (!res.write(piece.value) && !res.destroyed) {
          await Promise.race([once(res, 'drain'), once(res, 'close')]);
        }
        if (res.destroyed) return;
        piece = await next;
        if (!piece.done) next = reader.read();
      }
      res.end();
    } catch (error) {
      if (!res.destroyed) fail(req, res, error);
    }
  };
}

// Of the connection, which is not the app's.
const OF_CONNECTIONS = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

// The fields that are sent with a response. One that was fetched from elsewhere and is passed on has
// been decoded on the way.
function fieldsOf(response) {
  const decoded = response.url && response.headers.has('content-encoding');
  const fields = [];
  for (const [name, value] of response.headers) {
    if (OF_CONNECTIONS.has(name)) continue;
    if (decoded && (name === 'content-encoding' || name === 'content-length')) continue;
    fields.push(name, value);
  }
  return fields;
}

// A request's body, read as fast as it is asked for. What is left of it when the response is complete
// is thrown away: the next request comes after it.
function bodyOf(req, res) {
  let open = true;
  const drop = () => {
    open = false;
    req.resume();
  };
  const source = {
    start(controller) {
      const end = (error) => {
        if (!open) return;
        open = false;
        if (error) controller.error(error);
        else controller.close();
      };
      req.on('data', (piece) => {
        if (!open) return;
        controller.enqueue(new Uint8Array(piece));
        if (controller.desiredSize <= 0) req.pause();
      });
      req.once('end', () => end());
      req.once('error', end);
      req.once('close', () => end(new Error('the request ended amid its body')));
      res.once('finish', () => {
        if (req.readableEnded) return;
        end(new Error('the response was complete before the body was read'));
        drop();
      });
      req.pause();
    },
    pull() {
      req.resume();
    },
    cancel: drop,
  };
  return new ReadableStream(source, new ByteLengthQueuingStrategy({ highWaterMark: 65536 }));
}

// The request as the standard has it; nothing for methods that it forbids.
function requestOf(req, res, signal) {
  const { method } = req;
  if (method === 'CONNECT' || method === 'TRACE' || method === 'TRACK') return undefined;
  const headers = new Headers();
  for (let index = 0; index < req.rawHeaders.length; index += 2) {
    headers.append(req.rawHeaders[index], req.rawHeaders[index + 1]);
  }
  const scheme = req.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
  const host = req.headers.host || 'localhost';
  const url = req.url.startsWith('/') ? `${scheme}://${host}${req.url}` : req.url;
  const asked = { method, headers, signal };
  const long = req.headers['content-length'] ?? '0';
  if (method !== 'GET' && method !== 'HEAD' && (long !== '0' || req.headers['transfer-encoding'])) {
    asked.body = bodyOf(req, res);
    asked.duplex = 'half';
  }
  return new Request(url === '*' ? `${scheme}://${host}/` : url, asked);
}
