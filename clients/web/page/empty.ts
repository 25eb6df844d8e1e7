import { byId, h } from "./dom";
import { visible } from "./format";

// Empty helps where there is nothing to see.
export class Empty {
  private said = "";

  constructor(
    private readonly names: () => Promise<string[]>,
    private readonly ask: (text: string) => void,
  ) {}

  hide(): void {
    byId("empty").hidden = true;
    this.said = "";
  }

  // show says something, and offers a query by what it finds, or metrics.
  show(text: string, offers: { query?: string; finds?: string; metrics?: boolean } = {}): void {
    const box = byId("empty");
    box.hidden = false;
    if (text === this.said) return;
    this.said = text;
    box.replaceChildren(h("p", {}, text));
    const { query, finds, metrics } = offers;
    if (query && finds) box.append(h("p", {}, this.button(finds, query)));
    if (!metrics) return;
    void this.names().then((names) => {
      if (this.said !== text || box.querySelector("ul")) return;
      box.append(h("ul", {}, ...names.slice(0, 100).map((name) => h("li", {}, this.button(visible(name), name)))));
    }, () => undefined);
  }

  private button(text: string, query: string): HTMLButtonElement {
    return h("button", { type: "button", click: () => this.ask(query) }, text);
  }
}
