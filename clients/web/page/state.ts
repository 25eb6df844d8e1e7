import { Annotation_Severity } from "../src/index";
import { byId, h, setText } from "./dom";
import type { Feed } from "./feed";
import { age, clock, grouped, visible } from "./format";
import type { Replica } from "./replica";
import type { Store } from "./store";

const phases = {
  idle: "Idle",
  connecting: "Connecting",
  replaying: "Replaying",
  live: "Live",
  complete: "Complete",
  interrupted: "Reconnecting",
  refused: "Refused",
};

// State shows how the stream is, and what the server has to say about it.
export class State {
  private annotated: Feed["annotations"] = [];

  constructor(
    private readonly feed: Feed,
    private readonly store: Store,
    private readonly replica: Replica,
  ) {}

  draw(now: number): void {
    const { feed, replica } = this;
    document.body.dataset.phase = feed.phase;
    setText(byId("phase"), phases[feed.phase]);
    setText(byId("denied"), visible(replica.denied));
    const away = feed.phase === "interrupted" || replica.failed;
    byId("replica").classList.toggle("old", away);
    const logs = replica.status?.logs ?? [];
    const lag = away ? undefined : replica.lag;
    const facts: Record<string, string> = {
      instance: feed.instance || replica.status?.instance || "–",
      position: logs.map((l) => grouped(l.lastSequence)).join(" · ") || "–",
      lag: lag === undefined ? "unknown" : lag === 1n ? "1 block" : `${grouped(lag)} blocks`,
      newest: this.store.newest > 0 ? `${age(now - this.store.newest)} ago` : "–",
      evaluated: feed.evaluated > 0 ? `${clock(feed.evaluated)}, ${age(now - feed.evaluated)} ago` : "–",
      late: grouped(feed.late),
      samples: grouped(this.store.samples),
      reconnects: grouped(feed.reconnects),
    };
    for (const [id, text] of Object.entries(facts)) setText(byId(`fact-${id}`), text);
    this.drawNotes();
    this.drawAnnotations();
  }

  // drawNotes says what went wrong. The lines after the first of a refusal point to
  // the place, as does the field.
  private drawNotes(): void {
    const { phase, detail, notes } = this.feed;
    const [first = "", ...rest] = phase === "refused" ? detail.split("\n") : [];
    const pointer = rest.filter((line) => line.startsWith("  "));
    const said = [first, ...rest.filter((line) => !line.startsWith("  "))].filter((t) => t !== "").join(": ");
    const broke = phase === "interrupted" ? `The stream broke (${detail}). It resumes where it was as soon as a server answers.` : said;
    setText(byId("notes"), [broke, ...notes].filter((t) => t !== "").map(visible).join(" "));
    setText(byId("pointer"), pointer.map((line) => visible(line.slice(2))).join("\n"));
  }

  private drawAnnotations(): void {
    const { annotations } = this.feed;
    if (annotations === this.annotated) return;
    this.annotated = annotations;
    byId("annotations").replaceChildren(
      ...annotations.map(({ severity, text }) => {
        const warns = severity === Annotation_Severity.WARNING;
        return h("p", { class: warns ? "warning" : "info" }, h("b", {}, warns ? "Warning" : "Info"), " ", visible(text));
      }),
    );
  }
}
