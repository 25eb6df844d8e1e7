import { Code, type Transport } from "@connectrpc/connect";
import { readView, writeView } from "./address";
import { Chart, type Line } from "./chart";
import type { Completion } from "./complete";
import { byId, h, setText } from "./dom";
import { Feed } from "./feed";
import { age, grouped, visible } from "./format";
import { Heatmap } from "./heatmap";
import { Mark } from "./mark";
import { typeName, type Metadata } from "./metadata";
import type { Mode } from "./points";
import type { Replica } from "./replica";
import { most, Selection } from "./selection";
import { closed, quote, splitSelectors, type Part } from "./selector";
import { Store, type Series } from "./store";
import { Table } from "./table";
import type { Token } from "./token";

const minute = 60_000;
const windows = [5 * minute, 15 * minute, 60 * minute, 180 * minute];
// More series than a person looks at, and no more than a browser handles well.
const seriesLimit = 2000;

// Page ties the parts together: one stream fills the store, and changes are drawn
// a few times a second.
export class Page {
  private readonly store = new Store(windows[1]!, seriesLimit);
  private readonly feed: Feed;
  private readonly selection = new Selection();
  private readonly table: Table;
  private readonly chart: Chart;
  private readonly heatmap = new Heatmap(byId("heat"));
  private readonly input = byId<HTMLInputElement>("query");
  private readonly mark = new Mark(this.input);
  private marked?: Feed["place"];
  private parts: Part[] = [];
  private mode?: Mode; // the user's choice
  private due?: ReturnType<typeof setTimeout>;
  private query = "";

