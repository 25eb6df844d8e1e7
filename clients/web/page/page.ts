import { Code, type Transport } from "@connectrpc/connect";
import { addressOf, readView, windowsOf, type View } from "./address";
import { Chart, type Line } from "./chart";
import { commandFor } from "./command";
import type { Completion } from "./complete";
import { byId, h, setText } from "./dom";
import { Empty } from "./empty";
import { Expression } from "./expression";
import { Feed } from "./feed";
import { grouped, period, visible } from "./format";
import { Heatmap } from "./heatmap";
import { Mark } from "./mark";
import { typeName, type Metadata } from "./metadata";
import type { Names } from "./names";
import type { Mode } from "./points";
import type { Replica } from "./replica";
import { Results, stepFor } from "./results";
import { Samples } from "./samples";
import { Selection } from "./selection";
import { closed, legacyName, quote, splitSelectors, type Part } from "./selector";
import { State } from "./state";
import { Store, type Series } from "./store";
import { Table } from "./table";
import type { Token } from "./token";

// More series than a person looks at, and no more than a browser handles well.
const seriesLimit = 2000;
// As many series as there are distinguishable colours, and as many results as still
// make a picture.
const mostSeries = 8;
const mostResults = 200;

// Page ties the parts together: one stream fills the store, and changes are drawn
// a few times a second.
export class Page {
  private readonly store = new Store(0, seriesLimit);
  private readonly feed: Feed;
  private readonly state: State;
  private readonly selection = new Selection();
  private readonly table: Table;
  private readonly chart: Chart;
  private readonly heatmap = new Heatmap(byId("heat"));
  private readonly input = byId<HTMLInputElement>("query");
  private readonly mark = new Mark(this.input);
  private readonly expression: Expression;
  private readonly empty: Empty;
  private marked?: Feed["place"];
  private parts: Part[] = [];
  private mode?: Mode; // the user's choice
  private due?: ReturnType<typeof setTimeout>;
  private view: View = readView("");

  constructor(
    transport: Transport,
    private readonly metadata: Metadata,
    private readonly names: Names,
    private readonly completion: Completion,
    private readonly replica: Replica,
    private readonly token: Token,
  ) {
    this.feed = new Feed(transport, this.store, () => this.soon());
    this.state = new State(this.feed, this.store, replica);
    this.table = new Table(this.store, (name) => metadata.unit(name), (s, on) => this.pick(s, on), () => this.soon());
    this.chart = new Chart(byId("plot"), byId("legend"), () => this.feed.marks, (s) => this.pick(s, false));
    this.expression = new Expression(
      {
        metrics: () => names.metrics(),
        labels: (scope) => names.labels(scope),
        values: (label, scope) => names.values(label, scope),
        families: () => metadata.all(),
        visible,
      },
      () => this.submit(),
    );
    this.empty = new Empty(() => names.metrics(), (text) => this.ask(text));
    this.listen();
  }

  // start shows what the address of the page says, to who has the token that there is now.
  async start(): Promise<void> {
    this.names.forget();
    await Promise.allSettled([this.metadata.load(), this.replica.refresh(this.feed.instance)]);
    this.open(readView(location.hash), true);
  }

