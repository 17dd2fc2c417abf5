// Echoes WebSocket messages as ws_echo.py does, with `ws` on node's own HTTP server.
'use strict';

const http = require('node:http');
const { WebSocketServer } = require('ws');

let last = 'none';
const server = http.createServer((request, response) => response.end('ok'));
const sockets = new WebSocketServer({ server, maxPayload: 0, perMessageDeflate: false });
sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? '' : data.toString();
    if (text === 'last') socket.send(last);
    else if (text === 'pid') socket.send(String(process.pid));
    else if (text.startsWith('close ')) {
      const [, code, ...reason] = text.split(' ');
      socket.close(Number(code), reason.join(' '));
    } else socket.send(data, { binary: isBinary });
  });
  // Whoever breaks the protocol ends no other's connection.
  socket.on('error', () => {});
  socket.on('close', (code, reason) => {
    last = `${code} ${reason}`;
  });
});
const port = process.argv[2];
if (port) server.listen(Number(port), '127.0.0.1', 2000);
else server.listen({ fd: 3 });
process.on('SIGTERM', () => process.exit(0));
