// The page of a directory: it can be walked through, is readable in the dark, and names are names.
"use strict";
const assert = require("node:assert/strict");
const { main } = require("./browser.cjs");

const names = (page) => page.locator("tbody th a").allInnerTexts();
const colour = (page, property) =>
  page.evaluate((name) => getComputedStyle(document.body)[name], property);
const light = (text) => Number(text.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));

main(async (page, base) => {
  await page.goto(base);
  assert.equal(await page.title(), "Index of /");
  const shown = await names(page);
  assert.deepEqual(shown, ["folder/", "<img src=x onerror=alert(1)>", "a&b #1?.txt", "ä ö.txt"]);

  // Nothing in a name ran, and nothing of it became an element.
  assert.equal(await page.locator("tbody img").count(), 0);

  for (const [name, content] of [["a&b #1?.txt", "and"], ["ä ö.txt", "umlauts"]]) {
    await page.goto(base);
    await page.getByRole("link", { name, exact: true }).click();
    await page.waitForLoadState();
    assert.equal(await page.locator("body").innerText(), content, name);
  }

  await page.goto(base);
  await page.getByRole("link", { name: "folder/", exact: true }).click();
  await page.waitForURL(/\/folder\/$/);
  assert.equal(await page.title(), "Index of /folder/");
  assert.deepEqual(await names(page), ["../", "deep/", "inner.txt"]);
  await page.getByRole("link", { name: "deep/", exact: true }).click();
  await page.waitForURL(/\/folder\/deep\/$/);
  const crumbs = page.getByRole("navigation").getByRole("link");
  assert.deepEqual(await crumbs.allInnerTexts(), ["/", "folder", "deep"]);
  assert.equal(await page.getByText("Nothing here.").count(), 1);
  await crumbs.nth(1).click();
  await page.waitForURL(/\/folder\/$/);
  await page.getByRole("link", { name: "../", exact: true }).click();
  await page.waitForURL((url) => url.pathname === "/");

  await page.emulateMedia({ colorScheme: "light" });
  const day = [await colour(page, "backgroundColor"), await colour(page, "color")].map(light);
  await page.emulateMedia({ colorScheme: "dark" });
  const night = [await colour(page, "backgroundColor"), await colour(page, "color")].map(light);
  assert.ok(day[0] > day[1] && night[0] < night[1], `${day} and ${night}`);

  // The second visit of a page asks whether it has changed, which the server tells.
  await page.goto(`${base}folder/inner.txt`);
  await page.reload();
  assert.equal(await page.locator("body").innerText(), "inner");
});
