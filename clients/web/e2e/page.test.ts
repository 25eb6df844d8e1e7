// The page in a real browser, served by the real servers behind the real HAProxy.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium, type Browser, type Page } from "playwright-core";
import { Load } from "./load";
import { Pipeline } from "./pipeline";
import { charted, chromiumOptions, fullShot, instance, live, open as openTab, painted, rows, shot } from "./tab";

const pipeline = new Pipeline();
let load: Load;
let browser: Browser;

before(async () => {
  await pipeline.start();
  load = new Load(pipeline.write);
  await load.start();
  await pipeline.serving(2);
  browser = await chromium.launch(chromiumOptions);
});

after(async () => {
  load?.stop();
  await browser?.close();
  await pipeline.stop();
});

const open = (address: string, options?: Parameters<Browser["newPage"]>[0]) => openTab(browser, pipeline.page, address, options);

function address(query: string, window = 900): string {
  return `/#${new URLSearchParams({ window: String(window), query })}`;
}

test("shows all series, live, with their state", async () => {
  const { page, done } = await open("/");
  await live(page);
  await rows(page).nth(19).waitFor();
  assert.match(await instance(page), /^server-[12]$/);
  const newest = page.locator("#fact-newest");
  await page.waitForFunction(() => /^[0-5] s ago$/.test(document.getElementById("fact-newest")!.textContent!));
  const samples = () => page.locator("#fact-samples").textContent();
  const first = await samples();
  await page.waitForFunction((text) => document.getElementById("fact-samples")!.textContent !== text, first);
  assert.ok(await newest.isVisible());
  await page.locator("#segments tr").first().waitFor();
  assert.match((await page.locator("#segments").textContent())!, /open/);
  await page.locator("#legend li").first().waitFor();
  await shot(page, "all-light");
  await done();
});

test("completes and filters by keyboard", async () => {
  const { page, done } = await open("/");
  await live(page);
  await page.keyboard.press("/");
  await page.keyboard.type("room_t");
  const options = page.locator("#options li");
  await options.first().waitFor();
  assert.match((await options.first().textContent())!, /^room_temperature_celsius/);
  await shot(page, "completion");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.keyboard.type("{ro");
  await page.locator("#options li >> text=/^room$/").waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  await page.locator("#options li >> text=workshop").waitFor();
  await page.keyboard.type("lab");
  await page.locator("#options li").nth(0).waitFor({ state: "hidden" });
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 1);
  assert.equal(await page.locator("#query").inputValue(), 'room_temperature_celsius{room="lab"}');
  await page.locator("#legend li").first().waitFor();
  assert.equal(await page.locator("#legend li").count(), 1);
  // The rows and the chart are within reach of the keyboard, too.
  await page.locator("#rows input").first().focus();
  await page.keyboard.press("Space");
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 0);
  await page.keyboard.press("Space");
  await page.locator("#legend li").first().waitFor();
  await page.locator("#plot").focus();
  await page.keyboard.press("ArrowLeft");
  await page.locator(".at >> text=/^at/").waitFor();
  await page.goBack();
  await rows(page).nth(19).waitFor();
  await done();
});

test("says what is wrong with a selector, and helps where none matches", async () => {
  const { page, done } = await open(address("room_temperature_celsius{room=~\"(\"}"));
  await page.locator("body[data-phase=refused]").waitFor();
  assert.match((await page.locator("#notes").textContent())!, /missing closing|parse|regexp/);
  await page.locator("#query").fill("temperature");
  await page.locator("#search button.primary").click();
  await page.locator("#empty button").first().click();
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 4);
  await done();
});

