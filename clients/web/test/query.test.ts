import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport, type HandlerContext } from "@connectrpc/connect";
import {
  Alert_State,
  evaluateRules,
  EvaluateRulesResponseSchema,
  expressionPlace,
  InvalidExpressionSchema,
  query,
  QueryResponseSchema,
  QueryService,
  StreamInterruptedSchema,
  WhenAway,
  type EvaluateRulesResponse,
  type FollowOptions,
  type Query,
  type QueryRequest,
  type QueryResponse,
} from "../src/index";

type Script = (req: QueryRequest, context: HandlerContext) => AsyncGenerator<QueryResponse>;

// part is a response with one value at a step, which is complete if there is a cursor.
function part(value: number, at: number, cursor = ""): QueryResponse {
  return create(QueryResponseSchema, {
    cursor,
    evaluated: cursor === "" ? undefined : timestampFromMs(at),
    timeseries: [{ labels: [{ name: "n", value: String(value) }], samples: [{ value, timestamp: BigInt(at) }] }],
    lateSamples: 1n,
  });
}

function event(name: "synced" | "heartbeat" | "end", cursor = ""): QueryResponse {
  return create(QueryResponseSchema, { cursor, event: { case: name, value: {} } });
}

const gone = () => new ConnectError("gone", Code.Unavailable);

// run queries a server that answers its first call by the first script, and so on. It
// returns what was yielded in short, and where each call began.
async function run(what: Partial<Query>, scripts: Script[], options: FollowOptions = {}) {
  const begun: string[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(QueryService, {
      async *query(req, context) {
        begun.push(req.start.case === "cursor" ? req.start.value : (req.start.case ?? "latest"));
        const script = scripts[begun.length - 1];
        assert.ok(script, "one call too many");
        yield* script(req, context);
      },
    });
  });
  const got: string[] = [];
  for await (const r of query(transport, { expression: "x", ...what }, { sleep: async () => {}, ...options })) {
    const values = r.timeseries.flatMap((s) => s.samples.map((p) => p.value)).join();
    got.push([values, r.event.case, r.cursor].filter((t) => t).join(" "));
  }
  return { got, begun };
}

test("yields whole steps, whatever broke the stream within one", async () => {
  const { got, begun } = await run({ since: 1000, follow: true }, [
    async function* () {
      yield part(1, 1000);
      throw gone();
    },
    async function* () {
      yield part(1, 1000);
      yield part(2, 1000, "a");
      yield part(3, 2000);
      yield event("heartbeat");
      yield part(4, 2000);
      // Closed without an end, as through a proxy.
    },
    async function* () {
      yield part(3, 2000);
      yield event("heartbeat");
      yield part(4, 2000, "b");
      yield event("synced", "b");
      yield part(5, 3000);
      throw new ConnectError("draining", Code.Unavailable, undefined, [{ desc: StreamInterruptedSchema, value: { cursor: "b" } }]);
    },
    async function* () {
      yield part(5, 3000, "c");
      yield event("end", "c");
    },
  ]);
  assert.deepEqual(got, ["1,2 a", "3,4 b", "synced b", "5 c", "end c"]);
  assert.deepEqual(begun, ["since", "since", "a", "b"]);
});

test("joins all of a step", async () => {
  const transport = createRouterTransport(({ service }) => {
    service(QueryService, {
      async *query() {
        const begun = part(1, 1000);
        begun.annotations = [create(QueryResponseSchema, { annotations: [{ text: "first" }] }).annotations[0]!];
        yield begun;
        yield part(2, 1000, "a");
        yield event("end", "a");
      },
    });
  });
  const steps: QueryResponse[] = [];
  for await (const step of query(transport, { expression: "x" })) steps.push(step);
  assert.equal(steps.length, 2);
  assert.equal(steps[0]!.lateSamples, 2n);
  assert.deepEqual(steps[0]!.annotations.map((a) => a.text), ["first"]);
  assert.equal(timestampMs(steps[0]!.evaluated!), 1000);
});

test("leaves a stream that goes on within a step as if that were complete", async () => {
  const interrupts: string[] = [];
  const { got, begun } = await run(
    { cursor: "z" },
    [
      async function* () {
        yield part(1, 1000);
        yield event("end");
      },
      async function* () {
        yield part(1, 1000, "a");
        yield event("end", "a");
      },
    ],
    { onInterrupt: (err) => interrupts.push(err.rawMessage) },
  );
  assert.deepEqual(got, ["1 a", "end a"]);
  assert.deepEqual(begun, ["z", "z"]);
  assert.deepEqual(interrupts, ["end within a step"]);
});

