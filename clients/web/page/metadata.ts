import type { Client } from "@connectrpc/connect";
import { MetricType, type MetricMetadata, type MetricsService } from "../src/index";

const suffixes = /_(total|bucket|sum|count|created|info)$/;

// Metadata knows type and help of the metrics.
export class Metadata {
  private families = new Map<string, MetricMetadata>();
  private readonly limit = 50_000;

  constructor(private readonly client: Client<typeof MetricsService>) {}

  async load(): Promise<void> {
    const { metadata } = await this.client.getMetadata({ limit: this.limit });
    this.families = new Map(metadata.map((m) => [m.metricFamilyName, m]));
  }

  // of a metric, by its own name or that of its family.
  of(name: string): MetricMetadata | undefined {
    return this.families.get(name) ?? this.families.get(name.replace(suffixes, ""));
  }

  // counts says whether values of the metric only rise, so that their rate is
  // what tells something.
  counts(name: string): boolean {
    const type = this.families.get(name)?.type;
    if (type === MetricType.COUNTER) return true;
    if (type === MetricType.GAUGE) return false;
    return /_(total|bucket|sum|count)$/.test(name);
  }
}

export function typeName(type: MetricType): string {
  return type === MetricType.UNSPECIFIED ? "" : MetricType[type].toLowerCase();
}
