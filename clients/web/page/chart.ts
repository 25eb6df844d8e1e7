import uPlot from "uplot";
import { color, h, setText } from "./dom";
import { clock, short, visible, type Unit } from "./format";
import { colorOf, dashOf } from "./palette";
import { points, wholeGaps, type Mode } from "./points";
import type { Series } from "./store";
import { linearTicks, logTicks, type Ticks } from "./ticks";
import { Tip } from "./tip";

// An axis has at least this width, so that the plot does not move with each label.
const minAxis = 56;

const dashes = [[], [9, 4], [2, 3], [10, 3, 2, 3]];

// A line is prominent while the cursor is as near as this, in pixels.
const nearness = 24;

export interface Line {
  series: Series;
  // slot is its place among the colours and dashes.
  slot: number;
}

// Drawing is what a chart shows, between two times.
export interface Drawing {
  lines: Line[];
  mode: Mode;
  unit: Unit;
  logarithmic: boolean;
  from: number;
  to: number;
}

// Chart draws lines over time. It shows the values at the cursor, and zooms into what is
// dragged over. With the keyboard: arrows move the cursor from
// sample to sample, Escape ends a zoom.
export class Chart {
  private plot?: uPlot;
  private built = "";
  private lines: Line[] = [];
  private data: uPlot.AlignedData = [[]];
  private readonly tip: Tip;
  // zoomed: the user chose the time that is shown.
  zoomed = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly legend: HTMLElement,
    private readonly marks: () => number[],
    private readonly remove: (series: Series) => void,
  ) {
    this.tip = new Tip(host);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
    host.addEventListener("keydown", (event) => this.key(event));
    legend.addEventListener("pointerover", (event) => this.focus(event.target as Element));
    legend.addEventListener("pointerleave", () => this.plot?.setSeries(null, { focus: true }));
  }

  // draw shows the lines.
  draw(drawing: Drawing): void {
    const { lines, mode, unit, logarithmic, from, to } = drawing;
    this.lines = lines;
    const [times, ...columns] = align(lines.map((l) => points(l.series, mode, from, logarithmic)));
    this.data = [times, ...columns.map((column) => wholeGaps(column as (number | null)[]))];
    const shape = JSON.stringify([lines.map((l) => [l.series.key, l.slot]), unit, mode, logarithmic]);
    if (shape !== this.built) {
      this.plot?.destroy();
      this.built = shape;
      this.zoomed = false;
      this.plot = new uPlot(this.options(drawing), this.data, this.host);
      this.buildLegend();
    }
    const plot = this.plot!;
    plot.setData(this.data, false);
    if (this.zoomed) plot.redraw(true, false);
    else plot.setScale("x", { min: from, max: to });
    this.readOut();
  }

  // repaint after the theme changed.
  repaint(): void {
    this.built = "";
  }

  unzoom(): void {
    this.zoomed = false;
  }

  // csv has the samples of what is charted, a row for each time.
  csv(): string {
    const rows = [["time", ...this.lines.map((l) => `"${l.series.text.replaceAll('"', '""')}"`)].join()];
    const raw = align(this.lines.map((l) => [l.series.times, l.series.values]));
    for (let i = 0; i < raw[0].length; i++) {
      const values = raw.slice(1).map((column) => column[i] ?? "");
      rows.push([new Date(raw[0][i]!).toISOString(), ...values].join());
    }
    return rows.join("\n") + "\n";
  }

  private size() {
    return { width: Math.max(200, this.host.clientWidth), height: Math.max(200, this.host.clientHeight) };
  }

  private options({ unit, mode, logarithmic }: Drawing): uPlot.Options {
    // Seconds a second are a number; any other unit gets "/s" appended.
    const shown = mode === "rate" && (unit === "seconds" || unit === "time") ? "" : unit;
    const per = mode === "rate" && unit === shown ? "/s" : "";
    const text = (v: number) => short(v, shown) + per;
    return {
      ...this.size(),
      ms: 1,
      legend: { show: false },
      cursor: { drag: { x: true, y: false }, points: { size: 7 }, focus: { prox: nearness } },
      focus: { alpha: this.lines.length > 1 ? 0.3 : 1 },
      scales: {
        x: { time: true },
        y: logarithmic ? { distr: 3, log: 10, range: (_u, min, max) => magnitudes(min, max) } : { range: (_u, min, max) => span(min, max) },
      },
      axes: [timeAxis(), logarithmic ? logAxis(shown, text) : linearAxis(shown, per)],
      series: [
        {},
        ...this.lines.map((line) => ({
          label: line.series.text,
          stroke: color(`line-${colorOf(line.slot)}`),
          dash: dashes[dashOf(line.slot)],
          width: 1.75,
          points: { size: 4 },
          value: (_u: uPlot, v: number | null) => (v === null ? "–" : text(v)),
        })),
      ],
      hooks: {
        setSelect: [(u) => (this.zoomed ||= u.select.width > 0)],
        setCursor: [() => this.readOut(), (u) => this.point(u)],
        drawAxes: [(u) => drawMarks(u, this.marks())],
        ready: [(u) => u.over.addEventListener("dblclick", () => this.unzoom())],
      },
    };
  }

  private buildLegend(): void {
    const shared = sharedLabels(this.lines.map((l) => l.series));
    this.legend.replaceChildren(
      ...this.lines.map((line) => {
        const name = shortName(line.series, shared) || "{}";
        const button = h("button", { type: "button", class: "drop", "aria-label": `Remove ${visible(line.series.text)} from the chart` }, "×");
        button.addEventListener("click", () => this.remove(line.series));
        return h("li", { "data-color": colorOf(line.slot), "data-dash": dashOf(line.slot), title: visible(line.series.text) }, h("i"), h("span", { class: "key" }, visible(name)), h("output", {}), button);
      }),
    );
  }

  // readOut writes the values at the cursor, or else the latest.
  private readOut(): void {
    const plot = this.plot;
    if (!plot || this.legend.children.length !== this.lines.length) return;
    const at = plot.cursor.idx ?? this.data[0].length - 1;
    this.lines.forEach((_line, i) => setText(this.legend.children[i]!.querySelector("output")!, this.textAt(plot, i, at)));
    const time = this.host.parentElement?.querySelector(".at");
    const cursor = plot.cursor.idx;
    if (time) setText(time, cursor === null || cursor === undefined ? "latest" : `at ${clock(this.data[0][cursor] ?? 0)}`);
  }

  // textAt writes the value of a line at a time, or the last before it if others alone
  // have one then.
  private textAt(plot: uPlot, line: number, at: number): string {
    const show = plot.series[line + 1]?.value as ((u: uPlot, v: number | null) => string) | undefined;
    return show?.(plot, this.valueAt(line, at)) ?? "";
  }

  private valueAt(line: number, at: number): number | null {
    const column = this.data[line + 1];
    let from = at;
    while (column && from > 0 && column[from] === undefined) from--;
    return column?.[from] ?? null;
  }

  // point shows the values beside the cursor.
  private point(plot: uPlot): void {
    const { idx, left } = plot.cursor;
    if (idx === null || idx === undefined || left === undefined || left < 0) return this.tip.hide();
    const time = this.data[0][idx] ?? 0;
    const outside = idx === 0 || idx === this.data[0].length - 1;
    if (outside && Math.abs(plot.valToPos(time, "x") - left) > nearness) return this.tip.hide();
    const rows = this.lines.flatMap((line, i) => {
      const value = this.valueAt(i, idx);
      if (value === null) return [];
      return [{ slot: line.slot, text: line.series.text || "{}", value: this.textAt(plot, i, idx), y: plot.valToPos(value, "y") }];
    });
    this.tip.show(plot, time, rows);
  }

  // focus makes the line prominent whose place in the legend is pointed at.
  private focus(target: Element): void {
    const item = target.closest("li");
    const at = item ? [...this.legend.children].indexOf(item) : -1;
    if (at >= 0) this.plot?.setSeries(at + 1, { focus: true });
  }

  private key(event: KeyboardEvent): void {
    const plot = this.plot;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!plot) return;
    if (event.key === "Escape") {
      this.unzoom();
      plot.setCursor({ left: -10, top: -10 });
    } else if (step) {
      event.preventDefault();
      const last = this.data[0].length - 1;
      const at = Math.min(last, Math.max(0, (plot.cursor.idx ?? last + 1) + step));
      plot.setCursor({ left: plot.valToPos(this.data[0][at] ?? 0, "x"), top: plot.over.clientHeight / 2 });
    }
  }
}

