// `ws` as a client: one large message there and back, then a closing with a code.
'use strict';

const { WebSocket } = require('ws');

const socket = new WebSocket(process.argv[2], { perMessageDeflate: false });
const message = Buffer.alloc(10_000_000, 'node');
socket.on('open', () => socket.send(message));
socket.on('message', (data) => {
  if (!message.equals(data)) throw new Error('another message came back');
  socket.send('close 4777 done');
});
socket.on('close', (code, reason) => {
  if (code !== 4777 || reason.toString() !== 'done') throw new Error(`closed ${code} ${reason}`);
  console.log('fine');
});
