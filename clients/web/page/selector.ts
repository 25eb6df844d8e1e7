// Reads what is typed into the selector field, as far as completion needs it.
// The server is who parses selectors.

export const legacyName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const legacyLabel = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const wordChar = /[a-zA-Z0-9_:.]/;
const quotes = `"'\``;

// Target is what a completion at the caret would replace.
export interface Target {
  kind: "metric" | "label" | "value";
  // from and to bound the text that a completion replaces.
  from: number;
  to: number;
  // typed is the part before the caret.
  typed: string;
  // label that a value is for.
  label: string;
  // scope selects the series by what is written before. "": all.
  scope: string;
}

// Part is a selector of a query, and its offset there.
export interface Part {
  text: string;
  from: number;
}

// splitSelectors separates selectors at each `or` outside of braces and quotes.
export function splitSelectors(query: string): Part[] {
  const parts: Part[] = [];
  const cut = (from: number, to: number) => {
    const text = query.slice(from, to);
    if (text.trim() !== "") parts.push({ text: text.trim(), from: from + text.length - text.trimStart().length });
  };
  let from = 0;
  walk(query, query.length, (i, depth, quote) => {
    if (depth === 0 && quote === "" && isOr(query, i)) {
      cut(from, i);
      from = i + 2;
    }
  });
  cut(from, query.length);
  return parts;
}

// closed adds the quote and the brace that are still open at the end.
export function closed(text: string): string {
  const end = walk(text, text.length);
  return text + end.quote + (end.depth > 0 ? "}" : "");
}

// targetAt returns what can be completed at the caret, if anything.
export function targetAt(text: string, caret: number): Target | undefined {
  let start = 0;
  let brace = -1; // the open one
  let item = 0; // start of the current matcher
  let quoted = -1; // start of the current string
  const end = walk(text, caret, (i, depth, quote) => {
    if (quote !== "") return;
    const char = text[i]!;
    if (depth === 0 && isOr(text, i)) start = item = i + 2;
    if (char === "{") brace = i;
    if (char === "{" || char === ",") item = i + 1;
    if (quotes.includes(char)) quoted = i + 1;
  });
  if (end.depth === 0) {
    const from = skipSpace(text, start, caret);
    const typed = text.slice(from, caret);
    if (end.quote !== "" || !/^[a-zA-Z0-9_:.]*$/.test(typed)) return undefined;
    return { kind: "metric", from, to: wordEnd(text, caret), typed, label: "", scope: "" };
  }
  const before = text.slice(brace + 1, item).replace(/,\s*$/, "").trim();
  const name = text.slice(start, brace).trim();
  const scope = before === "" ? name : `${name}{${before}}`;
  const matcher = text.slice(item, end.quote === "" ? caret : quoted - 1);
  if (end.quote !== "") {
    const label = /^\s*(?:"([^"]+)"|([a-zA-Z0-9_.]+))\s*(?:=~|!~|!=|=)\s*$/.exec(matcher);
    if (!label) return undefined;
    let to = caret;
    while (to < text.length && text[to] !== end.quote && text[to] !== "}") to++;
    return { kind: "value", from: quoted, to, typed: unescape(text.slice(quoted, caret)), label: label[1] ?? label[2]!, scope };
  }
  const from = skipSpace(text, item, caret);
  const typed = text.slice(from, caret);
  if (!/^[a-zA-Z0-9_.]*$/.test(typed)) return undefined;
  return { kind: "label", from, to: wordEnd(text, caret), typed, label: "", scope };
}

// accept replaces the target by a completion.
export function accept(text: string, target: Target, choice: string): { text: string; caret: number } {
  const before = text.slice(0, target.from);
  let after = text.slice(target.to);
  let insert = choice;
  switch (target.kind) {
    case "metric":
      if (!legacyName.test(choice)) insert = `{${quote(choice)}`;
      break;
    case "label":
      if (!legacyLabel.test(choice)) insert = quote(choice);
      if (!/^\s*[=!]/.test(after)) insert += '="';
      break;
    case "value": {
      const open = before.at(-1)!;
      insert = escape(choice, open);
      if (after.startsWith(open)) after = after.slice(1);
      insert += open;
    }
  }
  return { text: before + insert + after, caret: before.length + insert.length };
}

// quote writes a string as PromQL does.
export function quote(text: string): string {
  return `"${escape(text, '"')}"`;
}

// seriesText writes labels as Prometheus does, the metric's name first.
export function seriesText(labels: { name: string; value: string }[]): string {
  const name = labels.find((l) => l.name === "__name__")?.value ?? "";
  const items = labels
    .filter((l) => l.name !== "__name__")
    .map((l) => `${legacyLabel.test(l.name) ? l.name : quote(l.name)}=${quote(l.value)}`);
  if (name !== "" && !legacyName.test(name)) items.unshift(quote(name));
  const head = legacyName.test(name) ? name : "";
  return items.length > 0 ? `${head}{${items.join(", ")}}` : head;
}

// walk goes from the start up to end, telling the state before each character.
function walk(text: string, end: number, visit?: (i: number, depth: number, quote: string) => void) {
  let depth = 0;
  let quote = "";
  for (let i = 0; i < end; i++) {
    visit?.(i, depth, quote);
    const char = text[i]!;
    if (quote !== "") {
      if (char === "\\" && quote !== "`") i++;
      else if (char === quote) quote = "";
    } else if (quotes.includes(char)) quote = char;
    else if (char === "{") depth = 1;
    else if (char === "}") depth = 0;
  }
  return { depth, quote };
}

function isOr(text: string, i: number): boolean {
  return /^or(?=[\s{]|$)/i.test(text.slice(i, i + 3)) && i > 0 && /[\s}]/.test(text[i - 1]!);
}

function skipSpace(text: string, from: number, to: number): number {
  while (from < to && /\s/.test(text[from]!)) from++;
  return from;
}

function wordEnd(text: string, from: number): number {
  while (from < text.length && wordChar.test(text[from]!)) from++;
  return from;
}

function escape(text: string, open: string): string {
  if (open === "`") return text;
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(open, `\\${open}`);
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_all, char: string) => (char === "n" ? "\n" : char));
}