  constructor(
    transport: Transport,
    private readonly metadata: Metadata,
    private readonly completion: Completion,
    private readonly replica: Replica,
    private readonly token: Token,
  ) {
    this.feed = new Feed(transport, this.store, () => this.soon());
    this.table = new Table(this.store, (name) => metadata.unit(name), (s, on) => this.pick(s, on), () => this.soon());
    this.chart = new Chart(byId("plot"), byId("legend"), () => this.feed.marks, (s) => this.pick(s, false));
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.completion.close();
      this.input.value = closed(this.input.value);
      this.open(this.input.value, this.store.window);
    });
    byId<HTMLSelectElement>("window").addEventListener("change", (event) => {
      this.open(this.query, Number((event.target as HTMLSelectElement).value) * 1000);
    });
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-mode]")) {
      button.addEventListener("click", () => {
        this.mode = button.dataset.mode as Mode;
        this.soon();
      });
    }
    byId("unzoom").addEventListener("click", () => {
      this.chart.unzoom();
      this.soon();
    });
    byId("csv").addEventListener("click", () => save("chart.csv", this.chart.csv()));
    byId("copy").addEventListener("click", () => void this.copyCursor());
    document.addEventListener("keydown", (event) => {
      const typing = (event.target as Element).closest("input:not([type=checkbox]), select, textarea");
      if (event.key !== "/" || typing) return;
      event.preventDefault();
      this.input.focus();
      this.input.select();
    });
    window.addEventListener("popstate", () => this.fromAddress());
    document.addEventListener("visibilitychange", () => this.soon());
  }

  // start shows what the address of the page says, to who has the token that there is now.
  async start(): Promise<void> {
    this.completion.forget();
    await Promise.allSettled([this.metadata.load(), this.replica.refresh(this.feed.instance)]);
    this.fromAddress();
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

  private fromAddress(): void {
    const view = readView(windows);
    this.input.value = view.query;
    byId<HTMLSelectElement>("window").value = String(view.window / 1000);
    this.open(view.query, view.window);
  }

  // open shows what a query selects, from the start of the window on.
  private open(query: string, window: number): void {
    this.query = query;
    this.store.window = window;
    this.selection.clear();
    this.mode = undefined;
    this.table.clear();
    writeView({ query, window });
    this.parts = splitSelectors(query);
    this.mark.clear();
    // All series may be far too many: let the user choose a metric.
    if (this.parts.length === 0 && Number(this.replica.status?.liveSeries ?? 0n) > seriesLimit) this.feed.stop();
    else this.feed.start(this.parts.map((part) => part.text));
    this.soon();
  }

  private pick(s: Series, on: boolean): boolean {
    this.selection.own = true;
    if (on && !this.selection.add(s)) {
      setText(byId("said"), `At most ${most} series are charted. Remove one first.`);
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
    const now = Date.now();
    this.store.prune(now);
    this.selection.follow(this.store);
    if (this.feed.phase === "live") this.selection.suggest(this.store);
    this.table.draw(now, this.selection.slots);
    this.drawState(now);
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
    if (!byId("chart").hidden) {
      const rate = lines.length > 0 && lines.every((l) => this.metadata.counts(l.series.name));
      const mode = this.mode ?? (rate ? "rate" : "value");
      for (const button of document.querySelectorAll<HTMLButtonElement>("[data-mode]")) {
        button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
      }
      const units = new Set(lines.map((l) => this.metadata.unit(l.series.name)));
      this.chart.draw(lines, mode, units.size === 1 ? [...units][0]! : "", from, now);
      title(byId("chart"), lines.map((l) => l.series.name), this.metadata);
      byId("unzoom").hidden = !this.chart.zoomed;
    }
    if (histogram) {
      this.heatmap.draw(histogram, this.metadata.unit(histogram.name), from, now);
      title(byId("heatmap"), [histogram.name], this.metadata);
      setText(byId("heat-of"), visible(histogram.text));
    }
  }

  private drawState(now: number): void {
    const { phase } = this.feed;
    const names = { idle: "Idle", connecting: "Connecting", replaying: "Replaying", live: "Live", interrupted: "Reconnecting", refused: "Refused" };
    document.body.dataset.phase = phase;
    setText(byId("phase"), names[phase]);
    this.token.ask(this.wantsToken);
    setText(byId("denied"), visible(this.replica.denied));
    const away = phase === "interrupted" || this.replica.failed;
    byId("replica").classList.toggle("old", away);
    const logs = this.replica.status?.logs ?? [];
    const lag = away ? undefined : this.replica.lag;
    const facts: Record<string, string> = {
      instance: this.feed.instance || this.replica.status?.instance || "–",
      position: logs.map((l) => grouped(l.lastSequence)).join(" · ") || "–",
      lag: lag === undefined ? "unknown" : lag === 1n ? "1 block" : `${grouped(lag)} blocks`,
      newest: this.store.newest > 0 ? `${age(now - this.store.newest)} ago` : "–",
      samples: grouped(this.store.samples),
      reconnects: grouped(this.feed.reconnects),
    };
    for (const [id, text] of Object.entries(facts)) setText(byId(`fact-${id}`), text);
    this.drawNotes();
  }

  // drawNotes says what went wrong. The lines after the first of a refusal point to
  // the place, as does the field.
  private drawNotes(): void {
    const { phase, detail, place } = this.feed;
    const [first = "", ...rest] = phase === "refused" ? detail.split("\n") : [];
    const pointer = rest.filter((line) => line.startsWith("  "));
    const said = [first, ...rest.filter((line) => !line.startsWith("  "))].filter((t) => t !== "").join(": ");
    const broke = phase === "interrupted" ? `The stream broke (${detail}). It resumes where it was as soon as a server answers.` : said;
    setText(byId("notes"), [broke, ...this.feed.notes].filter((t) => t !== "").map(visible).join(" "));
    setText(byId("pointer"), pointer.map((line) => visible(line.slice(2))).join("\n"));
    if (place === this.marked) return;
    this.marked = place;
    const from = place && this.parts[place.index]?.from;
    if (place && from !== undefined && this.input.value === this.query) this.mark.show(from + place.start, from + place.end);
  }

  // drawEmpty helps when there is nothing to see.
  private drawEmpty(): void {
    const { phase } = this.feed;
    const box = byId("empty");
    const idle = phase === "idle";
    box.hidden = this.store.series.size > 0 || !(idle || phase === "live");
    if (box.hidden) {
      box.replaceChildren();
      return;
    }
    if (box.children.length > 0) return;
    const word = /^[\w:.]+$/.test(this.query) ? this.query : "";
    box.append(h("p", {}, idle ? "There are many series here. Choose a metric to start with." : "No matching series has samples in this time."));
    if (word !== "") {
      const wider = `{__name__=~${quote(`.*${word.replaceAll(".", "\\.")}.*`)}}`;
      box.append(h("p", {}, h("button", { type: "button", click: () => this.ask(wider) }, `Metrics whose name contains ${word}`)));
    }
    void this.completion.names().then((names) => {
      const buttons = names.slice(0, 100).map((name) => h("li", {}, h("button", { type: "button", click: () => this.ask(name) }, visible(name))));
      if (box.querySelector("ul") === null) box.append(h("ul", {}, ...buttons));
    }, () => undefined);
  }

  private ask(query: string): void {
    this.input.value = query;
    this.open(query, this.store.window);
  }

  private async copyCursor(): Promise<void> {
    const secured = (location.protocol === "https:" ? " --tls" : "") + (this.token.value === "" ? "" : " --bearer-token-file TOKEN");
    const command = `prometheus-grpc-client get --follow --address ${location.host}${secured} --cursor ${this.feed.cursor}`;
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
