import type { Series, Store } from "./store";

// Selection is which series are charted, each with a colour that it keeps.
export class Selection {
  readonly slots = new Map<Series, number>();
  // own: the user chose, so nothing is suggested any more.
  own = false;
  // most that are charted.
  most = 0;

  clear(most: number): void {
    this.slots.clear();
    this.own = false;
    this.most = most;
  }

  add(s: Series): boolean {
    if (this.slots.has(s)) return true;
    const taken = new Set(this.slots.values());
    const free = [...Array(this.most).keys()].find((slot) => !taken.has(slot));
    if (free === undefined) return false;
    this.slots.set(s, free);
    return true;
  }

  delete(s: Series): void {
    this.slots.delete(s);
  }

  // follow drops series that the store forgot, or replaced when they came back.
  follow(store: Store): void {
    for (const s of this.slots.keys()) if (store.series.get(s.key) !== s) this.slots.delete(s);
  }

  // chartAll charts what there is, as far as it goes.
  chartAll(store: Store): void {
    if (this.own) return;
    for (const s of store.series.values()) if (!this.add(s)) return;
  }

  // suggest charts the first metric whose values change often, or a histogram if
  // there is nothing else.
  suggest(store: Store): void {
    if (this.own || this.slots.size > 0) return;
    const metrics = new Map<string, Series[]>();
    for (const s of [...store.series.values()].sort((a, b) => (a.text < b.text ? -1 : 1))) {
      if (!s.stale) metrics.set(s.name, [...(metrics.get(s.name) ?? []), s]);
    }
    const all = [...metrics.values()];
    const best = all.find((m) => m.every(moves)) ?? all.find((m) => m.some(moves)) ?? all.find((m) => m.some((s) => s.values.length > 0)) ?? all[0];
    for (const s of (best ?? []).slice(0, this.most)) this.add(s);
  }
}

// moves says whether most samples differ from the others.
function moves(s: Series): boolean {
  return s.values.length > 0 && new Set(s.values).size > 0.6 * s.values.length;
}
