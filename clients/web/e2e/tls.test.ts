// The page over TLS, in a browser that has the right certificate, password or token, and in
// one that has not.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { Process } from "./process";

const bin = process.env.BIN ?? "../../bin";
const folder = mkdtempSync(join(tmpdir(), "tls-"));
const exporters: Process[] = [];
let browser: Browser;

const tls = "tls_server_config: {cert_file: server.pem, key_file: server-key.pem";
// The hash is of "secret".
const users = "basic_auth_users: {me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC}";
const files = {
  "token.yml": `${tls}}\n`,
  "password.yml": `${tls}}\n${users}\n`,
  "certificate.yml": `${tls}, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}\n`,
  "a.token": "may-read\n",
  "access.yml": "policies: [{name: all, token_files: [a.token], read: {status: true}}]\n",
};

before(async () => {
  for (const name of ["", "other"]) {
    const { status, stderr } = spawnSync("go", ["run", "./deploy/certs", `--dir=${join(folder, name)}`], { cwd: "../..", encoding: "utf8" });
    assert.equal(status, 0, stderr);
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
});

after(async () => {
  await browser?.close();
  await Promise.all(exporters.map((exporter) => exporter.stop("SIGTERM")));
  rmSync(folder, { recursive: true, force: true });
});

// serve returns the URL of a page whose port is as a file says.
async function serve(config: string, ...more: string[]): Promise<string> {
  const exporter = new Process(resolve(join(bin, "prometheus-grpc-exporter")), [
    "--receiver.listen-address=127.0.0.1:0", "--rpc.listen-address=127.0.0.1:0", "--self.interval=200ms",
    `--storage.path=${join(folder, `data-${exporters.length}`)}`, `--rpc.config.file=${join(folder, config)}`, ...more,
  ]).start();
  exporters.push(exporter);
  return `https://${await exporter.address("rpc")}/`;
}

// open loads a page that trusts whoever answers, and hands it to what looks at it.
async function open(url: string, options: BrowserContextOptions, look: (page: Page) => Promise<void>) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(url);
  await look(page);
  await context.close();
}

const phase = (page: Page, name: string) => page.locator(`body[data-phase=${name}]`).waitFor();

test("a server of an authority that is not known is not called", async () => {
  const url = await serve("token.yml");
  await assert.rejects(open(url, { ignoreHTTPSErrors: false }, async () => {}), /ERR_CERT_AUTHORITY_INVALID/);
  await open(url, {}, async (page) => {
    await phase(page, "live");
    const protocols = await page.evaluate(() => performance.getEntriesByType("resource").map((e) => (e as PerformanceResourceTiming).nextHopProtocol));
    assert.ok(protocols.length > 0 && protocols.every((name) => name === "h2"), protocols.join());
  });
});

test("a token", async () => {
  const url = await serve("token.yml", `--access.file=${join(folder, "access.yml")}`);
  await open(url, {}, async (page) => {
    const give = async (token: string) => {
      await page.locator("#token").fill(token);
      await page.locator("#sign-in button").click();
    };
    await phase(page, "refused");
    await give("another");
    await page.waitForFunction(() => (document.getElementById("token") as HTMLInputElement).value === "");
    await phase(page, "refused");
    await give("may-read");
    await phase(page, "live");
  });
});

test("a password", async () => {
  const url = await serve("password.yml");
  await open(url, { httpCredentials: { username: "me", password: "secret" } }, (page) => phase(page, "live"));
  await open(url, { httpCredentials: { username: "me", password: "wrong" } }, async (page) => {
    assert.match((await page.textContent("body"))!, /wrong name or password/);
  });
});

test("a certificate", async () => {
  const url = await serve("certificate.yml");
  const having = (dir: string) => ({
    clientCertificates: [{ origin: new URL(url).origin, certPath: join(dir, "prometheus.pem"), keyPath: join(dir, "prometheus-key.pem") }],
  });
  await open(url, having(folder), (page) => phase(page, "live"));
  await assert.rejects(open(url, {}, async () => {}), /ERR_/);
  // Where TLS 1.3 refuses it only after the handshake, Playwright's proxy says so in a page of its own.
  await assert.rejects(open(url, having(join(folder, "other")), async (page) => {
    throw new Error((await page.textContent("body")) ?? "");
  }), /ERR_|client-certificate error/);
});
