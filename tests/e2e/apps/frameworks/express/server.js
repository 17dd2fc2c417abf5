const crypto = require('crypto');
const express = require('express');
const multer = require('multer');
const { WebSocketServer } = require('ws');
const forms = require('./forms');

const app = express();
const upload = multer({ storage: multer.memoryStorage() });
const numbers = Buffer.alloc(1024 * 1024);
for (let i = 0; i < numbers.length; i++) numbers[i] = (i * 7) % 256;

app.set('trust proxy', 'loopback');

app.get('/', (req, res) => {
  res.send('<!doctype html><title>Hello</title><h1>Hello</h1>');
});

app.get('/greet', (req, res) => {
  res.type('text').send(`Hello ${req.query.name}`);
});

app.get('/path/:name/x', (req, res) => {
  res.type('text').send(req.params.name);
});

app.use('/form', forms);

app.post('/upload', upload.single('file'), (req, res) => {
  const { originalname, size, buffer } = req.file;
  const sha256 = crypto.createHash('sha256').update(buffer).digest('hex');
  res.json({ name: originalname, size, sha256, note: req.body.note });
});

app.post('/echo', express.raw({ type: () => true, limit: '1mb' }), (req, res) => {
  res.set('Content-Type', req.get('content-type'));
  res.send(Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0));
});

app.all('/method', (req, res) => {
  res.type('text').send(req.method);
});

app.get('/download', (req, res) => {
  res.attachment('numbers.bin').send(numbers);
});

app.get('/stream', (req, res) => {
  res.type('text');
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
});

app.get('/events', (req, res) => {
  res.set('Content-Type', 'text/event-stream');
  for (let number = 1; number <= 3; number++) {
    res.write(`id: ${number}\ndata: event ${number}\n\n`);
  }
  res.end();
});

app.get('/cookie', (req, res) => {
  res.cookie('a', '1').cookie('b', '2').type('text').send('two cookies');
});

app.get('/session', (req, res) => {
  const visits = Number(/visits=(\d+)/.exec(req.get('cookie') || '')?.[1] ?? 0) + 1;
  res.cookie('visits', visits, { httpOnly: true }).type('text').send(String(visits));
});

app.get('/about', (req, res) => {
  res.json({
    scheme: req.protocol,
    host: req.get('host'),
    client: req.ip,
    path: req.path,
    query: req.originalUrl.split('?')[1],
    userAgent: req.get('user-agent'),
  });
});

app.get('/error', async () => {
  throw new Error('a mistake made on purpose');
});

app.get('/who', (req, res) => {
  res.type('text').send(String(process.pid));
});

const port = process.env.PORT || 3000;
const server = app.listen(port, () => {
  console.log(`Example app listening on port ${port}`);
});

const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('connection', (socket) => {
  socket.on('error', console.error);
  socket.on('message', (data, isBinary) => {
    if (!isBinary && data.toString() === 'bye') socket.close(4001);
    else socket.send(data, { binary: isBinary });
  });
});
