import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Histogram_ResetHint, HistogramSchema, isStale, TimeSeriesSchema } from "../src/index";
import { buckets, increase, native, quantile, type Native } from "../page/histogram";
import { perSecond, points, wholeGaps } from "../page/points";
import { Store } from "../page/store";

function series(name: string, ...points: [number, number][]) {
  return create(TimeSeriesSchema, {
    labels: [{ name: "__name__", value: name }],
    samples: points.map(([time, value]) => ({ timestamp: BigInt(time), value })),
  });
}

// ended is a stale marker as it comes over the wire, since JavaScript does not keep a
// NaN's bits everywhere.
function ended(name: string, time: number): Uint8Array {
  const wire = toBinary(TimeSeriesSchema, series(name, [time, 1.5]));
  const view = new DataView(wire.buffer, wire.byteOffset);
  const at = [...wire.keys()].find((i) => i + 8 <= wire.length && view.getFloat64(i, true) === 1.5)!;
  view.setBigUint64(at, 0x7ff0000000000002n, true);
  return wire;
}

test("samples are in order of time, once each", () => {
  const store = new Store(1000, 10);
  store.add(series("a", [10, 1], [30, 3]));
  store.add(series("a", [20, 2], [30, 3], [5, 0]));
  const [a] = store.series.values();
  assert.deepEqual(a!.times, [5, 10, 20, 30]);
  assert.deepEqual(a!.values, [0, 1, 2, 3]);
  assert.equal(store.newest, 30);
});

test("series beyond the limit are counted out", () => {
  const store = new Store(1000, 1);
  store.add(series("a", [1, 1]));
  store.add(series("b", [1, 1]));
  assert.deepEqual([...store.series.keys()].length, 1);
  assert.equal(store.truncated, true);
});

test("what is before the window is forgotten", () => {
  const store = new Store(100, 10);
  for (let t = 0; t <= 1000; t += 10) store.add(series("a", [t, t]));
  store.add(series("gone", [800, 1]));
  store.prune(1000);
  const [a] = store.series.values();
  assert.equal(store.series.size, 1);
  assert.deepEqual([a!.times[0], a!.times.at(-1)], [890, 1000]);
});

test("a stale marker ends a series until it comes back", () => {
  assert.equal(isStale(NaN), false);
  const store = new Store(1000, 10);
  const wire = ended("a", 20);
  store.add(series("a", [10, 1]));
  for (let i = 0; i < 10_000; i++) {
    store.add(fromBinary(TimeSeriesSchema, wire));
    const [a] = store.series.values();
    assert.equal(a!.stale, true);
    store.add(series("a", [30, 1]));
    assert.equal(a!.stale, false);
    store.clear();
  }
});

test("what is not sent has not changed, where that is said", () => {
  const store = new Store(100_000, 10);
  store.held = 10;
  store.add(series("a", [10, 1], [40, 4]));
  store.add(series("b", [10, 5]));
  store.hold(60);
  store.add(fromBinary(TimeSeriesSchema, ended("b", 70)));
  store.hold(90);
  const [a, b] = store.series.values();
  assert.deepEqual(a!.times, [10, 20, 30, 40, 50, 60, 70, 80, 90]);
  assert.deepEqual(a!.values, [1, 1, 1, 4, 4, 4, 4, 4, 4]);
  assert.deepEqual(b!.times, [10, 20, 30, 40, 50, 60, 70]);
  assert.ok(b!.stale && Number.isNaN(b!.values.at(-1)!));
  // It comes back: nothing is made up in between.
  store.add(series("b", [120, 6]));
  assert.deepEqual(b!.times.slice(-2), [70, 120]);
});

test("no more is repeated than there is a window for", () => {
  const store = new Store(50, 10);
  store.held = 10;
  store.add(series("a", [10, 1]));
  store.hold(1_000_000_000_000);
  const [a] = store.series.values();
  assert.ok(a!.times.length <= 7, `${a!.times.length}`);
  assert.equal(a!.times.at(-1), 1_000_000_000_000);
});