function align(columns: [number[], (number | null)[]][]): uPlot.AlignedData {
  return columns.length === 0 ? [[]] : uPlot.join(columns as uPlot.AlignedData[]);
}

// span leaves room above and below, and includes zero if it is near.
function span(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1];
  if (min === max) return min === 0 ? [0, 1] : min > 0 ? [0, 2 * min] : [2 * min, 0];
  const room = (max - min) * 0.08;
  const low = min >= 0 && min < 0.5 * max ? 0 : min - room;
  return [low, max + room];
}

// magnitudes leaves room above and below on a logarithmic scale.
function magnitudes(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null || !(min > 0)) return [0.1, 10];
  return min === max ? [min / 10, max * 10] : [min / 1.3, max * 1.3];
}

function linearAxis(unit: Unit, per: string): uPlot.Axis {
  return valueAxis((u) => linear(u, unit).values, (u, splits) => {
    const write = linear(u, unit).text;
    return splits.map((v) => write(v) + per);
  });
}

// linear ticks of the values that are shown.
function linear(u: uPlot, unit: Unit): Ticks {
  const { min, max } = u.scales.y!;
  return linearTicks(min ?? 0, max ?? 1, unit, mostTicks(u));
}

// logAxis has the ticks of a linear one where values are of much the same size.
function logAxis(unit: Unit, text: (v: number) => string): uPlot.Axis {
  const splits = (u: uPlot) => {
    const { min, max } = u.scales.y!;
    const powers = logTicks(min ?? 0.1, max ?? 10, unit, mostTicks(u));
    return powers.length > 2 ? powers : linear(u, unit).values;
  };
  return { ...valueAxis(splits, (_u, values) => values.map(text)), filter: (_u, values) => values };
}

