import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type HandlerContext } from "@connectrpc/connect";
import {
  CursorOutOfRangeSchema,
  follow,
  GetMetricsResponseSchema,
  MetricsService,
  OutOfRangeError,
  StreamInterrupted_Reason,
  StreamInterruptedSchema,
  type FollowOptions,
  type GetMetricsRequest,
  type GetMetricsResponse,
  type Selection,
} from "../src/index";

type Script = (req: GetMetricsRequest, context: HandlerContext) => AsyncGenerator<GetMetricsResponse>;

// sample is a response with one value, and a cursor that covers it if any.
function sample(value: number, cursor = ""): GetMetricsResponse {
  return create(GetMetricsResponseSchema, { cursor, timeseries: [{ samples: [{ value, timestamp: 1n }] }] });
}

function event(name: "synced" | "heartbeat" | "end", cursor: string): GetMetricsResponse {
  return create(GetMetricsResponseSchema, { cursor, event: { case: name, value: {} } });
}

// run follows a server that answers its first call by the first script, and so
// on. It returns what was yielded in short, and where each call began.
async function run(selection: Selection, scripts: Script[], options: FollowOptions = {}) {
  const begun: string[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(MetricsService, {
      async *getMetrics(req, context) {
        begun.push(req.start.case === "cursor" ? req.start.value : (req.start.case ?? "latest"));
        const script = scripts[begun.length - 1];
        assert.ok(script, "one call too many");
        yield* script(req, context);
      },
    });
  });
  const got: string[] = [];
  for await (const { response, rewound } of follow(transport, selection, { sleep: async () => {}, ...options })) {
    const what = response.event.case ?? response.timeseries.flatMap((s) => s.samples.map((p) => p.value)).join();
    got.push((rewound ? "rewound " : "") + what);
  }
  return { got, begun };
}

test("goes on after the last cursor, whatever broke the stream", async () => {
  const { got, begun } = await run({ since: 1000, follow: true }, [
    async function* () {
      yield sample(1, "a");
      throw new ConnectError("gone", Code.Unavailable);
    },
    async function* () {
      throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
    },
    async function* () {
      yield sample(2, "b");
      // Closed without an end, as through a proxy.
    },
    async function* () {
      yield sample(3, "c");
      yield event("end", "d");
    },
  ]);
  assert.deepEqual(got, ["1", "2", "3", "end"]);
  assert.deepEqual(begun, ["since", "a", "a", "b"]);
});

test("says what comes again when the server gave no cursor", async () => {
  const { got, begun } = await run({}, [
    async function* () {
      yield sample(1, "a");
      yield sample(2);
      throw new ConnectError("gone", Code.Internal);
    },
    async function* () {
      yield sample(2, "b");
      yield event("end", "b");
    },
  ]);
  assert.deepEqual(got, ["1", "2", "rewound 2", "end"]);
  assert.deepEqual(begun, ["latest", "a"]);
});

test("takes the cursor that a draining server hands over", async () => {
  const { got, begun } = await run({}, [
    async function* () {
      yield sample(1);
      throw new ConnectError("draining", Code.Unavailable, undefined, [
        { desc: StreamInterruptedSchema, value: { cursor: "handed" } },
      ]);
    },
    async function* () {
      yield event("end", "z");
    },
  ]);
  assert.deepEqual(got, ["1", "end"]);
  assert.deepEqual(begun, ["latest", "handed"]);
});

test("goes on at once when its stream is of age, and tells nobody", async () => {
  const aged = (cursor: string) =>
    new ConnectError("of age", Code.Unavailable, undefined, [
      { desc: StreamInterruptedSchema, value: { cursor, reason: StreamInterrupted_Reason.MAX_AGE } },
    ]);
  const interrupts: number[] = [];
  const onInterrupt = (_: ConnectError, failures: number) => interrupts.push(failures);
  const { got, begun } = await run(
    { follow: true },
    [
      async function* () {
        yield sample(1, "a");
        throw aged("a");
      },
      async function* () {
        yield sample(2, "b");
        throw aged("b2");
      },
      // One that has served nothing is like any other that fails.
      async function* () {
        throw aged("b2");
      },
      async function* () {
        yield event("end", "c");
      },
    ],
    { onInterrupt },
  );
  assert.deepEqual(got, ["1", "2", "end"]);
  assert.deepEqual(begun, ["latest", "a", "b2", "b2"]);
  assert.deepEqual(interrupts, [1]);
});

