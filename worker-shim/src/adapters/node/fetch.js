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

// Where this version of the runtime keeps a request's signal and a response's content, if it can be
// reached. A signal costs more than all else of a request and is asked for by few; a body that was
// given as a whole need not be read out of a stream. Where nothing is found it is done as others do.
const kept = { signal: undefined, state: undefined };
// Who asks, of a request.
const ASKER = Symbol('asker');

// Not before there is such a handler: the first request takes its time to be made.
function findKept() {
  const request = new Request('http://localhost/');
  kept.signal = symbolOf(request, (value) => value instanceof AbortSignal);
  kept.state = symbolOf(new Response('text'), (value) => value?.body?.source === 'text');
}

// The symbol under which an object keeps a value like this.
function symbolOf(object, fits) {
  return Object.getOwnPropertySymbols(object).find((symbol) => fits(object[symbol]));
}

// Who asks for something, and can leave before there is an answer.
class Asker {
  left = false;
  controller = undefined;

  get signal() {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.left) this.controller.abort();
    }
    return this.controller.signal;
  }

  leave() {
    this.left = true;
    this.controller?.abort();
  }
}

// A request's signal, made when it is first asked for.
const LATE_SIGNAL = {
  get() {
    return this[ASKER].signal;
  },
  configurable: true,
};

// A handler for an app of `fetch(request)`.
function fetched(app) {
  findKept();
  return async (req, res) => {
    const asker = new Asker();
    let reader;
    // Who waits until more can be written, or nothing any more.
    let wake = () => {};
    res.once('close', () => {
      wake();
      if (res.writableFinished) return;
      asker.leave();
      reader?.cancel().catch(() => {});
    });
    try {
      const request = requestOf(req, res, asker);
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
      const bare = response.status === 204 || response.status === 304 || req.method === 'HEAD';
      const whole = bare ? undefined : wholeOf(response);
      let first;
      let next;
      let length;
      if (whole === undefined) {
        reader = response.body?.getReader();
        first = bare || !reader ? { done: true } : await reader.read();
        if (first.done) {
          if (!bare) length = 0;
        } else {
          // A body that ends with its first piece gets a length; a stream does not wait for that.
          next = reader.read();
          next.catch(() => {});
          const ended = await Promise.race([next, new Promise(setImmediate)]).catch(() => {});
          if (ended?.done) length = Buffer.byteLength(first.value);
        }
      } else {
        length = Buffer.byteLength(whole);
      }
      // A client would wait for what the app has promised and not given.
      const promised = lengthIn(fields);
      if (length !== undefined && promised === undefined) {
        fields.push('Content-Length', String(length));
      }
      if (length < promised) throw short(length, promised);
      if (response.statusText) res.writeHead(response.status, response.statusText, fields);
      else res.writeHead(response.status, fields);
      if (whole !== undefined) {
        if (length > promised) res.end(cut(whole, promised, req.url));
        else res.end(whole);
        return;
      }
      if (!next) {
        res.end();
        await reader?.cancel();
        return;
      }
      res.on('drain', () => wake());
      let sent = 0;
      for (let piece = first; !piece.done; ) {
        sent += Buffer.byteLength(piece.value);
        if (sent > promised) {
          const count = Buffer.byteLength(piece.value);
          res.end(cut(piece.value, count - (sent - promised), req.url, promised));
          await reader.cancel();
          return;
        }
        if (!res.write(piece.value) && !res.destroyed) {
          await new Promise((resolve) => (wake = resolve));
        }
        if (res.destroyed) return;
        piece = await next;
        if (!piece.done) next = reader.read();
      }
      if (sent < promised) throw short(sent, promised);
      res.end();
    } catch (error) {
      if (!res.destroyed) fail(req, res, error);
    }
  };
}

// What a body was made of, where that is text or bytes; nothing where it has to be read, as it has
// where somebody reads it already.
function wholeOf(response) {
  if (!kept.state) return undefined;
  const source = response[kept.state]?.body?.source;
  if (typeof source !== 'string' && !(source instanceof Uint8Array)) return undefined;
  if (response.bodyUsed || response.body.locked) return undefined;
  response.body.getReader(); // a response is sent once
  return source;
}

// As much of a piece as its response has promised.
function cut(piece, count, url, promised = count) {
  log(`${NAME} answered ${url} with more than its Content-Length of ${promised} bytes: cut`);
  return Buffer.from(piece).subarray(0, count);
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

// The length that is among the fields.
function lengthIn(fields) {
  const at = fields.findIndex((name, index) => index % 2 === 0 && name === 'content-length');
  return at < 0 ? undefined : Number(fields[at + 1]);
}

// What is wrong with a response that ends early.
function short(sent, promised) {
  return new RangeError(`the response ended after ${sent} of the ${promised} bytes of its Content-Length`);
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
function requestOf(req, res, asker) {
  const { method } = req;
  if (method === 'CONNECT' || method === 'TRACE' || method === 'TRACK') return undefined;
  const scheme = req.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
  const host = req.headers.host || 'localhost';
  const url = req.url.startsWith('/') ? `${scheme}://${host}${req.url}` : req.url;
  const asked = { method };
  if (!kept.signal) asked.signal = asker.signal;
  const long = req.headers['content-length'] ?? '0';
  if (method !== 'GET' && method !== 'HEAD' && (long !== '0' || req.headers['transfer-encoding'])) {
    asked.body = bodyOf(req, res);
    asked.duplex = 'half';
  }
  const request = new Request(url === '*' ? `${scheme}://${host}/` : url, asked);
  const { rawHeaders } = req;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    request.headers.append(rawHeaders[index], rawHeaders[index + 1]);
  }
  if (kept.signal) {
    request[ASKER] = asker;
    Object.defineProperty(request, kept.signal, LATE_SIGNAL);
  }
  return request;
}
