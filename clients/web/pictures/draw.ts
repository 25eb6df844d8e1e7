// Draws the pictures for the documents, all but that of the architecture from a running pipeline.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser } from "playwright-core";
import { Load } from "../e2e/load";
import { Pipeline } from "../e2e/pipeline";
import { architecture } from "./architecture";
import { Terminal } from "./terminal";

const out = "../../docs/pictures";
const client = "prometheus-grpc-client";
const resultWindow = 300_000;

mkdirSync(out, { recursive: true });
writeFileSync(join(out, "architecture.svg"), architecture());
const pipeline = new Pipeline();
await pipeline.start();
const load = new Load(pipeline.write);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
try {
  await load.start();
  await pipeline.serving(2);
  const loaded = Date.now();
  for (const scheme of ["light", "dark"] as const) await page(browser, scheme);
  await consul(browser);
  const terminal = new Terminal(join(process.env.BIN ?? "../../bin", client), { PROMGRPC_CLIENT_ADDRESS: new URL(pipeline.page).host });
  await terminal.run(`${client} get 'http_requests_total{code="500"}' --output table`);
  await terminal.run(`${client} get room_temperature_celsius --follow`, 14);
  writeFileSync(join(out, "client.svg"), terminal.svg());
  // What came later than its steps waited for has no result: the window fills only now.
  await new Promise((resolve) => setTimeout(resolve, loaded + resultWindow - Date.now()));
  for (const scheme of ["light", "dark"] as const) await results(browser, scheme);
} finally {
  load.stop();
  await browser.close();
  await pipeline.stop();
}

// page is what each server serves at its RPC port.
async function page(browser: Browser, colorScheme: "light" | "dark"): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1100, height: 826 }, colorScheme });
  await page.goto(`${pipeline.page}/#${new URLSearchParams({ window: "900", query: "room_temperature_celsius" })}`);
  await page.locator("body[data-phase=live]").waitFor();
  await page.locator("#rows tr").nth(3).waitFor();
  await page.locator("#legend li").nth(3).waitFor();
  await page.waitForFunction(() => /^[01] s ago$/.test(document.getElementById("fact-newest")!.textContent!));
  await page.screenshot({ path: join(out, `page-${colorScheme}.png`) });
}

// results are what the page shows of an expression.
async function results(browser: Browser, colorScheme: "light" | "dark"): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1100, height: 826 }, colorScheme });
  const expr = "sum by (instance, code) (rate(http_requests_total[1m]))";
  await page.goto(`${pipeline.page}/#${new URLSearchParams({ window: String(resultWindow / 1000), expr, delay: "2" })}`);
  await page.locator("body[data-phase=live]").waitFor();
  await page.locator("#editor .cm-content").waitFor();
  await page.locator("#legend li").nth(8).waitFor();
  const plot = (await page.locator("#plot .u-over").boundingBox())!;
  await page.mouse.move(plot.x + 0.4 * plot.width, plot.y + 0.5 * plot.height);
  await page.locator(".tip").waitFor();
  await page.screenshot({ path: join(out, `page-query-${colorScheme}.png`) });
}

async function consul(browser: Browser): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1100, height: 420 } });
  await page.goto(`http://${pipeline.consul}/ui/dc1/services`);
  await page.getByText("2 instances").waitFor();
  await page.getByText("metrics-forwarder").waitFor();
  await page.locator("input[type=search]").blur();
  await page.waitForTimeout(500); // Its animations take some time.
  await page.screenshot({ path: join(out, "consul.png") });
}
