// The page of a server that wants to know who reads.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { chromium, type Browser, type Page } from "playwright-core";
import { Process } from "./process";

const bin = process.env.BIN ?? "../../bin";
const folder = mkdtempSync(join(tmpdir(), "token-"));
let server: Process;
let forwarder: Process; // of which a server has to have heard
let address: string;
let browser: Browser;

before(async () => {
  writeFileSync(join(folder, "all.token"), "may-read-all\n");
  writeFileSync(join(folder, "some.token"), "may-read-samples-alone\n");
  writeFileSync(join(folder, "none.token"), "may-read-nothing\n");
  writeFileSync(
    join(folder, "access.yml"),
    `policies:
- name: all
  token_files: [all.token]
  read: {status: true}
- name: some
  token_files: [some.token]
  read: {}
- name: none
  token_files: [none.token]
  write: {}
`,
  );
  const at = (...listeners: string[]) => listeners.map((listener) => `--${listener}.listen-address=127.0.0.1:0`);
  server = new Process(resolve(join(bin, "prometheus-api-server")), [
    ...at("web", "link", "rpc"),
    `--storage.path=${folder}/server`, `--access.file=${folder}/access.yml`, "--instance=server-1", "--rpc.allowed-host=far.test",
  ]).start();
  address = await server.address("rpc");
  forwarder = new Process(resolve(join(bin, "metrics-forwarder")), [
    ...at("web", "link"), `--server=${await server.address("link")}`, `--storage.path=${folder}/forwarder`,
  ]).start();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--host-resolver-rules=MAP far.test 127.0.0.1"],
  });
});

after(async () => {
  await browser?.close();
  await Promise.all([forwarder?.stop("SIGTERM"), server?.stop("SIGTERM")]);
  rmSync(folder, { recursive: true, force: true });
});

// open loads the page, and counts the calls that have a token.
async function open(host = address, hash = "") {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  page.setDefaultTimeout(30_000);
  const tokens: string[] = [];
  page.on("request", async (request) => {
    const header = await request.headerValue("authorization").catch(() => null);
    if (header !== null) tokens.push(header);
  });
  await page.goto(`http://${host}/${hash}`);
  return { page, tokens };
}

const live = (page: Page) => page.locator("body[data-phase=live]").waitFor();
const refused = (page: Page) => page.locator("body[data-phase=refused]").waitFor();
const notes = (page: Page) => page.locator("#notes").textContent();

async function give(page: Page, token: string) {
  await page.locator("#token").fill(token);
  await page.locator("#sign-in button").click();
}

test("asks for a token, keeps it for the tab, and forgets it", async () => {
  const { page, tokens } = await open();
  await refused(page);
  await page.locator("#sign-in").waitFor();
  assert.match((await notes(page))!, /token/);
  assert.equal(tokens.length, 0);

  await give(page, "another");
  await page.waitForFunction(() => (document.getElementById("token") as HTMLInputElement).value === "");
  await page.locator("#sign-in").waitFor();
  await give(page, "may-read-all");
  await live(page);
  await page.locator("#sign-in").waitFor({ state: "hidden" });
  assert.equal(await page.locator("#fact-instance").textContent(), "server-1");

  await page.reload();
  await live(page);
  await page.locator("#sign-out").click();
  await refused(page);
  await page.locator("#sign-in").waitFor();
  await page.close();
  assert.ok(tokens.includes("Bearer another") && tokens.includes("Bearer may-read-all"));

  const other = await open();
  await refused(other.page);
  assert.equal(other.tokens.length, 0, "another tab has no token");
  await other.page.close();
});

test("evaluates for who may read", async () => {
  const { page } = await open(address, "#window=300&expr=vector(7)&step=1&delay=2");
  await refused(page);
  await page.locator("#sign-in").waitFor();
  await give(page, "may-read-nothing");
  await page.waitForFunction(() => /policy none does not have/.test(document.getElementById("notes")!.textContent!));
  await page.locator("#sign-out").click();
  await page.locator("#sign-in").waitFor();
  await give(page, "may-read-samples-alone");
  await live(page);
  await page.locator("#rows tr").first().waitFor();
  assert.equal(await page.locator("#rows .value").textContent(), "7");
  assert.doesNotMatch(page.url(), /may-read/);
  await page.close();
});

test("shows what the server says of rights", async () => {
  const { page } = await open();
  await page.locator("#sign-in").waitFor();
  await give(page, "may-read-samples-alone");
  await live(page);
  await page.waitForFunction(() => /policy some does not have/.test(document.getElementById("denied")!.textContent!));
  await page.locator("#sign-out").click();
  await page.locator("#sign-in").waitFor();
  await give(page, "may-read-nothing");
  await page.waitForFunction(() => /policy none does not have/.test(document.getElementById("notes")!.textContent!));
  await page.locator("#sign-in").waitFor({ state: "hidden" });
  await page.close();
});

test("sends a token without TLS to another machine only if the user agrees", async () => {
  const { page, tokens } = await open(address.replace("127.0.0.1", "far.test"));
  await page.locator("#in-the-clear").waitFor();
  await give(page, "may-read-all");
  assert.equal(tokens.length, 0);
  await refused(page);
  await page.locator("#aloud").check();
  await page.locator("#sign-in button").click();
  await live(page);
  await page.close();
});
