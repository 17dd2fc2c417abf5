// An EventSource as the browser has it, which nobody helps: reads a session until the server tells it that
// there is no more, through whatever happens to the server meanwhile.
//
//   event_source.cjs BASE URL BEGUN     (BEGUN: a file that is made when it has read something)
//
// Prints each message as a line of JSON: its `lastEventId` and its data.
"use strict";
const fs = require("node:fs");
const { main } = require("./browser.cjs");

const [, , , url, begun] = process.argv;

main(async (page, base) => {
  await page.exposeFunction("begun", () => fs.writeFileSync(begun, ""));
  await page.goto(base);
  const heard = await page.evaluate((url) => new Promise((resolve) => {
    const heard = [];
    const source = new EventSource(url);
    source.onmessage = ({ data, lastEventId }) => {
      heard.push({ id: lastEventId, data });
      window.begun();
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) resolve(heard);
    };
  }), url);
  for (const message of heard) console.log(JSON.stringify(message));
}, { expects: [/ERR_|Failed to load/] });
