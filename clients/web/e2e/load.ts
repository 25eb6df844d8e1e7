import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { MetricMetadataSchema, MetricType, TimeSeriesSchema } from "../src/index";

type Sample = { name: string; labels: Record<string, string>; value: number };

// Between two samples, in milliseconds.
const step = 1000;

// Load writes some series by remote write, the past quarter of an hour first,
// and keeps what was taken.
export class Load {
  // written has value by time, by series without its name's labels.
  readonly written = new Map<string, Map<number, number>>();
  private timer?: ReturnType<typeof setTimeout>;
  private stopped = false;
  private readonly buckets = new Array<number>(80).fill(0);
  private observed = 0;
  private sum = 0;
  private random = 7;

  constructor(private readonly url: string) {}

  async start(): Promise<void> {
    const begin = Date.now() - 15 * 60_000;
    for (let t = begin; t < Date.now(); t += step) await this.write(t, t === begin);
    const next = async () => {
      if (this.stopped) return;
      try {
        await this.write(Date.now(), false);
      } finally {
        this.timer = setTimeout(() => void next(), step);
      }
    };
    await next();
  }

  // many writes one sample of each of so many series.
  async many(count: number): Promise<void> {
    const body = new BinaryWriter();
    for (let i = 0; i < count; i++) {
      body.tag(1, WireType.LengthDelimited).bytes(toBinary(TimeSeriesSchema, create(TimeSeriesSchema, {
        labels: labels("many", { i: String(i) }),
        samples: [{ value: i, timestamp: BigInt(Date.now()) }],
      })));
    }
    await this.post(body.finish());
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async write(t: number, first: boolean): Promise<void> {
    const samples = this.samples(t);
    const body = new BinaryWriter();
    for (const s of samples) {
      body.tag(1, WireType.LengthDelimited).bytes(toBinary(TimeSeriesSchema, create(TimeSeriesSchema, {
        labels: labels(s.name, s.labels),
        samples: [{ value: s.value, timestamp: BigInt(t) }],
      })));
    }
    body.tag(1, WireType.LengthDelimited).bytes(toBinary(TimeSeriesSchema, create(TimeSeriesSchema, this.histogram(t))));
    if (first) {
      for (const m of metadata) body.tag(3, WireType.LengthDelimited).bytes(toBinary(MetricMetadataSchema, create(MetricMetadataSchema, m)));
    }
    await this.post(body.finish());
    for (const s of samples) {
      const key = `${s.name} ${Object.values(s.labels).join(" ")}`;
      if (!this.written.has(key)) this.written.set(key, new Map());
      this.written.get(key)!.set(t, s.value);
    }
  }

  private async post(body: Uint8Array): Promise<void> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0" },
      body: snappy(body),
    });
    if (!response.ok) throw new Error(`write: ${response.status} ${await response.text()}`);
  }

  private samples(t: number): Sample[] {
    const s = t / 1000;
    const list: Sample[] = [];
    ["kitchen", "lab", "office", "workshop"].forEach((room, i) => {
      list.push({ name: "room_temperature_celsius", labels: { job: "house", room }, value: hundredths(19 + i * 1.4 + Math.sin(s / (70 + 31 * i)) * (1 + i / 3) + this.noise() * 0.15) });
    });
    ["web-1", "web-2", "web-3"].forEach((instance, i) => {
      for (const [code, share] of [["200", 40], ["404", 3], ["500", 0.6]] as const) {
        const load = share * s * (1 + i / 3) + share * 60 * Math.sin(s / 90 + i);
        list.push({ name: "http_requests_total", labels: { job: "shop", instance, code }, value: Math.round(load % 1e7) });
      }
      list.push({ name: "process_resident_memory_bytes", labels: { job: "shop", instance }, value: 2 ** 27 + 2 ** 24 * Math.sin(s / 200 + i) + i * 2 ** 25 });
      list.push({ name: "node_network_receive_bytes_total", labels: { job: "shop", instance }, value: Math.round((s % 1e6) * 1024 * 1024 * 0.18 * (i + 1)) });
      list.push({ name: "up", labels: { job: "shop", instance }, value: 1 });
    });
    const calls = Math.round(s % 1e6) * 3;
    for (const [le, share] of [["0.1", 0.5], ["0.5", 0.9], ["+Inf", 1]] as const) {
      list.push({ name: "rpc_duration_seconds_bucket", labels: { job: "shop", le }, value: Math.round(calls * share) });
    }
    list.push({ name: "rpc_duration_seconds_count", labels: { job: "shop" }, value: calls });
    list.push({ name: "rpc_duration_seconds_sum", labels: { job: "shop" }, value: calls * 0.2 });
    list.push({ name: "odd_labels", labels: { job: "shop", text: "one\ntwo \u202egnp.exe\u001b[31m" }, value: 1 });
    return list;
  }

  // histogram of durations around 60 ms with a second hump while the load is high.
  private histogram(t: number): MessageInitShape<typeof TimeSeriesSchema> {
    const schema = 2;
    const busy = Math.max(0, Math.sin(t / 120_000));
    for (let i = 0; i < 60; i++) {
      const slow = Math.random() < 0.25 * busy;
      const seconds = Math.exp(Math.log(slow ? 0.9 : 0.06 * (1 + busy)) + 0.35 * (this.noise() + this.noise() + this.noise()));
      const index = Math.ceil(Math.log2(seconds) * 2 ** schema);
      this.buckets[Math.max(0, Math.min(79, index + 40))]!++;
      this.observed++;
      this.sum += seconds;
    }
    const deltas = this.buckets.map((count, i) => BigInt(count - (this.buckets[i - 1] ?? 0)));
    return {
      labels: labels("http_request_duration_seconds", { job: "shop" }),
      histograms: [{
        timestamp: BigInt(t), schema, sum: this.sum, zeroThreshold: 2 ** -128,
        count: { case: "countInt", value: BigInt(this.observed) }, zeroCount: { case: "zeroCountInt", value: 0n },
        positiveSpans: [{ offset: -40, length: 80 }], positiveDeltas: deltas,
      }],
    };
  }

  // noise between -1 and 1, the same in each run.
  private noise(): number {
    this.random = (this.random * 16807) % 2147483647;
    return (this.random / 2147483647) * 2 - 1;
  }
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}

