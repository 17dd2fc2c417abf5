// Writes down every execution of a request by its number, and answers with what it received; see
// ../../ledger.py.
const fs = require('fs');
const path = require('path');
const express = require('express');

const { RECORD, RIP_WORKER_ID: WORKER, RIP_APP_ID: APP } = process.env;
const RELEASE = (() => {
  try {
    return fs.readFileSync(path.join(__dirname, 'release'), 'utf8').trim();
  } catch {
    return '1';
  }
})();
const book = fs.openSync(path.join(RECORD, `executed-w${WORKER}`), 'a', 0o600);
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function adler32(bytes) {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return (b * 65536 + a) >>> 0;
}

const app = express();

app.get('/ready', (req, res) => {
  res.type('text').send('ready');
});

app.use(express.raw({ type: () => true, limit: '20mb' }));

app.use(async (req, res) => {
  const number = req.path.split('/').pop();
  const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
  const checksum = adler32(body);
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const line = [number, req.method, body.length, checksum, WORKER, process.pid, micros, APP];
  fs.writeSync(book, `${line.join(' ')}\n`);
  while (req.query.hang !== undefined) await wait(1);
  if (req.query.pieces) {
    res.type('text/event-stream');
    for (let index = 0; index < Number(req.query.pieces); index++) {
      res.write(`data: ${number} ${index}\n\n`);
      await wait(Number(req.query.gap));
    }
    res.end(`data: ${number} end ${WORKER} ${APP} ${RELEASE}\n\n`);
    return;
  }
  await wait(Number(req.query.ms ?? 0) / 1000);
  res.json({
    number: Number(number),
    method: req.method,
    bytes: body.length,
    checksum,
    worker: Number(WORKER),
    app: APP,
    release: RELEASE,
  });
});

app.listen(3000);
