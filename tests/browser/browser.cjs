// A headless Chromium for the browser tests: `main(check)` opens a page, hands it to `check`, and
// fails on whatever the browser itself complains about, but for what is expected.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const { chromium } = require("playwright-core");

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
  .find((path) => fs.existsSync(path));

const run = async (check, { expects = [] } = {}) => {
  assert.ok(executablePath, "chromium is missing: run scripts/setup");
  const base = process.argv[2];
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    // Containers have neither the rights for its sandbox nor a large /dev/shm.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(20_000);
    const complaints = [];
    const foreign = [];
    page.on("console", (message) => {
      // The browser looks for an icon by itself.
      const isIcon = message.location().url.endsWith("/favicon.ico");
      const isExpected = expects.some((pattern) => pattern.test(message.text()));
      if (message.type() === "error" && !isIcon && !isExpected) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(base)) foreign.push(request.url());
    });
    await check(page, base, browser);
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