  private listen(): void {
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    for (const id of ["window", "step", "delay", "follow", "on-change"]) byId(id).addEventListener("change", () => this.submit());
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-view]")) {
      button.addEventListener("click", () => this.turn(button.dataset.view === "expression"));
    }
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-mode]")) {
      button.addEventListener("click", () => {
        this.mode = button.dataset.mode as Mode;
        this.soon();
      });
    }
    byId("log").addEventListener("click", () => {
      this.keep({ ...this.view, logarithmic: !this.view.logarithmic });
      this.soon();
    });
    byId("unzoom").addEventListener("click", () => {
      this.chart.unzoom();
      this.soon();
    });
    byId("csv").addEventListener("click", () => save("chart.csv", this.chart.csv()));
    byId("copy").addEventListener("click", () => void this.copyCursor());
    document.addEventListener("keydown", (event) => {
      const typing = (event.target as Element).closest("input:not([type=checkbox]), select, textarea, #editor");
      if (event.key !== "/" || typing) return;
      event.preventDefault();
      if (this.view.evaluation) return this.expression.focus();
      this.input.focus();
      this.input.select();
    });
    window.addEventListener("popstate", () => this.open(readView(location.hash), true));
    document.addEventListener("visibilitychange", () => this.soon());
  }

  // wantsToken says that a token would help, or another one.
  private get wantsToken(): boolean {
    const { refusal } = this.feed;
    return refusal === Code.Unauthenticated || (refusal === Code.PermissionDenied && this.token.value === "");
  }

  repaint(): void {
    this.chart.repaint();
    this.heatmap.repaint();
    this.soon();
  }

  // submit shows what the fields say.
  private submit(): void {
    this.completion.close();
    const window = Number(byId<HTMLSelectElement>("window").value) * 1000;
    if (this.view.evaluation) return this.open({ ...this.view, window, evaluation: this.expression.read() });
    this.open({ ...this.view, window, query: closed(this.input.value) });
  }

  // turn shows series in place of results, or the other way round.
  private turn(toExpression: boolean): void {
    if (toExpression === (this.view.evaluation !== undefined)) return;
    if (!toExpression) return this.open({ ...this.view, evaluation: undefined });
    // A selector is an expression, too.
    const expression = this.expression.text || (this.parts.length === 1 ? this.parts[0]!.text : "");
    this.open({ ...this.view, evaluation: { ...this.expression.read(), expression } });
    this.expression.focus();
  }

  // keep writes what is shown into the address: as a page of its own to go back from,
  // unless the view was read there.
  private keep(view: View, wasThere = false): void {
    this.view = view;
    const hash = addressOf(view);
    if (hash === location.hash) return;
    if (wasThere) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
  }

  // open shows a view, from the start of its window on.
  private open(view: View, wasThere = false): void {
    const windows = windowsOf(view);
    this.keep({ ...view, window: windows.includes(view.window) ? view.window : windows[1]! }, wasThere);
    const { query, evaluation, window } = this.view;
    this.store.window = window;
    this.store.held = 0;
    this.selection.clear(evaluation ? mostResults : mostSeries);
    this.mode = undefined;
    this.table.clear();
    this.parts = splitSelectors(query);
    this.mark.clear();
    this.expression.clearMark();
    this.showFields();
    if (evaluation) {
      void this.expression.load();
      const step = stepFor(evaluation, window);
      if (evaluation.onChange) this.store.held = step;
      if (evaluation.expression === "") this.feed.stop();
      else this.feed.start(new Results(evaluation, step));
    } else if (this.parts.length === 0 && Number(this.replica.status?.liveSeries ?? 0n) > seriesLimit) {
      this.feed.stop(); // All series may be far too many: let the user choose a metric.
    } else {
      this.feed.start(new Samples(this.parts.map((part) => part.text)));
    }
    this.soon();
  }

  private showFields(): void {
    const { query, evaluation, window } = this.view;
    const shown = evaluation ? "expression" : "series";
    for (const element of document.querySelectorAll<HTMLElement>("[data-of]")) element.hidden = element.dataset.of !== shown;
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-view]")) {
      button.setAttribute("aria-pressed", String(button.dataset.view === shown));
    }
    byId("window").replaceChildren(...windowsOf(this.view).map((w) => h("option", { value: w / 1000 }, period(w))));
    byId<HTMLSelectElement>("window").value = String(window / 1000);
    if (evaluation) this.expression.show(evaluation, window);
    else this.input.value = query;
  }

  private pick(s: Series, on: boolean): boolean {
    this.selection.own = true;
    if (on && !this.selection.add(s)) {
      setText(byId("said"), `At most ${this.selection.most} series are charted. Remove one first.`);
      return false;
    }
    if (!on) this.selection.delete(s);
    setText(byId("said"), "");
    this.soon();
    return true;
  }

  // tick moves the time axis, and asks the replica now and then.
  async tick(): Promise<void> {
    for (let count = 0; ; count++) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (document.hidden) continue;
      this.soon();
      // While the stream is down, its own attempts are enough, and who is refused once is
      // refused again.
      if (count % 3 === 0 && this.feed.phase !== "interrupted" && !this.wantsToken && this.replica.denied === "") await this.replica.refresh(this.feed.instance);
    }
  }

  private soon(): void {
    if (document.hidden) return;
    this.due ??= setTimeout(() => {
      this.due = undefined;
      requestAnimationFrame(() => this.draw());
    }, 200);
  }

  private draw(): void {
    const { phase, begun } = this.feed;
    // What does not go on stays where it ended.
    const now = this.view.evaluation && !this.view.evaluation.follow ? begun : Date.now();
    this.store.prune(now);
    this.selection.follow(this.store);
    if (this.view.evaluation) this.selection.chartAll(this.store);
    else if (phase === "live") this.selection.suggest(this.store);
    this.table.draw(Date.now(), this.selection.slots);
    this.state.draw(Date.now());
    this.token.ask(this.wantsToken);
    this.drawPlace();
    this.drawCharts(now);
    this.drawEmpty();
  }

  private drawCharts(now: number): void {
    const lines: Line[] = [];
    let histogram: Series | undefined;
    for (const [series, slot] of this.selection.slots) {
      if (series.histograms.length > 0) histogram = series;
      else lines.push({ series, slot });
    }
    const from = now - this.store.window;
    byId("chart").hidden = lines.length === 0 && (histogram !== undefined || this.store.series.size === 0);
    byId("heatmap").hidden = !histogram;
    if (!byId("chart").hidden) this.drawLines(lines, from, now);
    if (histogram) {
      this.heatmap.draw(histogram, this.metadata.unit(histogram.name), from, now);
      this.drawTitle(byId("heatmap"), [histogram.name]);
      setText(byId("heat-of"), visible(histogram.text));
    }
  }

  private drawLines(lines: Line[], from: number, to: number): void {
    const { evaluation, logarithmic } = this.view;
    const rate = !evaluation && lines.length > 0 && lines.every((l) => this.metadata.counts(l.series.name));
    const mode = this.mode ?? (rate ? "rate" : "value");
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    byId("log").setAttribute("aria-pressed", String(logarithmic));
    const units = new Set(lines.map((l) => this.metadata.unit(l.series.name)));
    this.chart.draw({ lines, mode, unit: units.size === 1 ? [...units][0]! : "", logarithmic, from, to });
    this.drawTitle(byId("chart"), lines.map((l) => l.series.name));
    byId("unzoom").hidden = !this.chart.zoomed;
  }

  // drawTitle names the expression of a card with its series, or their metric with its
  // help.
  private drawTitle(card: HTMLElement, names: string[]): void {
    const { evaluation } = this.view;
    if (!evaluation) return title(card, names, this.metadata);
    const all = this.store.series.size;
    setText(card.querySelector("h2")!, visible(evaluation.expression));
    setText(card.querySelector(".help")!, all > names.length ? `${names.length} of ${grouped(all)} series` : "");
  }

  // drawPlace marks what is wrong in the field, unless that was changed by now.
  private drawPlace(): void {
    const { place } = this.feed;
    if (place === this.marked) return;
    this.marked = place;
    if (!place) return;
    const { evaluation, query } = this.view;
    if (evaluation) {
      if (this.expression.text === evaluation.expression) this.expression.mark(place.start, place.end);
      return;
    }
    const from = this.parts[place.index]?.from;
    if (from !== undefined && this.input.value === query) this.mark.show(from + place.start, from + place.end);
  }

  // drawEmpty helps when there is nothing to see.
  private drawEmpty(): void {
    const { phase } = this.feed;
    if (this.store.series.size > 0 || !["idle", "live", "complete"].includes(phase)) return this.empty.hide();
    const { evaluation, query } = this.view;
    const idle = phase === "idle";
    if (evaluation) {
      const text = idle ? "Type an expression, or choose a metric to start with." : "The expression has no result in this time.";
      return this.empty.show(text, { metrics: idle });
    }
    const text = idle ? "There are many series here. Choose a metric to start with." : "No matching series has samples in this time.";
    if (!/^[\w:.]+$/.test(query)) return this.empty.show(text, { metrics: true });
    const wider = `{__name__=~${quote(`.*${query.replaceAll(".", "\\.")}.*`)}}`;
    this.empty.show(text, { query: wider, finds: `Metrics whose name contains ${query}`, metrics: true });
  }

  private ask(text: string): void {
    const { evaluation } = this.view;
    const expression = legacyName.test(text) ? text : `{${quote(text)}}`;
    this.open(evaluation ? { ...this.view, evaluation: { ...evaluation, expression } } : { ...this.view, query: text });
  }

  private async copyCursor(): Promise<void> {
    const at = { host: location.host, tls: location.protocol === "https:", token: this.token.value !== "" };
    const command = commandFor(this.view, this.feed.cursor, at);
    try {
      await navigator.clipboard.writeText(command);
      setText(byId("copy"), "Copied");
      setTimeout(() => setText(byId("copy"), "Copy command"), 2000);
    } catch {
      // Without TLS, browsers have a clipboard only for localhost.
      prompt("Command that resumes from here:", command);
    }
  }
}

// title names the metric of a card, with its help.
function title(card: HTMLElement, names: string[], metadata: Metadata): void {
  const distinct = [...new Set(names)];
  const known = distinct.length === 1 ? metadata.of(distinct[0]!).family : undefined;
  setText(card.querySelector("h2")!, distinct.length === 0 ? "Chart" : visible(distinct.join(", ")));
  const text = known ? [typeName(known.type), known.help].filter((t) => t !== "").join(" · ") : "";
  setText(card.querySelector(".help")!, distinct.length === 0 ? "Choose series below." : visible(text));
}

function save(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
