// page.js FILE CHROMIUM [SCREENSHOTS]: uses a page of hakmem-report as a person would, through Playwright. Fails with what
// was not as expected.
const { chromium } = require("playwright-core");
const assert = require("assert");

async function main() {
  const [file, executablePath, pictures] = process.argv.slice(2);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: 90000 });
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  const faults = [];
  page.on("pageerror", (e) => faults.push(String(e)));
  page.on("request", (r) => { if (!r.url().startsWith("file:")) faults.push("asked the network for " + r.url()); });
  await page.goto("file://" + file);
  const text = (id) => page.textContent("#" + id);
  const hash = () => new URLSearchParams(new URL(page.url()).hash.slice(1));

  await page.click("#metrics [data-metric=calls]");
  const whole = await text("zoomed");
  // Zoom: the second row of the graph is the outermost function; below it, the heaviest.
  await page.click("#flame", { position: { x: 60, y: 48 } });
  assert.notStrictEqual(hash().get("zoom"), null);
  await page.keyboard.press("Escape");
  assert.strictEqual(hash().get("zoom"), null);
  assert.strictEqual(await text("zoomed"), whole);
  // Search.
  await page.keyboard.press("/");
  await page.keyboard.type("zzz");
  assert.match(await text("found"), /^0 functions/);
  await page.keyboard.press("Escape");
  assert.strictEqual(await text("found"), "");
  // A range, by mouse, by keys, and gone.
  const box = await (await page.$("#time")).boundingBox();
  await page.mouse.move(box.x + 10, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + 300, box.y + 50);
  await page.mouse.up();
  assert.match(hash().get("range"), /^\d+-\d+$/);
  const range = hash().get("range");
  await page.keyboard.press("]");
  assert.notStrictEqual(hash().get("range"), range);
  await page.keyboard.press("Escape");
  assert.strictEqual(hash().get("range"), null);
  // Keys: figure, inversion, theme, a walk, zoom by Enter and back.
  await page.keyboard.press("1");
  assert.strictEqual(hash().get("metric"), null);
  await page.keyboard.press("i");
  assert.strictEqual(hash().get("invert"), "1");
  await page.keyboard.press("i");
  await page.keyboard.press("t");
  assert.match(hash().get("theme"), /dark|light/);
  await page.focus("#flame");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.notStrictEqual(hash().get("zoom"), null);
  await page.keyboard.press("Backspace");
  assert.strictEqual(hash().get("zoom"), null);
  // Sites: another order, and a row leads to its function.
  await page.click("th[data-sort=temporary]");
  assert.strictEqual(hash().get("sort"), "temporary");
  await page.click("tr.row td:first-child");
  assert.notStrictEqual(hash().get("zoom"), null);
  for (const tab of ["histograms", "threads", "advice", "sites"]) {
    await page.click(`#tabs [data-tab=${tab}]`);
    assert.notStrictEqual((await text("panel")).trim(), "");
    if (pictures) await page.screenshot({ path: `${pictures}/${tab}.png` });
  }
  await browser.close();
  assert.deepStrictEqual(faults, []);
}
main().catch((e) => { console.error(e); process.exit(1); });
