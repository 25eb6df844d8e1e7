import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, type Completion, type CompletionContext } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorState, Prec, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, highlightSpecialChars, keymap, placeholder, WidgetType, type DecorationSet } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { newCompleteStrategy, PromQLExtension, type PrometheusClient } from "@prometheus-io/codemirror-promql";
import { EqlRegex, EqlSingle, Neq, NeqRegex } from "@prometheus-io/lezer-promql";

// This file is loaded when the first expression is edited: it is larger than the rest
// of the page.

const legacyName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

// Lookup is what completion asks for. A scope is a selector, "" for all series.
export interface Lookup {
  metrics(): Promise<string[]>;
  labels(scope: string): Promise<string[]>;
  values(label: string, scope: string): Promise<string[]>;
  // families are type and help of metrics, by the names of their families.
  families(): Record<string, { type: string; help: string }[]>;
  // visible writes a text so that it can be seen what it has.
  visible(text: string): string;
}

// Editor edits an expression, with colours, completion and hints by Prometheus' own
// grammar.
export class Editor {
  private readonly view: EditorView;

  // It lives in a shadow tree, where style sheets are adopted, not written into the
  // page: the policy of the page allows no others.
  constructor(host: HTMLElement, text: string, label: string, hint: string, lookup: Lookup, submit: () => void) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          highlightSpecialChars(),
          history(),
          bracketMatching(),
          closeBrackets(),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": label, autocapitalize: "off", spellcheck: "false", enterkeyhint: "go" }),
          placeholder(hint),
          theme,
          syntaxHighlighting(colours),
          wrong,
          replacement,
          new PromQLExtension().setComplete({ completeStrategy: new Completer(lookup) }).asExtension(),
          // Nothing is taken that was not chosen, so that there is no need to wait.
          autocompletion({ icons: false, selectOnOpen: false, interactionDelay: 0, maxRenderedOptions: 50 }),
          Prec.high(
            keymap.of([
              { key: "Tab", run: acceptCompletion },
              {
                key: "Enter",
                run: () => {
                  submit();
                  return true;
                },
              },
              { key: "Shift-Enter", run: insertNewlineAndIndent },
            ]),
          ),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap]),
        ],
      }),
    });
  }

  get text(): string {
    return this.view.state.doc.toString();
  }

  set text(text: string) {
    if (text !== this.text) this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  focus(): void {
    this.view.focus();
    this.view.dispatch({ selection: { anchor: this.view.state.doc.length } });
  }

  // mark underlines what is wrong, until the text changes.
  mark(start: number, end: number): void {
    const { length } = this.view.state.doc;
    const [from, to] = [Math.min(start, length), Math.min(end, length)];
    this.view.dispatch({ effects: [setWrong.of({ from, to }), EditorView.scrollIntoView(from)], selection: { anchor: from, head: to } });
  }

  clearMark(): void {
    this.view.dispatch({ effects: setWrong.of(undefined) });
  }
}

// Completer is Prometheus' own completion, which inserts names that need quotes with
// them.
class Completer {
  private readonly strategy;

  constructor(private readonly lookup: Lookup) {
    this.strategy = newCompleteStrategy({ remote: remote(lookup) });
  }

  async promQL(context: CompletionContext) {
    const result = await this.strategy.promQL(context);
    if (!result) return result;
    const before = context.state.sliceDoc(0, result.from);
    const inside = before.lastIndexOf("{") > before.lastIndexOf("}");
    return { ...result, options: result.options.map((option) => this.written(option, inside)) };
  }

  private written(option: Completion, inside: boolean): Completion {
    const displayLabel = this.lookup.visible(option.label);
    const named = option.type === "constant" && !legacyName.test(option.label);
    const quoted = JSON.stringify(option.label);
    let { apply } = option;
    if (named) apply = inside ? quoted : `{${quoted}}`;
    // A string has no line breaks.
    else if (typeof apply === "string" && option.type === "text") apply = apply.replace(/\p{Cc}/gu, (char) => JSON.stringify(char).slice(1, -1));
    const info = typeof option.info === "string" ? this.lookup.visible(option.info) : option.info;
    return { ...option, displayLabel, apply, info };
  }
}

// remote answers from the lookup, and with nothing where that fails: completion is
// without names then.
function remote(lookup: Lookup): PrometheusClient {
  const orNone = (list: Promise<string[]>) => list.catch((): string[] => []);
  return {
    metricNames: () => orNone(lookup.metrics()),
    labelNames: (metric) => orNone(lookup.labels(scope(metric, []))),
    labelValues: (label, metric, matchers) => orNone(lookup.values(label, scope(metric, (matchers ?? []).filter((m) => m.name !== label)))),
    metricMetadata: async () => lookup.families(),
    series: async () => [],
    flags: async () => ({}),
  };
}