test("says of an expression what is taken instead, and marks the place in the field", async () => {
  const query = 'room_temperature_celsius or rate(http_requests_total{code="200"}[5m])';
  const { page, done } = await open(address(query), { viewport: { width: 375, height: 812 } });
  await page.locator("body[data-phase=refused]").waitFor();
  assert.match((await page.locator("#notes").textContent())!, /^selector 2 does not parse.*such as up\{job="node"\}; functions/);
  const [line, caret] = (await page.locator("#pointer").textContent())!.split("\n");
  assert.equal(line, 'rate(http_requests_total{code="200"}[5m])');
  assert.equal(caret!.trimEnd().length, "rate".length + 1);
  const box = (selector: string) => page.locator(selector).boundingBox();
  assert.ok((await box("#pointer"))!.height < 45, "no line of it is broken");
  assert.ok((await page.locator(".mark mark").textContent())!.startsWith("("));
  assert.equal(await page.locator(".mark").textContent(), query);
  const [field, mark] = [await box(".mark"), await box(".mark mark")];
  assert.ok(mark!.x > field!.x && mark!.x < field!.x + field!.width - 8, "the place is in sight");
  assert.equal(await page.locator("#query").getAttribute("aria-invalid"), "true");
  await shot(page, "refused-phone");
  await page.setViewportSize({ width: 1280, height: 1000 });
  await shot(page, "refused");
  await page.locator("#query").fill("up");
  await page.locator(".mark").waitFor({ state: "hidden" });
  await page.locator("#query").press("Enter");
  await live(page);
  assert.equal(await page.locator("#pointer").isVisible(), false);
  await done();
});

test("counts have no unit, and what has one its own", async () => {
  const { page, done } = await open(address('{__name__=~"rpc_duration_seconds_.+"}'));
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 5);
  const value = async (name: string) => (await page.locator("#rows tr", { hasText: name }).first().locator(".value").textContent())!;
  assert.match(await value("rpc_duration_seconds_bucket"), /^[\d.]+[kM]?$/);
  assert.match(await value("rpc_duration_seconds_count"), /^[\d.]+[kM]?$/);
  assert.match(await value("rpc_duration_seconds_sum"), /^[\d.]+ (min|h|d)$/);
  await done();
});

test("labels of the axes are whole", async () => {
  for (const [name, width] of [["bytes", 1280], ["bytes-phone", 375]] as const) {
    const { page, done } = await open(address("node_network_receive_bytes_total"), { viewport: { width, height: 812 } });
    await live(page);
    await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 3);
    await page.waitForTimeout(500);
    await shot(page, name);
    assert.equal(await inkAtTheLeft(page, "#plot canvas"), 0);
    await done();
  }
});

test("shows what labels have that cannot be seen", async () => {
  const { page, done } = await open(address("odd_labels"));
  await live(page);
  await rows(page).first().waitFor();
  assert.match((await rows(page).first().textContent())!, /text=one\\ntwo \\u\{202e\}gnp\.exe\\u\{1b\}\[31m/);
  await shot(page, "odd");
  await done();
});

test("survives kill -9 of its server without a gap in the chart", async () => {
  const { page, allowed, done } = await open(address("room_temperature_celsius"));
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 4);
  const begun = Date.now();
  allowed.outage = true;
  const resumed = async (times: number) => {
    await page.waitForFunction((text) => document.getElementById("fact-reconnects")!.textContent === text, String(times));
    await live(page);
  };

  // Its own server alone: the other one takes over.
  await page.waitForTimeout(3000);
  const first = await instance(page);
  await pipeline.kill(first);
  await resumed(1);
  const second = await instance(page);
  assert.notEqual(second, first);
  await page.waitForTimeout(3000);

  // And then both. Samples go on to be written meanwhile.
  await pipeline.kill(second);
  await page.locator("body[data-phase=interrupted]").waitFor();
  await shot(page, "interrupted");
  await page.waitForTimeout(5000);
  pipeline.restart(first);
  pipeline.restart(second);
  await resumed(2);
  await pipeline.serving(2);
  allowed.outage = false;
  await page.waitForTimeout(3000);
  const settled = Date.now() - 1500;
  const got = await charted(page);
  assert.equal(got.size, 4);
  for (const [name, points] of got) {
    const room = /room="(\w+)"/.exec(name)![1]!;
    const written = load.written.get(`room_temperature_celsius house ${room}`)!;
    // From before the page was there, through both outages, up to now.
    const want = [...written].filter(([t]) => t > begun - 10 * 60_000 && t < settled);
    assert.ok(want.length > 600, `${want.length} samples`);
    for (const [t, value] of want) assert.equal(points.get(t), value, `${name} at ${new Date(t).toISOString()}`);
    for (const t of points.keys()) assert.ok(written.has(t), `${name} at ${t} was not written`);
  }
  await shot(page, "resumed-light");
  await done();
});

