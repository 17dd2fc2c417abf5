// The client of examples/agent against a server, and against what lies between: connections that break
// on the way there, on the way back, and in the middle of a stream. Says `fine`.
//
//   session_library.mjs BASE RECORD     (RECORD: where the app of turns writes down what it was asked)
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { AppRefusedError, LostError, RefusedError, Session, TurnError } from "../../../examples/agent/client.js";

const { WebSocket } = createRequire(path.join(process.env.NODE_PATH, "/"))("ws");
const [, , base, record] = process.argv;
const DEADLINE = 20_000;

// A way to the server on which the next connections break as they are told to: `request` before the
// request gets there, or a number, so many bytes of the answer.
const breaks = [];
const ways = new Set();
const between = net.createServer((client) => {
  const server = net.connect(Number(new URL(base).port), "127.0.0.1");
  let left = Infinity;
  const end = () => { client.destroy(); server.destroy(); ways.delete(end); };
  ways.add(end);
  client.on("data", (data) => {
    const isRequest = /^(GET|POST|DELETE) /.test(data.toString("latin1"));
    const next = isRequest ? breaks.shift() : undefined;
    if (next === "request") return end();
    left = next ?? left;
    server.write(data);
  });
  server.on("data", (data) => {
    client.write(data.subarray(0, left));
    left -= data.length;
    if (left <= 0) client.end(), end();
  });
  for (const socket of [client, server]) socket.on("close", end).on("error", end);
});
await new Promise((resolve) => between.listen(0, "127.0.0.1", resolve));

const direct = new URL("/v1", base).href;
const broken = `http://127.0.0.1:${between.address().port}/v1`;
const quick = { pause: 20, WebSocket };
const open = (name) => fs.writeFileSync(path.join(record, name), "");
const asked = (session) => fs.readFileSync(path.join(record, "turns"), "utf8").split("\n").slice(0, -1)
  .map((line) => JSON.parse(line)).filter((line) => line.event === "turn" && line.session === session.id);
const until = async (what, condition) => {
  for (const end = Date.now() + DEADLINE; !condition(); await new Promise((later) => setTimeout(later, 10))) {
    assert.ok(Date.now() < end, what);
  }
};

// What a generator yields and returns.
async function all(events) {
  const seen = [];
  for (;;) {
    const { done, value } = await events.next();
    if (done) return { seen, value };
    seen.push(value);
  }
}
const texts = (seen) => seen.filter((event) => event.type === "delta").map((event) => event.text);
const numbers = (seen) => seen.filter((event) => event.seq).map((event) => event.seq);
const assertInOrder = (seen) => {
  const [first] = numbers(seen);
  assert.deepEqual(numbers(seen), numbers(seen).map((_, at) => first + at));
};

