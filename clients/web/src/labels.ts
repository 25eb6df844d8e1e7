import { Code, ConnectError } from "@connectrpc/connect";
import type { Label, TimeSeries } from "../gen/promgrpc/metrics/v1/metrics_pb";

// Referring is a message whose series may have references in place of labels.
export interface Referring {
  timeseries: TimeSeries[];
  forgetReferences?: boolean;
}

// Labels are what the references of one stream stand for.
export class Labels {
  private readonly known = new Map<bigint, Label[]>();

  // restore replaces references by the labels that they stand for. A series has the
  // same array each time, which must not be modified.
  restore(message: Referring): void {
    if (message.forgetReferences) {
      this.known.clear();
      message.forgetReferences = false;
    }
    for (const series of message.timeseries) {
      if (series.ref === 0n) continue;
      if (series.labels.length > 0) {
        this.known.set(series.ref, series.labels);
      } else {
        const labels = this.known.get(series.ref);
        if (!labels) throw new ConnectError("series with an unknown reference", Code.Internal);
        series.labels = labels;
      }
      series.ref = 0n;
    }
  }
}
