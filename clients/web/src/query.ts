import { createClient, type Transport } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { WhenAway } from "../gen/promgrpc/metrics/v1/metrics_pb";
import { QueryRequestSchema, QueryService, type QueryRequest, type QueryResponse } from "../gen/promgrpc/query/v1/query_service_pb";
import { resume, type FollowOptions } from "./resume";
import { Steps } from "./steps";

// Start says at which step to begin. With neither it is the latest that is due. Times
// and durations are in milliseconds, as in all of what follows.
export interface Start {
  // since: the first step at or after this time.
  since?: number;
  // cursor resumes right after the step that had it; since is ignored then.
  cursor?: string;
}

// Query says what to evaluate, from when, and for how long.
export interface Query extends Start {
  // expression in PromQL, whose result is an instant vector or a scalar.
  expression: string;
  // end is the time of the last step.
  end?: number;
  // step is the time between two steps, 15 seconds by default.
  step?: number;
  // follow goes on with each step as it becomes due.
  follow?: boolean;
  // delay is how long samples may take to arrive, 10 seconds by default.
  delay?: number;
  // lookback is how old a sample may be to count as the value of its series.
  lookback?: number;
  // onChange leaves out what has not changed since the step before.
  onChange?: boolean;
  // heartbeatInterval is how long a following stream may be quiet, 10 seconds
  // by default. A server that is silent for three times as long is given up.
  heartbeatInterval?: number;
  // whenAway is what a router does while a group of servers that is needed is away: say
  // so by an away event, and wait; or refuse.
  whenAway?: WhenAway;
}

// query yields the results of an expression, each response with whole steps: what a
// server sends in pieces is joined. Whenever the stream breaks, it resumes after the
// last step, so that each comes once. Through a balancer another server may go on.
//
// It ends after the response with the end event, and throws as follow does. An
// expression that is invalid is refused with its place, see expressionPlace.
export function query(transport: Transport, what: Query, options: FollowOptions = {}): AsyncGenerator<QueryResponse> {
  const client = createClient(QueryService, transport);
  const call = {
    follow: what.follow === true,
    heartbeatInterval: what.heartbeatInterval,
    open: (cursor: string, how: object) => client.query(request(what, cursor), how),
  };
  return resume(transport, call, new Steps(what.cursor ?? "", join), options);
}

function join(begun: QueryResponse, more: QueryResponse): void {
  begun.timeseries.push(...more.timeseries);
  begun.annotations.push(...more.annotations);
  begun.lateSamples += more.lateSamples;
  begun.cursor = more.cursor;
  begun.evaluated = more.evaluated;
  begun.event = more.event;
}

function request(what: Query, cursor: string): QueryRequest {
  const { expression, follow, onChange, whenAway } = what;
  const req = create(QueryRequestSchema, { expression, follow, onChange, whenAway, labelReferences: true, start: startAt(what, cursor) });
  if (what.end !== undefined) req.end = timestampFromMs(what.end);
  if (what.step !== undefined) req.step = durationFromMs(what.step);
  if (what.delay !== undefined) req.delay = durationFromMs(what.delay);
  if (what.lookback !== undefined) req.lookback = durationFromMs(what.lookback);
  if (what.heartbeatInterval !== undefined) req.heartbeatInterval = durationFromMs(what.heartbeatInterval);
  return req;
}

// startAt is the start of a request: the cursor, if there is one by now.
export function startAt({ since }: Start, cursor: string): QueryRequest["start"] {
  if (cursor !== "") return { case: "cursor", value: cursor };
  return since === undefined ? { case: undefined } : { case: "since", value: timestampFromMs(since) };
}
