// A headless Chromium for the browser tests: `main(check)` opens a page, hands it to `check`, and
// fails on whatever the browser itself complains about, but for what is expected, and on requests to
// somebody else. `hosts` are names that lead to this machine, whose requests are not.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const { chromium } = require("playwright-core");

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
  .find((path) => fs.existsSync(path));

const run = async (check, { expects = [], hosts = [] } = {}) => {
  assert.ok(executablePath, "chromium is missing: run scripts/setup");
  const base = process.argv[2];
  const rules = hosts.map((host) => `MAP ${host} 127.0.0.1`).join(",");
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    // Containers have neither the rights for its sandbox nor a large /dev/shm.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server",
      ...(rules ? [`--host-resolver-rules=${rules}`] : [])],
  });
  try {
    const complaints = [];
    const foreign = [];
    const watch = (page) => {
      page.setDefaultTimeout(20_000);
      page.on("console", (message) => {
        // The browser looks for an icon by itself.
        const isIcon = message.location().url.endsWith("/favicon.ico");
        const isExpected = expects.some((pattern) => pattern.test(message.text()));
        if (message.type() === "error" && !isIcon && !isExpected) complaints.push(message.text());
      });
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("request", (request) => {
        const url = request.url();
        const isOwn = url.startsWith(base) || hosts.includes(new URL(url).hostname) || url.startsWith("data:");
        if (!isOwn) foreign.push(url);
      });
      return page;
    };
    await check(watch(await browser.newPage()), base, browser, watch);
    assert.deepEqual(complaints, []);
    assert.deepEqual(foreign, [], "requests to somebody else");
  } finally {
    await browser.close();
  }
  console.log("fine");
};

exports.main = (check, options) => run(check, options).catch((error) => {
  console.error(error);
  process.exit(1);
});
