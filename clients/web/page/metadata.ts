import type { Client } from "@connectrpc/connect";
import { MetricType, type MetricMetadata, type MetricsService } from "../src/index";
import type { Unit } from "./format";

// A metric's name is its family's, or that with one of these suffixes.
const suffixes = /_(total|bucket|sum|count|gsum|gcount|created|info)$/;

type Family = Pick<MetricMetadata, "metricFamilyName" | "type" | "help" | "unit">;

// Metric is what is known about a metric by its name.
export interface Metric {
  // family is missing if the server knows none.
  family?: Family;
  // part is the suffix after the family's name, "" if there is none. Without a
  // family it is what it would be by convention.
  part: string;
}

// Metadata knows type, help and unit of the metrics.
export class Metadata {
  private families = new Map<string, Family>();
  private readonly limit = 50_000;

  constructor(private readonly client: Pick<Client<typeof MetricsService>, "getMetadata">) {}

  async load(): Promise<void> {
    const { metadata } = await this.client.getMetadata({ limit: this.limit });
    this.families = new Map(metadata.map((m) => [m.metricFamilyName, m]));
  }

  // all returns type and help of each family.
  all(): Record<string, { type: string; help: string }[]> {
    return Object.fromEntries([...this.families].map(([name, f]) => [name, [{ type: typeName(f.type), help: f.help }]]));
  }

  // of returns what is known about a metric. A family of exactly this name wins over
  // any suffix.
  of(name: string): Metric {
    const own = this.families.get(name);
    if (own) return { family: own, part: "" };
    const part = suffixes.exec(name)?.[1] ?? "";
    return { family: part === "" ? undefined : this.families.get(name.slice(0, -part.length - 1)), part };
  }

  // counts says whether values of the metric only rise, so that their rate is of
  // interest.
  counts(name: string): boolean {
    const { family, part } = this.of(name);
    switch (family?.type) {
      case MetricType.COUNTER:
        return part !== "created";
      case MetricType.GAUGE:
      case MetricType.GAUGEHISTOGRAM:
      case MetricType.INFO:
      case MetricType.STATESET:
        return false;
      case MetricType.SUMMARY:
      case MetricType.HISTOGRAM:
        return part === "bucket" || part === "sum" || part === "count";
    }
    return /^(total|bucket|sum|count)$/.test(part);
  }

  // unit returns the unit of the metric's values: buckets and counts of a histogram or
  // a summary have none, whatever was observed.
  unit(name: string): Unit {
    const { family, part } = this.of(name);
    if (part === "created") return "time";
    if (/^(bucket|count|gcount|info)$/.test(part)) return "";
    if (family?.type === MetricType.INFO || family?.type === MetricType.STATESET) return "";
    const base = family?.metricFamilyName.replace(/_total$/, "") ?? (part === "" ? name : name.slice(0, -part.length - 1));
    if (/_(timestamp|start_time|time_of_day|expiry|not_after|not_before)_seconds$/.test(base)) return "time";
    const unit = family?.unit || /_(seconds|bytes|ratio)$/.exec(base)?.[1];
    return unit === "seconds" || unit === "bytes" || unit === "ratio" ? unit : "";
  }
}

export function typeName(type: MetricType): string {
  return type === MetricType.UNSPECIFIED ? "" : MetricType[type].toLowerCase();
}
