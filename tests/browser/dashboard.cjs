// The dashboard: looked at from this machine, logged in to from elsewhere, used without a mouse, by whoever
// sees little, on a phone, while workers die and the server stands still.
//
//   dashboard.cjs BASE PANEL MASTER PICTURES     (BASE: rip.local, PANEL: where one has to log in, MASTER: its pid)
//
// RIP_MASTER is the program; RIP_NAME and RIP_RUNTIME say which server.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { execFileSync } = require("node:child_process");
const { main } = require("./browser.cjs");

const [, , , panel, master, pictures] = process.argv;
const port = new URL(panel).port;
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PLANTED = "planted-8d2f";

// A browser would leave things of its own in its XDG_RUNTIME_DIR.
const env = { ...process.env, XDG_RUNTIME_DIR: process.env.RIP_RUNTIME };
const ctl = (...words) =>
  JSON.parse(execFileSync(process.env.RIP_MASTER, ["ctl", ...words, "--json"], { encoding: "utf8", env }));
const told = () => ctl("diagnostics");
const link = () => ctl("dashboard-login").urls.find((url) => url.startsWith(panel));

// A request as no page can make it.
const ask = (method, target, headers = {}, body = "") => new Promise((resolve, reject) => {
  const request = http.request({ host: "127.0.0.1", port, method, path: target, headers }, (answer) => {
    let text = "";
    answer.setEncoding("utf8").on("data", (piece) => { text += piece; });
    answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
  });
  request.on("error", reject).end(body);
});

const settles = async (what, look) => {
  const until = Date.now() + 15_000;
  let last;
  do {
    try {
      return await look();
    } catch (error) {
      last = error;
      await new Promise((later) => setTimeout(later, 100));
    }
  } while (Date.now() < until);
  throw new Error(`${what}: ${last}`);
};

