import { createClient, type Transport } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { WhenAway } from "../gen/promgrpc/metrics/v1/metrics_pb";
import {
  EvaluateRulesRequestSchema,
  QueryService,
  type EvaluateRulesRequest,
  type EvaluateRulesResponse,
} from "../gen/promgrpc/query/v1/query_service_pb";
import { startAt, type Start } from "./query";
import { resume, type FollowOptions } from "./resume";
import { Steps } from "./steps";

// Rules says which rules to evaluate, from when, and for how long.
export interface Rules extends Start {
  // rules is a rule file of Prometheus, in YAML.
  rules: string;
  // active starts after the cursor with the alerts that are active there, whose previous
  // state is the one that they have.
  active?: boolean;
  // end is the time of the last step.
  end?: number;
  // interval of groups that have none, 1 minute by default.
  interval?: number;
  // follow goes on with each step as it becomes due.
  follow?: boolean;
  // delay is how long samples may take to arrive, 10 seconds by default.
  delay?: number;
  externalLabels?: Record<string, string>;
  externalUrl?: string;
  // heartbeatInterval is how long a following stream may be quiet, 10 seconds
  // by default. A server that is silent for three times as long is given up.
  heartbeatInterval?: number;
  // whenAway is as of a Query.
  whenAway?: WhenAway;
}

// evaluateRules yields what becomes of alerts, and what records result in: a response
// for each group and step, and for each event. It resumes, ends and throws as query
// does, so that no change of an alert is missed or comes twice.
export async function* evaluateRules(transport: Transport, what: Rules, options: FollowOptions = {}): AsyncGenerator<EvaluateRulesResponse> {
  const client = createClient(QueryService, transport);
  let told = what.active !== true; // which alerts are active
  const call = {
    follow: what.follow === true,
    heartbeatInterval: what.heartbeatInterval,
    open: (cursor: string, how: object) => client.evaluateRules(request(what, cursor, !told), how),
  };
  for await (const response of resume(transport, call, new Steps(what.cursor ?? "", join), options)) {
    told ||= response.group === "" || response.cursor !== what.cursor;
    yield response;
  }
}

function join(begun: EvaluateRulesResponse, more: EvaluateRulesResponse): void {
  begun.timeseries.push(...more.timeseries);
  begun.alerts.push(...more.alerts);
  begun.annotations.push(...more.annotations);
  begun.failures.push(...more.failures);
  begun.cursor = more.cursor;
  begun.evaluated = more.evaluated;
  begun.event = more.event;
}

function request(what: Rules, cursor: string, active: boolean): EvaluateRulesRequest {
  const { rules, follow, externalLabels, externalUrl, whenAway } = what;
  const req = create(EvaluateRulesRequestSchema, { rules, active, follow, externalLabels, externalUrl, whenAway, start: startAt(what, cursor) });
  if (what.end !== undefined) req.end = timestampFromMs(what.end);
  if (what.interval !== undefined) req.interval = durationFromMs(what.interval);
  if (what.delay !== undefined) req.delay = durationFromMs(what.delay);
  if (what.heartbeatInterval !== undefined) req.heartbeatInterval = durationFromMs(what.heartbeatInterval);
  return req;
}
