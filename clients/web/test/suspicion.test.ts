import assert from "node:assert/strict";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, durationFromMs } from "@bufbuild/protobuf/wkt";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { follow, GetMetricsResponseSchema, MetricsService, SuspectError, type Selection } from "../src/index";

const hour = 3_600_000;

interface Servers {
  // stream answers a call by its number, from 0.
  stream: (call: number) => "break" | "message then break" | "end" | ConnectError;
  // uptime that GetStatus tells; undefined: nobody answers.
  uptime: (call: number) => number | undefined;
}

// run follows and returns how many streams were opened, and what came of it.
async function run(servers: Servers, query: Selection = {}) {
  let calls = 0;
  const transport = createRouterTransport(({ service }) => {
    service(MetricsService, {
      async *getMetrics() {
        const what = servers.stream(calls++);
        if (what instanceof ConnectError) throw what;
        if (what !== "break") yield create(GetMetricsResponseSchema, { cursor: "a", event: { case: what === "end" ? "end" : "heartbeat", value: {} } });
        if (what !== "end") throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
      },
      getStatus() {
        const uptime = servers.uptime(calls);
        if (uptime === undefined) throw new ConnectError("HTTP 503", Code.Unavailable);
        return { instance: "a", uptime: durationFromMs(uptime) };
      },
    });
  });
  const delays: number[] = [];
  let err: unknown;
  try {
    for await (const _ of follow(transport, query, { sleep: async (ms) => void delays.push(ms) }));
  } catch (reason) {
    err = reason;
  }
  return { calls, delays, err };
}

const breaks = () => "break" as const;

for (const query of [{}, { follow: true }]) {
  test(`gives up a call that servers die of: ${JSON.stringify(query)}`, async () => {
    const { calls, err } = await run({ stream: breaks, uptime: () => 0 }, query);
    assert.ok(err instanceof SuspectError, String(err));
    assert.equal(err.deaths, 2);
    assert.equal(calls, 2);
  });
  test(`gives up a call that breaks again and again, where others answer for who died: ${JSON.stringify(query)}`, async () => {
    const { calls, err } = await run({ stream: breaks, uptime: () => hour }, query);
    assert.ok(err instanceof SuspectError, String(err));
    assert.equal(err.deaths, 0);
    assert.equal(calls, 3);
  });
}

test("gives no call to servers that do not answer", async () => {
  let asked = 0;
  const { calls, err } = await run(
    { stream: (call) => (call === 0 ? "break" : "end"), uptime: () => (asked++ < 20 ? undefined : hour) },
    { follow: true },
  );
  assert.equal(err, undefined);
  assert.equal(calls, 2);
  assert.ok(asked > 20);
});

test("slows down, and does not give up, where it was served before", async () => {
  const { calls, delays, err } = await run(
    { stream: (call) => (call === 0 ? "message then break" : call < 7 ? "break" : "end"), uptime: () => 0 },
    { follow: true },
  );
  assert.equal(err, undefined);
  assert.equal(calls, 8);
  assert.ok(delays.at(-1)! >= 30_000, String(delays));
  assert.ok(Math.max(...delays) <= 60_000, String(delays));
});

test("does not repeat what is over a limit", async () => {
  const { calls, err } = await run({ stream: () => new ConnectError("too large", Code.ResourceExhausted), uptime: () => hour }, { follow: true });
  assert.ok(err instanceof ConnectError && err.code === Code.ResourceExhausted);
  assert.equal(calls, 1);
});

test("comes again when it is told to", async () => {
  const refused = new ConnectError("full", Code.ResourceExhausted);
  const delay = toBinary(DurationSchema, durationFromMs(7000));
  const value = new BinaryWriter().tag(1, 2).bytes(delay).finish();
  refused.details.push({ type: "google.rpc.RetryInfo", value });
  const { calls, delays, err } = await run({ stream: (call) => (call === 0 ? refused : "end"), uptime: () => hour });
  assert.equal(err, undefined);
  assert.equal(calls, 2);
  assert.ok(delays[0]! >= 7000 && delays[0]! <= 10_500, String(delays));
});
