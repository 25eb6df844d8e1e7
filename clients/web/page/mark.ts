import { h } from "./dom";

// Mark shows what is wrong in a text field: an overlay with the same text, in
// which only that is underlined. It disappears when the text changes.
export class Mark {
  private readonly overlay = h("div", { class: "mark", "aria-hidden": "true" });

  constructor(private readonly input: HTMLInputElement) {
    input.after(this.overlay);
    input.addEventListener("input", () => this.clear());
    input.addEventListener("scroll", () => this.follow());
    this.clear();
  }

  // show marks from start to end, or one character where something is missing, and
  // selects it for typing.
  show(start: number, end: number): void {
    const text = this.input.value;
    const wrong = h("mark", {}, text.slice(start, end) || "\u00a0");
    this.overlay.replaceChildren(text.slice(0, start), wrong, text.slice(end));
    this.overlay.hidden = false;
    // A long text is scrolled to the place.
    const middle = this.overlay.clientWidth / 2;
    this.input.scrollLeft = Math.max(0, wrong.offsetLeft - middle);
    this.input.setAttribute("aria-invalid", "true");
    this.input.setSelectionRange(start, end);
    this.follow();
  }

  clear(): void {
    this.overlay.hidden = true;
    this.input.removeAttribute("aria-invalid");
  }

  private follow(): void {
    this.overlay.scrollLeft = this.input.scrollLeft;
  }
}
