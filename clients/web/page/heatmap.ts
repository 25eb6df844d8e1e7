import uPlot from "uplot";
import { timeAxis, valueAxis } from "./chart";
import { color } from "./dom";
import { short, type Unit } from "./format";
import { increase, quantile, type Bucket } from "./histogram";
import type { Series } from "./store";
import { logTicks } from "./ticks";

const mostColumns = 240;

interface Column {
  from: number;
  to: number;
  cells: Bucket[];
}

// Heatmap shows a native histogram over time: how many observations fell into
// each bucket, and the lines of their median and 99th percentile.
export class Heatmap {
  private plot?: uPlot;
  private built = "";
  private columns: Column[] = [];
  private range: [number, number] = [0.1, 1];
  private most = 1;

  constructor(private readonly host: HTMLElement) {
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
  }

  draw(s: Series, unit: Unit, from: number, to: number): void {
    this.columns = columnsOf(s, from, (to - from) / mostColumns);
    const cells = this.columns.flatMap((c) => c.cells);
    // A bucket is coloured by its observations a second, whatever the columns' widths.
    this.most = Math.max(1e-9, ...this.columns.flatMap((c) => c.cells.map((b) => density(c, b))));
    const negative = cells.some((b) => b.low < 0);
    this.range = bounds(cells, negative);
    const times = this.columns.map((c) => c.to);
    const line = (q: number) => this.columns.map((c) => this.clamp(quantile(c.cells, q)));
    const data: uPlot.AlignedData = [times, line(0.5), line(0.99)];
    const shape = `${s.key} ${unit} ${negative}`;
    if (shape !== this.built) {
      this.plot?.destroy();
      this.built = shape;
      this.plot = new uPlot(this.options(unit, negative), data, this.host);
    }
    this.plot!.setData(data, false);
    this.plot!.setScale("x", { min: from, max: to });
  }

  repaint(): void {
    this.built = "";
  }

  private size() {
    return { width: Math.max(200, this.host.clientWidth), height: Math.max(160, this.host.clientHeight) };
  }

  private clamp(v: number): number | null {
    return Number.isNaN(v) ? null : Math.min(this.range[1], Math.max(this.range[0], v));
  }

  private options(unit: Unit, negative: boolean): uPlot.Options {
    const range = () => this.range;
    return {
      ...this.size(),
      ms: 1,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true }, y: negative ? { distr: 4, range } : { distr: 3, log: 2, range } },
      axes: [
        timeAxis(),
        {
          ...valueAxis(
            () => (negative ? symmetric(this.range) : logTicks(...this.range, unit, 8)),
            (_u, splits) => splits.map((v) => short(v, unit)),
          ),
          grid: { show: false },
          filter: (_u, splits) => splits,
        },
      ],
      series: [
        {},
        { label: "median", stroke: color("text"), width: 1.75, points: { show: false } },
        { label: "p99", stroke: color("text"), width: 1.25, dash: [4, 4], points: { show: false } },
      ],
      hooks: { drawAxes: [(u) => this.paint(u)] },
    };
  }

  private paint(u: uPlot): void {
    const { ctx, bbox } = u;
    const y = (v: number) => u.valToPos(Math.min(this.range[1], Math.max(this.range[0], v)), "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = color("heat");
    for (const column of this.columns) {
      const left = Math.floor(u.valToPos(column.from, "x", true));
      const right = Math.ceil(u.valToPos(column.to, "x", true));
      for (const cell of column.cells) {
        const top = y(cell.high);
        // The root shows the rare ones, which are the ones to be seen.
        ctx.globalAlpha = 0.08 + 0.92 * Math.sqrt(density(column, cell) / this.most);
        ctx.fillRect(left, top, right - left, Math.max(1, y(cell.low) - top));
      }
    }
    ctx.restore();
  }
}

function density(column: Column, cell: Bucket): number {
  return (cell.count * 1000) / (column.to - column.from);
}

// columnsOf joins samples until a column has its least width in time, which is
// also what steadies the quantiles.
function columnsOf(s: Series, from: number, width: number): Column[] {
  const columns: Column[] = [];
  let [before] = s.histograms;
  for (const now of s.histograms) {
    if (!before || now.timestamp - before.timestamp < Math.max(1, width)) continue;
    if (now.timestamp >= from) columns.push({ from: before.timestamp, to: now.timestamp, cells: increase(before, now) });
    before = now;
  }
  return columns;
}

// bounds of the value axis: what the buckets reach, as far as it can be drawn.
function bounds(cells: Bucket[], negative: boolean): [number, number] {
  const ends = cells.flatMap((b) => [b.low, b.high]).filter((v) => Number.isFinite(v) && (negative || v > 0));
  if (ends.length === 0) return [0.1, 1];
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  if (negative) return [low, high];
  // The bucket around zero gets a strip of its own at the bottom.
  const zero = cells.some((b) => b.low <= 0);
  return zero || low === high ? [low / 2, high] : [low, high];
}

function symmetric([min, max]: [number, number]): number[] {
  const most = 10 ** Math.floor(Math.log10(Math.max(-min, max)));
  return [-1, -0.1, 0, 0.1, 1].map((part) => part * most).filter((v) => v >= min && v <= max);
}
