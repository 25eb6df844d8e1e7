// Results of PromQL: the client's steps through kills of servers, and the page's view of
// them in a real browser, from the real servers behind the real HAProxy.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { createConnectTransport } from "@connectrpc/connect-web";
import { chromium, type Browser, type Page } from "playwright-core";
import { Alert_State, evaluateRules, isStale, query, type Query, type Rules } from "../src/index";
import { Load } from "./load";
import { Pipeline } from "./pipeline";
import { charted, chromiumOptions, instance, live, open as openTab, painted, rows, shot } from "./tab";

const pipeline = new Pipeline();
let load: Load;
let browser: Browser;
// loaded is when the first samples came that are no older than their arrival. Before
// that no step has a result: what comes later than its delay is left out of it.
let loaded: number;

before(async () => {
  await pipeline.start();
  load = new Load(pipeline.write);
  await load.start();
  loaded = Date.now();
  await pipeline.serving(2);
  browser = await chromium.launch(chromiumOptions);
});

after(async () => {
  load?.stop();
  await browser?.close();
  await pipeline.stop();
});

const second = 1000;
const minute = 60 * second;
const open = (address: string, options?: Parameters<Browser["newPage"]>[0]) => openTab(browser, pipeline.page, address, options);
const rate = "sum by (instance) (rate(http_requests_total[1m]))";

function address(expr: string, rest: Record<string, string> = {}): string {
  return `/#${new URLSearchParams({ window: "300", expr, step: "1", delay: "2", ...rest })}`;
}

// editor is where an expression is written, once that is loaded.
async function editor(page: Page) {
  const content = page.locator("#editor .cm-content");
  await content.waitFor();
  return content;
}

const legend = (page: Page) => page.locator("#legend li");
const phase = (page: Page, name: string) => page.locator(`body[data-phase=${name}]`).waitFor();

// assertWhole checks that a line has each step from a time on.
function assertWhole(name: string, values: Map<number, number>, from: number): void {
  const times = [...values.keys()].filter((t) => t >= from).sort((a, b) => a - b);
  assert.ok(times.length > 0 && times[0]! - from <= second, `${name} from ${from}: ${times[0]}`);
  for (let i = 1; i < times.length; i++) assert.equal(times[i]! - times[i - 1]!, second, `${name} at ${times[i]}`);
}

// Collected has each value by time, by the labels of its series.
type Collected = Map<string, Map<number, number>>;

// collect adds the values of a query until it is done, each of which comes once.
async function collect(what: Query, into: Collected, done: (evaluated: number) => boolean | Promise<boolean>): Promise<void> {
  const transport = createConnectTransport({ baseUrl: pipeline.page, useBinaryFormat: true });
  const abort = new AbortController();
  for await (const { timeseries, evaluated } of query(transport, what, { signal: abort.signal, maxBackoff: second })) {
    for (const { labels, samples } of timeseries) {
      const key = labels.map((l) => `${l.name}=${l.value}`).join();
      const values = into.get(key) ?? new Map<number, number>();
      into.set(key, values);
      for (const { timestamp, value } of samples) {
        assert.ok(!values.has(Number(timestamp)), `${key} at ${timestamp} comes twice`);
        if (!isStale(value)) values.set(Number(timestamp), value);
      }
    }
    if (evaluated && (await done(timestampMs(evaluated)))) abort.abort();
  }
}

test("each step comes once, whichever server evaluates it", async () => {
  const what = { expression: rate, since: Date.now() - 5 * minute, step: second, delay: 2 * second, follow: true, heartbeatInterval: second };
  const got: Collected = new Map();
  const kills = [2, 6, 10].map((s) => Date.now() + s * second);
  const end = Date.now() + 14 * second;
  let last = 0;
  await collect(what, got, async (evaluated) => {
    assert.ok(evaluated >= last, "steps go forwards");
    last = evaluated;
    if (kills.length > 0 && evaluated > kills[0]!) {
      kills.shift();
      const name = kills.length % 2 === 0 ? "server-1" : "server-2";
      await pipeline.kill(name);
      pipeline.restart(name);
    }
    return evaluated >= end;
  });
  assert.equal(kills.length, 0);
  await pipeline.serving(2);
  const undisturbed: Collected = new Map();
  await collect({ ...what, end: last }, undisturbed, () => false);
  assert.equal(got.size, 3);
  for (const [name, values] of got) assertWhole(name, values, loaded);
  assert.deepEqual(got, undisturbed);
});

