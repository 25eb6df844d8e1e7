import { byId, h, setText } from "./dom";
import type { Editor, Lookup } from "./editor";
import { period } from "./format";
import { stepFor, type Evaluation } from "./results";

const label = "PromQL expression";
const hint = "An expression: sum by (job) (rate(http_requests_total[5m]))";

// Expression is the field for an expression, and what is chosen beside it. Until the
// editor is loaded, and where it cannot be, the field is a plain one.
export class Expression {
  private readonly plain = byId<HTMLTextAreaElement>("expression");
  private editor?: Editor;
  private loading?: Promise<void>;
  private marked?: [start: number, end: number];

  constructor(
    private readonly lookup: Lookup,
    private readonly submit: () => void,
  ) {
    this.plain.setAttribute("aria-label", label);
    this.plain.placeholder = hint;
    this.plain.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      submit();
    });
  }

  // load replaces the plain field by the editor.
  load(): Promise<void> {
    this.loading ??= import("./editor").then(({ Editor }) => {
      const focused = document.activeElement === this.plain;
      this.editor = new Editor(byId("editor"), this.plain.value, label, hint, this.lookup, this.submit);
      this.plain.hidden = true;
      if (focused) this.editor.focus();
      if (this.marked) this.editor.mark(...this.marked);
    }).catch((err: unknown) => {
      this.loading = undefined; // The next try may find a server.
      console.info(`the editor cannot be loaded: ${err}`);
    });
    return this.loading;
  }

  get text(): string {
    return (this.editor?.text ?? this.plain.value).trim();
  }

  focus(): void {
    (this.editor ?? this.plain).focus();
  }

  // read returns what the fields say.
  read(): Evaluation {
    return {
      expression: this.text,
      step: chosen("step"),
      delay: chosen("delay"),
      follow: byId<HTMLInputElement>("follow").checked,
      onChange: byId<HTMLInputElement>("on-change").checked,
    };
  }

  // show writes an evaluation into the fields.
  show(evaluation: Evaluation, window: number): void {
    if (this.editor) this.editor.text = evaluation.expression;
    else this.plain.value = evaluation.expression;
    choose("step", evaluation.step);
    choose("delay", evaluation.delay);
    byId<HTMLInputElement>("follow").checked = evaluation.follow;
    byId<HTMLInputElement>("on-change").checked = evaluation.onChange;
    setText(byId("usual-step"), `Auto, ${period(stepFor({ ...evaluation, step: undefined }, window))}`);
  }

  // mark underlines what is wrong, until the text changes.
  mark(start: number, end: number): void {
    this.marked = [start, end];
    this.editor?.mark(start, end);
  }

  clearMark(): void {
    this.marked = undefined;
    this.editor?.clearMark();
  }
}

// chosen returns the duration that a field has, undefined for the usual one.
function chosen(id: string): number | undefined {
  const { value } = byId<HTMLSelectElement>(id);
  return value === "" ? undefined : Number(value);
}

// choose selects a duration, which an address may have that the field does not offer.
function choose(id: string, duration: number | undefined): void {
  const select = byId<HTMLSelectElement>(id);
  const value = duration === undefined ? "" : String(duration);
  if (![...select.options].some((o) => o.value === value)) select.append(h("option", { value }, period(Number(value))));
  select.value = value;
}
