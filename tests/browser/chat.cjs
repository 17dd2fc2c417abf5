// The chat of the examples in two tabs: they talk, and one that lost its connection hears everything
// that was said meanwhile, once and in order. The second argument is where its picture goes.
"use strict";
const assert = require("node:assert/strict");
const { main } = require("./browser.cjs");

const said = (page) => page.locator("#said li").allInnerTexts();
const line = (page, text) => page.locator("#said li").filter({ hasText: text }).first();

// Keeps the page's sockets within reach, and lets the test decide when it may connect.
const instrument = () => {
  const Own = window.WebSocket;
  window.sockets = [];
  window.mayConnect = true;
  window.WebSocket = class extends Own {
    constructor(...words) {
      super(...words);
      window.sockets.push(this);
      if (!window.mayConnect) this.close();
    }
  };
};

const hears = async (page, texts) => {
  const last = texts.at(-1);
  await line(page, last).waitFor();
  const lines = (await said(page)).filter((line) => texts.some((text) => line.endsWith(text)));
  assert.deepEqual(lines.map((line) => texts.find((text) => line.endsWith(text))), texts);
};

const say = async (page, text) => {
  await page.getByPlaceholder("Say something").fill(text);
  await page.getByRole("button", { name: "Say" }).click();
};

main(async (ann, base, browser) => {
  const context = await browser.newContext({ viewport: { width: 640, height: 720 } });
  const ben = await context.newPage();
  ben.setDefaultTimeout(20_000);
  await ben.addInitScript(instrument);
  await ann.goto(`${base}?name=Ann`);
  await ann.getByText("connected as Ann").waitFor();
  await ben.goto(`${base}?name=Ben`);
  await ben.getByText("connected as Ben").waitFor();
  await ann.getByText("Ben is here").waitFor();

  await say(ann, "Hello Ben");
  await hears(ben, ["Hello Ben"]);
  await say(ben, "Hello Ann <b>&amp;</b>");
  await hears(ann, ["Hello Ben", "Hello Ann <b>&amp;</b>"]);
  assert.equal(await ann.locator("#said li b").last().innerText(), "Ben");

  // Ben's connection goes, and does not come back while Ann talks.
  await ben.evaluate(() => {
    window.mayConnect = false;
    window.sockets.at(-1).close();
  });
  await ann.getByText("Ben has left").waitFor();
  const missed = ["Are you there?", "Ben?", "Never mind", "I will wait"];
  for (const text of missed) {
    await say(ann, text);
    await line(ann, text).waitFor();
  }
  assert.equal((await said(ben)).filter((line) => line.includes("Never mind")).length, 0);
  await ben.evaluate(() => { window.mayConnect = true; });
  await ben.getByText("connected as Ben").waitFor();
  await hears(ben, ["Hello Ben", "Hello Ann <b>&amp;</b>", ...missed]);
  await say(ben, "I am back");
  await hears(ann, [...missed, "I am back"]);
  await hears(ben, [...missed, "I am back"]);
  assert.equal(await ben.getByText("some of what was said is lost").count(), 0);
  await ben.screenshot({ path: process.argv[3] });
}, { expects: [/WebSocket is closed before the connection is established/] });
