import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";

const shots = process.env.SCREENSHOTS ?? "node_modules/.cache/screenshots";
mkdirSync(shots, { recursive: true });

// open loads the page and fails the test upon an error in the console or a
// request to somewhere else. Allowed are the errors that the browser itself
// logs when a server is not there.
export async function open(browser: Browser, origin: string, address: string, options: Parameters<Browser["newPage"]>[0] = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 }, ...options });
  page.setDefaultTimeout(30_000);
  const errors: string[] = [];
  const allowed = { outage: false };
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    if (allowed.outage && /net::ERR_(CONNECTION_|INCOMPLETE_CHUNKED|EMPTY_RESPONSE|SOCKET_|FAILED)|status of 503/.test(message.text())) return;
    errors.push(message.text());
  });
  page.on("pageerror", (err) => errors.push(String(err.stack)));
  page.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && new URL(request.url()).origin !== origin) errors.push(`request to ${request.url()}`);
  });
  const response = await page.goto(origin + address);
  assert.equal(response?.status(), 200);
  const done = async () => {
    await page.close();
    assert.deepEqual(errors, []);
  };
  return { page, allowed, done };
}

export const live = (page: Page) => page.locator("body[data-phase=live]").waitFor();
export const shot = (page: Page, name: string) => page.screenshot({ path: join(shots, `${name}.png`) });
export const fullShot = (page: Page, name: string) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
export const instance = async (page: Page) => (await page.locator("#fact-instance").textContent())!;
export const rows = (page: Page) => page.locator("#rows tr");

// charted downloads what the chart shows: time and value by series.
export async function charted(page: Page): Promise<Map<string, Map<number, number>>> {
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#csv").click()]);
  const [head, ...lines] = readFileSync(await download.path(), "utf8").trim().split("\n");
  const names = [...head!.matchAll(/"((?:[^"]|"")*)"/g)].map((m) => m[1]!.replaceAll('""', '"'));
  const columns = new Map(names.map((name) => [name, new Map<number, number>()]));
  for (const line of lines) {
    const [time, ...values] = line.split(",");
    values.forEach((v, i) => v !== "" && columns.get(names[i]!)!.set(Date.parse(time!), Number(v)));
  }
  return columns;
}

// painted counts the pixels of a canvas that have a colour.
export function painted(page: Page, canvas: string): Promise<number> {
  return page.evaluate((selector) => {
    const element = document.querySelector<HTMLCanvasElement>(selector)!;
    const { data } = element.getContext("2d")!.getImageData(0, 0, element.width, element.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const channels = [data[i]!, data[i + 1]!, data[i + 2]!];
      if (data[i + 3]! > 40 && Math.max(...channels) - Math.min(...channels) > 60) count++;
    }
    return count;
  }, canvas);
}

export const chromiumOptions = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
};
