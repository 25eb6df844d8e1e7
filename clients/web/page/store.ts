import type { Label, TimeSeries } from "../gen/promgrpc/metrics/v1/metrics_pb";
import { isStale } from "../src/stale";
import { native, type Native } from "./histogram";
import { seriesText } from "./selector";

// Series is what the page knows about one series, times in milliseconds.
export interface Series {
  key: string;
  name: string;
  labels: Label[];
  // text is the series as PromQL.
  text: string;
  // times ascend; values has a NaN where the series was stale.
  times: number[];
  values: number[];
  histograms: Native[];
  // stale: the series has ended, until a sample comes.
  stale: boolean;
}

// latest is the time of the newest sample.
export function latest(s: Series): number {
  return Math.max(s.times.at(-1) ?? 0, s.histograms.at(-1)?.timestamp ?? 0);
}

// Store holds the samples of the window. A sample that comes twice, as after a
// rewind, is stored once.
export class Store {
  readonly series = new Map<string, Series>();
  private readonly byLabels = new WeakMap<Label[], Series>();
  samples = 0;
  newest = 0;
  // version changes with the set of series.
  version = 0;
  // truncated: there are more series than the limit.
  truncated = false;
  // held is the time between two samples where what is not sent has not changed since
  // the one before. 0: what is not sent is not there.
  held = 0;

  constructor(
    public window: number,
    readonly limit: number,
  ) {}

  clear(): void {
    this.version++;
    this.series.clear();
    this.samples = 0;
    this.newest = 0;
    this.truncated = false;
  }

  add(ts: TimeSeries): void {
    const s = this.find(ts.labels);
    if (!s) return;
    for (const sample of ts.samples) {
      const time = Number(sample.timestamp);
      this.repeat(s, time - 1);
      insert(s, time, sample.value);
      this.came(s, time, isStale(sample.value));
    }
    for (const h of ts.histograms) {
      const unpacked = native(h);
      this.repeat(s, Number(h.timestamp) - 1);
      if (unpacked) insertHistogram(s, unpacked);
      this.came(s, Number(h.timestamp), !unpacked);
    }
  }

  // hold says that everything up to a time was sent that has changed.
  hold(until: number): void {
    if (this.held > 0) for (const s of this.series.values()) this.repeat(s, until);
  }

  // repeat the latest value of a series as often as it was not sent within the window.
  private repeat(s: Series, until: number): void {
    const last = latest(s);
    if (this.held === 0 || s.stale || last === 0) return;
    const histogram = s.histograms.at(-1);
    const value = s.values.at(-1) ?? NaN;
    const before = Math.max(0, Math.floor((until - this.window - last) / this.held));
    for (let t = last + this.held * (before + 1); t <= until; t += this.held) {
      if (histogram?.timestamp === last) s.histograms.push({ ...histogram, timestamp: t });
      else insert(s, t, value);
      this.came(s, t, false);
    }
  }

  // find the series of labels, by the array if it was seen already.
  private find(labels: Label[]): Series | undefined {
    const known = this.byLabels.get(labels);
    if (known && this.series.get(known.key) === known) return known;
    const key = labels.map((l) => `${l.name}\0${l.value}`).join("\0");
    let s = this.series.get(key);
    if (!s) {
      if (this.series.size >= this.limit) {
        this.truncated = true;
        return undefined;
      }
      const name = labels.find((l) => l.name === "__name__")?.value ?? "";
      s = { key, name, labels, text: seriesText(labels), times: [], values: [], histograms: [], stale: false };
      this.series.set(key, s);
      this.version++;
    }
    this.byLabels.set(labels, s);
    return s;
  }

  private came(s: Series, time: number, stale: boolean): void {
    this.samples++;
    this.newest = Math.max(this.newest, time);
    if (time >= latest(s)) s.stale = stale;
  }

  // prune forgets the samples before the window, except the last of them, where the
  // line starts, and the series that have none left.
  prune(now: number): void {
    const from = now - this.window;
    for (const s of this.series.values()) {
      const old = s.times.findIndex((t) => t >= from);
      const drop = (old < 0 ? s.times.length : old) - 1;
      // Not each time, since everything after has to move.
      if (drop > 16) {
        s.times.splice(0, drop);
        s.values.splice(0, drop);
      }
      while (s.histograms.length > 1 && s.histograms[1]!.timestamp < from) s.histograms.shift();
      if (latest(s) < from) {
        this.series.delete(s.key);
        this.version++;
      }
    }
  }
}

function insert(s: Series, time: number, value: number): void {
  let i = s.times.length;
  while (i > 0 && s.times[i - 1]! > time) i--;
  if (i > 0 && s.times[i - 1] === time) {
    s.values[i - 1] = value;
  } else if (i === s.times.length) {
    s.times.push(time);
    s.values.push(value);
  } else {
    s.times.splice(i, 0, time);
    s.values.splice(i, 0, value);
  }
}

function insertHistogram(s: Series, h: Native): void {
  let i = s.histograms.length;
  while (i > 0 && s.histograms[i - 1]!.timestamp > h.timestamp) i--;
  if (i > 0 && s.histograms[i - 1]!.timestamp === h.timestamp) s.histograms[i - 1] = h;
  else s.histograms.splice(i, 0, h);
}