// Nothing that stands in somebody's way, in the light and in the dark, on a desk and on a phone.
const inspect = async (page, name) => {
  for (const [width, height] of [[1280, 900], [360, 740]]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${name} is ${wide} wide on a screen of ${width}`);
      // Colours are looked at when they stand still.
      await page.waitForTimeout(250);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document));
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
      assert.deepEqual(found, [], `${name}, ${width}, ${colorScheme}`);
      await page.screenshot({ path: path.join(pictures, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
};

const number = (text) => Number(text.replaceAll(/[^0-9.]/g, ""));
const rows = (page) => page.locator(".app tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
const traffic = (page, name) => page.locator("#traffic div").filter({ hasText: name }).locator("dd").innerText();
const focused = (page) => page.evaluate(() => {
  const { activeElement } = document;
  return activeElement.getAttribute("aria-label") ?? activeElement.textContent.trim();
});
const tabTo = async (page, name) => {
  const passed = [];
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press("Tab");
    passed.push(await focused(page));
    if (passed.at(-1) === name) return passed;
  }
  throw new Error(`${name} is not reached, but ${passed.join(" | ")}`);
};

const looksOn = async (page, base) => {
  await page.goto(base);
  await page.locator("#state.good").waitFor();
  assert.equal(await page.locator("#state").innerText(), "Healthy");
  assert.match(await page.title(), /^Healthy · rip-master$/);
  await page.getByText("rip-master ctl dashboard-login").waitFor();
  assert.equal(await page.getByRole("button").count(), 0, "nothing to order with");
  for (const name of ["banner", "main", "contentinfo"]) assert.equal(await page.getByRole(name).count(), 1, name);
  const names = await page.getByRole("heading", { level: 2 }).allInnerTexts();
  for (const name of ["Apps", "Recent errors", "Recent events", "Hosts", "Certificates", "Configuration"]) {
    assert.ok(names.includes(name), `${name} among ${names}`);
  }
  await page.getByText("None: everything is served over plain HTTP.").waitFor();
  await page.locator("#events li").filter({ hasText: "server_ready" }).waitFor();
};

// What is shown is what the server says elsewhere.
const agrees = async (page) => {
  for (let index = 0; index < 25; index += 1) {
    const secret = { Authorization: `Bearer ${PLANTED}`, Cookie: `session=${PLANTED}`, "X-Planted": PLANTED };
    const answer = await ask("GET", `/hello?token=${PLANTED}`, { Host: "app.test", ...secret });
    assert.equal(answer.status, 200);
  }
  await settles("the page agrees with ctl diagnostics", async () => {
    const report = told();
    assert.equal(number(await traffic(page, "Requests")), report.metrics.requests);
    const [app] = report.apps;
    assert.deepEqual(await rows(page).then((all) => all.map((cells) => [cells[0], cells[1], cells[2], cells[5], cells[6]])),
      app.processes.map((worker) => [`w${worker.id}`, worker.state, String(worker.inflight), String(worker.generation), String(worker.pid)]));
    assert.equal(await page.locator("#version").innerText(), `version ${report.config.version} is active`);
    assert.equal(await page.locator("#queue").innerText(), String(report.gauges.queueDepth));
    const classes = await page.locator("#legend").innerText();
    for (const [name, count] of Object.entries(report.metrics.responses)) {
      if (name !== "1xx" || count > 0) assert.match(classes, new RegExp(`\\b${count} ${name}`));
    }
    const p99 = await traffic(page, "p99 of all");
    const scale = p99.endsWith("µs") ? 1e6 : p99.endsWith("ms") ? 1e3 : 1;
    const shown = number(p99) / scale;
    assert.ok(Math.abs(shown - report.metrics.latency.p99) <= 0.06 * report.metrics.latency.p99 + 1e-6, `${p99}, ${report.metrics.latency.p99}`);
  });
  assert.match(await page.locator("#c-rate svg").getAttribute("aria-label"), /^Requests a second over the last five minutes/);
  const urls = await page.locator("#hosts a").evaluateAll((all) => all.map((link) => link.href));
  assert.deepEqual(urls, told().urls);
};

// Workers that die are seen to, and so are requests that fail.
const isLive = async (page) => {
  const before = (await rows(page)).map(([name]) => name);
  const { pid } = told().apps[0].processes[0];
  process.kill(pid, "SIGKILL");
  await page.locator("#events li").filter({ hasText: "ended unasked" }).first().waitFor();
  await settles("another worker is there", async () => {
    const now = await rows(page);
    assert.equal(now.length, before.length);
    assert.ok(now.every((cells) => cells[1] === "ready") && now.some(([name]) => !before.includes(name)), JSON.stringify(now));
  });
  await page.locator("#state.good").waitFor();
  const failed = await ask("POST", `/crash?how=kill&token=${PLANTED}`, { Host: "app.test", Authorization: PLANTED });
  assert.equal(failed.status, 502);
  const entry = page.locator("#errors li").filter({ hasText: failed.headers["x-request-id"] });
  await entry.waitFor();
  assert.match(await entry.innerText(), /502[^]*POST \/crash/);
  const explained = ctl("explain", failed.headers["x-request-id"]);
  assert.match(JSON.stringify(explained), /502/);
  await settles("the workers are back", async () => {
    assert.ok((await rows(page)).every((cells) => cells[1] === "ready"));
  });
};

const hidesSecrets = async (page) => {
  const heard = await page.evaluate(() => new Promise((resolve) => {
    let text = "";
    const source = new EventSource("/feed");
    for (const name of ["report", "event", "session"]) {
      source.addEventListener(name, ({ data }) => {
        text += data;
        if (name === "report") { source.close(); resolve(text); }
      });
    }
  }));
  assert.ok(heard.includes("\"processes\""));
  const recalled = await ask("GET", "/events", { Host: "rip.local" });
  for (const text of [heard, recalled.text, await page.content(), JSON.stringify(told())]) {
    assert.ok(!text.includes(PLANTED), text.slice(Math.max(0, text.indexOf(PLANTED) - 200)).slice(0, 400));
  }
};

const logsIn = async (page, browser, watch) => {
  await page.goto(panel);
  await page.getByRole("heading", { name: "Log in to see this server" }).waitFor();
  await inspect(page, "login");
  const good = link();
  await page.goto(good);
  await page.locator("#state.good").waitFor();
  assert.equal(page.url(), panel, "no secret stays in the address");
  assert.equal(await page.evaluate(() => document.cookie), "", "no script sees the session");
  const [cookie] = (await page.context().cookies()).filter(({ name }) => name === "rip-dashboard");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict" && cookie.domain === new URL(panel).hostname);
  assert.equal(await page.getByText("rip-master ctl dashboard-login").isVisible(), false);
  // Once: another browser with the same link stays outside.
  const other = watch(await (await browser.newContext()).newPage());
  await other.goto(good);
  await other.getByText("This link was used before, or is older than five minutes.").waitFor();
  assert.equal((await other.context().cookies()).length, 0);
  await other.context().close();
  return `rip-dashboard=${cookie.value}`;
};

const refusesOthers = async (cookie) => {
  const host = new URL(panel).host;
  const origin = panel.slice(0, -1);
  for (const [headers, status] of [
    [{}, 403],
    [{ Origin: origin }, 401],
    [{ Cookie: cookie }, 403],
    [{ Cookie: cookie, Origin: "http://evil.test" }, 403],
    [{ Cookie: cookie, Origin: origin.replace(/\d+$/, "1") }, 403],
    [{ Cookie: "rip-dashboard=" + "A".repeat(43), Origin: origin }, 401],
  ]) {
    for (const action of ["reload", "restart", "scale"]) {
      const answer = await ask("POST", `/actions/${action}`, { Host: host, ...headers }, "{}");
      assert.equal(answer.status, status, `${action} ${JSON.stringify(headers)}`);
    }
  }
  const feed = await ask("GET", "/feed", { Host: host });
  assert.equal(feed.status, 401);
};

const worksByKeyboard = async (page) => {
  await page.goto(panel);
  await page.getByRole("button", { name: "Restart crash" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the apps");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Reload configuration");
  const passed = await tabTo(page, "Restart crash");
  assert.deepEqual(passed, ["Log out", "Restart crash"]);
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, "solid", "one sees where one is");
  const generation = () => told().apps[0].generation;
  const first = generation();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Restart crash?" }).waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.equal(await focused(page), "Restart crash", "back where it was");
  assert.equal(generation(), first);
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.getByText("crash runs on fresh workers.").first().waitFor();
  assert.equal(generation(), first + 1);
  await settles("its workers are the new ones", async () => {
    assert.ok((await rows(page)).every((cells) => cells[5] === String(first + 1)));
  });
  assert.match(await page.locator("#said").innerText(), /fresh workers|Healthy/, "it is said aloud");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Scale crash");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Scale crash" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-number");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("3");
  await page.keyboard.press("Enter");
  await settles("three workers", async () => {
    assert.equal((await rows(page)).filter((cells) => cells[1] === "ready").length, 3);
  });
  await page.getByText("crash has 3 workers.").first().waitFor();
  assert.equal(await page.getByRole("dialog").count(), 0);
  // What cannot be is refused, and said where it was asked.
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await inspect(page, "dialog");
  await page.locator("#ask-number").evaluate((input) => { input.max = "99999"; });
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("99999");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "99999 is not a number of workers" }).waitFor();
  await page.keyboard.press("Escape");
  const orders = page.locator("#events li").filter({ hasText: "control" });
  await orders.filter({ hasText: "restart" }).filter({ hasText: "dashboard" }).first().waitFor();
};

const survivesTheServer = async (page) => {
  process.kill(Number(master), "SIGSTOP");
  try {
    await page.getByText("The server does not answer.").waitFor();
    assert.equal(await page.locator("#state").innerText(), "Disconnected");
    await inspect(page, "gone");
  } finally {
    process.kill(Number(master), "SIGCONT");
  }
  await page.locator("#state.good").waitFor();
  await page.getByText("The server does not answer.").waitFor({ state: "hidden" });
};

main(async (page, base, browser, watch) => {
  await looksOn(page, base);
  await agrees(page);
  await inspect(page, "looking");
  await isLive(page);
  await hidesSecrets(page);
  await inspect(page, "busy");

  await page.emulateMedia({ reducedMotion: "reduce" });
  await settles("nothing moves", async () => {
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  });
  await page.emulateMedia({ reducedMotion: null });

  const cookie = await logsIn(page, browser, watch);
  await refusesOthers(cookie);
  await worksByKeyboard(page);
  await inspect(page, "logged-in");
  await survivesTheServer(page);

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in to see this server" }).waitFor();
  const after = await ask("GET", "/session", { Host: new URL(panel).host, Cookie: cookie });
  assert.equal(after.status, 401);
}, { hosts: ["rip.local", "panel.localhost"], expects: [/401/, /400/] });
