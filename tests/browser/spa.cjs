// An application of one page: every address of its own leads to it, also when it is asked for anew.
"use strict";
const assert = require("node:assert/strict");
const { main } = require("./browser.cjs");

main(async (page, base) => {
  const view = page.locator("#view");
  await page.goto(base);
  assert.equal(await view.innerText(), "at /");
  await page.getByRole("link", { name: "settings" }).click();
  assert.equal(await view.innerText(), "at /settings/profile");
  assert.equal(new URL(page.url()).pathname, "/settings/profile");
  await page.reload();
  assert.equal(await view.innerText(), "at /settings/profile");
  await page.goBack();
  assert.equal(await view.innerText(), "at /");
  await page.goto(`${base}deep/er/link?with=query`);
  assert.equal(await view.innerText(), "at /deep/er/link");

  // What a script asks for and is not there is missing, and no page.
  const answer = await page.evaluate(async () => {
    const missing = await fetch("/api/nothing.json", { headers: { Accept: "application/json" } });
    const style = await fetch("/app.css");
    return { status: missing.status, type: style.headers.get("content-type") };
  });
  assert.equal(answer.type, "text/css; charset=utf-8");
  assert.equal(answer.status, 404);
}, { expects: [/404/] });
