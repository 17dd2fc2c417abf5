// A page behind TLS whose authority the browser trusts: no warning, and everything it is made of
// comes the same way.
"use strict";
const assert = require("node:assert/strict");
const { main } = require("./browser.cjs");

main(async (page, base, browser) => {
  const response = await page.goto(base);
  const details = await response.securityDetails();
  assert.equal(details.protocol, "TLS 1.3");
  assert.ok(await page.evaluate(() => window.isSecureContext));
  await page.waitForFunction(() => document.title === "https:");
  const color = await page.evaluate(() => getComputedStyle(document.body).color);
  assert.equal(color, "rgb(1, 2, 3)");
  assert.equal(await page.evaluate(async () => (await fetch("/a.css")).status), 200);
  const spoken = await page.evaluate(() =>
    performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol));
  assert.ok(spoken.length >= 3 && spoken.every((name) => name === "http/1.1"), spoken.join());
  // The page was not let through by an exception: another name is not believed.
  const other = await browser.newPage();
  await assert.rejects(other.goto(base.replace("localhost", "wrong.localhost")), /ERR_CERT/);
});