const tests = {
  async "a watch that is left while it waits to try again ends without a word"() {
    // Nobody is there: after the first try it waits.
    const lost = new Session({ url: "http://127.0.0.1:1/v1", saved: { sessionId: "s_1", readToken: "r" } });
    const leaves = new AbortController();
    setTimeout(() => leaves.abort(), 60);
    for await (const event of lost.watch({ signal: leaves.signal })) assert.fail(JSON.stringify(event));
  },

  async "turns follow one another"() {
    const kept = [];
    const session = new Session({ url: direct, onChange: (saved) => kept.push(saved) });
    const first = await session.send({ n: 1 });
    assert.equal(first.status, "finished");
    assert.deepEqual(first.output.input, { n: 1 });
    const second = await session.send({ n: 2 });
    assert.deepEqual(second.output.state, { count: 1, last: { n: 1 } });
    assert.notEqual(first.continuationToken, second.continuationToken);
    assert.deepEqual(kept.at(-1), session.saved);
    assert.equal(session.isPending, false);
    const { status, turn } = await session.status();
    assert.deepEqual({ status, turn }, { status: "idle", turn: 2 });
    // Another process goes on with it; what it had before is of no use any more.
    const old = session.saved;
    const other = new Session({ url: direct, saved: old });
    assert.equal((await other.send({ n: 3 })).output.turn, 3);
    const stale = await session.send({ n: 4 }).catch((error) => error);
    assert.ok(stale instanceof RefusedError);
    assert.deepEqual([stale.code, stale.status], ["stale-token", 409]);
    await other.delete();
    assert.equal(other.id, undefined);
    const gone = await new Session({ url: direct, saved: old }).status().catch((error) => error);
    assert.deepEqual([gone.code, gone.status], ["unknown-session", 404]);
  },

  async "a stream tells a turn as it happens"() {
    const session = new Session({ url: direct });
    const events = session.stream({ steps: ["a", { gate: "stream" }, "b\u2028\n😀"] });
    assert.equal((await events.next()).value.text, "a");
    open("stream");
    const { seen, value } = await all(events);
    assert.deepEqual(texts(seen), ["b\u2028\n😀"]);
    assert.equal(value.status, "finished");
    assert.equal(seen.at(-1).type, "outcome");
    assertInOrder(seen);
    const again = await all(session.events({ from: "earliest" }));
    assert.deepEqual(again.seen.slice(1), seen);
    const source = [];
    for await (const event of session.events({ from: "earliest", turn: 1 })) source.push(event);
    assert.deepEqual(source, again.seen);
    // Old tokens that are read again do not take the place of the one that is good.
    await session.send({});
    const all_of_it = await all(session.events({ from: "earliest" }));
    assert.deepEqual(all_of_it.seen.map(({ turn }) => turn), [1, 1, 1, 2]);
    await all(session.events({ from: "earliest", turn: 1 }));
    assert.equal((await session.send({})).output.turn, 3);
  },

  async "refusals and failures are told apart"() {
    const fresh = new Session({ url: direct });
    const plan = { status: 422, answer: { field: "name" } };
    const refused = await fresh.send(plan).catch((error) => error);
    assert.ok(refused instanceof AppRefusedError, String(refused));
    assert.deepEqual([refused.status, refused.body], [422, { field: "name" }]);
    assert.deepEqual([fresh.id, fresh.isPending], [undefined, false]);

    const session = new Session({ url: direct });
    const failed = await all(session.stream({ attempts: [{ steps: ["half ", { end: true }] }, { steps: ["whole"] }] }))
      .catch((error) => error);
    assert.ok(failed instanceof TurnError, String(failed));
    assert.deepEqual([failed.code, failed.retryable, session.isPending], ["incomplete", true, false]);
    const started = await session.send({ n: 1 });
    assert.equal(started.output.attempt, 2);
    const wrong = await session.send({ body: "no JSON", media: "text/html" }).catch((error) => error);
    assert.ok(wrong instanceof TurnError);
    assert.equal((await session.send({ n: 2 })).output.turn, 2);
    const closed = net.createServer();
    await new Promise((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address();
    await new Promise((resolve) => closed.close(resolve));
    const nobody = new Session({ url: `http://127.0.0.1:${port}/v1`, attempts: 2, pause: 1 });
    assert.ok(await nobody.send({}).catch((error) => error) instanceof LostError);
    assert.equal(nobody.isPending, true);
  },

  async "a lost answer is got again and nothing runs twice"() {
    for (const how of ["request", 0, 30, 1]) {
      const session = new Session({ url: broken, ...quick });
      breaks.push(how);
      const first = await session.send({ n: 1 });
      assert.equal(first.output.turn, 1);
      breaks.push(how, "request", how);
      const second = await session.send({ n: 2 });
      assert.equal(second.output.turn, 2);
      assert.equal((await session.send({ n: 3 })).output.turn, 3);
      assert.deepEqual(asked(session).map(({ turn, attempt }) => [turn, attempt]), [[1, 1], [2, 1], [3, 1]], String(how));
    }
  },

  async "a stream that breaks off goes on where it was"() {
    const steps = Array.from({ length: 40 }, (_, number) => `${number} `);
    for (const first of [1, 300, 700, 2500]) {
      const session = new Session({ url: broken, ...quick });
      breaks.push(first, first, 900, 400);
      const { seen, value } = await all(session.stream({ steps }));
      assert.deepEqual(texts(seen), steps, `broken after ${first}`);
      assertInOrder(seen);
      assert.equal(value.status, "finished");
      breaks.push(first, 600, 600);
      const more = await all(session.stream({ steps }));
      assert.deepEqual(texts(more.seen), steps);
      breaks.length = 0;
      assert.equal((await session.send({})).output.turn, 3);
      assert.equal(asked(session).length, 3);
    }
  },

  async "a turn that still runs is listened to"() {
    const session = new Session({ url: broken, ...quick });
    await session.send({});
    const events = session.stream({ steps: ["a", { gate: "still" }, "b"] });
    assert.equal((await events.next()).value.text, "a");
    for (const end of ways) end();
    setTimeout(open, 300, "still");
    assert.deepEqual(texts((await all(events)).seen), ["b"]);
    assert.equal(asked(session).length, 2);

    // A JSON answer is lost while the turn runs; so is that of the session's first turn.
    // How long it runs does not matter.
    for (const one of [session, new Session({ url: broken, ...quick, attempts: 3 })]) {
      const gate = `lost-${one.id ?? "start"}`;
      const sent = one.send({ gate });
      await until("the turn at the app", () => fs.readFileSync(path.join(record, "turns"), "utf8").includes(gate));
      for (const end of ways) end();
      setTimeout(open, 600, gate);
      assert.deepEqual((await sent).output.input, { gate });
    }
  },

  async "an answer that never came is got by whoever has what was kept"() {
    const saved = [];
    const session = new Session({ url: broken, attempts: 1, onChange: (one) => saved.push(one) });
    await session.send({});
    breaks.push(0);
    const lost = await all(session.stream({ steps: ["a", "b"] })).catch((error) => error);
    assert.ok(lost instanceof LostError, String(lost));
    const other = new Session({ url: direct, saved: JSON.parse(JSON.stringify(saved.at(-1))) });
    assert.equal(other.isPending, true);
    const { seen, value } = await all(other.retry());
    assert.deepEqual([texts(seen), value.status], [["a", "b"], "finished"]);
    assert.equal(other.isPending, false);
    assert.equal((await all(other.retry())).value, undefined);
    assert.equal((await other.send({})).output.turn, 3);
    assert.equal(asked(other).length, 3);
  },

  async "a turn is cancelled, or ends with its listener"() {
    const session = new Session({ url: direct });
    await session.send({});
    const events = session.stream({ steps: ["a", { gate: "never" }] });
    await events.next();
    assert.equal(await session.cancel(), "cancelling");
    assert.equal((await all(events)).value.status, "cancelled");
    const late = await session.cancel();
    assert.equal(late.status, "cancelled");
    assert.equal((await session.send({})).output.turn, 2);

    const leaving = new AbortController();
    const left = session.stream({ steps: ["a", { gate: "never" }] }, { signal: leaving.signal, cancelOnDisconnect: true });
    await left.next();
    leaving.abort();
    assert.equal((await left.next().catch((error) => error)).name, "AbortError");
    let status;
    for (const end = Date.now() + DEADLINE; status !== "idle"; { status } = await session.status()) {
      assert.ok(Date.now() < end, `still ${status}`);
    }
    assert.equal((await session.send({})).output.turn, 3);
  },

  async "turns that others begin are watched"() {
    const session = new Session({ url: direct });
    const parked = await session.send({ answer: { status: "parked", wait: { id: "w", reason: "test" } } });
    assert.equal(parked.status, "parked");
    const watching = new AbortController();
    const watched = [];
    const watch = (async () => {
      for await (const event of session.watch({ signal: watching.signal })) {
        watched.push(event);
        if (event.type === "outcome") watching.abort();
      }
    })();
    await until("the first look", () => true);
    const wake = () => fetch(`${direct}/session/${session.id}/wake`, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ plan: { steps: ["woken"] } }),
    });
    // It watches from now on, and now may come later than we think.
    await new Promise((later) => setTimeout(later, 300));
    assert.equal((await wake()).status, 200);
    await watch;
    assert.deepEqual(texts(watched), ["woken"]);
    // The token that the turn has made is known.
    assert.equal((await session.send({})).output.turn, 3);
  },

  async "a WebSocket carries the same, and comes back"() {
    const session = new Session({ url: broken, ...quick });
    const socket = await session.socket();
    const first = await all(socket.send({ steps: ["a", "b"] }));
    assert.deepEqual([texts(first.seen), first.value.status], [["a", "b"], "finished"]);
    assertInOrder(first.seen);
    socket.ping();
    const events = socket.send({ steps: ["c", { gate: "socket" }, "d"] });
    assert.equal((await events.next()).value.text, "c");
    // It ends while nobody is there.
    for (const end of ways) end();
    breaks.push("request", "request", "request", "request");
    open("socket");
    const second = await all(events);
    assert.deepEqual([texts(second.seen), second.value.status], [["d"], "finished"]);
    const cancels = async (one) => {
      const cancelled = one.send({ steps: ["e", { gate: "never" }] });
      await cancelled.next();
      await one.cancel();
      assert.equal((await all(cancelled)).value.status, "cancelled");
    };
    await cancels(socket);
    // What never got there is sent again.
    for (const end of ways) end();
    const late = await all(socket.send({ steps: ["g"] }));
    assert.deepEqual([texts(late.seen), late.value.output.turn], [["g"], 3]);
    const refused = await all(socket.send({ status: 422, answer: {} })).catch((error) => error);
    assert.ok(refused instanceof TurnError || refused instanceof RefusedError, String(refused));
    socket.close();
    // HTTP goes on with what came over the socket, and the other way round.
    assert.equal((await session.send({})).output.turn, 4);
    const other = await session.socket();
    assert.equal((await all(other.send({ steps: ["f"] }))).value.output.turn, 5);
    await cancels(other);
    other.close();
    assert.equal(asked(session).filter(({ turn }) => turn === 2).length, 1);
  },
};

const only = process.argv[4];
for (const [name, test] of Object.entries(tests).filter(([name]) => !only || name.includes(only))) {
  const late = setTimeout(() => { console.error(`not done in time: ${name}`); process.exit(1); }, 2 * DEADLINE);
  try {
    await test();
  } catch (error) {
    console.error(name, error);
    process.exit(1);
  }
  clearTimeout(late);
  breaks.length = 0;
}
console.log("fine");
process.exit(0);