test("reports a cursor that is too old with the oldest that works", async () => {
  const old: Script = async function* () {
    throw new ConnectError("gone", Code.OutOfRange, undefined, [
      { desc: CursorOutOfRangeSchema, value: { oldestCursor: "o" } },
    ]);
  };
  await assert.rejects(run({ cursor: "x" }, [old]), (err) => err instanceof OutOfRangeError && err.oldestCursor === "o");
});

test("replaces references by labels, and each stream has its own references", async () => {
  const referred = (ref: bigint, name: string, forgetReferences = false) =>
    create(GetMetricsResponseSchema, { cursor: "a", forgetReferences, timeseries: [{ ref, labels: name ? [{ name: "__name__", value: name }] : [] }] });
  const names: string[] = [];
  let calls = 0;
  const transport = createRouterTransport(({ service }) => {
    service(MetricsService, {
      async *getMetrics(req) {
        assert.equal(req.labelReferences, true);
        if (calls++ === 0) {
          yield referred(1n, "a");
          yield referred(2n, "b");
          yield referred(1n, "");
          yield referred(3n, ""); // never given: the stream is left
        } else {
          yield referred(2n, "a");
          yield referred(2n, "");
          yield referred(2n, "c", true);
          yield event("end", "b");
        }
      },
    });
  });
  for await (const { response } of follow(transport, { follow: true }, { sleep: async () => {} })) {
    for (const s of response.timeseries) {
      assert.equal(s.ref, 0n);
      names.push(s.labels[0]!.value);
    }
  }
  assert.deepEqual(names, ["a", "b", "a", "a", "a", "c"]);
});

test("does not repeat what is refused", async () => {
  const refused: Script = async function* () {
    throw new ConnectError("1:3: parse error", Code.InvalidArgument);
  };
  await assert.rejects(run({ selectors: ["up{"] }, [refused]), (err) => err instanceof ConnectError && err.code === Code.InvalidArgument);
});

test("leaves a server that is silent", async () => {
  const interrupts: string[] = [];
  const { got, begun } = await run(
    { follow: true, heartbeatInterval: 10 },
    [
      async function* (_req, { signal }) {
        yield event("synced", "a");
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
      async function* () {
        yield event("end", "b");
      },
    ],
    { onInterrupt: (err) => interrupts.push(err.rawMessage) },
  );
  assert.deepEqual(got, ["synced", "end"]);
  assert.deepEqual(begun, ["latest", "a"]);
  assert.deepEqual(interrupts, ["no heartbeat for 0.03 s"]);
});

test("backs off, and less so after a success", async () => {
  const delays: number[] = [];
  const down: Script = async function* () {
    throw new ConnectError("down", Code.Unavailable);
  };
  const up: Script = async function* () {
    yield event("heartbeat", "a");
  };
  const end: Script = async function* () {
    yield event("end", "a");
  };
  await run({ follow: true }, [down, down, down, down, up, end], {
    minBackoff: 100,
    maxBackoff: 400,
    onInterrupt: (_err, _failures, delay) => delays.push(delay),
  });
  const most = [100, 200, 400, 400, 100];
  assert.equal(delays.length, most.length);
  delays.forEach((delay, i) => assert.ok(delay >= most[i]! / 2 && delay <= most[i]!, `${i}: ${delay}`));
});

test("ends quietly when it is told to", async () => {
  const abort = new AbortController();
  const { got } = await run(
    { follow: true },
    [
      async function* (_req, { signal }) {
        yield sample(1, "a");
        abort.abort();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    ],
    { signal: abort.signal },
  );
  assert.deepEqual(got, ["1"]);
});
