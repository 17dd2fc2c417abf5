// A hub with `ws`, as its manual has it.
'use strict';

const http = require('node:http');
const { WebSocketServer, WebSocket } = require('ws');

const server = http.createServer((request, response) => response.end('ok'));
const hub = new WebSocketServer({ server, perMessageDeflate: false });
hub.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    for (const client of hub.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    }
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
process.on('SIGTERM', () => process.exit(0));
