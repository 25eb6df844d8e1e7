import { Code, ConnectError, createClient, type Client, type Transport } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  GetMetricsRequestSchema,
  MetricsService,
  type GetMetricsRequest,
  type GetMetricsResponse,
} from "../gen/promgrpc/metrics/v1/metrics_service_pb";
import { handedOver, isAged, outOfRange, resumable, retryDelay } from "./errors";
import { Labels } from "./labels";
import { Suspicion } from "./suspicion";

// A following stream that was silent for this many heartbeat intervals is
// taken for dead.
const missedHeartbeats = 3;
const defaultHeartbeat = 10_000;

// No server is left alone for longer than this because it asks for that.
const maxRetryDelay = 60_000;

// Query says which series to get, from where, and how long. Times and
// durations are in milliseconds.
export interface Query {
  // selectors are PromQL series selectors, any of which may match. None: all.
  selectors?: string[];
  // since replays the retained samples from this instant on.
  since?: number;
  // cursor goes on right after the Update that had it; since is ignored then.
  cursor?: string;
  // follow goes on with new samples after the present was reached.
  follow?: boolean;
  minInterval?: number;
  // heartbeatInterval is how long a following stream may be quiet, 10 seconds
  // by default. A server that is silent for three times as long is left.
  heartbeatInterval?: number;
}

// Update is a part of the stream.
export interface Update {
  response: GetMetricsResponse;
  // rewound says that the stream broke where it could not be taken up: what
  // came since the last Update with a cursor comes again, beginning here.
  rewound: boolean;
}

export interface FollowOptions {
  // signal ends the stream; the iteration then ends without an error.
  signal?: AbortSignal;
  // minBackoff and maxBackoff bound the pause before the next attempt.
  minBackoff?: number;
  maxBackoff?: number;
  // onConnect is told of each stream that begins, with its response headers.
  onConnect?: (headers: Headers) => void;
  // onInterrupt is told of each stream that broke, and of the pause. One that the
  // server ended for its age alone goes on at once, and does not count.
  onInterrupt?: (err: ConnectError, failures: number, delay: number) => void;
  // sleep waits for a time, or until the signal says so.
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

// follow yields what the query asks for, and opens the stream again, after the
// last cursor, whenever it breaks. Behind a balancer another server goes on
// with it.
//
// Everything that is yielded is covered by the cursor of the next Update that
// has one: between two cursors nothing is lost, repeated or reordered. It ends
// after the Update that says so. It throws an OutOfRangeError when what comes
// after its cursor is not retained any more, a SuspectError when servers seem to
// die of this very call, and a ConnectError that another attempt would not cure.
// A query that follows and was served before does not give up for a suspicion, but
// makes pauses of up to a minute.
export async function* follow(transport: Transport, query: Query, options: FollowOptions = {}): AsyncGenerator<Update> {
  const client = createClient(MetricsService, transport);
  const { signal, minBackoff = 100, maxBackoff = 10_000, sleep = pause } = options;
  let cursor = query.cursor ?? "";
  let uncovered = false; // something was yielded since cursor
  let rewound = false; // the next update is the first to come again
  let failures = 0; // in a row
  let entered = false; // a message ever came
  const suspicion = new Suspicion(client);
  while (!signal?.aborted) {
    let err: ConnectError;
    let called = false; // and no message came
    let served = false; // a message came of this stream
    try {
      await suspicion.begin(signal);
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
    const suspect = called ? await suspicion.broke(err, signal) : undefined;
    if (suspect && !(entered && query.follow)) throw suspect;
    if (signal?.aborted) return;
    const handed = handedOver(err);
    if (handed !== "") {
      cursor = handed;
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

// messages of one stream. It throws when they fail to come.
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
  const labels = new Labels(); // a server forgets with the stream what it gave
  let alarm: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    if (query.follow) alarm = setTimeout(stop, patience);
  };
  try {
    watch();
    for await (const response of client.getMetrics(req, { signal: abort.signal, onHeader: options.onConnect })) {
      clearTimeout(alarm); // the consumer may take its time
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
    stop(); // a consumer that leaves would else keep the connection
  }
}

function request(query: Query, cursor: string): GetMetricsRequest {
  const { selectors, follow, since } = query;
  // A mere snapshot has each series once.
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
