// A tiny answer by Bun's own server: bun tiny.js PORT
const headers = { "content-type": "text/plain" };
Bun.serve({ hostname: "127.0.0.1", port: Number(process.argv[2]), fetch: () => new Response("ok\n", { headers }) });