const metadata = [
  { metricFamilyName: "room_temperature_celsius", type: MetricType.GAUGE, help: "Temperature of a room." },
  { metricFamilyName: "http_requests_total", type: MetricType.COUNTER, help: "Requests that were answered." },
  { metricFamilyName: "process_resident_memory_bytes", type: MetricType.GAUGE, help: "Memory in use." },
  { metricFamilyName: "http_request_duration_seconds", type: MetricType.HISTOGRAM, help: "Time that requests took." },
  { metricFamilyName: "rpc_duration_seconds", type: MetricType.HISTOGRAM, help: "Time that calls took." },
  { metricFamilyName: "node_network_receive_bytes_total", type: MetricType.COUNTER, help: "Bytes that came in." },
  { metricFamilyName: "up", type: MetricType.GAUGE, help: "Whether the target answers." },
];

function labels(name: string, rest: Record<string, string>) {
  const all = Object.entries({ __name__: name, ...rest }).map(([name, value]) => ({ name, value }));
  return all.sort((a, b) => (a.name < b.name ? -1 : 1));
}

// snappy writes a block of literals only: valid, though not small.
export function snappy(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const parts: number[] = [];
  for (let n = data.length; ; n = Math.floor(n / 128)) {
    parts.push(n < 128 ? n : (n % 128) + 128);
    if (n < 128) break;
  }
  for (let at = 0; at < data.length; at += 65536) {
    const part = data.subarray(at, at + 65536);
    parts.push(61 << 2, (part.length - 1) & 255, (part.length - 1) >> 8, ...part);
  }
  return Uint8Array.from(parts);
}
