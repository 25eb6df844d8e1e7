import assert from "node:assert/strict";
import { test } from "node:test";
import { short, visible, type Unit } from "../page/format";
import { Metadata } from "../page/metadata";
import { linearTicks, logTicks } from "../page/ticks";
import { MetricType } from "../src/index";

async function known(families: [name: string, type: MetricType, unit?: string][]): Promise<Metadata> {
  const list = families.map(([metricFamilyName, type, unit = ""]) => ({ metricFamilyName, type, unit, help: "" }));
  const metadata = new Metadata({ getMetadata: async () => ({ metadata: list }) as never });
  await metadata.load();
  return metadata;
}

test("a metric has the unit of its family, but for what counts", async () => {
  const metadata = await known([
    ["http_duration_seconds", MetricType.HISTOGRAM],
    ["size_bytes", MetricType.SUMMARY],
    ["queue_bytes", MetricType.GAUGEHISTOGRAM],
    ["cpu_seconds_total", MetricType.COUNTER],
    ["sent", MetricType.COUNTER, "bytes"],
    ["load_sum", MetricType.SUMMARY],
    ["disk_bytes_count", MetricType.GAUGE],
    ["total_bytes_sum", MetricType.GAUGE],
  ]);
  for (const [name, unit, counts] of [
    ["http_duration_seconds", "seconds", false],
    ["http_duration_seconds_bucket", "", true],
    ["http_duration_seconds_count", "", true],
    ["http_duration_seconds_sum", "seconds", true],
    ["http_duration_seconds_created", "time", false],
    ["size_bytes", "bytes", false],
    ["size_bytes_count", "", true],
    ["size_bytes_sum", "bytes", true],
    ["queue_bytes_bucket", "", false],
    ["queue_bytes_gcount", "", false],
    ["queue_bytes_gsum", "bytes", false],
    ["cpu_seconds_total", "seconds", true],
    ["sent_total", "bytes", true],
    ["load_sum", "", false],
    ["load_sum_sum", "", true],
    ["disk_bytes_count", "", false],
    ["total_bytes_sum", "", false],
    // Without metadata the name has to do.
    ["other_seconds_bucket", "", true],
    ["other_seconds_count", "", true],
    ["other_seconds_sum", "seconds", true],
    ["other_bytes_total", "bytes", true],
    ["other_ratio", "ratio", false],
    ["process_start_time_seconds", "time", false],
  ] as const) {
    assert.equal(metadata.unit(name), unit, name);
    assert.equal(metadata.counts(name), counts, name);
  }
});

test("values in a few characters", () => {
  for (const [value, unit, want] of [
    [2065, "", "2.065k"],
    [2065, "seconds", "34.42 min"],
    [0, "seconds", "0 s"],
    [0, "bytes", "0 B"],
    [0.0015, "seconds", "1.5 ms"],
    [-1536, "bytes", "-1.5 KiB"],
    [0.125, "ratio", "12.5 %"],
    [1e-7, "", "1.00e-7"],
    [Infinity, "bytes", "+Inf"],
    [NaN, "", "NaN"],
    [new Date(2026, 10, 28, 7, 5, 9).getTime() / 1000, "time", "2026-11-28 07:05:09"],
    [1e300, "time", "1e+300"],
  ] as const) {
    assert.equal(short(value, unit), want);
  }
});

test("ticks are round in the unit that is shown", () => {
  for (const [min, max, unit, want] of [
    [0, 800 * 1024, "bytes", "0 KiB|200 KiB|400 KiB|600 KiB|800 KiB"],
    [0, 1.4 * 2 ** 20, "bytes", "0 MiB|0.5 MiB|1 MiB"],
    [0, 293 * 1024, "bytes", "0 KiB|100 KiB|200 KiB"],
    [2 ** 30, 2 ** 30 + 4096, "bytes", "1 GiB|1.000001 GiB|1.000002 GiB|1.000003 GiB"],
    [0, 600, "seconds", "0 min|2 min|4 min|6 min|8 min|10 min"],
    [0, 7000, "seconds", "0 min|30 min|60 min|90 min"],
    [0, 86400, "seconds", "0 h|6 h|12 h|18 h|24 h"],
    [0, 0.05, "seconds", "0 ms|10 ms|20 ms|30 ms|40 ms|50 ms"],
    [0, 1, "ratio", "0 %|20 %|40 %|60 %|80 %|100 %"],
    [-1, 1, "", "-1|-0.5|0|0.5|1"],
    [1e6, 1e6 + 10, "", "1M|1.000002M|1.000004M|1.000006M|1.000008M|1.00001M"],
    [0, 2e-7, "", "0|5.0e-8|1.0e-7|1.5e-7|2.0e-7"],
  ] as const) {
    const ticks = linearTicks(min, max, unit, 5);
    assert.equal(ticks.values.map(ticks.text).join("|"), want);
  }
});

test("ticks of any range are some, ascend, lie inside, and can be told apart", () => {
  const units: Unit[] = ["", "bytes", "seconds", "ratio"];
  for (let i = 0; i < 5000; i++) {
    const unit = units[i % 4]!;
    const size = 10 ** (Math.random() * 30 - 12);
    const min = (Math.random() - 0.5) * size;
    const max = min + Math.random() * size + size * 1e-6;
    const ticks = linearTicks(min, max, unit, 6);
    const about = `${min} to ${max} ${unit}`;
    assert.ok(ticks.values.length >= 1 && ticks.values.length <= 7, `${about}: ${ticks.values.length}`);
    ticks.values.forEach((v, j) => assert.ok(v >= min - size * 1e-9 && v <= max + size * 1e-9 && (j === 0 || v > ticks.values[j - 1]!), about));
    assert.equal(new Set(ticks.values.map(ticks.text)).size, ticks.values.length, `${about}: ${ticks.values.map(ticks.text)}`);
  }
  assert.ok(linearTicks(0, 0, "bytes", 5).values.length <= 1);
});

test("ticks of a logarithmic axis", () => {
  for (const [min, max, unit, want] of [
    [0.004, 0.6, "seconds", "5 ms|10 ms|20 ms|50 ms|100 ms|200 ms|500 ms"],
    [0.001, 1000, "seconds", "1 ms|10 ms|100 ms|1 s|10 s|60 s|10 min"],
    [100, 8000, "seconds", "120 s|5 min|10 min|15 min|30 min|60 min|120 min"],
    [64, 2 ** 20, "bytes", "64 B|256 B|1 KiB|4 KiB|16 KiB|64 KiB|256 KiB|1 MiB"],
    [3, 5000, "", "10|100|1k"],
  ] as const) {
    assert.equal(logTicks(min, max, unit, 8).map((v) => short(v, unit)).join("|"), want);
  }
});

test("what would break a line or its order is seen", () => {
  assert.equal(visible("plain Größe 日本 🙂"), "plain Größe 日本 🙂");
  assert.equal(visible("a\nb\r\t\u0007\u001b[31m\u202e\u200b\u2028\u0085"), "a\\nb\\r\\t\\u{7}\\u{1b}[31m\\u{202e}\\u{200b}\\u{2028}\\u{85}");
});
