import { Code, ConnectError, createClient, type CallOptions, type Transport } from "@connectrpc/connect";
import { MetricsService } from "../gen/promgrpc/metrics/v1/metrics_service_pb";
import { farewell, isAged, outOfRange, resumable, retryDelay } from "./errors";
import { Labels, type Referring } from "./labels";
import { Suspicion } from "./suspicion";

// A following stream that was silent for this many heartbeat intervals is
// considered dead.
const missedHeartbeats = 3;
const defaultHeartbeat = 10_000;

// The longest pause that a server may ask for.
const maxRetryDelay = 60_000;

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

// Message is a part of the stream of any call.
export interface Message extends Referring {
  cursor: string;
  event: { case?: string };
}

// Call is what the streams of one call have in common.
export interface Call<M extends Message> {
  // open makes the call, from a cursor on, or from the start if that is "".
  open(cursor: string, options: CallOptions): AsyncIterable<M>;
  follow: boolean;
  // heartbeatInterval that was asked for, in milliseconds.
  heartbeatInterval?: number;
}

// Progress is how far a call has come, over all its streams.
export interface Progress<M extends Message, Part> {
  // cursor at which the next stream goes on, "" for the start.
  cursor: string;
  // take returns what is complete with the next message of a stream, if anything.
  take(message: M): Part | undefined;
  // broke comes after each stream that broke. A server that ended it may have said
  // where to go on.
  broke(farewell: string): void;
}

// resume makes a streaming call, and makes it again where its progress is whenever a
// stream breaks. It ends after the end event. It throws an OutOfRangeError, a
// SuspectError, or a ConnectError that another attempt would not cure.
export async function* resume<M extends Message, Part>(
  transport: Transport,
  call: Call<M>,
  progress: Progress<M, Part>,
  options: FollowOptions,
): AsyncGenerator<Part> {
  const { signal, minBackoff = 100, maxBackoff = 10_000, sleep = pause } = options;
  let failures = 0; // in a row
  let entered = false; // any stream had a message
  const suspicion = new Suspicion(createClient(MetricsService, transport));
  while (!signal?.aborted) {
    let err: ConnectError;
    let called = false; // and no message came
    let served = false; // this stream had a message
    try {
      await suspicion.before(signal);
      called = true;
      for await (const message of messages(call, progress.cursor, options)) {
        failures = 0;
        entered = true;
        served = true;
        called = false;
        suspicion.clear();
        const part = progress.take(message);
        if (part !== undefined) yield part;
        if (message.event.case === "end") return;
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
    if (suspect && !(entered && call.follow)) throw suspect;
    if (signal?.aborted) return;
    progress.broke(farewell(err));
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
async function* messages<M extends Message>(call: Call<M>, cursor: string, options: FollowOptions): AsyncGenerator<M> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  options.signal?.addEventListener("abort", stop);
  const patience = missedHeartbeats * (call.heartbeatInterval ?? defaultHeartbeat);
  const labels = new Labels(); // references are valid for one stream
  let alarm: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    if (call.follow) alarm = setTimeout(stop, patience);
  };
  try {
    watch();
    for await (const message of call.open(cursor, { signal: abort.signal, onHeader: options.onConnect })) {
      clearTimeout(alarm); // the consumer may be slow
      labels.restore(message);
      yield message;
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
