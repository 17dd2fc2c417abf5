// A hub as Bun would have it: every client in one topic, which is published to natively.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("ok");
  },
  websocket: {
    idleTimeout: 0,
    perMessageDeflate: false,
    open(socket) {
      socket.subscribe("all");
    },
    message(socket, message) {
      server.publish("all", message);
    },
  },
});
process.on("SIGTERM", () => process.exit(0));
