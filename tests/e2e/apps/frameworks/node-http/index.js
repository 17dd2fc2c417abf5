const http = require('http');
const { WebSocketServer } = require('ws');

const numbers = Buffer.alloc(1024 * 1024);
for (let i = 0; i < numbers.length; i++) numbers[i] = (i * 7) % 256;

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost');
  const text = (content) => {
    res.setHeader('Content-Type', 'text/plain; charset=utf-8');
    res.end(content);
  };
  const name = /^\/path\/([^/]+)\/x$/.exec(url.pathname)?.[1];
  if (name) {
    text(decodeURIComponent(name));
    return;
  }
  switch (url.pathname) {
    case '/':
      if (req.method !== 'GET' && req.method !== 'HEAD') {
        res.statusCode = 405;
        text('only to be read');
        return;
      }
      res.setHeader('Content-Type', 'text/html');
      res.end('<!doctype html><title>Hello</title><h1>Hello</h1>');
      break;
    case '/greet':
      text(`Hello ${url.searchParams.get('name')}`);
      break;
    case '/echo':
      res.setHeader('Content-Type', req.headers['content-type']);
      req.pipe(res);
      break;
    case '/method':
      text(req.method);
      break;
    case '/download':
      res.writeHead(200, {
        'Content-Disposition': 'attachment; filename="numbers.bin"',
        'Content-Length': numbers.length,
      });
      res.end(req.method === 'HEAD' ? undefined : numbers);
      break;
    case '/stream': {
      res.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' });
      let number = 0;
      const timer = setInterval(() => {
        number += 1;
        res.write(`line ${number}\n`);
        if (number === 5) {
          clearInterval(timer);
          res.end();
        }
      }, 100);
      res.on('close', () => clearInterval(timer));
      break;
    }
    case '/events':
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (let number = 1; number <= 3; number++) res.write(`data: event ${number}\n\n`);
      res.end();
      break;
    case '/cookie':
      res.setHeader('Set-Cookie', ['a=1', 'b=2']);
      text('two cookies');
      break;
    case '/session': {
      const visits = Number(/visits=(\d+)/.exec(req.headers.cookie ?? '')?.[1] ?? 0) + 1;
      res.setHeader('Set-Cookie', `visits=${visits}`);
      text(String(visits));
      break;
    }
    case '/about':
      res.setHeader('Content-Type', 'application/json');
      res.end(
        JSON.stringify({
          scheme: req.headers['x-forwarded-proto'],
          host: req.headers.host,
          client: req.headers['x-forwarded-for'],
          path: url.pathname,
          query: url.search.slice(1),
          userAgent: req.headers['user-agent'],
        }),
      );
      break;
    case '/error':
      console.error(new Error('a mistake made on purpose').stack);
      res.statusCode = 500;
      text('it went wrong');
      break;
    case '/who':
      text(String(process.pid));
      break;
    default:
      res.statusCode = 404;
      text('no such page');
  }
});

const sockets = new WebSocketServer({ noServer: true });
server.on('upgrade', (req, socket, head) => {
  if (req.url !== '/ws') {
    socket.destroy();
    return;
  }
  sockets.handleUpgrade(req, socket, head, (client) => {
    client.on('message', (data, isBinary) => {
      if (!isBinary && data.toString() === 'bye') client.close(4001);
      else client.send(data, { binary: isBinary });
    });
  });
});

server.listen(8000, '0.0.0.0');
