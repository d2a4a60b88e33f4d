// page.js FILE CHROMIUM FOLDER: uses a page of hakmem-report as a person would. Fails with what was not as expected; leaves
// a picture of each panel in FOLDER, where the browser's profile lies as well.
"use strict";
const assert = require("assert");
const { Browser } = require("./browser.js");

async function use(page, file, folder) {
  await page.open("file://" + file, 1200, 900);
  const text = (id) => page.text("#" + id);
  const hash = async () => new URLSearchParams((await page.evaluate("location.hash")).slice(1));
  const at = async (name) => (await hash()).get(name);

  await page.click("#metrics [data-metric=calls]");
  const whole = await text("zoomed");
  // Zoom: the second row of the graph is the outermost function; below it, the heaviest.
  await page.click("#flame", 60, 48);
  assert.notStrictEqual(await at("zoom"), null);
  await page.key("Escape");
  assert.strictEqual(await at("zoom"), null);
  assert.strictEqual(await text("zoomed"), whole);
  // Search.
  await page.key("/");
  for (const letter of "zzz") await page.key(letter);
  assert.match(await text("found"), /^0 functions/);
  await page.key("Escape");
  assert.strictEqual(await text("found"), "");
  // A range, by mouse, by keys, and gone.
  await page.drag("#time", 10, 300, 50);
  const range = await at("range");
  assert.match(range, /^\d+-\d+$/);
  await page.key("]");
  assert.notStrictEqual(await at("range"), range);
  await page.key("Escape");
  assert.strictEqual(await at("range"), null);
  // Keys: figure, inversion, theme, a walk, zoom by Enter and back.
  await page.key("1");
  assert.strictEqual(await at("metric"), null);
  await page.key("i");
  assert.strictEqual(await at("invert"), "1");
  await page.key("i");
  await page.key("t");
  assert.match(await at("theme"), /dark|light/);
  await page.evaluate("document.getElementById('flame').focus()");
  await page.key("ArrowDown");
  await page.key("Enter");
  assert.notStrictEqual(await at("zoom"), null);
  await page.key("Backspace");
  assert.strictEqual(await at("zoom"), null);
  // Sites: another order, and a row leads to its function.
  await page.click("th[data-sort=temporary]");
  assert.strictEqual(await at("sort"), "temporary");
  await page.click("tr.row td:first-child");
  assert.notStrictEqual(await at("zoom"), null);
  for (const tab of ["histograms", "threads", "advice", "sites"]) {
    await page.click(`#tabs [data-tab=${tab}]`);
    assert.notStrictEqual((await text("panel")).trim(), "");
    await page.picture(`${folder}/${tab}.png`);
  }
  // Nothing is wider than the window, whatever that is.
  for (const width of [360, 800, 1920]) {
    await page.open("file://" + file, width, 900, true);
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), `wider than ${width}`);
    assert.strictEqual(await page.evaluate("document.body.dataset.ready"), "1");
  }
}

async function main() {
  const [file, executable, folder] = process.argv.slice(2);
  const page = new Browser(executable, folder + "/profile");
  try {
    await use(page, file, folder);
  } finally {
    await page.close();
  }
  assert.deepStrictEqual(page.faults, []);
}
main().catch((e) => { console.error(e); process.exit(1); });
