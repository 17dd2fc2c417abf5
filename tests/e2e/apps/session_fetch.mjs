// fetch as a client of sessions: streams a turn, goes on with it, and reads it again. Says `fine`.
import assert from "node:assert/strict";

const base = process.argv[2];

async function events(response) {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of response.body) text += decoder.decode(piece, { stream: true });
  assert.ok(text.startsWith("retry: 1000\n\n"), text);
  return text.split("\n\n").filter((block) => block.startsWith("id: ")).map((block) => {
    const [id, data] = block.split("\n");
    return [id.slice("id: ".length), JSON.parse(data.slice("data: ".length))];
  });
}

const plan = { steps: ["Hel", "lo ", "ünïcödé 😀\u2028"] };
const accept = { Accept: "text/event-stream" };
const post = (path, body, headers = {}) => fetch(new URL(path, base), {
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

const response = await post("/v1/session", plan, accept);
assert.equal(response.status, 200);
assert.equal(response.headers.get("Content-Type"), "text/event-stream");
const heard = await events(response);
const texts = heard.filter(([, event]) => event.type === "delta").map(([, event]) => event.text);
assert.deepEqual(texts, plan.steps);
const outcome = heard.at(-1)[1];
assert.equal(outcome.status, "finished");
assert.deepEqual(outcome.output.input, plan);

const path = `/v1/session/${outcome.sessionId}`;
const answer = await post(`${path}/message`, { n: 2 }, { "X-Continuation-Token": outcome.continuationToken });
assert.equal((await answer.json()).output.turn, 2);
const again = await post(`${path}/message`, { n: 3 }, { "X-Continuation-Token": outcome.continuationToken });
assert.equal(again.status, 409);
assert.equal((await again.json()).code, "stale-token");

const resume = { ...accept, "Rip-Resume-Token": response.headers.get("Rip-Resume-Token") };
for (const [at, [id]] of heard.slice(0, -1).entries()) {
  const rest = await fetch(new URL(`${path}/events?turn=1`, base), { headers: { ...resume, "Last-Event-ID": id } });
  assert.deepEqual(await events(rest), heard.slice(at + 1));
}
console.log("fine");