test("passes on what there is to say before the first step", async () => {
  const { got } = await run({ follow: true }, [
    async function* () {
      yield event("synced");
      yield event("heartbeat");
      yield event("end");
    },
  ]);
  assert.deepEqual(got, ["synced", "heartbeat", "end"]);
});

test("asks for what it is told to", async () => {
  let asked: QueryRequest | undefined;
  await run({ expression: "up", since: 1000, end: 9000, step: 500, delay: 0, lookback: 60_000, onChange: true, heartbeatInterval: 2000, follow: true }, [
    async function* (req) {
      asked = req;
      yield event("end");
    },
  ]);
  assert.equal(asked!.expression, "up");
  assert.equal(timestampMs(asked!.end!), 9000);
  assert.deepEqual([asked!.step, asked!.delay, asked!.lookback, asked!.heartbeatInterval].map((d) => durationMs(d!)), [500, 0, 60_000, 2000]);
  assert.ok(asked!.follow && asked!.onChange && asked!.labelReferences);
});

test("says where an expression is wrong, in units of strings", async () => {
  const expression = 'up{job="µ"} +';
  const refused: Script = async function* () {
    throw new ConnectError("parse error", Code.InvalidArgument, undefined, [{ desc: InvalidExpressionSchema, value: { start: 14, end: 14 } }]);
  };
  await assert.rejects(run({ expression }, [refused]), (err) => {
    assert.ok(err instanceof ConnectError);
    assert.deepEqual(expressionPlace(err, expression), { start: 13, end: 13 });
    return true;
  });
  assert.equal(expressionPlace(gone(), expression), undefined);
});

test("says how to go on while a group is away, and yields word of it within a step", async () => {
  const away = create(QueryResponseSchema, { event: { case: "away", value: { groups: ["g"] } } });
  const { got } = await run({ whenAway: WhenAway.REFUSE }, [
    async function* (req) {
      assert.equal(req.whenAway, WhenAway.REFUSE);
      yield part(1, 1000);
      yield away;
      yield part(2, 1000, "a");
      yield event("end", "a");
    },
  ]);
  assert.deepEqual(got, ["away", "1,2 a", "end a"]);

  const asked: WhenAway[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(QueryService, {
      async *evaluateRules(req) {
        asked.push(req.whenAway);
        yield create(EvaluateRulesResponseSchema, { cursor: "1", event: { case: "end", value: {} } });
      },
    });
  });
  for await (const _ of evaluateRules(transport, { rules: "groups: []", whenAway: WhenAway.REFUSE }));
  for await (const _ of evaluateRules(transport, { rules: "groups: []" }));
  assert.deepEqual(asked, [WhenAway.REFUSE, WhenAway.UNSPECIFIED]);
});

test("no change of an alert is missed or comes twice", async () => {
  const fired = (name: string, cursor: string): EvaluateRulesResponse =>
    create(EvaluateRulesResponseSchema, { group: "g", cursor, alerts: [{ labels: [{ name: "alertname", value: name }], state: Alert_State.FIRING }] });
  const begun: string[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(QueryService, {
      async *evaluateRules(req) {
        assert.equal(req.externalLabels["site"], "here");
        begun.push(req.start.value?.toString() ?? "latest");
        if (begun.length === 1) {
          yield fired("a", "1");
          throw gone();
        }
        yield fired("b", "2");
        yield create(EvaluateRulesResponseSchema, { cursor: "2", event: { case: "end", value: {} } });
      },
    });
  });
  const names: string[] = [];
  const rules = { rules: "groups: []", follow: true, externalLabels: { site: "here" } };
  for await (const r of evaluateRules(transport, rules, { sleep: async () => {} })) {
    names.push(...r.alerts.map((a) => a.labels[0]!.value));
  }
  assert.deepEqual(names, ["a", "b"]);
  assert.deepEqual(begun, ["latest", "1"]);
});

test("says once which alerts are active", async () => {
  const asked: boolean[] = [];
  const told = (cursor: string) => create(EvaluateRulesResponseSchema, { group: "g", cursor, alerts: [{ state: Alert_State.FIRING, previous: Alert_State.FIRING }] });
  const transport = createRouterTransport(({ service }) => {
    service(QueryService, {
      async *evaluateRules(req) {
        asked.push(req.active);
        if (asked.length === 1) throw gone();
        yield told("c");
        if (asked.length === 2) throw gone(); // before all of them were told
        yield create(EvaluateRulesResponseSchema, { group: "g", cursor: "d" });
        if (asked.length === 3) throw gone();
        yield create(EvaluateRulesResponseSchema, { cursor: "d", event: { case: "end", value: {} } });
      },
    });
  });
  for await (const _ of evaluateRules(transport, { rules: "groups: []", cursor: "c", active: true }, { sleep: async () => {} }));
  assert.deepEqual(asked, [true, true, true, false]);
});
