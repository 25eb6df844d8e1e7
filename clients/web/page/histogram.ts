import { Histogram_ResetHint, type Histogram } from "../gen/promgrpc/metrics/v1/metrics_pb";
import { isStale } from "../src/stale";

const customBuckets = -53;

// Native is a native histogram with its buckets by index.
export interface Native {
  timestamp: number;
  schema: number;
  count: number;
  sum: number;
  zeroThreshold: number;
  zeroCount: number;
  positive: Map<number, number>;
  negative: Map<number, number>;
  // bounds of custom buckets.
  bounds: number[];
  hint: Histogram_ResetHint;
}

// Bucket counts the observations above low, up to and including high.
export interface Bucket {
  low: number;
  high: number;
  count: number;
}

// native unpacks a histogram. It returns undefined for a stale marker.
export function native(h: Histogram): Native | undefined {
  if (isStale(h.sum)) return undefined;
  return {
    timestamp: Number(h.timestamp),
    schema: h.schema,
    count: Number(h.count.value ?? 0),
    sum: h.sum,
    zeroThreshold: h.zeroThreshold,
    zeroCount: Number(h.zeroCount.value ?? 0),
    positive: unpack(h.positiveSpans, h.positiveDeltas, h.positiveCounts),
    negative: unpack(h.negativeSpans, h.negativeDeltas, h.negativeCounts),
    bounds: h.customValues,
    hint: h.resetHint,
  };
}

function unpack(spans: { offset: number; length: number }[], deltas: bigint[], counts: number[]): Map<number, number> {
  const buckets = new Map<number, number>();
  let index = 0;
  let at = 0;
  let count = 0;
  for (const span of spans) {
    index += span.offset;
    for (let i = 0; i < span.length; i++, at++, index++) {
      count = counts.length > 0 ? (counts[at] ?? 0) : count + Number(deltas[at] ?? 0n);
      if (count !== 0) buckets.set(index, count);
    }
  }
  return buckets;
}

// increase returns what was observed between two histograms of a series, or
// what a gauge histogram holds now. The first of a counter shows nothing, since
// its observations are of any age.
export function increase(before: Native | undefined, now: Native): Bucket[] {
  if (now.hint === Histogram_ResetHint.GAUGE) return buckets(now);
  if (!before) return [];
  const other = now.schema !== before.schema && (now.schema === customBuckets || before.schema === customBuckets);
  const moved = now.schema === customBuckets && now.bounds.join() !== before.bounds.join();
  if (now.hint === Histogram_ResetHint.YES || now.count < before.count || other || moved) return buckets(now);
  const schema = Math.min(now.schema, before.schema);
  return buckets({
    ...now,
    schema,
    zeroCount: now.zeroCount - before.zeroCount,
    positive: difference(coarser(now.positive, now.schema - schema), coarser(before.positive, before.schema - schema)),
    negative: difference(coarser(now.negative, now.schema - schema), coarser(before.negative, before.schema - schema)),
  });
}

function difference(now: Map<number, number>, before: Map<number, number>): Map<number, number> {
  const rest = new Map(now);
  for (const [index, count] of before) rest.set(index, (rest.get(index) ?? 0) - count);
  return rest;
}

// coarser merges buckets: each step down in schema joins two into one.
function coarser(buckets: Map<number, number>, steps: number): Map<number, number> {
  if (steps === 0) return buckets;
  const merged = new Map<number, number>();
  for (const [index, count] of buckets) {
    const to = ((index - 1) >> steps) + 1;
    merged.set(to, (merged.get(to) ?? 0) + count);
  }
  return merged;
}

// buckets returns those that are not empty, from the lowest.
export function buckets(h: Native): Bucket[] {
  const list: Bucket[] = [];
  for (const [index, count] of h.negative) {
    if (count > 0) list.push({ low: -upper(h, index), high: -upper(h, index - 1), count });
  }
  if (h.zeroCount > 0) {
    list.push({ low: h.negative.size > 0 ? -h.zeroThreshold : 0, high: h.zeroThreshold, count: h.zeroCount });
  }
  for (const [index, count] of h.positive) {
    if (count > 0) list.push({ low: upper(h, index - 1), high: upper(h, index), count });
  }
  return list.sort((a, b) => a.low - b.low);
}

// upper bound of a bucket.
function upper(h: Native, index: number): number {
  if (h.schema !== customBuckets) return 2 ** (index * 2 ** -h.schema);
  if (index < 0) return -Infinity;
  return h.bounds[index] ?? Infinity;
}

// quantile of what the buckets hold, where a bucket's observations are taken
// to lie evenly within it. NaN: they hold nothing.
export function quantile(list: Bucket[], q: number): number {
  const total = list.reduce((sum, b) => sum + b.count, 0);
  let rank = q * total;
  for (const b of list) {
    if (rank <= b.count && b.count > 0) {
      if (!Number.isFinite(b.high)) return b.low;
      if (!Number.isFinite(b.low)) return b.high;
      // Between bounds of equal sign the buckets are exponential.
      const part = rank / b.count;
      return b.low > 0 ? b.low * (b.high / b.low) ** part : b.low + (b.high - b.low) * part;
    }
    rank -= b.count;
  }
  return NaN;
}