const operators = new Map([[EqlSingle, "="], [Neq, "!="], [EqlRegex, "=~"], [NeqRegex, "!~"]]);

// scope is the selector for a metric and matchers.
function scope(metric: string | undefined, matchers: { type: number; name: string; value: string }[]): string {
  const name = (text: string) => (legacyName.test(text) ? text : JSON.stringify(text));
  const parts = matchers.filter((m) => operators.has(m.type) && m.value !== "").map((m) => name(m.name) + operators.get(m.type) + JSON.stringify(m.value));
  if (metric) parts.unshift(`__name__=${JSON.stringify(metric)}`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

const setWrong = StateEffect.define<{ from: number; to: number } | undefined>();

// Missing is a place where something is missing.
class Missing extends WidgetType {
  override toDOM(): HTMLElement {
    const element = document.createElement("span");
    element.className = "wrong";
    element.textContent = "\u00a0";
    return element;
  }
}

const wrong = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    let next = transaction.docChanged ? Decoration.none : marks;
    for (const effect of transaction.effects) {
      if (!effect.is(setWrong)) continue;
      const { from, to } = effect.value ?? { from: -1, to: -1 };
      if (from < 0) next = Decoration.none;
      else if (from === to) next = Decoration.set(Decoration.widget({ widget: new Missing(), side: 1 }).range(from));
      else next = Decoration.set(Decoration.mark({ class: "wrong" }).range(from, to));
    }
    return next;
  },
  provide: (field) => [
    EditorView.decorations.from(field),
    EditorView.editorAttributes.from(field, (marks): Record<string, string> => (marks.size > 0 ? { class: "invalid" } : {})),
    EditorView.contentAttributes.from(field, (marks): Record<string, string> => (marks.size > 0 ? { "aria-invalid": "true" } : {})),
  ],
});

// replacement of selected text is done here. A browser would give the new text the style
// of the old, inline, which the policy of the page forbids.
const replacement = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main;
    const text = event.data;
    if (event.inputType !== "insertText" || !text || empty || event.isComposing || view.composing) return false;
    const insert = () => view.state.update(view.state.replaceSelection(text), { userEvent: "input.type", scrollIntoView: true });
    if (!view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, text, insert))) view.dispatch(insert());
    return true;
  },
});

const colours = HighlightStyle.define([
  { tag: tags.variableName, color: "var(--text)" },
  { tag: tags.labelName, color: "var(--code-label)" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: tags.number, color: "var(--code-number)" },
  { tag: [tags.function(tags.variableName), tags.operatorKeyword], color: "var(--code-function)" },
  { tag: [tags.modifier, tags.logicOperator], color: "var(--code-modifier)", fontWeight: "600" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
]);

const theme = EditorView.theme({
  "&": { backgroundColor: "var(--card)", color: "var(--text)", border: "1px solid var(--border)", borderRadius: "10px", fontSize: "var(--code-size)" },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "1px" },
  "&.invalid": { borderColor: "var(--bad)" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", maxHeight: "30vh" },
  ".cm-content": { padding: "9px 40px 9px 0", caretColor: "var(--text)" },
  ".cm-line": { padding: "0 8px 0 14px" },
  ".cm-placeholder": { color: "var(--muted)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--raised)", boxShadow: "inset 0 -2px var(--focus)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "transparent", boxShadow: "inset 0 -2px var(--bad)" },
  ".wrong": { backgroundColor: "color-mix(in srgb, var(--bad) 18%, transparent)", boxShadow: "inset 0 -2px var(--bad)" },
  ".cm-tooltip": { backgroundColor: "var(--card)", color: "var(--text)", border: "1px solid var(--border)", borderRadius: "10px", boxShadow: "0 12px 32px rgb(0 0 0 / 0.18)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "13px", maxHeight: "min(50vh, 320px)", maxWidth: "min(92vw, 640px)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "5px 10px", borderRadius: "7px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--raised)", color: "var(--text)", boxShadow: "inset 2px 0 var(--accent)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "1.2em" },
  ".cm-tooltip.cm-completionInfo": { padding: "8px 12px", maxWidth: "320px", fontSize: "13px", fontFamily: "system-ui, sans-serif" },
  // Where there is no room beside the list it would cover that.
  ".cm-completionInfo-left-narrow, .cm-completionInfo-right-narrow": { display: "none" },
  ".cm-diagnostic": { padding: "6px 10px", fontSize: "13px", fontFamily: "system-ui, sans-serif" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad)", textUnderlineOffset: "3px" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--busy)", textUnderlineOffset: "3px" },
});