test("charts rates of counters", async () => {
  const { page, done } = await open(address('http_requests_total{code="200"}'));
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 3);
  assert.equal(await page.locator("[data-mode=rate]").getAttribute("aria-pressed"), "true");
  assert.match((await page.locator("#legend output").first().textContent())!, /\/s$/);
  assert.ok(await painted(page, "#plot canvas") > 20);
  const box = (await page.locator("#plot .u-over").boundingBox())!;
  await page.mouse.move(box.x + 200, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + 500, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.locator("#unzoom").waitFor();
  await page.locator("#plot").press("Escape");
  await page.locator("#unzoom").waitFor({ state: "hidden" });
  await done();
});

test("shows native histograms as a heat map", async () => {
  const { page, done } = await open(address("http_request_duration_seconds"), { colorScheme: "dark" });
  await live(page);
  await page.locator("#heatmap").waitFor();
  await page.waitForTimeout(1500);
  assert.ok(await painted(page, "#heat canvas") > 1000);
  await shot(page, "heatmap-dark");
  await done();
});

test("dark and light, by the system and by choice", async () => {
  const { page, done } = await open(address("room_temperature_celsius or http_requests_total"), { colorScheme: "dark" });
  await live(page);
  await page.locator("#legend li").first().waitFor();
  const shade = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await shade();
  await shot(page, "dark");
  await page.locator("#theme").click();
  const light = await shade();
  assert.notEqual(light, dark);
  await page.reload();
  assert.equal(await shade(), light);
  await page.locator("#theme").click();
  assert.equal(await shade(), dark);
  await done();
});

test("fits a phone", async () => {
  for (const [name, query, colorScheme] of [["phone-light", "room_temperature_celsius", "light"], ["phone-dark", "", "dark"]] as const) {
    const { page, done } = await open(address(query), { viewport: { width: 375, height: 812 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme });
    await live(page);
    await page.locator("#legend li").first().waitFor();
    await page.locator("#segments tr").first().waitFor();
    await shot(page, name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 375, `${wide} pixels wide`);
    await fullShot(page, `${name}-full`);
    await rows(page).nth(0).tap();
    await done();
  }
});

// The last test, since there are more series from here on.
test("offers metrics to choose from where there are very many series", async () => {
  await load.many(2500);
  const { page, done } = await open("/");
  await page.locator("body[data-phase=idle]").waitFor();
  await page.locator("#empty li button").first().waitFor();
  await shot(page, "choose");
  await page.locator("#empty li button >> text=/^many$/").click();
  await page.waitForFunction(() => document.getElementById("count")!.textContent!.startsWith("first 2\u202f000"));
  await page.locator("#more").click();
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 2000);
  await page.locator("[data-order=value]").click();
  await page.waitForFunction(() => document.querySelector("#rows tr .value")!.textContent === "1.999k");
  await done();
});

// inkAtTheLeft counts the pixels at the very edge that anything is drawn on.
function inkAtTheLeft(page: Page, canvas: string): Promise<number> {
  return page.evaluate((selector) => {
    const element = document.querySelector<HTMLCanvasElement>(selector)!;
    const { data } = element.getContext("2d")!.getImageData(0, 0, 2, element.height);
    return data.filter((v, i) => i % 4 === 3 && v > 0).length;
  }, canvas);
}