// changes returns what becomes of the alerts until it is done, in short.
async function changes(what: Rules, done: (alerts: string[], evaluated: number) => boolean | Promise<boolean>): Promise<string[]> {
  const transport = createConnectTransport({ baseUrl: pipeline.page, useBinaryFormat: true });
  const abort = new AbortController();
  const got: string[] = [];
  for await (const { alerts, evaluated } of evaluateRules(transport, what, { signal: abort.signal, maxBackoff: second })) {
    for (const { labels, state } of alerts) got.push(`${timestampMs(evaluated!)} ${labels.map((l) => l.value).join(" ")} ${Alert_State[state]}`);
    if (evaluated && (await done(got, timestampMs(evaluated)))) abort.abort();
  }
  return got;
}

test("no change of an alert is missed or comes twice, whichever server evaluates it", async () => {
  const rules = `groups: [{name: g, interval: 1s, rules: [{alert: Up, expr: 'up{job="shop"} == 1', for: 5s}]}]`;
  const what = { rules, since: Date.now(), delay: 2 * second, follow: true, heartbeatInterval: second };
  const kills = [1, 3].map((s) => what.since + s * second);
  let last = 0;
  const got = await changes(what, async (alerts, evaluated) => {
    last = evaluated;
    if (kills.length > 0 && evaluated > kills[0]!) {
      kills.shift();
      const name = kills.length % 2 === 0 ? "server-1" : "server-2";
      await pipeline.kill(name);
      pipeline.restart(name);
    }
    return alerts.length === 6;
  });
  assert.equal(kills.length, 0);
  assert.equal(got.filter((change) => change.endsWith("PENDING")).length, 3, got.join("\n"));
  assert.equal(got.filter((change) => change.endsWith("FIRING")).length, 3, got.join("\n"));
  await pipeline.serving(2);
  const undisturbed = await changes({ ...what, end: last }, () => false);
  assert.deepEqual(got, undisturbed);
});

test("shows what an expression results in, live", async () => {
  const { page, done } = await open(address(rate));
  await live(page);
  await editor(page);
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 3);
  assert.equal(await legend(page).count(), 3);
  assert.equal(await page.locator("#chart h2").textContent(), rate);
  assert.ok((await painted(page, "#plot canvas")) > 100);
  const evaluated = () => page.locator("#fact-evaluated").textContent();
  const first = await evaluated();
  await page.waitForFunction((text) => document.getElementById("fact-evaluated")!.textContent !== text, first);
  assert.match((await page.locator("#fact-late").textContent())!, /^\d/);
  assert.match(await instance(page), /^server-[12]$/);
  assert.equal(await page.locator("[data-mode=rate]").isVisible(), false);
  await page.locator("#plot").press("ArrowLeft");
  await page.locator(".tip").waitFor();
  assert.equal(await page.locator(".tip output").count(), 3);
  await shot(page, "query-light");
  // Where there is nothing, nothing is shown.
  const box = (await page.locator("#plot .u-over").boundingBox())!;
  await page.mouse.move(box.x + 10, box.y + 50);
  await page.locator(".tip").waitFor({ state: "hidden" });
  await done();
});

test("completes, colours and evaluates an expression by keyboard", async () => {
  const { page, done } = await open("/");
  await live(page);
  await page.locator("[data-view=expression]").click();
  await editor(page);
  assert.equal(await page.locator("#query").isVisible(), false);
  await page.keyboard.type("sum by (room) (avg_over_t");
  const options = page.locator("#editor [role=option]");
  const take = async (option: string | RegExp, key: string) => {
    await options.filter({ hasText: option }).first().waitFor();
    await page.keyboard.press("ArrowDown");
    await page.locator("#editor [role=option][aria-selected]").filter({ hasText: option }).waitFor();
    await page.keyboard.press(key);
  };
  await take("avg_over_time", "Tab");
  await page.keyboard.type("(room_t");
  await options.filter({ hasText: "room_temperature_celsius" }).waitFor();
  await shot(page, "query-completion");
  await take("room_temperature_celsius", "Enter");
  await page.keyboard.type('{room="la');
  await take(/^lab/, "Enter");
  await page.keyboard.press("End");
  const text = async () => (await editor(page)).textContent();
  const typed = (await text())!;
  assert.match(typed, /^sum by \(room\) \(avg_over_time\(room_temperature_celsius\{room="lab"\}?/);
  // Selected text is replaced, in which the browser has no part.
  await page.keyboard.press("Control+a");
  await page.keyboard.type("avg_over_time(room_temperature_celsius[1m]");
  assert.equal(await text(), "avg_over_time(room_temperature_celsius[1m])");
  assert.ok((await page.locator("#editor .cm-line span").count()) > 2);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 4);
  assert.match(page.url(), /expr=avg_over_time/);

  // What is shown is in the address, and the selectors are kept beside it.
  await page.locator("[data-view=series]").click();
  await rows(page).nth(19).waitFor();
  await page.goBack();
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 4);
  assert.equal(await text(), "avg_over_time(room_temperature_celsius[1m])");
  await done();
});