function mostTicks(u: uPlot): number {
  return Math.max(2, Math.floor(u.height / 45));
}

export function timeAxis(): uPlot.Axis {
  return {
    stroke: color("muted"),
    grid: { stroke: color("grid"), width: 1 },
    ticks: { show: false },
    size: 32,
    // Labels with seconds are wider.
    space: (_u, _axis, from, to) => (to - from < 400_000 ? 84 : 56),
    values: (_u, splits, _axis, _space, step) => splits.map((t) => clock(t, step < 60_000)),
  };
}

// valueAxis is as wide as its labels.
export function valueAxis(splits: (u: uPlot) => number[], texts: (u: uPlot, splits: number[]) => string[]): uPlot.Axis {
  return {
    stroke: color("muted"),
    grid: { stroke: color("grid"), width: 1 },
    ticks: { show: false },
    splits,
    values: texts,
    size: (u, labels, index) => {
      u.ctx.save();
      u.ctx.font = (u.axes[index]!.font as unknown as string[])[0]!;
      const widest = Math.max(0, ...(labels ?? []).map((l) => u.ctx.measureText(l).width / devicePixelRatio));
      u.ctx.restore();
      return Math.max(minAxis, Math.ceil(widest) + 16);
    },
  };
}

// drawMarks shows where the stream was resumed.
function drawMarks(u: uPlot, marks: number[]): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = color("muted");
  ctx.setLineDash([3, 5]);
  for (const mark of marks) {
    const x = Math.round(u.valToPos(mark, "x", true)) + 0.5;
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

// sharedLabels are those that all series have with the same value.
function sharedLabels(all: Series[]): Set<string> {
  const [first, ...rest] = all;
  const same = (name: string, value: string) => rest.every((s) => s.labels.some((l) => l.name === name && l.value === value));
  return new Set(first?.labels.filter((l) => rest.length > 0 && same(l.name, l.value)).map((l) => l.name));
}

function shortName(s: Series, shared: Set<string>): string {
  const labels = s.labels.filter((l) => l.name !== "__name__" && !shared.has(l.name)).map((l) => `${l.name}=${l.value}`);
  const name = shared.has("__name__") && labels.length > 0 ? "" : s.name;
  return [name, ...labels].filter((t) => t !== "").join("  ");
}
