import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { ConnectError, type Code, type Transport } from "@connectrpc/connect";
import { OutOfRangeError, type Annotation, type FollowOptions, type GetMetricsResponse, type Place, type QueryResponse, type TimeSeries } from "../src/index";
import type { Store } from "./store";

export type Phase = "idle" | "connecting" | "replaying" | "live" | "complete" | "interrupted" | "refused";

// Distinct annotations beyond this are not kept.
const mostAnnotations = 20;

// Part of a stream: of what was sampled, or of what was evaluated.
export interface Part {
  timeseries: TimeSeries[];
  cursor: string;
  event: GetMetricsResponse["event"] | QueryResponse["event"];
  evaluated?: Timestamp;
  annotations?: Annotation[];
  lateSamples?: bigint;
}

// Source is what the feed reads from.
export interface Source {
  // read yields what there is from a time on, and goes on after what it has yielded
  // when the stream breaks.
  read(transport: Transport, since: number, options: FollowOptions): AsyncIterable<Part>;
  // place is where an error says that the source is wrong.
  place(err: ConnectError): Place | undefined;
}

// Feed fills the store from one stream: over HTTP/1.1 a browser opens at most six
// connections to a server, and other tabs need some.
export class Feed {
  phase: Phase = "idle";
  // detail says why the stream is interrupted or was refused.
  detail = "";
  // refusal is why it was refused.
  refusal?: Code;
  // place in the source for which it was refused.
  place?: Place;
  reconnects = 0;
  // instance that serves the stream, "" if not known.
  instance = "";
  cursor = "";
  // marks are the times at which the stream was resumed.
  marks: number[] = [];
  // notes are gaps, and whatever else the user has to know.
  notes: string[] = [];
  // annotations of the engine, each once.
  annotations: Annotation[] = [];
  // evaluated is the time of the last step, 0 before there is one.
  evaluated = 0;
  // late counts the samples that came too late for their steps.
  late = 0n;
  // begun is when the source was read for the first time.
  begun = 0;
  private abort?: AbortController;
  private interrupted = false;

  constructor(
    private readonly transport: Transport,
    private readonly store: Store,
    private readonly changed: () => void,
  ) {}

  stop(): void {
    this.abort?.abort();
    this.store.clear();
    this.place = undefined;
    this.refusal = undefined;
    this.marks = [];
    this.notes = [];
    this.annotations = [];
    this.evaluated = 0;
    this.late = 0n;
    this.cursor = "";
    this.become("idle");
  }

  // start starts over, with what there is in the store's window.
  start(source: Source): void {
    this.stop();
    this.begun = Date.now();
    const abort = (this.abort = new AbortController());
    void this.run(source, abort.signal);
  }

  private async run(source: Source, signal: AbortSignal): Promise<void> {
    this.become("connecting");
    while (!signal.aborted) {
      try {
        const parts = source.read(this.transport, Date.now() - this.store.window, {
          signal,
          maxBackoff: 5000,
          sleep,
          onConnect: (headers) => (this.instance = headers.get("promgrpc-instance") ?? ""),
          onInterrupt: (err) => {
            this.interrupted = true;
            this.become("interrupted", err.rawMessage);
          },
        });
        for await (const part of parts) this.add(part);
        if (!signal.aborted) this.become("complete");
        return;
      } catch (err) {
        if (signal.aborted) return;
        if (!(err instanceof OutOfRangeError)) {
          const refusal = ConnectError.from(err);
          this.place = source.place(refusal);
          this.refusal = refusal.code;
          this.become("refused", refusal.rawMessage);
          return;
        }
        // The page was away for longer than samples are retained.
        this.note("The page was disconnected for longer than samples are retained, and has reloaded what there is.");
        this.interrupted = true;
      }
    }
  }

  private add(part: Part): void {
    if (this.interrupted) {
      this.interrupted = false;
      this.reconnects++;
      this.marks.push(Date.now());
      this.become("replaying");
    } else if (this.phase === "connecting") {
      this.become("replaying");
    }
    for (const series of part.timeseries) this.store.add(series);
    if (part.evaluated) {
      this.evaluated = timestampMs(part.evaluated);
      this.store.hold(this.evaluated);
    }
    this.late += part.lateSamples ?? 0n;
    for (const annotation of part.annotations ?? []) this.annotate(annotation);
    if (part.cursor !== "") this.cursor = part.cursor;
    if (part.event.case === "synced") this.become("live");
    if (part.event.case === "away") {
      const { groups } = part.event.value;
      this.note(groups.length > 0 ? `No server answers of: ${groups.join(", ")}.` : "All groups answer again.");
    }
    if (part.event.case === "gap") {
      const { afterSequence, nextSequence, reason } = part.event.value;
      this.note(`Blocks ${afterSequence + 1n} to ${nextSequence - 1n} are missing: ${reason}.`);
    }
    this.changed();
  }

  private annotate(annotation: Annotation): void {
    if (this.annotations.length >= mostAnnotations || this.annotations.some((a) => a.text === annotation.text)) return;
    this.annotations = [...this.annotations, annotation];
  }

  private note(text: string): void {
    this.notes = [...this.notes.slice(-4), text];
  }

  private become(phase: Phase, detail = ""): void {
    this.phase = phase;
    this.detail = detail;
    this.changed();
  }
}

// sleep ends early when the network or the user is back.
function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = new AbortController();
    const end = () => {
      clearTimeout(timer);
      done.abort();
      resolve();
    };
    const timer = setTimeout(end, ms);
    window.addEventListener("online", end, done);
    document.addEventListener("visibilitychange", end, done);
    signal?.addEventListener("abort", end, done);
  });
}
