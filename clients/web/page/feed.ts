import { ConnectError, type Code, type Transport } from "@connectrpc/connect";
import { follow, invalidPlace, OutOfRangeError, type Place, type Update } from "../src/index";
import type { Store } from "./store";

export type Phase = "idle" | "connecting" | "replaying" | "live" | "interrupted" | "refused";

// Feed fills the store from one stream: over HTTP/1.1 a browser opens at most six
// connections to a server, and other tabs need some.
export class Feed {
  phase: Phase = "idle";
  // detail says why the stream is interrupted or was refused.
  detail = "";
  // refusal is why it was refused.
  refusal?: Code;
  // place in a selector for which it was refused.
  place?: Place;
  reconnects = 0;
  // instance that serves the stream, "" if not known.
  instance = "";
  cursor = "";
  // marks are the times at which the stream was resumed.
  marks: number[] = [];
  // notes are gaps, and whatever else the user has to know.
  notes: string[] = [];
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
    this.cursor = "";
    this.become("idle");
  }

  // start starts over, with the samples of the store's window.
  start(selectors: string[]): void {
    this.stop();
    const abort = (this.abort = new AbortController());
    void this.run(selectors, abort.signal);
  }

  private async run(selectors: string[], signal: AbortSignal): Promise<void> {
    this.become("connecting");
    while (!signal.aborted) {
      try {
        const query = { selectors, since: Date.now() - this.store.window, follow: true, heartbeatInterval: 5000 };
        const updates = follow(this.transport, query, {
          signal,
          maxBackoff: 5000,
          sleep,
          onConnect: (headers) => (this.instance = headers.get("promgrpc-instance") ?? ""),
          onInterrupt: (err) => {
            this.interrupted = true;
            this.become("interrupted", err.rawMessage);
          },
        });
        for await (const update of updates) this.add(update);
        return;
      } catch (err) {
        if (signal.aborted) return;
        if (!(err instanceof OutOfRangeError)) {
          const refusal = ConnectError.from(err);
          this.place = invalidPlace(refusal, selectors);
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

  private add({ response }: Update): void {
    if (this.interrupted) {
      this.interrupted = false;
      this.reconnects++;
      this.marks.push(Date.now());
      this.become("replaying");
    } else if (this.phase === "connecting") {
      this.become("replaying");
    }
    for (const series of response.timeseries) this.store.add(series);
    if (response.cursor !== "") this.cursor = response.cursor;
    if (response.event.case === "synced") this.become("live");
    if (response.event.case === "gap") {
      const { afterSequence, nextSequence, reason } = response.event.value;
      this.note(`Blocks ${afterSequence + 1n} to ${nextSequence - 1n} are missing: ${reason}.`);
    }
    this.changed();
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
