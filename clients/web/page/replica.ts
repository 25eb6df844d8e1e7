import { Code, ConnectError, type Client } from "@connectrpc/connect";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { GetStatusResponse, LogStatus, MetricsService, Segment } from "../src/index";
import { byId, h, setText } from "./dom";
import { age, clock, grouped, short } from "./format";

// Replica shows the state of a server: its logs and the segments on its disk.
// Through a balancer each answer may come from another server; the one that serves
// the stream is shown, as soon as it has answered.
export class Replica {
  status?: GetStatusResponse;
  // failed: the last calls were not answered.
  failed = false;
  // denied is what the server says to who may not see its state, "" to all others.
  denied = "";
  private segments: Segment[] = [];
  private segmentsOf = "";

  constructor(private readonly client: Client<typeof MetricsService>) {}

  // refresh keeps the answer of the instance, or any answer until that one answers.
  async refresh(instance: string): Promise<void> {
    let segmentsOf = "";
    const onHeader = (headers: Headers) => (segmentsOf = headers.get("promgrpc-instance") ?? "");
    try {
      const [status, { segments }] = await Promise.all([
        this.client.getStatus({}, { timeoutMs: 5000 }),
        this.client.listSegments({}, { timeoutMs: 5000, onHeader }),
      ]);
      this.failed = false;
      this.denied = "";
      if (status.instance === instance || this.status?.instance !== instance) this.status = status;
      if (segmentsOf === instance || this.segmentsOf !== instance) {
        this.segments = segments;
        this.segmentsOf = segmentsOf;
      }
      this.draw(this.status!, this.segments);
    } catch (reason) {
      this.failed = true;
      const { code, rawMessage } = ConnectError.from(reason);
      this.denied = code === Code.PermissionDenied ? rawMessage : "";
    }
  }

  // lag is the largest of all logs, in blocks; undefined while a forwarder is not
  // connected.
  get lag(): bigint | undefined {
    const logs = this.status?.logs ?? [];
    if (logs.length === 0 || logs.some((l) => !l.connected)) return undefined;
    return logs.reduce((most, l) => (l.lagBlocks > most ? l.lagBlocks : most), 0n);
  }

  private draw(status: GetStatusResponse, segments: Segment[]): void {
    const facts: [string, string][] = [
      ["Instance", status.instance],
      ["Version", status.version || "unknown"],
      ["Up for", status.startTime ? age(Date.now() - timestampMs(status.startTime)) : "–"],
      ["Live series", grouped(status.liveSeries)],
      ["Open streams", grouped(status.streams)],
    ];
    const list = byId("facts");
    if (list.children.length === 0) {
      list.append(...facts.map(([name]) => h("div", {}, h("dt", {}, name), h("dd"))));
    }
    facts.forEach(([, value], i) => setText(list.children[i]!.querySelector("dd")!, value));
    fill(byId("logs"), status.logs.map(logRow));
    const newest = [...segments].sort((a, b) => timestampMsOr0(b.createTime) - timestampMsOr0(a.createTime));
    fill(byId("segments"), newest.map(segmentRow));
    const total = segments.reduce((sum, s) => sum + Number(s.sizeBytes), 0);
    setText(byId("disk"), `${grouped(segments.length)} on disk, ${short(total, "bytes")}`);
  }
}

function logRow(l: LogStatus): string[] {
  return [
    l.logId.slice(0, 8),
    `${grouped(l.firstSequence)} – ${grouped(l.lastSequence)}`,
    l.connected ? `${grouped(l.lagBlocks)} blocks` : "not connected",
    grouped(l.series),
    short(Number(l.sizeBytes), "bytes"),
  ];
}

function segmentRow(s: Segment): string[] {
  const created = timestampMsOr0(s.createTime);
  const day = new Date(created).toLocaleDateString("en-CA");
  return [
    s.name,
    s.lastSequence < s.firstSequence ? "none yet" : `${grouped(s.firstSequence)} – ${grouped(s.lastSequence)}`,
    `${day} ${clock(created)}`,
    short(Number(s.sizeBytes), "bytes"),
    s.sealed ? "sealed" : "open",
  ];
}

function timestampMsOr0(t?: Timestamp): number {
  return t ? timestampMs(t) : 0;
}

// fill writes rows into the body of a table. On a phone, where cells are stacked,
// the headings name them.
function fill(body: HTMLElement, rows: string[][]): void {
  const headings = [...body.closest("table")!.querySelectorAll("thead th")].map((th) => th.textContent ?? "");
  while (body.children.length > rows.length) body.lastElementChild!.remove();
  rows.forEach((cells, i) => {
    const row = body.children[i] ?? body.appendChild(h("tr", {}, ...headings.map((name) => h("td", { "data-name": name }))));
    cells.forEach((text, j) => setText(row.children[j]!, text));
  });
}