test("says what is wrong with an expression, where it is", async () => {
  const { page, done } = await open(address("sum(ratee(http_requests_total[1m]))"), { viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  await phase(page, "refused");
  await editor(page);
  assert.match((await page.locator("#notes").textContent())!, /ratee/);
  assert.match((await page.locator("#editor .wrong").first().textContent())!, /^ratee/);
  assert.equal(await (await editor(page)).getAttribute("aria-invalid"), "true");
  await shot(page, "query-refused-phone");
  // The hints of the editor come without a server.
  await page.keyboard.press("/");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("rate(up)");
  assert.equal(await (await editor(page)).getAttribute("aria-invalid"), null);
  await page.locator("#editor .cm-lintRange-error").first().waitFor();
  await page.keyboard.press("Enter");
  await phase(page, "refused");
  await page.locator("#editor .wrong").first().waitFor();
  await done();
});

test("says what the engine has to say", async () => {
  const { page, done } = await open(address("rate(room_temperature_celsius[1m])"));
  await live(page);
  await page.locator("#annotations .info").waitFor();
  assert.match((await page.locator("#annotations").textContent())!, /might not be a counter/);
  await done();
});

test("what does not follow is complete, and stays where it ended", async () => {
  const { page, done } = await open(address("room_temperature_celsius", { follow: "0", scale: "log" }));
  await phase(page, "complete");
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 4);
  assert.equal(await page.locator("#log").getAttribute("aria-pressed"), "true");
  assert.equal(await page.locator("#follow").isChecked(), false);
  const before = await charted(page);
  await page.waitForTimeout(3 * second);
  assert.deepEqual(await charted(page), before);
  await shot(page, "query-complete");
  await page.locator("#log").click();
  await page.waitForFunction(() => !location.hash.includes("scale=log"));
  await page.locator("#follow").check();
  await live(page);
  await done();
});

test("what has not changed is shown, though it is not sent", async () => {
  const { page, done } = await open(address('up{job="shop"}', { on_change: "1" }));
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 3);
  assert.equal(await page.locator("#on-change").isChecked(), true);
  await page.waitForTimeout(4 * second);
  for (const [name, values] of await charted(page)) assertWhole(name, values, loaded);
  await done();
});

test("survives kill -9 of both servers with no step missing", async () => {
  const { page, allowed, done } = await open(address(rate));
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 3);
  const begun = Date.now();
  allowed.outage = true;
  const servers = ["server-1", "server-2"];
  await Promise.all(servers.map((name) => pipeline.kill(name)));
  await phase(page, "interrupted");
  await shot(page, "query-interrupted");
  await page.waitForTimeout(3 * second);
  for (const name of servers) pipeline.restart(name);
  await page.waitForFunction(() => document.getElementById("fact-reconnects")!.textContent !== "0");
  await live(page);
  await pipeline.serving(2);
  allowed.outage = false;
  const got = await charted(page);
  assert.equal(got.size, 3);
  for (const [name, values] of got) {
    assertWhole(name, values, loaded);
    assert.ok(Math.max(...values.keys()) > begun, name);
  }
  await shot(page, "query-resumed");
  await done();
});

test("native histograms that an expression results in are a heat map", async () => {
  const { page, done } = await open(address("rate(http_request_duration_seconds[1m])"), { colorScheme: "dark" });
  await live(page);
  await page.locator("#heatmap").waitFor();
  await page.waitForTimeout(1500);
  assert.ok((await painted(page, "#heat canvas")) > 1000);
  await shot(page, "query-heatmap-dark");
  await done();
});

test("without its editor the field is a plain one", async () => {
  const { page, done } = await open("/");
  await page.route("**/assets/editor-*.js", (route) => route.fulfill({ status: 200, contentType: "text/javascript", body: "throw new Error('none')" }));
  await live(page);
  await page.locator("[data-view=expression]").click();
  await page.locator("#expression").fill("sum(up)");
  await page.locator("#expression").press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 1);
  assert.equal(await page.locator("#rows .name").textContent(), "{}");
  await done();
});

// The last test, since there are more series from here on.
test("charts as many lines as make a picture, on a phone too", async () => {
  await load.many(230);
  const { page, done } = await open(address("many", { step: "15" }));
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll("#legend li").length === 200);
  assert.match((await page.locator("#chart .help").textContent())!, /^200 of 230 series$/);
  const box = (await page.locator("#plot .u-over").boundingBox())!;
  await page.mouse.move(box.x + box.width - 5, box.y + 100);
  await shot(page, "query-many");
  await page.setViewportSize({ width: 390, height: 844 });
  await shot(page, "query-many-phone");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} pixels wide`);
  await done();
});
