// `ws` as a client of sessions: starts one, is told of its turns, comes back to it; says `fine`.
'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { WebSocket } = require('ws');

async function open() {
  const socket = new WebSocket(process.argv[2]);
  const told = [];
  let wake = () => {};
  socket.on('message', (data, isBinary) => {
    assert(!isBinary);
    told.push(JSON.parse(data));
    wake();
  });
  await once(socket, 'open');
  assert.strictEqual(socket.extensions, '');
  const hear = async () => {
    while (told.length === 0) await new Promise((resolve) => { wake = resolve; });
    return told.shift();
  };
  const turn = async () => {
    const events = [];
    do events.push(await hear()); while (!['outcome', 'error'].includes(events.at(-1).type));
    return events;
  };
  return { socket, hear, turn, say: (message) => socket.send(JSON.stringify(message)) };
}

async function close({ socket }) {
  socket.close(1000, 'done');
  const [code, reason] = await once(socket, 'close');
  assert.deepStrictEqual([code, reason.toString()], [1000, 'done']);
}

(async () => {
  const words = Array.from({ length: 300 }, (_, number) => `wörd ${number} `);
  const first = await open();
  first.say({ steps: words });
  const events = await first.turn();
  assert.strictEqual(events.map((event) => event.text ?? '').join(''), words.join(''));
  const { sessionId, continuationToken } = events.at(-1);
  first.say({ type: 'ping' });
  assert.deepStrictEqual(await first.hear(), { id: events.at(-1).id, type: 'pong' });
  await close(first);

  const second = await open();
  second.say({ type: 'resume', sessionId, continuationToken, lastEventId: events[99].id });
  assert.deepStrictEqual(await second.turn(), events.slice(100));
  second.say({ steps: ['x'.repeat(200_000)] });
  const more = await second.turn();
  assert.strictEqual(more[0].text.length, 200_000);
  assert.strictEqual(more.at(-1).turn, 2);
  await close(second);
  console.log('fine');
})();
