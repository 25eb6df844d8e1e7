import { Code, ConnectError, createClient, type Client, type Transport } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  GetMetricsRequestSchema,
  MetricsService,
  type GetMetricsRequest,
  type GetMetricsResponse,
} from "../gen/promgrpc/metrics/v1/metrics_service_pb";
import { farewell, isAged, outOfRange, resumable, retryDelay } from "./errors";
import { Labels } from "./labels";
import { Suspicion } from "./suspicion";

// A following stream that was silent for this many heartbeat intervals is
// considered dead.
const missedHeartbeats = 3;
const defaultHeartbeat = 10_000;

// The longest pause that a server may ask for.
const maxRetryDelay = 60_000;

// Query says which series to get, from where, and how long. Times and
// durations are in milliseconds.
export interface Query {
  // selectors are PromQL series selectors, any of which may match. None: all.
  selectors?: string[];
  // since replays the retained samples from this time on.
  since?: number;
  // cursor resumes right after the Update that had it; since is ignored then.
  cursor?: string;
  // follow goes on with new samples once the present is reached.
  follow?: boolean;
  minInterval?: number;
  // heartbeatInterval is how long a following stream may be quiet, 10 seconds
  // by default. A server that is silent for three times as long is given up.
  heartbeatInterval?: number;
}

// Update is a part of the stream.
export interface Update {
  response: GetMetricsResponse;
  // rewound says that the stream broke where it could not be resumed: what came
  // since the last Update with a cursor comes again, starting here.
  rewound: boolean;
}

export interface FollowOptions {
  // signal ends the stream; the iteration then ends without an error.
  signal?: AbortSignal;
  // minBackoff and maxBackoff bound the pause before the next attempt.
  minBackoff?: number;
  maxBackoff?: number;
  // onConnect is called at the start of each stream, with its response headers.
  onConnect?: (headers: Headers) => void;
  // onInterrupt is called for each stream that broke, with the pause that follows.
  // One that the server ended only for its age is resumed at once, and does not
  // count.
  onInterrupt?: (err: ConnectError, failures: number, delay: number) => void;
  // sleep waits for a time, or until signal aborts.
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

// follow yields what the query asks for, and resumes the stream after the last
// cursor whenever it breaks. Through a balancer another server may resume it.
//
// Everything that is yielded is covered by the cursor of the next Update that
// has one: between two cursors nothing is lost, repeated or reordered. It ends
// after the Update with the end event. It throws an OutOfRangeError if what follows
// its cursor is not retained any more, a SuspectError if this very call seems to
// kill servers, and a ConnectError that another attempt would not cure. A following
// query that was served before does not give up on a suspicion, but pauses for up
// to a minute.
export async function* follow(transport: Transport, query: Query, options: FollowOptions = {}): AsyncGenerator<Update> {
  const client = createClient(MetricsService, transport);
  const { signal, minBackoff = 100, maxBackoff = 10_000, sleep = pause } = options;
  let cursor = query.cursor ?? "";
  let uncovered = false; // samples were yielded since cursor
  let rewound = false; // the next update is the first that comes again
  let failures = 0; // in a row
  let entered = false; // any stream had a message
  const suspicion = new Suspicion(client);
  while (!signal?.aborted) {
    let err: ConnectError;
    let called = false; // and no message came
    let served = false; // this stream had a message
    try {
      await suspicion.before(signal);
      called = true;
      for await (const response of messages(client, request(query, cursor), query, options)) {
        failures = 0;
        entered = true;
        served = true;
        called = false;
        suspicion.clear();
        const update = { response, rewound };
        rewound = false;
        if (response.cursor !== "") {
          cursor = response.cursor;
          uncovered = false;
        } else if (response.timeseries.length > 0) {
          uncovered = true;
        }
        yield update;
        if (response.event.case === "end") return;
      }
      err = new ConnectError("stream closed before its end", Code.Unavailable);
    } catch (reason) {
      err = ConnectError.from(reason);
    }
    if (signal?.aborted) return;
    const old = outOfRange(err);
    if (old) throw old;
    if (!resumable(err)) throw err;
    const suspect = called ? await suspicion.after(err, signal) : undefined;
    if (suspect && !(entered && query.follow)) throw suspect;
    if (signal?.aborted) return;
    const given = farewell(err);
    if (given !== "") {
      cursor = given;
      uncovered = false;
    }
    rewound ||= uncovered;
    uncovered = false;
    if (served && isAged(err)) continue;
    failures++;
    let delay = Math.min(maxBackoff, minBackoff * 2 ** (failures - 1));
    delay = delay / 2 + (Math.random() * delay) / 2;
    const asked = Math.min(retryDelay(err) ?? 0, maxRetryDelay);
    delay = Math.max(delay, asked * (1 + Math.random() / 2), suspicion.pause(minBackoff, maxBackoff));
    options.onInterrupt?.(err, failures, delay);
    await sleep(delay, signal);
  }
}

// messages yields those of one stream. It throws if they fail to come.
async function* messages(
  client: Client<typeof MetricsService>,
  req: GetMetricsRequest,
  query: Query,
  options: FollowOptions,
): AsyncGenerator<GetMetricsResponse> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  options.signal?.addEventListener("abort", stop);
  const patience = missedHeartbeats * (query.heartbeatInterval ?? defaultHeartbeat);
  const labels = new Labels(); // references are valid for one stream
  let alarm: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    if (query.follow) alarm = setTimeout(stop, patience);
  };
  try {
    watch();
    for await (const response of client.getMetrics(req, { signal: abort.signal, onHeader: options.onConnect })) {
      clearTimeout(alarm); // the consumer may be slow
      labels.restore(response);
      yield response;
      watch();
    }
  } catch (err) {
    if (abort.signal.aborted && !options.signal?.aborted) {
      throw new ConnectError(`no heartbeat for ${patience / 1000} s`, Code.Unavailable);
    }
    throw err;
  } finally {
    clearTimeout(alarm);
    options.signal?.removeEventListener("abort", stop);
    stop(); // otherwise a consumer that leaves would keep the connection
  }
}

function request(query: Query, cursor: string): GetMetricsRequest {
  const { selectors, follow, since } = query;
  // A snapshot has each series only once.
  const labelReferences = follow === true || cursor !== "" || since !== undefined;
  const req = create(GetMetricsRequestSchema, { selectors, follow, labelReferences });
  if (cursor !== "") {
    req.start = { case: "cursor", value: cursor };
  } else if (since !== undefined) {
    req.start = { case: "since", value: timestampFromMs(since) };
  }
  if (query.minInterval) req.minInterval = durationFromMs(query.minInterval);
  if (query.heartbeatInterval) req.heartbeatInterval = durationFromMs(query.heartbeatInterval);
  return req;
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
