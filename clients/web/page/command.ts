import type { View } from "./address";
import { stepFor } from "./results";

// commandFor returns the command that goes on in a terminal where the page is. A token
// is not in it.
export function commandFor(view: View, cursor: string, at: { host: string; tls: boolean; token: boolean }): string {
  const { evaluation, window } = view;
  const words = ["prometheus-grpc-client", evaluation ? "query" : "get"];
  if (evaluation) {
    words.push(quoted(evaluation.expression), "--step", duration(stepFor(evaluation, window)));
    if (evaluation.delay !== undefined) words.push("--delay", duration(evaluation.delay));
    if (evaluation.onChange) words.push("--on-change");
  }
  words.push("--follow", "--address", at.host);
  if (at.tls) words.push("--tls");
  if (at.token) words.push("--bearer-token-file", "TOKEN");
  if (cursor !== "") words.push("--cursor", cursor);
  return words.join(" ");
}

function duration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

// quoted is a text as a shell takes it.
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
