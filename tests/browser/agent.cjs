// The agent of the examples: it answers word by word, waits for an approval, remembers everything
// through reloads of its page and restarts of its server, and says something by itself.
//
//   agent.cjs BASE PICTURE DIRECTORY     (a file `restart` in DIRECTORY asks for a restart of the server)
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { main } = require("./browser.cjs");

const [, , , picture, directory] = process.argv;

const said = (page) => page.locator("#said li").allInnerTexts();
const idle = (page) => page.locator("body[data-state=idle]").waitFor();
const last = (page, text) => page.locator("#said li").last().filter({ hasText: text }).waitFor();

const say = async (page, text) => {
  await page.getByPlaceholder("Say something").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
};

main(async (page, base) => {
  await page.setViewportSize({ width: 640, height: 720 });
  await page.goto(base);
  await idle(page);
  await page.evaluate(() => {
    window.pieces = [];
    const note = () => window.pieces.push(document.querySelector("#said .agent:last-child")?.textContent);
    new MutationObserver(note).observe(document.getElementById("said"), { childList: true, subtree: true });
  });
  await say(page, "Hello <b>&amp;</b>");
  await last(page, "the last of them: Hello");
  await idle(page);
  // It came in pieces, each of them shown.
  const pieces = new Set(await page.evaluate(() => window.pieces.filter((piece) => piece)));
  assert.ok(pieces.size > 5, [...pieces].join("|"));
  const hello = ["Hello <b>&amp;</b>", "You have said 1 things so far, the last of them: Hello <b>&amp;</b>"];
  assert.deepEqual(await said(page), hello);

  await say(page, "Please send the email to ben@example.com");
  await page.getByText("Send the e-mail to ben@example.com?").waitFor();
  await idle(page);
  const asked = [...hello, "Please send the email to ben@example.com", "I have written it. May it go?"];
  assert.deepEqual(await said(page), asked);

  // A reload of the page, and a restart of the server: all is as it was.
  await page.reload();
  await idle(page);
  assert.deepEqual(await said(page), asked);
  fs.writeFileSync(path.join(directory, "restart"), "");
  while (fs.existsSync(path.join(directory, "restart"))) await new Promise((later) => setTimeout(later, 50));
  await page.screenshot({ path: picture });
  await page.getByRole("button", { name: "Approve" }).click();
  await last(page, "It is on its way.");
  await idle(page);
  const sent = [...asked, "Yes", "It is on its way."];
  assert.deepEqual(await said(page), sent);
  assert.equal(await page.locator("#wait").isVisible(), false);

  // The page goes in the middle of an answer; the answer is there when it comes back.
  await say(page, "And now?");
  await last(page, "You have said");
  await page.reload();
  await last(page, "You have said 4 things so far, the last of them: And now?");
  await idle(page);
  const now = [...sent, "And now?", "You have said 4 things so far, the last of them: And now?"];
  assert.deepEqual(await said(page), now);

  // It speaks when its time has come, and goes on after that.
  await say(page, "Remind me in 1 second to call Ann");
  await last(page, "You wanted to be reminded: call Ann");
  await say(page, "Thanks");
  await last(page, "the last of them: Thanks");

  // An answer is stopped, and another one given.
  await idle(page);
  await say(page, `This ${"and that ".repeat(200)}`);
  await last(page, "You have said");
  await page.getByRole("button", { name: "Stop" }).click();
  await last(page, "(stopped)");
  await idle(page);
  await say(page, "Sorry");
  await last(page, "the last of them: Sorry");
  await idle(page);
  const whole = await said(page);
  await page.reload();
  await idle(page);
  assert.deepEqual((await said(page)).filter((line) => !/and that|stopped/.test(line)),
    whole.filter((line) => !/and that|stopped/.test(line)));

  await page.getByRole("button", { name: "Forget" }).click();
  await page.locator("#said li").first().waitFor({ state: "detached" });
  await idle(page);
  assert.deepEqual(await said(page), []);
}, { expects: [/ERR_|Failed to load/] });
