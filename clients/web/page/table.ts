import { byId, h, setText } from "./dom";
import { age, exact, grouped, short, visible, type Unit } from "./format";
import { buckets, quantile, type Native } from "./histogram";
import { colorOf } from "./palette";
import { latest, type Series, type Store } from "./store";

// Rows beyond this are shown on demand: a browser lays out all of them.
const page = 200;

type Order = "series" | "value" | "time";

interface Row {
  series: Series;
  element: HTMLTableRowElement;
  check: HTMLInputElement;
  value: HTMLElement;
  time: HTMLElement;
}

// Table lists the series with their latest values. One of its checkboxes is
// reached by Tab, the others from there by the arrow keys.
export class Table {
  private readonly rows = new Map<Series, Row>();
  private readonly body = byId("rows");
  private order: Order = "series";
  private descending = false;
  private limit = page;
  private current?: Row;
  private sortedBy = "";
  private sortedList: Series[] = [];
  private readonly collator = new Intl.Collator("en", { numeric: true });

  constructor(
    private readonly store: Store,
    private readonly unit: (name: string) => Unit,
    private readonly toggle: (series: Series, on: boolean) => boolean,
    // redraw asks for a draw.
    private readonly redraw: () => void,
  ) {
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-order]")) {
      button.addEventListener("click", () => this.sortBy(button.dataset.order as Order));
    }
    byId("more").addEventListener("click", () => {
      this.limit = Infinity;
      this.redraw();
    });
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("change", (event) => {
      const check = event.target as HTMLInputElement;
      const row = this.rowOf(check);
      if (row && !this.toggle(row.series, check.checked)) check.checked = false;
    });
    this.body.addEventListener("click", (event) => {
      const target = event.target as Element;
      // The whole row is a target for a finger; text can still be selected.
      if (target.closest("input") || !getSelection()?.isCollapsed) return;
      this.rowOf(target)?.check.click();
    });
  }

  clear(): void {
    this.rows.clear();
    this.limit = page;
    this.current = undefined;
    this.body.replaceChildren();
  }

  // draw shows what the store holds; selected says which place in the palette a series
  // has.
  draw(now: number, selected: Map<Series, number>): void {
    const sorted = this.sorted();
    const visible = sorted.slice(0, this.limit);
    const elements = visible.map((s) => this.row(s).element);
    if (elements.length !== this.body.children.length || elements.some((e, i) => this.body.children[i] !== e)) {
      const focus = document.activeElement;
      this.body.replaceChildren(...elements);
      if (focus instanceof HTMLElement && this.body.contains(focus)) focus.focus();
    }
    for (const [s] of this.rows) if (!this.store.series.has(s.key)) this.rows.delete(s);
    for (const s of visible) {
      const row = this.row(s);
      const slot = selected.get(s);
      row.check.checked = slot !== undefined;
      row.element.dataset.color = slot === undefined ? "" : String(colorOf(slot));
      row.element.classList.toggle("stale", s.stale);
      setText(row.value, valueText(s, this.unit(s.name)));
      row.value.title = shown(s) ? "" : exact(s.values.at(-1) ?? NaN);
      setText(row.time, s.stale ? "stale" : age(now - latest(s)));
    }
    if (!this.current || !visible.includes(this.current.series)) this.move(visible[0] && this.row(visible[0]));
    const total = grouped(sorted.length);
    setText(byId("count"), this.store.truncated ? `first ${total}, the selector matches more` : total);
    byId("more").hidden = visible.length === sorted.length;
    setText(byId("more"), `Show all ${total}`);
  }

  private sorted(): Series[] {
    // Names do not change: most of the time they are sorted already.
    const key = `${this.store.version} ${this.descending}`;
    if (this.order === "series" && key === this.sortedBy) return this.sortedList;
    this.sortedBy = this.order === "series" ? key : "";
    const list = [...this.store.series.values()];
    const compare = {
      series: (a: Series, b: Series) => this.collator.compare(a.text, b.text),
      value: (a: Series, b: Series) => number(a) - number(b) || this.collator.compare(a.text, b.text),
      time: (a: Series, b: Series) => latest(b) - latest(a) || this.collator.compare(a.text, b.text),
    }[this.order];
    list.sort(compare);
    return (this.sortedList = this.descending ? list.reverse() : list);
  }

  private sortBy(order: Order): void {
    this.descending = this.order === order ? !this.descending : order === "value";
    this.order = order;
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-order]")) {
      const on = button.dataset.order === order;
      button.closest("th")!.setAttribute("aria-sort", on ? (this.descending ? "descending" : "ascending") : "none");
    }
    this.redraw();
  }

  private row(s: Series): Row {
    let row = this.rows.get(s);
    if (!row) {
      const check = h("input", { type: "checkbox", tabindex: -1, "aria-label": `Chart ${visible(s.text)}` });
      const value = h("td", { class: "value" });
      const time = h("td", { class: "time" });
      const labels = s.labels
        .filter((l) => l.name !== "__name__")
        .map((l) => h("span", { class: "label" }, h("b", {}, visible(l.name)), "=", visible(l.value)));
      const name = h("td", { class: "series" }, h("span", { class: "name" }, visible(s.name) || (labels.length > 0 ? "" : "{}")), " ", ...labels.flatMap((l) => [l, " "]));
      row = { series: s, check, value, time, element: h("tr", {}, h("td", { class: "pick" }, check), name, value, time) };
      this.rows.set(s, row);
    }
    return row;
  }

  private rowOf(element: Element): Row | undefined {
    const tr = element.closest("tr");
    for (const row of this.rows.values()) if (row.element === tr) return row;
    return undefined;
  }

  private key(event: KeyboardEvent): void {
    const row = this.rowOf(event.target as Element);
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key] as "nextElementSibling" | undefined;
    const to = step && row?.element[step];
    if (!to) return;
    event.preventDefault();
    this.move(this.rowOf(to));
    this.current?.check.focus();
  }

  private move(to?: Row): void {
    if (this.current) this.current.check.tabIndex = -1;
    this.current = to;
    if (to) to.check.tabIndex = 0;
  }
}

// shown is the histogram that a series has last, if no float is newer.
function shown(s: Series): Native | undefined {
  const histogram = s.histograms.at(-1);
  return histogram && (s.times.at(-1) ?? 0) <= histogram.timestamp ? histogram : undefined;
}

function number(s: Series): number {
  const value = shown(s)?.count ?? s.values.at(-1) ?? NaN;
  return Number.isNaN(value) ? -Infinity : value;
}

function valueText(s: Series, unit: Unit): string {
  const histogram = shown(s);
  if (histogram) {
    const median = quantile(buckets(histogram), 0.5);
    const half = Number.isNaN(median) ? "" : `, half ≤ ${short(median, unit)}`;
    return `${grouped(Math.round(histogram.count))} observed${half}`;
  }
  const value = s.values.at(-1);
  if (value === undefined) return "";
  return s.stale ? "–" : short(value, unit);
}
