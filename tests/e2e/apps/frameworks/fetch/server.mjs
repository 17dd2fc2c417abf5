const numbers = new Uint8Array(1024 * 1024).map((_, i) => (i * 7) % 256);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

const text = (content, headers = {}, status = 200) =>
  new Response(content, {
    status,
    headers: { 'Content-Type': 'text/plain; charset=utf-8', ...headers },
  });

async function upload(request) {
  const form = await request.formData();
  const file = form.get('file');
  const content = await file.arrayBuffer();
  const sha256 = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', content)));
  return Response.json({ name: file.name, size: file.size, sha256, note: form.get('note') });
}

function stream() {
  const encoder = new TextEncoder();
  let number = 0;
  return new ReadableStream({
    async pull(controller) {
      number += 1;
      if (number > 1) await wait(100);
      controller.enqueue(encoder.encode(`line ${number}\n`));
      if (number === 5) controller.close();
    },
  });
}

async function fetch(request) {
  const url = new URL(request.url);
  const query = url.searchParams;
  const name = /^\/path\/([^/]+)\/x$/.exec(url.pathname)?.[1];
  if (name) return text(decodeURIComponent(name));
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /':
    case 'HEAD /':
      return new Response('<!doctype html><title>Hello</title><h1>Hello</h1>', {
        headers: { 'Content-Type': 'text/html' },
      });
    case 'GET /greet':
      return text(`Hello ${query.get('name')}`);
    case 'GET /form':
      return text(`${query.get('name')} likes ${query.get('colour')}`);
    case 'POST /form': {
      const form = await request.formData();
      return Response.redirect(new URL(`/form?${new URLSearchParams(form)}`, url), 303);
    }
    case 'POST /upload':
      return upload(request);
    case 'POST /echo':
      return new Response(request.body, {
        headers: { 'Content-Type': request.headers.get('content-type') },
      });
    case 'PUT /method':
    case 'DELETE /method':
    case 'PATCH /method':
      return text(request.method);
    case 'GET /download':
      return new Response(numbers, {
        headers: { 'Content-Disposition': 'attachment; filename="numbers.bin"' },
      });
    case 'GET /stream':
      return text(stream());
    case 'GET /events':
      return new Response('data: event 1\n\ndata: event 2\n\ndata: event 3\n\n', {
        headers: { 'Content-Type': 'text/event-stream' },
      });
    case 'GET /cookie': {
      const headers = new Headers({ 'Content-Type': 'text/plain' });
      headers.append('Set-Cookie', 'a=1');
      headers.append('Set-Cookie', 'b=2');
      return new Response('two cookies', { headers });
    }
    case 'GET /session': {
      const cookie = request.headers.get('cookie') ?? '';
      const visits = Number(/visits=(\d+)/.exec(cookie)?.[1] ?? 0) + 1;
      return text(String(visits), { 'Set-Cookie': `visits=${visits}` });
    }
    case 'GET /about':
      return Response.json({
        scheme: request.headers.get('x-forwarded-proto'),
        host: url.host,
        client: request.headers.get('x-forwarded-for'),
        path: url.pathname,
        query: url.search.slice(1),
        userAgent: request.headers.get('user-agent'),
      });
    case 'GET /error':
      throw new Error('a mistake made on purpose');
    case 'GET /who':
      return text(String(process.pid));
    default:
      return text('no such page', {}, 404);
  }
}

export default { port: 3000, fetch };
