import site from './server.mjs';

const server = Bun.serve({
  port: 3000,
  async fetch(request, server) {
    const url = new URL(request.url);
    if (url.pathname === '/ws' && server.upgrade(request)) return;
    return site.fetch(request);
  },
  websocket: {
    message(socket, message: string | Buffer) {
      if (message === 'bye') socket.close(4001);
      else socket.send(message);
    },
  },
});

console.log(`Listening on ${server.url}`);
