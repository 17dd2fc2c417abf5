// `ws` as a client of realtime: says `fine` when what it says comes back, and the close as well.
'use strict';

const { WebSocket } = require('ws');

const socket = new WebSocket(process.argv[2], ['other', 'chosen']);
const sent = ['a text', Buffer.alloc(200_000, 'node'), '', 'ü'.repeat(40_000), Buffer.alloc(0)];
let heard = 0;
socket.on('open', () => {
  if (socket.protocol !== 'chosen') throw new Error(`protocol ${socket.protocol}`);
  if (socket.extensions !== '') throw new Error(`extensions ${socket.extensions}`);
  for (const message of sent) socket.send(message);
});
socket.on('message', (data, isBinary) => {
  const expected = sent[heard++];
  if (isBinary !== Buffer.isBuffer(expected)) throw new Error('of another kind');
  if (!Buffer.from(expected).equals(data)) throw new Error(`another message came back: ${data.length}`);
  if (heard === sent.length) socket.ping('there?');
});
socket.on('pong', (data) => {
  if (data.toString() !== 'there?') throw new Error(`pong ${data}`);
  socket.close(4777, 'done');
});
socket.on('close', (code, reason) => {
  if (code !== 4777 || reason.toString() !== 'done') throw new Error(`closed ${code} ${reason}`);
  console.log('fine');
});