test("histograms are repeated as floats are", () => {
  const store = new Store(1000, 10);
  store.held = 10;
  store.add(create(TimeSeriesSchema, { histograms: [{ timestamp: 10n, sum: 1, count: { case: "countInt", value: 3n } }] }));
  store.hold(30);
  const [h] = store.series.values();
  assert.deepEqual(h!.histograms.map((n) => [n.timestamp, n.count]), [[10, 3], [20, 3], [30, 3]]);
  assert.deepEqual(h!.times, []);
});

test("rate of a counter with a reset", () => {
  assert.deepEqual(perSecond([0, 1000, 3000, 4000], [10, 15, 25, 3]), [NaN, 5, 5, 3]);
});

test("a logarithmic scale has no place for what is not positive", () => {
  const [, values] = points({ times: [10, 20, 30, 40], values: [1, 0, -1, 10] }, "value", 0, true);
  assert.deepEqual(values, [1, null, null, 10]);
});

test("a gap lasts until the next value, whenever others have theirs", () => {
  assert.deepEqual(wholeGaps([undefined, 1, undefined, 2, null, undefined, undefined, 3, undefined]), [undefined, 1, undefined, 2, null, null, null, 3, undefined]);
});

test("a line is broken where samples are missing", () => {
  const s = { times: [0, 10, 20, 30, 90, 100, 110], values: [0, 1, 2, NaN, 4, 5, 6] };
  assert.deepEqual(points(s, "value", 15), [[10, 20, 30, 40, 90, 100, 110], [1, 2, null, null, 4, 5, 6]]);
});

function histogram(time: number, deltas: number[], more: Partial<Native> = {}): Native {
  const h = create(HistogramSchema, {
    timestamp: BigInt(time),
    count: { case: "countInt", value: 0n },
    zeroThreshold: 0.001,
    zeroCount: { case: "zeroCountInt", value: 1n },
    positiveSpans: [
      { offset: 0, length: 2 },
      { offset: 1, length: 1 },
    ],
    positiveDeltas: deltas.map(BigInt),
  });
  return { ...native(h)!, ...more };
}

test("buckets of spans and deltas", () => {
  assert.deepEqual(buckets(histogram(1, [1, 1, 1])), [
    { low: 0, high: 0.001, count: 1 },
    { low: 0.5, high: 1, count: 1 },
    { low: 1, high: 2, count: 2 },
    { low: 4, high: 8, count: 3 },
  ]);
});

test("increase between two histograms", () => {
  const before = histogram(1, [1, 1, 1], { count: 7 });
  const now = histogram(2, [1, 3, 1], { count: 10 });
  assert.deepEqual(increase(undefined, now), []);
  assert.deepEqual(increase(before, now), [
    { low: 1, high: 2, count: 2 },
    { low: 4, high: 8, count: 2 },
  ]);
  // A reset counts from zero, and a gauge is what it is.
  assert.equal(increase(now, before).length, 4);
  assert.equal(increase(before, { ...now, hint: Histogram_ResetHint.GAUGE }).length, 4);
});

test("increase where the resolution was halved", () => {
  const fine = { ...histogram(1, [1, 1, 1], { count: 7 }), schema: 1 };
  const coarse = { ...fine, schema: 0, count: 9, positive: new Map([[0, 1], [1, 3], [2, 4]]) };
  assert.deepEqual(increase(fine, coarse), [
    { low: 1, high: 2, count: 1 },
    { low: 2, high: 4, count: 1 },
  ]);
});

test("custom buckets", () => {
  const h = { ...histogram(1, []), schema: -53, bounds: [1, 5], zeroCount: 0, positive: new Map([[0, 2], [1, 3], [2, 4]]) };
  assert.deepEqual(buckets(h), [
    { low: -Infinity, high: 1, count: 2 },
    { low: 1, high: 5, count: 3 },
    { low: 5, high: Infinity, count: 4 },
  ]);
});

test("quantiles", () => {
  assert.ok(Number.isNaN(quantile([], 0.5)));
  assert.equal(quantile([{ low: 1, high: 4, count: 2 }], 0.5), 2);
  assert.equal(quantile([{ low: 0, high: 4, count: 1 }, { low: 4, high: Infinity, count: 9 }], 0.9), 4);
});
