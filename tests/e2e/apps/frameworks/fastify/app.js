import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import Fastify from 'fastify';
import formbody from '@fastify/formbody';
import multipart from '@fastify/multipart';
import websocket from '@fastify/websocket';

const fastify = Fastify({ logger: true, trustProxy: true });
await fastify.register(formbody);
await fastify.register(multipart, { limits: { fileSize: 10_000_000 } });
await fastify.register(websocket);
fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body));

const numbers = Buffer.alloc(1024 * 1024);
for (let i = 0; i < numbers.length; i++) numbers[i] = (i * 7) % 256;

const text = (reply) => reply.type('text/plain; charset=utf-8');

fastify.get('/', async (request, reply) => {
  reply.type('text/html');
  return '<!doctype html><title>Hello</title><h1>Hello</h1>';
});

fastify.get('/greet', async (request, reply) => {
  text(reply);
  return `Hello ${request.query.name}`;
});

fastify.get('/path/:name/x', async (request, reply) => {
  text(reply);
  return request.params.name;
});

fastify.get('/form', async (request, reply) => {
  text(reply);
  return `${request.query.name} likes ${request.query.colour}`;
});

fastify.post('/form', async (request, reply) => {
  const { name, colour } = request.body;
  return reply.redirect(`/form?${new URLSearchParams({ name, colour })}`, 303);
});

fastify.post('/upload', async (request) => {
  const parts = {};
  for await (const part of request.parts()) {
    if (part.type === 'file') {
      const content = await part.toBuffer();
      parts.name = part.filename;
      parts.size = content.length;
      parts.sha256 = createHash('sha256').update(content).digest('hex');
    } else {
      parts[part.fieldname] = part.value;
    }
  }
  return parts;
});

fastify.post('/echo', async (request, reply) => {
  reply.type(request.headers['content-type']);
  return request.body ?? '';
});

fastify.route({
  method: ['PUT', 'DELETE', 'PATCH'],
  url: '/method',
  handler: async (request, reply) => {
    text(reply);
    return request.method;
  },
});

fastify.get('/download', async (request, reply) => {
  reply.header('Content-Disposition', 'attachment; filename="numbers.bin"');
  reply.type('application/octet-stream');
  return numbers;
});

fastify.get('/stream', async (request, reply) => {
  async function* lines() {
    for (let number = 1; number <= 5; number++) {
      if (number > 1) await wait(100);
      yield `line ${number}\n`;
    }
  }
  text(reply);
  return Readable.from(lines());
});

fastify.get('/events', async (request, reply) => {
  reply.type('text/event-stream');
  return Readable.from([1, 2, 3].map((number) => `id: ${number}\ndata: event ${number}\n\n`));
});

fastify.get('/cookie', async (request, reply) => {
  reply.header('Set-Cookie', ['a=1', 'b=2']);
  text(reply);
  return 'two cookies';
});

fastify.get('/session', async (request, reply) => {
  const visits = Number(/visits=(\d+)/.exec(request.headers.cookie ?? '')?.[1] ?? 0) + 1;
  reply.header('Set-Cookie', `visits=${visits}; HttpOnly`);
  text(reply);
  return String(visits);
});

fastify.get('/about', async (request) => ({
  scheme: request.protocol,
  host: request.host,
  client: request.ip,
  path: request.url.split('?')[0],
  query: request.url.split('?')[1],
  userAgent: request.headers['user-agent'],
}));

fastify.get('/error', async () => {
  throw new Error('a mistake made on purpose');
});

fastify.get('/who', async (request, reply) => {
  text(reply);
  return String(process.pid);
});

fastify.get('/ws', { websocket: true }, (socket) => {
  socket.on('message', (data, isBinary) => {
    if (!isBinary && data.toString() === 'bye') socket.close(4001);
    else socket.send(data, { binary: isBinary });
  });
});

try {
  await fastify.listen({ port: 3000 });
} catch (error) {
  fastify.log.error(error);
  process.exit(1);
}
