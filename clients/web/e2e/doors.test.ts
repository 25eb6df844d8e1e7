// What a page from elsewhere can do in a browser that reaches the ports: nothing. The
// same request from no browser is served, so it is the page that is refused.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { chromium, type Browser, type Page } from "playwright-core";
import { TimeSeriesSchema } from "../src/index";
import { snappy } from "./load";
import { Process } from "./process";

const bin = process.env.BIN ?? "../../bin";
const folder = mkdtempSync(join(tmpdir(), "doors-"));
const any = "127.0.0.1:0";
const parts: Process[] = [];
// write, read and ops are the addresses that the page attacks.
let write: string, read: string, ops: string;
const elsewhere = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html>"));
let browser: Browser;

function run(program: string, ...args: string[]): Process {
  const part = new Process(resolve(join(bin, program)), args).start();
  parts.push(part);
  return part;
}

before(async () => {
  const server = run("prometheus-api-server", `--web.listen-address=${any}`, `--link.listen-address=${any}`, `--rpc.listen-address=${any}`, `--storage.path=${folder}/server`);
  const forwarder = run("metrics-forwarder", `--web.listen-address=${any}`, `--link.listen-address=${any}`, `--server=${await server.address("link")}`, `--storage.path=${folder}/forwarder`);
  const receiver = run("prometheus-remote-receiver", `--web.listen-address=${any}`, `--forwarder=${await forwarder.address("link")}`);
  [write, read, ops] = [await receiver.address("web"), await server.address("rpc"), await server.address("web")];
  await receiver.eventually("a forwarder", async () => (await fetch(`http://${write}/-/ready`)).ok);
  elsewhere.listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--host-resolver-rules=MAP *.example 127.0.0.1",
      // A protection of newer browsers, which others lack.
      "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    ],
  });
});

after(async () => {
  await browser?.close();
  elsewhere.close();
  await Promise.all(parts.map((part) => part.stop("SIGTERM")));
  rmSync(folder, { recursive: true, force: true });
});

// evil is a page from elsewhere.
async function evil(): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`http://evil.example:${(elsewhere.address() as AddressInfo).port}/`);
  return page;
}

// body of a remote-write request with one series.
function body(name: string): number[] {
  const series = create(TimeSeriesSchema, { labels: [{ name: "__name__", value: name }], samples: [{ value: 1, timestamp: BigInt(Date.now()) }] });
  return [...snappy(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(toBinary(TimeSeriesSchema, series)).finish())];
}

async function stored(): Promise<string[]> {
  const answer = await fetch(`http://${read}/promgrpc.metrics.v1.MetricsService/GetLabelValues`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: "__name__" }),
  });
  return ((await answer.json()) as { values?: string[] }).values ?? [];
}

async function counted(address: string, metric: string): Promise<number> {
  const line = (await (await fetch(`http://${address}/metrics`)).text()).split("\n").find((line) => line.startsWith(metric + " "));
  return Number(line?.split(" ")[1] ?? 0);
}

const refusedToWrite = (code: number) => counted(write, `promgrpc_web_refused_requests_total{code="${code}"}`);
const refusedToRead = (reason: string) => counted(ops, `promgrpc_server_refused_pages_total{reason="${reason}"}`);

test("a page from elsewhere stores nothing", async () => {
  const control = await fetch(`http://${write}/api/v1/write`, { method: "POST", body: new Uint8Array(body("control")) });
  assert.equal(control.status, 204);
  while (!(await stored()).includes("control")) await new Promise((resolve) => setTimeout(resolve, 20));

  const page = await evil();
  const before = await refusedToWrite(403);
  for (const name of ["forged_fetch", "forged_beacon", "forged_form"]) {
    await page.evaluate(async ({ url, name, body }) => {
      const bytes = new Uint8Array(body);
      if (name === "forged_fetch") await fetch(url, { method: "POST", mode: "no-cors", body: bytes }).catch(() => {});
      if (name === "forged_beacon") navigator.sendBeacon(url, bytes);
      if (name !== "forged_form") return;
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.name = "target";
      const form = document.body.appendChild(document.createElement("form"));
      Object.assign(form, { method: "post", enctype: "text/plain", target: "target", action: url });
      form.submit();
    }, { url: `http://${write}/api/v1/write`, name, body: body(name) });
  }
  await parts[2]!.eventually("three refusals", async () => (await refusedToWrite(403)) === before + 3);
  assert.deepEqual((await stored()).filter((name) => name.startsWith("forged")), []);
  await page.close();
});

test("a page from elsewhere has nothing called", async () => {
  const page = await evil();
  const before = await refusedToRead("origin");
  const call = `http://${read}/promgrpc.metrics.v1.MetricsService/GetStatus?connect=v1&encoding=json&message=%7B%7D`;
  const icon = /\/assets\/icon-[^"]*svg/.exec(await (await fetch(`http://${read}/`)).text())![0];
  const loaded = await page.evaluate(async (urls) => {
    const load = (tag: "img" | "script", src: string) => new Promise<string>((resolve) => {
      const element = document.createElement(tag);
      element.onload = () => resolve("loaded");
      element.onerror = () => resolve("refused");
      element.src = src;
      document.body.append(element);
    });
    return [
      await load("img", urls.icon), await load("script", urls.call),
      await fetch(urls.call, { mode: "no-cors" }).then(() => "loaded", () => "refused"),
      await fetch(urls.call).then(() => "loaded", () => "refused"),
    ];
  }, { call, icon: `http://${read}${icon}` });
  assert.deepEqual(loaded, ["refused", "refused", "refused", "refused"]);
  assert.equal(await refusedToRead("origin"), before + 4);
  await page.close();
});

test("a name that a page lets point here is none of ours", async () => {
  const page = await browser.newPage();
  for (const [address, path, type, status] of [
    [write, "/api/v1/write", "application/x-protobuf", 421],
    [ops, "/metrics", "text/plain", 421],
    [read, "/promgrpc.metrics.v1.MetricsService/GetLabelNames", "application/json", 403],
  ] as const) {
    // As if the page had come from there before its name pointed here.
    const origin = `http://evil.example:${address.split(":")[1]}`;
    await page.route(`${origin}/attack`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
    await page.goto(`${origin}/attack`);
    const answer = await page.evaluate(async ({ path, type }) => {
      const answer = await fetch(path, { method: "POST", headers: { "Content-Type": type }, body: "{}" });
      return { status: answer.status, text: await answer.text() };
    }, { path, type });
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.text, /allowed-host/);
  }
  await page.close();
});
