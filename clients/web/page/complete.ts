import { h } from "./dom";
import { visible } from "./format";
import type { Metadata } from "./metadata";
import type { Names } from "./names";
import { accept, targetAt, type Target } from "./selector";

const shown = 50;

// Completion offers metric names, label names and label values in a text
// field: a combobox whose list one walks with the arrow keys.
export class Completion {
  private options: string[] = [];
  private active = -1;
  private target?: Target;
  private asked = 0;

  constructor(
    private readonly input: HTMLInputElement,
    private readonly list: HTMLElement,
    private readonly names: Names,
    private readonly metadata: Metadata,
  ) {
    input.addEventListener("input", () => void this.offer());
    input.addEventListener("click", () => void this.offer());
    input.addEventListener("blur", () => this.close());
    input.addEventListener("keydown", (event) => this.key(event));
    // Not a click, before which the field would lose the focus.
    list.addEventListener("pointerdown", (event) => {
      const option = (event.target as Element).closest("li");
      if (!option) return;
      event.preventDefault();
      this.choose(Number(option.dataset.index));
    });
  }

  private key(event: KeyboardEvent): void {
    const open = this.options.length > 0;
    switch (event.key) {
      case "ArrowDown":
      case "ArrowUp": {
        event.preventDefault();
        if (!open) return void this.offer();
        const step = event.key === "ArrowDown" ? 1 : -1;
        const count = this.options.length;
        return this.activate(this.active < 0 && step < 0 ? count - 1 : (this.active + step + count) % count);
      }
      case "Tab":
      case "Enter":
        if (!open || this.active < 0) return;
        event.preventDefault();
        return this.choose(this.active);
      case "Escape":
        if (!open) return;
        event.preventDefault();
        return this.close();
    }
  }

  private async offer(): Promise<void> {
    const target = targetAt(this.input.value, this.input.selectionStart ?? 0);
    const asked = ++this.asked;
    if (!target) return this.close();
    let all: string[] = [];
    try {
      all = await this.ask(target);
    } catch {
      // A selector that is not whole, or a server that is away: nothing to offer.
    }
    if (asked !== this.asked) return;
    const options = rank(all.filter((o) => target.kind !== "label" || o !== "__name__"), target.typed);
    const done = options.length === 1 && options[0] === target.typed;
    if (done || document.activeElement !== this.input) return this.close();
    this.target = target;
    this.show(options.slice(0, shown));
  }

  private ask({ kind, label, scope }: Target): Promise<string[]> {
    if (kind === "label") return this.names.labels(scope);
    return this.names.values(kind === "metric" ? "__name__" : label, scope);
  }

  private show(options: string[]): void {
    this.options = options;
    this.active = -1;
    this.list.replaceChildren(
      ...options.map((option, i) => {
        const help = this.target?.kind === "metric" ? this.metadata.of(option).family?.help : undefined;
        const item = h("li", { role: "option", id: `option-${i}`, "data-index": i }, h("span", {}, visible(option)));
        if (help) item.append(h("small", {}, visible(help)));
        return item;
      }),
    );
    this.list.hidden = options.length === 0;
    this.input.setAttribute("aria-expanded", String(options.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  private activate(index: number): void {
    this.list.children[this.active]?.removeAttribute("aria-selected");
    this.active = index;
    const item = this.list.children[index]!;
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", item.id);
  }

  private choose(index: number): void {
    const { text, caret } = accept(this.input.value, this.target!, this.options[index]!);
    this.input.value = text;
    this.input.setSelectionRange(caret, caret);
    const more = this.target!.kind === "label";
    this.close();
    if (more) void this.offer();
  }

  close(): void {
    this.asked++;
    this.show([]);
  }
}

// rank keeps what contains the text, and puts first what starts with it.
function rank(options: string[], typed: string): string[] {
  const text = typed.toLowerCase();
  const at = (option: string) => option.toLowerCase().indexOf(text);
  const begin = options.filter((o) => at(o) === 0);
  return [...begin, ...options.filter((o) => at(o) > 0)];
}
