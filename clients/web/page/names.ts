import type { Client } from "@connectrpc/connect";
import type { MetricsService } from "../src/index";

const fresh = 10_000;

// Names asks the server for names and values of labels, and keeps each answer for a
// few seconds. A scope is a selector of the series that are asked about, "" for all.
export class Names {
  private readonly answers = new Map<string, { time: number; list: Promise<string[]> }>();

  constructor(private readonly client: Client<typeof MetricsService>) {}

  // forget drops what was answered to who had another token.
  forget(): void {
    this.answers.clear();
  }

  metrics(): Promise<string[]> {
    return this.values("__name__", "");
  }

  labels(scope: string): Promise<string[]> {
    return this.ask(`\0${scope}`, () => this.client.getLabelNames({ selectors: selectors(scope) }).then((r) => r.names));
  }

  values(name: string, scope: string): Promise<string[]> {
    return this.ask(`${name}\0${scope}`, () => this.client.getLabelValues({ name, selectors: selectors(scope) }).then((r) => r.values));
  }

  private ask(key: string, call: () => Promise<string[]>): Promise<string[]> {
    const now = Date.now();
    const known = this.answers.get(key);
    if (known && now - known.time < fresh) return known.list;
    for (const [old, { time }] of this.answers) if (now - time >= fresh) this.answers.delete(old);
    const list = call();
    this.answers.set(key, { time: now, list });
    list.catch(() => this.answers.delete(key));
    return list;
  }
}

function selectors(scope: string): string[] {
  return scope === "" ? [] : [scope];
}
